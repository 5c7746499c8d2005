//! What can be known of media without decrypting it: RTP headers are in the clear (RFC 3711 §3.1).

use std::collections::HashMap;

/// What a datagram is by its first bytes (RFC 7983, RFC 5761 §4).
#[derive(Debug, PartialEq, Eq)]
pub enum Datagram {
    /// A media packet.
    Rtp {
        /// Its stream.
        ssrc: u32,
        /// Its number.
        seq: u16,
        /// Its payload type.
        payload_type: u8,
    },
    /// Reports and feedback.
    Rtcp,
    /// STUN, DTLS, or nothing known.
    Other,
}

impl Datagram {
    /// Reads the first bytes.
    pub fn of(bytes: &[u8]) -> Self {
        match *bytes {
            [128..=191, second, ..] if (64..=95).contains(&(second & 0x7f)) => Self::Rtcp,
            [128..=191, second, high, low, _, _, _, _, a, b, c, d, ..] => Self::Rtp {
                ssrc: u32::from_be_bytes([a, b, c, d]),
                seq: u16::from_be_bytes([high, low]),
                payload_type: second & 0x7f,
            },
            _ => Self::Other,
        }
    }
}

/// One stream as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stream {
    first: u64,
    highest: u64,
    received: u64,
    reordered: u64,
}

/// Sums over streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets that came, retransmissions included.
    pub received: u64,
    /// Numbers from each stream's first to its highest.
    pub expected: u64,
    /// Packets of those numbers that came.
    pub counted: u64,
    /// Packets that came after one with a higher number.
    pub reordered: u64,
    /// Retransmissions and padding (RFC 4588).
    pub repaired: u64,
}

impl Totals {
    /// What came since an earlier look.
    pub fn since(self, before: Self) -> Self {
        Self {
            received: self.received - before.received,
            expected: self.expected - before.expected,
            counted: self.counted - before.counted,
            reordered: self.reordered - before.reordered,
            repaired: self.repaired - before.repaired,
        }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            received: self.received + other.received,
            expected: self.expected + other.expected,
            counted: self.counted + other.counted,
            reordered: self.reordered + other.reordered,
            repaired: self.repaired + other.repaired,
        }
    }

    /// Numbers that never came, or not yet.
    pub fn lost(self) -> u64 {
        self.expected.saturating_sub(self.counted)
    }
}

/// The streams of one peer connection.
#[derive(Debug, Default)]
pub struct Counter {
    streams: HashMap<u32, Stream>,
    repaired: u64,
}

impl Counter {
    /// Counts a media packet; says how many of its stream came before it.
    pub fn count(&mut self, ssrc: u32, seq: u16, is_repair: bool) -> u64 {
        if is_repair {
            self.repaired += 1;
            return self.repaired - 1;
        }
        let stream = self.streams.entry(ssrc).or_default();
        if stream.received == 0 {
            // Room below for packets that the first one overtook.
            stream.first = u64::from(seq) + (1 << 16);
            stream.highest = stream.first;
        } else {
            let ahead = seq.wrapping_sub(stream.highest as u16);
            if ahead == 0 || ahead >= 1 << 15 {
                stream.reordered += 1;
                let number = stream.highest.wrapping_sub(u64::from((stream.highest as u16).wrapping_sub(seq)));
                stream.first = stream.first.min(number);
            } else {
                stream.highest += u64::from(ahead);
            }
        }
        stream.received += 1;
        stream.received - 1
    }

    /// How many streams have come.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// Everything so far.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals { received: self.repaired, repaired: self.repaired, ..Totals::default() };
        for stream in self.streams.values() {
            totals.received += stream.received;
            totals.counted += stream.received;
            totals.expected += stream.highest - stream.first + 1;
            totals.reordered += stream.reordered;
        }
        totals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(seqs: &[u16]) -> Totals {
        let mut counter = Counter::default();
        for &seq in seqs {
            counter.count(7, seq, false);
        }
        counter.totals()
    }

    #[test]
    fn first_bytes_tell_media_from_the_rest() {
        let rtp = [0x80, 0x80 | 96, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(Datagram::of(&rtp), Datagram::Rtp { ssrc: 9, seq: 0x1234, payload_type: 96 });
        assert_eq!(Datagram::of(&[0x81, 201, 0, 1, 0, 0, 0, 1]), Datagram::Rtcp);
        assert_eq!(Datagram::of(&[0, 1, 0, 0]), Datagram::Other);
        assert_eq!(Datagram::of(&[22, 254, 253]), Datagram::Other);
        assert_eq!(Datagram::of(&rtp[..11]), Datagram::Other);
        assert_eq!(Datagram::of(&[]), Datagram::Other);
    }

    #[test]
    fn gaps_are_losses_across_the_rollover() {
        let totals = counted(&[65_533, 65_534, 65_535, 0, 1]);
        assert_eq!((totals.expected, totals.lost(), totals.reordered), (5, 0, 0));
        let totals = counted(&[65_534, 1, 2]);
        assert_eq!((totals.expected, totals.lost()), (5, 2));
    }

    #[test]
    fn what_was_overtaken_is_not_lost() {
        let totals = counted(&[10, 12, 11, 9]);
        assert_eq!((totals.expected, totals.lost(), totals.reordered), (4, 0, 2));
    }

    #[test]
    fn retransmissions_are_apart() {
        let mut counter = Counter::default();
        counter.count(7, 1, false);
        counter.count(8, 500, true);
        let before = counter.totals();
        assert_eq!((before.received, before.expected, before.repaired, counter.streams()), (2, 1, 1, 1));
        counter.count(7, 2, false);
        assert_eq!(
            counter.totals().since(before),
            Totals { received: 1, expected: 1, counted: 1, ..Totals::default() }
        );
    }
}
