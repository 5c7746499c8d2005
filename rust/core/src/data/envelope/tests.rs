//! Packets as clients write them; `tests/test_hub.py` has the same written and read by LiveKit's own generated code.

use proptest::prelude::*;

use super::*;

const ALICE: Origin<'_> = Origin { sid: "PA_alice", identity: "alice", is_hidden: false, is_agent: false };
const AGENT: Origin<'_> = Origin { sid: "PA_agent", identity: "agent", is_hidden: false, is_agent: true };
const GHOST: Origin<'_> = Origin { is_hidden: true, ..ALICE };

/// A packet of these fields.
fn packet(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, value) in fields {
        put_bytes(&mut out, *number, value);
    }
    out
}

fn all(message: &[u8], number: u32) -> Vec<&[u8]> {
    let fields = Fields::of(message).map(Result::unwrap).filter(|field| field.number == number);
    fields.filter_map(|field| if let Value::Bytes(bytes) = field.value { Some(bytes) } else { None }).collect()
}

fn numbers(message: &[u8], number: u32) -> Vec<u64> {
    let fields = Fields::of(message).map(Result::unwrap).filter(|field| field.number == number);
    fields.filter_map(|field| if let Value::Varint(value) = field.value { Some(value) } else { None }).collect()
}

#[test]
fn names_are_those_of_the_sender_whatever_it_says() {
    let user = packet(&[(1, b"PA_bob"), (5, b"bob"), (2, b"hello"), (4, b"topic"), (99, b"newer")]);
    let spoofed = packet(&[(4, b"bob"), (17, b"PA_bob"), (2, &user), (99, b"newer"), (4, b"carol")]);
    let sent = admit(&spoofed, &ALICE, Kind::Reliable).unwrap().packet;
    assert_eq!(all(&sent, 4), [b"alice"]);
    assert_eq!(all(&sent, 17), [b"PA_alice"]);
    assert_eq!(all(&sent, 99), [b"newer"], "what nobody here knows goes on");
    let inner = all(&sent, 2)[0];
    assert_eq!((all(inner, 1), all(inner, 5)), (vec![&b"PA_alice"[..]], vec![&b"alice"[..]]));
    assert_eq!(
        (all(inner, 2), all(inner, 4), all(inner, 99)),
        (vec![&b"hello"[..]], vec![&b"topic"[..]], vec![&b"newer"[..]])
    );
}

#[test]
fn a_hidden_sender_has_no_names() {
    let spoofed = packet(&[(4, b"bob"), (17, b"PA_bob"), (2, &packet(&[(1, b"PA_bob"), (5, b"bob"), (2, b"x")]))]);
    let sent = admit(&spoofed, &GHOST, Kind::Reliable).unwrap().packet;
    assert_eq!(sent, packet(&[(2, &packet(&[(2, b"x")]))]));
}

#[test]
fn the_kind_is_that_of_the_channel() {
    let mut claimed = vec![0x08, 1];
    claimed.extend(packet(&[(10, b"")]));
    assert_eq!(numbers(&admit(&claimed, &ALICE, Kind::Reliable).unwrap().packet, 1), [0; 0]);
    let mut claimed = vec![0x08, 0, 0x08, 7];
    claimed.extend(packet(&[(10, b"")]));
    assert_eq!(numbers(&admit(&claimed, &ALICE, Kind::Lossy).unwrap().packet, 1), [1]);
}

#[test]
fn everybody_who_is_named_anywhere_gets_it() {
    let user = packet(&[(3, b"PA_carol"), (6, b"dave"), (6, b"bob")]);
    let admitted = admit(&packet(&[(5, b"bob"), (2, &user)]), &ALICE, Kind::Reliable).unwrap();
    let to = &admitted.to;
    assert!(to.contains("PA_1", "bob") && to.contains("PA_carol", "carol") && to.contains("PA_2", "dave"));
    assert!(!to.contains("PA_alice", "alice") && !to.contains("bob", "PA_carol"), "a sid is no identity");
    assert_eq!(all(&admitted.packet, 5), [b"bob"], "and they are still named");
    assert!(admit(&packet(&[(2, b"")]), &ALICE, Kind::Reliable).unwrap().to.contains("PA_1", "anybody"));
    let many: Vec<_> = (0..=MAX_DESTINATIONS).map(|_| (5, &b"b"[..])).collect();
    assert_eq!(admit(&packet(&many), &ALICE, Kind::Reliable), Err(Drop::BadDataPacket));
    assert!(admit(&packet(&many[1..]), &ALICE, Kind::Reliable).is_ok());
}

#[test]
fn the_sequence_is_read_and_kept() {
    let mut numbered = packet(&[(2, b"")]);
    put_number(&mut numbered, 16, 300);
    let admitted = admit(&numbered, &ALICE, Kind::Reliable).unwrap();
    assert_eq!((admitted.sequence, numbers(&admitted.packet, 16)), (300, vec![300]));
    put_number(&mut numbered, 16, 1 << 32);
    assert_eq!(admit(&numbered, &ALICE, Kind::Reliable), Err(Drop::BadDataPacket));
}

#[test]
fn agents_write_in_the_name_of_others() {
    let text = packet(&[(9, &packet(&[(3, b"reply")])), (3, b"topic")]);
    for (value, body) in [(7, packet(&[(2, b"bob")])), (9, packet(&[(4, b"hi")])), (13, text)] {
        let claimed = packet(&[(4, b"bob"), (value, &body)]);
        let sent = admit(&claimed, &AGENT, Kind::Reliable).unwrap().packet;
        assert_eq!((all(&sent, 4), all(&sent, 17)), (vec![&b"bob"[..]], vec![&b"PA_agent"[..]]), "value {value}");
        let inner = all(&sent, value)[0];
        match value {
            9 => assert_eq!((numbers(inner, 6), all(inner, 4)), (vec![1], vec![&b"hi"[..]])),
            13 => {
                assert_eq!(all(inner, 3), [b"topic"]);
                assert_eq!((numbers(all(inner, 9)[0], 5), all(all(inner, 9)[0], 3)), (vec![1], vec![&b"reply"[..]]));
            }
            _ => assert_eq!(inner, body),
        }
        // In its own name nothing is marked, and nobody else may do it at all.
        let own = admit(&packet(&[(4, b"agent"), (value, &body)]), &AGENT, Kind::Reliable).unwrap().packet;
        assert_eq!((all(&own, 4)[0], all(&own, value)[0]), (&b"agent"[..], &body[..]));
        let by_alice = admit(&claimed, &ALICE, Kind::Reliable);
        match value {
            7 => assert_eq!(by_alice, Err(Drop::NotPermitted)),
            _ => assert_eq!(all(&by_alice.unwrap().packet, 4), [b"alice"]),
        }
    }
    let file = packet(&[(4, b"bob"), (13, &packet(&[(10, b"")]))]);
    assert_eq!(all(&admit(&file, &AGENT, Kind::Reliable).unwrap().packet, 4), [b"agent"], "a file is not text");
    let user = packet(&[(4, b"bob"), (2, b"")]);
    assert_eq!(all(&admit(&user, &AGENT, Kind::Reliable).unwrap().packet, 4), [b"agent"]);
}

#[test]
fn what_is_between_client_and_server_goes_no_further() {
    for value in [packet::METRICS, packet::SPEAKER] {
        assert_eq!(admit(&packet(&[(value, b"")]), &AGENT, Kind::Reliable), Err(Drop::NotPermitted));
    }
}

#[test]
fn replies_say_to_what() {
    for value in [packet::RPC_ACK, packet::RPC_RESPONSE] {
        let admitted = admit(&packet(&[(value, &packet(&[(1, b"id"), (2, b"payload")]))]), &ALICE, Kind::Reliable);
        assert_eq!(admitted.unwrap().reply_to.as_deref(), Some("id"));
    }
    assert_eq!(admit(&packet(&[(10, &packet(&[(1, b"id")]))]), &ALICE, Kind::Reliable).unwrap().reply_to, None);
}

#[test]
fn what_others_could_read_differently_is_refused() {
    let bad = Err(Drop::BadDataPacket);
    for two in [[(7, &b""[..]), (2, b"")], [(2, b""), (2, b"")], [(10, b""), (18, b"")]] {
        assert_eq!(admit(&packet(&two), &AGENT, Kind::Reliable), bad);
    }
    for number in [2, 4, 5, 17] {
        let mut typed = Vec::new();
        put_number(&mut typed, number, 1);
        assert_eq!(admit(&typed, &ALICE, Kind::Reliable), bad, "field {number}");
    }
    assert_eq!(admit(&packet(&[(1, b"")]), &ALICE, Kind::Reliable), bad);
    assert_eq!(admit(&packet(&[(16, b"")]), &ALICE, Kind::Reliable), bad);
    assert_eq!(admit(&packet(&[(5, b"\xFF")]), &ALICE, Kind::Reliable), bad, "not UTF-8");
    for inner in [&b"\x08\x01"[..], b"\x18\x01", b"\x0A"] {
        assert_eq!(admit(&packet(&[(2, inner)]), &ALICE, Kind::Reliable), bad);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_packet_or_a_drop(bytes in proptest::collection::vec(any::<u8>(), 0..200), agent: bool) {
        check(&bytes, agent);
    }

    /// Bytes that are mostly packets.
    #[test]
    fn whatever_the_fields_the_names_are_right(
        fields in proptest::collection::vec((1u32..24, proptest::collection::vec(any::<u8>(), 0..12)), 0..6),
        agent: bool,
    ) {
        let fields: Vec<_> = fields.iter().map(|(number, value)| (*number, value.as_slice())).collect();
        check(&packet(&fields), agent);
    }
}

fn check(bytes: &[u8], is_agent: bool) {
    let origin = if is_agent { AGENT } else { ALICE };
    let Ok(admitted) = admit(bytes, &origin, Kind::Lossy) else { return };
    assert_eq!(all(&admitted.packet, packet::SID), [origin.sid.as_bytes()]);
    if !is_agent {
        assert_eq!(all(&admitted.packet, packet::IDENTITY), [origin.identity.as_bytes()]);
    }
    assert_eq!(numbers(&admitted.packet, packet::KIND), [1]);
    assert_eq!(admit(&admitted.packet, &origin, Kind::Lossy).as_ref(), Ok(&admitted), "a second time changes nothing");
}
