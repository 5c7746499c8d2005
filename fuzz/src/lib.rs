//! What the targets share: a fuzzer's bytes taken off the front, and what must hold for every payload format.

use rtpcore_core::payload::patch::{MAX_HEAD, head_len};
use rtpcore_core::payload::{Codec, Descriptor, Detail, Patch, Reader, vp8, vp9};

/// A fuzzer's input, read from front to back.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    /// The next byte; none at the end.
    pub fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// The next two bytes as a number.
    pub fn short(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    /// A length of one byte and so many bytes behind it, or as many as there are.
    pub fn chunk(&mut self) -> Option<&'a [u8]> {
        let len = usize::from(self.byte()?).min(self.0.len());
        let (chunk, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(chunk)
    }
}

/// Reads a stream of payloads: for each a byte of flags, the payload, and perhaps a dependency descriptor.
pub fn read_stream(codec: Codec, data: &[u8]) {
    let mut input = Input(data);
    let mut reader = Reader::new(codec);
    let mut timestamp = 0_u32;
    while let Some(flags) = input.byte() {
        let Some(payload) = input.chunk() else { return };
        let dependency = if flags & 4 == 0 { None } else { input.chunk() };
        if flags & 2 == 0 {
            timestamp = timestamp.wrapping_add(3000);
        }
        if let Ok(descriptor) = reader.read(payload, flags & 1 != 0, timestamp, dependency) {
            check(&descriptor, payload);
        }
        for spatial in 0..8 {
            if let Some(size) = reader.resolution(spatial) {
                assert!(size.width > 0 || size.height > 0);
            }
        }
    }
}

/// What a descriptor says lies within what the formats can say, and its numbers can be written where they were read.
pub fn check(descriptor: &Descriptor, payload: &[u8]) {
    assert!(descriptor.spatial < 8 && descriptor.temporal < 8, "{descriptor:?}");
    let head = head_len(&descriptor.detail);
    assert!(head <= MAX_HEAD && head <= payload.len(), "{descriptor:?} in {} bytes", payload.len());
    let mut copy = payload.to_vec();
    match descriptor.detail {
        Detail::None | Detail::Red => {}
        Detail::Vp8(before) => {
            let patch = Patch::Vp8 { picture_id: 0x2AAA, tl0_pic_idx: 0x55, key_idx: 0x15 };
            patch.apply(&descriptor.detail, &mut copy[..head]);
            let after = vp8::parse(&copy).expect("a patch leaves the descriptor whole").numbers;
            assert_eq!(after.picture_id.len(), before.picture_id.len());
            assert!(after.picture_id.number().is_none_or(|id| id == 0x2AAA || id == 0x2AAA & 0x7F));
            assert_eq!(after.tl0_pic_idx, before.tl0_pic_idx.map(|_| 0x55));
            assert_eq!(after.key_idx, before.key_idx.map(|_| 0x15));
        }
        Detail::Vp9(before) => {
            Patch::Vp9 { picture_id: 0x2AAA, tl0_pic_idx: 0x55 }.apply(&descriptor.detail, &mut copy[..head]);
            let after = vp9::parse(&copy).expect("a patch leaves the descriptor whole").numbers;
            assert_eq!(after.picture_id.len(), before.picture_id.len());
            assert!(after.picture_id.number().is_none_or(|id| id == 0x2AAA || id == 0x2AAA & 0x7F));
            assert_eq!(after.tl0_pic_idx, before.tl0_pic_idx.map(|_| 0x55));
        }
    }
    assert_eq!(copy[head..], payload[head..], "nothing behind the head is touched");
}
