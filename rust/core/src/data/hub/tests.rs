//! One worker's hub by itself: who may say what, who hears it, who is told later. Channels are in `tests/test_hub.py`.

use super::super::wire::{put_bytes, put_number};
use super::*;

const RIGHTS: Rights = Rights { may_publish: true, is_hidden: false, is_agent: false };

fn id(worker: u8, count: u64) -> MemberId {
    MemberId::new(worker, count)
}

/// Members 1, 2, 3 on this worker, named `m1` and so on, all of them hearing, and member 4 on worker 1.
fn room() -> Hub {
    let mut hub = Hub::new(0);
    for count in 1..=3 {
        add(&mut hub, count);
        hub.activate(id(0, count));
        assert_eq!(hub.wake(Time::ZERO, id(0, count), true), []);
    }
    hub.add_elsewhere(id(1, 4));
    hub
}

fn add(hub: &mut Hub, count: u64) {
    let names = Names { sid: format!("PA_{count}").into(), identity: format!("m{count}").into() };
    hub.add_member(id(0, count), names, RIGHTS);
}

fn packet(sequence: u64, to: &[&str]) -> Bytes {
    let mut out = Vec::new();
    put_bytes(&mut out, 2, b"");
    for name in to {
        put_bytes(&mut out, 5, name.as_bytes());
    }
    put_number(&mut out, 16, sequence);
    out.into()
}

fn say(hub: &mut Hub, from: u64, label: &Label, payload: &Bytes) -> Result<Arc<Message>, Drop> {
    match hub.accept(id(0, from), label, true, payload)? {
        Taken::Message(message) => Ok(message),
        other => panic!("{other:?}"),
    }
}

fn heard(hub: &mut Hub, now: Time, message: &Arc<Message>) -> Vec<u64> {
    let mut out = Vec::new();
    hub.recipients(now, message, &mut out);
    out.iter().map(|member| member.as_u64()).collect()
}

#[test]
fn everybody_but_the_sender_hears_what_names_nobody() {
    let mut hub = room();
    for label in [Label::Reliable, Label::Lossy, Label::Other("chat".into())] {
        let message = say(&mut hub, 1, &label, &packet(0, &[])).unwrap();
        assert_eq!(heard(&mut hub, Time::ZERO, &message), [2, 3]);
    }
    let message = say(&mut hub, 1, &Label::Reliable, &packet(0, &["m3", "m1", "m9"])).unwrap();
    assert_eq!(heard(&mut hub, Time::ZERO, &message), [3], "not even a sender that names itself");
    assert_eq!(hub.workers(), 0b10);
}

#[test]
fn other_labels_go_on_as_they_came() {
    let mut hub = room();
    let payload = Bytes::from_static(b"\xFFno packet");
    let message = say(&mut hub, 1, &Label::Other("chat".into()), &payload).unwrap();
    assert_eq!((&message.payload, message.from), (&payload, Some(id(0, 1))));
    assert_eq!(say(&mut hub, 1, &Label::Lossy, &payload), Err(Drop::BadDataPacket));
}

#[test]
fn who_may_not_speak_is_not_heard() {
    let mut hub = room();
    hub.set_rights(id(0, 1), Rights { may_publish: false, ..RIGHTS });
    for label in [Label::Reliable, Label::Lossy, Label::Track, Label::Other("chat".into())] {
        assert_eq!(say(&mut hub, 1, &label, &packet(1, &[])), Err(Drop::NotPermitted));
    }
    assert_eq!(hub.stats().next().unwrap().last_sequence, 0);
    hub.set_rights(id(0, 1), RIGHTS);
    assert!(say(&mut hub, 1, &Label::Reliable, &packet(1, &[])).is_ok());
    assert_eq!(say(&mut hub, 7, &Label::Reliable, &packet(1, &[])), Err(Drop::NotConnected));
}

#[test]
fn what_is_said_again_after_a_resume_is_not_heard_again() {
    let mut hub = room();
    for sequence in [1, 2, 5] {
        assert!(say(&mut hub, 1, &Label::Reliable, &packet(sequence, &[])).is_ok());
    }
    for sequence in [1, 5, 3] {
        assert_eq!(say(&mut hub, 1, &Label::Reliable, &packet(sequence, &[])), Err(Drop::Duplicate));
    }
    assert!(say(&mut hub, 1, &Label::Reliable, &packet(0, &[])).is_ok(), "without a number");
    assert!(say(&mut hub, 1, &Label::Lossy, &packet(2, &[])).is_ok(), "a lossy number means nothing here");
    assert!(say(&mut hub, 2, &Label::Reliable, &packet(1, &[])).is_ok(), "everybody counts for himself");
    let last: Vec<_> = hub.stats().map(|stats| (stats.last_sequence, stats.received.packets)).collect();
    assert_eq!(last, [(5, 5), (1, 1), (0, 0)]);
}

#[test]
fn who_comes_late_is_told_what_was_said_since_it_joined() {
    let mut hub = room();
    let before = say(&mut hub, 1, &Label::Reliable, &packet(1, &[])).unwrap();
    heard(&mut hub, Time::ZERO, &before);
    add(&mut hub, 5);
    let said: Vec<_> = [&[][..], &["m2"], &["m5"]]
        .iter()
        .zip(2..)
        .map(|(to, sequence)| say(&mut hub, 1, &Label::Reliable, &packet(sequence, to)).unwrap())
        .collect();
    assert_eq!(heard(&mut hub, Time::ZERO, &said[0]), [2, 3], "not while it cannot hear");
    heard(&mut hub, Time::from_millis(1), &said[1]);
    heard(&mut hub, Time::from_millis(1), &said[2]);
    let own = say(&mut hub, 5, &Label::Reliable, &packet(1, &[])).unwrap();
    heard(&mut hub, Time::from_millis(1), &own);
    let lossy = say(&mut hub, 1, &Label::Lossy, &packet(0, &[])).unwrap();
    assert_eq!(heard(&mut hub, Time::from_millis(1), &lossy), [2, 3]);

    assert_eq!(hub.wake(Time::from_millis(2), id(0, 5), true), [], "not before it is active");
    hub.activate(id(0, 5));
    assert_eq!(hub.wake(Time::from_millis(2), id(0, 5), false), [], "nor without its channel");
    assert_eq!(hub.wake(Time::from_millis(2), id(0, 5), true), [said[0].clone(), said[2].clone()]);
    assert_eq!(hub.wake(Time::from_millis(2), id(0, 5), true), [], "once");
    let after = say(&mut hub, 1, &Label::Reliable, &packet(9, &[])).unwrap();
    assert_eq!(heard(&mut hub, Time::from_millis(3), &after), [2, 3, 5]);
}

#[test]
fn who_lost_its_transport_is_told_what_it_missed_on_the_next() {
    let mut hub = room();
    hub.set_transports(id(0, 2), Change::Keep, Change::Set(Some(TransportId::new(0, 1))));
    let first = say(&mut hub, 1, &Label::Reliable, &packet(1, &[])).unwrap();
    assert_eq!(heard(&mut hub, Time::ZERO, &first), [3]);
    hub.set_transports(id(0, 2), Change::Keep, Change::Set(Some(TransportId::new(0, 2))));
    assert_eq!(hub.wake(Time::ZERO, id(0, 2), true), [first]);
    // The same again changes nothing.
    hub.set_transports(id(0, 2), Change::Keep, Change::Set(Some(TransportId::new(0, 2))));
    let second = say(&mut hub, 1, &Label::Reliable, &packet(2, &[])).unwrap();
    assert_eq!(heard(&mut hub, Time::ZERO, &second), [2, 3]);
}

#[test]
fn the_owner_chooses_who_hears_it() {
    let mut hub = room();
    let message = |to| {
        let (label, payload) = (Label::Lossy, Bytes::from_static(b"x"));
        Arc::new(Message { from: None, label, is_binary: true, payload, to })
    };
    let some = message(Audience::Members(Box::new([id(0, 1), id(0, 3), id(1, 4)])));
    assert_eq!(heard(&mut hub, Time::ZERO, &some), [1, 3]);
    let all = message(Audience::Named(Destinations::default()));
    assert_eq!(heard(&mut hub, Time::ZERO, &all), [1, 2, 3]);
}

#[test]
fn the_owner_takes_the_answers_that_it_waits_for() {
    let mut hub = room();
    let answer = |request: &[u8]| {
        let (mut inner, mut out) = (Vec::new(), Vec::new());
        put_bytes(&mut inner, 1, request);
        put_bytes(&mut out, 12, &inner);
        Bytes::from(out)
    };
    hub.expect("mine".into(), true);
    let taken = hub.accept(id(0, 2), &Label::Reliable, true, &answer(b"mine")).unwrap();
    assert!(matches!(taken, Taken::Reply(request, message) if &*request == "mine" && message.from == Some(id(0, 2))));
    assert!(say(&mut hub, 2, &Label::Reliable, &answer(b"other")).is_ok());
    hub.expect("mine".into(), false);
    assert!(say(&mut hub, 2, &Label::Reliable, &answer(b"mine")).is_ok());
    for count in 0..=MAX_EXPECTED {
        hub.expect(format!("{count}").into(), true);
    }
    assert_eq!(hub.expected.len(), MAX_EXPECTED);
}

#[test]
fn data_tracks_have_a_number_for_each_subscriber() {
    let mut hub = room();
    let track = DataTrackId::new(0, 1);
    let packet = Bytes::from_static(&[0x18, 0, 0, 7, 0, 1, 0, 2, 0, 0, 0, 3, b'x']);
    assert_eq!(hub.accept(id(0, 1), &Label::Track, true, &packet), Err(Drop::UnknownDataTrack));
    hub.add_track(track, id(0, 1), 7);
    assert_eq!(hub.accept(id(0, 1), &Label::Track, true, &packet), Ok(Taken::Track(track)));
    assert_eq!(hub.accept(id(0, 2), &Label::Track, true, &packet), Err(Drop::UnknownDataTrack), "another's number");
    assert_eq!(hub.accept(id(0, 1), &Label::Track, true, &packet.slice(..11)), Err(Drop::BadDataPacket));
    hub.subscribe(track, id(0, 2), Some(1));
    hub.subscribe(track, id(0, 3), Some(2));
    hub.subscribe(track, id(0, 3), Some(300));
    hub.subscribe(track, id(1, 4), Some(1));
    assert_eq!(hub.subscribers(track), [(id(0, 2), 1), (id(0, 3), 300)]);
    assert_eq!(hub.track_workers(track), 0b10);
    assert_eq!(with_handle(&packet, 300)[..], [0x18, 0, 1, 44, 0, 1, 0, 2, 0, 0, 0, 3, b'x']);
    hub.subscribe(track, id(0, 2), None);
    hub.remove_member(id(1, 4));
    assert_eq!((hub.subscribers(track), hub.track_workers(track)), (vec![(id(0, 3), 300)], 0));
    hub.remove_member(id(0, 1));
    assert!(hub.tracks.is_empty() && hub.handles.is_empty(), "it ends with its publisher");
    hub.subscribe(track, id(0, 3), Some(1));
    assert!(hub.tracks.is_empty(), "what is gone cannot be had");
}

#[test]
fn a_track_of_another_worker_is_kept_while_somebody_here_has_it() {
    let mut hub = room();
    let track = DataTrackId::new(1, 1);
    hub.subscribe(track, id(0, 2), Some(5));
    assert_eq!(hub.subscribers(track), [(id(0, 2), 5)]);
    hub.subscribe(track, id(0, 2), None);
    assert!(hub.tracks.is_empty());
    hub.subscribe(track, id(0, 2), Some(5));
    hub.remove_track(track);
    assert!(hub.tracks.is_empty());
    hub.subscribe(track, id(0, 2), Some(5));
    hub.remove_member(id(0, 2));
    assert!(hub.tracks.is_empty());
}

#[test]
fn other_workers_are_known_by_their_members() {
    let mut hub = Hub::new(0);
    for (worker, count) in [(63, 1), (0, 2), (5, 3), (5, 4)] {
        hub.add_elsewhere(id(worker, count));
    }
    assert_eq!(hub.workers(), 1 << 63 | 1 << 5 | 1);
    hub.remove_member(id(5, 3));
    assert_eq!(hub.workers(), 1 << 63 | 1 << 5 | 1);
    hub.remove_member(id(5, 4));
    hub.remove_member(id(63, 1));
    assert_eq!(hub.workers(), 1);
}
