//! A made-up encoder: frames in layers, cut into packets.

use rtpcore_core::Time;

use super::format::{self, Shape};
use super::{Frame, Media, Tag, Track};
use crate::dice::Dice;

/// One packet, ready for a header.
#[derive(Clone, Debug)]
pub struct Coded {
    /// Its number, counted on over wraps.
    pub number: u64,
    /// The RTP timestamp.
    pub timestamp: u32,
    /// Last of its picture (video), first of a talk spurt (audio).
    pub marker: bool,
    /// The payload.
    pub payload: Vec<u8>,
    /// Its dependency descriptor, where the codec goes by it.
    pub descriptor: Option<Vec<u8>>,
}

/// Makes the frames of one encoding.
#[derive(Clone, Debug)]
pub struct Encoder {
    track: Track,
    encoding: u8,
    dice: Dice,
    /// Whether the next picture is a keyframe.
    is_asked: bool,
    number: u64,
    /// The timestamp at time zero.
    timestamp: u32,
    frame: u32,
    picture: u32,
    /// Pictures since the last keyframe.
    position: u32,
    picture_id: u16,
    tl0: u8,
    frame_number: u16,
    /// By spatial and temporal layer, the last frame.
    last: [[Option<u32>; 3]; 3],
}

impl Encoder {
    /// An encoder that has made nothing yet; all its numbers begin at random.
    pub fn new(track: Track, encoding: u8, seed: u64) -> Self {
        let mut dice = Dice::fork(seed, u64::from(track.number) << 8 | u64::from(encoding));
        Self {
            track,
            encoding,
            is_asked: true,
            // Below 2^15, as everybody does: the loss of the first packets must not hide a rollover (RFC 3711 §3.3.1).
            number: (1 << 16) + dice.below(1 << 15),
            timestamp: (dice.below(1 << 32) & 0xFFFF_FFFF).try_into().unwrap_or(0),
            frame: 0,
            picture: 0,
            position: 0,
            picture_id: u16::try_from(dice.below(1 << 15)).unwrap_or(0),
            tl0: dice.next().to_be_bytes()[0],
            frame_number: u16::try_from(dice.below(1 << 16)).unwrap_or(0),
            last: Default::default(),
            dice,
        }
    }

    /// Somebody wants a keyframe: the next picture is one.
    pub fn ask_keyframe(&mut self) {
        self.is_asked = true;
    }

    /// The number of the packet that comes next.
    pub const fn next_number(&self) -> u64 {
        self.number
    }

    /// What the stream's clock shows at `now`.
    pub fn timestamp_at(&self, now: Time) -> u32 {
        let ticks = u128::from(now.as_nanos()) * u128::from(self.track.media.clock_rate()) / 1_000_000_000;
        self.timestamp.wrapping_add((ticks & 0xFFFF_FFFF).try_into().unwrap_or(0))
    }

    /// The picture captured at `now`: its packets in order, and what oracles must know of its frames.
    pub fn encode(&mut self, now: Time) -> (Vec<Coded>, Vec<Frame>) {
        let media = self.track.media;
        let is_keyframe = std::mem::take(&mut self.is_asked) || media == Media::Opus;
        if is_keyframe {
            self.position = 0;
            self.last = Default::default();
        }
        let temporal = self.temporal();
        let is_sync = is_keyframe || self.is_sync(temporal);
        if temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        let (mut packets, mut frames) = (Vec::new(), Vec::new());
        for spatial in 0..media.spatial() {
            let references = self.references(spatial, temporal, is_sync);
            let shape = Shape {
                is_keyframe,
                is_first: true,
                is_last: false,
                is_sync,
                spatial,
                temporal,
                layers: media.spatial(),
                picture_id: self.picture_id,
                tl0: self.tl0,
            };
            let first = self.number;
            let parts = self.parts(is_keyframe, spatial);
            self.cut(now, shape, parts, &references, &mut packets);
            frames.push(Frame {
                picture: self.picture,
                is_keyframe: references.is_empty(),
                spatial,
                temporal,
                references,
                timestamp: self.timestamp_at(now),
                captured_at: now,
                first,
                parts,
            });
            self.last[usize::from(spatial)][usize::from(temporal)] = Some(self.frame);
            self.frame += 1;
            self.frame_number = self.frame_number.wrapping_add(1);
        }
        self.position += 1;
        self.picture += 1;
        self.picture_id = (self.picture_id + 1) & 0x7FFF;
        (packets, frames)
    }

    fn cut(&mut self, now: Time, frame: Shape, parts: u8, references: &[u32], packets: &mut Vec<Coded>) {
        let media = self.track.media;
        let differences: Vec<u16> =
            references.iter().map(|reference| u16::try_from(self.frame - reference).unwrap_or(u16::MAX)).collect();
        for part in 0..parts {
            let mut shape = Shape { is_first: part == 0, is_last: part + 1 == parts, ..frame };
            let len = usize::try_from(self.dice.within(60, 700)).unwrap_or(60);
            let mut payload = match media {
                Media::Vp8 { .. } => format::vp8(&shape),
                Media::Vp9 { .. } => format::vp9(&shape),
                Media::Av1 { .. } => format::av1(&shape),
                Media::H264 => {
                    // H.264 has no temporal layer here; the field says which packet of a keyframe this is.
                    shape.temporal = part;
                    format::h264(&shape, len)
                }
                Media::Opus => vec![0x78],
            };
            let tag = Tag { track: self.track.number, encoding: self.encoding, frame: self.frame, part };
            tag.write(payload.len(), len, &mut payload);
            packets.push(Coded {
                number: self.number,
                timestamp: self.timestamp_at(now),
                marker: if media == Media::Opus {
                    self.frame == 0
                } else {
                    shape.is_last && shape.spatial + 1 == shape.layers
                },
                payload,
                descriptor: matches!(media, Media::Av1 { .. })
                    .then(|| format::descriptor(&shape, media.temporal(), self.frame_number, &differences)),
            });
            self.number += 1;
        }
    }

    /// Layers in the order 0 2 1 2.
    const fn temporal(&self) -> u8 {
        match (self.track.media.temporal(), self.position % 4) {
            (3, 1 | 3) => 2,
            (3, 2) | (2, 1 | 3) => 1,
            _ => 0,
        }
    }

    /// Whether a decoder of the layers below can follow this frame's layer from here on. In SVC always; in VP8 only in
    /// every second round, so that going up has to wait.
    fn is_sync(&self, temporal: u8) -> bool {
        match self.track.media {
            Media::Vp8 { .. } => temporal > 0 && self.position % 8 < 4 && self.position % 4 != 3,
            _ => temporal > 0,
        }
    }

    fn references(&self, spatial: u8, temporal: u8, is_sync: bool) -> Vec<u32> {
        let own = &self.last[usize::from(spatial)];
        let temporal = usize::from(temporal);
        let mut references: Vec<u32> = match self.track.media {
            // A sync frame knows the layers below, others their own too.
            Media::Vp8 { .. } => {
                let known = if is_sync { temporal } else { temporal + 1 };
                own.iter().take(known).flatten().copied().collect()
            }
            // The newest of the layers below; the base goes by itself.
            _ => own.iter().take(temporal.max(1)).flatten().copied().max().into_iter().collect(),
        };
        if spatial > 0 {
            references.push(self.frame - 1);
        }
        references
    }

    fn parts(&mut self, is_keyframe: bool, spatial: u8) -> u8 {
        let most = match self.track.media {
            Media::Opus => return 1,
            _ => 2 + u64::from(self.encoding) + u64::from(spatial),
        };
        u8::try_from(1 + self.dice.below(most) + if is_keyframe { 3 } else { 0 }).unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use rtpcore_core::payload::Reader;

    use super::super::Naming;
    use super::*;

    /// The core reads of every packet what the encoder meant.
    #[test]
    fn what_is_made_is_read() {
        for media in [
            Media::SIMULCAST,
            Media::H264,
            Media::Vp9 { spatial: 3, temporal: 3 },
            Media::Av1 { spatial: 3, temporal: 3 },
            Media::Av1 { spatial: 1, temporal: 2 },
            Media::Opus,
        ] {
            let track = Track { number: 1, media, has_rtx: true, naming: Naming::Ssrc };
            let mut encoder = Encoder::new(track, 0, 5);
            let mut reader = Reader::new(media.codec());
            let mut known = Vec::new();
            for n in 0..60 {
                if n == 30 {
                    encoder.ask_keyframe();
                }
                let (packets, frames) = encoder.encode(Time::from_millis(n * 33));
                known.extend(frames);
                for packet in packets {
                    let tag = Tag::read(&packet.payload).unwrap();
                    let frame = &known[tag.frame as usize];
                    let read = reader
                        .read(&packet.payload, packet.marker, packet.timestamp, packet.descriptor.as_deref())
                        .unwrap();
                    let what = format!("{media:?} {tag:?} {frame:?} {read:?}");
                    assert_eq!((read.spatial, read.temporal), (frame.spatial, frame.temporal), "{what}");
                    assert_eq!(read.keyframe, frame.is_keyframe, "{what}");
                    assert_eq!(packet.number, frame.first + u64::from(tag.part), "{what}");
                    if media != Media::Opus {
                        assert_eq!(read.frame_start, tag.part == 0, "{what}");
                        assert_eq!(read.frame_end, tag.part + 1 == frame.parts, "{what}");
                    }
                }
            }
            assert!(media == Media::Opus || known.iter().filter(|frame| frame.is_keyframe).count() == 2);
        }
    }
}
