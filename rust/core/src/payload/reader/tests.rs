use proptest::prelude::*;

use super::super::dependency_descriptor::tests::{Packet, l1t3};
use super::*;
use crate::payload::PictureId;

const VP8_KEY: [u8; 14] = [0x90, 0xA0, 0x05, 0x00, 0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01];

/// An interframe's packet in temporal layer `tid`.
fn vp8_inter(start: bool, tid: u8, sync: bool) -> [u8; 5] {
    [if start { 0x90 } else { 0x80 }, 0xA0, 0x06, tid << 6 | u8::from(sync) << 5, 0x01]
}

#[test]
fn all_packets_of_a_vp8_keyframe_belong_to_it() {
    let mut reader = Reader::new(Codec::Vp8);
    assert_eq!(reader.resolution(0), None);
    let first = reader.read(&VP8_KEY, false, 900, None).unwrap();
    assert!(first.frame_start && !first.frame_end && first.keyframe && first.temporal_switch);
    let second = reader.read(&vp8_inter(false, 0, false), true, 900, None).unwrap();
    assert!(!second.frame_start && second.frame_end && second.keyframe);
    assert_eq!(reader.resolution(0), Some(Resolution { width: 640, height: 360 }));
    assert_eq!(reader.resolution(1), None);
    let sync = reader.read(&vp8_inter(true, 2, true), true, 3900, None).unwrap();
    assert!(!sync.keyframe && sync.temporal_switch && sync.temporal == 2);
    let plain = reader.read(&vp8_inter(true, 1, false), true, 6900, None).unwrap();
    assert!(!plain.temporal_switch && plain.temporal == 1);
    let Detail::Vp8(numbers) = plain.detail else { panic!("{plain:?}") };
    assert_eq!(numbers.picture_id, PictureId::Short(6));
}

#[test]
fn vp9_layers_come_from_the_payload() {
    let mut reader = Reader::new(Codec::Vp9);
    // I L B E V, picture id 1, SID 0, TL0PICIDX; two layers with sizes.
    let base = [0xAE, 1, 0, 0, 0x30, 1, 64, 0, 180, 2, 128, 1, 104, 0xFF];
    let read = reader.read(&base, false, 0, None).unwrap();
    assert!(read.keyframe && read.frame_start && read.frame_end && read.inter_layer && !read.spatial_switch);
    assert_eq!(reader.resolution(1), Some(Resolution { width: 640, height: 360 }));
    // I L B Z, SID 1 D: the key picture's upper layer, first packet of it.
    let upper = reader.read(&[0xA9, 1, 0b011, 0, 0xFF], true, 0, None).unwrap();
    assert!(!upper.keyframe && upper.spatial == 1 && upper.spatial_switch && !upper.inter_layer);
    assert!(upper.frame_start && !upper.frame_end, "E decides, not the marker");
    // I P L, TID 1 U, SID 1.
    let later = reader.read(&[0xE8, 2, 0b0011_0010, 0, 0xFF], true, 3000, None).unwrap();
    assert!(!later.spatial_switch && later.temporal_switch && later.temporal == 1 && later.inter_layer);
    // Without layers nothing is for an upper one, though Z is not set.
    let flat = reader.read(&[0x8C, 3, 0xFF], true, 6000, None).unwrap();
    assert!(flat.keyframe && !flat.inter_layer);
}

#[test]
fn av1_without_descriptor_is_read_by_its_headers() {
    let mut reader = Reader::new(Codec::Av1);
    // W = 2, N: sequence header, then the start of a frame in layer (0, 0).
    let key = reader.read(&[0x68, 2, 0x08, 0, 0x34, 0x00, 0xFF], false, 0, None).unwrap();
    assert!(key.frame_start && key.keyframe && key.temporal == 0 && key.inter_layer);
    let rest = reader.read(&[0x90, 0xFF], false, 0, None).unwrap();
    assert!(!rest.frame_start && rest.keyframe && rest.spatial == 0);
    let upper = reader.read(&[0x50, 0x34, 0x08, 0xFF], false, 0, None).unwrap();
    assert!(upper.frame_start && !upper.keyframe && upper.spatial_switch && upper.spatial == 1);
    let upper_rest = reader.read(&[0x90, 0xFF], true, 0, None).unwrap();
    assert!(!upper_rest.frame_start && upper_rest.frame_end && upper_rest.spatial == 1);
    let next = reader.read(&[0x10, 0x34, 0x20, 0xFF], true, 3000, None).unwrap();
    assert!(next.frame_start && !next.keyframe && !next.spatial_switch && next.temporal == 1);
    let straggler = reader.read(&[0x10, 0x34, 0x08, 0xFF], true, 0, None).unwrap();
    assert!(!straggler.frame_start && straggler.spatial == 1);
    let flat = Reader::new(Codec::Av1).read(&[0x10, 0x30, 0xFF], true, 0, None).unwrap();
    assert!(flat.frame_start && !flat.inter_layer);
}

#[test]
fn h264_starts_at_its_parameter_sets() {
    let mut reader = Reader::new(Codec::H264);
    let mut read = |payload: &[u8], marker, timestamp| {
        let read = reader.read(payload, marker, timestamp, None).unwrap();
        (read.frame_start, read.frame_end, read.keyframe)
    };
    let sets = [0x78, 0, 2, 0x67, 0x42, 0, 2, 0x68, 0xCE];
    assert_eq!(read(&sets, false, 0), (true, false, true));
    assert_eq!(read(&[0x7C, 0x85, 1], false, 0), (false, false, true));
    assert_eq!(read(&[0x7C, 0x45, 1], true, 0), (false, true, true));
    assert_eq!(read(&[0x09, 0xF0], false, 3000), (true, false, false), "an access unit delimiter");
    assert_eq!(read(&[0x41, 1], true, 3000), (false, true, false));
    // The sets of the next keyframe come late.
    assert_eq!(read(&[0x7C, 0x85, 1], false, 6000), (false, false, true));
    assert_eq!(read(&sets, false, 6000), (true, false, true));
    // SEI behind the sets belongs to the keyframe too.
    assert_eq!(read(&[0x06, 1], false, 6000), (false, false, true));
}

#[test]
fn h265_tells_temporal_layers() {
    let mut reader = Reader::new(Codec::H265);
    let vps = reader.read(&[0x40, 0x01, 0x0C], false, 0, None).unwrap();
    assert!(vps.frame_start && vps.keyframe && vps.temporal == 0);
    let idr = reader.read(&[0x62, 0x01, 0x93, 0xAF], true, 0, None).unwrap();
    assert!(!idr.frame_start && idr.keyframe && idr.frame_end);
    let tsa = reader.read(&[0x06, 0x02, 0xAF], true, 3000, None).unwrap();
    assert!(tsa.frame_start && !tsa.keyframe && tsa.temporal == 1 && tsa.temporal_switch);
}

#[test]
fn audio_and_the_unknown_can_start_anywhere() {
    for (codec, detail) in [(Codec::Opus, Detail::None), (Codec::Red, Detail::Red), (Codec::Opaque, Detail::None)] {
        let expected = Descriptor { detail, ..Descriptor::OPAQUE };
        assert_eq!(Reader::new(codec).read(&[0xFF, 0xFF], false, 0, None), Ok(expected));
    }
    assert_eq!(Reader::new(Codec::Opus).read(&[], false, 0, None), Err(Drop::BadPayload));
    assert_eq!(Reader::new(Codec::Opaque).read(&[], false, 0, None), Ok(Descriptor::OPAQUE));
    // An audio stream has no business with a descriptor, not even a broken one.
    assert_eq!(Reader::new(Codec::Opus).read(&[0xF8], false, 0, Some(&[0])), Ok(Descriptor::OPAQUE));
}

#[test]
fn bad_payloads_are_dropped() {
    for codec in [Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264, Codec::H265] {
        assert_eq!(Reader::new(codec).read(&[], true, 0, None), Err(Drop::BadPayload), "{codec:?}");
    }
}

fn structured() -> Packet {
    Packet { start: true, frame_number: 7, structure: Some(l1t3(0)), ..Packet::default() }
}

#[test]
fn a_descriptor_goes_before_an_encrypted_payload() {
    let sealed = [0xDE; 40];
    for codec in [Codec::Av1, Codec::H264, Codec::H265, Codec::Opaque] {
        let mut reader = Reader::new(codec);
        let key = reader.read(&sealed, true, 0, Some(&structured().write())).unwrap();
        assert!(key.keyframe && key.frame_start && !key.frame_end && key.detail == Detail::None);
        assert!(key.dependency.unwrap().has_structure);
        let t2 = Packet { start: true, end: true, template_id: 3, frame_number: 8, ..Packet::default() };
        let top = reader.read(&sealed, true, 3000, Some(&t2.write())).unwrap();
        assert!(!top.keyframe && top.temporal == 2 && top.temporal_switch && top.frame_end);
        assert_eq!(reader.resolution(0), Some(Resolution { width: 1280, height: 720 }));
        assert_eq!(reader.decode_targets().unwrap().count(), 3);
        assert_eq!(reader.active_targets().unwrap().mask, 7);
    }
}

#[test]
fn a_descriptor_leaves_the_numbers_of_vp8_to_the_payload() {
    let mut reader = Reader::new(Codec::Vp8);
    let inter = vp8_inter(false, 3, false);
    let read = reader.read(&inter, true, 0, Some(&structured().write())).unwrap();
    assert!(read.keyframe && read.frame_start && read.temporal == 0, "the descriptor's word");
    assert!(matches!(read.detail, Detail::Vp8(numbers) if numbers.picture_id == PictureId::Short(6)));
    let mut reader = Reader::new(Codec::Vp9);
    let read = reader.read(&[0xE8, 2, 0x32, 9, 0xFF], true, 0, Some(&structured().write())).unwrap();
    assert!(read.keyframe && read.temporal == 0);
    assert!(matches!(read.detail, Detail::Vp9(numbers) if numbers.tl0_pic_idx == Some(9)));
}

#[test]
fn without_its_structure_the_payload_answers() {
    let mut reader = Reader::new(Codec::Vp8);
    let packet = Packet { end: true, template_id: 40, ..Packet::default() }.write();
    let read = reader.read(&VP8_KEY, false, 0, Some(&packet)).unwrap();
    assert!(read.keyframe && read.dependency.is_none());
    assert!(!read.frame_start && read.frame_end, "these the descriptor can tell");
    assert_eq!(reader.decode_targets(), None);
    assert_eq!(reader.read(&VP8_KEY, false, 0, Some(&[0x80])), Err(Drop::BadPayload));
}

proptest! {
    #[test]
    fn no_packets_make_it_panic(
        codec in prop::sample::select(vec![
            Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264, Codec::H265, Codec::Opus, Codec::Red, Codec::Opaque,
        ]),
        packets in prop::collection::vec(
            (
                prop::collection::vec(any::<u8>(), 0..40),
                any::<bool>(),
                any::<u32>(),
                prop::option::of(prop::collection::vec(any::<u8>(), 0..20)),
            ),
            0..12,
        ),
    ) {
        let mut reader = Reader::new(codec);
        for (payload, marker, timestamp, descriptor) in packets {
            if let Ok(read) = reader.read(&payload, marker, timestamp, descriptor.as_deref()) {
                prop_assert!(read.spatial < 8 && read.temporal < 8);
                prop_assert!(super::super::patch::head_len(&read.detail) <= payload.len());
            }
        }
    }
}
