//! What the relay did in one direction, in all and by second of the trace.

use std::time::Duration;

use rtpcore_sim::trace::{Fate, Schedule};

/// Counts, with the headers of IP and UDP in the bytes.
#[derive(Debug, Default)]
pub struct Counters {
    seconds: Vec<Second>,
    /// How long after its time a packet went out: what this machine adds.
    late: Vec<Duration>,
}

#[derive(Clone, Debug, Default)]
struct Second {
    packets: u64,
    bytes: u64,
    lost: u64,
    overflowed: u64,
    duplicated: u64,
    /// Bytes that passed the bottleneck, lost ones included.
    passed: u64,
    queued: Vec<Duration>,
}

impl Counters {
    /// Counts a packet in the second in which it came.
    pub fn count(&mut self, at: Duration, len: usize, fate: Fate) {
        let number = usize::try_from(at.as_secs()).unwrap_or(usize::MAX);
        if number >= self.seconds.len() {
            self.seconds.resize(number + 1, Second::default());
        }
        let second = &mut self.seconds[number];
        second.packets += 1;
        second.bytes += len as u64;
        match fate {
            Fate::Overflowed => second.overflowed += 1,
            Fate::Lost { queued } => {
                second.lost += 1;
                second.pass(len, queued);
            }
            Fate::Arrives { queued, at } => {
                second.duplicated += u64::from(at[1].is_some());
                second.pass(len, queued);
            }
        }
    }

    /// Counts how late a packet went out.
    pub fn late(&mut self, by: Duration) {
        self.late.push(by);
    }

    /// All of it as an object; `capacity` is what the link could have carried, null without a bound.
    pub fn to_json(&self, schedule: &Schedule) -> String {
        let mut all = Second::default();
        for second in &self.seconds {
            all.add(second);
        }
        let capacity = |from: u64, until: u64| {
            schedule
                .capacity(Duration::from_secs(from), Duration::from_secs(until))
                .map_or_else(|| "null".to_owned(), |bytes| bytes.to_string())
        };
        let seconds: Vec<_> =
            (0..).zip(&self.seconds).map(|(n, second)| second.to_json(&capacity(n, n + 1), "")).collect();
        let mut late = self.late.clone();
        let more =
            format!(", \"late_p95_ms\": {:.3}, \"seconds\": [{}]", percentile(&mut late, 95), seconds.join(", "));
        all.to_json(&capacity(0, self.seconds.len() as u64), &more)
    }
}

impl Second {
    fn pass(&mut self, len: usize, queued: Duration) {
        self.passed += len as u64;
        self.queued.push(queued);
    }

    fn add(&mut self, other: &Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.overflowed += other.overflowed;
        self.duplicated += other.duplicated;
        self.passed += other.passed;
        self.queued.extend(&other.queued);
    }

    fn to_json(&self, capacity: &str, more: &str) -> String {
        let Self { packets, bytes, lost, overflowed, duplicated, passed, queued } = self;
        let mut queued = queued.clone();
        format!(
            "{{\"packets\": {packets}, \"bytes\": {bytes}, \"lost\": {lost}, \"overflowed\": {overflowed}, \
             \"duplicated\": {duplicated}, \"passed\": {passed}, \"capacity\": {capacity}, \"queue_p50_ms\": {:.3}, \
             \"queue_p95_ms\": {:.3}{more}}}",
            percentile(&mut queued, 50),
            percentile(&mut queued, 95)
        )
    }
}

/// In milliseconds, 0 of none.
fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    let at = (times.len() * percent).div_ceil(100).saturating_sub(1);
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
