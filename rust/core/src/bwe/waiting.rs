//! How long packets wait in the queue, where groups cannot tell.
//!
//! ```text
//!  a frame of 10 KB at 600 kbit/s arrives over 130 ms, and is one group: the trend needs three of them
//!  the least delay of each feedback, above that of the last seconds:   0    3 │  55 │ 110   -> a surge: over-use
//!  after a stall of the radio everything comes at once, the trend is up: 0 │ 180 │   0      -> empty: no over-use
//! ```
//!
//! Of every feedback only the packet that waited least counts. libwebrtc has no such box; its encoders spread frames out,
//! while layers of an SFU are as they are.

use core::time::Duration;

use super::Answered;
use super::clock::Arrived;
use super::number::micros;

/// Every packet of a feedback waited longer than this, in microseconds: more than jitter, less than a queue worth having.
const HIGH: i64 = 60_000;
/// ... which is so much more than in the feedback before, ...
const GROWTH: i64 = 10_000;
/// ... where everything waited as well.
const BEFORE: i64 = 20_000;
/// Where a packet waited no longer than this, nothing waits any more.
const EMPTY: i64 = 5_000;
/// How long the least delay is remembered, twice: clocks drift, routes change.
const MEMORY: i64 = 5_000_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// The least delay since `since`, and in the time before.
    least: Option<i64>,
    least_before: Option<i64>,
    since: i64,
    /// The least delay of the feedback in hand.
    current: Option<i64>,
    /// How long everything waited in the last feedback.
    waited: i64,
    /// When the first packet of the feedback in hand arrived, and of the one before.
    first: Option<Arrived>,
    first_before: Option<Arrived>,
    /// While there is a surge, from when on everything waited.
    queued_since: Option<Arrived>,
}

impl Waiting {
    /// A packet of the feedback in hand arrived.
    pub(super) fn add(&mut self, answered: &Answered) {
        let delay = answered.arrived - micros(answered.sent_at);
        self.first.get_or_insert(answered.arrived);
        self.current = Some(self.current.map_or(delay, |least| least.min(delay)));
        if answered.arrived - self.since > MEMORY {
            self.since = answered.arrived;
            self.least_before = self.least.take();
        }
        self.least = Some(self.least.map_or(delay, |least| least.min(delay)));
    }

    /// The feedback ends.
    pub(super) fn conclude(&mut self) {
        self.queued_since = None;
        let (Some(current), Some(first)) = (self.current.take(), self.first.take()) else { return };
        let least = self.least.into_iter().chain(self.least_before).min().unwrap_or(current);
        let waited = current - least;
        let is_surge = waited > HIGH && waited > self.waited + GROWTH && self.waited > BEFORE;
        self.waited = waited;
        self.queued_since = self.first_before.filter(|_| is_surge);
        self.first_before = Some(first);
    }

    /// How long the packet waited that waited least in the last feedback.
    pub(super) fn waited(&self) -> Duration {
        Duration::from_micros(self.waited.max(0).unsigned_abs())
    }

    /// Whether there is a surge.
    pub(super) fn is_surge(&self) -> bool {
        self.queued_since.is_some()
    }

    /// Whether the last feedback has a packet that did not wait.
    pub(super) fn is_empty(&self) -> bool {
        self.waited < EMPTY
    }

    /// From when on everything that arrived had waited, while there is a surge.
    pub(super) fn queued_since(&self) -> Option<Arrived> {
        self.queued_since
    }
}
