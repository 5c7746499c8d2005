//! The VP8 payload descriptor (RFC 7741 §4.2) and the first bytes of a VP8 frame (§4.3).

use super::{PictureId, Resolution};

/// The start of a VP8 payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The numbers that must stay continuous.
    pub numbers: Numbers,
    /// N: the frame may be left out without harm to others.
    pub non_reference: bool,
    /// S and a partition index of 0: the first packet of a frame.
    pub frame_start: bool,
    /// TID, 0 to 3; 0 where it is not sent.
    pub temporal: u8,
    /// Y: the frame is predicted from the base layer only.
    pub layer_sync: bool,
    /// In the first packet of a frame: the P bit says keyframe and the start code behind it agrees.
    pub keyframe: bool,
    /// In the first packet of a keyframe: the picture's size.
    pub resolution: Option<Resolution>,
    /// Length of the descriptor: where the frame's own bytes begin.
    pub len: u8,
}

/// The numbers of a VP8 payload descriptor that a rewriter keeps continuous (RFC 7741 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The picture, counted per frame.
    pub picture_id: PictureId,
    /// TL0PICIDX: frames of the base layer, counted.
    pub tl0_pic_idx: Option<u8>,
    /// KEYIDX, 0 to 31: keyframes, counted. Present says that the byte of T and K is there, wherever K is set.
    pub key_idx: Option<u8>,
}

/// Reads the start of a VP8 payload; none where a field or the frame itself is missing.
pub fn parse(payload: &[u8]) -> Option<Payload> {
    let mut rest = payload;
    let first = take(&mut rest)?;
    let (mut picture_id, mut tl0_pic_idx, mut key_idx) = (PictureId::None, None, None);
    let (mut temporal, mut layer_sync) = (0, false);
    if first & 0x80 != 0 {
        let extension = take(&mut rest)?;
        if extension & 0x80 != 0 {
            picture_id = PictureId::take(&mut rest)?;
        }
        if extension & 0x40 != 0 {
            tl0_pic_idx = Some(take(&mut rest)?);
        }
        if extension & 0x30 != 0 {
            let byte = take(&mut rest)?;
            if extension & 0x20 != 0 {
                temporal = byte >> 6;
                layer_sync = byte & 0x20 != 0;
            }
            if extension & 0x10 != 0 {
                key_idx = Some(byte & 0x1F);
            }
        }
    }
    let frame_start = first & 0x17 == 0x10;
    let resolution = if frame_start { keyframe_resolution(rest) } else { None };
    let len = u8::try_from(payload.len() - rest.len()).ok()?;
    (!rest.is_empty()).then_some(Payload {
        numbers: Numbers { picture_id, tl0_pic_idx, key_idx },
        non_reference: first & 0x20 != 0,
        frame_start,
        temporal,
        layer_sync,
        keyframe: resolution.is_some(),
        resolution,
        len,
    })
}

/// The size in a keyframe's header (RFC 6386 §9.1); none if this is no keyframe.
///
/// The start code is asked for although the P bit alone would do: of a frame that is encrypted end to end from its
/// first byte, every second one would read as a keyframe.
fn keyframe_resolution(frame: &[u8]) -> Option<Resolution> {
    let &[tag, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1] = frame.first_chunk::<10>()? else { return None };
    // The upper two bits of each are a scaling hint.
    let resolution =
        Resolution { width: u16::from_le_bytes([w0, w1]) & 0x3FFF, height: u16::from_le_bytes([h0, h1]) & 0x3FFF };
    (tag & 1 == 0).then_some(resolution)
}

/// Takes one byte off the front.
pub(super) fn take(rest: &mut &[u8]) -> Option<u8> {
    let (&byte, tail) = rest.split_first()?;
    *rest = tail;
    Some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A keyframe's first ten bytes: P = 0, shown, 640 x 360 with a scaling hint on the width.
    const KEYFRAME: [u8; 10] = [0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x80, 0x42, 0x68, 0x01];

    #[test]
    fn the_shortest_descriptor_is_one_byte() {
        let got = parse(&[0x10, 0x01]).unwrap();
        assert!(got.frame_start && !got.keyframe && !got.non_reference);
        assert_eq!((got.numbers.picture_id, got.temporal, got.len), (PictureId::None, 0, 1));
    }

    #[test]
    fn every_field_is_where_the_rfc_says() {
        // X N S, I L T K, picture id 4711 in 15 bits, TL0PICIDX 200, TID 2 Y KEYIDX 9.
        let mut packet = vec![0xB0, 0xF0, 0x92, 0x67, 200, 0b1010_1001];
        packet.extend(KEYFRAME);
        let got = parse(&packet).unwrap();
        assert_eq!(
            got.numbers,
            Numbers { picture_id: PictureId::Long(4711), tl0_pic_idx: Some(200), key_idx: Some(9) }
        );
        assert!(got.non_reference && got.frame_start && got.layer_sync && got.keyframe);
        assert_eq!((got.temporal, got.len), (2, 6));
        assert_eq!(got.resolution, Some(Resolution { width: 640, height: 360 }));
    }

    #[test]
    fn the_layer_byte_is_there_for_t_or_for_k_and_means_only_what_was_announced() {
        let t = parse(&[0x80, 0x20, 0b0110_0111, 0]).unwrap();
        assert_eq!((t.temporal, t.layer_sync, t.numbers.key_idx), (1, true, None));
        let k = parse(&[0x80, 0x10, 0b0110_0111, 0]).unwrap();
        assert_eq!((k.temporal, k.layer_sync, k.numbers.key_idx), (0, false, Some(7)));
    }

    #[test]
    fn only_the_first_packet_of_the_first_partition_starts_a_frame() {
        let with_first = |first: u8| {
            let mut packet = vec![first];
            packet.extend(KEYFRAME);
            parse(&packet).unwrap()
        };
        assert!(with_first(0x10).keyframe);
        assert!(!with_first(0x00).frame_start && !with_first(0x00).keyframe);
        assert!(!with_first(0x11).frame_start, "partition 1");
        assert!(!with_first(0x14).frame_start, "partition 4");
    }

    #[test]
    fn a_keyframe_needs_its_start_code() {
        for at in 3..6 {
            let mut packet = vec![0x10];
            packet.extend(KEYFRAME);
            packet[1 + at] ^= 0x40;
            assert!(!parse(&packet).unwrap().keyframe);
        }
        let mut inter = vec![0x10];
        inter.extend(KEYFRAME);
        inter[1] |= 1;
        assert!(!parse(&inter).unwrap().keyframe);
    }

    #[test]
    fn a_cut_descriptor_is_refused_at_every_length() {
        let packet = [0x90, 0xF0, 0x92, 0x67, 200, 0b1010_1001, 0x01];
        for len in 0..packet.len() {
            assert_eq!(parse(&packet[..len]), None, "{len}");
        }
        assert!(parse(&packet).is_some());
    }

    /// A descriptor with the given fields, by the figure in RFC 7741 §4.2.
    fn write(numbers: Numbers, layer: Option<(u8, bool)>, start: bool) -> Vec<u8> {
        let mut extension = 0;
        let mut tail = Vec::new();
        match numbers.picture_id {
            PictureId::None => {}
            PictureId::Short(id) => {
                extension |= 0x80;
                tail.push(id);
            }
            PictureId::Long(id) => {
                extension |= 0x80;
                tail.extend((id | 0x8000).to_be_bytes());
            }
        }
        if let Some(idx) = numbers.tl0_pic_idx {
            extension |= 0x40;
            tail.push(idx);
        }
        let mut byte = 0;
        if let Some((tid, sync)) = layer {
            extension |= 0x20;
            byte |= tid << 6 | u8::from(sync) << 5;
        }
        if let Some(idx) = numbers.key_idx {
            extension |= 0x10;
            byte |= idx;
        }
        if extension & 0x30 != 0 {
            tail.push(byte);
        }
        let mut packet = vec![if start { 0x10 } else { 0 }];
        if extension != 0 {
            packet[0] |= 0x80;
            packet.push(extension);
        }
        packet.extend(tail);
        packet.push(0xFF);
        packet
    }

    pub(crate) fn any_numbers() -> impl Strategy<Value = Numbers> {
        (super::super::patch::tests::any_picture_id(), any::<Option<u8>>(), prop::option::of(0_u8..32))
            .prop_map(|(picture_id, tl0_pic_idx, key_idx)| Numbers { picture_id, tl0_pic_idx, key_idx })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in any_numbers(), layer in prop::option::of((0_u8..4, any::<bool>())), start: bool,
        ) {
            let packet = write(numbers, layer, start);
            let got = parse(&packet).unwrap();
            prop_assert_eq!(got.numbers, numbers);
            prop_assert_eq!((got.temporal, got.layer_sync), layer.unwrap_or((0, false)));
            prop_assert_eq!(got.frame_start, start);
            prop_assert_eq!(usize::from(got.len) + 1, packet.len());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(got) = parse(&bytes) {
                prop_assert!(usize::from(got.len) < bytes.len() && got.len <= 6);
            }
        }
    }
}
