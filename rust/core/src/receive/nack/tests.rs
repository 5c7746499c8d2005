use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const RTT: Option<Duration> = Some(Duration::from_millis(50));

fn ms(n: u64) -> Time {
    Time::from_millis(n)
}

fn poll(list: &mut NackList, now: Time) -> Vec<u64> {
    let mut out = [SeqNo(0); 64];
    let count = list.poll(now, RTT, &mut out);
    out[..count].iter().map(|seq| seq.0).collect()
}

/// A list that misses 100 since time zero, with 101 the newest.
fn missing_100() -> NackList {
    let mut list = NackList::new();
    list.handle_newest(ms(0), SeqNo(101), 1).unwrap();
    list
}

#[test]
fn asks_after_a_few_milliseconds() {
    let mut list = missing_100();
    assert_eq!(list.deadline(), ms(10));
    assert_eq!(poll(&mut list, ms(9)), []);
    assert_eq!(poll(&mut list, ms(10)), [100]);
}

#[test]
fn asks_after_a_few_packets() {
    let mut list = missing_100();
    list.handle_newest(ms(1), SeqNo(102), 0).unwrap();
    assert_eq!(poll(&mut list, ms(1)), []);
    list.handle_newest(ms(1), SeqNo(103), 0).unwrap();
    assert_eq!(list.deadline(), ms(1));
    assert_eq!(poll(&mut list, ms(1)), [100]);
}

#[test]
fn a_reordered_packet_is_never_asked_for() {
    let mut list = missing_100();
    list.handle_received(SeqNo(100));
    assert_eq!(poll(&mut list, ms(10)), []);
    assert_eq!((list.deadline(), list.len()), (Time::NEVER, 0));
}

#[test]
fn asks_once_a_round_trip_ten_times() {
    let mut list = missing_100();
    let mut asked_at = Vec::new();
    for now in 0..2000 {
        if !poll(&mut list, ms(now)).is_empty() {
            asked_at.push(now);
        }
    }
    assert_eq!(asked_at, (0..10).map(|i| 10 + 50 * i).collect::<Vec<_>>());
    assert_eq!((list.deadline(), list.gave_up(), list.asked()), (Time::NEVER, 1, 10));
}

#[test]
fn gives_up_after_a_second() {
    let mut list = NackList::new();
    list.handle_newest(ms(0), SeqNo(101), 1).unwrap();
    let mut out = [SeqNo(0); 4];
    let rtt = Some(Duration::from_millis(400));
    let asked: Vec<u64> = (0..3000).filter(|&now| list.poll(ms(now), rtt, &mut out) > 0).collect();
    assert_eq!(asked, [10, 410, 810]);
    assert_eq!(list.gave_up(), 1);
}

#[test]
fn a_tiny_round_trip_does_not_make_a_storm() {
    let mut list = missing_100();
    let mut out = [SeqNo(0); 4];
    let rtt = Some(Duration::from_micros(200));
    let asked: Vec<u64> = (0..60).filter(|&now| list.poll(ms(now), rtt, &mut out) > 0).collect();
    assert_eq!(asked, [10, 30, 50]);
}

#[test]
fn a_keyframe_makes_older_losses_moot() {
    let mut list = missing_100();
    list.handle_newest(ms(1), SeqNo(110), 1).unwrap();
    list.handle_keyframe(SeqNo(105));
    assert_eq!(poll(&mut list, ms(20)), [109]);
    list.handle_keyframe(SeqNo(200));
    assert_eq!((poll(&mut list, ms(100)), list.deadline()), (vec![], Time::NEVER));
}

#[test]
fn holds_a_thousand_and_not_one_more() {
    let mut list = NackList::new();
    assert_eq!(list.handle_newest(ms(0), SeqNo(70_000), 1000), Ok(()));
    assert_eq!(list.len(), MAX_MISSING);
    assert_eq!(list.handle_newest(ms(0), SeqNo(70_002), 1), Err(TooManyMissing));
    assert_eq!((list.len(), list.deadline(), list.gave_up()), (0, Time::NEVER, 1001));
    assert_eq!(list.handle_newest(ms(0), SeqNo(80_000), 1001), Err(TooManyMissing));
    // What arrived meanwhile makes room.
    list.handle_newest(ms(0), SeqNo(90_000), 1000).unwrap();
    list.handle_received(SeqNo(89_500));
    assert_eq!(list.handle_newest(ms(0), SeqNo(90_002), 1), Ok(()));
}

#[test]
fn what_does_not_fit_stays_due() {
    let mut list = NackList::new();
    list.handle_newest(ms(0), SeqNo(110), 5).unwrap();
    let mut out = [SeqNo(0); 3];
    assert_eq!(list.poll(ms(10), RTT, &mut out), 3);
    assert_eq!(list.deadline(), ms(10));
    assert_eq!(list.poll(ms(10), RTT, &mut out), 2);
    assert_eq!((out[0], out[1]), (SeqNo(108), SeqNo(109)));
    assert_eq!(list.deadline(), ms(60));
}

#[test]
fn what_the_window_would_refuse_is_not_asked_for() {
    let mut list = missing_100();
    list.handle_newest(ms(1), SeqNo(100 + WINDOW), 0).unwrap();
    assert_eq!(poll(&mut list, ms(10)), []);
    assert_eq!(list.gave_up(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Send { lost: u16 },
    Arrive(usize),
    Wait(u64),
    Keyframe,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u16..6).prop_map(|lost| Step::Send { lost }),
        1 => (0u16..1200).prop_map(|lost| Step::Send { lost }),
        4 => any::<usize>().prop_map(Step::Arrive),
        4 => (0u64..120).prop_map(Step::Wait),
        1 => Just(Step::Keyframe),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    /// Never more than it may hold, never what arrived, never too often, always in order, never later than it said.
    #[test]
    fn asks_only_for_what_is_missing(steps in steps()) {
        let mut list = NackList::new();
        let (mut now, mut newest) = (0, 1 << 16);
        let mut missing = BTreeSet::new();
        let mut asked: BTreeMap<u64, (u8, u64)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Send { lost } => {
                    let seq = newest + u64::from(lost) + 1;
                    missing.extend(newest + 1..seq);
                    newest = seq;
                    if list.handle_newest(ms(now), SeqNo(seq), lost).is_err() {
                        prop_assert!(missing.len() > MAX_MISSING, "gave up on {}", missing.len());
                        missing.clear();
                    }
                }
                Step::Arrive(index) if !missing.is_empty() => {
                    let seq = *missing.iter().nth(index % missing.len()).unwrap();
                    missing.remove(&seq);
                    list.handle_received(SeqNo(seq));
                }
                Step::Arrive(_) => {}
                Step::Wait(span) => {
                    let (deadline, until) = (list.deadline(), now + span);
                    let at = deadline.max(ms(now));
                    now = if at <= ms(until) { at.as_millis() } else { until };
                }
                Step::Keyframe => {
                    list.handle_keyframe(SeqNo(newest));
                    missing.clear();
                }
            }
            let wanted = poll(&mut list, ms(now));
            prop_assert!(wanted.is_sorted());
            for seq in wanted {
                prop_assert!(missing.contains(&seq), "{} is not missing", seq);
                let (tries, last) = asked.get(&seq).copied().unwrap_or((0, 0));
                prop_assert!(tries < MAX_TRIES);
                prop_assert!(tries == 0 || now - last >= 50);
                asked.insert(seq, (tries + 1, now));
            }
            prop_assert!(list.len() <= MAX_MISSING);
            prop_assert!(list.deadline() >= ms(now));
            if !list.is_empty() {
                prop_assert!(list.deadline() <= ms(now + 100), "nothing missing is forgotten");
            }
        }
    }
}
