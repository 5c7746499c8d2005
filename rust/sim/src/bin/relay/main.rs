//! A UDP relay that does to real packets what a trace says, where the kernel has no netem.
//!
//! `relay FILE` follows a trace (see `rtpcore_sim::trace`); its seed may be given after it. It is told by lines of its
//! standard input, and answers on its standard output, a line of JSON each:
//!
//! - `to ADDRESS:PORT` listens on a port of 127.0.0.1 for what shall go there, and says which;
//! - `start` begins the trace: until then, what holds at its beginning holds on;
//! - the end of the input ends it: it says what it did, by direction, in all and by second of the trace.
//!
//! All clients and all targets share the one link. Each client has a socket of its own towards each target, which so tells
//! them apart. It lives beside the simulations and not with the benchmarks because it is their link with a clock; sockets and
//! threads are the standard library's.
#![allow(clippy::print_stdout)]

use std::collections::{BTreeMap, BinaryHeap};
use std::io::{self, BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use std::{cmp, env, fs, process, thread};

use rtpcore_core::Time;
use rtpcore_sim::trace::{Fate, Path, Schedule, Trace};

mod counters;
use counters::Counters;

/// Headers of IPv4 and UDP, which a link carries too.
const HEADERS: usize = 28;
/// No UDP payload is longer.
const LONGEST: usize = 65_536;
/// A hand-over to an idle thread takes some tens of microseconds: within this, now is soon enough.
const EARLY: Duration = Duration::from_micros(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Down,
    Up,
}

/// What reaches the thread that carries packets.
enum Input {
    Listen(SocketAddr),
    Start,
    End,
    FromClient { at: Instant, target: usize, client: SocketAddr, bytes: Vec<u8> },
    FromTarget { at: Instant, target: usize, client: SocketAddr, bytes: Vec<u8> },
}

/// A packet on the link; the first to arrive is the greatest, so that a heap gives it first.
struct Flying {
    at: Instant,
    /// The order of those that arrive at once.
    number: u64,
    way: Way,
    socket: Arc<UdpSocket>,
    to: SocketAddr,
    bytes: Arc<[u8]>,
}

impl Ord for Flying {
    fn cmp(&self, other: &Self) -> cmp::Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Flying {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Flying {}

/// Where clients send what shall go to one address.
struct Target {
    address: SocketAddr,
    listener: Arc<UdpSocket>,
    /// By client, the socket that speaks for it.
    upstream: BTreeMap<SocketAddr, Arc<UdpSocket>>,
}

struct Relay {
    trace: Trace,
    inputs: Sender<Input>,
    /// Of the trace; before it starts, of the relay.
    began: Instant,
    down: Path,
    up: Path,
    counters: [Counters; 2],
    flying: BinaryHeap<Flying>,
    sent: u64,
    targets: Vec<Target>,
}

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let Some(file) = arguments.next() else { fail("usage: relay TRACE [SEED]") };
    let mut trace = read(&file).unwrap_or_else(|error| fail(&format!("{file}: {error}")));
    if let Some(seed) = arguments.next() {
        trace.seed = seed.parse().unwrap_or_else(|error| fail(&format!("{seed}: {error}")));
    }
    let (sender, inputs) = channel();
    let commands = sender.clone();
    thread::spawn(move || listen_to_commands(&commands));
    Relay::new(trace, sender).run(&inputs)
}

fn fail(why: &str) -> ! {
    eprintln!("{why}");
    process::exit(2)
}

fn read(file: &str) -> Result<Trace, String> {
    let text = |path: &FilePath| fs::read_to_string(path).map_err(|error| error.to_string());
    let path = FilePath::new(file);
    // A recording lies beside the trace that names it.
    Trace::parse(&text(path)?, |name| text(&path.with_file_name(name)).map_err(|error| format!("{name}: {error}")))
}

fn listen_to_commands(inputs: &Sender<Input>) {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        let input = match line.split_once(' ') {
            Some(("to", address)) => match address.parse() {
                Ok(address) => Input::Listen(address),
                Err(error) => fail(&format!("{address}: {error}")),
            },
            _ if line == "start" => Input::Start,
            _ => fail(&format!("{line} is neither `to ADDRESS:PORT` nor `start`")),
        };
        if inputs.send(input).is_err() {
            return;
        }
    }
    // Who reads them may have ended already.
    let _ = inputs.send(Input::End);
}

/// Hands over what a socket receives, with the time at which it came.
fn receive(socket: &UdpSocket, inputs: &Sender<Input>, input: impl Fn(Instant, SocketAddr, Vec<u8>) -> Input) {
    let mut buffer = vec![0; LONGEST];
    loop {
        // A port that is closed answers by ICMP, which is an error of the next call and not of the socket.
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        if inputs.send(input(Instant::now(), from, buffer[..len].to_vec())).is_err() {
            return;
        }
    }
}

impl Relay {
    fn new(trace: Trace, inputs: Sender<Input>) -> Self {
        Self {
            down: Path::new(beginning(&trace.down), trace.seed, 0),
            up: Path::new(beginning(&trace.up), trace.seed, 1),
            trace,
            inputs,
            began: Instant::now(),
            counters: Default::default(),
            flying: BinaryHeap::new(),
            sent: 0,
            targets: Vec::new(),
        }
    }

    fn run(mut self, inputs: &Receiver<Input>) -> io::Result<()> {
        loop {
            let now = Instant::now();
            while self.flying.peek().is_some_and(|next| next.at <= now + EARLY) {
                self.deliver(now);
            }
            let input = match self.flying.peek() {
                Some(next) => inputs.recv_timeout(next.at.saturating_duration_since(Instant::now())),
                None => inputs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match input {
                Ok(Input::Listen(address)) => self.listen(address)?,
                Ok(Input::Start) => self.start(),
                Ok(Input::FromClient { at, target, client, bytes }) => {
                    let socket = self.upstream(target, client)?;
                    let to = self.targets[target].address;
                    self.carry(Way::Up, at, socket, to, bytes);
                }
                Ok(Input::FromTarget { at, target, client, bytes }) => {
                    let socket = Arc::clone(&self.targets[target].listener);
                    self.carry(Way::Down, at, socket, client, bytes);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Input::End) | Err(RecvTimeoutError::Disconnected) => return self.end(),
            }
        }
    }

    fn listen(&mut self, address: SocketAddr) -> io::Result<()> {
        let listener = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?);
        let (socket, inputs, target) = (Arc::clone(&listener), self.inputs.clone(), self.targets.len());
        thread::spawn(move || {
            receive(&socket, &inputs, |at, client, bytes| Input::FromClient { at, target, client, bytes });
        });
        say(&format!("{{\"to\": \"{address}\", \"listens\": \"{}\"}}", listener.local_addr()?))?;
        self.targets.push(Target { address, listener, upstream: BTreeMap::new() });
        Ok(())
    }

    /// The socket that speaks to a target for a client.
    fn upstream(&mut self, target: usize, client: SocketAddr) -> io::Result<Arc<UdpSocket>> {
        if let Some(socket) = self.targets[target].upstream.get(&client) {
            return Ok(Arc::clone(socket));
        }
        let is_here = self.targets[target].address.ip().is_loopback();
        let from = if is_here { Ipv4Addr::LOCALHOST } else { Ipv4Addr::UNSPECIFIED };
        let socket = Arc::new(UdpSocket::bind((from, 0))?);
        let (receiver, inputs) = (Arc::clone(&socket), self.inputs.clone());
        thread::spawn(move || {
            receive(&receiver, &inputs, |at, _, bytes| Input::FromTarget { at, target, client, bytes });
        });
        self.targets[target].upstream.insert(client, Arc::clone(&socket));
        Ok(socket)
    }

    fn start(&mut self) {
        self.began = Instant::now();
        // What was counted before is not of the trace.
        self.counters = Default::default();
        self.down = Path::new(self.trace.down.clone(), self.trace.seed, 0);
        self.up = Path::new(self.trace.up.clone(), self.trace.seed, 1);
    }

    fn carry(&mut self, way: Way, at: Instant, socket: Arc<UdpSocket>, to: SocketAddr, bytes: Vec<u8>) {
        let since = at.saturating_duration_since(self.began);
        let now = Time::ZERO + since;
        let len = bytes.len() + HEADERS;
        let path = match way {
            Way::Down => &mut self.down,
            Way::Up => &mut self.up,
        };
        let fate = path.carry(now, len);
        self.counters[way as usize].count(since, len, fate);
        let Fate::Arrives { at: arrivals, .. } = fate else { return };
        let bytes: Arc<[u8]> = bytes.into();
        for arrival in arrivals.into_iter().flatten() {
            self.sent += 1;
            let (socket, bytes) = (Arc::clone(&socket), Arc::clone(&bytes));
            self.flying.push(Flying { at: at + arrival.since(now), number: self.sent, way, socket, to, bytes });
        }
    }

    fn deliver(&mut self, now: Instant) {
        let Some(Flying { at, way, socket, to, bytes, .. }) = self.flying.pop() else { return };
        self.counters[way as usize].late(now.saturating_duration_since(at));
        // The other side may have gone: then nobody misses it.
        let _ = socket.send_to(&bytes, to);
    }

    fn end(self) -> io::Result<()> {
        let [down, up] = &self.counters;
        say(&format!("{{\"down\": {}, \"up\": {}}}", down.to_json(&self.trace.down), up.to_json(&self.trace.up)))?;
        // Threads that wait for packets are not waited for.
        process::exit(0)
    }
}

/// What holds at the beginning of a schedule, for ever.
fn beginning(schedule: &Schedule) -> Schedule {
    Schedule::constant(*schedule.at(Duration::ZERO).0)
}

fn say(line: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
