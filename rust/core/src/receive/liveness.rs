//! Which encodings of a track are being sent: clients stop the larger ones when their network or their machine is short.

use core::time::Duration;

use super::MAX_ENCODINGS;
use crate::time::Time;

/// An encoding that was silent for so long...
const QUIET: Duration = Duration::from_secs(1);

/// ... while the others began so many frames has stopped. A still screen is silent in all encodings alike, and keeps them.
const FRAMES_OF_OTHERS: u16 = 5;

/// What is known of the encodings of one track.
#[derive(Clone, Debug, Default)]
pub struct Liveness {
    last_at: [Time; MAX_ENCODINGS],
    frames_since: [u16; MAX_ENCODINGS],
    live: u8,
}

impl Liveness {
    /// Notes a packet; says whether an encoding came to life or died by it.
    pub fn handle_packet(&mut self, now: Time, encoding: u8, frame_start: bool) -> bool {
        let before = self.live;
        for (number, (at, frames)) in (0u8..).zip(self.last_at.iter_mut().zip(&mut self.frames_since)) {
            if number == encoding {
                (*at, *frames) = (now, 0);
                self.live |= 1 << number;
            } else if frame_start && self.live & (1 << number) != 0 {
                *frames = frames.saturating_add(1);
                if *frames >= FRAMES_OF_OTHERS && now.since(*at) > QUIET {
                    self.live &= !(1 << number);
                }
            }
        }
        self.live != before
    }

    /// The encodings that are being sent, a bit each.
    pub fn live(&self) -> u8 {
        self.live
    }

    /// The largest encoding that is being sent and not above `most`; the smallest one sent where all are above; `most` where
    /// nothing is known.
    pub fn best_within(&self, most: u8) -> u8 {
        let live = (0..8u8).filter(|number| self.live & (1 << number) != 0);
        live.clone().filter(|&number| number <= most).max().or_else(|| live.min()).unwrap_or(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stops_while_the_others_go_on_is_dead_until_it_comes_back() {
        let mut encodings = Liveness::default();
        assert_eq!(encodings.best_within(2), 2, "nothing is known yet");
        assert!(encodings.handle_packet(Time::ZERO, 0, true));
        assert_eq!(encodings.best_within(2), 0);
        assert!(encodings.handle_packet(Time::ZERO, 2, true));
        assert!(!encodings.handle_packet(Time::ZERO, 2, true));
        assert_eq!((encodings.best_within(2), encodings.best_within(1)), (2, 0));
        let died = (1..40).find(|frame| encodings.handle_packet(Time::from_millis(frame * 33), 0, true));
        assert_eq!(died, Some(31), "the first frame later than a second");
        assert_eq!(encodings.best_within(2), 0);
        assert!(encodings.handle_packet(Time::from_millis(2000), 2, false));
        assert_eq!(encodings.best_within(2), 2);
    }

    #[test]
    fn a_still_screen_keeps_all_encodings() {
        let mut encodings = Liveness::default();
        for second in 0..20 {
            for encoding in 0..3 {
                let changed = encodings.handle_packet(Time::from_millis(second * 3000), encoding, true);
                assert_eq!(changed, second == 0);
            }
        }
    }
}
