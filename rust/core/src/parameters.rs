//! What signalling tells the core about a track: RTP parameters, never SDP (that stays in Python).

use crate::payload::Codec;
use crate::rtp::ExtensionMap;
use crate::rtp::extension::PlayoutDelay;
use crate::units::{Mid, Pt, Rid, Ssrc};

/// Audio or video.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Never paused for bandwidth, bypasses pacing.
    Audio,
    /// May have encodings and layers.
    Video,
}

/// One payload type of a media section (RFC 8866 §6.6, RFC 4588 §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodecParameters {
    /// The codec.
    pub codec: Codec,
    /// Its payload type on this transport.
    pub payload_type: Pt,
    /// Ticks of the RTP timestamp per second: 90000 for video, 48000 for Opus.
    pub clock_rate: u32,
    /// A digest of everything that makes two payload types one bitstream: codec, profile, packetization. Where it is equal,
    /// a packet can go out under the other's number.
    pub format: u64,
    /// The payload type of its retransmissions, where negotiated.
    pub rtx: Option<Pt>,
    /// Generic NACK was negotiated (RFC 4585 §6.2.1).
    pub nack: bool,
    /// PLI was negotiated (RFC 4585 §6.3.1).
    pub pli: bool,
    /// FIR was negotiated (RFC 5104 §4.3.1).
    pub fir: bool,
    /// Transport-wide feedback was negotiated (draft-holmer-rmcat-transport-wide-cc-extensions-01).
    pub transport_cc: bool,
    /// The receiver's estimate of bandwidth was negotiated (draft-alvestrand-rmcat-remb-03).
    pub remb: bool,
}

/// One encoding of a track: known by its rid, by its SSRC, or both (RFC 8853).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodingParameters {
    /// The restriction identifier, in simulcast.
    pub rid: Option<Rid>,
    /// The SSRC, where SDP announced it.
    pub ssrc: Option<Ssrc>,
    /// The SSRC of its retransmissions (an FID group), where SDP announced it.
    pub rtx_ssrc: Option<Ssrc>,
    /// The SSRC of its repair packets (an FEC-FR group, RFC 5956 §4.3), where SDP announced it.
    pub fec_ssrc: Option<Ssrc>,
}

/// A track that a publisher brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiverParameters {
    /// Audio or video.
    pub kind: Kind,
    /// The media section, where BUNDLE needs it to bind packets.
    pub mid: Option<Mid>,
    /// The codecs that may arrive, preferred first.
    pub codecs: Vec<CodecParameters>,
    /// The encodings, smallest first; 1 to 3. A track without rids or SSRCs has one default encoding.
    pub encodings: Vec<EncodingParameters>,
    /// What the extension ids of the media section mean.
    pub extensions: ExtensionMap,
    /// The payload type of flexfec-03, where repair packets were negotiated.
    pub fec: Option<Pt>,
}

/// How repair packets are sent (draft-ietf-payload-flexible-fec-scheme-03).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FecParameters {
    /// The payload type of flexfec-03.
    pub payload_type: Pt,
    /// The SSRC of the repair packets (an FEC-FR group, RFC 5956 §4.3).
    pub ssrc: Ssrc,
}

/// The copy of a track that a subscriber gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderParameters {
    /// Audio or video.
    pub kind: Kind,
    /// The media section, written into packets where its extension was negotiated.
    pub mid: Option<Mid>,
    /// The codecs the subscriber accepts, with its payload types.
    pub codecs: Vec<CodecParameters>,
    /// The SSRC of every packet of this copy.
    pub ssrc: Ssrc,
    /// The SSRC of its retransmissions, where RTX was negotiated.
    pub rtx_ssrc: Option<Ssrc>,
    /// The ids under which extensions are written.
    pub extensions: ExtensionMap,
    /// The canonical name in reports (RFC 3550 §6.5.1): the same for all tracks of one publisher, so that they play in sync.
    pub cname: String,
    /// Where repair packets go, where FlexFEC was negotiated.
    pub fec: Option<FecParameters>,
    /// How long the subscriber shall hold pictures back; none leaves it to what the publisher says.
    pub playout_delay: Option<PlayoutDelay>,
}
