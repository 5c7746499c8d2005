//! A room on a bare router: no thread, no socket, no clock.

use std::net::SocketAddr;
use std::time::Instant;

use rtpcore_core::Bitrate;
use rtpcore_core::Time;
use rtpcore_core::ice::{Path, Via};
use rtpcore_core::id::{ReceiverId, SenderId, TransportId};
use rtpcore_core::router::{Limits, Router, RouterConfig};
use rtpcore_core::srtp::Profile;
use rtpcore_core::transmit::SendSlab;

use crate::room::{Media, Publisher, add_receiver, add_sender, add_transport};

/// Datagrams of the slab, as many as a worker's.
const SLAB_DATAGRAMS: usize = 256;

/// A router with one publisher and its subscribers, already forwarding.
pub struct Table {
    router: Router,
    publisher: Publisher,
    path: Path,
    slab: SendSlab,
    now: Time,
    frame: Vec<u8>,
    len: usize,
}

impl Table {
    /// A room whose subscribers have had some frames.
    pub fn new(media: Media, profile: Profile, subscribers: usize) -> Self {
        let mut router = Router::new(RouterConfig {
            worker: 0,
            epoch: Instant::now(),
            seed: 1,
            locals: Vec::new(),
            limits: Limits {
                history_packets: 1024,
                // Nobody answers here; what is measured is the way out.
                start_bitrate: Bitrate::from_bps(200_000_000),
                ..Limits::default()
            },
            neighbours: 0,
        });
        let local = SocketAddr::from(([127, 0, 0, 1], 1));
        let now = Time::from_millis(1000);
        let receiver = ReceiverId::new(0, 1);
        for n in 0..=subscribers {
            let id = TransportId::new(0, n as u64);
            router.handle_command(now, add_transport(id, profile, n, local, remote(n)));
            if n == 0 {
                router.handle_command(now, add_receiver(id, receiver, media));
            } else {
                let ssrc = 0x2000_0000 + n as u32;
                router.handle_command(now, add_sender(id, SenderId::new(0, n as u64), receiver, media, ssrc));
            }
        }
        // Numbered copies have their share reckoned first.
        router.handle_timeout(now);
        let path = Path { via: Via::Udp, local, remote: remote(0) };
        let publisher = Publisher::new(media, profile, 0);
        let mut table =
            Self { router, publisher, path, slab: SendSlab::new(SLAB_DATAGRAMS), now, frame: Vec::new(), len: 0 };
        for _ in 0..4 {
            table.prepare();
            assert_eq!(table.forward(), subscribers * media.frame_packets(), "every subscriber gets every packet");
        }
        table
    }

    /// Makes the publisher's next frame.
    pub fn prepare(&mut self) {
        self.len = self.publisher.write_frame(0, &mut self.frame);
        while self.router.poll_event().is_some() {}
    }

    /// Takes the frame that was prepared through the router, from a datagram in to all datagrams out; says how many.
    ///
    /// A function of its own for those who count its instructions.
    #[inline(never)]
    pub fn forward(&mut self) -> usize {
        self.now = self.now + core::time::Duration::from_micros(10);
        for datagram in self.frame.chunks(self.len) {
            self.router.handle_datagram(self.now, self.path, datagram);
        }
        let mut count = 0;
        loop {
            self.slab.clear();
            self.router.poll_transmit(self.now, &mut self.slab);
            if self.slab.runs().is_empty() {
                return count;
            }
            count += self.slab.runs().iter().map(rtpcore_core::transmit::Run::count).sum::<usize>();
        }
    }
}

fn remote(n: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 4000))
}
