//! Padding for peers that estimate themselves: they believe in no more than half above what comes, so that an estimate stays
//! where the layers end unless something fills what it allows.
//!
//! ```text
//!  more is wanted ─> fill up to the estimate ─> it grows ─> go on
//!       │ later             │ it does not, or falls, for 5 s: rest for 15 s
//!       └──────────────<────┘
//! ```

use core::time::Duration;

use crate::time::Time;

/// How long an estimate may take to grow by [`GROWTH`]: libwebrtc's grows by 8 % a second.
const PATIENCE: Duration = Duration::from_secs(5);
const GROWTH: (u64, u64) = (11, 10);
/// ... and how much it may fall.
const FALL: (u64, u64) = (9, 10);
/// Between two tries: what is filled is of no use to anybody.
const REST: Duration = Duration::from_secs(15);

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fill {
    /// Since when, and with which estimate.
    since: Option<(Time, u64)>,
    rests_until: Time,
}

impl Fill {
    /// The peer estimates `estimate`, and could be sent `wanted`, in bits per second.
    pub(crate) fn handle_estimate(&mut self, now: Time, estimate: u64, wanted: u64) {
        if estimate >= wanted {
            self.since = None;
            return;
        }
        match self.since {
            None if self.rests_until.is_due(now) => self.since = Some((now, estimate)),
            Some((_, before)) if estimate * GROWTH.1 >= before * GROWTH.0 => self.since = Some((now, estimate)),
            Some((since, before)) if (since + PATIENCE).is_due(now) || estimate * FALL.1 < before * FALL.0 => {
                (self.since, self.rests_until) = (None, now + REST);
            }
            _ => {}
        }
    }

    /// Whether padding is sent.
    pub(crate) fn is_on(&self) -> bool {
        self.since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn it_goes_on_while_the_estimate_grows_and_rests_where_it_does_not() {
        let mut fill = Fill::default();
        let mut tell = |seconds, estimate| {
            fill.handle_estimate(at(seconds), estimate, 1_000_000);
            fill.is_on()
        };
        assert!(tell(1, 300_000) && tell(4, 340_000) && tell(8, 400_000));
        assert!(tell(12, 410_000) && !tell(13, 410_000), "five seconds for nothing");
        assert!(!tell(20, 410_000) && tell(28, 410_000));
        assert!(!tell(29, 350_000), "too much");
        assert!(tell(44, 900_000) && !tell(45, 1_000_000), "that is all");
    }
}
