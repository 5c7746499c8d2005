//! The server as its owner sees it: what it is started with, and its end.

use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::net::{TcpListener, UdpSocket};
use mio::{Poll, Waker};
use rustls::ServerConfig;

use crate::counters::Counters;
use crate::sockets::{RelayAddress, listen_tcp, listen_udp, machine, resolve};
use crate::worker::{WAKER, Worker};
use crate::{Keys, Policy};

/// What a server is started with.
pub struct Config {
    /// Where clients come in over UDP; `0.0.0.0` and `::` stand for every address of the machine.
    pub udp: Vec<SocketAddr>,
    /// Where they come in over TCP.
    pub tcp: Vec<SocketAddr>,
    /// The certificate that is shown there; None where something in front of this server shows one.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who may relay.
    pub keys: Keys,
    /// Where relays are bound, one of a family.
    pub relays: Vec<RelayAddress>,
    /// The ports that relays have.
    pub ports: RangeInclusive<u16>,
    /// Where to; this machine's own addresses are added.
    pub policy: Policy,
    /// Bounds.
    pub limits: Limits,
}

/// Bounds on what clients can cause.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Relays of one participant.
    pub relays_of_one: usize,
    /// Relays at once.
    pub relays: usize,
    /// Connections over TCP at once.
    pub connections: usize,
    /// Clients over UDP at once that have not said a right password yet; the oldest makes way.
    pub strangers: usize,
    /// How long a connection or a client without a relay may stay.
    pub patience: Duration,
    /// How long a relay is kept to which no peer sends anything.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            relays_of_one: 12,
            relays: 8192,
            connections: 4096,
            strangers: 1024,
            patience: Duration::from_secs(30),
            idle: Duration::from_secs(300),
        }
    }
}

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// An address or a port cannot be had.
    Bind(SocketAddr, io::Error),
    /// The machine refused a thread, a descriptor or the list of its addresses.
    System(io::Error),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// A running server.
pub struct Server {
    thread: Option<JoinHandle<()>>,
    waker: Waker,
    is_stopped: Arc<AtomicBool>,
    counters: Arc<Counters>,
    udp: Vec<SocketAddr>,
    tcp: Vec<SocketAddr>,
}

impl Server {
    /// Binds the sockets and starts the thread.
    pub fn start(mut config: Config) -> Result<Self, StartError> {
        let machine = machine()?;
        config.policy.own.extend(&machine);
        config.policy.own.extend(config.relays.iter().map(|relay| relay.advertised));
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (mut udp, mut tcp) = (Vec::new(), Vec::new());
        for address in resolve(&config.udp, &machine) {
            udp.push(listen_udp(address).map_err(|error| StartError::Bind(address, error))?);
        }
        for address in resolve(&config.tcp, &machine) {
            tcp.push(listen_tcp(address).map_err(|error| StartError::Bind(address, error))?);
        }
        let udp_addresses = udp.iter().map(UdpSocket::local_addr).collect::<io::Result<Vec<_>>>()?;
        let tcp_addresses = tcp.iter().map(TcpListener::local_addr).collect::<io::Result<Vec<_>>>()?;
        let is_stopped = Arc::new(AtomicBool::new(false));
        let counters = Arc::new(Counters::default());
        let listeners = udp.into_iter().zip(udp_addresses.iter().copied()).collect();
        let worker = Worker::new(config, poll, listeners, tcp, counters.clone(), is_stopped.clone())?;
        let thread = std::thread::Builder::new().name("rtpcore-turn".to_owned()).spawn(move || worker.run())?;
        Ok(Self { thread: Some(thread), waker, is_stopped, counters, udp: udp_addresses, tcp: tcp_addresses })
    }

    /// What it did so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where it listens for datagrams, with the ports that the kernel chose for 0.
    pub fn udp(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// Where it listens for connections.
    pub fn tcp(&self) -> &[SocketAddr] {
        &self.tcp
    }

    /// Ends all relays and the thread. Idempotent.
    pub fn stop(&mut self) {
        self.is_stopped.store(true, Ordering::Release);
        // Fails only where the thread is gone.
        let _ = self.waker.wake();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended already, and said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests;
