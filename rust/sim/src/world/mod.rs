//! One run: routers, peers, the network between, and virtual time that jumps from one event to the next.

mod outcome;
mod plan;
mod sabotage;
mod worker;

pub use outcome::{Outcome, ViewOutcome};
pub use plan::{Act, PeerId, Plan, TrackId, ViewId};
pub use sabotage::Sabotage;

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::SocketAddr;

use rtpcore_core::Ssrc;
use rtpcore_core::Time;
use rtpcore_core::command::{Command, Security};
use rtpcore_core::crossing::Crossing;
use rtpcore_core::event::Event;
use rtpcore_core::ice::{Path, Via};
use rtpcore_core::id::{ReceiverId, SenderId, TransportId};
use rtpcore_core::send::Layer;

use crate::dice::{Dice, Digest};
use crate::faults::{Trouble, Way, forge};
use crate::links::Link;
use crate::media::Track;
use crate::oracle::{Egress, Ingress, Violation};
use crate::peer::{KeyRing, Label, Peer, Studio, View};
use sabotage::Saboteur;
use worker::{Input, Worker};

/// From one worker to another.
const CROSSING: Duration = Duration::from_micros(20);
/// Datagrams kept for replays, per direction.
const KEPT: usize = 400;

/// What happens next.
enum Happening {
    Act(usize),
    ToRouter { peer: usize, bytes: Vec<u8>, label: Option<Label> },
    ToPeer { peer: usize, bytes: Vec<u8> },
    Cross { from: u8, to: u8, crossing: Crossing },
    WakeWorker(usize),
    WakePeer(usize),
    Forge(usize),
}

/// A peer with its path.
struct Place {
    peer: Peer,
    keys: KeyRing,
    path: Path,
    worker: usize,
    up: Link,
    down: Link,
    dice: Dice,
    egress: Egress,
    saboteur: Option<Saboteur>,
    past: [Vec<(Vec<u8>, Option<Label>)>; 2],
    wake_at: Time,
    /// Counts what was sent, so that a copy of the same datagram has another fate.
    count: u64,
}

/// What a view is up to.
#[derive(Clone, Debug)]
struct ViewState {
    peer: usize,
    track: usize,
    has_rtx: bool,
    is_active: bool,
    is_paused: bool,
    most: Layer,
    changed_at: Time,
    /// Spans in which nothing is wanted.
    paused: Vec<(Time, Time)>,
    /// When its stream was told to end.
    cuts: Vec<Time>,
}

impl ViewState {
    fn end(&mut self, now: Time) {
        self.is_active = false;
        self.paused.push((now, Time::NEVER));
        self.cuts.push(now);
    }
}

/// The whole of it.
struct World<'a> {
    plan: &'a Plan,
    now: Time,
    queue: BTreeMap<(Time, u64), Happening>,
    order: u64,
    workers: Vec<Worker>,
    places: Vec<Place>,
    by_address: BTreeMap<SocketAddr, usize>,
    tracks: Vec<Track>,
    is_published: Vec<bool>,
    views: Vec<ViewState>,
    studio: Studio,
    ingress: Ingress,
    digest: Digest,
    sent: u64,
    events: Vec<(Time, Event)>,
    violations: Vec<Violation>,
}

/// Plays a plan to its end.
pub(crate) fn run(plan: &Plan) -> Outcome {
    let mut world = World::new(plan);
    while let Some(((at, _), happening)) = world.queue.pop_first() {
        if at >= plan.ends_at() {
            break;
        }
        world.now = at;
        world.handle(happening);
    }
    world.now = plan.ends_at();
    world.conclude()
}

impl<'a> World<'a> {
    fn new(plan: &'a Plan) -> Self {
        let mut world = Self {
            plan,
            now: Time::ZERO,
            queue: BTreeMap::new(),
            order: 0,
            workers: (0..plan.workers).map(|number| Worker::new(plan, number)).collect(),
            places: Vec::new(),
            by_address: BTreeMap::new(),
            tracks: plan.tracks.iter().map(|track| track.track).collect(),
            is_published: vec![false; plan.tracks.len()],
            views: Vec::new(),
            studio: Studio::default(),
            ingress: Ingress::default(),
            digest: Digest::default(),
            sent: 0,
            events: Vec::new(),
            violations: Vec::new(),
        };
        for number in 0..plan.peers.len() {
            world.add_place(number);
        }
        world.views = plan
            .views
            .iter()
            .map(|view| ViewState {
                peer: view.peer.0,
                track: view.track.0,
                has_rtx: view.has_rtx,
                is_active: false,
                is_paused: false,
                most: Layer { spatial: u8::MAX, temporal: u8::MAX },
                changed_at: Time::ZERO,
                paused: Vec::new(),
                cuts: Vec::new(),
            })
            .collect();
        for (index, (at, _)) in plan.acts.iter().enumerate() {
            world.schedule(*at, Happening::Act(index));
        }
        for (index, fault) in plan.faults.0.iter().enumerate() {
            if matches!(fault.trouble, Trouble::Forge(..)) {
                world.schedule(fault.from, Happening::Forge(index));
            }
        }
        world
    }

    fn add_place(&mut self, number: usize) {
        let plan = &self.plan.peers[number];
        let (host, port) = (u8::try_from(number % 250).unwrap_or(0), u16::try_from(5000 + number / 250).unwrap_or(0));
        let worker = plan.worker % usize::from(self.plan.workers.max(1));
        let local = ([192, 0, 2, 1], 7000 + u16::try_from(worker).unwrap_or(0)).into();
        let path = Path { via: Via::Udp, local, remote: ([10, 0, 0, host], port).into() };
        let keys = KeyRing::new(self.plan.seed, number);
        let part = number as u64 * 8;
        let link = |conditions, way| Link::new(conditions, Dice::fork(self.plan.seed, part + way).next());
        self.by_address.insert(path.remote, number);
        self.places.push(Place {
            peer: Peer::new(number, &keys),
            egress: Egress::new(&keys),
            saboteur: self.plan.sabotage.map(|sabotage| Saboteur::new(sabotage, &keys)),
            keys,
            path,
            worker,
            up: link(plan.up, 0),
            down: link(plan.down, 1),
            dice: Dice::fork(self.plan.seed, part + 2),
            past: Default::default(),
            wake_at: Time::NEVER,
            count: 0,
        });
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        self.order += 1;
        self.queue.insert((at.max(self.now), self.order), happening);
    }

    fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::Act(index) => self.act(&self.plan.acts[index].1),
            Happening::ToRouter { peer, bytes, label } => {
                let (path, worker) = (self.places[peer].path, self.places[peer].worker);
                self.give(worker, Input::Datagram { path, bytes, label });
            }
            Happening::ToPeer { peer, bytes } => {
                if self.places[peer].peer.is_present {
                    self.places[peer].peer.handle_datagram(self.now, &bytes, &self.studio);
                    self.serve_peer(peer);
                }
            }
            Happening::Cross { from, to, crossing } => self.give(usize::from(to), Input::Crossing { from, crossing }),
            Happening::WakeWorker(worker) => self.run_worker(worker),
            Happening::WakePeer(peer) => {
                if self.places[peer].wake_at <= self.now {
                    self.places[peer].wake_at = Time::NEVER;
                    self.serve_peer(peer);
                }
            }
            Happening::Forge(index) => self.forge(index),
        }
    }

    /// Puts something in a worker's inbox and sees to it that it looks there soon.
    fn give(&mut self, worker: usize, input: Input) {
        if let Some(at) = self.workers[worker].give(self.now, input) {
            self.schedule(at, Happening::WakeWorker(worker));
        }
    }

    fn command(&mut self, worker: u8, command: Command) {
        self.give(usize::from(worker), Input::Command(Box::new(command)));
    }

    fn run_worker(&mut self, number: usize) {
        let now = self.now;
        if !self.workers[number].is_due(now) {
            return;
        }
        let ingress = &mut self.ingress;
        self.workers[number].turn(now, |label| ingress.add(now, label));
        let mut sent = std::mem::take(&mut self.workers[number].sent);
        for (path, bytes) in sent.drain(..) {
            if let Some(&peer) = self.by_address.get(&path.remote) {
                self.leave_router(peer, bytes);
            }
        }
        self.workers[number].sent = sent;
        while let Some((to, crossing)) = self.workers[number].poll_crossing() {
            let from = u8::try_from(number).unwrap_or(0);
            self.schedule(now + CROSSING, Happening::Cross { from, to, crossing });
        }
        while let Some(event) = self.workers[number].poll_event() {
            self.digest.bytes(format!("{event:?}").as_bytes());
            self.events.push((now, event));
        }
        if let Some(at) = self.workers[number].next_wake() {
            self.schedule(at, Happening::WakeWorker(number));
        }
    }

    /// One datagram from a router to a peer: noted, judged, and into the network.
    fn leave_router(&mut self, peer: usize, bytes: Vec<u8>) {
        let now = self.now;
        self.sent += 1;
        self.digest.number(now.as_nanos());
        self.digest.number(peer as u64);
        self.digest.bytes(&bytes);
        let altered = match &mut self.places[peer].saboteur {
            Some(saboteur) => saboteur.alter(now, bytes),
            None => vec![bytes],
        };
        for bytes in altered {
            let plan = self.plan;
            // Computed from the number alone, so that no peer need be borrowed.
            let wall_of = |track: u16, at: Time| plan.wall_of(track, at);
            self.places[peer].egress.handle(now, &bytes, &self.studio, &self.tracks, &wall_of);
            self.carry(peer, Way::Down, bytes, None);
        }
    }

    /// Lets a peer do what is due, and takes what it sends.
    fn serve_peer(&mut self, peer: usize) {
        let now = self.now;
        let place = &mut self.places[peer];
        if !place.peer.is_present {
            return;
        }
        place.peer.handle_timeout(now, &mut self.studio);
        while let Some(outgoing) = self.places[peer].peer.poll_transmit() {
            self.digest.bytes(&outgoing.bytes);
            self.carry(peer, Way::Up, outgoing.bytes, outgoing.label);
        }
        let place = &mut self.places[peer];
        let at = place.peer.poll_timeout().max(now + Duration::from_micros(10));
        if at < place.wake_at {
            place.wake_at = at;
            self.schedule(at, Happening::WakePeer(peer));
        }
    }

    /// One datagram through the network.
    fn carry(&mut self, peer: usize, way: Way, mut bytes: Vec<u8>, label: Option<Label>) {
        let (now, faults) = (self.now, &self.plan.faults);
        let rate = faults.rate(now, peer, way);
        let place = &mut self.places[peer];
        place.count += 1;
        let key = match (self.plan.is_keyed, label) {
            (false, _) => None,
            (true, Some(label)) => Some(Digest::of(format!("{label:?}").as_bytes())),
            (true, None) => Some(place.count),
        };
        let link = if way == Way::Up { &mut place.up } else { &mut place.down };
        let arrivals = link.carry(now, bytes.len(), key, rate);
        let past = &mut place.past[usize::from(way == Way::Down)];
        let replayed = faults.replays(now, peer, way, &mut place.dice).then(|| place.dice.below(past.len() as u64));
        let replayed = replayed.and_then(|index| past.get(usize::try_from(index).ok()?).cloned());
        if faults.0.iter().any(|fault| fault.peer == peer && matches!(fault.trouble, Trouble::Replay(..))) {
            past.push((bytes.clone(), label));
            if past.len() > KEPT {
                past.remove(0);
            }
        }
        if faults.is_cut(now, peer, way) {
            return;
        }
        let is_damaged = faults.damage(now, peer, way, &mut place.dice, &mut bytes);
        let label = label.filter(|_| !is_damaged);
        for at in arrivals.into_iter().flatten() {
            self.deliver(at, peer, way, bytes.clone(), label);
        }
        if let Some((bytes, label)) = replayed {
            self.deliver(now + Duration::from_millis(15), peer, way, bytes, label);
        }
    }

    fn deliver(&mut self, at: Time, peer: usize, way: Way, bytes: Vec<u8>, label: Option<Label>) {
        let happening = match way {
            Way::Up => Happening::ToRouter { peer, bytes, label },
            Way::Down => Happening::ToPeer { peer, bytes },
        };
        self.schedule(at, happening);
    }

    fn forge(&mut self, index: usize) {
        let fault = self.plan.faults.0[index];
        let Trouble::Forge(forgery, rate) = fault.trouble else { return };
        if self.now >= fault.until {
            return;
        }
        let place = &mut self.places[fault.peer];
        let ssrcs = place.peer.ssrcs();
        let bytes = forge(forgery, &ssrcs, &mut place.dice);
        self.deliver(self.now, fault.peer, Way::Up, bytes, None);
        self.schedule(self.now + Duration::from_nanos(1_000_000_000 / u64::from(rate.max(1))), Happening::Forge(index));
    }

    /// Whether the owner of the routers could do this now: it does not speak of what is not there.
    fn can_do(&self, act: &Act) -> bool {
        let is_present = |peer: usize| self.places[peer].peer.is_present;
        let is_live = |track: usize| self.is_published[track] && is_present(self.plan.tracks[track].peer.0);
        match *act {
            Act::Join(PeerId(peer)) => !is_present(peer),
            Act::Leave(PeerId(peer)) => is_present(peer),
            Act::Publish(TrackId(track)) => !self.is_published[track] && is_present(self.plan.tracks[track].peer.0),
            Act::Unpublish(TrackId(track)) => is_live(track),
            Act::Subscribe(ViewId(view)) => {
                let ViewState { peer, track, is_active, .. } = self.views[view];
                !is_active && is_present(peer) && is_live(track)
            }
            Act::Unsubscribe(ViewId(view)) | Act::Prefer(ViewId(view), _) | Act::Pause(ViewId(view), _) => {
                self.views[view].is_active
            }
            Act::Follow(ViewId(view), TrackId(track)) => self.views[view].is_active && is_live(track),
        }
    }

    fn act(&mut self, act: &Act) {
        if !self.can_do(act) {
            return;
        }
        match *act {
            Act::Join(PeerId(peer)) => self.join(peer),
            Act::Leave(PeerId(peer)) => {
                self.places[peer].peer.is_present = false;
                let id = transport_id(&self.places[peer], peer);
                self.command(id.worker(), Command::CloseTransport(id));
                self.views.iter_mut().filter(|view| view.peer == peer).for_each(|view| view.end(self.now));
                let of_peer = |track: usize| self.plan.tracks[track].peer == PeerId(peer);
                self.views.iter_mut().filter(|view| of_peer(view.track)).for_each(|view| view.cuts.push(self.now));
            }
            Act::Publish(TrackId(track)) => self.publish(track),
            Act::Unpublish(TrackId(track)) => {
                let peer = self.plan.tracks[track].peer.0;
                self.is_published[track] = false;
                // Whoever follows another track by now may still be sent this one.
                self.views.iter_mut().for_each(|view| view.cuts.push(self.now));
                self.places[peer].peer.unpublish(self.tracks[track].number);
                let id = self.receiver_id(track);
                self.command(id.worker(), Command::RemoveReceiver(id));
            }
            Act::Subscribe(ViewId(view)) => self.subscribe(view),
            Act::Unsubscribe(ViewId(view)) => {
                self.views[view].end(self.now);
                let id = self.sender_id(view);
                self.command(id.worker(), Command::RemoveSender(id));
            }
            Act::Prefer(ViewId(view), most) => {
                self.views[view].most = most;
                self.touch(view);
                let id = self.sender_id(view);
                self.command(id.worker(), Command::Prefer { sender: id, most, priority: 0 });
            }
            Act::Pause(ViewId(view), is_paused) => self.pause(view, is_paused),
            Act::Follow(ViewId(view), TrackId(track)) => {
                self.views[view].track = track;
                self.touch(view);
                let (sender, source) = (self.sender_id(view), self.receiver_id(track));
                self.command(sender.worker(), Command::Follow { sender, source });
            }
        }
    }

    fn join(&mut self, number: usize) {
        let place = &mut self.places[number];
        place.peer.is_present = true;
        let security = Box::new(Security::Keyed { path: place.path, keys: Box::new(place.keys.of_router()) });
        let transport = transport_id(place, number);
        self.command(transport.worker(), Command::AddTransport { transport, security });
        self.serve_peer(number);
    }

    fn publish(&mut self, track: usize) {
        let peer = self.plan.tracks[track].peer.0;
        self.is_published[track] = true;
        let (transport, receiver) = (transport_id(&self.places[peer], peer), self.receiver_id(track));
        let parameters = Box::new(self.tracks[track].receiver());
        self.command(receiver.worker(), Command::AddReceiver { transport, receiver, parameters });
        self.places[peer].peer.publish(self.now, self.tracks[track], self.plan.seed);
        for view in self.views.iter_mut().filter(|view| view.track == track) {
            view.changed_at = self.now;
        }
        self.serve_peer(peer);
    }

    fn subscribe(&mut self, view: usize) {
        let state = &mut self.views[view];
        state.is_active = true;
        state.changed_at = self.now;
        let (peer, track, has_rtx) = (state.peer, state.track, state.has_rtx);
        let ssrc = ssrc_of(view);
        let place = &mut self.places[peer];
        place.egress.add_copy(view, ssrc, has_rtx);
        place.peer.watch(View::new(self.now, view, ssrc, self.tracks[track].media));
        let transport = transport_id(place, peer);
        let (sender, source) = (self.sender_id(view), self.receiver_id(track));
        let parameters = Box::new(self.tracks[track].sender(ssrc, has_rtx, "sim"));
        self.command(sender.worker(), Command::AddSender { transport, sender, source, parameters });
        self.serve_peer(peer);
    }

    fn pause(&mut self, view: usize, is_paused: bool) {
        let now = self.now;
        let state = &mut self.views[view];
        if state.is_paused != is_paused {
            state.is_paused = is_paused;
            state.changed_at = now;
            if is_paused {
                state.paused.push((now, Time::NEVER));
                state.cuts.push(now);
            } else if let Some(span) = state.paused.last_mut() {
                span.1 = now;
            }
        }
        let sender = self.sender_id(view);
        self.command(sender.worker(), Command::Pause { sender, is_paused });
    }

    fn touch(&mut self, view: usize) {
        self.views[view].changed_at = self.now;
    }

    fn receiver_id(&self, track: usize) -> ReceiverId {
        let place = &self.places[self.plan.tracks[track].peer.0];
        ReceiverId::new(u8::try_from(place.worker).unwrap_or(0), track as u64)
    }

    fn sender_id(&self, view: usize) -> SenderId {
        let place = &self.places[self.views[view].peer];
        SenderId::new(u8::try_from(place.worker).unwrap_or(0), view as u64)
    }
}

/// The SSRC of a view.
pub(crate) fn ssrc_of(view: usize) -> Ssrc {
    Ssrc(0x1000_0000 + 2 * u32::try_from(view).unwrap_or(0))
}

fn transport_id(place: &Place, number: usize) -> TransportId {
    TransportId::new(u8::try_from(place.worker).unwrap_or(0), number as u64)
}
