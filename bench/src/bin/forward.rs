//! What forwarding costs through real sockets on loopback, beside the least that it could cost.
//!
//! `cargo run --release -p rtpcore-bench --bin forward -- <part>…`, each part printing lines of `name value unit`:
//!
//! - `cost`: CPU per packet out, of this core and of the floor, in turns; AES-CM beside AES-GCM.
//! - `delay`: what the forwarder adds to the way of a packet, at half load.
//! - `scaling`: two workers beside one.
//! - `memory`: resident memory of a subscriber.
//! - `allocations`: calls of the allocator, over all threads.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)] // measured values

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rtpcore_bench::account::{cpu_ns, go_first, resident_kib, this_thread};
use rtpcore_bench::floor::Floor;
use rtpcore_bench::room::{Media, peer_keys, stamp_of};
use rtpcore_bench::socket::{deaf, listening, receive};
use rtpcore_bench::stage::Stage;
use rtpcore_bench::table::Table;
use rtpcore_core::rtp::Header;
use rtpcore_core::srtp::{ClearHeader, Inbound, Profile};

const GCM: Profile = Profile::AeadAes128Gcm;
const CM: Profile = Profile::Aes128CmSha1_80;

/// Subscribers of the room.
const SUBSCRIBERS: usize = 100;
/// Turns that the compared parties take; the figure is the median of their ratios.
const ROUNDS: usize = 15;
/// How busy a worker is while its cost is measured.
const LOAD: f64 = 0.7;
/// How long one turn lasts.
const TURN: Duration = Duration::from_millis(250);

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        // SAFETY: the caller's promises are those of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn main() {
    println!("runs_first {} bool", u8::from(go_first()));
    for part in std::env::args().skip(1) {
        match part.as_str() {
            "cost" => cost(),
            "delay" => delay(),
            "scaling" => scaling(),
            "memory" => memory(),
            "allocations" => allocations(),
            other => panic!("no part is called {other}"),
        }
    }
}

fn print(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.6} {unit}");
}

/// Core and floor take turns, so that a slow spell of the machine hits both.
fn cost() {
    for media in [Media::Video, Media::Audio] {
        let name = media.name();
        let sockets = audience(SUBSCRIBERS);
        let addresses = addresses(&sockets);
        let mut floor = Floor::new(media, deaf("127.0.0.1:0").expect("loopback can be bound"), &addresses);
        let [mut gcm, mut cm] = [GCM, CM].map(|profile| {
            let mut stage = Stage::new(media, profile, 1);
            stage.subscribe(&addresses);
            let pace = stage.pace(LOAD);
            (stage, pace)
        });
        let turn = |(stage, pace): &mut (Stage, Duration)| {
            let frames = (TURN.as_nanos() / pace.as_nanos().max(1)) as usize + 1;
            let window = stage.measure(frames, *pace);
            let expected = (frames * stage.fan_out()) as u64;
            assert_eq!(window.packets(), expected, "every packet is forwarded: the pace is too fast for this machine");
            window.ns_per_packet()
        };
        let mut costs = Vec::new();
        for _ in 0..ROUNDS {
            let least = floor_turn(&mut floor, gcm.1);
            costs.push((least, turn(&mut gcm), turn(&mut cm)));
        }
        let ratio = median(costs.iter().map(|(least, gcm, _)| gcm / least));
        let cm_ratio = median(costs.iter().map(|(_, gcm, cm)| cm / gcm));
        let core = median(costs.iter().map(|cost| cost.1)) / 1000.0;
        print(&format!("{name}_floor_us"), median(costs.iter().map(|cost| cost.0)) / 1000.0, "us");
        print(&format!("{name}_cpu_us"), core, "us");
        print(&format!("{name}_packets_per_core"), 1e6 / core, "1/s");
        print(&format!("{name}_cpu_ratio_to_floor"), ratio, "x");
        print(&format!("{name}_cm_to_gcm_ratio"), cm_ratio, "x");
    }
    cipher_cost();
}

/// The floor sends at the same pace as the core, and rests between frames like it: what rests finds cold caches again.
fn floor_turn(floor: &mut Floor, pace: Duration) -> f64 {
    let thread = this_thread();
    let before = cpu_ns(thread);
    let start = Instant::now();
    let mut packets = 0;
    for n in 0..=((TURN.as_nanos() / pace.as_nanos().max(1)) as u32) {
        packets += floor.send_frame().expect("loopback takes everything");
        sleep((pace * (n + 1)).saturating_sub(start.elapsed()));
    }
    (cpu_ns(thread) - before) as f64 / packets as f64
}

/// AES-CM beside AES-GCM where nothing but our own code counts.
fn cipher_cost() {
    for media in [Media::Video, Media::Audio] {
        let mut tables = [GCM, CM].map(|profile| Table::new(media, profile, SUBSCRIBERS));
        let mut best = [f64::MAX; 2];
        for _ in 0..ROUNDS {
            for (table, best) in tables.iter_mut().zip(&mut best) {
                let (mut cpu, mut packets) = (0, 0);
                for _ in 0..800 / media.frame_packets() {
                    table.prepare();
                    let before = cpu_ns(this_thread());
                    packets += table.forward();
                    cpu += cpu_ns(this_thread()) - before;
                }
                *best = best.min(cpu as f64 / packets as f64);
            }
        }
        let name = media.name();
        print(&format!("{name}_user_ns"), best[0], "ns");
        print(&format!("{name}_user_cm_to_gcm_ratio"), best[1] / best[0], "x");
    }
}

/// By how much later a packet comes than by the straight way, at half of what a worker can carry.
fn delay() {
    for media in [Media::Video, Media::Audio] {
        let mut sockets = audience(SUBSCRIBERS - LISTENERS.len());
        let listeners: Vec<UdpSocket> =
            LISTENERS.iter().map(|_| listening("127.0.0.1:0").expect("loopback can be bound")).collect();
        let mut addresses = addresses(&sockets);
        for (&place, socket) in LISTENERS.iter().zip(&listeners) {
            addresses.insert(place, socket.local_addr().expect("a bound socket has an address"));
        }
        let mut stage = Stage::new(media, GCM, 1);
        stage.subscribe(&addresses);
        let pace = stage.pace(0.5);
        let frames = (Duration::from_secs(5).as_nanos() / pace.as_nanos().max(1)) as usize;

        let mut ears: Vec<_> = LISTENERS
            .iter()
            .zip(listeners)
            .map(|(&place, socket)| Ear::new(socket, peer_keys(GCM, place + 1).remote))
            .collect();
        ears.iter_mut().for_each(|ear| ear.drain(|_| ()));
        let mut delays = Vec::with_capacity(frames * media.frame_packets() * ears.len());
        stage.drive(frames, pace, || ears.iter_mut().for_each(|ear| ear.drain(|ns| delays.push(ns))));
        stage.snapshots();
        ears.iter_mut().for_each(|ear| ear.drain(|ns| delays.push(ns)));
        assert!(
            delays.len() >= frames * media.frame_packets() * ears.len() * 99 / 100,
            "the listeners hear everything"
        );

        // The straight way: the same packets from the same socket, heard by an ear with the publisher's keys.
        sockets.push(listening("127.0.0.1:0").expect("loopback can be bound"));
        let socket = sockets.pop().expect("just pushed");
        let to = socket.local_addr().expect("a bound socket has an address");
        let mut ear = Ear::new(socket, peer_keys(GCM, 0).local);
        let mut straight = Vec::new();
        for _ in 0..1000 {
            stage.send_frame_to(to);
            ear.drain(|ns| straight.push(ns));
        }
        straight.sort_unstable();
        let base = straight[straight.len() / 2];
        delays.sort_unstable();
        let name = media.name();
        for (label, share) in [("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999)] {
            let at = ((delays.len() - 1) as f64 * share) as usize;
            print(&format!("{name}_added_delay_{label}_ms"), (delays[at].saturating_sub(base)) as f64 / 1e6, "ms");
        }
        print(&format!("{name}_half_load_packets"), 1e9 / pace.as_nanos() as f64 * stage.fan_out() as f64, "1/s");
    }
}

/// Whose packets are timed: the first subscriber that a packet is written for, the last, and two between.
const LISTENERS: [usize; 4] = [0, 33, 66, 99];

/// A subscriber that listens.
struct Ear {
    socket: UdpSocket,
    inbound: Inbound,
    datagram: [u8; 2048],
    packet: [u8; 2048],
}

impl Ear {
    fn new(socket: UdpSocket, keys: rtpcore_core::dtls::MasterKeys) -> Self {
        let inbound = Inbound::new(GCM, keys.as_master(), 4).expect("the key fits its profile");
        Self { socket, inbound, datagram: [0; 2048], packet: [0; 2048] }
    }

    /// Reads what waits and says of each packet how long it was under way, in nanoseconds.
    fn drain(&mut self, mut heard: impl FnMut(u64)) {
        while let Some((len, at)) = receive(&self.socket, &mut self.datagram) {
            let datagram = &self.datagram[..len];
            // Reports come too.
            let Ok(header) = Header::parse_clear(datagram) else { continue };
            let header_len = usize::from(header.payload_offset);
            let clear = ClearHeader { ssrc: header.ssrc, sequence_number: header.sequence_number, len: header_len };
            let Ok(len) = self.inbound.unprotect_rtp(datagram, clear, &mut self.packet) else { continue };
            if let Some(sent) = stamp_of(&self.packet[header_len..len]) {
                heard(at.saturating_sub(sent));
            }
        }
    }
}

/// One room over one worker and over two. Each worker's time is counted by itself, so that two workers need not have two
/// idle cores: what one can carry is its packets by its CPU time, and the room is full when its busiest worker is.
fn scaling() {
    let sockets = audience(SUBSCRIBERS);
    let addresses = addresses(&sockets);
    let mut stages = [1, 2].map(|workers| {
        let mut stage = Stage::new(Media::Video, GCM, workers);
        stage.subscribe(&addresses);
        let pace = stage.pace(LOAD);
        (stage, pace)
    });
    let mut ratios = Vec::new();
    for _ in 0..ROUNDS {
        let [one, two] = stages.each_mut().map(|(stage, pace)| {
            let frames = (TURN.as_nanos() / pace.as_nanos().max(1)) as usize + 1;
            let window = stage.measure(frames, *pace);
            assert_eq!(window.packets(), (frames * stage.fan_out()) as u64, "every packet is forwarded");
            window.capacity()
        });
        ratios.push(two / one);
    }
    print("two_worker_scaling", median(ratios.into_iter()), "x");
}

/// Resident memory before and after a thousand subscribers, each with a full history.
fn memory() {
    const MANY: usize = 1000;
    let socket = deaf("0.0.0.0:0").expect("any address can be bound");
    let port = socket.local_addr().expect("a bound socket has an address").port();
    let remote = |n: usize| SocketAddr::from(([127, 1, (n / 250) as u8, (n % 250) as u8 + 1], port));
    // The first room stays while the second is measured, or its memory would be used again.
    let mut stages = Vec::new();
    for media in [Media::Video, Media::Audio] {
        let mut stage = Stage::new(media, GCM, 1);
        stage.subscribe(&[remote(0)]);
        // The pool that all subscribers share fills first.
        stage.drive(20_000 / media.frame_packets(), Duration::from_micros(30), || ());
        stage.snapshots();
        let before = resident_kib();
        let more: Vec<SocketAddr> = (1..=MANY).map(remote).collect();
        stage.subscribe(&more);
        stage.drive(1100 / media.frame_packets(), Duration::from_micros(3 * stage.fan_out() as u64), || ());
        stage.snapshots();
        let kib = (resident_kib() - before) as f64 / MANY as f64;
        print(&format!("{}_memory_per_subscriber_kb", media.name()), kib * 1.024, "kB");
        stages.push(stage);
    }
}

/// Calls of the allocator while packets flow. Publishing counters takes some, ten times a second and on every worker: the
/// shortest turns have none of it.
fn allocations() {
    for media in [Media::Video, Media::Audio] {
        let sockets = audience(SUBSCRIBERS);
        let mut stage = Stage::new(media, GCM, 1);
        stage.subscribe(&addresses(&sockets));
        let pace = stage.pace(0.5);
        let mut fewest = u64::MAX;
        for _ in 0..10 {
            stage.snapshots();
            let before = ALLOCATIONS.load(Relaxed);
            stage.drive((Duration::from_millis(50).as_nanos() / pace.as_nanos().max(1)) as usize, pace, || ());
            fewest = fewest.min(ALLOCATIONS.load(Relaxed) - before);
        }
        print(&format!("{}_allocations", media.name()), fewest as f64, "calls");
    }
}

fn audience(count: usize) -> Vec<UdpSocket> {
    (0..count).map(|_| deaf("127.0.0.1:0").expect("loopback can be bound")).collect()
}

fn addresses(sockets: &[UdpSocket]) -> Vec<SocketAddr> {
    sockets.iter().map(|socket| socket.local_addr().expect("a bound socket has an address")).collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
