//! What an encoding sent since its newest keyframe, while that is little: whoever comes meanwhile begins with it at once, where
//! asking for another keyframe would take a round trip to the publisher and cost all others its bytes.
//!
//! ```text
//!  came      K  K  p  p  p  p  K  K  p  p          K: packets of a keyframe
//!  opening                     ├─────────▶         grows until it is too long or too old, or a keyframe begins anew
//! ```

use core::time::Duration;

use crate::packet::Packet;
use crate::store::PacketRef;
use crate::time::Time;
use crate::units::SeqNo;

/// The most packets to begin with: a large keyframe and a third of a second behind it. More is too much for a path of which
/// nothing is known yet.
const MOST: usize = 96;
/// The oldest keyframe to begin with: as old as one gets that was asked for when a handshake began, a round trip before its
/// end. What lies behind an older one is much for a path of which nothing is known, and is shown late.
const OLDEST: Duration = Duration::from_millis(300);

/// The packets of one encoding since its newest keyframe, in the order in which they came.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The number and the timestamp of the keyframe's first packet, and when it came.
    seq: SeqNo,
    timestamp: u32,
    at: Time,
    first: PacketRef,
    /// How far behind the first they are in the store.
    offsets: [u16; MOST],
    len: u8,
    bytes: usize,
}

impl Opening {
    /// Notes a packet, in the order in which followers are handed it.
    pub fn handle_packet(&mut self, now: Time, packet: &Packet, reference: PacketRef) {
        let frame = &packet.descriptor;
        let is_start = frame.keyframe && frame.frame_start && frame.spatial == 0 && packet.header.payload_len > 0;
        let is_same = self.len > 0 && self.timestamp == packet.header.timestamp;
        // A keyframe whose first packet was overtaken is no start: what overtook it lies before.
        if is_same && packet.seq < self.seq {
            // H.264 says twice where a keyframe starts, and the second was here before the first.
            self.len = 0;
        } else if is_start && !packet.is_late && !is_same {
            (self.seq, self.timestamp, self.at) = (packet.seq, packet.header.timestamp, now);
            (self.first, self.len, self.bytes) = (reference, 0, 0);
            self.push(packet, reference);
        } else if self.len > 0 && packet.seq > self.seq {
            self.push(packet, reference);
        }
    }

    fn push(&mut self, packet: &Packet, reference: PacketRef) {
        self.bytes += usize::from(packet.header.payload_len);
        match (self.offsets.get_mut(usize::from(self.len)), u16::try_from(reference - self.first)) {
            (Some(slot), Ok(offset)) => (*slot, self.len) = (offset, self.len + 1),
            _ => self.len = 0,
        }
    }

    /// Whether there is something to begin with.
    pub fn is_fresh(&self, now: Time) -> bool {
        self.len > 0 && now.since(self.at) <= OLDEST
    }

    /// Bytes of payload in its packets.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The packets, oldest first.
    pub fn packets(&self) -> impl Iterator<Item = PacketRef> + '_ {
        self.offsets.iter().take(self.len.into()).map(|&offset| self.first + PacketRef::from(offset))
    }
}

impl Default for Opening {
    fn default() -> Self {
        Self { seq: SeqNo(0), timestamp: 0, at: Time::ZERO, first: 0, offsets: [0; MOST], len: 0, bytes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(seq: u64, timestamp: u32, is_keyframe: bool, is_first: bool) -> Packet {
        let mut packet = Packet { seq: SeqNo(seq), ..Packet::BLANK };
        (packet.header.timestamp, packet.header.payload_len) = (timestamp, 10);
        (packet.descriptor.keyframe, packet.descriptor.frame_start) = (is_keyframe, is_first);
        packet
    }

    fn taken(opening: &Opening) -> Vec<PacketRef> {
        opening.packets().collect()
    }

    #[test]
    fn it_begins_with_the_newest_keyframe() {
        let (mut opening, now) = (Opening::default(), Time::from_millis(1000));
        opening.handle_packet(now, &packet(9, 100, false, true), 4);
        assert!(!opening.is_fresh(now) && taken(&opening).is_empty(), "there was none");
        for (seq, timestamp, is_keyframe, is_first, reference) in [
            (10, 200, true, true, 5),
            (11, 200, true, false, 8),
            (12, 300, false, true, 9),
            (13, 400, true, true, 12),
            (14, 400, true, true, 13),
            (15, 500, false, true, 20),
        ] {
            opening.handle_packet(now, &packet(seq, timestamp, is_keyframe, is_first), reference);
        }
        assert_eq!(taken(&opening), [12, 13, 20], "two starts of one frame are one");
        assert!(opening.is_fresh(now + OLDEST) && !opening.is_fresh(now + OLDEST + Duration::from_millis(1)));
    }

    #[test]
    fn a_keyframe_whose_first_packet_was_overtaken_is_no_start() {
        let (mut opening, now) = (Opening::default(), Time::from_millis(1000));
        opening.handle_packet(now, &packet(11, 200, true, false), 1);
        opening.handle_packet(now, &Packet { is_late: true, ..packet(10, 200, true, true) }, 2);
        assert!(!opening.is_fresh(now));
        // H.264: the second start of one keyframe before its first.
        opening.handle_packet(now, &packet(21, 300, true, true), 3);
        assert!(opening.is_fresh(now));
        opening.handle_packet(now, &Packet { is_late: true, ..packet(20, 300, true, true) }, 4);
        assert!(!opening.is_fresh(now));
    }

    #[test]
    fn what_is_too_long_is_forgotten_until_the_next() {
        let (mut opening, now) = (Opening::default(), Time::from_millis(1000));
        let most = MOST as u64;
        for n in 0..most {
            opening.handle_packet(now, &packet(10 + n, 200, n == 0, n == 0), n);
        }
        assert_eq!(taken(&opening).len(), MOST);
        opening.handle_packet(now, &packet(10 + most, 300, false, true), most);
        opening.handle_packet(now, &packet(11 + most, 400, false, true), most + 1);
        assert!(!opening.is_fresh(now) && taken(&opening).is_empty());
        opening.handle_packet(now, &packet(12 + most, 500, true, true), most + 2);
        opening.handle_packet(now, &packet(13 + most, 600, false, true), most + 3 + u64::from(u16::MAX));
        assert!(!opening.is_fresh(now), "too far apart in the store");
    }
}
