//! The receiver's clock: unwrapped, and held against ours so that impossible times are found out.

use core::time::Duration;

use super::number::micros;
use crate::rtcp::transport_cc::{ArrivalTime, Feedback};
use crate::time::Time;

/// How far an arrival may lie from where the last feedback puts it: more than any queue delays a packet or a feedback.
const TOLERANCE: Duration = Duration::from_secs(10);
/// After so many feedbacks in a row with impossible times the receiver has another clock: it was started anew.
const PATIENCE: u8 = 5;

/// A reading of the receiver's clock in microseconds from an arbitrary start, without wraps.
pub(super) type Arrived = i64;

/// What became of the times of a feedback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Credible,
    Impossible,
    /// Credible, on a clock that has nothing to do with the one before.
    Restarted,
}

/// The latest reading that was believed.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    at: ArrivalTime,
    arrived: Arrived,
    /// When we learned of it, in microseconds.
    known: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Clock {
    anchor: Option<Anchor>,
    impossible: u8,
}

impl Clock {
    /// Checks every time in `feedback`, and moves on to its latest if they are credible.
    pub(super) fn read(&mut self, now: Time, feedback: &Feedback<'_>) -> Reading {
        let known = micros(now);
        let start = feedback.reference_time();
        let spans = feedback.arrivals().map(|arrival| arrival.at.micros_since(start));
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        spans.for_each(|span| (first, last) = (first.min(span), last.max(span)));
        if first > last {
            return Reading::Credible; // nothing arrived
        }
        let tolerance = i64::try_from(TOLERANCE.as_micros()).unwrap_or(i64::MAX);
        let is_narrow = last - first <= tolerance;
        let newest = feedback.arrivals().map(|arrival| arrival.at).max_by_key(|at| at.micros_since(start));
        let Some(newest) = newest else { return Reading::Credible };
        let Some(anchor) = self.anchor else {
            self.anchor = is_narrow.then_some(Anchor { at: newest, arrived: 0, known });
            return if is_narrow { Reading::Credible } else { Reading::Impossible };
        };
        let passed = newest.micros_since(anchor.at);
        let is_near = (passed - (known - anchor.known)).abs() <= tolerance;
        if is_narrow && is_near {
            self.impossible = 0;
            // A feedback that was overtaken does not turn the clock back.
            if passed >= 0 {
                self.anchor = Some(Anchor { at: newest, arrived: anchor.arrived + passed, known });
            }
            return Reading::Credible;
        }
        self.impossible += 1;
        if is_narrow && self.impossible >= PATIENCE {
            self.impossible = 0;
            let arrived = anchor.arrived + (known - anchor.known);
            self.anchor = Some(Anchor { at: newest, arrived, known });
            return Reading::Restarted;
        }
        self.impossible = self.impossible.min(PATIENCE);
        Reading::Impossible
    }

    /// The time `at` without its wraps, of a feedback that was credible.
    pub(super) fn unwrap(&self, at: ArrivalTime) -> Arrived {
        self.anchor.map_or(0, |anchor| anchor.arrived + at.micros_since(anchor.at))
    }
}
