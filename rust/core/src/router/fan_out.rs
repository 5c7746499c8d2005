//! Few packets, many followers: who takes them, under which numbers, in whose queue they wait.

use super::{Copy, Router, arm, narrow, source_of};
use crate::crossing::Crossing;
use crate::drop::Drop;
use crate::event::Event;
use crate::id::ReceiverId;
use crate::send::Sender;
use crate::store::PacketRef;
use crate::time::Time;
use crate::transport::Queued;

/// The most packets that wait for their followers: what a worker receives at once of a few busy tracks.
pub(super) const MAX_WAITING: usize = 64;

/// A stored packet that followers of this worker have not been handed yet.
pub(super) struct Waiting {
    /// The index of its feed.
    feed: u32,
    packet: PacketRef,
    /// When it reached this machine.
    came_at: Time,
    /// How many followers have taken it.
    copies: u32,
}

/// What became of packets that a follower was handed.
enum Handed {
    /// It goes on.
    Enough,
    /// It cannot go on without a keyframe of this encoding.
    Wants(u8),
    /// It has left their track for another.
    MovedOn,
}

impl Router {
    /// Keeps a stored packet for the followers of this worker, who take it at the end of the batch together with the others
    /// of its frame.
    ///
    /// Follower by follower, not packet by packet: what is known of a follower spans a dozen cache lines, and so they are
    /// fetched once for a frame.
    pub(super) fn fan_out_later(&mut self, now: Time, feed_index: usize, reference: PacketRef) {
        let Some(feed) = self.feeds.get_mut(feed_index) else { return };
        let Some((packet, ..)) = self.store.find(reference) else { return };
        if let Some(layers) = &mut feed.layers {
            let is_simulcast = feed.parameters.as_ref().is_some_and(|parameters| parameters.encodings.len() > 1);
            layers.handle_packet(now, packet, is_simulcast);
        }
        if feed.senders.is_empty() && feed.workers == 0 {
            self.drops.count(Drop::NoFollower);
        }
        let came_at = packet.kernel_had_it_at();
        if feed.liveness.handle_packet(now, packet.encoding, packet.descriptor.frame_start) {
            self.fan_out_waiting(now);
            self.retarget(feed_index);
            self.allocate_followers(now, feed_index);
        }
        self.waiting.push(Waiting { feed: narrow(feed_index), packet: reference, came_at, copies: 0 });
        if self.waiting.len() >= MAX_WAITING {
            self.fan_out_waiting(now);
        }
    }

    /// Lets all followers take what waits for them. Must come before anything that changes what they take, or from where.
    pub(super) fn fan_out_waiting(&mut self, now: Time) {
        let mut waiting = core::mem::take(&mut self.waiting);
        // In the order in which they came: a copy that moves from one track to another sees both.
        for packets in waiting.chunk_by_mut(|one, other| one.feed == other.feed) {
            if let Some(feed) = packets.first().map(|first| first.feed) {
                self.fan_out_here(now, feed as usize, packets);
            }
        }
        for Waiting { came_at, copies, .. } in &waiting {
            self.departures.await_copies(now, *came_at, *copies);
        }
        waiting.clear();
        self.waiting = waiting;
    }

    /// Hands packets of one track to each of its followers here.
    fn fan_out_here(&mut self, now: Time, feed_index: usize, packets: &mut [Waiting]) {
        let Some(feed) = self.feeds.get_mut(feed_index) else { return };
        if let Some(openings) = &mut feed.openings {
            for waiting in &*packets {
                let Some((packet, ..)) = self.store.find(waiting.packet) else { continue };
                if let Some(opening) = openings.get_mut(usize::from(packet.encoding)) {
                    opening.handle_packet(now, packet, waiting.packet);
                }
            }
        }
        let (id, count) = (feed.id, feed.senders.len());
        let (mut wants, mut moved_on) = (0u8, None);
        for position in 0..count {
            let Some(&index) = self.feeds.get(feed_index).and_then(|feed| feed.senders.get(position)) else { continue };
            match self.hand_packets(now, id, index, packets) {
                Handed::Enough => {}
                Handed::Wants(encoding) => wants |= 1 << encoding.min(7),
                Handed::MovedOn => moved_on = Some(index as usize),
            }
        }
        self.current = None;
        if wants != 0 {
            self.request_keyframes(now, feed_index, wants);
        }
        // One per turn: more of them go with the next.
        if let Some(copy) = moved_on {
            self.drop_old_sources(copy);
        }
    }

    /// Hands packets of one track to one of its followers here, under numbers of its own, into its peer's queue.
    // Of a packet of audio the call would be a twentieth of all that it costs.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn hand_packets(&mut self, now: Time, feed: ReceiverId, index: u32, packets: &mut [Waiting]) -> Handed {
        let Self { copies, transports, store, drops, .. } = self;
        let mut handed = Handed::Enough;
        let Some(copy) = copies.get_mut(index as usize) else { return handed };
        let Some(transport) = transports.get_mut(copy.transport) else { return handed };
        let Some(sender) = &mut copy.sender else { return handed };
        if !transport.is_connected() {
            for _ in &*packets {
                drops.count(Drop::NotConnected);
            }
            return handed;
        }
        self.current = Some(copy.transport);
        let source = source_of(feed);
        let mut lacks_keyframe = false;
        for waiting in packets {
            let reference = waiting.packet;
            let Some((packet, ..)) = store.find(reference) else { continue };
            let forwarded_as = sender.forward(now, source, packet, reference);
            if let Ok(seq) = forwarded_as {
                copy.redundancy.settle(sender, store, seq);
            }
            let taken = forwarded_as
                .and_then(|seq| transport.enqueue(Queued { sender: index, seq, rtx: None }, copy.is_numbered));
            match taken {
                Ok(()) => {
                    self.forwarded += 1;
                    waiting.copies += 1;
                }
                Err(reason) => {
                    copy.dropped += 1;
                    drops.count(reason);
                    lacks_keyframe |= matches!(reason, Drop::AwaitingKeyframe | Drop::OtherLayer);
                    if reason == Drop::NoFollower {
                        handed = Handed::MovedOn;
                    }
                }
            }
            if packet.descriptor.frame_start && sender.poll_layer_changed() {
                self.events.push_back(Event::LayerChanged { sender: copy.id, layer: sender.layer() });
            }
        }
        if transport.has_queued() && !transport.is_dirty {
            transport.is_dirty = true;
            self.dirty.push_back(narrow(copy.transport));
        }
        copy.wait.end(now, sender, &mut self.keyframe_waits);
        // Judged after the last of them: a keyframe that came with the others was waited for no longer.
        if lacks_keyframe
            && copy.source == feed
            && let Some(encoding) = sender.wants_keyframe()
        {
            handed = Handed::Wants(encoding);
            copy.wait.begin(now);
        }
        // The first packet of a stream wants a report at once: players line up by it.
        arm(transports, &mut self.timers, copy.transport, sender.poll_timeout());
        handed
    }

    /// Lets a copy that has sent nothing yet begin with what came lately, if that is possible.
    fn catch_up(&mut self, now: Time, copy_index: usize, feed_index: usize, encoding: u8) -> Option<()> {
        let feed = self.feeds.get(feed_index)?;
        let opening = feed.openings.as_ref()?.get(usize::from(encoding)).filter(|opening| opening.is_fresh(now))?;
        self.store.find(opening.packets().next()?)?;
        let copy = self.copies.get_mut(copy_index)?;
        let bandwidth = self.transports.get_mut(copy.transport)?.bandwidth.as_mut().filter(|_| copy.is_numbered);
        if bandwidth.is_some_and(|bandwidth| !bandwidth.can_take(now, opening.bytes())) {
            return None;
        }
        // What it has sent lies before: there is no way back.
        copy.sender.as_ref().filter(|sender| !sender.has_begun())?;
        let id = feed.id;
        // These have waited for this one follower, not in us: they say nothing of our delay.
        let feed = narrow(feed_index);
        let waiting = |packet| Waiting { feed, packet, came_at: now, copies: 0 };
        let mut packets: Vec<_> = opening.packets().map(waiting).collect();
        self.hand_packets(now, id, narrow(copy_index), &mut packets);
        Some(())
    }

    /// Gives a stored packet to each other worker with followers: one copy per worker.
    pub(super) fn cross(&mut self, feed_index: usize, reference: PacketRef) {
        let Some((receiver, mut workers)) = self.feeds.get(feed_index).map(|feed| (feed.id, feed.workers)) else {
            return;
        };
        while workers != 0 {
            let worker = u8::try_from(workers.trailing_zeros()).unwrap_or(0);
            workers &= workers - 1;
            let (mut boxed, mut parcel) = self.empty_parcel();
            let Some((packet, bytes, _)) = self.store.find(reference) else { return };
            *boxed = *packet;
            parcel.pack(bytes);
            self.crossings.push_back((worker, Crossing::Packet { receiver, packet: boxed, parcel }));
        }
    }

    /// Passes followers' wishes for keyframes, a bit per encoding, to where the track comes in.
    pub(super) fn request_keyframes(&mut self, now: Time, feed_index: usize, encodings: u8) {
        let interval = core::time::Duration::from_millis(u64::from(self.limits.keyframe_interval_ms));
        let Some(feed) = self.feeds.get_mut(feed_index) else { return };
        for encoding in 0..u8::try_from(super::MAX_ENCODINGS).unwrap_or(0) {
            if encodings & (1 << encoding) == 0 {
                continue;
            }
            if let Some(intake) = &mut feed.intake {
                intake.receiver.request_keyframe(now, encoding);
                arm(&mut self.transports, &mut self.timers, intake.transport, intake.receiver.deadline());
            } else if let Some(asked_at) = feed.asked_at.get_mut(usize::from(encoding))
                && asked_at.is_none_or(|at| (at + interval).is_due(now))
            {
                *asked_at = Some(now);
                self.crossings.push_back((feed.id.worker(), Crossing::Keyframe { receiver: feed.id, encoding }));
            }
        }
    }

    /// Gives a copy the keyframe that it waits for, if it waits, or asks for one: already during the handshake, so
    /// that it is here when the peer is.
    pub(super) fn request_wanted(&mut self, now: Time, copy_index: usize) {
        let Some(copy) = self.copies.get(copy_index) else { return };
        let Some(encoding) = copy.sender.as_ref().and_then(Sender::wants_keyframe) else { return };
        let Some(&feed) = self.feed_by_id.get(&copy.source) else { return };
        let Some(transport) = self.transports.get(copy.transport).filter(|it| it.can_begin()) else { return };
        if transport.is_connected() {
            if self.catch_up(now, copy_index, feed, encoding).is_some() {
                return;
            }
            if let Some(copy) = self.copies.get_mut(copy_index) {
                copy.wait.begin(now);
            }
        }
        self.request_keyframes(now, feed, 1 << encoding.min(7));
    }

    /// Tells of a copy's layer, if it is another than last told.
    pub(super) fn announce_layer(&mut self, copy_index: usize) {
        if let Some(Copy { id, sender: Some(sender), .. }) = self.copies.get_mut(copy_index)
            && sender.poll_layer_changed()
        {
            self.events.push_back(Event::LayerChanged { sender: *id, layer: sender.layer() });
        }
    }
}
