use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn ms(n: u64) -> Time {
    Time::from_millis(n)
}

/// With the 16 bits of the wire in the list.
fn poll(arrivals: &mut Arrivals, now: Time) -> Option<(Feedback, Vec<(u16, Time)>)> {
    let mut out = [(SeqNo(0), Time::ZERO); 1024];
    let feedback = arrivals.poll(now, &mut out)?;
    Some((feedback, out[..feedback.received].iter().map(|&(seq, at)| (seq.low(), at)).collect()))
}

/// Arrivals whose first feedback, of number 0, left at time 0.
fn begun() -> Arrivals {
    let mut arrivals = Arrivals::new();
    assert_eq!(arrivals.deadline(), Time::NEVER);
    arrivals.record(ms(0), 0, 100);
    assert_eq!(poll(&mut arrivals, ms(0)).unwrap().1, [(0, ms(0))]);
    arrivals
}

#[test]
fn reports_what_came_and_what_did_not() {
    let mut arrivals = begun();
    arrivals.record(ms(10), 2, 100);
    arrivals.record(ms(11), 4, 100);
    arrivals.record(ms(12), 3, 100);
    arrivals.record(ms(13), 3, 100);
    assert_eq!(arrivals.deadline(), ms(100));
    assert_eq!(poll(&mut arrivals, ms(99)), None);
    let (feedback, list) = poll(&mut arrivals, ms(100)).unwrap();
    assert_eq!((feedback.base.low(), feedback.status_count, feedback.received, feedback.feedback_count), (1, 4, 3, 1));
    assert_eq!(list, [(2, ms(10)), (3, ms(12)), (4, ms(11))]);
    assert_eq!((poll(&mut arrivals, ms(1000)), arrivals.deadline()), (None, Time::NEVER));
}

#[test]
fn a_late_packet_is_reported_after_all() {
    let mut arrivals = begun();
    arrivals.record(ms(1), 2, 100);
    poll(&mut arrivals, ms(100)).unwrap();
    arrivals.record(ms(101), 1, 100);
    let (feedback, list) = poll(&mut arrivals, ms(200)).unwrap();
    assert_eq!((feedback.base.low(), feedback.status_count), (1, 2));
    assert_eq!(list, [(1, ms(101)), (2, ms(1))]);
}

#[test]
fn the_interval_follows_the_bitrate() {
    for (bps, expected) in [(50_000, 100), (128_000, 100), (170_000, 75), (256_000, 50), (20_000_000, 50)] {
        let mut arrivals = Arrivals::new();
        for i in 0..200u16 {
            arrivals.record(ms(u64::from(i) * 10), i, bps / 800);
        }
        let interval = arrivals.interval(ms(1999)).as_millis();
        assert!(interval.abs_diff(expected) <= 2, "{interval} at {bps}");
    }
}

#[test]
fn a_flood_is_reported_early_and_in_pieces() {
    let mut arrivals = begun();
    for i in 1..400 {
        arrivals.record(ms(1), i, 1200);
    }
    assert!(!arrivals.deadline().is_due(ms(1)));
    arrivals.record(ms(1), 400, 1200);
    assert!(arrivals.deadline().is_due(ms(1)));
    arrivals.record(ms(1), 401, 1200);
    assert_eq!(poll(&mut arrivals, ms(1)).unwrap().0.received, MAX_ARRIVALS);
    assert_eq!(poll(&mut arrivals, ms(1)).unwrap().1, [(401, ms(1))]);
    assert_eq!(poll(&mut arrivals, ms(1)), None);
}

#[test]
fn what_falls_out_of_the_window_is_not_reported() {
    let mut arrivals = begun();
    arrivals.record(ms(1), 1, 100);
    arrivals.record(ms(2), 1024, 100);
    let (feedback, list) = poll(&mut arrivals, ms(100)).unwrap();
    assert_eq!((feedback.base.low(), list.len()), (1, 2), "1 and 1024 are a window of 1024");
    arrivals.record(ms(101), 1025, 100);
    arrivals.record(ms(102), 1026 + 1022, 100);
    let (feedback, list) = poll(&mut arrivals, ms(200)).unwrap();
    assert_eq!((feedback.base.low(), list.len()), (1025, 2));
    arrivals.record(ms(201), 1024, 100);
    assert_eq!(arrivals.deadline(), Time::NEVER, "behind the window");
}

#[test]
fn a_jump_needs_its_successor() {
    let mut arrivals = begun();
    arrivals.record(ms(1), 30_000, 100);
    arrivals.record(ms(1), 30_002, 100);
    assert_eq!(arrivals.deadline(), Time::NEVER);
    arrivals.record(ms(1), 30_003, 100);
    let (feedback, list) = poll(&mut arrivals, ms(101)).unwrap();
    assert_eq!((feedback.base.low(), feedback.status_count), (30_003, 1));
    assert_eq!(list, [(30_003, ms(1))]);
}

#[test]
fn times_too_far_apart_go_into_two_feedbacks() {
    let mut arrivals = begun();
    arrivals.record(ms(20_000), 2, 100);
    poll(&mut arrivals, ms(20_000)).unwrap();
    // Number 1 arrives last, between numbers of time 0 and 20 s that were reported.
    arrivals.record(ms(20_001), 0xFFFF, 100);
    let (feedback, list) = poll(&mut arrivals, ms(20_100)).unwrap();
    assert_eq!((feedback.base.low(), list), (0xFFFF, vec![(0xFFFF, ms(20_001))]));
    assert_eq!(poll(&mut arrivals, ms(20_100)).unwrap().1, [(0, ms(0))]);
    assert_eq!(poll(&mut arrivals, ms(20_100)).unwrap().1, [(2, ms(20_000))]);
    assert_eq!(poll(&mut arrivals, ms(20_100)), None);
}

#[test]
fn no_room_is_no_feedback() {
    let mut arrivals = begun();
    arrivals.record(ms(1), 1, 100);
    assert_eq!(arrivals.poll(ms(500), &mut []), None);
    assert_eq!(poll(&mut arrivals, ms(500)).unwrap().1, [(1, ms(1))]);
}

proptest! {
    /// Over the wrap, with loss, doubles and reordering: each arrival is reported with its own time, in order, and the
    /// feedbacks leave no number out.
    #[test]
    fn every_arrival_is_reported(
        start in any::<u16>(),
        steps in prop::collection::vec((1u64..5, 0u64..8, 0u64..30), 1..2000),
        room in 1usize..500,
    ) {
        let mut arrivals = Arrivals::new();
        let (mut sent, mut now) = (u64::from(start), 0);
        let mut first_times = BTreeMap::new();
        let mut reported = BTreeMap::new();
        let mut end: Option<SeqNo> = None;
        let mut count = 0u8;
        let mut late = false;
        let mut buffer = vec![(SeqNo(0), Time::ZERO); room];
        for (ahead, behind, wait) in steps {
            sent += ahead;
            now += wait;
            let seq = sent - behind.min(sent - u64::from(start));
            late |= behind > 0;
            arrivals.record(ms(now), SeqNo(seq).low(), 1000);
            first_times.entry(SeqNo(seq).low()).or_insert(ms(now));
            while let Some(feedback) = arrivals.poll(ms(now), &mut buffer) {
                prop_assert_eq!(feedback.feedback_count, count);
                count = count.wrapping_add(1);
                prop_assert!(late || end.is_none_or(|end| end == feedback.base));
                late &= arrivals.deadline() != Time::NEVER;
                let list = &buffer[..feedback.received];
                let offsets: Vec<u64> = list.iter().map(|(seq, _)| seq.0 - feedback.base.0).collect();
                prop_assert!(offsets.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert_eq!(offsets.last().map(|last| last + 1), Some(u64::from(feedback.status_count)));
                end = Some(feedback.base.plus(u64::from(feedback.status_count)));
                reported.extend(list.iter().map(|&(seq, at)| (seq.low(), at)));
            }
        }
        while arrivals.poll(ms(now + 1000), &mut buffer).map(|feedback| {
            reported.extend(buffer[..feedback.received].iter().map(|&(seq, at)| (seq.low(), at)));
        }).is_some() {}
        prop_assert_eq!(reported, first_times);
        prop_assert_eq!(arrivals.deadline(), Time::NEVER);
    }
}
