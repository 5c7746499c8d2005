//! Temporary maximum media bitrate requests (RFC 5104 §4.2.1): send at most this much.

use super::Parties;
use super::packet_type::RTPFB;
use super::reader::Reader;
use super::remb::{from_float, to_float};
use super::writer::{Full, Writer};
use crate::units::{Bitrate, Ssrc};

pub(super) const FORMAT: u8 = 3;
const MANTISSA_BITS: u32 = 17;
const OVERHEAD_BITS: u32 = 9;

/// Limits for one or more streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tmmbr<'a> {
    /// Who asks.
    pub sender_ssrc: Ssrc,
    entries: &'a [[u8; 8]],
}

impl<'a> Tmmbr<'a> {
    pub(super) fn read(parties: Parties, body: Reader<'a>) -> Option<Self> {
        Some(Self { sender_ssrc: parties.sender_ssrc, entries: body.all_entries()? })
    }

    /// One limit for each stream.
    pub fn limits(&self) -> impl ExactSizeIterator<Item = Limit> + 'a {
        self.entries.iter().map(|&[a, b, c, d, e, f, g, h]| {
            let value = u32::from_be_bytes([e, f, g, h]);
            let mantissa = value >> OVERHEAD_BITS & ((1 << MANTISSA_BITS) - 1);
            Limit {
                ssrc: Ssrc(u32::from_be_bytes([a, b, c, d])),
                bitrate: from_float(value >> (OVERHEAD_BITS + MANTISSA_BITS), mantissa),
                overhead: u16::from_be_bytes([g, h]) & ((1 << OVERHEAD_BITS) - 1),
            }
        })
    }
}

/// The limit for one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The stream.
    pub ssrc: Ssrc,
    /// At most this much, overhead included; rounded down on writing.
    pub bitrate: Bitrate,
    /// Bytes of headers that the asker sees on each packet, 0 to 511.
    pub overhead: u16,
}

/// Asks for limits; [`Full`] also without any.
pub fn write(writer: &mut Writer<'_>, sender_ssrc: Ssrc, limits: &[Limit]) -> Result<(), Full> {
    if limits.is_empty() {
        return Err(Full);
    }
    let mut open = writer.open(RTPFB)?;
    open.put_ssrc(sender_ssrc)?;
    // The streams are named in the entries.
    open.put_ssrc(Ssrc(0))?;
    for limit in limits {
        let (exponent, mantissa) = to_float(limit.bitrate, MANTISSA_BITS);
        let overhead = u32::from(limit.overhead.min((1 << OVERHEAD_BITS) - 1));
        open.put_ssrc(limit.ssrc)?;
        open.put_u32(exponent << (OVERHEAD_BITS + MANTISSA_BITS) | mantissa << OVERHEAD_BITS | overhead)?;
    }
    open.close(FORMAT);
    Ok(())
}
