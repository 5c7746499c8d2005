//! Peers come and go; strangers, liars and faults.

use super::*;

#[test]
fn a_stranger_costs_a_counter() {
    let mut bench = Bench::new();
    let mut stranger = Client::new(9);
    let datagrams = [stranger.frame(0, true), stranger.rtcp(|writer| Client::new(9).report(writer, 1)), vec![22; 100]];
    for datagram in &datagrams {
        bench.hear(&stranger, datagram);
    }
    assert_eq!(bench.drops(Drop::UnknownAddress), 3);
    bench.hear(&stranger, &[]);
    bench.hear(&stranger, &[200; 30]);
    bench.hear(&stranger, &[0; 30]);
    assert_eq!(bench.drops(Drop::BadStun), 1);
    assert!(bench.drain().is_empty() && bench.events().is_empty());
    assert_eq!(bench.router.poll_timeout(), Time::NEVER, "and is not remembered");
}

#[test]
fn a_peers_bad_packets_are_counted_as_its_own() {
    let mut bench = Bench::new();
    let mut publisher = bench.add(1);
    bench.publish(1, 1);
    let good = publisher.frame(0, true);
    let (mut damaged, mut long) = (good.clone(), good.clone());
    *damaged.last_mut().unwrap() ^= 1;
    long.resize(MAX_PACKET + 1, 0);
    for (datagram, reason) in [
        (&damaged, Drop::BadAuth),
        (&long, Drop::Oversized),
        (&good[..11].to_vec(), Drop::BadRtp),
        (&good, Drop::NoFollower),
        (&good, Drop::Replayed),
        (&publisher.packet(Ssrc(77), 50, &[1]), Drop::UnknownPayloadType),
        (&publisher.packet(TRACK, 97, &[1, 2, 3]), Drop::BadRtx),
    ] {
        bench.hear(&publisher, datagram);
        assert_eq!(bench.drops(reason), 1, "{reason:?}");
    }
    let stats = &bench.router.snapshot(bench.now).transports[0];
    assert_eq!(stats.drops.total(), 6, "no follower is nobody's fault");
    assert_eq!(stats.received.packets, 7);
}

#[test]
fn ssrcs_beyond_the_bound_are_refused_unread() {
    let mut bench = Bench::new();
    let mut publisher = bench.add(1);
    bench.publish(1, 1);
    for ssrc in 0..10_000 {
        let datagram = publisher.packet(Ssrc(0x9000_0000 + ssrc), 96, &[0x10, 1]);
        bench.hear(&publisher, &datagram);
    }
    assert!(bench.drops(Drop::TooManySsrcs) >= 10_000 - 64, "{:?}", bench.router.snapshot(bench.now).drops);
}

#[test]
fn last_words_outlive_a_peer_and_commands_to_it_do_nothing() {
    let mut bench = Bench::new();
    let (mut publisher, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    let sender = bench.subscribe(2, track);
    bench.frame(&mut publisher, 0, true);
    bench.drain();
    bench.events();
    bench.command(Command::CloseTransport(bench.transport(2)));
    let heard = bench.heard(&mut follower);
    let [Heard::Rtcp(bytes)] = &heard[..] else { panic!("{heard:?}") };
    assert!(Compound::new(bytes).any(|packet| matches!(packet, Ok(RtcpPacket::Bye(_)))));
    let events = bench.events();
    assert!(matches!(
        events[..],
        [Event::TransportChanged { state: TransportState::Closed, reason: Reason::ClosedByOwner, .. }]
    ));
    for command in [
        Command::CloseTransport(bench.transport(2)),
        Command::Pause { sender, is_paused: true },
        Command::Follow { sender, source: track },
        Command::RemoveSender(sender),
        Command::RequestKeyframe { receiver: ReceiverId::new(0, 99), encoding: None },
    ] {
        bench.command(command);
    }
    bench.frame(&mut publisher, 0, false);
    assert!(bench.drain().is_empty() && bench.events().is_empty());
    assert_eq!(bench.followers(track), Some(0));
}

#[test]
fn a_full_router_says_so() {
    let mut bench = Bench::of_worker(0, Limits { max_transports: 1, ..Limits::default() });
    bench.add(1);
    bench.add(2);
    let states: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|event| if let Event::TransportChanged { state, .. } = event { Some(state) } else { None })
        .collect();
    assert_eq!(states, [TransportState::Connected, TransportState::Failed]);
    bench.command(Command::CloseTransport(bench.transport(1)));
    bench.add(3);
    assert_eq!(bench.router.snapshot(bench.now).transports.len(), 1);
}

#[test]
fn a_fault_costs_the_peer_it_ran_for_and_nobody_else() {
    let mut bench = Bench::new();
    let (mut publisher, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    bench.subscribe(2, track);
    bench.add(3);
    bench.events();
    bench.router.current = bench.router.by_id.get(&bench.transport(3)).copied();
    bench.router.handle_fault();
    assert!(matches!(bench.events()[..], [Event::TransportChanged { reason: Reason::Fault, .. }]));
    bench.router.handle_fault();
    assert!(bench.events().is_empty(), "a fault on nobody's account closes nobody");
    assert_eq!(bench.drops(Drop::Panicked), 2);
    bench.frame(&mut publisher, 0, true);
    assert_eq!(rtp(&bench.heard(&mut follower)).len(), 1);
}

#[test]
fn a_fault_while_packets_are_written_leaves_those_of_others_whole() {
    let mut bench = Bench::new();
    let mut publisher = bench.add(1);
    let track = bench.publish(1, 1);
    let mut followers = [2, 3].map(|number| {
        let Keys { local, remote, .. } = keys(number);
        let salted = |master: MasterKeys| MasterKeys { salt: vec![7; 14], ..master };
        let keys = Keys { profile: Profile::Aes128CmSha1_80, local: salted(local), remote: salted(remote) };
        let opener = Inbound::new(keys.profile, keys.local.as_master(), 64).unwrap();
        let transport = bench.transport(number);
        let security = Box::new(Security::Keyed { path: path(number), keys: Box::new(keys) });
        bench.command(Command::AddTransport { transport, security });
        bench.subscribe(number, track);
        Client { opener, ..Client::new(number) }
    });
    bench.frame(&mut publisher, 0, true);
    let Bench { router, slab, now } = &mut bench;
    router.fan_out_waiting(*now);
    slab.clear();
    // Both are written, and the second one's turn ends in a fault before there are tags.
    for number in [2, 3] {
        let index = router.by_id[&TransportId::new(0, number)];
        assert!(router.write_transport(*now, index, slab));
    }
    router.handle_fault();
    router.finish_transmit(slab);
    let first = slab.runs()[0];
    assert!(matches!(followers[0].open(slab.bytes_of(&first)), Heard::Rtp(..)), "whole, tag and all");
    assert!(router.by_id.contains_key(&TransportId::new(0, 2)) && !router.by_id.contains_key(&TransportId::new(0, 3)));
}

#[test]
fn a_copy_outlives_its_track_and_can_follow_another() {
    let mut bench = Bench::new();
    let (mut first, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    let sender = bench.subscribe(2, track);
    bench.frame(&mut first, 0, true);
    let before = rtp(&bench.heard(&mut follower))[0].sequence_number;
    bench.command(Command::RemoveReceiver(track));
    let mut second = bench.add(3);
    let other = bench.publish(3, 1);
    bench.command(Command::Follow { sender, source: other });
    bench.frame(&mut second, 0, true);
    let heard = bench.heard(&mut follower);
    assert_eq!(rtp(&heard)[0].sequence_number, before + 1, "the numbers go on");
    assert_eq!(rtp(&heard)[0].ssrc, COPY);
}

#[test]
fn a_pause_reaches_a_copy_whose_next_track_is_already_gone() {
    let mut bench = Bench::new();
    let (mut first, mut follower) = (bench.add(1), bench.add(2));
    let track = bench.publish(1, 1);
    let sender = bench.subscribe(2, track);
    bench.frame(&mut first, 0, true);
    bench.add(3);
    let other = bench.publish(3, 1);
    bench.command(Command::Follow { sender, source: other });
    bench.command(Command::RemoveReceiver(other));
    bench.drain();
    bench.command(Command::Pause { sender, is_paused: true });
    bench.frame(&mut first, 0, false);
    assert!(bench.heard(&mut follower).is_empty());
}

#[test]
fn everybody_is_told_when_the_router_closes() {
    let mut bench = Bench::new();
    let publisher = bench.add(1);
    let track = bench.publish(publisher.number, 1);
    for number in 2..5 {
        bench.add(number);
        bench.subscribe(number, track);
    }
    bench.router.close(bench.now);
    assert_eq!(bench.drain().len(), 3, "a goodbye to each that gets a copy");
    assert!(bench.router.snapshot(bench.now).transports.is_empty());
    bench.at(Duration::from_secs(100).as_millis().try_into().unwrap());
    assert_eq!(bench.router.poll_timeout(), Time::NEVER, "no timer is left");
}
