//! Who speaks: what clients say of the loudness of their packets (RFC 6464), added up in windows of some hundred milliseconds.
//!
//! A packet costs one look at a table and three additions; what needs fractions is done once in a window. Telling apart who
//! speaks loudest, and to whom that is news, is Python's.

use core::time::Duration;

use crate::time::Time;

/// What counts as speaking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a window is. A shorter one is quicker to show who speaks, and restless.
    pub interval: Duration,
    /// The softest level of a packet that counts, in -dBov: 0 is the loudest there is, 127 silence.
    pub softest: u8,
    /// How much of a window such packets must fill, in percent: a cough does not.
    pub least_percent: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self { interval: Duration::from_millis(400), softest: 35, least_percent: 40 }
    }
}

/// After so many windows without any packet a track counts as silent: one may be lost to the network.
const STALE_WINDOWS: u8 = 2;

/// The weight of a new window in the running mean over two of them: 2 / (2 + 1).
const NEW_WEIGHT: f64 = 2.0 / 3.0;

/// Until two packets have told: 20 ms at 48 kHz, what browsers send.
const USUAL_FRAME: u32 = 960;

/// Amplitudes by level, 10^(-level/20), in 2^-16ths of full scale.
const AMPLITUDES: [u32; 128] = amplitudes();

/// The loudness of one track.
#[derive(Clone, Debug)]
pub struct Meter {
    settings: Settings,
    clock_rate: u32,
    /// When the window ends, never between two phrases.
    ends_at: Time,
    frames: u32,
    active: u32,
    /// Of the active frames.
    amplitude: u64,
    /// The timestamp of the frame that came last, the least step in this window, and in the last that had one.
    timestamp: u32,
    least_step: u32,
    frame_len: u32,
    stale: u8,
    mean: f64,
    eighths: u8,
}

impl Meter {
    /// Of a track with this clock rate, silent so far.
    pub fn new(settings: Settings, clock_rate: u32) -> Self {
        Self {
            settings,
            clock_rate,
            ends_at: Time::NEVER,
            frames: 0,
            active: 0,
            amplitude: 0,
            timestamp: 0,
            least_step: longest_frame(clock_rate),
            frame_len: USUAL_FRAME,
            stale: 0,
            mean: 0.0,
            eighths: 0,
        }
    }

    /// Takes a packet's level in -dBov and its timestamp.
    #[inline]
    pub fn handle_packet(&mut self, now: Time, level: u8, timestamp: u32) {
        if self.ends_at == Time::NEVER {
            self.ends_at = now + self.settings.interval;
            self.timestamp = timestamp;
        }
        self.frames += 1;
        if level <= self.settings.softest {
            self.active += 1;
            self.amplitude += u64::from(AMPLITUDES.get(usize::from(level & 0x7F)).copied().unwrap_or(0));
        }
        let step = timestamp.wrapping_sub(self.timestamp);
        // Zero, a repetition, wraps to the largest; so does the step back to a packet that comes late.
        if step.wrapping_sub(1) < self.least_step - 1 {
            self.least_step = step;
        }
        self.timestamp = timestamp;
    }

    /// When the window ends; never while there is silence.
    pub fn deadline(&self) -> Time {
        self.ends_at
    }

    /// Ends the window if it is over: the new level in eighths, 0 to 8, if it is another than before. 0 is silence.
    pub fn poll(&mut self, now: Time) -> Option<u8> {
        if !self.ends_at.is_due(now) {
            return None;
        }
        let longest = longest_frame(self.clock_rate);
        if self.least_step < longest {
            self.frame_len = self.least_step;
        }
        self.stale = if self.frames == 0 { self.stale.saturating_add(1) } else { 0 };
        if self.frames > 0 {
            self.mean = if self.is_active() { self.mean + (self.loudness() - self.mean) * NEW_WEIGHT } else { 0.0 };
        } else if self.stale >= STALE_WINDOWS {
            self.mean = 0.0;
        }
        let eighths = in_eighths(self.mean);
        let next = self.ends_at + self.settings.interval;
        self.ends_at = if self.frames == 0 && eighths == 0 {
            Time::NEVER
        } else if next.is_due(now) {
            // Whoever looks late does not look twice at once.
            now + self.settings.interval
        } else {
            next
        };
        (self.frames, self.active, self.amplitude, self.least_step) = (0, 0, 0, longest);
        (core::mem::replace(&mut self.eighths, eighths) != eighths).then_some(eighths)
    }

    /// Whether enough of the window was filled with frames that count.
    fn is_active(&self) -> bool {
        let filled = u128::from(self.active) * u128::from(self.frame_len) * 100 * 1_000_000_000;
        let wanted =
            self.settings.interval.as_nanos() * u128::from(self.clock_rate) * u128::from(self.settings.least_percent);
        self.active > 0 && filled >= wanted
    }

    /// The mean amplitude of the frames that count, 0 to 1.
    #[allow(clippy::cast_precision_loss)] // 16 bits and the frames of one window
    fn loudness(&self) -> f64 {
        self.amplitude as f64 / 65536.0 / f64::from(self.active.max(1))
    }
}

/// A longer step than Opus has frames (RFC 6716 §2.1.4: 120 ms) is a pause.
fn longest_frame(clock_rate: u32) -> u32 {
    (clock_rate / 8).max(2)
}

/// Rounds up to eighths.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 0 to 8
fn in_eighths(mean: f64) -> u8 {
    (mean.clamp(0.0, 1.0) * 8.0).ceil() as u8
}

// 0 to 2^16, and indexes that the compiler checks, since the table is made there.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::indexing_slicing)]
const fn amplitudes() -> [u32; 128] {
    let (mut table, mut level, mut amplitude) = ([0; 128], 0, 65536.0f64);
    while level < 128 {
        table[level] = amplitude as u32;
        // 10^(-1/20)
        amplitude *= 0.891_250_938_133_745_6;
        level += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays frames of 20 ms from `from` to `to` ms, at this level; what was told, with its time in ms.
    fn play(meter: &mut Meter, from: u64, to: u64, level: impl Fn(u64) -> Option<u8>) -> Vec<(u64, u8)> {
        let mut told = Vec::new();
        for ms in from..to {
            let now = Time::from_millis(ms);
            if meter.deadline().is_due(now) {
                told.extend(meter.poll(now).map(|eighths| (ms, eighths)));
            }
            if ms % 20 == 0
                && let Some(level) = level(ms)
            {
                meter.handle_packet(now, level, u32::try_from(ms * 48).unwrap());
            }
        }
        told
    }

    fn meter() -> Meter {
        Meter::new(Settings::default(), 48_000)
    }

    #[test]
    fn whoever_speaks_is_told_when_it_changes_and_when_it_ends() {
        let mut meter = meter();
        // 10^(-20/20) = 0.1; two thirds of it after one window: one eighth. Full scale: 0.69, then 0.9, 0.97, 0.99.
        assert_eq!(play(&mut meter, 0, 2000, |_| Some(20)), [(400, 1)]);
        assert_eq!(play(&mut meter, 2000, 4000, |_| Some(0)), [(2400, 6), (2800, 8)]);
        assert_eq!(play(&mut meter, 4000, 5000, |_| Some(127)), [(4400, 0)], "silence is no level");
    }

    #[test]
    fn soft_packets_do_not_count() {
        assert_eq!(play(&mut meter(), 0, 2000, |_| Some(36)), []);
        assert_eq!(play(&mut meter(), 0, 1000, |_| Some(35)), [(400, 1)]);
    }

    #[test]
    fn a_window_must_be_filled_to_two_fifths() {
        // 8 of 20 frames are 40 %, 7 are not.
        assert_eq!(play(&mut meter(), 0, 500, |ms| Some(if ms % 400 < 160 { 10 } else { 60 })), [(400, 2)]);
        assert_eq!(play(&mut meter(), 0, 500, |ms| Some(if ms % 400 < 140 { 10 } else { 60 })), []);
        // One loud frame among the sparse ones of discontinuous transmission is a noise.
        assert_eq!(play(&mut meter(), 0, 2000, |ms| (ms % 400 == 0).then_some(5)), []);
    }

    #[test]
    fn frames_may_be_longer() {
        assert_eq!(play(&mut meter(), 0, 450, |ms| (ms % 60 == 0).then_some(10)), [(400, 2)]);
        // 3 of 60 ms are 180 ms.
        assert_eq!(play(&mut meter(), 0, 450, |ms| (ms % 60 == 0 && ms < 180).then_some(10)), [(400, 2)]);
        assert_eq!(play(&mut meter(), 0, 450, |ms| (ms % 60 == 0 && ms < 120).then_some(10)), []);
    }

    #[test]
    fn a_track_that_falls_silent_is_told_after_two_windows_and_wakes_nobody_then() {
        let mut meter = meter();
        assert_eq!(play(&mut meter, 0, 401, |ms| (ms < 400).then_some(10)), [(400, 2)]);
        assert_eq!(play(&mut meter, 401, 5000, |_| None), [(1200, 0)]);
        assert_eq!(meter.deadline(), Time::NEVER);
        assert_eq!(play(&mut meter, 5000, 5401, |_| Some(10)), [(5400, 2)], "and it may begin again");
        // Nothing for one window is the network's fault.
        assert_eq!(play(&mut meter, 5401, 7000, |ms| (!(5800..6200).contains(&ms)).then_some(10)).len(), 1);
    }

    #[test]
    fn what_comes_late_or_twice_makes_frames_no_shorter() {
        let mut meter = meter();
        for (ms, timestamp) in [(0, 9600u32), (20, 9600), (40, 8640), (60, 9600), (80, 10_560)] {
            meter.handle_packet(Time::from_millis(ms), 10, timestamp);
        }
        assert_eq!(meter.least_step, 960);
        assert_eq!(meter.poll(Time::from_millis(5000)), None, "5 of 20 frames");
        assert_eq!(meter.deadline(), Time::from_millis(5400), "from now on, not from long ago");
    }

    #[test]
    fn amplitudes_are_those_of_decibels() {
        assert_eq!((AMPLITUDES[0], AMPLITUDES[20], AMPLITUDES[40]), (65536, 6553, 655));
        assert_eq!([0.0, 0.001, 0.125, 0.126, 1.0].map(in_eighths), [0, 1, 1, 2, 8]);
    }
}
