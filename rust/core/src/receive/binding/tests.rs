use super::*;
use crate::parameters::{CodecParameters, Kind};
use crate::payload::Codec;
use crate::rtp::ExtensionMap;

const VP8: Pt = Pt(96);
const VP8_RTX: Pt = Pt(97);
const OPUS: Pt = Pt(111);
const UNSAID: Identifiers = Identifiers { mid: None, rid: None, repaired_rid: None };

fn ms(n: u64) -> Time {
    Time::from_millis(n)
}

fn said(mid: &str, rid: &str) -> Identifiers {
    Identifiers { mid: Mid::new(mid.as_bytes()), rid: Rid::new(rid.as_bytes()), repaired_rid: None }
}

fn repairs(mid: &str, rid: &str) -> Identifiers {
    Identifiers { mid: Mid::new(mid.as_bytes()), rid: None, repaired_rid: Rid::new(rid.as_bytes()) }
}

fn codec(payload_type: Pt, rtx: Option<Pt>) -> CodecParameters {
    CodecParameters {
        codec: Codec::Opaque,
        payload_type,
        clock_rate: 90_000,
        format: 0,
        rtx,
        nack: true,
        pli: true,
        fir: false,
        transport_cc: true,
        remb: false,
    }
}

fn section(mid: &str, pt: Pt, rtx: Option<Pt>, encodings: Vec<EncodingParameters>) -> ReceiverParameters {
    ReceiverParameters {
        kind: Kind::Video,
        mid: Mid::new(mid.as_bytes()),
        codecs: vec![codec(pt, rtx)],
        encodings,
        extensions: ExtensionMap::NONE,
        fec: None,
    }
}

fn rids(rids: &[&str]) -> Vec<EncodingParameters> {
    rids.iter().map(|rid| EncodingParameters { rid: Rid::new(rid.as_bytes()), ..Default::default() }).collect()
}

fn ssrcs(pairs: &[(u32, u32)]) -> Vec<EncodingParameters> {
    pairs
        .iter()
        .map(|&(ssrc, rtx)| EncodingParameters {
            rid: None,
            ssrc: Some(Ssrc(ssrc)),
            rtx_ssrc: Some(Ssrc(rtx)),
            fec_ssrc: None,
        })
        .collect()
}

/// Receiver 1: audio, mid "a". Receiver 2: simulcast "q h f", mid "v". Receiver 3: one announced camera, mid "w".
fn bindings() -> Bindings {
    let mut bindings = Bindings::default();
    bindings.add(1, &section("a", OPUS, None, vec![EncodingParameters::default()])).unwrap();
    bindings.add(2, &section("v", VP8, Some(VP8_RTX), rids(&["q", "h", "f"]))).unwrap();
    bindings.add(3, &section("w", VP8, Some(VP8_RTX), ssrcs(&[(300, 301)]))).unwrap();
    bindings
}

fn bind(bindings: &mut Bindings, at: Time, ssrc: u32, pt: Pt, said: Identifiers) -> Result<Route, Drop> {
    let header = Header {
        marker: false,
        payload_type: pt,
        sequence_number: 0,
        timestamp: 0,
        ssrc: Ssrc(ssrc),
        extension_profile: 0,
        extension_offset: 0,
        extension_len: 0,
        payload_offset: 12,
        payload_len: 0,
        padding_len: 0,
    };
    bindings.bind(at, &header, &said)
}

fn route(receiver: u16, encoding: u8, flow: Flow) -> Route {
    Route { receiver, encoding, flow }
}

#[test]
fn each_way_of_telling_an_encoding() {
    use Flow::{Media, Rtx};
    for (what, ssrc, pt, said, expected) in [
        ("announced", 300, VP8, UNSAID, Ok(route(3, 0, Media))),
        ("announced rtx", 301, VP8_RTX, UNSAID, Ok(route(3, 0, Rtx))),
        ("announced, with its mid", 300, VP8, said("w", ""), Ok(route(3, 0, Media))),
        ("announced elsewhere, but the packet knows better", 300, VP8, said("v", "h"), Ok(route(2, 1, Media))),
        ("mid and rid", 7, VP8, said("v", "f"), Ok(route(2, 2, Media))),
        ("mid and repaired rid", 7, VP8_RTX, repairs("v", "q"), Ok(route(2, 0, Rtx))),
        ("mid and rid on rtx", 7, VP8_RTX, said("v", "q"), Ok(route(2, 0, Rtx))),
        ("mid of one encoding", 7, VP8, said("w", ""), Ok(route(3, 0, Media))),
        ("mid of one encoding, rtx", 7, VP8_RTX, said("w", ""), Ok(route(3, 0, Rtx))),
        ("mid of one encoding, rid nobody wants", 7, VP8, said("w", "f"), Ok(route(3, 0, Media))),
        ("payload type", 7, OPUS, UNSAID, Ok(route(1, 0, Media))),
        ("payload type of two", 7, VP8, UNSAID, Err(Drop::UnknownSsrc)),
        ("payload type of two, rid", 7, VP8, said("", "h"), Err(Drop::UnknownSsrc)),
        ("payload type of none", 7, Pt(50), UNSAID, Err(Drop::UnknownPayloadType)),
        ("mid, payload type of another", 7, OPUS, said("v", "f"), Err(Drop::UnknownPayloadType)),
        ("unknown mid", 7, OPUS, said("x", ""), Err(Drop::UnknownSsrc)),
        ("unknown rid", 7, VP8, said("v", "z"), Err(Drop::UnknownSsrc)),
        ("mid of three encodings", 7, VP8, said("v", ""), Err(Drop::UnknownSsrc)),
    ] {
        let mut bindings = bindings();
        assert_eq!(bind(&mut bindings, ms(0), ssrc, pt, said), expected, "{what}");
        assert_eq!(bindings.len(), usize::from(expected.is_ok()), "{what}: a refused packet leaves nothing");
        assert_eq!(bindings.route(Ssrc(ssrc)), expected.ok(), "{what}");
    }
}

#[test]
fn a_rid_without_mid_is_enough_where_the_payload_type_is_unique() {
    let mut bindings = Bindings::default();
    bindings.add(5, &section("v", VP8, Some(VP8_RTX), rids(&["q", "h"]))).unwrap();
    assert_eq!(bind(&mut bindings, ms(0), 9, VP8, said("", "h")), Ok(route(5, 1, Flow::Media)));
}

#[test]
fn what_was_learned_needs_no_saying_again() {
    let mut bindings = bindings();
    bind(&mut bindings, ms(0), 7, VP8, said("v", "f")).unwrap();
    assert_eq!(bind(&mut bindings, ms(1), 7, VP8, UNSAID), Ok(route(2, 2, Flow::Media)));
    assert_eq!(bind(&mut bindings, ms(2), 7, VP8, said("v", "")), Ok(route(2, 2, Flow::Media)));
}

#[test]
fn an_ssrc_moves_where_it_says() {
    let mut bindings = bindings();
    bind(&mut bindings, ms(0), 7, VP8, said("v", "f")).unwrap();
    assert_eq!(bind(&mut bindings, ms(1), 7, VP8, said("v", "q")), Ok(route(2, 0, Flow::Media)));
    assert_eq!(bind(&mut bindings, ms(2), 7, VP8, said("w", "")), Ok(route(3, 0, Flow::Media)));
    assert_eq!(bindings.len(), 1);
    // Its former place is free at once.
    assert_eq!(bind(&mut bindings, ms(3), 8, VP8, said("v", "q")), Ok(route(2, 0, Flow::Media)));
    assert_eq!(bind(&mut bindings, ms(4), 7, VP8, said("x", "")), Err(Drop::UnknownSsrc));
}

#[test]
fn an_encoding_changes_its_ssrc_once_in_a_while() {
    let mut bindings = bindings();
    let f = said("v", "f");
    bind(&mut bindings, ms(0), 7, VP8, f).unwrap();
    assert!(bind(&mut bindings, ms(1), 8, VP8, f).is_ok(), "the first change is at once");
    assert_eq!(bind(&mut bindings, ms(2), 7, VP8, f), Err(Drop::UnknownSsrc), "late packets of the old one");
    assert_eq!(bind(&mut bindings, ms(250), 9, VP8, f), Err(Drop::UnknownSsrc));
    assert!(bind(&mut bindings, ms(250), 8, VP8, f).is_ok());
    assert!(bind(&mut bindings, ms(251), 9, VP8, f).is_ok());
    assert_eq!((bindings.len(), bindings.route(Ssrc(7)), bindings.route(Ssrc(8))), (1, None, None));
}

#[test]
fn a_payload_type_takes_only_from_the_silent() {
    let mut bindings = bindings();
    bind(&mut bindings, ms(0), 7, OPUS, UNSAID).unwrap();
    bind(&mut bindings, ms(100), 7, OPUS, UNSAID).unwrap();
    assert_eq!(bind(&mut bindings, ms(599), 8, OPUS, UNSAID), Err(Drop::UnknownSsrc));
    assert_eq!(bind(&mut bindings, ms(600), 8, OPUS, UNSAID), Ok(route(1, 0, Flow::Media)));
    assert!(bind(&mut bindings, ms(850), 9, OPUS, said("a", "")).is_ok(), "a mid takes it from the speaking");
}

#[test]
fn goodbye_frees_the_place() {
    let mut bindings = bindings();
    bind(&mut bindings, ms(0), 7, VP8, said("v", "f")).unwrap();
    bind(&mut bindings, ms(1), 8, VP8, said("v", "f")).unwrap();
    bind(&mut bindings, ms(1), 300, VP8, UNSAID).unwrap();
    assert_eq!(bindings.unbind(Ssrc(8)), Some(route(2, 2, Flow::Media)));
    assert_eq!(bindings.unbind(Ssrc(8)), None);
    assert!(bind(&mut bindings, ms(2), 9, VP8, said("v", "f")).is_ok());
    bindings.unbind(Ssrc(300));
    assert_eq!(bind(&mut bindings, ms(3), 300, VP8, UNSAID), Ok(route(3, 0, Flow::Media)), "announced is announced");
}

#[test]
fn a_flood_of_ssrcs_binds_nothing_more() {
    let mut bindings = bindings();
    for ssrc in 1000..11_000 {
        let at = ms(u64::from(ssrc));
        let _ = bind(&mut bindings, at, ssrc, VP8, UNSAID);
        let _ = bind(&mut bindings, at, ssrc, VP8, said("v", "f"));
        let _ = bind(&mut bindings, at, ssrc ^ 0xFFFF_0000, VP8_RTX, repairs("v", "f"));
        let _ = bind(&mut bindings, at, ssrc ^ 0xFF00_0000, OPUS, UNSAID);
    }
    assert!(bindings.len() <= 3, "{}", bindings.len());
}

#[test]
fn binds_its_limit_and_not_one_more() {
    let mut bindings = Bindings::new(4);
    bindings.add(1, &section("v", VP8, Some(VP8_RTX), rids(&["q", "h", "f"]))).unwrap();
    for (ssrc, rid) in [(1, "q"), (2, "h"), (3, "f")] {
        bind(&mut bindings, ms(0), ssrc, VP8, said("v", rid)).unwrap();
    }
    bind(&mut bindings, ms(0), 4, VP8_RTX, repairs("v", "q")).unwrap();
    assert_eq!(bind(&mut bindings, ms(0), 5, VP8_RTX, repairs("v", "h")), Err(Drop::TooManySsrcs));
    assert!(bind(&mut bindings, ms(0), 6, VP8, said("v", "q")).is_ok(), "a change needs no room");
    assert_eq!(bindings.len(), 4);
}

#[test]
fn receivers_come_and_go() {
    let mut bindings = bindings();
    assert_eq!(bindings.add(9, &section("v", VP8, None, rids(&["q"]))), Err(BindError::MidTaken));
    assert_eq!(bindings.add(9, &section("z", VP8, None, ssrcs(&[(301, 8)]))), Err(BindError::SsrcTaken));
    bind(&mut bindings, ms(0), 7, VP8, said("v", "f")).unwrap();
    bind(&mut bindings, ms(0), 300, VP8, UNSAID).unwrap();
    bindings.remove(2, |_| ());
    assert_eq!((bindings.len(), bindings.route(Ssrc(7))), (1, None));
    assert_eq!(bind(&mut bindings, ms(1), 7, VP8, said("v", "f")), Err(Drop::UnknownSsrc));
    // VP8 now belongs to one section only.
    bindings.unbind(Ssrc(300));
    assert_eq!(bind(&mut bindings, ms(1), 7, VP8, UNSAID), Ok(route(3, 0, Flow::Media)));
    bindings.add(4, &section("v", VP8, None, rids(&["f"]))).unwrap();
    assert_eq!(bind(&mut bindings, ms(2), 70, VP8, said("v", "f")), Ok(route(4, 0, Flow::Media)), "the hole is used");
    let mut full = Bindings::new(1);
    full.add(1, &section("a", VP8, None, rids(&["q"]))).unwrap();
    assert_eq!(full.add(2, &section("b", VP8, None, rids(&["q"]))), Err(BindError::TooManyReceivers));
}
