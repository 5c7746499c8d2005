//! A room on a forwarder: its threads, real sockets, a publisher that sends at a set pace.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rtpcore_core::command::Command;
use rtpcore_core::id::{ReceiverId, TransportId};
use rtpcore_core::router::Limits;
use rtpcore_core::srtp::Profile;
use rtpcore_core::stats::Snapshot;
use rtpcore_net::{Config, Forwarder, Listen, Placement};

use crate::account::{cpu_ns, workers};
use crate::room::{Media, Publisher, add_receiver, add_sender, add_transport};
use crate::socket::{Train, deaf, wall_ns};

/// How often workers publish their counters: seldom enough to cost nothing, often enough to wait for.
const SNAPSHOT_MS: u64 = 100;

/// A forwarder, and rooms of one publisher each.
pub struct Stage {
    forwarder: Forwarder,
    threads: Vec<u32>,
    media: Media,
    profile: Profile,
    to: SocketAddr,
    rooms: Vec<Room>,
    /// Peers so far; their keys go by their numbers.
    peers: usize,
    train: Train,
    frame: Vec<u8>,
}

struct Room {
    publisher: Publisher,
    receiver: ReceiverId,
    socket: UdpSocket,
    subscribers: usize,
}

/// What happened between two looks at the counters.
pub struct Window {
    /// Packets forwarded, by worker.
    pub forwarded: Vec<u64>,
    /// CPU time in nanoseconds, by worker.
    pub cpu_ns: Vec<u64>,
    /// Nanoseconds that passed.
    pub wall_ns: u64,
}

impl Window {
    /// Packets forwarded by all workers.
    pub fn packets(&self) -> u64 {
        self.forwarded.iter().sum()
    }

    /// Nanoseconds of CPU per packet forwarded.
    pub fn ns_per_packet(&self) -> f64 {
        self.cpu_ns.iter().sum::<u64>() as f64 / self.packets().max(1) as f64
    }

    /// Packets per second that these workers can carry, each on a core of its own: until the busiest has no time left.
    pub fn capacity(&self) -> f64 {
        let busiest = self.cpu_ns.iter().max().copied().unwrap_or(0);
        self.packets() as f64 / busiest.max(1) as f64 * 1e9
    }
}

impl Stage {
    /// Starts the forwarder and opens a room.
    pub fn new(media: Media, profile: Profile, worker_count: u8) -> Self {
        let others = workers();
        let forwarder = Forwarder::start(&Config {
            workers: worker_count,
            listen: Listen {
                addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                udp_port: 0,
                tcp_port: None,
                advertise: Vec::new(),
                advertise_local: false,
            },
            limits: Limits::default(),
            seed: 1,
            snapshot_interval_ms: SNAPSHOT_MS,
        })
        .expect("loopback can be bound");
        let mut stage = Self {
            threads: workers().into_iter().filter(|thread| !others.contains(thread)).collect(),
            to: forwarder.candidates()[0].addr(),
            forwarder,
            media,
            profile,
            rooms: Vec::new(),
            peers: 0,
            train: Train::default(),
            frame: Vec::new(),
        };
        stage.open_room();
        stage
    }

    /// Opens a room, its publisher on the worker whose turn it is. The publisher of the first room is peer 0.
    pub fn open_room(&mut self) {
        let transport = self.forwarder.next_transport(Placement::InTurn);
        let receiver = self.forwarder.next_receiver(transport);
        let socket = self.publisher_socket(transport.worker());
        let from = socket.local_addr().expect("a bound socket has an address");
        let number = self.next_peer();
        self.command(transport, add_transport(transport, self.profile, number, self.to, from));
        self.command(transport, add_receiver(transport, receiver, self.media));
        let publisher = Publisher::new(self.media, self.profile, number);
        self.rooms.push(Room { publisher, receiver, socket, subscribers: 0 });
    }

    /// Adds subscribers at these addresses to the newest room, workers in turn. The result is the number of the first of them.
    pub fn subscribe(&mut self, addresses: &[SocketAddr]) -> usize {
        let first = self.peers;
        let newest = self.rooms.len() - 1;
        for &remote in addresses {
            let number = self.next_peer();
            let transport = self.forwarder.next_transport(Placement::InTurn);
            let sender = self.forwarder.next_sender(transport);
            let ssrc = 0x2000_0000 + number as u32;
            self.command(transport, add_transport(transport, self.profile, number, self.to, remote));
            let source = self.rooms[newest].receiver;
            self.command(transport, add_sender(transport, sender, source, self.media, ssrc));
        }
        self.rooms[newest].subscribers += addresses.len();
        first
    }

    /// Returns once each subscriber has what it needs to be forwarded to.
    pub fn begin(&mut self) {
        let expected: usize = self.rooms.iter().map(|room| room.subscribers).sum();
        while self.snapshots().iter().map(|snapshot| snapshot.senders.len()).sum::<usize>() < expected {}
        for room in 0..self.rooms.len() {
            self.rooms[room].publisher.make_keyframe();
            self.send_frame(room);
        }
        self.snapshots();
    }

    /// Packets that a frame of each room makes.
    pub fn fan_out(&self) -> usize {
        self.rooms.iter().map(|room| room.subscribers).sum::<usize>() * self.media.frame_packets()
    }

    /// Sends one frame of a room as one train.
    pub fn send_frame(&mut self, room: usize) {
        self.send_frame_to(room, self.to);
    }

    /// The same to any address, past the forwarder. Nobody may be sent such a frame as well as its copy.
    pub fn send_frame_to(&mut self, room: usize, to: SocketAddr) {
        let room = &mut self.rooms[room];
        let len = room.publisher.write_frame(wall_ns(), &mut self.frame);
        self.train.set(0, to, &self.frame, len);
        self.train.send(&room.socket, 1).expect("loopback takes everything");
    }

    /// Sends frames of all rooms at once at a steady pace, `between` running after each.
    pub fn drive(&mut self, frames: usize, interval: Duration, mut between: impl FnMut()) {
        let start = Instant::now();
        for n in 0..frames {
            for room in 0..self.rooms.len() {
                self.send_frame(room);
            }
            between();
            sleep((interval * (n as u32 + 1)).saturating_sub(start.elapsed()));
        }
    }

    /// Sends frames of each room at a pace of its own, as cameras do that know nothing of each other: begun at any time,
    /// and every frame up to a tenth of the interval early or late.
    pub fn drive_apart(&mut self, length: Duration, interval: Duration, mut between: impl FnMut()) {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut due: Vec<Duration> = self.rooms.iter().map(|_| interval.mul_f64(random())).collect();
        let start = Instant::now();
        while let Some((room, at)) = due.iter().copied().enumerate().min_by_key(|&(_, at)| at)
            && at < length
        {
            sleep(at.saturating_sub(start.elapsed()));
            self.send_frame(room);
            between();
            due[room] = at + interval.mul_f64(0.9 + 0.2 * random());
        }
    }

    /// What `drive` costs.
    pub fn measure(&mut self, drive: impl FnOnce(&mut Self)) -> Window {
        let before = self.forwarded();
        let cpu: Vec<u64> = self.threads.iter().map(|&thread| cpu_ns(thread)).collect();
        let start = Instant::now();
        drive(self);
        let wall_ns = start.elapsed().as_nanos() as u64;
        let after = self.forwarded();
        let cpu_ns = self.threads.iter().zip(cpu).map(|(&thread, before)| cpu_ns(thread) - before).collect();
        let forwarded = after.iter().zip(before).map(|(after, before)| after - before).collect();
        Window { forwarded, cpu_ns, wall_ns }
    }

    /// The pace at which one worker is busy for this share of its time, measured at a slow one.
    pub fn pace(&mut self, load: f64) -> Duration {
        let slow = Duration::from_nanos(3000 * self.fan_out() as u64);
        let window = self.measure(|stage| stage.drive(100, slow, || ()));
        assert_eq!(window.packets(), 100 * self.fan_out() as u64, "every packet is forwarded: the machine is too busy");
        let busiest = window.cpu_ns.iter().max().copied().unwrap_or(0) as f64 / 100.0;
        Duration::from_nanos((busiest / load) as u64)
    }

    /// The counters of each worker, no older than the call.
    pub fn snapshots(&self) -> Vec<Arc<Snapshot>> {
        let now = self.forwarder.clock().now();
        loop {
            let snapshots = self.forwarder.snapshots();
            if snapshots.iter().all(|snapshot| snapshot.at > now) {
                return snapshots;
            }
            sleep(Duration::from_millis(1));
        }
    }

    fn forwarded(&self) -> Vec<u64> {
        self.snapshots().iter().map(|snapshot| snapshot.forwarded).collect()
    }

    fn next_peer(&mut self) -> usize {
        self.peers += 1;
        self.peers - 1
    }

    fn command(&self, transport: TransportId, command: Command) {
        assert!(self.forwarder.send(transport.worker(), command).is_ok(), "the worker takes commands");
    }

    /// A socket whose datagrams the kernel hands to this worker: among those that share the port it chooses by address.
    fn publisher_socket(&self, worker: u8) -> UdpSocket {
        loop {
            let socket = deaf("127.0.0.1:0").expect("loopback can be bound");
            if self.threads.len() == 1 {
                return socket;
            }
            let heard = || self.snapshots()[usize::from(worker)].received.packets;
            let before = heard();
            socket.send_to(&[0x80; 12], self.to).expect("loopback takes everything");
            if heard() > before {
                return socket;
            }
        }
    }
}
