//! What the dependency descriptors of one incoming stream say over time: the structures in force, and which layer each
//! recent frame belongs to.
//!
//! Packets come reordered and some never come. A packet whose structure is not known is not refused (its structure may
//! still be retransmitted) but read from its payload; what cannot be known about a switch is answered with "no".

use super::dependency_descriptor::{
    ActiveTargets, DecodeTargets, Frame, Header, Indication, MAX_SPATIAL, MAX_TEMPORAL, Structure,
};
use super::{Descriptor, Detail, Resolution};

/// How many frames a packet may be behind the newest and still count as late; farther back, the publisher started anew.
///
/// Half a minute of 30 frames a second. It only decides whether a structure out of order is an old one.
const LATE: u16 = 1024;

/// How many recent frames are remembered: templates refer back by 16 at most, so four times that covers reordering too.
const REMEMBERED: usize = 64;

/// A set of layers, each a pair of spatial layer (0 to 3) and temporal layer (0 to 7).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct LayerSet(u32);

impl LayerSet {
    /// No layer.
    pub const EMPTY: Self = Self(0);

    /// Puts a layer in. Layers beyond the limits are left out.
    pub fn insert(&mut self, spatial: u8, temporal: u8) {
        self.0 |= Self::bit(spatial, temporal);
    }

    /// Whether the layer is in.
    pub const fn contains(self, spatial: u8, temporal: u8) -> bool {
        self.0 & Self::bit(spatial, temporal) != 0
    }

    /// Whether no layer is in.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The layers in the set, lowest first, spatial before temporal.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = (u8, u8)> {
        (0..32_u8).filter(move |bit| self.0 >> bit & 1 != 0).map(|bit| (bit / 8, bit % 8))
    }

    /// The best layer in the set that is at most `spatial` and `temporal`: the highest spatial, then the highest
    /// temporal.
    pub fn best_within(self, spatial: u8, temporal: u8) -> Option<(u8, u8)> {
        self.iter().rev().find(|&(s, t)| s <= spatial && t <= temporal)
    }

    const fn bit(spatial: u8, temporal: u8) -> u32 {
        if (spatial as usize) < MAX_SPATIAL && (temporal as usize) < MAX_TEMPORAL {
            1 << (spatial * 8 + temporal)
        } else {
            0
        }
    }
}

impl core::fmt::Debug for LayerSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What a packet's dependency descriptor says beyond the fields that every format has.
///
/// A decode target is named by the highest layer in it: following layer (s, t) means forwarding the frames whose
/// [`Dependency::present`] contains (s, t), and no others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// `frame_number` as it came.
    pub frame_number: u16,
    /// How many decode targets the structure has, 1 to 32: the width of [`ActiveTargets`].
    pub decode_targets: u8,
    /// The packet carries a template structure: a subscriber must get it to understand what follows.
    pub has_structure: bool,
    /// The layers that can be followed now: those of all active decode targets.
    pub offered: LayerSet,
    /// The layers whose followers need this frame.
    pub present: LayerSet,
    /// The layers that can be followed from here on by whoever can decode this frame (a DTI of "switch").
    pub switch: LayerSet,
}

/// What a descriptor says, read with what came before.
pub(super) enum Reading {
    /// Everything is known.
    Known(Descriptor),
    /// The structure is missing; only the fields that do not need it can be told.
    Unknown {
        /// First packet of its frame.
        frame_start: bool,
        /// Last packet of its frame.
        frame_end: bool,
    },
}

/// What one stream's descriptors need remembered. About 6 kB, made when the first structure arrives.
#[derive(Clone, Debug)]
pub(super) struct History {
    current: Sequence,
    /// The sequence before, for packets that its successor overtook.
    previous: Option<Sequence>,
    newest: u16,
    frames: [Option<Seen>; REMEMBERED],
}

/// A coded video sequence: a structure and the frames it holds for.
#[derive(Clone, Debug)]
struct Sequence {
    /// Its first frame.
    from: u16,
    structure: Structure,
    active: u32,
    /// The frame that said so.
    active_from: u16,
}

/// A frame of which a packet was read.
#[derive(Clone, Copy, Debug)]
struct Seen {
    frame_number: u16,
    timestamp: u32,
    spatial: u8,
    temporal: u8,
}

/// Reads one packet's descriptor with and into the stream's history; none if it is malformed.
pub(super) fn read(history: &mut Option<Box<History>>, descriptor: &[u8], timestamp: u32) -> Option<Reading> {
    let mut structure = None;
    let header = Header::parse(descriptor, &mut structure)?;
    if let Some(structure) = &structure {
        // A structure whose own packet cannot be read with it is not worth keeping.
        header.frame(structure)?;
        match history {
            Some(history) => history.start_sequence(header.frame_number, structure),
            // The one allocation in a stream's life, so that streams without descriptors cost nothing.
            None => *history = Some(Box::new(History::new(header.frame_number, structure))),
        }
    }
    let unknown = Reading::Unknown { frame_start: header.start_of_frame, frame_end: header.end_of_frame };
    let Some(history) = history else { return Some(unknown) };
    history.expire(header.frame_number);
    let sequence = history.sequence_of(header.frame_number);
    if sequence.structure.template(header.template_id).is_none() {
        return Some(unknown);
    }
    let frame = header.frame(&sequence.structure)?;
    if let Some(mask) = frame.active {
        sequence.set_active(mask, header.frame_number);
    }
    let dependency = sequence.dependency(&header, &frame);
    let keyframe = sequence.is_keyframe(&frame);
    let mut known = Descriptor {
        frame_start: header.start_of_frame,
        frame_end: header.end_of_frame,
        keyframe,
        spatial: frame.spatial,
        temporal: frame.temporal,
        temporal_switch: keyframe,
        spatial_switch: false,
        inter_layer: dependency.present.iter().any(|(spatial, _)| spatial > frame.spatial),
        detail: Detail::None,
        dependency: Some(dependency),
    };
    known.temporal_switch |= frame.temporal > 0 && history.is_temporal_switch(&header, &frame, timestamp);
    known.spatial_switch = history.is_spatial_switch(&header, &frame, &dependency);
    history.remember(&header, &frame, timestamp);
    Some(Reading::Known(known))
}

impl History {
    fn new(from: u16, structure: &Structure) -> Self {
        Self { current: Sequence::new(from, structure), previous: None, newest: from, frames: [None; REMEMBERED] }
    }

    /// The decode targets of the newest sequence.
    pub(super) fn decode_targets(&self) -> DecodeTargets {
        self.current.structure.decode_targets()
    }

    /// The active decode targets of the newest sequence.
    pub(super) fn active_targets(&self) -> ActiveTargets {
        let count = self.decode_targets().count();
        ActiveTargets { mask: self.current.active & u32::MAX >> (32 - count), count }
    }

    /// The size of each spatial layer of the newest sequence, where sizes are sent.
    pub(super) fn resolutions(&self) -> Option<&[Resolution]> {
        self.current.structure.resolutions()
    }

    /// Takes in a structure that came with frame `from`.
    fn start_sequence(&mut self, from: u16, structure: &Structure) {
        if self.current.structure == *structure {
            // Most keyframes repeat what holds already; only the mask starts again.
            self.current.set_active(u32::MAX, from);
            return;
        }
        if is_late(from, self.newest) && is_late(from, self.current.from) {
            // Older than the sequence in force: only worth keeping if it is the latest of those before.
            if self.previous.as_ref().is_none_or(|previous| is_late(previous.from, from)) {
                self.previous = Some(Sequence::new(from, structure));
            }
            return;
        }
        let overtook = is_late(from, self.newest);
        let continues = overtook || is_late(self.newest, from);
        let past = core::mem::replace(&mut self.current, Sequence::new(from, structure));
        self.previous = continues.then_some(past);
        if !overtook {
            self.newest = from;
        }
        // Nothing refers back across the start of a sequence; what is numbered after it was read with an older
        // structure.
        self.frames = [None; REMEMBERED];
    }

    /// Notes the newest frame, and lets go of the previous sequence before its numbers come round again.
    fn expire(&mut self, frame_number: u16) {
        if !is_late(frame_number, self.newest) {
            self.newest = frame_number;
        }
        if self.newest.wrapping_sub(self.current.from) >= LATE {
            self.previous = None;
        }
    }

    /// The sequence that a frame belongs to.
    fn sequence_of(&mut self, frame_number: u16) -> &mut Sequence {
        match &mut self.previous {
            Some(previous) if is_late(frame_number, self.current.from) => previous,
            _ => &mut self.current,
        }
    }

    /// The frame that is `difference` before `frame_number`, if a packet of it came.
    fn referred(&self, frame_number: u16, difference: u16) -> Option<&Seen> {
        let wanted = frame_number.wrapping_sub(difference);
        let slot = self.frames.get(usize::from(wanted) % REMEMBERED)?;
        slot.as_ref().filter(|seen| seen.frame_number == wanted)
    }

    /// Whether a decoder of the lower temporal layers can follow this frame: all it refers to is in the base layer, or
    /// in the same picture's lower spatial layers, which start together with it.
    ///
    /// The indications cannot answer this: in L1T3 the top layer's frames are merely discardable, and the switch is
    /// told by the base frame before them (see [`Dependency::switch`]).
    fn is_temporal_switch(&self, header: &Header<'_>, frame: &Frame, timestamp: u32) -> bool {
        frame.references.as_slice().iter().all(|&difference| {
            self.referred(header.frame_number, difference)
                .is_some_and(|seen| seen.temporal == 0 || seen.timestamp == timestamp && seen.spatial < frame.spatial)
        })
    }

    /// Whether a decoder of the lower spatial layers can follow this frame's layer from here on: a switch for a target
    /// of this layer, predicted from lower spatial layers only.
    ///
    /// The indication alone promises something only to those who can decode the frame, and in L3T3 every base frame of
    /// an upper layer has it.
    fn is_spatial_switch(&self, header: &Header<'_>, frame: &Frame, dependency: &Dependency) -> bool {
        frame.spatial > 0
            && dependency.switch.iter().any(|(spatial, _)| spatial == frame.spatial)
            && (frame.references.as_slice().iter()).all(|&difference| {
                self.referred(header.frame_number, difference).is_some_and(|seen| seen.spatial < frame.spatial)
            })
    }

    fn remember(&mut self, header: &Header<'_>, frame: &Frame, timestamp: u32) {
        let Header { frame_number, .. } = *header;
        let seen = Seen { frame_number, timestamp, spatial: frame.spatial, temporal: frame.temporal };
        if let Some(slot) = self.frames.get_mut(usize::from(frame_number) % REMEMBERED) {
            // A straggler must not push out a frame that others still refer to.
            if slot.is_none_or(|old| !is_late(frame_number, old.frame_number)) {
                *slot = Some(seen);
            }
        }
    }
}

impl Sequence {
    fn new(from: u16, structure: &Structure) -> Self {
        Self { from, structure: *structure, active: u32::MAX, active_from: from }
    }

    /// The mask holds until another one, or the next structure.
    fn set_active(&mut self, mask: u32, frame_number: u16) {
        if !is_late(frame_number, self.active_from) {
            (self.active, self.active_from) = (mask, frame_number);
        }
    }

    /// Predicted from nothing, and the start of a chain that protects a target it is in.
    ///
    /// Without the chain an intra frame in mid-sequence would pass for a keyframe.
    fn is_keyframe(&self, frame: &Frame) -> bool {
        let starts_chain = |(target, &chain): (u8, &u8)| {
            frame.indications.of(target) != Indication::NotPresent
                && frame.chains.as_slice().get(usize::from(chain)) == Some(&0)
        };
        frame.references.as_slice().is_empty()
            && (self.structure.chain_count() == 0 || (0..).zip(self.structure.protected_by()).any(starts_chain))
    }

    fn dependency(&self, header: &Header<'_>, frame: &Frame) -> Dependency {
        let targets = self.structure.decode_targets();
        let (mut offered, mut present, mut switch) = (LayerSet::EMPTY, LayerSet::EMPTY, LayerSet::EMPTY);
        for (target, &(spatial, temporal)) in (0..).zip(targets.as_slice()) {
            if self.active >> target & 1 != 0 {
                offered.insert(spatial, temporal);
            }
            match frame.indications.of(target) {
                Indication::NotPresent => continue,
                Indication::Switch => switch.insert(spatial, temporal),
                Indication::Discardable | Indication::Required => {}
            }
            present.insert(spatial, temporal);
        }
        Dependency {
            frame_number: header.frame_number,
            decode_targets: targets.count(),
            has_structure: header.has_structure,
            offered,
            present,
            switch,
        }
    }
}

/// Whether a frame is numbered before another, but not so far that the numbers cannot be of one run.
fn is_late(frame_number: u16, than: u16) -> bool {
    (1..LATE).contains(&than.wrapping_sub(frame_number))
}

#[cfg(test)]
mod tests;
