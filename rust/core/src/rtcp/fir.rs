//! Full intra requests (RFC 5104 §4.3.1): somebody new is watching, send a keyframe.

use super::Parties;
use super::packet_type::PSFB;
use super::reader::Reader;
use super::writer::{Full, Writer};
use crate::units::Ssrc;

pub(super) const FORMAT: u8 = 4;

/// Asks one or more streams for a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fir<'a> {
    /// Who asks.
    pub sender_ssrc: Ssrc,
    entries: &'a [[u8; 8]],
}

impl<'a> Fir<'a> {
    pub(super) fn read(parties: Parties, body: Reader<'a>) -> Option<Self> {
        Some(Self { sender_ssrc: parties.sender_ssrc, entries: body.all_entries()? })
    }

    /// The streams that are asked.
    pub fn requests(&self) -> impl ExactSizeIterator<Item = Request> + 'a {
        self.entries.iter().map(|&[a, b, c, d, sequence_number, ..]| Request {
            ssrc: Ssrc(u32::from_be_bytes([a, b, c, d])),
            sequence_number,
        })
    }
}

/// The request to one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The stream.
    pub ssrc: Ssrc,
    /// Counts the requests; one with the number of the last is its repetition.
    pub sequence_number: u8,
}

/// Asks streams for a keyframe; [`Full`] also without any.
pub fn write(writer: &mut Writer<'_>, sender_ssrc: Ssrc, requests: &[Request]) -> Result<(), Full> {
    if requests.is_empty() {
        return Err(Full);
    }
    let mut open = writer.open(PSFB)?;
    open.put_ssrc(sender_ssrc)?;
    // The streams are named in the entries.
    open.put_ssrc(Ssrc(0))?;
    for request in requests {
        open.put_ssrc(request.ssrc)?;
        open.put(&[request.sequence_number, 0, 0, 0])?;
    }
    open.close(FORMAT);
    Ok(())
}
