//! How much per second, over the last second, in integer buckets.

use core::time::Duration;

use crate::time::Time;

/// Buckets of the window.
const BUCKETS: usize = 20;
/// Length of a bucket: 20 of them make the second that a rate is usually quoted over.
const BUCKET: Duration = Duration::from_millis(50);
/// A window shorter than this says nothing: the first burst of a stream would read as many times its rate.
const SHORTEST: Duration = Duration::from_millis(200);

/// A sliding count of bytes, packets or frames.
#[derive(Clone, Debug, Default)]
pub struct Rate {
    buckets: [u32; BUCKETS],
    /// The number of the newest bucket, counted from [`Time::ZERO`].
    newest: u64,
    started_at: Option<Time>,
}

impl Rate {
    /// Adds `amount` at `now`.
    pub fn add(&mut self, now: Time, amount: u32) {
        let bucket = number(now).max(self.newest);
        if self.started_at.is_none() {
            self.started_at = Some(now);
            self.newest = bucket;
        }
        for stale in 1..=(bucket - self.newest).min(BUCKETS as u64) {
            if let Some(slot) = self.buckets.get_mut(place(self.newest + stale)) {
                *slot = 0;
            }
        }
        self.newest = bucket;
        if let Some(slot) = self.buckets.get_mut(place(bucket)) {
            *slot = slot.saturating_add(amount);
        }
    }

    /// The amount per second, over the last second or since the start where that is shorter.
    pub fn per_second(&self, now: Time) -> u64 {
        let Some(started_at) = self.started_at else { return 0 };
        let current = number(now).max(self.newest);
        let oldest = current.saturating_sub(BUCKETS as u64 - 1);
        let total: u64 = (oldest.max(self.newest.saturating_sub(BUCKETS as u64 - 1))..=self.newest)
            .filter_map(|bucket| self.buckets.get(place(bucket)))
            .map(|&amount| u64::from(amount))
            .sum();
        let from = Time::from_nanos(oldest.saturating_mul(nanos(BUCKET))).max(started_at);
        let span = nanos(now.since(from).max(SHORTEST));
        let per_second = u128::from(total) * 1_000_000_000 / u128::from(span);
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn number(now: Time) -> u64 {
    now.as_nanos() / nanos(BUCKET)
}

#[allow(clippy::cast_possible_truncation)] // below BUCKETS
const fn place(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_reads_as_its_rate() {
        let mut rate = Rate::default();
        for ms in (0..5000).step_by(10) {
            rate.add(Time::from_millis(ms), 125);
            if ms >= 1000 {
                // 100 a second; one packet more or less in the window is 1 %.
                let read = rate.per_second(Time::from_millis(ms));
                assert!((12_500..=12_650).contains(&read), "{read} at {ms}");
            }
        }
    }

    #[test]
    fn silence_reads_as_nothing_after_a_second() {
        let mut rate = Rate::default();
        assert_eq!(rate.per_second(Time::from_millis(5)), 0);
        rate.add(Time::from_millis(10_000), 1000);
        assert_eq!(rate.per_second(Time::from_millis(10_000)), 5000, "not divided by nothing");
        assert!(rate.per_second(Time::from_millis(10_949)) > 1000);
        assert_eq!(rate.per_second(Time::from_millis(11_000)), 0);
        rate.add(Time::from_millis(60_000), 7);
        assert_eq!(rate.per_second(Time::from_millis(60_000)), 7, "the old second is gone");
    }

    #[test]
    fn a_flood_saturates() {
        let mut rate = Rate::default();
        rate.add(Time::ZERO, u32::MAX);
        rate.add(Time::ZERO, u32::MAX);
        assert_eq!(rate.per_second(Time::ZERO), u64::from(u32::MAX) * 5);
    }
}
