//! Which packets of a track a subscriber gets: one encoding, up to a spatial and a temporal layer.
//!
//! Policy (how much the subscriber should get) comes from outside as a target; this is the mechanism that gets there
//! without ever showing a decoder a frame whose references it does not have.

use super::pictures::{Picture, Pictures};
use crate::drop::Drop;
use crate::packet::Packet;
use crate::units::SeqNo;

/// A publisher's track, as the caller numbers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// At most what a subscriber gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer {
    /// In simulcast the encoding, in SVC the spatial layer; 0 the smallest.
    pub spatial: u8,
    /// The temporal layer, 0 the slowest.
    pub temporal: u8,
}

/// How a track is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing to select and every packet a start: audio, and payloads that cannot be read.
    Flat,
    /// Encodings of their own, each with temporal layers.
    Simulcast,
    /// One encoding; its spatial layers may be predicted from lower ones in every picture (L3T3). Right for every single
    /// encoding whose mode is not known.
    Layered,
    /// One encoding whose spatial layers are predicted from lower ones in keyframes only (L3T3_KEY), so that in other
    /// pictures the lower layers are left out. The price: going down waits for a keyframe too.
    KeyLayered,
}

/// One stream of packets with its own sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The track.
    pub source: SourceId,
    /// Its encoding; 0 unless in simulcast.
    pub encoding: u8,
}

/// What becomes of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It continues what was sent before.
    Forward {
        /// The outgoing marker bit: set on the last packet of the picture that the subscriber gets.
        marker: bool,
    },
    /// It is the first of another stream: numbers must be joined here.
    Switch {
        /// The outgoing marker bit.
        marker: bool,
    },
    /// It goes no further.
    Drop(Drop),
}

/// What is forwarded now.
#[derive(Clone, Copy, Debug)]
enum Forwarding {
    Nothing,
    Stream(Current),
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Switching {
    /// What is forwarded is what is wanted, or nothing is wanted.
    Settled,
    /// At the next keyframe of this stream.
    To(Stream),
}

#[derive(Clone, Copy, Debug)]
struct Current {
    stream: Stream,
    shape: Shape,
    /// The layers let through; `spatial` is [`ALL`] where the stream is not cut that way.
    limit: Layer,
    newest: SeqNo,
    /// Spatial layers that are wanted went by, with no way in.
    is_above_missed: bool,
    /// Lower spatial layers were left out since the last keyframe: there is no way down.
    is_below_left_out: bool,
}

/// A spatial limit that lets all layers through.
const ALL: u8 = u8::MAX;
/// Encodings of one track, as many as browsers send.
pub const MAX_ENCODINGS: usize = 3;

/// Decides for each packet of the tracks that a subscriber's copy follows.
///
/// All packets of a picture share one decision, remembered by timestamp, and a retransmission that comes late gets the
/// decision of its time. A picture whose first packet is still missing is forwarded like any other, its number waiting, but
/// it never starts a stream and never raises a layer.
#[derive(Clone, Debug)]
pub struct Selector {
    source: SourceId,
    shape: Shape,
    /// None while paused.
    target: Option<Layer>,
    forwarding: Forwarding,
    switching: Switching,
    pictures: Pictures,
}

impl Selector {
    /// Follows `source`, paused.
    pub fn new(source: SourceId, shape: Shape) -> Self {
        Self {
            source,
            shape,
            target: None,
            forwarding: Forwarding::Nothing,
            switching: Switching::Settled,
            pictures: Pictures::new(),
        }
    }

    /// Decides what becomes of one packet of `source`.
    pub fn select(&mut self, source: SourceId, packet: &Packet) -> Decision {
        let stream = Stream { source, encoding: packet.encoding };
        let Some(target) = self.target else { return Decision::Drop(Drop::Paused) };
        match (self.switching, self.forwarding) {
            (Switching::To(wanted), _) if wanted == stream => {
                // A keyframe whose first packet was overtaken has lost its rest already, wherever it came: that is no start.
                if !packet.is_late && is_start(self.shape, packet) {
                    self.begin(stream, target, packet)
                } else {
                    Decision::Drop(Drop::AwaitingKeyframe)
                }
            }
            (_, Forwarding::Stream(current)) if current.stream == stream => self.follow_on(current, target, packet),
            _ => Decision::Drop(if packet.is_late { Drop::TooLate } else { Drop::OtherLayer }),
        }
    }

    /// Wants at most `target`, or with none nothing.
    ///
    /// A pause holds from the next packet on, in the middle of a frame too: nothing is sent to round the frame off, since
    /// the decoder drops the torso when the next stream begins with a keyframe.
    pub fn set_target(&mut self, target: Option<Layer>) {
        self.target = target;
        self.retarget();
    }

    /// What is wanted; none while paused.
    pub fn target(&self) -> Option<Layer> {
        self.target
    }

    /// Follows another track from its next keyframe on; the old one is forwarded until then.
    pub fn follow(&mut self, source: SourceId, shape: Shape) {
        self.source = source;
        self.shape = shape;
        self.retarget();
    }

    /// The limit in force, none while paused or waiting for a first keyframe. A stream with fewer layers is forwarded whole.
    pub fn layer(&self) -> Option<Layer> {
        let Forwarding::Stream(current) = &self.forwarding else { return None };
        Some(match current.shape {
            Shape::Flat => Layer::default(),
            Shape::Simulcast => Layer { spatial: current.stream.encoding, ..current.limit },
            Shape::Layered | Shape::KeyLayered => current.limit,
        })
    }

    /// The stream that is forwarded now.
    pub fn stream(&self) -> Option<Stream> {
        match &self.forwarding {
            Forwarding::Nothing => None,
            Forwarding::Stream(current) => Some(current.stream),
        }
    }

    /// The encoding of the followed track that must bring a keyframe before the target can be reached.
    pub fn wants_keyframe(&self) -> Option<u8> {
        let target = self.target?;
        match (&self.switching, &self.forwarding) {
            (Switching::To(stream), _) => (self.shape != Shape::Flat).then_some(stream.encoding),
            (Switching::Settled, Forwarding::Stream(current)) => {
                let up = current.is_above_missed && target.spatial > current.limit.spatial;
                let down = current.is_below_left_out && target.spatial < current.limit.spatial;
                (up || down).then_some(current.stream.encoding)
            }
            (Switching::Settled, Forwarding::Nothing) => None,
        }
    }

    fn retarget(&mut self) {
        let Some(target) = self.target else {
            self.forwarding = Forwarding::Nothing;
            self.switching = Switching::Settled;
            return;
        };
        let encoding = if self.shape == Shape::Simulcast { target.spatial } else { 0 };
        let wanted = Stream { source: self.source, encoding };
        self.switching = if self.stream() == Some(wanted) { Switching::Settled } else { Switching::To(wanted) };
    }

    fn begin(&mut self, stream: Stream, target: Layer, packet: &Packet) -> Decision {
        let current = Current {
            stream,
            shape: self.shape,
            limit: Layer { spatial: spatial_cap(self.shape, target), temporal: target.temporal },
            newest: packet.seq,
            is_above_missed: false,
            is_below_left_out: false,
        };
        self.forwarding = Forwarding::Stream(current);
        self.switching = Switching::Settled;
        self.pictures.clear();
        if self.shape != Shape::Flat {
            self.pictures.insert(Picture::new(packet, current.limit, false));
        }
        Decision::Switch { marker: is_marked(packet, current.limit.spatial) }
    }

    fn follow_on(&mut self, mut current: Current, target: Layer, packet: &Packet) -> Decision {
        let is_newest = packet.seq > current.newest;
        let decision = if current.shape == Shape::Flat {
            Decision::Forward { marker: packet.header.marker }
        } else {
            self.place(&mut current, target, packet, is_newest)
        };
        current.newest = current.newest.max(packet.seq);
        self.forwarding = Forwarding::Stream(current);
        decision
    }

    /// The decision of the packet's picture, made now if this is the first packet of it, then that of its spatial layer.
    fn place(&mut self, current: &mut Current, target: Layer, packet: &Packet, is_newest: bool) -> Decision {
        let cap = self.cap(current, target);
        if self.pictures.find(packet.header.timestamp).is_none() {
            let (limit, is_below_left_out) = if is_newest {
                current.adjust(cap, packet);
                (current.limit, current.is_below_left_out)
            } else {
                // The whole picture was held up: what held before it is what its references were kept by.
                match self.pictures.before(packet.seq) {
                    Some(earlier) => (earlier.limit, earlier.is_below_left_out),
                    None => return Decision::Drop(Drop::TooLate),
                }
            };
            self.pictures.insert(Picture::new(packet, limit, is_below_left_out));
        }
        let Some(picture) = self.pictures.find(packet.header.timestamp) else { return Decision::Drop(Drop::TooLate) };
        picture.extend(packet.seq);
        if !picture.is_forwarded {
            return Decision::Drop(Drop::OtherLayer);
        }
        current.select_spatial(picture, cap, packet, is_newest)
    }

    /// How far the layers may go now. While another stream is awaited the old one is not raised; on the way down it
    /// already sheds the temporal layers that are over the target, since the way down is mostly taken for want of room.
    fn cap(&self, current: &Current, target: Layer) -> Layer {
        match self.switching {
            Switching::Settled => Layer { spatial: spatial_cap(current.shape, target), ..target },
            Switching::To(next) if next.source == current.stream.source && next.encoding < current.stream.encoding => {
                Layer { temporal: current.limit.temporal.min(target.temporal), ..current.limit }
            }
            Switching::To(_) => current.limit,
        }
    }
}

impl Current {
    /// Moves the limits at the first packet of a picture: down at once, up where the picture allows it.
    fn adjust(&mut self, cap: Layer, packet: &Packet) {
        let frame = &packet.descriptor;
        self.limit.temporal = self.limit.temporal.min(cap.temporal);
        if !self.is_below_left_out {
            self.limit.spatial = self.limit.spatial.min(cap.spatial);
        }
        if is_start(self.shape, packet) {
            self.limit = cap;
            self.is_above_missed = false;
            self.is_below_left_out = false;
        } else if frame.frame_start
            && frame.temporal_switch
            // The picture's first: an upper layer that just began has no past and so is a switch where the lower are not.
            && frame.spatial == 0
            // One at a time: a frame of layer 2 that can be decoded from layer 0 says nothing of the layer 1 frames that
            // later ones refer to.
            && frame.temporal == self.limit.temporal.saturating_add(1)
            && frame.temporal <= cap.temporal
        {
            self.limit.temporal = frame.temporal;
        }
    }

    /// The decision within a picture that is forwarded.
    fn select_spatial(&mut self, picture: &mut Picture, cap: Layer, packet: &Packet, is_newest: bool) -> Decision {
        let frame = &packet.descriptor;
        if frame.spatial > picture.limit.spatial {
            let is_next = frame.spatial == picture.limit.spatial.saturating_add(1) && frame.spatial <= cap.spatial;
            if is_newest && is_next && frame.frame_start && (frame.spatial_switch || frame.keyframe) {
                // The layer below has had the marker by now, so this picture ends twice; a decoder takes the second part for
                // a frame of its own, which the dependencies allow.
                picture.limit.spatial = frame.spatial;
                self.limit.spatial = frame.spatial;
                self.is_above_missed = false;
            } else {
                self.is_above_missed |= frame.spatial <= cap.spatial;
                return Decision::Drop(Drop::OtherLayer);
            }
        }
        let is_needless = self.shape == Shape::KeyLayered
            && frame.spatial < picture.limit.spatial
            && !frame.inter_layer
            && !frame.keyframe;
        // A late one may be what the way down, taken meanwhile, was built on: it is left out only where its past was.
        if is_needless && (is_newest || picture.is_below_left_out) {
            picture.is_below_left_out = true;
            self.is_below_left_out |= is_newest;
            return Decision::Drop(Drop::OtherLayer);
        }
        Decision::Forward { marker: is_marked(packet, picture.limit.spatial) }
    }
}

fn spatial_cap(shape: Shape, target: Layer) -> u8 {
    match shape {
        Shape::Flat | Shape::Simulcast => ALL,
        Shape::Layered | Shape::KeyLayered => target.spatial,
    }
}

/// Whether a decoder that knows nothing can begin with this packet.
fn is_start(shape: Shape, packet: &Packet) -> bool {
    let frame = &packet.descriptor;
    shape == Shape::Flat || (frame.frame_start && frame.keyframe && frame.spatial == 0)
}

fn is_marked(packet: &Packet, top: u8) -> bool {
    packet.header.marker || (packet.descriptor.frame_end && packet.descriptor.spatial == top)
}

#[cfg(test)]
mod tests;
