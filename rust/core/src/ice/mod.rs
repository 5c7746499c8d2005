//! One peer's ICE agent (RFC 8445), lite or full, with consent (RFC 7675): an adapter round the `is` crate.
//!
//! What is ours: which addresses belong to which peer, how many of them a peer may use, and the translation of time.

use std::net::SocketAddr;
use std::time::Instant;

use is::stun::{StunMessage, StunPacket};
use is::{Candidate, IceAgent, IceAgentEvent, IceConnectionState, IceCreds, Protocol};

use crate::drop::Drop;

/// How many addresses a peer may be heard from before an ICE restart.
///
/// A client has a handful; a peer that forges sources gains nothing past this.
pub const MAX_ADDRESSES: usize = 32;

/// The characters of ICE credentials (RFC 8839 §5.4).
pub const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A user name fragment for a peer of `worker`: its first character says so, the rest is `random`.
///
/// The kernel may hand a stranger's first check to any worker that shares the port; the fragment tells it whom to pass it to.
pub fn ufrag_of(worker: u8, random: &str) -> String {
    let first = ALPHABET.get(usize::from(worker % 64)).copied().unwrap_or(b'A');
    format!("{}{random}", char::from(first))
}

/// The worker whose peer a STUN request is for, by its user name; none if it is no request with a user name.
pub fn owner_of(message: &StunMessage<'_>) -> Option<u8> {
    let (local, _) = message.split_username()?;
    let first = local.bytes().next()?;
    ALPHABET.iter().position(|&character| character == first).and_then(|index| u8::try_from(index).ok())
}

/// How datagrams travel: a TCP stream carries them in frames (RFC 4571).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Via {
    /// One datagram, one packet.
    Udp,
    /// Framed in a TCP connection that the peer opened (a passive candidate, RFC 6544).
    Tcp,
}

impl Via {
    fn protocol(self) -> Protocol {
        match self {
            Self::Udp => Protocol::Udp,
            Self::Tcp => Protocol::Tcp,
        }
    }

    fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Udp => Self::Udp,
            _ => Self::Tcp,
        }
    }
}

/// The two ends of a path: everything that tells one peer from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// UDP, or frames in TCP.
    pub via: Via,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}

/// Which side decides and how much work each side does (RFC 8445 §2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Answers checks and makes none: enough for a server with a public address.
    Lite,
    /// Makes checks; the peer decides.
    Controlled,
    /// Makes checks and decides.
    Controlling,
}

/// What an agent found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IceEvent {
    /// The peer may be heard from this address.
    Heard {
        /// UDP or TCP.
        via: Via,
        /// The peer's address.
        remote: SocketAddr,
    },
    /// The path to send on from now on.
    Nominated(Path),
    /// A path works.
    Connected,
    /// No path has answered for a while; it may come back.
    Disconnected,
}

/// One peer's agent.
pub struct Ice {
    agent: IceAgent,
    heard: Vec<(Via, SocketAddr)>,
    is_lite: bool,
}

impl Ice {
    /// An agent that answers to `credentials`, with our own candidates.
    ///
    /// `tie_breaker` decides role conflicts (RFC 8445 §7.3.1.1) and should be random.
    pub fn new(credentials: IceCreds, role: Role, locals: &[Candidate], tie_breaker: u64) -> Self {
        let mut agent = IceAgent::new(credentials);
        agent.set_control_tie_breaker(tie_breaker);
        agent.set_ice_lite(role == Role::Lite);
        agent.set_controlling(role == Role::Controlling);
        agent.set_max_candidate_pairs(100);
        for candidate in locals {
            agent.add_local_candidate(candidate.clone());
        }
        Self { agent, heard: Vec::new(), is_lite: role == Role::Lite }
    }

    /// Our user name fragment: strangers' checks are matched by it.
    pub fn ufrag(&self) -> &str {
        &self.agent.local_credentials().ufrag
    }

    /// The peer's credentials, from its description.
    pub fn set_remote(&mut self, credentials: IceCreds) {
        self.agent.set_remote_credentials(credentials);
    }

    /// Decides from now on which path is used; a lite agent never does.
    pub fn take_control(&mut self) {
        if !self.is_lite {
            self.agent.set_controlling(true);
        }
    }

    /// Whether the peer's description is the one that is in use: another one asks for a restart.
    pub fn is_remote(&self, credentials: &IceCreds) -> bool {
        self.agent.remote_credentials() == Some(credentials)
    }

    /// One candidate of the peer. More than the agent keeps pairs for are ignored.
    pub fn add_remote(&mut self, candidate: Candidate) {
        if self.agent.remote_candidates().count() < MAX_ADDRESSES {
            self.agent.add_remote_candidate(candidate);
        }
    }

    /// Starts over with new credentials, keeping our candidates (RFC 8445 §9).
    pub fn restart(&mut self, credentials: IceCreds) {
        self.heard.clear();
        self.agent.ice_restart(credentials, true);
    }

    /// Takes a STUN message; `Err` says why it was not for this agent.
    pub fn handle_stun(&mut self, now: Instant, path: Path, message: StunMessage<'_>) -> Result<(), Drop> {
        let known = self.heard.contains(&(path.via, path.remote));
        if !known && self.heard.len() >= MAX_ADDRESSES {
            return Err(Drop::BadStun);
        }
        let packet = StunPacket { proto: path.via.protocol(), source: path.remote, destination: path.local, message };
        if !self.agent.handle_packet(now, packet) {
            return Err(Drop::BadStun);
        }
        if !known {
            self.heard.push((path.via, path.remote));
        }
        Ok(())
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.agent.handle_timeout(now);
    }

    /// When time should pass again.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        self.agent.poll_timeout()
    }

    /// The next STUN message to send, and where.
    pub fn poll_transmit(&mut self) -> Option<(Path, Vec<u8>)> {
        let transmit = self.agent.poll_transmit()?;
        let path = Path { via: Via::of(transmit.proto), local: transmit.source, remote: transmit.destination };
        Some((path, transmit.contents.into()))
    }

    /// What happened, in order.
    pub fn poll_event(&mut self) -> Option<IceEvent> {
        loop {
            return Some(match self.agent.poll_event()? {
                IceAgentEvent::DiscoveredRecv { proto, source } => {
                    IceEvent::Heard { via: Via::of(proto), remote: source }
                }
                IceAgentEvent::NominatedSend { proto, source, destination } => {
                    IceEvent::Nominated(Path { via: Via::of(proto), local: source, remote: destination })
                }
                IceAgentEvent::IceConnectionStateChange(
                    IceConnectionState::Connected | IceConnectionState::Completed,
                ) => IceEvent::Connected,
                IceAgentEvent::IceConnectionStateChange(IceConnectionState::Disconnected) => IceEvent::Disconnected,
                IceAgentEvent::IceConnectionStateChange(_) | IceAgentEvent::IceRestart(_) => continue,
            });
        }
    }

    /// The round trip time of the nominated path as the checks measured it; a lite agent makes none.
    pub fn round_trip(&self) -> Option<core::time::Duration> {
        self.agent.nominated_pair_rtt()
    }
}
