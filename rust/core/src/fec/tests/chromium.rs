//! What Chromium 156 sent, recorded without encryption.

use crate::fec::{ExtensionKind, MUTABLE, Parity, Recovery, Repair, Ssrc, flexfec, ulpfec};
use crate::rtp::{ExtensionMap, Extensions, FixedHeader, Header};
use crate::units::Pt;

/// Two frames of VP8: six packets, then their four repair packets.
/// Extension 2 is the send time, 4 the transport-wide number.
const CHROMIUM_FLEXFEC: &[u8] = include_bytes!("chromium_flexfec.bin");
/// The same with RED (118) and ULPFEC (120).
const CHROMIUM_ULPFEC: &[u8] = include_bytes!("chromium_ulpfec.bin");
const RED: Pt = Pt(118);
const ULPFEC: Pt = Pt(120);

/// Packets, each behind its length in two bytes.
fn packets(mut recording: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    while let Some((len, rest)) = recording.split_first_chunk() {
        let (packet, behind) = rest.split_at(u16::from_be_bytes(*len).into());
        packets.push(packet.to_vec());
        recording = behind;
    }
    packets
}

fn extensions(packet: &[u8]) -> Extensions {
    let mut map = ExtensionMap::NONE;
    map.set(ExtensionKind::AbsSendTime, 2);
    map.set(ExtensionKind::TransportCc, 4);
    Extensions::parse(&Header::parse(packet).unwrap(), packet, &map)
}

/// One repair packet of a recording.
fn repair_of(packet: &[u8]) -> Repair<'_> {
    let payload = Header::parse(packet).unwrap().payload(packet);
    if Header::parse(packet).unwrap().payload_type != RED {
        return flexfec::parse(payload).unwrap();
    }
    let (payload_type, block) = ulpfec::unwrap_red(payload).unwrap();
    assert_eq!(payload_type, ULPFEC);
    ulpfec::parse(block).unwrap()
}

/// The packet as it was before RED, with zeros in mutable extensions: what must come out again.
fn as_summed(packet: &[u8]) -> Vec<u8> {
    let mut clean = packet.to_vec();
    for kind in MUTABLE {
        let (offset, len) =
            (extensions(packet).offset(kind).unwrap(), extensions(packet).find(kind, packet).unwrap().len());
        clean[offset..offset + len].fill(0);
    }
    let header = Header::parse(packet).unwrap();
    if header.payload_type == RED {
        let inner = clean.remove(header.payload_offset.into());
        clean[1] = clean[1] & 0x80 | inner;
    }
    clean
}

/// What comes out when only these packets arrive, in this order: the numbers in `all`, where media come first.
fn recover(all: &[Vec<u8>], media: usize, arriving: &[usize]) -> Vec<usize> {
    let first = Header::parse(&all[0]).unwrap();
    let mut kept = all[..media].to_vec();
    let mut recovery = Recovery::new(Some(RED));
    let mut recovered = Vec::new();
    for &index in arriving {
        if index < media {
            recovery.media(index as u64, &all[index], &extensions(&all[index]));
        } else {
            let found: Vec<_> = kept.iter().map(|packet| extensions(packet)).collect();
            let find = |reference| {
                let index = usize::try_from(reference).unwrap();
                Some((&kept[index][..], &found[index]))
            };
            assert!(recovery.repair(&repair_of(&all[index]), first.ssrc, find));
        }
        let mut out = [0; 1500];
        while let Some(len) = recovery.poll(first.ssrc, &mut out) {
            // Between frames of RED lie the repair packets of the frame before.
            let number = out[2..4].to_vec();
            let index = all[..media].iter().position(|packet| packet[2..4] == number).unwrap();
            assert!(out[..len] == as_summed(&all[index]), "{index} is not what it was");
            recovered.push(index);
            kept.push(out[..len].to_vec());
            recovery.media(kept.len() as u64 - 1, &out[..len], &extensions(&out[..len]));
        }
    }
    recovered
}

/// Which packets can be known when these are lost, by taking sums with one loss until there are no more.
fn recoverable(masks: &[u64], mut lost: u64) -> u64 {
    let all = lost;
    while let Some(mask) = masks.iter().find(|&mask| (lost & mask).is_power_of_two()) {
        lost &= !mask;
    }
    all & !lost
}

#[test]
fn our_sums_are_chromiums() {
    for recording in [CHROMIUM_FLEXFEC, CHROMIUM_ULPFEC] {
        let all = packets(recording);
        for packet in &all[6..] {
            let repair = repair_of(packet);
            let mut sum = Parity::new();
            for media in &all[..6] {
                let clean = as_summed(media);
                let header = Header::parse(&clean).unwrap();
                if repair.mask >> header.sequence_number.wrapping_sub(repair.base) & 1 != 0 {
                    let fixed = FixedHeader { has_extension: true, ..header.fixed() };
                    // In parts, as the router writes them.
                    let (extensions, payload) = clean[12..].split_at(usize::from(header.payload_offset) - 12);
                    assert!(sum.add(&fixed, &[extensions, &payload[..3], &payload[3..]]));
                }
            }
            let mut out = [0; 1500];
            let ours = sum.repair(repair.ssrc, repair.base, repair.mask);
            let payload = Header::parse(packet).unwrap().payload(packet);
            if let Some((ULPFEC, block)) = ulpfec::unwrap_red(payload) {
                let len = ulpfec::write(&ours, &mut out).unwrap();
                assert_eq!(&out[..len], block);
            } else {
                let len = flexfec::write(&ours, &mut out).unwrap();
                assert_eq!(&out[..len], payload);
            }
        }
    }
}

#[test]
fn whatever_chromium_lost_is_recovered_if_its_sums_allow() {
    for recording in [CHROMIUM_FLEXFEC, CHROMIUM_ULPFEC] {
        let all = packets(recording);
        let number = |packet: &[u8]| Header::parse(packet).unwrap().sequence_number;
        let mask = |packet: &Vec<u8>| {
            let repair = repair_of(packet);
            let is_in = |i: &usize| repair.mask >> number(&all[*i]).wrapping_sub(repair.base) & 1 != 0;
            (0..6).filter(is_in).fold(0, |mask, i| mask | 1 << i)
        };
        let masks: Vec<u64> = all[6..].iter().map(mask).collect();
        let mut most = 0;
        for lost in 0_u64..1 << 6 {
            let expected = recoverable(&masks, lost);
            most = most.max(expected.count_ones());
            let wanted: Vec<_> = (0..6).filter(|i| expected >> i & 1 != 0).collect();
            let came: Vec<_> = (0..all.len()).filter(|&i| lost >> i & 1 == 0).collect();
            let mut got = recover(&all, 6, &came);
            got.sort_unstable();
            assert_eq!(got, wanted, "{lost:06b}");
            // With repair packets first, some come out before the original comes.
            let backwards: Vec<_> = came.iter().rev().copied().collect();
            let got = recover(&all, 6, &backwards);
            assert!(wanted.iter().all(|index| got.contains(index)), "{lost:06b}: {got:?}");
        }
        assert!(most >= 3, "several losses at once: {most}");
    }
}

#[test]
fn sums_of_other_streams_and_old_ones_recover_nothing() {
    let all = packets(CHROMIUM_FLEXFEC);
    let repair = repair_of(&all[6]);
    let mut recovery = Recovery::new(None);
    assert!(!recovery.repair(&repair, Ssrc(1), |_| None));
    assert!(recovery.repair(&repair, repair.ssrc.unwrap(), |_| None));
    let number = |packet: &[u8]| Header::parse(packet).unwrap().sequence_number;
    // A packet far ahead ends what waited.
    let mut later = all[0].clone();
    later[2..4].copy_from_slice(&number(&all[0]).wrapping_add(2000).to_be_bytes());
    recovery.media(9, &later, &extensions(&later));
    for packet in &all[1..6] {
        recovery.media(0, packet, &extensions(packet));
    }
    assert_eq!(recovery.poll(repair.ssrc.unwrap(), &mut [0; 1500]), None);
}
