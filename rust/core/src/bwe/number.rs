//! Between the integers of the border and the floating point of the estimators: rates inside are bits per second as `f64`.

use core::time::Duration;

use crate::time::Time;
use crate::units::Bitrate;

/// A count, a size or a rate; exact below 2^53.
#[allow(clippy::cast_precision_loss)]
pub(super) const fn float(n: u64) -> f64 {
    n as f64
}

/// Microseconds as seconds.
#[allow(clippy::cast_precision_loss)]
pub(super) const fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}

/// Rounded down; what is below zero or not a number is zero, what is beyond 64 bits their end.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) const fn bitrate(bps: f64) -> Bitrate {
    Bitrate::from_bps(bps as u64)
}

/// In bits per second.
pub(super) const fn bps(bitrate: Bitrate) -> f64 {
    float(bitrate.as_bps())
}

/// Whole microseconds since the start: 292,000 years fit.
pub(super) const fn micros(time: Time) -> i64 {
    (time.as_nanos() / 1000).cast_signed()
}

/// How long `bytes` take at `rate` bits per second, at most a minute.
pub(super) fn span_of(bytes: f64, rate: f64) -> Duration {
    Duration::from_secs_f64((bytes * 8.0 / rate.max(1.0)).clamp(0.0, 60.0))
}
