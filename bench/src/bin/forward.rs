//! What forwarding costs through real sockets on loopback, beside the least that it could cost.
//!
//! `cargo run --release -p rtpcore-bench --bin forward -- <part>…`, each part printing lines of `name value unit`:
//!
//! - `cost`: CPU per packet out, of this core and of the floor, in turns; AES-CM beside AES-GCM.
//! - `delay`: what the forwarder adds to the way of a packet, at half load.
//! - `scaling`: two workers beside one.
//! - `memory`: resident memory of a subscriber.
//! - `turns`: what `cost` says of video, once for each line of input.
//! - `allocations`: calls of the allocator, per packet and by the clock.
//!
//! `--quick` takes fewer turns: to see whether all runs, not to compare.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)] // measured values

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rtpcore_bench::account::{cpu_ns, go_first, resident_kib, this_thread};
use rtpcore_bench::floor::Floor;
use rtpcore_bench::room::{Media, peer_keys, stamp_of};
use rtpcore_bench::socket::{deaf, listening, receive};
use rtpcore_bench::stage::{Stage, Window};
use rtpcore_bench::table::Table;
use rtpcore_core::rtp::Header;
use rtpcore_core::srtp::{ClearHeader, Inbound, Profile};

const GCM: Profile = Profile::AeadAes128Gcm;
const CM: Profile = Profile::Aes128CmSha1_80;

/// Subscribers of the room.
const SUBSCRIBERS: usize = 100;
/// Turns that the compared parties take; the figure is the median of their ratios.
const ROUNDS: usize = 15;
const QUICK_ROUNDS: usize = 3;
/// How busy a worker is while its cost is measured.
const LOAD: f64 = 0.7;
/// How long one turn lasts.
const TURN: Duration = Duration::from_millis(250);

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
thread_local! {
    /// Whether this thread's calls count: the publisher's own do not.
    static IS_COUNTED: Cell<bool> = const { Cell::new(true) };
}

struct Counting;

// SAFETY: everything is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(u64::from(IS_COUNTED.get()), Relaxed);
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
    let mut rounds = ROUNDS;
    for part in std::env::args().skip(1) {
        match part.as_str() {
            "--quick" => rounds = QUICK_ROUNDS,
            "cost" => cost(rounds),
            "turns" => turns(),
            "delay" => delay(),
            "scaling" => scaling(rounds),
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
fn cost(rounds: usize) {
    for media in [Media::Video, Media::Audio] {
        let name = media.name();
        let sockets = audience(SUBSCRIBERS);
        let addresses = addresses(&sockets);
        let mut floor = Floor::new(media, deaf("127.0.0.1:0").expect("loopback can be bound"), &addresses);
        let [mut gcm, mut cm] = [GCM, CM].map(|profile| {
            let mut stage = Stage::new(media, profile, 1);
            stage.subscribe(&addresses);
            stage.begin();
            let pace = stage.pace(LOAD);
            (stage, pace)
        });
        let mut costs = Vec::new();
        for _ in 0..rounds {
            let least = floor_turn(&mut floor, gcm.1);
            costs.push((least, turn(&mut gcm.0, gcm.1), turn(&mut cm.0, cm.1)));
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
    cipher_cost(rounds);
}

/// Nanoseconds per packet out, of all that a worker does.
fn turn(stage: &mut Stage, pace: Duration) -> f64 {
    let frames = (TURN.as_nanos() / pace.as_nanos().max(1)) as usize + 1;
    let window = stage.measure(|stage| stage.drive(frames, pace, || ()));
    let expected = (frames * stage.fan_out()) as u64;
    assert_eq!(window.packets(), expected, "every packet is forwarded: the pace is too fast for this machine");
    window.ns_per_packet()
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

/// A turn for each line that is read, for those who compare with another program: what video costs, in nanoseconds. A first
/// line says when all is set.
fn turns() {
    let sockets = audience(SUBSCRIBERS);
    let mut stage = Stage::new(Media::Video, GCM, 1);
    stage.subscribe(&addresses(&sockets));
    stage.begin();
    let pace = stage.pace(LOAD);
    println!("ready");
    for line in std::io::stdin().lines() {
        line.expect("lines are text");
        println!("{:.3}", turn(&mut stage, pace));
    }
}

/// AES-CM beside AES-GCM where nothing but our own code counts.
fn cipher_cost(rounds: usize) {
    for media in [Media::Video, Media::Audio] {
        let mut tables = [GCM, CM].map(|profile| Table::new(media, profile, SUBSCRIBERS));
        let mut best = [f64::MAX; 2];
        for _ in 0..rounds {
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
    rooms_delay();
    hall_delay(Media::Video);
    hall_delay(Media::Audio);
}

/// Subscribers of a usual room, and how often its publisher's camera takes a picture.
const ROOM: usize = 10;
const FRAME_INTERVAL: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// The load at which delays are taken, and how long.
const HALF: f64 = 0.5;
const LISTENED: Duration = Duration::from_secs(10);

/// A server at half load as it is loaded in life: many rooms, whose publishers know nothing of each other.
fn rooms_delay() {
    let media = Media::Video;
    let socket = deaf("0.0.0.0:0").expect("any address can be bound");
    let port = socket.local_addr().expect("a bound socket has an address").port();
    let remote = |room: usize, n: usize| SocketAddr::from(([127, 1, room as u8, n as u8 + 1], port));
    let mut stage = Stage::new(media, GCM, 1);
    stage.subscribe(&(0..ROOM).map(|n| remote(0, n)).collect::<Vec<_>>());
    stage.begin();
    // How many rooms make half load goes by the cost of one; the frame rate makes up for what that misses.
    let rooms = (FRAME_INTERVAL.as_secs_f64() / stage.pace(HALF).as_secs_f64()).round().clamp(2.0, 250.0) as usize;
    let mut ears = Vec::new();
    for room in 1..rooms {
        stage.open_room();
        // In some rooms one listens: the first whose packet is written, the last, and those between.
        let listener = (room % (rooms / ROOM).max(1) == 0).then_some(room % ROOM);
        let socket = listening("127.0.0.1:0").expect("loopback can be bound");
        let mut addresses: Vec<_> = (0..ROOM).map(|n| remote(room, n)).collect();
        if let Some(place) = listener {
            addresses[place] = socket.local_addr().expect("a bound socket has an address");
        }
        let first = stage.subscribe(&addresses);
        if let Some(place) = listener {
            ears.push(Ear::new(socket, peer_keys(GCM, first + place).remote));
        }
    }
    stage.begin();
    let busy = |window: &Window| window.cpu_ns[0] as f64 / window.wall_ns as f64;
    let mut interval = FRAME_INTERVAL;
    let mut delays = Vec::with_capacity(1 << 18);
    let mut attempts = 0;
    let window = loop {
        // The cost of a packet depends on the load: the frame rate is brought nearer to half load until it is there.
        let window = stage.measure(|stage| stage.drive_apart(Duration::from_secs(1), interval, || ()));
        interval = interval.mul_f64(busy(&window) / HALF);
        ears.iter_mut().for_each(|ear| ear.drain(|_| ()));
        delays.clear();
        let window = stage.measure(|stage| {
            stage.drive_apart(LISTENED, interval, || ears.iter_mut().for_each(|ear| ear.drain(|ns| delays.push(ns))));
        });
        ears.iter_mut().for_each(|ear| ear.drain(|ns| delays.push(ns)));
        attempts += 1;
        if attempts == 4 || (busy(&window) - HALF).abs() < 0.03 {
            break window;
        }
    };
    let expected = ears.len() as f64 * window.packets() as f64 / (rooms * ROOM) as f64;
    assert!(delays.len() as f64 >= expected * 0.99, "the listeners hear everything");
    let base = straight_way(&mut stage);
    print_delays("video_added_delay", delays, base);
    print("video_delay_rooms", rooms as f64, "rooms");
    print("video_delay_frame_rate", 1.0 / interval.as_secs_f64(), "1/s");
    print("video_delay_load", busy(&window), "cores");
}

/// One publisher and a hundred subscribers. A frame of video comes as one train there, and makes eight hundred packets: the
/// last cannot leave before the others are written, and the floor says how long that takes at least.
fn hall_delay(media: Media) {
    let sockets = audience(SUBSCRIBERS - LISTENERS.len());
    let listeners: Vec<UdpSocket> =
        LISTENERS.iter().map(|_| listening("127.0.0.1:0").expect("loopback can be bound")).collect();
    let mut addresses = addresses(&sockets);
    for (&place, socket) in LISTENERS.iter().zip(&listeners) {
        addresses.insert(place, socket.local_addr().expect("a bound socket has an address"));
    }
    let mut stage = Stage::new(media, GCM, 1);
    let first = stage.subscribe(&addresses);
    stage.begin();
    let pace = stage.pace(HALF);
    let frames = (LISTENED.as_nanos() / 2 / pace.as_nanos().max(1)) as usize;

    let mut ears: Vec<_> = LISTENERS
        .iter()
        .zip(listeners)
        .map(|(&place, socket)| Ear::new(socket, peer_keys(GCM, first + place).remote))
        .collect();
    ears.iter_mut().for_each(|ear| ear.drain(|_| ()));
    let expected = frames * media.frame_packets() * ears.len();
    let mut delays = Vec::with_capacity(expected);
    stage.drive(frames, pace, || ears.iter_mut().for_each(|ear| ear.drain(|ns| delays.push(ns))));
    stage.snapshots();
    ears.iter_mut().for_each(|ear| ear.drain(|ns| delays.push(ns)));
    assert!(delays.len() >= expected * 99 / 100, "the listeners hear everything");
    let base = straight_way(&mut stage);
    if media == Media::Audio {
        print_delays("audio_added_delay", delays, base);
        return;
    }
    let p99 = print_delays("video_train_delay", delays, base);
    let mut floor = Floor::new(media, deaf("127.0.0.1:0").expect("loopback can be bound"), &addresses);
    let times = (0..frames.min(500)).map(|_| {
        let start = Instant::now();
        floor.send_frame().expect("loopback takes everything");
        let taken = start.elapsed();
        sleep(pace.saturating_sub(taken));
        taken.as_secs_f64() * 1e3
    });
    let least = median(times);
    print("video_train_floor_ms", least, "ms");
    print("video_train_delay_to_floor", p99 / least, "x");
}

/// Nanoseconds that a packet of the first publisher takes without a forwarder: from the same socket to an ear with its keys.
fn straight_way(stage: &mut Stage) -> u64 {
    let socket = listening("127.0.0.1:0").expect("loopback can be bound");
    let to = socket.local_addr().expect("a bound socket has an address");
    let mut ear = Ear::new(socket, peer_keys(GCM, 0).local);
    let mut straight = Vec::new();
    for _ in 0..1000 {
        stage.send_frame_to(0, to);
        ear.drain(|ns| straight.push(ns));
    }
    straight.sort_unstable();
    straight[straight.len() / 2]
}

/// Prints what is beyond the straight way; the result is the 99th percentile in milliseconds.
fn print_delays(name: &str, mut delays: Vec<u64>, base: u64) -> f64 {
    delays.sort_unstable();
    let [_, p99, _] = [("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999)].map(|(label, share)| {
        let at = ((delays.len() - 1) as f64 * share) as usize;
        let added = delays[at].saturating_sub(base) as f64 / 1e6;
        print(&format!("{name}_{label}_ms"), added, "ms");
        added
    });
    p99
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
fn scaling(rounds: usize) {
    let sockets = audience(SUBSCRIBERS);
    let addresses = addresses(&sockets);
    let mut stages = [1, 2].map(|workers| {
        let mut stage = Stage::new(Media::Video, GCM, workers);
        stage.subscribe(&addresses);
        stage.begin();
        let pace = stage.pace(LOAD);
        (stage, pace)
    });
    let mut ratios = Vec::new();
    for _ in 0..rounds {
        let [one, two] = stages.each_mut().map(|(stage, pace)| {
            let frames = (TURN.as_nanos() / pace.as_nanos().max(1)) as usize + 1;
            let window = stage.measure(|stage| stage.drive(frames, *pace, || ()));
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
        stage.begin();
        // The pool that all subscribers share fills first.
        stage.drive(20_000 / media.frame_packets(), Duration::from_micros(30), || ());
        stage.snapshots();
        let before = resident_kib();
        let more: Vec<SocketAddr> = (1..=MANY).map(remote).collect();
        stage.subscribe(&more);
        stage.begin();
        stage.drive(1100 / media.frame_packets(), Duration::from_micros(3 * stage.fan_out() as u64), || ());
        stage.snapshots();
        let kib = (resident_kib() - before) as f64 / MANY as f64;
        print(&format!("{}_memory_per_subscriber_kb", media.name()), kib * 1.024, "kB");
        stages.push(stage);
    }
}

/// Calls of the allocator. A bare router shows exactly what packets ask for. Workers also report to peers and publish counters,
/// so often a second however much they forward: what packets add shows in the difference of two loads.
fn allocations() {
    for media in [Media::Video, Media::Audio] {
        let mut table = Table::new(media, GCM, SUBSCRIBERS);
        let (mut calls, mut packets) = (0, 0);
        for _ in 0..1000 {
            table.prepare();
            let before = ALLOCATIONS.load(Relaxed);
            packets += table.forward();
            calls += ALLOCATIONS.load(Relaxed) - before;
        }
        let name = media.name();
        print(&format!("{name}_allocations_per_packet"), calls as f64 / packets as f64, "calls");

        let sockets = audience(SUBSCRIBERS);
        let mut stage = Stage::new(media, GCM, 1);
        stage.subscribe(&addresses(&sockets));
        stage.begin();
        // Ten publications fall into each window: it begins just behind one and ends half way between two.
        let window = Duration::from_millis(1050);
        let [slow, fast] = [0.1, 0.6].map(|load| {
            let pace = stage.pace(load);
            let frames = (window.as_nanos() / pace.as_nanos().max(1)) as usize;
            let calls = (0..5).map(|_| {
                stage.snapshots();
                let before = ALLOCATIONS.load(Relaxed);
                IS_COUNTED.set(false);
                stage.drive(frames, pace, || ());
                IS_COUNTED.set(true);
                (ALLOCATIONS.load(Relaxed) - before) as f64
            });
            (median(calls), (frames * stage.fan_out()) as f64)
        });
        let added = (fast.0 - slow.0) / (fast.1 - slow.1);
        print(&format!("{name}_socket_allocations_per_packet"), added, "calls");
        print(&format!("{name}_allocations_per_second"), slow.0 / window.as_secs_f64(), "1/s");
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
