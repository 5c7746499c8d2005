//! What a path does to the estimate. Every case is run from several seeds; the figures are printed (`--nocapture`).

use super::world::{Link, Source, World};
use crate::bwe::Cause;

/// What a subscriber of a simulcast track can get, in kbit/s.
const LAYERS: &[u64] = &[150, 500, 1200, 2500];

fn greedy(link: Link, seed: u64) -> World {
    let mut world = World::new(link, seed);
    world.add(Source::Greedy, 300, 10_000, 0);
    world
}

fn layered(link: Link, seed: u64, layers: &'static [u64], wanted: u64) -> World {
    let mut world = World::new(link, seed);
    world.add(Source::Layers(layers), 300, wanted, 0);
    world
}

fn mean(samples: impl Iterator<Item = u64>) -> u64 {
    let (sum, count) = samples.fold((0, 0), |(sum, count), sample| (sum + sample, count + 1));
    sum / count
}

#[test]
fn a_greedy_sender_fills_the_link_and_not_its_queue() {
    for seed in 1..=5 {
        for (kbps, one_way_ms, jitter_us) in [(1000, 25, 500), (1000, 25, 5000), (1000, 125, 1000), (5000, 10, 1000)] {
            let mut world = greedy(Link { one_way_ms, jitter_us, ..Link::of(&[(0, kbps)]) }, seed);
            world.run(40_000);
            let target = mean(world.between(0, 10_000, 40_000).map(|sample| sample.kbps));
            let throughput = world.throughput(0, 10_000, 40_000);
            let queue = world.queue_percentile(95, 10_000, 40_000);
            println!(
                "{kbps} rtt {} jitter {jitter_us}: target {target} got {throughput} queue {queue}",
                2 * one_way_ms
            );
            assert!(target * 100 >= kbps * 85 && target * 100 <= kbps * 105, "target {target}");
            assert!(throughput * 100 >= kbps * 85, "throughput {throughput}");
            assert!(queue < 100, "queue {queue} ms");
            assert!(world.flows[0].lies.is_empty());
        }
    }
}

#[test]
fn a_squeeze_is_seen_at_once_and_forgotten_soon() {
    for seed in 1..=8 {
        // Not always in the same step with the probes.
        let ends_at = 30_000 + 400 * seed;
        let mut world = layered(Link::of(&[(0, 3000), (10_000, 600), (ends_at, 3000)]), seed, LAYERS, 2600);
        world.run(ends_at + 6_000);
        let full = world.first(0, 0, |kbps| kbps >= 2500).unwrap();
        let down = world.first(0, 10_000, |kbps| kbps <= 600).unwrap();
        let steady = mean(world.between(0, 14_000, 30_000).map(|sample| sample.kbps));
        let layer = mean(world.between(0, 14_000, 30_000).map(|sample| sample.layer));
        let queue = world.queue_percentile(95, 13_000, 30_000);
        let up = world.first(0, ends_at, |kbps| kbps >= 2000).unwrap();
        println!("full {full} ms, down {down} ms, then {steady} layer {layer} queue {queue}, up {up} ms");
        assert!(full <= 1500, "the first layers after {full} ms");
        // 40 ms until the queue shows, a round trip, two feedbacks.
        assert!(down <= 400, "down after {down} ms");
        assert!((500..=720).contains(&steady), "{steady} kbit/s in the squeeze");
        assert!(layer >= 470, "the layer that fits stays: {layer}");
        assert!(queue < 100, "{queue} ms of queue in the squeeze");
        assert!(up <= 4000, "up after {up} ms");
    }
}

#[test]
fn a_collapse_is_seen_by_what_is_lost() {
    for seed in 1..=8 {
        let mut world = layered(Link::of(&[(0, 2000), (10_000, 80), (25_000, 2000)]), seed, LAYERS, 2600);
        world.run(32_000);
        let [half, down] = [1000, 80].map(|bound| world.first(0, 10_000, |kbps| kbps <= bound).unwrap());
        let up = world.first(0, 25_000, |kbps| kbps >= 1200).unwrap();
        let most = world.between(0, 12_000, 25_000).map(|sample| sample.kbps).max().unwrap();
        println!("below 1000 after {half} ms, below 80 after {down} ms, at most {most} in it, up {up} ms");
        assert!(half <= 500 && down <= 1000, "down after {half} and {down} ms");
        assert!(most <= 200, "{most} kbit/s in the squeeze");
        assert!(up <= 4500, "up after {up} ms");
    }
}

#[test]
fn loss_without_delay_leaves_what_flows() {
    for seed in 1..=8 {
        // Of a thousand, in bursts of, what the estimate must not fall below.
        for (loss, burst, least) in [(50, 1, 1200), (50, 8, 800), (100, 1, 1200), (200, 1, 600)] {
            let link = Link { loss, burst, ..Link::of(&[(0, 10_000)]) };
            let mut world = layered(link, seed, &[1200], 1300);
            // One layer that flows whatever the estimate.
            world.flows[0].is_fixed = true;
            world.run(40_000);
            let lowest = world.between(0, 5_000, 40_000).map(|sample| sample.kbps).min().unwrap();
            let average = mean(world.between(0, 5_000, 40_000).map(|sample| sample.kbps));
            println!("loss {loss} in bursts of {burst}: lowest {lowest}, mean {average}");
            assert!(lowest >= least, "{lowest} at {loss}");
        }
    }
}

#[test]
fn layers_outlast_loss_without_delay() {
    for seed in 1..=8 {
        for (loss, burst, one_way_ms, least) in
            [(50, 1, 25, 1140), (50, 8, 25, 1000), (100, 1, 25, 1100), (100, 1, 125, 1100), (200, 1, 50, 450)]
        {
            let link = Link { one_way_ms, loss, burst, ..Link::of(&[(0, 10_000)]) };
            let mut world = layered(link, seed, &[150, 500, 1200], 1250);
            world.run(40_000);
            let layer = mean(world.between(0, 5_000, 40_000).map(|sample| sample.layer));
            println!("loss {loss} in bursts of {burst}: layer {layer}");
            assert!(layer >= least, "{layer} at {loss}");
        }
    }
}

#[test]
fn a_radio_that_stalls_is_not_a_queue() {
    for seed in 1..=5 {
        for stall_ms in [50, 100, 200] {
            let mut world = layered(Link { stall_ms, ..Link::of(&[(0, 10_000)]) }, seed, LAYERS, 2600);
            world.run(40_000);
            let target = mean(world.between(0, 5_000, 40_000).map(|sample| sample.kbps));
            let layer = mean(world.between(0, 5_000, 40_000).map(|sample| sample.layer));
            println!("stalls of {stall_ms} ms: mean {target}, layer {layer}");
            assert!(layer >= 2200, "{layer}");
        }
    }
}

#[test]
fn a_policer_is_found_by_its_loss() {
    for seed in 1..=5 {
        let mut world = greedy(Link { queue_ms: 0, jitter_us: 500, ..Link::of(&[(0, 1000)]) }, seed);
        world.run(40_000);
        let target = mean(world.between(0, 10_000, 40_000).map(|sample| sample.kbps));
        let most = world.between(0, 10_000, 40_000).map(|sample| sample.kbps).max().unwrap();
        println!("policed at 1000: mean {target}, at most {most}");
        assert!((850..=1250).contains(&target) && most <= 1400, "{target}, {most}");
    }
}

#[test]
fn two_share_a_link() {
    for seed in 1..=5 {
        let mut world = greedy(Link { jitter_us: 500, ..Link::of(&[(0, 2000)]) }, seed);
        world.add(Source::Greedy, 300, 10_000, 10_000);
        world.run(70_000);
        let [first, second] = [0, 1].map(|flow| world.throughput(flow, 40_000, 70_000));
        println!("shared: {first} and {second}");
        assert!(first < 2 * second && second < 2 * first, "{first} and {second}");
        assert!(first + second >= 1600, "{first} and {second}");
    }
}

#[test]
fn probes_lead_to_what_is_wanted_and_no_further() {
    for seed in 1..=5 {
        let mut world = layered(Link::of(&[(0, 10_000)]), seed, LAYERS, 2600);
        world.run(20_000);
        let reached = world.first(0, 0, |kbps| kbps >= 2600).unwrap();
        let stats = world.flows[0].estimator.stats();
        println!("2600 after {reached} ms, {stats:?}");
        assert!(reached <= 1500, "{reached} ms");
        assert!(stats.probes <= 4 && stats.probes_succeeded >= 2, "{stats:?}");
        assert!(world.traces[0].iter().any(|sample| sample.estimate.cause == Cause::Probe));
    }
}

#[test]
fn feedback_may_be_lost_late_and_repeated() {
    for seed in 1..=5 {
        let link = Link { feedback_faults: [200, 100, 100], ..Link::of(&[(0, 1000)]) };
        let mut world = greedy(link, seed);
        world.run(40_000);
        let throughput = world.throughput(0, 10_000, 40_000);
        let target = mean(world.between(0, 10_000, 40_000).map(|sample| sample.kbps));
        let queue = world.queue_percentile(95, 10_000, 40_000);
        let stats = world.flows[0].estimator.stats();
        println!("faulty feedback: target {target} got {throughput} queue {queue} {stats:?}");
        assert!(throughput >= 750 && target <= 1100 && queue < 200, "{throughput} of {target}, {queue} ms");
        assert!(stats.stale_feedbacks > 0 && stats.unanswered > 0 && stats.lies == 0, "{stats:?}");
    }
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let link = Link { loss: 30, jitter_us: 2000, ..Link::of(&[(0, 1500), (5_000, 700)]) };
        let mut world = layered(link, seed, LAYERS, 2600);
        world.run(15_000);
        world.traces[0].iter().map(|sample| sample.estimate).collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
