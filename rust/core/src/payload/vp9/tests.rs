use proptest::prelude::*;

use super::*;

#[test]
fn a_keyframe_of_a_stream_without_layers() {
    // I B E, picture id 17 in 7 bits.
    let got = parse(&[0x8C, 17, 0xFF]).unwrap();
    assert!(got.is_keyframe() && got.frame_start && got.frame_end && got.layer.is_none());
    assert_eq!((got.numbers.picture_id, got.numbers.tl0_pic_idx, got.len), (PictureId::Short(17), None, 2));
}

#[test]
fn non_flexible_mode_counts_base_pictures() {
    // I P L B, picture id 300 in 15 bits, TID 2 U SID 1 D, TL0PICIDX 77.
    let got = parse(&[0xE8, 0x81, 0x2C, 0b0101_0011, 77, 0xFF]).unwrap();
    assert_eq!(got.numbers, Numbers { picture_id: PictureId::Long(300), tl0_pic_idx: Some(77) });
    assert_eq!(got.layer, Some(Layer { temporal: 2, switching_up: true, spatial: 1, inter_layer: true }));
    assert!(!got.is_keyframe() && got.frame_start && !got.frame_end && !got.not_for_upper);
}

#[test]
fn flexible_mode_lists_up_to_three_references() {
    // I P L F B E Z, TID 0 SID 0, no TL0PICIDX.
    let head = [0xFD, 5, 0x00];
    let with = |diffs: &[u8]| parse(&[&head[..], diffs, &[0xAA]].concat());
    let got = with(&[0x02]).unwrap();
    assert_eq!((got.len, got.numbers.tl0_pic_idx, got.not_for_upper), (4, None, true));
    assert_eq!(with(&[0x03, 0x05, 0x06]).unwrap().len, 6);
    assert_eq!(with(&[0x03, 0x05, 0x07, 0x08]), None, "a fourth reference");
    // Without P there is no list.
    assert_eq!(parse(&[0xBD, 5, 0x00, 0xAA]).unwrap().len, 3);
}

#[test]
fn an_upper_layer_of_a_key_picture_is_no_keyframe_by_itself() {
    let layer = |byte: u8, first: u8| parse(&[first, 1, byte, 0, 0xFF]).unwrap();
    assert!(layer(0b0000_0000, 0xA8).is_keyframe());
    assert!(!layer(0b0000_0011, 0xA8).is_keyframe(), "predicted from layer 0");
    assert!(layer(0b0000_0010, 0xA8).is_keyframe(), "independent layers, S-mode");
    assert!(!layer(0b0000_0000, 0xE8).is_keyframe());
}

#[test]
fn the_structure_tells_three_sizes_and_a_picture_group() {
    let mut packet = vec![0x8E, 1, 2 << 5 | 0x18];
    for (w, h) in [(320_u16, 180_u16), (640, 360), (1280, 720)] {
        packet.extend(w.to_be_bytes());
        packet.extend(h.to_be_bytes());
    }
    // Four pictures with 1, 1, 2 and 0 references.
    packet.extend([4, 0x04, 4, 0x54, 1, 0x38, 1, 2, 0x50]);
    packet.push(0xAA);
    let got = parse(&packet).unwrap();
    assert_eq!(usize::from(got.len) + 1, packet.len());
    let structure = got.structure.unwrap();
    assert_eq!(structure.spatial_layers, 3);
    assert_eq!(structure.resolutions.unwrap()[2], Resolution { width: 1280, height: 720 });
    for len in 0..packet.len() {
        assert_eq!(parse(&packet[..len]), None, "{len}");
    }
}

#[test]
fn a_structure_may_go_without_sizes() {
    let got = parse(&[0x8E, 1, 0x00, 0xAA]).unwrap();
    assert_eq!(got.structure, Some(Structure { spatial_layers: 1, resolutions: None }));
}

/// A descriptor with the given fields, by the figures in RFC 9628 §4.2.
fn write(want: &Payload, p_diffs: &[u8]) -> Vec<u8> {
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let mut packet = vec![
        flag(!want.numbers.picture_id.is_empty(), 0x80)
            | flag(want.inter_picture, 0x40)
            | flag(want.layer.is_some(), 0x20)
            | flag(want.flexible, 0x10)
            | flag(want.frame_start, 0x08)
            | flag(want.frame_end, 0x04)
            | flag(want.structure.is_some(), 0x02)
            | flag(want.not_for_upper, 0x01),
    ];
    match want.numbers.picture_id {
        PictureId::None => {}
        PictureId::Short(id) => packet.push(id),
        PictureId::Long(id) => packet.extend((id | 0x8000).to_be_bytes()),
    }
    if let Some(layer) = want.layer {
        packet.push(
            layer.temporal << 5 | flag(layer.switching_up, 0x10) | layer.spatial << 1 | flag(layer.inter_layer, 1),
        );
        packet.extend(want.numbers.tl0_pic_idx);
    }
    if want.flexible && want.inter_picture {
        for (i, diff) in p_diffs.iter().enumerate() {
            packet.push(diff << 1 | u8::from(i + 1 < p_diffs.len()));
        }
    }
    if let Some(structure) = want.structure {
        packet.push((structure.spatial_layers - 1) << 5 | flag(structure.resolutions.is_some(), 0x10));
        for size in structure.resolutions.iter().flatten().take(structure.spatial_layers.into()) {
            packet.extend(size.width.to_be_bytes());
            packet.extend(size.height.to_be_bytes());
        }
    }
    packet
}

prop_compose! {
    fn any_structure()(spatial_layers in 1_u8..=8, sizes: Option<[(u16, u16); 8]>) -> Structure {
        Structure {
            spatial_layers,
            resolutions: sizes.map(|sizes| {
                let mut all = [Resolution::default(); MAX_SPATIAL];
                for (to, (width, height)) in all.iter_mut().zip(sizes).take(spatial_layers.into()) {
                    *to = Resolution { width, height };
                }
                all
            }),
        }
    }
}

prop_compose! {
    fn any_payload()(
        picture_id in super::super::patch::tests::any_picture_id(),
        flags: [bool; 5],
        layer in prop::option::of((0_u8..8, any::<bool>(), 0_u8..8, any::<bool>())),
        tl0: u8,
        structure in prop::option::of(any_structure()),
    ) -> Payload {
        let [inter_picture, flexible, frame_start, frame_end, not_for_upper] = flags;
        let layer = layer.map(|(temporal, switching_up, spatial, inter_layer)| {
            Layer { temporal, switching_up, spatial, inter_layer }
        });
        let tl0_pic_idx = (layer.is_some() && !flexible).then_some(tl0);
        let numbers = Numbers { picture_id, tl0_pic_idx };
        Payload { numbers, inter_picture, flexible, frame_start, frame_end, not_for_upper, layer, structure, len: 0 }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(want in any_payload(), p_diffs in prop::collection::vec(0_u8..128, 1..=3)) {
        let mut packet = write(&want, &p_diffs);
        prop_assert_eq!(parse(&packet), None, "no frame behind the descriptor");
        let len = u16::try_from(packet.len()).unwrap();
        packet.push(0xAA);
        prop_assert_eq!(parse(&packet), Some(Payload { len, ..want }));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        if let Some(got) = parse(&bytes) {
            prop_assert!(usize::from(got.len) < bytes.len());
        }
    }
}
