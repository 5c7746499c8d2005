//! Extended sequence numbers (RFC 3550 appendix A.1) and what has been seen of them: wraps, duplicates, restarts.

use crate::drop::Drop;
use crate::units::SeqNo;

/// How far behind the newest packet one may come and still be told from a duplicate.
///
/// Two seconds of a 10 Mbit/s video; a quarter kilobyte of bits.
pub const WINDOW: u64 = 2048;

/// A step ahead of this many numbers or more is not believed until the next number follows it (RFC 3550 A.1).
pub const MAX_DROPOUT: u16 = 3000;

/// The words of the bitmap.
const WORDS: usize = 32;

/// How a packet stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The first of the stream.
    First,
    /// Newer than all before; `missing` numbers lie between the newest so far and this one.
    Newer {
        /// How many were skipped, below [`MAX_DROPOUT`].
        missing: u16,
    },
    /// Older than the newest, not seen before.
    Late,
    /// The first of a new run of numbers: the stream jumped or its SSRC changed. Numbers before it say nothing any more.
    Restart,
}

/// One packet's place in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its extended number. Never handed out twice, over restarts too.
    pub seq: SeqNo,
    /// How it stands to those before it.
    pub order: Order,
}

/// The numbers of one stream.
///
/// A restart goes on two wraps later, so that numbers of different runs are never near each other and whoever keeps
/// packets by number needs no other key.
#[derive(Clone, Debug)]
pub struct Sequence {
    highest: SeqNo,
    first: SeqNo,
    /// One bit for each of the last [`WINDOW`] numbers, at the number modulo the window.
    seen: [u64; WORDS],
    /// The number that would prove a jump.
    proof: Option<u16>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Empty,
    Running,
    Restarting,
}

impl Sequence {
    /// No packet yet.
    pub const fn new() -> Self {
        Self { highest: SeqNo(0), first: SeqNo(0), seen: [0; WORDS], proof: None, state: State::Empty }
    }

    /// The newest number, none before the first packet or while restarting.
    pub fn highest(&self) -> Option<SeqNo> {
        (self.state == State::Running).then_some(self.highest)
    }

    /// The number that the current run began with, none before the first packet or while restarting.
    pub fn first(&self) -> Option<SeqNo> {
        (self.state == State::Running).then_some(self.first)
    }

    /// How many packets the current run should have brought so far (RFC 3550 A.3).
    pub fn expected(&self) -> u64 {
        if self.state == State::Running { self.highest.0 - self.first.0 + 1 } else { 0 }
    }

    /// The newest number as reports spell it: wraps since the run began, then 16 bits (RFC 3550 §6.4.1).
    #[allow(clippy::cast_possible_truncation)]
    pub fn highest_on_wire(&self) -> u32 {
        (self.highest.0 - (self.first.0 & !0xFFFF)) as u32
    }

    /// Takes in a packet of the stream itself.
    ///
    /// Fails with [`Drop::Duplicate`], or with [`Drop::TooLate`] for a number behind the window and for the first number
    /// of a jump that its successor has yet to prove.
    pub fn accept(&mut self, low: u16) -> Result<Received, Drop> {
        if self.state != State::Running {
            return Ok(self.begin(low));
        }
        let ahead = low.wrapping_sub(self.highest.low());
        let behind = u64::from(ahead.wrapping_neg());
        if ahead != 0 && ahead < MAX_DROPOUT {
            return Ok(self.advance(ahead));
        }
        if behind < WINDOW {
            return self.fill(behind);
        }
        if self.proof == Some(low) {
            self.state = State::Restarting;
            return Ok(self.begin(low));
        }
        self.proof = Some(low.wrapping_add(1));
        Err(Drop::TooLate)
    }

    /// Takes in a packet that came as a retransmission (RFC 4588 §4).
    ///
    /// Never restarts the stream. Fails with [`Drop::BadRtx`] before the stream's first packet or far ahead of it,
    /// [`Drop::Duplicate`], or [`Drop::TooLate`] behind the window.
    pub fn repair(&mut self, low: u16) -> Result<Received, Drop> {
        if self.state != State::Running {
            return Err(Drop::BadRtx);
        }
        let ahead = low.wrapping_sub(self.highest.low());
        let behind = u64::from(ahead.wrapping_neg());
        if behind < WINDOW {
            self.fill(behind)
        } else if ahead < MAX_DROPOUT {
            Ok(self.advance(ahead))
        } else if ahead < 0x8000 {
            Err(Drop::BadRtx)
        } else {
            Err(Drop::TooLate)
        }
    }

    /// Lets the next packet begin a new run: its source changed.
    pub fn restart(&mut self) {
        if self.state == State::Running {
            self.state = State::Restarting;
        }
    }

    fn begin(&mut self, low: u16) -> Received {
        let (seq, order) = match self.state {
            State::Empty => (SeqNo::first(low), Order::First),
            State::Running | State::Restarting => {
                (SeqNo(((self.highest.0 >> 16) + 2) << 16 | u64::from(low)), Order::Restart)
            }
        };
        self.seen = [0; WORDS];
        self.highest = seq;
        self.first = seq;
        self.proof = None;
        self.state = State::Running;
        self.mark(seq);
        Received { seq, order }
    }

    fn advance(&mut self, ahead: u16) -> Received {
        let seq = self.highest.plus(u64::from(ahead));
        self.forget(self.highest.plus(1), seq);
        self.highest = seq;
        self.proof = None;
        self.mark(seq);
        Received { seq, order: Order::Newer { missing: ahead - 1 } }
    }

    fn fill(&mut self, behind: u64) -> Result<Received, Drop> {
        let seq = SeqNo(self.highest.0 - behind);
        if self.is_seen(seq) {
            return Err(Drop::Duplicate);
        }
        self.mark(seq);
        Ok(Received { seq, order: Order::Late })
    }

    /// Clears the bits of `from..=to`, whole words at a time, so that a jump of thousands costs no more than a packet.
    fn forget(&mut self, from: SeqNo, to: SeqNo) {
        if to.0 - from.0 >= WINDOW {
            self.seen = [0; WORDS];
            return;
        }
        let mut seq = from.0;
        while seq <= to.0 {
            let (word, bit) = place(SeqNo(seq));
            let is_whole = seq.is_multiple_of(64) && seq + 63 <= to.0;
            if let Some(bits) = self.seen.get_mut(word) {
                *bits = if is_whole { 0 } else { *bits & !bit };
            }
            seq += if is_whole { 64 } else { 1 };
        }
    }

    fn is_seen(&self, seq: SeqNo) -> bool {
        let (word, bit) = place(seq);
        self.seen.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn mark(&mut self, seq: SeqNo) {
        let (word, bit) = place(seq);
        if let Some(bits) = self.seen.get_mut(word) {
            *bits |= bit;
        }
    }
}

impl Default for Sequence {
    fn default() -> Self {
        Self::new()
    }
}

/// The word and the bit of a number.
#[allow(clippy::cast_possible_truncation)] // below 32
const fn place(seq: SeqNo) -> (usize, u64) {
    let bit = seq.0 % WINDOW;
    ((bit / 64) as usize, 1 << (bit % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn started_at(low: u16) -> Sequence {
        let mut sequence = Sequence::new();
        sequence.accept(low).unwrap();
        sequence
    }

    #[test]
    fn numbers_go_on_over_the_wrap() {
        let mut sequence = started_at(0xFFFE);
        for (low, seq, order) in [
            (0xFFFF, 0x1_FFFF, Order::Newer { missing: 0 }),
            (1, 0x2_0001, Order::Newer { missing: 1 }),
            (0, 0x2_0000, Order::Late),
            (0xFFFD, 0x1_FFFD, Order::Late),
        ] {
            assert_eq!(sequence.accept(low), Ok(Received { seq: SeqNo(seq), order }));
            assert_eq!(sequence.accept(low), Err(Drop::Duplicate));
        }
        assert_eq!(sequence.expected(), 4, "what came before the first does not widen the range");
        assert_eq!(sequence.highest_on_wire(), 0x1_0001);
    }

    #[test]
    fn the_window_ends_where_it_says() {
        let mut sequence = started_at(10_000);
        assert_eq!(sequence.accept(10_000 - 2047).map(|r| r.order), Ok(Order::Late));
        assert_eq!(sequence.accept(10_000 - 2048), Err(Drop::TooLate));
        assert_eq!(sequence.repair(10_000 - 2046).map(|r| r.order), Ok(Order::Late));
        assert_eq!(sequence.repair(10_000 - 2048), Err(Drop::TooLate));
    }

    #[test]
    fn a_jump_needs_its_successor() {
        let mut sequence = started_at(0);
        assert_eq!(sequence.accept(2999).map(|r| r.order), Ok(Order::Newer { missing: 2998 }));
        assert_eq!(sequence.accept(5999), Err(Drop::TooLate));
        assert_eq!(sequence.accept(7000), Err(Drop::TooLate));
        assert_eq!(sequence.accept(3000).map(|r| r.order), Ok(Order::Newer { missing: 0 }));
        assert_eq!(sequence.accept(7001), Err(Drop::TooLate), "the stream went on in between");
        let restart = sequence.accept(7002).unwrap();
        assert_eq!(restart, Received { seq: SeqNo(0x3_0000 + 7002), order: Order::Restart });
        assert_eq!((sequence.expected(), sequence.highest_on_wire()), (1, 7002));
    }

    #[test]
    fn a_retransmission_never_begins_or_restarts_a_stream() {
        assert_eq!(Sequence::new().repair(5), Err(Drop::BadRtx));
        let mut sequence = started_at(0);
        assert_eq!(sequence.repair(3000), Err(Drop::BadRtx));
        assert_eq!(sequence.repair(3001), Err(Drop::BadRtx));
        assert_eq!(sequence.repair(2).map(|r| r.order), Ok(Order::Newer { missing: 1 }));
        assert_eq!(sequence.accept(2), Err(Drop::Duplicate));
        sequence.restart();
        assert_eq!(sequence.repair(1), Err(Drop::BadRtx));
        assert_eq!(sequence.accept(1).map(|r| (r.seq.0, r.order)), Ok((0x3_0001, Order::Restart)));
    }

    proptest! {
        /// Against a sender that counts in 64 bits: whatever is lost, doubled or late within the window keeps its number.
        #[test]
        fn equals_a_sender_that_never_wraps(
            start in any::<u16>(),
            steps in prop::collection::vec((0u64..200, 0u64..300), 1..3000),
        ) {
            let base = SeqNo::first(start).0;
            let mut sequence = started_at(start);
            let (mut sent, mut seen) = (base, BTreeSet::from([base]));
            for (ahead, behind) in steps {
                sent += ahead;
                let seq = (sent - behind.min(sent - base)).max(base);
                let result = sequence.accept(SeqNo(seq).low());
                let highest = seen.last().copied().unwrap();
                if seen.contains(&seq) {
                    prop_assert_eq!(result, Err(Drop::Duplicate));
                } else if seq > highest {
                    let missing = u16::try_from(seq - highest - 1).unwrap();
                    prop_assert_eq!(result, Ok(Received { seq: SeqNo(seq), order: Order::Newer { missing } }));
                } else {
                    prop_assert_eq!(result, Ok(Received { seq: SeqNo(seq), order: Order::Late }));
                }
                seen.insert(seq);
            }
            prop_assert_eq!(sequence.expected(), seen.last().unwrap() - base + 1);
        }

        /// Whatever numbers come: none is handed out twice.
        #[test]
        fn no_number_is_handed_out_twice(lows in prop::collection::vec((any::<u16>(), 0u8..4), 1..400)) {
            let mut sequence = Sequence::new();
            let mut seen = BTreeSet::new();
            for (low, run) in lows {
                for i in 0..=u16::from(run) {
                    if let Ok(received) = sequence.accept(low.wrapping_add(i)) {
                        prop_assert!(seen.insert(received.seq));
                        prop_assert_eq!(received.seq.low(), low.wrapping_add(i));
                    }
                }
            }
        }
    }
}
