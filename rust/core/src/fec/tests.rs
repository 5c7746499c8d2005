//! Both formats against Chromium, against numbers worked out by hand, and against themselves.

mod chromium;

use proptest::prelude::*;

use super::*;
use crate::rtp::{Extensions, FixedHeader, Header};
use crate::units::Pt;

const SSRC: Ssrc = Ssrc(0x1234_5678);

#[test]
fn a_flexfec_packet_by_hand() {
    // §4.2: M and PT 96 of one packet with PT 96 and none: M alone. Lengths 5 and 3, timestamps 0x10 and 0x11.
    let mut sum = Parity::new();
    let header =
        FixedHeader { payload_type: Pt(96), timestamp: 0x10, sequence_number: 7, ssrc: SSRC, ..Default::default() };
    assert!(sum.add(&header, &[&[1, 2], &[3, 4, 5]]));
    assert!(sum.add(&FixedHeader { marker: true, timestamp: 0x11, sequence_number: 9, ..header }, &[&[0xF0, 0, 3]]));
    let mut out = [0xEE; 64];
    let len = flexfec::write(&sum.repair(Some(SSRC), 7, 0b101), &mut out).unwrap();
    #[rustfmt::skip]
    let expected = [
        0x00, 0x80, 0, 5 ^ 3, 0, 0, 0, 1, 1, 0, 0, 0, 0x12, 0x34, 0x56, 0x78,
        0, 7, 0b1101_0000, 0, // k, then packets 0 and 2
        0xF1, 2, 0, 4, 5,
    ];
    assert_eq!(&out[..len], &expected);
    // With the second at hand, the first comes out.
    let mut rest = Parity::new();
    assert!(rest.load(&flexfec::parse(&expected).unwrap()));
    rest.add(&FixedHeader { marker: true, timestamp: 0x11, sequence_number: 9, ..header }, &[&[0xF0, 0, 3]]);
    let len = rest.write_packet(7, SSRC, &mut out).unwrap();
    assert_eq!(&out[..len], [&header.to_bytes()[..], &[1, 2, 3, 4, 5]].concat());
}

#[test]
fn masks_of_flexfec_by_hand() {
    // §4.2: the mask is in parts of 15, 31 and 63 bits, a k bit in front of each says whether it is the last.
    let write = |mask: u128| {
        let mut out = [0; 64];
        let len = flexfec::write(&Parity::new().repair(Some(SSRC), 0, mask), &mut out).unwrap();
        assert_eq!(flexfec::parse(&out[..len]).unwrap().mask, mask);
        out[18..len].to_vec()
    };
    assert_eq!(write(1 | 1 << 14), [0xC0, 0x01]);
    assert_eq!(write(1 | 1 << 15), [0x40, 0, 0xC0, 0, 0, 0]);
    assert_eq!(write(1 | 1 << 45), [0x40, 0, 0x80, 0, 0, 1]);
    assert_eq!(write(1 | 1 << 46), [0x40, 0, 0, 0, 0, 0, 0xC0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(write(1 | 1 << 108), [0x40, 0, 0, 0, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 1]);
    let mut out = [0; 64];
    for (ssrc, mask) in [(Some(SSRC), 1 << 109), (Some(SSRC), 0), (None, 1)] {
        assert_eq!(flexfec::write(&Parity::new().repair(ssrc, 0, mask), &mut out), None);
    }
    assert_eq!(flexfec::write(&Parity::new().repair(Some(SSRC), 0, 1), &mut out[..19]), None);
}

#[test]
fn an_ulpfec_packet_by_hand() {
    // RFC 5109 §10.1: packets 8 to 11 have M 1, 0, 1, 0, PT 11, 18, 11, 18, timestamps 3, 5, 7, 9 and lengths of 200,
    // 140, 100 and 340 bytes. The header that protects them all has M 0, PT 0, base 8, timestamp 8 and length 372.
    let mut sum = Parity::new();
    let packets = [(true, 11, 3, 200), (false, 18, 5, 140), (true, 11, 7, 100), (false, 18, 9, 340)];
    for (marker, pt, timestamp, len) in packets {
        let header = FixedHeader { marker, payload_type: Pt(pt), timestamp, ..FixedHeader::default() };
        assert!(sum.add(&header, &[&vec![1; len]]));
    }
    let mut out = [0; 512];
    let len = ulpfec::write(&sum.repair(None, 8, 0b1111), &mut out).unwrap();
    assert_eq!(len, 14 + 340);
    assert_eq!(out[..14], [0, 0, 0, 8, 0, 0, 0, 8, 0x01, 0x74, 0x01, 0x54, 0xF0, 0]);
    // All four have the first 100 bytes, three the next 40, two the next 60, one the rest.
    assert_eq!(out[14..len], [vec![0; 100], vec![1; 40], vec![0; 60], vec![1; 140]].concat());
}

#[test]
fn masks_of_ulpfec_by_hand() {
    // RFC 5109 §7.4: 16 bits, or 48 with L set.
    let write = |mask: u128| {
        let mut out = [0; 64];
        let len = ulpfec::write(&Parity::new().repair(None, 0, mask), &mut out).unwrap();
        assert_eq!(ulpfec::parse(&out[..len]).unwrap().mask, mask);
        (out[0], out[12..len].to_vec())
    };
    assert_eq!(write(1 | 1 << 15), (0, vec![0x80, 0x01]));
    assert_eq!(write(1 | 1 << 16), (0x40, vec![0x80, 0, 0x80, 0, 0, 0]));
    assert_eq!(write(1 | 1 << 47), (0x40, vec![0x80, 0, 0, 0, 0, 1]));
    let mut out = [0; 64];
    for mask in [0, 1 << 48] {
        assert_eq!(ulpfec::write(&Parity::new().repair(None, 0, mask), &mut out), None);
    }
}

#[test]
fn what_no_browser_sends_is_refused() {
    let mut out = [0; 64];
    let len = flexfec::write(&Parity::new().repair(Some(SSRC), 0, 1), &mut out).unwrap();
    for (at, byte) in [(0, 0x80), (0, 0x40), (8, 0), (8, 2), (18, 0x80)] {
        let mut changed = out;
        changed[at] = byte;
        assert_eq!(flexfec::parse(&changed[..len]), None, "byte {at}");
    }
    let len = ulpfec::write(&Parity::new().repair(None, 0, 1), &mut out).unwrap();
    for (at, byte) in [(0, 0x80), (12, 0), (11, 1)] {
        let mut changed = out;
        changed[at] = byte;
        assert_eq!(ulpfec::parse(&changed[..len]), None, "byte {at}");
    }
    assert_eq!(ulpfec::unwrap_red(&[0xFF, 0, 0, 0, 96]), None, "a block in front");
}

#[test]
fn nothing_longer_than_a_packet_is_summed() {
    let mut sum = Parity::new();
    let long = vec![7; parity::MAX_BODY + 1];
    assert!(!sum.add(&FixedHeader::default(), &[&long[1..], &[1]]));
    assert_eq!(sum.repair(None, 0, 1).body, [0; 0], "and nothing of it is in the sum");
    assert!(sum.add(&FixedHeader::default(), &[&long[1..]]));
    let whole = Repair { ssrc: None, base: 0, mask: 1, flags: 0, length: u16::MAX, timestamp: 0, body: &long[1..] };
    assert!(sum.load(&whole));
    assert_eq!(sum.write_packet(0, SSRC, &mut [0; 4000]), None, "a length beyond the sum");
    assert!(!sum.load(&Repair { body: &long, ..whole }));
}

/// A media packet of the sizes and flags of `seed`.
fn media(number: u16, seed: u64, len: usize) -> Vec<u8> {
    let header = FixedHeader {
        marker: seed & 1 != 0,
        payload_type: Pt(if seed & 2 == 0 { 96 } else { 98 }),
        sequence_number: number,
        timestamp: u32::try_from(seed >> 32).unwrap(),
        ssrc: SSRC,
        ..FixedHeader::default()
    };
    let body =
        (0..len).map(|i| u8::try_from((seed.rotate_left(u32::try_from(i % 64).unwrap()) ^ i as u64) & 0xFF).unwrap());
    header.to_bytes().into_iter().chain(body).collect()
}

/// Sends packets through an encoder and returns the payloads of its repair packets.
fn encode(plan: Plan, format: Format, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(plan);
    let mut repairs = Vec::new();
    let mut out = [0; 1600];
    for packet in packets {
        let header = Header::parse(packet).unwrap();
        let middle = 12 + (packet.len() - 12) / 2;
        if encoder.add(&header.fixed(), &[&packet[12..middle], &packet[middle..]]) {
            while let Some(len) = encoder.write(format, &mut out) {
                repairs.push(out[..len].to_vec());
            }
        }
    }
    if encoder.close() {
        while let Some(len) = encoder.write(format, &mut out) {
            repairs.push(out[..len].to_vec());
        }
    }
    repairs
}

fn parse(format: Format, payload: &[u8]) -> Repair<'_> {
    match format {
        Format::FlexFec(_) => flexfec::parse(payload).unwrap(),
        Format::UlpFec => ulpfec::parse(payload).unwrap(),
    }
}

/// The packets that a repair packet names.
fn named(format: Format, payload: &[u8]) -> Vec<u16> {
    let repair = parse(format, payload);
    (0..109).filter(|i| repair.mask >> i & 1 != 0).map(|i| repair.base.wrapping_add(i)).collect()
}

#[test]
fn a_window_ends_with_its_frames_or_its_packets() {
    let packets: Vec<_> = (0..20).map(|i| media(i, u64::from(i % 3 == 2), 10)).collect();
    let windows = |plan| -> Vec<_> {
        encode(plan, Format::UlpFec, &packets).iter().map(|payload| named(Format::UlpFec, payload)).collect()
    };
    let two_frames = windows(Plan::new(1, 48, 2, 1));
    assert_eq!(two_frames[..2], [(0..6).collect::<Vec<_>>(), (6..12).collect()]);
    assert_eq!(two_frames.last().unwrap(), &[18, 19], "closed early");
    let four_packets = windows(Plan::new(2, 4, 9, 1));
    assert_eq!(four_packets[..3], [vec![0, 2], vec![1, 3], vec![4, 6]]);
}

#[test]
fn late_and_repeated_packets_are_left_out_and_a_jump_ends_the_window() {
    let mut encoder = Encoder::new(Plan::new(1, 48, 9, 1));
    let mut out = [0; 1500];
    let add = |encoder: &mut Encoder, number| {
        let packet = media(number, 0, 10);
        encoder.add(&Header::parse(&packet).unwrap().fixed(), &[&packet[12..]])
    };
    for number in [65_535, 0, 0, 65_534, 45] {
        assert!(!add(&mut encoder, number), "{number}");
    }
    assert!(add(&mut encoder, 48), "49 behind the first");
    let len = encoder.write(Format::UlpFec, &mut out).unwrap();
    assert_eq!(named(Format::UlpFec, &out[..len]), [65_535, 0, 45]);
    assert_eq!(encoder.write(Format::UlpFec, &mut out), None);
    assert!(!encoder.is_complete() && !encoder.close(), "an empty window");
    assert!(!add(&mut encoder, 49));
    assert!(add(&mut encoder, 49 + 47), "no further packet would fit a mask");
}

#[test]
fn what_was_not_written_in_time_is_given_up() {
    let packet = media(1, 0, 10);
    let fixed = Header::parse(&packet).unwrap().fixed();
    let at = |sequence_number| FixedHeader { sequence_number, ..fixed };
    let mut encoder = Encoder::new(Plan::new(2, 4, 9, 1));
    let mut out = [0; 1500];
    for number in 0..4 {
        encoder.add(&at(number), &[&packet[12..]]);
    }
    assert!(encoder.write(Format::UlpFec, &mut out).is_some() && encoder.is_complete());
    assert!(!encoder.add(&at(4), &[&[9; 20]]));
    assert!(encoder.close());
    let len = encoder.write(Format::UlpFec, &mut out).unwrap();
    assert_eq!((named(Format::UlpFec, &out[..len]), parse(Format::UlpFec, &out[..len]).body), (vec![4], &[9; 20][..]));
    // Another plan begins with the next window, and more repair packets have room.
    assert!(!encoder.add(&at(5), &[&[9; 20]]));
    encoder.set_plan(Plan::new(3, 3, 9, 1));
    assert!(encoder.close() && encoder.write(Format::UlpFec, &mut out).is_some());
    assert_eq!(encoder.write(Format::UlpFec, &mut out), None);
    assert!(!encoder.add(&at(6), &[&[1]]) && !encoder.add(&at(7), &[&[2]]) && encoder.add(&at(8), &[&[3]]));
    for (number, byte) in [(6, 1), (7, 2), (8, 3)] {
        let len = encoder.write(Format::UlpFec, &mut out).unwrap();
        let body = parse(Format::UlpFec, &out[..len]).body.to_vec();
        assert_eq!((named(Format::UlpFec, &out[..len]), body), (vec![number], vec![byte]));
    }
}

#[test]
fn mutable_bytes_count_as_zero() {
    let mut encoder = Encoder::new(Plan::new(4, 8, 9, 2));
    let mut out = [0; 1500];
    let header = FixedHeader::default();
    encoder.add(&header, &[&[1, 2, 3, 4], &[5, 6]]);
    encoder.cancel(1, &[2, 3]);
    encoder.cancel(5, &[6; 2000]);
    assert!(encoder.close());
    for _ in 0..2 {
        let len = encoder.write(Format::UlpFec, &mut out).unwrap();
        assert_eq!(parse(Format::UlpFec, &out[..len]).body, [1, 0, 0, 4, 5, 6]);
    }
    assert_eq!(encoder.write(Format::UlpFec, &mut out), None, "sums of nothing are not sent");
    let mut lost = Vec::new();
    encoder.coverage().repairable([0].into_iter(), |number| lost.push(number));
    assert_eq!(lost, [0]);
}

proptest! {
    #[test]
    fn what_is_encoded_recovers_what_its_sums_allow(
        first in any::<u16>(),
        seeds in prop::collection::vec((any::<u64>(), 0_usize..=parity::MAX_BODY), 1..100),
        (repairs, window, frames, degree) in (1_u8..=16, 1_u8..=48, 1_u8..=20, 1_u8..=3),
        is_flexfec in any::<bool>(),
        losses in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let packets: Vec<_> =
            (0..).zip(&seeds).map(|(i, &(seed, len))| media(first.wrapping_add(i), seed, len)).collect();
        let format = if is_flexfec { Format::FlexFec(SSRC) } else { Format::UlpFec };
        let plan = Plan::new(repairs, window, frames, degree);
        let payloads = encode(plan, format, &packets);
        let masks: Vec<Vec<usize>> = payloads
            .iter()
            .map(|payload| {
                let repair = parse(format, payload);
                let base = usize::from(repair.base.wrapping_sub(first));
                (0..128).filter(|i| repair.mask >> i & 1 != 0).map(|i| base + i).collect()
            })
            .collect();
        for i in 0..packets.len() {
            let count = masks.iter().filter(|mask| mask.contains(&i)).count();
            prop_assert!(count == usize::from(plan.degree()), "packet {} is in {} sums", i, count);
        }
        let mut lost: Vec<usize> = losses.iter().map(|index| index.index(packets.len())).collect();
        lost.sort_unstable();
        lost.dedup();
        let mut left = lost.clone();
        while let Some(found) = masks.iter().find_map(|mask| {
            let missing: Vec<_> = mask.iter().filter(|i| left.contains(i)).collect();
            if let [only] = missing[..] { Some(*only) } else { None }
        }) {
            left.retain(|&i| i != found);
        }
        let mut recovery = Recovery::new(None);
        let mut got = Vec::new();
        let mut out = [0; 1500];
        let bytes = |i: u64| Some((&packets[usize::try_from(i).unwrap()][..], &Extensions::NONE));
        for (i, packet) in packets.iter().enumerate().filter(|(i, _)| !lost.contains(i)) {
            recovery.media(i as u64, packet, &Extensions::NONE);
        }
        for payload in &payloads {
            prop_assert!(recovery.repair(&parse(format, payload), SSRC, bytes));
            while let Some(len) = recovery.poll(SSRC, &mut out) {
                let number = Header::parse(&out[..len]).unwrap().sequence_number;
                let index = usize::from(number.wrapping_sub(first));
                prop_assert_eq!(&out[..len], &packets[index][..]);
                recovery.media(index as u64, &packets[index], &Extensions::NONE);
                got.push(index);
            }
        }
        got.sort_unstable();
        let expected: Vec<_> = lost.iter().copied().filter(|i| !left.contains(i)).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn any_mask_is_written_and_read(mask in any::<u128>(), shift in 0_u32..128, base in any::<u16>()) {
        let sum = Parity::new();
        let mut out = [0; 64];
        let mask = mask >> shift;
        let written = flexfec::write(&sum.repair(Some(SSRC), base, mask), &mut out);
        prop_assert_eq!(written.is_some(), mask != 0 && mask >> 109 == 0);
        if let Some(len) = written {
            prop_assert_eq!(flexfec::parse(&out[..len]), Some(sum.repair(Some(SSRC), base, mask)));
            prop_assert!((0..len).all(|cut| flexfec::parse(&out[..cut]).is_none()));
        }
        let written = ulpfec::write(&sum.repair(None, base, mask), &mut out);
        prop_assert_eq!(written.is_some(), mask != 0 && mask >> 48 == 0);
        if let Some(len) = written {
            prop_assert_eq!(ulpfec::parse(&out[..len]), Some(sum.repair(None, base, mask)));
            prop_assert!((0..len).all(|cut| ulpfec::parse(&out[..cut]).is_none()));
        }
    }

    #[test]
    fn garbage_recovers_at_most_garbage(
        inputs in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..60)), 0..60),
    ) {
        let mut recovery = Recovery::new(Some(Pt(118)));
        for (is_media, bytes) in &inputs {
            if *is_media {
                recovery.media(0, bytes, &Extensions::NONE);
            } else if let Some(repair) = flexfec::parse(bytes).or_else(|| ulpfec::parse(bytes)) {
                let ssrc = repair.ssrc.unwrap_or(SSRC);
                recovery.repair(&repair, ssrc, |_| Some((&bytes[..], &Extensions::NONE)));
            }
            let mut out = [0; 1500];
            let mut count = 0;
            while let Some(len) = recovery.poll(SSRC, &mut out) {
                prop_assert!(Header::parse(&out[..len]).is_ok());
                count += 1;
                prop_assert!(count <= 16);
            }
        }
    }
}
