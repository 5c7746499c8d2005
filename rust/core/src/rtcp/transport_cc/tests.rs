use proptest::prelude::*;

use super::*;
use crate::drop::Drop;
use crate::rtcp::{Compound, Full, RtcpPacket, Writer};
use crate::units::SeqNo;

const HEAD: Head = Head { sender_ssrc: Ssrc(1), media_ssrc: Ssrc(2), base: SeqNo(0x1_0064), feedback_count: 7 };

/// A feedback packet with these bytes behind the two SSRCs.
fn packet(fci: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x8F, 205, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    bytes.extend(fci);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes[3] = u8::try_from(bytes.len() / 4 - 1).unwrap();
    bytes
}

fn parse(bytes: &[u8]) -> Result<Feedback<'_>, Drop> {
    let mut packets = Compound::new(bytes);
    let packet = packets.next().unwrap()?;
    assert!(packets.next().is_none());
    let RtcpPacket::TransportCc(feedback) = packet else { panic!("{packet:?}") };
    Ok(feedback)
}

/// The numbers that arrived, with microseconds since the reference time.
fn arrivals(feedback: &Feedback<'_>) -> Vec<(u16, i64)> {
    let start = feedback.reference_time();
    feedback.arrivals().map(|arrival| (arrival.sequence_number, arrival.at.micros_since(start))).collect()
}

fn write_all(base: SeqNo, list: &[(SeqNo, Time)], size: usize) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut head = Head { base, ..HEAD };
    let mut rest = list;
    while !rest.is_empty() {
        let mut buffer = vec![0xAA; size];
        let mut writer = Writer::new(&mut buffer);
        let taken = write(&mut writer, &head, rest.iter().copied()).unwrap();
        assert!(taken > 0);
        head.base = rest[taken - 1].0.plus(1);
        rest = &rest[taken..];
        packets.push(writer.as_bytes().to_vec());
    }
    packets
}

#[test]
fn every_kind_of_chunk_is_read() {
    let bytes = packet(&[
        0,
        100,
        0,
        29,
        0,
        0,
        2,
        9, // base 100, 29 packets, reference 128 ms, feedback 9
        0x20,
        3, // run of 3 small
        0x00,
        4, // run of 4 lost
        0b1010_0000,
        0b0000_0001, // 14 of one bit: small, 12 lost, small
        0b1110_0100,
        0b0000_0001, // 7 of two bits: large, small, lost, lost, lost, lost, small
        0x40,
        9, // a run of 9 large, of which one counts
        0,
        4,
        255, // the three smalls
        1,
        2, // the vector's
        0xFF,
        0xFC,
        8,
        3, // large -4, small, small
        0x7F,
        0xFF,
    ]);
    let feedback = parse(&bytes).unwrap();
    assert_eq!((feedback.sender_ssrc, feedback.media_ssrc), (Ssrc(1), Ssrc(2)));
    assert_eq!((feedback.base, feedback.count, feedback.feedback_count), (100, 29, 9));
    assert_eq!(feedback.reference_time(), ArrivalTime::at(Time::from_millis(128)));
    assert_eq!(
        arrivals(&feedback),
        [
            (100, 0),
            (101, 1000),
            (102, 64_750),
            (107, 65_000),
            (120, 65_500),
            (121, 64_500),
            (122, 66_500),
            (127, 67_250),
            (128, 67_250 + 32_767 * 250),
        ]
    );
}

#[test]
fn chunks_and_deltas_have_to_be_there() {
    let good = [0, 100, 0, 3, 0, 0, 2, 9, 0x20, 3, 1, 2];
    assert!(parse(&packet(&good)).is_err(), "a delta is missing");
    assert!(parse(&packet(&[&good[..], &[3]].concat())).is_ok());
    assert!(parse(&packet(&[0, 100, 0, 14, 0, 0, 2, 9])).is_err(), "no chunk");
    assert!(parse(&packet(&[0, 100, 0, 14, 0, 0, 2, 9, 0x20, 0, 0, 0])).is_err(), "runs of nothing lead nowhere");
    assert!(parse(&packet(&[0, 100, 0, 15, 0, 0, 2, 9, 0x80, 0, 0, 0])).is_err(), "the 15th is missing");
    assert!(parse(&packet(&[0, 100, 0, 15, 0, 0, 2, 9, 0x80, 0, 0, 1])).is_ok());
}

#[test]
fn the_reserved_status_is_refused_where_it_counts() {
    assert!(parse(&packet(&[0, 0, 0, 2, 0, 0, 0, 0, 0x60, 2, 0, 0, 0, 0, 0, 0])).is_err());
    assert!(parse(&packet(&[0, 0, 0, 2, 0, 0, 0, 0, 0x60, 0, 0, 2])).is_ok(), "a run of none");
    assert!(parse(&packet(&[0, 0, 0, 2, 0, 0, 0, 0, 0b1101_1100, 0, 0, 0, 0, 0])).is_err(), "second status");
    assert!(parse(&packet(&[0, 0, 0, 1, 0, 0, 0, 0, 0b1101_1100, 0, 0, 0, 0, 0])).is_ok(), "behind the count");
}

#[test]
fn a_lie_of_65535_packets_costs_what_its_bytes_cost() {
    let mut fci = vec![0, 0, 0xFF, 0xFF, 0, 0, 0, 0];
    fci.extend([0x1F, 0xFF].repeat(8));
    fci.extend([0x20, 7]);
    fci.extend([1; 7]);
    let bytes = packet(&fci);
    let feedback = parse(&bytes).unwrap();
    assert_eq!(feedback.count, 65535);
    assert_eq!(arrivals(&feedback).first(), Some(&(65528, 250)), "8 * 8191 packets on");
    assert_eq!(arrivals(&feedback).len(), 7);
}

#[test]
fn times_compare_over_the_wrap_of_the_reference() {
    let wrap = 250_000_u64 << 32;
    let (before, after) = (Time::from_nanos(wrap - 1_000_000), Time::from_nanos(wrap + 1_000_000));
    assert_eq!(ArrivalTime::at(after).micros_since(ArrivalTime::at(before)), 2000);
    let list = [(SeqNo(65536), before), (SeqNo(65537), after)];
    let packets = write_all(SeqNo(65536), &list, 100);
    let feedback = parse(&packets[0]).unwrap();
    let times: Vec<_> = feedback.arrivals().map(|arrival| arrival.at).collect();
    assert_eq!(times, [ArrivalTime::at(before), ArrivalTime::at(after)]);
    assert_eq!(feedback.reference_time().micros_since(ArrivalTime::at(before)), -63_000, "all 24 bits set");
}

#[test]
fn the_picture_in_the_module_is_true() {
    let list = [(HEAD.base, Time::from_millis(65)), (HEAD.base.plus(19), Time::from_millis(68))];
    let mut buffer = [0; 40];
    let mut writer = Writer::new(&mut buffer);
    assert_eq!(write(&mut writer, &HEAD, list), Ok(2));
    let bytes = writer.as_bytes();
    assert_eq!(bytes[12..20], [0, 100, 0, 20, 0, 0, 1, 7]);
    // One small and 13 lost, five lost and a small: two vectors, no shorter than run and vector.
    assert_eq!(bytes[20..], [0b1010_0000, 0, 0b1000_0001, 0, 4, 12, 0, 0]);
}

#[test]
fn steady_arrivals_take_one_run() {
    let list: Vec<_> = (0..500).map(|n| (HEAD.base.plus(n), Time::from_millis(64 + n))).collect();
    let packets = write_all(HEAD.base, &list, 1200);
    assert_eq!(packets.len(), 1);
    assert_eq!(packets[0].len(), (20 + 2 + 500_usize).next_multiple_of(4));
    assert_eq!(packets[0][20..22], [0x20 | 1, 0xF4]);
}

#[test]
fn it_stops_where_the_format_ends() {
    let write_two = |seq: u64, nanos: u64| {
        let mut buffer = [0; 400];
        let second = (HEAD.base.plus(seq), Time::from_nanos(10_000_000_000 + nanos));
        let list = [(HEAD.base, Time::from_millis(10_000)), second];
        write(&mut Writer::new(&mut buffer), &HEAD, list)
    };
    assert_eq!(write_two(1, 0x7FFF * 250_000), Ok(2));
    assert_eq!(write_two(1, 0x8000 * 250_000), Ok(1), "16 bits of delta");
    assert_eq!(write_two(65534, 0), Ok(2));
    assert_eq!(write_two(65535, 0), Ok(1), "16 bits of count");
    assert_eq!(write_two(0, 0), Ok(1), "twice the same");

    let mut buffer = [0; 400];
    let mut writer = Writer::new(&mut buffer);
    assert_eq!(write(&mut writer, &HEAD, []), Ok(0));
    assert_eq!(write(&mut writer, &HEAD, [(SeqNo(HEAD.base.0 - 1), Time::ZERO)]), Ok(0), "before the base");
    assert_eq!(write(&mut writer, &HEAD, [(HEAD.base.plus(65535), Time::ZERO)]), Ok(0), "beyond its reach");
    assert!(writer.is_empty());
}

#[test]
fn the_smallest_packet_needs_24_bytes() {
    let list = [(HEAD.base, Time::ZERO)];
    for size in 0..24 {
        let mut buffer = vec![0; size];
        let mut writer = Writer::new(&mut buffer);
        assert_eq!(write(&mut writer, &HEAD, list), Err(Full));
        assert!(writer.is_empty());
    }
    assert_eq!(write(&mut Writer::new(&mut [0; 24]), &HEAD, list), Ok(1));
}

/// Arrivals with gaps, reordering and pauses.
fn arrival_list() -> impl Strategy<Value = Vec<(SeqNo, Time)>> {
    let gap = prop_oneof![20 => Just(1_u64), 5 => 2..20_u64, 1 => 8000..20_000_u64];
    let span = prop_oneof![20 => 0..60_000_i64, 3 => -50_000..0_i64, 2 => 60_000..2_000_000_i64, 1 => 8_000_000..9_000_000_i64];
    (any::<u32>(), prop::collection::vec((gap, span), 1..200)).prop_map(|(start, steps)| {
        let (mut seq, mut micros) = (SeqNo(65536), i64::from(start) * 1000 + 10_000_000);
        steps
            .into_iter()
            .map(|(gap, span)| {
                (seq, micros) = (seq.plus(gap), micros + span);
                (seq, Time::from_nanos(u64::try_from(micros).unwrap() * 1000))
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(list in arrival_list(), size in 32..1200_usize) {
        let packets = write_all(SeqNo(65536), &list, size);
        let mut read = Vec::new();
        let mut next = 65536_u64;
        for bytes in &packets {
            prop_assert!(bytes.len() <= size);
            let feedback = parse(bytes).unwrap();
            prop_assert_eq!(feedback.base, SeqNo(next).low(), "packets follow each other without a hole");
            next += u64::from(feedback.count);
            read.extend(feedback.arrivals());
        }
        let expected: Vec<_> =
            list.iter().map(|&(seq, at)| Arrival { sequence_number: seq.low(), at: ArrivalTime::at(at) }).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_room_is_wasted(list in arrival_list(), size in 32..100_usize) {
        // Whatever a packet did not take would not have fitted: with a little more room it takes it.
        let head = Head { base: SeqNo(65536), ..HEAD };
        let (mut small, mut large) = (vec![0; size], vec![0; size + 16]);
        let taken = write(&mut Writer::new(&mut small), &head, list.iter().copied()).unwrap();
        let more = write(&mut Writer::new(&mut large), &head, list.iter().copied()).unwrap();
        let stops = list.get(taken).is_none_or(|next| {
            delta(list[taken - 1].1, next.1).is_none() || next.0.0 - head.base.0 >= 65535
        });
        prop_assert!(more > taken || stops);
    }

    #[test]
    fn random_feedback_never_panics(fci in prop::collection::vec(any::<u8>(), 0..60), count in 0..40_u8) {
        let mut fci = fci;
        if fci.len() > 4 {
            fci[2..4].copy_from_slice(&[0, count]);
        }
        if let Ok(feedback) = parse(&packet(&fci)) {
            prop_assert!(feedback.arrivals().count() <= usize::from(feedback.count));
        }
    }
}

fn delta(before: Time, at: Time) -> Option<i16> {
    i16::try_from(ticks(at).cast_signed() - ticks(before).cast_signed()).ok()
}
