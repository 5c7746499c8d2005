//! One subscriber's path: what it is thought to carry, and what waits for it to be free.
//!
//! ```text
//!  audio ──────────────────────────────────────────────┐ at once
//!  retransmissions ─> repairs ┐                        ├─> number ─> the wire
//!  video ──────────> video ───┴─> pacer says when ─────┘     │
//!  probes want more than waits: padding ─────────────────────┘     estimator <─ feedback
//! ```
//!
//! Only peers that answer with transport-wide feedback or REMB have one; to others everything leaves at once.

use core::time::Duration;
use std::collections::VecDeque;

use crate::bwe::{Estimator, Settings};
use crate::drop::Drop;
use crate::fill::Fill;
use crate::pacer::Pacer;
use crate::receive::rate::Rate;
use crate::stats::BandwidthStats;
use crate::steps::Steps;
use crate::time::Time;
use crate::transport::{MAX_QUEUED, Queued};
use crate::units::Bitrate;

/// Less than audio and its overhead needs is never believed.
const LEAST: Bitrate = Bitrate::from_bps(30_000);
/// More than any room sends to one peer.
const MOST: Bitrate = Bitrate::from_bps(200_000_000);
/// A peer that promised feedback and gives none for so long while packets leave is served as if it had promised nothing.
const SILENCE: Duration = Duration::from_secs(4);
/// How often shares are reckoned anew without a reason.
pub(crate) const ALLOCATE_EVERY: Duration = Duration::from_millis(200);
/// Estimates waver; their owner need not know each of them.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// What a packet has outside its RTP bytes: IPv4 and UDP. Feedback does not say which family; a tenth of a percent.
pub(crate) const OUTSIDE: usize = 28;

/// What is sent again may take this share of a path. More of it is lost by a queue that is full, and to fill that again makes
/// it last: a subscriber that lost so much needs a smaller picture, which has to come through.
const REPAIRS: u64 = 2;
/// From this share on that is lost at any rate, what is sent again is sent twice: to ask once more takes a round trip that a
/// picture stands still for, and every twentieth would have to.
const LOSSY: f64 = 0.025;
/// ... the second time so much later: losses come in bursts.
const TWICE_AFTER: Duration = Duration::from_millis(20);
/// Padding for a peer that estimates itself is no less than this, in bits per second, however low it estimates.
const FILLED: u64 = 60_000;
/// A packet that waits to be sent again is taken for so many bytes.
const FULL_PACKET: u64 = 1200;
/// What a new copy begins with must not fill the path for longer: that is about what a keyframe by itself takes.
const HEAD_START: Duration = Duration::from_millis(150);

/// What peers answer with, so that there is an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feedback {
    /// Arrival times of numbered packets (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    TransportCc,
    /// The peer's own estimate (draft-alvestrand-rmcat-remb-03), from the departure times in packets.
    Remb,
}

/// What kind of packet leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Audio, and copies without numbers: never waits.
    Past,
    /// For the first time.
    Video,
    /// Again, since it was asked for.
    Repair,
    /// In advance, against loss: what it costs is reckoned with where shares are.
    Protection,
    /// For a probe.
    Padding,
}

/// One subscriber's path.
pub(crate) struct Bandwidth {
    pub(crate) feedback: Feedback,
    pub(crate) estimator: Estimator,
    pub(crate) pacer: Pacer,
    /// Retransmissions: before video, since a frame already shown in part waits for them.
    repairs: VecDeque<Queued>,
    /// What joins them when its time has come.
    later: VecDeque<(Time, Queued)>,
    video: VecDeque<Queued>,
    /// What goes past the pacer: audio.
    past: Rate,
    /// What is sent again or in advance.
    repaired: Rate,
    /// When shares are reckoned next.
    pub(crate) allocate_at: Time,
    /// What the shares were reckoned with, and what was given away, in bits per second.
    pub(crate) budget: u64,
    pub(crate) spent: u64,
    /// What all wishes would cost, and whether padding makes an estimate grow to that.
    pub(crate) wanted: u64,
    fill: Fill,
    /// Steps up that did not last.
    pub(crate) steps: Steps,
    /// The first numbered packet that nobody has answered.
    unanswered_since: Option<Time>,
    has_feedback: bool,
    /// The estimate that the owner knows, and since when.
    told: (Bitrate, Option<Time>),
    /// Whose packets may be repeated as padding.
    pub(crate) padding: Option<u32>,
    /// Whose repair packets leave next.
    pub(crate) repairing: Option<u32>,
}

impl Bandwidth {
    pub(crate) fn new(now: Time, feedback: Feedback, start: Bitrate) -> Self {
        Self {
            feedback,
            estimator: Estimator::new(now, Settings { start, min: LEAST, max: MOST }),
            pacer: Pacer::new(start),
            repairs: VecDeque::new(),
            later: VecDeque::new(),
            video: VecDeque::new(),
            past: Rate::default(),
            repaired: Rate::default(),
            allocate_at: now,
            budget: start.as_bps(),
            spent: 0,
            wanted: 0,
            fill: Fill::default(),
            steps: Steps::default(),
            unanswered_since: None,
            has_feedback: false,
            told: (Bitrate::ZERO, None),
            padding: None,
            repairing: None,
        }
    }

    /// Queues one packet of video, or one to be sent again.
    pub(crate) fn enqueue(&mut self, queued: Queued) -> Result<(), Drop> {
        let queue = if queued.rtx.is_some() { &mut self.repairs } else { &mut self.video };
        if queue.len() >= MAX_QUEUED {
            return Err(Drop::QueueFull);
        }
        queue.push_back(queued);
        Ok(())
    }

    /// Whether there is room for one more packet to be sent again.
    pub(crate) fn can_repair(&self, now: Time) -> bool {
        let waiting = (self.repairs.len() + self.later.len()) as u64 * FULL_PACKET;
        let is_within =
            (self.repaired.per_second(now) + waiting) * 8 <= self.estimator.estimate().target.as_bps() / REPAIRS;
        self.is_deaf(now) || self.repairs.is_empty() || is_within
    }

    /// Whether so many bytes of video behind what waits would be on their way within [`HEAD_START`].
    pub(crate) fn can_take(&mut self, now: Time, bytes: usize) -> bool {
        let waiting = self.video.len() as u64 * FULL_PACKET + bytes as u64;
        u128::from(waiting * 8) <= u128::from(self.video_budget(now)) * HEAD_START.as_millis() / 1000
    }

    /// Whether the path loses so much of everything that one more copy of a packet is worth its bytes.
    pub(crate) fn repairs_twice(&self) -> bool {
        self.estimator.estimate().inherent_loss >= LOSSY
    }

    /// Queues a second copy; where too many wait, the first has to do.
    pub(crate) fn repair_later(&mut self, now: Time, queued: Queued) {
        if self.later.len() < MAX_QUEUED {
            self.later.push_back((now + TWICE_AFTER, queued));
        }
    }

    /// Moves what was to wait for a while to what may leave.
    pub(crate) fn ripen(&mut self, now: Time) {
        while let Some(&(_, queued)) = self.later.front().filter(|(at, _)| at.is_due(now)) {
            self.later.pop_front();
            self.repairs.push_back(queued);
        }
    }

    /// The packet that leaves next, whether or not it may leave now.
    pub(crate) fn front(&self) -> Option<&Queued> {
        self.repairs.front().or_else(|| self.video.front())
    }

    /// Takes out what [`front`](Self::front) showed.
    pub(crate) fn pop(&mut self) {
        if self.repairs.pop_front().is_none() {
            self.video.pop_front();
        }
    }

    /// Drops what waits of one copy: it is paused, or goes on with another layer.
    pub(crate) fn forget(&mut self, sender: u32) {
        self.repairs.retain(|queued| queued.sender != sender);
        self.later.retain(|(_, queued)| queued.sender != sender);
        self.video.retain(|queued| queued.sender != sender);
    }

    /// A packet that goes past the pacer left.
    pub(crate) fn handle_past(&mut self, now: Time, size: usize) {
        self.past.add(now, u32::try_from(size).unwrap_or(u32::MAX));
        self.estimator.handle_unnumbered(now, size);
    }

    /// The number for a paced packet of `size` bytes that leaves now.
    pub(crate) fn handle_sent(&mut self, now: Time, size: usize, class: Class) -> u16 {
        if class == Class::Repair {
            self.repaired.add(now, u32::try_from(size).unwrap_or(u32::MAX));
        }
        self.unanswered_since.get_or_insert(now);
        let cluster = self.pacer.cluster();
        self.pacer.handle_sent(now, size);
        self.estimator.handle_sent(now, size, cluster)
    }

    /// The peer answered.
    pub(crate) fn handle_answer(&mut self, now: Time) {
        self.has_feedback = true;
        self.pace_anew(now);
    }

    /// The estimate may be another one.
    pub(crate) fn pace_anew(&mut self, now: Time) {
        let estimate = self.estimator.estimate();
        // What goes past the pacer takes its part of the path all the same.
        let target = estimate.target.as_bps();
        let mut paced = target.saturating_sub(self.past(now)).max(target / 4);
        let is_remb = self.feedback == Feedback::Remb;
        if is_remb {
            self.fill.handle_estimate(now, target, self.wanted);
            // Audio has no departure times, so that it is no part of the estimate; and that must grow from nothing too.
            paced = target.max(FILLED);
        }
        self.pacer.set_estimate(Bitrate::from_bps(paced), estimate.is_tight || is_remb);
    }

    /// The estimate, where it is worth telling: a tenth away from what was told last, and not within a second of it.
    pub(crate) fn poll_changed(&mut self, now: Time) -> Option<Bitrate> {
        let target = self.estimator.estimate().target;
        let (told, told_at) = self.told;
        let is_far = told.as_bps().abs_diff(target.as_bps()) >= told.as_bps() / 10;
        if !is_far || told_at.is_some_and(|at| !(at + TELL_EVERY).is_due(now)) {
            return None;
        }
        self.told = (target, Some(now));
        Some(target)
    }

    /// Whether the peer never answers, so that nothing is known.
    pub(crate) fn is_deaf(&self, now: Time) -> bool {
        !self.has_feedback && self.unanswered_since.is_some_and(|since| (since + SILENCE).is_due(now))
    }

    /// What video may cost now, repairs taken off; no end where the peer never answers.
    pub(crate) fn video_budget(&mut self, now: Time) -> u64 {
        if self.is_deaf(now) {
            return u64::MAX;
        }
        let target = self.estimator.estimate().target.as_bps();
        // Half of the repairs: they come and go, and what is left out for them is given to nobody.
        let (past, repaired) = (self.past.per_second(now) * 8, self.repaired.per_second(now) * 8 / 2);
        target.saturating_sub(past).saturating_sub(repaired.min(target / 4))
    }

    /// Bits per second that go past the pacer.
    pub(crate) fn past(&self, now: Time) -> u64 {
        self.past.per_second(now) * 8
    }

    /// As numbers for whoever asks.
    pub(crate) fn stats(&self) -> BandwidthStats {
        let estimate = self.estimator.estimate();
        BandwidthStats {
            estimate: estimate.target,
            cause: estimate.cause.label(),
            video_budget: (self.budget < u64::MAX).then_some(Bitrate::from_bps(self.budget)),
            granted: Bitrate::from_bps(self.spent),
            queued: u32::try_from(self.repairs.len() + self.video.len()).unwrap_or(u32::MAX),
        }
    }

    /// Whose packets may leave as padding now, if padding is of use.
    pub(crate) fn padded(&mut self, now: Time) -> Option<u32> {
        self.padding.filter(|_| self.pacer.is_probing(now) || self.fill.is_on())
    }

    /// When the next packet that waits, or the next of a probe, may leave.
    pub(crate) fn pace_at(&mut self, now: Time) -> Time {
        let can_pad = self.padded(now).is_some();
        let ripe_at = self.later.front().map_or(Time::NEVER, |(at, _)| *at);
        let open_at = if can_pad || self.front().is_some() { self.pacer.open_at() } else { Time::NEVER };
        open_at.min(ripe_at)
    }

    /// When there is something to reckon. When something may leave is another matter: whoever writes packets asks
    /// [`pace_at`](Self::pace_at) for that.
    pub(crate) fn deadline(&self) -> Time {
        self.estimator.poll_timeout().min(self.allocate_at)
    }
}
