//! Forward error correction of one RTP stream: exclusive-or sums of packets, sent beside them, out of which a receiver
//! makes what it lost.
//!
//! The sum itself is in [`parity`]; [`flexfec`] and [`ulpfec`] are the two ways to put it on the wire. [`encoder`] sums
//! what a subscriber is sent, as [`protection`] plans it, and [`coverage`] says which of it need not be sent again.
//! [`receive`] recovers what a publisher's stream lost. Nothing here knows of encryption, pacing or negotiation.
//!
//! What is summed is the packet behind its sequence number and SSRC as its receiver will see it, with one exception:
//! extensions that are written when the packet leaves (transport-wide sequence number, send time) count as zero, in
//! libwebrtc on both sides. So they are taken out of the sum again ([`Parity::cancel`]), and are zero in a recovered
//! packet.

pub mod coverage;
pub mod encoder;
pub mod flexfec;
pub mod parity;
pub mod protection;
pub mod receive;
pub mod ulpfec;

pub use coverage::Coverage;
pub use encoder::{Encoder, Format};
pub use parity::Parity;
pub use protection::Plan;
pub use receive::Recovery;

use crate::rtp::ExtensionKind;
use crate::units::Ssrc;

/// The extensions that a sender writes when the packet leaves, and that count as zero in every sum.
///
/// Of libwebrtc's others of that kind, this core knows neither the transmission offset (RFC 5450) nor video timing.
pub const MUTABLE: [ExtensionKind; 2] = [ExtensionKind::AbsSendTime, ExtensionKind::TransportCc];

/// A repair packet, taken apart: the sum of the packets that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair<'a> {
    /// Whose packets; none where the format does not say, because it is the stream that the repair packet came in.
    pub ssrc: Option<Ssrc>,
    /// The sequence number that bit 0 of `mask` stands for.
    pub base: u16,
    /// Bit `i`, counted from the lowest, says that packet `base + i` is in the sum. Never zero.
    pub mask: u128,
    /// The sum of what is variable in the first two bytes: P, X, CC (six bits), M, PT (eight bits).
    pub flags: u16,
    /// The sum of the lengths behind the fixed header, in bytes.
    pub length: u16,
    /// The sum of the timestamps.
    pub timestamp: u32,
    /// The sum of the bytes behind the fixed header, the shorter ones filled up with zeros.
    pub body: &'a [u8],
}

#[cfg(test)]
mod tests;
