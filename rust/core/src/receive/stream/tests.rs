use super::*;
use crate::units::Pt;

const RATE: u32 = 90_000;

fn header(ssrc: u32, sequence_number: u16, timestamp: u32) -> Header {
    Header {
        marker: false,
        payload_type: Pt(96),
        sequence_number,
        timestamp,
        ssrc: Ssrc(ssrc),
        extension_profile: 0,
        extension_offset: 12,
        extension_len: 0,
        payload_offset: 12,
        payload_len: 100,
        padding_len: 0,
    }
}

/// Packets of 112 bytes, one per millisecond and frame, with these numbers.
fn receive(stream: &mut Stream, from_ms: u64, numbers: impl IntoIterator<Item = u16>) {
    for (ms, number) in (from_ms..).zip(numbers) {
        let timestamp = u32::try_from(ms * 90).unwrap();
        let _ = stream.receive(Time::from_millis(ms), RATE, &header(1, number, timestamp), 112);
    }
}

#[test]
fn reports_count_what_the_network_did() {
    let mut stream = Stream::default();
    assert_eq!(stream.report(Time::ZERO), None);
    // 0..=99 with a quarter missing.
    receive(&mut stream, 0, (0..100).filter(|n| n % 4 != 1));
    let report = stream.report(Time::from_millis(100)).unwrap();
    assert_eq!((report.fraction_lost, report.cumulative_lost, report.highest_sequence_number), (64, 25, 99));
    assert_eq!((report.jitter, report.last_sender_report, report.delay_since_last_sender_report), (0, 0, 0));
    assert_eq!(stream.report(Time::from_millis(200)), None, "nothing came since");
    // All of the next hundred, and five of the missing came late by themselves.
    receive(&mut stream, 200, (100..200).chain([1, 5, 9, 13, 17]));
    let report = stream.report(Time::from_millis(400)).unwrap();
    assert_eq!((report.fraction_lost, report.cumulative_lost, report.highest_sequence_number), (0, 20, 199));
    // A retransmission repairs for us and not in the report.
    stream.repair(21).unwrap();
    receive(&mut stream, 400, [200]);
    assert_eq!(stream.report(Time::from_millis(500)).unwrap().cumulative_lost, 20);
    assert_eq!(stream.lost(), 20);
}

#[test]
fn loss_arithmetic_stays_within_its_bits() {
    for (expected, received, fraction) in
        [(0, 0, 0), (1, 1, 0), (1, 0, 255), (2, 1, 128), (3, 5, 0), (1000, 999, 0), (256, 255, 1)]
    {
        assert_eq!(fraction_lost(expected, received), fraction, "{received} of {expected}");
    }
    for (expected, received, lost) in [(5, 7, -2), (1 << 40, 0, 0x7F_FFFF), (0, 1 << 40, -0x80_0000)] {
        assert_eq!(cumulative_lost(expected, received), lost);
    }
    assert_eq!(delay_units(Duration::from_millis(1500)), 98_304);
    assert_eq!(delay_units(Duration::from_secs(65_536)), u32::MAX);
}

#[test]
fn doubled_packets_count_as_received() {
    let mut stream = Stream::default();
    receive(&mut stream, 0, [0, 1, 1, 2, 2]);
    let report = stream.report(Time::from_millis(9)).unwrap();
    assert_eq!((report.cumulative_lost, report.fraction_lost), (-2, 0));
    assert_eq!(stream.totals().duplicates, 2);
    assert_eq!((stream.totals().packets, stream.totals().bytes), (3, 336));
}

#[test]
fn jitter_is_that_of_the_rfc() {
    // Every second packet 10 ms (900 ticks) late: |D| = 900 for each, so J goes to 900 by sixteenths.
    let mut stream = Stream::default();
    let mut model = 0u32;
    for i in 0u16..200 {
        let late = if i % 2 == 1 { 10 } else { 0 };
        let at = Time::from_millis(u64::from(i) * 20 + late);
        stream.receive(at, RATE, &header(1, i, u32::from(i) * 1800), 100).unwrap();
        if i > 0 {
            model = model + 900 - ((model + 8) >> 4);
        }
        assert_eq!(stream.jitter(), model >> 4);
    }
    assert!((880..=900).contains(&stream.jitter()), "{}", stream.jitter());
}

#[test]
fn bursts_of_one_frame_and_new_timestamps_are_not_jitter() {
    let mut stream = Stream::default();
    for i in 0u16..50 {
        let at = Time::from_millis(u64::from(i / 5) * 33 + u64::from(i % 5) * 2);
        stream.receive(at, RATE, &header(1, i, u32::from(i / 5) * 2970), 100).unwrap();
    }
    assert_eq!(stream.jitter(), 0);
    assert_eq!(stream.totals().frames, 10);
    stream.receive(Time::from_millis(330), RATE, &header(1, 50, 0x8000_0000), 100).unwrap();
    assert_eq!(stream.jitter(), 0);
}

#[test]
fn the_sender_report_comes_back_with_its_age() {
    let mut stream = Stream::default();
    receive(&mut stream, 0, [7]);
    stream.handle_sender_report(Time::from_millis(10), RATE, 0x1234_5678_9ABC_DEF0, 4242);
    let report = stream.report(Time::from_millis(510)).unwrap();
    assert_eq!((report.last_sender_report, report.delay_since_last_sender_report), (0x5678_9ABC, 32_768));
    assert_eq!(stream.clock().map(|clock| (clock.rtp, clock.at)), Some((4242, Time::from_millis(10))));
}

#[test]
fn a_sender_report_far_from_the_packets_is_passed_over() {
    let mut stream = Stream::default();
    stream.handle_sender_report(Time::ZERO, RATE, 1 << 32, 0);
    assert_eq!(stream.clock(), None, "of packets nobody has seen");
    stream.receive(Time::from_millis(100), RATE, &header(1, 7, 5000), 100).unwrap();
    let near = |seconds: i64| 5000_u32.wrapping_add_signed(i32::try_from(seconds * i64::from(RATE)).unwrap());
    for (ms, rtp, is_taken) in [
        (100, near(11), false),
        (100, near(-11), false),
        (100, near(9), true),
        (60_100, near(60), true),
        (60_100, near(0), false),
    ] {
        let before = stream.clock();
        stream.handle_sender_report(Time::from_millis(ms), RATE, 2 << 32, rtp);
        assert_eq!(stream.clock() != before, is_taken, "{rtp} at {ms}");
    }
}

#[test]
fn another_ssrc_begins_anew_with_later_numbers() {
    let mut stream = Stream::default();
    receive(&mut stream, 0, [65_000, 65_001, 65_003]);
    stream.handle_sender_report(Time::ZERO, RATE, 1, 1);
    let received = stream.receive(Time::from_millis(9), RATE, &header(2, 65_002, 0), 100).unwrap();
    assert_eq!(received, Received { seq: SeqNo(0x3_0000 + 65_002), order: Order::Restart });
    assert_eq!((stream.ssrc(), stream.clock(), stream.totals().restarts), (Some(Ssrc(2)), None, 1));
    let report = stream.report(Time::from_millis(10)).unwrap();
    assert_eq!((report.ssrc, report.highest_sequence_number, report.cumulative_lost), (Ssrc(2), 65_002, 0));
    stream.unbind();
    assert_eq!((stream.report(Time::from_millis(11)), stream.highest()), (None, None));
}

#[test]
fn rates_are_of_the_last_second() {
    let mut stream = Stream::default();
    for i in 0u16..200 {
        // 2 packets of 625 bytes each 20 ms: 500 kbit/s, 50 frames.
        let at = Time::from_millis(u64::from(i / 2) * 20);
        stream.receive(at, RATE, &header(1, i, u32::from(i / 2) * 1800), 625).unwrap();
    }
    let now = Time::from_millis(1999);
    assert!((490_000..=515_000).contains(&stream.bitrate(now).as_bps()), "{:?}", stream.bitrate(now));
    assert!((49..=51).contains(&stream.frame_rate(now)), "{}", stream.frame_rate(now));
}
