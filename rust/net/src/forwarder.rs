//! The owner's end: starts the workers, passes commands in and events out, stops them.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use is::{Candidate, IceCreds};
use mio::Waker;
use rtpcore_core::command::Command;
use rtpcore_core::event::Event;
use rtpcore_core::ice;
use rtpcore_core::id::{DataTrackId, HubId, MemberId, ReceiverId, SenderId, TransportId};
use rtpcore_core::router::{Limits, Router, RouterConfig};
use rtpcore_core::stats::Snapshot;

use crate::clock::Clock;
use crate::queue::EventQueue;
use crate::sockets::{Listen, Share, UdpPort, bind_tcp, bind_udp, inner_candidate, tcp_candidate, udp_candidate};
use crate::worker::{Neighbours, Worker};

/// How many commands may wait for one worker: more means that the owner asks faster than any machine answers.
pub const MAX_COMMANDS: usize = 65_536;

/// How many values may wait between two workers: a second of a busy room.
const MAX_CROSSINGS: usize = 8192;

/// What a forwarder is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Threads; each takes a core. 1 to 64.
    pub workers: u8,
    /// Addresses and ports.
    pub listen: Listen,
    /// Bounds of each worker's router.
    pub limits: Limits,
    /// Randomness for everything that needs no secret: report jitter, tie breaks.
    pub seed: u64,
    /// How often workers publish their counters, in milliseconds.
    pub snapshot_interval_ms: u64,
}

/// Why a forwarder did not start.
#[derive(Debug)]
pub enum StartError {
    /// An address or a port cannot be had.
    Bind(SocketAddr, io::Error),
    /// The machine refused a thread, a descriptor or the list of its addresses.
    System(io::Error),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// The forwarder was stopped.
    Closed,
    /// Too many commands wait for this worker.
    Full,
}

/// What reaches a worker besides datagrams.
pub(crate) enum Message {
    Command(Command),
    /// A TCP connection whose peer lives here.
    Adopt(Box<crate::tcp::Connection>),
    Stop,
}

struct Handle {
    messages: SyncSender<Message>,
    waker: Arc<Waker>,
    thread: Option<JoinHandle<()>>,
}

/// Running workers.
pub struct Forwarder {
    workers: Vec<Handle>,
    events: Arc<EventQueue>,
    snapshots: Arc<Vec<Mutex<Arc<Snapshot>>>>,
    candidates: Vec<Candidate>,
    udp: Vec<(SocketAddr, SocketAddr)>,
    clock: Clock,
    ids: AtomicU64,
    /// How many were placed in turn: apart from the other names, or those between would decide the worker.
    dealt: AtomicU64,
}

/// On which worker something new is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// On the next, so that all get the same number.
    InTurn,
    /// On this one, beside what it has to do with.
    On(u8),
}

impl Forwarder {
    /// Binds the sockets and starts the workers.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let clock = Clock::new();
        let count = config.workers.clamp(1, 64);
        let events = Arc::new(EventQueue::new()?);
        let snapshots = Arc::new((0..count).map(|_| Mutex::new(Arc::default())).collect::<Vec<_>>());

        let (mut ports, listeners, candidates) = bind_all(config, count)?;
        let udp = ports[0]
            .iter()
            .map(|port| Ok((port.socket.local_addr()?, port.advertised)))
            .collect::<io::Result<Vec<_>>>()?;
        let mut told = candidates.clone();
        if config.listen.advertise_local {
            let inner = udp.iter().filter(|(local, advertised)| local != advertised);
            told.extend(inner.filter_map(|&(local, _)| inner_candidate(local)));
        }
        let mut polls = Vec::new();
        let mut handles = Vec::new();
        let mut inboxes = Vec::new();
        for _ in 0..count {
            let poll = mio::Poll::new()?;
            let waker = Arc::new(Waker::new(poll.registry(), crate::worker::WAKER)?);
            let (messages, inbox) = sync_channel(MAX_COMMANDS);
            polls.push(poll);
            handles.push(Handle { messages, waker, thread: None });
            inboxes.push(inbox);
        }
        let mut neighbours = Neighbours::connect(count, MAX_CROSSINGS, |worker| {
            (handles[worker].messages.clone(), handles[worker].waker.clone())
        });

        let mut listeners = Some(listeners);
        for (index, (poll, inbox)) in polls.into_iter().zip(inboxes).enumerate() {
            let number = u8::try_from(index).unwrap_or(0);
            let router = Router::new(RouterConfig {
                worker: number,
                epoch: clock.start(),
                seed: config.seed.wrapping_add(u64::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15)),
                locals: candidates.clone(),
                limits: config.limits,
                neighbours: u64::MAX.checked_shr(64 - u32::from(count)).unwrap_or(0) & !(1 << number),
            });
            let worker = Worker::new(
                number,
                router,
                poll,
                std::mem::take(&mut ports[index]),
                listeners.take().unwrap_or_default(),
                inbox,
                neighbours.remove(0),
                clock,
                events.clone(),
                snapshots.clone(),
                config.snapshot_interval_ms,
            )?;
            let thread = std::thread::Builder::new().name(format!("rtpcore-{number}")).spawn(move || worker.run())?;
            handles[index].thread = Some(thread);
        }
        Ok(Self {
            workers: handles,
            events,
            snapshots,
            candidates: told,
            udp,
            clock,
            ids: AtomicU64::new(1),
            dealt: AtomicU64::new(0),
        })
    }

    /// How many workers run.
    pub fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// Our host candidates, for descriptions.
    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Where media is received over UDP: each socket's own address, and the one that peers are told.
    pub fn udp_addresses(&self) -> &[(SocketAddr, SocketAddr)] {
        &self.udp
    }

    /// The clock of all workers.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// A name for a new transport.
    pub fn next_transport(&self, placement: Placement) -> TransportId {
        TransportId::new(self.place(placement), self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// A name for a new member of a hub.
    pub fn next_member(&self, placement: Placement) -> MemberId {
        MemberId::new(self.place(placement), self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// A name for a new hub.
    pub fn next_hub(&self) -> HubId {
        HubId::new(0, self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// A name for a new data track of this member.
    pub fn next_data_track(&self, publisher: MemberId) -> DataTrackId {
        DataTrackId::new(publisher.worker(), self.ids.fetch_add(1, Ordering::Relaxed))
    }

    fn place(&self, placement: Placement) -> u8 {
        match placement {
            Placement::On(worker) => worker,
            Placement::InTurn => {
                let worker = self.dealt.fetch_add(1, Ordering::Relaxed) % self.workers.len() as u64;
                u8::try_from(worker).unwrap_or(0)
            }
        }
    }

    /// A name for a new track of this peer.
    pub fn next_receiver(&self, transport: TransportId) -> ReceiverId {
        ReceiverId::new(transport.worker(), self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// A name for a new copy for this peer.
    pub fn next_sender(&self, transport: TransportId) -> SenderId {
        SenderId::new(transport.worker(), self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// Fresh ICE credentials (RFC 8445 §5.3) whose fragment tells any worker where the peer lives.
    pub fn credentials(transport: TransportId) -> Result<IceCreds, StartError> {
        Ok(IceCreds { ufrag: ice::ufrag_of(transport.worker(), &random_token::<8>()?), pass: random_token::<24>()? })
    }

    /// Asks a worker for something; returns before it is done.
    pub fn send(&self, worker: u8, command: Command) -> Result<(), SendError> {
        let handle = self.workers.get(usize::from(worker)).ok_or(SendError::Closed)?;
        match handle.messages.try_send(Message::Command(command)) {
            Ok(()) => {
                // Fails only where the worker is gone, and then nobody waits.
                let _ = handle.waker.wake();
                Ok(())
            }
            Err(TrySendError::Full(_)) => Err(SendError::Full),
            Err(TrySendError::Disconnected(_)) => Err(SendError::Closed),
        }
    }

    /// Asks all workers for something.
    pub fn broadcast(&self, command: impl Fn(u8) -> Command) -> Result<(), SendError> {
        (0..self.workers.len()).try_for_each(|worker| {
            let worker = u8::try_from(worker).unwrap_or(u8::MAX);
            self.send(worker, command(worker))
        })
    }

    /// Readable while events wait.
    pub fn event_fd(&self) -> RawFd {
        self.events.fd()
    }

    /// Up to `most` events, oldest first.
    pub fn drain_events(&self, most: usize) -> Vec<Event> {
        self.events.drain(most)
    }

    /// The counters of each worker as last published.
    pub fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        self.snapshots.iter().map(|slot| slot.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }

    /// Says goodbye to every peer and ends the workers. Idempotent; blocks for some milliseconds.
    pub fn stop(&mut self) {
        for handle in &self.workers {
            // A full queue empties itself; a closed one has nobody left to stop.
            let _ = handle.messages.send(Message::Stop);
            let _ = handle.waker.wake();
        }
        for handle in &mut self.workers {
            if let Some(thread) = handle.thread.take() {
                // A worker that panicked outside any peer's code has ended already, and said so.
                let _ = thread.join();
            }
        }
        self.events.wake();
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `N` characters of 6 random bits each, in the alphabet of ICE (RFC 8839 §5.4).
fn random_token<const N: usize>() -> Result<String, StartError> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| StartError::System(io::Error::other("the machine gave no random bytes")))?;
    Ok(bytes.iter().map(|byte| char::from(ice::ALPHABET[usize::from(byte % 64)])).collect())
}

type Bound = (Vec<Vec<UdpPort>>, Vec<(mio::net::TcpListener, SocketAddr, SocketAddr)>, Vec<Candidate>);

/// How often a port that the kernel chose for the first address may be taken on another.
const MOST_TRIES: u8 = 10;

/// Binds every address once per worker, and the TCP listeners once.
fn bind_all(config: &Config, workers: u8) -> Result<Bound, StartError> {
    let is_chosen = config.listen.udp_port == 0 || config.listen.tcp_port == Some(0);
    let mut tries = 1;
    loop {
        match try_to_bind_all(config, workers) {
            Err(StartError::Bind(_, error))
                if error.kind() == io::ErrorKind::AddrInUse && is_chosen && tries < MOST_TRIES =>
            {
                tries += 1;
            }
            bound => return bound,
        }
    }
}

fn try_to_bind_all(config: &Config, workers: u8) -> Result<Bound, StartError> {
    let listen = &config.listen;
    let mut ports: Vec<Vec<UdpPort>> = (0..workers).map(|_| Vec::new()).collect();
    let mut listeners = Vec::new();
    let mut candidates = Vec::new();
    let (mut udp_port, mut tcp_port) = (listen.udp_port, listen.tcp_port);
    for ip in listen.resolve()? {
        for (number, worker) in ports.iter_mut().enumerate() {
            let wanted = SocketAddr::new(ip, udp_port);
            let share = if number == 0 { Share::First } else { Share::Further };
            let socket = bind_udp(wanted, share).map_err(|error| StartError::Bind(wanted, error))?;
            let local = socket.local_addr()?;
            // One port for all: what the kernel chose first is what the others get.
            udp_port = local.port();
            let advertised = listen.advertised(local);
            worker.push(UdpPort { socket: mio::net::UdpSocket::from_std(socket), advertised });
        }
        candidates.extend(udp_candidate(listen.advertised(SocketAddr::new(ip, udp_port))));
        if let Some(port) = tcp_port {
            let wanted = SocketAddr::new(ip, port);
            let listener = bind_tcp(wanted).map_err(|error| StartError::Bind(wanted, error))?;
            let local = listener.local_addr()?;
            tcp_port = Some(local.port());
            let advertised = listen.advertised(local);
            candidates.extend(tcp_candidate(advertised));
            listeners.push((listener, local, advertised));
        }
    }
    Ok((ports, listeners, candidates))
}
