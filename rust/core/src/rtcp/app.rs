//! Application-defined packets (RFC 3550 §6.7).

use super::packet_type::APP;
use super::reader::Reader;
use super::writer::{Full, Writer};
use crate::units::Ssrc;

/// A packet whose meaning only its application knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct App<'a> {
    /// 0 to 31, the application's own; higher bits are not written.
    pub subtype: u8,
    /// Who sends it.
    pub ssrc: Ssrc,
    /// The application, four letters.
    pub name: [u8; 4],
    /// Whole words; what is shorter is written with zeros behind it.
    pub data: &'a [u8],
}

impl<'a> App<'a> {
    pub(super) fn read(subtype: u8, mut body: Reader<'a>) -> Option<Self> {
        Some(Self { subtype, ssrc: body.ssrc()?, name: *body.array()?, data: body.rest() })
    }

    /// Writes the packet.
    pub fn write(&self, writer: &mut Writer<'_>) -> Result<(), Full> {
        let mut open = writer.open(APP)?;
        open.put_ssrc(self.ssrc)?;
        open.put(&self.name)?;
        open.put(self.data)?;
        open.close(self.subtype);
        Ok(())
    }
}
