//! Packets on their way: forwarded, paused, switched, sent again, reported.

use super::*;
use crate::fec::{Parity, flexfec};

/// A publisher, a follower, and the first keyframe through.
fn playing() -> (Bench, Client, Client, ReceiverId, SenderId) {
    let mut bench = Bench::new();
    let (mut publisher, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    let copy = bench.subscribe(2, track);
    bench.frame(&mut publisher, 0, true);
    assert_eq!(rtp(&bench.heard(&mut follower)).len(), 1);
    bench.events();
    (bench, publisher, follower, track, copy)
}

#[test]
fn a_copy_has_its_own_numbers_and_the_publishers_payload() {
    let mut bench = Bench::new();
    let (mut publisher, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    bench.subscribe(2, track);
    bench.frame(&mut publisher, 0, true);
    bench.frame(&mut publisher, 0, false);
    let heard = bench.heard(&mut follower);
    let [Heard::Rtp(first, key), Heard::Rtp(second, delta)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((first.ssrc, first.payload_type, first.marker), (COPY, Pt(120), true));
    assert_eq!(second.sequence_number, first.sequence_number + 1);
    assert_eq!(second.timestamp.wrapping_sub(first.timestamp), 3000);
    assert_eq!(key[4..], [0x10, 0, 0, 0x9D, 0x01, 0x2A, 64, 0, 64, 0]);
    assert_eq!(delta[4..], [0x11; 10]);
    assert_eq!(bench.router.snapshot(bench.now).forwarded, 2);
}

#[test]
fn a_follower_waits_for_a_keyframe_and_asks_for_it_once_per_interval() {
    let mut bench = Bench::new();
    let (mut publisher, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    bench.frame(&mut publisher, 0, false);
    bench.subscribe(2, track);
    let mut asked = Vec::new();
    for frame in 0..50 {
        bench.at(33 * frame);
        bench.frame(&mut publisher, 0, false);
        assert!(bench.router.poll_timeout() > bench.now || frame == 0, "a deadline that does not pass");
        bench.at(33 * frame);
        let waiting = bench.drain();
        assert!(waiting.iter().all(|(to, _)| *to == path(1).remote), "nothing for the follower yet");
        let opened: Vec<_> = waiting.iter().map(|(_, datagram)| publisher.open(datagram)).collect();
        asked.extend(plis(&opened).iter().map(|_| bench.now.as_millis()));
    }
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked.windows(2).all(|pair| pair[1] - pair[0] >= 500), "{asked:?}");
    assert_eq!(bench.drops(Drop::AwaitingKeyframe), 50);
    bench.frame(&mut publisher, 0, true);
    assert_eq!(rtp(&bench.heard(&mut follower)).len(), 1);
}

#[test]
fn a_new_copy_begins_with_the_keyframe_that_came_lately_and_nobody_is_asked() {
    let (mut bench, mut publisher, _, track, _) = playing();
    for frame in 1..=9 {
        bench.at(33 * frame);
        bench.frame(&mut publisher, 0, false);
    }
    let mut late = bench.add(3);
    bench.subscribe(3, track);
    let sent = bench.drain();
    let own = sent.iter().filter(|(to, _)| *to == path(3).remote).map(|(_, datagram)| late.open(datagram));
    let heard: Vec<_> = own.collect();
    let numbers: Vec<_> = rtp(&heard).iter().map(|header| header.sequence_number).collect();
    assert_eq!(numbers.len(), 10, "the keyframe and what came behind it");
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0].wrapping_add(1)), "{numbers:?}");
    assert!(sent.iter().all(|(to, _)| *to != path(1).remote), "the publisher is not asked");
    bench.frame(&mut publisher, 0, false);
    let heard = bench.heard(&mut late);
    assert_eq!(rtp(&heard)[0].sequence_number, numbers[9].wrapping_add(1));
}

#[test]
fn a_keyframe_that_is_too_old_is_no_beginning() {
    let (mut bench, mut publisher, _, track, _) = playing();
    bench.at(301);
    bench.frame(&mut publisher, 0, false);
    let mut late = bench.add(3);
    bench.subscribe(3, track);
    bench.at(301);
    let sent = bench.drain();
    assert!(sent.iter().all(|(to, _)| *to != path(3).remote));
    let heard: Vec<_> = sent.iter().filter(|(to, _)| *to == path(1).remote).map(|(_, it)| publisher.open(it)).collect();
    assert_eq!(plis(&heard), [TRACK]);
    bench.frame(&mut publisher, 0, true);
    assert_eq!(rtp(&bench.heard(&mut late)).len(), 1);
}

#[test]
fn a_pause_holds_at_once_and_a_resumption_asks_for_a_keyframe() {
    let (mut bench, mut publisher, mut follower, _, sender) = playing();
    bench.command(Command::Pause { sender, is_paused: true });
    bench.frame(&mut publisher, 0, false);
    assert!(bench.heard(&mut follower).is_empty());
    assert_eq!(bench.drops(Drop::Paused), 1);
    bench.at(1000);
    bench.drain();
    bench.command(Command::Pause { sender, is_paused: false });
    bench.at(1000);
    assert_eq!(plis(&bench.heard(&mut publisher)), [TRACK]);
    bench.frame(&mut publisher, 0, true);
    assert_eq!(rtp(&bench.heard(&mut follower)).len(), 1);
}

#[test]
fn a_keyframe_that_came_in_the_same_batch_is_not_asked_for() {
    let mut bench = Bench::new();
    let mut publisher = bench.add(1);
    let track = bench.publish(1, 1);
    bench.frame(&mut publisher, 0, true);
    bench.add(2);
    bench.at(1000);
    bench.subscribe(2, track);
    bench.at(1000);
    assert_eq!(plis(&bench.heard(&mut publisher)).len(), 1);
    bench.at(2000);
    bench.drain();
    bench.frame(&mut publisher, 0, false);
    bench.frame(&mut publisher, 0, true);
    assert!(plis(&bench.heard(&mut publisher)).is_empty());
    assert_eq!(bench.router.snapshot(bench.now).forwarded, 1);
}

#[test]
fn what_is_asked_for_again_comes_on_the_other_ssrc_within_bounds() {
    let (mut bench, mut publisher, mut follower, ..) = playing();
    bench.frame(&mut publisher, 0, false);
    let heard = bench.heard(&mut follower);
    let number = rtp(&heard)[0].sequence_number;
    bench.rtcp(&mut follower, |writer| {
        rtcp::nack::write(writer, Ssrc(9), COPY, [number]).unwrap();
    });
    let again = bench.heard(&mut follower);
    let [Heard::Rtp(header, payload)] = &again[..] else { panic!("{again:?}") };
    assert_eq!((header.ssrc, header.payload_type), (Ssrc(COPY.0 + 1), Pt(121)));
    assert_eq!(payload[..2], number.to_be_bytes());
    // Right away again: it may still be under way.
    bench.rtcp(&mut follower, |writer| {
        rtcp::nack::write(writer, Ssrc(9), COPY, [number, number.wrapping_add(500)]).unwrap();
    });
    assert!(bench.heard(&mut follower).is_empty());
    assert_eq!((bench.drops(Drop::RetransmittedRecently), bench.drops(Drop::NotInHistory)), (1, 1));
    // Of one datagram 256 numbers are looked at.
    bench.rtcp(&mut follower, |writer| {
        rtcp::nack::write(writer, Ssrc(9), COPY, (0..300).map(|n| number.wrapping_add(1000 + n))).unwrap();
    });
    assert_eq!(bench.drops(Drop::NotInHistory), 257);
}

#[test]
fn whoever_moved_on_to_another_track_lets_go_of_the_old_one() {
    let (mut bench, mut old, mut follower, track, sender) = playing();
    let mut new = bench.add(3);
    let other = bench.publish(3, 1);
    bench.command(Command::Follow { sender, source: other });
    assert_eq!((bench.followers(track), bench.followers(other)), (Some(1), Some(1)), "the old one goes on meanwhile");
    bench.frame(&mut old, 0, false);
    bench.frame(&mut new, 0, false);
    assert_eq!(rtp(&bench.heard(&mut follower)).len(), 1);
    bench.frame(&mut new, 0, true);
    bench.frame(&mut old, 0, false);
    let heard = bench.heard(&mut follower);
    assert_eq!(rtp(&heard).len(), 1, "only the new one");
    assert_eq!((bench.followers(track), bench.followers(other)), (Some(0), Some(1)));
}

#[test]
fn a_track_that_is_being_left_is_not_asked_for_keyframes() {
    let (mut bench, mut old, mut follower, _, sender) = playing();
    bench.command(Command::Prefer { sender, most: Layer { spatial: 0, temporal: 0 }, priority: 0 });
    let mut new = bench.add(3);
    let other = bench.publish(3, 1);
    bench.frame(&mut new, 0, false);
    bench.command(Command::Follow { sender, source: other });
    let (mut asked_old, mut asked_new) = (0, 0);
    for frame in 0..40 {
        bench.at(33 * frame);
        // Of an upper temporal layer, and so left out.
        let upper = [0x90, 0x20, 1 << 6, 0x11, 0x11];
        let datagram = old.packet(TRACK, 96, &upper);
        old.timestamp += 3000;
        bench.hear(&old, &datagram);
        bench.frame(&mut new, 0, false);
        bench.at(33 * frame);
        for (to, datagram) in bench.drain() {
            if to == path(1).remote {
                asked_old += plis(&[old.open(&datagram)]).len();
            } else if to == path(3).remote {
                asked_new += plis(&[new.open(&datagram)]).len();
            }
        }
    }
    assert_eq!((asked_old, asked_new), (0, 3));
    assert!(bench.heard(&mut follower).is_empty());
}

#[test]
fn a_report_comes_with_the_first_packet_whose_clock_is_known_and_with_each_switch() {
    let mut bench = Bench::new();
    let (mut publisher, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    bench.frame(&mut publisher, 0, true);
    let now = 7 << 32;
    let report = publisher.rtcp(|writer| Client::new(1).report(writer, now));
    bench.hear(&publisher, &report);
    bench.at(1000);
    bench.drain();
    let sender = bench.subscribe(2, track);
    bench.frame(&mut publisher, 0, true);
    bench.at(1000);
    let heard = bench.heard(&mut follower);
    assert_eq!((rtp(&heard).len(), sender_reports(&heard).len()), (1, 1), "players line up by it");
    bench.at(1300);
    bench.command(Command::Pause { sender, is_paused: true });
    bench.command(Command::Pause { sender, is_paused: false });
    bench.frame(&mut publisher, 0, true);
    bench.at(1300);
    let heard = bench.heard(&mut follower);
    assert_eq!((rtp(&heard).len(), sender_reports(&heard).len()), (1, 1), "the timestamps have a new base");
}

#[test]
fn a_stream_that_begins_anew_is_reported_by_its_own_clock() {
    let (mut bench, mut publisher, mut follower, ..) = playing();
    let report = publisher.rtcp(|writer| Client::new(1).report(writer, 7 << 32));
    bench.hear(&publisher, &report);
    bench.frame(&mut publisher, 0, true);
    bench.at(2000);
    assert_eq!(sender_reports(&bench.heard(&mut follower)).len(), 1);
    // Another SSRC: what was known of its clock says nothing any more.
    bench.rtcp(&mut publisher, |writer| rtcp::bye::write(writer, &[TRACK], None).unwrap());
    publisher.timestamp = publisher.timestamp.wrapping_add(1 << 30);
    bench.frame(&mut publisher, 0, true);
    bench.at(5000);
    assert!(sender_reports(&bench.heard(&mut follower)).is_empty());
}

#[test]
fn simulcast_goes_to_the_best_encoding_that_is_sent() {
    let mut bench = Bench::new();
    let (mut publisher, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 3);
    let sender = bench.subscribe(2, track);
    bench.frame(&mut publisher, 0, true);
    assert_eq!(rtp(&bench.heard(&mut follower)).len(), 1, "the only one there is");
    let mut larger = Client { picture_id: 5000, ..Client::new(1) };
    bench.frame(&mut larger, 2, true);
    bench.frame(&mut larger, 2, true);
    let heard = bench.heard(&mut follower);
    assert_eq!(rtp(&heard).len(), 2, "the first keyframe of the larger one takes over");
    bench.frame(&mut publisher, 0, false);
    assert!(bench.heard(&mut follower).is_empty());
    bench.command(Command::Prefer { sender, most: Layer { spatial: 1, temporal: 9 }, priority: 0 });
    bench.frame(&mut publisher, 0, true);
    assert_eq!(rtp(&bench.heard(&mut follower)).len(), 1, "nothing above what is wanted");
}

#[test]
fn a_small_slab_is_filled_as_often_as_it_takes() {
    let mut bench = Bench::new();
    let mut publisher = bench.add(1);
    let track = bench.publish(1, 1);
    let mut followers: Vec<_> = (2..12).map(|number| bench.add(number)).collect();
    for follower in &followers {
        bench.subscribe(follower.number, track);
    }
    for frame in 0..5 {
        bench.frame(&mut publisher, 0, frame == 0);
    }
    bench.slab = SendSlab::new(8);
    let all = bench.drain();
    for follower in &mut followers {
        let address = path(follower.number).remote;
        let own = all.iter().filter(|(to, _)| *to == address);
        let numbers: Vec<_> = own.map(|(_, datagram)| follower.open(datagram)).collect();
        let numbers: Vec<_> = rtp(&numbers).iter().map(|header| header.sequence_number).collect();
        assert_eq!(numbers.len(), 5);
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    }
}

#[test]
fn audio_is_sent_again_as_it_was_after_a_move_to_another_track() {
    let opus = CodecParameters { codec: Codec::Opus, clock_rate: 48_000, rtx: None, ..codec(111) };
    let red = CodecParameters { codec: Codec::Red, payload_type: Pt(63), ..opus };
    let mut bench = Bench::new();
    let (mut publisher, follower) = (bench.add(1), bench.add(2));
    let tracks = [(1_u32, vec![red, opus]), (3, vec![opus])].map(|(index, codecs)| {
        let receiver = ReceiverId::new(0, index.into());
        let encodings = vec![EncodingParameters { ssrc: Some(Ssrc(TRACK.0 + index)), ..EncodingParameters::default() }];
        let parameters = ReceiverParameters { kind: Kind::Audio, codecs, encodings, ..receiver_parameters(1) };
        let (transport, parameters) = (bench.transport(1), Box::new(parameters));
        bench.command(Command::AddReceiver { transport, receiver, parameters });
        receiver
    });
    let sender = SenderId::new(0, 1);
    let parameters = SenderParameters { kind: Kind::Audio, codecs: vec![opus], rtx_ssrc: None, ..sender_parameters() };
    let (transport, parameters) = (bench.transport(follower.number), Box::new(parameters));
    bench.command(Command::AddSender { transport, sender, source: tracks[0], parameters });
    // One earlier payload of two bytes, 960 units before, and the packet's own.
    let datagram = publisher.packet(Ssrc(TRACK.0 + 1), 63, &[0x80 | 111, 0x0F, 0x00, 0x02, 111, 1, 1, 2, 2, 2]);
    bench.hear(&publisher, &datagram);
    let first = bench.drain();
    let [(_, sent)] = &first[..] else { panic!("{first:?}") };

    bench.command(Command::Follow { sender, source: tracks[1] });
    let number = Header::parse_clear(sent).unwrap().sequence_number;
    let mut follower = follower;
    bench.rtcp(&mut follower, |writer| {
        rtcp::nack::write(writer, Ssrc(9), COPY, [number]).unwrap();
    });
    assert_eq!(bench.drain(), first, "other bytes under a number that was used would give the key stream away");
    let Heard::Rtp(header, payload) = follower.open(sent) else { panic!("{sent:x?}") };
    assert_eq!((header.payload_type, &payload[..]), (Pt(111), &[2, 2, 2][..]));
}

#[test]
fn what_a_publisher_lost_is_made_again_out_of_its_repair_packets() {
    const REPAIRS: Ssrc = Ssrc(TRACK.0 + 9);
    let mut bench = Bench::new();
    let (mut publisher, mut follower) = (bench.add(1), bench.add(2));
    let mut parameters = receiver_parameters(1);
    (parameters.fec, parameters.encodings[0].fec_ssrc) = (Some(Pt(110)), Some(REPAIRS));
    let receiver = ReceiverId::new(0, 1);
    let (transport, parameters) = (bench.transport(1), Box::new(parameters));
    bench.command(Command::AddReceiver { transport, receiver, parameters });
    bench.subscribe(2, receiver);
    bench.frame(&mut publisher, 0, true);
    assert_eq!(rtp(&bench.heard(&mut follower)).len(), 1);
    bench.drain();

    let (mut sum, base) = (Parity::new(), SeqNo(publisher.seq).low());
    for part in 0..3_u8 {
        let payload = [&[0x80 | if part == 0 { 0x10 } else { 0 }, 0x80, 0x80, 101, 0x11][..], &[part; 50]].concat();
        let (marker, sequence_number) = (part == 2, SeqNo(publisher.seq).low());
        let header = FixedHeader {
            marker,
            payload_type: Pt(96),
            sequence_number,
            timestamp: publisher.timestamp,
            ssrc: TRACK,
            ..FixedHeader::default()
        };
        assert!(sum.add(&header, &[&payload]));
        let datagram = publisher.packet_of(TRACK, 96, &payload, marker);
        if part != 1 {
            bench.hear(&publisher, &datagram);
        }
    }
    assert_eq!(rtp(&bench.heard(&mut follower)).len(), 2);
    let mut repair = [0; 200];
    let len = flexfec::write(&sum.repair(Some(TRACK), base, 0b111), &mut repair).unwrap();
    let datagram = publisher.packet(REPAIRS, 110, &repair[..len]);
    bench.hear(&publisher, &datagram);
    let heard = bench.heard(&mut follower);
    let [Heard::Rtp(header, payload)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!((header.ssrc, header.marker, &payload[5..]), (COPY, false, &[1; 50][..]));
    bench.at(1000);
    let stats = bench.router.snapshot(bench.now).receivers[0].encodings[0];
    assert_eq!((stats.recovered, stats.nacks), (1, 0), "nothing is asked for");
    // Others cannot be made anything of.
    let datagram = publisher.packet(REPAIRS, 110, &repair[..10]);
    bench.hear(&publisher, &datagram);
    assert_eq!(bench.drops(Drop::BadFec), 1);
}
