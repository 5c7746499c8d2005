//! What goes into an estimator, and what it says.

use core::time::Duration;

use super::trendline::Usage;
use crate::units::Bitrate;

/// The bounds of an estimate, and where it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What is believed before anything is known.
    pub start: Bitrate,
    /// The target never falls below this, above zero.
    pub min: Bitrate,
    /// ... nor rises above this.
    pub max: Bitrate,
}

/// What set the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Nothing is known yet.
    Start,
    /// The delay: it grew at more, or nothing more was tried.
    Delay,
    /// The loss.
    Loss,
    /// The receiver's own estimate.
    Remb,
    /// A probe that got through.
    Probe,
    /// Feedback stays away.
    Silence,
    /// The bound in the settings.
    Maximum,
}

impl Cause {
    /// As a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Delay => "delay",
            Self::Loss => "loss",
            Self::Remb => "remb",
            Self::Probe => "probe",
            Self::Silence => "silence",
            Self::Maximum => "maximum",
        }
    }
}

/// What is believed of the path now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// What may be sent, within the bounds of the settings.
    pub target: Bitrate,
    /// What set it.
    pub cause: Cause,
    /// What arrives, over the last half second or more.
    pub acknowledged: Option<Bitrate>,
    /// The share of packets lost over the last seconds, 0 to 1.
    pub loss: f64,
    /// How many packets are lost in a row, on the average; 1 or more.
    pub mean_burst: f64,
    /// What of that would be lost at any rate, as far as can be told.
    pub inherent_loss: f64,
    /// Smoothed; from feedback it includes what the receiver waits before it reports.
    pub rtt: Option<Duration>,
    /// Whether the queue before the bottleneck grows.
    pub usage: Usage,
    /// How fast it grows, in the milliseconds that over-use is judged by: some ten are much.
    pub trend: f64,
    /// How long packets wait before the bottleneck, above the least of the last seconds: that of the last feedback that
    /// waited least.
    pub queue: Duration,
    /// Less is sent than the target allows, because there is no more to send.
    pub is_limited: bool,
    /// The path was seen to carry no more than the target, by a queue, by loss, or by a probe that met its end.
    pub is_tight: bool,
}

/// Why a feedback was not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It reports numbers that were never sent.
    NeverSent,
    /// Its times lie 10 s or more from where they can be.
    ImpossibleTime,
}

/// Totals since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Feedback packets that were believed.
    pub feedbacks: u64,
    /// ... and that brought nothing new: repeated, overtaken, or too late.
    pub stale_feedbacks: u64,
    /// Feedback packets and estimates of receivers that cannot be true.
    pub lies: u64,
    /// Packets whose arrival was reported.
    pub received: u64,
    /// Packets that were reported missing; some of them arrived after all.
    pub lost: u64,
    /// Packets that no feedback said anything of.
    pub unanswered: u64,
    /// Probes handed out.
    pub probes: u64,
    /// Probes that raised the estimate.
    pub probes_succeeded: u64,
    /// Times that the delay, a collapse or silence took something off the target.
    pub reductions: u64,
}
