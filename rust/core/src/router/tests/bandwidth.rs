//! Paths that carry less than is wanted: numbers, shares, pauses, what is sent again or in advance.

use super::*;
use crate::bandwidth::OUTSIDE;
use crate::fec;
use crate::parameters::FecParameters;
use crate::rtp::{ExtensionKind, Extensions};
use crate::units::Bitrate;

const NUMBER: u8 = 4;
const SENT_AT: u8 = 5;
const REPAIRS: Ssrc = Ssrc(COPY.0 + 2);

/// What one copy of video negotiates: numbers, or departure times.
fn numbered(kind: ExtensionKind) -> SenderParameters {
    let mut parameters = sender_parameters();
    let is_numbered = kind == ExtensionKind::TransportCc;
    parameters.codecs = vec![CodecParameters { transport_cc: is_numbered, remb: !is_numbered, ..codec(120) }];
    parameters.extensions.set(kind, if is_numbered { NUMBER } else { SENT_AT });
    parameters
}

fn subscribe(bench: &mut Bench, number: u8, source: ReceiverId, parameters: SenderParameters) -> SenderId {
    let sender = SenderId::new(0, number.into());
    let transport = bench.transport(number);
    bench.command(Command::AddSender { transport, sender, source, parameters: Box::new(parameters) });
    let now = bench.now.as_millis();
    bench.at(now);
    sender
}

/// RTP packets for a client, decrypted and whole.
fn packets(bench: &mut Bench, client: &mut Client) -> Vec<Vec<u8>> {
    let address = path(client.number).remote;
    let own = bench.drain().into_iter().filter(|(to, datagram)| *to == address && !matches!(datagram[1], 192..=223));
    own.map(|(_, datagram)| client.open_whole(&datagram)).collect()
}

/// Those of the copy itself: no padding, nothing that is sent again.
fn media(bench: &mut Bench, client: &mut Client) -> Vec<Vec<u8>> {
    let is_media = |packet: &Vec<u8>| Header::parse(packet).unwrap().ssrc == COPY;
    packets(bench, client).into_iter().filter(is_media).collect()
}

fn extension(packet: &[u8], kind: ExtensionKind) -> Option<Vec<u8>> {
    let mut map = ExtensionMap::NONE;
    map.set(ExtensionKind::TransportCc, NUMBER);
    map.set(ExtensionKind::AbsSendTime, SENT_AT);
    let header = Header::parse(packet).unwrap();
    Extensions::parse(&header, packet, &map).find(kind, packet).map(<[u8]>::to_vec)
}

fn numbers(packets: &[Vec<u8>]) -> Vec<u16> {
    let number = |packet: &Vec<u8>| extension(packet, ExtensionKind::TransportCc);
    packets.iter().filter_map(number).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]])).collect()
}

/// A publisher of one encoding and a follower with numbers, the first keyframe through.
fn playing(kind: ExtensionKind) -> (Bench, Client, Client, SenderId) {
    let mut bench = Bench::new();
    let (mut publisher, follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    bench.frame(&mut publisher, 0, true);
    let copy = subscribe(&mut bench, 2, track, numbered(kind));
    bench.at(1);
    (bench, publisher, follower, copy)
}

/// Answers numbers: those of `lost` are missing, the others arrived a millisecond apart.
fn answer(bench: &mut Bench, client: &mut Client, numbers: &[u16], lost: impl Fn(u16) -> bool) {
    let now = bench.now;
    let arrived: Vec<_> = numbers
        .iter()
        .filter(|&&number| !lost(number))
        .map(|&number| (SeqNo(1 << 16 | u64::from(number)), Time::from_millis(1000 + u64::from(number))))
        .collect();
    let Some(&(base, _)) = arrived.first() else { return };
    bench.rtcp(client, |writer| {
        let head = rtcp::transport_cc::Head {
            sender_ssrc: Ssrc(9),
            media_ssrc: COPY,
            base,
            feedback_count: now.as_nanos().to_le_bytes()[3],
        };
        let taken = rtcp::transport_cc::write(writer, &head, arrived.iter().copied()).unwrap();
        assert_eq!(taken, arrived.len());
    });
}

#[test]
fn every_packet_has_the_next_number_and_retransmissions_too() {
    let (mut bench, mut publisher, mut follower, _) = playing(ExtensionKind::TransportCc);
    for frame in 1..4 {
        bench.at(33 * frame);
        bench.frame(&mut publisher, 0, false);
    }
    let sent = packets(&mut bench, &mut follower);
    let first = numbers(&sent)[0];
    assert_eq!(numbers(&sent), [0, 1, 2, 3].map(|n| first + n));
    let second = Header::parse(&sent[1]).unwrap().sequence_number;
    bench.rtcp(&mut follower, |writer| {
        rtcp::nack::write(writer, Ssrc(9), COPY, [second]).unwrap();
    });
    let again = packets(&mut bench, &mut follower);
    assert_eq!(numbers(&again), [first + 4]);
    assert_eq!(Header::parse(&again[0]).unwrap().ssrc, Ssrc(COPY.0 + 1));
}

#[test]
fn without_numbers_of_their_own_retransmissions_forbid_numbers_in_packets() {
    let mut bench = Bench::new();
    let (mut publisher, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    let mut parameters = numbered(ExtensionKind::TransportCc);
    parameters.codecs[0].rtx = None;
    parameters.rtx_ssrc = None;
    subscribe(&mut bench, 2, track, parameters);
    bench.frame(&mut publisher, 0, true);
    let sent = packets(&mut bench, &mut follower);
    assert_eq!((sent.len(), numbers(&sent).len()), (1, 0));
}

#[test]
fn departure_times_go_to_those_who_estimate_themselves() {
    let (mut bench, _, mut follower, _) = playing(ExtensionKind::AbsSendTime);
    let sent = packets(&mut bench, &mut follower);
    let [first] = &sent[..] else { panic!("{sent:?}") };
    // A millisecond in 6.18 bits.
    assert_eq!(extension(first, ExtensionKind::AbsSendTime), Some(vec![0, 1, 6]));
}

#[test]
fn a_path_too_narrow_pauses_video_and_a_wider_one_resumes_it_with_a_keyframe() {
    let (mut bench, mut publisher, mut follower, copy) = playing(ExtensionKind::AbsSendTime);
    packets(&mut bench, &mut follower);
    bench.events();
    let remb = |bench: &mut Bench, follower: &mut Client, bps| {
        bench.rtcp(follower, |writer| {
            rtcp::remb::write(writer, Ssrc(9), Bitrate::from_bps(bps), &[COPY]).unwrap();
        });
    };
    let pauses = |events: Vec<Event>| -> Vec<bool> {
        let pause = |event| {
            if let Event::StreamPaused { sender, is_paused } = event { Some((sender, is_paused)) } else { None }
        };
        events
            .into_iter()
            .filter_map(pause)
            .map(|(sender, is_paused)| (assert_eq!(sender, copy), is_paused).1)
            .collect()
    };
    bench.at(500);
    remb(&mut bench, &mut follower, 40_000);
    assert_eq!(pauses(bench.events()), [true]);
    bench.frame(&mut publisher, 0, false);
    assert!(media(&mut bench, &mut follower).is_empty());
    let stats = bench.router.snapshot(bench.now).senders[0];
    assert_eq!((stats.limit, stats.granted, stats.layer), (crate::stats::Limit::Bandwidth, None, None));
    // What was lost before the pause is of no use any more.
    bench.rtcp(&mut follower, |writer| {
        rtcp::nack::write(writer, Ssrc(9), COPY, [7]).unwrap();
    });
    assert!(media(&mut bench, &mut follower).is_empty());

    bench.at(2000);
    remb(&mut bench, &mut follower, 2_000_000);
    for ms in (2000..6000).step_by(50) {
        bench.at(ms);
        bench.heard(&mut publisher);
    }
    assert_eq!(pauses(bench.events()), [false]);
    bench.frame(&mut publisher, 0, false);
    for ms in 6001..6600 {
        bench.at(ms);
    }
    let asked: Vec<_> = bench.heard(&mut publisher);
    assert_eq!(plis(&asked), [TRACK]);
    bench.frame(&mut publisher, 0, true);
    assert_eq!(media(&mut bench, &mut follower).len(), 1);
}

#[test]
fn a_copy_that_its_owner_pauses_is_starved_no_longer() {
    let (mut bench, _, mut follower, copy) = playing(ExtensionKind::AbsSendTime);
    packets(&mut bench, &mut follower);
    bench.at(500);
    bench.rtcp(&mut follower, |writer| {
        rtcp::remb::write(writer, Ssrc(9), Bitrate::from_bps(40_000), &[COPY]).unwrap();
    });
    bench.events();
    bench.command(Command::Pause { sender: copy, is_paused: true });
    let told = bench.events();
    assert!(matches!(told[..], [Event::StreamPaused { is_paused: false, .. }]), "{told:?}");
    assert_eq!(bench.router.snapshot(bench.now).senders[0].limit, crate::stats::Limit::Paused);
}

#[test]
fn what_a_publisher_loses_lowers_nobodys_estimate() {
    let estimate = |is_lost: fn(u64) -> bool| {
        let (mut bench, mut publisher, mut follower, _) = playing(ExtensionKind::TransportCc);
        for frame in 0..120 {
            bench.at(33 * frame + 33);
            let datagram = publisher.frame(0, frame % 10 == 0);
            if !is_lost(frame) {
                bench.hear(&publisher, &datagram);
            }
            let sent = numbers(&packets(&mut bench, &mut follower));
            answer(&mut bench, &mut follower, &sent, |_| false);
        }
        let stats = bench.router.snapshot(bench.now).transports.iter().find_map(|stats| stats.bandwidth).unwrap();
        stats.estimate.as_bps()
    };
    let (whole, torn) = (estimate(|_| false), estimate(|frame| frame % 3 == 1));
    assert!(torn >= whole * 9 / 10, "{torn} where all came {whole}");
}

#[test]
fn an_estimate_of_nothing_and_one_of_everything_are_borne() {
    let (mut bench, mut publisher, mut follower, _) = playing(ExtensionKind::AbsSendTime);
    packets(&mut bench, &mut follower);
    for bps in [0, 1 << 63, u64::MAX, 1] {
        bench.rtcp(&mut follower, |writer| {
            rtcp::remb::write(writer, Ssrc(9), Bitrate::from_bps(bps), &[COPY]).unwrap();
        });
    }
    bench.at(400);
    bench.frame(&mut publisher, 0, false);
    packets(&mut bench, &mut follower);
    let stats = bench.router.snapshot(bench.now).transports.iter().find_map(|stats| stats.bandwidth).unwrap();
    assert!((30_000..=200_000_000).contains(&stats.estimate.as_bps()), "{stats:?}");
}

#[test]
fn feedback_nobody_asked_for_is_counted() {
    let mut bench = Bench::new();
    let (mut publisher, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    bench.subscribe(2, track);
    bench.frame(&mut publisher, 0, true);
    packets(&mut bench, &mut follower);
    answer(&mut bench, &mut follower, &[0, 1], |_| false);
    assert_eq!(bench.drops(Drop::BadFeedback), 1);
}

#[test]
fn a_large_keyframe_leaves_in_steps_and_audio_does_not_wait_for_it() {
    let (mut bench, mut publisher, mut follower, _) = playing(ExtensionKind::TransportCc);
    packets(&mut bench, &mut follower);
    bench.at(40);
    // 100 kB at once: at two and a half times the first megabit a third of a second.
    for part in 0..80 {
        let (start, head) = if part == 0 { (0x10, [0x10, 0, 0, 0x9D, 0x01, 0x2A, 64, 0, 64, 0]) } else { (0, [7; 10]) };
        let payload = [&[0x80 | start, 0x80, 0x80, 0x65][..], &head, &[7; 1200]].concat();
        let datagram = publisher.packet_of(TRACK, 96, &payload, part == 79);
        bench.hear(&publisher, &datagram);
    }
    let first = packets(&mut bench, &mut follower).len();
    assert!((5..20).contains(&first), "{first}");
    let (mut sent, mut ms) = (first, 40);
    while sent < 80 {
        ms += 5;
        bench.at(ms);
        let more = packets(&mut bench, &mut follower);
        assert!(more.iter().map(|packet| packet.len() + OUTSIDE).sum::<usize>() < 20_000, "no burst");
        sent += more.len();
        assert!(ms < 600, "{sent} of 80");
    }
    assert!(ms > 200, "{ms}");
}

#[test]
fn what_is_lost_on_a_long_path_is_recovered_from_repair_packets() {
    let mut bench = Bench::new();
    let (mut publisher, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    let mut parameters = numbered(ExtensionKind::TransportCc);
    parameters.fec = Some(FecParameters { payload_type: Pt(110), ssrc: REPAIRS });
    subscribe(&mut bench, 2, track, parameters);
    bench.frame(&mut publisher, 0, true);
    let mut map = ExtensionMap::NONE;
    map.set(ExtensionKind::TransportCc, NUMBER);
    let (mut kept, mut recovered, mut lost) = (Vec::<(Vec<u8>, Extensions)>::new(), Vec::new(), Vec::new());
    let mut recovery = Recovery::new(None);
    let mut answers = Vec::new();
    for frame in 0..600u64 {
        bench.at(33 * frame);
        // Three packets to the frame.
        for part in 0..3 {
            let [high, low] = publisher.picture_id.to_be_bytes();
            let payload =
                [&[0x80 | if part == 0 { 0x10 } else { 0 }, 0x80, high | 0x80, low, 0x11][..], &[part; 400]].concat();
            let datagram = publisher.packet_of(TRACK, 96, &payload, part == 2);
            bench.hear(&publisher, &datagram);
        }
        publisher.picture_id += 1;
        publisher.timestamp = publisher.timestamp.wrapping_add(3000);
        let sent = packets(&mut bench, &mut follower);
        let is_lost = |number: u16| number % 7 == 3;
        // A quarter of a second to the peer and back.
        answers.push(numbers(&sent));
        if let Some(late) = answers.len().checked_sub(8) {
            answer(&mut bench, &mut follower, &answers[late], is_lost);
        }
        for packet in sent {
            let header = Header::parse(&packet).unwrap();
            let number = numbers(core::slice::from_ref(&packet))[0];
            if is_lost(number) {
                if header.ssrc == COPY {
                    lost.push(packet);
                }
                continue;
            }
            let extensions = Extensions::parse(&header, &packet, &map);
            if header.ssrc == REPAIRS {
                let repair = fec::flexfec::parse(header.payload(&packet)).unwrap();
                let find = |reference: u64| {
                    let at = usize::try_from(reference).unwrap();
                    Some((&kept[at].0[..], &kept[at].1))
                };
                recovery.repair(&repair, COPY, find);
            } else if header.ssrc == COPY {
                kept.push((packet.clone(), extensions));
                recovery.media(kept.len() as u64 - 1, &packet, &extensions);
            }
            let mut out = [0; 1500];
            while let Some(len) = recovery.poll(COPY, &mut out) {
                recovered.push(out[..len].to_vec());
            }
        }
    }
    assert!(recovered.len() > lost.len() / 3, "{} of {}", recovered.len(), lost.len());
    for packet in &recovered {
        let header = Header::parse(packet).unwrap();
        let mut original = lost.iter().find(|lost| lost[2..4] == packet[2..4]).unwrap().clone();
        // What says when it left counts as zero.
        let at = usize::from(header.extension_offset) + 1;
        original[at..at + 2].fill(0);
        assert_eq!(*packet, original);
    }
}
