//! The cases whose instructions are counted; `bench/instructions.py` runs this under valgrind.
//!
//! The counter collects in [`measured`] alone, and writes what it counted when [`case_ends`] is called, so that one run of
//! one plain binary counts all cases. Each case prints a line of `name units`: what its count is to be divided by.
//!
//! With an argument only the cases whose names begin with it run: to see with `callgrind_annotate` where a case spends.

#![allow(clippy::cast_possible_truncation)] // counters into test data

use std::hint::black_box;

use rtpcore_bench::room::Media;
use rtpcore_bench::table::Table;
use rtpcore_cipher::{AEAD_TAG_LEN, AeadKey, CM_TAG_LEN, CmKey, TagJob, tag_many};
use rtpcore_core::payload::dependency_descriptor as dd;
use rtpcore_core::payload::vp8;
use rtpcore_core::rtcp::Compound;
use rtpcore_core::rtp::{ExtensionKind, ExtensionMap, ExtensionWriter, Extensions, FixedHeader, Header};
use rtpcore_core::srtp::Profile;
use rtpcore_core::{Pt, Ssrc};

/// Times that a parser runs: its cost is small beside that of entering [`measured`].
const PARSES: usize = 100;
/// Frames that go through a router.
const FRAMES: usize = 8;
/// Packets sealed at once, each under another key.
const SEALED: usize = 64;
/// Header of a subscriber's packet.
const HEADER: usize = 20;

/// The function whose instructions are counted.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn measured(case: &mut dyn FnMut()) {
    case();
}

/// The function at which the count of a case is written.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn case_ends(name: &str, units: usize) {
    println!("{name} {units}");
}

fn is_wanted(name: &str) -> bool {
    std::env::args().nth(1).is_none_or(|wanted| name.starts_with(&wanted))
}

fn main() {
    for media in [Media::Video, Media::Audio] {
        for (profile, cipher) in [(Profile::AeadAes128Gcm, "gcm"), (Profile::Aes128CmSha1_80, "cm")] {
            for subscribers in [1, 10, 100] {
                forward(media, profile, &format!("forward/{}/{cipher}/{subscribers}", media.name()), subscribers);
            }
        }
        seal_gcm(media);
        seal_cm(media);
    }
    for subscribers in [1, 10, 100] {
        forward(
            Media::NumberedVideo,
            Profile::AeadAes128Gcm,
            &format!("forward/numbered_video/gcm/{subscribers}"),
            subscribers,
        );
    }
    parse_rtp();
    parse_rtcp();
    parse_vp8();
    parse_dependency_descriptor();
}

fn count(name: &str, units: usize, mut case: impl FnMut()) {
    if !is_wanted(name) {
        return;
    }
    measured(&mut case);
    case_ends(name, units);
}

/// Per packet out, all from the publisher's datagram to the last byte in the send slab.
fn forward(media: Media, profile: Profile, name: &str, subscribers: usize) {
    if !is_wanted(name) {
        return;
    }
    let mut table = Table::new(media, profile, subscribers);
    for _ in 0..FRAMES {
        table.prepare();
        measured(&mut || {
            black_box(table.forward());
        });
    }
    case_ends(name, FRAMES * subscribers * media.frame_packets());
}

/// Per packet, what [`forward`] pays for the cipher alone: the same lengths, the same number of head bytes.
fn seal_gcm(media: Media) {
    let keys: Vec<AeadKey> = (0..SEALED).map(|n| AeadKey::new(&[n as u8; 16]).expect("16 bytes are a key")).collect();
    let payload = vec![7; media.payload_len()];
    let (head, body) = payload.split_at(head_len(media));
    let mut slab = vec![0; SEALED * 2048];
    count(&format!("seal/{}/gcm", media.name()), SEALED, || {
        for (out, key) in slab.chunks_exact_mut(2048).zip(&keys) {
            let (header, rest) = out.split_at_mut(HEADER);
            key.seal(&[9; 12], header, head, body, &mut rest[..payload.len() + AEAD_TAG_LEN]);
        }
    });
}

fn seal_cm(media: Media) {
    let keys: Vec<CmKey> = (0..SEALED as u8).map(|n| CmKey::new(&[n; 16], &[n; 20], &[n; 14])).collect();
    let payload = vec![7; media.payload_len()];
    let (head, body) = payload.split_at(head_len(media));
    let mut slab = vec![0; SEALED * 2048];
    let mut tags = [[0; CM_TAG_LEN]; SEALED];
    count(&format!("seal/{}/cm", media.name()), SEALED, || {
        for (out, key) in slab.chunks_exact_mut(2048).zip(&keys) {
            key.apply(7, 9, head, body, &mut out[HEADER..HEADER + payload.len()]);
        }
        let jobs: [TagJob<'_>; SEALED] = std::array::from_fn(|n| TagJob {
            key: &keys[n],
            message: &slab[n * 2048..][..HEADER + payload.len()],
            roc: 0,
        });
        tag_many(&jobs, &mut tags);
    });
}

/// Bytes that are patched per subscriber: a VP8 descriptor's.
fn head_len(media: Media) -> usize {
    if media.is_video() { 6 } else { 0 }
}

fn parse_rtp() {
    let mut map = ExtensionMap::NONE;
    let kinds = [ExtensionKind::Mid, ExtensionKind::AbsSendTime, ExtensionKind::TransportCc, ExtensionKind::AudioLevel];
    let mut packet = [0; 1200];
    let fixed = FixedHeader { payload_type: Pt(96), ssrc: Ssrc(7), has_extension: true, ..FixedHeader::default() };
    fixed.write(&mut packet);
    let mut writer = ExtensionWriter::new(&mut packet[FixedHeader::LEN..]);
    for ((id, kind), len) in (1..).zip(kinds).zip([1, 3, 2, 1]) {
        map.set(kind, id);
        writer.push(id, &[0x55; 3][..len]).expect("there is room");
    }
    writer.finish();
    count("parse/rtp", PARSES, || {
        for _ in 0..PARSES {
            let packet = black_box(&packet);
            let header = Header::parse(packet).expect("a valid packet");
            black_box(Extensions::parse(&header, packet, &map));
        }
    });
}

fn parse_rtcp() {
    // A receiver report of one block, a transport-wide feedback of two packets, a NACK of two numbers, a PLI.
    let compound: Vec<u8> = [
        &[0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 3, 0, 0, 4][..],
        &[0, 0, 0, 9, 0, 0, 0, 5, 0x12, 0x34, 0x56, 0x78, 0, 1, 0, 0],
        &[0x8F, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 7, 0, 2, 0, 1, 2, 4, 0x20, 2, 0x10, 0x11],
        &[0x81, 205, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 9, 0, 1],
        &[0x81, 206, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2],
    ]
    .concat();
    assert_eq!(Compound::new(&compound).filter(Result::is_ok).count(), 4, "a valid compound");
    count("parse/rtcp", PARSES, || {
        for _ in 0..PARSES {
            for packet in Compound::new(black_box(&compound)) {
                let _ = black_box(packet);
            }
        }
    });
}

fn parse_vp8() {
    let payload = [0x90, 0xF0, 0x92, 0x67, 200, 0, 0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01, 0, 0];
    assert!(vp8::parse(&payload).is_some_and(|read| read.keyframe), "a keyframe");
    count("parse/vp8", PARSES, || {
        for _ in 0..PARSES {
            black_box(vp8::parse(black_box(&payload)));
        }
    });
}

fn parse_dependency_descriptor() {
    // A keyframe's descriptor with a structure of one spatial and three temporal layers; then one of three bytes.
    let mut structure = None;
    let first = dd::Header::parse(&L1T3, &mut structure);
    assert!(first.is_some_and(|header| header.has_structure), "a structure");
    let structure = structure.expect("a structure");
    let mut none = None;
    count("parse/av1_dd", PARSES, || {
        for _ in 0..PARSES {
            let header = dd::Header::parse(black_box(&[0xC1, 0x00, 0x2A]), &mut none).expect("a valid descriptor");
            black_box(header.frame(&structure).expect("a known template"));
        }
    });
}

/// Template structure of L1T3 as libwebrtc sends it.
const L1T3: [u8; 20] = [
    0xC0, 0x00, 0x00, 0x80, 0x02, 0x14, 0xEA, 0xA8, 0x60, 0x41, 0x4D, 0x14, 0x10, 0x20, 0x84, 0x27, 0x04, 0xFF, 0x02,
    0xCF,
];
