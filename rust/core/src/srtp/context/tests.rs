#![allow(clippy::cast_possible_truncation)] // of counters, into test data

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::super::Tagger;
use super::super::session::Aead;
use super::*;

pub(in crate::srtp) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

const SSRC: u32 = 0x5501_A0B2;

fn inbound(profile: Profile, most: usize) -> Inbound {
    let material: Vec<u8> = (0..profile.keying_material_len()).map(|n| (n * 5) as u8).collect();
    Inbound::new(profile, profile.split_keying_material(&material).unwrap().0, most).unwrap()
}

fn outbound(profile: Profile) -> Outbound {
    let material: Vec<u8> = (0..profile.keying_material_len()).map(|n| (n * 5) as u8).collect();
    Outbound::new(profile, profile.split_keying_material(&material).unwrap().0).unwrap()
}

fn header(ssrc: u32, index: u64) -> Vec<u8> {
    let mut header = vec![0x80, 96];
    header.extend((index as u16).to_be_bytes());
    header.extend(7u32.to_be_bytes());
    header.extend(ssrc.to_be_bytes());
    header
}

/// A packet as it goes out, with a payload that tells it from others.
fn protected(outbound: &Outbound, ssrc: u32, index: u64) -> Vec<u8> {
    let mut out = header(ssrc, index);
    out.resize(100, 0);
    let len = outbound.protect_rtp(index, 12, &[], &payload(ssrc, index), &mut out).unwrap();
    out.truncate(len);
    out
}

fn payload(ssrc: u32, index: u64) -> Vec<u8> {
    [&ssrc.to_be_bytes()[..], &index.to_be_bytes(), b"payload"].concat()
}

fn unprotect(inbound: &mut Inbound, packet: &[u8]) -> Result<Vec<u8>, Drop> {
    let header = ClearHeader {
        ssrc: Ssrc(rtp_ssrc(packet).unwrap()),
        sequence_number: u16::from_be_bytes([packet[2], packet[3]]),
        len: 12,
    };
    let mut out = vec![0xEE; 2000];
    let len = inbound.unprotect_rtp(packet, header, &mut out)?;
    assert_eq!(out[..12], packet[..12]);
    assert!(out[len..].iter().all(|&b| b == 0xEE));
    Ok(out[12..len].to_vec())
}

// Vectors of RFC 7714 §16 and §17, which give the session keys.

const QUID_PRO_QUO: [u8; 12] = *b"Quid pro quo";

fn vector_session(key_len: u8) -> Session {
    let key: Vec<u8> = (0..key_len).collect();
    let transform = || Transform::Aead(Aead::new(&key, QUID_PRO_QUO).unwrap());
    Session { rtp: transform(), rtcp: transform() }
}

fn vector_pair(key_len: u8) -> (Outbound, Inbound) {
    let outbound = Outbound { session: vector_session(key_len), tag_len: 16, rtcp_index: 0 };
    let inbound =
        Inbound { session: vector_session(key_len), tag_len: 16, rtp: Streams::new(1), rtcp: Streams::new(1) };
    (outbound, inbound)
}

#[test]
fn rfc_7714_section_16_rtp() {
    let header = hex("8040f17b 8041f8d3 5501a0b2");
    let plain = hex("47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573");
    let sealed = [
        (
            16,
            "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833
              899d7f27 beb16a91 52cf765e e4390cce",
        ),
        (
            32,
            "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b
              7aa3db36 dfffd6b0 f9bb7878 d7a76c13",
        ),
    ];
    for (key_len, sealed) in sealed {
        let (outbound, mut inbound) = vector_pair(key_len);
        let expected = [header.clone(), hex(sealed)].concat();
        for split in [0, 1, 16] {
            let mut out = header.clone();
            out.resize(expected.len(), 0);
            let len = outbound.protect_rtp(0xf17b, 12, &plain[..split], &plain[split..], &mut out);
            assert_eq!((len, &out), (Some(expected.len()), &expected));
        }
        assert_eq!(unprotect(&mut inbound, &expected), Ok(plain.clone()));
    }
}

#[test]
fn rfc_7714_section_17_rtcp() {
    let plain = hex("81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61
                     deadbeef deadbeef deadbeef deadbeef deadbeef");
    let encrypted = [
        (
            16,
            "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda
              4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
        ),
        (
            32,
            "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be
              8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
        ),
    ];
    for (key_len, expected) in encrypted {
        let expected = hex(expected);
        let (mut outbound, mut inbound) = vector_pair(key_len);
        outbound.rtcp_index = 0x5d4;
        let mut out = vec![0; expected.len()];
        assert_eq!(outbound.protect_rtcp(&plain, &mut out), Some(expected.len()));
        assert_eq!(out, expected);
        assert_eq!(inbound.unprotect_rtcp(&mut out), Ok(&plain[..]));
    }
    let authenticated = [(16, "841dd968 3dd78ec9 2ae58790 125f62b3"), (32, "91db4afb feee5a97 8fab4393 ed2615fe")];
    for (key_len, tag) in authenticated {
        let mut packet = [plain.clone(), hex(tag), hex("000005d4")].concat();
        let mut forged = packet.clone();
        forged[20] ^= 1;
        let (_, mut inbound) = vector_pair(key_len);
        assert_eq!(inbound.unprotect_rtcp(&mut forged), Err(Drop::BadAuth));
        assert_eq!(inbound.unprotect_rtcp(&mut packet), Ok(&plain[..]));
    }
}

#[test]
fn an_unencrypted_srtcp_packet_of_aes_cm() {
    let (mut sender, mut receiver) = (outbound(Profile::Aes128CmSha1_80), inbound(Profile::Aes128CmSha1_80, 4));
    let plain = hex("80c90001 00000007");
    let Transform::Cm(key) = &sender.session.rtcp else { unreachable!() };
    let mut packet = [plain.clone(), hex("00000009"), key.tag(&plain, 9).to_vec()].concat();
    assert_eq!(receiver.unprotect_rtcp(&mut packet.clone()), Ok(&plain[..]));
    assert_eq!(receiver.unprotect_rtcp(&mut packet.clone()), Err(Drop::Replayed));
    packet[8] = 0x80;
    assert_eq!(inbound(Profile::Aes128CmSha1_80, 4).unprotect_rtcp(&mut packet), Err(Drop::BadAuth), "the flag counts");
    let mut out = [0; 64];
    assert_eq!(sender.protect_rtcp(&plain, &mut out), Some(8 + 14));
    assert_eq!(out[..8], plain[..]);
    assert_eq!(out[8..12], [0x80, 0, 0, 0]);
}

#[test]
fn rollover_with_reordering_near_the_wrap() {
    for profile in Profile::ALL {
        let (sender, mut receiver) = (outbound(profile), inbound(profile, 4));
        let order = [
            0xFFFE, 0x1_0001, 0xFFFF, 0x1_0000, 0x1_7FFF, 0x1_FFFE, 0x2_0003, 0x1_FFFF, 0x2_0000, 0x2_0002, 0x2_8001,
            0x3_0000,
        ];
        for index in order {
            let packet = protected(&sender, SSRC, index);
            assert_eq!(unprotect(&mut receiver, &packet), Ok(payload(SSRC, index)), "{profile:?} {index:#x}");
            assert_eq!(unprotect(&mut receiver, &packet), Err(Drop::Replayed), "{profile:?} {index:#x}");
        }
        let late = protected(&sender, SSRC, 0x3_0000 - RtpWindow::LEN);
        assert_eq!(unprotect(&mut receiver, &late), Err(Drop::TooOld));
        let just_in_time = protected(&sender, SSRC, 0x3_0001 - RtpWindow::LEN);
        assert_eq!(unprotect(&mut receiver, &just_in_time), Ok(payload(SSRC, 0x3_0001 - RtpWindow::LEN)));
    }
}

#[test]
fn a_stream_that_begins_just_behind_a_late_packet() {
    let profile = Profile::AeadAes128Gcm;
    let (sender, mut receiver) = (outbound(profile), inbound(profile, 4));
    // Nothing lies before the first cycle, so this is read as 65531 ahead and is what it claims to be.
    for index in [3, 0xFFFE] {
        assert_eq!(unprotect(&mut receiver, &protected(&sender, SSRC, index)), Ok(payload(SSRC, index)));
    }
}

#[test]
fn the_last_index_of_a_key() {
    let profile = Profile::AeadAes128Gcm;
    let (sender, mut receiver) = (outbound(profile), inbound(profile, 4));
    let last = (1 << 48) - 1;
    assert_eq!(unprotect(&mut receiver, &protected(&sender, SSRC, last)), Err(Drop::BadAuth), "not in the first cycle");
    receiver.rtp.accept(None, SSRC, last - 1);
    let packet = protected(&sender, SSRC, last);
    assert_eq!(unprotect(&mut receiver, &packet), Ok(payload(SSRC, last)));
    let mut beyond = packet;
    beyond[2..4].fill(0);
    assert_eq!(unprotect(&mut receiver, &beyond), Err(Drop::BadAuth));
    let mut out = header(SSRC, 1 << 48);
    out.resize(100, 0);
    assert_eq!(sender.protect_rtp(1 << 48, 12, &[], b"x", &mut out), None);
}

#[test]
fn streams_are_bounded_and_only_authentic_packets_make_them() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = (outbound(profile), inbound(profile, 2));
        let mut rtcp = |ssrc: u8| {
            let mut out = vec![0; 64];
            let len = sender.protect_rtcp(&[0x80, 201, 0, 1, 0, 0, 0, ssrc], &mut out).unwrap();
            out.truncate(len);
            out
        };
        let mut forged = rtcp(9);
        *forged.last_mut().unwrap() ^= 1;
        assert!(receiver.unprotect_rtcp(&mut forged).is_err());
        let (mut first, mut second, mut third) = (rtcp(1), rtcp(2), rtcp(3));
        assert!(receiver.unprotect_rtcp(&mut first).is_ok());
        assert!(receiver.unprotect_rtcp(&mut second).is_ok());
        assert_eq!(receiver.unprotect_rtcp(&mut third), Err(Drop::TooManySsrcs));

        let sender = outbound(profile);
        for ssrc in 10..30 {
            let mut forged = protected(&sender, ssrc, 5);
            forged[13] ^= 1;
            assert_eq!(unprotect(&mut receiver, &forged), Err(Drop::BadAuth));
        }
        assert_eq!(receiver.ssrcs(), (0, 2));
        assert!(unprotect(&mut receiver, &protected(&sender, 1, 5)).is_ok());
        assert!(unprotect(&mut receiver, &protected(&sender, 2, 5)).is_ok());
        assert_eq!(unprotect(&mut receiver, &protected(&sender, 3, 5)), Err(Drop::TooManySsrcs));
        assert_eq!(receiver.ssrcs(), (2, 2));
        receiver.forget(Ssrc(1));
        assert_eq!(receiver.ssrcs(), (1, 1));
        assert!(unprotect(&mut receiver, &protected(&sender, 3, 5)).is_ok());
        assert_eq!(unprotect(&mut receiver, &protected(&sender, 2, 5)), Err(Drop::Replayed), "the others stay");
    }
}

#[test]
fn lengths_that_do_not_fit() {
    for profile in Profile::ALL {
        let (mut sender, mut receiver) = (outbound(profile), inbound(profile, 4));
        let clear = |len| ClearHeader { ssrc: Ssrc(SSRC), sequence_number: 5, len };
        let packet = protected(&sender, SSRC, 5);
        let plain_len = packet.len() - profile.tag_len();
        let mut out = [0; 100];
        for len in 0..12 + profile.tag_len() {
            assert_eq!(receiver.unprotect_rtp(&packet[..len], clear(12), &mut out), Err(Drop::BadRtp));
        }
        for header_len in [plain_len + 1, packet.len(), packet.len() + 1, usize::MAX] {
            assert_eq!(receiver.unprotect_rtp(&packet, clear(header_len), &mut out), Err(Drop::BadRtp));
        }
        assert_eq!(receiver.unprotect_rtp(&packet, clear(12), &mut out[..plain_len - 1]), Err(Drop::Oversized));
        assert_eq!(receiver.unprotect_rtp(&packet, clear(12), &mut out[..plain_len]), Ok(plain_len));

        let overhead = sender.rtcp_overhead();
        let mut out = vec![0; 8 + overhead];
        assert_eq!(sender.protect_rtcp(&[0; 7], &mut out), None);
        assert_eq!(sender.protect_rtcp(&[0; 8], &mut out[1..]), None);
        assert_eq!(sender.protect_rtcp(&[0; 8], &mut out), Some(8 + overhead));
        for len in 0..8 + overhead {
            assert_eq!(receiver.unprotect_rtcp(&mut out.clone()[..len]), Err(Drop::BadRtcp));
        }
        assert_eq!(receiver.unprotect_rtcp(&mut out), Ok(&[0; 8][..]));

        let mut out = header(SSRC, 5);
        out.resize(12 + 4 + profile.tag_len(), 0);
        assert_eq!(sender.protect_rtp(5, 11, &[1], &[2; 4], &mut out), None, "no SSRC in it");
        assert_eq!(sender.protect_rtp(5, 12, &[1], &[2; 4], &mut out), None, "a byte too many");
        assert_eq!(sender.protect_rtp(5, usize::MAX, &[1], &[2; 4], &mut out), None);
        assert_eq!(sender.protect_rtp(5, 12, &[1], &[2; 3], &mut out), Some(out.len()));
        let mut empty = header(SSRC, 6);
        empty.resize(12 + profile.tag_len(), 0);
        assert_eq!(sender.protect_rtp(6, 12, &[], &[], &mut empty), Some(empty.len()));
        assert_eq!(unprotect(&mut receiver, &empty), Ok(vec![]));
    }
}

#[test]
fn rtcp_indices_end() {
    let mut sender = outbound(Profile::AeadAes128Gcm);
    sender.rtcp_index = RTCP_ENCRYPTED - 1;
    let mut out = [0; 64];
    assert!(sender.protect_rtcp(&[0; 8], &mut out).is_some());
    assert_eq!(out[24..28], [0xFF; 4]);
    assert!(sender.protect_rtcp(&[0; 8], &mut out).is_none());
}

#[test]
fn directions_and_protocols_do_not_share_keys() {
    for profile in Profile::ALL {
        let material: Vec<u8> = (0..profile.keying_material_len()).map(|n| (n * 5) as u8).collect();
        let (client, server) = profile.split_keying_material(&material).unwrap();
        let mut wrong = Inbound::new(profile, server, 4).unwrap();
        let sender = Outbound::new(profile, client).unwrap();
        assert_eq!(unprotect(&mut wrong, &protected(&sender, SSRC, 1)), Err(Drop::BadAuth));
        assert!(Inbound::new(profile, Master { key: &client.key[1..], salt: client.salt }, 4).is_none());
        assert!(Outbound::new(profile, Master { key: client.key, salt: &client.salt[1..] }).is_none());
    }
}

#[test]
fn debug_shows_no_key() {
    let shown = format!("{:?} {:?}", inbound(Profile::Aes128CmSha1_80, 4), outbound(Profile::AeadAes256Gcm));
    assert_eq!(shown, "Inbound { ssrcs: (0, 0), .. } Outbound { rtcp_index: 0, .. }");
}

#[test]
fn tagger_completes_a_slab_of_many_peers() {
    let profiles = [Profile::Aes128CmSha1_80, Profile::AeadAes128Gcm, Profile::Aes128CmSha1_80];
    let peers: Vec<Outbound> = profiles.map(outbound).into();
    let mut tagger = Tagger::with_capacity(200);
    for count in [0, 1, 15, 64, 65, 200] {
        let mut slab = vec![0xEE; count * 1500 + 1];
        let mut expected = slab.clone();
        for n in 0..count {
            let (owner, index, body) = (n % 3, 0xFF80 + n as u64, vec![n as u8; n * 37 % 1300]);
            for (slab, at_once) in [(&mut expected, true), (&mut slab, false)] {
                let out = &mut slab[n * 1500..][..1500];
                out[..12].copy_from_slice(&header(n as u32, index));
                if at_once {
                    peers[owner].protect_rtp(index, 12, &[1, 2, 3], &body, out).unwrap();
                } else {
                    let packet = peers[owner].protect_rtp_deferred(index, 12, &[1, 2, 3], &body, out).unwrap();
                    tagger.push(n * 1500, packet, owner as u32);
                }
            }
        }
        assert_eq!(slab == expected, count == 0, "some tags are missing yet");
        tagger.finish(&mut slab, |owner| peers.get(owner as usize));
        assert!(tagger.is_empty());
        assert!(slab == expected, "{count} packets");
    }
}

#[test]
fn tagger_skips_what_it_cannot_finish() {
    let peer = outbound(Profile::Aes128CmSha1_80);
    let mut slab = [header(1, 5), vec![0; 30]].concat();
    let packet = peer.protect_rtp_deferred(5, 12, &[], b"hello", &mut slab).unwrap();
    let before = slab.clone();
    let mut tagger = Tagger::default();
    tagger.push(0, packet, 7);
    tagger.finish(&mut slab, |_| None);
    tagger.push(slab.len(), packet, 7);
    tagger.push(usize::MAX, packet, 7);
    tagger.finish(&mut slab, |_| Some(&peer));
    assert_eq!(slab, before);
    assert_eq!(unprotect(&mut inbound(Profile::Aes128CmSha1_80, 4), &slab[..packet.len]), Err(Drop::BadAuth));
}

/// A stream sent in order from `start`, some packets left out, delivered out of order, again, and forged.
#[derive(Clone, Debug)]
struct Delivery {
    delay: Vec<u8>,
    start: u64,
    again: Vec<Index>,
    forged: Vec<(Index, Index, u8)>,
}

fn delivery() -> impl Strategy<Value = Delivery> {
    (
        prop::collection::vec(0u8..60, 1..80),
        select(vec![0u64, 5, 0x7FF0, 0xFFC0, 0xFFFF]),
        prop::collection::vec(any::<Index>(), 0..20),
        prop::collection::vec((any::<Index>(), any::<Index>(), 0u8..8), 0..20),
    )
        .prop_map(|(delay, start, again, forged)| Delivery { delay, start, again, forged })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn packets_arrive_once_whatever_the_network_does(
        profile in select(Profile::ALL.to_vec()),
        delivery in delivery(),
    ) {
        let (sender, mut receiver) = (outbound(profile), inbound(profile, 4));
        let packets: Vec<(u64, Vec<u8>)> = (0..delivery.delay.len() as u64)
            .map(|n| delivery.start + n * 3)
            .map(|index| (index, protected(&sender, SSRC, index)))
            .collect();
        let mut order: Vec<usize> = (0..packets.len()).collect();
        order.sort_by_key(|&n| n + usize::from(delivery.delay[n]));
        // The first packet of a stream has to be of its first cycle.
        let first = order.iter().position(|&n| packets[n].0 < 0x1_0000).unwrap();
        order.swap(0, first);

        let mut forged = delivery.forged.iter();
        for (n, &at) in order.iter().enumerate() {
            if let Some((which, byte, bit)) = forged.next() {
                let (_, packet) = &packets[which.index(packets.len())];
                let mut packet = packet.clone();
                let byte = byte.index(packet.len());
                packet[byte] ^= 1 << bit;
                let (known, states) = (receiver.ssrcs(), receiver.rtp.windows.clone());
                prop_assert!(unprotect(&mut receiver, &packet).is_err());
                prop_assert_eq!(receiver.ssrcs(), known);
                prop_assert_eq!(format!("{:?}", receiver.rtp.windows), format!("{states:?}"));
            }
            let (index, packet) = &packets[at];
            prop_assert_eq!(unprotect(&mut receiver, packet), Ok(payload(SSRC, *index)));
            if let Some(again) = delivery.again.get(n) {
                let (_, packet) = &packets[order[again.index(n + 1)]];
                prop_assert_eq!(unprotect(&mut receiver, packet), Err(Drop::Replayed));
            }
        }
    }

    #[test]
    fn guesses_the_index_like_the_rfc(
        cycle in prop_oneof![0u64..3, 0xFFFF_FFFEu64..=0xFFFF_FFFF],
        highest: u16,
        by in prop_oneof![any::<u16>(), 0x7FFEu16..=0x8002],
    ) {
        let seq = highest.wrapping_add(by);
        // RFC 3711 appendix A, where the rollover counter wraps below zero.
        let guessed = if highest < 0x8000 {
            if i32::from(seq) - i32::from(highest) > 0x8000 { cycle.wrapping_sub(1) } else { cycle }
        } else if highest - 0x8000 > seq {
            cycle + 1
        } else {
            cycle
        };
        // There is no cycle before the first.
        let guessed = if guessed == u64::MAX { 0 } else { guessed };
        let highest = cycle << 16 | u64::from(highest);
        prop_assert_eq!(guess_index(Some(highest), seq), guessed << 16 | u64::from(seq));
    }

    #[test]
    fn rtp_round_trip(
        profile in select(Profile::ALL.to_vec()),
        ssrc: u32,
        index in 0u64..0x1_0000,
        extra_header in 0usize..20,
        text in prop::collection::vec(any::<u8>(), 0..1400),
        split: Index,
    ) {
        let header_len = 12 + extra_header * 4;
        let mut out = header(ssrc, index);
        out.resize(header_len, 0xAB);
        let clear = out.clone();
        out.resize(header_len + text.len() + profile.tag_len() + 3, 0xEE);
        let (head, body) = text.split_at(split.index(text.len() + 1).min(40));
        let len = outbound(profile).protect_rtp(index, header_len, head, body, &mut out).unwrap();
        prop_assert_eq!(len + 3, out.len());
        prop_assert_eq!(&out[len..], &[0xEE; 3]);
        let mut plain = vec![0; 2000];
        let header = ClearHeader { ssrc: Ssrc(ssrc), sequence_number: index as u16, len: header_len };
        let len = inbound(profile, 1).unprotect_rtp(&out[..len], header, &mut plain).unwrap();
        prop_assert_eq!(&plain[..len], [clear, text].concat());
    }

    #[test]
    fn rtcp_round_trip(
        profile in select(Profile::ALL.to_vec()),
        packets in prop::collection::vec((0u32..3, prop::collection::vec(any::<u8>(), 0..300)), 1..20),
        flip: Index,
    ) {
        let (mut sender, mut receiver) = (outbound(profile), inbound(profile, 3));
        for (ssrc, text) in &packets {
            let plain = [&[0x80, 200, 0, 0], &ssrc.to_be_bytes()[..], text].concat();
            let mut out = vec![0; plain.len() + sender.rtcp_overhead()];
            prop_assert_eq!(sender.protect_rtcp(&plain, &mut out), Some(out.len()));
            let mut forged = out.clone();
            forged[flip.index(out.len())] ^= 0x10;
            prop_assert!(receiver.unprotect_rtcp(&mut forged).is_err());
            let mut again = out.clone();
            prop_assert_eq!(receiver.unprotect_rtcp(&mut out), Ok(&plain[..]));
            prop_assert_eq!(receiver.unprotect_rtcp(&mut again), Err(Drop::Replayed));
        }
    }
}
