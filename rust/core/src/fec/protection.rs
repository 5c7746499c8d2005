//! How much protection a stream gets: pure policy, from what the path does to what is summed.
//!
//! Packets are protected in windows. The `n`-th packet of a window joins one, two or three of its sums, in turn, so
//! that neighbours never share all of theirs and a burst meets different ones. With one sum each, a lost packet is
//! recovered if it is the only one of its sum. With two or three, each packet recovered makes the next possible: much
//! better where enough sums arrive, worse where few do.

use core::time::Duration;

/// The most packets of one window: 48 is also what an ULPFEC mask can name.
pub const WINDOW: u8 = 48;
/// The most repair packets of one window. Each costs a subscriber 1.5 kB of memory.
pub const MAX_REPAIRS: usize = 16;

/// Fewer lost packets than this are left to retransmission, which costs only what was lost.
const LEAST_LOSS: f64 = 0.015;
/// Once there is protection it stays until loss or round trip are below this part of what began it.
const STAY: f64 = 0.7;
/// What should stay lost at most, before retransmission; more protection than that is not paid for.
const TARGET: f64 = 0.005;
/// Protection that leaves more of the loss than this is not worth its bytes.
const MOST_LEFT: f64 = 0.6;
/// From which mean length on losses count as bursts. Random loss of 20 % has 1.25.
const BURST: f64 = 2.0;
/// The most frames that a window waits for its end, however long the round trip.
const MOST_FRAMES: u8 = 8;
/// How much longer than usual a window may get, where frames are larger than usual: keyframes.
const SLACK: f64 = 4.0 / 3.0;

/// What is known of the path to a subscriber and of what it is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Conditions {
    /// The fraction of packets lost, 0 to 1.
    pub loss: f64,
    /// The mean number of packets lost in a row; 1 or more.
    pub mean_burst: f64,
    /// The round-trip time.
    pub rtt: Duration,
    /// The mean number of packets of a frame.
    pub packets_per_frame: f64,
    /// Frames per second.
    pub frame_rate: f64,
}

/// What to sum: windows of so many packets or frames, whichever are complete first, with so many repair packets each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    repairs: u8,
    packets: u8,
    frames: u8,
    degree: u8,
}

impl Plan {
    /// A plan within the limits: 1 to [`MAX_REPAIRS`] repair packets for 1 to [`WINDOW`] packets or `frames` (1 or
    /// more), each packet in 1 to 3 sums, fewer where there are too few repair packets (below 4 one, below 10 two).
    #[allow(clippy::cast_possible_truncation)]
    pub const fn new(repairs: u8, packets: u8, frames: u8, degree: u8) -> Self {
        const fn between(least: u8, n: u8, most: u8) -> u8 {
            if n < least {
                least
            } else if n > most {
                most
            } else {
                n
            }
        }
        let repairs = between(1, repairs, MAX_REPAIRS as u8);
        Self {
            repairs,
            packets: between(1, packets, WINDOW),
            frames: between(1, frames, u8::MAX),
            degree: between(1, degree, Self::most_degree(repairs)),
        }
    }

    /// With fewer repair packets, too many packets would share all their sums.
    const fn most_degree(repairs: u8) -> u8 {
        match repairs {
            ..4 => 1,
            4..10 => 2,
            _ => 3,
        }
    }

    /// Repair packets of a window.
    pub const fn repairs(self) -> u8 {
        self.repairs
    }

    /// Packets after which a window is complete.
    pub const fn packets(self) -> u8 {
        self.packets
    }

    /// Frames after which a window is complete.
    pub const fn frames(self) -> u8 {
        self.frames
    }

    /// In how many sums each packet is.
    pub const fn degree(self) -> u8 {
        self.degree
    }

    /// The sums that the `nth` packet of a window is in, all different, below [`repairs`](Self::repairs).
    ///
    /// In each round over the sums, the further ones lie at another distance, so that two packets seldom share two.
    pub fn sums_of(self, nth: u8) -> impl Iterator<Item = usize> + use<> {
        let repairs = self.repairs.max(1);
        let (round, first) = (usize::from(nth / repairs), usize::from(nth % repairs));
        let steps = match self.degree {
            3 => STEPS_OF_3.get(round % STEPS_OF_3.len()).copied().unwrap_or_default(),
            2 => [0, 1 + round % 3, 0],
            _ => [0; 3],
        };
        steps.into_iter().take(self.degree.into()).map(move |step| (first + step) % usize::from(repairs))
    }
}

/// By round, the steps from a packet's first sum to its others. Found by trying: no two rounds have a difference in
/// common that would matter.
const STEPS_OF_3: [[usize; 3]; 4] = [[0, 1, 3], [0, 4, 9], [0, 2, 8], [0, 1, 5]];

/// The protection for these conditions; none where retransmission does as well or better. `is_on` says whether there is
/// protection now: it ends later than it begins.
///
/// None means: little loss; a round trip so short that a retransmission comes in time; frames so small that a window
/// would last longer than a round trip; or bursts so long that no bearable number of repair packets gets over them.
pub fn plan(conditions: &Conditions, is_on: bool) -> Option<Plan> {
    let Conditions { loss, mean_burst, rtt, packets_per_frame, frame_rate } = *conditions;
    let ease = if is_on { STAY } else { 1.0 };
    let is_needed = loss >= LEAST_LOSS * ease && rtt.as_secs_f64() >= least_rtt(loss) * ease;
    let has_frames = packets_per_frame > 0.0 && frame_rate > 0.0;
    if !(is_needed && has_frames) {
        return None;
    }
    let budget = budget(loss);
    // Later than a round trip after the loss, its retransmission is there; two frames always may be.
    let most_frames = (1..=MOST_FRAMES)
        .rfind(|&frames| frames <= 2 || f64::from(frames) <= rtt.as_secs_f64() * frame_rate)
        .unwrap_or(2);
    let mut best: Option<(f64, f64, Plan)> = None;
    for frames in 1..=most_frames {
        let packets = (f64::from(frames) * packets_per_frame).min(f64::from(WINDOW));
        let Some(limit) = (1..=WINDOW).rfind(|&n| f64::from(n) <= packets * SLACK) else { continue };
        for repairs in (1..=16_u8).take_while(|&repairs| f64::from(repairs) <= budget * packets) {
            let (left, degree) = best_degree(loss, mean_burst, packets, repairs);
            // As good as wanted, then as cheap as possible; else as good as possible. A shorter window wins a draw.
            let (left, cost) = if left <= TARGET { (TARGET, f64::from(repairs) / packets) } else { (left, 0.0) };
            if best.is_none_or(|(least, cheapest, _)| left < least * 0.98 || (left <= least && cost < cheapest * 0.98))
            {
                best = Some((left, cost, Plan::new(repairs, limit, frames, degree)));
            }
        }
    }
    best.filter(|&(left, _, _)| left <= loss * MOST_LEFT).map(|(_, _, plan)| plan)
}

/// In how many sums each packet had best be, and about what is left then.
fn best_degree(loss: f64, mean_burst: f64, packets: f64, repairs: u8) -> (f64, u8) {
    if mean_burst > BURST {
        return (residual_of_bursts(loss, mean_burst, packets, repairs), 1);
    }
    (1..=Plan::most_degree(repairs))
        .map(|degree| (residual(loss, packets, repairs, degree), degree))
        .min_by(|one, other| one.0.total_cmp(&other.0))
        .unwrap_or((loss, 1))
}

/// The round trip from which on retransmission is too late, in seconds: the more is lost, the more often it takes two.
fn least_rtt(loss: f64) -> f64 {
    match loss {
        ..0.08 => 0.055,
        0.08..0.15 => 0.03,
        _ => 0.0,
    }
}

/// The most repair packets per packet: 12 % at 5 % loss, 24 % at 10 %, 52 % at 20 % and above.
///
/// Repair packets are as long as the longest they protect, and what they leave is sent again: at 5 % loss that makes
/// 15 % of the bytes. Where much is lost retransmissions are too, so that protection is worth more.
fn budget(loss: f64) -> f64 {
    (loss * (2.2 + 2.5 * loss)).min(0.52)
}

/// About what random loss leaves, as a fraction of all packets: "lost, and in each of its sums another packet or the
/// sum itself is, too". Exact for one sum each.
///
/// With more, some rounds of recovery count; beyond that a short window rather has bad luck, mostly that two lost
/// packets share two sums. Within a third of what `tests` simulates.
fn residual(loss: f64, packets: f64, repairs: u8, degree: u8) -> f64 {
    let others = (packets * f64::from(degree) / f64::from(repairs) - 1.0).max(0.0);
    let round = |left: f64| loss * (1.0 - (1.0 - loss) * (1.0 - left).powf(others)).powi(i32::from(degree));
    if degree == 1 {
        return round(loss);
    }
    let pairs = f64::from(repairs) * (f64::from(repairs) - 1.0) / 2.0;
    (0..4).fold(loss, |left, _| round(left)) + loss * loss * packets / pairs
}

/// About what bursts leave with one sum each, where the neighbours in a sum lie `repairs` packets apart: a burst
/// (Gilbert's model) seldom lasts from one to the next.
fn residual_of_bursts(loss: f64, mean_burst: f64, packets: f64, repairs: u8) -> f64 {
    let loss = loss.min(0.99);
    let others = (packets / f64::from(repairs) - 1.0).max(0.0);
    let memory = (1.0 - 1.0 / (mean_burst * (1.0 - loss))).max(0.0);
    let neighbour = loss + (1.0 - loss) * memory.powi(i32::from(repairs));
    let far = (others - 2.0).max(0.0);
    loss * (1.0 - (1.0 - neighbour).powf(others - far) * (1.0 - loss).powf(1.0 + far))
}

#[cfg(test)]
mod tests;
