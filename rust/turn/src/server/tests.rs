use std::io::{Read, Write};
use std::net::{TcpStream, UdpSocket};
use std::time::{Instant, SystemTime};

use super::*;
use crate::counters::Drop as Reason;
use crate::testing::{Client, at, binding, channel_data, code_of, keys, relay_of, send};
use crate::{Media, mapped_address};

/// Until a condition that never comes true fails the test.
const PATIENCE: Duration = Duration::from_secs(20);

fn config(media: SocketAddr) -> Config {
    Config {
        udp: vec![at("127.0.0.1:0")],
        tcp: vec![at("127.0.0.1:0")],
        tls: None,
        keys: keys(),
        relays: vec![RelayAddress { local: at("127.0.0.1:0").ip(), advertised: at("198.51.100.1:0").ip() }],
        ports: 20_000..=60_000,
        policy: Policy {
            media: vec![Media { advertised: at("198.51.100.1:7882"), local: media }],
            ..Policy::default()
        },
        limits: Limits::default(),
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

fn in_an_hour() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() + 3600
}

fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "the condition never came true");
        std::thread::yield_now();
    }
}

/// One way to speak with the server.
trait Line {
    fn tell(&mut self, message: &[u8]);
    fn hear(&mut self) -> Vec<u8>;

    fn ask(&mut self, message: &[u8]) -> Vec<u8> {
        self.tell(message);
        self.hear()
    }

    fn allocate(&mut self, client: &mut Client) -> Vec<u8> {
        let refusal = self.ask(&client.allocate());
        client.learn(&refusal);
        self.ask(&client.allocate())
    }
}

struct Datagrams(UdpSocket, SocketAddr);

impl Line for Datagrams {
    fn tell(&mut self, message: &[u8]) {
        self.0.send_to(message, self.1).expect("sent");
    }

    fn hear(&mut self) -> Vec<u8> {
        let mut buffer = [0; 2048];
        let len = self.0.recv(&mut buffer).expect("an answer");
        buffer[..len].to_vec()
    }
}

struct Stream<S>(S);

impl<S: Read + Write> Line for Stream<S> {
    fn tell(&mut self, message: &[u8]) {
        // In pieces, as networks deliver it.
        let padded = [message, &[0; 3][..message.len().next_multiple_of(4) - message.len()]].concat();
        for piece in padded.chunks(7) {
            self.0.write_all(piece).expect("sent");
            self.0.flush().expect("sent");
        }
    }

    fn hear(&mut self) -> Vec<u8> {
        let mut head = [0; 4];
        self.0.read_exact(&mut head).expect("an answer");
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let is_channel = head[0] >> 6 == 1;
        let rest = if is_channel { len.next_multiple_of(4) } else { len + 16 };
        let mut message = head.to_vec();
        message.resize(4 + rest, 0);
        self.0.read_exact(&mut message[4..]).expect("the rest");
        message.truncate(if is_channel { 4 + len } else { 4 + rest });
        message
    }
}

fn tcp(server: &Server) -> Stream<TcpStream> {
    let stream = TcpStream::connect(server.tcp()[0]).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    Stream(stream)
}

fn relays_to_media(line: &mut impl Line, server: &Server, media: &UdpSocket) {
    let mut client = Client::new("PA_ada", in_an_hour());
    let relay = relay_of(&line.allocate(&mut client));
    assert_eq!(relay.ip(), at("198.51.100.1:0").ip());
    let told = at("198.51.100.1:7882");
    assert_eq!(code_of(&line.ask(&client.permit(&[told]))), None);
    line.tell(&send(told, b"ping"));
    let mut buffer = [0; 100];
    let (len, from) = media.recv_from(&mut buffer).expect("a packet");
    assert_eq!((&buffer[..len], from.port()), (&b"ping"[..], relay.port()));
    assert_eq!(code_of(&line.ask(&client.bind(0x4001, told))), None);
    media.send_to(b"pong!", from).expect("sent");
    assert_eq!(line.hear(), channel_data(0x4001, b"pong!"));
    line.tell(&channel_data(0x4001, b"again"));
    let (len, _) = media.recv_from(&mut buffer).expect("a packet");
    assert_eq!(&buffer[..len], b"again");
    let counters = server.counters();
    until(|| counters.packets_to_peers.load(Ordering::Relaxed) == 2);
    until(|| counters.bytes_to_clients.load(Ordering::Relaxed) == 5);
    assert_eq!(counters.allocations.load(Ordering::Relaxed), 1);
    assert_eq!(code_of(&line.ask(&client.refresh(0))), None);
    until(|| counters.allocations.load(Ordering::Relaxed) == 0);
}

#[test]
fn relays_over_udp() {
    let media = socket();
    let mut server = Server::start(config(media.local_addr().expect("bound"))).expect("started");
    relays_to_media(&mut Datagrams(socket(), server.udp()[0]), &server, &media);
    server.stop();
    server.stop();
}

#[test]
fn relays_over_tcp_behind_something_that_undoes_tls() {
    let media = socket();
    let server = Server::start(config(media.local_addr().expect("bound"))).expect("started");
    let mut line = tcp(&server);
    relays_to_media(&mut line, &server, &media);
    drop(line);
    until(|| server.counters().connections.load(Ordering::Relaxed) == 0);
}

#[test]
fn anybody_learns_its_address() {
    let server = Server::start(config(at("127.0.0.1:9"))).expect("started");
    let mut line = Datagrams(socket(), server.udp()[0]);
    for answer in [line.ask(&binding()), tcp(&server).ask(&binding())] {
        assert_eq!(code_of(&answer), None);
    }
    let request = crate::binding_request([7; 12]);
    let seen = mapped_address(&line.ask(&request), [7; 12]);
    assert_eq!(seen, line.0.local_addr().ok());
    // The connection goes, and nobody else was a client.
    until(|| server.counters().clients.load(Ordering::Relaxed) == 0);
}

#[test]
fn one_participant_holds_so_many_relays() {
    let mut config = config(at("127.0.0.1:9"));
    config.limits.relays_of_one = 1;
    let server = Server::start(config).expect("started");
    let mut client = Client::new("PA_ada", in_an_hour());
    let mut first = Datagrams(socket(), server.udp()[0]);
    assert_eq!(code_of(&first.allocate(&mut client)), None);
    assert_eq!(code_of(&first.ask(&client.allocate())), Some(437), "one for each address");
    let mut second = Datagrams(socket(), server.udp()[0]);
    assert_eq!(code_of(&second.allocate(&mut Client::new("PA_ada", in_an_hour()))), Some(486));
    let mut other = Datagrams(socket(), server.udp()[0]);
    assert_eq!(code_of(&other.allocate(&mut Client::new("PA_bob", in_an_hour()))), None);
    assert_eq!(server.counters().drops(Reason::Quota), 1);
}

#[test]
fn the_server_holds_so_many_relays_and_has_so_many_ports() {
    let mut limited = config(at("127.0.0.1:9"));
    limited.limits.relays = 0;
    let server = Server::start(limited).expect("started");
    let mut line = Datagrams(socket(), server.udp()[0]);
    assert_eq!(code_of(&line.allocate(&mut Client::new("PA_ada", in_an_hour()))), Some(508));

    let taken = socket();
    let port = taken.local_addr().expect("bound").port();
    let mut full = config(at("127.0.0.1:9"));
    full.ports = port..=port;
    let server = Server::start(full).expect("started");
    let mut line = Datagrams(socket(), server.udp()[0]);
    assert_eq!(code_of(&line.allocate(&mut Client::new("PA_ada", in_an_hour()))), Some(508));
    assert_eq!(server.counters().drops(Reason::NoCapacity), 1);
}

#[test]
fn a_family_that_is_not_there_is_refused() {
    let server = Server::start(config(at("127.0.0.1:9"))).expect("started");
    let mut line = Datagrams(socket(), server.udp()[0]);
    let mut client = Client::new("PA_ada", in_an_hour());
    client.learn(&line.ask(&client.allocate()));
    assert_eq!(code_of(&line.ask(&client.allocate_v6())), Some(440));
}

#[test]
fn old_strangers_make_way() {
    let mut config = config(at("127.0.0.1:9"));
    config.limits.strangers = 2;
    let server = Server::start(config).expect("started");
    let mut known = Datagrams(socket(), server.udp()[0]);
    assert_eq!(code_of(&known.allocate(&mut Client::new("PA_ada", in_an_hour()))), None);
    for _ in 0..5 {
        let mut line = Datagrams(socket(), server.udp()[0]);
        assert_eq!(code_of(&line.ask(&Client::new("PA_x", 1).allocate())), Some(401));
    }
    assert_eq!(server.counters().clients.load(Ordering::Relaxed), 3);
    assert_eq!(server.counters().allocations.load(Ordering::Relaxed), 1);
}

#[test]
fn who_has_no_relay_in_time_goes_and_so_do_relays_that_nobody_uses() {
    let mut config = config(at("127.0.0.1:9"));
    config.limits.patience = Duration::ZERO;
    config.limits.idle = Duration::ZERO;
    let server = Server::start(config).expect("started");
    let mut line = tcp(&server);
    let mut rest = Vec::new();
    line.0.read_to_end(&mut rest).expect("an end");
    assert_eq!(rest, b"");
    let mut line = Datagrams(socket(), server.udp()[0]);
    // The clock may strike between the two requests, which then begin anew.
    let mut client = Client::new("PA_ada", in_an_hour());
    while code_of(&line.allocate(&mut client)).is_some() {
        client.nonce = None;
    }
    until(|| server.counters().allocations.load(Ordering::Relaxed) == 0);
    assert_eq!(server.counters().drops(Reason::Idle), 1);
    until(|| server.counters().clients.load(Ordering::Relaxed) == 0);
}

#[test]
fn what_is_no_turn_ends_a_connection_and_nothing_else() {
    let server = Server::start(config(at("127.0.0.1:9"))).expect("started");
    let mut line = tcp(&server);
    line.0.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
    let mut rest = Vec::new();
    // Cut off with what it sent unread, which may look like a reset.
    let _ = line.0.read_to_end(&mut rest);
    assert_eq!(rest, b"");
    let mut datagrams = Datagrams(socket(), server.udp()[0]);
    for garbage in [&b"\x80"[..], b"", b"\x00\x03", &channel_data(0x4000, b"x"), &send(at("1.1.1.1:1"), b"x")] {
        datagrams.tell(garbage);
    }
    assert_eq!(code_of(&datagrams.ask(&binding())), None);
    assert_eq!(server.counters().drops(Reason::Malformed), 4);
    assert_eq!(server.counters().drops(Reason::Stranger), 2);
}

#[test]
fn connections_are_counted() {
    let mut config = config(at("127.0.0.1:9"));
    config.limits.connections = 1;
    let server = Server::start(config).expect("started");
    let mut first = tcp(&server);
    assert_eq!(code_of(&first.ask(&binding())), None);
    let mut second = tcp(&server);
    let mut rest = Vec::new();
    second.0.read_to_end(&mut rest).expect("an end");
    assert_eq!(code_of(&first.ask(&binding())), None);
}

#[test]
fn a_port_that_is_taken_is_said() {
    let taken = socket();
    let mut config = config(at("127.0.0.1:9"));
    config.udp = vec![taken.local_addr().expect("bound")];
    assert!(
        matches!(Server::start(config), Err(StartError::Bind(address, _)) if Some(address) == taken.local_addr().ok())
    );
}
