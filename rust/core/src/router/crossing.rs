//! Words between workers: a room may span them, and each keeps to its own peers.

use super::{Feed, Owner, Router, narrow};
use crate::crossing::{Crossing, Parcel};
use crate::drop::Drop;
use crate::ice::Path;
use crate::id::ReceiverId;
use crate::packet::Packet;
use crate::receive::Liveness;
use crate::time::Time;

impl Router {
    /// Takes a value from another worker.
    pub fn handle_crossing(&mut self, now: Time, from: u8, crossing: Crossing) {
        if !matches!(crossing, Crossing::Packet { .. } | Crossing::Emptied(..) | Crossing::Datagram { .. }) {
            self.fan_out_waiting(now);
        }
        match crossing {
            Crossing::Packet { receiver, packet, parcel } => {
                self.handle_foreign_packet(now, from, receiver, packet, parcel);
            }
            Crossing::Emptied(packet, parcel) => self.keep_parcel(packet, parcel),
            Crossing::Datagram { path, packet, parcel } => {
                self.handle_datagram(now, path, parcel.bytes());
                self.crossings.push_back((from, Crossing::Emptied(packet, parcel)));
            }
            Crossing::Claim { path, is_claimed: true } => {
                self.by_path.insert(path, Owner::Foreign(from));
            }
            Crossing::Claim { path, is_claimed: false } => {
                if self.by_path.get(&path) == Some(&Owner::Foreign(from)) {
                    self.by_path.remove(&path);
                }
            }
            Crossing::Follow { receiver, is_following } => self.handle_foreign_follower(from, receiver, is_following),
            Crossing::Keyframe { receiver, encoding } => {
                if let Some(&feed) = self.feed_by_id.get(&receiver) {
                    self.request_keyframes(now, feed, 1 << encoding.min(7));
                }
            }
            Crossing::Shape { receiver, parameters } => {
                let Some(&index) = self.feed_by_id.get(&receiver) else { return };
                let Some(feed) = self.feeds.get_mut(index) else { return };
                feed.layers = super::layer_rates(&parameters);
                feed.openings = super::openings(&parameters);
                feed.parameters = Some(*parameters);
                for copy in feed.senders.clone() {
                    self.attach_source(now, copy as usize, index);
                }
            }
            Crossing::Clock { receiver, encoding, clock } => {
                if let Some(&feed) = self.feed_by_id.get(&receiver) {
                    self.set_clock(feed, encoding, clock);
                }
            }
            Crossing::Gone { receiver } => {
                if let Some(&feed) = self.feed_by_id.get(&receiver) {
                    self.remove_feed(feed);
                }
            }
            Crossing::FollowData { source, transport, is_following } => {
                self.follow_data(transport, source, is_following);
            }
            Crossing::Hub(hub, crossing) => self.handle_hub_crossing(now, hub, crossing),
            Crossing::Data { transport, label, is_binary, payload } => {
                self.send_data(now, transport, &label, is_binary, &payload);
            }
        }
    }

    fn handle_foreign_packet(
        &mut self,
        now: Time,
        from: u8,
        receiver: ReceiverId,
        packet: Box<Packet>,
        parcel: Box<Parcel>,
    ) {
        match self.feed_by_id.get(&receiver).copied() {
            Some(feed) => {
                let bytes = parcel.bytes();
                if let Some(slot) = self.store.reserve().get_mut(..bytes.len()) {
                    slot.copy_from_slice(bytes);
                }
                let reference = self.store.commit(narrow(feed), *packet, bytes.len());
                self.fan_out_later(now, feed, reference);
            }
            None => self.drops.count(Drop::NoFollower),
        }
        self.crossings.push_back((from, Crossing::Emptied(packet, parcel)));
    }

    /// Another worker has followers of a track of ours, or no longer.
    fn handle_foreign_follower(&mut self, from: u8, receiver: ReceiverId, is_following: bool) {
        let Some(feed) = self.feed_by_id.get(&receiver).and_then(|&index| self.feeds.get_mut(index)) else {
            return self.crossings.push_back((from, Crossing::Gone { receiver }));
        };
        let bit = 1u64 << (from & 63);
        if !is_following {
            feed.workers &= !bit;
            return;
        }
        feed.workers |= bit;
        if let Some(parameters) = &feed.parameters {
            let parameters = Box::new(parameters.clone());
            self.crossings.push_back((from, Crossing::Shape { receiver, parameters }));
        }
        for (encoding, clock) in (0u8..).zip(feed.clocks).filter(|(_, clock)| clock.is_some()) {
            self.crossings.push_back((from, Crossing::Clock { receiver, encoding, clock }));
        }
    }

    /// A place for a track of another worker, and word to that worker.
    pub(super) fn add_foreign_feed(&mut self, id: ReceiverId) -> usize {
        let feed = self.feeds.insert(Feed {
            id,
            parameters: None,
            intake: None,
            senders: Vec::new(),
            workers: 0,
            clocks: Default::default(),
            liveness: Liveness::default(),
            layers: None,
            openings: None,
            asked_at: Default::default(),
        });
        self.feed_by_id.insert(id, feed);
        self.crossings.push_back((id.worker(), Crossing::Follow { receiver: id, is_following: true }));
        feed
    }

    /// Lets go of a foreign track that nobody here follows any more.
    pub(super) fn release_foreign_feed(&mut self, index: usize) {
        let Some(feed) = self.feeds.get(index) else { return };
        if feed.intake.is_none() && feed.senders.is_empty() {
            let id = feed.id;
            self.feeds.remove(index);
            self.feed_by_id.remove(&id);
            self.crossings.push_back((id.worker(), Crossing::Follow { receiver: id, is_following: false }));
        }
    }

    /// Tells all other workers whose datagrams on this path are.
    pub(super) fn claim(&mut self, path: Path, is_claimed: bool) {
        let workers = (0..64u8).filter(|&worker| self.neighbours & (1 << worker) != 0);
        self.crossings.extend(workers.map(|worker| (worker, Crossing::Claim { path, is_claimed })));
    }

    /// An empty pair to pack, from those that came home.
    pub(super) fn empty_parcel(&mut self) -> (Box<Packet>, Box<Parcel>) {
        self.parcels.pop().unwrap_or_else(|| (Box::new(Packet::BLANK), Parcel::empty()))
    }
}
