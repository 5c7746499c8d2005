//! How long packets took to leave, and subscribers waited for keyframes.

use super::*;
use crate::histogram::Histogram;

/// The upper bounds, in microseconds, of the buckets that something was counted in, with the counts.
fn counted(histogram: &Histogram) -> Vec<(u64, u64)> {
    let bounds = (0..).map(|n| 1u64 << n);
    bounds.zip(*histogram.counts()).filter(|&(_, count)| count > 0).collect()
}

#[test]
fn delay_is_counted_from_the_kernel_to_the_end_of_the_batch_for_each_copy() {
    let mut bench = Bench::new();
    let (mut publisher, mut one, _two) = (bench.add(1), bench.add(2), bench.add(3));
    let track = bench.publish(1, 1);
    bench.subscribe(2, track);
    bench.command(Command::AddSender {
        transport: bench.transport(3),
        sender: SenderId::new(0, 3),
        source: track,
        parameters: Box::new(SenderParameters { ssrc: Ssrc(77), rtx_ssrc: None, ..sender_parameters() }),
    });
    bench.at(1000);
    let datagram = publisher.frame(0, true);
    let arrived_at = Time::from_nanos(bench.now.as_nanos() - 700_000);
    bench.router.handle_datagram_at(bench.now, arrived_at, path(1), &datagram);
    bench.slab.clear();
    bench.router.poll_transmit(bench.now, &mut bench.slab);
    assert_eq!(bench.slab.runs().len(), 2);
    assert!(counted(&bench.router.snapshot(bench.now).added_delay).is_empty(), "they are not gone yet");
    bench.now = bench.now + Duration::from_micros(250);
    assert!(bench.heard(&mut one).is_empty());
    let delay = bench.router.snapshot(bench.now).added_delay;
    assert_eq!(counted(&delay), [(1024, 2)]);
    assert_eq!(delay.nanos(), 2 * 950_000);
}

#[test]
fn what_nobody_takes_is_not_delayed() {
    let mut bench = Bench::new();
    let mut publisher = bench.add(1);
    bench.publish(1, 1);
    bench.frame(&mut publisher, 0, true);
    bench.drain();
    assert!(counted(&bench.router.snapshot(bench.now).added_delay).is_empty());
}

#[test]
fn more_packets_than_are_awaited_are_counted_all_the_same() {
    let mut bench = Bench::new();
    let mut publisher = bench.add(1);
    bench.add(2);
    let track = bench.publish(1, 1);
    bench.subscribe(2, track);
    // Nothing is taken out meanwhile, as no worker would do.
    for frame in 0..600 {
        bench.now = Time::from_millis(frame);
        bench.frame(&mut publisher, 0, frame == 0);
    }
    bench.drain();
    let snapshot = bench.router.snapshot(bench.now);
    assert_eq!(snapshot.added_delay.counts().iter().sum::<u64>(), 600);
    assert_eq!(snapshot.forwarded, 600);
}

#[test]
fn a_wait_for_a_keyframe_begins_with_the_wish_and_ends_with_the_keyframe() {
    let mut bench = Bench::new();
    let mut publisher = bench.add(1);
    bench.add(2);
    let track = bench.publish(1, 1);
    bench.subscribe(2, track);
    bench.at(30);
    bench.frame(&mut publisher, 0, false);
    bench.drain();
    assert!(counted(&bench.router.snapshot(bench.now).keyframe_wait).is_empty());
    bench.at(120);
    bench.frame(&mut publisher, 0, true);
    bench.frame(&mut publisher, 0, false);
    bench.drain();
    let wait = bench.router.snapshot(bench.now).keyframe_wait;
    assert_eq!((counted(&wait), wait.nanos()), (vec![(1 << 17, 1)], 120_000_000));
    // Later keyframes end nothing.
    bench.at(500);
    bench.frame(&mut publisher, 0, true);
    bench.drain();
    assert_eq!(bench.router.snapshot(bench.now).keyframe_wait, wait);
}

#[test]
fn a_wish_that_is_taken_back_was_no_wait() {
    let mut bench = Bench::new();
    let mut publisher = bench.add(1);
    bench.add(2);
    let track = bench.publish(1, 1);
    let sender = bench.subscribe(2, track);
    bench.frame(&mut publisher, 0, false);
    bench.command(Command::Pause { sender, is_paused: true });
    bench.at(5000);
    bench.command(Command::Pause { sender, is_paused: false });
    bench.at(5040);
    bench.frame(&mut publisher, 0, true);
    bench.drain();
    let wait = bench.router.snapshot(bench.now).keyframe_wait;
    assert_eq!(wait.nanos(), 40_000_000, "only since the resumption");
}
