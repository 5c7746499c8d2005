//! Feedback that stays away while packets leave: the path is gone, or so full that nothing comes back.

use core::time::Duration;

use crate::time::Time;

/// How long feedback may stay away: ten intervals of it, and more than a round trip.
const PATIENCE: Duration = Duration::from_millis(1500);
/// ... and then between one reduction and the next.
const AGAIN: Duration = Duration::from_millis(500);
/// Fewer packets may all be lost.
const MIN_PACKETS: u64 = 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// When patience ends; none while nothing is waited for, and before the first feedback: a receiver may have none to give.
    due_at: Option<Time>,
    has_feedback: bool,
}

impl Silence {
    /// A packet left that wants an answer.
    pub(super) fn handle_sent(&mut self, now: Time) {
        if self.has_feedback && self.due_at.is_none() {
            self.due_at = Some(now + PATIENCE);
        }
    }

    /// An answer came; `is_awaiting`: more left since.
    pub(super) fn handle_feedback(&mut self, now: Time, is_awaiting: bool) {
        self.has_feedback = true;
        self.due_at = is_awaiting.then(|| now + PATIENCE);
    }

    /// Whether it is time to back off, again; so many packets are `awaited`.
    pub(super) fn is_due(&mut self, now: Time, awaited: u64) -> bool {
        let is_due = self.due_at.is_some_and(|due_at| due_at.is_due(now));
        if is_due {
            self.due_at = Some(now + AGAIN);
        }
        is_due && awaited >= MIN_PACKETS
    }

    pub(super) fn poll_timeout(&self) -> Time {
        self.due_at.unwrap_or(Time::NEVER)
    }
}
