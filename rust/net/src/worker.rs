//! One thread, its sockets and its router: receive a batch, route it, send what came of it, sleep until something is due.

mod connections;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use rtpcore_core::Time;
use rtpcore_core::crossing::Crossing;
use rtpcore_core::event::Event;
use rtpcore_core::ice::{Path, Via};
use rtpcore_core::router::Router;
use rtpcore_core::stats::Snapshot;
use rtpcore_core::transmit::{Run, SendSlab};
use slab::Slab;

use crate::batch::{RecvBatch, SendBatch, enable_gro, enable_timestamps, knows_gso};
use crate::clock::Clock;
use crate::forwarder::Message;
use crate::queue::EventQueue;
use crate::sockets::UdpPort;
use crate::tcp::{Connection, Progress};

/// The token of the waker; sockets, listeners and connections follow.
pub(crate) const WAKER: Token = Token(0);
const FIRST_PORT: usize = 1;
const FIRST_LISTENER: usize = 1000;
const FIRST_CONNECTION: usize = 2000;

/// How many batches are received before timers, commands and neighbours get their turn.
const BATCHES_PER_TURN: usize = 8;

/// Datagrams of one send slab: a recvmmsg batch fanned out to a small room fits in one.
const SLAB_DATAGRAMS: usize = 256;

/// The rings to and from every other worker.
pub(crate) struct Neighbours {
    outgoing: Vec<Option<rtrb::Producer<Crossing>>>,
    incoming: Vec<Option<rtrb::Consumer<Crossing>>>,
    messages: Vec<SyncSender<Message>>,
    wakers: Vec<Arc<Waker>>,
    /// Whom to wake at the end of this turn.
    touched: u64,
}

impl Neighbours {
    /// One ring per ordered pair of workers.
    pub(crate) fn connect(
        count: u8,
        capacity: usize,
        handle: impl Fn(usize) -> (SyncSender<Message>, Arc<Waker>),
    ) -> Vec<Self> {
        let count = usize::from(count);
        let mut all: Vec<Self> = (0..count)
            .map(|_| {
                let (messages, wakers) = (0..count).map(&handle).unzip();
                Self {
                    outgoing: (0..count).map(|_| None).collect(),
                    incoming: (0..count).map(|_| None).collect(),
                    messages,
                    wakers,
                    touched: 0,
                }
            })
            .collect();
        for from in 0..count {
            for to in 0..count {
                if from != to {
                    let (producer, consumer) = rtrb::RingBuffer::new(capacity);
                    all[from].outgoing[to] = Some(producer);
                    all[to].incoming[from] = Some(consumer);
                }
            }
        }
        all
    }

    fn send(&mut self, to: u8, crossing: Crossing) -> Result<(), Crossing> {
        let Some(ring) = self.outgoing.get_mut(usize::from(to)).and_then(Option::as_mut) else { return Err(crossing) };
        ring.push(crossing).map_err(|rtrb::PushError::Full(crossing)| crossing)?;
        self.touched |= 1 << to;
        Ok(())
    }

    fn wake(&mut self) {
        while self.touched != 0 {
            let to = self.touched.trailing_zeros() as usize;
            self.touched &= self.touched - 1;
            // Fails only where that worker has ended.
            let _ = self.wakers[to].wake();
        }
    }
}

pub(crate) struct Worker {
    number: u8,
    router: Router,
    poll: Poll,
    ports: Vec<UdpPort>,
    /// Which ports may have more to read (readiness is told once).
    is_readable: Vec<bool>,
    listeners: Vec<(TcpListener, SocketAddr, SocketAddr)>,
    connections: Slab<Connection>,
    /// Connections on which no peer has passed a check, by since when; see `Connection::stranger_since`.
    strangers: BTreeSet<(Time, usize)>,
    by_path: HashMap<Path, usize>,
    inbox: Receiver<Message>,
    neighbours: Neighbours,
    clock: Clock,
    events: Arc<EventQueue>,
    batch_of_events: Vec<Event>,
    snapshots: Arc<Vec<Mutex<Arc<Snapshot>>>>,
    snapshot_interval: Duration,
    next_snapshot: Time,
    recv: RecvBatch,
    send: SendBatch,
    slab: SendSlab,
}

impl Worker {
    #[allow(clippy::too_many_arguments)] // built once, by its only caller
    pub(crate) fn new(
        number: u8,
        router: Router,
        poll: Poll,
        mut ports: Vec<UdpPort>,
        mut listeners: Vec<(TcpListener, SocketAddr, SocketAddr)>,
        inbox: Receiver<Message>,
        neighbours: Neighbours,
        clock: Clock,
        events: Arc<EventQueue>,
        snapshots: Arc<Vec<Mutex<Arc<Snapshot>>>>,
        snapshot_interval_ms: u64,
    ) -> io::Result<Self> {
        let mut takes_runs = true;
        for (index, port) in ports.iter_mut().enumerate() {
            poll.registry().register(&mut port.socket, Token(FIRST_PORT + index), Interest::READABLE)?;
            enable_gro(port.socket.as_raw_fd());
            enable_timestamps(port.socket.as_raw_fd());
            takes_runs &= knows_gso(port.socket.as_raw_fd());
        }
        for (index, (listener, ..)) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, Token(FIRST_LISTENER + index), Interest::READABLE)?;
        }
        Ok(Self {
            number,
            router,
            poll,
            is_readable: vec![false; ports.len()],
            ports,
            listeners,
            connections: Slab::new(),
            strangers: BTreeSet::new(),
            by_path: HashMap::new(),
            inbox,
            neighbours,
            clock,
            events,
            batch_of_events: Vec::new(),
            snapshots,
            snapshot_interval: Duration::from_millis(snapshot_interval_ms.max(10)),
            next_snapshot: Time::ZERO,
            recv: RecvBatch::new(),
            send: SendBatch::new(takes_runs),
            slab: SendSlab::new(SLAB_DATAGRAMS),
        })
    }

    /// Runs until told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let timeout = if self.is_readable.contains(&true) { Duration::ZERO } else { self.patience() };
            if let Err(error) = self.poll.poll(&mut events, Some(timeout))
                && error.kind() != io::ErrorKind::Interrupted
            {
                break;
            }
            // Commands first: what a peer sends may be the answer to what its owner did before.
            if !self.handle_messages() {
                break;
            }
            for event in &events {
                self.handle_readiness(event.token(), event.is_readable(), event.is_writable());
            }
            self.handle_crossings();
            self.handle_datagrams();
            let now = self.clock.now();
            if self.router.poll_timeout().is_due(now) {
                self.guarded(|router| router.handle_timeout(now));
            }
            self.flush(now);
            if self.next_snapshot.is_due(now) {
                self.publish(now);
            }
        }
        let now = self.clock.now();
        self.guarded(|router| router.close(now));
        self.flush(now);
        self.publish(now);
    }

    fn patience(&self) -> Duration {
        let now = self.clock.now();
        self.router.poll_timeout().min(self.next_snapshot).since(now)
    }

    fn handle_readiness(&mut self, token: Token, is_readable: bool, is_writable: bool) {
        match token.0 {
            0 => {}
            FIRST_PORT..FIRST_LISTENER => {
                if let Some(flag) = self.is_readable.get_mut(token.0 - FIRST_PORT) {
                    *flag = true;
                }
            }
            FIRST_LISTENER..FIRST_CONNECTION => self.accept(token.0 - FIRST_LISTENER),
            _ => {
                let key = token.0 - FIRST_CONNECTION;
                if is_writable
                    && self.connections.get_mut(key).is_some_and(|connection| connection.flush() == Progress::Closed)
                {
                    self.drop_connection(key);
                }
                if is_readable {
                    self.read_connection(key);
                }
            }
        }
    }

    fn handle_messages(&mut self) -> bool {
        while let Ok(message) = self.inbox.try_recv() {
            let now = self.clock.now();
            match message {
                Message::Command(command) => self.guarded(|router| router.handle_command(now, command)),
                Message::Adopt(connection) => self.adopt(*connection),
                Message::Stop => return false,
            }
        }
        true
    }

    fn handle_crossings(&mut self) {
        let now = self.clock.now();
        for from in 0..self.neighbours.incoming.len() {
            // No more than what a turn of the neighbour can have brought.
            for _ in 0..4096 {
                let ring = self.neighbours.incoming.get_mut(from).and_then(Option::as_mut);
                let Some(crossing) = ring.and_then(|ring| ring.pop().ok()) else { break };
                self.guarded(|router| router.handle_crossing(now, u8::try_from(from).unwrap_or(0), crossing));
            }
        }
        self.flush(now);
    }

    fn handle_datagrams(&mut self) {
        for _ in 0..BATCHES_PER_TURN {
            let mut is_quiet = true;
            for index in 0..self.ports.len() {
                if !self.is_readable[index] {
                    continue;
                }
                is_quiet = false;
                let now = self.clock.now();
                let Self { ports, recv, router, is_readable, .. } = self;
                let port = &ports[index];
                let advertised = port.advertised;
                let received = recv.receive(port.socket.as_raw_fd(), |remote, waited, datagram| {
                    let path = Path { via: Via::Udp, local: advertised, remote };
                    guard(router, |router| router.handle_datagram_at(now, now - waited, path, datagram));
                });
                if let Err(error) = received
                    && error.kind() == io::ErrorKind::WouldBlock
                {
                    is_readable[index] = false;
                }
                self.flush(now);
            }
            if is_quiet {
                break;
            }
        }
    }

    /// Sends everything the router has to say: to peers, to neighbours, to the owner.
    fn flush(&mut self, mut now: Time) {
        loop {
            self.slab.clear();
            let Self { router, slab, .. } = self;
            guard(router, |router| router.poll_transmit(now, slab));
            router.finish_transmit(slab);
            if self.slab.runs().is_empty() {
                break;
            }
            self.transmit();
            // Once for a whole batch: how long it took is counted up to here.
            now = self.clock.now();
        }
        while let Some((to, crossing)) = self.router.poll_crossing() {
            if let Err(crossing) = self.neighbours.send(to, crossing) {
                self.router.handle_crossing_refused(crossing);
            }
        }
        self.neighbours.wake();
        while let Some(event) = self.router.poll_event() {
            self.batch_of_events.push(event);
        }
        let lost = self.events.push(&mut self.batch_of_events);
        self.router.handle_reports_refused(lost);
    }

    fn transmit(&mut self) {
        let mut refused = 0;
        let runs = self.slab.runs();
        let mut rest: &[Run] = runs;
        while let Some(first) = rest.first() {
            // Runs that leave by one socket go in one call.
            let (via, local) = (first.path.via, first.path.local);
            let count = rest.iter().take_while(|run| run.path.via == via && run.path.local == local).count();
            let (group, tail) = rest.split_at(count);
            rest = tail;
            match via {
                Via::Udp => {
                    let port = self.ports.iter().find(|port| port.advertised == local).or_else(|| self.ports.first());
                    if let Some(port) = port {
                        refused += self.send.send(port.socket.as_raw_fd(), &self.slab, group);
                    }
                }
                Via::Tcp => {
                    for run in group {
                        let key = self.by_path.get(&run.path).copied();
                        let connection = key.and_then(|key| self.connections.get_mut(key));
                        let Some(connection) = connection else {
                            refused += run.count();
                            continue;
                        };
                        for packet in self.slab.bytes_of(run).chunks(run.segment.max(1)) {
                            refused += usize::from(!connection.send(packet));
                        }
                        // An ended connection shows in the next poll as readable.
                        let _ = connection.flush();
                    }
                }
            }
        }
        self.router.handle_send_refused(refused);
    }

    fn publish(&mut self, now: Time) {
        self.next_snapshot = now + self.snapshot_interval;
        let snapshot = Arc::new(self.router.snapshot(now));
        if let Some(slot) = self.snapshots.get(usize::from(self.number)) {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
        }
        self.sort_out(now);
    }

    fn guarded(&mut self, action: impl FnOnce(&mut Router)) {
        guard(&mut self.router, action);
    }
}

/// Runs the router's code with a border round it: a fault costs the peer it was about, not the worker.
fn guard(router: &mut Router, action: impl FnOnce(&mut Router)) {
    if catch_unwind(AssertUnwindSafe(|| action(router))).is_err() {
        router.handle_fault();
    }
}
