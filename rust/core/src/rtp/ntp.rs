//! Wall-clock time as RTP writes it: NTP timestamps, whole and compact (RFC 3550 §4).

use core::time::Duration;

/// Seconds since 1900 in 32.32 fixed point; its most significant part wraps in 2036.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NtpTime(pub u64);

impl NtpTime {
    /// The point `since_epoch` after the Unix epoch, 1970. Never fails: the era wraps, as the RFC has it.
    pub const fn from_unix(since_epoch: Duration) -> Self {
        let seconds = since_epoch.as_secs().wrapping_add(UNIX_EPOCH_SECONDS);
        let fraction = ((since_epoch.subsec_nanos() as u64) << 32) / 1_000_000_000;
        Self(seconds << 32 | fraction)
    }

    /// The middle 32 bits: 1/65536 s, wrapping every 18 hours. What LSR and LRR carry (RFC 3550 §6.4.1).
    #[allow(clippy::cast_possible_truncation)]
    pub const fn compact(self) -> u32 {
        (self.0 >> 16) as u32
    }
}

/// From 1 January 1900 to 1 January 1970.
const UNIX_EPOCH_SECONDS: u64 = 2_208_988_800;

/// A span in 1/65536 s, as DLSR and DLRR carry it (RFC 3550 §6.4.1). 65535.99 s and more read as that.
pub fn to_compact(span: Duration) -> u32 {
    u32::try_from((span.as_nanos() << 16) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// The span that a number of 1/65536 s means, to the nanosecond below.
pub const fn from_compact(units: u32) -> Duration {
    Duration::from_nanos(((units as u64) * 1_000_000_000) >> 16)
}

/// The round-trip time that an answer arriving at `now` proves: since our report, less the time the peer held it
/// (RFC 3550 §6.4.1, RFC 3611 §4.5).
///
/// None where the peer has not heard our report yet (`last_report` 0). Zero where clocks or the peer's arithmetic make
/// it negative, by up to half the range of nine hours.
pub fn round_trip(now: NtpTime, last_report: u32, delay: u32) -> Option<Duration> {
    if last_report == 0 {
        return None;
    }
    let units = now.compact().wrapping_sub(last_report).wrapping_sub(delay);
    Some(if units > u32::MAX / 2 { Duration::ZERO } else { from_compact(units) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_rfcs_example_of_a_round_trip() {
        // RFC 3550 §6.4.1 figure 2: A = 0xb710:8000, LSR = 0xb705:2000, DLSR = 0x0005:4000, delay = 6.125 s.
        let now = NtpTime(0xb44d_b710_8000_0000);
        assert_eq!(now.compact(), 0xb710_8000);
        assert_eq!(round_trip(now, 0xb705_2000, 0x0005_4000), Some(Duration::from_millis(6125)));
    }

    #[test]
    fn a_round_trip_needs_a_report_and_is_never_negative() {
        assert_eq!(round_trip(NtpTime(1 << 32), 0, 0), None);
        assert_eq!(round_trip(NtpTime(1 << 32), 0x1_0000, 1), Some(Duration::ZERO));
        // Over the wrap of the compact form.
        assert_eq!(round_trip(NtpTime(0x8000_0000), 0xFFFF_8000, 0), Some(Duration::from_secs(1)));
    }

    #[test]
    fn the_unix_epoch_is_seventy_years_after_1900() {
        assert_eq!(NtpTime::from_unix(Duration::ZERO), NtpTime(0x83AA_7E80 << 32));
        assert_eq!(NtpTime::from_unix(Duration::from_millis(500)), NtpTime(0x83AA_7E80_8000_0000));
    }

    proptest! {
        #[test]
        fn compact_spans_survive(units: u32) {
            let back = to_compact(from_compact(units));
            prop_assert!(units - back <= 1, "{units} came back as {back}");
        }

        #[test]
        fn any_unix_time_has_an_ntp_time(secs: u64, nanos in 0..1_000_000_000_u32) {
            let time = NtpTime::from_unix(Duration::new(secs, nanos));
            let fraction = ((time.0 & 0xFFFF_FFFF) * 1_000_000_000) >> 32;
            prop_assert!(u64::from(nanos) - fraction <= 1);
        }
    }

    #[test]
    fn spans_beyond_the_range_read_as_its_end() {
        assert_eq!(to_compact(Duration::from_secs(65536)), u32::MAX);
        assert_eq!(to_compact(Duration::MAX), u32::MAX);
        assert_eq!(to_compact(Duration::from_secs(65535)), 65535 << 16);
    }
}
