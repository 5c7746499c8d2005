//! What is said to the estimator, true or not.

use core::time::Duration;

use proptest::prelude::*;

use super::world::{handle, settings};
use crate::bwe::{Cause, Estimator, Lie};
use crate::rtcp::Writer;
use crate::rtcp::transport_cc::{Head, write};
use crate::time::Time;
use crate::units::{Bitrate, SeqNo, Ssrc};

fn at(ms: u64) -> Time {
    Time::from_millis(ms)
}

fn kbps(kbps: u64) -> Bitrate {
    Bitrate::from_bps(kbps * 1000)
}

/// The bytes of a feedback that says so.
fn feedback(base: u16, arrivals: &[(u16, u64)]) -> Vec<u8> {
    // Three wraps up, so that what lies before the base is a number too.
    let extend = |low: u16| SeqNo(3 << 16 | u64::from(base)).plus(low.wrapping_sub(base).into());
    let head = Head { sender_ssrc: Ssrc(1), media_ssrc: Ssrc(2), base: extend(base), feedback_count: 0 };
    let mut buffer = [0; 1500];
    let mut writer = Writer::new(&mut buffer);
    let arrivals = arrivals.iter().map(|&(low, ms)| (extend(low), at(ms)));
    write(&mut writer, &head, arrivals).unwrap();
    writer.as_bytes().to_vec()
}

/// Patches the count of a feedback and covers it with chunks that say "lost".
fn claiming(base: u16, count: u16) -> Vec<u8> {
    let mut bytes = vec![0x8F, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    bytes.extend(base.to_be_bytes());
    bytes.extend(count.to_be_bytes());
    bytes.extend([0, 0, 1, 0]);
    for _ in 0..=count / 8191 {
        bytes.extend([0x1F, 0xFF]);
    }
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes[3] = u8::try_from(bytes.len() / 4 - 1).unwrap();
    bytes
}

/// An estimator that knows a clean path, the time, and the next number.
fn settled() -> (Estimator, u64, u16) {
    let mut estimator = Estimator::new(Time::ZERO, settings(1000));
    let mut number = 0;
    for ms in (0..2000).step_by(50) {
        let sent: Vec<_> =
            (0..5).map(|n| (estimator.handle_sent(at(ms + 10 * n), 1200, None), ms + 10 * n + 20)).collect();
        number = sent[4].0;
        handle(&mut estimator, at(ms + 90), &feedback(sent[0].0, &sent)).unwrap();
    }
    (estimator, 2100, number.wrapping_add(1))
}

#[test]
fn lies_change_nothing_and_are_counted() {
    let (mut estimator, now, next) = settled();
    let before = (estimator.estimate(), estimator.poll_timeout());
    let sent = estimator.handle_sent(at(now), 1200, None);
    assert_eq!(sent, next);
    let never_sent = [
        feedback(next.wrapping_add(1), &[(next.wrapping_add(1), 2120)]),
        feedback(next, &[(next, 2120), (next.wrapping_add(1), 2121)]),
        feedback(next.wrapping_add(30_000), &[(next.wrapping_add(30_000), 2120)]),
        feedback(next.wrapping_sub(40_000), &[(next.wrapping_sub(40_000), 2120)]),
        claiming(next, 65_535),
        claiming(next.wrapping_sub(100), 60_000),
    ];
    for bytes in &never_sent {
        assert_eq!(handle(&mut estimator, at(now + 50), bytes), Err(Lie::NeverSent));
    }
    // 20 s in the future, 20 s in the past on the receiver's clock, and two arrivals 16 s apart.
    let impossible = [
        feedback(next, &[(next, 22_120)]),
        feedback(next.wrapping_sub(1), &[(next.wrapping_sub(1), 12_000_000)]),
        feedback(
            next.wrapping_sub(3),
            &[(next.wrapping_sub(3), 2_000), (next.wrapping_sub(2), 10_000), (next.wrapping_sub(1), 18_000)],
        ),
    ];
    for bytes in &impossible {
        assert_eq!(handle(&mut estimator, at(now + 50), bytes), Err(Lie::ImpossibleTime));
    }
    let stats = estimator.stats();
    assert_eq!(stats.lies, 9);
    let after = estimator.estimate();
    assert_eq!(after, before.0);
    // The truth is still heard.
    handle(&mut estimator, at(now + 60), &feedback(next, &[(next, 2120)])).unwrap();
    assert_eq!(estimator.stats().received, stats.received + 1);
}

#[test]
fn a_receiver_that_starts_anew_is_believed_in_the_end() {
    let (mut estimator, now, _) = settled();
    let mut results = Vec::new();
    for step in 0..10 {
        let ms = now + 50 * step;
        let number = estimator.handle_sent(at(ms), 1200, None);
        results
            .push(handle(&mut estimator, at(ms + 40), &feedback(number, &[(number, 5_000_000 + 50 * step)])).is_ok());
    }
    assert_eq!(results, [false, false, false, false, true, true, true, true, true, true]);
    assert!(estimator.estimate().target >= kbps(900), "{:?}", estimator.estimate());
}

#[test]
fn what_is_said_twice_counts_once() {
    let (mut estimator, now, _) = settled();
    let sent: Vec<_> = (0..5).map(|n| (estimator.handle_sent(at(now + n), 1200, None), now + n + 20)).collect();
    let bytes = feedback(sent[0].0, &sent);
    handle(&mut estimator, at(now + 60), &bytes).unwrap();
    let (stats, estimate) = (estimator.stats(), estimator.estimate());
    for _ in 0..100 {
        handle(&mut estimator, at(now + 61), &bytes).unwrap();
    }
    assert_eq!(estimator.stats().received, stats.received);
    assert_eq!(estimator.stats().stale_feedbacks, 100);
    assert_eq!(estimator.estimate(), estimate);
}

#[test]
fn what_was_reported_lost_may_arrive() {
    let (mut estimator, now, _) = settled();
    let sent: Vec<_> =
        (0..10).map(|n| (estimator.handle_sent(at(now + 5 * n), 1200, None), now + 5 * n + 20)).collect();
    let half: Vec<_> = sent.iter().copied().filter(|(_, ms)| ms % 2 == 0).collect();
    handle(&mut estimator, at(now + 100), &feedback(sent[0].0, &half)).unwrap();
    let lost = estimator.stats().lost;
    assert_eq!(lost, 4, "the tenth may still come");
    handle(&mut estimator, at(now + 120), &feedback(sent[0].0, &sent)).unwrap();
    assert_eq!(estimator.stats().received, 200 + 10);
    for n in 0..60 {
        let number = estimator.handle_sent(at(now + 150 + 10 * n), 1200, None);
        handle(&mut estimator, at(now + 200 + 10 * n), &feedback(number, &[(number, now + 170 + 10 * n)])).unwrap();
    }
    assert!(estimator.estimate().loss < f64::EPSILON, "taken back");
}

#[test]
fn silence_backs_off_and_ends() {
    let (mut estimator, now, _) = settled();
    let before = estimator.estimate().target;
    // Nothing is sent, so nothing is missed.
    assert!(estimator.poll_timeout() > at(60_000));
    let mut ms = now;
    while ms < now + 4000 {
        estimator.handle_sent(at(ms), 1200, None);
        if estimator.poll_timeout().is_due(at(ms)) {
            estimator.handle_timeout(at(ms));
        }
        ms += 20;
    }
    let estimate = estimator.estimate();
    assert_eq!(estimate.cause, Cause::Silence);
    assert!(estimate.target.as_bps() * 2 < before.as_bps() && estimate.target >= kbps(30), "{estimate:?}");
    let reductions = estimator.stats().reductions;
    let number = estimator.handle_sent(at(ms), 1200, None);
    handle(&mut estimator, at(ms + 50), &feedback(number, &[(number, ms + 20)])).unwrap();
    estimator.handle_timeout(at(ms + 5000));
    assert_eq!(estimator.stats().reductions, reductions);
}

#[test]
fn a_receiver_that_estimates_by_itself_is_followed() {
    let mut estimator = Estimator::new(Time::ZERO, settings(300));
    estimator.handle_remb(at(100), kbps(900));
    assert_eq!((estimator.estimate().target, estimator.estimate().cause), (kbps(900), Cause::Remb));
    for lie in [0, 1 << 63, u64::MAX] {
        estimator.handle_remb(at(200), Bitrate::from_bps(lie));
    }
    assert_eq!((estimator.estimate().target, estimator.stats().lies), (kbps(900), 3));
    estimator.handle_remb(at(300), Bitrate::from_bps(1));
    assert_eq!(estimator.estimate().target, kbps(30), "never below the bound");
    estimator.handle_remb(at(400), kbps(900));
    // A quarter lost: an eighth off. Too few packets: no judgement. No loss: back up, in its time.
    estimator.handle_loss(at(500), 64, 10);
    assert_eq!(estimator.estimate().target, kbps(900));
    estimator.handle_loss(at(1500), 64, 100);
    assert!((780..=800).contains(&(estimator.estimate().target.as_bps() / 1000)), "{:?}", estimator.estimate());
    assert_eq!(estimator.estimate().cause, Cause::Loss);
    for second in 2..6 {
        estimator.handle_loss(at(second * 1000), 0, 100);
    }
    assert_eq!((estimator.estimate().target, estimator.estimate().cause), (kbps(900), Cause::Remb));
    estimator.handle_round_trip(Duration::from_millis(80));
    assert_eq!(estimator.estimate().rtt, Some(Duration::from_millis(80)));
}

#[test]
fn an_estimate_of_the_receiver_bounds_while_it_is_fresh() {
    let (mut estimator, now, _) = settled();
    let before = estimator.estimate().target;
    estimator.handle_remb(at(now), kbps(400));
    assert_eq!((estimator.estimate().target, estimator.estimate().cause), (kbps(400), Cause::Remb));
    let ms = now + 6000;
    let number = estimator.handle_sent(at(ms), 1200, None);
    handle(&mut estimator, at(ms + 50), &feedback(number, &[(number, ms + 20)])).unwrap();
    assert!(estimator.estimate().target >= before);
    // Reports of loss are for those that have nothing better.
    estimator.handle_loss(at(ms), 200, 1000);
    assert!(estimator.estimate().target >= before);
}

#[test]
fn what_left_without_a_number_counts_as_arrived() {
    let mut rates = Vec::new();
    for unnumbered in [0, 1200] {
        let mut estimator = Estimator::new(Time::ZERO, settings(300));
        for ms in (0..3000).step_by(50) {
            let sent: Vec<_> = (0..5)
                .map(|n| {
                    let now = at(ms + 10 * n);
                    estimator.handle_unnumbered(now, unnumbered);
                    (estimator.handle_sent(now, 1200, None), ms + 10 * n + 20)
                })
                .collect();
            handle(&mut estimator, at(ms + 90), &feedback(sent[0].0, &sent)).unwrap();
        }
        rates.push(estimator.estimate().acknowledged.unwrap().as_bps());
    }
    assert!((950_000..=970_000).contains(&rates[0]), "{rates:?}");
    assert_eq!(rates[1], 2 * rates[0]);
}

#[test]
fn no_probe_while_the_estimate_is_enough() {
    let (mut estimator, now, _) = settled();
    let target = estimator.estimate().target;
    estimator.set_wanted(at(now), target);
    assert!(estimator.poll_probe(at(now)).is_none());
    estimator.set_wanted(at(now), kbps(2000));
    let probe = estimator.poll_probe(at(now)).unwrap();
    assert_eq!(probe.rate, kbps(2400), "a fifth above what is wanted, which is less than three times the estimate");
    assert!(probe.bytes == 4500 && probe.packets == 5 && probe.duration == Duration::from_millis(15), "{probe:?}");
    assert!(estimator.poll_probe(at(now + 500)).is_none(), "one at a time");
    // Nobody answers it: given up after two seconds, and the next one comes a second later.
    for ms in (now..now + 10_000).step_by(10) {
        if estimator.poll_timeout().is_due(at(ms)) {
            estimator.handle_timeout(at(ms));
        }
        if let Some(probe) = estimator.poll_probe(at(ms)) {
            assert_eq!(ms, now + 3000);
            assert!(probe.rate < kbps(2400), "{probe:?}");
            return;
        }
    }
    panic!("no second probe");
}

/// Something that happens to an estimator.
#[derive(Clone, Debug)]
enum Input {
    Send { size: usize, probe: bool },
    Unnumbered(usize),
    Feedback { back: u16, count: u16, late: u64, spread: u64, holes: u64 },
    Remb(u64),
    Report { fraction: u8, packets: u64 },
    RoundTrip(u64),
    Wanted(u64),
    Timeout,
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        12 => (0..70_000_usize, any::<bool>()).prop_map(|(size, probe)| Input::Send { size, probe }),
        1 => (0..70_000_usize).prop_map(Input::Unnumbered),
        4 => (0..300_u16, 1..300_u16, 0..30_000_u64, 0..200_u64, any::<u64>())
            .prop_map(|(back, count, late, spread, holes)| Input::Feedback { back, count, late, spread, holes }),
        1 => any::<u64>().prop_map(Input::Remb),
        1 => (any::<u8>(), any::<u64>()).prop_map(|(fraction, packets)| Input::Report { fraction, packets }),
        1 => any::<u64>().prop_map(Input::RoundTrip),
        1 => any::<u64>().prop_map(Input::Wanted),
        2 => Just(Input::Timeout),
    ]
}

proptest! {
    #[test]
    fn the_target_stays_within_its_bounds(inputs in prop::collection::vec((input(), 0..200_u64), 1..400)) {
        let settings = settings(300);
        let mut estimator = Estimator::starting_at(Time::ZERO, settings, SeqNo::first(0xFFF0));
        let (mut ms, mut next, mut cluster) = (0, 0xFFF0_u16, None);
        for (input, passed) in inputs {
            ms += passed;
            match input {
                Input::Send { size, probe } => {
                    let number = estimator.handle_sent(at(ms), size, cluster.filter(|_| probe));
                    prop_assert_eq!(number, next);
                    next = next.wrapping_add(1);
                }
                Input::Unnumbered(size) => estimator.handle_unnumbered(at(ms), size),
                Input::Feedback { back, count, late, spread, holes } => {
                    let base = next.wrapping_sub(back);
                    let arrivals: Vec<_> = (0..count.min(64))
                        .filter(|n| holes >> n & 1 == 1)
                        .map(|n| (base.wrapping_add(n), (ms + u64::from(n) * spread).saturating_sub(late)))
                        .collect();
                    if !arrivals.is_empty() {
                        let _ = handle(&mut estimator, at(ms), &feedback(base, &arrivals));
                    }
                }
                Input::Remb(bps) => estimator.handle_remb(at(ms), Bitrate::from_bps(bps)),
                Input::Report { fraction, packets } => estimator.handle_loss(at(ms), fraction, packets),
                Input::RoundTrip(micros) => estimator.handle_round_trip(Duration::from_micros(micros)),
                Input::Wanted(bps) => estimator.set_wanted(at(ms), Bitrate::from_bps(bps)),
                Input::Timeout => {
                    estimator.handle_timeout(at(ms));
                    prop_assert!(!estimator.poll_timeout().is_due(at(ms)), "a deadline that stays due");
                }
            }
            cluster = estimator.poll_probe(at(ms)).map(|probe| probe.id).or(cluster);
            let estimate = estimator.estimate();
            prop_assert!(estimate.target >= settings.min && estimate.target <= settings.max, "{:?}", estimate);
            prop_assert!((0.0..=1.0).contains(&estimate.loss) && estimate.trend.is_finite(), "{:?}", estimate);
        }
    }
}
