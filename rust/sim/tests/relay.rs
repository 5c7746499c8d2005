//! The relay as a process, with real sockets.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

struct Relay {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Relay {
    fn follow(name: &str, trace: &str) -> Self {
        let path = std::env::temp_dir().join(format!("{}-{name}.trace", std::process::id()));
        fs::write(&path, trace).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_relay"))
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (input, output) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        Self { process, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line
    }

    fn port_for(&mut self, target: &UdpSocket) -> String {
        writeln!(self.input.as_ref().unwrap(), "to {}", target.local_addr().unwrap()).unwrap();
        let line = self.line();
        line.split('"').nth(7).unwrap().to_owned()
    }

    fn start(&mut self) {
        writeln!(self.input.as_ref().unwrap(), "start").unwrap();
        // It answers in order: when this answer is here, it has started.
        self.port_for(&socket());
    }

    /// What it counted of the first numbers with these names, down and up.
    fn end(mut self, names: &[&str]) -> [Vec<u64>; 2] {
        drop(self.input.take());
        let line = self.line();
        self.process.wait().unwrap();
        let (down, up) = line.split_once("\"up\": ").unwrap();
        [down, up].map(|side| {
            let number = |name: &&str| {
                let after = side.split_once(&format!("\"{name}\": ")).unwrap().1;
                after.split([',', '}']).next().unwrap().parse().unwrap()
            };
            names.iter().map(number).collect()
        })
    }
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // Far more than what comes at once needs: who waits so long waits in vain.
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    socket
}

#[test]
fn packets_pass_both_ways_and_clients_are_told_apart() {
    let mut relay = Relay::follow("clean", "both 0 delay=5");
    let servers = [socket(), socket()];
    let ports = servers.each_ref().map(|server| relay.port_for(server));
    relay.start();
    let clients = [socket(), socket()];
    for (number, client) in clients.iter().enumerate() {
        for (port, server) in ports.iter().zip(&servers) {
            client.send_to(&[number as u8; 72], port).unwrap();
            let mut bytes = [0; 100];
            let (len, from) = server.recv_from(&mut bytes).unwrap();
            assert_eq!((len, bytes[0]), (72, number as u8));
            server.send_to(&[number as u8 + 10; 172], from).unwrap();
            let mut bytes = [0; 200];
            let (len, from) = client.recv_from(&mut bytes).unwrap();
            assert_eq!((len, bytes[0], from.to_string()), (172, number as u8 + 10, port.clone()));
        }
    }
    let counted = relay.end(&["packets", "bytes", "lost", "overflowed"]);
    assert_eq!(counted, [vec![4, 800, 0, 0], vec![4, 400, 0, 0]]);
}

#[test]
fn what_is_lost_or_does_not_fit_is_counted_and_does_not_come() {
    // 1000 bytes take 8 ms; a queue of 20 ms has room for three of what comes at once, which one burst nearly is.
    let mut relay = Relay::follow("narrow", "down 0 loss=100\nup 0 rate=1000 queue=20");
    let server = socket();
    let port = relay.port_for(&server);
    relay.start();
    let client = socket();
    for _ in 0..40 {
        client.send_to(&[0; 972], &port).unwrap();
    }
    let mut bytes = [0; 1000];
    let (_, from) = server.recv_from(&mut bytes).unwrap();
    server.send_to(&[1; 100], from).unwrap();
    // All have gone through when the last of them has; it is no probe of time, only of order.
    server.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut passed = 1;
    while server.recv_from(&mut bytes).is_ok() {
        passed += 1;
    }
    let [down, up] = relay.end(&["packets", "lost", "overflowed"]);
    assert_eq!(down, [1, 1, 0]);
    assert_eq!(up[..2], [40, 0]);
    assert!(up[2] > 0);
    assert_eq!(up[2] + passed, 40);
}
