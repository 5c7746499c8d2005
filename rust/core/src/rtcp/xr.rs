//! Extended reports (RFC 3611), of which this core takes the two that give a round-trip time to those who only receive.
//!
//! The receiver sends its clock ([`Block::ReceiverReferenceTime`]); the sender answers with when it heard of it
//! ([`Block::Dlrr`]).

use core::time::Duration;

use super::packet_type::XR;
use super::reader::Reader;
use super::writer::{Full, Writer};
use crate::rtp::NtpTime;
use crate::rtp::ntp;
use crate::units::Ssrc;

const RECEIVER_REFERENCE_TIME: u8 = 4;
const DLRR: u8 = 5;

/// Report blocks of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Xr<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    blocks: &'a [u8],
}

impl<'a> Xr<'a> {
    pub(super) fn read(mut body: Reader<'a>) -> Option<Self> {
        let ssrc = body.ssrc()?;
        let xr = Self { ssrc, blocks: body.rest() };
        while !body.rest().is_empty() {
            Block::read(&mut body)?;
        }
        Some(xr)
    }

    /// The blocks, in the peer's order.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'a>> + use<'a> {
        let mut reader = Reader::new(self.blocks);
        core::iter::from_fn(move || Block::read(&mut reader))
    }
}

/// One block of an extended report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block<'a> {
    /// The wall clock of a receiver when it reported (RFC 3611 §4.4).
    ReceiverReferenceTime(NtpTime),
    /// When a sender heard of receivers' clocks (RFC 3611 §4.5).
    Dlrr(DlrrBlock<'a>),
    /// A block this core does not act on.
    Other {
        /// Its block type.
        block_type: u8,
    },
}

impl<'a> Block<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let block_type = reader.u8()?;
        let _type_specific = reader.u8()?;
        let words = usize::from(reader.u16()?);
        let mut body = Reader::new(reader.bytes(4 * words)?);
        Some(match block_type {
            RECEIVER_REFERENCE_TIME => Self::ReceiverReferenceTime(NtpTime(body.u64()?)),
            DLRR => Self::Dlrr(DlrrBlock { entries: body.all_entries()? }),
            _ => Self::Other { block_type },
        })
    }
}

/// The answers of one block, one for each receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DlrrBlock<'a> {
    entries: &'a [[u8; 12]],
}

impl<'a> DlrrBlock<'a> {
    /// The answers.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Dlrr> + use<'a> {
        self.entries.iter().map(|&[a, b, c, d, e, f, g, h, i, j, k, l]| Dlrr {
            ssrc: Ssrc(u32::from_be_bytes([a, b, c, d])),
            last_receiver_report: u32::from_be_bytes([e, f, g, h]),
            delay_since_last_receiver_report: u32::from_be_bytes([i, j, k, l]),
        })
    }
}

/// When a sender heard of one receiver's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dlrr {
    /// The receiver.
    pub ssrc: Ssrc,
    /// LRR: the middle of the last reference time's NTP time, 0 for none.
    pub last_receiver_report: u32,
    /// DLRR: since it came, in 1/65536 s.
    pub delay_since_last_receiver_report: u32,
}

impl Dlrr {
    /// The time from the receiver to the sender and back, for an answer that arrives at `now` on the clock the receiver
    /// showed; none before the sender heard of it.
    pub fn round_trip(&self, now: NtpTime) -> Option<Duration> {
        ntp::round_trip(now, self.last_receiver_report, self.delay_since_last_receiver_report)
    }
}

/// Shows the clock of the receiver `ssrc`.
pub fn write_receiver_reference_time(writer: &mut Writer<'_>, ssrc: Ssrc, now: NtpTime) -> Result<(), Full> {
    let mut open = writer.open(XR)?;
    open.put_ssrc(ssrc)?;
    open.put(&[RECEIVER_REFERENCE_TIME, 0, 0, 2])?;
    open.put_u64(now.0)?;
    open.close(0);
    Ok(())
}

/// Answers receivers' clocks.
pub fn write_dlrr(writer: &mut Writer<'_>, ssrc: Ssrc, answers: &[Dlrr]) -> Result<(), Full> {
    let mut open = writer.open(XR)?;
    open.put_ssrc(ssrc)?;
    open.put(&[DLRR, 0])?;
    open.put_u16(answers.len().checked_mul(3).and_then(|words| u16::try_from(words).ok()).ok_or(Full)?)?;
    for answer in answers {
        open.put_ssrc(answer.ssrc)?;
        open.put_u32(answer.last_receiver_report)?;
        open.put_u32(answer.delay_since_last_receiver_report)?;
    }
    open.close(0);
    Ok(())
}
