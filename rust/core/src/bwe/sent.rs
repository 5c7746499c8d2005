//! What left, by its transport-wide number, until it is answered or too old to be
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2).

use core::time::Duration;
use std::collections::VecDeque;

use super::ClusterId;
use crate::time::Time;
use crate::units::SeqNo;

/// Packets that are remembered at first: 16 bytes each, 3 s of 1 Mbit/s.
const FIRST_CAPACITY: usize = 256;
/// ... and at most: a second of 80 Mbit/s. More would cost 16 bytes each for every subscriber with such a link.
const MAX_CAPACITY: usize = 8192;
/// An answer that comes later than this says nothing of the path as it is.
const FORGET_AFTER: Duration = Duration::from_secs(10);

/// What is known of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unanswered,
    Lost,
    Received,
}

/// One packet that left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet {
    pub sent_at: Time,
    /// On the wire.
    size: u16,
    /// What left without a number between the packet before and this one.
    unnumbered: u16,
    pub cluster: Option<ClusterId>,
    state: State,
}

impl Packet {
    /// Bytes that its arrival acknowledges.
    pub(super) fn bytes(&self) -> u32 {
        u32::from(self.size) + u32::from(self.unnumbered)
    }
}

/// What the answer to a packet changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Its arrival is news.
    First,
    /// It had been reported lost: reordered on its way.
    AfterAll,
}

/// The packets of one transport. Allocates while it grows, no more than six times.
#[derive(Debug)]
pub(super) struct Sent {
    packets: VecDeque<Packet>,
    /// The number of the oldest packet remembered, or the next one.
    first: SeqNo,
    unnumbered: u32,
    /// The first number that no feedback has covered.
    uncovered: SeqNo,
    /// Packets forgotten without an answer.
    pub unanswered: u64,
}

impl Sent {
    /// Counts from `first`.
    pub(super) fn new(first: SeqNo) -> Self {
        let packets = VecDeque::with_capacity(FIRST_CAPACITY);
        Self { packets, first, unnumbered: 0, uncovered: first, unanswered: 0 }
    }

    /// Remembers a packet; returns its number.
    pub(super) fn push(&mut self, now: Time, size: u16, cluster: Option<ClusterId>) -> SeqNo {
        // Two for one, so that the oldest are gone soon after a flood, and no packet pays for many.
        for _ in 0..2 {
            if self.packets.front().is_some_and(|oldest| (oldest.sent_at + FORGET_AFTER).is_due(now)) {
                self.forget();
            }
        }
        if self.packets.len() >= MAX_CAPACITY {
            self.forget();
        }
        // What left before a probe is no part of its rate.
        if cluster.is_some() && self.packets.back().is_none_or(|before| before.cluster != cluster) {
            self.unnumbered = 0;
        }
        let unnumbered = u16::try_from(self.unnumbered).unwrap_or(u16::MAX);
        self.unnumbered -= u32::from(unnumbered);
        let seq = self.next();
        self.packets.push_back(Packet { sent_at: now, size, unnumbered, cluster, state: State::Unanswered });
        seq
    }

    /// Remembers bytes without a number.
    pub(super) fn add_unnumbered(&mut self, size: u16) {
        self.unnumbered = self.unnumbered.saturating_add(u32::from(size));
    }

    /// The number of the next packet.
    pub(super) fn next(&self) -> SeqNo {
        self.first.plus(self.packets.len() as u64)
    }

    /// The extended number of the packet that `low` names: the one nearest to the newest.
    pub(super) fn extend(&self, low: u16) -> SeqNo {
        self.next().nearest(low)
    }

    /// Marks a packet as received; none where it is forgotten or was received before.
    pub(super) fn receive(&mut self, seq: SeqNo) -> Option<(Packet, Answer)> {
        let packet = self.get_mut(seq)?;
        let answer = match packet.state {
            State::Unanswered => Answer::First,
            State::Lost => Answer::AfterAll,
            State::Received => return None,
        };
        packet.state = State::Received;
        Some((*packet, answer))
    }

    /// What became of the packets up to `end`, exclusive, that this feedback is the first to cover: in order, with
    /// whether each was lost. Every packet is covered once, so this costs what was sent, whatever a feedback claims.
    pub(super) fn cover(&mut self, base: SeqNo, end: SeqNo, mut each: impl FnMut(&Packet, bool)) {
        // What lies between the last feedback and this one was in a feedback that is lost: nothing is known of it.
        let start = base.max(self.uncovered).max(self.first);
        for number in start.0..end.0 {
            let Some(packet) = self.get_mut(SeqNo(number)) else { break };
            let is_lost = packet.state != State::Received;
            if is_lost {
                packet.state = State::Lost;
            }
            each(packet, is_lost);
        }
        self.uncovered = self.uncovered.max(end);
    }

    /// How many packets left that no feedback has covered.
    pub(super) fn awaited(&self) -> u64 {
        self.next().0 - self.uncovered.0
    }

    /// The first number that no feedback has covered.
    pub(super) fn uncovered(&self) -> SeqNo {
        self.uncovered
    }

    fn forget(&mut self) {
        if let Some(packet) = self.packets.pop_front() {
            self.first = self.first.plus(1);
            self.unanswered += u64::from(packet.state == State::Unanswered);
        }
    }

    fn get_mut(&mut self, seq: SeqNo) -> Option<&mut Packet> {
        let index = usize::try_from(seq.0.checked_sub(self.first.0)?).ok()?;
        self.packets.get_mut(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn an_entry_is_16_bytes_and_the_ring_is_bounded() {
        assert_eq!(size_of::<Packet>(), 16);
        let mut sent = Sent::new(SeqNo::first(65_530));
        for n in 0..20_000_u64 {
            assert_eq!(sent.push(at(n / 10), 1200, None), SeqNo(0x1_FFFA + n));
        }
        assert_eq!(sent.packets.len(), MAX_CAPACITY);
        assert_eq!(sent.unanswered, 20_000 - MAX_CAPACITY as u64);
        assert!(sent.receive(SeqNo(0x1_FFFA)).is_none(), "forgotten");
        assert!(sent.receive(SeqNo(0x1_FFFA + 19_999)).is_some());
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut sent = Sent::new(SeqNo::first(0));
        for n in 0..100 {
            sent.push(at(n), 100, None);
        }
        for n in 0..50 {
            sent.push(at(20_000 + n), 100, None);
        }
        assert_eq!((sent.packets.len(), sent.unanswered), (50, 100));
    }

    #[test]
    fn bytes_without_a_number_ride_with_the_next_packet() {
        let mut sent = Sent::new(SeqNo::first(0));
        sent.push(at(0), 1000, None);
        for _ in 0..2 {
            sent.add_unnumbered(60_000);
        }
        for _ in 0..3 {
            sent.push(at(1), 1000, None);
        }
        let bytes: Vec<_> = (0..4).map(|n| sent.receive(SeqNo::first(n)).unwrap().0.bytes()).collect();
        assert_eq!(bytes, [1000, 66_535, 55_465, 1000], "what 16 bits do not hold rides with the one after");
    }

    #[test]
    fn bytes_before_a_probe_are_no_part_of_it_and_those_within_it_are() {
        let probe = Some(ClusterId(core::num::NonZeroU16::MIN));
        let mut sent = Sent::new(SeqNo::first(0));
        for _ in 0..2 {
            sent.add_unnumbered(100);
            sent.push(at(0), 1000, probe);
        }
        let bytes: Vec<_> = (0..2).map(|n| sent.receive(SeqNo::first(n)).unwrap().0.bytes()).collect();
        assert_eq!(bytes, [1000, 1100]);
    }

    #[test]
    fn a_packet_is_answered_once_and_may_arrive_after_all() {
        let mut sent = Sent::new(SeqNo::first(0));
        let numbers: Vec<_> = (0..4).map(|_| sent.push(at(0), 1000, None)).collect();
        let answer = |sent: &mut Sent, n: usize| sent.receive(numbers[n]).map(|(_, answer)| answer);
        assert_eq!(answer(&mut sent, 0), Some(Answer::First));
        assert_eq!(answer(&mut sent, 0), None);
        let mut lost = Vec::new();
        sent.cover(numbers[0], numbers[3], |_, is_lost| lost.push(is_lost));
        assert_eq!(lost, [false, true, true]);
        sent.cover(numbers[0], numbers[3], |_, _| panic!("covered twice"));
        assert_eq!(sent.awaited(), 1);
        assert_eq!(answer(&mut sent, 1), Some(Answer::AfterAll));
    }
}
