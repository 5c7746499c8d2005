//! What peers send: tracks of made-up frames whose every packet says what it is, so that oracles know it wherever it ends up.

mod encoder;
pub(crate) mod format;

pub use encoder::{Coded, Encoder};

use rtpcore_core::parameters::{CodecParameters, EncodingParameters, Kind, ReceiverParameters, SenderParameters};
use rtpcore_core::payload::Codec;
use rtpcore_core::rtp::{ExtensionKind, ExtensionMap};
use rtpcore_core::{Mid, Pt, Rid, Ssrc, Time};

/// A track's kind of media.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Media {
    /// VP8 in so many encodings of so many temporal layers each.
    Vp8 {
        /// 1 to 3; each is a stream of its own.
        encodings: u8,
        /// 1 to 3.
        temporal: u8,
    },
    /// H.264, one encoding without layers.
    H264,
    /// VP9 SVC in non-flexible mode, every picture's layers predicted from below.
    Vp9 {
        /// 1 to 3.
        spatial: u8,
        /// 1 to 3.
        temporal: u8,
    },
    /// AV1 SVC, told by the dependency descriptor only.
    Av1 {
        /// 1 to 3.
        spatial: u8,
        /// 1 to 3.
        temporal: u8,
    },
    /// Opus.
    Opus,
}

impl Media {
    /// VP8 as browsers send simulcast.
    pub const SIMULCAST: Self = Self::Vp8 { encodings: 3, temporal: 3 };

    /// Audio or video.
    pub const fn kind(self) -> Kind {
        if matches!(self, Self::Opus) { Kind::Audio } else { Kind::Video }
    }

    /// The codec.
    pub const fn codec(self) -> Codec {
        match self {
            Self::Vp8 { .. } => Codec::Vp8,
            Self::H264 => Codec::H264,
            Self::Vp9 { .. } => Codec::Vp9,
            Self::Av1 { .. } => Codec::Av1,
            Self::Opus => Codec::Opus,
        }
    }

    /// Streams of their own.
    pub const fn encodings(self) -> u8 {
        if let Self::Vp8 { encodings, .. } = self { encodings } else { 1 }
    }

    /// Spatial layers within a stream.
    pub const fn spatial(self) -> u8 {
        if let Self::Vp9 { spatial, .. } | Self::Av1 { spatial, .. } = self { spatial } else { 1 }
    }

    /// What a subscriber can choose from: encodings or spatial layers.
    pub const fn steps(self) -> u8 {
        if self.encodings() > 1 { self.encodings() } else { self.spatial() }
    }

    /// Temporal layers.
    pub const fn temporal(self) -> u8 {
        match self {
            Self::Vp8 { temporal, .. } | Self::Vp9 { temporal, .. } | Self::Av1 { temporal, .. } => temporal,
            Self::H264 | Self::Opus => 1,
        }
    }

    /// Ticks of the RTP timestamp per second.
    pub const fn clock_rate(self) -> u32 {
        if matches!(self, Self::Opus) { 48_000 } else { 90_000 }
    }

    /// From one frame to the next, in nanoseconds.
    pub const fn interval(self) -> u64 {
        if matches!(self, Self::Opus) { 20_000_000 } else { 33_333_333 }
    }

    /// The publisher's payload type; that of retransmissions is one above.
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Vp8 { .. } => 96,
            Self::H264 => 102,
            Self::Vp9 { .. } => 98,
            Self::Av1 { .. } => 45,
            Self::Opus => 111,
        }
    }

    /// The subscribers' payload type, another one, so that a copy that kept the old would be seen.
    pub const fn copy_payload_type(self) -> u8 {
        match self {
            Self::Vp8 { .. } => 120,
            Self::H264 => 126,
            Self::Vp9 { .. } => 122,
            Self::Av1 { .. } => 124,
            Self::Opus => 109,
        }
    }

    fn parameters(self, payload_type: u8, has_rtx: bool) -> CodecParameters {
        let is_video = self.kind() == Kind::Video;
        CodecParameters {
            codec: self.codec(),
            payload_type: Pt(payload_type),
            clock_rate: self.clock_rate(),
            format: self.copy_payload_type().into(),
            rtx: has_rtx.then_some(Pt(payload_type + 1)),
            nack: is_video,
            pli: is_video,
            fir: false,
            transport_cc: true,
            remb: false,
        }
    }
}

/// How the streams of a track are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// By SSRCs announced beforehand.
    Ssrc,
    /// By mid and rid in the packets, until reports show that they arrived.
    Rid,
}

/// A track, as both its publisher and the router know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Track {
    /// Its number in the world.
    pub number: u16,
    /// What it carries.
    pub media: Media,
    /// Whether lost packets come again on SSRCs of their own (RFC 4588); without, they come again as they were.
    pub has_rtx: bool,
    /// How its streams are named.
    pub naming: Naming,
}

impl Track {
    /// The SSRC of one encoding.
    pub const fn ssrc(&self, encoding: u8) -> Ssrc {
        Ssrc(0x2000_0000 + ((self.number as u32) << 4) + ((encoding as u32) << 1))
    }

    /// The SSRC of its retransmissions.
    pub const fn rtx_ssrc(&self, encoding: u8) -> Ssrc {
        Ssrc(self.ssrc(encoding).0 + 1)
    }

    /// Its media section.
    pub fn mid(&self) -> Option<Mid> {
        Mid::new(format!("t{}", self.number).as_bytes())
    }

    /// The name of an encoding.
    pub fn rid(encoding: u8) -> Option<Rid> {
        Rid::new(&[b'q' + encoding])
    }

    /// What signalling tells the router.
    pub fn receiver(&self) -> ReceiverParameters {
        let encodings = (0..self.media.encodings()).map(|encoding| match self.naming {
            Naming::Ssrc => EncodingParameters {
                rid: None,
                ssrc: Some(self.ssrc(encoding)),
                rtx_ssrc: self.has_rtx.then(|| self.rtx_ssrc(encoding)),
                fec_ssrc: None,
            },
            Naming::Rid => EncodingParameters { rid: Self::rid(encoding), ssrc: None, rtx_ssrc: None, fec_ssrc: None },
        });
        ReceiverParameters {
            kind: self.media.kind(),
            mid: self.mid(),
            codecs: vec![self.media.parameters(self.media.payload_type(), self.has_rtx)],
            encodings: encodings.collect(),
            extensions: published_extensions(),
            fec: None,
        }
    }

    /// What signalling tells the router of a subscriber's copy.
    pub fn sender(&self, ssrc: Ssrc, has_rtx: bool, cname: &str) -> SenderParameters {
        SenderParameters {
            kind: self.media.kind(),
            mid: self.mid(),
            codecs: vec![self.media.parameters(self.media.copy_payload_type(), has_rtx)],
            ssrc,
            rtx_ssrc: has_rtx.then_some(Ssrc(ssrc.0 + 1)),
            extensions: copy_extensions(),
            cname: cname.into(),
            playout_delay: None,
            fec: None,
        }
    }
}

/// The extension ids of publishers.
pub fn published_extensions() -> ExtensionMap {
    map(&[
        (ExtensionKind::Mid, 1),
        (ExtensionKind::Rid, 2),
        (ExtensionKind::RepairedRid, 3),
        (ExtensionKind::AudioLevel, 4),
        (ExtensionKind::TransportCc, 5),
        (ExtensionKind::DependencyDescriptor, 6),
    ])
}

/// The extension ids of subscribers.
pub fn copy_extensions() -> ExtensionMap {
    map(&[(ExtensionKind::Mid, 9), (ExtensionKind::AudioLevel, 10), (ExtensionKind::DependencyDescriptor, 12)])
}

fn map(ids: &[(ExtensionKind, u8)]) -> ExtensionMap {
    let mut map = ExtensionMap::NONE;
    for &(kind, id) in ids {
        map.set(kind, id);
    }
    map
}

/// One frame (of one spatial layer), as its publisher made it.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The picture it belongs to: all spatial layers of one instant.
    pub picture: u32,
    /// Predicted from nothing.
    pub is_keyframe: bool,
    /// Spatial layer within its stream.
    pub spatial: u8,
    /// Temporal layer.
    pub temporal: u8,
    /// The frames of the same stream it is predicted from.
    pub references: Vec<u32>,
    /// The RTP timestamp.
    pub timestamp: u32,
    /// When it was captured.
    pub captured_at: Time,
    /// The number of its first packet, counted on over wraps.
    pub first: u64,
    /// How many packets it has.
    pub parts: u8,
}

/// Which packet this is: at the end of every payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// The track's number.
    pub track: u16,
    /// The encoding.
    pub encoding: u8,
    /// The frame, counted within the encoding.
    pub frame: u32,
    /// The packet within the frame.
    pub part: u8,
}

impl Tag {
    /// Its length in bytes.
    pub const LEN: usize = 16;
    const MAGIC: [u8; 4] = *b"rtps";

    /// Appends filling up to `len` bytes of payload and the tag.
    pub(crate) fn write(self, prefix: usize, len: usize, payload: &mut Vec<u8>) {
        payload.resize(len.max(prefix), self.filling());
        payload.extend(Self::MAGIC);
        payload.extend(self.track.to_be_bytes());
        payload.extend([self.encoding, self.part]);
        payload.extend(self.frame.to_be_bytes());
        payload.extend([u8::try_from(prefix).unwrap_or(u8::MAX), 0, 0, 0]);
    }

    /// Reads the tag of a payload; none unless all behind the format's own bytes is as it was written.
    pub fn read(payload: &[u8]) -> Option<Self> {
        let (body, tail) = payload.split_at_checked(payload.len().checked_sub(Self::LEN)?)?;
        let &[m0, m1, m2, m3, t0, t1, encoding, part, f0, f1, f2, f3, prefix, 0, 0, 0] = tail else { return None };
        let tag =
            Self { track: u16::from_be_bytes([t0, t1]), encoding, frame: u32::from_be_bytes([f0, f1, f2, f3]), part };
        let filling = body.get(usize::from(prefix)..)?;
        ([m0, m1, m2, m3] == Self::MAGIC && filling.iter().all(|&byte| byte == tag.filling())).then_some(tag)
    }

    fn filling(self) -> u8 {
        let [.., low] = self.frame.to_be_bytes();
        low.wrapping_mul(31) ^ self.part ^ (self.encoding << 6) | 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_survives_and_damage_does_not() {
        let tag = Tag { track: 7, encoding: 2, frame: 123_456, part: 3 };
        let mut payload = vec![1, 2, 3];
        tag.write(3, 50, &mut payload);
        assert_eq!((payload.len(), Tag::read(&payload)), (50 + Tag::LEN, Some(tag)));
        payload[0] ^= 1;
        assert_eq!(Tag::read(&payload), Some(tag), "the format's own numbers are rewritten on the way");
        payload[20] ^= 1;
        assert_eq!(Tag::read(&payload), None);
        assert_eq!(Tag::read(&[]), None);
    }
}
