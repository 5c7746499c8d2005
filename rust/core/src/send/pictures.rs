//! The decisions on the last pictures of a stream, for packets that come late.

use super::selector::Layer;
use crate::packet::Packet;
use crate::units::SeqNo;

/// How many pictures are remembered: a second at 60 per second, longer than anyone waits for a retransmission.
const KEPT: usize = 64;

/// One picture (all spatial layers of one timestamp) and what was decided on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Picture {
    timestamp: u32,
    /// The highest number seen of it.
    last: SeqNo,
    /// The limits that held.
    pub(super) limit: Layer,
    /// Whether lower spatial layers had been left out when this picture was over (see [`Shape::KeyLayered`]).
    ///
    /// [`Shape::KeyLayered`]: super::Shape::KeyLayered
    pub(super) is_below_left_out: bool,
    /// Whether it is within the temporal limit.
    pub(super) is_forwarded: bool,
}

impl Picture {
    /// The picture that `packet` is the first seen of.
    pub(super) fn new(packet: &Packet, limit: Layer, is_below_left_out: bool) -> Self {
        let is_forwarded = packet.descriptor.temporal <= limit.temporal;
        Self { timestamp: packet.header.timestamp, last: packet.seq, limit, is_below_left_out, is_forwarded }
    }

    /// Notes one more number of this picture.
    pub(super) fn extend(&mut self, seq: SeqNo) {
        self.last = self.last.max(seq);
    }
}

/// The last pictures by their numbers, however late they came.
#[derive(Clone, Debug)]
pub(super) struct Pictures {
    ring: [Picture; KEPT],
    /// Where the last one was put; those before it mostly lie in front of it.
    last: usize,
    len: usize,
}

impl Pictures {
    pub(super) fn new() -> Self {
        let none = Picture {
            timestamp: 0,
            last: SeqNo(0),
            limit: Layer { spatial: 0, temporal: 0 },
            is_below_left_out: false,
            is_forwarded: false,
        };
        Self { ring: [none; KEPT], last: 0, len: 0 }
    }

    /// Forgets everything: another stream begins.
    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    /// Remembers a picture in place of the one with the lowest numbers: a second of retransmissions, coming behind an outage
    /// all at once, must not push out what is being sent now.
    pub(super) fn insert(&mut self, picture: Picture) {
        self.last = if self.len < KEPT {
            self.len
        } else {
            let oldest = self.ring.iter().enumerate().min_by_key(|(_, picture)| picture.last);
            oldest.map_or(0, |(index, _)| index)
        };
        self.len = (self.len + 1).min(KEPT);
        if let Some(slot) = self.ring.get_mut(self.last) {
            *slot = picture;
        }
    }

    /// The picture with this timestamp; nearly always the newest, so that is looked at first.
    pub(super) fn find(&mut self, timestamp: u32) -> Option<&mut Picture> {
        let back = self.newest_first().position(|picture| picture.timestamp == timestamp)?;
        self.ring.get_mut((self.last + self.len - back) % self.len)
    }

    /// The picture whose numbers come next below `seq`.
    pub(super) fn before(&self, seq: SeqNo) -> Option<Picture> {
        self.newest_first().filter(|picture| picture.last < seq).max_by_key(|picture| picture.last).copied()
    }

    fn newest_first(&self) -> impl Iterator<Item = &Picture> {
        (0..self.len).filter_map(|back| self.ring.get((self.last + self.len - back) % self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(number: u32) -> Picture {
        let seq = SeqNo((1 << 16) + u64::from(number));
        Picture::new(
            &Packet { seq, header: crate::rtp::Header { timestamp: number, ..Packet::BLANK.header }, ..Packet::BLANK },
            Layer::default(),
            false,
        )
    }

    #[test]
    fn what_comes_late_pushes_out_only_what_is_older() {
        let mut pictures = Pictures::new();
        let kept = u32::try_from(KEPT).unwrap();
        // An outage after the tenth, then a few new ones, then all that was missed.
        for number in (0..10).chain(200..205).chain(10..200) {
            pictures.insert(picture(number));
        }
        for number in 200..205 {
            assert!(pictures.find(number).is_some(), "{number}");
        }
        assert!(pictures.find(204 - kept).is_none());
        pictures.insert(picture(205));
        assert!(pictures.find(205).is_some() && pictures.find(204).is_some());
        assert_eq!(pictures.before(SeqNo((1 << 16) + 205)).map(|before| before.timestamp), Some(204));
        pictures.clear();
        assert!(pictures.find(205).is_none());
    }
}
