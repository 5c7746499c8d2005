//! When receiver reports are due, and the round trip time that reports measure (RFC 3550 §6.2, §6.4; RFC 3611 §4.4, §4.5).

use core::time::Duration;

use crate::rtp::clock::{ntp_middle, ntp_span};
use crate::time::Time;
use crate::units::Ssrc;

/// Between the reports of a transport with video: congestion control and loss protection of browsers act on them.
pub const VIDEO_INTERVAL: Duration = Duration::from_secs(1);
/// Between the reports of a transport with audio only: RFC 3550 §6.2 wants no more often.
pub const AUDIO_INTERVAL: Duration = Duration::from_secs(5);

/// When the next receiver report of a transport is due.
///
/// Each interval is drawn between a half and one and a half (RFC 3550 §6.2), so that a room whose peers joined together
/// does not report together. The draw follows from the SSRC alone: a trace replays.
#[derive(Clone, Debug)]
pub struct ReportTimer {
    interval: Duration,
    next_at: Time,
    state: u64,
}

impl ReportTimer {
    /// Not armed. `ssrc` is that of the reports.
    pub fn new(ssrc: Ssrc, interval: Duration) -> Self {
        Self { interval, next_at: Time::NEVER, state: u64::from(ssrc.0) }
    }

    /// Arms the timer when the first packet arrives; later calls change nothing.
    pub fn start(&mut self, now: Time) {
        if self.next_at == Time::NEVER {
            // The first comes soon (RFC 3550 §6.2): browsers stop sending mid and rid once a report proves arrival.
            self.next_at = now + self.draw(self.interval / 4);
        }
    }

    /// Changes the mean interval from the next report on.
    pub fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// Whether a report is due at `now`; the next one is scheduled.
    pub fn poll(&mut self, now: Time) -> bool {
        if !self.next_at.is_due(now) {
            return false;
        }
        self.next_at = now + self.draw(self.interval);
        true
    }

    /// When the next report is due, [`Time::NEVER`] before the start.
    pub fn deadline(&self) -> Time {
        self.next_at
    }

    /// Half of `mean` to one and a half, in 1024 steps.
    fn draw(&mut self, mean: Duration) -> Duration {
        // SplitMix64: any mixing does, only neighbours must differ.
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let step = u32::try_from((z ^ (z >> 31)) & 1023).unwrap_or(0);
        mean / 2 + mean / 1024 * step
    }
}

/// A round trip above this is a clock or a peer gone wrong.
const MAX_RTT: Duration = Duration::from_secs(30);

/// The round trip time of a transport, smoothed.
///
/// Measured the same way whichever report brings the echo: a sender report of ours answered in a report block (LSR,
/// DLSR), or a receiver reference time of ours answered in a DLRR block (LRR, DLRR).
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundTrip {
    smoothed: Option<Duration>,
    latest: Option<Duration>,
    min: Option<Duration>,
}

impl RoundTrip {
    /// Takes in an echo: `last` is the middle of the NTP timestamp we sent and `delay` how long the peer kept it, in
    /// units of 2^-16 s.
    ///
    /// The timestamp must have been made by [`reference_time`]. Ignored where it is 0 (no report yet), or the result
    /// is over 30 s. A delay rounded up past the whole trip reads as no time at all.
    pub fn handle_echo(&mut self, now: Time, last: u32, delay: u32) {
        if last == 0 {
            return;
        }
        let units = ntp_middle(reference_time(now)).wrapping_sub(last).wrapping_sub(delay);
        // Up to 1/16 s below zero: the peer's clock ticks coarsely.
        let units = if units >= 0xFFFF_F000 { 0 } else { units };
        let rtt = Duration::from_nanos(u64::from(units) * 1_000_000_000 / 65_536);
        if rtt > MAX_RTT {
            return;
        }
        self.latest = Some(rtt);
        self.min = Some(self.min.map_or(rtt, |min| min.min(rtt)));
        self.smoothed = Some(self.smoothed.map_or(rtt, |before| (before * 7 + rtt) / 8));
    }

    /// Smoothed as in RFC 6298 §2, with a weight of one eighth; none before the first echo.
    pub fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The last one measured.
    pub fn latest(&self) -> Option<Duration> {
        self.latest
    }

    /// The shortest one measured.
    pub fn min(&self) -> Option<Duration> {
        self.min
    }
}

/// The NTP timestamp that stands for `now` in reference time reports (RFC 3611 §4.4) and sender reports of ours.
///
/// Its epoch is a second before [`Time::ZERO`]: the peer only echoes it, and an echo of 0 would mean "no report yet".
pub fn reference_time(now: Time) -> u64 {
    ntp_span(now.since(Time::ZERO)).wrapping_add(1 << 32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reports_come_about_once_an_interval() {
        let mut timer = ReportTimer::new(Ssrc(7), VIDEO_INTERVAL);
        assert_eq!((timer.deadline(), timer.poll(Time::from_millis(1))), (Time::NEVER, false));
        timer.start(Time::ZERO);
        let first = timer.deadline();
        assert!((125..375).contains(&first.as_millis()));
        timer.start(Time::from_millis(100));
        assert_eq!(timer.deadline(), first);
        let mut before = None;
        let mut count = 0;
        for now in (0..100_000).map(Time::from_millis) {
            if timer.poll(now) {
                if let Some(before) = before {
                    let gap = now.since(before).as_millis();
                    assert!((500..=1500).contains(&gap), "{gap}");
                }
                before = Some(now);
                count += 1;
            }
        }
        assert!((90..=110).contains(&count), "{count}");
    }

    #[test]
    fn two_transports_do_not_report_together_and_one_repeats_itself() {
        let draws = |ssrc| {
            let mut timer = ReportTimer::new(Ssrc(ssrc), VIDEO_INTERVAL);
            (0..8).map(|_| timer.draw(VIDEO_INTERVAL)).collect::<Vec<_>>()
        };
        assert_eq!(draws(1), draws(1));
        assert!(draws(1).iter().zip(draws(2)).all(|(a, b)| *a != b));
    }

    #[test]
    fn echoes_without_sense_change_nothing() {
        let mut trip = RoundTrip::default();
        let now = Time::from_millis(10_000);
        let sent = ntp_middle(reference_time(Time::from_millis(9_000)));
        trip.handle_echo(now, 0, 0);
        trip.handle_echo(now, sent, 5 * 65_536);
        trip.handle_echo(Time::from_millis(60_000), sent, 0);
        assert_eq!(trip.smoothed(), None);
        trip.handle_echo(now, sent, 65_536 + 4096);
        assert_eq!(trip.latest(), Some(Duration::ZERO), "1/16 s too much is a coarse clock");
        trip.handle_echo(now, sent, 65_536 + 4097);
        trip.handle_echo(now, sent, 65_536 / 2);
        assert_eq!(trip.latest(), Some(Duration::from_millis(500)));
        assert_eq!(trip.smoothed(), Some(Duration::from_micros(62_500)));
        assert_eq!(trip.min(), Some(Duration::ZERO));
    }

    proptest! {
        #[test]
        fn the_echo_gives_the_trip_within_a_unit_or_two(
            sent_ms in 0u64..1 << 40, rtt_us in 0u64..29_000_000, kept_us in 0u64..60_000_000,
        ) {
            let sent = Time::from_millis(sent_ms);
            let kept = Duration::from_micros(kept_us);
            let now = sent + Duration::from_micros(rtt_us) + kept;
            let mut trip = RoundTrip::default();
            trip.handle_echo(now, ntp_middle(reference_time(sent)), ntp_middle(ntp_span(kept)));
            let read = trip.latest().unwrap().as_micros();
            prop_assert!(read.abs_diff(u128::from(rtt_us)) <= 32, "{} for {}", read, rtt_us);
        }
    }
}
