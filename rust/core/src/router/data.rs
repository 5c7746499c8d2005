//! Data channel messages: to the hub that the sender is a member of, to peers that follow it, and to Python where it asked.

use bytes::Bytes;

use super::Router;
use crate::crossing::Crossing;
use crate::data::Label;
use crate::drop::Drop;
use crate::event::Event;
use crate::id::TransportId;
use crate::sctp::SctpEvent;
use crate::sctp::dcep::Open;
use crate::time::Time;

/// How many peers one peer's messages go to on other workers and here: a large room.
const MAX_DATA_FOLLOWERS: usize = 10_000;

impl Router {
    pub(super) fn handle_sctp_event(&mut self, now: Time, index: usize, event: SctpEvent) {
        let Some(transport) = self.transports.get(index) else { return };
        let id = transport.id;
        let sctp = transport.sctp.as_ref();
        match event {
            SctpEvent::Connected | SctpEvent::Lost => {}
            SctpEvent::Opened(channel) => {
                if let Some(channel) = sctp.and_then(|sctp| sctp.channel_by_id(channel)) {
                    let label = channel.open.label.clone();
                    let hearer = transport.hearer;
                    self.events.push_back(Event::ChannelOpened { transport: id, label });
                    if let Some(seat) = hearer {
                        self.wake_member(now, seat);
                    }
                }
            }
            SctpEvent::Closed(label) => {
                let hearer = transport.hearer;
                self.events.push_back(Event::ChannelClosed { transport: id, label });
                if let Some(seat) = hearer {
                    self.hush_member(now, seat);
                }
            }
            SctpEvent::Message { channel, is_binary, payload } => {
                let Some(open) = sctp.and_then(|sctp| sctp.channel_by_id(channel)).map(|c| c.open.clone()) else {
                    return self.count_drop(Some(index), Drop::BadDataChannel);
                };
                if self.tapped.contains(&open.label) {
                    let (label, payload) = (open.label.clone(), payload.clone());
                    self.events.push_back(Event::DataReceived { transport: id, label, is_binary, payload });
                }
                let speaker = self.transports.get(index).and_then(|transport| transport.speaker);
                if let Some(seat) = speaker {
                    self.hear_member(now, Some(index), seat, &Label::new(&open.label), is_binary, &payload);
                }
                self.fan_out_data(now, index, &open, is_binary, &payload);
            }
        }
    }

    /// Hands one message to all followers: one buffer, however many they are.
    fn fan_out_data(&mut self, now: Time, index: usize, open: &Open, is_binary: bool, payload: &Bytes) {
        let followers = match self.transports.get_mut(index) {
            Some(transport) => std::mem::take(&mut transport.data_followers),
            None => return,
        };
        for &follower in &followers {
            if follower.worker() == self.worker {
                self.send_data(now, follower, &open.label, is_binary, payload);
            } else {
                let crossing = Crossing::Data {
                    transport: follower,
                    label: open.label.as_str().into(),
                    is_binary,
                    payload: payload.clone(),
                };
                self.crossings.push_back((follower.worker(), crossing));
            }
        }
        if let Some(transport) = self.transports.get_mut(index) {
            transport.data_followers = followers;
        }
    }

    /// Queues one message on the channel with this label. Lossy channels drop for a slow reader, reliable ones queue to a limit.
    pub(super) fn send_data(&mut self, now: Time, id: TransportId, label: &str, is_binary: bool, payload: &Bytes) {
        let Some(&index) = self.by_id.get(&id) else { return };
        if let Err(reason) = self.queue_data(now, index, label, is_binary, payload) {
            self.count_drop(Some(index), reason);
        }
    }

    pub(super) fn queue_data(
        &mut self,
        now: Time,
        index: usize,
        label: &str,
        is_binary: bool,
        payload: &Bytes,
    ) -> Result<(), Drop> {
        let transport = self.transports.get_mut(index).ok_or(Drop::NotConnected)?;
        let sctp = transport.sctp.as_mut().ok_or(Drop::NotConnected)?;
        let channel = sctp.channel(label).ok_or(Drop::NotConnected)?.id;
        sctp.send(channel, payload, is_binary)?;
        self.poll_sctp(now, index);
        self.mark_dirty(index);
        let at = self.session_deadline(index);
        self.arm(index, at);
        Ok(())
    }

    /// Whether a message with this label could be queued.
    pub(super) fn has_channel(&self, id: TransportId, label: &str) -> bool {
        let transport = self.by_id.get(&id).and_then(|&index| self.transports.get(index));
        let sctp = transport.and_then(|transport| transport.sctp.as_ref());
        sctp.is_some_and(|sctp| sctp.channel(label).is_some())
    }

    /// `transport` gets the messages of `source`, or no longer.
    pub(super) fn follow_data(&mut self, transport: TransportId, source: TransportId, is_following: bool) {
        if source.worker() != self.worker {
            let crossing = Crossing::FollowData { source, transport, is_following };
            return self.crossings.push_back((source.worker(), crossing));
        }
        let Some(&index) = self.by_id.get(&source) else { return };
        let Some(peer) = self.transports.get_mut(index) else { return };
        peer.data_followers.retain(|&follower| follower != transport);
        if is_following && transport != source && peer.data_followers.len() < MAX_DATA_FOLLOWERS {
            peer.data_followers.push(transport);
        }
    }
}
