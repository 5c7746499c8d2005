//! Goodbyes (RFC 3550 §6.6).

use super::packet_type::BYE;
use super::reader::Reader;
use super::writer::{Full, Writer};
use crate::units::Ssrc;

/// Up to 31 sources that have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bye<'a> {
    sources: &'a [[u8; 4]],
    /// Why, in the peer's words; UTF-8 by the RFC but not checked.
    pub reason: Option<&'a [u8]>,
}

impl<'a> Bye<'a> {
    pub(super) fn read(count: u8, mut body: Reader<'a>) -> Option<Self> {
        let sources = body.entries(usize::from(count))?;
        let reason = match body.u8() {
            Some(len) => Some(body.bytes(usize::from(len))?),
            None => None,
        };
        Some(Self { sources, reason })
    }

    /// The sources that have ended.
    pub fn sources(&self) -> impl ExactSizeIterator<Item = Ssrc> + 'a {
        self.sources.iter().map(|bytes| Ssrc(u32::from_be_bytes(*bytes)))
    }
}

/// Writes a goodbye for up to 31 sources; [`Full`] also for more, and for a reason above 255 bytes.
pub fn write(writer: &mut Writer<'_>, sources: &[Ssrc], reason: Option<&[u8]>) -> Result<(), Full> {
    let count = u8::try_from(sources.len()).ok().filter(|&count| count <= 31).ok_or(Full)?;
    let mut open = writer.open(BYE)?;
    for source in sources {
        open.put_ssrc(*source)?;
    }
    if let Some(reason) = reason {
        open.put(&[u8::try_from(reason.len()).map_err(|_| Full)?])?;
        open.put(reason)?;
    }
    open.close(count);
    Ok(())
}
