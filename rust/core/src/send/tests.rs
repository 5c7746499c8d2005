use proptest::prelude::*;

use core::time::Duration;

use super::*;
use crate::payload::{Dependency, Descriptor, Detail, LayerSet, Patch, PictureId, vp8, vp9};
use crate::rtp::{Extensions, Header};

mod simulation;
mod svc;

pub(super) const SOURCE: SourceId = SourceId(1);
pub(super) const VP8: Pt = Pt(96);

/// A whole VP8 frame in one packet, of 3000 ticks and 33 ms per sequence number.
pub(super) fn packet(encoding: u8, seq: u64) -> Packet {
    let number = SeqNo(seq);
    Packet {
        encoding,
        seq: number,
        is_late: false,
        arrived_at: Time::from_nanos(seq * 33_333_333),
        waited_ns: 0,
        header: Header {
            marker: true,
            payload_type: VP8,
            sequence_number: number.low(),
            timestamp: u32::try_from(seq * 3000 % (1 << 32)).unwrap(),
            ssrc: Ssrc(u32::from(encoding)),
            extension_profile: 0,
            extension_offset: 0,
            extension_len: 0,
            payload_offset: 12,
            payload_len: 1000,
            padding_len: 0,
        },
        extensions: Extensions::NONE,
        descriptor: Descriptor {
            frame_start: true,
            frame_end: true,
            keyframe: false,
            spatial: 0,
            temporal: 0,
            temporal_switch: false,
            spatial_switch: false,
            inter_layer: false,
            detail: Detail::None,
            dependency: None,
        },
    }
}

/// What a dependency descriptor with this frame number says.
pub(super) fn dependency(frame_number: u16) -> Dependency {
    Dependency {
        frame_number,
        decode_targets: 1,
        has_structure: false,
        offered: LayerSet::EMPTY,
        present: LayerSet::EMPTY,
        switch: LayerSet::EMPTY,
    }
}

pub(super) fn keyframe(encoding: u8, seq: u64) -> Packet {
    let mut packet = packet(encoding, seq);
    packet.descriptor.keyframe = true;
    packet
}

pub(super) fn with(mut packet: Packet, change: impl FnOnce(&mut Packet)) -> Packet {
    change(&mut packet);
    packet
}

pub(super) fn layer(spatial: u8, temporal: u8) -> Layer {
    Layer { spatial, temporal }
}

pub(super) fn source(id: SourceId, shape: Shape) -> Source {
    let mut payload_types = PayloadTypes::new();
    payload_types.set(VP8, Pt(120));
    Source { id, shape, clock_rate: 90_000, payload_types, clocks: [None; MAX_ENCODINGS] }
}

pub(super) const START: Start = Start {
    ssrc: Ssrc(0),
    rtx_ssrc: Some(Ssrc(8)),
    sequence_number: 1,
    rtx_sequence_number: 500,
    timestamp: 7000,
    history: 64,
};

fn sender(shape: Shape) -> Sender {
    let mut sender = Sender::new(START, source(SOURCE, shape));
    sender.set_target(layer(0, 2));
    sender
}

/// The 16 bits that a packet gets.
fn forward(sender: &mut Sender, packet: &Packet) -> Result<u16, Drop> {
    sender.forward(packet.arrived_at, SOURCE, packet, packet.seq.0).map(SeqNo::low)
}

#[test]
fn a_packet_is_remembered_as_it_was_sent() {
    let mut sender = sender(Shape::Simulcast);
    let seq = sender.forward(Time::ZERO, SOURCE, &keyframe(0, 100_000), 42).unwrap();
    let entry = sender.entry(seq).unwrap();
    assert_eq!((entry.packet, entry.seq, entry.payload_type, entry.timestamp), (42, SeqNo::first(1), Pt(120), 7000));
    assert_eq!((entry.marker, entry.patch, entry.retransmissions), (true, Patch::None, 0));
    assert_eq!(sender.stats().octets, 1000);
}

#[test]
fn a_duplicate_is_sent_once() {
    let mut sender = sender(Shape::Simulcast);
    forward(&mut sender, &keyframe(0, 100_000)).unwrap();
    assert_eq!(forward(&mut sender, &packet(0, 100_001)), Ok(2));
    assert_eq!(forward(&mut sender, &packet(0, 100_001)), Err(Drop::Duplicate));
    assert_eq!(forward(&mut sender, &keyframe(0, 100_000)), Err(Drop::Duplicate));
}

#[test]
fn what_the_subscriber_cannot_take_leaves_no_hole() {
    let mut sender = sender(Shape::Simulcast);
    forward(&mut sender, &keyframe(0, 100_000)).unwrap();
    let padding = with(packet(0, 100_001), |p| p.header.payload_len = 0);
    let foreign = with(packet(0, 100_002), |p| p.header.payload_type = Pt(13));
    assert_eq!(forward(&mut sender, &padding), Err(Drop::PaddingOnly));
    assert_eq!(forward(&mut sender, &foreign), Err(Drop::UnknownPayloadType));
    assert_eq!(forward(&mut sender, &packet(0, 100_003)), Ok(2));
    assert_eq!(sender.forward(Time::ZERO, SourceId(9), &packet(0, 100_004), 0), Err(Drop::NoFollower));
}

#[test]
fn pause_and_resume_keep_the_numbers_together() {
    let mut sender = sender(Shape::Simulcast);
    forward(&mut sender, &keyframe(0, 100_000)).unwrap();
    sender.pause();
    sender.set_target(layer(0, 1));
    assert_eq!(forward(&mut sender, &packet(0, 100_001)), Err(Drop::Paused), "a target does not end a pause");
    assert_eq!(sender.layer(), None);
    sender.resume();
    assert_eq!(sender.wants_keyframe(), Some(0));
    assert_eq!(forward(&mut sender, &packet(0, 100_002)), Err(Drop::AwaitingKeyframe));
    assert_eq!(forward(&mut sender, &keyframe(0, 100_003)), Ok(2));
    assert_eq!((sender.limit(), sender.layer()), (Some(layer(0, 1)), Some(layer(0, 0))), "no higher frame came yet");
    assert_eq!(sender.wants_keyframe(), None);
    let entry = sender.entry(SeqNo::first(2)).unwrap();
    assert_eq!(entry.timestamp, 7000 + 3 * 3000, "the clock went on");
}

#[test]
fn audio_goes_on_with_any_packet_but_not_with_one_from_before() {
    let mut sender = sender(Shape::Flat);
    assert_eq!(sender.wants_keyframe(), None);
    assert_eq!(forward(&mut sender, &packet(0, 100_000)), Ok(1));
    assert_eq!(forward(&mut sender, &packet(0, 99_999)), Err(Drop::TooLate), "no number is left before the first");
    assert_eq!(forward(&mut sender, &packet(0, 100_002)), Ok(3));
    assert_eq!(forward(&mut sender, &packet(0, 100_001)), Ok(2));
    sender.pause();
    forward(&mut sender, &packet(0, 100_003)).unwrap_err();
    sender.resume();
    let late = with(packet(0, 100_002), |p| p.is_late = true);
    assert_eq!(forward(&mut sender, &late), Err(Drop::AwaitingKeyframe), "it is from before");
    assert_eq!(forward(&mut sender, &packet(0, 100_004)), Ok(4));
}

#[test]
fn another_source_takes_over_at_its_keyframe() {
    let other = SourceId(2);
    let mut sender = sender(Shape::Simulcast);
    forward(&mut sender, &keyframe(0, 100_000)).unwrap();
    let mut next = source(other, Shape::Simulcast);
    next.payload_types = PayloadTypes::new();
    next.payload_types.set(Pt(100), Pt(121));
    sender.switch_source(next);
    assert_eq!(forward(&mut sender, &packet(0, 100_001)), Ok(2), "the old one goes on");
    let begins = with(keyframe(0, 70_000), |p| {
        p.header.payload_type = Pt(100);
        p.arrived_at = packet(0, 100_002).arrived_at;
    });
    let seq = sender.forward(begins.arrived_at, other, &begins, 0).unwrap();
    assert_eq!(seq, SeqNo::first(3));
    let entry = sender.entry(seq).unwrap();
    assert_eq!(
        (entry.payload_type, entry.timestamp),
        (Pt(121), 7000 + 3000 + 2999),
        "33.3 ms after the old one's last"
    );
    assert_eq!(forward(&mut sender, &packet(0, 100_002)), Err(Drop::NoFollower));
    assert_eq!(sender.stats().switches, 2);
}

#[test]
fn layer_changes_are_told_once() {
    let mut sender = sender(Shape::Simulcast);
    assert!(!sender.poll_layer_changed());
    forward(&mut sender, &keyframe(0, 100_000)).unwrap();
    assert!(sender.poll_layer_changed());
    assert!(!sender.poll_layer_changed());
    sender.pause();
    assert!(sender.poll_layer_changed());
}

#[test]
fn retransmissions_have_numbers_of_their_own() {
    let mut sender = sender(Shape::Simulcast);
    forward(&mut sender, &keyframe(0, 100_000)).unwrap();
    let at = Time::from_millis(1);
    assert_eq!(sender.retransmit(at, 1, Duration::ZERO), Ok(SeqNo::first(1)));
    assert_eq!(sender.next_rtx(), Some((Ssrc(8), SeqNo::first(500))));
    assert_eq!(sender.retransmit(at, 1, Duration::ZERO), Err(Drop::RetransmittedRecently));
    assert_eq!(sender.retransmit(at, 2, Duration::ZERO), Err(Drop::NotInHistory));
    assert_eq!(sender.next_rtx(), Some((Ssrc(8), SeqNo::first(501))));
    assert_eq!(sender.stats().retransmissions, 1);
}

#[test]
fn reports_carry_the_publishers_clock_in_our_timestamps() {
    let mut sender = sender(Shape::Simulcast);
    let first = keyframe(0, 100_000);
    forward(&mut sender, &first).unwrap();
    assert_eq!(sender.poll_timeout(), Time::NEVER, "nobody told us the time");
    let clock = ClockMap { ntp: 50 << 32, rtp: first.header.timestamp, at: first.arrived_at, clock_rate: 90_000 };
    sender.handle_clock(Stream { source: SOURCE, encoding: 0 }, Some(clock));
    assert_eq!(sender.poll_timeout(), first.arrived_at);
    let now = first.arrived_at + Duration::from_secs(2);
    let report = sender.poll_report(now).unwrap();
    assert_eq!((report.info.ntp_time.0, report.info.rtp_timestamp), (52 << 32, 7000 + 180_000));
    assert_eq!((report.info.packet_count, report.info.octet_count), (1, 1000));
    assert_eq!(sender.poll_report(now), None);
    assert_eq!(sender.poll_timeout(), now + Duration::from_millis(950));
    sender.pause();
    assert_eq!(sender.poll_timeout(), Time::NEVER);
}

#[test]
fn two_encodings_of_one_track_report_one_timeline() {
    let mut sender = sender(Shape::Simulcast);
    let first = keyframe(0, 100_000);
    forward(&mut sender, &first).unwrap();
    let at = first.arrived_at;
    // Encoding 1 counts from elsewhere: 5 000 000 is the instant of the first frame of encoding 0.
    sender.handle_clock(
        Stream { source: SOURCE, encoding: 0 },
        Some(ClockMap { ntp: 50 << 32, rtp: first.header.timestamp, at, clock_rate: 90_000 }),
    );
    sender.handle_clock(
        Stream { source: SOURCE, encoding: 1 },
        Some(ClockMap { ntp: 51 << 32, rtp: 5_090_000, at, clock_rate: 90_000 }),
    );
    sender.set_target(layer(1, 2));
    let begins = with(keyframe(1, 80_000), |p| {
        p.header.timestamp = 5_009_000;
        p.arrived_at = at + Duration::from_millis(180);
    });
    let seq = sender.forward(begins.arrived_at, SOURCE, &begins, 0).unwrap();
    assert_eq!(sender.entry(seq).unwrap().timestamp, 7000 + 9000, "captured after 100 ms, though it came after 180");
    let report = sender.poll_report(begins.arrived_at).unwrap();
    let ticks = ((report.info.ntp_time.0 - (50 << 32)) * 90_000) >> 32;
    assert!(
        (i64::from(report.info.rtp_timestamp) - 7000 - i64::try_from(ticks).unwrap()).abs() <= 1,
        "the same line as before"
    );
}

#[test]
fn vp8_numbers_reach_the_entry() {
    let mut sender = sender(Shape::Simulcast);
    let vp8 = |id, tl0| {
        Detail::Vp8(vp8::Numbers { picture_id: PictureId::Long(id), tl0_pic_idx: Some(tl0), key_idx: Some(3) })
    };
    let first = with(keyframe(0, 100_000), |p| p.descriptor.detail = vp8(900, 7));
    let seq = sender.forward(Time::ZERO, SOURCE, &first, 0).unwrap();
    assert_eq!(sender.entry(seq).unwrap().patch, Patch::Vp8 { picture_id: 900, tl0_pic_idx: 7, key_idx: 3 });
}

proptest! {
    /// A publisher may send what it likes: no number twice, none far from the last, every answer kept.
    #[test]
    fn a_hostile_publisher_cannot_make_a_number_come_twice(
        shape in prop::sample::select(vec![Shape::Flat, Shape::Simulcast, Shape::Layered, Shape::KeyLayered]),
        steps in prop::collection::vec((any::<[u8; 8]>(), any::<u32>(), -20_000i64..40_000, any::<u16>()), 1..200),
    ) {
        let mut sender = Sender::new(START, source(SOURCE, shape));
        let (mut given, mut newest, mut seq) = (std::collections::BTreeSet::new(), u64::from(START.sequence_number), 1u64 << 20);
        for (n, (bytes, timestamp, jump, id)) in steps.into_iter().enumerate() {
            let bit = |n: u8| bytes[0] >> n & 1 == 1;
            let picture = |id: u16| match (bit(7), bit(6)) {
                (true, true) => PictureId::Long(id & 0x7FFF),
                (true, false) => PictureId::Short((id & 0x7F) as u8),
                (false, _) => PictureId::None,
            };
            // Mostly the next number, now and then a leap.
            seq = seq.saturating_add_signed(if bytes[1] < 200 { 1 } else { jump }).max(1 << 16);
            let hostile = with(packet(bytes[2] % 4, seq), |p| {
                p.header.timestamp = if bit(0) { timestamp } else { 0 };
                p.header.payload_len = u16::from(bytes[3] > 10);
                p.descriptor.frame_start = bit(1);
                p.descriptor.frame_end = bit(2);
                p.descriptor.keyframe = bit(3);
                p.descriptor.temporal_switch = bit(4);
                p.descriptor.spatial_switch = bit(5);
                p.descriptor.inter_layer = bit(6);
                p.descriptor.spatial = bytes[4] % 9;
                p.descriptor.temporal = bytes[5] % 9;
                p.descriptor.detail = match bytes[6] % 4 {
                    1 => Detail::Vp8(vp8::Numbers { picture_id: picture(id), tl0_pic_idx: None, key_idx: Some(bytes[7]) }),
                    2 => Detail::Vp9(vp9::Numbers { picture_id: picture(id), tl0_pic_idx: Some(bytes[7]) }),
                    _ => Detail::None,
                };
                p.descriptor.dependency = bit(0).then(|| dependency(id));
            });
            if n % 10 == 0 {
                sender.set_target(layer(bytes[7] % 4, bytes[7] % 3));
            }
            if let Ok(out) = sender.forward(Time::from_millis(u64::from(id)), SOURCE, &hostile, seq) {
                prop_assert!(given.insert(out), "{:?} came twice", out);
                prop_assert_eq!(sender.entry(out).map(|e| e.packet), Some(seq));
                let low = out.0 - (1 << 16);
                prop_assert!(low <= newest + (1 << 13) + 1, "from {} to {}", newest, low);
                newest = newest.max(low);
            }
        }
    }
}
