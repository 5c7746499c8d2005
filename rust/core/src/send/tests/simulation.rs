//! A publisher of simulcast, a bad network and a restless subscriber against one sender; then what a decoder needs is
//! checked on all that was sent.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::payload::{Descriptor, Detail, Patch, PictureId, vp8};

/// A generator of our own, so that a failing seed says all.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.roll(100) < chance
    }
}

/// What goes wrong, each in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trouble {
    pub(super) lost: u64,
    pub(super) retransmitted: u64,
    pub(super) reordered: u64,
    pub(super) duplicated: u64,
    pub(super) restless: u64,
}

impl Trouble {
    /// When the copies of a packet sent at `at` (microseconds) arrive, and whether that is not as it should be.
    pub(super) fn arrivals(&self, dice: &mut Dice, at: u64) -> (Vec<u64>, bool) {
        let (mut arrivals, mut is_disturbed) = (vec![at], false);
        if dice.percent(self.lost) {
            is_disturbed = true;
            arrivals.clear();
            if dice.percent(self.retransmitted) {
                arrivals.push(at + 20_000 + dice.roll(400_000));
            }
        } else if dice.percent(self.reordered) {
            is_disturbed = true;
            arrivals = vec![at + dice.roll(60_000)];
        }
        if dice.percent(self.duplicated) {
            arrivals.push(at + dice.roll(100_000));
        }
        (arrivals, is_disturbed)
    }
}

/// A frame by source, encoding and count.
type FrameId = (u32, u8, u64);

#[derive(Clone, Debug)]
struct Frame {
    references: Vec<FrameId>,
    is_keyframe: bool,
    temporal: u8,
}

#[derive(Clone, Debug)]
struct Sent {
    frame: FrameId,
    packet: Packet,
    timestamp: u32,
    marker: bool,
    picture_id: u16,
    tl0: u8,
    segment: u64,
}

/// One encoding of a publisher: layers in the order 0 2 1 2, with a sync frame of each upper layer every second round.
struct Encoder {
    source: u32,
    encoding: u8,
    seq: u64,
    timestamp: u32,
    count: u64,
    picture_id: u16,
    tl0: u8,
    position: u64,
    last: [Option<FrameId>; 3],
    is_asked: bool,
}

impl Encoder {
    fn new(source: u32, encoding: u8, dice: &mut Dice) -> Self {
        Self {
            source,
            encoding,
            seq: 0x1_0000 + dice.roll(0x1_0000),
            timestamp: u32::try_from(dice.roll(1 << 31)).unwrap() * 2,
            count: 0,
            picture_id: u16::try_from(dice.roll(1 << 15)).unwrap(),
            tl0: u8::try_from(dice.roll(256)).unwrap(),
            position: 0,
            last: [None; 3],
            is_asked: true,
        }
    }

    fn encode(&mut self, dice: &mut Dice) -> (FrameId, Frame, Vec<Packet>) {
        let id = (self.source, self.encoding, self.count);
        let is_keyframe = core::mem::take(&mut self.is_asked);
        if is_keyframe {
            self.position = 0;
            self.last = [None; 3];
        }
        let temporal = [0, 2, 1, 2][usize::try_from(self.position % 4).unwrap()];
        let is_sync = temporal > 0 && self.position % 8 < 4 && self.position % 4 != 3;
        // A sync frame knows the layers below, others their own too.
        let known = if is_sync { temporal } else { temporal + 1 };
        let references = self.last.iter().take(known).flatten().copied().collect();
        self.last[temporal] = Some(id);
        let temporal = u8::try_from(temporal).unwrap();
        if temporal == 0 {
            self.tl0 = self.tl0.wrapping_add(1);
        }
        let parts = 1 + dice.roll(2 + u64::from(self.encoding)) + if is_keyframe { 3 } else { 0 };
        let packets = (0..parts)
            .map(|part| {
                with(packet(self.encoding, self.seq + part), |p| {
                    p.header.timestamp = self.timestamp;
                    p.header.marker = part + 1 == parts;
                    p.descriptor = Descriptor {
                        frame_start: part == 0,
                        frame_end: part + 1 == parts,
                        keyframe: is_keyframe,
                        spatial: 0,
                        temporal,
                        temporal_switch: is_sync,
                        spatial_switch: false,
                        inter_layer: false,
                        detail: Detail::Vp8(vp8::Numbers {
                            picture_id: PictureId::Long(self.picture_id),
                            tl0_pic_idx: Some(self.tl0),
                            key_idx: None,
                        }),
                        dependency: None,
                    };
                })
            })
            .collect();
        self.seq += parts;
        self.count += 1;
        self.position += 1;
        self.picture_id = (self.picture_id + 1) & 0x7FFF;
        self.timestamp = self.timestamp.wrapping_add(3000);
        (id, Frame { references, is_keyframe, temporal }, packets)
    }
}

/// All that happened.
#[derive(Default)]
struct Trace {
    frames: BTreeMap<FrameId, Frame>,
    sent: BTreeMap<u64, Sent>,
    /// Frames of which we left a packet out while their stream was forwarded, with the segment.
    left_out: BTreeSet<(FrameId, u64)>,
    /// Packets that did not arrive, or out of order, by source, encoding, number.
    disturbed: BTreeSet<(u32, u8, u64)>,
}

/// Plays `ticks` frame times of 33 ms.
fn play(seed: u64, ticks: u64, trouble: Trouble) -> Trace {
    let mut dice = Dice(seed);
    let mut trace = Trace::default();
    let mut encoders: Vec<Encoder> =
        (1..=2).flat_map(|s| (0..3).map(move |e| (s, e))).map(|(s, e)| Encoder::new(s, e, &mut dice)).collect();
    let mut sender =
        Sender::new(Start { history: 1024, sequence_number: 0xFF00, ..START }, source(SOURCE, Shape::Simulcast));
    sender.set_target(layer(2, 2));
    let mut followed = 1;
    let mut newest = [[SeqNo(0); MAX_ENCODINGS]; 3];
    let mut wire: BTreeMap<(u64, u64), (FrameId, Packet)> = BTreeMap::new();
    let mut order = 0;
    for tick in 0..ticks {
        if dice.percent(trouble.restless) {
            let target = layer(u8::try_from(dice.roll(3)).unwrap(), u8::try_from(dice.roll(3)).unwrap());
            match dice.roll(12) {
                0 => sender.pause(),
                1..=3 => sender.resume(),
                4 => {
                    followed = 1 + u32::try_from(dice.roll(2)).unwrap();
                    sender.switch_source(source(SourceId(followed), Shape::Simulcast));
                }
                _ => sender.set_target(target),
            }
        }
        if let Some(encoding) = sender.wants_keyframe()
            && dice.percent(20)
        {
            encoders
                .iter_mut()
                .filter(|e| e.source == followed && e.encoding == encoding)
                .for_each(|e| e.is_asked = true);
        }
        for encoder in &mut encoders {
            encoder.is_asked |= dice.percent(1);
            if dice.percent(trouble.restless) {
                let stream = Stream { source: SourceId(encoder.source), encoding: encoder.encoding };
                let at = Time::from_nanos(tick * 33_000_000);
                sender.handle_clock(
                    stream,
                    Some(ClockMap { ntp: (tick << 32) / 30, rtp: encoder.timestamp, at, clock_rate: 90_000 }),
                );
            }
            let (id, frame, packets) = encoder.encode(&mut dice);
            trace.frames.insert(id, frame);
            for (part, packet) in (0..).zip(packets) {
                let at = tick * 33_000 + u64::from(id.1) * 5000 + part * 100;
                let (arrivals, late) = trouble.arrivals(&mut dice, at);
                if late {
                    trace.disturbed.insert((id.0, id.1, packet.seq.0));
                }
                for at in arrivals {
                    order += 1;
                    wire.insert((at, order), (id, packet));
                }
            }
        }
        let rest = wire.split_off(&((tick + 1) * 33_000, 0));
        for ((at, _), (id, mut packet)) in core::mem::replace(&mut wire, rest) {
            packet.arrived_at = Time::from_nanos(at * 1000);
            let newest = &mut newest[id.0 as usize][usize::from(id.1)];
            packet.is_late = packet.seq <= *newest;
            *newest = packet.seq.max(*newest);
            take(&mut trace, &mut sender, id, packet);
        }
    }
    trace
}

fn take(trace: &mut Trace, sender: &mut Sender, id: FrameId, packet: Packet) {
    let reference = (u64::from(id.0) << 60) | (u64::from(id.1) << 56) | packet.seq.0;
    let result = sender.forward(packet.arrived_at, SourceId(id.0), &packet, reference);
    let segment = sender.stats().switches;
    match result {
        Ok(seq) => {
            let entry = sender.entry(seq).unwrap();
            assert_eq!(entry.packet, reference);
            let Patch::Vp8 { picture_id, tl0_pic_idx, .. } = entry.patch else { panic!("no VP8 numbers") };
            let sent = Sent {
                frame: id,
                packet,
                timestamp: entry.timestamp,
                marker: entry.marker,
                picture_id,
                tl0: tl0_pic_idx,
                segment,
            };
            assert!(trace.sent.insert(seq.0, sent).is_none(), "{seq:?} was used twice");
        }
        Err(Drop::Duplicate) => {}
        Err(_) => {
            if sender.selector.stream() == Some(Stream { source: SourceId(id.0), encoding: id.1 }) {
                trace.left_out.insert((id, segment));
            }
        }
    }
}

/// What a decoder needs of every pair of neighbours, and of every frame.
fn judge(trace: &Trace) {
    let mut originals = BTreeSet::new();
    let mut seen_frames = BTreeSet::new();
    let mut newest: BTreeMap<(u32, u8), u64> = BTreeMap::new();
    for sent in trace.sent.values() {
        let (s, e, _) = sent.frame;
        assert!(originals.insert((s, e, sent.packet.seq)), "{:?} was sent under two numbers", sent.packet.seq);
        let last = newest.insert((s, e), sent.packet.seq.0);
        assert!(last < Some(sent.packet.seq.0), "the order of the original is kept");
        assert_eq!(sent.marker, sent.packet.descriptor.frame_end);
        seen_frames.insert((sent.frame, sent.segment));
    }
    let mut done = BTreeSet::new();
    let all: Vec<_> = trace.sent.iter().collect();
    if let Some((_, first)) = all.first() {
        assert!(first.packet.descriptor.keyframe && first.packet.descriptor.frame_start);
    }
    for pair in all.windows(2) {
        let [(before_seq, before), (seq, sent)] = pair else { unreachable!() };
        let gap = *seq - *before_seq - 1;
        if before.frame == sent.frame {
            assert_eq!(before.timestamp, sent.timestamp);
            assert_eq!((before.picture_id, before.tl0), (sent.picture_id, sent.tl0));
            assert_eq!(gap, sent.packet.seq.0 - before.packet.seq.0 - 1, "holes in a frame are those of the original");
            continue;
        }
        assert!(done.insert(before.frame), "{:?} goes on after another frame", before.frame);
        assert!(sent.timestamp.wrapping_sub(before.timestamp) < 1 << 31, "time goes back at {seq}");
        let step = sent.picture_id.wrapping_sub(before.picture_id) & 0x7FFF;
        if before.segment != sent.segment {
            assert!(
                sent.packet.descriptor.keyframe && sent.packet.descriptor.frame_start,
                "begins with {:?}",
                sent.packet
            );
            assert_eq!((gap, step), (0, 1), "a switch leaves no hole");
            assert_eq!(sent.tl0, before.tl0.wrapping_add(1));
            continue;
        }
        let (s, e, _) = sent.frame;
        let missing =
            (before.packet.seq.0 + 1..sent.packet.seq.0).filter(|n| trace.disturbed.contains(&(s, e, *n))).count();
        assert!(gap <= missing as u64, "{gap} numbers never come for {missing} that the network took, at {seq}");
        assert!(u64::from(step) >= 1 && u64::from(step) - 1 <= missing as u64, "picture ids: {step} for {missing}");
    }
    for &(id, segment) in &seen_frames {
        assert!(!trace.left_out.contains(&(id, segment)), "{id:?} was forwarded in part");
        for reference in &trace.frames[&id].references {
            assert!(!trace.left_out.contains(&(*reference, segment)), "{id:?} refers to {reference:?}, left out");
        }
    }
}

const QUIET: Trouble = Trouble { lost: 0, retransmitted: 0, reordered: 0, duplicated: 0, restless: 0 };

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_decoder_has_all_it_needs_whatever_the_network_does(
        seed: u64, lost in 0u64..15, retransmitted in 0u64..=100, reordered in 0u64..15, duplicated in 0u64..10,
        restless in 0u64..20,
    ) {
        judge(&play(seed, 300, Trouble { lost, retransmitted, reordered, duplicated, restless }));
    }

    #[test]
    fn without_loss_there_is_no_hole_at_all(seed: u64, restless in 0u64..30) {
        let trace = play(seed, 300, Trouble { restless, ..QUIET });
        judge(&trace);
        let numbers: Vec<u64> = trace.sent.keys().copied().collect();
        prop_assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1));
    }
}

#[test]
fn a_calm_room_gets_every_packet() {
    let trace = play(7, 100, QUIET);
    judge(&trace);
    let of_two = |frame: &FrameId| frame.0 == 1 && frame.1 == 2;
    let frames: BTreeSet<_> = trace.sent.values().map(|sent| sent.frame).collect();
    assert_eq!(frames.len(), trace.frames.keys().filter(|frame| of_two(frame)).count());
    assert!(frames.iter().all(of_two));
}

#[test]
fn the_simulation_reaches_what_it_is_for() {
    let trouble = Trouble { lost: 5, retransmitted: 80, reordered: 5, duplicated: 5, restless: 10 };
    let trace = play(1, 3000, trouble);
    judge(&trace);
    let segments: BTreeSet<_> = trace.sent.values().map(|sent| sent.segment).collect();
    let streams: BTreeSet<_> = trace.sent.values().map(|sent| (sent.frame.0, sent.frame.1)).collect();
    let layers: BTreeSet<_> = trace.sent.values().map(|sent| trace.frames[&sent.frame].temporal).collect();
    let holes = trace.sent.keys().zip(trace.sent.keys().skip(1)).filter(|(a, b)| *b - *a > 1).count();
    assert!(segments.len() > 50, "{} switches", segments.len());
    assert_eq!((streams.len(), layers.len()), (6, 3));
    assert!(holes > 20 && trace.left_out.len() > 500, "{holes} holes, {} frames left out", trace.left_out.len());
    assert!(trace.sent.values().filter(|s| trace.frames[&s.frame].is_keyframe).count() > 50);
}
