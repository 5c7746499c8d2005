//! What the owner asks for, done.

use core::time::Duration;

use super::delay::Wait;
use super::playout::Playout;
use super::protection::Protection;
use super::redundancy::Redundancy;
use super::wishes::{apply_wishes, feedback_of, payload_types, shape_of};
use super::{Copy, Feed, Intake, Owner, Router, Share, narrow, source_of};
use crate::bandwidth::{Bandwidth, Feedback};
use crate::command::{Command, Remote, Security};
use crate::crossing::Crossing;
use crate::event::{Event, Reason, TransportState};
use crate::fec::Recovery;
use crate::id::{ReceiverId, SenderId, TransportId};
use crate::parameters::{Kind, ReceiverParameters, SenderParameters};
use crate::payload::{Codec, Reader};
use crate::receive::{Arrivals, Liveness, Receiver};
use crate::rtp::ExtensionKind;
use crate::send::{Layer, Sender, Source, Start};
use crate::speaker::Meter;
use crate::time::Time;
use crate::transport::Transport;

/// How long a peer may take from being expected to media: browsers with slow networks need some ten seconds.
const CONNECT_PATIENCE: Duration = Duration::from_secs(60);

/// Packets that a copy remembers for retransmission: two seconds of video at 250 packets a second, and of audio at 50.
const VIDEO_HISTORY: u16 = 512;
const AUDIO_HISTORY: u16 = 128;

impl Router {
    /// Does what the owner asks for. What it asks about a peer that is gone meanwhile is no error: the two crossed.
    pub fn handle_command(&mut self, now: Time, command: Command) {
        self.fan_out_waiting(now);
        match command {
            Command::AddTransport { transport, security } => self.add_transport(now, transport, *security),
            Command::SetRemote { transport, remote } => self.set_remote(now, transport, &remote),
            Command::AddCandidate { transport, candidate } => {
                self.with_transport(now, transport, |transport| {
                    if let Some(session) = &mut transport.session {
                        session.ice.add_remote(*candidate);
                    }
                });
            }
            Command::RestartIce { transport, local } => self.restart_ice(now, transport, local),
            Command::CloseTransport(transport) => {
                if let Some(&index) = self.by_id.get(&transport) {
                    self.close_transport(now, index);
                }
            }
            Command::AddReceiver { transport, receiver, parameters } => {
                self.add_receiver(transport, receiver, *parameters);
            }
            Command::RemoveReceiver(receiver) => {
                if let Some(&feed) = self.feed_by_id.get(&receiver) {
                    self.remove_feed(feed);
                }
            }
            Command::AddSender { transport, sender, source, parameters } => {
                self.add_sender(now, transport, sender, source, *parameters);
            }
            Command::RemoveSender(sender) => {
                if let Some(&copy) = self.copy_by_id.get(&sender) {
                    self.remove_copy(copy);
                }
            }
            Command::Follow { sender, source } => self.follow(now, sender, source),
            Command::Prefer { sender, most, priority } => {
                self.with_copy(now, sender, |copy| (copy.most, copy.priority) = (most, priority));
            }
            Command::AllowPause { transport, is_allowed } => {
                self.with_transport(now, transport, |transport| transport.may_pause = is_allowed);
            }
            Command::Pause { sender, is_paused } => {
                self.with_copy(now, sender, |copy| copy.is_paused = is_paused);
                self.forgive(sender);
            }
            Command::RequestKeyframe { receiver, encoding } => {
                if let Some(&feed) = self.feed_by_id.get(&receiver) {
                    let encodings = encoding.map_or(0b111, |encoding| 1 << encoding.min(7));
                    self.request_keyframes(now, feed, encodings);
                }
            }
            Command::OpenChannel { transport, open, negotiated } => {
                let Some(&index) = self.by_id.get(&transport) else { return };
                let Some(transport) = self.transports.get_mut(index) else { return };
                if let Err(reason) = transport.open_channel(open, negotiated) {
                    self.count_drop(Some(index), reason);
                }
                self.poll_session(now, index);
            }
            Command::SendData { transport, label, is_binary, payload } => {
                self.send_data(now, transport, &label, is_binary, &payload);
            }
            Command::FollowData { transport, source, is_following } => {
                self.follow_data(transport, source, is_following);
            }
            Command::Hub(hub, command) => self.handle_hub_command(now, hub, command),
            Command::Tap { label, is_tapped } => {
                self.tapped.retain(|tapped| *tapped != label);
                if is_tapped {
                    self.tapped.push(label);
                }
            }
            Command::SetLocals(locals) => self.locals = locals,
            Command::PathClosed { local, remote } => {
                let path = crate::ice::Path { via: crate::ice::Via::Tcp, local, remote };
                if let Some(Owner::Heard(index) | Owner::Checked(index)) = self.by_path.remove(&path)
                    && let Some(transport) = self.transports.get_mut(index)
                {
                    transport.paths.retain(|other| *other != path);
                    if transport.path == Some(path) {
                        transport.path = transport.paths.first().copied();
                    }
                }
            }
        }
    }

    fn add_transport(&mut self, now: Time, id: TransportId, security: Security) {
        let (seed, gives_up_at) = (self.random.next(), now + CONNECT_PATIENCE);
        let is_full = self.transports.len() >= self.limits.max_transports;
        let made = Transport::new(now, id, security, &self.locals, seed, gives_up_at);
        let Some(transport) = made.filter(|_| !is_full) else {
            self.events.push_back(Event::TransportChanged {
                transport: id,
                state: TransportState::Failed,
                reason: Reason::Fault,
            });
            return;
        };
        let path = transport.path;
        let ufrag = transport.session.as_ref().map(|session| session.ice.ufrag().to_owned());
        let index = self.transports.insert(transport);
        self.by_id.insert(id, index);
        if let Some(ufrag) = ufrag {
            self.by_ufrag.insert(ufrag, index);
        }
        if let Some(path) = path {
            self.by_path.insert(path, Owner::Heard(index));
            self.claim(path, true);
            if let Some(transport) = self.transports.get_mut(index) {
                transport.paths.push(path);
            }
            self.events.push_back(Event::TransportChanged {
                transport: id,
                state: TransportState::Connected,
                reason: Reason::Normal,
            });
        }
        self.poll_session(now, index);
    }

    fn set_remote(&mut self, now: Time, id: TransportId, remote: &Remote) {
        let instant = self.instant(now);
        self.with_transport(now, id, |transport| transport.set_remote(instant, remote));
    }

    fn restart_ice(&mut self, now: Time, id: TransportId, local: is::IceCreds) {
        let Some(&index) = self.by_id.get(&id) else { return };
        let Some(session) = self.transports.get_mut(index).and_then(|transport| transport.session.as_mut()) else {
            return;
        };
        let old = session.ice.ufrag().to_owned();
        self.by_ufrag.remove(&old);
        self.by_ufrag.insert(local.ufrag.clone(), index);
        session.ice.restart(local);
        self.poll_session(now, index);
    }

    fn with_transport(&mut self, now: Time, id: TransportId, change: impl FnOnce(&mut Transport)) {
        let Some(&index) = self.by_id.get(&id) else { return };
        self.current = Some(index);
        if let Some(transport) = self.transports.get_mut(index) {
            change(transport);
        }
        self.poll_session(now, index);
        self.current = None;
    }

    fn add_receiver(&mut self, transport_id: TransportId, id: ReceiverId, parameters: ReceiverParameters) {
        let Some(&index) = self.by_id.get(&transport_id) else { return };
        let Some(transport) = self.transports.get_mut(index) else { return };
        let interval = Duration::from_millis(u64::from(self.limits.keyframe_interval_ms));
        let free = transport.receivers.iter().position(Option::is_none).unwrap_or(transport.receivers.len());
        let number = u16::try_from(free).unwrap_or(u16::MAX);
        let made = Receiver::new(&parameters, interval).ok();
        let bound = made.filter(|_| transport.bindings.add(number, &parameters).is_ok());
        let Some(receiver) = bound else {
            // The owner was told of every rule it could have kept; a track that cannot be bound has simply ended.
            self.events.push_back(Event::ReceiverEnded { receiver: id });
            return;
        };
        for (kind, number) in parameters.extensions.iter() {
            transport.extensions.set(kind, number);
        }
        let has_transport_cc = parameters.extensions.id(ExtensionKind::TransportCc).is_some()
            && parameters.codecs.iter().any(|codec| codec.transport_cc);
        if has_transport_cc && transport.arrivals.is_none() {
            transport.arrivals = Some(Box::new(Arrivals::new()));
        }
        let codec = parameters.codecs.first().map_or(Codec::Opaque, |codec| codec.codec);
        let has_level = parameters.kind == Kind::Audio && parameters.extensions.id(ExtensionKind::AudioLevel).is_some();
        let clock_rate = parameters.codecs.first().map_or(48_000, |codec| codec.clock_rate);
        let meter = has_level.then(|| Meter::new(self.limits.speaking, clock_rate));
        let readers = parameters.encodings.iter().map(|_| Reader::new(codec)).collect();
        let intake = Box::new(Intake {
            transport: index,
            number,
            receiver,
            readers,
            has_started: Default::default(),
            keyframe_requests: Default::default(),
            meter,
            recovery: recovery_of(&parameters),
        });
        let feed = self.feeds.insert(Feed {
            id,
            layers: super::layer_rates(&parameters),
            openings: super::openings(&parameters),
            parameters: Some(parameters),
            intake: Some(intake),
            senders: Vec::new(),
            workers: 0,
            clocks: Default::default(),
            liveness: Liveness::default(),
            asked_at: Default::default(),
        });
        self.feed_by_id.insert(id, feed);
        if free == transport.receivers.len() {
            transport.receivers.push(None);
        }
        if let Some(slot) = transport.receivers.get_mut(free) {
            *slot = Some(narrow(feed));
        }
    }

    /// Forgets a track: its copies go on existing, without a source.
    pub(super) fn remove_feed(&mut self, index: usize) {
        let Some(feed) = self.feeds.try_remove(index) else { return };
        self.feed_by_id.remove(&feed.id);
        if let Some(intake) = feed.intake
            && let Some(transport) = self.transports.get_mut(intake.transport)
        {
            // A peer that publishes again and again would else use up the SSRCs that SRTP keeps a state for.
            let Transport { bindings, inbound, .. } = transport;
            bindings.remove(intake.number, |ssrc| {
                if let Some(inbound) = inbound {
                    inbound.forget(ssrc);
                }
            });
            if let Some(slot) = transport.receivers.get_mut(usize::from(intake.number)) {
                *slot = None;
            }
            let workers = (0..64u8).filter(|&worker| feed.workers & (1 << worker) != 0);
            self.crossings.extend(workers.map(|worker| (worker, Crossing::Gone { receiver: feed.id })));
        }
    }

    fn add_sender(
        &mut self,
        now: Time,
        transport_id: TransportId,
        id: SenderId,
        source: ReceiverId,
        parameters: SenderParameters,
    ) {
        let Some(&transport) = self.by_id.get(&transport_id) else { return };
        let (ssrc, rtx_ssrc, feedback) = (
            parameters.ssrc,
            parameters.rtx_ssrc,
            feedback_of(&parameters).filter(|_| self.limits.estimates_bandwidth),
        );
        let redundancy = Redundancy::of(&parameters);
        #[allow(clippy::cast_possible_truncation)] // any number will do
        let first = self.random.next() as u16;
        let fec = parameters.fec.filter(|_| feedback == Some(Feedback::TransportCc));
        let protection = fec.map(|fec| Box::new(Protection::new(fec, first)));
        let start = self.limits.start_bitrate;
        let copy = self.copies.insert(Copy {
            id,
            transport,
            parameters,
            sender: None,
            source,
            most: Layer { spatial: u8::MAX, temporal: u8::MAX },
            priority: 0,
            is_paused: false,
            share: Share::default(),
            is_numbered: feedback.is_some(),
            redundancy,
            playout: Playout::default(),
            protection,
            dropped: 0,
            nacks: 0,
            wait: Wait::default(),
        });
        self.copy_by_id.insert(id, copy);
        if let Some(transport) = self.transports.get_mut(transport) {
            transport.senders.push(narrow(copy));
            if let Some(feedback) = feedback {
                let bandwidth =
                    transport.bandwidth.get_or_insert_with(|| Box::new(Bandwidth::new(now, feedback, start)));
                if feedback == Feedback::TransportCc {
                    bandwidth.feedback = feedback;
                }
            }
            transport.add_sender_ssrc(ssrc, narrow(copy));
            if let Some(rtx_ssrc) = rtx_ssrc {
                transport.add_sender_ssrc(rtx_ssrc, narrow(copy));
            }
        }
        self.attach(now, copy, source);
    }

    fn follow(&mut self, now: Time, id: SenderId, source: ReceiverId) {
        let Some(&copy) = self.copy_by_id.get(&id) else { return };
        self.attach(now, copy, source);
    }

    /// Makes a copy follow a track, of this worker or another.
    fn attach(&mut self, now: Time, copy_index: usize, source: ReceiverId) {
        let feed_index = match self.feed_by_id.get(&source) {
            Some(&feed) => feed,
            None if source.worker() != self.worker => self.add_foreign_feed(source),
            None => return,
        };
        if let Some(copy) = self.copies.get_mut(copy_index) {
            copy.source = source;
        }
        if let Some(feed) = self.feeds.get_mut(feed_index)
            && !feed.senders.contains(&narrow(copy_index))
        {
            feed.senders.push(narrow(copy_index));
        }
        self.attach_source(now, copy_index, feed_index);
    }

    /// Gives a copy its source, once it is known how the track is cut.
    pub(super) fn attach_source(&mut self, now: Time, copy_index: usize, feed_index: usize) {
        let start = self.start_of(copy_index);
        let Some(feed) = self.feeds.get(feed_index) else { return };
        let Some(parameters) = &feed.parameters else { return };
        let Some(copy) = self.copies.get_mut(copy_index) else { return };
        let source = Source {
            id: source_of(feed.id),
            shape: shape_of(parameters),
            clock_rate: parameters.codecs.first().map_or(90_000, |codec| codec.clock_rate),
            payload_types: payload_types(parameters, &copy.parameters),
            clocks: feed.clocks,
        };
        match (&mut copy.sender, start) {
            (Some(sender), _) => sender.switch_source(source),
            (None, Some(start)) => copy.sender = Some(Sender::new(start, source)),
            (None, None) => return,
        }
        apply_wishes(copy, feed);
        let transport = copy.transport;
        self.allocate_soon(now, transport);
        self.request_wanted(now, copy_index);
        self.drop_old_sources(copy_index);
    }

    fn start_of(&mut self, copy_index: usize) -> Option<Start> {
        let parameters = &self.copies.get(copy_index)?.parameters;
        let (first, second) = (self.random.next(), self.random.next());
        #[allow(clippy::cast_possible_truncation)]
        Some(Start {
            ssrc: parameters.ssrc,
            rtx_ssrc: parameters.rtx_ssrc,
            sequence_number: (first as u16) & 0x7FFF,
            rtx_sequence_number: ((first >> 16) as u16) & 0x7FFF,
            timestamp: second as u32,
            history: match parameters.kind {
                Kind::Video => VIDEO_HISTORY,
                Kind::Audio => AUDIO_HISTORY,
            },
        })
    }

    /// A copy that moved on leaves the lists of all tracks but the one it follows and the one it still forwards.
    pub(super) fn drop_old_sources(&mut self, copy_index: usize) {
        let Some(copy) = self.copies.get(copy_index) else { return };
        let forwarded = copy.sender.as_ref().and_then(Sender::forwarded_source);
        let (wanted, number) = (copy.source, narrow(copy_index));
        let mut left = Vec::new();
        for (index, feed) in &mut self.feeds {
            if feed.id != wanted && Some(source_of(feed.id)) != forwarded && feed.senders.contains(&number) {
                feed.senders.retain(|&sender| sender != number);
                left.push(index);
            }
        }
        for index in left {
            self.release_foreign_feed(index);
        }
    }

    fn with_copy(&mut self, now: Time, id: SenderId, change: impl FnOnce(&mut Copy)) {
        let Some(&index) = self.copy_by_id.get(&id) else { return };
        if let Some(copy) = self.copies.get_mut(index) {
            change(copy);
            let transport = copy.transport;
            match self.feed_by_id.get(&copy.source).and_then(|&feed| self.feeds.get(feed)) {
                Some(feed) => apply_wishes(copy, feed),
                // The track it is to follow is gone, but the one before may still be forwarded.
                None if copy.is_paused => copy.sender.iter_mut().for_each(Sender::pause),
                None => {}
            }
            self.allocate_soon(now, transport);
        }
        self.announce_layer(index);
        self.request_wanted(now, index);
    }

    /// Encodings of a track came or went: every follower gets the best of what is left. The keyframes they need are asked for
    /// when the packet that told of it passes them by, since that may be the first of one.
    pub(super) fn retarget(&mut self, feed_index: usize) {
        let Some(feed) = self.feeds.get(feed_index) else { return };
        for &index in &feed.senders {
            if let Some(copy) = self.copies.get_mut(index as usize).filter(|copy| copy.source == feed.id) {
                apply_wishes(copy, feed);
            }
        }
    }

    /// Ends a copy.
    pub(super) fn remove_copy(&mut self, index: usize) {
        let Some(copy) = self.copies.try_remove(index) else { return };
        let number = narrow(index);
        self.copy_by_id.remove(&copy.id);
        if let Some(transport) = self.transports.get_mut(copy.transport) {
            transport.senders.retain(|&sender| sender != number);
            transport.sender_ssrcs.retain(|&(_, sender)| sender != number);
            transport.queue.retain(|queued| queued.sender != number);
            if let Some(bandwidth) = &mut transport.bandwidth {
                bandwidth.forget(number);
            }
        }
        let mut left = Vec::new();
        for (index, feed) in &mut self.feeds {
            if feed.senders.contains(&number) {
                feed.senders.retain(|&sender| sender != number);
                left.push(index);
            }
        }
        for index in left {
            self.release_foreign_feed(index);
        }
    }
}

/// What makes a track's lost packets again: where it has one encoding and its repair packets have an SSRC that was announced.
fn recovery_of(parameters: &ReceiverParameters) -> Option<Box<Recovery>> {
    let [only] = parameters.encodings.as_slice() else { return None };
    parameters.fec.and(only.fec_ssrc).map(|_| Box::new(Recovery::new(None)))
}
