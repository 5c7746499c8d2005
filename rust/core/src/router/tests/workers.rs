//! Two routers that share a room.

use super::*;

/// A publisher on worker 0, a follower on worker 1.
struct Pair([Bench; 2]);

impl Pair {
    fn new() -> Self {
        Self([0, 1].map(|worker| Bench::of_worker(worker, Limits { history_packets: 256, ..Limits::default() })))
    }

    /// Carries values between the two until there are none; says which there were, claims of paths aside.
    fn settle(&mut self) -> Vec<&'static str> {
        let mut names = Vec::new();
        loop {
            let before = names.len();
            for from in 0..2u8 {
                // As poll_transmit does, which a worker asks first; what it would send stays for the test.
                let now = self.0[usize::from(from)].now;
                self.0[usize::from(from)].router.fan_out_waiting(now);
                while let Some((to, crossing)) = self.0[usize::from(from)].router.poll_crossing() {
                    assert_ne!(to, from);
                    names.push(name_of(&crossing));
                    let other = &mut self.0[usize::from(to)];
                    other.router.handle_crossing(other.now, from, crossing);
                }
            }
            if names.len() == before {
                // Paths are claimed as peers are added, which is not what is looked at here.
                names.retain(|name| *name != "claim");
                return names;
            }
        }
    }
}

fn name_of(crossing: &Crossing) -> &'static str {
    match crossing {
        Crossing::Packet { .. } => "packet",
        Crossing::Emptied(..) => "emptied",
        Crossing::Follow { is_following: true, .. } => "follow",
        Crossing::Follow { is_following: false, .. } => "unfollow",
        Crossing::Shape { .. } => "shape",
        Crossing::Keyframe { .. } => "keyframe",
        Crossing::Clock { .. } => "clock",
        Crossing::Gone { .. } => "gone",
        Crossing::Datagram { .. } => "datagram",
        Crossing::Claim { .. } => "claim",
        Crossing::FollowData { .. } | Crossing::Hub(..) | Crossing::Data { .. } => "data",
    }
}

#[test]
fn a_track_crosses_once_per_worker_and_parcels_come_home() {
    let mut pair = Pair::new();
    let mut publisher = pair.0[0].add(1);
    let track = pair.0[0].publish(1, 1);
    let mut followers = [2, 3].map(|number| pair.0[1].add(number));
    pair.0[1].subscribe(2, track);
    assert_eq!(pair.settle(), ["follow", "shape", "keyframe"]);
    pair.0[1].subscribe(3, track);
    assert_eq!(pair.settle(), [""; 0], "the second asks nothing more");
    pair.0[0].frame(&mut publisher, 0, true);
    assert_eq!(pair.settle(), ["packet", "emptied"]);
    assert_eq!(pair.0[0].router.parcels.len(), 1, "ready for the next");
    let all = pair.0[1].drain();
    for follower in &mut followers {
        let own: Vec<_> = all.iter().filter(|(to, _)| *to == path(follower.number).remote).collect();
        assert_eq!(own.len(), 1);
        assert!(matches!(follower.open(&own[0].1), Heard::Rtp(header, _) if header.ssrc == COPY));
    }
}

#[test]
fn a_follower_elsewhere_does_not_begin_with_a_keyframe_that_was_overtaken() {
    let mut pair = Pair::new();
    let mut publisher = pair.0[0].add(1);
    let track = pair.0[0].publish(1, 1);
    let mut follower = pair.0[1].add(2);
    let [keyframe, next] = [true, false].map(|is_keyframe| publisher.frame(0, is_keyframe));
    pair.0[0].hear(&publisher, &next);
    pair.0[1].subscribe(2, track);
    pair.settle();
    pair.0[0].hear(&publisher, &keyframe);
    pair.settle();
    assert!(rtp(&pair.0[1].heard(&mut follower)).is_empty(), "what came before it was followed does not come again");
    pair.0[0].frame(&mut publisher, 0, true);
    pair.settle();
    assert_eq!(rtp(&pair.0[1].heard(&mut follower)).len(), 1);
}

#[test]
fn a_keyframe_is_asked_for_across_workers_once_per_interval() {
    let mut pair = Pair::new();
    let mut publisher = pair.0[0].add(1);
    let track = pair.0[0].publish(1, 1);
    pair.0[0].frame(&mut publisher, 0, true);
    pair.0[1].add(2);
    pair.0[1].subscribe(2, track);
    let mut asked = 0;
    for frame in 0..30 {
        for bench in &mut pair.0 {
            bench.at(33 * frame);
        }
        pair.0[0].frame(&mut publisher, 0, false);
        asked += pair.settle().iter().filter(|name| **name == "keyframe").count();
    }
    assert_eq!(asked, 2);
    pair.0[0].at(1000);
    assert!(!plis(&pair.0[0].heard(&mut publisher)).is_empty());
}

#[test]
fn the_last_follower_and_the_end_of_a_track_are_told() {
    let mut pair = Pair::new();
    pair.0[0].add(1);
    let track = pair.0[0].publish(1, 1);
    pair.0[1].add(2);
    let sender = pair.0[1].subscribe(2, track);
    pair.settle();
    assert_eq!(pair.0[0].followers(track), Some(1));
    pair.0[1].command(Command::RemoveSender(sender));
    assert_eq!(pair.settle(), ["unfollow"]);
    assert_eq!(pair.0[0].followers(track), Some(0));
    pair.0[1].subscribe(2, track);
    pair.settle();
    pair.0[0].command(Command::RemoveReceiver(track));
    assert_eq!(pair.settle(), ["gone"]);
    assert!(pair.0[1].router.feeds.is_empty(), "nothing is left of it");
    // Who follows what is gone is told so.
    pair.0[1].subscribe(3, track);
    pair.0[1].add(3);
    pair.0[1].subscribe(3, track);
    assert_eq!(pair.settle(), ["follow", "gone"]);
}

#[test]
fn whoever_moved_on_lets_go_of_the_other_workers_track() {
    let mut pair = Pair::new();
    let mut publisher = pair.0[0].add(1);
    let track = pair.0[0].publish(1, 1);
    pair.0[1].add(2);
    let mut local = pair.0[1].add(3);
    let other = pair.0[1].publish(3, 1);
    let sender = pair.0[1].subscribe(2, track);
    pair.settle();
    pair.0[0].frame(&mut publisher, 0, true);
    pair.settle();
    pair.0[1].command(Command::Follow { sender, source: other });
    pair.0[1].frame(&mut local, 0, true);
    pair.0[0].frame(&mut publisher, 0, false);
    pair.settle();
    assert_eq!(pair.0[0].followers(track), Some(0), "no more packets cross for nobody");
}

#[test]
fn what_the_other_worker_has_no_room_for_is_counted_and_its_box_kept() {
    let mut pair = Pair::new();
    let mut publisher = pair.0[0].add(1);
    let track = pair.0[0].publish(1, 1);
    pair.0[1].add(2);
    pair.0[1].subscribe(2, track);
    pair.settle();
    pair.0[0].frame(&mut publisher, 0, true);
    let (_, crossing) = pair.0[0].router.poll_crossing().unwrap();
    pair.0[0].router.handle_crossing_refused(crossing);
    assert_eq!((pair.0[0].drops(Drop::WorkerBusy), pair.0[0].router.parcels.len()), (1, 1));
}
