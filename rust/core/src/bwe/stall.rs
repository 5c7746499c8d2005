//! A link that became a fraction of what it was: its queue is full of what was sent before, and the line of the delay, which
//! has a point for each group that arrives, sees little of it for half a second.
//!
//! ```text
//!  link 2 Mbit/s ─┐80 kbit/s       what arrives now ....... 90 kbit/s, half a second ago 1 Mbit/s
//!                 └─────────       and left ............... 250 ms ago, where 50 ms are the rule
//! ```

use core::time::Duration;

use crate::time::Time;

/// What a packet may take longer than the fastest of late: a radio that hands over stands still for up to 200 ms, and then
/// goes on as before.
const LATE: Duration = Duration::from_millis(220);
/// The share of the rate before that still arrives.
const SHARE: f64 = 0.5;
/// For how long the fastest is remembered, at least.
const MEMORY: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Stall {
    latest: Duration,
    /// The fastest since a time, and of the span before.
    fastest: Option<(Time, Duration)>,
    before: Option<Duration>,
}

impl Stall {
    /// The newest packet that feedback speaks of left so long ago.
    pub(super) fn add(&mut self, now: Time, took: Duration) {
        self.latest = took;
        match &mut self.fastest {
            Some((since, fastest)) if !(*since + MEMORY).is_due(now) => *fastest = took.min(*fastest),
            other => self.before = other.replace((now, took)).map(|(_, fastest)| fastest),
        }
    }

    /// Whether the link stalls, that lets through `recent` where it let through `steady`, in bit/s.
    pub(super) fn is_stalled(&self, recent: f64, steady: f64) -> bool {
        let Some((_, fastest)) = self.fastest else { return false };
        self.latest > fastest.min(self.before.unwrap_or(fastest)) + LATE && recent < steady * SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_and_little_is_a_stall_and_one_of_them_is_not() {
        let mut stall = Stall::default();
        let ms = Duration::from_millis;
        assert!(!stall.is_stalled(1e5, 1e6), "nothing is known");
        stall.add(Time::from_millis(0), ms(50));
        stall.add(Time::from_millis(12_000), ms(60));
        assert!(!stall.is_stalled(1e5, 1e6), "in time");
        stall.add(Time::from_millis(12_100), ms(260));
        assert!(!stall.is_stalled(1e5, 1e6), "a radio that stands still for a moment");
        stall.add(Time::from_millis(12_200), ms(280));
        assert!(stall.is_stalled(1e5, 1e6), "late against the fastest of the span before");
        assert!(!stall.is_stalled(6e5, 1e6), "late, and most of it comes");
    }
}
