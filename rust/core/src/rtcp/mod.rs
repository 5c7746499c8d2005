//! RTCP packets (RFC 3550 §6, RFC 4585, RFC 5104, RFC 3611): one file per packet type, reading and writing side by side.
//!
//! - [`report`]: sender and receiver reports · [`sdes`]: names · [`bye`]: goodbyes · [`app`]: application-defined
//! - [`nack`]: resend these packets · [`transport_cc`]: when packets arrived · [`tmmbr`]: send at most this much
//! - [`pli`], [`fir`]: send a keyframe · [`remb`]: an estimate of the path, from the receiver
//! - [`xr`]: round-trip times for those who only receive
//!
//! Reading: [`Compound`] walks the packets of one decrypted datagram. Every packet is a view into it, checked as a whole
//! before it is handed out, so that its iterators cannot fail and are no longer than its bytes allow.
//!
//! Writing: a `write` function for each packet type appends to a [`Writer`]. A packet that does not fit leaves the writer as it
//! was and says [`Full`]: send what is there and start again.
//!
//! ```
//! use rtpcore_core::rtcp::{self, Compound, RtcpPacket, Writer};
//! use rtpcore_core::Ssrc;
//!
//! let mut buffer = [0; 1200];
//! let mut writer = Writer::new(&mut buffer);
//! rtcp::report::write_receiver_report(&mut writer, Ssrc(1), &[])?;
//! rtcp::nack::write(&mut writer, Ssrc(1), Ssrc(2), [100, 101, 130])?;
//! let datagram = writer.as_bytes();
//!
//! for packet in Compound::new(datagram) {
//!     if let Ok(RtcpPacket::Nack(nack)) = packet {
//!         assert_eq!(nack.iter().collect::<Vec<_>>(), [100, 101, 130]);
//!     }
//! }
//! # Ok::<(), rtcp::Full>(())
//! ```

pub mod app;
pub mod bye;
pub mod fir;
pub mod nack;
pub mod pli;
pub mod remb;
pub mod report;
pub mod sdes;
pub mod tmmbr;
pub mod transport_cc;
pub mod xr;

mod reader;
mod writer;

use core::iter::FusedIterator;

pub use app::App;
pub use bye::Bye;
pub use fir::Fir;
pub use nack::Nack;
pub use pli::Pli;
pub use remb::Remb;
pub use report::{ReceiverReport, ReportBlock, SenderInfo, SenderReport};
pub use sdes::Sdes;
pub use tmmbr::Tmmbr;
pub use transport_cc::Feedback;
pub use writer::{Full, Writer};
pub use xr::Xr;

use crate::drop::Drop;
use crate::units::Ssrc;
use reader::Reader;

/// One packet of a datagram, by type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RtcpPacket<'a> {
    /// RFC 3550 §6.4.1.
    SenderReport(SenderReport<'a>),
    /// RFC 3550 §6.4.2.
    ReceiverReport(ReceiverReport<'a>),
    /// RFC 3550 §6.5.
    Sdes(Sdes<'a>),
    /// RFC 3550 §6.6.
    Bye(Bye<'a>),
    /// RFC 3550 §6.7.
    App(App<'a>),
    /// RFC 4585 §6.2.1.
    Nack(Nack<'a>),
    /// RFC 5104 §4.2.1.
    Tmmbr(Tmmbr<'a>),
    /// draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.
    TransportCc(Feedback<'a>),
    /// RFC 4585 §6.3.1.
    Pli(Pli),
    /// RFC 5104 §4.3.1.
    Fir(Fir<'a>),
    /// draft-alvestrand-rmcat-remb-03 §2.
    Remb(Remb<'a>),
    /// RFC 3611.
    Xr(Xr<'a>),
    /// Sound, and nothing this core acts on: slice and reference picture loss (RFC 4585 §6.3), other feedback, other
    /// types.
    Other {
        /// The packet type of its header.
        packet_type: u8,
        /// The five bits in front of it: a count, subtype or feedback format.
        format: u8,
    },
}

/// Walks the packets of one decrypted RTCP datagram: a compound (RFC 3550 §6.1) or a reduced-size one (RFC 5506).
///
/// A packet whose version, length, padding or inner counts are wrong comes out as [`Drop::BadRtcp`] and is the last, since
/// whatever follows it cannot be trusted to begin where it seems to. The packets before it stand.
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Compound<'a> {
    /// The packets of `datagram`, without SRTCP's index and tag. An empty one has none.
    pub const fn new(datagram: &'a [u8]) -> Self {
        Self { rest: datagram }
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Result<RtcpPacket<'a>, Drop>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let parsed = RawPacket::split(self.rest).and_then(|(raw, rest)| Some((raw.parse()?, rest)));
        let (packet, rest) = parsed.map_or((Err(Drop::BadRtcp), &[][..]), |(packet, rest)| (Ok(packet), rest));
        self.rest = rest;
        Some(packet)
    }
}

impl FusedIterator for Compound<'_> {}

/// One packet behind its common header (RFC 3550 §6.4.1), its padding taken off.
struct RawPacket<'a> {
    packet_type: u8,
    format: u8,
    body: &'a [u8],
}

impl<'a> RawPacket<'a> {
    /// Cuts the first packet off `datagram`; none where it does not fit.
    fn split(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (&[first, packet_type, high, low], rest) = datagram.split_first_chunk()?;
        if first >> 6 != 2 {
            return None;
        }
        let words = usize::from(u16::from_be_bytes([high, low]));
        let (mut body, rest) = rest.split_at_checked(4 * words)?;
        if first & PADDING != 0 {
            // RFC 3550 §6.4.1 wants padding in whole words and behind the last packet only. libwebrtc pads each
            // transport-wide feedback with 1 to 3 bytes, several to a datagram, so take what fits.
            let count = usize::from(*body.last()?);
            if count == 0 {
                return None;
            }
            body = body.get(..body.len().checked_sub(count)?)?;
        }
        Some((Self { packet_type, format: first & 0x1F, body }, rest))
    }

    fn parse(&self) -> Option<RtcpPacket<'a>> {
        let body = Reader::new(self.body);
        Some(match self.packet_type {
            packet_type::SENDER_REPORT => RtcpPacket::SenderReport(SenderReport::read(self.format, body)?),
            packet_type::RECEIVER_REPORT => RtcpPacket::ReceiverReport(ReceiverReport::read(self.format, body)?),
            packet_type::SDES => RtcpPacket::Sdes(Sdes::read(self.format, body)?),
            packet_type::BYE => RtcpPacket::Bye(Bye::read(self.format, body)?),
            packet_type::APP => RtcpPacket::App(App::read(self.format, body)?),
            packet_type::RTPFB => self.parse_transport_feedback(body)?,
            packet_type::PSFB => self.parse_payload_feedback(body)?,
            packet_type::XR => RtcpPacket::Xr(Xr::read(body)?),
            _ => self.other(),
        })
    }

    fn parse_transport_feedback(&self, mut body: Reader<'a>) -> Option<RtcpPacket<'a>> {
        let parties = Parties::read(&mut body)?;
        Some(match self.format {
            nack::FORMAT => RtcpPacket::Nack(Nack::read(parties, body)?),
            tmmbr::FORMAT => RtcpPacket::Tmmbr(Tmmbr::read(parties, body)?),
            transport_cc::FORMAT => RtcpPacket::TransportCc(Feedback::read(parties, body)?),
            _ => self.other(),
        })
    }

    fn parse_payload_feedback(&self, mut body: Reader<'a>) -> Option<RtcpPacket<'a>> {
        let parties = Parties::read(&mut body)?;
        Some(match self.format {
            pli::FORMAT => RtcpPacket::Pli(Pli { sender_ssrc: parties.sender_ssrc, media_ssrc: parties.media_ssrc }),
            fir::FORMAT => RtcpPacket::Fir(Fir::read(parties, body)?),
            // The format is shared by all application layer feedback (RFC 4585 §6.4).
            remb::FORMAT if body.rest().starts_with(&remb::NAME) => RtcpPacket::Remb(Remb::read(parties, body)?),
            _ => self.other(),
        })
    }

    const fn other(&self) -> RtcpPacket<'a> {
        RtcpPacket::Other { packet_type: self.packet_type, format: self.format }
    }
}

/// Whom a feedback packet is from, and about (RFC 4585 §6.1).
#[derive(Clone, Copy)]
struct Parties {
    sender_ssrc: Ssrc,
    media_ssrc: Ssrc,
}

impl Parties {
    fn read(body: &mut Reader<'_>) -> Option<Self> {
        Some(Self { sender_ssrc: body.ssrc()?, media_ssrc: body.ssrc()? })
    }
}

/// The packet types of the common header.
mod packet_type {
    pub(super) const SENDER_REPORT: u8 = 200;
    pub(super) const RECEIVER_REPORT: u8 = 201;
    pub(super) const SDES: u8 = 202;
    pub(super) const BYE: u8 = 203;
    pub(super) const APP: u8 = 204;
    /// Transport layer feedback (RFC 4585 §6.2).
    pub(super) const RTPFB: u8 = 205;
    /// Payload-specific feedback (RFC 4585 §6.3).
    pub(super) const PSFB: u8 = 206;
    pub(super) const XR: u8 = 207;
}

const PADDING: u8 = 1 << 5;

#[cfg(test)]
mod differential;
#[cfg(test)]
mod tests;
