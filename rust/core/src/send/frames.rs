//! The running numbers inside payloads: picture ids, layer 0 indexes, keyframe indexes, frame numbers.

use super::numbering::Numbering;
use crate::payload::patch::PictureId;
use crate::payload::{Descriptor, Detail, Patch};

/// Closed holes that are remembered, one per frame left out alone.
const STEPS: usize = 64;
/// Where unwrapped numbers start, far enough up that none goes below zero.
const BASE: u64 = 1 << 32;

/// Keeps a copy's frame numbers continuous.
#[derive(Clone, Debug)]
pub(super) struct Frames {
    ids: Numbering<STEPS>,
    /// The unwrapped id last seen; what the next one is unwrapped by.
    near: u64,
    tl0: Counter<8>,
    key: Counter<5>,
    descriptors: Offset,
}

impl Frames {
    pub(super) const fn new() -> Self {
        Self {
            ids: Numbering::new(BASE),
            near: BASE,
            tl0: Counter::new(),
            key: Counter::new(),
            descriptors: Offset::new(),
        }
    }

    /// Begins another stream at the frame of `descriptor`.
    pub(super) fn restart(&mut self, descriptor: &Descriptor) {
        self.descriptors.restart(descriptor);
        let numbers = Numbers::of(descriptor.detail);
        if let Some((id, _)) = numbers.id {
            self.begin_ids(id);
        }
        self.tl0.restart(numbers.tl0);
        self.key.restart(numbers.key);
    }

    /// The copy's numbers for a packet of a forwarded frame, and what is added to the frame number of its dependency
    /// descriptor; none if they are no longer known.
    pub(super) fn rewrite(&mut self, descriptor: &Descriptor) -> Option<(Patch, u16)> {
        let offset = self.descriptors.rewrite(descriptor);
        let detail = descriptor.detail;
        let numbers = Numbers::of(detail);
        let id = match numbers.id {
            Some((id, bits)) => {
                if !self.ids.has_begun() {
                    self.begin_ids(id);
                }
                let original = self.unwrap(id, bits);
                self.ids.map(original)?
            }
            None => 0,
        };
        let tl0_pic_idx = self.tl0.rewrite(numbers.tl0);
        let key_idx = self.key.rewrite(numbers.key);
        let patch = match detail {
            Detail::None | Detail::Red => Patch::None,
            Detail::Vp8(_) => Patch::Vp8 { picture_id: low(id) & 0x7FFF, tl0_pic_idx, key_idx },
            Detail::Vp9(_) => Patch::Vp9 { picture_id: low(id) & 0x7FFF, tl0_pic_idx },
        };
        Some((patch, offset))
    }

    /// Closes the place of a frame that is left out, where the format lets it be closed.
    pub(super) fn skip(&mut self, detail: Detail) {
        if let (Detail::Vp8(_), Some((id, bits))) = (detail, Numbers::of(detail).id)
            && self.ids.has_begun()
        {
            let original = self.unwrap(id, bits);
            self.ids.skip(original, original);
        }
    }

    fn begin_ids(&mut self, id: u16) {
        self.near = BASE + u64::from(id);
        if !self.ids.has_begun() {
            // The first stream keeps its numbers.
            self.ids = Numbering::new(self.near);
        }
        self.ids.restart(self.near);
    }

    /// The unwrapped id nearest to the last.
    fn unwrap(&mut self, id: u16, bits: u32) -> u64 {
        let span = 1u64 << bits;
        let ahead = u64::from(id).wrapping_sub(self.near) & (span - 1);
        let original = if ahead < span / 2 { self.near + ahead } else { (self.near + ahead).saturating_sub(span) };
        self.near = self.near.max(original);
        original
    }
}

/// A number of `BITS` bits that goes on with one more at each switch and keeps its distances within a stream.
#[derive(Clone, Debug)]
struct Counter<const BITS: u32> {
    offset: u8,
    newest: Option<u8>,
}

impl<const BITS: u32> Counter<BITS> {
    const MASK: u8 = u8::MAX >> (8 - BITS);

    const fn new() -> Self {
        Self { offset: 0, newest: None }
    }

    fn restart(&mut self, original: Option<u8>) {
        if let (Some(original), Some(newest)) = (original, self.newest) {
            self.offset = newest.wrapping_add(1).wrapping_sub(original);
        }
    }

    fn rewrite(&mut self, original: Option<u8>) -> u8 {
        let Some(original) = original else { return 0 };
        let rewritten = original.wrapping_add(self.offset) & Self::MASK;
        if self.newest.is_none_or(|newest| rewritten.wrapping_sub(newest) & Self::MASK <= Self::MASK / 2) {
            self.newest = Some(rewritten);
        }
        rewritten
    }
}

/// The frame numbers of dependency descriptors: one offset per stream, since frames name their references by distance.
#[derive(Clone, Debug)]
struct Offset {
    offset: u16,
    newest: Option<u16>,
}

impl Offset {
    const fn new() -> Self {
        Self { offset: 0, newest: None }
    }

    fn restart(&mut self, descriptor: &Descriptor) {
        if let (Some(dependency), Some(newest)) = (&descriptor.dependency, self.newest) {
            self.offset = newest.wrapping_add(1).wrapping_sub(dependency.frame_number);
        }
    }

    fn rewrite(&mut self, descriptor: &Descriptor) -> u16 {
        if let Some(dependency) = &descriptor.dependency {
            let rewritten = dependency.frame_number.wrapping_add(self.offset);
            if self.newest.is_none_or(|newest| rewritten.wrapping_sub(newest) < 0x8000) {
                self.newest = Some(rewritten);
            }
        }
        self.offset
    }
}

/// A frame's numbers, whatever the format calls them.
struct Numbers {
    /// With its width in bits.
    id: Option<(u16, u32)>,
    tl0: Option<u8>,
    key: Option<u8>,
}

impl Numbers {
    fn of(detail: Detail) -> Self {
        let width = |id: PictureId| match id {
            PictureId::None => None,
            PictureId::Short(id) => Some((u16::from(id), 7)),
            PictureId::Long(id) => Some((id, 15)),
        };
        match detail {
            Detail::None | Detail::Red => Self { id: None, tl0: None, key: None },
            Detail::Vp8(vp8) => Self { id: width(vp8.picture_id), tl0: vp8.tl0_pic_idx, key: vp8.key_idx },
            Detail::Vp9(vp9) => Self { id: width(vp9.picture_id), tl0: vp9.tl0_pic_idx, key: None },
        }
    }
}

#[allow(clippy::cast_possible_truncation)]
fn low(id: u64) -> u16 {
    id as u16
}
