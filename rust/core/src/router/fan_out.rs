//! Few packets, many followers: who takes them, under which numbers, in whose queue they wait.

use super::{Copy, Router, arm, narrow, source_of};
use crate::crossing::Crossing;
use crate::drop::Drop;
use crate::event::Event;
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
        let Self { feeds, copies, transports, store, dirty, events, drops, current, forwarded, timers, .. } = self;
        let keyframe_waits = &mut self.keyframe_waits;
        let Some(feed) = feeds.get_mut(feed_index) else { return };
        let source = source_of(feed.id);
        let (mut wants, mut moved_on) = (0u8, None);
        for &index in &feed.senders {
            let Some(copy) = copies.get_mut(index as usize) else { continue };
            let Some(transport) = transports.get_mut(copy.transport) else { continue };
            let Some(sender) = &mut copy.sender else { continue };
            if !transport.is_connected() {
                for _ in &*packets {
                    drops.count(Drop::NotConnected);
                }
                continue;
            }
            *current = Some(copy.transport);
            let mut lacks_keyframe = false;
            for waiting in &mut *packets {
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
                        *forwarded += 1;
                        waiting.copies += 1;
                    }
                    Err(reason) => {
                        copy.dropped += 1;
                        drops.count(reason);
                        lacks_keyframe |= matches!(reason, Drop::AwaitingKeyframe | Drop::OtherLayer);
                        if reason == Drop::NoFollower {
                            moved_on = Some(index as usize);
                        }
                    }
                }
                if packet.descriptor.frame_start && sender.poll_layer_changed() {
                    events.push_back(Event::LayerChanged { sender: copy.id, layer: sender.layer() });
                }
            }
            if transport.has_queued() && !transport.is_dirty {
                transport.is_dirty = true;
                dirty.push_back(narrow(copy.transport));
            }
            copy.wait.end(now, sender, keyframe_waits);
            // Judged after the last of them: a keyframe that came with the others was waited for no longer.
            if lacks_keyframe
                && copy.source == feed.id
                && let Some(encoding) = sender.wants_keyframe()
            {
                wants |= 1 << encoding.min(7);
                copy.wait.begin(now);
            }
            // The first packet of a stream wants a report at once: players line up by it.
            arm(transports, timers, copy.transport, sender.poll_timeout());
        }
        *current = None;
        if wants != 0 {
            self.request_keyframes(now, feed_index, wants);
        }
        // One per turn: more of them go with the next.
        if let Some(copy) = moved_on {
            self.drop_old_sources(copy);
        }
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

    /// Asks for what a copy waits for, if it waits.
    pub(super) fn request_wanted(&mut self, now: Time, copy_index: usize) {
        let Some(copy) = self.copies.get(copy_index) else { return };
        let wanted = copy.sender.as_ref().and_then(crate::send::Sender::wants_keyframe);
        let feed = self.feed_by_id.get(&copy.source).copied();
        let is_connected = self.transports.get(copy.transport).is_some_and(crate::transport::Transport::is_connected);
        if let (Some(encoding), Some(feed), true) = (wanted, feed, is_connected) {
            if let Some(copy) = self.copies.get_mut(copy_index) {
                copy.wait.begin(now);
            }
            self.request_keyframes(now, feed, 1 << encoding.min(7));
        }
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
