//! Packets to groups, groups to delay variation (draft-ietf-rmcat-gcc-02 §5.2, §5.3).
//!
//! ```text
//! sent     |1 2 3 |    |4 5 |        packets sent within 5 ms are one group: a frame, a burst of the pacer;
//! arrived     |1 2 3 |   | 4 5|      so are those that a link let go at once
//! variation: (5 − 3 arrived) − (5 − 3 sent)
//! ```

use super::Answered;
use super::number::micros;

/// Packets sent within this of the first of a group belong to it, in microseconds.
const GROUP: i64 = 5_000;
/// Packets that arrive within this of one another without having waited more are one burst of the link, ...
const BURST_GAP: i64 = 5_000;
/// ... as long as the burst is no longer than this.
const MAX_BURST: i64 = 100_000;
/// A variation beyond this is no queue: somebody slept, or a clock jumped.
const MAX_VARIATION: i64 = 3_000_000;

/// From one group to the next, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Delta {
    pub sent: i64,
    pub arrived: i64,
    /// When the later group was complete, on the receiver's clock.
    pub at: i64,
    /// One of the groups belongs to a probe, whose queue is our own making.
    pub is_probe: bool,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: i64,
    sent: i64,
    first_arrived: i64,
    arrived: i64,
    is_probe: bool,
}

impl Group {
    fn takes(&self, sent: i64, arrived: i64) -> bool {
        let waited = (arrived - self.arrived) - (sent - self.sent);
        let is_burst = waited < 0 && arrived - self.arrived <= BURST_GAP && arrived - self.first_arrived < MAX_BURST;
        sent - self.first_sent <= GROUP || is_burst
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct InterArrival {
    current: Option<Group>,
    previous: Option<Group>,
}

/// What a packet added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It belongs to the group that grows.
    None,
    /// It opened a group, and so completed a pair.
    Delta(Delta),
    /// Times jumped: what was gathered before means nothing now.
    Reset,
}

impl InterArrival {
    /// Takes the next packet by time of arrival.
    pub(super) fn add(&mut self, answered: &Answered) -> Step {
        let (sent, arrived) = (micros(answered.sent_at), answered.arrived);
        let is_probe = answered.cluster.is_some();
        let opened = Group { first_sent: sent, sent, first_arrived: arrived, arrived, is_probe };
        let Some(current) = &mut self.current else {
            self.current = Some(opened);
            return Step::None;
        };
        if sent < current.first_sent {
            return Step::None; // reordered
        }
        if current.takes(sent, arrived) {
            current.sent = current.sent.max(sent);
            current.arrived = current.arrived.max(arrived);
            current.is_probe |= is_probe;
            return Step::None;
        }
        let complete = *current;
        let previous = self.previous.replace(complete);
        self.current = Some(opened);
        let Some(previous) = previous else { return Step::None };
        let delta = Delta {
            sent: complete.sent - previous.sent,
            arrived: complete.arrived - previous.arrived,
            at: complete.arrived,
            is_probe: complete.is_probe || previous.is_probe,
        };
        if (delta.arrived - delta.sent).abs() > MAX_VARIATION {
            *self = Self::default();
            return Step::Reset;
        }
        Step::Delta(delta)
    }
}
