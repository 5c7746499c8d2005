use std::time::Duration;

use super::*;
use crate::Media;
use crate::testing::{Client, NOW_S, at, channel_data, code_of, indicated, keys, relay_of, send};

const LISTEN: &str = "198.51.100.1:3478";
const CLIENT: &str = "203.0.113.9:5000";
const RELAY: &str = "198.51.100.1:30000";
const MEDIA: &str = "8.8.4.4:7882";
const LOCAL_MEDIA: &str = "10.0.0.5:7882";

struct World {
    session: Session,
    client: Client,
    keys: Keys,
    policy: Policy,
    relays_of: HashMap<String, usize>,
    now: Duration,
    now_s: u64,
}

impl World {
    fn new() -> Self {
        Self {
            session: Session::new(at(LISTEN), at(CLIENT)),
            client: Client::new("PA_ada", NOW_S + 300),
            keys: keys(),
            policy: Policy {
                media: vec![Media { advertised: at(MEDIA), local: at(LOCAL_MEDIA) }],
                ..Policy::default()
            },
            relays_of: HashMap::new(),
            now: Duration::ZERO,
            now_s: NOW_S,
        }
    }

    fn instant(&self) -> Instant {
        Instant::from_nanos(i64::try_from(self.now.as_nanos()).expect("a test is short"))
    }

    fn act<T>(&mut self, action: impl FnOnce(&mut Session, &Context<'_>) -> T) -> T {
        let context = Context {
            now: self.instant(),
            now_s: self.now_s,
            keys: &self.keys,
            policy: &self.policy,
            relays_of: &self.relays_of,
            max_relays: 2,
        };
        action(&mut self.session, &context)
    }

    fn send(&mut self, bytes: &[u8]) -> (Result<Option<Way>, Drop>, Vec<u8>) {
        let mut out = Vec::new();
        let way = self.act(|session, context| session.handle_client(bytes, context, &mut out));
        (way, out)
    }

    /// The answer to a request, whether it comes at once or after a socket was asked for.
    fn ask(&mut self, request: &[u8]) -> Vec<u8> {
        let (way, out) = self.send(request);
        match way {
            Ok(Some(Way::Client)) => out,
            Ok(None) => {
                let now = self.instant();
                if let Wish::Relay { is_v4 } = self.session.poll(now) {
                    assert!(is_v4);
                    self.session.allocated(is_v4, Ok(at(RELAY)), now);
                }
                self.session.poll_transmit(now).expect("an answer")
            }
            other => panic!("{other:?}"),
        }
    }

    fn allocate(&mut self) -> Vec<u8> {
        let request = self.client.allocate();
        let refusal = self.ask(&request);
        assert_eq!(code_of(&refusal), Some(401));
        self.client.learn(&refusal);
        let request = self.client.allocate();
        self.ask(&request)
    }

    fn allocated() -> Self {
        let mut world = Self::new();
        assert_eq!(relay_of(&world.allocate()), at(RELAY));
        world
    }

    fn hear(&mut self, from: &str, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let way = self.act(|session, context| session.handle_peer(at(RELAY), at(from), bytes, context, &mut out));
        way.map(|_| out)
    }
}

#[test]
fn a_participant_gets_a_relay() {
    let mut world = World::new();
    let answer = world.allocate();
    assert_eq!(relay_of(&answer), at(RELAY));
    assert!(world.client.trusts(&answer));
    assert!(world.session.is_allocated());
    assert_eq!(world.session.user(), Some(world.client.name.as_str()));
}

#[test]
fn a_wrong_password_gets_none() {
    let mut world = World::new();
    world.client = Client::with_password(world.client.name.clone(), "guessed".to_owned());
    assert_eq!(code_of(&world.allocate()), Some(401));
    assert!(!world.session.is_allocated());
    assert_eq!(world.session.user(), None);
}

#[test]
fn a_name_that_has_expired_gets_none_but_keeps_what_it_has() {
    let mut world = World::new();
    world.now_s = NOW_S + 300;
    assert_eq!(code_of(&world.allocate()), Some(401));

    let mut world = World::allocated();
    world.now_s = NOW_S + 10_000;
    let refresh = world.client.refresh(600);
    assert_eq!(code_of(&world.ask(&refresh)), None);
}

#[test]
fn a_participant_has_so_many_relays_and_no_more() {
    let mut world = World::new();
    world.relays_of.insert(world.client.name.clone(), 2);
    let refusal = world.allocate();
    assert_eq!(code_of(&refusal), Some(486));
    assert!(world.client.trusts(&refusal));
    assert_eq!(refusal_of(&refusal), Some(Drop::Quota));
}

#[test]
fn relays_over_tcp_are_not_had() {
    let mut world = World::new();
    let request = world.client.allocate();
    let refusal = world.ask(&request);
    world.client.learn(&refusal);
    let request = world.client.allocate_tcp();
    assert!(code_of(&world.ask(&request)).is_some());
    assert!(!world.session.is_allocated());
}

#[test]
fn packets_go_to_media_where_it_is_bound_and_come_from_where_it_is_told() {
    let mut world = World::allocated();
    let permit = world.client.permit(&[at(MEDIA)]);
    assert_eq!(code_of(&world.ask(&permit)), None);
    let (way, out) = world.send(&send(at(MEDIA), b"ping"));
    assert_eq!(way, Ok(Some(Way::Peer { relay: at(RELAY), to: at(LOCAL_MEDIA) })));
    assert_eq!(out, b"ping");
    let back = world.hear(LOCAL_MEDIA, b"pong").expect("an indication");
    assert_eq!(indicated(&back), (at(MEDIA), b"pong".to_vec()));
}

#[test]
fn a_client_that_knows_the_inner_address_hears_from_that() {
    let mut world = World::allocated();
    let permit = world.client.permit(&[at(LOCAL_MEDIA), at(MEDIA)]);
    assert_eq!(code_of(&world.ask(&permit)), None);
    for name in [LOCAL_MEDIA, MEDIA, LOCAL_MEDIA] {
        let (way, _) = world.send(&send(at(name), b"ping"));
        assert_eq!(way, Ok(Some(Way::Peer { relay: at(RELAY), to: at(LOCAL_MEDIA) })));
        let back = world.hear(LOCAL_MEDIA, b"pong").expect("an indication");
        assert_eq!(indicated(&back).0, at(name));
    }
}

#[test]
fn channels_carry_data_both_ways() {
    let mut world = World::allocated();
    let bind = world.client.bind(0x4000, at(MEDIA));
    assert_eq!(code_of(&world.ask(&bind)), None);
    let (way, out) = world.send(&channel_data(0x4000, b"ping"));
    assert_eq!(way, Ok(Some(Way::Peer { relay: at(RELAY), to: at(LOCAL_MEDIA) })));
    assert_eq!(out, b"ping");
    assert_eq!(world.hear(LOCAL_MEDIA, b"pong"), Some(channel_data(0x4000, b"pong")));
}

#[test]
fn networks_behind_the_server_are_refused() {
    let mut world = World::allocated();
    for peer in ["127.0.0.1:80", "10.0.0.6:80", "169.254.169.254:80"] {
        for request in [world.client.permit(&[at(MEDIA), at(peer)]), world.client.bind(0x4001, at(peer))] {
            let refusal = world.ask(&request);
            assert_eq!(code_of(&refusal), Some(403), "{peer}");
            assert!(world.client.trusts(&refusal));
            assert_eq!(refusal_of(&refusal), Some(Drop::ForbiddenPeer));
        }
        assert_eq!(world.send(&send(at(peer), b"x")).0, Ok(None), "no permission");
    }
}

#[test]
fn another_port_of_the_media_address_is_not_reached() {
    let mut world = World::allocated();
    let permit = world.client.permit(&[at(MEDIA)]);
    assert_eq!(code_of(&world.ask(&permit)), None, "permissions are by address");
    assert_eq!(world.send(&send(at("8.8.4.4:22"), b"x")).0, Err(Drop::ForbiddenPeer));
    assert_eq!(world.send(&send(at("10.0.0.5:6379"), b"x")).0, Ok(None));
}

#[test]
fn a_relay_has_so_many_peers_and_no_more() {
    let mut world = World::allocated();
    let peer = |index: usize| SocketAddr::new([1, 1, 1, u8::try_from(index).expect("few")].into(), 9);
    for index in 0..MAX_PEERS {
        let permit = world.client.permit(&[peer(index)]);
        assert_eq!(code_of(&world.ask(&permit)), None);
    }
    let permit = world.client.permit(&[peer(MAX_PEERS)]);
    assert_eq!(code_of(&world.ask(&permit)), Some(508));
    let again = world.client.permit(&[peer(0)]);
    assert_eq!(code_of(&world.ask(&again)), None, "one that is there is prolonged");
    world.now += Duration::from_secs(500);
    let refresh = world.client.refresh(600);
    assert_eq!(code_of(&world.ask(&refresh)), None);
    world.now += Duration::from_secs(101);
    let permit = world.client.permit(&[peer(MAX_PEERS)]);
    assert_eq!(code_of(&world.ask(&permit)), None, "the others have lapsed");
}

#[test]
fn a_relay_ends_with_its_lifetime_or_on_request() {
    let mut world = World::allocated();
    world.now += Duration::from_secs(601);
    let now = world.instant();
    assert_eq!(world.session.poll(now), Wish::Close(at(RELAY)));
    assert!(!world.session.is_allocated());

    let mut world = World::allocated();
    let end = world.client.refresh(0);
    assert_eq!(code_of(&world.ask(&end)), None);
    let now = world.instant();
    assert_eq!(world.session.poll(now), Wish::Close(at(RELAY)));
}

#[test]
fn strangers_are_not_relayed() {
    let mut world = World::allocated();
    assert_eq!(world.hear("1.1.1.1:9", b"hello"), None);
    assert_eq!(world.send(b"\x80garbage").0, Err(Drop::Malformed));
    assert_eq!(world.send(b"").0, Err(Drop::Malformed));
    assert_eq!(world.send(b"\x00\x01").0, Err(Drop::Malformed));
    assert_eq!(world.send(&channel_data(0x4000, b"x")).0, Ok(None));
}

#[test]
fn requests_by_another_participant_are_refused() {
    let mut world = World::allocated();
    let mut other = Client::new("PA_eve", NOW_S + 300);
    other.nonce.clone_from(&world.client.nonce);
    let permit = other.permit(&[at(MEDIA)]);
    assert!(code_of(&world.ask(&permit)).is_some());
    assert_eq!(world.send(&send(at(MEDIA), b"x")).0, Ok(None));
}
