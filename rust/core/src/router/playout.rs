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
/// Loss counts where it lasted so long: a queue that overflows for a moment is the estimator's business.
const LASTING: Duration = Duration::from_secs(2);
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
    /// Since when there is loss, and the least of it since then.
    lossy_since: Option<(Time, f64)>,
    /// Since when less would do.
    eased_since: Option<Time>,
    /// Until when it is said that there is none.
    farewell: Option<Time>,
}

impl Playout {
    /// Reckons anew, a few times a second: `loss` is 0 to 1.
    pub(super) fn judge(&mut self, now: Time, loss: f64, rtt: Duration) {
        let needed = match &mut self.lossy_since {
            _ if loss < LEAST_LOSS => {
                self.lossy_since = None;
                Duration::ZERO
            }
            None => {
                self.lossy_since = Some((now, loss));
                self.delay
            }
            Some((since, _)) if !(*since + LASTING).is_due(now) => self.delay,
            Some((since, least)) => {
                // The least of a sliding window: what was lower before is forgotten with time.
                *least = least.min(loss);
                let needed = needed(*least, rtt);
                if (*since + LASTING * 2).is_due(now) {
                    (*since, *least) = (now - LASTING, loss);
                }
                needed
            }
        };
        if needed > self.delay {
            (self.delay, self.eased_since, self.farewell) = (needed, None, None);
        } else if needed * EASE.1 < self.delay * EASE.0 {
            let since = *self.eased_since.get_or_insert(now);
            if (since + KEEP).is_due(now) {
                (self.delay, self.eased_since) = (needed, None);
                self.farewell = needed.is_zero().then_some(now + FAREWELL);
            }
        } else {
            self.eased_since = None;
        }
        self.farewell.take_if(|until| until.is_due(now));
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

    /// What receivers are told now.
    pub(super) fn delay(&self) -> Duration {
        self.delay
    }
}

/// How long repair takes until almost nothing is missing.
fn needed(loss: f64, rtt: Duration) -> Duration {
    // A round fails where the request or the answer is lost.
    let fails = 1.0 - (1.0 - loss) * (1.0 - loss);
    let (mut left, mut rounds) = (loss, 0);
    while left > TARGET && rounds < 8 {
        left *= fails;
        rounds += 1;
    }
    (rtt.saturating_add(ROUND) * rounds + SLACK).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(100);

    fn after(playout: &mut Playout, from_ms: u64, to_ms: u64, loss: f64) -> u128 {
        for ms in (from_ms..to_ms).step_by(200) {
            playout.judge(Time::from_millis(ms), loss, RTT);
        }
        playout.delay().as_millis()
    }

    #[test]
    fn more_loss_and_longer_paths_take_more() {
        let ms = |loss, rtt| needed(loss, Duration::from_millis(rtt)).as_millis();
        assert_eq!([ms(0.05, 20), ms(0.05, 100), ms(0.10, 100), ms(0.10, 250)], [130, 290, 415, 500]);
        assert_eq!(ms(0.2, 20), 40 + 6 * 45);
    }

    #[test]
    fn a_moment_of_loss_delays_nothing_and_lasting_loss_does() {
        let mut playout = Playout::default();
        assert_eq!(after(&mut playout, 0, 1800, 0.3), 0);
        assert_eq!(after(&mut playout, 1800, 5000, 0.0), 0);
        assert_eq!(playout.value(None), None);
        assert_eq!(after(&mut playout, 5000, 7600, 0.05), 290);
        let value = playout.value(None).unwrap();
        assert_eq!((value.min, value.max), (Duration::from_millis(290), UNSAID));
    }

    #[test]
    fn what_is_no_longer_needed_is_taken_back_and_that_is_said() {
        let mut playout = Playout::default();
        after(&mut playout, 0, 4000, 0.05);
        assert_eq!(after(&mut playout, 4000, 13_800, 0.0), 290, "kept for a while");
        assert_eq!(after(&mut playout, 13_800, 15_000, 0.0), 0);
        assert_eq!(playout.value(None).map(|value| value.min), Some(Duration::ZERO));
        after(&mut playout, 15_000, 20_000, 0.0);
        assert_eq!(playout.value(None), None);
    }

    #[test]
    fn the_room_may_want_more() {
        let mut playout = Playout::default();
        let room = PlayoutDelay { min: Duration::from_millis(400), max: Duration::from_millis(450) };
        assert_eq!(playout.value(Some(room)), None, "the keyframes say it");
        after(&mut playout, 0, 4000, 0.05);
        assert_eq!(playout.value(Some(room)), Some(room));
    }
}
