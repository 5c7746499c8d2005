mod world;

use world::{Link, Source, World};

const LAYERS: &[u64] = &[150, 500, 1200, 2500];

fn print(world: &World, flow: usize, every: u64) {
    let mut last = 0;
    for sample in &world.traces[flow] {
        if sample.ms % every == 0 {
            let e = sample.estimate;
            println!(
                "{:>6} target {:>5} {:?} layer {:>4} queue {:>3} acked {:>5} loss {:.3} {:?} trend {:.1} lim {} got {}",
                sample.ms,
                sample.kbps,
                e.cause,
                sample.layer,
                sample.queue_ms,
                e.acknowledged.map_or(0, |b| b.as_bps() / 1000),
                e.loss,
                e.usage,
                e.trend,
                e.is_limited,
                (sample.received - last) * 8 / every
            );
            last = sample.received;
        }
    }
    println!("{:?}", world.flows[flow].estimator.stats());
}

#[test]
fn explore() {
    let case = std::env::var("CASE").unwrap_or_default();
    let every = std::env::var("EVERY").map_or(100, |e| e.parse().unwrap());
    let mut world = match case.as_str() {
        "greedy" => {
            let mut world = World::new(Link::of(&[(0, 1000)]), 1);
            world.add(Source::Greedy, 300, 10_000, 0);
            world
        }
        "squeeze" => {
            let mut world = World::new(Link::of(&[(0, 3000), (10_000, 600), (30_000, 3000)]), 1);
            world.add(Source::Layers(LAYERS), 300, 2600, 0);
            world
        }
        "collapse" => {
            let mut world = World::new(Link::of(&[(0, 2000), (10_000, 80), (25_000, 2000)]), 1);
            world.add(Source::Layers(LAYERS), 300, 2600, 0);
            world
        }
        "loss" => {
            let loss = std::env::var("LOSS").unwrap().parse().unwrap();
            let burst = std::env::var("BURST").map_or(1, |b| b.parse().unwrap());
            let mut world = World::new(Link { loss, burst, ..Link::of(&[(0, 10_000)]) }, 1);
            world.add(Source::Layers(&[150, 500, 1200]), 300, 1250, 0);
            world
        }
        "police" => {
            let mut world = World::new(Link { queue_ms: 0, ..Link::of(&[(0, 1000)]) }, 1);
            world.add(Source::Greedy, 300, 10_000, 0);
            world
        }
        "two" => {
            let mut world = World::new(Link::of(&[(0, 2000)]), 1);
            world.add(Source::Greedy, 300, 10_000, 0);
            world.add(Source::Greedy, 300, 10_000, 10_000);
            world
        }
        _ => return,
    };
    world.run(std::env::var("END").map_or(40_000, |e| e.parse().unwrap()));
    for flow in 0..world.flows.len() {
        print(&world, flow, every);
    }
}
