//! Forward error correction: packets and repair packets in any order. What is read can be written, what is recovered is a
//! packet, and what an encoder writes recovers each packet it was given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtpcore_core::fec::{Encoder, Format, Parity, Plan, Recovery, Repair, flexfec, ulpfec};
use rtpcore_core::rtp::{Extensions, FixedHeader, Header};
use rtpcore_core::{Pt, Ssrc};
use rtpcore_fuzz::Input;

const SSRC: Ssrc = Ssrc(7);
const RED: Pt = Pt(118);

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut recovery = Recovery::new(Some(RED));
    let mut kept: Vec<Vec<u8>> = Vec::new();
    let Some(plan) = input.byte() else { return };
    let mut encoder = Encoder::new(Plan::new(plan >> 4, 1 + (plan & 7) * 7, 1 + (plan >> 3 & 1) * 8, 1 + plan % 3));
    let mut sent: Vec<(FixedHeader, Vec<u8>)> = Vec::new();
    while let Some(kind) = input.byte() {
        let Some(chunk) = input.chunk() else { return };
        match kind % 4 {
            0 => take(&mut recovery, &mut kept, chunk.to_vec()),
            1 => give(&mut recovery, &kept, check(flexfec::parse(chunk), chunk, flexfec::write)),
            2 => give(&mut recovery, &kept, check(ulpfec::parse(chunk), chunk, ulpfec::write)),
            _ => send(&mut encoder, &mut sent, kind, chunk),
        }
        let mut out = [0; 1500];
        while let Some(len) = recovery.poll(SSRC, &mut out) {
            let header = Header::parse(&out[..len]).expect("what is recovered is a packet");
            assert_eq!(header.ssrc, SSRC);
            take(&mut recovery, &mut kept, out[..len].to_vec());
        }
    }
});

fn take(recovery: &mut Recovery, kept: &mut Vec<Vec<u8>>, packet: Vec<u8>) {
    recovery.media(kept.len() as u64, &packet, &Extensions::NONE);
    kept.push(packet);
}

fn give(recovery: &mut Recovery, kept: &[Vec<u8>], repair: Option<Repair<'_>>) {
    let find = |reference| {
        let index = usize::try_from(reference).ok()?;
        Some((kept.get(index)?.as_slice(), &Extensions::NONE))
    };
    if let Some(repair) = repair {
        recovery.repair(&repair, SSRC, find);
    }
}

/// Reading what was written gives the same.
fn check<'a>(
    repair: Option<Repair<'a>>,
    payload: &[u8],
    write: fn(&Repair<'_>, &mut [u8]) -> Option<usize>,
) -> Option<Repair<'a>> {
    let repair = repair?;
    assert_ne!(repair.mask, 0);
    let mut out = vec![0; payload.len() + flexfec::MAX_HEADER];
    let len = write(&repair, &mut out).expect("what can be read can be written");
    let again = if repair.ssrc.is_some() { flexfec::parse(&out[..len]) } else { ulpfec::parse(&out[..len]) };
    assert_eq!(again, Some(repair));
    Some(repair)
}

/// Sends a packet; where that completes a window, each of its packets can be got back from each of its sums.
fn send(encoder: &mut Encoder, sent: &mut Vec<(FixedHeader, Vec<u8>)>, kind: u8, body: &[u8]) {
    let number = sent.last().map_or(0xFFF0, |(header, _)| header.sequence_number);
    let header = FixedHeader {
        marker: kind & 4 != 0,
        payload_type: Pt(kind >> 1),
        sequence_number: number.wrapping_add(1 + u16::from(kind >> 5)),
        timestamp: u32::from(kind) * 3000,
        ssrc: SSRC,
        has_extension: kind & 8 != 0,
        ..FixedHeader::default()
    };
    sent.push((header, body.to_vec()));
    let (front, back) = body.split_at(body.len() / 2);
    if !encoder.add(&header, &[front, back]) {
        return;
    }
    let (mut out, mut again) = ([0; 1600], [0; 1600]);
    while let Some(len) = encoder.write(Format::FlexFec(SSRC), &mut out) {
        let repair = flexfec::parse(&out[..len]).expect("what is written can be read");
        let is_in =
            |number: u16| repair.mask.checked_shr(number.wrapping_sub(repair.base).into()).unwrap_or(0) & 1 != 0;
        let members: Vec<_> = sent.iter().rev().take(48).filter(|(header, _)| is_in(header.sequence_number)).collect();
        assert_eq!(members.len(), repair.mask.count_ones() as usize);
        for (lost, body) in &members {
            let mut sum = Parity::new();
            assert!(sum.load(&repair));
            for (header, body) in members.iter().filter(|(header, _)| header.sequence_number != lost.sequence_number) {
                assert!(sum.add(header, &[body]));
            }
            let len = sum.write_packet(lost.sequence_number, SSRC, &mut again).expect("it fits");
            assert_eq!(again[..len], [&lost.to_bytes()[..], body].concat());
        }
    }
}
