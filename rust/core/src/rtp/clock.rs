//! The publisher's clock as its sender reports tell it: which RTP timestamp was which wall clock time.

use core::time::Duration;

use crate::time::Time;

/// One pair of clocks from a sender report (RFC 3550 §6.4.1), and when it came.
///
/// Senders use it to write their own reports with the publisher's wall clock, so that audio and video stay together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockMap {
    /// The publisher's wall clock, an NTP timestamp in units of 2^-32 s.
    pub ntp: u64,
    /// The RTP timestamp of the same instant.
    pub rtp: u32,
    /// When the report arrived.
    pub at: Time,
    /// Ticks of the RTP timestamp per second, above zero.
    pub clock_rate: u32,
}

impl ClockMap {
    /// The wall clock of an RTP timestamp, which may lie up to half its range before or after the report.
    pub fn rtp_to_ntp(&self, rtp: u32) -> u64 {
        let ticks = i128::from(rtp.wrapping_sub(self.rtp).cast_signed());
        let units = (ticks << 32).div_euclid(self.rate());
        self.ntp.wrapping_add(low_u64(units))
    }

    /// The RTP timestamp of a wall clock, to the nearest tick.
    pub fn ntp_to_rtp(&self, ntp: u64) -> u32 {
        let units = i128::from(ntp.wrapping_sub(self.ntp).cast_signed());
        let ticks = (units * self.rate() + (1 << 31)) >> 32;
        self.rtp.wrapping_add(low_u32(ticks))
    }

    /// The RTP timestamp that the publisher's clock shows at `now`, one way delay left out.
    pub fn rtp_at(&self, now: Time) -> u32 {
        let ahead = i128::from(now.as_nanos()) - i128::from(self.at.as_nanos());
        self.rtp.wrapping_add(low_u32((ahead * self.rate()).div_euclid(1_000_000_000)))
    }

    /// The publisher's wall clock at `now`, one way delay left out.
    pub fn ntp_at(&self, now: Time) -> u64 {
        if now >= self.at {
            self.ntp.wrapping_add(ntp_span(now.since(self.at)))
        } else {
            self.ntp.wrapping_sub(ntp_span(self.at.since(now)))
        }
    }

    fn rate(&self) -> i128 {
        i128::from(self.clock_rate.max(1))
    }
}

/// A span in NTP units of 2^-32 s, rounded down; wraps after 136 years as NTP does.
pub fn ntp_span(span: Duration) -> u64 {
    let fraction = (u64::from(span.subsec_nanos()) << 32) / 1_000_000_000;
    (span.as_secs() << 32) | fraction
}

/// The middle 32 bits of an NTP timestamp: seconds modulo 65536 and a fraction of 2^-16 s (RFC 3550 §6.4.1, LSR).
#[allow(clippy::cast_possible_truncation)]
pub const fn ntp_middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// Ticks of a clock of `rate` per second from [`Time::ZERO`] to `at`, modulo 2^32.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn ticks_at(at: Time, rate: u32) -> u32 {
    let (secs, rest) = (at.as_nanos() / 1_000_000_000, at.as_nanos() % 1_000_000_000);
    (secs.wrapping_mul(u64::from(rate)).wrapping_add(rest * u64::from(rate) / 1_000_000_000)) as u32
}

/// The low bits of a difference, for wrapping arithmetic.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn low_u64(n: i128) -> u64 {
    n as u64
}

/// The low bits of a difference, for wrapping arithmetic.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
const fn low_u32(n: i128) -> u32 {
    n as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_is_a_second_in_every_clock() {
        let at = Time::from_millis(4000);
        let clock = ClockMap { ntp: 0xFFFF_FFFF_8000_0000, rtp: u32::MAX - 10, at, clock_rate: 90_000 };
        let later = clock.rtp.wrapping_add(90_000);
        assert_eq!(clock.rtp_to_ntp(later), clock.ntp.wrapping_add(1 << 32), "over the wraps of both");
        assert_eq!(clock.ntp_to_rtp(clock.ntp.wrapping_add(1 << 32)), later);
        assert_eq!(clock.rtp_to_ntp(clock.rtp.wrapping_sub(45_000)), clock.ntp - (1 << 31));
        assert_eq!(clock.rtp_at(at + Duration::from_secs(1)), later);
        assert_eq!(clock.rtp_at(Time::from_millis(3000)), clock.rtp.wrapping_sub(90_000));
        assert_eq!(clock.ntp_at(at + Duration::from_millis(1500)), clock.ntp.wrapping_add(3 << 31));
        assert_eq!(clock.ntp_at(Time::from_millis(3500)), clock.ntp - (1 << 31));
    }

    #[test]
    fn ticks_do_not_overflow() {
        assert_eq!(ticks_at(Time::from_millis(1500), 48_000), 72_000);
        let year = 365 * 86_400_u64;
        let expected = u32::try_from(year * 90_000 % (1 << 32)).unwrap();
        assert_eq!(ticks_at(Time::from_millis(year * 1000), 90_000), expected);
        let _ = ticks_at(Time::NEVER, u32::MAX);
    }

    proptest! {
        #[test]
        fn a_timestamp_survives_the_way_to_ntp_and_back(
            ntp in any::<u64>(), rtp in any::<u32>(), ts in any::<u32>(), rate in 1u32..200_000,
        ) {
            let clock = ClockMap { ntp, rtp, at: Time::ZERO, clock_rate: rate };
            // Half the range of a slow clock is more seconds than NTP has.
            prop_assume!(i64::from(ts.wrapping_sub(rtp).cast_signed()).abs() / i64::from(rate) < 1 << 30);
            prop_assert_eq!(clock.ntp_to_rtp(clock.rtp_to_ntp(ts)), ts);
        }
    }
}
