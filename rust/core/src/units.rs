//! Wire numbers and quantities as types, so that an SSRC is never passed where a sequence number is meant.

use core::fmt;

/// A synchronisation source (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ssrc(pub u32);

/// A payload type, 0 to 127 (RFC 3550 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pt(pub u8);

/// An extended sequence number: the 16 bits of the wire with the number of wraps above them (RFC 3550 appendix A.1).
///
/// Streams start counting at 2^16, so that a packet that came before the first one seen still has a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SeqNo(pub u64);

impl SeqNo {
    /// Where a stream that starts with the wire number `low` starts counting.
    pub const fn first(low: u16) -> Self {
        Self((1 << 16) | low as u64)
    }

    /// The 16 bits that go on the wire.
    #[allow(clippy::cast_possible_truncation)]
    pub const fn low(self) -> u16 {
        self.0 as u16
    }

    /// The number with low bits `low` that lies nearest to this one (RFC 3711 §3.3.1).
    ///
    /// A distance of exactly 2^15 reads as older. Never below zero: near the start it is the number one wrap later.
    #[must_use]
    pub const fn nearest(self, low: u16) -> Self {
        let ahead = low.wrapping_sub(self.low());
        if ahead < 0x8000 {
            Self(self.0 + ahead as u64)
        } else {
            let behind = 0x1_0000 - ahead as u64;
            if behind > self.0 { Self(self.0 + ahead as u64) } else { Self(self.0 - behind) }
        }
    }

    /// The number `n` later.
    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        Self(self.0 + n)
    }
}

/// Bits per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bitrate(u64);

impl Bitrate {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// From bits per second.
    pub const fn from_bps(bps: u64) -> Self {
        Self(bps)
    }

    /// In bits per second.
    pub const fn as_bps(self) -> u64 {
        self.0
    }
}

/// A short token held inline: media and stream identifiers ride in header extensions of at most 16 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token<const KIND: u8> {
    len: u8,
    bytes: [u8; 16],
}

/// A media section's identification tag (RFC 8843 §15, header extension `sdes:mid`), 1 to 16 bytes.
pub type Mid = Token<0>;

/// A stream's restriction identifier (RFC 8852, RFC 8853): which simulcast encoding this is; 1 to 16 bytes.
pub type Rid = Token<1>;

impl<const KIND: u8> Token<KIND> {
    /// The token with these bytes, or none if there are no bytes, more than 16, or bytes outside visible ASCII.
    pub fn new(token: &[u8]) -> Option<Self> {
        if token.is_empty() || !token.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut bytes = [0; 16];
        bytes.get_mut(..token.len())?.copy_from_slice(token);
        Some(Self { len: u8::try_from(token.len()).ok()?, bytes })
    }

    /// The token's bytes, ASCII.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// The token as text.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("")
    }
}

impl<const KIND: u8> fmt::Debug for Token<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl<const KIND: u8> fmt::Display for Token<KIND> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_crosses_the_wrap_both_ways() {
        assert_eq!(SeqNo(0x1_FFFF).nearest(0), SeqNo(0x2_0000));
        assert_eq!(SeqNo(0x2_0000).nearest(0xFFFF), SeqNo(0x1_FFFF));
        assert_eq!(SeqNo::first(0).nearest(0xFFFF), SeqNo(0xFFFF));
        assert_eq!(SeqNo(3).nearest(0xFFFF), SeqNo(0xFFFF), "there is nothing before zero");
    }

    #[test]
    fn tokens_refuse_what_sdp_cannot_spell() {
        assert_eq!(Mid::new(b"0").map(|m| m.to_string()), Some("0".into()));
        assert!(Rid::new(b"").is_none());
        assert!(Rid::new(&[b'a'; 17]).is_none());
        assert!(Rid::new(b"a b").is_none());
    }
}
