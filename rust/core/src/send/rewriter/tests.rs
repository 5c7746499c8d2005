use core::time::Duration;

use super::super::tests::{dependency, keyframe, packet, with};
use super::*;
use crate::payload::{Detail, Patch, PictureId, vp8, vp9};

const RATE: u32 = 90_000;

fn begun(seq: u64) -> Rewriter {
    let mut rewriter = Rewriter::new(1, 7000);
    let first = keyframe(0, seq);
    rewriter.switch(&first, RATE, Link::Elapsed);
    rewriter.rewrite(&first, true);
    rewriter
}

fn low(rewriter: &mut Rewriter, packet: &Packet) -> Option<u16> {
    rewriter.rewrite(packet, true).map(|r| r.seq.low())
}

fn timestamp(rewriter: &mut Rewriter, packet: &Packet) -> u32 {
    rewriter.rewrite(packet, true).unwrap().timestamp
}

/// A packet of another stream that arrives `ms` after `packet(_, 70_100)`.
fn later(seq: u64, timestamp: u32, ms: u64) -> Packet {
    with(keyframe(1, seq), |p| {
        p.header.timestamp = timestamp;
        p.arrived_at = packet(0, 70_100).arrived_at + Duration::from_millis(ms);
    })
}

#[test]
fn nothing_before_the_first_switch() {
    let mut rewriter = Rewriter::new(1, 7000);
    assert_eq!(rewriter.rewrite(&packet(0, 100), true), None);
    rewriter.skip_frame(&packet(0, 100));
    assert_eq!(rewriter.timestamp_offset(), None);
}

#[test]
fn the_first_packet_gets_the_first_numbers() {
    let mut rewriter = Rewriter::new(1, 7000);
    let first = keyframe(0, 70_100);
    rewriter.switch(&first, RATE, Link::Elapsed);
    let rewritten = rewriter.rewrite(&first, false).unwrap();
    assert_eq!((rewritten.seq, rewritten.timestamp, rewritten.marker), (SeqNo::first(1), 7000, false));
    assert_eq!(timestamp(&mut rewriter, &packet(0, 70_101)), 10_000);
}

#[test]
fn what_is_lost_inside_a_frame_left_out_leaves_no_hole() {
    let mut rewriter = begun(70_100);
    let inside = |seq| with(packet(0, seq), |p| p.header.timestamp = 1);
    rewriter.skip_frame(&inside(70_101));
    rewriter.skip_frame(&inside(70_103));
    assert_eq!(low(&mut rewriter, &packet(0, 70_104)), Some(2));
    assert_eq!(low(&mut rewriter, &inside(70_102)), None);
    // Of different frames, or with a forwarded packet between, the hole is kept.
    rewriter.skip_frame(&packet(0, 70_105));
    rewriter.skip_frame(&packet(0, 70_107));
    assert_eq!(low(&mut rewriter, &packet(0, 70_108)), Some(4));
    rewriter.skip_frame(&inside(70_109));
    assert_eq!(low(&mut rewriter, &packet(0, 70_110)), Some(5));
    rewriter.skip_frame(&inside(70_112));
    assert_eq!(low(&mut rewriter, &packet(0, 70_113)), Some(7));
}

#[test]
fn a_switch_follows_on_and_forgets_the_old_numbers() {
    let mut rewriter = begun(70_100);
    assert_eq!(low(&mut rewriter, &packet(0, 70_102)), Some(3));
    let next = later(90_000, 5, 80);
    rewriter.switch(&next, RATE, Link::Elapsed);
    assert_eq!(low(&mut rewriter, &next), Some(4));
    assert_eq!(low(&mut rewriter, &with(next, |p| p.seq = SeqNo(89_999))), None);
}

#[test]
fn a_jump_too_wide_for_loss_is_closed() {
    let mut rewriter = begun(70_100);
    assert_eq!(low(&mut rewriter, &packet(0, 70_101 + MOST_MISSING)), Some(2 + (1 << 13)), "wide, but a loss");
    assert_eq!(low(&mut rewriter, &packet(0, 70_103 + 2 * MOST_MISSING)), Some(3 + (1 << 13)));
    let mut rewriter = begun(70_100);
    rewriter.skip_frame(&packet(0, 75_000));
    rewriter.skip_frame(&packet(0, 80_000));
    assert_eq!(low(&mut rewriter, &packet(0, 80_001)), Some(2), "two halves of such a hole");
}

#[test]
fn without_reports_the_arrivals_count() {
    let mut rewriter = begun(70_100);
    let next = later(90_000, 5, 100);
    rewriter.switch(&next, RATE, Link::Elapsed);
    assert_eq!(timestamp(&mut rewriter, &next), 7000 + 9000);
}

#[test]
fn time_never_stands_still_over_a_switch() {
    let mut rewriter = begun(70_100);
    let next = later(90_000, 5, 0);
    rewriter.switch(&next, RATE, Link::Elapsed);
    assert_eq!(timestamp(&mut rewriter, &next), 7001);
    // By its reports the next one was captured half a second before the newest frame sent.
    let at = next.arrived_at;
    let link = Link::Reports {
        old: ClockMap { ntp: 1 << 40, rtp: 5, at, clock_rate: 90_000 },
        new: ClockMap { ntp: 1 << 40, rtp: 45_000, at, clock_rate: 90_000 },
    };
    let back = later(50_000, 0, 0);
    rewriter.switch(&back, RATE, link);
    assert_eq!(timestamp(&mut rewriter, &back), 7002);
}

#[test]
fn the_example_in_the_docs_holds() {
    let at = Time::ZERO;
    let old = ClockMap { ntp: 10 << 32, rtp: 9000, at, clock_rate: 90_000 };
    let new = ClockMap { ntp: (10 << 32) + (1 << 32) / 10, rtp: 500, at, clock_rate: 90_000 };
    assert_eq!(old.ntp_to_rtp(new.rtp_to_ntp(1400)), 18_900);
}

#[test]
fn reports_that_contradict_the_arrivals_are_not_believed() {
    for (ahead, expected) in [(90_000, 7000 + 90_000), (90_001, 7001), (0x4000_0000, 7001)] {
        let mut rewriter = begun(70_100);
        let first = packet(0, 70_100).header.timestamp;
        let at = Time::ZERO;
        let next = later(90_000, ahead, 0);
        let link = Link::Reports {
            old: ClockMap { ntp: 9, rtp: first, at, clock_rate: 90_000 },
            new: ClockMap { ntp: 9, rtp: 0, at, clock_rate: 90_000 },
        };
        rewriter.switch(&next, RATE, link);
        assert_eq!(timestamp(&mut rewriter, &next), expected, "{ahead} ticks ahead");
    }
}

#[test]
fn one_clock_needs_no_reports() {
    let mut rewriter = begun(70_100);
    let resumed = keyframe(0, 70_110);
    rewriter.switch(&resumed, RATE, Link::SameClock);
    assert_eq!(timestamp(&mut rewriter, &resumed), 7000 + 30_000);
}

fn vp8(seq: u64, picture_id: u16, tl0: u8) -> Packet {
    let detail = vp8::Numbers { picture_id: PictureId::Long(picture_id), tl0_pic_idx: Some(tl0), key_idx: Some(30) };
    with(packet(0, seq), |p| p.descriptor.detail = Detail::Vp8(detail))
}

fn ids(rewriter: &mut Rewriter, packet: &Packet) -> (u16, u8, u8) {
    match rewriter.rewrite(packet, true).unwrap().patch {
        Patch::Vp8 { picture_id, tl0_pic_idx, key_idx } => (picture_id, tl0_pic_idx, key_idx),
        Patch::Vp9 { picture_id, tl0_pic_idx } => (picture_id, tl0_pic_idx, 0),
        Patch::None => panic!("no numbers"),
    }
}

#[test]
fn vp8_picture_ids_close_over_frames_left_out_and_wait_for_lost_ones() {
    let mut rewriter = Rewriter::new(1, 0);
    rewriter.switch(&vp8(70_100, 0x7FFE, 254), RATE, Link::Elapsed);
    assert_eq!(ids(&mut rewriter, &vp8(70_100, 0x7FFE, 254)), (0x7FFE, 254, 30));
    rewriter.skip_frame(&vp8(70_101, 0x7FFF, 254));
    rewriter.skip_frame(&vp8(70_102, 0x7FFF, 254));
    assert_eq!(ids(&mut rewriter, &vp8(70_103, 0, 255)), (0x7FFF, 255, 30));
    assert_eq!(ids(&mut rewriter, &vp8(70_105, 2, 0)), (1, 0, 30), "one frame is lost");
    assert_eq!(ids(&mut rewriter, &vp8(70_104, 1, 255)), (0, 255, 30), "and comes");
}

#[test]
fn vp8_numbers_go_on_over_a_switch() {
    let mut rewriter = Rewriter::new(1, 0);
    rewriter.switch(&vp8(70_100, 10, 20), RATE, Link::Elapsed);
    ids(&mut rewriter, &vp8(70_100, 10, 20));
    ids(&mut rewriter, &vp8(70_101, 11, 21));
    ids(&mut rewriter, &vp8(70_100, 10, 20));
    rewriter.switch(&vp8(90_000, 500, 99), RATE, Link::Elapsed);
    assert_eq!(ids(&mut rewriter, &vp8(90_000, 500, 99)), (12, 22, 31));
    assert_eq!(ids(&mut rewriter, &vp8(90_001, 501, 99)), (13, 22, 31));
}

#[test]
fn short_picture_ids_wrap_at_seven_bits() {
    let mut rewriter = Rewriter::new(1, 0);
    let short = |seq, id| {
        let detail =
            vp8::Numbers { picture_id: PictureId::Short(u8::try_from(id).unwrap()), tl0_pic_idx: None, key_idx: None };
        with(packet(0, seq), |p| p.descriptor.detail = Detail::Vp8(detail))
    };
    rewriter.switch(&short(70_100, 127), RATE, Link::Elapsed);
    assert_eq!(ids(&mut rewriter, &short(70_100, 127)).0 & 0x7F, 127);
    rewriter.skip_frame(&short(70_101, 0));
    assert_eq!(ids(&mut rewriter, &short(70_102, 1)).0 & 0x7F, 0);
}

#[test]
fn ids_that_are_differences_in_the_stream_are_never_closed() {
    let vp9 = |seq, id| {
        let detail = Detail::Vp9(vp9::Numbers { picture_id: PictureId::Long(id), tl0_pic_idx: Some(4) });
        with(packet(0, seq), |p| p.descriptor.detail = detail)
    };
    let mut rewriter = Rewriter::new(1, 0);
    rewriter.switch(&vp9(70_100, 10), RATE, Link::Elapsed);
    assert_eq!(ids(&mut rewriter, &vp9(70_100, 10)).0, 10);
    rewriter.skip_frame(&vp9(70_101, 11));
    assert_eq!(ids(&mut rewriter, &vp9(70_102, 12)).0, 12, "two after its reference, as it says itself");
    rewriter.switch(&vp9(90_000, 3), RATE, Link::Elapsed);
    assert_eq!(ids(&mut rewriter, &vp9(90_000, 3)).0, 13);
}

#[test]
fn frame_numbers_of_dependency_descriptors_get_one_offset_per_stream() {
    let frame = |seq, number| with(packet(0, seq), |p| p.descriptor.dependency = Some(dependency(number)));
    let offset = |rewriter: &mut Rewriter, packet: &Packet| rewriter.rewrite(packet, false).unwrap().frame_offset;
    let mut rewriter = Rewriter::new(1, 0);
    rewriter.switch(&frame(70_100, 10), RATE, Link::Elapsed);
    assert_eq!(offset(&mut rewriter, &frame(70_100, 10)), 0);
    rewriter.skip_frame(&frame(70_101, 11));
    assert_eq!(offset(&mut rewriter, &frame(70_102, 12)), 0, "a frame left out leaves its hole");
    rewriter.switch(&frame(90_000, 3), RATE, Link::Elapsed);
    assert_eq!(offset(&mut rewriter, &frame(90_000, 3)), 10, "3 goes out as 13, the next after 12");
    assert_eq!(offset(&mut rewriter, &frame(90_001, 4)), 10);
}
