use proptest::prelude::*;

use super::super::dependency_descriptor::tests::{Packet, Text, l1t3, template};
use super::*;

/// A stream of one-packet frames, its structure in the first.
struct Stream {
    history: Option<Box<History>>,
    text: Text,
}

impl Stream {
    fn new(text: Text) -> Self {
        Self { history: None, text }
    }

    /// The packet of frame `frame_number` made from template `index`.
    fn packet(&self, frame_number: u16, index: u8) -> Packet {
        Packet {
            start: true,
            end: true,
            template_id: (self.text.offset + index) % 64,
            frame_number,
            ..Packet::default()
        }
    }

    fn read_packet(&mut self, packet: &Packet, timestamp: u32) -> Option<Descriptor> {
        match read(&mut self.history, &packet.write(), timestamp).unwrap() {
            Reading::Known(known) => Some(known),
            Reading::Unknown { .. } => None,
        }
    }

    fn read(&mut self, frame_number: u16, index: u8, timestamp: u32) -> Option<Descriptor> {
        let packet = self.packet(frame_number, index);
        self.read_packet(&packet, timestamp)
    }

    /// The same with the structure in it.
    fn read_key(&mut self, frame_number: u16, index: u8, timestamp: u32) -> Option<Descriptor> {
        let packet = Packet { structure: Some(self.text.clone()), ..self.packet(frame_number, index) };
        self.read_packet(&packet, timestamp)
    }
}

/// Spatial and temporal layer, then K, T, S, I for keyframe, temporal and spatial switch, and inter-layer.
fn told(descriptor: Option<Descriptor>) -> (u8, u8, String) {
    let d = descriptor.expect("a known structure");
    let flags = [(d.keyframe, 'K'), (d.temporal_switch, 'T'), (d.spatial_switch, 'S'), (d.inter_layer, 'I')];
    (d.spatial, d.temporal, flags.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect())
}

fn layers(spatial: u8, temporal: u8, flags: &str) -> (u8, u8, String) {
    (spatial, temporal, flags.to_owned())
}

/// Three spatial and three temporal layers, in pictures of three frames, T0 T2 T1 T2. [`Mode::Key`] uses layers below
/// only in the first picture; [`Mode::Full`] in each; [`Mode::Simulcast`] never.
#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Full,
    Key,
    Simulcast,
}

/// Per spatial layer five templates: key picture, T0, T2 before T1, T1, T2 after it (in the order of the wire: T1
/// first).
const KEY: u8 = 0;
const T0: u8 = 1;
const T1: u8 = 2;
const T2A: u8 = 3;
const T2B: u8 = 4;

fn three_by_three(mode: Mode) -> Text {
    let mut templates = Vec::new();
    for spatial in 0..3_u8 {
        // Target n is (n / 3, n % 3); a frame is in those of its own spatial layer, and above if they build on it.
        let dtis = |own: &str, reaches: bool| -> String {
            (0..3).map(|s| if s == spatial || s > spatial && reaches { own } else { "---" }).collect()
        };
        let key_reaches = mode != Mode::Simulcast;
        let reaches = mode == Mode::Full;
        let below = |fdiff: u16| -> Vec<u16> { if reaches && spatial > 0 { vec![fdiff, 1] } else { vec![fdiff] } };
        let key_fdiffs: &[u16] = if key_reaches && spatial > 0 { &[1] } else { &[] };
        let key_chains: Vec<u8> = (0..3_u8)
            .map(|chain| match mode {
                _ if chain < spatial => spatial - chain,
                Mode::Simulcast => 0,
                _ => spatial.min(1),
            })
            .collect();
        // Of the other frames only the difference to zero matters here.
        let chains = [7; 3];
        templates.push(template(spatial, 0, &dtis("SSS", key_reaches), key_fdiffs, &key_chains));
        templates.push(template(spatial, 0, &dtis("SSS", reaches), &below(12), &chains));
        templates.push(template(spatial, 1, &dtis("-DS", reaches), &below(6), &chains));
        templates.push(template(spatial, 2, &dtis("--D", reaches), &below(3), &chains));
        templates.push(template(spatial, 2, &dtis("--D", reaches), &below(3), &chains));
    }
    Text {
        offset: 50,
        templates,
        protected_by: vec![0, 0, 0, 1, 1, 1, 2, 2, 2],
        resolutions: vec![(320, 180), (640, 360), (1280, 720)],
    }
}

/// Reads `pictures` of three frames, the first with the structure, and tells each frame.
fn play(stream: &mut Stream, pictures: &[u8]) -> Vec<(u8, u8, String)> {
    let mut all = Vec::new();
    for (picture, index) in (0_u16..).zip(pictures) {
        for spatial in 0..3_u8 {
            let (number, template) = (picture * 3 + u16::from(spatial), spatial * 5 + index);
            let timestamp = 3000 * u32::from(picture);
            all.push(told(if number == 0 {
                stream.read_key(number, template, timestamp)
            } else {
                stream.read(number, template, timestamp)
            }));
        }
    }
    all
}

#[test]
fn three_temporal_layers_switch_where_they_build_on_the_base() {
    let mut stream = Stream::new(l1t3(10));
    assert_eq!(told(stream.read_key(0, 0, 0)), layers(0, 0, "KT"));
    assert_eq!(told(stream.read(1, 3, 3000)), layers(0, 2, "T"), "on the base");
    assert_eq!(told(stream.read(2, 2, 6000)), layers(0, 1, "T"));
    assert_eq!(told(stream.read(3, 4, 9000)), layers(0, 2, ""), "on layer 1");
    assert_eq!(told(stream.read(4, 1, 12000)), layers(0, 0, ""));
    // Frame 5's base is lost: nobody may start layer 2 here.
    assert_eq!(told(stream.read(9, 3, 27000)), layers(0, 2, ""));
    let dependency = stream.read(10, 2, 30000).unwrap().dependency.unwrap();
    assert_eq!(dependency.present.iter().collect::<Vec<_>>(), [(0, 1), (0, 2)]);
    assert_eq!(dependency.switch.iter().collect::<Vec<_>>(), [(0, 2)]);
    assert_eq!(dependency.offered.iter().collect::<Vec<_>>(), [(0, 0), (0, 1), (0, 2)]);
    assert_eq!((dependency.decode_targets, dependency.frame_number), (3, 10));
}

#[test]
fn key_mode_needs_lower_layers_in_the_key_picture_only() {
    let mut stream = Stream::new(three_by_three(Mode::Key));
    let expected = [
        [layers(0, 0, "KTI"), layers(1, 0, "SI"), layers(2, 0, "S")],
        [layers(0, 2, "T"), layers(1, 2, "T"), layers(2, 2, "T")],
        [layers(0, 1, "T"), layers(1, 1, "T"), layers(2, 1, "T")],
        [layers(0, 2, ""), layers(1, 2, ""), layers(2, 2, "")],
        [layers(0, 0, ""), layers(1, 0, ""), layers(2, 0, "")],
    ];
    assert_eq!(play(&mut stream, &[KEY, T2A, T1, T2B, T0]), expected.concat());
    let targets = stream.history.as_ref().unwrap().decode_targets();
    assert_eq!(targets.as_slice().len(), 9);
    assert_eq!(targets.up_to(1, 2).mask, 0b11_1111);
    assert_eq!(targets.up_to(2, 0).mask, 0b0100_1001);
}

#[test]
fn full_svc_builds_on_lower_layers_in_every_picture() {
    let mut stream = Stream::new(three_by_three(Mode::Full));
    let expected = [
        [layers(0, 0, "KTI"), layers(1, 0, "SI"), layers(2, 0, "S")],
        [layers(0, 2, "TI"), layers(1, 2, "TI"), layers(2, 2, "T")],
        // The indication says switch again; it is none for a decoder without the picture before.
        [layers(0, 1, "TI"), layers(1, 1, "TI"), layers(2, 1, "T")],
        [layers(0, 2, "I"), layers(1, 2, "I"), layers(2, 2, "")],
        [layers(0, 0, "I"), layers(1, 0, "I"), layers(2, 0, "")],
    ];
    assert_eq!(play(&mut stream, &[KEY, T2A, T1, T2B, T0]), expected.concat());
}

#[test]
fn simulcast_in_one_stream_has_a_keyframe_per_layer() {
    let mut stream = Stream::new(three_by_three(Mode::Simulcast));
    let expected = [
        [layers(0, 0, "KT"), layers(1, 0, "KTS"), layers(2, 0, "KTS")],
        [layers(0, 2, "T"), layers(1, 2, "T"), layers(2, 2, "T")],
    ];
    assert_eq!(play(&mut stream, &[KEY, T2A]), expected.concat());
    let top = stream.read(6, 10 + T1, 6000).unwrap().dependency.unwrap();
    assert_eq!(top.present.iter().collect::<Vec<_>>(), [(2, 1), (2, 2)]);
}

#[test]
fn an_intra_frame_in_mid_chain_is_no_keyframe() {
    let mut stream = Stream::new(l1t3(0));
    assert!(stream.read_key(0, 0, 0).unwrap().keyframe);
    let intra =
        |chain: u8, stream: &Stream| Packet { fdiffs: Some(vec![]), chains: Some(vec![chain]), ..stream.packet(4, 1) };
    let (middle, start) = (intra(4, &stream), intra(0, &stream));
    assert!(!stream.read_packet(&middle, 12000).unwrap().keyframe);
    assert!(stream.read_packet(&start, 12000).unwrap().keyframe);
}

#[test]
fn a_packet_before_its_structure_is_left_to_the_payload() {
    let mut stream = Stream::new(l1t3(0));
    assert!(stream.read(1, 3, 3000).is_none());
    let packet = Packet { start: false, ..stream.packet(1, 3) }.write();
    let reading = read(&mut stream.history, &packet, 3000);
    assert!(matches!(reading, Some(Reading::Unknown { frame_start: false, frame_end: true })));
    assert!(stream.read_key(0, 0, 0).is_some());
    assert_eq!(told(stream.read(1, 3, 3000)), layers(0, 2, "T"));
}

#[test]
fn a_straggler_is_read_with_the_structure_of_its_time() {
    let mut stream = Stream::new(l1t3(0));
    stream.read_key(0xFFF0, 0, 0);
    stream.read(0xFFF2, 2, 6000);
    // The next sequence has templates 20 and up, and one layer fewer.
    let mut next = Stream::new(Text {
        offset: 20,
        templates: vec![template(0, 0, "SS", &[], &[0]), template(0, 1, "-D", &[1], &[1])],
        protected_by: vec![0, 0],
        resolutions: vec![],
    });
    next.history = stream.history.take();
    assert!(next.read(1, 1, 15000).is_none(), "its keyframe is on the way");
    assert!(next.read_key(0, 0, 12000).unwrap().keyframe);
    assert_eq!(told(next.read(1, 1, 15000)), layers(0, 1, "T"));
    stream.history = next.history.take();
    assert_eq!(told(stream.read(0xFFF4, 1, 9000)), layers(0, 0, ""));
    assert!(stream.read(2, 1, 18000).is_none(), "the old template in the new sequence");
    // A late copy of the old structure changes nothing for the new sequence.
    assert!(stream.read_key(0xFFF0, 0, 0).unwrap().keyframe);
    next.history = stream.history.take();
    assert_eq!(told(next.read(3, 1, 21000)).1, 1);
}

#[test]
fn numbers_may_come_round_without_meeting_the_past() {
    let mut stream = Stream::new(l1t3(0));
    stream.read_key(0, 0, 0);
    stream.text.offset = 30;
    stream.read_key(4, 0, 0);
    assert!(stream.history.as_ref().unwrap().previous.is_some());
    for number in 5..=0xFFFF_u16 {
        assert!(stream.read(number, 1, u32::from(number)).is_some());
    }
    assert!(stream.history.as_ref().unwrap().previous.is_none());
    assert!(stream.read(3, 1, 70000).is_some(), "the new structure, a whole round later");
}

#[test]
fn a_publisher_that_starts_anew_is_followed() {
    let mut stream = Stream::new(l1t3(0));
    stream.read_key(30000, 0, 0);
    stream.text.offset = 30;
    assert!(stream.read_key(100, 0, 9000).unwrap().keyframe);
    assert_eq!(told(stream.read(101, 3, 12000)), layers(0, 2, "T"));
}

#[test]
fn the_mask_holds_until_the_next_structure() {
    let mut stream = Stream::new(l1t3(0));
    stream.read_key(0, 0, 0);
    let cut = Packet { active: Some((0b001, 3)), ..stream.packet(4, 1) };
    let offered = |descriptor: Option<Descriptor>| descriptor.unwrap().dependency.unwrap().offered;
    assert!(!offered(stream.read_packet(&cut, 12000)).contains(0, 1));
    assert_eq!(offered(stream.read(8, 1, 24000)).iter().collect::<Vec<_>>(), [(0, 0)]);
    let late = Packet { active: Some((0b111, 3)), ..stream.packet(3, 4) };
    assert!(!offered(stream.read_packet(&late, 9000)).contains(0, 1), "older than the cut");
    assert_eq!(stream.history.as_ref().unwrap().active_targets().mask, 0b001);
    // The same structure again: all targets are back, but frames before it are still known.
    assert!(offered(stream.read_key(12, 0, 36000)).contains(0, 2));
    assert_eq!(told(stream.read(13, 3, 39000)), layers(0, 2, "T"));
}

#[test]
fn a_structure_that_its_own_packet_does_not_fit_is_refused() {
    let mut stream = Stream::new(l1t3(0));
    let packet = Packet { template_id: 9, structure: Some(stream.text.clone()), ..stream.packet(0, 0) };
    assert!(read(&mut stream.history, &packet.write(), 0).is_none());
    assert!(stream.history.is_none());
}

#[test]
fn frames_are_remembered_for_sixty_four_more() {
    let mut stream = Stream::new(l1t3(0));
    stream.read_key(0, 0, 0);
    for number in 1..=100 {
        stream.read(number, 1, 0);
    }
    let mut is_switch = |number: u16, fdiff: u16| {
        let packet = Packet { fdiffs: Some(vec![fdiff]), ..stream.packet(number, 3) };
        stream.read_packet(&packet, 1).unwrap().temporal_switch
    };
    assert!(is_switch(101, 64));
    assert!(!is_switch(102, 65));
    assert!(!is_switch(102, 1), "a frame of layer 2");
}

#[test]
fn a_straggler_pushes_out_no_newer_frame() {
    let mut stream = Stream::new(l1t3(0));
    stream.read_key(0, 0, 0);
    stream.read(68, 1, 0);
    stream.read(4, 1, 0);
    assert_eq!(told(stream.read(69, 3, 3000)), layers(0, 2, "T"));
}

#[test]
fn a_frame_is_late_up_to_its_limit() {
    assert!(!is_late(5, 5));
    assert!(is_late(4, 5));
    assert!(is_late(0u16.wrapping_sub(LATE - 1), 0));
    assert!(!is_late(0u16.wrapping_sub(LATE), 0));
    assert!(!is_late(6, 5));
}

#[test]
fn the_best_layer_within_a_wish_is_found() {
    let mut set = LayerSet::EMPTY;
    assert!(set.is_empty() && set.best_within(3, 7).is_none());
    for (s, t) in [(0, 0), (0, 2), (1, 0), (3, 7)] {
        set.insert(s, t);
    }
    set.insert(4, 0);
    set.insert(0, 8);
    assert_eq!(set.iter().collect::<Vec<_>>(), [(0, 0), (0, 2), (1, 0), (3, 7)]);
    assert_eq!(set.best_within(2, 7), Some((1, 0)));
    assert_eq!(set.best_within(0, 1), Some((0, 0)));
    assert_eq!(set.best_within(3, 7), Some((3, 7)));
    assert!(!set.contains(4, 0) && !set.contains(0, 8));
}

proptest! {
    /// Whatever the order and the losses, layers are read right, and no switch is claimed that the full stream does not
    /// have.
    #[test]
    fn loss_and_reordering_claim_no_switch(order in prop::collection::vec(1_usize..30, 0..80), mode in 0_usize..3) {
        let mode = [Mode::Full, Mode::Key, Mode::Simulcast][mode];
        let pictures = [KEY, T2A, T1, T2B, T0, T2A, T1, T2B, T0, T2A];
        let truth = play(&mut Stream::new(three_by_three(mode)), &pictures);
        let mut stream = Stream::new(three_by_three(mode));
        stream.read_key(0, 0, 0);
        for number in order {
            let (picture, spatial) = (number / 3, u8::try_from(number % 3).unwrap());
            let timestamp = 3000 * u32::try_from(picture).unwrap();
            let got = told(stream.read(u16::try_from(number).unwrap(), spatial * 5 + pictures[picture], timestamp));
            prop_assert_eq!((got.0, got.1), (truth[number].0, truth[number].1));
            prop_assert!(got.2.chars().all(|flag| truth[number].2.contains(flag)), "{:?} of {:?}", got, truth[number]);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(
        packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..60), any::<u32>()), 0..20),
    ) {
        let mut stream = Stream::new(l1t3(0));
        stream.read_key(0, 0, 0);
        for (bytes, timestamp) in packets {
            read(&mut stream.history, &bytes, timestamp);
        }
    }
}
