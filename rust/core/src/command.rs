//! What the owner of a router asks of it. Values only: they cross threads.

use std::net::SocketAddr;

use bytes::Bytes;
use is::{Candidate, IceCreds};

use crate::data::HubCommand;
use crate::dtls::{Certificate, DtlsRole, Fingerprint, Keys};
use crate::ice::{Path, Role};
use crate::id::{HubId, ReceiverId, SenderId, TransportId};
use crate::parameters::{ReceiverParameters, SenderParameters};
use crate::sctp::dcep::Open;
use crate::send::Layer;

/// How a transport comes to its keys and its path.
pub enum Security {
    /// ICE and DTLS (RFC 8834): browsers and everything that speaks WebRTC.
    WebRtc {
        /// Our ICE credentials.
        local: IceCreds,
        /// Lite or full.
        role: Role,
        /// Our certificate.
        certificate: Certificate,
    },
    /// A path and keys that signalling agreed on: SDES (RFC 4568), links between servers, benchmarks.
    Keyed {
        /// Where the peer is.
        path: Path,
        /// Keys of both directions.
        keys: Box<Keys>,
    },
}

/// What the peer's description says about its end.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Its ICE credentials; new ones mean a restart.
    pub credentials: IceCreds,
    /// It answers checks and makes none, so that we must make them and decide (RFC 8445 §6.1.1).
    pub is_lite: bool,
    /// Its certificate's fingerprints; one must match.
    pub fingerprints: Vec<Fingerprint>,
    /// Our part in the handshake: the other one of what the peer chose.
    pub dtls_role: DtlsRole,
    /// The largest data channel message it takes, in bytes; 0 is no limit; none if it has no data channels.
    pub max_message: Option<u32>,
}

/// One wish.
pub enum Command {
    /// Expect a peer.
    AddTransport {
        /// Its name from now on.
        transport: TransportId,
        /// Keys and path.
        security: Box<Security>,
    },
    /// The peer's description has come, or has changed.
    SetRemote {
        /// Whose.
        transport: TransportId,
        /// What it says.
        remote: Box<Remote>,
    },
    /// Another candidate of the peer (trickle, RFC 8838).
    AddCandidate {
        /// Whose.
        transport: TransportId,
        /// Where it may be reached.
        candidate: Box<Candidate>,
    },
    /// Our credentials change: the next checks use them (RFC 8445 §9).
    RestartIce {
        /// Whose.
        transport: TransportId,
        /// The new ones.
        local: IceCreds,
    },
    /// Say goodbye and forget the peer, with all its receivers and senders.
    CloseTransport(TransportId),
    /// Expect a track from the peer.
    AddReceiver {
        /// From whom.
        transport: TransportId,
        /// Its name from now on.
        receiver: ReceiverId,
        /// How to recognise and read it.
        parameters: Box<ReceiverParameters>,
    },
    /// Forget a track.
    RemoveReceiver(ReceiverId),
    /// Give the peer a copy of a track.
    AddSender {
        /// To whom.
        transport: TransportId,
        /// Its name from now on.
        sender: SenderId,
        /// The track, of this worker or another.
        source: ReceiverId,
        /// How the copy is to look.
        parameters: Box<SenderParameters>,
    },
    /// End a copy.
    RemoveSender(SenderId),
    /// Continue a copy with another track.
    Follow {
        /// The copy.
        sender: SenderId,
        /// The track.
        source: ReceiverId,
    },
    /// At most this layer.
    Prefer {
        /// The copy.
        sender: SenderId,
        /// The layer wished for.
        most: Layer,
        /// Among the copies of its subscriber: higher ones are served first where bandwidth is short.
        priority: u8,
    },
    /// Whether video may be paused where bandwidth is short. If not, its smallest layer is sent whatever that does to the rest.
    AllowPause {
        /// Whose.
        transport: TransportId,
        /// To be allowed; it is to begin with.
        is_allowed: bool,
    },
    /// Send nothing, or send again.
    Pause {
        /// The copy.
        sender: SenderId,
        /// Whether to pause, not to resume.
        is_paused: bool,
    },
    /// Ask the publisher for a keyframe.
    RequestKeyframe {
        /// The track.
        receiver: ReceiverId,
        /// Which encoding, or all of them.
        encoding: Option<u8>,
    },
    /// Open a data channel.
    OpenChannel {
        /// To whom.
        transport: TransportId,
        /// Label and reliability.
        open: Open,
        /// The stream number, where both ends know it beforehand.
        negotiated: Option<u16>,
    },
    /// Send one message on the channel with this label.
    SendData {
        /// To whom.
        transport: TransportId,
        /// On which channel.
        label: String,
        /// Binary or text.
        is_binary: bool,
        /// The message.
        payload: Bytes,
    },
    /// Forward every data channel message of `source` to `transport`, on the channel with the same label.
    FollowData {
        /// Who gets them.
        transport: TransportId,
        /// Whose they are.
        source: TransportId,
        /// Whether to start, not to stop.
        is_following: bool,
    },
    /// Something about a hub.
    Hub(HubId, HubCommand),
    /// Also report messages on channels with this label as events.
    Tap {
        /// The label.
        label: String,
        /// Whether to start, not to stop.
        is_tapped: bool,
    },
    /// The addresses that peers may send to: every further transport offers them.
    SetLocals(Vec<Candidate>),
    /// A TCP connection ended: its path is gone.
    PathClosed {
        /// Our end.
        local: SocketAddr,
        /// The peer's end.
        remote: SocketAddr,
    },
}
