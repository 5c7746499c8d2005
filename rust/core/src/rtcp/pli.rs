//! Picture loss indications (RFC 4585 §6.3.1): the decoder is lost, send a keyframe.

use super::packet_type::PSFB;
use super::writer::{Full, Writer};
use crate::units::Ssrc;

pub(super) const FORMAT: u8 = 1;

/// Asks one stream for a keyframe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pli {
    /// Who asks.
    pub sender_ssrc: Ssrc,
    /// The stream.
    pub media_ssrc: Ssrc,
}

/// Asks the stream `media_ssrc` for a keyframe.
pub fn write(writer: &mut Writer<'_>, sender_ssrc: Ssrc, media_ssrc: Ssrc) -> Result<(), Full> {
    let mut open = writer.open(PSFB)?;
    open.put_ssrc(sender_ssrc)?;
    open.put_ssrc(media_ssrc)?;
    open.close(FORMAT);
    Ok(())
}
