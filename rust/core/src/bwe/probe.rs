//! When to probe, and how far.
//!
//! ```text
//!  more is wanted than the estimate ─> 3 and 6 times the estimate ─> got through: twice that, until it is enough
//!            │ later                          first time               │ not: wait 1 s, 2 s, 3 s, 3 s, ...
//!            └──────────────────────> 3 times the estimate, after a failure 2 times; where loss limits it 1.5 times
//! ```
//!
//! An SFU sends layers: between two of them nothing flows that would tell of room, so that probes are the way up, and the
//! longest wait is what a subscriber waits for its picture after a squeeze.

use core::num::NonZeroU16;
use core::time::Duration;
use std::collections::VecDeque;

use super::Answered;
use super::cluster::{Cluster, ClusterId, Found, Measure};
use super::number::{bitrate, bps, span_of};
use crate::time::Time;
use crate::units::SeqNo;

/// The first probes, in estimates.
const FIRST: [f64; 2] = [3.0, 6.0];
const AGAIN: f64 = 3.0;
/// After a probe that failed: the link is probably as small as it seems, and the next one should cost less.
const AFTER_FAILURE: f64 = 2.0;
const FURTHER: f64 = 2.0;
const LIMITED_BY_LOSS: f64 = 1.5;
/// The share of a probe's rate that must get through for the next one to make sense.
const FURTHER_SHARE: f64 = 0.7;
/// A probe raised the estimate if it did by this factor.
const RAISED: f64 = 1.05;
/// How far above what is wanted a probe goes: its result is a little below its rate.
const MARGIN: f64 = 1.2;
/// How long a probe is sent. It puts (rate / link - 1) times that into the queue: 30 ms for three times the link.
const DURATION: f64 = 0.015;
/// Packets of a probe: fewer measure the timer.
const PACKETS: u8 = 5;
/// Bytes of a packet that carries nothing: IP, UDP, RTP, extension, tag and a word of padding.
const MIN_PACKET: f64 = 80.0;
/// From the end of one round of probes to the next, doubled by every round that fails.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// libwebrtc probes every 5 s: a subscriber would see the small picture for so long.
const MAX_INTERVAL: Duration = Duration::from_secs(2);

/// What the estimator knows when a probe is to be decided.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// In bit/s.
    pub target: f64,
    /// The most that it may become.
    pub max: f64,
    /// From when on the queue neither grows nor drains, as far as is known: before, a probe would measure what waits.
    pub calm_at: Time,
    pub is_loss_limited: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Prober {
    wanted: f64,
    /// Factors of the estimate that are due.
    planned: VecDeque<f64>,
    active: Vec<Measure>,
    is_first: bool,
    /// Probes are planned or under way.
    is_round: bool,
    /// The last round failed.
    has_failed: bool,
    /// A probe of this round got through, and the link may have more.
    has_passed: bool,
    interval: Duration,
    /// The earliest next round.
    next_at: Time,
    last_id: u16,
    pub sent: u64,
    pub succeeded: u64,
}

impl Prober {
    pub(super) fn new(now: Time) -> Self {
        Self {
            wanted: 0.0,
            planned: VecDeque::with_capacity(FIRST.len()),
            active: Vec::with_capacity(FIRST.len()),
            is_first: true,
            is_round: false,
            has_failed: false,
            has_passed: false,
            interval: MIN_INTERVAL,
            next_at: now,
            last_id: 0,
            sent: 0,
            succeeded: 0,
        }
    }

    /// What could be used if it were there.
    pub(super) fn set_wanted(&mut self, now: Time, wanted: f64) {
        if wanted > self.wanted * RAISED {
            // Somebody wants something new, and should not wait for what failed before.
            self.interval = MIN_INTERVAL;
            self.next_at = self.next_at.min(now + MIN_INTERVAL);
        }
        self.wanted = wanted;
    }

    /// The estimate fell: what was tried before is past.
    pub(super) fn handle_drop(&mut self, now: Time) {
        self.planned.clear();
        self.end_round(now);
        self.interval = MIN_INTERVAL;
        self.next_at = now + MIN_INTERVAL;
    }

    /// A packet of a probe left.
    pub(super) fn handle_sent(&mut self, id: ClusterId, seq: SeqNo, bytes: u16) {
        if let Some(measure) = self.find(id) {
            measure.handle_sent(seq, bytes);
        }
    }

    /// A packet of a probe arrived.
    pub(super) fn handle_answered(&mut self, id: ClusterId, answered: &Answered) {
        if let Some(measure) = self.find(id) {
            measure.handle_answered(answered);
        }
    }

    /// Ends the probes that feedback covers up to `uncovered`; returns the best of what they found.
    pub(super) fn conclude(&mut self, now: Time, uncovered: SeqNo, situation: Situation, loss: f64) -> Option<Found> {
        let mut best: Option<Found> = None;
        while let Some(index) = self.active.iter().position(|measure| measure.is_over(uncovered, loss)) {
            let measure = self.active.swap_remove(index);
            let Some(found) = measure.result(loss) else { continue };
            let is_raise = found.rate > situation.target * RAISED;
            self.succeeded += u64::from(is_raise);
            self.has_passed |= is_raise && !found.is_saturated;
            let is_further = is_raise && found.rate >= FURTHER_SHARE * bps(measure.cluster.rate);
            if is_further && self.is_idle() && found.rate < self.wanted {
                self.planned.push_back(FURTHER);
            }
            if best.is_none_or(|best| found.rate > best.rate) {
                best = Some(found);
            }
        }
        self.end_round(now);
        best
    }

    /// Gives up probes that are not answered, and plans the next round when it is due.
    pub(super) fn handle_timeout(&mut self, now: Time, situation: Situation) {
        let before = self.active.len();
        self.active.retain(|measure| !measure.expires_at().is_due(now));
        if self.active.len() < before {
            self.end_round(now);
        }
        let is_due = self.next_at.max(situation.calm_at).is_due(now);
        if !self.is_idle() || !is_due || !self.wants_more(situation) {
            return;
        }
        (self.is_round, self.has_passed) = (true, false);
        match (self.is_first, situation.is_loss_limited) {
            (_, true) => self.planned.push_back(LIMITED_BY_LOSS),
            (true, false) => self.planned.extend(FIRST),
            (false, false) => self.planned.push_back(if self.has_failed { AFTER_FAILURE } else { AGAIN }),
        }
    }

    /// The next probe to send.
    pub(super) fn poll(&mut self, now: Time, situation: Situation) -> Option<Cluster> {
        if !situation.calm_at.is_due(now) {
            return None;
        }
        if !self.wants_more(situation) && !self.planned.is_empty() {
            self.planned.clear(); // it is enough already
            self.end_round(now);
        }
        let factor = self.planned.pop_front()?;
        let most = (self.wanted * MARGIN).min(situation.max * MARGIN);
        let rate = (situation.target * factor).min(most);
        if rate >= most {
            self.planned.clear();
        }
        self.is_first = false;
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        let bytes = (rate * DURATION / 8.0).max(MIN_PACKET * f64::from(PACKETS));
        let cluster = Cluster {
            id: ClusterId(NonZeroU16::new(self.last_id)?),
            rate: bitrate(rate),
            bytes: u32::try_from(bitrate(bytes).as_bps()).unwrap_or(u32::MAX),
            packets: PACKETS,
            duration: span_of(bytes, rate),
        };
        self.active.push(Measure::new(now, cluster));
        self.sent += 1;
        Some(cluster)
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub(super) fn poll_timeout(&self, situation: Situation) -> Time {
        let expires_at = self.active.iter().map(Measure::expires_at).min().unwrap_or(Time::NEVER);
        let may_plan = self.is_idle() && self.wants_more(situation);
        if may_plan { expires_at.min(self.next_at.max(situation.calm_at)) } else { expires_at }
    }

    fn wants_more(&self, situation: Situation) -> bool {
        situation.target < self.wanted.min(situation.max)
    }

    fn is_idle(&self) -> bool {
        self.planned.is_empty() && self.active.is_empty()
    }

    /// After the last probe of a round, says when the next one may begin.
    fn end_round(&mut self, now: Time) {
        if !self.is_round || !self.is_idle() {
            return;
        }
        self.is_round = false;
        self.has_failed = !self.has_passed;
        self.next_at = now + self.interval;
        self.interval = if self.has_passed { MIN_INTERVAL } else { (self.interval * 2).min(MAX_INTERVAL) };
    }

    fn find(&mut self, id: ClusterId) -> Option<&mut Measure> {
        self.active.iter_mut().find(|measure| measure.cluster.id == id)
    }
}
