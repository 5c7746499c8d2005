//! Sender and receiver reports (RFC 3550 §6.4).

use core::time::Duration;

use super::packet_type::{RECEIVER_REPORT, SENDER_REPORT};
use super::reader::Reader;
use super::writer::{Full, Open, Writer};
use crate::rtp::NtpTime;
use crate::rtp::ntp;
use crate::units::Ssrc;

/// How many blocks fit the count of one packet.
pub const MAX_BLOCKS: usize = 31;

/// What a sender says of its stream, and of the streams it receives (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport<'a> {
    /// The stream that the report is about.
    pub ssrc: Ssrc,
    /// What it says of that stream.
    pub info: SenderInfo,
    blocks: &'a [[u8; ReportBlock::LEN]],
}

/// What a sender says of its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// The wall clock when the report was made.
    pub ntp_time: NtpTime,
    /// The same point on the stream's own clock.
    pub rtp_timestamp: u32,
    /// Packets sent since the start, wrapping.
    pub packet_count: u32,
    /// Payload bytes sent since the start, wrapping.
    pub octet_count: u32,
}

impl<'a> SenderReport<'a> {
    pub(super) fn read(count: u8, mut body: Reader<'a>) -> Option<Self> {
        let ssrc = body.ssrc()?;
        let ntp_time = NtpTime(body.u64()?);
        let (rtp_timestamp, packet_count, octet_count) = (body.u32()?, body.u32()?, body.u32()?);
        let info = SenderInfo { ntp_time, rtp_timestamp, packet_count, octet_count };
        // Behind the blocks there may be a profile's own words (RFC 3550 §6.4.3).
        Some(Self { ssrc, info, blocks: body.entries(usize::from(count))? })
    }

    /// What it says of the streams it receives: 0 to 31 blocks.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = ReportBlock> + 'a {
        self.blocks.iter().map(ReportBlock::from_bytes)
    }
}

/// What a receiver says of the streams it receives (RFC 3550 §6.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceiverReport<'a> {
    /// Who reports.
    pub ssrc: Ssrc,
    blocks: &'a [[u8; ReportBlock::LEN]],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn read(count: u8, mut body: Reader<'a>) -> Option<Self> {
        Some(Self { ssrc: body.ssrc()?, blocks: body.entries(usize::from(count))? })
    }

    /// One block for each stream: 0 to 31.
    pub fn blocks(&self) -> impl ExactSizeIterator<Item = ReportBlock> + 'a {
        self.blocks.iter().map(ReportBlock::from_bytes)
    }
}

/// What a receiver says of one stream (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The stream.
    pub ssrc: Ssrc,
    /// Lost since the last report, of those expected, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the start, negative where duplicates outnumber losses; 24 bits of the wire, clamped on writing.
    pub cumulative_lost: i32,
    /// The highest sequence number received, with the number of wraps above its 16 bits.
    pub highest_sequence_number: u32,
    /// Smoothed deviation of arrival spacing, in units of the stream's clock rate.
    pub jitter: u32,
    /// LSR: the middle of the last sender report's NTP time, 0 for none.
    pub last_sender_report: u32,
    /// DLSR: since that report came, in 1/65536 s.
    pub delay_since_last_sender_report: u32,
}

impl ReportBlock {
    /// Its length on the wire in bytes.
    pub const LEN: usize = 24;

    /// The time from us to the reporter and back, for a report that arrives at `now` on the clock our sender reports show;
    /// none before the reporter heard of us.
    pub fn round_trip(&self, now: NtpTime) -> Option<Duration> {
        ntp::round_trip(now, self.last_sender_report, self.delay_since_last_sender_report)
    }

    fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let [word_0, word_1, word_2, word_3, word_4, word_5] = words(bytes);
        Self {
            ssrc: Ssrc(word_0),
            fraction_lost: word_1.to_be_bytes()[0],
            // Up and down again, so that the shift extends the sign of 24 bits.
            cumulative_lost: (word_1 << 8).cast_signed() >> 8,
            highest_sequence_number: word_2,
            jitter: word_3,
            last_sender_report: word_4,
            delay_since_last_sender_report: word_5,
        }
    }

    fn put(&self, open: &mut Open<'_, '_>) -> Result<(), Full> {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7F_FFFF).cast_unsigned() & 0xFF_FFFF;
        open.put_ssrc(self.ssrc)?;
        open.put_u32(u32::from(self.fraction_lost) << 24 | lost)?;
        open.put_u32(self.highest_sequence_number)?;
        open.put_u32(self.jitter)?;
        open.put_u32(self.last_sender_report)?;
        open.put_u32(self.delay_since_last_sender_report)
    }
}

fn words(bytes: &[u8; 24]) -> [u32; 6] {
    let mut words = [0; 6];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

/// Writes a sender report with up to 31 blocks; more are [`Full`], for [`write_receiver_report`] to carry.
pub fn write_sender_report(
    writer: &mut Writer<'_>,
    ssrc: Ssrc,
    info: &SenderInfo,
    blocks: &[ReportBlock],
) -> Result<(), Full> {
    let mut open = writer.open(SENDER_REPORT)?;
    open.put_ssrc(ssrc)?;
    open.put_u64(info.ntp_time.0)?;
    open.put_u32(info.rtp_timestamp)?;
    open.put_u32(info.packet_count)?;
    open.put_u32(info.octet_count)?;
    close_with_blocks(open, blocks)
}

/// Writes a receiver report with up to 31 blocks; more are [`Full`], so give them in chunks (RFC 3550 §6.1).
pub fn write_receiver_report(writer: &mut Writer<'_>, ssrc: Ssrc, blocks: &[ReportBlock]) -> Result<(), Full> {
    let mut open = writer.open(RECEIVER_REPORT)?;
    open.put_ssrc(ssrc)?;
    close_with_blocks(open, blocks)
}

fn close_with_blocks(mut open: Open<'_, '_>, blocks: &[ReportBlock]) -> Result<(), Full> {
    let count = u8::try_from(blocks.len()).ok().filter(|&count| usize::from(count) <= MAX_BLOCKS).ok_or(Full)?;
    for block in blocks {
        block.put(&mut open)?;
    }
    open.close(count);
    Ok(())
}
