//! The first bytes of payloads, by their RFCs; and the dependency descriptor.

use rtpcore_core::payload::bits::BitWriter;

/// What a payload's first bytes are made from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) is_keyframe: bool,
    pub(crate) is_first: bool,
    pub(crate) is_last: bool,
    pub(crate) is_sync: bool,
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
    /// Spatial layers of the stream.
    pub(crate) layers: u8,
    pub(crate) picture_id: u16,
    pub(crate) tl0: u8,
}

/// RFC 7741 §4.2, and a key frame's header (§4.3).
pub(crate) fn vp8(shape: &Shape) -> Vec<u8> {
    let [high, low] = shape.picture_id.to_be_bytes();
    let layer = shape.temporal << 6 | u8::from(shape.is_sync) << 5;
    let mut bytes = vec![0x80 | u8::from(shape.is_first) << 4, 0xE0, high | 0x80, low, shape.tl0, layer];
    match (shape.is_first, shape.is_keyframe) {
        (true, true) => bytes.extend([0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01]),
        (true, false) => bytes.push(0x11),
        (false, _) => {}
    }
    bytes
}

/// RFC 6184: parameter sets in a STAP-A, pictures in FU-As or, if of one packet, as they are.
pub(super) fn h264(shape: &Shape, len: usize) -> Vec<u8> {
    const PPS_AT: usize = 1 + 2 + 4 + 2;
    match (shape.is_keyframe, shape.is_first, shape.is_last) {
        (true, true, _) => {
            let pps = u16::try_from((len + super::Tag::LEN).saturating_sub(PPS_AT)).unwrap_or(1).to_be_bytes();
            vec![0x78, 0, 4, 0x67, 0x42, 0xE0, 0x1F, pps[0], pps[1], 0x68]
        }
        (false, true, true) => vec![0x41],
        (is_keyframe, is_first, is_last) => {
            // Behind the parameter sets the picture begins, in fragments of its own.
            let starts = if is_keyframe { shape.temporal == 1 } else { is_first };
            let kind = if is_keyframe { 5 } else { 1 };
            vec![0x7C, u8::from(starts) << 7 | u8::from(is_last) << 6 | kind]
        }
    }
}

/// RFC 9628 §4.2, non-flexible mode, with the sizes of the layers in keyframes.
pub(super) fn vp9(shape: &Shape) -> Vec<u8> {
    let has_structure = shape.is_keyframe && shape.is_first && shape.spatial == 0;
    let is_top = shape.spatial + 1 == shape.layers;
    let first = 0xA0
        | u8::from(!shape.is_keyframe) << 6
        | u8::from(shape.is_first) << 3
        | u8::from(shape.is_last) << 2
        | u8::from(has_structure) << 1
        | u8::from(is_top);
    let [high, low] = shape.picture_id.to_be_bytes();
    let layer = shape.temporal << 5 | u8::from(shape.is_sync) << 4 | shape.spatial << 1 | u8::from(shape.spatial > 0);
    let mut bytes = vec![first, high | 0x80, low, layer, shape.tl0];
    if has_structure {
        bytes.push((shape.layers - 1) << 5 | 0x10);
        for layer in 0..shape.layers {
            bytes.extend((320u16 << layer).to_be_bytes());
            bytes.extend((180u16 << layer).to_be_bytes());
        }
    }
    bytes
}

/// The AV1 aggregation header and one frame OBU's.
pub(super) fn av1(shape: &Shape) -> Vec<u8> {
    let is_new = shape.is_keyframe && shape.is_first && shape.spatial == 0;
    let flags = u8::from(!shape.is_first) << 7 | u8::from(!shape.is_last) << 6 | 0x10 | u8::from(is_new) << 3;
    vec![flags, 6 << 3]
}

/// A dependency descriptor of a stream with `layers` spatial and `rates` temporal layers, everything that can differ from
/// frame to frame spelled out.
pub(super) fn descriptor(shape: &Shape, rates: u8, frame_number: u16, differences: &[u16]) -> Vec<u8> {
    let mut out = [0; 128];
    let len = write_descriptor(shape, rates, frame_number, differences, &mut out).unwrap_or(0);
    out[..len].to_vec()
}

fn write_descriptor(shape: &Shape, rates: u8, number: u16, differences: &[u16], out: &mut [u8]) -> Option<usize> {
    let mut bits = BitWriter::new(out);
    bits.bits(shape.is_first.into(), 1)?;
    bits.bits(shape.is_last.into(), 1)?;
    bits.bits(u32::from(shape.spatial * rates + shape.temporal), 6)?;
    bits.bits(number.into(), 16)?;
    let has_structure = shape.is_keyframe && shape.is_first && shape.spatial == 0;
    // Structure, active targets, custom indications, custom references, custom chains.
    bits.bits(u32::from(has_structure) << 4 | 0b0110, 5)?;
    if has_structure {
        write_structure(shape.layers, rates, &mut bits)?;
    }
    for (spatial, temporal) in targets(shape.layers, rates) {
        bits.bits(indication(shape, rates, spatial, temporal), 2)?;
    }
    for &difference in differences {
        let (size, width) = if difference <= 16 { (1, 4) } else { (2, 8) };
        bits.bits(size, 2)?;
        bits.bits(u32::from(difference - 1), width)?;
    }
    bits.bits(0, 2)?;
    bits.finish()
}

/// A template for each pair of layers, a decode target for each, no chains, no sizes.
fn write_structure(layers: u8, rates: u8, bits: &mut BitWriter<'_>) -> Option<()> {
    let count = u32::from(layers * rates);
    bits.bits(0, 6)?;
    bits.bits(count - 1, 5)?;
    for (index, (_, temporal)) in targets(layers, rates).enumerate().skip(1) {
        let _ = index;
        bits.bits(if temporal == 0 { 2 } else { 1 }, 2)?;
    }
    bits.bits(3, 2)?;
    for _ in 0..count * count {
        bits.bits(3, 2)?;
    }
    for _ in 0..count {
        bits.bits(0, 1)?;
    }
    // ns(count + 1) of zero: one bit less than the width, unless all values take the same.
    let width = u32::BITS - (count + 1).leading_zeros();
    bits.bits(0, width - 1)?;
    bits.bits(0, 1)
}

/// What a frame is to a decode target: nothing, discardable, a switch, or required.
fn indication(shape: &Shape, rates: u8, spatial: u8, temporal: u8) -> u32 {
    if shape.spatial > spatial || shape.temporal > temporal {
        0
    } else if shape.is_keyframe || shape.temporal == 0 && shape.spatial == spatial {
        2
    } else if shape.temporal + 1 == rates && rates > 1 && shape.spatial == spatial {
        1
    } else {
        3
    }
}

fn targets(layers: u8, rates: u8) -> impl Iterator<Item = (u8, u8)> {
    (0..layers).flat_map(move |spatial| (0..rates).map(move |temporal| (spatial, temporal)))
}
