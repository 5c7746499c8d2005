//! The delay detector: arrivals in, over-use out (draft-ietf-rmcat-gcc-02 §5).

use core::time::Duration;

use super::Answered;
use super::clock::Arrived;
use super::inter_arrival::{InterArrival, Step};
use super::trendline::{Trendline, Usage};
use super::waiting::Waiting;
use crate::time::Time;

/// A pause in what is measured, in microseconds, after which the line begins anew: the queue of then is gone.
const PAUSE: i64 = 2_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Delay {
    groups: InterArrival,
    line: Trendline,
    waiting: Waiting,
    /// When the line last had a new point, on our clock and on the receiver's.
    moved_at: Time,
    point_at: i64,
}

impl Delay {
    pub(super) fn new(now: Time) -> Self {
        let (groups, waiting) = (InterArrival::default(), Waiting::default());
        Self { groups, line: Trendline::new(), waiting, moved_at: now, point_at: 0 }
    }

    /// Takes the next packet by time of arrival; learned of `now`.
    pub(super) fn add(&mut self, now: Time, answered: &Answered) {
        if answered.cluster.is_none() {
            self.waiting.add(answered);
        }
        match self.groups.add(answered) {
            Step::None => {}
            // The queue that a probe makes is the answer to the probe, not a trend: libwebrtc, which counts it, backs off
            // from its own probes, and an SFU would leave the layer that fits.
            Step::Delta(delta) if delta.is_probe => {}
            Step::Delta(delta) => {
                if delta.at - self.point_at > PAUSE {
                    self.line = Trendline::new();
                }
                self.line.add(&delta);
                (self.moved_at, self.point_at) = (now, delta.at);
            }
            Step::Reset => self.line = Trendline::new(),
        }
    }

    /// The feedback ends that was learned of `now`.
    pub(super) fn conclude(&mut self, now: Time) {
        self.waiting.conclude();
        if self.waiting.is_surge() {
            self.moved_at = now;
        }
    }

    /// The receiver's clock is another one.
    pub(super) fn reset(&mut self, now: Time) {
        *self = Self::new(now);
    }

    /// What is known of the queue.
    pub(super) fn usage(&self) -> Usage {
        match self.line.usage() {
            _ if self.waiting.is_surge() => Usage::Over,
            // The line goes up for some time after a stall of the radio, whose queue is gone at once.
            Usage::Over if self.waiting.is_empty() => Usage::Normal,
            usage => usage,
        }
    }

    /// The same, if it was learned `now`.
    pub(super) fn news(&self, now: Time) -> Option<Usage> {
        (self.moved_at == now).then(|| self.usage())
    }

    /// When it was learned.
    pub(super) fn moved_at(&self) -> Time {
        self.moved_at
    }

    /// From when on everything that arrived had waited, where that is known.
    pub(super) fn queued_since(&self) -> Option<Arrived> {
        self.waiting.queued_since()
    }

    /// How long the packet waited that waited least in the last feedback.
    pub(super) fn waited(&self) -> Duration {
        self.waiting.waited()
    }

    /// How fast the delay grows.
    pub(super) fn trend(&self) -> f64 {
        self.line.trend()
    }
}
