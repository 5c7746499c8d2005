//! How long a subscriber shall hold pictures back, so that what it lost comes before it is missed.
//!
//! A browser shows a picture as soon as it has it, and keeps so little in hand that every repair comes too late: each is a
//! freeze. It learns from jitter, not from loss. The server knows both loss and round trip, and says so in the playout delay
//! extension; `docs/why/playout-delay.md` has the price.
//!
//! ```text
//!  5 % lost each way, 100 ms:  lost 5 %, again after one round 0.5 %, after two 0.05 %  ─>  two rounds, 290 ms
//! ```

use core::time::Duration;

use crate::rtp::extension::PlayoutDelay;
use crate::time::Time;

/// Loss below this is left alone: a picture stands still now and then, but nobody talks across a delay.
const LEAST_LOSS: f64 = 0.01;
/// What may stay unrepaired when its time comes, of all packets.
const TARGET: f64 = 0.0005;
/// What a round of repair takes besides the round trip: receivers look for gaps every 20 ms, and pace what they send.
const ROUND: Duration = Duration::from_millis(25);
/// ... and what the packet that shows the gap may be late itself.
const SLACK: Duration = Duration::from_millis(40);
/// Nobody is made to wait longer: a conversation over more is none.
const MOST: Duration = Duration::from_millis(500);
/// Loss counts where it lasted so long: a second packet, not a single one.
const LASTING: Duration = Duration::from_millis(400);
/// So long after the rate was taken back, loss may still be that of the queue which overflowed.
const CONGESTED: Duration = Duration::from_secs(3);
/// The delay grows by no more at a time: each step holds one picture back by itself, and a long one is a freeze.
const STEP: Duration = Duration::from_millis(40);
/// ... and a step is no more often than this.
const STEP_EVERY: Duration = Duration::from_millis(180);
/// A delay that is no longer needed is taken back after so long.
const KEEP: Duration = Duration::from_secs(10);
/// Less than this part of the delay has to do before it is taken back.
const EASE: (u32, u32) = (3, 5);
/// "No longer" is said for so long, so that nobody misses it.
const FAREWELL: Duration = Duration::from_secs(5);
/// The most that receivers delay pictures if nothing is said.
const UNSAID: Duration = Duration::from_secs(10);

/// What one copy's receiver is told.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Playout {
    /// What is said now.
    delay: Duration,
    /// Where that goes.
    goal: Duration,
    stepped_at: Time,
    lossy_since: Option<Time>,
    is_lossy: bool,
    /// How often the rate had been taken back, and when that last changed.
    reductions: (u64, Option<Time>),
    /// Since when less would do.
    eased_since: Option<Time>,
    /// Until when it is said that there is none.
    farewell: Option<Time>,
}

impl Playout {
    /// Reckons anew, a few times a second: `loss` is 0 to 1, `reductions` how often the rate was taken back so far.
    pub(super) fn judge(&mut self, now: Time, loss: f64, rtt: Duration, reductions: u64) {
        if self.reductions.0 != reductions {
            self.reductions = (reductions, Some(now));
        }
        let is_congested = self.reductions.1.is_some_and(|at| !(at + CONGESTED).is_due(now));
        self.is_lossy = loss >= LEAST_LOSS && !is_congested;
        let needed = if loss < LEAST_LOSS {
            self.lossy_since = None;
            Duration::ZERO
        } else if (*self.lossy_since.get_or_insert(now) + LASTING).is_due(now) && !is_congested {
            needed(loss, rtt)
        } else {
            self.goal
        };
        if needed >= self.goal {
            (self.goal, self.eased_since) = (needed, None);
        } else if needed * EASE.1 < self.goal * EASE.0 {
            if (*self.eased_since.get_or_insert(now) + KEEP).is_due(now) {
                (self.goal, self.eased_since) = (needed, None);
            }
        } else {
            self.eased_since = None;
        }
        self.step(now);
    }

    /// Moves the delay towards its goal.
    fn step(&mut self, now: Time) {
        if self.delay < self.goal {
            self.farewell = None;
        }
        if self.delay == self.goal || !(self.stepped_at + STEP_EVERY).is_due(now) {
            self.farewell.take_if(|until| until.is_due(now));
            return;
        }
        self.stepped_at = now;
        self.delay = self.goal.clamp(self.delay.saturating_sub(STEP), self.delay + STEP);
        if self.delay.is_zero() {
            self.farewell = Some(now + FAREWELL);
        }
    }

    /// What to write into packets that begin a picture: the longer of what the room wants and what is needed; none where
    /// neither says anything.
    pub(super) fn value(&self, room: Option<PlayoutDelay>) -> Option<PlayoutDelay> {
        if self.delay.is_zero() && self.farewell.is_none() {
            return None;
        }
        let room = room.unwrap_or(PlayoutDelay { min: Duration::ZERO, max: UNSAID });
        let min = room.min.max(self.delay);
        Some(PlayoutDelay { min, max: room.max.max(min) })
    }

    /// Whether packets get lost, not for want of room, and one that is missed cannot be sent again twice before its picture is
    /// due: the first time counts.
    pub(super) fn is_urgent(&self, rtt: Duration) -> bool {
        self.is_lossy && self.delay < span(2, rtt)
    }

    /// Whether packets get lost, not for want of room.
    pub(super) fn is_lossy(&self) -> bool {
        self.is_lossy
    }

    /// What receivers are told now.
    pub(super) fn delay(&self) -> Duration {
        self.delay
    }
}

/// How long repair takes until almost nothing is missing.
fn needed(loss: f64, rtt: Duration) -> Duration {
    span(rounds(loss), rtt).min(MOST)
}

/// Whether there is no time for as many rounds of repair as that takes, however long pictures are held back.
pub(super) fn is_too_late(loss: f64, rtt: Duration) -> bool {
    span(rounds(loss), rtt) > MOST
}

/// How long some rounds of repair take.
fn span(rounds: u32, rtt: Duration) -> Duration {
    rtt.saturating_add(ROUND) * rounds + SLACK
}

/// How often it takes until almost nothing is missing.
fn rounds(loss: f64) -> u32 {
    // A round fails where the request or the answer is lost.
    let fails = 1.0 - (1.0 - loss) * (1.0 - loss);
    let (mut left, mut rounds) = (loss, 0);
    while left > TARGET && rounds < 8 {
        left *= fails;
        rounds += 1;
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    fn after(playout: &mut Playout, from_ms: u64, to_ms: u64, loss: f64) -> u128 {
        for ms in (from_ms..to_ms).step_by(200) {
            playout.judge(Time::from_millis(ms), loss, RTT, 0);
        }
        playout.delay().as_millis()
    }

    #[test]
    fn more_loss_and_longer_paths_take_more() {
        let ms = |loss, rtt| needed(loss, Duration::from_millis(rtt)).as_millis();
        assert_eq!([ms(0.05, 20), ms(0.05, 100), ms(0.10, 100), ms(0.10, 250)], [130, 290, 500, 500]);
        assert_eq!(ms(0.2, 20), 40 + 6 * 45);
        let late = |loss, rtt| is_too_late(loss, Duration::from_millis(rtt));
        assert_eq!([late(0.05, 100), late(0.10, 100), late(0.10, 250), late(0.05, 250)], [false, true, true, true]);
    }

    #[test]
    fn the_delay_grows_in_small_steps_once_loss_lasts() {
        let mut playout = Playout::default();
        assert_eq!(after(&mut playout, 1000, 1200, 0.05), 0);
        assert_eq!(after(&mut playout, 1200, 2000, 0.0), 0);
        assert_eq!(playout.value(None), None);
        assert_eq!(after(&mut playout, 2000, 2800, 0.05), 80);
        assert_eq!(after(&mut playout, 2800, 4000, 0.05), 290);
        let value = playout.value(None).unwrap();
        assert_eq!((value.min, value.max), (Duration::from_millis(290), UNSAID));
    }

    #[test]
    fn what_has_no_time_for_two_rounds_is_urgent() {
        let mut playout = Playout::default();
        assert!(!playout.is_urgent(RTT), "nothing is lost");
        after(&mut playout, 1000, 1200, 0.05);
        assert!(playout.is_urgent(RTT));
        after(&mut playout, 1200, 4000, 0.05);
        assert!(!playout.is_urgent(RTT) && playout.is_urgent(RTT * 2));
    }

    #[test]
    fn loss_of_a_queue_that_overflowed_delays_nothing() {
        let mut playout = Playout::default();
        for (n, ms) in (0..).zip((1000..3000).step_by(200)) {
            playout.judge(Time::from_millis(ms), 0.4, RTT, 1 + n / 3);
        }
        assert_eq!(playout.delay(), Duration::ZERO);
    }

    #[test]
    fn what_is_no_longer_needed_is_taken_back_and_that_is_said() {
        let mut playout = Playout::default();
        after(&mut playout, 1000, 4000, 0.05);
        assert_eq!(after(&mut playout, 4000, 13_800, 0.0), 290, "kept for a while");
        assert_eq!(after(&mut playout, 13_800, 16_000, 0.0), 0);
        assert_eq!(playout.value(None).map(|value| value.min), Some(Duration::ZERO));
        after(&mut playout, 16_000, 22_000, 0.0);
        assert_eq!(playout.value(None), None);
    }

    #[test]
    fn the_room_may_want_more() {
        let mut playout = Playout::default();
        let room = PlayoutDelay { min: Duration::from_millis(400), max: Duration::from_millis(450) };
        assert_eq!(playout.value(Some(room)), None, "the keyframes say it");
        after(&mut playout, 1000, 4000, 0.05);
        assert_eq!(playout.value(Some(room)), Some(room));
    }
}
