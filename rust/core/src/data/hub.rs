//! One worker's part of a hub: its members, what they may say, who hears it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::envelope::{self, Envelope, Kind, Origin};
use super::recent::Recent;
use super::{Audience, Change, Destinations, Label, MAX_MEMBERS, Message, Names, Rights};
use crate::drop::Drop;
use crate::id::{DataTrackId, MemberId, TransportId};
use crate::stats::{MemberStats, Traffic};
use crate::time::Time;

/// How many answers the owner may wait for at once.
const MAX_EXPECTED: usize = 1024;

/// The length of a data track packet's fixed header.
const TRACK_HEADER: usize = 12;

/// One worker's part of a hub.
#[derive(Debug)]
pub struct Hub {
    worker: u8,
    members: BTreeMap<MemberId, Member>,
    /// Members of other workers, and these workers, a bit each.
    elsewhere: BTreeSet<MemberId>,
    workers: u64,
    recent: Recent,
    tracks: BTreeMap<DataTrackId, Track>,
    handles: BTreeMap<(MemberId, u16), DataTrackId>,
    expected: BTreeSet<Box<str>>,
    is_tapped: bool,
}

#[derive(Debug)]
struct Member {
    names: Names,
    rights: Rights,
    input: Option<TransportId>,
    output: Option<TransportId>,
    is_active: bool,
    is_listening: bool,
    /// It hears the reliable channel; until then it is told later.
    is_live: bool,
    /// The number of the first message that it has not been told.
    next: u64,
    last_sequence: u32,
    received: Traffic,
    sent: Traffic,
}

/// Who gets a data track.
#[derive(Debug, Default)]
struct Track {
    /// Members of this worker, with the number that their packets have.
    here: Vec<(MemberId, u16)>,
    elsewhere: BTreeSet<MemberId>,
}

/// What becomes of a message that a member said.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It goes to all who are to hear it.
    Message(Arc<Message>),
    /// It answers the owner's request with this id.
    Reply(Box<str>, Arc<Message>),
    /// It is a packet of this data track.
    Track(DataTrackId),
}

/// How a message reaches a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) output: Option<TransportId>,
    pub(crate) is_listening: bool,
}

impl Hub {
    /// The part of `worker`, without members.
    pub(crate) fn new(worker: u8) -> Self {
        Self {
            worker,
            members: BTreeMap::new(),
            elsewhere: BTreeSet::new(),
            workers: 0,
            recent: Recent::default(),
            tracks: BTreeMap::new(),
            handles: BTreeMap::new(),
            expected: BTreeSet::new(),
            is_tapped: false,
        }
    }

    /// Adds a member of this worker. The owner counts them; more than it may add are not added.
    pub(crate) fn add_member(&mut self, id: MemberId, names: Names, rights: Rights) {
        if self.members.len() + self.elsewhere.len() >= MAX_MEMBERS {
            return;
        }
        let member = Member {
            names,
            rights,
            input: None,
            output: None,
            is_active: false,
            is_listening: false,
            is_live: false,
            next: self.recent.next(),
            last_sequence: 0,
            received: Traffic::default(),
            sent: Traffic::default(),
        };
        self.members.insert(id, member);
    }

    pub(crate) fn add_elsewhere(&mut self, id: MemberId) {
        self.elsewhere.insert(id);
        self.workers = workers_of(&self.elsewhere);
    }

    /// Forgets a member of any worker with its subscriptions; its transports, if it lived here. Its tracks end on this worker,
    /// and on others when the owner says so.
    pub(crate) fn remove_member(&mut self, id: MemberId) -> (Option<TransportId>, Option<TransportId>) {
        if self.elsewhere.remove(&id) {
            self.workers = workers_of(&self.elsewhere);
        }
        let own: Vec<_> =
            self.handles.iter().filter(|((member, _), _)| *member == id).map(|(_, &track)| track).collect();
        for track in own {
            self.remove_track(track);
        }
        let worker = self.worker;
        self.tracks.retain(|track_id, track| {
            track.unsubscribe(id);
            track_id.worker() == worker || !track.here.is_empty()
        });
        self.members.remove(&id).map_or((None, None), |member| (member.input, member.output))
    }

    pub(crate) fn set_rights(&mut self, id: MemberId, rights: Rights) {
        if let Some(member) = self.members.get_mut(&id) {
            member.rights = rights;
        }
    }

    /// Gives a member other transports; those it had before.
    pub(crate) fn set_transports(
        &mut self,
        id: MemberId,
        input: Change,
        output: Change,
    ) -> Option<(Option<TransportId>, Option<TransportId>)> {
        let next = self.recent.next();
        let member = self.members.get_mut(&id)?;
        let before = (member.input, member.output);
        if let Change::Set(input) = input {
            member.input = input;
        }
        if let Change::Set(output) = output
            && output != member.output
        {
            member.output = output;
            member.fall_silent(next);
        }
        Some(before)
    }

    /// The members here with their transports.
    pub(crate) fn transports(&self) -> impl Iterator<Item = (MemberId, Option<TransportId>, Option<TransportId>)> {
        self.members.iter().map(|(&id, member)| (id, member.input, member.output))
    }

    pub(crate) fn activate(&mut self, id: MemberId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.is_active = true;
        }
    }

    pub(crate) fn set_listening(&mut self, id: MemberId, is_listening: bool) {
        let next = self.recent.next();
        if let Some(member) = self.members.get_mut(&id) {
            member.is_listening = is_listening;
            if !is_listening {
                member.fall_silent(next);
            }
        }
    }

    /// The reliable channel of a member closed: what is said from now on it is told when there is another.
    pub(crate) fn fall_silent(&mut self, id: MemberId) {
        let next = self.recent.next();
        if let Some(member) = self.members.get_mut(&id) {
            member.fall_silent(next);
        }
    }

    /// Lets a member hear the reliable channel, which is open or not, if it may; says what it missed meanwhile.
    pub(crate) fn wake(&mut self, now: Time, id: MemberId, is_open: bool) -> Vec<Arc<Message>> {
        let Some(member) = self.members.get_mut(&id) else { return Vec::new() };
        if member.is_live || !member.is_active || !(is_open || member.is_listening) {
            return Vec::new();
        }
        member.is_live = true;
        let missed = self.recent.since(now, member.next).filter(|message| member.is_among(id, message));
        missed.cloned().collect()
    }

    /// Takes what a member says.
    ///
    /// Fails with [`Drop::NotPermitted`], [`Drop::BadDataPacket`], [`Drop::Duplicate`] or [`Drop::UnknownDataTrack`].
    pub(crate) fn accept(
        &mut self,
        id: MemberId,
        label: &Label,
        is_binary: bool,
        payload: &Bytes,
    ) -> Result<Taken, Drop> {
        let member = self.members.get_mut(&id).ok_or(Drop::NotConnected)?;
        if !member.rights.may_publish {
            return Err(Drop::NotPermitted);
        }
        let kind = match label {
            Label::Reliable => Kind::Reliable,
            Label::Lossy => Kind::Lossy,
            Label::Track => {
                let handle = track_handle(payload).ok_or(Drop::BadDataPacket)?;
                let track = *self.handles.get(&(id, handle)).ok_or(Drop::UnknownDataTrack)?;
                member.received.count(payload.len());
                return Ok(Taken::Track(track));
            }
            Label::Other(_) => {
                member.received.count(payload.len());
                let to = Audience::Named(Destinations::default());
                let (label, payload) = (label.clone(), payload.clone());
                return Ok(Taken::Message(Arc::new(Message { from: Some(id), label, is_binary, payload, to })));
            }
        };
        let origin = Origin {
            sid: &member.names.sid,
            identity: &member.names.identity,
            is_hidden: member.rights.is_hidden,
            is_agent: member.rights.is_agent,
        };
        let Envelope { packet, sequence, to, reply_to } = envelope::admit(payload, &origin, kind)?;
        if kind == Kind::Reliable && sequence > 0 {
            // A client that resumes says again what it does not know to have arrived.
            if sequence <= member.last_sequence {
                return Err(Drop::Duplicate);
            }
            member.last_sequence = sequence;
        }
        member.received.count(payload.len());
        let message =
            Message { from: Some(id), label: label.clone(), is_binary: true, payload: packet, to: Audience::Named(to) };
        let expected = reply_to.filter(|request| self.expected.contains(request));
        Ok(match expected {
            Some(request) => Taken::Reply(request, Arc::new(message)),
            None => Taken::Message(Arc::new(message)),
        })
    }

    /// Appends to `out` the members here that hear a message now; those that cannot yet are told later if it is reliable.
    pub(crate) fn recipients(&mut self, now: Time, message: &Arc<Message>, out: &mut Vec<MemberId>) {
        let is_reliable = message.label == Label::Reliable;
        let mut is_anybody_late = false;
        for (&id, member) in &self.members {
            let can_hear = if is_reliable { member.is_live } else { member.is_active };
            is_anybody_late |= !can_hear;
            if can_hear && member.is_among(id, message) {
                out.push(id);
            }
        }
        if is_reliable {
            self.recent.push(now, message, is_anybody_late);
        }
    }

    /// How a member is reached.
    pub(crate) fn way_to(&self, id: MemberId) -> Option<Way> {
        self.members.get(&id).map(|member| Way { output: member.output, is_listening: member.is_listening })
    }

    /// Counts what was handed to a member.
    pub(crate) fn count_sent(&mut self, id: MemberId, bytes: usize) {
        if let Some(member) = self.members.get_mut(&id) {
            member.sent.count(bytes);
        }
    }

    /// The other workers with members, a bit each.
    pub(crate) fn workers(&self) -> u64 {
        self.workers
    }

    pub(crate) fn is_tapped(&self) -> bool {
        self.is_tapped
    }

    pub(crate) fn set_tapped(&mut self, is_tapped: bool) {
        self.is_tapped = is_tapped;
    }

    pub(crate) fn expect(&mut self, request: Box<str>, is_expected: bool) {
        if !is_expected {
            self.expected.remove(&request);
        } else if self.expected.len() < MAX_EXPECTED {
            self.expected.insert(request);
        }
    }

    pub(crate) fn add_track(&mut self, id: DataTrackId, publisher: MemberId, handle: u16) {
        if self.members.contains_key(&publisher) {
            self.handles.insert((publisher, handle), id);
            self.tracks.entry(id).or_default();
        }
    }

    pub(crate) fn remove_track(&mut self, id: DataTrackId) {
        self.tracks.remove(&id);
        self.handles.retain(|_, track| *track != id);
    }

    /// Gives a member a track under this number, or no longer. The track may be another worker's, or the member.
    pub(crate) fn subscribe(&mut self, track_id: DataTrackId, member: MemberId, handle: Option<u16>) {
        if track_id.worker() == self.worker && !self.tracks.contains_key(&track_id) {
            return;
        }
        let track = self.tracks.entry(track_id).or_default();
        track.unsubscribe(member);
        match handle {
            Some(handle) if self.members.contains_key(&member) => track.here.push((member, handle)),
            Some(_) if self.elsewhere.contains(&member) => {
                track.elsewhere.insert(member);
            }
            _ => {}
        }
        if track_id.worker() != self.worker && track.here.is_empty() {
            self.tracks.remove(&track_id);
        }
    }

    /// Who gets a track's packets here, with the number that they are to have.
    pub(crate) fn subscribers(&self, track: DataTrackId) -> Vec<(MemberId, u16)> {
        let is_active = |id: &MemberId| self.members.get(id).is_some_and(|member| member.is_active);
        let here = self.tracks.get(&track).map_or(&[][..], |track| &track.here);
        here.iter().copied().filter(|(id, _)| is_active(id)).collect()
    }

    /// The other workers that get a track's packets, a bit each.
    pub(crate) fn track_workers(&self, track: DataTrackId) -> u64 {
        self.tracks.get(&track).map_or(0, |track| workers_of(&track.elsewhere))
    }

    /// What was counted of each member here.
    pub(crate) fn stats(&self) -> impl Iterator<Item = MemberStats> {
        self.members.iter().map(|(&id, member)| MemberStats {
            member: id,
            last_sequence: member.last_sequence,
            received: member.received,
            sent: member.sent,
        })
    }
}

impl Member {
    fn fall_silent(&mut self, next: u64) {
        if self.is_live {
            self.is_live = false;
            self.next = next;
        }
    }

    fn is_among(&self, id: MemberId, message: &Message) -> bool {
        message.from != Some(id)
            && match &message.to {
                Audience::Named(to) => to.contains(&self.names.sid, &self.names.identity),
                Audience::Members(members) => members.binary_search(&id).is_ok(),
            }
    }
}

impl Track {
    fn unsubscribe(&mut self, member: MemberId) {
        self.here.retain(|(id, _)| *id != member);
        self.elsewhere.remove(&member);
    }
}

/// The workers of these members, a bit each.
fn workers_of(members: &BTreeSet<MemberId>) -> u64 {
    // Ordered by worker first: one step per worker, however many members it has.
    let (mut workers, mut from) = (0u64, MemberId::new(0, 0));
    while let Some(member) = members.range(from..).next() {
        workers |= 1 << (member.worker() & 63);
        let Some(next) = member.worker().checked_add(1) else { break };
        from = MemberId::new(next, 0);
    }
    workers
}

/// The publisher's number of a data track, at its place in the packet's header.
fn track_handle(packet: &[u8]) -> Option<u16> {
    let header = packet.first_chunk::<TRACK_HEADER>()?;
    let &[_, _, high, low, ..] = header;
    Some(u16::from_be_bytes([high, low]))
}

/// A data track's packet under another number; nothing else of it is read or changed, whatever its version.
pub(crate) fn with_handle(packet: &[u8], handle: u16) -> Bytes {
    let mut copy = packet.to_vec();
    if let Some(slot) = copy.get_mut(2..4) {
        slot.copy_from_slice(&handle.to_be_bytes());
    }
    copy.into()
}

#[cfg(test)]
mod tests;
