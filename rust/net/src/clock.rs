//! The only clock: the monotonic one, as nanoseconds since the process opened it.

use std::time::Instant;

use rtpcore_core::Time;

/// A start that all workers share, so that their times compare.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }

    /// When it started: the anchor for crates that speak `Instant`.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// The time now. Read once per batch, not per packet: it costs as much as a tenth of a packet.
    pub fn now(&self) -> Time {
        Time::from_nanos(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }
}
