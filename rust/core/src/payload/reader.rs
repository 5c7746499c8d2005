//! One incoming stream's payloads, read packet by packet.

use super::dependency::{self, History, Reading};
use super::dependency_descriptor::{ActiveTargets, DecodeTargets};
use super::nal::{FrameStarts, Units, is_seen};
use super::{Codec, Descriptor, Detail, Resolution, av1, h264, h265, vp8, vp9};
use crate::drop::Drop;

/// Reads the payloads of one incoming stream (one encoding): holds what must be remembered between packets.
///
/// Packets may come reordered or not at all; each gets the best answer that can be given without waiting, and where
/// that is not certain, one that makes a subscriber wait for the next keyframe rather than start at the wrong packet.
#[derive(Clone, Debug)]
pub struct Reader {
    codec: Codec,
    /// The newest keyframe, for those of its packets that do not say so themselves (VP8, AV1, H.264, H.265).
    keyframe: Option<u32>,
    /// Where frames start, of the formats that do not say (H.264, H.265).
    starts: FrameStarts,
    /// What the last packet that could tell said (AV1): a fragment has no OBU header.
    obu: Option<ObuLayer>,
    /// The size of each spatial layer; zero where it is not known.
    sizes: [Resolution; vp9::MAX_SPATIAL],
    /// Of the dependency descriptors.
    history: Option<Box<History>>,
}

/// The layer that the OBUs of a timestamp belong to.
#[derive(Clone, Copy, Debug)]
struct ObuLayer {
    timestamp: u32,
    /// Temporal, then spatial layer; none in a stream that has no layers.
    layer: Option<(u8, u8)>,
}

impl Reader {
    /// A reader at the start of a stream.
    pub fn new(codec: Codec) -> Self {
        Self {
            codec,
            keyframe: None,
            starts: FrameStarts::new(if matches!(codec, Codec::H265) { 2 } else { 1 }),
            obu: None,
            sizes: [Resolution::default(); vp9::MAX_SPATIAL],
            history: None,
        }
    }

    /// What this reader reads.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Reads one packet: its payload without padding, its marker bit and timestamp, and its dependency descriptor.
    ///
    /// Of any codec that is not audio, the descriptor goes first: it is never encrypted end to end. The payload is then
    /// only asked for the numbers in [`Descriptor::detail`]. If the structure that the descriptor needs is lost, the
    /// payload answers; the start and end of the frame still come from the descriptor.
    ///
    /// Fails with [`Drop::BadPayload`] if the descriptor or the payload is cut off, empty, or beyond a limit.
    pub fn read(
        &mut self,
        payload: &[u8],
        marker: bool,
        timestamp: u32,
        dependency_descriptor: Option<&[u8]>,
    ) -> Result<Descriptor, Drop> {
        let reading = match dependency_descriptor {
            Some(bytes) if !self.codec.is_audio() => {
                Some(dependency::read(&mut self.history, bytes, timestamp).ok_or(Drop::BadPayload)?)
            }
            _ => None,
        };
        match reading {
            Some(Reading::Known(known)) => {
                let detail = self.read_detail(payload).ok_or(Drop::BadPayload)?;
                Ok(Descriptor { detail, ..known })
            }
            Some(Reading::Unknown { frame_start, frame_end }) => {
                let read = self.read_payload(payload, marker, timestamp).ok_or(Drop::BadPayload)?;
                Ok(Descriptor { frame_start, frame_end, ..read })
            }
            None => self.read_payload(payload, marker, timestamp).ok_or(Drop::BadPayload),
        }
    }

    /// The size of the pictures of a spatial layer, as last told by a keyframe in the clear (VP8), a scalability
    /// structure (VP9) or a dependency descriptor; none if nobody told.
    pub fn resolution(&self, spatial: u8) -> Option<Resolution> {
        let spatial = usize::from(spatial);
        let told = self.history.as_ref().and_then(|history| history.resolutions());
        let size = told.and_then(|sizes| sizes.get(spatial)).or_else(|| self.sizes.get(spatial))?;
        (*size != Resolution::default()).then_some(*size)
    }

    /// The decode targets of the newest structure in a dependency descriptor.
    pub fn decode_targets(&self) -> Option<DecodeTargets> {
        self.history.as_ref().map(|history| history.decode_targets())
    }

    /// The decode targets that the publisher still sends.
    pub fn active_targets(&self) -> Option<ActiveTargets> {
        self.history.as_ref().map(|history| history.active_targets())
    }

    /// The numbers to rewrite, of the formats that have some.
    fn read_detail(&mut self, payload: &[u8]) -> Option<Detail> {
        Some(match self.codec {
            Codec::Vp8 => {
                let payload = vp8::parse(payload)?;
                self.note_size(payload.resolution);
                Detail::Vp8(payload.numbers)
            }
            Codec::Vp9 => {
                let payload = vp9::parse(payload)?;
                self.note_sizes(payload.structure);
                Detail::Vp9(payload.numbers)
            }
            _ => Detail::None,
        })
    }

    fn read_payload(&mut self, payload: &[u8], marker: bool, timestamp: u32) -> Option<Descriptor> {
        match self.codec {
            Codec::Vp8 => self.read_vp8(&vp8::parse(payload)?, marker, timestamp),
            Codec::Vp9 => self.read_vp9(&vp9::parse(payload)?),
            Codec::Av1 => self.read_av1(av1::parse(payload)?, marker, timestamp),
            Codec::H264 => self.read_nal(h264::parse(payload)?, marker, timestamp),
            Codec::H265 => self.read_nal(h265::parse(payload)?, marker, timestamp),
            // End-to-end encryption leaves Opus one clear byte and RED not even that, so there is nothing to check
            // here.
            Codec::Opus => return (!payload.is_empty()).then_some(Descriptor::OPAQUE),
            Codec::Red => {
                return (!payload.is_empty()).then_some(Descriptor { detail: Detail::Red, ..Descriptor::OPAQUE });
            }
            Codec::Opaque => return Some(Descriptor::OPAQUE),
        }
        .into()
    }

    fn read_vp8(&mut self, payload: &vp8::Payload, marker: bool, timestamp: u32) -> Descriptor {
        self.note_size(payload.resolution);
        let keyframe = self.is_keyframe(payload.keyframe, timestamp);
        Descriptor {
            frame_start: payload.frame_start,
            frame_end: marker,
            keyframe,
            temporal: payload.temporal,
            temporal_switch: payload.layer_sync || keyframe,
            detail: Detail::Vp8(payload.numbers),
            ..Descriptor::OPAQUE
        }
    }

    fn read_vp9(&mut self, payload: &vp9::Payload) -> Descriptor {
        self.note_sizes(payload.structure);
        let keyframe = payload.is_keyframe();
        let spatial = payload.layer.map_or(0, |layer| layer.spatial);
        Descriptor {
            frame_start: payload.frame_start,
            frame_end: payload.frame_end,
            keyframe,
            spatial,
            temporal: payload.layer.map_or(0, |layer| layer.temporal),
            temporal_switch: keyframe || payload.layer.is_some_and(|layer| layer.switching_up),
            spatial_switch: spatial > 0 && !payload.inter_picture,
            inter_layer: payload.layer.is_some() && !payload.not_for_upper,
            detail: Detail::Vp9(payload.numbers),
            dependency: None,
        }
    }

    /// Without a dependency descriptor AV1 says little: every temporal unit is read as one frame per spatial layer, and
    /// every frame of a layered stream as one that upper layers need.
    fn read_av1(&mut self, payload: av1::Payload, marker: bool, timestamp: u32) -> Descriptor {
        let before = self.obu;
        let is_new = before.is_none_or(|obu| !is_seen(timestamp, obu.timestamp));
        let unit = before.filter(|obu| obu.timestamp == timestamp);
        // A fragment, or an OBU without extension, belongs to what came before it in the same temporal unit.
        let layer = payload.layer.or(unit.and_then(|obu| obu.layer));
        let is_other_layer = unit.is_some_and(|obu| obu.layer.is_some() && obu.layer != layer);
        if is_new || unit.is_some() {
            self.obu = Some(ObuLayer { timestamp, layer });
        }
        let key_unit = self.is_keyframe(payload.new_sequence || payload.sequence_header, timestamp);
        let (temporal, spatial) = layer.unwrap_or((0, 0));
        Descriptor {
            frame_start: payload.new_sequence || !payload.continues && (is_new || is_other_layer),
            frame_end: marker,
            keyframe: key_unit && spatial == 0,
            spatial,
            temporal,
            temporal_switch: key_unit,
            spatial_switch: key_unit && spatial > 0,
            inter_layer: layer.is_some(),
            ..Descriptor::OPAQUE
        }
    }

    fn read_nal(&mut self, units: Units, marker: bool, timestamp: u32) -> Descriptor {
        let keyframe = self.is_keyframe(units.keyframe, timestamp);
        Descriptor {
            frame_start: self.starts.is_start(units, timestamp),
            frame_end: marker,
            keyframe,
            temporal: units.temporal,
            temporal_switch: units.temporal_switch || keyframe,
            ..Descriptor::OPAQUE
        }
    }

    /// Whether a packet belongs to a keyframe: it says so, or one with its timestamp did.
    fn is_keyframe(&mut self, says_so: bool, timestamp: u32) -> bool {
        if says_so {
            self.keyframe = Some(timestamp);
        }
        self.keyframe == Some(timestamp)
    }

    fn note_size(&mut self, resolution: Option<Resolution>) {
        if let (Some(resolution), Some(size)) = (resolution, self.sizes.first_mut()) {
            *size = resolution;
        }
    }

    fn note_sizes(&mut self, structure: Option<vp9::Structure>) {
        if let Some(sizes) = structure.and_then(|structure| structure.resolutions) {
            self.sizes = sizes;
        }
    }
}

#[cfg(test)]
mod tests;
