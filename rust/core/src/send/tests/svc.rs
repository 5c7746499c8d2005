//! A publisher of spatial layers in one stream, the same bad network, the same restless subscriber: what a decoder of
//! layers needs.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::simulation::{Dice, Trouble};
use super::*;
use crate::payload::{Descriptor, Detail, Patch, PictureId, vp9};

const LAYERS: u8 = 3;

/// A layer frame: picture, spatial layer.
type FrameId = (u64, u8);

/// Three spatial and two temporal layers; in [`Shape::KeyLayered`] layers meet in keyframes only.
struct Encoder {
    shape: Shape,
    picture: u64,
    seq: u64,
    /// By spatial and temporal layer.
    last: [[Option<FrameId>; 2]; LAYERS as usize],
    is_asked: bool,
}

impl Encoder {
    fn encode(&mut self, dice: &mut Dice) -> Vec<(FrameId, Vec<FrameId>, Vec<Packet>)> {
        let is_key = core::mem::take(&mut self.is_asked);
        let temporal = if is_key { 0 } else { usize::try_from(self.picture % 2).unwrap() };
        // Now and then the upper layers are predicted from below alone: a way in.
        let is_open = !is_key && self.shape == Shape::Layered && temporal == 0 && dice.percent(5);
        let is_stacked = is_key || self.shape == Shape::Layered;
        let mut frames = vec![];
        for spatial in 0..LAYERS {
            let id = (self.picture, spatial);
            let last = &mut self.last[usize::from(spatial)];
            if is_key || (is_open && spatial > 0) {
                *last = [None; 2];
            }
            let mut references: Vec<FrameId> = last.iter().take(temporal + 1).flatten().copied().collect();
            if is_stacked && spatial > 0 {
                references.push((self.picture, spatial - 1));
            }
            last[temporal] = Some(id);
            let parts = 1 + dice.roll(3);
            let packets = (0..parts)
                .map(|part| {
                    with(packet(0, self.seq + part), |p| {
                        p.header.timestamp = u32::try_from(self.picture * 3000).unwrap();
                        p.header.marker = spatial + 1 == LAYERS && part + 1 == parts;
                        p.descriptor = Descriptor {
                            frame_start: part == 0,
                            frame_end: part + 1 == parts,
                            keyframe: is_key,
                            spatial,
                            temporal: u8::try_from(temporal).unwrap(),
                            // Layer 1 refers to its own past, unless a way in cut it off just before.
                            temporal_switch: references
                                .iter()
                                .all(|(picture, _)| picture % 2 == 0 || *picture == self.picture),
                            spatial_switch: is_open && spatial > 0,
                            inter_layer: is_stacked && spatial + 1 < LAYERS,
                            detail: Detail::Vp9(vp9::Numbers {
                                picture_id: PictureId::Long(u16::try_from(self.picture & 0x7FFF).unwrap()),
                                tl0_pic_idx: None,
                            }),
                            dependency: None,
                        };
                    })
                })
                .collect();
            self.seq += parts;
            frames.push((id, references, packets));
        }
        self.picture += 1;
        frames
    }
}

#[derive(Default)]
struct Trace {
    references: BTreeMap<FrameId, Vec<FrameId>>,
    /// By outgoing number: frame, packet, marker, picture id, segment.
    sent: BTreeMap<u64, (FrameId, Packet, bool, u16, u64)>,
    left_out: BTreeSet<(FrameId, u64)>,
    limits: BTreeSet<Layer>,
    /// Pictures in the middle of which a layer was added.
    opened: BTreeSet<u64>,
}

fn play(seed: u64, shape: Shape, ticks: u64, trouble: Trouble) -> Trace {
    let mut dice = Dice(seed);
    let mut trace = Trace::default();
    let mut encoder = Encoder { shape, picture: 1000, seq: 0x1_8000, last: [[None; 2]; 3], is_asked: true };
    let mut sender = Sender::new(Start { history: 1024, ..START }, source(SOURCE, shape));
    sender.set_target(layer(2, 1));
    let mut wire: BTreeMap<(u64, u64), (FrameId, Packet)> = BTreeMap::new();
    let (mut order, mut newest) = (0, SeqNo(0));
    for tick in 0..ticks {
        if dice.percent(trouble.restless) {
            match dice.roll(10) {
                0 => sender.pause(),
                1..=2 => sender.resume(),
                _ => sender.set_target(layer(u8::try_from(dice.roll(3)).unwrap(), u8::try_from(dice.roll(2)).unwrap())),
            }
        }
        encoder.is_asked |= sender.wants_keyframe().is_some() && dice.percent(10);
        let mut at = tick * 33_000;
        for (id, references, packets) in encoder.encode(&mut dice) {
            trace.references.insert(id, references);
            for packet in packets {
                at += 100;
                for at in trouble.arrivals(&mut dice, at).0 {
                    order += 1;
                    wire.insert((at, order), (id, packet));
                }
            }
        }
        let rest = wire.split_off(&((tick + 1) * 33_000, 0));
        for ((at, _), (id, mut packet)) in core::mem::replace(&mut wire, rest) {
            packet.arrived_at = Time::from_nanos(at * 1000);
            packet.is_late = packet.seq <= newest;
            newest = packet.seq.max(newest);
            take(&mut trace, &mut sender, id, packet);
        }
    }
    trace
}

fn take(trace: &mut Trace, sender: &mut Sender, id: FrameId, packet: Packet) {
    let before = sender.limit();
    let result = sender.forward(packet.arrived_at, SOURCE, &packet, packet.seq.0);
    let segment = sender.stats().switches;
    if before.zip(sender.limit()).is_some_and(|(old, new)| old.spatial < new.spatial) && packet.descriptor.spatial > 0 {
        trace.opened.insert(id.0);
    }
    trace.limits.extend(sender.limit());
    match result {
        Ok(seq) => {
            let entry = sender.entry(seq).unwrap();
            let Patch::Vp9 { picture_id, .. } = entry.patch else { panic!("no VP9 numbers") };
            let sent = (id, packet, entry.marker, picture_id, segment);
            assert!(trace.sent.insert(seq.0, sent).is_none(), "{seq:?} was used twice");
        }
        Err(Drop::Duplicate) => {}
        Err(_) if sender.limit().is_some() => drop(trace.left_out.insert((id, segment))),
        Err(_) => {}
    }
}

fn judge(trace: &Trace) {
    let all: Vec<_> = trace.sent.values().collect();
    let mut done = BTreeSet::new();
    for pair in all.windows(2) {
        let [(before, packet, marker, before_id, before_segment), (id, next, _, picture_id, segment)] = pair else {
            unreachable!()
        };
        assert!(packet.seq < next.seq, "the order of the original is kept");
        let step = picture_id.wrapping_sub(*before_id) & 0x7FFF;
        if before.0 == id.0 {
            assert_eq!((before_segment, step), (segment, 0));
            assert!(!marker || trace.opened.contains(&id.0), "picture {} goes on after its marker", id.0);
        } else {
            assert!(done.insert(before.0), "picture {} goes on after another", before.0);
            let apart = if before_segment == segment { id.0 - before.0 } else { 1 };
            assert_eq!(u64::from(step), apart, "references by picture id stay right");
        }
        if before_segment != segment {
            assert!(next.descriptor.keyframe && next.descriptor.frame_start && next.descriptor.spatial == 0);
        }
    }
    for &(id, _, _, _, segment) in trace.sent.values() {
        assert!(!trace.left_out.contains(&(id, segment)), "{id:?} was forwarded in part");
        for reference in &trace.references[&id] {
            assert!(!trace.left_out.contains(&(*reference, segment)), "{id:?} refers to {reference:?}, left out");
        }
    }
}

const QUIET: Trouble = Trouble { lost: 0, retransmitted: 0, reordered: 0, duplicated: 0, restless: 0 };

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_decoder_of_layers_has_all_it_needs_whatever_the_network_does(
        seed: u64, is_keyed: bool, lost in 0u64..10, retransmitted in 0u64..=100, reordered in 0u64..10,
        duplicated in 0u64..10, restless in 0u64..20,
    ) {
        let shape = if is_keyed { Shape::KeyLayered } else { Shape::Layered };
        judge(&play(seed, shape, 200, Trouble { lost, retransmitted, reordered, duplicated, restless }));
    }

    #[test]
    fn without_loss_each_picture_ends_with_its_marker(seed: u64, is_keyed: bool, restless in 0u64..30) {
        let shape = if is_keyed { Shape::KeyLayered } else { Shape::Layered };
        let trace = play(seed, shape, 200, Trouble { restless, ..QUIET });
        judge(&trace);
        let all: Vec<_> = trace.sent.iter().collect();
        for pair in all.windows(2) {
            let [(before_seq, before), (seq, sent)] = pair else { unreachable!() };
            prop_assert_eq!(**before_seq + 1, **seq, "a hole");
            prop_assert!(before.0.0 == sent.0.0 || before.2, "picture {} has no end", before.0.0);
        }
    }
}

#[test]
fn the_simulation_reaches_what_it_is_for() {
    for shape in [Shape::Layered, Shape::KeyLayered] {
        let trouble = Trouble { lost: 3, retransmitted: 80, reordered: 3, duplicated: 3, restless: 10 };
        let trace = play(1, shape, 3000, trouble);
        judge(&trace);
        assert_eq!(trace.limits.len(), 6, "all layers were reached");
        let (sent, left_out) = (trace.sent.len(), trace.left_out.len());
        assert!(sent > 2000 && left_out > 300, "{sent} packets sent, {left_out} frames left out");
        assert_eq!(trace.opened.is_empty(), shape == Shape::KeyLayered);
    }
}
