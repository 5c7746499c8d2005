//! Datagrams from everywhere for a router whose one peer is expected and has not come: each is counted, none is answered,
//! nothing is kept.
#![no_main]

use std::time::Instant;

use is::IceCreds;
use libfuzzer_sys::fuzz_target;
use rtpcore_core::Time;
use rtpcore_core::command::{Command, Security};
use rtpcore_core::dtls::Certificate;
use rtpcore_core::event::TransportState;
use rtpcore_core::ice::{Path, Role, Via};
use rtpcore_core::id::TransportId;
use rtpcore_core::router::{Limits, Router, RouterConfig};
use rtpcore_core::transmit::SendSlab;
use rtpcore_fuzz::Input;

const UFRAG: &[u8] = b"Aufrag:peer";

fuzz_target!(|data: &[u8]| {
    let limits = Limits { history_packets: 256, ..Limits::default() };
    let config = RouterConfig { worker: 0, epoch: Instant::now(), seed: 1, locals: Vec::new(), limits, neighbours: 0 };
    let mut router = Router::new(config);
    let transport = TransportId::new(0, 1);
    let security = Box::new(Security::WebRtc {
        local: IceCreds { ufrag: "Aufrag".into(), pass: "x".repeat(22) },
        role: Role::Lite,
        certificate: Certificate { certificate: Vec::new(), private_key: Vec::new() },
    });
    router.handle_command(Time::ZERO, Command::AddTransport { transport, security });

    let mut input = Input(data);
    let mut slab = SendSlab::new(64);
    let mut sent = 0;
    while let Some(op) = input.byte() {
        let Some(bytes) = input.chunk() else { break };
        let via = if op & 8 == 0 { Via::Udp } else { Via::Tcp };
        let remote = ([192, 0, 2, op >> 4], 1000 + u16::from(op >> 6)).into();
        let path = Path { via, local: ([127, 0, 0, 1], 7882).into(), remote };
        let datagram = if op & 3 == 0 { bytes.to_vec() } else { request(bytes, op & 3 == 1) };
        let now = Time::from_millis(sent);
        router.handle_datagram(now, path, &datagram);
        sent += 1;

        slab.clear();
        router.poll_transmit(now, &mut slab);
        assert!(slab.runs().is_empty(), "strangers are not answered");
        assert!(router.poll_event().is_none() && router.poll_crossing().is_none());
        let snapshot = router.snapshot(now);
        assert_eq!(snapshot.drops.total(), sent, "each is counted once: {:?}", snapshot.drops);
        assert_eq!(snapshot.received.packets, sent);
        assert_eq!(snapshot.transports.len(), 1);
        assert_eq!(snapshot.transports[0].state, TransportState::New);
    }
});

/// A binding request with these attributes behind its user name, of our peer or of nobody.
fn request(attributes: &[u8], is_known: bool) -> Vec<u8> {
    let user = if is_known { UFRAG } else { b"Anobody:peer" };
    let padded = user.len().next_multiple_of(4);
    let len = 4 + padded + attributes.len();
    let mut message = vec![0, 1];
    message.extend(u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
    message.extend(0x2112_A442_u32.to_be_bytes());
    message.extend([7; 12]);
    message.extend([0, 6, 0, user.len() as u8]);
    message.extend(user);
    message.resize(20 + 4 + padded, 0);
    message.extend(attributes);
    message
}
