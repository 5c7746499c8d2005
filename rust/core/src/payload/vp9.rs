//! The VP9 payload descriptor (RFC 9628 §4.2).
//!
//! Nothing behind the descriptor is read: it may be encrypted end to end.

use super::vp8::take;
use super::{PictureId, Resolution};

/// Spatial layers that a scalability structure can describe (N_S has three bits).
pub const MAX_SPATIAL: usize = 8;

/// References that a frame in flexible mode may list.
const MAX_P_DIFFS: u8 = 3;

/// The VP9 payload descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The numbers that must stay continuous.
    pub numbers: Numbers,
    /// P: predicted from an earlier picture.
    pub inter_picture: bool,
    /// F: references are listed (flexible mode) instead of following the structure.
    pub flexible: bool,
    /// B: the first packet of a layer's frame.
    pub frame_start: bool,
    /// E: the last packet of a layer's frame.
    pub frame_end: bool,
    /// Z: no upper spatial layer of this picture is predicted from this frame.
    pub not_for_upper: bool,
    /// The layer indices; none if the stream has no layers.
    pub layer: Option<Layer>,
    /// V: what the stream's layers look like, sent with keyframes.
    pub structure: Option<Structure>,
    /// Length of the descriptor: where the frame's own bytes begin.
    pub len: u16,
}

/// The numbers of a VP9 payload descriptor that a rewriter keeps continuous (RFC 9628 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The picture, the same in all its spatial layers.
    pub picture_id: PictureId,
    /// TL0PICIDX: pictures of the base temporal layer, counted. Only in non-flexible mode, behind the layer indices.
    pub tl0_pic_idx: Option<u8>,
}

/// The layer indices of a frame (RFC 9628 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// TID, 0 to 7.
    pub temporal: u8,
    /// U: from here on one can switch to higher temporal layers.
    pub switching_up: bool,
    /// SID, 0 to 7.
    pub spatial: u8,
    /// D: predicted from the spatial layer below.
    pub inter_layer: bool,
}

/// The scalability structure (RFC 9628 §4.2.1), without its picture group: nothing here follows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    /// How many spatial layers there are, 1 to 8.
    pub spatial_layers: u8,
    /// The size of each spatial layer, where sizes are sent.
    pub resolutions: Option<[Resolution; MAX_SPATIAL]>,
}

impl Payload {
    /// Whether a decoder that knows nothing can start here: predicted neither from an earlier picture nor from a layer below.
    pub fn is_keyframe(&self) -> bool {
        !self.inter_picture && self.layer.is_none_or(|layer| layer.spatial == 0 || !layer.inter_layer)
    }
}

/// Reads a VP9 payload descriptor; none where a field or the frame itself is missing.
pub fn parse(payload: &[u8]) -> Option<Payload> {
    let mut rest = payload;
    let first = take(&mut rest)?;
    let flag = |bit: u8| first & bit != 0;
    let (inter_picture, flexible) = (flag(0x40), flag(0x10));
    let picture_id = if flag(0x80) { PictureId::take(&mut rest)? } else { PictureId::None };
    let (mut layer, mut tl0_pic_idx) = (None, None);
    if flag(0x20) {
        let byte = take(&mut rest)?;
        layer = Some(Layer {
            temporal: byte >> 5,
            switching_up: byte & 0x10 != 0,
            spatial: byte >> 1 & 7,
            inter_layer: byte & 1 != 0,
        });
        if !flexible {
            tl0_pic_idx = Some(take(&mut rest)?);
        }
    }
    if flexible && inter_picture {
        skip_p_diffs(&mut rest)?;
    }
    let structure = if flag(0x02) { Some(take_structure(&mut rest)?) } else { None };
    let len = u16::try_from(payload.len() - rest.len()).ok()?;
    (!rest.is_empty()).then_some(Payload {
        numbers: Numbers { picture_id, tl0_pic_idx },
        inter_picture,
        flexible,
        frame_start: flag(0x08),
        frame_end: flag(0x04),
        not_for_upper: flag(0x01),
        layer,
        structure,
        len,
    })
}

/// P_DIFF: up to three references, each saying in its last bit whether another follows.
fn skip_p_diffs(rest: &mut &[u8]) -> Option<()> {
    for _ in 0..MAX_P_DIFFS {
        if take(rest)? & 1 == 0 {
            return Some(());
        }
    }
    None
}

/// Takes the scalability structure off the front (RFC 9628 §4.2.1).
fn take_structure(rest: &mut &[u8]) -> Option<Structure> {
    let head = take(rest)?;
    let spatial_layers = (head >> 5) + 1;
    let mut resolutions = None;
    if head & 0x10 != 0 {
        let mut sizes = [Resolution::default(); MAX_SPATIAL];
        for size in sizes.iter_mut().take(usize::from(spatial_layers)) {
            let (&[w0, w1, h0, h1], tail) = rest.split_first_chunk()?;
            *size = Resolution { width: u16::from_be_bytes([w0, w1]), height: u16::from_be_bytes([h0, h1]) };
            *rest = tail;
        }
        resolutions = Some(sizes);
    }
    if head & 0x08 != 0 {
        for _ in 0..take(rest)? {
            let references = take(rest)? >> 2 & 3;
            *rest = rest.get(usize::from(references)..)?;
        }
    }
    Some(Structure { spatial_layers, resolutions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
}
