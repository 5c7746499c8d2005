//! The estimate of a viewer that makes its own (draft-alvestrand-rmcat-remb-03): as draft-ietf-rmcat-gcc-02 has it at the
//! receiver, with the delay above the least of late in place of a filter.

use core::time::Duration;
use std::collections::VecDeque;

use rtpcore_core::Time;

const WINDOW: Duration = Duration::from_millis(500);
const EVERY: Duration = Duration::from_millis(100);
/// Queueing that is too much, in 2^-18 s: 40 ms.
const TOO_MUCH: i64 = 40 * 262_144 / 1000;
/// For how long the least delay is remembered.
const MEMORY: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct RembEstimator {
    rate: u64,
    /// Arrivals with their bytes.
    arrived: VecDeque<(Time, u64)>,
    /// Delays, in 2^-18 s, wrapping.
    delays: VecDeque<(Time, i64)>,
    first: Option<i64>,
    pub due_at: Time,
}

impl RembEstimator {
    pub(super) fn new() -> Self {
        let due_at = Time::NEVER;
        Self { rate: 300_000, arrived: VecDeque::new(), delays: VecDeque::new(), first: None, due_at }
    }

    /// A packet with its time of departure: 24 bits of 6.18.
    pub(super) fn handle(&mut self, now: Time, departed: [u8; 3], size: usize) {
        let [a, b, c] = departed;
        let departed = i64::from(u32::from_be_bytes([0, a, b, c]));
        let arrived = (u128::from(now.as_nanos()) * 262_144 / 1_000_000_000) as i64;
        let delay = (arrived - departed).rem_euclid(1 << 24);
        let first = *self.first.get_or_insert(delay);
        // Near to the first, whichever way it wrapped.
        let delay = (delay - first + (1 << 23)).rem_euclid(1 << 24) - (1 << 23);
        self.delays.push_back((now, delay));
        self.arrived.push_back((now, size as u64));
        if self.due_at == Time::NEVER {
            self.due_at = now + EVERY;
        }
    }

    /// The estimate, each tenth of a second.
    pub(super) fn poll(&mut self, now: Time) -> Option<u64> {
        if !self.due_at.is_due(now) {
            return None;
        }
        self.due_at = now + EVERY;
        while self.arrived.front().is_some_and(|(at, _)| (*at + WINDOW).is_due(now)) {
            self.arrived.pop_front();
        }
        while self.delays.front().is_some_and(|(at, _)| (*at + MEMORY).is_due(now)) {
            self.delays.pop_front();
        }
        let incoming = self.arrived.iter().map(|(_, size)| size).sum::<u64>() * 8 * 1000 / WINDOW.as_millis() as u64;
        let least = self.delays.iter().map(|(_, delay)| *delay).min().unwrap_or(0);
        let recent = self.delays.iter().rev().take(10).map(|(_, delay)| *delay - least).min().unwrap_or(0);
        if recent > TOO_MUCH {
            self.rate = self.rate.min(incoming * 85 / 100).max(30_000);
        } else {
            // 8 % a second, and no more than half above what comes.
            let most = (incoming * 3 / 2 + 10_000).max(self.rate);
            self.rate = (self.rate + (self.rate / 125).max(1000)).min(most);
        }
        Some(self.rate)
    }
}
