//! The RTP header as it lies in a packet (RFC 3550 §5.1).

use crate::drop::Drop;
use crate::units::{Pt, Ssrc};

/// The parsed fixed header and the layout of a packet.
///
/// Offsets are from the first byte of the packet, so that a header can be kept beside bytes that moved elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last packet of a frame (video), or the first of a talk spurt (audio).
    pub marker: bool,
    /// Payload type.
    pub payload_type: Pt,
    /// The 16 bits of the wire.
    pub sequence_number: u16,
    /// In units of the codec's clock rate, from a random start.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: Ssrc,
    /// The `defined by profile` word of the extension block, or 0 where there is none.
    pub extension_profile: u16,
    /// Where the extension elements begin, behind the four bytes of their head; 0 where there is no extension block.
    pub extension_offset: u16,
    /// Length of the extension elements in bytes, a multiple of four.
    pub extension_len: u16,
    /// Where the payload begins: the length of header, CSRCs and extensions.
    pub payload_offset: u16,
    /// Length of the payload without padding.
    pub payload_len: u16,
    /// Length of the padding, its count byte included.
    pub padding_len: u8,
}

impl Header {
    /// A header of nothing: no extensions, no payload.
    pub const BLANK: Self = Self {
        marker: false,
        payload_type: Pt(0),
        sequence_number: 0,
        timestamp: 0,
        ssrc: Ssrc(0),
        extension_profile: 0,
        extension_offset: 12,
        extension_len: 0,
        payload_offset: 12,
        payload_len: 0,
        padding_len: 0,
    };

    /// Parses a packet that is not encrypted. Fails with [`Drop::BadRtp`] where the header, its extension block or the
    /// padding do not fit the packet.
    pub fn parse(packet: &[u8]) -> Result<Self, Drop> {
        let mut header = Self::parse_clear(packet)?;
        header.unpad(packet)?;
        Ok(header)
    }

    /// Parses what SRTP leaves in the clear (RFC 3711 §3.1): fixed header, CSRCs and extensions.
    ///
    /// All the rest counts as payload and none as padding until [`Header::unpad`] looks at the decrypted packet. Fails
    /// with [`Drop::BadRtp`] for another version than 2, for lengths beyond the packet and for a packet above 65535 bytes.
    #[inline]
    pub fn parse_clear(packet: &[u8]) -> Result<Self, Drop> {
        let Some(fixed) = packet.first_chunk::<{ FixedHeader::LEN }>() else { return Err(Drop::BadRtp) };
        let len = u16::try_from(packet.len()).map_err(|_| Drop::BadRtp)?;
        if fixed[0] >> 6 != 2 {
            return Err(Drop::BadRtp);
        }
        // At most 12 + 15 * 4, so nothing overflows before the extension length comes in.
        let mut header = Self {
            marker: fixed[1] & MARKER != 0,
            payload_type: Pt(fixed[1] & !MARKER),
            sequence_number: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: Ssrc(u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]])),
            extension_profile: 0,
            extension_offset: 0,
            extension_len: 0,
            payload_offset: 12 + 4 * u16::from(fixed[0] & CSRC_COUNT),
            payload_len: 0,
            padding_len: 0,
        };
        if fixed[0] & EXTENSION != 0 {
            let head = packet.get(usize::from(header.payload_offset)..).and_then(<[u8]>::first_chunk::<4>);
            let Some(&[profile_high, profile_low, words_high, words_low]) = head else { return Err(Drop::BadRtp) };
            header.extension_profile = u16::from_be_bytes([profile_high, profile_low]);
            header.extension_offset = header.payload_offset + 4;
            let words = u16::from_be_bytes([words_high, words_low]);
            header.extension_len = words.checked_mul(4).ok_or(Drop::BadRtp)?;
            header.payload_offset = header.extension_offset.checked_add(header.extension_len).ok_or(Drop::BadRtp)?;
        }
        header.payload_len = len.checked_sub(header.payload_offset).ok_or(Drop::BadRtp)?;
        Ok(header)
    }

    /// Takes the padding off the payload, once `packet`, the packet this was parsed from, is decrypted and without its
    /// authentication tag.
    ///
    /// Fails with [`Drop::BadRtp`] where the padding is longer than the payload, or zero: the count includes itself.
    #[inline]
    pub fn unpad(&mut self, packet: &[u8]) -> Result<(), Drop> {
        let len = u16::try_from(packet.len()).map_err(|_| Drop::BadRtp)?;
        let rest = len.checked_sub(self.payload_offset).ok_or(Drop::BadRtp)?;
        let padding_len = match (packet.first(), packet.last()) {
            (Some(first), Some(&count)) if first & PADDING != 0 => {
                if count == 0 {
                    return Err(Drop::BadRtp);
                }
                count
            }
            _ => 0,
        };
        self.payload_len = rest.checked_sub(u16::from(padding_len)).ok_or(Drop::BadRtp)?;
        self.padding_len = padding_len;
        Ok(())
    }

    /// The payload in `packet`, the packet this was parsed from.
    pub fn payload<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.payload_offset);
        packet.get(start..start + usize::from(self.payload_len)).unwrap_or(&[])
    }

    /// The contributing sources in `packet`, the packet this was parsed from: 0 to 15 words, as they are on the wire.
    pub fn csrcs<'a>(&self, packet: &'a [u8]) -> &'a [u8] {
        let end =
            if self.extension_offset == 0 { self.payload_offset } else { self.extension_offset.saturating_sub(4) };
        packet.get(FixedHeader::LEN..usize::from(end)).unwrap_or(&[])
    }

    /// The fixed header to start a forwarded copy from: without CSRCs, extension or padding until the copy has them.
    pub const fn fixed(&self) -> FixedHeader {
        FixedHeader {
            marker: self.marker,
            payload_type: self.payload_type,
            sequence_number: self.sequence_number,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
            csrc_count: 0,
            has_extension: false,
            has_padding: false,
        }
    }
}

/// The first twelve bytes of a packet to be sent. What its flags announce the caller writes behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FixedHeader {
    /// The last packet of a frame (video), or the first of a talk spurt (audio).
    pub marker: bool,
    /// Payload type; its highest bit is not written.
    pub payload_type: Pt,
    /// The 16 bits of the wire.
    pub sequence_number: u16,
    /// In units of the codec's clock rate.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: Ssrc,
    /// How many contributing sources follow, 0 to 15; higher bits are not written.
    pub csrc_count: u8,
    /// An extension block follows the contributing sources, see [`ExtensionWriter`](super::ExtensionWriter).
    pub has_extension: bool,
    /// The last byte of the packet counts padding.
    pub has_padding: bool,
}

impl FixedHeader {
    /// Its length on the wire in bytes.
    pub const LEN: usize = 12;

    /// Writes the header at the start of `out` and returns its length; none where `out` is shorter.
    #[inline]
    pub fn write(&self, out: &mut [u8]) -> Option<usize> {
        *out.first_chunk_mut()? = self.to_bytes();
        Some(Self::LEN)
    }

    /// The header as it goes on the wire.
    #[inline]
    pub const fn to_bytes(&self) -> [u8; Self::LEN] {
        let flags = VERSION_2 | (self.has_padding as u8) << 5 | (self.has_extension as u8) << 4;
        let first = flags | (self.csrc_count & CSRC_COUNT);
        let second = (self.marker as u8) << 7 | (self.payload_type.0 & !MARKER);
        let seq = self.sequence_number.to_be_bytes();
        let ts = self.timestamp.to_be_bytes();
        let ssrc = self.ssrc.0.to_be_bytes();
        [first, second, seq[0], seq[1], ts[0], ts[1], ts[2], ts[3], ssrc[0], ssrc[1], ssrc[2], ssrc[3]]
    }
}

const VERSION_2: u8 = 2 << 6;
const PADDING: u8 = 1 << 5;
const EXTENSION: u8 = 1 << 4;
const CSRC_COUNT: u8 = 0x0F;
const MARKER: u8 = 1 << 7;

#[cfg(test)]
mod tests;
