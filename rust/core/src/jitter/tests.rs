use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const FRAME: u64 = 20;
const TICKS: u32 = 960;

fn ms(n: u64) -> Time {
    Time::from_millis(n)
}

fn buffer(packets: u16) -> JitterBuffer {
    JitterBuffer::new(PlayoutParameters {
        clock_rate: 48_000,
        min_delay: Duration::from_millis(40),
        max_delay: Duration::from_millis(400),
        packets,
        packet_bytes: 8,
    })
}

/// Pushes frame `n` of a stream whose numbers and timestamps start near their wraps.
fn push(buffer: &mut JitterBuffer, at: u64, n: u16) -> Result<(), Drop> {
    buffer.push(ms(at), number(n), timestamp(n), false, &n.to_be_bytes())
}

fn number(n: u16) -> u16 {
    n.wrapping_add(65_530)
}

fn timestamp(n: u16) -> u32 {
    (u32::from(n) * TICKS).wrapping_add(u32::MAX - 5000)
}

/// What has its turn, by frame: `Ok` played, `Err` missing.
fn pop(buffer: &mut JitterBuffer, at: u64) -> Vec<Result<u16, u16>> {
    let mut out = Vec::new();
    loop {
        match buffer.pop(ms(at)) {
            Playout::Frame(frame) => {
                let n = u16::from_be_bytes(frame.payload.try_into().unwrap());
                assert_eq!((frame.seq.low(), frame.timestamp), (number(n), timestamp(n)));
                assert!(frame.due_at <= ms(at));
                out.push(Ok(n));
            }
            Playout::Missing { timestamp: lost } => {
                out.push(Err((lost.wrapping_sub(timestamp(0)) / TICKS).try_into().unwrap()));
            }
            Playout::Wait(until) => {
                assert!(until > ms(at));
                return out;
            }
        }
    }
}

#[test]
fn frames_come_out_in_order_one_delay_later() {
    let mut buffer = buffer(16);
    assert_eq!(buffer.pop(ms(0)), Playout::Wait(Time::NEVER));
    for (at, n) in [(100, 0), (140, 2), (140, 1), (160, 3)] {
        push(&mut buffer, at, n).unwrap();
    }
    assert_eq!(buffer.pop(ms(139)), Playout::Wait(ms(140)));
    assert_eq!(pop(&mut buffer, 140), [Ok(0)]);
    assert_eq!(pop(&mut buffer, 179), [Ok(1)]);
    assert_eq!(pop(&mut buffer, 200), [Ok(2), Ok(3)]);
    assert_eq!((buffer.held(), buffer.stats().played), (0, 4));
}

#[test]
fn the_first_packet_may_be_overtaken() {
    let mut buffer = buffer(16);
    push(&mut buffer, 100, 1).unwrap();
    push(&mut buffer, 101, 0).unwrap();
    assert_eq!(pop(&mut buffer, 200), [Ok(0), Ok(1)]);
    let mut buffer = self::buffer(16);
    push(&mut buffer, 100, 1).unwrap();
    assert_eq!(pop(&mut buffer, 140), [Ok(1)]);
    assert_eq!(push(&mut buffer, 141, 0), Err(Drop::TooLate), "its turn is over");
}

#[test]
fn a_loss_is_told_when_its_turn_comes() {
    let mut buffer = buffer(16);
    for n in [0, 1, 3] {
        push(&mut buffer, u64::from(n) * FRAME, n).unwrap();
    }
    assert_eq!(pop(&mut buffer, 60), [Ok(0), Ok(1)]);
    assert_eq!(buffer.pop(ms(79)), Playout::Wait(ms(80)));
    assert_eq!(pop(&mut buffer, 80), [Err(2)]);
    assert_eq!(push(&mut buffer, 81, 2), Err(Drop::TooLate));
    assert_eq!((buffer.stats().missing, buffer.stats().late), (1, 1));
    assert_eq!(pop(&mut buffer, 200), [Ok(3)]);
}

#[test]
fn a_standstill_is_not_concealed_twice() {
    let mut buffer = buffer(64);
    push(&mut buffer, 0, 0).unwrap();
    assert_eq!(pop(&mut buffer, 40), [Ok(0)]);
    assert_eq!(buffer.pop(ms(500)), Playout::Wait(Time::NEVER), "who plays conceals by himself");
    push(&mut buffer, 600, 30).unwrap();
    // Frames 1 to 28 were due before 621 - 20; 29 is due at 620.
    assert_eq!(pop(&mut buffer, 621), [Err(29)]);
    assert_eq!(pop(&mut buffer, 640), [Ok(30)]);
    assert_eq!(buffer.stats().missing, 29);
}

#[test]
fn silence_is_not_loss() {
    let mut buffer = buffer(16);
    for (n, at) in [(0u16, 0), (1, 20), (2, 40)] {
        push(&mut buffer, at, n).unwrap();
    }
    assert_eq!(pop(&mut buffer, 80), [Ok(0), Ok(1), Ok(2)]);
    // One second of silence: the next number, 50 frames later.
    buffer.push(ms(1040), number(3), timestamp(52), true, &52u16.to_be_bytes()).unwrap();
    assert_eq!(buffer.pop(ms(1050)), Playout::Wait(ms(1080)));
    assert!(matches!(buffer.pop(ms(1080)), Playout::Frame(frame) if frame.marker && frame.timestamp == timestamp(52)));
    assert_eq!(buffer.stats().missing, 0);
}

#[test]
fn doubles_are_told_from_late_ones() {
    let mut buffer = buffer(16);
    push(&mut buffer, 0, 0).unwrap();
    assert_eq!(push(&mut buffer, 1, 0), Err(Drop::Duplicate));
    assert_eq!(pop(&mut buffer, 40), [Ok(0)]);
    let before = buffer.delay();
    assert_eq!(push(&mut buffer, 300, 0), Err(Drop::Duplicate));
    assert_eq!((buffer.stats().duplicates, buffer.stats().late, buffer.delay()), (2, 0, before));
}

#[test]
fn holds_its_packets_and_not_one_more() {
    let mut buffer = buffer(4);
    for n in 0..4 {
        push(&mut buffer, 0, n).unwrap();
    }
    assert_eq!((buffer.held(), buffer.stats().discarded), (4, 0));
    push(&mut buffer, 0, 4).unwrap();
    assert_eq!((buffer.held(), buffer.stats().discarded), (4, 1), "the oldest went");
    push(&mut buffer, 0, 100).unwrap();
    assert_eq!((buffer.held(), buffer.stats().discarded), (1, 5));
    assert_eq!(pop(&mut buffer, 5000), [Ok(100)]);
    assert_eq!(buffer.push(ms(0), number(101), 0, false, &[0; 9]), Err(Drop::Oversized));
    assert_eq!(buffer.push(ms(2020), number(101), timestamp(101), false, &[0; 8]), Ok(()));
}

#[test]
fn a_jump_of_numbers_begins_anew_when_proven() {
    let mut buffer = buffer(8);
    push(&mut buffer, 0, 0).unwrap();
    assert_eq!(push(&mut buffer, 20, 10_000), Err(Drop::TooLate));
    assert_eq!((buffer.held(), buffer.stats().resets), (1, 0));
    push(&mut buffer, 40, 10_001).unwrap();
    assert_eq!((buffer.held(), buffer.stats().resets, buffer.stats().discarded), (1, 1, 1));
    assert_eq!(pop(&mut buffer, 80), [Ok(10_001)]);
}

#[test]
fn a_jump_of_timestamps_begins_anew() {
    let mut buffer = buffer(8);
    push(&mut buffer, 0, 0).unwrap();
    buffer.push(ms(20), number(1), timestamp(1).wrapping_add(48_000 * 11), false, b"").unwrap();
    assert_eq!((buffer.held(), buffer.stats().resets), (1, 1));
    assert_eq!(buffer.pop(ms(20)), Playout::Wait(ms(60)));
}

#[test]
fn the_delay_goes_up_at_once_and_down_slowly() {
    let mut buffer = buffer(64);
    let mut n = 0u16;
    let mut run = |buffer: &mut JitterBuffer, frames: u16, jitter: fn(u16) -> u64| {
        for _ in 0..frames {
            // Frames leave every 20 ms and are held up by `jitter`; what waits behind one is not modelled.
            let _ = push(buffer, u64::from(n) * FRAME + jitter(n), n);
            pop(buffer, u64::from(n) * FRAME + 19);
            n += 1;
        }
        buffer.delay().as_millis()
    };
    assert_eq!(run(&mut buffer, 200, |_| 0), 40, "a quiet network: the least");
    let up = run(&mut buffer, 50, |n| if n % 4 == 0 { 150 } else { 0 });
    assert!((145..=160).contains(&up), "{up} ms after a second");
    let down = run(&mut buffer, 50, |_| 0);
    assert!((up - 21..=up).contains(&down), "{down} ms a second later");
    let settled = run(&mut buffer, 3000, |_| 0);
    assert_eq!(settled, 40);
    let most = run(&mut buffer, 300, |n| if n % 2 == 0 { 900 } else { 0 });
    assert_eq!(most, 400, "never more than the most");
}

#[test]
fn a_straggler_costs_half_of_itself_for_a_while() {
    let mut buffer = buffer(64);
    for n in 0..500u16 {
        let late = if n == 400 { 240 } else { 0 };
        let _ = push(&mut buffer, u64::from(n) * FRAME + late, n);
        if n == 400 {
            assert_eq!(buffer.delay().as_millis(), 140);
        }
    }
    assert!((95..=105).contains(&buffer.delay().as_millis()), "{:?}", buffer.delay());
}

#[test]
fn a_longer_way_is_not_jitter() {
    let mut buffer = buffer(64);
    for n in 0..1000u16 {
        let way = if n < 200 { 0 } else { 100 };
        let _ = push(&mut buffer, u64::from(n) * FRAME + way, n);
        pop(&mut buffer, u64::from(n) * FRAME + way + 19);
        if n == 290 {
            assert!(buffer.delay().as_millis() > 100, "measured from the shorter way");
        }
    }
    assert_eq!(buffer.delay().as_millis(), 40, "measured from the longer way");
}

#[test]
fn silence_lets_the_delay_come_down_at_once() {
    let mut buffer = buffer(64);
    for n in 0..500u16 {
        let _ = push(&mut buffer, u64::from(n) * FRAME + if n == 490 { 240 } else { 0 }, n);
        pop(&mut buffer, u64::from(n) * FRAME + 19);
    }
    assert!(buffer.delay().as_millis() > 100);
    pop(&mut buffer, 11_000);
    buffer.push(ms(600 * FRAME), number(500), timestamp(600), true, b"ab").unwrap();
    assert_eq!(buffer.delay().as_millis(), 40);
}

proptest! {
    /// Loss, reordering, doubles, standstills: what comes out is in order, whole, once, and accounted for.
    #[test]
    fn plays_each_frame_once_and_in_order(
        packets in prop::collection::vec((0u64..150, 0u8..20), 1..600),
        capacity in 2u16..40,
        pace in 1u64..40,
    ) {
        let mut buffer = buffer(capacity);
        let mut arrivals: BTreeMap<u64, Vec<u16>> = BTreeMap::new();
        for (n, (jitter, fate)) in (0u16..).zip(packets) {
            let at = u64::from(n) * FRAME + jitter;
            for copy in 0..match fate { 0 => 0, 1 => 2, _ => 1 } {
                arrivals.entry(at + copy * 7).or_default().push(n);
            }
        }
        let end = arrivals.keys().last().copied().unwrap_or(0) + 2000;
        let mut accepted = 0;
        let mut last = None;
        for now in 0..end {
            for n in arrivals.get(&now).into_iter().flatten() {
                accepted += u64::from(push(&mut buffer, now, *n).is_ok());
            }
            if now % pace == 0 {
                for frame in pop(&mut buffer, now) {
                    let n = frame.unwrap_or_else(|missing| missing);
                    prop_assert!(last.is_none_or(|last| n > last), "{} after {:?}", n, last);
                    last = Some(n);
                }
            }
            prop_assert!(buffer.held() <= usize::from(capacity));
            prop_assert!(buffer.delay() <= Duration::from_millis(400));
        }
        pop(&mut buffer, end + pace);
        let stats = buffer.stats();
        prop_assert_eq!(buffer.held(), 0);
        prop_assert_eq!(stats.played + stats.discarded, accepted);
        prop_assert_eq!(stats.resets, 0);
    }
}
