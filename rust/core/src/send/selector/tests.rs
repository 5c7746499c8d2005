use super::super::tests::{SOURCE, keyframe, layer, packet, with};
use super::*;

const OTHER: Decision = Decision::Drop(Drop::OtherLayer);
const AWAITING: Decision = Decision::Drop(Drop::AwaitingKeyframe);
const LATE: Decision = Decision::Drop(Drop::TooLate);
const FORWARD: Decision = Decision::Forward { marker: true };
const SWITCH: Decision = Decision::Switch { marker: true };

fn selector(shape: Shape, spatial: u8, temporal: u8) -> Selector {
    let mut selector = Selector::new(SOURCE, shape);
    selector.set_target(Some(layer(spatial, temporal)));
    selector
}

/// Feeds packets, says what became of each.
fn run(selector: &mut Selector, packets: &[Packet]) -> Vec<Decision> {
    packets.iter().map(|packet| selector.select(SOURCE, packet)).collect()
}

fn temporal(seq: u64, temporal: u8, switch: bool) -> Packet {
    with(packet(0, seq), |p| {
        p.descriptor.temporal = temporal;
        p.descriptor.temporal_switch = switch;
    })
}

/// One packet of a frame of several: part 0 begins it, part `parts - 1` ends it.
fn part(base: Packet, part: u64, parts: u64) -> Packet {
    with(base, |p| {
        p.seq = p.seq.plus(part);
        p.descriptor.frame_start = part == 0;
        p.descriptor.frame_end = part + 1 == parts;
        p.header.marker = part + 1 == parts;
    })
}

/// A spatial layer's frame in one packet; the picture's timestamp is that of its lowest number.
fn spatial(picture: u64, layer: u8, layers: u8) -> Packet {
    with(packet(0, picture), |p| {
        p.seq = p.seq.plus(u64::from(layer));
        p.descriptor.spatial = layer;
        p.descriptor.inter_layer = layer + 1 < layers;
        p.header.marker = layer + 1 == layers;
    })
}

fn key(mut packet: Packet) -> Packet {
    packet.descriptor.keyframe = true;
    packet
}

fn late(packet: Packet) -> Packet {
    with(packet, |p| p.is_late = true)
}

#[test]
fn nothing_passes_without_a_target() {
    let mut selector = Selector::new(SOURCE, Shape::Simulcast);
    assert_eq!(selector.select(SOURCE, &keyframe(0, 100)), Decision::Drop(Drop::Paused));
    assert_eq!((selector.layer(), selector.wants_keyframe()), (None, None));
}

#[test]
fn a_stream_begins_at_a_keyframe() {
    let mut s = selector(Shape::Simulcast, 0, 2);
    assert_eq!(s.wants_keyframe(), Some(0));
    assert_eq!(run(&mut s, &[packet(0, 100), keyframe(0, 101), packet(0, 102)]), [AWAITING, SWITCH, FORWARD]);
    assert_eq!((s.layer(), s.wants_keyframe()), (Some(layer(0, 2)), None));
}

#[test]
fn a_stream_does_not_begin_within_a_keyframe() {
    let mut s = selector(Shape::Simulcast, 0, 2);
    let parts = |n| part(keyframe(0, 100), n, 3);
    assert_eq!(run(&mut s, &[parts(1), parts(2)]), [AWAITING; 2]);
    assert_eq!(run(&mut s, &[late(parts(0))]), [AWAITING], "its rest went by already");
    assert_eq!(s.wants_keyframe(), Some(0));
}

#[test]
fn a_stream_does_not_begin_with_what_came_before_it_was_followed() {
    let mut s = selector(Shape::Simulcast, 0, 2);
    run(&mut s, &[keyframe(0, 100)]);
    s.follow(SourceId(2), Shape::Simulcast);
    assert_eq!(s.wants_keyframe(), Some(0));
    assert_eq!(s.select(SourceId(2), &late(keyframe(0, 900))), AWAITING);
    assert_eq!(s.select(SOURCE, &packet(0, 101)), FORWARD);
    assert_eq!(s.select(SourceId(2), &keyframe(0, 901)), SWITCH);
}

#[test]
fn the_old_encoding_goes_on_until_the_new_ones_keyframe() {
    let mut s = selector(Shape::Simulcast, 0, 2);
    run(&mut s, &[keyframe(0, 100)]);
    s.set_target(Some(layer(2, 2)));
    assert_eq!(s.wants_keyframe(), Some(2));
    assert_eq!(run(&mut s, &[packet(2, 900), packet(0, 101), keyframe(1, 500)]), [AWAITING, FORWARD, OTHER]);
    assert_eq!(run(&mut s, &[keyframe(2, 901), packet(0, 103), packet(2, 902)]), [SWITCH, OTHER, FORWARD]);
    assert_eq!(run(&mut s, &[late(packet(0, 102))]), [LATE], "of before the switch");
    assert_eq!(s.layer(), Some(layer(2, 2)));
}

#[test]
fn a_switch_can_be_called_off() {
    let mut s = selector(Shape::Simulcast, 0, 2);
    run(&mut s, &[keyframe(0, 100)]);
    s.set_target(Some(layer(2, 2)));
    s.set_target(Some(layer(0, 2)));
    assert_eq!(s.wants_keyframe(), None);
    assert_eq!(run(&mut s, &[keyframe(2, 900), packet(0, 101)]), [OTHER, FORWARD]);
}

#[test]
fn temporal_layers_go_down_at_the_next_frame_and_up_one_by_one() {
    let mut s = selector(Shape::Simulcast, 0, 2);
    run(&mut s, &[keyframe(0, 100)]);
    let two = |n| part(temporal(101, 2, false), n, 2);
    run(&mut s, &[two(0)]);
    s.set_target(Some(layer(0, 0)));
    assert_eq!(run(&mut s, &[two(1)]), [FORWARD], "the frame begun is finished");
    assert_eq!(run(&mut s, &[temporal(103, 1, true), temporal(104, 0, false)]), [OTHER, FORWARD]);
    s.set_target(Some(layer(0, 2)));
    let frames = [
        (temporal(105, 2, true), OTHER),
        (temporal(106, 1, false), OTHER),
        (temporal(107, 1, true), FORWARD),
        (temporal(108, 2, false), OTHER),
        (temporal(109, 2, true), FORWARD),
        (temporal(110, 2, false), FORWARD),
    ];
    for (packet, decision) in frames {
        assert_eq!(s.select(SOURCE, &packet), decision, "{:?}", packet.seq);
    }
}

#[test]
fn a_keyframe_opens_all_temporal_layers() {
    let mut s = selector(Shape::Simulcast, 0, 0);
    run(&mut s, &[keyframe(0, 100)]);
    s.set_target(Some(layer(0, 2)));
    assert_eq!(
        run(&mut s, &[temporal(101, 2, false), keyframe(0, 102), temporal(103, 2, false)]),
        [OTHER, FORWARD, FORWARD]
    );
}

#[test]
fn a_frame_without_its_start_raises_nothing() {
    let mut s = selector(Shape::Simulcast, 0, 0);
    run(&mut s, &[keyframe(0, 100)]);
    s.set_target(Some(layer(0, 1)));
    let sync = |n| part(temporal(101, 1, true), n, 2);
    assert_eq!(run(&mut s, &[sync(1), sync(0)]), [OTHER, OTHER], "one frame, one decision");
}

#[test]
fn late_packets_get_the_decision_of_their_time() {
    let mut s = selector(Shape::Simulcast, 0, 1);
    run(&mut s, &[keyframe(0, 100)]);
    s.set_target(Some(layer(0, 0)));
    assert_eq!(run(&mut s, &[packet(0, 103)]), [FORWARD]);
    s.set_target(Some(layer(0, 1)));
    assert_eq!(run(&mut s, &[temporal(106, 1, true)]), [FORWARD]);
    assert_eq!(run(&mut s, &[temporal(102, 1, false)]), [FORWARD], "from before the way down");
    assert_eq!(run(&mut s, &[temporal(104, 1, false)]), [OTHER], "from between the two");
    assert_eq!(run(&mut s, &[packet(0, 105)]), [FORWARD]);
    assert_eq!(run(&mut s, &[temporal(107, 1, false)]), [FORWARD]);
    assert_eq!(run(&mut s, &[packet(0, 99)]), [LATE]);
}

#[test]
fn a_picture_that_is_no_longer_remembered_is_late() {
    let mut s = selector(Shape::Simulcast, 0, 1);
    run(&mut s, &[keyframe(0, 1000)]);
    let rest: Vec<Packet> = (1002..=1064).map(|seq| packet(0, seq)).collect();
    run(&mut s, &rest);
    assert_eq!(run(&mut s, &[packet(0, 1001)]), [FORWARD], "64 pictures: the first is just remembered");
    assert_eq!(run(&mut s, &[packet(0, 1001)]), [FORWARD], "that decision is remembered itself");
    run(&mut s, &[packet(0, 1065)]);
    assert_eq!(run(&mut s, &[packet(0, 1001)]), [LATE], "it was the oldest of them");
    assert_eq!(run(&mut s, &[keyframe(0, 1000)]), [LATE]);
}

#[test]
fn on_the_way_down_the_old_encoding_sheds_its_upper_temporal_layers() {
    let mut s = selector(Shape::Simulcast, 1, 2);
    run(&mut s, &[keyframe(1, 100)]);
    s.set_target(Some(layer(0, 0)));
    let upper = with(temporal(101, 1, true), |p| p.encoding = 1);
    assert_eq!(run(&mut s, &[upper, packet(1, 102)]), [OTHER, FORWARD]);
    let mut s = selector(Shape::Simulcast, 0, 1);
    run(&mut s, &[keyframe(0, 100)]);
    s.set_target(Some(layer(1, 0)));
    assert_eq!(run(&mut s, &[temporal(101, 1, true)]), [FORWARD], "on the way up there is room");
}

#[test]
fn svc_layers_above_the_target_are_cut_and_the_marker_moves_down() {
    let mut s = selector(Shape::Layered, 1, 0);
    let picture = |n: u64| [spatial(n, 0, 3), spatial(n, 1, 3), spatial(n, 2, 3)];
    let inside = Decision::Forward { marker: false };
    assert_eq!(run(&mut s, &picture(100).map(key)), [Decision::Switch { marker: false }, FORWARD, OTHER]);
    assert_eq!(run(&mut s, &picture(110)), [inside, FORWARD, OTHER]);
    s.set_target(Some(layer(0, 0)));
    assert_eq!(run(&mut s, &picture(120)), [FORWARD, OTHER, OTHER]);
    assert_eq!(s.layer(), Some(layer(0, 0)));
    assert_eq!(s.wants_keyframe(), None);
}

#[test]
fn svc_goes_down_between_pictures_only() {
    let mut s = selector(Shape::Layered, 1, 0);
    run(&mut s, &[key(spatial(100, 0, 2)), key(spatial(100, 1, 2)), spatial(110, 0, 2)]);
    s.set_target(Some(layer(0, 0)));
    assert_eq!(run(&mut s, &[spatial(110, 1, 2), spatial(120, 0, 2)]), [FORWARD, FORWARD]);
}

#[test]
fn svc_goes_up_at_a_keyframe_or_a_switch_point() {
    let mut s = selector(Shape::Layered, 0, 0);
    run(&mut s, &[key(spatial(100, 0, 3))]);
    s.set_target(Some(layer(2, 0)));
    assert_eq!(s.wants_keyframe(), None, "as far as is known there is no more");
    assert_eq!(run(&mut s, &[spatial(110, 0, 3), spatial(110, 1, 3)]), [FORWARD, OTHER]);
    assert_eq!(s.wants_keyframe(), Some(0));
    let point = |n, l| with(spatial(n, l, 3), |p| p.descriptor.spatial_switch = true);
    assert_eq!(run(&mut s, &[spatial(120, 0, 3), point(120, 2)]), [FORWARD, OTHER], "not over a layer that is missing");
    assert_eq!(
        run(&mut s, &[spatial(130, 0, 3), point(130, 1), spatial(130, 2, 3)])[1..],
        [Decision::Forward { marker: true }, OTHER]
    );
    assert_eq!(s.layer(), Some(layer(1, 0)));
    run(&mut s, &[key(spatial(140, 0, 3))]);
    assert_eq!((s.layer(), s.wants_keyframe()), (Some(layer(2, 0)), None));
}

#[test]
fn in_key_layered_streams_lower_layers_are_left_out_between_keyframes() {
    let mut s = selector(Shape::KeyLayered, 2, 0);
    let delta = |n: u64| [0, 1, 2].map(|l| with(spatial(n, l, 3), |p| p.descriptor.inter_layer = false));
    let keys = |n: u64| [0, 1, 2].map(|l| key(spatial(n, l, 3)));
    let inside = Decision::Forward { marker: false };
    assert_eq!(run(&mut s, &keys(100))[1..], [inside, FORWARD]);
    assert_eq!(run(&mut s, &delta(110)), [OTHER, OTHER, FORWARD]);
    s.set_target(Some(layer(1, 0)));
    assert_eq!(s.wants_keyframe(), Some(0), "layer 1 has holes");
    assert_eq!(run(&mut s, &delta(120)), [OTHER, OTHER, FORWARD]);
    assert_eq!(run(&mut s, &keys(130)), [inside, FORWARD, OTHER]);
    assert_eq!(run(&mut s, &delta(140)), [OTHER, FORWARD, OTHER]);
    assert_eq!(s.wants_keyframe(), None);
}

#[test]
fn flat_streams_pass_whole() {
    let mut s = selector(Shape::Flat, 0, 0);
    let bare = |seq| {
        with(packet(0, seq), |p| {
            p.descriptor.frame_start = false;
            p.header.marker = false;
        })
    };
    let inside = Decision::Forward { marker: false };
    assert_eq!(run(&mut s, &[bare(100), bare(102), bare(101)]), [Decision::Switch { marker: false }, inside, inside]);
}

#[test]
fn encodings_beyond_the_last_are_never_selected() {
    let mut s = selector(Shape::Simulcast, 0, 0);
    assert_eq!(run(&mut s, &[keyframe(200, 100)]), [OTHER]);
}

#[test]
fn a_late_lower_layer_is_kept_where_the_way_down_was_built_on_it() {
    let delta = |n: u64, l| with(spatial(n, l, 2), |p| p.descriptor.inter_layer = false);
    let mut s = selector(Shape::KeyLayered, 1, 0);
    run(&mut s, &[key(spatial(100, 0, 2)), key(spatial(100, 1, 2))]);
    s.set_target(Some(layer(0, 0)));
    assert_eq!(run(&mut s, &[delta(120, 0), delta(110, 0)]), [FORWARD, Decision::Forward { marker: false }]);
    let mut s = selector(Shape::KeyLayered, 1, 0);
    run(&mut s, &[key(spatial(100, 0, 2)), key(spatial(100, 1, 2)), delta(110, 0)]);
    assert_eq!(run(&mut s, &[delta(130, 1), delta(120, 0)]), [FORWARD, OTHER], "its past was left out");
}

#[test]
fn an_upper_layer_raises_no_temporal_layer() {
    let mut s = selector(Shape::Layered, 1, 0);
    run(&mut s, &[key(spatial(100, 0, 2)), key(spatial(100, 1, 2))]);
    s.set_target(Some(layer(1, 1)));
    let upper = with(spatial(110, 1, 2), |p| {
        p.descriptor.temporal = 1;
        p.descriptor.temporal_switch = true;
    });
    assert_eq!(run(&mut s, &[upper]), [OTHER], "the lower layer of this picture is still under way");
}
