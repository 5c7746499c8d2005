//! The scenarios: families of alike ones, told apart by seed and one or two numbers.

use rtpcore_core::send::Layer;

use super::scenario::{Answers, Competitor, Scenario, Source, ViewerPlan, Wish};
use crate::trace::Trace;

/// A family: its name, how many of them there are, and how each is made from its number.
type Family = (&'static str, u64, fn(u64) -> Scenario);

/// All families, in the order of the table; 200 scenarios together.
pub const FAMILIES: [Family; 26] = [
    ("clean", 8, clean),
    ("limited", 24, limited),
    ("narrow", 10, narrow),
    ("step down", 10, step_down),
    ("step up", 10, step_up),
    ("squeeze 600", 8, |n| squeeze(n, 3000, 600, 30, 45)),
    ("squeeze 80", 8, |n| squeeze(n, 2000, 80, 25, 40)),
    ("outage", 6, outage),
    ("loss 5 rtt 20", 8, |n| lossy(n, 5, 0, 20)),
    ("loss 5 rtt 100", 8, |n| lossy(n, 5, 0, 100)),
    ("loss 5 bursts", 8, |n| lossy(n, 5, 8, 50)),
    ("loss 10 rtt 250", 8, |n| lossy(n, 10, 0, 250)),
    ("loss 20 rtt 100", 8, |n| lossy(n, 20, 0, 100)),
    ("limited lossy", 10, limited_lossy),
    ("traces", 12, traces),
    ("beside constant", 6, beside_constant),
    ("beside tcp", 6, beside_tcp),
    ("two viewers", 6, two_viewers),
    ("late joiner", 8, late_joiner),
    ("thirty", 1, thirty),
    ("remb", 8, remb),
    ("no feedback", 3, no_feedback),
    ("audio only", 5, audio_only),
    ("slides first", 5, slides_first),
    ("gallery", 3, gallery),
    ("lossy publisher", 3, lossy_publisher),
];

/// Every scenario.
pub fn all() -> Vec<Scenario> {
    let family = |&(family, count, make): &Family| {
        (0..count).map(move |n| Scenario { family, seed: 1000 * u64::from(family.as_bytes()[0]) + n, ..make(n) })
    };
    FAMILIES.iter().flat_map(family).collect()
}

/// A microphone and a camera to one viewer whose link does what `text` says.
fn call(seconds: u64, text: &str) -> Scenario {
    let sources = [Source::Microphone, Source::camera()];
    Scenario {
        family: "",
        seed: 0,
        seconds,
        tracks: sources.into_iter().map(|source| (0, source)).collect(),
        publishers: vec![trace("both 0 delay=10")],
        links: vec![trace(text)],
        viewers: vec![ViewerPlan::of(0, 2)],
        competitors: Vec::new(),
        steady: None,
        recovers_at: None,
    }
}

fn trace(text: &str) -> Trace {
    Trace::parse(text, recording).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn pick<T: Copy>(n: u64, choices: &[T]) -> T {
    choices[n as usize % choices.len()]
}

fn clean(n: u64) -> Scenario {
    let delay = pick(n, &[5, 25, 50, 100]);
    let steady = Some((10, 30));
    Scenario { steady, ..call(30, &format!("both 0 delay={delay}")) }
}

fn limited(n: u64) -> Scenario {
    let rate = pick(n, &[300, 400, 500, 600, 700, 800, 1000, 1500, 1900, 2100, 2500, 3500]);
    let (delay, queue) = (pick(n / 12, &[15, 50]), pick(n / 12, &[300, 200]));
    let steady = Some((15, 45));
    Scenario { steady, ..call(45, &format!("both 0 delay={delay}\ndown 0 rate={rate} queue={queue}")) }
}

fn narrow(n: u64) -> Scenario {
    let rate = pick(n, &[80, 120, 160, 200, 250]);
    let steady = Some((15, 40));
    Scenario { steady, ..call(40, &format!("both 0 delay=40\ndown 0 rate={rate} queue=400")) }
}

fn step_down(n: u64) -> Scenario {
    let (to, queue) = (pick(n, &[300, 600, 900, 1200, 1500]), pick(n / 5, &[300, 150]));
    let text = format!("both 0 delay=25\ndown 0 rate=3000 queue={queue}\ndown 15 rate={to}");
    Scenario { steady: Some((22, 40)), ..call(40, &text) }
}

fn step_up(n: u64) -> Scenario {
    let (from, delay) = (pick(n, &[150, 300, 600, 900, 1200]), pick(n / 5, &[25, 75]));
    let text = format!("both 0 delay={delay}\ndown 0 rate={from} queue=300\ndown 20 rate=3500");
    Scenario { recovers_at: Some(20), steady: Some((28, 40)), ..call(40, &text) }
}

fn squeeze(n: u64, wide: u64, narrow: u64, until: u64, seconds: u64) -> Scenario {
    let from = 10;
    // The same instant for all would be one frame's luck.
    let text = format!(
        "both 0 delay=25\ndown 0 rate={wide} queue=300\ndown {from}.{n:03} rate={narrow}\ndown {until} rate={wide}"
    );
    Scenario { recovers_at: Some(until), ..call(seconds, &text) }
}

fn outage(n: u64) -> Scenario {
    let (ms, rate) = (pick(n, &[500, 1500, 4000]), pick(n / 3, &[2500, 4000]));
    let text = format!(
        "both 0 delay=30\ndown 0 rate={rate} queue=300\nboth 15 rate=0\nboth {}.{:03} rate={rate}",
        15 + ms / 1000,
        ms % 1000
    );
    Scenario { recovers_at: Some(15 + ms / 1000 + 1), ..call(35, &text) }
}

fn lossy(n: u64, percent: u64, burst: u64, rtt: u64) -> Scenario {
    let text = format!("seed {n}\nboth 0 delay={} loss={percent} burst={burst}", rtt / 2);
    Scenario { steady: Some((10, 40)), ..call(40, &text) }
}

fn limited_lossy(n: u64) -> Scenario {
    let (rate, percent) = (pick(n, &[400, 700, 1000, 2200, 3000]), pick(n / 5, &[2, 5]));
    let text = format!("seed {n}\nboth 0 delay=30 loss={percent}\ndown 0 rate={rate} queue=300");
    Scenario { steady: Some((15, 40)), ..call(40, &text) }
}

fn traces(n: u64) -> Scenario {
    let name = pick(n, &["5g-driving", "lte-driving", "lte-walking", "wifi-busy", "wifi-walking", "loss5-rtt20"]);
    let text = recording(&format!("{name}.trace")).unwrap_or_else(|error| panic!("{name}: {error}"));
    call(60, &text)
}

fn beside_constant(n: u64) -> Scenario {
    let (rate, bps) = (pick(n, &[1200, 2500, 3500]), pick(n, &[500_000, 1_500_000, 2_500_000]));
    let competitors = vec![Competitor { link: 0, from: 10_000, until: 25_000, bps: Some(bps) }];
    let text = format!("both 0 delay=25\ndown 0 rate={rate} queue=300");
    Scenario { competitors, ..call(40, &text) }
}

fn beside_tcp(n: u64) -> Scenario {
    let rate = pick(n, &[2000, 4000, 8000]);
    let competitors = vec![Competitor { link: 0, from: 10_000, until: 30_000, bps: None }];
    let text = format!("both 0 delay=20\ndown 0 rate={rate} queue=200");
    Scenario { competitors, recovers_at: Some(30), ..call(45, &text) }
}

fn two_viewers(n: u64) -> Scenario {
    let rate = pick(n, &[800, 1500, 4500]);
    let mut call = call(40, &format!("both 0 delay=25\ndown 0 rate={rate} queue=300"));
    call.viewers.push(ViewerPlan { joins_at: 8000, ..ViewerPlan::of(0, 2) });
    call.steady = Some((20, 40));
    call
}

fn late_joiner(n: u64) -> Scenario {
    let (rate, delay, loss) = (pick(n, &[300, 800, 2500, 5000]), pick(n, &[20, 20, 60, 125]), pick(n / 4, &[0, 5]));
    let mut call = call(30, &format!("seed {n}\nboth 0 delay={delay} loss={loss}\ndown 0 rate={rate} queue=300"));
    call.viewers[0].joins_at = 12_345;
    call
}

fn thirty(_: u64) -> Scenario {
    let mut call = call(30, "both 0 delay=10");
    let link = |n: u64| {
        let (rate, loss) = (pick(n, &[300, 600, 1200, 2500, 5000, 20_000]), pick(n / 6, &[0, 0, 1, 3, 8]));
        let delay = 10 + 7 * n;
        trace(&format!("seed {n}\nboth 0 delay={delay} jitter=4 loss={loss}\ndown 0 rate={rate} queue=300"))
    };
    call.links = (0..30).map(link).collect();
    call.viewers = (0..30).map(|n| ViewerPlan { joins_at: 300 + 100 * n, ..ViewerPlan::of(n as usize, 2) }).collect();
    call.steady = Some((15, 30));
    call
}

fn remb(n: u64) -> Scenario {
    let rate = pick(n, &[400, 800, 1500, 3500]);
    let mut call = call(45, &format!("both 0 delay=30\ndown 0 rate={rate} queue=300"));
    call.viewers[0].answers = Answers::Remb;
    call.steady = Some((25, 45));
    call
}

fn no_feedback(n: u64) -> Scenario {
    let mut call = call(30, &format!("seed {n}\nboth 0 delay=30 loss=1\ndown 0 rate=6000 queue=300"));
    call.viewers[0].answers = Answers::Nothing;
    call.steady = Some((10, 30));
    call
}

fn audio_only(n: u64) -> Scenario {
    let (rate, loss) = (pick(n, &[100, 150, 300, 1000, 60]), pick(n, &[0, 5, 10, 20, 0]));
    let mut call = call(30, &format!("seed {n}\nboth 0 delay=40 loss={loss}\ndown 0 rate={rate} queue=300"));
    call.tracks.truncate(1);
    call.viewers = vec![ViewerPlan::of(0, 1)];
    call
}

fn slides_first(n: u64) -> Scenario {
    let rate = pick(n, &[700, 1000, 1500, 2500, 4000]);
    let mut call = call(45, &format!("both 0 delay=25\ndown 0 rate={rate} queue=300"));
    call.tracks.push((0, Source::Slides));
    call.viewers = vec![ViewerPlan::of(0, 3)];
    call.viewers[0].wishes[2].priority = 10;
    call
}

fn gallery(n: u64) -> Scenario {
    let rate = pick(n, &[1000, 2500, 5000]);
    let mut call = call(40, &format!("both 0 delay=25\ndown 0 rate={rate} queue=300"));
    call.publishers = vec![trace("both 0 delay=10"); 6];
    let small = Source::Camera { rates: vec![120_000, 450_000], fps: 20 };
    call.tracks = (0..6).flat_map(|who| [(who, Source::Microphone), (who, small.clone())]).collect();
    call.viewers = vec![ViewerPlan::of(0, 12)];
    // The one who speaks.
    call.viewers[0].wishes[1] = Wish { track: 1, most: Layer { spatial: 1, temporal: 3 }, priority: 5 };
    call.steady = Some((15, 40));
    call
}

fn lossy_publisher(n: u64) -> Scenario {
    let mut call = call(30, "both 0 delay=25\ndown 0 rate=4000 queue=300");
    call.publishers = vec![trace(&format!("seed {n}\nboth 0 delay=15 loss={}", pick(n, &[1, 3, 8])))];
    call.steady = Some((10, 30));
    call
}

/// A file of `bench/traces`.
fn recording(name: &str) -> Result<String, String> {
    let path = format!("{}/../../bench/traces/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))
}
