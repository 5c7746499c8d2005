//! One probe: packets sent faster than the estimate, and the rate at which they arrive.

use core::num::NonZeroU16;
use core::time::Duration;

use super::Answered;
use super::number::{float, micros, seconds};
use crate::time::Time;
use crate::units::{Bitrate, SeqNo};

/// The name of a probe, on the packets that belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub NonZeroU16);

/// What to send for a probe: padding or retransmissions beside what media there is.
///
/// Every numbered packet that leaves from the first of the probe to its last belongs to it, media too. It is done when both
/// `bytes` and `packets` have left, evenly at `rate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Goes with every packet into [`super::Estimator::handle_sent`].
    pub id: ClusterId,
    /// How fast it leaves, all packets together.
    pub rate: Bitrate,
    /// At least so many bytes on the wire, ...
    pub bytes: u32,
    /// ... in at least so many packets: `bytes / packets` each is enough.
    pub packets: u8,
    /// How long that takes at `rate`.
    pub duration: Duration,
}

/// The share of packets and bytes that must arrive for a result, of what is not lost anyway.
const MIN_RECEIVED: f64 = 0.8;
/// An interval beyond this, in microseconds, or of nothing, is no probe.
const MAX_INTERVAL: i64 = 1_000_000;
/// Arriving this much faster than sent, something on the way gathered the packets: nothing is learned.
const MAX_RATIO: f64 = 2.0;
/// Arriving at less than this share of the rate sent, they met the bottleneck, ...
const SATURATED: f64 = 0.9;
/// ... of which this share is taken, so that its queue drains.
const UTILISATION: f64 = 0.95;
/// A probe that is not over by then, from when it was handed out, is given up.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a probe found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// In bit/s.
    pub rate: f64,
    /// The probe was faster than the bottleneck, which carries a little more than the rate.
    pub is_saturated: bool,
}

/// A probe under way.
#[derive(Debug)]
pub(super) struct Measure {
    pub cluster: Cluster,
    expires_at: Time,
    sent_packets: u32,
    sent_bytes: u32,
    last: SeqNo,
    received: Option<Received>,
}

/// What arrived of it.
#[derive(Clone, Copy, Debug)]
struct Received {
    packets: u32,
    bytes: u32,
    first_sent: i64,
    last_sent: i64,
    last_sent_bytes: u32,
    first_arrived: i64,
    first_arrived_bytes: u32,
    last_arrived: i64,
}

impl Measure {
    pub(super) fn new(now: Time, cluster: Cluster) -> Self {
        let expires_at = now + PATIENCE;
        Self { cluster, expires_at, sent_packets: 0, sent_bytes: 0, last: SeqNo(0), received: None }
    }

    /// A packet of it left.
    pub(super) fn handle_sent(&mut self, seq: SeqNo, bytes: u16) {
        self.sent_packets += 1;
        self.sent_bytes = self.sent_bytes.saturating_add(u32::from(bytes));
        self.last = seq;
    }

    /// A packet of it arrived.
    pub(super) fn handle_answered(&mut self, answered: &Answered) {
        let (sent, arrived, bytes) = (micros(answered.sent_at), answered.arrived, answered.bytes);
        let received = self.received.get_or_insert(Received {
            packets: 0,
            bytes: 0,
            first_sent: sent,
            last_sent: sent,
            last_sent_bytes: bytes,
            first_arrived: arrived,
            first_arrived_bytes: bytes,
            last_arrived: arrived,
        });
        received.packets += 1;
        received.bytes = received.bytes.saturating_add(bytes);
        received.first_sent = received.first_sent.min(sent);
        if sent >= received.last_sent {
            (received.last_sent, received.last_sent_bytes) = (sent, bytes);
        }
        if arrived < received.first_arrived {
            (received.first_arrived, received.first_arrived_bytes) = (arrived, bytes);
        }
        received.last_arrived = received.last_arrived.max(arrived);
    }

    /// Whether all of it left.
    fn is_sent(&self) -> bool {
        self.sent_packets >= u32::from(self.cluster.packets) && self.sent_bytes >= self.cluster.bytes
    }

    /// Whether all of it left, and feedback covers it up to `uncovered`, exclusive, or enough of it arrived.
    pub(super) fn is_over(&self, uncovered: SeqNo, loss: f64) -> bool {
        self.is_sent() && (self.last < uncovered || self.result(loss).is_some())
    }

    /// When it is given up.
    pub(super) fn expires_at(&self) -> Time {
        self.expires_at
    }

    /// What it found where `loss` is the rule; none where too little of it arrived, or nothing can be learned.
    pub(super) fn result(&self, loss: f64) -> Option<Found> {
        let received = self.received?;
        let enough =
            |received: u32, wanted: u32| f64::from(received) >= MIN_RECEIVED * (1.0 - loss) * f64::from(wanted);
        if !enough(received.packets, self.cluster.packets.into()) || !enough(received.bytes, self.cluster.bytes) {
            return None;
        }
        let sent_over = received.last_sent - received.first_sent;
        let arrived_over = received.last_arrived - received.first_arrived;
        if [sent_over, arrived_over].iter().any(|&interval| interval <= 0 || interval > MAX_INTERVAL) {
            return None;
        }
        // The last that was sent closes the interval of sending, the first to arrive opens that of arrival.
        let rate = |without: u32, over: i64| float((received.bytes - without).into()) * 8.0 / seconds(over);
        let sent = rate(received.last_sent_bytes, sent_over);
        let arrived = rate(received.first_arrived_bytes, arrived_over);
        if arrived > MAX_RATIO * sent {
            return None;
        }
        let is_saturated = arrived < SATURATED * sent;
        Some(Found { rate: if is_saturated { UTILISATION * arrived } else { sent.min(arrived) }, is_saturated })
    }
}
