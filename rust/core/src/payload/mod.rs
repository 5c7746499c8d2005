//! Payload formats: what a packet says about its frame, read once on arrival; what a subscriber's copy must say
//! instead.
//!
//! A file per format parses bytes and remembers nothing; [`Reader`] holds what one incoming stream must remember
//! between packets. The dependency descriptor is a header extension, but it answers the same questions, for any video
//! codec and even where the payload is encrypted end to end, so it lives here and goes first.

pub mod av1;
pub mod bits;
pub mod dependency;
pub mod dependency_descriptor;
pub mod h264;
pub mod h265;
mod nal;
pub mod opus;
pub mod patch;
mod reader;
pub mod red;
pub mod vp8;
pub mod vp9;

pub use dependency::{Dependency, LayerSet};
pub use patch::{Patch, PictureId};
pub use reader::Reader;

/// A codec this core can read. Anything else is forwarded as [`Codec::Opaque`]: no layers, every packet a possible
/// start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// RFC 7741.
    Vp8,
    /// RFC 9628.
    Vp9,
    /// AV1 RTP payload specification, with the dependency descriptor.
    Av1,
    /// RFC 6184.
    H264,
    /// RFC 7798.
    H265,
    /// RFC 7587.
    Opus,
    /// Redundant audio (RFC 2198), of Opus.
    Red,
    /// A payload that is not looked into.
    Opaque,
}

impl Codec {
    /// The codec of a media type such as `video/VP8`, letter case ignored (RFC 6838 §4.2); [`Codec::Opaque`] if
    /// unknown.
    pub fn from_mime(mime: &str) -> Self {
        const KNOWN: [(&str, Codec); 7] = [
            ("video/vp8", Codec::Vp8),
            ("video/vp9", Codec::Vp9),
            ("video/av1", Codec::Av1),
            ("video/h264", Codec::H264),
            ("video/h265", Codec::H265),
            ("audio/opus", Codec::Opus),
            ("audio/red", Codec::Red),
        ];
        KNOWN.iter().find(|(name, _)| name.eq_ignore_ascii_case(mime)).map_or(Self::Opaque, |&(_, codec)| codec)
    }

    /// Whether it is one of the video codecs above; of [`Codec::Opaque`] nobody knows.
    pub const fn is_video(self) -> bool {
        matches!(self, Self::Vp8 | Self::Vp9 | Self::Av1 | Self::H264 | Self::H265)
    }

    /// Whether it is one of the audio codecs above; of [`Codec::Opaque`] nobody knows.
    pub const fn is_audio(self) -> bool {
        matches!(self, Self::Opus | Self::Red)
    }
}

/// What one packet says about the frame it belongs to.
///
/// Read once when the packet arrives, then shared by every sender that forwards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// First packet of its frame (of its spatial layer's frame, where one picture has several).
    ///
    /// H.264 and H.265 may say it twice in a keyframe: at an access unit delimiter, and at the parameter sets behind
    /// it.
    pub frame_start: bool,
    /// Last packet of its frame (of its spatial layer's frame).
    pub frame_end: bool,
    /// Belongs to a frame from which a decoder that knows nothing can start. An upper spatial layer's frame that is
    /// predicted from the keyframe below it has [`Descriptor::spatial_switch`] instead.
    pub keyframe: bool,
    /// Spatial layer, 0 the smallest.
    pub spatial: u8,
    /// Temporal layer, 0 the slowest.
    pub temporal: u8,
    /// From this frame on a decoder of lower temporal layers can follow this one too (a sync point going up). Says
    /// nothing on frames of temporal layer 0.
    pub temporal_switch: bool,
    /// In SVC: a decoder of lower spatial layers can follow this one from this frame on.
    pub spatial_switch: bool,
    /// In SVC: a higher spatial layer of the same picture is predicted from this frame.
    pub inter_layer: bool,
    /// The format's own numbers, for rewriting.
    pub detail: Detail,
    /// What the dependency descriptor says beyond that, where there was one and its structure is known.
    pub dependency: Option<Dependency>,
}

impl Descriptor {
    /// A payload that is not looked into: a whole frame, and a place to start.
    pub const OPAQUE: Self = Self {
        frame_start: true,
        frame_end: true,
        keyframe: true,
        spatial: 0,
        temporal: 0,
        temporal_switch: false,
        spatial_switch: false,
        inter_layer: false,
        detail: Detail::None,
        dependency: None,
    };
}

/// What a packet's writer must know of its payload: above all the numbers that must stay continuous over a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing to rewrite.
    None,
    /// Nothing to rewrite, and the blocks of RFC 2198: a receiver without them is sent the primary one alone.
    Red,
    /// Of a VP8 payload descriptor.
    Vp8(vp8::Numbers),
    /// Of a VP9 payload descriptor.
    Vp9(vp9::Numbers),
}

/// The size of a picture in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resolution {
    /// Pixels in a row.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_are_read_in_any_case() {
        assert_eq!(Codec::from_mime("video/VP8"), Codec::Vp8);
        assert_eq!(Codec::from_mime("Audio/OPUS"), Codec::Opus);
        assert_eq!(Codec::from_mime("video/h264"), Codec::H264);
        assert_eq!(Codec::from_mime("audio/PCMU"), Codec::Opaque);
        assert_eq!(Codec::from_mime("video/VP80"), Codec::Opaque);
        assert!(Codec::H265.is_video() && !Codec::Red.is_video() && !Codec::Opaque.is_video());
    }

    #[test]
    fn a_descriptor_stays_within_a_cache_line() {
        assert!(size_of::<Descriptor>() <= 48, "{}", size_of::<Descriptor>());
        assert!(size_of::<Patch>() <= 8, "{}", size_of::<Patch>());
    }
}
