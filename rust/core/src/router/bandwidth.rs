//! What subscribers say of their paths, and what each of their copies gets for it.

use core::cmp::Ordering;
use core::time::Duration;

use super::redundancy::Path;
use super::{Copy, Router, Share, narrow, playout};
use crate::allocate::{self, Ladder, Rung, Wish};
use crate::bandwidth::{ALLOCATE_EVERY, Bandwidth};
use crate::drop::Drop;
use crate::event::Event;
use crate::id::SenderId;
use crate::parameters::Kind;
use crate::rtcp;
use crate::send::Layer;
use crate::time::Time;
use crate::units::Bitrate;

/// A copy whose layer was just lowered is not raised again for so long: a step up costs a keyframe and perhaps another step down.
const HOLD: Duration = Duration::from_secs(1);
/// Where steps up do not last, a paused one waits for no longer than this: better small for a while than nothing.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);
/// A path that is sent more than this much of what it carries is flooded: its queue is full before a keyframe has come.
const FLOOD: (u64, u64) = (3, 2);

impl Router {
    /// Arrival times of what we sent.
    pub(super) fn handle_transport_cc(
        &mut self,
        now: Time,
        index: usize,
        feedback: &rtcp::transport_cc::Feedback<'_>,
    ) -> Result<(), Drop> {
        let transport = self.transports.get_mut(index).ok_or(Drop::UnknownAddress)?;
        let bandwidth = transport.bandwidth.as_mut().ok_or(Drop::BadFeedback)?;
        bandwidth.estimator.handle_feedback(now, feedback).map_err(|_| Drop::BadFeedback)?;
        self.handle_answer(now, index);
        Ok(())
    }

    /// The peer's own estimate.
    pub(super) fn handle_remb(&mut self, now: Time, index: usize, bitrate: Bitrate) -> Result<(), Drop> {
        let transport = self.transports.get_mut(index).ok_or(Drop::UnknownAddress)?;
        let bandwidth = transport.bandwidth.as_mut().ok_or(Drop::BadFeedback)?;
        bandwidth.estimator.handle_remb(now, bitrate);
        self.handle_answer(now, index);
        Ok(())
    }

    fn handle_answer(&mut self, now: Time, index: usize) {
        let Self { transports, events, .. } = self;
        let Some(transport) = transports.get_mut(index) else { return };
        let Some(bandwidth) = &mut transport.bandwidth else { return };
        bandwidth.handle_answer(now);
        if let Some(bitrate) = bandwidth.poll_changed(now) {
            events.push_back(Event::BandwidthChanged { transport: transport.id, bitrate });
        }
        // Less than is being sent cannot wait for the next reckoning.
        let is_short = bandwidth.video_budget(now) < bandwidth.spent;
        if is_short {
            self.allocate(now, index);
        }
        let at = self.bandwidth_deadline(index);
        self.arm(index, at);
    }

    /// What is due for a subscriber's path.
    pub(super) fn poll_bandwidth(&mut self, now: Time, index: usize) {
        let Some(transport) = self.transports.get_mut(index) else { return };
        let is_connected = transport.is_connected();
        let Some(bandwidth) = &mut transport.bandwidth else { return };
        if !is_connected {
            // What it begins with is settled before, so that the keyframes for it are on their way.
            if transport.has_said_hello && bandwidth.allocate_at.is_due(now) {
                self.allocate(now, index);
            }
            return;
        }
        if bandwidth.estimator.poll_timeout().is_due(now) {
            bandwidth.estimator.handle_timeout(now);
            bandwidth.pace_anew(now);
        }
        if !bandwidth.pacer.is_probing(now)
            && let Some(cluster) = bandwidth.estimator.poll_probe(now)
        {
            bandwidth.pacer.begin_probe(now, cluster);
        }
        if bandwidth.allocate_at.is_due(now) {
            self.allocate(now, index);
        }
    }

    pub(super) fn bandwidth_deadline(&self, index: usize) -> Time {
        let Some(transport) = self.transports.get(index).filter(|it| it.can_begin()) else { return Time::NEVER };
        let Some(bandwidth) = &transport.bandwidth else { return Time::NEVER };
        if transport.is_connected() { bandwidth.deadline() } else { bandwidth.allocate_at }
    }

    /// Lets a subscriber's shares be reckoned anew, soon: several changes mostly come together.
    pub(super) fn allocate_soon(&mut self, now: Time, index: usize) {
        if let Some(bandwidth) = self.transports.get_mut(index).and_then(|transport| transport.bandwidth.as_mut()) {
            bandwidth.allocate_at = now;
            self.arm(index, now);
        }
    }

    /// Reckons what each copy of a subscriber gets, and sees to it.
    fn allocate(&mut self, now: Time, index: usize) {
        let mut wishes = core::mem::take(&mut self.wishes);
        let mut wishers = core::mem::take(&mut self.wishers);
        let mut grants = core::mem::take(&mut self.grants);
        wishes.clear();
        wishers.clear();
        self.gather(now, index, &mut wishes, &mut wishers);
        grants.clear();
        grants.resize(wishes.len(), None);
        let overhead = self.judge_repair(now, index);
        if let Some(bandwidth) = self.transports.get_mut(index).and_then(|transport| transport.bandwidth.as_mut()) {
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            // bits per second
            let budget = match bandwidth.video_budget(now) {
                u64::MAX => u64::MAX,
                budget => (budget as f64 / (1.0 + overhead)) as u64,
            };
            allocate::allocate(budget, &wishes, &mut grants);
            let is_flooded = bandwidth.spent > budget.saturating_mul(FLOOD.0) / FLOOD.1;
            settle(now, bandwidth, budget, &wishes, &grants);
            for ((&copy, wish), grant) in wishers.iter().zip(&wishes).zip(&grants) {
                let rungs = wish.ladder.rungs();
                let granted = grant.and_then(|rung| rungs.get(rung)).map(|rung| rung.layer);
                let is_cut = grant.map_or(0, |rung| rung + 1) < rungs.len();
                self.grant(now, copy as usize, granted, is_cut, is_flooded);
            }
            self.choose_padding(index, &wishers);
        }
        (self.wishes, self.wishers, self.grants) = (wishes, wishers, grants);
    }

    /// Decides on all that helps against loss, copy by copy; gives how many repair packets there are for each packet of video.
    fn judge_repair(&mut self, now: Time, index: usize) -> f64 {
        let Self { transports, copies, .. } = self;
        let Some(transport) = transports.get(index) else { return 0.0 };
        let path = transport.bandwidth.as_ref().map(|it| (it.estimator.estimate(), it.estimator.stats().reductions));
        let mut overhead = 0.0_f64;
        for &copy in &transport.senders {
            let Some(copy) = copies.get_mut(copy as usize) else { continue };
            if copy.parameters.kind == Kind::Audio {
                judge_redundancy(now, transport.bandwidth.as_deref(), copy);
                continue;
            }
            let (Some((estimate, reductions)), Some(sender)) = (&path, &copy.sender) else { continue };
            // By the reports where there are any: feedback waits before it is sent.
            let rtt = sender.stats().rtt.or(estimate.rtt).unwrap_or_default();
            copy.playout.judge(now, estimate.loss, rtt, *reductions);
            if let Some(protection) = &mut copy.protection {
                protection.judge(now, sender, estimate, rtt, playout::is_too_late(estimate.loss, rtt));
                overhead = protection.overhead().max(overhead);
            }
        }
        overhead
    }

    /// The wishes of a subscriber's copies of video, and whose they are.
    fn gather(&mut self, now: Time, index: usize, wishes: &mut Vec<Wish>, wishers: &mut Vec<u32>) {
        let Self { transports, copies, feeds, feed_by_id, .. } = self;
        let Some(transport) = transports.get(index) else { return };
        let is_held = transport.bandwidth.as_ref().is_some_and(|it| it.steps.is_held(now, it.budget));
        for &number in &transport.senders {
            let Some(copy) = copies.get_mut(number as usize) else { continue };
            if copy.parameters.kind != Kind::Video || copy.is_paused || copy.sender.is_none() {
                continue;
            }
            let Some(feed) = feed_by_id.get(&copy.source).and_then(|&feed| feeds.get_mut(feed)) else { continue };
            let most = super::wishes::most_of(copy, feed);
            let is_simulcast = feed.parameters.as_ref().is_some_and(|parameters| parameters.encodings.len() > 1);
            let Some(layers) = &mut feed.layers else { continue };
            let ladder = Ladder::new(&layers.costs(now, is_simulcast, feed.liveness.live()), most);
            let current = copy.share.granted.and_then(|layer| ladder.position(layer));
            let (priority, is_unpausable) = (copy.priority, !transport.may_pause);
            let allowed = copy.share.allowed(now, &ladder, current, is_held);
            wishes.push(Wish { ladder, current, priority, is_unpausable, allowed });
            wishers.push(number);
        }
    }

    /// Gives a copy its share: a layer, or none at all. Where the path is flooded, what is too much ends in the middle of a
    /// frame and not with the keyframe of the smaller one.
    fn grant(&mut self, now: Time, copy_index: usize, granted: Option<Layer>, is_cut: bool, is_flooded: bool) {
        let Some(copy) = self.copies.get_mut(copy_index) else { return };
        let Some(feed) = self.feed_by_id.get(&copy.source).and_then(|&feed| self.feeds.get(feed)) else { return };
        // Of a track of which nothing has come yet there is nothing to hold back.
        let is_starved = granted.is_none() && feed.liveness.live() != 0;
        copy.share.is_cut = is_cut;
        let before = copy.share;
        if before.is_reckoned && before.granted == granted && before.is_starved == is_starved {
            return;
        }
        let is_lower = granted < before.granted;
        let spatial = |layer: Option<Layer>| layer.map(|layer| layer.spatial);
        if let Some(bandwidth) = self.transports.get_mut(copy.transport).and_then(|it| it.bandwidth.as_mut())
            && before.is_reckoned
        {
            match spatial(granted).cmp(&spatial(before.granted)) {
                Ordering::Greater => bandwidth.steps.raise(now, bandwidth.budget),
                Ordering::Less => bandwidth.steps.lower(now),
                Ordering::Equal => {}
            }
        }
        let lowered_at = if is_lower { Some(now) } else { before.lowered_at };
        copy.share = Share { granted, is_reckoned: true, is_starved, is_cut, lowered_at };
        if is_starved != before.is_starved {
            self.events.push_back(Event::StreamPaused { sender: copy.id, is_paused: is_starved });
        }
        super::wishes::apply_wishes(copy, feed);
        let is_other = spatial(granted) != spatial(before.granted);
        if let Some(sender) = &mut copy.sender
            && is_lower
            && is_other
            && (is_flooded || is_starved)
        {
            sender.cut();
            let transport = self.transports.get_mut(copy.transport);
            if let Some(bandwidth) = transport.and_then(|transport| transport.bandwidth.as_mut()) {
                // What waits of pictures that will not be finished is only in the way.
                bandwidth.forget(narrow(copy_index));
            }
        }
        self.announce_layer(copy_index);
        self.request_wanted(now, copy_index);
    }

    /// Whose packets probes repeat: any copy that is being sent, so that what is repeated may be of use.
    fn choose_padding(&mut self, index: usize, wishers: &[u32]) {
        let copies = wishers.iter().filter_map(|&number| Some((number, self.copies.get(number as usize)?)));
        let candidates = copies.filter(|(_, copy)| copy.parameters.rtx_ssrc.is_some());
        let is_sent = |copy: &Copy| copy.sender.as_ref().is_some_and(|sender| sender.forwarded_source().is_some());
        let chosen = candidates.max_by_key(|(_, copy)| is_sent(copy)).map(|(number, _)| number);
        if let Some(bandwidth) = self.transports.get_mut(index).and_then(|transport| transport.bandwidth.as_mut()) {
            bandwidth.padding = chosen;
        }
    }

    /// A copy that its owner paused is not paused for want of room any more.
    pub(super) fn forgive(&mut self, id: SenderId) {
        let copy = self.copy_by_id.get(&id).and_then(|&index| self.copies.get_mut(index));
        if let Some(copy) = copy.filter(|copy| copy.is_paused) {
            (copy.share.granted, copy.share.is_cut) = (None, false);
            if core::mem::take(&mut copy.share.is_starved) {
                self.events.push_back(Event::StreamPaused { sender: id, is_paused: false });
            }
        }
    }

    /// A track's encodings came or went: all who get a copy of it here have other choices now.
    pub(super) fn allocate_followers(&mut self, now: Time, feed_index: usize) {
        let Some(feed) = self.feeds.get(feed_index) else { return };
        let transports: Vec<_> =
            feed.senders.iter().filter_map(|&copy| self.copies.get(copy as usize)).map(|copy| copy.transport).collect();
        for transport in transports {
            self.allocate_soon(now, transport);
        }
    }
}

impl Share {
    /// How many rungs of its ladder a copy may have now that has the one at `current`, all if none; `is_held` says that no
    /// picture should grow.
    fn allowed(&self, now: Time, ladder: &Ladder, current: Option<usize>, is_held: bool) -> Option<usize> {
        let is_within = |span: Duration| self.lowered_at.is_some_and(|at| !(at + span).is_due(now));
        match self.granted {
            _ if is_within(HOLD) => Some(current.map_or(0, |current| current + 1)),
            Some(granted) if is_held => {
                let is_no_larger = |rung: &&Rung| rung.layer.spatial <= granted.spatial;
                Some(ladder.rungs().iter().take_while(is_no_larger).count())
            }
            None if is_held && is_within(LONGEST_PAUSE) => Some(0),
            _ => None,
        }
    }
}

/// Decides how much of a copy's audio is repeated, by what its subscriber loses.
pub(super) fn judge_redundancy(now: Time, bandwidth: Option<&Bandwidth>, copy: &mut Copy) {
    let Some(sender) = &copy.sender else { return };
    let reported = u32::from(sender.stats().last_block.fraction_lost);
    match bandwidth.filter(|bandwidth| !bandwidth.is_deaf(now)) {
        Some(bandwidth) => {
            let estimate = bandwidth.estimator.estimate();
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 256
            let lost = (estimate.loss * 256.0) as u32;
            let path =
                Path { audio: bandwidth.past(now), carries: estimate.target.as_bps(), burst: estimate.mean_burst };
            copy.redundancy.judge(reported.max(lost), Some(&path));
        }
        None => copy.redundancy.judge(reported, None),
    }
}

/// Notes what was given away, and what it would take to give more.
fn settle(now: Time, bandwidth: &mut Bandwidth, budget: u64, wishes: &[Wish], grants: &[Option<usize>]) {
    bandwidth.budget = budget;
    let spent = wishes.iter().zip(grants).filter_map(|(wish, grant)| wish.ladder.rungs().get((*grant)?));
    bandwidth.spent = spent.map(|rung| rung.bitrate).sum();
    let wanted = allocate::wanted(wishes).saturating_add(bandwidth.past(now));
    bandwidth.wanted = wanted;
    bandwidth.estimator.set_wanted(now, Bitrate::from_bps(wanted));
    bandwidth.allocate_at = if wishes.is_empty() { Time::NEVER } else { now + ALLOCATE_EVERY };
}
