//! How a publisher's RTP clock and its wall clock belong together (RFC 3550 §6.4.1), in integers.

use core::time::Duration;

use crate::time::Time;

/// One sender report of a publisher's encoding: the same instant on its two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMap {
    /// The publisher's wall clock, seconds since 1900 in 32.32 fixed point.
    pub ntp: u64,
    /// The encoding's RTP timestamp at that instant.
    pub rtp: u32,
    /// When the report arrived here.
    pub at: Time,
}

impl ClockMap {
    /// The publisher's wall clock at the timestamp `rtp`, which lies within 2^31 ticks of the report.
    pub fn ntp_at(&self, rtp: u32, clock_rate: u32) -> u64 {
        let ticks = i64::from(signed_distance(self.rtp, rtp));
        let fixed = (ticks << 32) / i64::from(clock_rate.max(1));
        self.ntp.wrapping_add_signed(fixed)
    }

    /// The timestamp at the publisher's wall clock `ntp`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_possible_wrap)]
    pub fn rtp_at(&self, ntp: u64, clock_rate: u32) -> u32 {
        let fixed = i128::from(ntp.wrapping_sub(self.ntp) as i64);
        // Rounded to the nearest tick, so that a timestamp survives the way to the wall clock and back.
        let ticks = (fixed * i128::from(clock_rate) + (1 << 31)) >> 32;
        self.rtp.wrapping_add(ticks as u32)
    }

    /// The pair for the instant `now`, by our clock since the report arrived.
    ///
    /// How long the report travelled does not matter: both halves move on by the same span.
    #[must_use]
    pub fn at(&self, now: Time, clock_rate: u32) -> Self {
        let span = now.since(self.at);
        Self {
            ntp: self.ntp.wrapping_add(ntp_span(span)),
            rtp: self.rtp.wrapping_add(wrap(ticks(span, clock_rate))),
            at: now,
        }
    }
}

/// How many ticks of `clock_rate` per second a span is, rounded down.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn ticks(span: Duration, clock_rate: u32) -> u64 {
    (span.as_nanos() * u128::from(clock_rate) / 1_000_000_000) as u64
}

/// From `from` to `to` on a clock of 32 bits, the short way round.
#[allow(clippy::cast_possible_wrap)]
pub(super) const fn signed_distance(from: u32, to: u32) -> i32 {
    to.wrapping_sub(from) as i32
}

/// The low 32 bits.
#[allow(clippy::cast_possible_truncation)]
pub(super) const fn wrap(ticks: u64) -> u32 {
    ticks as u32
}

#[allow(clippy::cast_possible_truncation)]
fn ntp_span(span: Duration) -> u64 {
    ((span.as_nanos() << 32) / 1_000_000_000) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MAP: ClockMap = ClockMap { ntp: 1000 << 32, rtp: u32::MAX - 10, at: Time::from_millis(500) };

    #[test]
    fn a_second_is_a_clock_rate_on_both_sides() {
        assert_eq!(MAP.ntp_at(MAP.rtp.wrapping_add(90_000), 90_000), 1001 << 32);
        assert_eq!(MAP.ntp_at(MAP.rtp.wrapping_sub(90_000), 90_000), 999 << 32);
        assert_eq!(MAP.rtp_at(1001 << 32, 90_000), MAP.rtp.wrapping_add(90_000));
        assert_eq!(MAP.rtp_at(999 << 32, 90_000), MAP.rtp.wrapping_sub(90_000));
    }

    #[test]
    fn a_report_moves_on_with_our_clock() {
        let later = MAP.at(Time::from_millis(2500), 48_000);
        assert_eq!((later.ntp, later.rtp), (1002 << 32, MAP.rtp.wrapping_add(96_000)));
    }

    proptest! {
        #[test]
        fn timestamps_survive_the_way_to_the_wall_clock_and_back(offset in -0x7000_0000i32..0x7000_0000, ntp: u64, rtp: u32, rate in 8_000u32..=90_000) {
            let map = ClockMap { ntp, rtp, at: Time::ZERO };
            let there = rtp.wrapping_add_signed(offset);
            prop_assert_eq!(map.rtp_at(map.ntp_at(there, rate), rate), there);
        }
    }
}
