//! Draws worlds and prints the seeds whose oracles object: `sweep --seeds 0..1000`. Ends with 1 if there were any.
//! `sweep --plan 7` prints what happens in one world, and all objections.
#![allow(clippy::print_stdout)] // what it is for

use std::ops::Range;
use std::process::ExitCode;

use rtpcore_sim::random;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [flag, seed] = &arguments[..]
        && let ("--plan", Ok(seed)) = (flag.as_str(), seed.parse())
    {
        let plan = random::plan(seed);
        println!("{plan:#?}");
        plan.run().violations.iter().for_each(|violation| println!("{violation}"));
        return ExitCode::SUCCESS;
    }
    let Some(seeds) = seeds(&arguments) else {
        println!("usage: sweep --seeds A..B | --plan SEED");
        return ExitCode::from(2);
    };
    let mut failed = 0;
    for seed in seeds.clone() {
        let outcome = std::panic::catch_unwind(|| random::plan(seed).run());
        match outcome {
            Ok(outcome) if outcome.violations.is_empty() => {}
            Ok(outcome) => {
                failed += 1;
                println!("seed {seed} digest {:016x}: {} objections", outcome.digest, outcome.violations.len());
                outcome.violations.iter().take(5).for_each(|violation| println!("    {violation}"));
            }
            Err(_) => {
                failed += 1;
                println!("seed {seed} panicked");
            }
        }
    }
    println!("{} worlds, {failed} objected to", seeds.end - seeds.start);
    ExitCode::from(u8::from(failed > 0))
}

fn seeds(arguments: &[String]) -> Option<Range<u64>> {
    let [flag, range] = arguments else { return None };
    let (start, end) = range.split_once("..")?;
    let seeds = start.parse().ok()?..end.parse().ok()?;
    (flag == "--seeds").then_some(seeds)
}
