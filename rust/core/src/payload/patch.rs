//! Overwriting a payload format's numbers in a subscriber's copy, without moving a byte.
//!
//! A picture id that takes two bytes keeps two, one that takes one byte keeps one, a field that is not there stays
//! away: so the sealing code copies only the first [`head_len`] bytes, patches them, and encrypts the rest from where
//! it lies.

use super::Detail;

/// A picture id as it lies in a payload descriptor, VP8 (RFC 7741 §4.2) and VP9 (RFC 9628 §4.2) alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureId {
    /// Not sent.
    None,
    /// 7 bits, in one byte.
    Short(u8),
    /// 15 bits, in two bytes.
    Long(u16),
}

impl PictureId {
    /// How many bytes it takes, 0 to 2.
    pub const fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Short(_) => 1,
            Self::Long(_) => 2,
        }
    }

    /// Whether it is not sent at all.
    pub const fn is_empty(self) -> bool {
        matches!(self, Self::None)
    }

    /// The number, if it was sent.
    pub const fn number(self) -> Option<u16> {
        match self {
            Self::None => None,
            Self::Short(id) => Some(id as u16),
            Self::Long(id) => Some(id),
        }
    }

    /// Takes a picture id off the front of `rest`; none if it is cut off.
    pub(super) fn take(rest: &mut &[u8]) -> Option<Self> {
        let (&first, tail) = rest.split_first()?;
        if first & 0x80 == 0 {
            *rest = tail;
            return Some(Self::Short(first));
        }
        let (&second, tail) = tail.split_first()?;
        *rest = tail;
        Some(Self::Long(u16::from_be_bytes([first & 0x7F, second])))
    }

    /// Writes `id` at the front of `field`, in the width this one has, and gives back what is behind it.
    fn overwrite(self, id: u16, field: &mut [u8]) -> &mut [u8] {
        let [high, low] = id.to_be_bytes();
        match (self, field) {
            (Self::Short(_), [byte, rest @ ..]) => {
                *byte = low & 0x7F;
                rest
            }
            (Self::Long(_), [first, second, rest @ ..]) => {
                (*first, *second) = (high | 0x80, low);
                rest
            }
            (_, field) => field,
        }
    }
}

/// The numbers that a subscriber's copy must carry instead of the publisher's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patch {
    /// The payload goes out as it came in.
    #[default]
    None,
    /// For a VP8 payload descriptor.
    Vp8 {
        /// Its low 15 or 7 bits are written, as wide as the field is.
        picture_id: u16,
        /// TL0PICIDX.
        tl0_pic_idx: u8,
        /// KEYIDX, of which the low 5 bits are written.
        key_idx: u8,
    },
    /// For a VP9 payload descriptor.
    Vp9 {
        /// Its low 15 or 7 bits are written, as wide as the field is.
        picture_id: u16,
        /// TL0PICIDX.
        tl0_pic_idx: u8,
    },
}

/// The most bytes that any patch touches: six of a VP8 descriptor.
pub const MAX_HEAD: usize = 6;

/// How many bytes at the front of a payload a patch may touch, 0 to [`MAX_HEAD`].
pub const fn head_len(detail: &Detail) -> usize {
    match detail {
        Detail::None | Detail::Red => 0,
        Detail::Vp8(numbers) => {
            let idx = numbers.tl0_pic_idx.is_some() as usize + numbers.key_idx.is_some() as usize;
            if numbers.picture_id.is_empty() && idx == 0 { 0 } else { 2 + numbers.picture_id.len() + idx }
        }
        Detail::Vp9(numbers) => {
            let layers = if numbers.tl0_pic_idx.is_some() { 2 } else { 0 };
            if numbers.picture_id.is_empty() && layers == 0 { 0 } else { 1 + numbers.picture_id.len() + layers }
        }
    }
}

impl Patch {
    /// Overwrites the numbers in `head`, the first [`head_len`] bytes (or more) of a copy of the payload that `detail`
    /// was read from.
    ///
    /// Fields that `detail` does not have, or that lie behind the end of `head`, stay as they are; so does everything
    /// if patch and detail are of different formats.
    pub fn apply(&self, detail: &Detail, head: &mut [u8]) {
        match (*self, detail) {
            (Self::Vp8 { picture_id, tl0_pic_idx, key_idx }, Detail::Vp8(numbers)) => {
                let Some(fields) = head.get_mut(2..) else { return };
                let mut fields = numbers.picture_id.overwrite(picture_id, fields).iter_mut();
                if numbers.tl0_pic_idx.is_some()
                    && let Some(byte) = fields.next()
                {
                    *byte = tl0_pic_idx;
                }
                if numbers.key_idx.is_some()
                    && let Some(byte) = fields.next()
                {
                    *byte = *byte & 0xE0 | key_idx & 0x1F;
                }
            }
            (Self::Vp9 { picture_id, tl0_pic_idx }, Detail::Vp9(numbers)) => {
                let Some(fields) = head.get_mut(1..) else { return };
                let fields = numbers.picture_id.overwrite(picture_id, fields);
                // The byte of the layer indices lies between.
                if let (Some(_), Some(byte)) = (numbers.tl0_pic_idx, fields.get_mut(1)) {
                    *byte = tl0_pic_idx;
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::payload::{vp8, vp9};
    use proptest::prelude::*;

    pub(crate) fn any_picture_id() -> impl Strategy<Value = PictureId> {
        prop_oneof![
            Just(PictureId::None),
            (0_u8..128).prop_map(PictureId::Short),
            (0_u16..0x8000).prop_map(PictureId::Long),
        ]
    }

    #[test]
    fn a_vp8_descriptor_keeps_its_shape() {
        // X S, I L T K, 15 bits, TL0PICIDX, TID 3 Y KEYIDX 31.
        let mut payload = [0x90, 0xF0, 0xFF, 0xFF, 0xFF, 0xFF, 0xAB];
        let detail = Detail::Vp8(vp8::parse(&payload).unwrap().numbers);
        assert_eq!(head_len(&detail), 6);
        Patch::Vp8 { picture_id: 0x8001, tl0_pic_idx: 7, key_idx: 0x22 }.apply(&detail, &mut payload[..6]);
        assert_eq!(payload, [0x90, 0xF0, 0x80, 0x01, 0x07, 0xE2, 0xAB]);
    }

    #[test]
    fn seven_bits_stay_seven() {
        let mut payload = [0x90, 0x80, 0x05, 0xAB];
        let detail = Detail::Vp8(vp8::parse(&payload).unwrap().numbers);
        assert_eq!(head_len(&detail), 3);
        Patch::Vp8 { picture_id: 0x1FF, tl0_pic_idx: 7, key_idx: 1 }.apply(&detail, &mut payload);
        assert_eq!(payload, [0x90, 0x80, 0x7F, 0xAB]);
        let mut payload = [0x8C, 0x05, 0xAB];
        let detail = Detail::Vp9(vp9::parse(&payload).unwrap().numbers);
        Patch::Vp9 { picture_id: 0x1FF, tl0_pic_idx: 7 }.apply(&detail, &mut payload);
        assert_eq!(payload, [0x8C, 0x7F, 0xAB]);
    }

    #[test]
    fn a_vp9_descriptor_keeps_its_layer_byte() {
        // I L B E, 15 bits, TID 1 U SID 1 D, TL0PICIDX.
        let mut payload = [0xAC, 0x80, 0x03, 0x33, 0x44, 0xAB];
        let detail = Detail::Vp9(vp9::parse(&payload).unwrap().numbers);
        assert_eq!(head_len(&detail), 5);
        Patch::Vp9 { picture_id: 0x1234, tl0_pic_idx: 0x99 }.apply(&detail, &mut payload[..5]);
        assert_eq!(payload, [0xAC, 0x92, 0x34, 0x33, 0x99, 0xAB]);
    }

    #[test]
    fn formats_do_not_mix() {
        let mut payload = [0xAC, 0x80, 0x03, 0x33, 0x44, 0xAB];
        let before = payload;
        let detail = Detail::Vp9(vp9::parse(&payload).unwrap().numbers);
        Patch::Vp8 { picture_id: 1, tl0_pic_idx: 2, key_idx: 3 }.apply(&detail, &mut payload);
        Patch::None.apply(&detail, &mut payload);
        assert_eq!(payload, before);
        assert_eq!(head_len(&Detail::None), 0);
    }

    proptest! {
        #[test]
        fn a_patched_vp8_payload_says_the_new_numbers_and_nothing_else_new(
            bytes in prop::collection::vec(any::<u8>(), 1..40), picture_id: u16, tl0_pic_idx: u8, key_idx: u8,
        ) {
            let Some(before) = vp8::parse(&bytes) else { return Ok(()) };
            let detail = Detail::Vp8(before.numbers);
            let len = head_len(&detail);
            prop_assert!(len <= MAX_HEAD && len <= bytes.len());
            let mut patched = bytes.clone();
            Patch::Vp8 { picture_id, tl0_pic_idx, key_idx }.apply(&detail, &mut patched[..len]);
            prop_assert_eq!(&patched[len..], &bytes[len..]);
            let expected = vp8::Numbers {
                picture_id: match before.numbers.picture_id {
                    PictureId::None => PictureId::None,
                    PictureId::Short(_) => PictureId::Short(u8::try_from(picture_id & 0x7F).unwrap()),
                    PictureId::Long(_) => PictureId::Long(picture_id & 0x7FFF),
                },
                tl0_pic_idx: before.numbers.tl0_pic_idx.map(|_| tl0_pic_idx),
                key_idx: before.numbers.key_idx.map(|_| key_idx & 0x1F),
            };
            prop_assert_eq!(vp8::parse(&patched), Some(vp8::Payload { numbers: expected, ..before }));
        }

        #[test]
        fn a_patched_vp9_payload_says_the_new_numbers_and_nothing_else_new(
            bytes in prop::collection::vec(any::<u8>(), 1..40), picture_id: u16, tl0_pic_idx: u8,
        ) {
            let Some(before) = vp9::parse(&bytes) else { return Ok(()) };
            let detail = Detail::Vp9(before.numbers);
            let len = head_len(&detail);
            prop_assert!(len <= MAX_HEAD && len <= bytes.len());
            let mut patched = bytes.clone();
            Patch::Vp9 { picture_id, tl0_pic_idx }.apply(&detail, &mut patched[..len]);
            prop_assert_eq!(&patched[len..], &bytes[len..]);
            let expected = vp9::Numbers {
                picture_id: match before.numbers.picture_id {
                    PictureId::None => PictureId::None,
                    PictureId::Short(_) => PictureId::Short(u8::try_from(picture_id & 0x7F).unwrap()),
                    PictureId::Long(_) => PictureId::Long(picture_id & 0x7FFF),
                },
                tl0_pic_idx: before.numbers.tl0_pic_idx.map(|_| tl0_pic_idx),
            };
            prop_assert_eq!(vp9::parse(&patched), Some(vp9::Payload { numbers: expected, ..before }));
        }

        #[test]
        fn no_head_is_too_short(bytes in prop::collection::vec(any::<u8>(), 1..40), cut in 0_usize..8, id: u16) {
            if let Some(payload) = vp8::parse(&bytes) {
                let mut head = bytes.clone();
                head.truncate(cut);
                let patch = Patch::Vp8 { picture_id: id, tl0_pic_idx: 1, key_idx: 2 };
                patch.apply(&Detail::Vp8(payload.numbers), &mut head);
                prop_assert_eq!(head.len(), cut.min(bytes.len()));
            }
        }
    }
}
