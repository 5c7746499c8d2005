//! Encoders by the size of what they make: frames that hold a rate, and keyframes that do not.

use core::time::Duration;

use rtpcore_core::Time;

use super::scenario::Source;
use crate::dice::Dice;
use crate::media::format::{self, Shape};

/// Payload of a packet, as libwebrtc cuts it.
const MOST_PAYLOAD: usize = 1150;
/// A keyframe has so many times the bytes of an average frame.
const KEYFRAME: u64 = 6;
/// Keyframes asked for more often count as one; libwebrtc has the same.
const KEYFRAMES: Duration = Duration::from_millis(300);
/// What a keyframe had too much is saved over so many frames.
const PAID_BACK: u64 = 30;
/// What a frame is predicted from that is predicted from nothing.
const NOTHING: u32 = u32::MAX;
/// What a packet of a copy has besides its payload: IP, UDP, RTP, extension, tag.
pub(super) const OVERHEAD: u64 = 20 + 8 + 12 + 8 + 16;

/// Which frame, and what a decoder must know of it: at the end of every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub encoding: u8,
    pub temporal: u8,
    pub part: u16,
    pub parts: u16,
    pub frame: u32,
    /// Frames of the same encoding; [`NOTHING`] where there is none.
    references: [u32; 2],
}

impl Tag {
    const LEN: usize = 18;

    pub(super) fn references(&self) -> impl Iterator<Item = u32> {
        self.references.into_iter().filter(|&reference| reference != NOTHING)
    }

    /// A frame that is predicted from the one before it.
    #[cfg(test)]
    pub(super) const fn of_chain(frame: u32, part: u16, parts: u16) -> Self {
        let before = if frame == 0 { NOTHING } else { frame - 1 };
        Self { encoding: 0, temporal: 0, part, parts, frame, references: [before, NOTHING] }
    }

    fn write(&self, payload: &mut Vec<u8>) {
        payload.extend([self.encoding, self.temporal]);
        payload.extend(self.part.to_be_bytes());
        payload.extend(self.parts.to_be_bytes());
        payload.extend(self.frame.to_be_bytes());
        self.references.iter().for_each(|reference| payload.extend(reference.to_be_bytes()));
    }

    pub(super) fn read(payload: &[u8]) -> Option<Self> {
        let (_, tail) = payload.split_last_chunk::<{ Self::LEN }>()?;
        let word = |at: usize| u32::from_be_bytes([tail[at], tail[at + 1], tail[at + 2], tail[at + 3]]);
        Some(Self {
            encoding: tail[0],
            temporal: tail[1],
            part: u16::from_be_bytes([tail[2], tail[3]]),
            parts: u16::from_be_bytes([tail[4], tail[5]]),
            frame: word(6),
            references: [word(10), word(14)],
        })
    }
}

/// One packet's payload, and what its header needs.
#[derive(Clone, Debug)]
pub(super) struct Coded {
    pub payload: Vec<u8>,
    pub timestamp: u32,
    pub marker: bool,
}

/// Makes one encoding.
pub(super) struct Encoder {
    encoding: u8,
    /// Bytes of an average frame.
    average: u64,
    has_layers: bool,
    is_slides: bool,
    dice: Dice,
    is_asked: bool,
    keyframe_at: Option<Time>,
    /// Bytes made too many.
    debt: u64,
    position: u32,
    frame: u32,
    picture_id: u16,
    tl0: u8,
    /// The last frame of each temporal layer.
    last: [u32; 3],
    /// Bytes on a viewer's wire by temporal layer, keyframes left out.
    pub made: [u64; 3],
}

impl Encoder {
    pub(super) fn new(source: &Source, encoding: u8, mut dice: Dice) -> Self {
        let (rate, fps) = match source {
            Source::Camera { rates, fps } => (rates[usize::from(encoding)], *fps),
            Source::Slides => (150_000, 15),
            Source::Microphone => (32_000, 50),
        };
        Self {
            encoding,
            average: rate / 8 / fps,
            has_layers: matches!(source, Source::Camera { .. }),
            is_slides: *source == Source::Slides,
            is_asked: true,
            keyframe_at: None,
            debt: 0,
            position: 0,
            frame: 0,
            picture_id: (dice.below(1 << 15) & 0x7FFF) as u16,
            tl0: (dice.below(256) & 0xFF) as u8,
            last: [NOTHING; 3],
            made: [0; 3],
            dice,
        }
    }

    /// Somebody wants a keyframe.
    pub(super) const fn ask_keyframe(&mut self) {
        self.is_asked = true;
    }

    /// The frame captured at `now`, in packets.
    pub(super) fn encode(&mut self, now: Time, timestamp: u32) -> Vec<Coded> {
        let may_key = self.keyframe_at.is_none_or(|at| (at + KEYFRAMES).is_due(now));
        let is_keyframe = self.is_asked && may_key;
        if is_keyframe {
            (self.is_asked, self.keyframe_at) = (false, Some(now));
            self.position = 0;
            self.last = [NOTHING; 3];
        }
        let place = if self.has_layers { self.position % 4 } else { 0 };
        let temporal = [0, 2, 1, 2][place as usize];
        // libwebrtc's pattern: the first three frames of four know only the base, the last one also the middle layer.
        let references = match place {
            0 => [self.last[0], NOTHING],
            3 => [self.last[0], self.last[1]],
            _ => [self.last[0], NOTHING],
        };
        let size = self.size(is_keyframe, temporal);
        let tag = Tag { encoding: self.encoding, temporal, part: 0, parts: 0, frame: self.frame, references };
        let packets = self.cut(tag, size, is_keyframe, place, timestamp);
        if !is_keyframe {
            let wire: u64 = packets.iter().map(|packet| packet.payload.len() as u64 + OVERHEAD).sum();
            self.made[usize::from(temporal)] += wire;
        }
        self.last[usize::from(temporal)] = self.frame;
        self.frame += 1;
        self.position += 1;
        self.picture_id = (self.picture_id + 1) & 0x7FFF;
        packets
    }

    /// Bytes of the next frame: of four, the base has two fifths, as libwebrtc shares them out.
    fn size(&mut self, is_keyframe: bool, temporal: u8) -> u64 {
        let share = if !self.has_layers {
            100
        } else if temporal == 0 {
            160
        } else {
            80
        };
        let wavers = self.dice.within(85, 116);
        if is_keyframe {
            let size = self.average * KEYFRAME * if self.is_slides { 5 } else { 1 };
            self.debt = size - self.average;
            return size;
        }
        // A new slide.
        if self.is_slides && self.dice.permille(12) {
            return self.average * 20;
        }
        let size = self.average * share / 100 * wavers / 100;
        let saved = self.debt.min(size / 3).min(self.average * KEYFRAME / PAID_BACK);
        self.debt -= saved;
        size - saved
    }

    fn cut(&mut self, tag: Tag, size: u64, is_keyframe: bool, place: u32, timestamp: u32) -> Vec<Coded> {
        if tag.temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        let size = (size as usize).max(60);
        let parts = size.div_ceil(MOST_PAYLOAD);
        let shape = |part: usize| Shape {
            is_keyframe,
            is_first: part == 0,
            is_last: part + 1 == parts,
            is_sync: matches!(place, 1 | 2),
            spatial: 0,
            temporal: tag.temporal,
            layers: 1,
            picture_id: self.picture_id,
            tl0: self.tl0,
        };
        let packet = |part: usize| {
            let mut payload = format::vp8(&shape(part));
            payload.resize((size / parts).saturating_sub(Tag::LEN).max(payload.len()), 0);
            Tag { part: part as u16, parts: parts as u16, ..tag }.write(&mut payload);
            Coded { payload, timestamp, marker: part + 1 == parts }
        };
        (0..parts).map(packet).collect()
    }
}
