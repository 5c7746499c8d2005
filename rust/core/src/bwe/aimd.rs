//! What the delay allows: up while it stays, down when it grows (draft-ietf-rmcat-gcc-02 §5.5, §5.6).
//!
//! ```text
//!           over             over                  far from what broke it last: 8 % a second
//!  Increase ───> Decrease   Hold ───> Decrease     near to it: a packet per response time
//!     ^  normal     │        ^
//!     └──── Hold <──┘        └─ under, from any    down: to 85 % of what arrives
//! ```

use core::time::Duration;

use super::trendline::Usage;
use crate::time::Time;

/// What is left of the rate that arrives, so that the queue drains.
const BETA: f64 = 0.85;
/// Growth per second while the capacity is unknown.
const GROWTH: f64 = 1.08;
/// At least so many bit/s in a second near the capacity.
const MIN_SLOPE: f64 = 4_000.0;
/// What the receiver and the detector add to the round trip before an increase shows, in seconds.
const DETECTION: f64 = 0.1;
/// How far above what flows the delay allows: beyond it nothing was tried.
const HEADROOM: f64 = 1.5;
const HEADROOM_OFFSET: f64 = 10_000.0;
/// Bits of a full packet.
const PACKET: f64 = 1200.0 * 8.0;

/// What arrives, in bit/s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Throughput {
    pub steady: Option<f64>,
    pub recent: Option<f64>,
}

/// What an update did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Increased,
    Reduced,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Aimd {
    rate: f64,
    is_holding: bool,
    capacity: Capacity,
    updated_at: Time,
    reduced_at: Option<Time>,
}

impl Aimd {
    pub(super) fn new(now: Time, start: f64) -> Self {
        Self { rate: start, is_holding: false, capacity: Capacity::default(), updated_at: now, reduced_at: None }
    }

    /// What the delay allows, in bit/s.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// Acts on what a feedback says of the delay. `is_limited`: the sender does not use what it may.
    pub(super) fn update(
        &mut self,
        now: Time,
        usage: Usage,
        throughput: Throughput,
        rtt: Duration,
        is_limited: bool,
    ) -> Change {
        let passed = now.since(self.updated_at).as_secs_f64().min(1.0);
        self.updated_at = now;
        match usage {
            Usage::Over => self.reduce(now, throughput, rtt),
            Usage::Under => {
                self.is_holding = true;
                Change::None
            }
            // One feedback after the queue is as it was the rate may grow again.
            Usage::Normal if self.is_holding => {
                self.is_holding = false;
                Change::None
            }
            Usage::Normal if is_limited => Change::None,
            Usage::Normal => self.increase(passed, throughput.steady, rtt),
        }
    }

    /// A probe got through at `rate`: the delay allows at least that.
    pub(super) fn raise(&mut self, rate: f64) {
        self.capacity.note_probe(rate);
        self.rate = self.rate.max(rate);
    }

    /// Something other than the delay says that no more than `rate` gets through.
    pub(super) fn lower(&mut self, now: Time, rate: f64) {
        if rate < self.rate {
            self.rate = rate;
            self.is_holding = true;
            self.reduced_at = Some(now);
        }
    }

    /// Keeps the rate within bounds.
    pub(super) fn clamp(&mut self, min: f64, max: f64) {
        self.rate = self.rate.clamp(min, max);
    }

    fn increase(&mut self, passed: f64, steady: Option<f64>, rtt: Duration) -> Change {
        let Some(steady) = steady else { return Change::None };
        if self.capacity.upper().is_some_and(|upper| steady > upper) {
            self.capacity = Capacity::default();
        }
        let step = if self.capacity.estimate.is_some() {
            let response = rtt.as_secs_f64() + DETECTION;
            (packet_of(self.rate) / response).max(MIN_SLOPE) * passed
        } else {
            (self.rate * (GROWTH.powf(passed) - 1.0)).max(1000.0 * passed)
        };
        let most = (HEADROOM * steady + HEADROOM_OFFSET).max(self.rate);
        let before = self.rate;
        self.rate = (self.rate + step).min(most);
        if self.rate > before { Change::Increased } else { Change::None }
    }

    fn reduce(&mut self, now: Time, throughput: Throughput, rtt: Duration) -> Change {
        let flows = throughput.recent.or(throughput.steady);
        let pause = rtt.clamp(Duration::from_millis(10), Duration::from_millis(200));
        let is_time = self.reduced_at.is_none_or(|reduced_at| (reduced_at + pause).is_due(now))
            || flows.is_some_and(|flows| flows < self.rate / 2.0);
        if !is_time {
            return Change::None;
        }
        let before = self.rate;
        let reduced = match flows {
            None => self.rate / 2.0,
            Some(flows) => {
                let mut reduced = BETA * flows;
                if let (true, Some(capacity)) = (reduced > self.rate, self.capacity.estimate) {
                    reduced = BETA * capacity;
                }
                if self.capacity.lower().is_some_and(|lower| flows < lower) {
                    self.capacity = Capacity::default();
                }
                self.capacity.note_overuse(flows);
                reduced
            }
        };
        self.rate = self.rate.min(reduced);
        self.is_holding = true;
        self.reduced_at = Some(now);
        if self.rate < before { Change::Reduced } else { Change::None }
    }
}

/// Bits of a packet of a video of `rate` with 30 frames a second.
fn packet_of(rate: f64) -> f64 {
    let frame = rate / 30.0;
    frame / (frame / PACKET).ceil().max(1.0)
}

/// What the bottleneck carried when its queue grew, in kbit/s: mean and spread.
#[derive(Clone, Copy, Debug)]
struct Capacity {
    estimate: Option<f64>,
    /// The variance over the mean: spread grows with the rate.
    deviation: f64,
}

impl Default for Capacity {
    fn default() -> Self {
        Self { estimate: None, deviation: 0.4 }
    }
}

impl Capacity {
    fn note_overuse(&mut self, flows: f64) {
        self.note(flows, 0.05);
    }

    fn note_probe(&mut self, rate: f64) {
        // A probe is one clean sample, an overuse a rough one.
        self.note(rate, 0.5);
    }

    fn note(&mut self, sample: f64, weight: f64) {
        let estimate = self.estimate.map_or(sample, |estimate| (1.0 - weight) * estimate + weight * sample);
        let norm = (estimate / 1000.0).max(1.0);
        let error = (estimate - sample) / 1000.0;
        self.deviation = ((1.0 - weight) * self.deviation + weight * error * error / norm).clamp(0.4, 2.5);
        self.estimate = Some(estimate);
    }

    fn spread(&self, estimate: f64) -> f64 {
        3.0 * (self.deviation * estimate / 1000.0).sqrt() * 1000.0
    }

    fn upper(&self) -> Option<f64> {
        self.estimate.map(|estimate| estimate + self.spread(estimate))
    }

    fn lower(&self) -> Option<f64> {
        self.estimate.map(|estimate| (estimate - self.spread(estimate)).max(0.0))
    }
}
