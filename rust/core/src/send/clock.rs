//! Spans and distances on 32-bit RTP clocks, in integers.

use core::time::Duration;

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
pub(super) const fn wrap(number: u64) -> u32 {
    number as u32
}
