//! One direction of one peer's path: delay, jitter, loss, reordering, duplication, a bottleneck with a bounded queue.
//! All in integers, all from one seed.

use core::time::Duration;

use rtpcore_core::Time;

use crate::dice::{Dice, mix};

/// How packets get lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Not at all.
    None,
    /// Each by itself.
    Random {
        /// Of a thousand.
        permille: u32,
    },
    /// In bursts (Gilbert-Elliott): a good state that loses nothing and a bad one that loses most.
    Burst {
        /// Of a thousand packets in the good state, how many begin a burst.
        begins: u32,
        /// Of a thousand packets in the bad state, how many end it: 250 makes bursts of four on the average.
        ends: u32,
        /// Of a thousand packets in the bad state, how many are lost.
        permille: u32,
    },
    /// In bursts that lose all (Gilbert), finer: what was fitted to a link.
    Gilbert {
        /// Of a million packets in the good state, how many begin a burst.
        begins: u32,
        /// Of a million packets in the bad state, how many end it.
        ends: u32,
    },
}

/// A bottleneck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Bits per second.
    pub bps: u64,
    /// Bytes that may wait; what comes then is lost.
    pub queue: u64,
}

/// What one direction of a path does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// One way, in microseconds.
    pub delay_us: u64,
    /// Added at random, up to this, without reordering.
    pub jitter_us: u64,
    /// Loss.
    pub loss: Loss,
    /// Of a thousand packets, how many are held back so that others overtake them.
    pub reordered: u32,
    /// For at most so long, in microseconds.
    pub held_us: u64,
    /// Of a thousand packets, how many come twice.
    pub duplicated: u32,
    /// The bottleneck, if any.
    pub rate: Option<Rate>,
}

impl Conditions {
    /// A cable: 10 ms, nothing else.
    pub const CLEAN: Self =
        Self { delay_us: 10_000, jitter_us: 0, loss: Loss::None, reordered: 0, held_us: 0, duplicated: 0, rate: None };

    /// Wireless at its worse: losses of `permille`, jitter, reordering, duplicates.
    pub const fn rough(permille: u32) -> Self {
        Self {
            delay_us: 20_000,
            jitter_us: 8_000,
            loss: Loss::Random { permille },
            reordered: 20,
            held_us: 25_000,
            duplicated: 10,
            rate: None,
        }
    }
}

/// One direction of a path in use.
#[derive(Clone, Debug)]
pub struct Link {
    conditions: Conditions,
    seed: u64,
    dice: Dice,
    is_bad: bool,
    /// When the bottleneck has sent all that waits.
    free_at: Time,
    /// The last arrival of a packet that keeps its place.
    last: Time,
}

/// When a packet arrives: not at all, once, or twice.
pub type Arrivals = [Option<Time>; 2];

impl Link {
    /// A link whose every draw comes from `seed`.
    pub const fn new(conditions: Conditions, seed: u64) -> Self {
        Self { conditions, seed, dice: Dice::new(seed), is_bad: false, free_at: Time::ZERO, last: Time::ZERO }
    }

    /// Takes a packet of `len` bytes. With a `key` its fate depends on that and not on what was sent before: for runs that
    /// are compared. `rate` overrides the bottleneck.
    pub fn carry(&mut self, now: Time, len: usize, key: Option<u64>, rate: Option<Rate>) -> Arrivals {
        let rate = rate.or(self.conditions.rate);
        self.fate(key, |link| link.queue(now, len, rate))
    }

    /// Takes a packet that a bottleneck elsewhere has sent at `sent_at`.
    pub fn pass(&mut self, sent_at: Time) -> Arrivals {
        self.fate(None, |_| Some(sent_at))
    }

    /// From now on these conditions hold.
    pub const fn change(&mut self, conditions: Conditions) {
        self.conditions = conditions;
    }

    fn fate(&mut self, key: Option<u64>, queue: impl FnOnce(&mut Self) -> Option<Time>) -> Arrivals {
        let Conditions { delay_us, jitter_us, reordered, held_us, duplicated, .. } = self.conditions;
        let mut own = key.map(|key| Dice::new(mix(self.seed ^ mix(key))));
        let is_lost = self.is_lost(own.as_mut());
        let dice = own.as_mut().unwrap_or(&mut self.dice);
        let (jitter, is_held, held, is_double, gap) = (
            dice.below(jitter_us + 1),
            dice.permille(reordered),
            dice.below(held_us + 1),
            dice.permille(duplicated),
            dice.below(30_000),
        );
        let Some(sent_at) = queue(self) else { return [None; 2] };
        if is_lost {
            return [None; 2];
        }
        let at = sent_at + Duration::from_micros(delay_us + jitter);
        let first = if is_held {
            at + Duration::from_micros(held)
        } else {
            self.last = self.last.max(at);
            self.last
        };
        [Some(first), is_double.then(|| first + Duration::from_micros(gap))]
    }

    /// When a packet has left the bottleneck; none if the queue is full.
    fn queue(&mut self, now: Time, len: usize, rate: Option<Rate>) -> Option<Time> {
        let Some(Rate { bps, queue }) = rate else { return Some(now) };
        let begins = self.free_at.max(now);
        let waiting = begins.since(now).as_nanos() * u128::from(bps) / 8_000_000_000;
        if waiting > u128::from(queue) {
            return None;
        }
        self.free_at = begins + Duration::from_nanos(len as u64 * 8_000_000_000 / bps.max(1));
        Some(self.free_at)
    }

    fn is_lost(&mut self, own: Option<&mut Dice>) -> bool {
        let dice = own.unwrap_or(&mut self.dice);
        match self.conditions.loss {
            Loss::None => false,
            Loss::Random { permille } => dice.permille(permille),
            Loss::Burst { begins, ends, permille } => {
                let turns = if self.is_bad { ends } else { begins };
                self.is_bad ^= dice.permille(turns);
                self.is_bad && dice.permille(permille)
            }
            Loss::Gilbert { begins, ends } => {
                let turns = if self.is_bad { ends } else { begins };
                self.is_bad ^= dice.below(1_000_000) < u64::from(turns);
                self.is_bad
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(conditions: Conditions, count: u64) -> Vec<Option<Time>> {
        let mut link = Link::new(conditions, 3);
        (0..count).map(|n| link.carry(Time::from_millis(n), 1000, None, None)[0]).collect()
    }

    #[test]
    fn a_clean_link_only_delays() {
        for (n, at) in (0..).zip(arrivals(Conditions::CLEAN, 50)) {
            assert_eq!(at, Some(Time::from_millis(n + 10)));
        }
    }

    #[test]
    fn jitter_alone_never_reorders_and_reordering_does() {
        let jitter = arrivals(Conditions { jitter_us: 30_000, ..Conditions::CLEAN }, 500);
        assert!(jitter.windows(2).all(|pair| pair[0] <= pair[1]));
        let held = Conditions { reordered: 100, held_us: 30_000, ..Conditions::CLEAN };
        assert!(arrivals(held, 500).windows(2).any(|pair| pair[0] > pair[1]));
    }

    #[test]
    fn losses_come_as_often_as_asked_and_bursts_in_a_row() {
        let lost = |loss| {
            let all = arrivals(Conditions { loss, ..Conditions::CLEAN }, 20_000);
            let runs = all.windows(2).filter(|pair| pair[0].is_some() && pair[1].is_none()).count();
            (all.iter().filter(|at| at.is_none()).count(), runs)
        };
        let (count, runs) = lost(Loss::Random { permille: 50 });
        assert!((900..1100).contains(&count) && runs > 850, "{count} in {runs}");
        let (count, runs) = lost(Loss::Burst { begins: 10, ends: 200, permille: 1000 });
        assert!((700..1200).contains(&count) && runs < 300, "{count} in {runs}");
    }

    #[test]
    fn a_bottleneck_lets_through_its_rate_and_loses_the_rest() {
        // 1000 bytes a millisecond are 8 Mbit/s; half of it passes, with a queue of 20 ms.
        let rate = Some(Rate { bps: 4_000_000, queue: 10_000 });
        let all = arrivals(Conditions { rate, ..Conditions::CLEAN }, 1000);
        let passed = all.iter().flatten().count();
        assert!((500..520).contains(&passed), "{passed}");
        let late = (0..).zip(&all).filter_map(|(n, at)| at.map(|at| at.since(Time::from_millis(n)))).max().unwrap();
        assert!(late <= Duration::from_millis(10 + 20 + 4), "{late:?}");
    }

    #[test]
    fn a_key_decides_alone() {
        let conditions = Conditions::rough(300);
        let mut link = Link::new(conditions, 3);
        let mut other = Link::new(conditions, 3);
        other.carry(Time::ZERO, 10, None, None);
        for key in 0..100 {
            let is_lost = link.carry(Time::ZERO, 10, Some(key), None)[0].is_none();
            assert_eq!(is_lost, other.carry(Time::ZERO, 10, Some(key), None)[0].is_none());
        }
    }
}
