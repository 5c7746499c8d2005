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

/// A forwarder with one publisher.
pub struct Stage {
    forwarder: Forwarder,
    threads: Vec<u32>,
    media: Media,
    profile: Profile,
    publisher: Publisher,
    receiver: ReceiverId,
    socket: UdpSocket,
    to: SocketAddr,
    subscribers: usize,
    train: Train,
    frame: Vec<u8>,
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
    /// Starts the forwarder and the publisher, on its first worker.
    pub fn new(media: Media, profile: Profile, worker_count: u8) -> Self {
        let others = workers();
        let forwarder = Forwarder::start(&Config {
            workers: worker_count,
            listen: Listen {
                addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
                udp_port: 0,
                tcp_port: None,
                advertise: Vec::new(),
            },
            limits: Limits::default(),
            seed: 1,
            snapshot_interval_ms: SNAPSHOT_MS,
        })
        .expect("loopback can be bound");
        let to = forwarder.candidates()[0].addr();
        let transport = forwarder.next_transport(Placement::InTurn);
        let receiver = forwarder.next_receiver(transport);
        let stage_socket = publisher_socket(&forwarder, to, transport.worker());
        let from = stage_socket.local_addr().expect("a bound socket has an address");
        send(&forwarder, transport.worker(), add_transport(transport, profile, 0, to, from));
        send(&forwarder, transport.worker(), add_receiver(transport, receiver, media));
        Self {
            threads: workers().into_iter().filter(|thread| !others.contains(thread)).collect(),
            forwarder,
            media,
            profile,
            publisher: Publisher::new(media, profile, 0),
            receiver,
            socket: stage_socket,
            to,
            subscribers: 0,
            train: Train::default(),
            frame: Vec::new(),
        }
    }

    /// Adds subscribers at these addresses, workers in turn, and returns once each has what it needs. Their keys go by
    /// their numbers, the first being 1.
    pub fn subscribe(&mut self, addresses: &[SocketAddr]) {
        for &remote in addresses {
            self.subscribers += 1;
            let transport = self.next_transport();
            let number = self.subscribers;
            let sender = self.forwarder.next_sender(transport);
            let ssrc = 0x2000_0000 + number as u32;
            send(&self.forwarder, transport.worker(), add_transport(transport, self.profile, number, self.to, remote));
            let command = add_sender(transport, sender, self.receiver, self.media, ssrc);
            send(&self.forwarder, transport.worker(), command);
        }
        loop {
            let known: usize = self.snapshots().iter().map(|snapshot| snapshot.senders.len()).sum();
            if known >= self.subscribers {
                break;
            }
        }
        self.publisher.make_keyframe();
        self.send_frame();
        self.snapshots();
    }

    /// Packets that one frame makes.
    pub fn fan_out(&self) -> usize {
        self.subscribers * self.media.frame_packets()
    }

    /// Sends one frame as one train.
    pub fn send_frame(&mut self) {
        self.send_frame_to(self.to);
    }

    /// The same to any address, past the forwarder. Nobody may be sent such a frame as well as its copy.
    pub fn send_frame_to(&mut self, to: SocketAddr) {
        let len = self.publisher.write_frame(wall_ns(), &mut self.frame);
        self.train.set(0, to, &self.frame, len);
        self.train.send(&self.socket, 1).expect("loopback takes everything");
    }

    /// Sends frames at a steady pace, `between` running after each.
    pub fn drive(&mut self, frames: usize, interval: Duration, mut between: impl FnMut()) {
        let start = Instant::now();
        for n in 0..frames {
            self.send_frame();
            between();
            sleep((interval * (n as u32 + 1)).saturating_sub(start.elapsed()));
        }
    }

    /// What `drive` costs.
    pub fn measure(&mut self, frames: usize, interval: Duration) -> Window {
        let before = self.forwarded();
        let cpu: Vec<u64> = self.threads.iter().map(|&thread| cpu_ns(thread)).collect();
        let start = Instant::now();
        self.drive(frames, interval, || ());
        let wall_ns = start.elapsed().as_nanos() as u64;
        let after = self.forwarded();
        let cpu_ns = self.threads.iter().zip(cpu).map(|(&thread, before)| cpu_ns(thread) - before).collect();
        let forwarded = after.iter().zip(before).map(|(after, before)| after - before).collect();
        Window { forwarded, cpu_ns, wall_ns }
    }

    /// The pace at which one worker is busy for this share of its time, measured at a slow one.
    pub fn pace(&mut self, load: f64) -> Duration {
        let slow = Duration::from_nanos(3000 * self.fan_out() as u64);
        let window = self.measure(100, slow);
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

    fn next_transport(&self) -> TransportId {
        self.forwarder.next_transport(Placement::InTurn)
    }
}

/// A socket whose datagrams the kernel hands to this worker: among those that share the port it chooses by address.
fn publisher_socket(forwarder: &Forwarder, to: SocketAddr, worker: u8) -> UdpSocket {
    loop {
        let socket = deaf("127.0.0.1:0").expect("loopback can be bound");
        let heard = |forwarder: &Forwarder| {
            let now = forwarder.clock().now();
            loop {
                let snapshots = forwarder.snapshots();
                if snapshots.iter().all(|snapshot| snapshot.at > now) {
                    return snapshots[usize::from(worker)].received.packets;
                }
                sleep(Duration::from_millis(1));
            }
        };
        let before = heard(forwarder);
        socket.send_to(&[0x80; 12], to).expect("loopback takes everything");
        if heard(forwarder) > before {
            return socket;
        }
    }
}

fn send(forwarder: &Forwarder, worker: u8, command: Command) {
    assert!(forwarder.send(worker, command).is_ok(), "the worker takes commands");
}
