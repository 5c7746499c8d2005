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
}
