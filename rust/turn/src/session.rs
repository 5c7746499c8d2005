//! One client: its `TurnServer`, and in front of that what the crate leaves to others: passwords, quotas, where to.
//!
//! Every client has a state machine of its own. So the lookups inside are over one client, what strangers leave behind goes
//! with them, and a fault costs one client. Messages come whole, whatever carried them: to the machine all clients speak UDP.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use turn_server_proto::api::{
    DelayedMessageOrChannelSend, SocketAllocateError, TcpConnectError, TurnServerApi, TurnServerPollRet,
};
use turn_server_proto::server::TurnServer;
use turn_server_proto::stun::Instant;
use turn_server_proto::stun::agent::Transmit;
use turn_server_proto::stun::types::attribute::{ErrorCode, Nonce, Username};
use turn_server_proto::stun::types::message::{
    IntegrityAlgorithm, LongTermCredentials, Message, MessageClass, MessageIntegrityCredentials, MessageWriteVec,
    StunWriteError,
};
use turn_server_proto::stun::types::prelude::*;
use turn_server_proto::types::attribute::XorPeerAddress;
use turn_server_proto::types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION};
use turn_server_proto::types::prelude::DelayedTransmitBuild;
use turn_server_proto::types::transmit::TransmitBuild;
use turn_server_proto::types::{AddressFamily, TransportType};

use crate::counters::Drop;
use crate::{Keys, Policy, REALM};

/// Peers that a relay may have at once: a server's candidates are few, and each costs memory and time.
pub(crate) const MAX_PEERS: usize = 64;

/// How long a client's wish for a peer counts: a channel is bound for ten minutes, a permission for five.
const PEER_LIFETIME: Duration = Duration::from_secs(600);

/// How long a client may use a nonce, an hour at most (RFC 8656 §5).
const NONCE_LIFETIME: Duration = Duration::from_secs(3600);

/// Where a message goes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Back to the client.
    Client,
    /// From this relay to this address.
    Peer { relay: SocketAddr, to: SocketAddr },
}

/// What a client's machine waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A relay of this family.
    Relay { is_v4: bool },
    /// The end of a relay.
    Close(SocketAddr),
    /// Time.
    Until(Instant),
}

/// What decides beside the client's own state.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    /// Unix time, for passwords that end.
    pub(crate) now_s: u64,
    pub(crate) keys: &'a Keys,
    pub(crate) policy: &'a Policy,
    /// Relays by participant, and how many each may have.
    pub(crate) relays_of: &'a HashMap<String, usize>,
    pub(crate) max_relays: usize,
}

struct User {
    name: String,
    credentials: MessageIntegrityCredentials,
}

/// One client, known by the addresses between which it speaks.
pub(crate) struct Session {
    machine: TurnServer,
    listen: SocketAddr,
    client: SocketAddr,
    user: Option<User>,
    /// Our relays, as peers see them; at most one of a family.
    relays: Vec<SocketAddr>,
    /// The addresses that the client asked for, with port 0 for all, and when last.
    peers: HashMap<SocketAddr, Instant>,
    /// Where media is bound, and by which name this client calls it, if not the usual one.
    names: Vec<(SocketAddr, SocketAddr)>,
}

impl Session {
    pub(crate) fn new(listen: SocketAddr, client: SocketAddr) -> Self {
        let mut machine = TurnServer::new(TransportType::Udp, listen, REALM.to_owned());
        machine.set_nonce_expiry_duration(NONCE_LIFETIME);
        Self { machine, listen, client, user: None, relays: Vec::new(), peers: HashMap::new(), names: Vec::new() }
    }

    /// The participant, once its password was right.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_ref().map(|user| user.name.as_str())
    }

    /// Where it is.
    pub(crate) fn client(&self) -> SocketAddr {
        self.client
    }

    /// Whether it has an allocation.
    pub(crate) fn is_allocated(&self) -> bool {
        !self.relays.is_empty()
    }

    /// A message of the client. What comes of it is written to `out`; Ok(None) where that is nothing yet.
    pub(crate) fn handle_client(
        &mut self,
        bytes: &[u8],
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<Way>, Drop> {
        if bytes.first().is_none_or(|byte| byte >> 6 > 1) {
            return Err(Drop::Malformed);
        }
        if bytes[0] >> 6 == 0 {
            let message = Message::from_bytes(bytes).map_err(|_| Drop::Malformed)?;
            if let Some(refusal) = self.check(&message, context)? {
                out.clear();
                out.extend(refusal);
                return Ok(Some(Way::Client));
            }
        }
        let message = Transmit::new(bytes, TransportType::Udp, self.client, self.listen);
        let Some(answer) = self.machine.recv(message, context.now) else { return Ok(None) };
        let (from, to) = (answer.from, answer.to);
        write(answer, out);
        if from == self.listen {
            return Ok(Some(Way::Client));
        }
        let destination = context.policy.destination(to).ok_or(Drop::ForbiddenPeer)?;
        self.remember(destination, to, context);
        Ok(Some(Way::Peer { relay: from, to: destination }))
    }

    /// A datagram that came to one of our relays. What the client gets is written to `out`.
    pub(crate) fn handle_peer(
        &mut self,
        relay: SocketAddr,
        from: SocketAddr,
        bytes: &[u8],
        context: &Context<'_>,
        out: &mut Vec<u8>,
    ) -> Option<Way> {
        let unusual = self.names.iter().find(|&&(local, _)| local == from).map(|&(_, name)| name);
        let name = unusual.unwrap_or_else(|| context.policy.name_of(from));
        let message = Transmit::new(bytes, TransportType::Udp, name, relay);
        let answer = self.machine.recv(message, context.now)?;
        write(answer, out);
        Some(Way::Client)
    }

    /// Remembers which of the names of a media port the client uses: it knows answers by that alone.
    fn remember(&mut self, destination: SocketAddr, name: SocketAddr, context: &Context<'_>) {
        let is_usual = context.policy.name_of(destination) == name;
        if is_usual && self.names.is_empty() || self.names.contains(&(destination, name)) {
            return;
        }
        self.names.retain(|&(local, _)| local != destination);
        if !is_usual {
            self.names.push((destination, name));
        }
    }

    /// What it waits for; to be asked until it is time.
    pub(crate) fn poll(&mut self, now: Instant) -> Wish {
        loop {
            match self.machine.poll(now) {
                TurnServerPollRet::WaitUntil(at) => return Wish::Until(at),
                TurnServerPollRet::AllocateSocket { family, allocation_transport: TransportType::Udp, .. } => {
                    return Wish::Relay { is_v4: family == AddressFamily::IPV4 };
                }
                TurnServerPollRet::AllocateSocket { family, allocation_transport, .. } => {
                    // Relays over TCP (RFC 6062) need a client over TCP, and none is one to the machine.
                    let refused = Err(SocketAllocateError::InsufficientCapacity);
                    self.answer(allocation_transport, family, refused, now);
                }
                TurnServerPollRet::TcpConnect { relayed_addr, peer_addr, listen_addr, client_addr } => {
                    let refused = Err(TcpConnectError::Forbidden);
                    self.machine.tcp_connected(relayed_addr, peer_addr, listen_addr, client_addr, refused, now);
                }
                TurnServerPollRet::TcpClose { .. } => {}
                TurnServerPollRet::SocketClose { listen_addr, .. } => {
                    self.relays.retain(|&relay| relay != listen_addr);
                    return Wish::Close(listen_addr);
                }
            }
        }
    }

    /// The relay that was wished for, as peers see it; None where there is none to be had.
    pub(crate) fn allocated(&mut self, is_v4: bool, relay: Result<SocketAddr, SocketAllocateError>, now: Instant) {
        let family = if is_v4 { AddressFamily::IPV4 } else { AddressFamily::IPV6 };
        self.relays.extend(relay.ok());
        self.answer(TransportType::Udp, family, relay, now);
    }

    /// A message to the client that nothing it has sent answers at once.
    pub(crate) fn poll_transmit(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.machine.poll_transmit(now).map(|transmit| transmit.data)
    }

    fn answer(
        &mut self,
        transport: TransportType,
        family: AddressFamily,
        relay: Result<SocketAddr, SocketAllocateError>,
        now: Instant,
    ) {
        let (listen, client) = (self.listen, self.client);
        self.machine.allocated_socket(TransportType::Udp, listen, client, transport, family, relay, now);
    }

    /// Refuses what the machine would allow: Some is the answer.
    fn check(&mut self, message: &Message<'_>, context: &Context<'_>) -> Result<Option<Vec<u8>>, Drop> {
        if !message.has_class(MessageClass::Request) {
            return Ok(None);
        }
        if message.has_method(ALLOCATE) {
            self.check_user(message, context)
        } else if message.has_method(CREATE_PERMISSION) || message.has_method(CHANNEL_BIND) {
            self.check_peers(message, context)
        } else {
            Ok(None)
        }
    }

    /// Makes a password known to the machine, if the name in an Allocate request has one.
    fn check_user(&mut self, message: &Message<'_>, context: &Context<'_>) -> Result<Option<Vec<u8>>, Drop> {
        // The first request names nobody: it asks for realm and nonce, which the machine gives.
        let Ok(name) = message.attribute::<Username>().map(|name| name.username().to_owned()) else { return Ok(None) };
        let Ok(password) = context.keys.password(&name, context.now_s) else {
            return error(message, ErrorCode::UNAUTHORIZED, None).map(Some);
        };
        let credentials = LongTermCredentials::new(name.clone(), password.clone());
        let credentials = MessageIntegrityCredentials::from(credentials.to_key(REALM.to_owned()));
        if message.validate_integrity(&credentials).is_err() {
            return error(message, ErrorCode::UNAUTHORIZED, None).map(Some);
        }
        if !self.is_allocated() && context.relays_of.get(&name).is_some_and(|&relays| relays >= context.max_relays) {
            return error(message, ErrorCode::ALLOCATION_QUOTA_REACHED, Some(&credentials)).map(Some);
        }
        if self.user.as_ref().is_none_or(|user| user.name != name) && !self.is_allocated() {
            self.machine.add_user(name.clone(), password);
            self.user = Some(User { name, credentials });
        }
        Ok(None)
    }

    /// Refuses peers that are none of a client's business, and too many.
    fn check_peers(&mut self, message: &Message<'_>, context: &Context<'_>) -> Result<Option<Vec<u8>>, Drop> {
        let known = self.user.as_ref().filter(|user| message.validate_integrity(&user.credentials).is_ok());
        // Whoever does not know the password is refused by the machine.
        let Some(user) = known else { return Ok(None) };
        let is_channel = message.has_method(CHANNEL_BIND);
        let id = message.transaction_id();
        let mut asked = Vec::new();
        for (_, attribute) in message.iter_attributes() {
            if attribute.get_type() == XorPeerAddress::TYPE {
                let peer = XorPeerAddress::from_raw(attribute).map_err(|_| Drop::Malformed)?.addr(id);
                if !context.policy.may_permit(peer.ip()) {
                    return error(message, ErrorCode::FORBIDDEN, Some(&user.credentials)).map(Some);
                }
                asked.push(if is_channel { peer } else { SocketAddr::new(peer.ip(), 0) });
            }
        }
        self.peers.retain(|_, &mut at| context.now.saturating_duration_since(at) < PEER_LIFETIME);
        let new: HashSet<_> = asked.iter().filter(|peer| !self.peers.contains_key(peer)).collect();
        if self.peers.len() + new.len() > MAX_PEERS {
            return error(message, ErrorCode::INSUFFICIENT_CAPACITY, Some(&user.credentials)).map(Some);
        }
        self.peers.extend(asked.into_iter().map(|peer| (peer, context.now)));
        Ok(None)
    }
}

/// The code of a refusal that was written here, for the counters.
pub(crate) fn refusal_of(answer: &[u8]) -> Option<Drop> {
    let message = Message::from_bytes(answer).ok()?;
    match message.attribute::<ErrorCode>().ok()?.code() {
        ErrorCode::FORBIDDEN => Some(Drop::ForbiddenPeer),
        ErrorCode::UNAUTHORIZED if message.attribute::<Nonce>().is_err() => Some(Drop::Unauthorized),
        ErrorCode::ALLOCATION_QUOTA_REACHED => Some(Drop::Quota),
        // That of an Allocate request is counted where there was no port.
        ErrorCode::INSUFFICIENT_CAPACITY if !message.has_method(ALLOCATE) => Some(Drop::Quota),
        _ => None,
    }
}

fn error(request: &Message<'_>, code: u16, credentials: Option<&MessageIntegrityCredentials>) -> Result<Vec<u8>, Drop> {
    let write = || {
        let mut response = Message::builder_error(request, MessageWriteVec::with_capacity(96));
        response.add_attribute(&ErrorCode::builder(code).build()?)?;
        if let Some(credentials) = credentials {
            response.add_message_integrity(credentials, IntegrityAlgorithm::Sha1)?;
        }
        response.add_fingerprint()?;
        Ok::<_, StunWriteError>(response.finish())
    };
    write().map_err(|_| Drop::Fault)
}

/// Writes what is to be sent over what `out` had.
fn write(answer: TransmitBuild<DelayedMessageOrChannelSend<&[u8]>>, out: &mut Vec<u8>) {
    out.clear();
    match answer.data {
        DelayedMessageOrChannelSend::Range(bytes, range) => out.extend_from_slice(&bytes[range]),
        DelayedMessageOrChannelSend::Owned(bytes) => out.extend_from_slice(&bytes),
        // Not `write_into`, which takes a client's message for a server's.
        DelayedMessageOrChannelSend::Message(message) => out.extend(message.build()),
        DelayedMessageOrChannelSend::Channel(channel) => {
            out.resize(channel.len(), 0);
            channel.write_into(out);
        }
    }
}

#[cfg(test)]
mod tests;
