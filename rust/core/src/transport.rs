//! One peer: its path, its keys, its streams. What to do with them is the router's business.

use std::collections::VecDeque;
use std::time::Instant;

use is::Candidate;

use crate::bandwidth::Bandwidth;
use crate::command::{Remote, Security};
use crate::data::Seat;
use crate::drop::{Drop, DropCounts};
use crate::dtls::{Certificate, Dtls, Keys};
use crate::event::TransportState;
use crate::ice::{Ice, Path};
use crate::id::TransportId;
use crate::receive::{Arrivals, Bindings, ReportTimer, RoundTrip};
use crate::rtp::ExtensionMap;
use crate::sctp::dcep::Open;
use crate::sctp::{ChannelId, MAX_CHANNELS, Sctp};
use crate::srtp::{Inbound, Outbound};
use crate::stats::Traffic;
use crate::time::Time;
use crate::units::{SeqNo, Ssrc};

/// How many packets may wait for one peer until the end of a batch: a keyframe of a large screen has some hundreds.
pub(crate) const MAX_QUEUED: usize = 4096;

/// How many bytes of control messages may wait until the end of a batch.
const MAX_CONTROL: usize = 256 * 1024;

/// SSRCs that one peer may bring, see [`crate::receive::binding::MAX_SSRCS`].
pub(crate) const MAX_SSRCS: usize = crate::receive::binding::MAX_SSRCS;

/// One packet that waits for the end of the batch: the sender's history says how to write it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    /// Whose copy, by the router's index.
    pub(crate) sender: u32,
    /// Under which number it is kept.
    pub(crate) seq: SeqNo,
    /// As a retransmission: with the SSRC and number of its own (RFC 4588 §4).
    pub(crate) rtx: Option<(Ssrc, SeqNo)>,
}

/// STUN, DTLS and RTCP that wait for the end of the batch.
#[derive(Default)]
pub(crate) struct Control {
    bytes: Vec<u8>,
    messages: Vec<(Path, usize)>,
    next: usize,
    start: usize,
}

impl Control {
    pub(crate) fn push(&mut self, path: Path, message: &[u8]) -> Result<(), Drop> {
        if self.bytes.len() + message.len() > MAX_CONTROL {
            return Err(Drop::QueueFull);
        }
        self.bytes.extend_from_slice(message);
        self.messages.push((path, self.bytes.len()));
        Ok(())
    }

    /// The oldest message, without taking it out.
    pub(crate) fn peek(&self) -> Option<(Path, &[u8])> {
        let &(path, end) = self.messages.get(self.next)?;
        Some((path, self.bytes.get(self.start..end)?))
    }

    /// Takes out what [`peek`](Self::peek) showed.
    pub(crate) fn pop(&mut self) {
        if let Some(&(_, end)) = self.messages.get(self.next) {
            self.start = end;
            self.next += 1;
        }
        if self.next == self.messages.len() {
            self.bytes.clear();
            self.messages.clear();
            self.next = 0;
            self.start = 0;
        }
    }
}

/// ICE and DTLS of a peer that speaks WebRTC.
pub(crate) struct Session {
    pub(crate) ice: Ice,
    pub(crate) dtls: Option<Dtls>,
    /// Kept until the peer's description says which part we play.
    pub(crate) certificate: Option<Certificate>,
    pub(crate) dtls_timeout: Option<Instant>,
}

/// One peer.
pub(crate) struct Transport {
    pub(crate) id: TransportId,
    pub(crate) state: TransportState,
    pub(crate) session: Option<Session>,
    /// Where to send; none before the first path works and after all have failed.
    pub(crate) path: Option<Path>,
    /// The peer has begun the DTLS handshake, or answered in it.
    pub(crate) has_said_hello: bool,
    /// Under which addresses the router knows it.
    pub(crate) paths: Vec<Path>,
    pub(crate) inbound: Option<Inbound>,
    pub(crate) outbound: Option<Outbound>,
    pub(crate) profile: Option<&'static str>,
    pub(crate) sctp: Option<Sctp>,
    /// Data channels to open once the peer has said that it takes any.
    early_channels: Vec<(Open, Option<ChannelId>)>,
    pub(crate) bindings: Bindings,
    /// The ids of all media sections: BUNDLE makes them mean the same in each (RFC 9143 §9.1).
    pub(crate) extensions: ExtensionMap,
    /// By the number that the bindings know them by, the router's index of each receiver.
    pub(crate) receivers: Vec<Option<u32>>,
    /// The router's indexes of its senders.
    pub(crate) senders: Vec<u32>,
    /// SSRCs of its senders, sorted, for feedback.
    pub(crate) sender_ssrcs: Vec<(Ssrc, u32)>,
    pub(crate) arrivals: Option<Box<Arrivals>>,
    /// An SSRC that it sends media with: libwebrtc takes arrival times only where they name one of its own.
    pub(crate) media_ssrc: Ssrc,
    pub(crate) report_timer: ReportTimer,
    pub(crate) round_trip: RoundTrip,
    /// What leaves at once.
    pub(crate) queue: VecDeque<Queued>,
    /// What its path carries, where it says so.
    pub(crate) bandwidth: Option<Box<Bandwidth>>,
    /// Video may be paused for want of room.
    pub(crate) may_pause: bool,
    pub(crate) control: Control,
    /// Already in the router's list of peers with something to send.
    pub(crate) is_dirty: bool,
    /// What the router's timer is set to.
    pub(crate) armed_at: Time,
    /// When to give up: not connected in time, or disconnected for too long.
    pub(crate) gives_up_at: Time,
    /// The peers that get its data channel messages.
    pub(crate) data_followers: Vec<TransportId>,
    /// The member that speaks by it, and the one that hears by it.
    pub(crate) speaker: Option<Seat>,
    pub(crate) hearer: Option<Seat>,
    pub(crate) received: Traffic,
    pub(crate) sent: Traffic,
    pub(crate) drops: DropCounts,
    /// Our SSRC in feedback packets.
    pub(crate) feedback_ssrc: Ssrc,
}

impl Transport {
    pub(crate) fn new(
        now: Time,
        id: TransportId,
        security: Security,
        locals: &[Candidate],
        seed: u64,
        gives_up_at: Time,
    ) -> Option<Self> {
        #[allow(clippy::cast_possible_truncation)]
        let feedback_ssrc = Ssrc((seed as u32).max(1));
        let mut transport = Self {
            id,
            state: TransportState::New,
            session: None,
            path: None,
            has_said_hello: false,
            paths: Vec::new(),
            inbound: None,
            outbound: None,
            profile: None,
            sctp: None,
            early_channels: Vec::new(),
            bindings: Bindings::new(MAX_SSRCS),
            extensions: ExtensionMap::NONE,
            receivers: Vec::new(),
            senders: Vec::new(),
            sender_ssrcs: Vec::new(),
            arrivals: None,
            media_ssrc: Ssrc(0),
            report_timer: ReportTimer::new(feedback_ssrc, crate::receive::report::VIDEO_INTERVAL),
            round_trip: RoundTrip::default(),
            queue: VecDeque::new(),
            bandwidth: None,
            may_pause: true,
            control: Control::default(),
            is_dirty: false,
            armed_at: Time::NEVER,
            gives_up_at,
            data_followers: Vec::new(),
            speaker: None,
            hearer: None,
            received: Traffic::default(),
            sent: Traffic::default(),
            drops: DropCounts::default(),
            feedback_ssrc,
        };
        match security {
            Security::WebRtc { local, role, certificate } => {
                let ice = Ice::new(local, role, locals, seed);
                transport.session =
                    Some(Session { ice, dtls: None, certificate: Some(certificate), dtls_timeout: None });
            }
            Security::Keyed { path, keys } => {
                transport.set_keys(&keys)?;
                transport.path = Some(path);
                transport.state = TransportState::Connected;
                transport.gives_up_at = Time::NEVER;
                transport.report_timer.start(now);
            }
        }
        Some(transport)
    }

    /// Whether media can be sent to it.
    pub(crate) fn is_connected(&self) -> bool {
        self.outbound.is_some() && self.path.is_some()
    }

    /// Whether it takes media, or will within about a round trip.
    pub(crate) fn can_begin(&self) -> bool {
        self.is_connected() || self.has_said_hello && self.path.is_some()
    }

    pub(crate) fn set_keys(&mut self, keys: &Keys) -> Option<()> {
        self.inbound = Some(Inbound::new(keys.profile, keys.remote.as_master(), MAX_SSRCS)?);
        self.outbound = Some(Outbound::new(keys.profile, keys.local.as_master())?);
        self.profile = Some(keys.profile.name());
        Some(())
    }

    /// Takes the peer's description, first or again.
    pub(crate) fn set_remote(&mut self, instant: Instant, remote: &Remote) {
        let Some(session) = &mut self.session else { return };
        if remote.is_lite {
            session.ice.take_control();
        }
        if !session.ice.is_remote(&remote.credentials) {
            session.ice.set_remote(remote.credentials.clone());
        }
        if session.dtls.is_none()
            && let Some(certificate) = session.certificate.take()
        {
            session.dtls = Dtls::new(certificate, remote.dtls_role, instant);
        }
        if let Some(dtls) = &mut session.dtls
            && !dtls.is_connected()
        {
            dtls.set_expected(remote.fingerprints.clone());
        }
        if let (None, Some(max_message)) = (&self.sctp, remote.max_message) {
            let mut sctp = Sctp::new(remote.dtls_role == crate::dtls::DtlsRole::Client, max_message);
            for (open, negotiated) in self.early_channels.drain(..) {
                if let Err(reason) = sctp.open(open, negotiated) {
                    self.drops.count(reason);
                }
            }
            self.sctp = Some(sctp);
        }
    }

    /// Opens a data channel, now or as soon as the peer is described and connected.
    ///
    /// `Err` where there are too many, or the peer takes none.
    pub(crate) fn open_channel(&mut self, open: Open, negotiated: Option<ChannelId>) -> Result<(), Drop> {
        if let Some(sctp) = &mut self.sctp {
            return sctp.open(open, negotiated).map(|_| ());
        }
        let is_described = self.session.as_ref().is_none_or(|session| session.dtls.is_some());
        if is_described || self.early_channels.len() >= MAX_CHANNELS {
            return Err(Drop::NotConnected);
        }
        self.early_channels.push((open, negotiated));
        Ok(())
    }

    /// Queues one packet of a copy; what is numbered waits for its turn, the rest leaves at once.
    pub(crate) fn enqueue(&mut self, queued: Queued, is_numbered: bool) -> Result<(), Drop> {
        if let Some(bandwidth) = self.bandwidth.as_mut().filter(|_| is_numbered) {
            return bandwidth.enqueue(queued);
        }
        if self.queue.len() >= MAX_QUEUED {
            return Err(Drop::QueueFull);
        }
        self.queue.push_back(queued);
        Ok(())
    }

    /// Whether a packet of a copy waits, to leave now or later.
    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty() || self.bandwidth.as_ref().is_some_and(|bandwidth| bandwidth.front().is_some())
    }

    /// The sender whose copy has this SSRC, its retransmissions' one included.
    pub(crate) fn sender_of(&self, ssrc: Ssrc) -> Option<u32> {
        let at = self.sender_ssrcs.binary_search_by_key(&ssrc, |&(ssrc, _)| ssrc).ok()?;
        self.sender_ssrcs.get(at).map(|&(_, sender)| sender)
    }

    pub(crate) fn add_sender_ssrc(&mut self, ssrc: Ssrc, sender: u32) {
        if let Err(at) = self.sender_ssrcs.binary_search_by_key(&ssrc, |&(ssrc, _)| ssrc) {
            self.sender_ssrcs.insert(at, (ssrc, sender));
        }
    }
}
