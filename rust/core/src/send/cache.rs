//! What was sent lately, by outgoing sequence number: for retransmission, and so that no number is ever used twice.

use core::time::Duration;

use super::rewriter::Rewritten;
use crate::drop::Drop;
use crate::payload::Patch;
use crate::time::Time;
use crate::units::{Pt, SeqNo};

/// How often one packet is sent again at most.
///
/// libwebrtc asks ten times. More only helps a peer that wants us to send much for little.
const MOST_RETRANSMISSIONS: u8 = 10;

/// One packet of a subscriber's copy: all that is needed to write its bytes, now or again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The original, as the router's packet store names it.
    pub packet: u64,
    /// The outgoing sequence number.
    pub seq: SeqNo,
    /// The payload format's numbers.
    pub patch: Patch,
    /// What is added to the frame number of the dependency descriptor, wrapping.
    pub frame_offset: u16,
    /// The outgoing timestamp.
    pub timestamp: u32,
    /// When it was last sent, in milliseconds of [`Time`]; wraps after 49 days.
    sent_at_ms: u32,
    /// The outgoing payload type.
    pub payload_type: Pt,
    /// The outgoing marker bit.
    pub marker: bool,
    /// How often it was sent again.
    pub retransmissions: u8,
    /// How many earlier payloads of audio are repeated in it (RFC 2198), or [`Self::AS_IT_CAME`].
    pub blocks: u8,
}

impl Entry {
    /// The payload with what the publisher repeated in it.
    pub const AS_IT_CAME: u8 = u8::MAX;

    /// A packet first sent at `now`.
    pub(super) fn new(now: Time, packet: u64, payload_type: Pt, rewritten: &Rewritten) -> Self {
        Self {
            packet,
            seq: rewritten.seq,
            patch: rewritten.patch,
            frame_offset: rewritten.frame_offset,
            timestamp: rewritten.timestamp,
            sent_at_ms: millis(now),
            payload_type,
            marker: rewritten.marker,
            retransmissions: 0,
            blocks: 0,
        }
    }
}

/// A ring of the newest packets.
#[derive(Clone, Debug)]
pub struct Cache {
    /// Slot `seq % len`; a vacant slot carries sequence number zero, which no stream reaches.
    entries: Box<[Entry]>,
    /// The highest number stored.
    newest: SeqNo,
}

impl Cache {
    /// Keeps the numbers within `size` of the newest; a power of two, else it is rounded up to one, 65536 at most half of it.
    ///
    /// Video needs a second of packets (512 to 1024: a keyframe of a large encoding is 100 of them), audio 128 (2.5 s).
    pub fn new(size: u16) -> Self {
        // Above 2^15 the 16 bits of a NACK would name two entries.
        let size = usize::from(size.clamp(1, 1 << 15)).next_power_of_two();
        let nothing = Rewritten { seq: SeqNo(0), timestamp: 0, marker: false, patch: Patch::None, frame_offset: 0 };
        let vacant = Entry::new(Time::ZERO, 0, Pt(0), &nothing);
        Self { entries: vec![vacant; size].into_boxed_slice(), newest: SeqNo(0) }
    }

    /// Remembers a packet that is about to be sent for the first time.
    ///
    /// This is the guard of invariant I5: a number that was stored before is [`Drop::Duplicate`], one so old that this
    /// cannot be told is [`Drop::TooLate`], and neither may be sent. SRTP builds its nonce from the number: the same one
    /// under other bytes gives the key away (RFC 7714 §8.4).
    pub fn store(&mut self, entry: Entry) -> Result<SeqNo, Drop> {
        let size = self.entries.len() as u64;
        if entry.seq.0 + size <= self.newest.0 {
            return Err(Drop::TooLate);
        }
        let slot = self.slot_mut(entry.seq).ok_or(Drop::TooLate)?;
        if slot.seq == entry.seq {
            return Err(Drop::Duplicate);
        }
        *slot = entry;
        self.newest = self.newest.max(entry.seq);
        Ok(entry.seq)
    }

    /// The packet with this number, while it is kept.
    pub fn get(&self, seq: SeqNo) -> Option<&Entry> {
        let entry = self.entries.get(self.index(seq))?;
        (entry.seq == seq && seq.0 + self.entries.len() as u64 > self.newest.0 && seq != SeqNo(0)).then_some(entry)
    }

    /// The packet a NACK names by the 16 bits of the wire.
    pub fn find(&self, low: u16) -> Option<&Entry> {
        self.get(self.newest.nearest(low))
    }

    /// Settles under which payload type and with how many earlier payloads a packet is sent, before it is.
    pub fn settle(&mut self, seq: SeqNo, payload_type: Pt, blocks: u8) {
        if let Some(entry) = self.slot_mut(seq).filter(|entry| entry.seq == seq) {
            (entry.payload_type, entry.blocks) = (payload_type, blocks);
        }
    }

    /// The highest number stored; zero before the first.
    pub fn newest(&self) -> SeqNo {
        self.newest
    }

    /// Allows one retransmission of the packet a NACK names, unless it lies before `first` ([`Drop::TooLate`]).
    ///
    /// [`Drop::NotInHistory`] if it was never sent, is no longer kept or was sent too often;
    /// [`Drop::RetransmittedRecently`] if the last copy can still be under way, that is for `rtt` after it was sent.
    pub fn retransmit(&mut self, now: Time, low: u16, rtt: Duration, first: SeqNo) -> Result<SeqNo, Drop> {
        let seq = self.find(low).ok_or(Drop::NotInHistory)?.seq;
        if seq < first {
            return Err(Drop::TooLate);
        }
        let entry = self.slot_mut(seq).ok_or(Drop::NotInHistory)?;
        if entry.retransmissions >= MOST_RETRANSMISSIONS {
            return Err(Drop::NotInHistory);
        }
        // The first send is not counted: a NACK right after it means that it is lost, whatever the RTT was before.
        if entry.retransmissions > 0 && u128::from(millis(now).wrapping_sub(entry.sent_at_ms)) < rtt.as_millis() {
            return Err(Drop::RetransmittedRecently);
        }
        entry.retransmissions += 1;
        entry.sent_at_ms = millis(now);
        Ok(seq)
    }

    fn slot_mut(&mut self, seq: SeqNo) -> Option<&mut Entry> {
        let index = self.index(seq);
        self.entries.get_mut(index)
    }

    #[allow(clippy::cast_possible_truncation)]
    fn index(&self, seq: SeqNo) -> usize {
        seq.0 as usize & (self.entries.len() - 1)
    }
}

#[allow(clippy::cast_possible_truncation)]
fn millis(time: Time) -> u32 {
    time.as_millis() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(50);

    fn entry(seq: u64) -> Entry {
        let rewritten = Rewritten { seq: SeqNo(seq), timestamp: 0, marker: false, patch: Patch::None, frame_offset: 0 };
        Entry::new(Time::ZERO, seq, Pt(96), &rewritten)
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn an_entry_stays_small() {
        assert!(size_of::<Entry>() <= 40, "{} bytes, a thousand of them per sender", size_of::<Entry>());
    }

    #[test]
    fn a_number_is_stored_once() {
        let mut cache = Cache::new(4);
        assert_eq!(cache.store(entry(0x1_0005)), Ok(SeqNo(0x1_0005)));
        assert_eq!(cache.store(entry(0x1_0005)), Err(Drop::Duplicate));
        assert_eq!(cache.store(entry(0x1_0004)), Ok(SeqNo(0x1_0004)), "a late one fills its hole");
        assert_eq!(cache.store(entry(0x1_0004)), Err(Drop::Duplicate));
    }

    #[test]
    fn what_left_the_ring_is_too_late_and_not_found() {
        let mut cache = Cache::new(4);
        cache.store(entry(0x1_0001)).unwrap();
        cache.store(entry(0x1_0004)).unwrap();
        assert!(cache.find(1).is_some(), "three behind the newest");
        cache.store(entry(0x1_0005)).unwrap();
        assert!(cache.find(1).is_none(), "four behind the newest");
        assert_eq!(cache.store(entry(0x1_0001)), Err(Drop::TooLate));
        assert_eq!(cache.store(entry(0x1_0002)), Ok(SeqNo(0x1_0002)));
    }

    #[test]
    fn a_nack_finds_its_packet_over_the_wrap() {
        let mut cache = Cache::new(16);
        cache.store(entry(0x1_FFFF)).unwrap();
        cache.store(entry(0x2_0001)).unwrap();
        assert_eq!(cache.find(0xFFFF).map(|e| e.seq), Some(SeqNo(0x1_FFFF)));
        assert_eq!(cache.find(1).map(|e| e.seq), Some(SeqNo(0x2_0001)));
        assert_eq!(cache.find(0), None, "a hole");
        assert_eq!(cache.find(2), None, "not yet sent");
        assert_eq!(Cache::new(16).find(0), None, "nothing sent");
    }

    #[test]
    fn a_packet_is_sent_again_once_per_rtt() {
        let mut cache = Cache::new(16);
        cache.store(entry(0x1_0001)).unwrap();
        assert_eq!(cache.retransmit(at(1), 1, RTT, SeqNo(0)), Ok(SeqNo(0x1_0001)));
        assert_eq!(cache.retransmit(at(50), 1, RTT, SeqNo(0)), Err(Drop::RetransmittedRecently));
        assert_eq!(cache.retransmit(at(51), 1, RTT, SeqNo(0)), Ok(SeqNo(0x1_0001)));
        assert_eq!(cache.retransmit(at(51), 2, RTT, SeqNo(0)), Err(Drop::NotInHistory));
    }

    #[test]
    fn a_packet_is_sent_again_ten_times_at_most() {
        let mut cache = Cache::new(16);
        cache.store(entry(0x1_0001)).unwrap();
        for n in 1..=10 {
            assert!(cache.retransmit(at(n * 100), 1, RTT, SeqNo(0)).is_ok());
        }
        assert_eq!(cache.retransmit(at(9999), 1, RTT, SeqNo(0)), Err(Drop::NotInHistory));
    }

    #[test]
    fn odd_sizes_become_powers_of_two() {
        for (asked, kept) in [(0, 1), (1, 1), (3, 4), (512, 512), (u16::MAX, 1 << 15)] {
            assert_eq!(Cache::new(asked).entries.len(), kept);
        }
    }
}
