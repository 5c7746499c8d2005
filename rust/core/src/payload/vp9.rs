//! The VP9 payload descriptor (RFC 9628 §4.2).
//!
//! Nothing behind the descriptor is read: it may be encrypted end to end.

use super::vp8::take;
use super::{PictureId, Resolution};

/// Spatial layers that a scalability structure can describe (N_S has three bits).
pub const MAX_SPATIAL: usize = 8;

/// References that a frame in flexible mode may list.
const MAX_P_DIFFS: u8 = 3;

/// The VP9 payload descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The numbers that must stay continuous.
    pub numbers: Numbers,
    /// P: predicted from an earlier picture.
    pub inter_picture: bool,
    /// F: references are listed (flexible mode) instead of following the structure.
    pub flexible: bool,
    /// B: the first packet of a layer's frame.
    pub frame_start: bool,
    /// E: the last packet of a layer's frame.
    pub frame_end: bool,
    /// Z: no upper spatial layer of this picture is predicted from this frame.
    pub not_for_upper: bool,
    /// The layer indices; none if the stream has no layers.
    pub layer: Option<Layer>,
    /// V: what the stream's layers look like, sent with keyframes.
    pub structure: Option<Structure>,
    /// Length of the descriptor: where the frame's own bytes begin.
    pub len: u16,
}

/// The numbers of a VP9 payload descriptor that a rewriter keeps continuous (RFC 9628 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The picture, the same in all its spatial layers.
    pub picture_id: PictureId,
    /// TL0PICIDX: pictures of the base temporal layer, counted. Only in non-flexible mode, behind the layer indices.
    pub tl0_pic_idx: Option<u8>,
}

/// The layer indices of a frame (RFC 9628 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// TID, 0 to 7.
    pub temporal: u8,
    /// U: from here on one can switch to higher temporal layers.
    pub switching_up: bool,
    /// SID, 0 to 7.
    pub spatial: u8,
    /// D: predicted from the spatial layer below.
    pub inter_layer: bool,
}

/// The scalability structure (RFC 9628 §4.2.1), without its picture group: nothing here follows that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    /// How many spatial layers there are, 1 to 8.
    pub spatial_layers: u8,
    /// The size of each spatial layer, where sizes are sent.
    pub resolutions: Option<[Resolution; MAX_SPATIAL]>,
}

impl Payload {
    /// Whether a decoder that knows nothing can start here: predicted neither from an earlier picture nor from a layer
    /// below.
    pub fn is_keyframe(&self) -> bool {
        !self.inter_picture && self.layer.is_none_or(|layer| layer.spatial == 0 || !layer.inter_layer)
    }
}

/// Reads a VP9 payload descriptor; none where a field or the frame itself is missing.
pub fn parse(payload: &[u8]) -> Option<Payload> {
    let mut rest = payload;
    let first = take(&mut rest)?;
    let flag = |bit: u8| first & bit != 0;
    let (inter_picture, flexible) = (flag(0x40), flag(0x10));
    let picture_id = if flag(0x80) { PictureId::take(&mut rest)? } else { PictureId::None };
    let (mut layer, mut tl0_pic_idx) = (None, None);
    if flag(0x20) {
        let byte = take(&mut rest)?;
        layer = Some(Layer {
            temporal: byte >> 5,
            switching_up: byte & 0x10 != 0,
            spatial: byte >> 1 & 7,
            inter_layer: byte & 1 != 0,
        });
        if !flexible {
            tl0_pic_idx = Some(take(&mut rest)?);
        }
    }
    if flexible && inter_picture {
        skip_p_diffs(&mut rest)?;
    }
    let structure = if flag(0x02) { Some(take_structure(&mut rest)?) } else { None };
    let len = u16::try_from(payload.len() - rest.len()).ok()?;
    (!rest.is_empty()).then_some(Payload {
        numbers: Numbers { picture_id, tl0_pic_idx },
        inter_picture,
        flexible,
        frame_start: flag(0x08),
        frame_end: flag(0x04),
        not_for_upper: flag(0x01),
        layer,
        structure,
        len,
    })
}

/// P_DIFF: up to three references, each saying in its last bit whether another follows.
fn skip_p_diffs(rest: &mut &[u8]) -> Option<()> {
    for _ in 0..MAX_P_DIFFS {
        if take(rest)? & 1 == 0 {
            return Some(());
        }
    }
    None
}

/// Takes the scalability structure off the front (RFC 9628 §4.2.1).
fn take_structure(rest: &mut &[u8]) -> Option<Structure> {
    let head = take(rest)?;
    let spatial_layers = (head >> 5) + 1;
    let mut resolutions = None;
    if head & 0x10 != 0 {
        let mut sizes = [Resolution::default(); MAX_SPATIAL];
        for size in sizes.iter_mut().take(usize::from(spatial_layers)) {
            let (&[w0, w1, h0, h1], tail) = rest.split_first_chunk()?;
            *size = Resolution { width: u16::from_be_bytes([w0, w1]), height: u16::from_be_bytes([h0, h1]) };
            *rest = tail;
        }
        resolutions = Some(sizes);
    }
    if head & 0x08 != 0 {
        for _ in 0..take(rest)? {
            let references = take(rest)? >> 2 & 3;
            *rest = rest.get(usize::from(references)..)?;
        }
    }
    Some(Structure { spatial_layers, resolutions })
}

#[cfg(test)]
mod tests;
