//! Source descriptions (RFC 3550 §6.5): the canonical name that ties streams of one peer together.

use super::packet_type::SDES;
use super::reader::Reader;
use super::writer::{Full, Writer};
use crate::units::Ssrc;

/// Descriptions of up to 31 sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sdes<'a> {
    count: u8,
    body: &'a [u8],
}

impl<'a> Sdes<'a> {
    pub(super) fn read(count: u8, body: Reader<'a>) -> Option<Self> {
        let sdes = Self { count, body: body.rest() };
        (sdes.chunks().count() == usize::from(count)).then_some(sdes)
    }

    /// One chunk for each source.
    pub fn chunks(&self) -> impl Iterator<Item = Chunk<'a>> + use<'a> {
        let mut rest = self.body;
        (0..self.count).map_while(move |_| {
            let (chunk, behind) = Chunk::split(rest)?;
            rest = behind;
            Some(chunk)
        })
    }
}

/// The description of one source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// The source.
    pub ssrc: Ssrc,
    items: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// Cuts a chunk off `body`, which begins on a word; none where it does not fit, or has no end.
    fn split(body: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut reader = Reader::new(body);
        let ssrc = reader.ssrc()?;
        let start = reader.rest();
        while Item::read(&mut reader)?.kind != END {}
        let items = start.get(..start.len() - reader.rest().len())?;
        // The end is one zero byte, and as many as fill its word.
        let rest = body.get((4 + items.len()).next_multiple_of(4)..)?;
        Some((Self { ssrc, items }, rest))
    }

    /// What is said of the source.
    pub fn items(&self) -> impl Iterator<Item = Item<'a>> + use<'a> {
        let mut reader = Reader::new(self.items);
        core::iter::from_fn(move || Item::read(&mut reader).filter(|item| item.kind != END))
    }

    /// The canonical name (RFC 3550 §6.5.1).
    pub fn cname(&self) -> Option<&'a [u8]> {
        self.items().find(|item| item.kind == CNAME).map(|item| item.value)
    }
}

/// One thing said of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// What it is, by IANA's registry of SDES item types: [`CNAME`], [`RID`], [`REPAIRED_RID`], [`MID`] and more.
    pub kind: u8,
    /// The text, UTF-8 by the RFC but not checked; at most 255 bytes.
    pub value: &'a [u8],
}

/// The canonical name (RFC 3550 §6.5.1).
pub const CNAME: u8 = 1;
/// The encoding's identifier (RFC 8852).
pub const RID: u8 = 12;
/// The identifier of the encoding that a stream repairs (RFC 8852).
pub const REPAIRED_RID: u8 = 13;
/// The media section's tag (RFC 9143).
pub const MID: u8 = 15;
/// Ends a chunk, without a length.
const END: u8 = 0;

impl<'a> Item<'a> {
    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let kind = reader.u8()?;
        let len = if kind == END { 0 } else { reader.u8()? };
        Some(Self { kind, value: reader.bytes(usize::from(len))? })
    }
}

/// Writes the canonical name of one source.
pub fn write_cname(writer: &mut Writer<'_>, ssrc: Ssrc, cname: &[u8]) -> Result<(), Full> {
    write(writer, &[(ssrc, &[Item { kind: CNAME, value: cname }])])
}

/// Writes descriptions of up to 31 sources; [`Full`] also for more, for a value above 255 bytes and for the kind 0.
pub fn write(writer: &mut Writer<'_>, chunks: &[(Ssrc, &[Item<'_>])]) -> Result<(), Full> {
    let count = u8::try_from(chunks.len()).ok().filter(|&count| count <= 31).ok_or(Full)?;
    let mut open = writer.open(SDES)?;
    for (ssrc, items) in chunks {
        open.put_ssrc(*ssrc)?;
        for item in *items {
            let len = u8::try_from(item.value.len()).ok().filter(|_| item.kind != END).ok_or(Full)?;
            open.put(&[item.kind, len])?;
            open.put(item.value)?;
        }
        open.put(&[END])?;
        open.align();
    }
    open.close(count);
    Ok(())
}
