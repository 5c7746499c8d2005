//! ICE and DTLS between two routers, and what becomes of them when the network fails.

use is::IceCreds;

use super::*;
use crate::command::Remote;
use crate::dtls::DtlsRole;
use crate::dtls::tests::{ECDSA, fingerprint};
use crate::ice::Role;

/// Two routers with a peer each, and the network between them.
struct Pair {
    ends: [Bench; 2],
    is_cut: bool,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;

fn address(end: usize) -> SocketAddr {
    ([192, 0, 2, if end == CLIENT { 1 } else { 2 }], 5000).into()
}

fn credentials(end: usize) -> IceCreds {
    IceCreds { ufrag: format!("ufrag{end}"), pass: format!("a-password-long-enough-{end}") }
}

impl Pair {
    fn new() -> Self {
        let roles = [(Role::Controlling, DtlsRole::Client), (Role::Lite, DtlsRole::Server)];
        let ends = [CLIENT, SERVER].map(|end| {
            let mut bench = Bench::with_local(Candidate::host(address(end), "udp").unwrap());
            let transport = bench.transport(1);
            let (role, dtls_role) = roles[end];
            let security = Security::WebRtc { local: credentials(end), role, certificate: ECDSA.clone() };
            bench.command(Command::AddTransport { transport, security: Box::new(security) });
            let remote = Remote {
                credentials: credentials(1 - end),
                is_lite: end == CLIENT,
                fingerprints: vec![fingerprint(&ECDSA)],
                dtls_role,
                max_message: Some(0),
            };
            bench.command(Command::SetRemote { transport, remote: Box::new(remote) });
            let candidate = Box::new(Candidate::host(address(1 - end), "udp").unwrap());
            bench.command(Command::AddCandidate { transport, candidate });
            bench
        });
        Self { ends, is_cut: false }
    }

    /// Lets a millisecond pass; the datagrams that were on their way then.
    fn step(&mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        for end in [CLIENT, SERVER] {
            let now = self.ends[end].now + Duration::from_millis(1);
            self.ends[end].now = now;
            self.ends[end].router.handle_timeout(now);
            assert!(!self.ends[end].router.poll_timeout().is_due(now), "what is due is done");
            for (_, datagram) in self.ends[end].drain() {
                if !self.is_cut {
                    let path = Path { via: Via::Udp, local: address(1 - end), remote: address(end) };
                    let other = &mut self.ends[1 - end];
                    other.router.handle_datagram(other.now, path, &datagram);
                }
                all.push(datagram);
            }
        }
        all
    }

    fn states(&mut self, end: usize) -> Vec<TransportState> {
        let state = |event| if let Event::TransportChanged { state, .. } = event { Some(state) } else { None };
        self.ends[end].events().into_iter().filter_map(state).collect()
    }
}

#[test]
fn two_routers_connect() {
    let mut pair = Pair::new();
    for _ in 0..2000 {
        pair.step();
    }
    for end in [CLIENT, SERVER] {
        assert_eq!(pair.states(end), [TransportState::Connecting, TransportState::Connected]);
    }
}

#[test]
fn a_path_that_is_lost_at_any_moment_costs_no_more_than_the_peer() {
    // From the first check to some time after the handshake.
    for steps in [1, 5, 10, 20, 50, 60, 70, 80, 100, 200, 2000] {
        let mut pair = Pair::new();
        for _ in 0..steps {
            pair.step();
        }
        pair.is_cut = true;
        for _ in 0..60_000 {
            pair.step();
        }
        for end in [CLIENT, SERVER] {
            let states = pair.states(end);
            let has_begun = states.contains(&TransportState::Connecting);
            assert!(!has_begun || states.last() == Some(&TransportState::Failed), "{end} after {steps}: {states:?}");
        }
    }
}

#[test]
fn a_handshake_that_is_cut_off_for_a_moment_goes_on() {
    let mut pair = Pair::new();
    // The first record of the client is on its way.
    while !pair.step().iter().any(|datagram| datagram.first() == Some(&22)) {}
    pair.is_cut = true;
    for _ in 0..3000 {
        pair.step();
    }
    pair.is_cut = false;
    for _ in 0..20_000 {
        pair.step();
    }
    for end in [CLIENT, SERVER] {
        assert_eq!(pair.states(end).last(), Some(&TransportState::Connected));
    }
}

#[test]
fn the_keyframe_to_begin_with_is_asked_for_during_the_handshake() {
    let mut pair = Pair::new();
    let server = &mut pair.ends[SERVER];
    let mut publisher = server.add(3);
    let track = server.publish(3, 1);
    server.frame(&mut publisher, 0, false);
    server.subscribe(1, track);
    let mut asked = Vec::new();
    while asked.is_empty() {
        // Nobody but the publisher has keys yet.
        let sealed: Vec<_> =
            pair.step().into_iter().filter(|it| matches!(it[..], [128..=191, 192..=223, ..])).collect();
        asked.extend(sealed.iter().flat_map(|datagram| plis(&[publisher.open(datagram)])));
    }
    assert_eq!(asked, [TRACK]);
    assert_eq!(pair.states(SERVER).last(), Some(&TransportState::Connecting));
    pair.ends[SERVER].frame(&mut publisher, 0, true);
    while pair.states(SERVER).is_empty() {
        pair.step();
    }
    let forwarded = pair.ends[SERVER].router.snapshot(pair.ends[SERVER].now).forwarded;
    assert_eq!(forwarded, 1, "it is there when the peer is");
}
