//! What a router tells its owner. Values only: they cross threads.

use std::sync::Arc;

use bytes::Bytes;

use crate::data::{Message, Report};
use crate::dtls::DtlsFailure;
use crate::id::{HubId, ReceiverId, SenderId, TransportId};
use crate::send::Layer;
use crate::units::Bitrate;

/// How far a peer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportState {
    /// Waiting for the first check that works.
    New,
    /// A path works; DTLS is under way.
    Connecting,
    /// Media and data flow.
    Connected,
    /// No path has worked for a while; it may come back.
    Disconnected,
    /// It will not come back.
    Failed,
    /// Ended by either side.
    Closed,
}

/// Why a transport changed its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// As expected.
    Normal,
    /// No check or media for longer than consent lasts (RFC 7675).
    ConsentExpired,
    /// DTLS failed.
    Dtls(DtlsFailure),
    /// The peer closed DTLS.
    ClosedByPeer,
    /// The owner closed it.
    ClosedByOwner,
    /// A fault of ours, caught at the border of this peer.
    Fault,
}

/// Something that happened, in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// A peer came, went, or came back.
    TransportChanged {
        /// Who.
        transport: TransportId,
        /// How far.
        state: TransportState,
        /// Why.
        reason: Reason,
    },
    /// A data channel is open, whoever opened it.
    ChannelOpened {
        /// With whom.
        transport: TransportId,
        /// Its label.
        label: String,
    },
    /// A data channel was closed.
    ChannelClosed {
        /// With whom.
        transport: TransportId,
        /// Its label.
        label: String,
    },
    /// A message came on a tapped channel.
    DataReceived {
        /// From whom.
        transport: TransportId,
        /// On which channel.
        label: String,
        /// Binary or text.
        is_binary: bool,
        /// The message.
        payload: Bytes,
    },
    /// A member of a hub said something that the owner wants to know.
    MessageReported {
        /// In which hub.
        hub: HubId,
        /// Why it is reported.
        report: Report,
        /// What was said.
        message: Arc<Message>,
    },
    /// The first packet of an encoding came.
    EncodingStarted {
        /// Of which track.
        receiver: ReceiverId,
        /// Which encoding, counted from the smallest.
        encoding: u8,
    },
    /// How loud a track is, by what its sender says (RFC 6464), changed.
    AudioLevelChanged {
        /// Which track.
        receiver: ReceiverId,
        /// Its loudness in eighths of full scale, rounded up; 0 is silence.
        eighths: u8,
    },
    /// A subscriber's copy changed its layer.
    LayerChanged {
        /// Which copy.
        sender: SenderId,
        /// What is forwarded now; none while paused or waiting for a keyframe.
        layer: Option<Layer>,
    },
    /// A subscriber's path became too narrow for a copy of video, or wide enough again.
    StreamPaused {
        /// Which copy.
        sender: SenderId,
        /// Paused, not resumed.
        is_paused: bool,
    },
    /// What a subscriber's path is thought to carry changed by a tenth or more; at most once a second for each.
    BandwidthChanged {
        /// Whose path.
        transport: TransportId,
        /// All media together.
        bitrate: Bitrate,
    },
    /// The publisher said that a track has ended (RTCP BYE).
    ReceiverEnded {
        /// Which track.
        receiver: ReceiverId,
    },
}
