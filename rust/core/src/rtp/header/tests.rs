use super::*;
use proptest::prelude::*;
use rtp_types::{RtpPacket, RtpPacketBuilder};

/// Version 2, marker, payload type 96, sequence number 0x1234, timestamp 0x56789ABC, SSRC 0xDEADBEEF.
const FIXED: [u8; 12] = [0x80, 0xE0, 0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xAD, 0xBE, 0xEF];

fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
    let mut packet = FIXED.to_vec();
    packet[0] = first;
    packet.extend(rest);
    packet
}

#[test]
fn the_fixed_header() {
    let header = Header::parse(&packet(0x80, b"payload")).unwrap();
    assert_eq!(
        header,
        Header {
            marker: true,
            payload_type: Pt(96),
            sequence_number: 0x1234,
            timestamp: 0x5678_9ABC,
            ssrc: Ssrc(0xDEAD_BEEF),
            extension_profile: 0,
            extension_offset: 0,
            extension_len: 0,
            payload_offset: 12,
            payload_len: 7,
            padding_len: 0,
        }
    );
    assert_eq!(header.fixed().to_bytes(), FIXED);
    assert_eq!(header.payload(&packet(0x80, b"payload")), b"payload");
}

#[test]
fn csrcs_extension_payload_and_padding_lie_in_this_order() {
    let bytes = packet(0xB2, b"csrcCSRC\xBE\xDE\0\x01\x10\x05\0\0payload\0\0\x03");
    let header = Header::parse(&bytes).unwrap();
    assert_eq!(header.csrcs(&bytes), b"csrcCSRC");
    assert_eq!((header.extension_profile, header.extension_offset, header.extension_len), (0xBEDE, 24, 4));
    assert_eq!(header.payload(&bytes), b"payload");
    assert_eq!(header.padding_len, 3);
}

#[test]
fn padding_is_looked_at_only_after_decryption() {
    // What looks like padding of 255 bytes is ciphertext.
    let mut bytes = packet(0xA0, b"\x11\x22\x33\xFFtag!");
    let mut header = Header::parse_clear(&bytes).unwrap();
    assert_eq!((header.payload_len, header.padding_len), (8, 0));
    bytes.truncate(16);
    bytes[12..].copy_from_slice(b"ab\0\x02");
    header.unpad(&bytes).unwrap();
    assert_eq!((header.payload(&bytes), header.padding_len), (&b"ab"[..], 2));
}

#[test]
fn padding_has_to_fit_and_counts_itself() {
    assert_eq!(Header::parse(&packet(0xA0, b"\0\0\x03")).unwrap().payload_len, 0);
    assert_eq!(Header::parse(&packet(0xA0, b"\0\0\x04")), Err(Drop::BadRtp));
    assert_eq!(Header::parse(&packet(0xA0, b"\0\0\x00")), Err(Drop::BadRtp));
    // Without a payload the last byte is the SSRC's.
    assert_eq!(Header::parse(&packet(0xA0, b"")), Err(Drop::BadRtp));
}

#[test]
fn lengths_are_held_against_the_packet() {
    for len in 0..12 {
        assert_eq!(Header::parse(&FIXED[..len]), Err(Drop::BadRtp));
    }
    for version in [0x00, 0x40, 0xC0] {
        assert_eq!(Header::parse(&packet(version, b"payload")), Err(Drop::BadRtp));
    }
    assert!(Header::parse(&packet(0x82, &[0; 8])).is_ok());
    assert_eq!(Header::parse(&packet(0x82, &[0; 7])), Err(Drop::BadRtp), "CSRCs");
    assert!(Header::parse(&packet(0x90, &[0; 4])).is_ok());
    assert_eq!(Header::parse(&packet(0x90, &[0; 3])), Err(Drop::BadRtp), "extension head");
    assert!(Header::parse(&packet(0x90, &[0, 0, 0, 1, 0, 0, 0, 0])).is_ok());
    assert_eq!(Header::parse(&packet(0x90, &[0, 0, 0, 1, 0, 0, 0])), Err(Drop::BadRtp), "extension");
    assert_eq!(Header::parse(&packet(0x90, &[0, 0, 0xFF, 0xFF, 0])), Err(Drop::BadRtp), "16 bits of words");
}

#[test]
fn offsets_end_at_16_bits() {
    assert_eq!(Header::parse(&packet(0x80, &vec![0; 65535 - 12])).unwrap().payload_len, 65535 - 12);
    assert_eq!(Header::parse(&packet(0x80, &vec![0; 65536 - 12])), Err(Drop::BadRtp));
    let mut header = Header::parse(&packet(0x80, b"payload")).unwrap();
    assert_eq!(header.unpad(&vec![0x80; 65536]), Err(Drop::BadRtp));
    assert_eq!(header.unpad(&FIXED[..11]), Err(Drop::BadRtp), "shorter than it was");
}

#[test]
fn the_writer_cuts_what_its_fields_cannot_hold() {
    let fixed = FixedHeader { payload_type: Pt(0xFF), csrc_count: 0xFF, ..FixedHeader::default() };
    assert_eq!(fixed.to_bytes()[..2], [0x8F, 0x7F]);
    assert_eq!(fixed.write(&mut [0; 11]), None);
    assert_eq!(fixed.write(&mut [0; 12]), Some(12));
}

/// Whether the other parser and ours say the same of `bytes`.
fn compare(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (ours, theirs) = (Header::parse(bytes), RtpPacket::parse(bytes));
    let (Ok(ours), Ok(theirs)) = (&ours, &theirs) else {
        prop_assert_eq!(ours.is_ok(), theirs.is_ok(), "{:?} {:?}", ours, theirs);
        return Ok(());
    };
    prop_assert_eq!(ours.marker, theirs.marker_bit());
    prop_assert_eq!(ours.payload_type.0, theirs.payload_type());
    prop_assert_eq!(ours.sequence_number, theirs.sequence_number());
    prop_assert_eq!(ours.timestamp, theirs.timestamp());
    prop_assert_eq!(ours.ssrc.0, theirs.ssrc());
    let csrcs: Vec<u8> = theirs.csrc().flat_map(u32::to_be_bytes).collect();
    prop_assert_eq!(ours.csrcs(bytes), &csrcs[..]);
    let start = usize::from(ours.extension_offset);
    let extension = &bytes[start..start + usize::from(ours.extension_len)];
    prop_assert_eq!((start > 0).then_some((ours.extension_profile, extension)), theirs.extension());
    prop_assert_eq!(ours.payload(bytes), theirs.payload());
    prop_assert_eq!(ours.padding_len, theirs.padding().unwrap_or(0));
    Ok(())
}

fn fixed_header() -> impl Strategy<Value = FixedHeader> {
    (any::<[bool; 2]>(), 0..128_u8, any::<u16>(), any::<u32>(), any::<u32>()).prop_map(
        |([marker, has_padding], pt, sequence_number, timestamp, ssrc)| FixedHeader {
            marker,
            payload_type: Pt(pt),
            sequence_number,
            timestamp,
            ssrc: Ssrc(ssrc),
            has_padding,
            ..FixedHeader::default()
        },
    )
}

proptest! {
    #[test]
    fn the_other_parser_agrees_on_packets_of_its_own_writer(
        fixed in fixed_header(),
        csrcs in prop::collection::vec(any::<u32>(), 0..=15),
        extension in prop::option::of((any::<u16>(), prop::collection::vec(any::<[u8; 4]>(), 0..20))),
        payload in prop::collection::vec(any::<u8>(), 0..40),
        padding in 1..=255_u8,
    ) {
        let mut builder = RtpPacketBuilder::<&[u8], &[u8]>::new()
            .marker_bit(fixed.marker).payload_type(fixed.payload_type.0).sequence_number(fixed.sequence_number)
            .timestamp(fixed.timestamp).ssrc(fixed.ssrc.0).payload(&payload[..])
            .maybe_padding(fixed.has_padding.then_some(padding));
        for csrc in csrcs {
            builder = builder.add_csrc(csrc);
        }
        let extension = extension.map(|(profile, words)| (profile, words.concat()));
        if let Some((profile, words)) = &extension {
            builder = builder.extension(*profile, words);
        }
        let bytes = builder.write_vec().unwrap();
        prop_assert!(Header::parse(&bytes).is_ok());
        compare(&bytes)?;
        // And on what is left when the packet is cut, or a byte of its head changed.
        compare(&bytes[..bytes.len() / 2])?;
    }

    #[test]
    fn the_other_parser_agrees_on_random_bytes(first in 0x80..=0xBF_u8, mut bytes in prop::collection::vec(any::<u8>(), 1..120), words in 0..8_u16) {
        bytes[0] = first;
        // An extension length that has a chance to fit.
        let at = 14 + 4 * usize::from(first & 0x0F);
        if let Some(field) = bytes.get_mut(at..at + 2) {
            field.copy_from_slice(&words.to_be_bytes());
        }
        compare(&bytes)?;
    }

    #[test]
    fn what_is_written_is_read(mut fixed in fixed_header(), payload in prop::collection::vec(any::<u8>(), 1..40)) {
        fixed.has_padding = false;
        let mut bytes = vec![0; 12];
        prop_assert_eq!(fixed.write(&mut bytes), Some(12));
        bytes.extend(&payload);
        let header = Header::parse(&bytes).unwrap();
        prop_assert_eq!(header.fixed(), fixed);
        prop_assert_eq!(header.payload(&bytes), &payload[..]);
    }
}
