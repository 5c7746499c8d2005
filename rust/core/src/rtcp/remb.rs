//! Receiver estimated maximum bitrate (draft-alvestrand-rmcat-remb-03 §2): what the receiver thinks the path carries.

use super::Parties;
use super::packet_type::PSFB;
use super::reader::Reader;
use super::writer::{Full, Writer};
use crate::units::{Bitrate, Ssrc};

pub(super) const FORMAT: u8 = 15;
/// Tells it from other application layer feedback.
pub(super) const NAME: [u8; 4] = *b"REMB";
const MANTISSA_BITS: u32 = 18;

/// What the receiver thinks the path carries, for some streams together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remb<'a> {
    /// Who estimates.
    pub sender_ssrc: Ssrc,
    /// For all the streams together. What is beyond 64 bits reads as their end.
    pub bitrate: Bitrate,
    ssrcs: &'a [[u8; 4]],
}

impl<'a> Remb<'a> {
    pub(super) fn read(parties: Parties, mut body: Reader<'a>) -> Option<Self> {
        body.array::<4>()?;
        let head = body.u32()?;
        let bitrate = from_float(head >> MANTISSA_BITS & 0x3F, head & ((1 << MANTISSA_BITS) - 1));
        let count = usize::from(head.to_be_bytes()[0]);
        Some(Self { sender_ssrc: parties.sender_ssrc, bitrate, ssrcs: body.entries(count)? })
    }

    /// The streams: 0 to 255.
    pub fn ssrcs(&self) -> impl ExactSizeIterator<Item = Ssrc> + 'a {
        self.ssrcs.iter().map(|bytes| Ssrc(u32::from_be_bytes(*bytes)))
    }
}

/// Writes an estimate for up to 255 streams, rounded down to 18 bits; [`Full`] also for more.
pub fn write(writer: &mut Writer<'_>, sender_ssrc: Ssrc, bitrate: Bitrate, ssrcs: &[Ssrc]) -> Result<(), Full> {
    let count = u8::try_from(ssrcs.len()).map_err(|_| Full)?;
    let (exponent, mantissa) = to_float(bitrate, MANTISSA_BITS);
    let mut open = writer.open(PSFB)?;
    open.put_ssrc(sender_ssrc)?;
    // Always 0 (§2.2): the streams are named behind the estimate.
    open.put_ssrc(Ssrc(0))?;
    open.put(&NAME)?;
    open.put_u32(u32::from(count) << 24 | exponent << MANTISSA_BITS | mantissa)?;
    for ssrc in ssrcs {
        open.put_ssrc(*ssrc)?;
    }
    open.close(FORMAT);
    Ok(())
}

/// `mantissa` * 2^`exponent`, at most 64 bits.
pub(super) fn from_float(exponent: u32, mantissa: u32) -> Bitrate {
    // 63 bits of shift and 18 of mantissa fit 128.
    let bps = u128::from(mantissa) << exponent.min(63);
    Bitrate::from_bps(u64::try_from(bps).unwrap_or(u64::MAX))
}

/// The exponent and mantissa nearest below `bitrate`, with the smallest exponent.
pub(super) fn to_float(bitrate: Bitrate, mantissa_bits: u32) -> (u32, u32) {
    let exponent = (u64::BITS - bitrate.as_bps().leading_zeros()).saturating_sub(mantissa_bits);
    #[allow(clippy::cast_possible_truncation)] // shifted to `mantissa_bits`, at most 18
    let mantissa = (bitrate.as_bps() >> exponent) as u32;
    (exponent, mantissa)
}
