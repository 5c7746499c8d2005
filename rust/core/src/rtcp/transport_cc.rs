//! Transport-wide feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1): when packets arrived.
//!
//! ```text
//! base 100, count 20, reference 64 ms       what the chunks say of        arrivals
//! ┌──────────────┬────────────────────┐     packets 100 to 119
//! │ chunks       │ deltas             │     100 small  +4               100 at 65 ms
//! │ run: 18 lost │ 4 · 12 (in 250 µs) │  →  101..118 lost            →  119 at 68 ms
//! └──────────────┴────────────────────┘     119 small  +12
//! ```
//!
//! [`Feedback`] reads, [`write()`] writes from a receiver's record of arrivals.

mod encoder;

pub use encoder::{Head, write};

use super::Parties;
use super::reader::Reader;
use crate::time::Time;
use crate::units::Ssrc;

pub(super) const FORMAT: u8 = 15;

/// Packets that did and did not arrive, with the times of those that did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback<'a> {
    /// Who received.
    pub sender_ssrc: Ssrc,
    /// Any stream of the transport; the numbers count over all of them.
    pub media_ssrc: Ssrc,
    /// The transport-wide number of the first packet reported.
    pub base: u16,
    /// How many packets are reported, from `base` on; those that [`Feedback::arrivals`] leaves out are lost or late.
    ///
    /// Up to 65535 whatever the size of the packet, so do not loop over it: loop over the packets sent.
    pub count: u16,
    /// Counts the feedback packets of the transport, wrapping: a hole means one was lost.
    pub feedback_count: u8,
    /// 24 bits in steps of 64 ms.
    reference: u32,
    chunks: &'a [[u8; 2]],
    deltas: &'a [u8],
}

impl<'a> Feedback<'a> {
    /// None where chunks or deltas are missing for the packets it claims to report, or a status is the reserved one.
    pub(super) fn read(parties: Parties, mut body: Reader<'a>) -> Option<Self> {
        let (base, count) = (body.u16()?, body.u16()?);
        let reference = body.u32()?;
        let [.., feedback_count] = reference.to_be_bytes();
        let start = body.rest();
        let mut left = count;
        let mut delta_bytes = 0;
        let mut chunks = 0;
        while left > 0 {
            let chunk = Chunk(body.u16()?);
            let len = chunk.len().min(left);
            delta_bytes += chunk.delta_bytes(len)?;
            left -= len;
            chunks += 2;
        }
        // What is left behind the deltas fills the last word.
        let deltas = body.bytes(delta_bytes)?;
        let (chunks, _) = start.get(..chunks)?.as_chunks();
        let Parties { sender_ssrc, media_ssrc } = parties;
        Some(Self { sender_ssrc, media_ssrc, base, count, feedback_count, reference: reference >> 8, chunks, deltas })
    }

    /// The point from which the first arrival is counted.
    pub const fn reference_time(&self) -> ArrivalTime {
        ArrivalTime(self.reference << 8)
    }

    /// The packets that arrived, by ascending number. Costs no more than the bytes of the packet.
    pub fn arrivals(&self) -> Arrivals<'a> {
        Arrivals {
            chunks: self.chunks.iter(),
            chunk: Chunk(0),
            index: 0,
            len: 0,
            left: self.count,
            sequence_number: self.base,
            deltas: Reader::new(self.deltas),
            at: self.reference_time(),
        }
    }
}

/// One packet that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// Its transport-wide number.
    pub sequence_number: u16,
    /// When it arrived, on the receiver's clock.
    pub at: ArrivalTime,
}

/// A point on the clock of a feedback's sender, in steps of 250 µs: only spans between two of them mean something.
///
/// The 24 bits of the reference time, in steps of 64 ms, make it wrap at 32 bits: every 12 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArrivalTime(u32);

impl ArrivalTime {
    /// The step that `time` falls in.
    #[allow(clippy::cast_possible_truncation)] // wraps on purpose
    pub const fn at(time: Time) -> Self {
        Self(ticks(time) as u32)
    }

    /// The span from `earlier` to here in microseconds, below zero if `earlier` is later.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        self.0.wrapping_sub(earlier.0).cast_signed() as i64 * 250
    }

    fn plus(self, delta: i16) -> Self {
        Self(self.0.wrapping_add_signed(i32::from(delta)))
    }
}

/// In steps of 250 µs.
const fn ticks(time: Time) -> u64 {
    time.as_nanos() / 250_000
}

/// See [`Feedback::arrivals`].
#[derive(Clone, Debug)]
pub struct Arrivals<'a> {
    chunks: core::slice::Iter<'a, [u8; 2]>,
    chunk: Chunk,
    /// The next status of the chunk.
    index: u16,
    /// How many statuses of the chunk count.
    len: u16,
    /// How many packets the chunks behind this one report.
    left: u16,
    /// The number of the next packet.
    sequence_number: u16,
    deltas: Reader<'a>,
    at: ArrivalTime,
}

impl Iterator for Arrivals<'_> {
    type Item = Arrival;

    fn next(&mut self) -> Option<Arrival> {
        loop {
            if self.index == self.len {
                self.chunk = Chunk(u16::from_be_bytes(*self.chunks.next()?));
                self.index = 0;
                self.len = self.chunk.len().min(self.left);
                self.left -= self.len;
                if self.chunk.is_run_of_lost() {
                    // In one step: a run says 8191 packets in two bytes.
                    self.index = self.len;
                    self.sequence_number = self.sequence_number.wrapping_add(self.len);
                }
                continue;
            }
            let status = self.chunk.status(self.index);
            let sequence_number = self.sequence_number;
            self.index += 1;
            self.sequence_number = self.sequence_number.wrapping_add(1);
            let delta = match status {
                SMALL => i16::from(self.deltas.u8()?),
                LARGE => self.deltas.u16()?.cast_signed(),
                _ => continue,
            };
            self.at = self.at.plus(delta);
            return Some(Arrival { sequence_number, at: self.at });
        }
    }
}

/// The packet did not arrive.
const LOST: u16 = 0;
/// It arrived 0 to 255 steps after the one before: one byte.
const SMALL: u16 = 1;
/// It arrived earlier than the one before, or much later: two bytes, signed.
const LARGE: u16 = 2;

/// The statuses of some packets in two bytes (§3.1.3, §3.1.4).
#[derive(Clone, Copy, Debug)]
struct Chunk(u16);

impl Chunk {
    /// Up to 13 bits of length.
    const MAX_RUN: u16 = 0x1FFF;

    const fn run(status: u16, len: u16) -> Self {
        Self(status << 13 | len)
    }

    /// 14 packets, each lost or small.
    fn one_bit(statuses: &[u16]) -> Self {
        Self(statuses.iter().zip((0..14).rev()).fold(0b10 << 14, |word, (status, shift)| word | status << shift))
    }

    /// 7 packets of any status.
    fn two_bit(statuses: &[u16]) -> Self {
        let shifts = (0..14).step_by(2).rev();
        Self(statuses.iter().zip(shifts).fold(0b11 << 14, |word, (status, shift)| word | status << shift))
    }

    /// How many packets it reports.
    const fn len(self) -> u16 {
        match self.0 >> 14 {
            0b10 => 14,
            0b11 => 7,
            _ => self.0 & Self::MAX_RUN,
        }
    }

    /// The status of the packet at `index`, below the length.
    const fn status(self, index: u16) -> u16 {
        match self.0 >> 14 {
            0b10 => self.0 >> (13 - index) & 0b1,
            0b11 => self.0 >> (12 - 2 * index) & 0b11,
            _ => self.0 >> 13,
        }
    }

    const fn is_run_of_lost(self) -> bool {
        self.0 >> 13 == LOST
    }

    /// How many bytes of deltas its first `len` packets have; none where one of them has the reserved status.
    fn delta_bytes(self, len: u16) -> Option<usize> {
        // A run of any length in one step; one of nothing says nothing, whatever its status.
        if self.0 >> 15 == 0 && len > 0 {
            return Some(bytes_of(self.status(0))? * usize::from(len));
        }
        (0..len).try_fold(0, |sum, index| Some(sum + bytes_of(self.status(index))?))
    }
}

/// How many bytes of delta a status has; none for the reserved one.
const fn bytes_of(status: u16) -> Option<usize> {
    match status {
        LOST => Some(0),
        SMALL => Some(1),
        LARGE => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
