//! How long things took, counted by powers of two: enough to see a tail, and two additions to count.

/// Spans of time, each counted in the first bucket that holds it.
///
/// Bucket `n` holds what took at most 2^n microseconds, the last one what took longer than any other holds. Cumulative, like
/// all counters here: who wants a rate takes two snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    counts: [u64; Self::BUCKETS],
    nanos: u64,
}

impl Histogram {
    /// From a microsecond to 2^23 of them, eight seconds, and one bucket for the rest: whoever waits longer has given up.
    pub const BUCKETS: usize = 25;

    /// Counts a span that was seen `times` times.
    pub fn count(&mut self, nanos: u64, times: u32) {
        let micros = nanos.div_ceil(1000).max(1);
        // The logarithm, rounded up: 2^n itself belongs to bucket n.
        let bucket = (u64::BITS - (micros - 1).leading_zeros()) as usize;
        if let Some(count) = self.counts.get_mut(bucket.min(Self::BUCKETS - 1)) {
            *count += u64::from(times);
        }
        self.nanos = self.nanos.saturating_add(nanos.saturating_mul(u64::from(times)));
    }

    /// By bucket, how many spans fell into it.
    pub fn counts(&self) -> &[u64; Self::BUCKETS] {
        &self.counts
    }

    /// All spans together, in nanoseconds.
    pub fn nanos(&self) -> u64 {
        self.nanos
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.nanos = self.nanos.saturating_add(other.nanos);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket_of(nanos: u64) -> usize {
        let mut histogram = Histogram::default();
        histogram.count(nanos, 1);
        histogram.counts().iter().position(|&count| count == 1).unwrap()
    }

    #[test]
    fn a_span_falls_into_the_first_bucket_that_holds_it() {
        assert_eq!(bucket_of(0), 0);
        assert_eq!(bucket_of(1000), 0);
        assert_eq!(bucket_of(1001), 1);
        for n in 1..Histogram::BUCKETS - 1 {
            let bound = 1000u64 << n;
            assert_eq!(bucket_of(bound), n);
            assert_eq!(bucket_of(bound + 1), n + 1);
        }
        assert_eq!(bucket_of(u64::MAX), Histogram::BUCKETS - 1);
    }

    #[test]
    fn counts_and_sums_add_up() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        one.count(1500, 3);
        other.count(1500, 2);
        other.count(u64::MAX, 2);
        one.add(&other);
        assert_eq!(one.counts().iter().sum::<u64>(), 7);
        assert_eq!(one.counts()[1], 5);
        assert_eq!(one.nanos(), u64::MAX, "it stays where it cannot grow");
    }
}
