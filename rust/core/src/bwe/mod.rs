//! How much a subscriber's path carries, from what its packets report: Google congestion control at the sender.
//!
//! ```text
//!  handle_sent ─> sent ──────────────────────────────────────────────────┐
//!                  │ number -> time, size, probe                         v
//!  feedback ─> clock ─┬─> acknowledged ──> what arrives ─┐             limited (uses what it may?)
//!              (lies  ├─> inter_arrival ─> trendline ────┼─> aimd ──┐  │
//!               out)  │     groups    waiting  over-use  │    ^     │  │
//!                     ├─> cluster ──────> probe ─────────┘    │     ├──┴─> min ─> target, and why
//!                     │     result         when, how far      │     │
//!                     ├─> collapse ──> nearly all is lost ────┤     │
//!                     ├─> stall ─────> nearly all waits ──────┤     │
//!                     └─> loss ──────> what loss allows ──────│─────┤
//!  REMB, receiver reports ─> report ──────────────────────────│─────┘
//!  no feedback ─> silence ────────────────────────────────────┘
//! ```
//!
//! After draft-ietf-rmcat-gcc-02, Carlucci et al. 2016 ("Analysis and design of the Google congestion control for web
//! real-time communication") and what libwebrtc made of them since; `docs/why/bandwidth-estimation.md` says where this
//! differs. Feedback is draft-holmer-rmcat-transport-wide-cc-extensions-01.
//!
//! Nothing here sends: the pacer asks for probes and makes their padding. One [`Estimator`] per transport.

mod acknowledged;
mod aimd;
mod bursts;
mod clock;
mod cluster;
mod collapse;
mod delay;
mod estimate;
mod inter_arrival;
mod limited;
mod loss;
mod number;
mod probe;
mod report;
mod sent;
mod silence;
mod stall;
mod trendline;
mod waiting;

use core::time::Duration;

pub use cluster::{Cluster, ClusterId};
pub use estimate::{Cause, Estimate, Lie, Settings, Stats};
pub use trendline::Usage;

use self::acknowledged::Acknowledged;
use self::aimd::{Aimd, Change, Throughput};
use self::bursts::Bursts;
use self::clock::{Clock, Reading};
use self::cluster::Found;
use self::collapse::Collapse;
use self::delay::Delay;
use self::limited::Limited;
use self::loss::Loss;
use self::number::{bitrate, bps};
use self::probe::{Prober, Situation};
use self::report::Reports;
use self::sent::{Answer, Sent};
use self::silence::Silence;
use self::stall::Stall;
use crate::rtcp::transport_cc::Feedback;
use crate::time::Time;
use crate::units::{Bitrate, SeqNo};

/// What is left of the rate that arrives through a link that collapsed.
const AFTER_COLLAPSE: f64 = 0.85;
/// What is left of the estimate each time that feedback stays away.
const AFTER_SILENCE: f64 = 0.7;
/// A probe that failed lowers the target to no less than this share of what arrives: rates of video waver by so much.
const ABOVE_FLOW: f64 = 1.1;
/// Below this share of the target before, the target dropped: probes are tried anew.
const DROP: f64 = 0.9;
/// What was known of the queue is no longer true after so long without news.
const STALE_AFTER: Duration = Duration::from_millis(500);
/// The round trip until one is known.
const FIRST_RTT: Duration = Duration::from_millis(200);

/// A packet with its arrival.
#[derive(Clone, Copy, Debug)]
struct Answered {
    sent_at: Time,
    /// On the receiver's clock.
    arrived: clock::Arrived,
    bytes: u32,
    cluster: Option<ClusterId>,
}

/// See the module. After every call, [`Estimator::poll_timeout`] and [`Estimator::poll_probe`] may say something new.
#[derive(Debug)]
pub struct Estimator {
    settings: Settings,
    sent: Sent,
    clock: Clock,
    acknowledged: Acknowledged,
    delay: Delay,
    aimd: Aimd,
    loss: Loss,
    collapse: Collapse,
    bursts: Bursts,
    stall: Stall,
    reports: Reports,
    silence: Silence,
    limited: Limited,
    prober: Prober,
    rtt: Option<Duration>,
    /// In bit/s.
    target: f64,
    cause: Cause,
    /// What last moved the rate of `aimd`.
    moved_by: Cause,
    /// See [`Estimate::is_tight`].
    is_tight: bool,
    stats: Stats,
    /// The arrivals of the feedback in hand, kept for its memory.
    answered: Vec<Answered>,
}

impl Estimator {
    /// Knows nothing yet: the target is `settings.start`.
    pub fn new(now: Time, settings: Settings) -> Self {
        Self::starting_at(now, settings, SeqNo::first(1))
    }

    /// With the number of the first packet.
    fn starting_at(now: Time, settings: Settings, first: SeqNo) -> Self {
        let min = Bitrate::from_bps(settings.min.as_bps().max(1));
        let settings = Settings { min, max: settings.max.max(min), ..settings };
        let start = bps(settings.start).clamp(bps(settings.min), bps(settings.max));
        Self {
            settings,
            sent: Sent::new(first),
            clock: Clock::default(),
            acknowledged: Acknowledged::default(),
            delay: Delay::new(now),
            aimd: Aimd::new(now, start),
            loss: Loss::new(),
            collapse: Collapse::default(),
            bursts: Bursts::default(),
            stall: Stall::default(),
            reports: Reports::default(),
            silence: Silence::default(),
            limited: Limited::new(now, start),
            prober: Prober::new(now),
            rtt: None,
            target: start,
            cause: Cause::Start,
            moved_by: Cause::Start,
            is_tight: false,
            stats: Stats::default(),
            answered: Vec::new(),
        }
    }

    /// The transport-wide number for a packet that leaves now.
    ///
    /// `size` is in bytes on the wire, with IP and UDP. `probe` names the cluster that the packet leaves in, padding or media.
    pub fn handle_sent(&mut self, now: Time, size: usize, probe: Option<ClusterId>) -> u16 {
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        let seq = self.sent.push(now, size, probe);
        self.silence.handle_sent(now);
        self.limited.handle_sent(now, size);
        if let Some(id) = probe {
            self.prober.handle_sent(id, seq, size);
        }
        seq.low()
    }

    /// `size` bytes that left without a number (audio, RTCP): acknowledged together with the next numbered packet.
    pub fn handle_unnumbered(&mut self, now: Time, size: usize) {
        let size = u16::try_from(size).unwrap_or(u16::MAX);
        self.sent.add_unnumbered(size);
        self.limited.handle_sent(now, size);
    }

    /// Takes what the receiver says of the packets sent; [`Lie`] where that cannot be true, and then nothing changed.
    ///
    /// Costs what the feedback has in bytes, and a step for every packet that it is the first to cover.
    pub fn handle_feedback(&mut self, now: Time, feedback: &Feedback<'_>) -> Result<(), Lie> {
        let base = self.sent.extend(feedback.base);
        let end = base.plus(feedback.count.into());
        if end > self.sent.next() {
            self.stats.lies += 1;
            return Err(Lie::NeverSent);
        }
        match self.clock.read(now, feedback) {
            Reading::Credible => {}
            Reading::Restarted => {
                self.delay.reset(now);
                self.acknowledged.reset();
            }
            Reading::Impossible => {
                self.stats.lies += 1;
                return Err(Lie::ImpossibleTime);
            }
        }
        self.stats.feedbacks += 1;
        let covered_before = self.sent.uncovered();
        self.gather(now, feedback, base);
        let (loss, collapse, lost) = (&mut self.loss, &mut self.collapse, &mut self.stats.lost);
        let bursts = &mut self.bursts;
        self.sent.cover(base, end, |packet, is_lost| {
            *lost += u64::from(is_lost);
            bursts.add(is_lost);
            // A probe may overrun a queue; that says nothing of what flows without it.
            if packet.cluster.is_none() {
                loss.add(packet.sent_at, packet.bytes(), is_lost);
                collapse.add(packet.sent_at, packet.bytes(), is_lost);
            }
        });
        if self.answered.is_empty() && self.sent.uncovered() == covered_before {
            self.stats.stale_feedbacks += 1;
            return Ok(());
        }
        self.silence.handle_feedback(now, self.sent.awaited() > 0);
        self.estimate_anew(now);
        Ok(())
    }

    /// The receiver's own estimate (draft-alvestrand-rmcat-remb-03), which bounds the target, and makes it where there is no
    /// other feedback. Nothing and more than 10 Gbit/s are counted as lies.
    pub fn handle_remb(&mut self, now: Time, bitrate: Bitrate) {
        if !self.reports.handle_remb(now, bps(bitrate)) {
            self.stats.lies += 1;
            return;
        }
        self.retarget(now);
    }

    /// The round trip from RTCP reports, used where feedback gives none.
    pub fn handle_round_trip(&mut self, rtt: Duration) {
        if !self.has_feedback() {
            self.note_round_trip(rtt);
        }
    }

    /// The share lost of `packets`, in 256ths, from a receiver report, used where there is no other feedback.
    pub fn handle_loss(&mut self, now: Time, fraction_lost: u8, packets: u64) {
        if self.has_feedback() {
            return;
        }
        self.reports.handle_loss(now, f64::from(fraction_lost) / 256.0, number::float(packets), self.target);
        self.retarget(now);
    }

    /// The most that could be used now, with every wish at its full: nothing is probed beyond it.
    pub fn set_wanted(&mut self, now: Time, wanted: Bitrate) {
        self.prober.set_wanted(now, bps(wanted));
        self.prober.handle_timeout(now, self.situation());
    }

    /// Does what is due: backs off where feedback stays away, gives up probes, plans new ones.
    pub fn handle_timeout(&mut self, now: Time) {
        if self.silence.is_due(now, self.sent.awaited()) {
            self.aimd.lower(now, self.aimd.rate() * AFTER_SILENCE);
            self.moved_by = Cause::Silence;
            self.is_tight = true;
            self.stats.reductions += 1;
            self.retarget(now);
        }
        self.prober.handle_timeout(now, self.situation());
    }

    /// When [`Self::handle_timeout`] has something to do; [`Time::NEVER`] while nothing is waited for.
    pub fn poll_timeout(&self) -> Time {
        self.silence.poll_timeout().min(self.prober.poll_timeout(self.situation()))
    }

    /// The next probe to send, if one is due. Ask after every input; one that is not sent is given up after 2 s.
    pub fn poll_probe(&mut self, now: Time) -> Option<Cluster> {
        self.prober.poll(now, self.situation())
    }

    /// What is believed now.
    pub fn estimate(&self) -> Estimate {
        Estimate {
            target: bitrate(self.target),
            cause: self.cause,
            acknowledged: self.acknowledged.steady().map(bitrate),
            loss: if self.has_feedback() { self.loss.average() } else { self.reports.average() },
            mean_burst: self.bursts.mean(),
            inherent_loss: self.loss.inherent().min(self.loss.average()),
            rtt: self.rtt,
            usage: self.delay.usage(),
            trend: self.delay.trend(),
            queue: self.delay.waited(),
            is_limited: self.limited.is_limited(),
            is_tight: self.is_tight,
        }
    }

    /// Totals since the start.
    pub fn stats(&self) -> Stats {
        let (probes, probes_succeeded) = (self.prober.sent, self.prober.succeeded);
        Stats { unanswered: self.sent.unanswered, probes, probes_succeeded, ..self.stats }
    }

    /// Finds the packets that arrived, by time of arrival, and hands them to those that count.
    fn gather(&mut self, now: Time, feedback: &Feedback<'_>, base: SeqNo) {
        self.answered.clear();
        let mut newest: Option<Time> = None;
        for arrival in feedback.arrivals() {
            let seq = base.plus(arrival.sequence_number.wrapping_sub(feedback.base).into());
            let Some((packet, answer)) = self.sent.receive(seq) else { continue };
            if answer == Answer::AfterAll && packet.cluster.is_none() {
                self.loss.take_back();
            }
            newest = newest.max(Some(packet.sent_at));
            let (sent_at, arrived) = (packet.sent_at, self.clock.unwrap(arrival.at));
            self.answered.push(Answered { sent_at, arrived, bytes: packet.bytes(), cluster: packet.cluster });
        }
        self.answered.sort_by_key(|answered| answered.arrived);
        self.stats.received += self.answered.len() as u64;
        for answered in &self.answered {
            self.acknowledged.add(answered);
            self.delay.add(now, answered);
            if let Some(id) = answered.cluster {
                self.prober.handle_answered(id, answered);
            }
        }
        self.delay.conclude(now);
        if let Some(newest) = newest {
            self.note_round_trip(now.since(newest));
            self.stall.add(now, now.since(newest));
        }
    }

    fn estimate_anew(&mut self, now: Time) {
        let before = self.target;
        let recent = self.acknowledged.recent(self.delay.queued_since());
        let throughput = Throughput { steady: self.acknowledged.steady(), recent };
        let is_limited = self.limited.is_limited();
        // Without news of the queue, as where only probes flow, the old news are not acted on again.
        let usage = self.delay.news(now);
        let rtt = self.rtt.unwrap_or(FIRST_RTT);
        let change = usage.map_or(Change::None, |usage| self.aimd.update(now, usage, throughput, rtt, is_limited));
        if change != Change::None {
            self.moved_by = Cause::Delay;
        }
        if let Some(found) = self.prober.conclude(now, self.sent.uncovered(), self.situation(), self.loss.average())
            && usage != Some(Usage::Over)
        {
            self.take_probe(now, found, throughput.steady);
        }
        self.loss.update(now, self.aimd.rate(), throughput.steady);
        let flows = throughput.recent.zip(throughput.steady);
        let stalled_to =
            flows.filter(|&(recent, steady)| self.stall.is_stalled(recent, steady)).map(|(recent, _)| recent);
        let collapsed_to = self.collapse.poll(now).or(stalled_to);
        if let Some(flows) = collapsed_to {
            self.aimd.lower(now, flows * AFTER_COLLAPSE);
            self.loss.lower(flows * AFTER_COLLAPSE);
            self.moved_by = Cause::Loss;
        }
        let is_reduced = change == Change::Reduced || collapsed_to.is_some();
        self.stats.reductions += u64::from(is_reduced);
        self.is_tight |= is_reduced;
        self.retarget(now);
        if change == Change::Reduced && self.target < before * DROP || collapsed_to.is_some() {
            self.prober.handle_drop(now);
        }
        self.prober.handle_timeout(now, self.situation());
    }

    /// Acts on what a probe found.
    fn take_probe(&mut self, now: Time, found: Found, flows: Option<f64>) {
        self.is_tight = found.is_saturated;
        if found.rate > self.target {
            self.aimd.raise(found.rate);
            self.loss.raise(found.rate);
            self.moved_by = Cause::Probe;
        } else if found.is_saturated {
            // The headroom above what flows was a guess, and a wrong one. What flows is left alone.
            let floor = flows.map_or(0.0, |flows| flows * ABOVE_FLOW);
            self.aimd.lower(now, found.rate.max(floor));
        }
    }

    /// The lowest of what everything allows.
    fn retarget(&mut self, now: Time) {
        let (min, max) = (bps(self.settings.min), bps(self.settings.max));
        self.aimd.clamp(min, max);
        let candidates = if self.has_feedback() {
            [
                (Some(self.aimd.rate()), self.moved_by),
                (Some(self.loss.rate()), Cause::Loss),
                (self.reports.fresh(now), Cause::Remb),
            ]
        } else {
            let base = self.reports.latest().map_or((self.aimd.rate(), Cause::Start), |remb| (remb, Cause::Remb));
            [(Some(base.0), base.1), (self.reports.bound(), Cause::Loss), (None, Cause::Start)]
        };
        let mut lowest = (f64::INFINITY, Cause::Start);
        for (rate, cause) in candidates {
            if let Some(rate) = rate.filter(|&rate| rate < lowest.0) {
                lowest = (rate, cause);
            }
        }
        self.cause = if lowest.0 >= max { Cause::Maximum } else { lowest.1 };
        self.target = lowest.0.clamp(min, max);
        self.limited.set_target(self.target);
    }

    fn situation(&self) -> Situation {
        Situation {
            target: self.target,
            max: bps(self.settings.max),
            calm_at: if self.delay.usage() == Usage::Normal { Time::ZERO } else { self.delay.moved_at() + STALE_AFTER },
            is_loss_limited: self.cause == Cause::Loss && self.loss.is_known(),
        }
    }

    fn note_round_trip(&mut self, rtt: Duration) {
        self.rtt = Some(self.rtt.map_or(rtt, |smoothed| (smoothed * 7 + rtt) / 8));
    }

    /// Whether the receiver reports each packet.
    fn has_feedback(&self) -> bool {
        self.stats.feedbacks > 0
    }
}

#[cfg(test)]
mod tests;
