//! Do sender reports place frames where their publisher captured them?

use rtpcore_core::Time;
use rtpcore_core::rtp::ClockMap;

use crate::media::Track;

/// Ticks that rounding may cost: the publisher's, the router's, and the wall clock's.
const TOLERANCE: i64 = 3;

/// The frame that was sent last on one copy, and a report that is still to be held against one.
#[derive(Default)]
pub struct ClockOracle {
    last: Option<Placed>,
    /// A report that does not fit the last frame: it must fit the one behind a switch, which leaves in the same turn or is
    /// the next.
    open: Option<ClockMap>,
}

#[derive(Clone, Copy)]
struct Placed {
    track: u16,
    timestamp: u32,
    captured_at: Time,
}

impl ClockOracle {
    /// Takes a report's two clocks.
    pub fn handle_report(
        &mut self,
        now: Time,
        ntp: u64,
        rtp: u32,
        tracks: &[Track],
        wall_of: &dyn Fn(u16, Time) -> u64,
    ) -> Result<(), String> {
        let mut clock = ClockMap { ntp, rtp, at: now, clock_rate: 0 };
        let Some(last) = self.last else {
            // Written in one turn with the first packet, and ahead of it.
            self.open = Some(clock);
            return Ok(());
        };
        clock.clock_rate = tracks[usize::from(last.track)].media.clock_rate();
        if let Some(open) = self.open.take() {
            return Err(format!("{} ticks off, and another report already", off(&open, last, wall_of)));
        }
        if off(&clock, last, wall_of).abs() > TOLERANCE {
            self.open = Some(clock);
        }
        Ok(())
    }

    /// Takes a packet's timestamp and when its frame was captured.
    pub fn handle_packet(
        &mut self,
        now: Time,
        track: u16,
        timestamp: u32,
        captured_at: Time,
        tracks: &[Track],
        wall_of: &dyn Fn(u16, Time) -> u64,
    ) -> Result<(), String> {
        let placed = Placed { track, timestamp, captured_at };
        self.last = Some(placed);
        let Some(open) = self.open.take() else { return Ok(()) };
        let clock = ClockMap { clock_rate: tracks[usize::from(track)].media.clock_rate(), ..open };
        match off(&clock, placed, wall_of) {
            ticks if ticks.abs() <= TOLERANCE => Ok(()),
            // What was taken before the switch leaves in the same turn, between the report and what the report is about.
            _ if open.at == now => {
                self.open = Some(open);
                Ok(())
            }
            ticks => Err(format!("a report is {ticks} ticks off")),
        }
    }
}

/// How many ticks later than it was captured a report places a frame.
fn off(clock: &ClockMap, placed: Placed, wall_of: &dyn Fn(u16, Time) -> u64) -> i64 {
    let told = clock.rtp_to_ntp(placed.timestamp);
    let wrong = told.wrapping_sub(wall_of(placed.track, placed.captured_at)).cast_signed();
    i64::try_from((i128::from(wrong) * i128::from(clock.clock_rate)) >> 32).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Media, Naming};

    fn tracks() -> Vec<Track> {
        vec![Track { number: 0, media: Media::H264, has_rtx: true, naming: Naming::Ssrc }]
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    fn wall(_: u16, at: Time) -> u64 {
        (7 << 32) + rtpcore_core::rtp::clock::ntp_span(at.since(Time::ZERO))
    }

    fn after(ticks: u32) -> Result<(), String> {
        let mut oracle = ClockOracle::default();
        oracle.handle_packet(at(500), 0, 1000, at(500), &tracks(), &wall)?;
        // A second later on both clocks, but for the ticks.
        oracle.handle_report(at(1500), wall(0, at(1500)), 91_000 + ticks, &tracks(), &wall)?;
        oracle.handle_packet(at(1501), 0, 1000 + 3000, Time::from_nanos(533_333_333), &tracks(), &wall)
    }

    #[test]
    fn a_report_is_right_to_the_tick_or_wrong() {
        assert_eq!(after(0), Ok(()));
        assert_eq!(after(3), Ok(()));
        assert!(after(90).is_err(), "a millisecond");
    }

    #[test]
    fn a_report_may_be_about_the_stream_that_begins_next() {
        let mut oracle = ClockOracle::default();
        oracle.handle_packet(at(500), 0, 1000, at(500), &tracks(), &wall).unwrap();
        oracle.handle_report(at(600), wall(0, at(600)), 50_000, &tracks(), &wall).unwrap();
        assert_eq!(oracle.handle_packet(at(600), 0, 4000, Time::from_nanos(533_333_333), &tracks(), &wall), Ok(()));
        assert_eq!(oracle.handle_packet(at(600), 0, 50_000, at(600), &tracks(), &wall), Ok(()));
        assert_eq!(oracle.handle_packet(at(633), 0, 53_000, Time::from_nanos(633_333_333), &tracks(), &wall), Ok(()));
    }

    #[test]
    fn a_report_that_no_stream_begins_for_is_wrong() {
        let mut oracle = ClockOracle::default();
        oracle.handle_packet(at(500), 0, 1000, at(500), &tracks(), &wall).unwrap();
        oracle.handle_report(at(600), wall(0, at(600)), 50_000, &tracks(), &wall).unwrap();
        assert_eq!(oracle.handle_packet(at(600), 0, 4000, Time::from_nanos(533_333_333), &tracks(), &wall), Ok(()));
        assert!(oracle.handle_packet(at(601), 0, 7000, Time::from_nanos(566_666_666), &tracks(), &wall).is_err());
    }
}
