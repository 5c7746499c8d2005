//! Writes transport-wide feedback from a record of arrivals.

use super::super::packet_type::RTPFB;
use super::super::writer::{Full, Open, Writer};
use super::{Chunk, FORMAT, LARGE, LOST, SMALL, ticks};
use crate::time::Time;
use crate::units::{SeqNo, Ssrc};

/// What a feedback packet says beside the arrivals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Who received.
    pub sender_ssrc: Ssrc,
    /// Any stream of the transport.
    pub media_ssrc: Ssrc,
    /// The first packet to report, with its number extended: the one behind the last feedback's.
    pub base: SeqNo,
    /// One more than in the last feedback.
    pub feedback_count: u8,
}

/// Writes one feedback packet for `arrivals`: extended transport-wide numbers, ascending from `base` on, with the times of
/// their arrival. Numbers that are left out are reported lost.
///
/// Returns how many arrivals the packet took. Call again with the rest, and a `base` one above the last taken, until it
/// took all: it stops where the writer is full, where two neighbours arrived 8.192 s or more apart, and 65535 packets
/// behind the base. [`Full`] where there is no room for the first arrival. Writes nothing and takes none without arrivals, or
/// where the first is below the base or beyond its reach.
pub fn write<I>(writer: &mut Writer<'_>, head: &Head, arrivals: I) -> Result<usize, Full>
where
    I: IntoIterator<Item = (SeqNo, Time)>,
    I::IntoIter: Clone,
{
    let arrivals = arrivals.into_iter();
    let Some((first, first_at)) = arrivals.clone().next() else { return Ok(0) };
    if packets_between(head.base, first).is_none() {
        return Ok(0);
    }
    // The step of 64 ms at or before the first arrival, so that the first delta is a small one.
    let reference = ticks(first_at) >> 8;
    let mut open = writer.open(RTPFB)?;
    open.put_ssrc(head.sender_ssrc)?;
    open.put_ssrc(head.media_ssrc)?;
    open.put_u16(head.base.low())?;
    let count_at = open.position();
    open.put_u16(0)?;
    let [.., high, middle, low] = reference.to_be_bytes();
    open.put(&[high, middle, low, head.feedback_count])?;

    let (taken, count) = put_chunks(&mut open, head.base, reference << 8, arrivals.clone());
    if taken == 0 {
        return Err(Full);
    }
    put_deltas(&mut open, reference << 8, arrivals.take(taken))?;
    open.patch(count_at, &count.to_be_bytes());
    open.close(FORMAT);
    Ok(taken)
}

/// Puts the chunks for as many arrivals as fit together with their deltas; returns how many, and how many packets that
/// reports.
fn put_chunks(
    open: &mut Open<'_, '_>,
    base: SeqNo,
    mut before: u64,
    arrivals: impl Iterator<Item = (SeqNo, Time)>,
) -> (usize, u16) {
    let mut statuses = Statuses::NONE;
    let mut delta_bytes = 0;
    let mut taken = 0;
    let mut count = 0_u16;
    for (seq, at) in arrivals {
        let Some(delta) = delta(before, ticks(at)) else { break };
        let (status, bytes) = if u8::try_from(delta).is_ok() { (SMALL, 1) } else { (LARGE, 2) };
        let Some(distance) = packets_between(base, seq) else { break };
        let Some(lost) = distance.checked_sub(count) else { break };

        let (statuses_before, position) = (statuses, open.position());
        let put = statuses.push(LOST, lost, open).and_then(|()| statuses.push(status, 1, open));
        if put.is_err() || open.room() < statuses.bytes() + delta_bytes + bytes {
            statuses = statuses_before;
            open.rewind(position);
            break;
        }
        delta_bytes += bytes;
        before = ticks(at);
        count = distance + 1;
        taken += 1;
    }
    // There is room: the check above counts it.
    let flushed = statuses.flush(open);
    debug_assert!(flushed.is_ok());
    (taken, count)
}

fn put_deltas(
    open: &mut Open<'_, '_>,
    mut before: u64,
    arrivals: impl Iterator<Item = (SeqNo, Time)>,
) -> Result<(), Full> {
    for (_, at) in arrivals {
        let delta = delta(before, ticks(at)).ok_or(Full)?;
        match u8::try_from(delta) {
            Ok(small) => open.put(&[small])?,
            Err(_) => open.put(&delta.to_be_bytes())?,
        }
        before = ticks(at);
    }
    Ok(())
}

/// From one arrival to the next in steps of 250 µs; none beyond 16 bits.
fn delta(before: u64, at: u64) -> Option<i16> {
    // 584 years in these steps are far from 63 bits.
    i16::try_from(at.cast_signed() - before.cast_signed()).ok()
}

/// How far `seq` is behind `base`; none where it is before it, or where the count would not reach it.
fn packets_between(base: SeqNo, seq: SeqNo) -> Option<u16> {
    seq.0.checked_sub(base.0).and_then(|distance| u16::try_from(distance).ok()).filter(|&distance| distance < u16::MAX)
}

/// Packets whose statuses are not put yet. Greedy: a run as long as it lasts, otherwise the vector that fits.
#[derive(Clone, Copy)]
struct Statuses {
    /// While all are the same: how many, of the status in `vector[0]`. Otherwise 0.
    run: u16,
    /// While they differ: how many of `vector` are taken. Less than [`Statuses::capacity`]. Otherwise 0.
    len: usize,
    vector: [u16; 14],
}

impl Statuses {
    const NONE: Self = Self { run: 0, len: 0, vector: [LOST; 14] };

    /// Adds `count` packets of one status, and puts the chunks that get full by it.
    fn push(&mut self, status: u16, mut count: u16, open: &mut Open<'_, '_>) -> Result<(), Full> {
        let [first, ..] = &mut self.vector;
        while count > 0 {
            if self.len == 0 && (self.run == 0 || *first == status) {
                *first = status;
                let added = count.min(Chunk::MAX_RUN - self.run);
                self.run += added;
                count -= added;
                if self.run == Chunk::MAX_RUN {
                    open.put_u16(Chunk::run(status, self.run).0)?;
                    self.run = 0;
                }
            } else {
                return self.push_different(status, count, open);
            }
        }
        Ok(())
    }

    /// Adds packets where the pending ones are, or become, of several statuses.
    fn push_different(&mut self, status: u16, count: u16, open: &mut Open<'_, '_>) -> Result<(), Full> {
        if self.run > 0 {
            let [first, ..] = self.vector;
            if usize::from(self.run) >= capacity(first == LARGE || status == LARGE) {
                open.put_u16(Chunk::run(first, self.run).0)?;
                self.run = 0;
                return self.push(status, count, open);
            }
            // Below the capacity, so the run fits the vector.
            self.len = usize::from(self.run);
            self.vector = [first; 14];
            self.run = 0;
        }
        if self.len >= capacity(status == LARGE || self.has_large()) {
            // Too many for two bits each: the first seven go, the rest starts again.
            self.put_two_bit(open)?;
            return self.push(status, count, open);
        }
        if let Some(slot) = self.vector.get_mut(self.len) {
            *slot = status;
        }
        self.len += 1;
        if self.len == capacity(self.has_large()) {
            self.flush(open)?;
        }
        self.push(status, count - 1, open)
    }

    /// Puts the first seven of more, and takes the rest as if they had just come.
    fn put_two_bit(&mut self, open: &mut Open<'_, '_>) -> Result<(), Full> {
        let pending = *self;
        let (seven, rest) = pending.pending().split_at_checked(7).ok_or(Full)?;
        open.put_u16(Chunk::two_bit(seven).0)?;
        *self = Self::NONE;
        rest.iter().try_for_each(|&status| self.push(status, 1, open))
    }

    /// Puts everything pending in one chunk. Only the last of a packet may be flushed before it is full.
    fn flush(&mut self, open: &mut Open<'_, '_>) -> Result<(), Full> {
        let [first, ..] = self.vector;
        let chunk = match (self.run, self.has_large()) {
            (0, _) if self.len == 0 => return Ok(()),
            (0, false) => Chunk::one_bit(self.pending()),
            (0, true) => Chunk::two_bit(self.pending()),
            (run, _) => Chunk::run(first, run),
        };
        open.put_u16(chunk.0)?;
        *self = Self::NONE;
        Ok(())
    }

    /// How many bytes a flush takes.
    const fn bytes(&self) -> usize {
        if self.run > 0 || self.len > 0 { 2 } else { 0 }
    }

    fn pending(&self) -> &[u16] {
        self.vector.get(..self.len).unwrap_or(&[])
    }

    fn has_large(&self) -> bool {
        self.pending().contains(&LARGE)
    }
}

/// How many packets a vector holds.
const fn capacity(has_large: bool) -> usize {
    if has_large { 7 } else { 14 }
}
