//! When packets arrived, by their transport-wide number, until it is reported
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use core::time::Duration;

use super::rate::Rate;
use crate::time::Time;
use crate::units::SeqNo;

/// Numbers that are remembered: a tenth of a second of 100 Mbit/s.
pub const WINDOW: u64 = 1024;

/// Most arrivals in one feedback: with two bytes for each and the runs between them it still fits 1200 bytes.
pub const MAX_ARRIVALS: usize = 400;

/// The time between neighbours in one feedback that its 16 bits of 250 µs hold, a little less than 8.19 s.
const MAX_DELTA: Duration = Duration::from_secs(8);

/// Feedback comes no faster than this, however high the bitrate: senders act on it no faster.
const MIN_INTERVAL: Duration = Duration::from_millis(50);
/// ... and no slower than this: the sender's delay estimate starves.
const MAX_INTERVAL: Duration = Duration::from_millis(100);
/// The interval in nanoseconds times the bitrate: 80 bytes each may take a twentieth of what they report on.
const INTERVAL_NANOS_TIMES_BPS: u64 = 80 * 8 * 20 * 1_000_000_000;

/// One packet that arrived: its transport-wide number, extended, and when.
pub type Arrival = (SeqNo, Time);

/// What one feedback packet says beside its list of arrivals; numbers not in the list were not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feedback {
    /// The first number reported on, received or not, extended.
    pub base: SeqNo,
    /// How many numbers are reported on, from `base`; the last of them was received.
    pub status_count: u16,
    /// How many arrivals were written.
    pub received: usize,
    /// Counts the feedback packets, modulo 256.
    pub feedback_count: u8,
}

/// The arrivals of one transport. Allocates once.
#[derive(Clone, Debug)]
pub struct Arrivals {
    /// Arrival times at the number modulo the window, [`Time::NEVER`] for what did not arrive.
    times: Box<[Time]>,
    newest: Option<SeqNo>,
    /// The first number not reported yet.
    unreported: SeqNo,
    /// Arrivals since the last feedback, at least.
    pending: usize,
    /// The number that would prove a jump.
    proof: Option<u16>,
    rate: Rate,
    last_sent_at: Option<Time>,
    due_at: Time,
    feedback_count: u8,
}

impl Arrivals {
    /// Nothing arrived yet.
    pub fn new() -> Self {
        Self {
            times: std::iter::repeat_n(Time::NEVER, usize::try_from(WINDOW).unwrap_or(0)).collect(),
            newest: None,
            unreported: SeqNo(0),
            pending: 0,
            proof: None,
            rate: Rate::default(),
            last_sent_at: None,
            due_at: Time::NEVER,
            feedback_count: 0,
        }
    }

    /// Notes that the packet with transport-wide number `low` and `size` bytes arrived.
    ///
    /// Duplicates and numbers behind the window change nothing. A jump is believed when its next number follows, as in
    /// RFC 3550 A.1.
    pub fn record(&mut self, now: Time, low: u16, size: u32) {
        self.rate.add(now, size);
        let Some(newest) = self.newest else {
            self.begin(SeqNo::first(low));
            self.note(now, SeqNo::first(low));
            return;
        };
        let ahead = u64::from(low.wrapping_sub(newest.low()));
        let behind = u64::from(newest.low().wrapping_sub(low));
        if behind < WINDOW {
            let seq = SeqNo(newest.0 - behind);
            if self.time(seq) == Time::NEVER {
                // Reported as missing before, it is reported again as received: senders take the better news.
                self.unreported = self.unreported.min(seq);
                self.note(now, seq);
            }
        } else if ahead < WINDOW {
            let seq = newest.plus(ahead);
            self.advance(newest, seq);
            self.note(now, seq);
        } else if self.proof == Some(low) {
            let seq = SeqNo(((newest.0 >> 16) + 2) << 16 | u64::from(low));
            self.begin(seq);
            self.note(now, seq);
        } else {
            self.proof = Some(low.wrapping_add(1));
        }
    }

    /// Writes the arrivals of the next feedback packet into `out`, in order of their numbers; none if nothing is due.
    ///
    /// Takes at most [`MAX_ARRIVALS`], and fewer where `out` is shorter; the rest stays due, so call until it is none.
    pub fn poll(&mut self, now: Time, out: &mut [Arrival]) -> Option<Feedback> {
        if !self.due_at.is_due(now) {
            return None;
        }
        let newest = self.newest?;
        let base = self.unreported;
        let mut slots = out.iter_mut().take(MAX_ARRIVALS);
        let mut received = 0;
        let mut last: Option<(SeqNo, Time)> = None;
        for seq in (base.0..=newest.0).map(SeqNo) {
            let at = self.time(seq);
            if at == Time::NEVER {
                continue;
            }
            if last.is_some_and(|(_, before)| before.since(at).max(at.since(before)) > MAX_DELTA) {
                break;
            }
            let Some(slot) = slots.next() else { break };
            *slot = (seq, at);
            received += 1;
            last = Some((seq, at));
        }
        let (last, _) = last?;
        self.unreported = last.plus(1);
        self.pending = self.pending.saturating_sub(received);
        self.last_sent_at = Some(now);
        let feedback_count = self.feedback_count;
        self.feedback_count = self.feedback_count.wrapping_add(1);
        if self.unreported > newest {
            self.pending = 0;
            self.due_at = Time::NEVER;
        }
        let status_count = u16::try_from(last.0 - base.0 + 1).unwrap_or(u16::MAX);
        Some(Feedback { base, status_count, received, feedback_count })
    }

    /// When feedback is due, [`Time::NEVER`] while nothing new arrived.
    pub fn deadline(&self) -> Time {
        self.due_at
    }

    /// The time between two feedbacks at the bitrate received now, 50 to 100 ms.
    pub fn interval(&self, now: Time) -> Duration {
        let bps = self.rate.per_second(now).saturating_mul(8).max(1);
        Duration::from_nanos(INTERVAL_NANOS_TIMES_BPS / bps).clamp(MIN_INTERVAL, MAX_INTERVAL)
    }

    fn begin(&mut self, seq: SeqNo) {
        self.times.fill(Time::NEVER);
        self.newest = Some(seq);
        self.unreported = seq;
        self.pending = 0;
        self.proof = None;
    }

    fn advance(&mut self, newest: SeqNo, seq: SeqNo) {
        for skipped in newest.0 + 1..seq.0 {
            self.set(SeqNo(skipped), Time::NEVER);
        }
        self.newest = Some(seq);
        self.proof = None;
        self.unreported = self.unreported.max(SeqNo((seq.0 + 1).saturating_sub(WINDOW)));
    }

    fn note(&mut self, now: Time, seq: SeqNo) {
        self.set(seq, now);
        self.pending += 1;
        if self.due_at == Time::NEVER {
            // A window after the last one even if that passed long ago: what comes after silence is news.
            let next_at = self.last_sent_at.map_or(now, |sent_at| sent_at + self.interval(now));
            self.due_at = next_at.max(now);
        }
        if self.pending >= MAX_ARRIVALS {
            self.due_at = self.due_at.min(now);
        }
    }

    fn time(&self, seq: SeqNo) -> Time {
        self.times.get(place(seq)).copied().unwrap_or(Time::NEVER)
    }

    fn set(&mut self, seq: SeqNo, at: Time) {
        if let Some(slot) = self.times.get_mut(place(seq)) {
            *slot = at;
        }
    }
}

impl Default for Arrivals {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(clippy::cast_possible_truncation)] // below WINDOW
const fn place(seq: SeqNo) -> usize {
    (seq.0 % WINDOW) as usize
}

#[cfg(test)]
mod tests;
