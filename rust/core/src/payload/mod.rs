//! Payload formats: what a packet says about its frame, read once on arrival; what a subscriber's copy must say instead.

/// A codec this core can read. Anything else is forwarded as [`Codec::Opaque`]: no layers, every packet a possible start.
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

/// What one packet says about the frame it belongs to.
///
/// Read once when the packet arrives, then shared by every sender that forwards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// First packet of its frame (of its spatial layer's frame, where one picture has several).
    pub frame_start: bool,
    /// Last packet of its frame (of its spatial layer's frame).
    pub frame_end: bool,
    /// Belongs to a frame from which a decoder that knows nothing can start; in SVC, at this packet's spatial layer or below.
    pub keyframe: bool,
    /// Spatial layer, 0 the smallest.
    pub spatial: u8,
    /// Temporal layer, 0 the slowest.
    pub temporal: u8,
    /// From this frame on a decoder of lower temporal layers can follow this one too (a sync point going up).
    pub temporal_switch: bool,
    /// In SVC: a decoder of lower spatial layers can follow this one from this frame on.
    pub spatial_switch: bool,
    /// In SVC: a higher spatial layer of the same picture is predicted from this frame.
    pub inter_layer: bool,
    /// The format's own numbers, for rewriting.
    pub detail: Detail,
}

/// The numbers of a payload format that must stay continuous over a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Nothing to rewrite.
    None,
    /// RFC 7741 §4.2.
    Vp8(Vp8),
    /// RFC 9628 §4.2.
    Vp9(Vp9),
    /// The dependency descriptor of AV1.
    Av1(Av1),
}

/// The VP8 payload descriptor's running numbers (RFC 7741 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vp8 {
    /// The picture id, and whether it has 15 bits (else 7).
    pub picture_id: Option<(u16, bool)>,
    /// Counts frames of temporal layer 0.
    pub tl0_pic_idx: Option<u8>,
    /// Counts temporal keyframes, 5 bits.
    pub key_idx: Option<u8>,
}

/// The VP9 payload descriptor's running numbers (RFC 9628 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Vp9 {
    /// The picture id, and whether it has 15 bits (else 7).
    pub picture_id: Option<(u16, bool)>,
    /// Counts frames of temporal layer 0.
    pub tl0_pic_idx: Option<u8>,
}

/// The dependency descriptor's running number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Av1 {
    /// Counts frames of all layers.
    pub frame_number: u16,
}

/// What a subscriber's copy says in place of the original's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Patch {
    /// Nothing.
    #[default]
    None,
    /// Numbers for the VP8 descriptor; those the descriptor does not have are not written.
    Vp8 {
        /// The picture id, 15 bits; its low 7 where the descriptor has no more.
        picture_id: u16,
        /// Counts frames of temporal layer 0.
        tl0_pic_idx: u8,
        /// Counts temporal keyframes, 5 bits.
        key_idx: u8,
    },
    /// Numbers for the VP9 descriptor.
    Vp9 {
        /// The picture id, 15 bits; its low 7 where the descriptor has no more.
        picture_id: u16,
        /// Counts frames of temporal layer 0.
        tl0_pic_idx: u8,
    },
    /// The dependency descriptor's frame number.
    Dd {
        /// Counts frames of all layers.
        frame_number: u16,
    },
}
