//! What subscribers say of their paths, and what each of their copies gets for it.

use core::time::Duration;

use super::{Copy, Router, Share, narrow};
use crate::allocate::{self, Ladder, Wish};
use crate::bandwidth::{ALLOCATE_EVERY, Bandwidth};
use crate::drop::Drop;
use crate::event::Event;
use crate::parameters::Kind;
use crate::rtcp;
use crate::send::Layer;
use crate::time::Time;
use crate::units::Bitrate;

/// A copy whose layer was just lowered is not raised again for so long: a step up costs a keyframe and perhaps another step down.
const HOLD: Duration = Duration::from_secs(1);
/// A larger picture that did not last so long was a mistake: the next one waits for twice as long as the last, ...
const MISTAKE: Duration = Duration::from_secs(8);
/// ... but for no more than so many times [`HOLD`], as a power of two, ...
const LONGEST: u8 = 4;
/// ... which for a picture after none is this, ...
const LONGEST_PAUSE: u8 = 2;
/// ... and not while the budget is so much larger than the one that did not do; ...
const LARGER: (u64, u64) = (4, 3);
/// ... and what was long ago is forgotten.
const FORGIVEN: Duration = Duration::from_secs(30);

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
        let at = self.bandwidth_deadline(now, index);
        self.arm(index, at);
    }

    /// What is due for a subscriber's path.
    pub(super) fn poll_bandwidth(&mut self, now: Time, index: usize) {
        let Some(transport) = self.transports.get_mut(index) else { return };
        if !transport.is_connected() {
            return;
        }
        let Some(bandwidth) = &mut transport.bandwidth else { return };
        if bandwidth.estimator.poll_timeout().is_due(now) {
            bandwidth.estimator.handle_timeout(now);
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

    pub(super) fn bandwidth_deadline(&mut self, now: Time, index: usize) -> Time {
        let Some(transport) = self.transports.get_mut(index).filter(|transport| transport.is_connected()) else {
            return Time::NEVER;
        };
        transport.bandwidth.as_mut().map_or(Time::NEVER, |bandwidth| bandwidth.deadline(now))
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
        if let Some(transport) = self.transports.get(index) {
            for &copy in &transport.senders {
                if let Some(copy) =
                    self.copies.get_mut(copy as usize).filter(|copy| copy.parameters.kind == Kind::Audio)
                {
                    judge_redundancy(now, transport.bandwidth.as_deref(), copy);
                }
            }
        }
        if let Some(bandwidth) = self.transports.get_mut(index).and_then(|transport| transport.bandwidth.as_mut()) {
            let budget = bandwidth.video_budget(now);
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

    /// The wishes of a subscriber's copies of video, and whose they are.
    fn gather(&mut self, now: Time, index: usize, wishes: &mut Vec<Wish>, wishers: &mut Vec<u32>) {
        let Self { transports, copies, feeds, feed_by_id, .. } = self;
        let Some(transport) = transports.get(index) else { return };
        let budget = transport.bandwidth.as_ref().map_or(0, |bandwidth| bandwidth.budget);
        for &number in &transport.senders {
            let Some(copy) = copies.get_mut(number as usize) else { continue };
            if copy.parameters.kind != Kind::Video || copy.is_paused || copy.sender.is_none() {
                continue;
            }
            let Some(feed) = feed_by_id.get(&copy.source).and_then(|&feed| feeds.get_mut(feed)) else { continue };
            let most = super::command::most_of(copy, feed);
            let is_simulcast = feed.parameters.as_ref().is_some_and(|parameters| parameters.encodings.len() > 1);
            let Some(layers) = &mut feed.layers else { continue };
            let ladder = Ladder::new(&layers.costs(now, is_simulcast, feed.liveness.live()), most);
            let current = copy.share.granted.and_then(|layer| ladder.position(layer));
            let (priority, is_unpausable) = (copy.priority, !transport.may_pause);
            let allowed = copy.share.allowed(now, &ladder, current, budget);
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
        let transport = self.transports.get(copy.transport);
        let budget = transport.and_then(|it| it.bandwidth.as_ref()).map_or(0, |bandwidth| bandwidth.budget);
        copy.share = before.moved(now, granted, budget);
        copy.share.is_starved = is_starved;
        if is_starved != before.is_starved {
            self.events.push_back(Event::StreamPaused { sender: copy.id, is_paused: is_starved });
        }
        super::command::apply_wishes(copy, feed);
        let is_other = granted.map(|layer| layer.spatial) != before.granted.map(|layer| layer.spatial);
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
    /// How many rungs of its ladder a copy may have now that has the one at `current`.
    fn allowed(&self, now: Time, ladder: &Ladder, current: Option<usize>, budget: u64) -> Option<usize> {
        let is_within = |span: Duration| self.lowered_at.is_some_and(|at| !(at + span).is_due(now));
        let longest = if current.is_some() { LONGEST } else { LONGEST_PAUSE };
        let is_larger = budget > self.raised_with.saturating_mul(LARGER.0) / LARGER.1;
        if is_within(HOLD) {
            Some(current.map_or(0, |current| current + 1))
        } else if self.taken_back > 0 && !is_larger && is_within(HOLD * (1 << self.taken_back.min(longest))) {
            let is_no_larger = |spatial| self.granted.is_some_and(|granted| spatial <= granted.spatial);
            Some(ladder.rungs().iter().take_while(|rung| is_no_larger(rung.layer.spatial)).count())
        } else {
            None
        }
    }

    /// With another layer from `now` on, of this budget.
    fn moved(mut self, now: Time, granted: Option<Layer>, budget: u64) -> Self {
        let spatial = |layer: Option<Layer>| layer.map(|layer| layer.spatial);
        let is_within = |at: Option<Time>, span: Duration| at.is_some_and(|at| !(at + span).is_due(now));
        if spatial(granted) > spatial(self.granted) {
            (self.raised_at, self.raised_with) = (Some(now), budget);
        }
        if granted < self.granted {
            if !is_within(self.lowered_at, FORGIVEN) {
                self.taken_back = 0;
            }
            if spatial(granted) < spatial(self.granted) && is_within(self.raised_at, MISTAKE) {
                self.taken_back = (self.taken_back + 1).min(LONGEST);
                self.raised_at = None;
            }
            self.lowered_at = Some(now);
        }
        (self.granted, self.is_reckoned) = (granted, true);
        self
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
            let loss = reported.max(lost);
            copy.redundancy.judge(loss, bandwidth.past(now), Some(estimate.target.as_bps()));
        }
        None => copy.redundancy.judge(reported, 0, None),
    }
}

/// Notes what was given away, and what it would take to give more.
fn settle(now: Time, bandwidth: &mut Bandwidth, budget: u64, wishes: &[Wish], grants: &[Option<usize>]) {
    bandwidth.budget = budget;
    let spent = wishes.iter().zip(grants).filter_map(|(wish, grant)| wish.ladder.rungs().get((*grant)?));
    bandwidth.spent = spent.map(|rung| rung.bitrate).sum();
    let wanted = allocate::wanted(wishes).saturating_add(bandwidth.past(now));
    bandwidth.estimator.set_wanted(now, Bitrate::from_bps(wanted));
    bandwidth.allocate_at = if wishes.is_empty() { Time::NEVER } else { now + ALLOCATE_EVERY };
}
