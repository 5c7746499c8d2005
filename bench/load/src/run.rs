//! One thread with all clients: sockets that are ready, times that have come, and the phases of a measurement.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::client::{Client, ClientError, Part, Settings};
use crate::count::Totals;
use crate::peer::Reading;
use crate::plan::Plan;
use crate::report::{Counted, Durations, Outcome, Told, grouped, tell};
use crate::signal::{Server, SignalError};
use crate::socket::{Inbox, route_to};

/// Between the last client's first packets and the measurement: keyframes are asked for and begun with.
const SETTLING: Duration = Duration::from_secs(1);
/// While joining: so that who is to join next does so on time.
const LONGEST_WAIT: Duration = Duration::from_millis(5);
/// While measuring nobody waits for a packet: to wake somebody up costs the sender, here the server, more than to send, and
/// on a real network is no cost of its. The kernel stamps what comes, so that delays are true all the same.
const PAUSE: Duration = Duration::from_micros(500);
/// In the order of their tokens.
const PARTS: [Part; 3] = [Part::Signal, Part::Publisher, Part::Subscriber];

/// Why there is nothing to tell.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The server cannot be asked.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// The operating system refused.
    #[error("the operating system refused: {0}")]
    System(#[from] io::Error),
    /// Nobody to measure.
    #[error("no client took part: {0}")]
    Nobody(String),
}

/// What may be due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A peer connection's own affair, or a ping.
    Part(usize, usize),
    /// A track's next frame.
    Frame(usize, usize),
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Joining,
    Settling { until: Instant },
    Measuring { until: Instant, began: Instant, before: Counted },
}

/// A load that runs.
pub struct Load {
    plan: Plan,
    server: Server,
    settings: Vec<Settings>,
    poll: Poll,
    clients: Vec<Client>,
    /// For each client: its tracks flow.
    is_sending: Vec<bool>,
    /// For each client and part: when it is in `due`, if it is.
    queued: Vec<[Option<Instant>; 3]>,
    is_registered: Vec<[bool; 3]>,
    due: BinaryHeap<Reverse<(Instant, Due)>>,
    inbox: Inbox,
    delays: Durations,
    lateness: Durations,
    refused: Vec<String>,
    began_at: Instant,
}

impl Load {
    /// Looks the server up.
    pub fn new(plan: Plan) -> Result<Self, RunError> {
        let server = Server::find(&plan.url)?;
        let address = route_to(server.address)?;
        let settings = plan.expected_streams().into_iter().enumerate().map(|(index, expected_streams)| {
            let reading = match plan.decrypt_every {
                0 | 1 => Reading::All,
                every => Reading::OneIn(every, index as u32),
            };
            Settings { expected_streams, address, reading, packets_per_frame: plan.packets_per_frame }
        });
        Ok(Self {
            settings: settings.collect(),
            server,
            poll: Poll::new()?,
            clients: Vec::new(),
            is_sending: Vec::new(),
            queued: Vec::new(),
            is_registered: Vec::new(),
            due: BinaryHeap::new(),
            inbox: Inbox::default(),
            delays: Durations::default(),
            lateness: Durations::default(),
            refused: Vec::new(),
            began_at: Instant::now(),
            plan,
        })
    }

    /// Lets all join, measures, and lets all leave.
    pub fn run(mut self) -> Result<Outcome, RunError> {
        let mut phase = Phase::Joining;
        let mut events = Events::with_capacity(1024);
        let (mut told_at, mut told_received) = (self.began_at, 0);
        loop {
            let now = Instant::now();
            self.open_due(now);
            self.handle_due(now);
            if now >= told_at + Duration::from_secs(1) {
                let received = self.counted().totals.received;
                self.tell_progress(now, (received - told_received) as f64 / (now - told_at).as_secs_f64());
                (told_at, told_received) = (now, received);
            }
            match phase {
                Phase::Joining if self.has_joined(now)? => phase = Phase::Settling { until: now + SETTLING },
                Phase::Settling { until } if now >= until => {
                    self.delays.clear();
                    self.lateness.clear();
                    tell(&Told::Measuring);
                    let until = now + Duration::from_secs_f64(self.plan.seconds);
                    phase = Phase::Measuring { until, began: now, before: self.counted() };
                }
                Phase::Measuring { until, began, before } if now >= until => {
                    let after = self.counted();
                    tell(&Told::Measured);
                    for client in self.clients.iter_mut().filter(|client| client.failure.is_none()) {
                        client.failure = client.lacks().map(ClientError::Lost);
                    }
                    let outcome = self.outcome((now - began).as_secs_f64(), before, after);
                    self.clients.iter_mut().filter(|client| client.failure.is_none()).for_each(Client::leave);
                    return Ok(outcome);
                }
                _ => {}
            }
            if matches!(phase, Phase::Joining) {
                self.wait(&mut events, LONGEST_WAIT)?;
            } else {
                std::thread::sleep(PAUSE);
                self.wait(&mut events, Duration::ZERO)?;
            }
        }
    }

    fn wait(&mut self, events: &mut Events, longest: Duration) -> Result<(), RunError> {
        let next = self.due.peek().map(|Reverse((at, _))| at.saturating_duration_since(Instant::now()));
        match self.poll.poll(events, Some(next.map_or(longest, |next| next.min(longest)))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in &*events {
            let (index, part) = (event.token().0 / 3, event.token().0 % 3);
            self.handle_ready(index, PARTS[part], Instant::now());
        }
        Ok(())
    }

    /// Opens the clients whose turn it is.
    fn open_due(&mut self, now: Instant) {
        let turn = (now - self.began_at).as_secs_f64() * self.plan.join_rate;
        while self.clients.len() + self.refused.len() < self.plan.clients.len().min(turn as usize + 1) {
            let number = self.clients.len() + self.refused.len();
            let token = Token(self.clients.len() * 3);
            let register = |stream: &mut mio::net::TcpStream| {
                self.poll.registry().register(stream, token, Interest::READABLE | Interest::WRITABLE)
            };
            match Client::open(&self.server, &self.plan.clients[number], self.settings[number], now, register) {
                Ok(client) => {
                    self.clients.push(client);
                    self.is_sending.push(false);
                    self.queued.push([None; 3]);
                    self.is_registered.push([true, false, false]);
                }
                Err(error) => self.refused.push(error.to_string()),
            }
        }
    }

    fn handle_ready(&mut self, index: usize, part: Part, now: Instant) {
        let client = &mut self.clients[index];
        if client.failure.is_some() {
            return;
        }
        let result = match part {
            Part::Signal => client.handle_signal(now),
            _ => client.receive(part, &mut self.inbox, now, &mut self.delays),
        };
        self.after(index, result, now);
    }

    fn handle_due(&mut self, now: Instant) {
        while let Some(&Reverse((at, due))) = self.due.peek()
            && at <= now
        {
            self.due.pop();
            let (Due::Part(index, _) | Due::Frame(index, _)) = due;
            if let Due::Part(index, part) = due {
                self.queued[index][part] = None;
            }
            if self.clients[index].failure.is_none() {
                let result = self.perform(due, now);
                self.after(index, result, now);
            }
        }
    }

    fn perform(&mut self, due: Due, now: Instant) -> Result<(), ClientError> {
        match due {
            Due::Frame(index, track) => {
                let client = &mut self.clients[index];
                self.lateness.add((now - client.tracks[track].source.due_at).as_nanos() as u64);
                let result = client.send_frame(track, now, &mut self.delays);
                self.due.push(Reverse((client.tracks[track].source.due_at, due)));
                result
            }
            Due::Part(index, 0) => match self.clients[index].ping_at {
                Some(at) if at <= now => self.clients[index].ping(now),
                _ => Ok(()),
            },
            Due::Part(index, part) => {
                let client = &mut self.clients[index];
                match client.peer(PARTS[part]) {
                    // It has moved to later since it was queued; `after` queues it again.
                    Some(peer) if peer.timeout > now => Ok(()),
                    _ => client.handle_timeout(PARTS[part], now, &mut self.delays),
                }
            }
        }
    }

    /// Takes note of what an input has changed: a failure, a new socket, other times.
    fn after(&mut self, index: usize, result: Result<(), ClientError>, now: Instant) {
        let client = &mut self.clients[index];
        if let Err(error) = result {
            client.failure = Some(error);
            return;
        }
        for (number, part) in PARTS.into_iter().enumerate() {
            let at = match client.peer(part) {
                None if part == Part::Signal => client.ping_at,
                None => None,
                Some(peer) => {
                    if !self.is_registered[index][number] {
                        let fd = peer.socket.as_raw_fd();
                        let token = Token(index * 3 + number);
                        let registered = self.poll.registry().register(&mut SourceFd(&fd), token, Interest::READABLE);
                        self.is_registered[index][number] = registered.is_ok();
                    }
                    Some(peer.timeout)
                }
            };
            let queued = &mut self.queued[index][number];
            if let Some(at) = at
                && queued.is_none_or(|queued| at < queued)
            {
                *queued = Some(at);
                self.due.push(Reverse((at, Due::Part(index, number))));
            }
        }
        if !self.is_sending[index] && client.can_send() {
            self.is_sending[index] = true;
            for (track, one) in client.tracks.iter_mut().enumerate() {
                // By the golden ratio no two publishers send at the same time, however many there are.
                let phase = (index as f64 * 0.618_034 + track as f64 * 0.37).fract();
                one.source.due_at = now + Duration::from_secs_f64(phase * 0.033);
                self.due.push(Reverse((one.source.due_at, Due::Frame(index, track))));
            }
        }
    }

    /// Whether all that can join have joined; gives up those whose time is over.
    fn has_joined(&mut self, now: Instant) -> Result<bool, RunError> {
        if self.clients.len() + self.refused.len() < self.plan.clients.len() {
            return Ok(false);
        }
        let last = self.clients.last().map_or(self.began_at, |client| client.began_at);
        let is_late = now > last + Duration::from_secs_f64(self.plan.patience_s);
        let mut waits = false;
        for client in self.clients.iter_mut().filter(|client| client.failure.is_none()) {
            match client.lacks() {
                Some(what) if is_late => client.failure = Some(ClientError::Late(self.plan.patience_s, what)),
                Some(_) => waits = true,
                None => {}
            }
        }
        let takes_part = |client: &Client| client.failure.is_none();
        if !waits && !self.clients.iter().any(takes_part) {
            let failures = self.failures();
            return Err(RunError::Nobody(failures.first().map_or("none was asked for", |one| &one.reason).to_owned()));
        }
        Ok(!waits)
    }

    fn failures(&self) -> Vec<crate::report::Failure> {
        let failed = self.clients.iter().filter_map(|client| client.failure.as_ref().map(ToString::to_string));
        grouped(failed.chain(self.refused.iter().cloned()))
    }

    fn counted(&self) -> Counted {
        let totals = self.clients.iter().fold(Totals::default(), |sum, client| sum.plus(client.totals()));
        Counted { sent: self.clients.iter().map(Client::sent).sum(), totals, cpu: cpu_time() }
    }

    fn tell_progress(&self, now: Instant, received_per_s: f64) {
        let failed = self.refused.len() + self.clients.iter().filter(|client| client.failure.is_some()).count();
        let is_ready = |client: &&Client| client.failure.is_none() && client.lacks().is_none();
        let ready = self.clients.iter().filter(is_ready).count();
        let seconds = (now - self.began_at).as_secs_f64();
        tell(&Told::Progress { seconds, opened: self.clients.len(), ready, failed, received_per_s });
    }

    fn outcome(&self, seconds: f64, before: Counted, after: Counted) -> Outcome {
        let totals = after.totals.since(before.totals);
        let times = |at: fn(&Client) -> Option<Instant>| {
            let took = self.clients.iter().filter_map(|client| Some(at(client)? - client.began_at));
            took.collect::<Durations>().percentiles()
        };
        Outcome {
            seconds,
            clients: self.plan.clients.len(),
            ready: self.clients.iter().filter(|client| client.failure.is_none()).count(),
            failures: self.failures(),
            sent_per_s: (after.sent - before.sent) as f64 / seconds,
            received_per_s: totals.received as f64 / seconds,
            received: totals.received,
            expected: totals.expected,
            lost: totals.lost(),
            reordered: totals.reordered,
            repaired: totals.repaired,
            delay_ms: self.delays.percentiles(),
            join_ms: times(|client| client.joined_at),
            ice_ms: times(|client| client.primary()?.ice_at),
            media_ms: times(|client| client.primary()?.media_at),
            late_ms: self.lateness.percentiles(),
            load: (after.cpu - before.cpu).as_secs_f64() / seconds,
        }
    }
}

/// CPU time of this process.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the structure lives over the call.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}
