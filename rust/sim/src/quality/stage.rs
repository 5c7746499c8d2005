//! One run: a router, publishers and viewers round it, and time that jumps from one event to the next.

use core::time::Duration;
use std::collections::BTreeMap;
use std::time::Instant;

use rtpcore_core::Time;
use rtpcore_core::command::{Command, Security};
use rtpcore_core::event::Event;
use rtpcore_core::ice::{Path as Pair, Via};
use rtpcore_core::id::{ReceiverId, SenderId, TransportId};
use rtpcore_core::router::{Limits, Router, RouterConfig};
use rtpcore_core::stats::Snapshot;
use rtpcore_core::transmit::SendSlab;

use super::competitor::{Answer, Flow, PACKET};
use super::publisher::{Publisher, Track};
use super::scenario::Scenario;
use super::score::{Outcome, Tally};
use super::viewer::Viewer;
use crate::peer::KeyRing;
use crate::trace::{Fate, Path};

/// What a datagram has outside of it: IPv4 and UDP.
const OUTSIDE: usize = 28;
/// Remote ports of publishers and of viewers begin here.
const PUBLISHERS: u16 = 5000;
const VIEWERS: u16 = 6000;
/// Between looks at what the router thinks.
const SAMPLES: Duration = Duration::from_secs(1);
/// Copies of one viewer at most: senders are numbered by both.
const COPIES: usize = 64;

/// What happens next.
enum Happening {
    FromPublisher(usize, Vec<u8>),
    FromViewer(usize, Vec<u8>),
    ToPublisher(usize, Vec<u8>),
    ToViewer(usize, Vec<u8>),
    WakeRouter,
    WakePublisher(usize),
    WakeViewer(usize),
    WakeFlow(usize),
    Hear(usize, Answer),
    Join(usize),
    Sample,
}

/// See the module.
pub(super) struct Stage<'a> {
    scenario: &'a Scenario,
    now: Time,
    queue: BTreeMap<(Time, u64), Happening>,
    order: u64,
    router: Router,
    router_at: Time,
    slab: SendSlab,
    publishers: Vec<(Publisher, Path, Path)>,
    viewers: Vec<Viewer>,
    /// By viewer, when it wakes.
    wakes: Vec<Time>,
    /// Down and up.
    links: Vec<(Path, Path)>,
    flows: Vec<Flow>,
    tallies: Vec<Tally>,
    keys: Vec<KeyRing>,
    /// By second.
    snapshots: Vec<Snapshot>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(scenario: &'a Scenario) -> Self {
        let seed = scenario.seed;
        let config = RouterConfig {
            worker: 0,
            epoch: Instant::now(),
            seed,
            locals: Vec::new(),
            limits: Limits::default(),
            neighbours: 0,
        };
        let count = scenario.publishers.len();
        let keys: Vec<_> = (0..count + scenario.viewers.len()).map(|number| KeyRing::new(seed, number)).collect();
        let publishers = scenario.publishers.iter().enumerate().map(|(number, link)| {
            let own = scenario.tracks.iter().enumerate().filter(|(_, (publisher, _))| *publisher == number);
            let tracks = own.map(|(track, (_, source))| Track::new(track, source.clone(), seed)).collect();
            let path = |schedule: &crate::trace::Schedule, way| {
                Path::new(schedule.clone(), seed, 1000 + 2 * number as u64 + way)
            };
            (Publisher::new(number, &keys[number], tracks), path(&link.down, 0), path(&link.up, 1))
        });
        let publishers: Vec<_> = publishers.collect();
        let mut is_audio = vec![false; scenario.tracks.len()];
        publishers.iter().flat_map(|(it, ..)| &it.tracks).for_each(|track| is_audio[track.number] = track.is_audio());
        let links = scenario.links.iter().enumerate().map(|(number, link)| {
            let path =
                |schedule: &crate::trace::Schedule, way| Path::new(schedule.clone(), seed, 2 * number as u64 + way);
            (path(&link.down, 0), path(&link.up, 1))
        });
        let links: Vec<_> = links.collect();
        let viewers: Vec<_> = scenario
            .viewers
            .iter()
            .enumerate()
            .map(|(number, plan)| {
                let (down, up) = &links[plan.link];
                let delay = |path: &Path| Duration::from_micros(path.schedule().at(Duration::ZERO).0.delay_us);
                Viewer::new(number, plan, &keys[count + number], &is_audio, delay(down) + delay(up))
            })
            .collect();
        Self {
            scenario,
            now: Time::ZERO,
            queue: BTreeMap::new(),
            order: 0,
            router: Router::new(config),
            router_at: Time::NEVER,
            slab: SendSlab::new(64),
            publishers,
            wakes: vec![Time::NEVER; viewers.len()],
            tallies: viewers.iter().map(|_| Tally::default()).collect(),
            viewers,
            links,
            flows: scenario.competitors.iter().map(|&plan| Flow::new(plan)).collect(),
            keys,
            snapshots: Vec::new(),
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        for number in 0..self.publishers.len() {
            let transport = self.add_transport(number, PUBLISHERS + number as u16);
            for track in &self.publishers[number].0.tracks {
                let (receiver, parameters) = (ReceiverId::new(0, track.number as u64), Box::new(track.parameters()));
                self.router.handle_command(self.now, Command::AddReceiver { transport, receiver, parameters });
            }
            self.schedule(Time::from_millis(1), Happening::WakePublisher(number));
        }
        for number in 0..self.viewers.len() {
            self.schedule(Time::from_millis(self.viewers[number].plan.joins_at), Happening::Join(number));
        }
        for number in 0..self.flows.len() {
            self.schedule(self.flows[number].poll_timeout(), Happening::WakeFlow(number));
        }
        self.schedule(Time::ZERO + SAMPLES, Happening::Sample);
        let ends_at = Time::from_millis(self.scenario.seconds * 1000);
        while let Some(((at, _), happening)) = self.queue.pop_first() {
            if at >= ends_at {
                break;
            }
            self.now = at;
            self.handle(happening);
        }
        self.viewers.iter_mut().for_each(|viewer| viewer.finish(ends_at));
        let publishers: Vec<_> = self.publishers.into_iter().map(|(publisher, ..)| publisher).collect();
        Outcome::new(self.scenario, &publishers, &self.viewers, &self.tallies, &self.snapshots)
    }

    fn add_transport(&mut self, number: usize, port: u16) -> TransportId {
        let path = Pair { via: Via::Udp, local: ([192, 0, 2, 1], 7000).into(), remote: ([10, 0, 0, 1], port).into() };
        let transport = TransportId::new(0, number as u64);
        let security = Box::new(Security::Keyed { path, keys: Box::new(self.keys[number].of_router()) });
        self.router.handle_command(self.now, Command::AddTransport { transport, security });
        transport
    }

    fn schedule(&mut self, at: Time, happening: Happening) {
        if at == Time::NEVER {
            return;
        }
        self.order += 1;
        self.queue.insert((at.max(self.now), self.order), happening);
    }

    fn handle(&mut self, happening: Happening) {
        match happening {
            Happening::FromPublisher(number, bytes) => self.reach_router(PUBLISHERS + number as u16, &bytes),
            Happening::FromViewer(number, bytes) => self.reach_router(VIEWERS + number as u16, &bytes),
            Happening::ToPublisher(number, bytes) => {
                self.publishers[number].0.handle_datagram(&bytes);
                self.serve_publisher(number);
            }
            Happening::ToViewer(number, bytes) => {
                self.viewers[number].handle_datagram(self.now, &bytes);
                self.serve_viewer(number);
            }
            Happening::WakeRouter if self.router_at <= self.now => {
                self.router_at = Time::NEVER;
                self.router.handle_timeout(self.now);
                self.serve_router();
            }
            Happening::WakePublisher(number) => {
                self.serve_publisher(number);
                let at = self.publishers[number].0.poll_timeout().max(self.now + Duration::from_micros(10));
                self.schedule(at, Happening::WakePublisher(number));
            }
            Happening::WakeViewer(number) if self.wakes[number] <= self.now => {
                self.wakes[number] = Time::NEVER;
                self.serve_viewer(number);
            }
            Happening::WakeRouter | Happening::WakeViewer(_) => {}
            Happening::WakeFlow(number) => self.serve_flow(number),
            Happening::Hear(number, answer) => {
                self.flows[number].handle(self.now, answer);
                self.serve_flow(number);
            }
            Happening::Join(number) => self.join(number),
            Happening::Sample => {
                self.snapshots.push(self.router.snapshot(self.now));
                self.schedule(self.now + SAMPLES, Happening::Sample);
            }
        }
    }

    fn join(&mut self, number: usize) {
        let transport = self.add_transport(self.publishers.len() + number, VIEWERS + number as u16);
        let wishes = self.viewers[number].plan.wishes.clone();
        for (copy, wish) in wishes.into_iter().enumerate() {
            let parameters = Box::new(self.viewers[number].parameters(copy));
            let sender = SenderId::new(0, (number * COPIES + copy) as u64);
            let source = ReceiverId::new(0, wish.track as u64);
            self.router.handle_command(self.now, Command::AddSender { transport, sender, source, parameters });
            let (most, priority) = (wish.most, wish.priority);
            self.router.handle_command(self.now, Command::Prefer { sender, most, priority });
        }
        self.serve_router();
        self.serve_viewer(number);
    }

    fn reach_router(&mut self, port: u16, bytes: &[u8]) {
        let path = Pair { via: Via::Udp, local: ([192, 0, 2, 1], 7000).into(), remote: ([10, 0, 0, 1], port).into() };
        self.router.handle_datagram(self.now, path, bytes);
        self.serve_router();
    }

    /// Takes what the router sends, into the network.
    fn serve_router(&mut self) {
        let now = self.now;
        if self.router.poll_timeout().is_due(now) {
            self.router.handle_timeout(now);
        }
        loop {
            self.slab.clear();
            self.router.poll_transmit(now, &mut self.slab);
            if self.slab.runs().is_empty() {
                break;
            }
            let mut sent = Vec::new();
            for run in self.slab.runs() {
                let port = run.path.remote.port();
                sent.extend(self.slab.bytes_of(run).chunks(run.segment).map(|bytes| (port, bytes.to_vec())));
            }
            sent.into_iter().for_each(|(port, bytes)| self.leave_router(port, bytes));
        }
        while let Some(event) = self.router.poll_event() {
            if let Event::StreamPaused { sender, is_paused } = event {
                self.tallies[sender.as_u64() as usize / COPIES].pauses += u64::from(is_paused);
            }
        }
        let at = self.router.poll_timeout();
        if at < self.router_at {
            self.router_at = at;
            self.schedule(at.max(now + Duration::from_micros(10)), Happening::WakeRouter);
        }
    }

    fn leave_router(&mut self, port: u16, bytes: Vec<u8>) {
        let size = bytes.len() + OUTSIDE;
        if port < VIEWERS {
            let number = usize::from(port - PUBLISHERS);
            let fate = self.publishers[number].1.carry(self.now, size);
            return self.deliver(fate, bytes, |bytes| Happening::ToPublisher(number, bytes));
        }
        let number = usize::from(port - VIEWERS);
        let link = self.viewers[number].plan.link;
        let fate = self.links[link].0.carry(self.now, size);
        self.tallies[number].add(self.now, size, fate);
        self.deliver(fate, bytes, |bytes| Happening::ToViewer(number, bytes));
    }

    fn deliver(&mut self, fate: Fate, bytes: Vec<u8>, happening: impl Fn(Vec<u8>) -> Happening) {
        let Fate::Arrives { at, .. } = fate else { return };
        for at in at.into_iter().flatten() {
            self.schedule(at, happening(bytes.clone()));
        }
    }

    fn serve_publisher(&mut self, number: usize) {
        self.publishers[number].0.handle_timeout(self.now);
        while let Some(bytes) = self.publishers[number].0.poll_transmit() {
            let fate = self.publishers[number].2.carry(self.now, bytes.len() + OUTSIDE);
            self.deliver(fate, bytes, |bytes| Happening::FromPublisher(number, bytes));
        }
    }

    fn serve_viewer(&mut self, number: usize) {
        let now = self.now;
        self.viewers[number].handle_timeout(now);
        let link = self.viewers[number].plan.link;
        while let Some(bytes) = self.viewers[number].poll_transmit() {
            let fate = self.links[link].1.carry(now, bytes.len() + OUTSIDE);
            self.deliver(fate, bytes, |bytes| Happening::FromViewer(number, bytes));
        }
        let at = self.viewers[number].poll_timeout().max(now + Duration::from_micros(100));
        if at < self.wakes[number] {
            self.wakes[number] = at;
            self.schedule(at, Happening::WakeViewer(number));
        }
    }

    fn serve_flow(&mut self, number: usize) {
        let now = self.now;
        let link = self.flows[number].link();
        for _ in 0..self.flows[number].poll(now) {
            let fate = self.links[link].0.carry(now, PACKET);
            if let Some((at, answer)) = self.flows[number].hears(now, fate) {
                self.schedule(at, Happening::Hear(number, answer));
            }
        }
        let at = self.flows[number].poll_timeout();
        if at > now {
            self.schedule(at, Happening::WakeFlow(number));
        }
    }
}
