//! One peer connection: str0m, its socket, and an eye on what arrives.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Instant;

use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, MediaKind, Mid};
use str0m::net::{Protocol, Receive};
use str0m::rtp::RtpWrite;
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc, RtcError};

use crate::count::{Counter, Datagram};
use crate::media::{Kind, Packet, stamped_at};
use crate::sdp;
use crate::socket::{self, Inbox};

/// Packets at the start of each stream that str0m gets in any case: from them it learns which stream is whose.
const INTRODUCTION: u64 = 3;

/// Why a peer connection came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// str0m found fault.
    #[error("{0}")]
    Rtc(#[from] RtcError),
    /// A description that cannot be read.
    #[error("a description cannot be read: {0}")]
    Sdp(String),
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Socket(#[from] io::Error),
}

/// What a peer connection gives to the measurement.
pub trait Sink {
    /// A stamped packet took so many nanoseconds from its publisher's call to the kernel's arrival.
    fn delayed(&mut self, nanoseconds: u64);
}

/// Whether every media packet is handed to str0m.
#[derive(Debug, Clone, Copy)]
pub enum Reading {
    /// All are: feedback is true.
    All,
    /// One in so many, by chance with this seed; then no feedback leaves, for it would tell of loss that was none.
    OneIn(u32, u32),
}

/// One peer connection.
pub struct Peer {
    rtc: Rtc,
    /// For the poll.
    pub socket: UdpSocket,
    local: SocketAddr,
    reading: Reading,
    skip: u32,
    chance: u32,
    repair_payload_types: u128,
    /// What has arrived.
    pub counter: Counter,
    /// When str0m wants to be called.
    pub timeout: Instant,
    /// When ICE had found a path.
    pub ice_at: Option<Instant>,
    /// When DTLS was done too.
    pub connected_at: Option<Instant>,
    /// ICE has no path now; it may find one again.
    is_without_path: bool,
    /// When the first media packet came.
    pub media_at: Option<Instant>,
    keyframes: Vec<Mid>,
}

impl Peer {
    /// A peer connection with one candidate, which sends and receives nothing yet.
    pub fn new(address: IpAddr, reading: Reading, now: Instant) -> Result<Self, PeerError> {
        let socket = socket::bind(address)?;
        let local = SocketAddr::new(address, socket.local_addr()?.port());
        let mut rtc = Rtc::builder()
            .clear_codecs()
            .enable_opus(true, false)
            .enable_vp8(true)
            .set_rtp_mode(true)
            .set_stats_interval(None)
            .build(now);
        let candidate = Candidate::host(local, "udp").map_err(|error| PeerError::Sdp(error.to_string()))?;
        rtc.add_local_candidate(candidate);
        let (skip, chance) = match reading {
            Reading::All => (0, 1),
            Reading::OneIn(_, seed) => (0, seed.wrapping_mul(0x9e37_79b9) | 1),
        };
        Ok(Self {
            rtc,
            socket,
            local,
            reading,
            skip,
            chance,
            repair_payload_types: 0,
            counter: Counter::default(),
            timeout: now,
            ice_at: None,
            connected_at: None,
            is_without_path: false,
            media_at: None,
            keyframes: Vec::new(),
        })
    }

    /// Offers tracks, each by its id; says what each will be called in packets.
    pub fn offer(&mut self, tracks: &[(Kind, &str)]) -> Option<(String, SdpPendingOffer, Vec<Mid>)> {
        let mut changes = self.rtc.sdp_api();
        let mids = tracks.iter().map(|&(kind, id)| {
            let kind = if kind == Kind::Audio { MediaKind::Audio } else { MediaKind::Video };
            changes.add_media(kind, Direction::SendOnly, Some("load".to_owned()), Some(id.to_owned()), None)
        });
        let mids = mids.collect();
        let (offer, pending) = changes.apply()?;
        Some((offer.to_sdp_string(), pending, mids))
    }

    /// Takes the answer to an offer.
    pub fn accept_answer(&mut self, pending: SdpPendingOffer, answer: &str) -> Result<(), PeerError> {
        let answer = SdpAnswer::from_sdp_string(answer).map_err(|error| PeerError::Sdp(error.to_string()))?;
        Ok(self.rtc.sdp_api().accept_answer(pending, answer)?)
    }

    /// Answers an offer.
    pub fn accept_offer(&mut self, offer: &str) -> Result<String, PeerError> {
        self.repair_payload_types = sdp::repair_payload_types(offer);
        // str0m offers feedback of its own accord, so the answer is cut as well.
        let cut = |text: &str| match self.reading {
            Reading::All => text.to_owned(),
            Reading::OneIn(..) => sdp::without_congestion_feedback(text),
        };
        let offer = SdpOffer::from_sdp_string(&cut(offer)).map_err(|error| PeerError::Sdp(error.to_string()))?;
        let answer = self.rtc.sdp_api().accept_offer(offer)?.to_sdp_string();
        Ok(cut(&answer))
    }

    /// Learns of a way to reach the server. Other transports than UDP, and names, are passed over.
    pub fn add_candidate(&mut self, text: &str) {
        if let Ok(candidate) = Candidate::from_sdp_string(text)
            && candidate.proto() == Protocol::Udp
        {
            self.rtc.add_remote_candidate(candidate);
        }
    }

    /// Receives what waits on the socket.
    pub fn receive(&mut self, inbox: &mut Inbox, now: Instant, sink: &mut impl Sink) -> Result<(), PeerError> {
        loop {
            let (count, may_be_more) = inbox.receive(&self.socket)?;
            for index in 0..count {
                let Some((bytes, source, arrived_ns)) = inbox.datagram(index) else { continue };
                if self.must_read(bytes, now) {
                    self.read(bytes, source, arrived_ns, now, sink)?;
                }
            }
            if !may_be_more {
                return Ok(());
            }
        }
    }

    /// Counts a media packet; says whether str0m has to see this datagram.
    fn must_read(&mut self, bytes: &[u8], now: Instant) -> bool {
        let Datagram::Rtp { ssrc, seq, payload_type } = Datagram::of(bytes) else { return true };
        let is_repair = self.repair_payload_types >> payload_type & 1 == 1;
        let before = self.counter.count(ssrc, seq, is_repair);
        if !is_repair {
            self.media_at.get_or_insert(now);
        }
        let Reading::OneIn(every, _) = self.reading else { return true };
        if is_repair || before < INTRODUCTION {
            return !is_repair;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        // By chance, or frames of eight packets would show the same of them again and again (Marsaglia's xorshift).
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 17;
        self.chance ^= self.chance << 5;
        self.skip = self.chance % (2 * every).saturating_sub(1).max(1);
        true
    }

    fn read(
        &mut self,
        bytes: &[u8],
        source: SocketAddr,
        arrived_ns: u64,
        now: Instant,
        sink: &mut impl Sink,
    ) -> Result<(), PeerError> {
        // What str0m does not know as a protocol is a stranger's.
        let Ok(receive) = Receive::new(Protocol::Udp, source, self.local, bytes) else { return Ok(()) };
        let input = Input::Receive(now, receive);
        if self.rtc.accepts(&input) {
            self.rtc.handle_input(input)?;
            self.drain(arrived_ns, now, sink)?;
        }
        Ok(())
    }

    /// Lets str0m do what its time has come for.
    pub fn handle_timeout(&mut self, now: Instant, sink: &mut impl Sink) -> Result<(), PeerError> {
        self.rtc.handle_input(Input::Timeout(now))?;
        self.drain(0, now, sink)
    }

    fn drain(&mut self, arrived_ns: u64, now: Instant, sink: &mut impl Sink) -> Result<(), PeerError> {
        loop {
            match self.rtc.poll_output()? {
                Output::Timeout(at) => {
                    self.timeout = at;
                    return Ok(());
                }
                Output::Transmit(datagram) => {
                    let is_untrue = matches!(self.reading, Reading::OneIn(..))
                        && matches!(Datagram::of(&datagram.contents), Datagram::Rtcp);
                    if !is_untrue {
                        // A full socket is a lost packet, as on any network.
                        let _ = self.socket.send_to(&datagram.contents, datagram.destination);
                    }
                }
                Output::Event(event) => self.handle(event, arrived_ns, now, sink),
            }
        }
    }

    fn handle(&mut self, event: Event, arrived_ns: u64, now: Instant, sink: &mut impl Sink) {
        match event {
            Event::IceConnectionStateChange(state) => {
                self.is_without_path = state == IceConnectionState::Disconnected;
                if matches!(state, IceConnectionState::Connected | IceConnectionState::Completed) {
                    self.ice_at.get_or_insert(now);
                }
            }
            Event::Connected => {
                self.connected_at.get_or_insert(now);
            }
            Event::KeyframeRequest(request) => self.keyframes.push(request.mid),
            Event::RtpPacket(packet) => {
                if let Some(stamp) = stamped_at(&packet.payload) {
                    sink.delayed(arrived_ns.saturating_sub(stamp));
                }
                if matches!(self.reading, Reading::OneIn(..))
                    && let Some(stream) = self.rtc.direct_api().stream_rx(&packet.header.ssrc)
                {
                    stream.suppress_nack(true);
                }
            }
            _ => {}
        }
    }

    /// Whether media can pass.
    pub fn is_connected(&self) -> bool {
        self.connected_at.is_some() && !self.is_without_path
    }

    /// The tracks of which a keyframe was asked for since the last call.
    pub fn keyframes(&mut self) -> Vec<Mid> {
        std::mem::take(&mut self.keyframes)
    }

    /// Queues a packet of a track, which leaves with the next [`Self::handle_timeout`].
    ///
    /// Does nothing where the server has not agreed to its codec.
    pub fn send(&mut self, mid: Mid, kind: Kind, packet: Packet, now: Instant) {
        let codec = if kind == Kind::Audio { Codec::Opus } else { Codec::Vp8 };
        let Some(media) = self.rtc.media(mid) else { return };
        let params = self.rtc.codec_config().params();
        let agreed = params.iter().find(|one| one.spec().codec == codec && media.remote_pts().contains(&one.pt()));
        let Some(pt) = agreed.map(str0m::format::PayloadParams::pt) else { return };
        if let Some(stream) = self.rtc.direct_api().stream_tx_by_mid(mid, None) {
            let write = RtpWrite::new(pt, packet.seq.into(), packet.timestamp, now, packet.payload);
            stream.set_unpaced(true);
            stream.write_rtp(write.marker(packet.marker).nackable(kind == Kind::Video));
        }
    }
}
