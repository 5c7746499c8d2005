//! Whether the sender uses what it may, or has no more to send (application limited).
//!
//! A budget fills at a share of the target and is spent by what leaves: full, the sender is limited; half empty, it is not.

use super::number::float;
use crate::time::Time;

/// The share of the target that must be used.
const SHARE: f64 = 0.65;
/// What the budget holds, in seconds of that share.
const WINDOW: f64 = 0.5;
/// How full the budget is when the state begins, and when it ends.
const BEGIN: f64 = 0.8;
const END: f64 = 0.5;

/// See the module.
#[derive(Debug)]
pub(super) struct Limited {
    /// Bytes left, from minus to plus what the budget holds.
    budget: f64,
    rate: f64,
    updated_at: Time,
    /// Limited, or not.
    state: bool,
}

impl Limited {
    pub(super) fn new(now: Time, target: f64) -> Self {
        let mut limited = Self { budget: 0.0, rate: 0.0, updated_at: now, state: false };
        limited.set_target(target);
        limited
    }

    /// `bytes` left.
    pub(super) fn handle_sent(&mut self, now: Time, bytes: u16) {
        let passed = now.since(self.updated_at).as_secs_f64();
        self.updated_at = now;
        let most = self.rate * WINDOW;
        self.budget = (self.budget + self.rate * passed - float(u64::from(bytes))).clamp(-most, most);
        let level = self.budget / most;
        if level > BEGIN {
            self.state = true;
        } else if level < END {
            self.state = false;
        }
    }

    pub(super) fn set_target(&mut self, target: f64) {
        self.rate = (target * SHARE / 8.0).max(1.0);
    }

    pub(super) fn is_limited(&self) -> bool {
        self.state
    }
}
