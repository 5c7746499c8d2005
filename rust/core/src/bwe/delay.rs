//! The delay detector: arrivals in, over-use out (draft-ietf-rmcat-gcc-02 §5).

use super::Answered;
use super::inter_arrival::{InterArrival, Step};
use super::trendline::{Trendline, Usage};
use crate::time::Time;

/// A pause in what is measured, in microseconds, after which the line begins anew: the queue of then is gone.
const PAUSE: i64 = 2_000_000;

/// See the module.
#[derive(Debug)]
pub(super) struct Delay {
    groups: InterArrival,
    line: Trendline,
    /// When the line last had a new point, on our clock and on the receiver's.
    moved_at: Time,
    point_at: i64,
}

impl Delay {
    pub(super) fn new(now: Time) -> Self {
        Self { groups: InterArrival::default(), line: Trendline::new(), moved_at: now, point_at: 0 }
    }

    /// Takes the next packet by time of arrival; learned of `now`.
    pub(super) fn add(&mut self, now: Time, answered: &Answered) {
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

    /// The receiver's clock is another one.
    pub(super) fn reset(&mut self, now: Time) {
        *self = Self::new(now);
    }

    /// What the line says.
    pub(super) fn usage(&self) -> Usage {
        self.line.usage()
    }

    /// What the line says, if it had a new point `now`.
    pub(super) fn news(&self, now: Time) -> Option<Usage> {
        (self.moved_at == now).then(|| self.line.usage())
    }

    /// When the line last had a new point.
    pub(super) fn moved_at(&self) -> Time {
        self.moved_at
    }

    pub(super) fn trend(&self) -> f64 {
        self.line.trend()
    }
}
