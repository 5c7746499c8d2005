use super::*;
use crate::parameters::EncodingParameters;
use crate::payload::Codec;
use crate::rtp::ExtensionMap;
use crate::units::Pt;

const RTT: Option<Duration> = Some(Duration::from_millis(50));

fn ms(n: u64) -> Time {
    Time::from_millis(n)
}

fn codec(codec: Codec, pt: u8, rtx: Option<u8>, clock_rate: u32) -> CodecParameters {
    let is_video = clock_rate == 90_000;
    CodecParameters {
        codec,
        payload_type: Pt(pt),
        clock_rate,
        format: 0,
        rtx: rtx.map(Pt),
        nack: is_video,
        pli: is_video,
        fir: false,
        transport_cc: true,
        remb: false,
    }
}

fn parameters(encodings: usize) -> ReceiverParameters {
    ReceiverParameters {
        kind: Kind::Video,
        mid: None,
        codecs: vec![codec(Codec::Vp8, 96, Some(97), 90_000), codec(Codec::H264, 102, Some(103), 90_000)],
        encodings: vec![EncodingParameters::default(); encodings],
        extensions: ExtensionMap::NONE,
        fec: None,
    }
}

fn receiver(encodings: usize) -> Receiver {
    Receiver::new(&parameters(encodings), keyframe::DEFAULT_INTERVAL).unwrap()
}

fn media(encoding: u8) -> Route {
    Route { receiver: 0, encoding, flow: Flow::Media }
}

fn rtx(encoding: u8) -> Route {
    Route { receiver: 0, encoding, flow: Flow::Rtx }
}

/// A packet with a header of twelve bytes, which only its parsed form describes.
fn packet(ssrc: u32, pt: u8, sequence_number: u16, payload: &[u8]) -> (Header, Vec<u8>) {
    let header = Header {
        marker: true,
        payload_type: Pt(pt),
        sequence_number,
        timestamp: u32::from(sequence_number) * 3000,
        ssrc: Ssrc(ssrc),
        extension_profile: 0,
        extension_offset: 12,
        extension_len: 0,
        payload_offset: 12,
        payload_len: u16::try_from(payload.len()).unwrap(),
        padding_len: 0,
    };
    let mut bytes = vec![0; 12];
    bytes.extend_from_slice(payload);
    (header, bytes)
}

fn accept(receiver: &mut Receiver, now: Time, route: Route, sent: &(Header, Vec<u8>)) -> Result<Accepted, Drop> {
    receiver.accept(now, route, &sent.0, &sent.1)
}

fn send(receiver: &mut Receiver, now: Time, numbers: impl IntoIterator<Item = u16>) {
    for number in numbers {
        accept(receiver, now, media(0), &packet(1, 96, number, b"frame")).unwrap();
    }
}

fn nacked(receiver: &mut Receiver, now: Time) -> Vec<u16> {
    let mut out = [SeqNo(0); 32];
    let count = receiver.poll_nack(now, RTT, &mut out).map_or(0, |(_, count)| count);
    out[..count].iter().map(|seq| seq.low()).collect()
}

#[test]
fn a_retransmission_reads_like_the_original() {
    let mut receiver = receiver(1);
    send(&mut receiver, ms(0), [10, 12]);
    assert_eq!(nacked(&mut receiver, ms(20)), [11]);
    let original = packet(1, 96, 11, b"frame");
    let mut repair = packet(2, 97, 500, b"\x00\x0Bframe");
    repair.0.timestamp = original.0.timestamp;
    let accepted = accept(&mut receiver, ms(60), rtx(0), &repair).unwrap();
    assert_eq!(accepted.header, Header { payload_offset: 14, ..original.0 });
    assert_eq!(&repair.1[14..], b"frame");
    assert_eq!((accepted.seq, accepted.order), (SeqNo::first(11), Order::Late));
    assert_eq!((accepted.flow, accepted.codec, accepted.is_padding), (Flow::Rtx, 0, false));
    assert_eq!(accept(&mut receiver, ms(61), media(0), &original), Err(Drop::Duplicate));
    assert_eq!(nacked(&mut receiver, ms(500)), Vec::<u16>::new());
    let stats = receiver.stats(0, ms(500)).unwrap();
    assert_eq!((stats.repaired, stats.nacked, stats.media.packets, stats.rtx.packets), (1, 1, 2, 1));
}

#[test]
fn retransmissions_of_nothing() {
    let mut receiver = receiver(1);
    let repair = packet(2, 97, 1, b"\x00\x0Aframe");
    assert_eq!(accept(&mut receiver, ms(0), rtx(0), &repair), Err(Drop::BadRtx), "no stream yet");
    send(&mut receiver, ms(0), [10]);
    for (number, payload, reason) in [
        (2, &b""[..], Drop::PaddingOnly),
        (3, b"\x00", Drop::BadRtx),
        (4, b"\x00\x0Aframe", Drop::Duplicate),
        (4, b"\x00\x09frame", Drop::Duplicate),
        (5, b"\x7F\x00frame", Drop::BadRtx),
        (6, b"\xC0\x00frame", Drop::TooLate),
    ] {
        assert_eq!(accept(&mut receiver, ms(1), rtx(0), &packet(2, 97, number, payload)), Err(reason), "{number}");
    }
    let (mut header, bytes) = packet(2, 97, 7, b"\x00\x09");
    header.payload_len = 200;
    header.payload_offset = 13;
    assert_eq!(receiver.accept(ms(1), rtx(0), &header, &bytes), Err(Drop::BadRtx), "a length that lies");
}

#[test]
fn a_replaced_source_is_not_repaired_with_old_numbers() {
    let mut receiver = receiver(1);
    send(&mut receiver, ms(0), [10, 12]);
    accept(&mut receiver, ms(1), rtx(0), &packet(2, 97, 1, b"\x00\x0Bframe")).unwrap();
    let changed = accept(&mut receiver, ms(2), media(0), &packet(7, 96, 20, b"frame")).unwrap();
    assert_eq!((changed.order, changed.seq), (Order::Restart, SeqNo(0x3_0000 + 20)));
    let old = packet(2, 97, 2, b"\x00\x13frame");
    assert_eq!(accept(&mut receiver, ms(3), rtx(0), &old), Err(Drop::BadRtx));
    let new = packet(8, 97, 2, b"\x00\x13frame");
    assert_eq!(accept(&mut receiver, ms(4), rtx(0), &new).map(|a| a.seq), Ok(SeqNo(0x3_0000 + 19)));
}

#[test]
fn payload_types_must_fit_the_flow() {
    let mut receiver = receiver(1);
    assert_eq!(accept(&mut receiver, ms(0), media(0), &packet(1, 97, 1, b"\0\0x")), Err(Drop::BadRtx));
    assert_eq!(accept(&mut receiver, ms(0), rtx(0), &packet(1, 96, 1, b"x")), Err(Drop::BadRtx));
    assert_eq!(accept(&mut receiver, ms(0), media(0), &packet(1, 50, 1, b"x")), Err(Drop::UnknownPayloadType));
    assert_eq!(accept(&mut receiver, ms(0), media(0), &packet(1, 200, 1, b"x")), Err(Drop::UnknownPayloadType));
    assert_eq!(accept(&mut receiver, ms(0), media(1), &packet(1, 96, 1, b"x")), Err(Drop::UnknownSsrc));
    assert_eq!(accept(&mut receiver, ms(0), media(0), &packet(1, 102, 1, b"x")).map(|a| a.codec), Ok(1));
}

#[test]
fn padding_has_a_number_and_is_not_missing() {
    let mut receiver = receiver(1);
    send(&mut receiver, ms(0), [1]);
    let padding = accept(&mut receiver, ms(0), media(0), &packet(1, 96, 2, b"")).unwrap();
    assert_eq!((padding.is_padding, padding.seq), (true, SeqNo::first(2)));
    send(&mut receiver, ms(0), [3, 4, 5, 6]);
    assert_eq!((nacked(&mut receiver, ms(100)), receiver.deadline()), (vec![], Time::NEVER));
}

#[test]
fn a_keyframe_makes_losses_moot_and_grants_wishes() {
    let mut receiver = receiver(1);
    receiver.request_keyframe(ms(0), 0);
    assert_eq!((receiver.deadline(), receiver.poll_keyframe(ms(0), RTT)), (Time::NEVER, None), "nobody to ask yet");
    send(&mut receiver, ms(1), [10, 15]);
    assert_eq!(receiver.deadline(), ms(0));
    assert_eq!(receiver.poll_keyframe(ms(1), RTT), Some((0, Ssrc(1), KeyframeRequest::Pli)));
    assert_eq!(receiver.poll_keyframe(ms(1), RTT), None);
    receiver.handle_keyframe(0, SeqNo::first(15));
    assert_eq!((nacked(&mut receiver, ms(20)), receiver.deadline()), (vec![], Time::NEVER));
}

#[test]
fn more_missing_than_worth_asking_wishes_for_a_keyframe() {
    let mut receiver = receiver(1);
    send(&mut receiver, ms(0), [0, 1002]);
    assert_eq!(nacked(&mut receiver, ms(20)), Vec::<u16>::new());
    assert_eq!(receiver.poll_keyframe(ms(20), RTT), Some((0, Ssrc(1), KeyframeRequest::Pli)));
}

#[test]
fn each_encoding_asks_for_itself() {
    let mut receiver = receiver(3);
    for encoding in 0..3u8 {
        for number in [1, 3] {
            accept(&mut receiver, ms(0), media(encoding), &packet(encoding.into(), 96, number, b"x")).unwrap();
        }
    }
    let mut out = [SeqNo(0); 8];
    let asked: Vec<_> = core::iter::from_fn(|| receiver.poll_nack(ms(10), RTT, &mut out)).collect();
    assert_eq!(asked, [(Ssrc(0), 1), (Ssrc(1), 1), (Ssrc(2), 1)]);
    receiver.request_keyframe(ms(10), 2);
    assert_eq!(receiver.poll_keyframe(ms(10), RTT), Some((2, Ssrc(2), KeyframeRequest::Pli)));
    assert_eq!(receiver.poll_keyframe(ms(10), RTT), None);
}

#[test]
fn reports_fit_the_room_they_get() {
    let mut receiver = receiver(3);
    for encoding in 0..3u8 {
        accept(&mut receiver, ms(0), media(encoding), &packet(u32::from(encoding), 96, 5, b"x")).unwrap();
        let probe = packet(100 + u32::from(encoding), 97, 1, b"");
        assert_eq!(accept(&mut receiver, ms(0), rtx(encoding), &probe), Err(Drop::PaddingOnly));
    }
    let mut out = [ReportBlock::default(); 4];
    assert_eq!(receiver.report(ms(1), &mut out), 4);
    assert_eq!(out.map(|report| report.ssrc.0), [0, 100, 1, 101]);
    assert_eq!(receiver.report(ms(2), &mut out), 2, "the rest is not lost");
    assert_eq!((out[0].ssrc, out[1].ssrc), (Ssrc(2), Ssrc(102)));
    assert_eq!(receiver.report(ms(3), &mut out), 0);
}

#[test]
fn goodbye_ends_asking_until_it_comes_back() {
    let mut receiver = receiver(1);
    send(&mut receiver, ms(0), [1, 3]);
    receiver.handle_sender_report(ms(1), media(0), 5 << 32, 77);
    assert_eq!(receiver.clock(0).map(|clock| clock.clock_rate), Some(90_000));
    receiver.handle_bye(media(0));
    assert_eq!((nacked(&mut receiver, ms(50)), receiver.deadline(), receiver.clock(0)), (vec![], Time::NEVER, None));
    let back = accept(&mut receiver, ms(60), media(0), &packet(1, 96, 4, b"x")).unwrap();
    assert_eq!(back.order, Order::Restart);
}

#[test]
fn parameters_that_make_no_receiver() {
    let new = |change: fn(&mut ReceiverParameters)| {
        let mut parameters = parameters(1);
        change(&mut parameters);
        Receiver::new(&parameters, keyframe::DEFAULT_INTERVAL).err()
    };
    assert_eq!(new(|p| p.encodings.clear()), Some(ReceiverError::Encodings));
    assert_eq!(new(|p| p.encodings = vec![EncodingParameters::default(); 4]), Some(ReceiverError::Encodings));
    assert_eq!(new(|p| p.codecs.clear()), Some(ReceiverError::Codecs));
    assert_eq!(new(|p| p.codecs[0].clock_rate = 0), Some(ReceiverError::Codecs));
    assert_eq!(new(|p| p.codecs[0].payload_type = Pt(128)), Some(ReceiverError::Codecs));
    assert_eq!(new(|p| p.codecs[0].payload_type = Pt(103)), Some(ReceiverError::Codecs));
    assert_eq!(new(|_| {}), None);
}

#[test]
fn audio_never_asks_for_a_keyframe() {
    let mut parameters = parameters(1);
    parameters.kind = Kind::Audio;
    parameters.codecs = vec![codec(Codec::Opus, 111, None, 48_000)];
    let mut receiver = Receiver::new(&parameters, keyframe::DEFAULT_INTERVAL).unwrap();
    accept(&mut receiver, ms(0), media(0), &packet(1, 111, 1, b"x")).unwrap();
    accept(&mut receiver, ms(0), media(0), &packet(1, 111, 2000, b"x")).unwrap();
    receiver.request_keyframe(ms(0), 0);
    assert_eq!((receiver.deadline(), receiver.poll_keyframe(ms(0), None)), (Time::NEVER, None));
    assert_eq!(nacked(&mut receiver, ms(100)), Vec::<u16>::new());
}
