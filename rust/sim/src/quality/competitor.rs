//! Others on the same bottleneck: a constant rate, or TCP as Reno has it (RFC 5681), packets and their acknowledgements alone.

use core::time::Duration;

use rtpcore_core::Time;

use super::scenario::Competitor;
use crate::trace::Fate;

/// Bytes of its packets.
pub(super) const PACKET: usize = 1250;
/// The way back.
const BACK: Duration = Duration::from_millis(20);

/// One of them.
pub(super) struct Flow {
    plan: Competitor,
    /// In packets.
    window: f64,
    threshold: f64,
    in_flight: u64,
    /// Losses before this are one.
    halved_at: Time,
    next_at: Time,
}

/// What became of a packet, when its sender hears of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Arrived,
    Lost { sent_at: Time },
}

impl Flow {
    pub(super) fn new(plan: Competitor) -> Self {
        let next_at = Time::from_millis(plan.from);
        Self { plan, window: 10.0, threshold: f64::INFINITY, in_flight: 0, halved_at: Time::ZERO, next_at }
    }

    pub(super) const fn link(&self) -> usize {
        self.plan.link
    }

    /// When it sends, without an answer.
    pub(super) const fn poll_timeout(&self) -> Time {
        self.next_at
    }

    /// How many packets leave now.
    pub(super) fn poll(&mut self, now: Time) -> u64 {
        if Time::from_millis(self.plan.until).is_due(now) {
            self.next_at = Time::NEVER;
            return 0;
        }
        if !Time::from_millis(self.plan.from).is_due(now) {
            return 0;
        }
        let Some(bps) = self.plan.bps else {
            self.next_at = Time::NEVER;
            let count = (self.window as u64).saturating_sub(self.in_flight);
            self.in_flight += count;
            return count;
        };
        if !self.next_at.is_due(now) {
            return 0;
        }
        self.next_at = self.next_at + Duration::from_nanos(PACKET as u64 * 8_000_000_000 / bps);
        1
    }

    /// When the sender hears what, none where it does not listen.
    pub(super) fn hears(&self, now: Time, fate: Fate) -> Option<(Time, Answer)> {
        if self.plan.bps.is_some() {
            return None;
        }
        Some(match fate {
            Fate::Arrives { at: [Some(at), _] | [None, Some(at)], .. } => (at + BACK, Answer::Arrived),
            // Three packets behind it tell of it.
            _ => (now + BACK * 5, Answer::Lost { sent_at: now }),
        })
    }

    pub(super) fn handle(&mut self, now: Time, answer: Answer) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match answer {
            Answer::Arrived if self.window < self.threshold => self.window += 1.0,
            Answer::Arrived => self.window += 1.0 / self.window,
            Answer::Lost { sent_at } if sent_at >= self.halved_at => {
                self.threshold = (self.window / 2.0).max(2.0);
                self.window = self.threshold;
                self.halved_at = now;
            }
            Answer::Lost { .. } => {}
        }
    }
}
