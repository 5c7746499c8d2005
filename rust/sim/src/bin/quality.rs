//! Plays the scenarios of [`rtpcore_sim::quality`] and prints their figures, a row for each family.
//!
//! `quality` prints, `quality --check` also says which figures moved against `bench/quality.txt` by more than they may and
//! then ends with 1, `quality --update` writes that file. `quality FAMILY...` plays these families alone, run by run;
//! `quality --seconds FAMILY NUMBER` shows one run second by second.
#![allow(clippy::print_stdout, clippy::print_stderr)] // what it is for

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rtpcore_sim::quality::{self, Outcome, Scenario};

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = arguments.iter().map(String::as_str).collect();
    match &words[..] {
        [] | ["--check" | "--update"] => board(words.first().copied()),
        ["--seconds", family, number] => seconds(family, number.parse().unwrap_or(0)),
        families => each(families),
    }
}

/// The scoreboard.
fn board(verb: Option<&str>) -> ExitCode {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../bench/quality.txt");
    let scenarios = quality::all();
    let outcomes = play(&scenarios);
    let runs: Vec<_> = scenarios.iter().map(|scenario| scenario.family).zip(outcomes).collect();
    let rows = quality::rows(&runs);
    let text = quality::print(&rows);
    let board = text.lines().filter(|line| !line.starts_with('#'));
    board.for_each(|line| println!("{line}"));
    if verb == Some("--update") {
        if let Err(error) = std::fs::write(path, text) {
            eprintln!("{path}: {error}");
            return ExitCode::FAILURE;
        }
    } else if verb == Some("--check") {
        let before = std::fs::read_to_string(path).ok().and_then(|text| quality::parse(&text)).unwrap_or_default();
        let moved = quality::compare(&before, &rows);
        for quality::Moved { family, column, before, now } in &moved {
            let show = |value: &Option<f64>| value.map_or("-".into(), |value| format!("{value:.1}"));
            println!("{family}: {column} was {}, is {}", show(before), show(now));
        }
        return ExitCode::from(u8::from(!moved.is_empty()));
    }
    ExitCode::SUCCESS
}

/// Run by run.
fn each(families: &[&str]) -> ExitCode {
    let mut scenarios = quality::all();
    scenarios.retain(|scenario| families.contains(&scenario.family));
    for (scenario, outcome) in scenarios.iter().zip(play(&scenarios)) {
        let one = [(scenario.family, outcome)];
        let text = quality::print(&quality::rows(&one));
        text.lines().rev().take(1).for_each(|line| println!("{line}"));
    }
    ExitCode::SUCCESS
}

/// One run, second by second.
fn seconds(family: &str, number: usize) -> ExitCode {
    let scenarios = quality::all();
    let Some(scenario) = scenarios.iter().filter(|scenario| scenario.family == family).nth(number) else {
        eprintln!("there is no {family} {number}");
        return ExitCode::FAILURE;
    };
    let outcome = scenario.run();
    for (viewer, (seconds, figures)) in outcome.seconds.iter().zip(&outcome.viewers).enumerate() {
        println!("viewer {viewer}: {figures:#?}");
        println!("  s  audio  video repair probes shown  estimate         waits");
        for (second, it) in seconds.iter().enumerate() {
            println!(
                "{second:>3} {:>6} {:>6} {:>6} {:>6} {:>5} {:>9} {:<9} {:>4}",
                it.audio,
                it.video,
                it.repair,
                it.padding,
                it.encoding.map_or("-".into(), |encoding| encoding.to_string()),
                it.estimate,
                it.cause,
                it.queued
            );
        }
    }
    ExitCode::SUCCESS
}

/// All of them, side by side.
fn play(scenarios: &[Scenario]) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![None; scenarios.len()]);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(scenario) = scenarios.get(number) else { break };
                    let outcome = scenario.run();
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes[number] = Some(outcome);
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_default().into_iter().flatten().collect()
}
