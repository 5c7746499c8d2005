//! The RTP header as it lies in a packet (RFC 3550 §5.1).

use crate::units::{Pt, Ssrc};

/// The parsed fixed header and the layout of a packet.
///
/// Offsets are from the first byte of the packet, so that a header can be kept beside bytes that moved elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last packet of a frame (video), or the first of a talk spurt (audio).
    pub marker: bool,
    /// Payload type.
    pub payload_type: Pt,
    /// The 16 bits of the wire.
    pub sequence_number: u16,
    /// In units of the codec's clock rate, from a random start.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: Ssrc,
    /// The `defined by profile` word of the extension block, or 0 where there is none.
    pub extension_profile: u16,
    /// Where the extension elements begin, behind the four bytes of their head.
    pub extension_offset: u16,
    /// Length of the extension elements in bytes, a multiple of four.
    pub extension_len: u16,
    /// Where the payload begins: the length of header, CSRCs and extensions.
    pub payload_offset: u16,
    /// Length of the payload without padding.
    pub payload_len: u16,
    /// Length of the padding, its count byte included.
    pub padding_len: u8,
}
