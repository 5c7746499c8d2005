//! One peer's SCTP association and its data channels (RFC 8261, 8831, 8832): an adapter round the `sctp-proto` crate.
//!
//! What is ours: DCEP, the limits, and what a slow reader costs (only itself).

pub mod dcep;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sctp_proto::{
    Association, AssociationHandle, ClientConfig, DatagramEvent, Endpoint, EndpointConfig, Event, Payload,
    PayloadProtocolIdentifier as Ppid, ReliabilityType, ServerConfig, StreamEvent, TransportConfig,
};

use crate::drop::Drop;
use dcep::{Open, Reliability};

/// The largest message in either direction; what our descriptions announce as `max-message-size`.
pub const MAX_MESSAGE: u32 = 256 * 1024;

/// How many data channels one peer may open: a LiveKit client opens three, an application seldom more than a dozen.
pub const MAX_CHANNELS: usize = 128;

/// How much may wait for a reader of reliable messages before it counts as too slow.
pub const MAX_BUFFERED: usize = 2 * 1024 * 1024;

/// How much may wait in a channel that gives up on old messages: more would only arrive late.
const MAX_BUFFERED_LOSSY: usize = 64 * 1024;

/// What a DTLS record carries of SCTP on paths of 1200 bytes.
const MAX_PACKET: u32 = 1150;

/// A data channel: its SCTP stream number.
pub type ChannelId = u16;

/// One open data channel.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Its SCTP stream.
    pub id: ChannelId,
    /// Label, protocol and reliability, as opened.
    pub open: Open,
}

/// What happened on an association.
#[derive(Clone, Debug)]
pub enum SctpEvent {
    /// Channels can be opened.
    Connected,
    /// A channel is open, ours or the peer's.
    Opened(ChannelId),
    /// A whole message arrived.
    Message {
        /// The channel it came on.
        channel: ChannelId,
        /// Whether it is binary, not text.
        is_binary: bool,
        /// The message; empty messages have no bytes.
        payload: Bytes,
    },
    /// The channel with this label was closed by the peer.
    Closed(String),
    /// The association is gone.
    Lost,
}

/// One peer's association.
pub struct Sctp {
    endpoint: Endpoint,
    association: Option<(AssociationHandle, Association)>,
    channels: Vec<Channel>,
    /// Channels to open once connected, and those whose peer knows them already.
    pending: Vec<(ChannelId, Open, bool)>,
    is_client: bool,
    is_connected: bool,
    max_message: u32,
}

/// DTLS hides where packets come from, and one association runs in it: any address will do.
const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 5000);

impl Sctp {
    /// An association that waits for the peer (`is_client` false) or will be started by [`connect`](Self::connect).
    ///
    /// `max_message` is what the peer's description allows us to send in one message, in bytes; 0 is no limit.
    pub fn new(is_client: bool, max_message: u32) -> Self {
        let mut config = EndpointConfig::new();
        config.max_payload_size(MAX_PACKET);
        let max_message = if max_message == 0 { MAX_MESSAGE } else { max_message.min(MAX_MESSAGE) };
        let mut server = ServerConfig::new();
        server.transport = Arc::new(Self::transport(max_message));
        Self {
            endpoint: Endpoint::new(Arc::new(config), Some(Arc::new(server))),
            association: None,
            channels: Vec::new(),
            pending: Vec::new(),
            is_client,
            is_connected: false,
            max_message,
        }
    }

    fn transport(max_message: u32) -> TransportConfig {
        TransportConfig::default()
            .with_max_receive_message_size(MAX_MESSAGE)
            .with_max_send_message_size(max_message)
            .with_max_receive_buffer_size(2 * MAX_MESSAGE)
            .with_max_num_inbound_streams(u16::MAX)
            .with_max_init_retransmits(None)
            .with_rto_initial_ms(500)
            .with_rto_min_ms(200)
            .with_rto_max_ms(10_000)
    }

    /// Starts the association as its client, once DTLS is up. Does nothing for the other end.
    pub fn connect(&mut self) {
        if !self.is_client || self.association.is_some() {
            return;
        }
        let mut config = ClientConfig::new();
        config.transport = Arc::new(Self::transport(self.max_message));
        if let Ok(pair) = self.endpoint.connect(config, PEER) {
            self.association = Some(pair);
        }
    }

    /// The open channel with this label, the oldest if there are several.
    pub fn channel(&self, label: &str) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.open.label == label)
    }

    /// The open channel with this number.
    pub fn channel_by_id(&self, id: ChannelId) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.id == id)
    }

    /// Opens a channel, now or as soon as the association is up. With `negotiated` both ends know the number beforehand.
    ///
    /// `Err` where the limit of channels is reached or the number is taken.
    pub fn open(&mut self, open: Open, negotiated: Option<ChannelId>) -> Result<ChannelId, Drop> {
        if self.channels.len() + self.pending.len() >= MAX_CHANNELS {
            return Err(Drop::BadDataChannel);
        }
        // RFC 8832 §6: the DTLS client opens even streams, the server odd ones.
        let is_taken = |id: u16| {
            self.channels.iter().any(|c| c.id == id) || self.pending.iter().any(|&(pending, ..)| pending == id)
        };
        let id = match negotiated {
            Some(id) => id,
            None => (0..u16::MAX)
                .filter(|id| (id % 2 == 0) == self.is_client)
                .find(|&id| !is_taken(id))
                .ok_or(Drop::BadDataChannel)?,
        };
        if is_taken(id) {
            return Err(Drop::BadDataChannel);
        }
        self.pending.push((id, open, negotiated.is_some()));
        Ok(id)
    }

    /// Queues one message, or says why it was dropped: the channel is not open, or its reader is too slow.
    pub fn send(&mut self, id: ChannelId, payload: &Bytes, is_binary: bool) -> Result<(), Drop> {
        let limit = match self.channel_by_id(id).ok_or(Drop::NotConnected)?.open.reliability {
            Reliability::Reliable => MAX_BUFFERED,
            Reliability::Retransmits(_) | Reliability::Lifetime(_) => MAX_BUFFERED_LOSSY,
        };
        if payload.len() > self.max_message as usize {
            return Err(Drop::Oversized);
        }
        let (_, association) = self.association.as_mut().ok_or(Drop::NotConnected)?;
        let mut stream = association.stream(id).map_err(|_| Drop::NotConnected)?;
        if stream.buffered_amount().map_err(|_| Drop::NotConnected)? + payload.len() > limit {
            return Err(Drop::SlowReader);
        }
        let sent = match (payload.is_empty(), is_binary) {
            // SCTP has no empty messages (RFC 8831 §6.6): one zero byte stands for them.
            (true, true) => stream.write_with_ppi(&[0], Ppid::BinaryEmpty),
            (true, false) => stream.write_with_ppi(&[0], Ppid::StringEmpty),
            (false, true) => stream.write_sctp(payload, Ppid::Binary),
            (false, false) => stream.write_sctp(payload, Ppid::String),
        };
        sent.map(|_| ()).map_err(|_| Drop::NotConnected)
    }

    /// Takes one SCTP packet: what a DTLS record carried.
    pub fn handle_packet(&mut self, now: Instant, packet: &[u8]) -> Result<(), Drop> {
        match self.endpoint.handle(now, PEER, None, None, Bytes::copy_from_slice(packet)) {
            Some((handle, DatagramEvent::NewAssociation(association))) => {
                if self.association.is_some() {
                    return Err(Drop::BadSctp);
                }
                self.association = Some((handle, association));
                self.endpoint.reject_new_associations();
                Ok(())
            }
            Some((handle, DatagramEvent::AssociationEvent(event))) => match self.association.as_mut() {
                Some((ours, association)) if *ours == handle => {
                    association.handle_event(event);
                    Ok(())
                }
                _ => Err(Drop::BadSctp),
            },
            None => Err(Drop::BadSctp),
        }
    }

    /// Lets time pass.
    pub fn handle_timeout(&mut self, now: Instant) {
        if let Some((_, association)) = self.association.as_mut()
            && association.poll_timeout().is_some_and(|at| at <= now)
        {
            association.handle_timeout(now);
        }
    }

    /// When time should pass again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.association.as_ref().and_then(|(_, association)| association.poll_timeout())
    }

    /// Hands every packet that is due to `send`.
    pub fn poll_transmit(&mut self, now: Instant, mut send: impl FnMut(&[u8])) {
        let mut hand_over = |payload: Payload| {
            if let Payload::RawEncode(packets) = payload {
                for packet in &packets {
                    send(packet);
                }
            }
        };
        while let Some(transmit) = self.endpoint.poll_transmit() {
            hand_over(transmit.payload);
        }
        if let Some((handle, association)) = self.association.as_mut() {
            while let Some(transmit) = association.poll_transmit(now) {
                hand_over(transmit.payload);
            }
            while let Some(event) = association.poll_endpoint_event() {
                if let Some(event) = self.endpoint.handle_event(*handle, event) {
                    association.handle_event(event);
                }
            }
        }
    }

    /// Hands everything that happened to `events`; bad messages are counted by `dropped`.
    pub fn poll_events(&mut self, events: &mut Vec<SctpEvent>, mut dropped: impl FnMut(Drop)) {
        loop {
            let Some((_, association)) = self.association.as_mut() else { return };
            let Some(event) = association.poll() else { break };
            match event {
                Event::Connected => {
                    self.is_connected = true;
                    events.push(SctpEvent::Connected);
                }
                Event::HandshakeFailed { .. } | Event::AssociationLost { .. } => {
                    self.is_connected = false;
                    self.channels.clear();
                    events.push(SctpEvent::Lost);
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read(id, events, &mut dropped),
                Event::Stream(StreamEvent::Finished { id } | StreamEvent::Stopped { id, .. }) => self.close(id, events),
                _ => {}
            }
        }
        if self.is_connected {
            self.open_pending(events);
        }
    }

    fn open_pending(&mut self, events: &mut Vec<SctpEvent>) {
        let Some((_, association)) = self.association.as_mut() else { return };
        for (id, open, is_known_to_peer) in self.pending.drain(..) {
            let Ok(mut stream) = association.open_stream(id, Ppid::Binary) else { continue };
            if !is_known_to_peer {
                // DCEP itself is always reliable and ordered (RFC 8832 §6), so it goes first.
                let _ = stream.write_with_ppi(&open.to_bytes(), Ppid::Dcep);
            }
            set_reliability(&mut stream, &open);
            self.channels.push(Channel { id, open });
            events.push(SctpEvent::Opened(id));
        }
    }

    fn read(&mut self, id: ChannelId, events: &mut Vec<SctpEvent>, dropped: &mut impl FnMut(Drop)) {
        loop {
            let Some((_, association)) = self.association.as_mut() else { return };
            let Ok(mut stream) = association.stream(id) else { return };
            let Ok(Some(message)) = stream.read_sctp() else { return };
            // One copy per message, here; every follower then shares it.
            let mut whole = vec![0; message.len()];
            if message.read(&mut whole).is_err() {
                dropped(Drop::BadSctp);
                continue;
            }
            let payload = Bytes::from(whole);
            let (is_binary, payload) = match message.ppi {
                Ppid::Dcep => {
                    if let Err(reason) = self.handle_dcep(id, &payload, events) {
                        dropped(reason);
                    }
                    continue;
                }
                Ppid::String => (false, payload),
                Ppid::StringEmpty => (false, Bytes::new()),
                Ppid::BinaryEmpty => (true, Bytes::new()),
                Ppid::Binary | Ppid::Unknown => (true, payload),
            };
            if self.channel_by_id(id).is_some() {
                events.push(SctpEvent::Message { channel: id, is_binary, payload });
            } else {
                dropped(Drop::BadDataChannel);
            }
        }
    }

    /// DATA_CHANNEL_OPEN and _ACK (RFC 8832 §5).
    fn handle_dcep(&mut self, id: ChannelId, message: &[u8], events: &mut Vec<SctpEvent>) -> Result<(), Drop> {
        if dcep::is_ack(message) {
            return Ok(());
        }
        let open = Open::parse(message)?;
        if self.channels.len() >= MAX_CHANNELS || self.channel_by_id(id).is_some() {
            return Err(Drop::BadDataChannel);
        }
        let Some((_, association)) = self.association.as_mut() else { return Err(Drop::BadSctp) };
        let Ok(mut stream) = association.stream(id) else { return Err(Drop::BadSctp) };
        let _ = stream.write_with_ppi(&dcep::ACK, Ppid::Dcep);
        set_reliability(&mut stream, &open);
        self.channels.push(Channel { id, open });
        events.push(SctpEvent::Opened(id));
        Ok(())
    }

    fn close(&mut self, id: ChannelId, events: &mut Vec<SctpEvent>) {
        if let Some(position) = self.channels.iter().position(|channel| channel.id == id) {
            let channel = self.channels.remove(position);
            // The reset of one direction is answered by the reset of the other (RFC 8831 §6.7).
            if let Some((_, association)) = self.association.as_mut()
                && let Ok(mut stream) = association.stream(id)
            {
                let _ = stream.close();
            }
            events.push(SctpEvent::Closed(channel.open.label));
        }
    }
}

fn set_reliability(stream: &mut sctp_proto::Stream<'_>, open: &Open) {
    let (kind, value) = match open.reliability {
        Reliability::Reliable => (ReliabilityType::Reliable, 0),
        Reliability::Retransmits(count) => (ReliabilityType::Rexmit, count),
        Reliability::Lifetime(millis) => (ReliabilityType::Timed, millis),
    };
    // Fails only for a stream that closed meanwhile, and then nothing is sent on it.
    let _ = stream.set_reliability_params(!open.is_ordered, kind, value);
}
