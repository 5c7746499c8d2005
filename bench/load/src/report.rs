//! What is told: lines of JSON on standard output, each an event.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::count::Totals;
use crate::peer::Sink;

/// An event.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Told<'a> {
    /// How far it is, once a second.
    Progress {
        /// Since the start.
        seconds: f64,
        /// Clients of which the websocket has begun to connect.
        opened: usize,
        /// Clients that have all they must have.
        ready: usize,
        /// Clients that take no part any more.
        failed: usize,
        /// In the last second.
        received_per_s: f64,
    },
    /// The time that is measured begins.
    Measuring,
    /// And has ended.
    Measured,
    /// The last line.
    Result(Box<Outcome>),
    /// The last line, where there is nothing to tell.
    Error {
        /// In words.
        reason: &'a str,
    },
}

/// Prints an event.
pub fn tell(told: &Told) {
    println!("{}", serde_json::to_string(told).expect("plain structures"));
}

/// Milliseconds.
#[derive(Debug, Serialize)]
pub struct Percentiles {
    samples: u64,
    p50: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

/// The figures.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// How long it was measured.
    pub seconds: f64,
    /// Who was to take part.
    pub clients: usize,
    /// Who did to the end.
    pub ready: usize,
    /// Why the others did not, with how many.
    pub failures: Vec<Failure>,
    /// Packets that publishers sent, each second.
    pub sent_per_s: f64,
    /// Packets that subscribers received, each second.
    pub received_per_s: f64,
    /// The same, in all.
    pub received: u64,
    /// Numbers that should have come.
    pub expected: u64,
    /// Those that did not.
    pub lost: u64,
    /// Packets behind one with a higher number.
    pub reordered: u64,
    /// Retransmissions and padding.
    pub repaired: u64,
    /// Of stamped packets: from the publisher's call to the kernel's arrival.
    pub delay_ms: Option<Percentiles>,
    /// From the start of a connection to the room's description.
    pub join_ms: Option<Percentiles>,
    /// To a path found by ICE.
    pub ice_ms: Option<Percentiles>,
    /// To the first media packet.
    pub media_ms: Option<Percentiles>,
    /// How late frames were sent: the load's own trouble.
    pub late_ms: Option<Percentiles>,
    /// CPU time of the load by time: 1 is all that its one thread can do.
    pub load: f64,
}

/// A reason.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// In words.
    pub reason: String,
    /// Clients that had it.
    pub count: usize,
}

/// The same reasons together, the most frequent first.
pub fn grouped(reasons: impl Iterator<Item = String>) -> Vec<Failure> {
    let mut counts = BTreeMap::new();
    for reason in reasons {
        *counts.entry(reason).or_insert(0) += 1;
    }
    let mut failures: Vec<_> = counts.into_iter().map(|(reason, count)| Failure { reason, count }).collect();
    failures.sort_by_key(|failure| std::cmp::Reverse(failure.count));
    failures
}

/// Durations by their size, to three digits, up to a minute.
pub struct Durations(Histogram<u64>);

impl Default for Durations {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1000, Self::LONGEST_NS, 3).expect("bounds that it takes"))
    }
}

impl Durations {
    const LONGEST_NS: u64 = 60_000_000_000;

    /// One more; what is longer than a minute counts as a minute.
    pub fn add(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds.min(Self::LONGEST_NS));
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        // `clear` would keep the extremes.
        self.0.reset();
    }

    /// None where there are none.
    pub fn percentiles(&self) -> Option<Percentiles> {
        let ms = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e6;
        let max = self.0.max() as f64 / 1e6;
        let samples = self.0.len();
        (samples > 0).then(|| Percentiles { samples, p50: ms(0.5), p99: ms(0.99), p999: ms(0.999), max })
    }
}

impl FromIterator<Duration> for Durations {
    fn from_iter<T: IntoIterator<Item = Duration>>(durations: T) -> Self {
        let mut all = Self::default();
        durations.into_iter().for_each(|one| all.add(u64::try_from(one.as_nanos()).unwrap_or(u64::MAX)));
        all
    }
}

impl Sink for Durations {
    fn delayed(&mut self, nanoseconds: u64) {
        self.add(nanoseconds);
    }
}

/// What was counted at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    /// By publishers.
    pub sent: u64,
    /// By subscribers.
    pub totals: Totals,
    /// CPU time of this process.
    pub cpu: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_in_milliseconds() {
        let all: Durations = (1..=1000).map(Duration::from_millis).collect();
        let told = all.percentiles().unwrap();
        assert_eq!(told.samples, 1000);
        assert!((told.p50 - 500.0).abs() < 1.0 && (told.p99 - 990.0).abs() < 1.0 && (told.max - 1000.0).abs() < 1.0);
        let mut again = all;
        again.clear();
        assert!(again.percentiles().is_none());
        again.add(5_000_000);
        assert!((again.percentiles().unwrap().max - 5.0).abs() < 0.1);
    }

    #[test]
    fn the_most_frequent_reason_comes_first() {
        let reasons = ["a", "b", "b"].into_iter().map(str::to_owned);
        let told = serde_json::to_string(&grouped(reasons)).unwrap();
        assert_eq!(told, r#"[{"reason":"b","count":2},{"reason":"a","count":1}]"#);
    }
}
