//! Generic negative acknowledgements (RFC 4585 §6.2.1): resend these packets.

use super::Parties;
use super::packet_type::RTPFB;
use super::reader::Reader;
use super::writer::{Full, Writer};
use crate::units::Ssrc;

pub(super) const FORMAT: u8 = 1;

/// The packets of one stream that are to be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nack<'a> {
    /// Who asks.
    pub sender_ssrc: Ssrc,
    /// The stream.
    pub media_ssrc: Ssrc,
    entries: &'a [[u8; 4]],
}

impl<'a> Nack<'a> {
    pub(super) fn read(parties: Parties, body: Reader<'a>) -> Option<Self> {
        Some(Self { sender_ssrc: parties.sender_ssrc, media_ssrc: parties.media_ssrc, entries: body.all_entries()? })
    }

    /// The sequence numbers: in the peer's order, with its repetitions; up to 17 for each four bytes of the packet.
    pub fn iter(&self) -> impl Iterator<Item = u16> + Clone + use<'a> {
        self.entries.iter().flat_map(|&[pid_high, pid_low, blp_high, blp_low]| {
            let pid = u16::from_be_bytes([pid_high, pid_low]);
            let blp = u16::from_be_bytes([blp_high, blp_low]);
            // The first packet and a bit for each of the 16 behind it, as one row of 17 bits.
            let asked = u32::from(blp) << 1 | 1;
            (0..17).filter(move |offset| asked >> offset & 1 == 1).map(move |offset| pid.wrapping_add(offset))
        })
    }
}

/// Asks for `sequence_numbers`, which ascend (over the wrap too). Repetitions are merged.
///
/// Returns how many of them the packet took, all unless the writer has no more room; [`Full`] where it takes none. Without
/// any number nothing is written.
pub fn write(
    writer: &mut Writer<'_>,
    sender_ssrc: Ssrc,
    media_ssrc: Ssrc,
    sequence_numbers: impl IntoIterator<Item = u16>,
) -> Result<usize, Full> {
    let mut numbers = sequence_numbers.into_iter().peekable();
    if numbers.peek().is_none() {
        return Ok(0);
    }
    let mut open = writer.open(RTPFB)?;
    open.put_ssrc(sender_ssrc)?;
    open.put_ssrc(media_ssrc)?;
    let mut taken = 0;
    while open.room() >= 4 {
        let Some(pid) = numbers.next() else { break };
        taken += 1;
        let mut blp = 0_u16;
        // A distance of 0 is a repetition, 1 to 16 have a bit.
        while let Some(number) = numbers.next_if(|number| number.wrapping_sub(pid) <= 16) {
            taken += 1;
            blp |= bit(number.wrapping_sub(pid));
        }
        open.put_u16(pid)?;
        open.put_u16(blp)?;
    }
    if taken == 0 {
        return Err(Full);
    }
    open.close(FORMAT);
    Ok(taken)
}

/// The bit of BLP for the packet `distance` behind the first, none for the first itself.
const fn bit(distance: u16) -> u16 {
    if distance == 0 { 0 } else { 1 << (distance - 1) }
}
