//! Hubs: what their members say, handed to those who hear it, here and on other workers.

use std::sync::Arc;

use bytes::Bytes;

use super::Router;
use crate::crossing::Crossing;
use crate::data::{Audience, Change, Hub, HubCommand, HubCrossing, Label, Message, Report, Seat, Taken, with_handle};
use crate::drop::Drop;
use crate::event::Event;
use crate::id::{DataTrackId, HubId, MemberId, TransportId};
use crate::time::Time;
use crate::transport::Transport;

impl Router {
    pub(super) fn handle_hub_command(&mut self, now: Time, id: HubId, command: HubCommand) {
        if let HubCommand::Open = command {
            self.hubs.entry(id).or_insert_with(|| Hub::new(self.worker));
            return;
        }
        let Some(hub) = self.hubs.get_mut(&id) else { return };
        match command {
            HubCommand::Open => {}
            HubCommand::Close => self.close_hub(id),
            HubCommand::AddMember { member, names, rights } => hub.add_member(member, names, rights),
            HubCommand::AddElsewhere(member) => hub.add_elsewhere(member),
            HubCommand::RemoveMember(member) => {
                let (input, output) = hub.remove_member(member);
                self.free_place(input, Place::Speaker, Seat { hub: id, member });
                self.free_place(output, Place::Hearer, Seat { hub: id, member });
            }
            HubCommand::SetRights { member, rights } => hub.set_rights(member, rights),
            HubCommand::SetTransports { member, input, output } => {
                self.set_transports(now, Seat { hub: id, member }, input, output);
            }
            HubCommand::Activate(member) => {
                hub.activate(member);
                self.wake_member(now, Seat { hub: id, member });
            }
            HubCommand::Listen { member, is_listening } => {
                hub.set_listening(member, is_listening);
                self.wake_member(now, Seat { hub: id, member });
            }
            HubCommand::Say { member, label, payload } => {
                self.hear_member(now, None, Seat { hub: id, member }, &label, true, &payload);
            }
            HubCommand::Send(message) => self.hand_out(now, id, &message),
            HubCommand::Tap(is_tapped) => hub.set_tapped(is_tapped),
            HubCommand::Expect { request, is_expected } => hub.expect(request, is_expected),
            HubCommand::AddTrack { track, publisher, handle } => hub.add_track(track, publisher, handle),
            HubCommand::RemoveTrack(track) => hub.remove_track(track),
            HubCommand::Subscribe { track, member, handle } => hub.subscribe(track, member, handle),
        }
    }

    pub(super) fn handle_hub_crossing(&mut self, now: Time, hub: HubId, crossing: HubCrossing) {
        match crossing {
            HubCrossing::Message(message) => self.hand_out(now, hub, &message),
            HubCrossing::Track { member, track, payload } => self.hand_out_track(now, hub, member, track, &payload),
        }
    }

    /// A member says something, by its transport if it has one.
    pub(super) fn hear_member(
        &mut self,
        now: Time,
        transport: Option<usize>,
        seat: Seat,
        label: &Label,
        is_binary: bool,
        payload: &Bytes,
    ) {
        let Seat { hub: id, member } = seat;
        let Some(hub) = self.hubs.get_mut(&id) else { return };
        match hub.accept(member, label, is_binary, payload) {
            Err(reason) => self.count_drop(transport, reason),
            Ok(Taken::Reply(request, message)) => {
                self.events.push_back(Event::MessageReported { hub: id, report: Report::Reply(request), message });
            }
            Ok(Taken::Message(message)) => {
                if hub.is_tapped() {
                    let message = message.clone();
                    self.events.push_back(Event::MessageReported { hub: id, report: Report::Tapped, message });
                }
                let workers = hub.workers();
                self.cross_hub(id, workers, || HubCrossing::Message(message.clone()));
                self.hand_out(now, id, &message);
            }
            Ok(Taken::Track(track)) => {
                let workers = hub.track_workers(track);
                self.cross_hub(id, workers, || HubCrossing::Track { member, track, payload: payload.clone() });
                self.hand_out_track(now, id, member, track, payload);
            }
        }
    }

    fn cross_hub(&mut self, hub: HubId, mut workers: u64, crossing: impl Fn() -> HubCrossing) {
        while workers != 0 {
            let worker = u8::try_from(workers.trailing_zeros()).unwrap_or(0);
            workers &= workers - 1;
            self.crossings.push_back((worker, Crossing::Hub(hub, crossing())));
        }
    }

    /// Hands a message to all members here that hear it.
    fn hand_out(&mut self, now: Time, id: HubId, message: &Arc<Message>) {
        let mut hearers = std::mem::take(&mut self.hearers);
        if let Some(hub) = self.hubs.get_mut(&id) {
            hub.recipients(now, message, &mut hearers);
        }
        for member in hearers.drain(..) {
            self.hand_over(now, Seat { hub: id, member }, message);
        }
        self.hearers = hearers;
    }

    fn hand_over(&mut self, now: Time, seat: Seat, message: &Arc<Message>) {
        let Some(way) = self.hubs.get(&seat.hub).and_then(|hub| hub.way_to(seat.member)) else { return };
        if way.is_listening {
            let (report, message) = (Report::Heard(seat.member), message.clone());
            self.events.push_back(Event::MessageReported { hub: seat.hub, report, message });
        }
        if let Some(output) = way.output {
            self.say_to(now, seat, output, &message.label, message.is_binary, &message.payload);
        }
    }

    /// Queues a message for a member. Without a channel of that label it is lost, but for a label of the members' own choice
    /// that only means that this one does not take part.
    fn say_to(&mut self, now: Time, seat: Seat, output: TransportId, label: &Label, is_binary: bool, payload: &Bytes) {
        let Some(&index) = self.by_id.get(&output) else { return };
        match self.queue_data(now, index, label.as_str(), is_binary, payload) {
            Ok(()) => {
                if let Some(hub) = self.hubs.get_mut(&seat.hub) {
                    hub.count_sent(seat.member, payload.len());
                }
            }
            Err(Drop::NotConnected) if matches!(label, Label::Other(_)) => {}
            Err(reason) => self.count_drop(Some(index), reason),
        }
    }

    /// Hands a data track's packet to its subscribers here, each with the number that it has for the subscriber.
    fn hand_out_track(&mut self, now: Time, id: HubId, from: MemberId, track: DataTrackId, packet: &Bytes) {
        let subscribers = self.hubs.get(&id).map(|hub| hub.subscribers(track)).unwrap_or_default();
        let mut written: Option<(u16, Bytes)> = None;
        for (member, handle) in subscribers {
            // Most subscribers count their tracks alike: one copy does for all of those.
            let payload = match &written {
                Some((same, payload)) if *same == handle => payload.clone(),
                _ => with_handle(packet, handle),
            };
            written = Some((handle, payload.clone()));
            let Some(way) = self.hubs.get(&id).and_then(|hub| hub.way_to(member)) else { continue };
            if way.is_listening {
                let to = Audience::Members(Box::new([member]));
                let (from, label, payload) = (Some(from), Label::Track, payload.clone());
                let message = Message { from, label, is_binary: true, payload, to };
                let (report, message) = (Report::Heard(member), Arc::new(message));
                self.events.push_back(Event::MessageReported { hub: id, report, message });
            }
            if let Some(output) = way.output {
                self.say_to(now, Seat { hub: id, member }, output, &Label::Track, true, &payload);
            }
        }
    }

    /// Lets a member hear the reliable channel if it can, beginning with what it missed.
    pub(super) fn wake_member(&mut self, now: Time, seat: Seat) {
        let output = self.hubs.get(&seat.hub).and_then(|hub| hub.way_to(seat.member)).and_then(|way| way.output);
        let is_open = output.is_some_and(|output| self.has_channel(output, Label::Reliable.as_str()));
        let Some(hub) = self.hubs.get_mut(&seat.hub) else { return };
        for message in hub.wake(now, seat.member, is_open) {
            self.hand_over(now, seat, &message);
        }
    }

    /// One of a member's channels closed: if it was the reliable one, it hears no more until there is another.
    pub(super) fn hush_member(&mut self, now: Time, seat: Seat) {
        let Some(hub) = self.hubs.get_mut(&seat.hub) else { return };
        hub.fall_silent(seat.member);
        self.wake_member(now, seat);
    }

    fn set_transports(&mut self, now: Time, seat: Seat, input: Change, output: Change) {
        let Some(hub) = self.hubs.get_mut(&seat.hub) else { return };
        let Some((old_input, old_output)) = hub.set_transports(seat.member, input, output) else { return };
        if let Change::Set(input) = input {
            self.free_place(old_input, Place::Speaker, seat);
            self.take_place(input, Place::Speaker, seat);
        }
        if let Change::Set(output) = output {
            self.free_place(old_output, Place::Hearer, seat);
            self.take_place(output, Place::Hearer, seat);
        }
        self.wake_member(now, seat);
    }

    /// Gives a member a place at a transport; whoever had it before has none any more.
    fn take_place(&mut self, transport: Option<TransportId>, place: Place, seat: Seat) {
        let index = transport.and_then(|transport| self.by_id.get(&transport).copied());
        let Some(transport) = index.and_then(|index| self.transports.get_mut(index)) else { return };
        let before = place.of(transport).replace(seat).filter(|before| *before != seat);
        if let Some(before) = before {
            self.leave(before, place);
        }
    }

    /// A transport that had these places is gone.
    pub(super) fn leave_all(&mut self, speaker: Option<Seat>, hearer: Option<Seat>) {
        for (seat, place) in [(speaker, Place::Speaker), (hearer, Place::Hearer)] {
            if let Some(seat) = seat {
                self.leave(seat, place);
            }
        }
    }

    fn leave(&mut self, seat: Seat, place: Place) {
        let (input, output) = match place {
            Place::Speaker => (Change::Set(None), Change::Keep),
            Place::Hearer => (Change::Keep, Change::Set(None)),
        };
        if let Some(hub) = self.hubs.get_mut(&seat.hub) {
            hub.set_transports(seat.member, input, output);
        }
    }

    /// The transport has no such member any more.
    fn free_place(&mut self, transport: Option<TransportId>, place: Place, seat: Seat) {
        let index = transport.and_then(|transport| self.by_id.get(&transport).copied());
        if let Some(transport) = index.and_then(|index| self.transports.get_mut(index))
            && *place.of(transport) == Some(seat)
        {
            *place.of(transport) = None;
        }
    }

    fn close_hub(&mut self, id: HubId) {
        let Some(hub) = self.hubs.remove(&id) else { return };
        for (member, input, output) in hub.transports() {
            let seat = Seat { hub: id, member };
            self.free_place(input, Place::Speaker, seat);
            self.free_place(output, Place::Hearer, seat);
        }
    }
}

/// What a member does at a transport.
#[derive(Clone, Copy)]
enum Place {
    Speaker,
    Hearer,
}

impl Place {
    fn of(self, transport: &mut Transport) -> &mut Option<Seat> {
        match self {
            Self::Speaker => &mut transport.speaker,
            Self::Hearer => &mut transport.hearer,
        }
    }
}
