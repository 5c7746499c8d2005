//! The one thread that serves all clients: it waits for sockets and for time, and passes messages on.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant as Clock, SystemTime, UNIX_EPOCH};

use mio::net::{TcpListener, UdpSocket};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use turn_server_proto::api::SocketAllocateError;
use turn_server_proto::stun::Instant;

use crate::connection::{Connection, Progress};
use crate::counters::{Counters, Drop};
use crate::relays::Relays;
use crate::server::Config;
use crate::session::{Context, Session, Way, Wish, refusal_of};
use crate::stranger;

/// Says that the owner wants something.
pub(crate) const WAKER: Token = Token(usize::MAX - 1);
/// Tokens below are listeners; from here on the connection of the client with that number; further up relays.
const CLIENTS: usize = 1 << 16;
const RELAYS: usize = 1 << 40;

/// Datagrams read from one socket before others have their turn.
const BUDGET: usize = 64;

/// The largest datagram: a packet of media with what TURN adds is far below.
const MAX_DATAGRAM: usize = 4096;

/// How often is looked at what time alone brings.
const TICK: Duration = Duration::from_secs(1);

/// How a client is reached.
enum Path {
    Datagrams { listener: usize, remote: SocketAddr },
    Stream(Box<Connection>),
}

struct Client {
    session: Session,
    path: Path,
    relays: Vec<usize>,
    /// When its machine wants to be asked again.
    due: Instant,
    /// When it came, and later when a peer last sent it something.
    alive_at: Clock,
}

pub(crate) struct Worker {
    config: Config,
    poll: Poll,
    udp: Vec<(UdpSocket, SocketAddr)>,
    tcp: Vec<TcpListener>,
    clients: Slab<Client>,
    by_path: HashMap<(usize, SocketAddr), usize>,
    relays: Relays,
    /// Clients over UDP in the order in which they came, until they have a relay.
    strangers: VecDeque<(usize, SocketAddr)>,
    connections: usize,
    /// What has more to read than its turn allowed.
    again: Vec<Token>,
    counters: Arc<Counters>,
    is_stopped: Arc<AtomicBool>,
    start: Clock,
    now: Clock,
    out: Vec<u8>,
    buffer: Vec<u8>,
}

impl Worker {
    /// Takes the sockets over, each with where it is bound.
    pub(crate) fn new(
        config: Config,
        poll: Poll,
        udp: Vec<(UdpSocket, SocketAddr)>,
        tcp: Vec<TcpListener>,
        counters: Arc<Counters>,
        is_stopped: Arc<AtomicBool>,
    ) -> io::Result<Self> {
        let now = Clock::now();
        let mut worker = Self {
            config,
            poll,
            udp,
            tcp,
            clients: Slab::new(),
            by_path: HashMap::new(),
            relays: Relays::default(),
            strangers: VecDeque::new(),
            connections: 0,
            again: Vec::new(),
            counters,
            is_stopped,
            start: now,
            now,
            out: Vec::new(),
            buffer: vec![0; MAX_DATAGRAM],
        };
        worker.register()?;
        Ok(worker)
    }

    fn register(&mut self) -> io::Result<()> {
        let registry = self.poll.registry();
        for (index, (socket, _)) in self.udp.iter_mut().enumerate() {
            registry.register(socket, Token(index), Interest::READABLE)?;
        }
        for (index, listener) in self.tcp.iter_mut().enumerate() {
            registry.register(listener, Token(self.udp.len() + index), Interest::READABLE)?;
        }
        Ok(())
    }

    /// Serves until the owner has had enough.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        let mut tick_at = self.start + TICK;
        while !self.is_stopped.load(Ordering::Acquire) {
            let rest = tick_at.saturating_duration_since(self.now);
            let timeout = if self.again.is_empty() { rest } else { Duration::ZERO };
            if let Err(error) = self.poll.poll(&mut events, Some(timeout))
                && error.kind() != io::ErrorKind::Interrupted
            {
                // Nothing that a descriptor table in order could answer.
                break;
            }
            self.now = Clock::now();
            let again = std::mem::take(&mut self.again);
            for token in events.iter().map(mio::event::Event::token).chain(again) {
                self.ready(token);
            }
            if self.now >= tick_at {
                self.tick();
                tick_at = self.now + TICK;
            }
        }
        for (_, client) in &mut self.clients {
            if let Path::Stream(connection) = &mut client.path {
                connection.close();
            }
        }
    }

    fn ready(&mut self, token: Token) {
        match token {
            WAKER => {}
            Token(number) if number >= RELAYS => self.read_relay(number - RELAYS),
            Token(number) if number >= CLIENTS => self.read_connection(number - CLIENTS),
            Token(number) if number < self.udp.len() => self.read_listener(number),
            Token(number) => self.accept(number - self.udp.len()),
        }
    }

    // clients over UDP

    fn read_listener(&mut self, listener: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut is_drained = false;
        for _ in 0..BUDGET {
            match self.udp[listener].0.recv_from(&mut buffer) {
                Ok((len, remote)) => {
                    if let Some(number) = self.find(listener, remote, &buffer[..len]) {
                        self.take_message(number, &buffer[..len]);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    is_drained = true;
                    break;
                }
                // An earlier answer that could not be delivered.
                Err(_) => {}
            }
        }
        self.buffer = buffer;
        if !is_drained {
            self.again.push(Token(listener));
        }
    }

    /// The client that a datagram is of. A stranger becomes one by wishing for a relay, and by nothing else.
    fn find(&mut self, listener: usize, remote: SocketAddr, bytes: &[u8]) -> Option<usize> {
        if let Some(&number) = self.by_path.get(&(listener, remote)) {
            return Some(number);
        }
        match stranger::read(bytes, remote) {
            Ok(stranger::Wish::Relay) => {}
            Ok(stranger::Wish::Address(response)) => {
                // Whoever asks for its address asks again where this is lost.
                let _ = self.udp[listener].0.send_to(&response, remote);
                return None;
            }
            Err(reason) => {
                self.counters.count(reason);
                return None;
            }
        }
        self.make_room();
        let session = Session::new(self.udp[listener].1, remote);
        let number = self.add(session, Path::Datagrams { listener, remote });
        self.by_path.insert((listener, remote), number);
        self.strangers.push_back((listener, remote));
        Some(number)
    }

    /// Lets the oldest stranger go where there are too many.
    fn make_room(&mut self) {
        while self.strangers.len() >= self.config.limits.strangers.max(1) {
            let Some(path) = self.strangers.pop_front() else { return };
            if let Some(&number) = self.by_path.get(&path)
                && !self.clients[number].session.is_allocated()
            {
                self.counters.count(Drop::NoCapacity);
                self.remove(number);
            }
        }
    }

    // clients over TCP and TLS

    fn accept(&mut self, listener: usize) {
        for _ in 0..BUDGET {
            let (socket, remote) = match self.tcp[listener].accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Gone again, or no descriptor is free: then the next tick looks again.
                Err(_) => return,
            };
            let local = socket.local_addr();
            if self.connections >= self.config.limits.connections {
                self.counters.count(Drop::NoCapacity);
                continue;
            }
            let (Ok(local), Some(mut connection)) = (local, Connection::new(socket, self.config.tls.as_ref())) else {
                continue;
            };
            let entry = self.clients.vacant_key();
            let interest = Interest::READABLE | Interest::WRITABLE;
            if self.poll.registry().register(connection.socket(), Token(CLIENTS + entry), interest).is_err() {
                continue;
            }
            self.connections += 1;
            self.counters.connections.store(self.connections as u64, Ordering::Relaxed);
            self.add(Session::new(local, remote), Path::Stream(Box::new(connection)));
        }
        self.again.push(Token(self.udp.len() + listener));
    }

    fn read_connection(&mut self, number: usize) {
        let Some(Client { path: Path::Stream(connection), .. }) = self.clients.get_mut(number) else { return };
        connection.flush();
        if connection.is_full() {
            // It is read again when it has taken what waits for it.
            return;
        }
        let progress = connection.read();
        let mut message = Vec::new();
        loop {
            let Some(Client { path: Path::Stream(connection), .. }) = self.clients.get_mut(number) else { return };
            match connection.next(&mut message) {
                Ok(true) => {}
                Ok(false) => break,
                Err(()) => {
                    self.counters.count(Drop::Malformed);
                    self.remove(number);
                    return;
                }
            }
            self.take_message(number, &message);
        }
        match progress {
            Progress::Drained => {}
            Progress::More => self.again.push(Token(CLIENTS + number)),
            Progress::Closed => self.remove(number),
        }
    }

    // both

    fn add(&mut self, session: Session, path: Path) -> usize {
        let due = self.instant();
        let number = self.clients.insert(Client { session, path, relays: Vec::new(), due, alive_at: self.now });
        self.counters.clients.store(self.clients.len() as u64, Ordering::Relaxed);
        number
    }

    fn take_message(&mut self, number: usize, bytes: &[u8]) {
        if let Some(Client { path: Path::Stream(connection), session, .. }) = self.clients.get_mut(number)
            && let Ok(stranger::Wish::Address(response)) = stranger::read(bytes, session.client())
        {
            connection.write(&response);
            return;
        }
        let mut out = std::mem::take(&mut self.out);
        let way = self.guard(number, |session, context| session.handle_client(bytes, context, &mut out));
        match way {
            None | Some(Ok(None)) => {}
            Some(Err(reason)) => self.counters.count(reason),
            Some(Ok(Some(Way::Client))) => {
                if let Some(reason) = refusal_of(&out) {
                    self.counters.count(reason);
                }
                self.send_to_client(number, &out);
            }
            Some(Ok(Some(Way::Peer { relay, to }))) => self.send_to_peer(number, relay, to, &out),
        }
        self.out = out;
        if bytes.first().is_some_and(|byte| byte >> 6 == 0) {
            self.settle(number);
        }
    }

    fn send_to_peer(&mut self, number: usize, relay: SocketAddr, to: SocketAddr, bytes: &[u8]) {
        let Some(client) = self.clients.get(number) else { return };
        let mine = client.relays.iter().filter_map(|&relay| self.relays.get(relay));
        let Some(relay) = mine.into_iter().find(|mine| mine.advertised == relay) else { return };
        match relay.socket.send_to(bytes, to) {
            Ok(_) => self.counters.to_peer(bytes.len()),
            Err(_) => self.counters.count(Drop::SlowPeer),
        }
    }

    fn send_to_client(&mut self, number: usize, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(number) else { return };
        let is_sent = match &mut client.path {
            Path::Datagrams { listener, remote } => self.udp[*listener].0.send_to(bytes, *remote).is_ok(),
            Path::Stream(connection) => connection.write(bytes),
        };
        if !is_sent {
            self.counters.count(Drop::SlowClient);
        }
    }

    fn read_relay(&mut self, index: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut out = std::mem::take(&mut self.out);
        let mut is_drained = false;
        for _ in 0..BUDGET {
            // A message may cost the client its relay.
            let Some(relay) = self.relays.get(index) else {
                is_drained = true;
                break;
            };
            let (number, advertised) = (relay.client, relay.advertised);
            match relay.socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    let bytes = &buffer[..len];
                    let way = self.guard(number, |session, context| {
                        session.handle_peer(advertised, from, bytes, context, &mut out)
                    });
                    if let Some(Some(_)) = way {
                        self.clients[number].alive_at = self.now;
                        self.counters.to_client(len);
                        self.send_to_client(number, &out);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    is_drained = true;
                    break;
                }
                // A peer that refuses what was sent to it.
                Err(_) => {}
            }
        }
        self.buffer = buffer;
        self.out = out;
        if !is_drained {
            self.again.push(Token(RELAYS + index));
        }
    }

    /// Does with a client's machine what has to be done; a fault in it costs this client everything it has here.
    fn guard<T>(&mut self, number: usize, action: impl FnOnce(&mut Session, &Context<'_>) -> T) -> Option<T> {
        let context = Context {
            now: self.instant(),
            now_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            keys: &self.config.keys,
            policy: &self.config.policy,
            relays_of: self.relays.by_user(),
            max_relays: self.config.limits.relays_of_one,
        };
        let client = self.clients.get_mut(number)?;
        let result = catch_unwind(AssertUnwindSafe(|| action(&mut client.session, &context)));
        if result.is_err() {
            self.counters.count(Drop::Fault);
            self.remove(number);
        }
        result.ok()
    }

    /// Gives a client's machine what it waits for.
    fn settle(&mut self, number: usize) {
        let now = self.instant();
        while let Some(wish) = self.guard(number, |session, _| session.poll(now)) {
            match wish {
                Wish::Relay { is_v4 } => {
                    let relay = self.open_relay(number, is_v4);
                    if relay == Err(SocketAllocateError::InsufficientCapacity) {
                        self.counters.count(Drop::NoCapacity);
                    }
                    self.guard(number, |session, _| session.allocated(is_v4, relay, now));
                }
                Wish::Close(advertised) => self.close_relay(number, advertised),
                Wish::Until(at) => {
                    self.clients[number].due = at;
                    break;
                }
            }
        }
        while let Some(Some(message)) = self.guard(number, |session, _| session.poll_transmit(now)) {
            self.send_to_client(number, &message);
        }
    }

    fn open_relay(&mut self, number: usize, is_v4: bool) -> Result<SocketAddr, SocketAllocateError> {
        let place = self.config.relays.iter().find(|relay| relay.local.is_ipv4() == is_v4);
        let place = *place.ok_or(SocketAllocateError::AddressFamilyNotSupported)?;
        let user = self.clients.get(number).and_then(|client| client.session.user()).map(ToOwned::to_owned);
        let (Some(user), true) = (user, self.relays.len() < self.config.limits.relays) else {
            return Err(SocketAllocateError::InsufficientCapacity);
        };
        let opened = self.relays.open(place, &self.config.ports, number, user, |socket, index| {
            self.poll.registry().register(socket, Token(RELAYS + index), Interest::READABLE)
        });
        let (index, advertised) = opened.ok_or(SocketAllocateError::InsufficientCapacity)?;
        self.clients[number].relays.push(index);
        self.counters.allocations_made.fetch_add(1, Ordering::Relaxed);
        self.counters.allocations.store(self.relays.len() as u64, Ordering::Relaxed);
        Ok(advertised)
    }

    fn close_relay(&mut self, number: usize, advertised: SocketAddr) {
        let is_it = |&index: &usize| self.relays.get(index).is_some_and(|relay| relay.advertised == advertised);
        if let Some(position) = self.clients[number].relays.iter().position(is_it) {
            let index = self.clients[number].relays.swap_remove(position);
            self.forget_relay(index);
        }
    }

    fn forget_relay(&mut self, index: usize) {
        self.relays.remove(index);
        self.counters.allocations.store(self.relays.len() as u64, Ordering::Relaxed);
    }

    /// Forgets a client with all it holds.
    fn remove(&mut self, number: usize) {
        let client = self.clients.remove(number);
        for index in client.relays {
            self.forget_relay(index);
        }
        match client.path {
            Path::Datagrams { listener, remote } => {
                self.by_path.remove(&(listener, remote));
            }
            Path::Stream(mut connection) => {
                connection.close();
                self.connections -= 1;
                self.counters.connections.store(self.connections as u64, Ordering::Relaxed);
            }
        }
        self.counters.clients.store(self.clients.len() as u64, Ordering::Relaxed);
    }

    /// What time alone brings: allocations end, clients without one go.
    fn tick(&mut self) {
        let now = self.instant();
        let due: Vec<usize> = self.clients.iter().filter(|(_, one)| one.due <= now).map(|(number, _)| number).collect();
        for number in due {
            self.settle(number);
        }
        let limits = &self.config.limits;
        let mut gone = Vec::new();
        for (number, client) in &self.clients {
            let silence = self.now.saturating_duration_since(client.alive_at);
            if client.session.is_allocated() && silence >= limits.idle {
                self.counters.count(Drop::Idle);
                gone.push(number);
            } else if !client.session.is_allocated() && silence >= limits.patience {
                gone.push(number);
            }
        }
        for number in gone {
            self.remove(number);
        }
        self.strangers
            .retain(|path| self.by_path.get(path).is_some_and(|&number| !self.clients[number].session.is_allocated()));
        // A listener that had no descriptor left says nothing when it has one again.
        self.again.extend((0..self.tcp.len()).map(|index| Token(self.udp.len() + index)));
    }

    fn instant(&self) -> Instant {
        let nanos = self.now.saturating_duration_since(self.start).as_nanos();
        Instant::from_nanos(i64::try_from(nanos).unwrap_or(i64::MAX))
    }
}
