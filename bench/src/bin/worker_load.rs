//! Keeps one worker busy, for a profiler: `worker_load <video|audio> <seconds>`.
use rtpcore_bench::{floor::Floor, room::Media, socket::deaf, stage::Stage};
use rtpcore_core::srtp::Profile;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let media = if args[1] == "video" { Media::Video } else { Media::Audio };
    let sockets: Vec<_> = (0..100).map(|_| deaf("127.0.0.1:0").unwrap()).collect();
    let addresses: Vec<SocketAddr> = sockets.iter().map(|s| s.local_addr().unwrap()).collect();
    if args.len() > 3 {
        let mut floor = Floor::new(media, deaf("127.0.0.1:0").unwrap(), &addresses);
        let t = Instant::now();
        while t.elapsed() < Duration::from_secs(args[2].parse().unwrap()) {
            floor.send_frame().unwrap();
        }
        return;
    }
    let mut stage = Stage::new(media, Profile::AeadAes128Gcm, 1);
    stage.subscribe(&addresses);
    let pace = stage.pace(0.7);
    stage.drive((args[2].parse::<f64>().unwrap() / pace.as_secs_f64()) as usize, pace, || ());
}
