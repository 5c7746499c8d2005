use core::time::Duration;

use rtpcore_core::Time;

use super::{Fate, Path, Trace};
use crate::links::Loss;

fn trace(text: &str) -> Trace {
    Trace::parse(text, |name| if name == "lte" { Ok("2\n2\n5\n10\n".into()) } else { Err(format!("no {name}")) })
        .unwrap()
}

fn path(text: &str) -> Path {
    Path::new(trace(text).down, 1, 0)
}

/// Milliseconds that a packet waits; none if it overflows.
fn queued(path: &mut Path, at_ms: u64, len: usize) -> Option<f64> {
    match path.carry(Time::from_millis(at_ms), len) {
        Fate::Overflowed => None,
        Fate::Lost { queued } | Fate::Arrives { queued, .. } => Some(queued.as_secs_f64() * 1000.0),
    }
}

#[test]
fn lines_change_what_they_name_and_leave_the_rest() {
    let trace = trace("seed 9 # any\nboth 0 delay=25 loss=0.5\ndown 0 rate=3000 queue=300\n\ndown 10.5 rate=600\n");
    assert_eq!(trace.seed, 9);
    let (first, ends) = trace.down.at(Duration::from_secs(10));
    assert_eq!((first.delay_us, first.loss), (25_000, Loss::Random { permille: 5 }));
    assert_eq!((first.rate.unwrap().bps, first.rate.unwrap().queue), (3_000_000, 112_500));
    assert_eq!(ends, Some(Duration::from_millis(10_500)));
    let (then, ends) = trace.down.at(Duration::from_millis(10_500));
    assert_eq!((then.delay_us, then.rate.unwrap().bps, then.rate.unwrap().queue), (25_000, 600_000, 22_500));
    assert_eq!(ends, None);
    assert_eq!(trace.up.at(Duration::from_secs(99)).0.rate, None);
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (text, told) in [
        ("down 0 speed=3", "line 1: speed is not known"),
        ("\ndown 1 rate=3", "line 2: a direction begins at 0"),
        ("down 0 rate=3\ndown 2 rate=3\ndown 1 rate=2", "line 3: 1s comes after 2s"),
        ("down 0 loss=101", "line 1: over 100 %"),
        ("down 0 rate=-1", "line 1: -1 is out of range"),
        ("down 0 mahimahi=x", "line 1: no x"),
        ("left 0", "line 1: left is none of seed, down, up, both"),
        ("down 0 rate=1\ndown 0 again", "line 2: again must come after the last change"),
    ] {
        assert_eq!(Trace::parse(text, |name| Err(format!("no {name}"))), Err(told.into()));
    }
}

#[test]
fn bursts_have_the_share_and_the_length_asked_for() {
    let mut path = path("down 0 loss=5 burst=8");
    let fates: Vec<_> =
        (0..200_000).map(|n| matches!(path.carry(Time::from_millis(n), 100), Fate::Lost { .. })).collect();
    let lost = fates.iter().filter(|lost| **lost).count();
    let bursts = fates.windows(2).filter(|pair| !pair[0] && pair[1]).count();
    assert!((9_000..11_000).contains(&lost), "{lost}");
    assert!((7.0..9.0).contains(&(lost as f64 / bursts as f64)), "{lost} in {bursts}");
}

#[test]
fn a_change_of_the_rate_applies_to_what_waits() {
    // 1000 bytes take 8 ms at 1000 kbit/s; of 80 ms of them, half pass before the rate falls to a tenth.
    let mut path = path("down 0 rate=1000 queue=100\ndown 0.04 rate=100");
    let waits: Vec<_> = (0..10).map(|_| queued(&mut path, 0, 1000).unwrap()).collect();
    assert_eq!(waits[4], 40.0);
    assert_eq!(waits[9], 40.0 + 5.0 * 80.0);
    // At 50 ms there wait 5000 bytes less a tenth of 10 ms; at the new rate that is far too long.
    assert_eq!(queued(&mut path, 50, 1000), None);
    // Until less than 100 ms of it is left.
    assert_eq!(queued(&mut path, 330, 1000), None);
    assert_eq!(queued(&mut path, 345, 1000), Some(95.0 + 80.0));
}

#[test]
fn the_queue_is_bounded_in_milliseconds_and_the_rate_is_kept() {
    let mut path = path("down 0 rate=4000 queue=20");
    let waits: Vec<_> = (0..1000).filter_map(|n| queued(&mut path, n, 1000)).collect();
    assert!((500..=512).contains(&waits.len()), "{}", waits.len());
    // Its own time to be sent comes on top.
    assert!(waits.iter().all(|wait| *wait <= 22.0));
}

#[test]
fn an_outage_delays_what_waits_and_loses_what_would_wait_too_long() {
    let mut path = path("down 0 rate=80 queue=1000\ndown 1 rate=0\ndown 3 rate=80");
    // 10 000 bytes a second: of 5000 at 0.8 s, 2000 pass before and 3000 after.
    assert_eq!(queued(&mut path, 800, 5000), Some(200.0 + 2000.0 + 300.0));
    assert_eq!(queued(&mut path, 1500, 100), None);
    assert_eq!(queued(&mut path, 2800, 100), Some(200.0 + 300.0 + 10.0));
    assert_eq!(queued(&mut path, 3400, 100), Some(10.0));
}

#[test]
fn a_schedule_repeats() {
    let trace = trace("down 0 rate=800\ndown 1 rate=80\ndown 2 again");
    for second in [0, 2, 20] {
        let begin = Duration::from_secs(second);
        assert_eq!(trace.down.capacity(begin, begin + Duration::from_secs(1)), Some(100_000));
        assert_eq!(trace.down.capacity(begin, begin + Duration::from_secs(2)), Some(110_000));
        assert_eq!(trace.down.at(begin).1, Some(begin + Duration::from_secs(1)));
    }
    assert_eq!(trace.up.capacity(Duration::ZERO, Duration::from_secs(1)), None);
}

#[test]
fn a_recording_gives_its_opportunities_and_begins_again() {
    let mut path = path("down 0 mahimahi=lte queue=100");
    // At 2 ms there are two opportunities, at 5 and 10 ms one each.
    let waits: Vec<_> = (0..5).map(|_| queued(&mut path, 1, 1500).unwrap()).collect();
    assert_eq!(waits, [1.0, 1.0, 4.0, 9.0, 11.0]);
    // Small packets share one, large ones take several.
    assert_eq!(queued(&mut path, 13, 750), Some(2.0));
    assert_eq!(queued(&mut path, 13, 750), Some(2.0));
    assert_eq!(queued(&mut path, 13, 750), Some(7.0));
    // What nobody used is gone.
    assert_eq!(queued(&mut path, 103, 750), Some(2.0));
    let (from, until) = (Duration::from_millis(100), Duration::from_millis(200));
    assert_eq!(path.schedule().capacity(from, until), Some(40 * 1500));
}

#[test]
fn a_recording_that_is_too_slow_overflows() {
    let mut path = path("down 0 mahimahi=lte queue=20");
    let passed = (0..1000).filter(|_| queued(&mut path, 0, 1500).is_some()).count();
    assert_eq!(passed, 8);
}

#[test]
fn the_same_seed_is_the_same_fate() {
    let text = "down 0 delay=20 jitter=10 loss=10 reorder=5 hold=30 duplicate=2 rate=2000";
    let run = |mut path: Path| (0..500).map(|n| path.carry(Time::from_millis(n), 500)).collect::<Vec<_>>();
    let first = run(path(text));
    assert_eq!(first, run(path(text)));
    assert_ne!(first, run(Path::new(trace(text).down, 2, 0)));
    let twice = first.iter().filter(|fate| matches!(fate, Fate::Arrives { at: [Some(_), Some(_)], .. })).count();
    assert!((1..30).contains(&twice), "{twice}");
}
