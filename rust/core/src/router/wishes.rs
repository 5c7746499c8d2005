//! What a subscriber wants of a track, what it can take of it, and what its copy is told of both.

use super::{Copy, Feed};
use crate::bandwidth::Feedback;
use crate::parameters::{Kind, ReceiverParameters, SenderParameters};
use crate::payload::Codec;
use crate::rtp::ExtensionKind;
use crate::send::{Layer, PayloadTypes, Shape};

/// Tells a copy's sender what the subscriber wants, as far as the publisher sends it and the path has room.
pub(super) fn apply_wishes(copy: &mut Copy, feed: &Feed) {
    let most = most_of(copy, feed);
    let (is_video, share) = (copy.parameters.kind == Kind::Video, copy.share);
    let Some(sender) = &mut copy.sender else { return };
    if copy.is_paused || share.is_starved {
        sender.pause();
        return copy.wait.reconsider(sender);
    }
    // Before the first reckoning nothing is asked for: it may be another layer.
    if copy.is_numbered && is_video && !share.is_reckoned {
        return;
    }
    let granted = share.granted.unwrap_or(most);
    sender.set_target(Layer {
        spatial: most.spatial.min(granted.spatial),
        temporal: most.temporal.min(granted.temporal),
    });
    sender.resume();
    copy.wait.reconsider(sender);
}

/// The most that a subscriber wants and could get.
pub(super) fn most_of(copy: &Copy, feed: &Feed) -> Layer {
    let is_simulcast = feed.parameters.as_ref().is_some_and(|parameters| parameters.encodings.len() > 1);
    let spatial = if is_simulcast {
        feed.liveness.best_within(copy.most.spatial)
    } else if is_blind_to_layers(copy, feed) {
        0
    } else {
        copy.most.spatial
    };
    Layer { spatial, temporal: copy.most.temporal }
}

/// What tells how much the path of this copy carries, if anything: of video alone, and only where what is sent again has
/// numbers of its own, since without RTX it must be the same to the last bit.
pub(super) fn feedback_of(parameters: &SenderParameters) -> Option<Feedback> {
    let has_rtx = parameters.codecs.iter().all(|codec| codec.rtx.is_some() || !codec.nack);
    let has = |kind| parameters.extensions.id(kind).is_some();
    let codecs = || parameters.codecs.iter();
    if parameters.kind != Kind::Video || !has_rtx {
        None
    } else if has(ExtensionKind::TransportCc) && codecs().any(|codec| codec.transport_cc) {
        Some(Feedback::TransportCc)
    } else if has(ExtensionKind::AbsSendTime) && codecs().any(|codec| codec.remb) {
        Some(Feedback::Remb)
    } else {
        None
    }
}

/// Whether the subscriber could not tell spatial layers apart: AV1 names them in the dependency descriptor alone, and libwebrtc
/// without it takes the layers of one picture for frames in disorder and decodes none.
fn is_blind_to_layers(copy: &Copy, feed: &Feed) -> bool {
    let codec = feed.parameters.as_ref().and_then(|parameters| parameters.codecs.first()).map(|codec| codec.codec);
    codec == Some(Codec::Av1) && copy.parameters.extensions.id(ExtensionKind::DependencyDescriptor).is_none()
}

/// How a track is cut, as far as its negotiation tells.
pub(super) fn shape_of(parameters: &ReceiverParameters) -> Shape {
    if parameters.kind == Kind::Audio || parameters.codecs.iter().all(|codec| codec.codec == Codec::Opaque) {
        Shape::Flat
    } else if parameters.encodings.len() > 1 {
        Shape::Simulcast
    } else {
        Shape::Layered
    }
}

/// Which of the publisher's payload types the subscriber takes: by codec, and RED also as what is in it.
pub(super) fn payload_types(from: &ReceiverParameters, to: &SenderParameters) -> PayloadTypes {
    let mut types = PayloadTypes::new();
    for codec in &from.codecs {
        let is_same = |other: &&crate::parameters::CodecParameters| other.format == codec.format;
        let is_inside = |other: &&crate::parameters::CodecParameters| {
            codec.codec == Codec::Red && other.codec == Codec::Opus && other.clock_rate == codec.clock_rate
        };
        if let Some(other) = to.codecs.iter().find(is_same).or_else(|| to.codecs.iter().find(is_inside)) {
            types.set(codec.payload_type, other.payload_type);
        }
    }
    types
}
