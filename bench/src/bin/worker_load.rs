//! Keeps one core busy for a profiler, as `forward` does while it measures costs:
//!
//! `perf record -g target/release/worker_load <core|floor> <video|audio> <seconds>`
//!
//! `core` is a worker at seven tenths of its load, and the thread that sends to it; `floor` is the bare loop, without rest.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rtpcore_bench::floor::Floor;
use rtpcore_bench::room::Media;
use rtpcore_bench::socket::deaf;
use rtpcore_bench::stage::Stage;
use rtpcore_core::srtp::Profile;

const USAGE: &str = "worker_load <core|floor> <video|audio> <seconds>";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [party, media, seconds] = arguments.as_slice() else { panic!("{USAGE}") };
    let media = match media.as_str() {
        "video" => Media::Video,
        "audio" => Media::Audio,
        _ => panic!("{USAGE}"),
    };
    let length = Duration::from_secs_f64(seconds.parse().expect(USAGE));
    let sockets: Vec<_> = (0..100).map(|_| deaf("127.0.0.1:0").expect("loopback can be bound")).collect();
    let addresses: Vec<SocketAddr> =
        sockets.iter().map(|socket| socket.local_addr().expect("a bound socket has an address")).collect();
    match party.as_str() {
        "core" => {
            let mut stage = Stage::new(media, Profile::AeadAes128Gcm, 1);
            stage.subscribe(&addresses);
            stage.begin();
            let pace = stage.pace(0.7);
            stage.drive((length.as_secs_f64() / pace.as_secs_f64()) as usize, pace, || ());
        }
        "floor" => {
            let mut floor = Floor::new(media, deaf("127.0.0.1:0").expect("loopback can be bound"), &addresses);
            let start = Instant::now();
            while start.elapsed() < length {
                floor.send_frame().expect("loopback takes everything");
            }
        }
        _ => panic!("{USAGE}"),
    }
}
