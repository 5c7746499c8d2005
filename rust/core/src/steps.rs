//! Steps up that did not last: the next one waits for longer.
//!
//! ```text
//!  up ── down after 3 s: a mistake, wait 2 s ── up ── down: 4 s ── up ── down: 8 s ── up, and it lasts: forgotten
//!                                                 └─ the budget is a third larger than it was then: at once
//! ```
//!
//! One for each subscriber: whichever picture grew, it is the path that was too narrow for it.

use core::time::Duration;

use crate::time::Time;

/// A larger picture that did not last so long was a mistake: the next one waits for twice as long as the last, ...
const MISTAKE: Duration = Duration::from_secs(8);
/// ... beginning with this, ...
const FIRST: Duration = Duration::from_secs(2);
/// ... and no longer than so many times that, as a power of two, ...
const LONGEST: u32 = 3;
/// ... and not while the budget is so much larger than the one that did not do.
const LARGER: (u64, u64) = (4, 3);
/// What was so long ago is forgotten.
const FORGIVEN: Duration = Duration::from_secs(30);

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Steps {
    lowered_at: Option<Time>,
    /// When a picture last grew, and with which budget, in bits per second.
    raised_at: Option<Time>,
    raised_with: u64,
    mistakes: u32,
}

impl Steps {
    /// A picture grew.
    pub(crate) fn raise(&mut self, now: Time, budget: u64) {
        (self.raised_at, self.raised_with) = (Some(now), budget);
    }

    /// A picture shrank, or went.
    pub(crate) fn lower(&mut self, now: Time) {
        if self.raised_at.take().is_some_and(|at| !(at + MISTAKE).is_due(now)) {
            let is_old = self.lowered_at.is_some_and(|at| (at + FORGIVEN).is_due(now));
            self.mistakes = if is_old { 1 } else { self.mistakes + 1 };
            self.lowered_at = Some(now);
        }
    }

    /// Whether no picture should grow now, with this budget.
    pub(crate) fn is_held(&self, now: Time, budget: u64) -> bool {
        let is_larger = budget > self.raised_with.saturating_mul(LARGER.0) / LARGER.1;
        let wait = FIRST * (1 << self.mistakes.saturating_sub(1).min(LONGEST));
        !is_larger && self.lowered_at.is_some_and(|at| !(at + wait).is_due(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn every_mistake_doubles_the_wait_and_a_larger_budget_ends_it() {
        let mut steps = Steps::default();
        for (n, wait) in (0..).zip([2, 4, 8, 16, 16]) {
            let now = at(100 + 20 * n);
            steps.raise(now, 900_000);
            assert!(!steps.is_held(now, 900_000));
            steps.lower(now + Duration::from_secs(1));
            assert!(steps.is_held(now + Duration::from_secs(wait), 900_000), "{wait}");
            assert!(!steps.is_held(now + Duration::from_secs(wait), 1_300_000));
            assert!(!steps.is_held(now + Duration::from_secs(1 + wait), 900_000));
        }
    }

    #[test]
    fn what_lasted_was_none_and_old_ones_are_forgotten() {
        let mut steps = Steps::default();
        steps.raise(at(10), 900_000);
        steps.lower(at(19));
        assert!(!steps.is_held(at(19), 900_000), "the path became worse");
        steps.raise(at(20), 900_000);
        steps.lower(at(21));
        steps.raise(at(60), 900_000);
        steps.lower(at(61));
        assert!(steps.is_held(at(62), 900_000) && !steps.is_held(at(63), 900_000));
    }
}
