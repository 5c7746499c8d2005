//! What the plans are worth, by simulation: what stays lost before anything is sent again, and the bytes it costs.

use super::*;

/// A small generator of numbers that do not matter (xorshift).
struct Random(u64);

impl Random {
    /// From 0 to below 1.
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        f64::from(u32::try_from(self.0 >> 32).unwrap()) / f64::from(u32::MAX)
    }
}

/// A path that loses packets one by one (`mean_burst` 1) or in bursts of that mean length (Gilbert's model).
struct Path {
    loss: f64,
    mean_burst: f64,
    is_bad: bool,
    random: Random,
}

impl Path {
    fn loses(&mut self) -> bool {
        let from_bad = if self.mean_burst > 1.0 { 1.0 / self.mean_burst } else { 1.0 - self.loss };
        let to_bad = if self.mean_burst > 1.0 { from_bad * self.loss / (1.0 - self.loss) } else { self.loss };
        let drawn = self.random.next();
        self.is_bad = if self.is_bad { drawn >= from_bad } else { drawn < to_bad };
        self.is_bad
    }
}

/// What came of one run.
#[derive(Debug)]
struct Outcome {
    /// The fraction of packets that stay lost.
    left: f64,
    /// Bytes of repair packets per byte of media, headers included.
    overhead: f64,
    /// The mean number of frames from a lost packet's to the one whose end brings it back.
    wait_frames: f64,
}

/// 20,000 frames of half to one and a half times the mean size, every 300th six times as large.
fn simulate(plan: Plan, conditions: &Conditions) -> Outcome {
    let Conditions { loss, mean_burst, packets_per_frame, .. } = *conditions;
    let mut path = Path { loss, mean_burst, is_bad: false, random: Random(0x9E37_79B9_7F4A_7C15) };
    let mut sizes = Random(0x1234_5678_9ABC_DEF1);
    let (mut packets, mut left, mut media_bytes, mut repair_bytes) = (0_u32, 0_u32, 0.0, 0.0);
    let (mut recovered, mut waited) = (0_u32, 0_u32);
    // The open window: each sum's packets and longest, what is lost and in which frame it was sent.
    let (mut sums, mut nth, mut lost, mut ends) = (vec![(0_u64, 0.0_f64); plan.repairs().into()], 0_u8, 0_u64, 0_u8);
    let mut sent_in = [0_u32; 48];
    for frame in 0..20_000_u32 {
        let scale = if frame % 300 == 0 { 6.0 } else { 1.0 };
        let bytes = 1100.0 * packets_per_frame * scale * (0.5 + sizes.next());
        let count = (1..=4000).find(|&n| f64::from(n) * 1160.0 >= bytes).unwrap();
        let len = bytes / f64::from(count) + 24.0;
        for packet in 0..count {
            for index in plan.sums_of(nth) {
                sums[index].0 |= 1 << nth;
                sums[index].1 = sums[index].1.max(len);
            }
            packets += 1;
            media_bytes += len;
            sent_in[usize::from(nth)] = frame;
            lost |= u64::from(path.loses()) << nth;
            nth += 1;
            ends += u8::from(packet + 1 == count);
            if nth < plan.packets() && ends < plan.frames() {
                continue;
            }
            let came: Vec<u64> = sums.iter().map(|sum| sum.0).filter(|&mask| mask != 0 && !path.loses()).collect();
            repair_bytes += sums.iter().filter(|sum| sum.0 != 0).map(|sum| sum.1 + 24.0).sum::<f64>();
            let before = lost;
            while let Some(mask) = came.iter().find(|&mask| (lost & mask).is_power_of_two()) {
                lost &= !mask;
            }
            left += lost.count_ones();
            for i in (0..48).filter(|i| (before & !lost) >> i & 1 != 0) {
                recovered += 1;
                waited += frame - sent_in[i];
            }
            sums.fill((0, 0.0));
            (nth, lost, ends) = (0, 0, 0);
        }
    }
    Outcome {
        left: f64::from(left) / f64::from(packets),
        overhead: repair_bytes / media_bytes,
        wait_frames: f64::from(waited) / f64::from(recovered.max(1)),
    }
}

fn conditions(loss: f64, mean_burst: f64, rtt_ms: u64, packets_per_frame: f64) -> Conditions {
    Conditions { loss, mean_burst, rtt: Duration::from_millis(rtt_ms), packets_per_frame, frame_rate: 30.0 }
}

/// The table of `docs/why/forward-error-correction.md`: `cargo test -p rtpcore-core --lib fec::protection --
/// --nocapture`.
#[test]
fn what_is_left_and_what_it_costs() {
    // Loss, mean burst, RTT in ms, packets per frame; then the bounds on what is left and on the overhead, in percent.
    let rows = [
        (0.02, 1.0, 250, 5.0, 1.0, 4.5),
        (0.05, 1.0, 250, 2.0, 2.6, 11.0),
        (0.05, 1.0, 100, 5.0, 2.3, 11.5),
        (0.05, 1.0, 100, 12.0, 2.0, 13.0),
        (0.05, 1.0, 250, 5.0, 2.1, 13.0),
        (0.10, 1.0, 100, 5.0, 4.3, 26.0),
        (0.10, 1.0, 250, 5.0, 2.5, 26.0),
        (0.10, 1.0, 250, 12.0, 1.5, 28.0),
        (0.20, 1.0, 20, 5.0, 5.4, 55.0),
        (0.20, 1.0, 100, 5.0, 5.0, 55.0),
        (0.20, 1.0, 250, 5.0, 2.8, 55.0),
        (0.20, 1.0, 250, 12.0, 3.5, 55.0),
        (0.05, 3.0, 250, 5.0, 2.8, 13.0),
        (0.10, 3.0, 250, 5.0, 4.3, 26.0),
        (0.10, 8.0, 250, 12.0, 5.8, 28.0),
        (0.20, 8.0, 250, 5.0, 9.5, 55.0),
    ];
    let mut worse = Vec::new();
    println!("loss burst rtt packets/frame: repairs/packets/frames/degree, left, overhead, frames waited");
    for (loss, mean_burst, rtt_ms, packets_per_frame, most_left, most_overhead) in rows {
        let conditions = conditions(loss, mean_burst, rtt_ms, packets_per_frame);
        let plan = plan(&conditions, false).unwrap();
        let Outcome { left, overhead, wait_frames } = simulate(plan, &conditions);
        let (repairs, packets, frames, degree) = (plan.repairs(), plan.packets(), plan.frames(), plan.degree());
        println!(
            "{:>3.0} % {mean_burst} {rtt_ms:>3} ms {packets_per_frame:>2}: {repairs:>2}/{packets:>2}/{frames}/{degree} \
             {:>5.2} % {:>5.1} % {wait_frames:.1}",
            loss * 100.0,
            left * 100.0,
            overhead * 100.0
        );
        // No later than a retransmission, on average.
        let most_frames = (conditions.rtt.as_secs_f64() * 30.0).max(2.0);
        if left * 100.0 > most_left || overhead * 100.0 > most_overhead || wait_frames > most_frames {
            worse.push(conditions);
        }
    }
    assert!(worse.is_empty(), "{worse:#?}");
}

#[test]
fn what_retransmission_does_as_well_is_left_to_it() {
    let is_on = |loss, burst, rtt_ms, packets| plan(&conditions(loss, burst, rtt_ms, packets), false).is_some();
    assert!(!is_on(0.014, 1.0, 250, 5.0), "little loss");
    assert!(!is_on(0.05, 1.0, 50, 5.0) && is_on(0.05, 1.0, 60, 5.0), "a short round trip");
    assert!(!is_on(0.10, 1.0, 25, 5.0) && is_on(0.10, 1.0, 35, 5.0), "shorter with more loss");
    assert!(is_on(0.20, 1.0, 5, 5.0), "and none with much");
    assert!(!is_on(0.05, 1.0, 100, 1.0), "three packets in a round trip");
    assert!(!is_on(0.05, 8.0, 250, 5.0), "bursts longer than what 11 % could repair");
    for nonsense in [f64::NAN, f64::INFINITY, -1.0, 0.0] {
        for (loss, burst, packets, rate) in [
            (nonsense, 1.0, 5.0, 30.0),
            (0.1, nonsense, 5.0, 30.0),
            (0.1, 1.0, nonsense, 30.0),
            (0.1, 1.0, 5.0, nonsense),
        ] {
            let conditions = Conditions { mean_burst: burst, frame_rate: rate, ..conditions(loss, 1.0, 100, packets) };
            let _ = plan(&conditions, true);
        }
    }
}

#[test]
fn it_ends_later_than_it_begins() {
    for (loss, rtt_ms) in [(0.012, 250), (0.05, 45), (0.10, 25)] {
        let conditions = conditions(loss, 1.0, rtt_ms, 20.0);
        assert!(plan(&conditions, false).is_none(), "{loss} {rtt_ms}");
        assert!(plan(&conditions, true).is_some(), "{loss} {rtt_ms}");
    }
}

#[test]
fn every_plan_keeps_its_limits() {
    for loss in 0..=100_u8 {
        for rtt_ms in [0, 40, 100, 250, 2000] {
            for packets in [0.5, 1.0, 2.5, 5.0, 12.0, 40.0, 200.0] {
                for mean_burst in [1.0, 3.0, 20.0] {
                    let conditions = conditions(f64::from(loss) / 100.0, mean_burst, rtt_ms, packets);
                    let Some(plan) = plan(&conditions, false) else { continue };
                    let window = (f64::from(plan.frames()) * packets).min(48.0);
                    assert!(f64::from(plan.repairs()) <= 0.52 * window, "{conditions:?}: {plan:?}");
                    assert!(plan.repairs() <= 16 && plan.packets() <= 48 && plan.frames() <= 8);
                    assert_eq!(plan, Plan::new(plan.repairs, plan.packets, plan.frames, plan.degree));
                }
            }
        }
    }
}

#[test]
fn sums_are_different_and_equally_long() {
    for repairs in 1..=16 {
        for degree in 1..=3 {
            let plan = Plan::new(repairs, 48, 8, degree);
            let mut lens = vec![0_u8; repairs.into()];
            for nth in 0..48 {
                let mut sums: Vec<_> = plan.sums_of(nth).collect();
                for &index in &sums {
                    lens[index] += 1;
                }
                sums.sort_unstable();
                sums.dedup();
                assert_eq!(sums.len(), plan.degree().into(), "{plan:?} {nth}");
            }
            let (least, most) = (lens.iter().min().unwrap(), lens.iter().max().unwrap());
            assert!(most - least <= plan.degree(), "{plan:?}: {lens:?}");
        }
    }
}

#[test]
fn a_burst_no_longer_than_its_sums_meets_each_once() {
    let plan = Plan::new(8, 48, 8, 1);
    for first in 0..40 {
        let mut sums: Vec<_> = (first..first + 8).flat_map(|nth| plan.sums_of(nth)).collect();
        sums.sort_unstable();
        assert_eq!(sums, (0..8).collect::<Vec<_>>());
    }
}
