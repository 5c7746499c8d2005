//! One packet, many followers: who takes it, under which number, waits in whose queue.

use super::{Copy, Router, arm, narrow, source_of};
use crate::crossing::Crossing;
use crate::drop::Drop;
use crate::event::Event;

use crate::store::PacketRef;
use crate::time::Time;
use crate::transport::Queued;

impl Router {
    /// Hands a stored packet to the followers of this worker.
    pub(super) fn fan_out_here(&mut self, now: Time, feed_index: usize, reference: PacketRef) {
        let Some(feed) = self.feeds.get_mut(feed_index) else { return };
        let Some((packet, ..)) = self.store.find(reference) else { return };
        if feed.liveness.handle_packet(now, packet.encoding, packet.descriptor.frame_start) {
            self.retarget(feed_index);
        }
        let Self { feeds, copies, transports, store, dirty, events, drops, current, forwarded, timers, .. } = self;
        let Some(feed) = feeds.get_mut(feed_index) else { return };
        let Some((packet, ..)) = store.find(reference) else { return };
        if let Some(newest) = feed.newest.get_mut(usize::from(packet.encoding)) {
            *newest = packet.seq.max(*newest);
        }
        let source = source_of(feed.id);
        if feed.senders.is_empty() && feed.workers == 0 {
            drops.count(Drop::NoFollower);
        }
        let (mut wants, mut moved_on) = (0u8, None);
        for &index in &feed.senders {
            let Some(copy) = copies.get_mut(index as usize) else { continue };
            let Some(transport) = transports.get_mut(copy.transport) else { continue };
            let Some(sender) = &mut copy.sender else { continue };
            if !transport.is_connected() {
                drops.count(Drop::NotConnected);
                continue;
            }
            *current = Some(copy.transport);
            let taken = sender
                .forward(now, source, packet, reference)
                .and_then(|seq| transport.enqueue(Queued { sender: index, seq, rtx: None }));
            match taken {
                Ok(()) => {
                    *forwarded += 1;
                    if !transport.is_dirty {
                        transport.is_dirty = true;
                        dirty.push_back(narrow(copy.transport));
                    }
                    // The first packet of a stream wants a report at once: players line up by it.
                    arm(transports, timers, copy.transport, sender.poll_timeout());
                }
                Err(reason) => {
                    copy.dropped += 1;
                    drops.count(reason);
                    if reason == Drop::NoFollower {
                        moved_on = Some(index as usize);
                    }
                    if matches!(reason, Drop::AwaitingKeyframe | Drop::OtherLayer)
                        && copy.source == feed.id
                        && let Some(encoding) = sender.wants_keyframe()
                    {
                        wants |= 1 << encoding.min(7);
                    }
                }
            }
            if packet.descriptor.frame_start && sender.poll_layer_changed() {
                events.push_back(Event::LayerChanged { sender: copy.id, layer: sender.layer() });
            }
        }
        *current = None;
        if wants != 0 {
            self.request_keyframes(now, feed_index, wants);
        }
        // One per packet: more of them go with the next.
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
