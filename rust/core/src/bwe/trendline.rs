//! Whether the delay grows: a line through the last variations against a threshold that adapts
//! (Carlucci et al. 2016 §4.2; the line in place of the Kalman filter of draft-ietf-rmcat-gcc-02 §5.3).

use std::collections::VecDeque;

use super::inter_arrival::Delta;
use super::number::{float, seconds};

/// Points of the line.
const WINDOW: usize = 20;
/// How much of the smoothed delay stays with every point.
const SMOOTHING: f64 = 0.9;
/// Makes a slope, in milliseconds per millisecond, comparable with the threshold, together with ...
const GAIN: f64 = 4.0;
/// ... the count of points so far, up to this: a line through few points is believed less.
const MAX_COUNT: u64 = 60;
/// How fast the threshold follows the trend when that is beyond it, and when it is within, per millisecond. Slow up, so that
/// a queue is not taken for normal; faster down, or a flow that reacts later would starve this one (ibid. §5).
const K_UP: f64 = 0.0087;
const K_DOWN: f64 = 0.039;
/// The bounds of the threshold in milliseconds, and where it starts.
const MIN_THRESHOLD: f64 = 6.0;
const MAX_THRESHOLD: f64 = 600.0;
const FIRST_THRESHOLD: f64 = 12.5;
/// A trend further beyond the threshold than this is a jump (a new route), which the threshold does not follow.
const MAX_ADAPTED: f64 = 15.0;
/// For how long the trend must be beyond the threshold, in milliseconds.
const OVERUSE_TIME: f64 = 10.0;

/// What the delay says of the queue before the bottleneck.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Usage {
    /// It stays as it is.
    #[default]
    Normal,
    /// It grows.
    Over,
    /// It drains.
    Under,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Trendline {
    count: u64,
    /// Delay since the start, in milliseconds: all variations together, ...
    accumulated: f64,
    /// ... and smoothed.
    smoothed: f64,
    /// Time of arrival and smoothed delay, in milliseconds.
    points: VecDeque<(f64, f64)>,
    slope: f64,
    threshold: f64,
    adapted_at: Option<i64>,
    over_for: Option<f64>,
    overs: u32,
    usage: Usage,
}

impl Trendline {
    pub(super) fn new() -> Self {
        Self {
            count: 0,
            accumulated: 0.0,
            smoothed: 0.0,
            points: VecDeque::with_capacity(WINDOW + 1),
            slope: 0.0,
            threshold: FIRST_THRESHOLD,
            adapted_at: None,
            over_for: None,
            overs: 0,
            usage: Usage::Normal,
        }
    }

    /// What the points so far say.
    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    /// The growth of the delay as it is held against the threshold, in milliseconds.
    pub(super) fn trend(&self) -> f64 {
        float(self.count.min(MAX_COUNT)) * self.slope * GAIN
    }

    /// Takes the next variation.
    pub(super) fn add(&mut self, delta: &Delta) {
        self.count += 1;
        self.accumulated += seconds(delta.arrived - delta.sent) * 1000.0;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        self.points.push_back((seconds(delta.at) * 1000.0, self.smoothed));
        if self.points.len() > WINDOW {
            self.points.pop_front();
        }
        let before = self.slope;
        if self.points.len() == WINDOW {
            self.slope = slope(&self.points).unwrap_or(before);
        }
        self.detect(seconds(delta.sent) * 1000.0, before);
        self.adapt(delta.at);
    }

    fn detect(&mut self, sent_ms: f64, before: f64) {
        if self.count < 2 {
            return;
        }
        let trend = self.trend();
        if trend > self.threshold {
            // Half of the first span: somewhere in it the line crossed.
            let over_for = self.over_for.map_or(sent_ms / 2.0, |so_far| so_far + sent_ms);
            self.over_for = Some(over_for);
            self.overs += 1;
            if over_for > OVERUSE_TIME && self.overs > 1 && self.slope >= before {
                self.over_for = Some(0.0);
                self.overs = 0;
                self.usage = Usage::Over;
            }
            return;
        }
        self.over_for = None;
        self.overs = 0;
        self.usage = if trend < -self.threshold { Usage::Under } else { Usage::Normal };
    }

    fn adapt(&mut self, at: i64) {
        let trend = self.trend().abs();
        let passed = self.adapted_at.map_or(0.0, |adapted_at| seconds(at - adapted_at) * 1000.0).clamp(0.0, 100.0);
        self.adapted_at = Some(at);
        if trend > self.threshold + MAX_ADAPTED {
            return;
        }
        let gain = if trend < self.threshold { K_DOWN } else { K_UP };
        self.threshold += gain * (trend - self.threshold) * passed;
        self.threshold = self.threshold.clamp(MIN_THRESHOLD, MAX_THRESHOLD);
    }
}

/// The slope of the line through `points` with the least squares; none where they share one time.
fn slope(points: &VecDeque<(f64, f64)>) -> Option<f64> {
    let count = float(points.len() as u64);
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let (mean_x, mean_y) = (sum_x / count, sum_y / count);
    let above: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let below: f64 = points.iter().map(|(x, _)| (x - mean_x) * (x - mean_x)).sum();
    (below > 0.0).then_some(above / below)
}
