//! What is heard of one copy of audio: a jitter buffer that plays 20 ms at a time, and conceals what is not there in time.
//!
//! After NetEq: where nothing has come the delay grows by what was concealed; where more waits than the delays of the last
//! seconds make necessary, a frame is squeezed in, which nobody hears.

use core::time::Duration;
use std::collections::{BTreeSet, VecDeque};

use rtpcore_core::Time;

/// Of a frame.
const FRAME: Duration = Duration::from_millis(20);
/// Ticks of a frame.
const TICKS: u32 = 960;
/// What the buffer holds at least, as Chromium shows it on a clean link.
const LEAST: Duration = Duration::from_millis(60);
/// How much more than that may wait before a frame is squeezed in.
const SLACK: Duration = Duration::from_millis(40);
/// For how long delays are remembered.
const MEMORY: Duration = Duration::from_secs(3);
/// Between two frames that are squeezed in.
const SQUEEZE: Duration = Duration::from_millis(200);

/// See the module.
pub(super) struct JitterBuffer {
    /// The timestamp of frame 0, and when it came.
    first: Option<(u32, Time)>,
    /// Frames that came and were not played.
    frames: BTreeSet<i64>,
    next: i64,
    pub play_at: Time,
    squeezed_at: Time,
    /// When packets came, and how late against the first.
    delays: VecDeque<(Time, i64)>,
    pub played: u64,
    pub concealed: u64,
    /// The longest time in which no packet came.
    pub silence: Duration,
    came_at: Option<Time>,
}

impl JitterBuffer {
    pub(super) fn new() -> Self {
        Self {
            first: None,
            frames: BTreeSet::new(),
            next: 0,
            play_at: Time::NEVER,
            squeezed_at: Time::ZERO,
            delays: VecDeque::new(),
            played: 0,
            concealed: 0,
            silence: Duration::ZERO,
            came_at: None,
        }
    }

    /// Takes a packet with the timestamps of the frames in it, its own first.
    pub(super) fn handle(&mut self, now: Time, timestamps: &[u32]) {
        let Some(&own) = timestamps.first() else { return };
        self.silence = self.silence.max(self.came_at.map_or(Duration::ZERO, |at| now.since(at)));
        self.came_at = Some(now);
        let (first, first_at) = *self.first.get_or_insert_with(|| {
            self.play_at = now + LEAST;
            (own, now)
        });
        let number = |timestamp: u32| i64::from(timestamp.wrapping_sub(first).cast_signed()) / i64::from(TICKS);
        let late = now.since(first_at).as_millis() as i64 - number(own) * 20;
        self.delays.push_back((now, late));
        while self.delays.front().is_some_and(|(at, _)| (*at + MEMORY).is_due(now)) {
            self.delays.pop_front();
        }
        self.frames.extend(timestamps.iter().map(|&it| number(it)).filter(|&it| it >= self.next));
    }

    /// Plays what is due.
    pub(super) fn handle_timeout(&mut self, now: Time) {
        while self.play_at.is_due(now) {
            let at = self.play_at;
            self.play_at = at + FRAME;
            self.played += 1;
            if self.frames.remove(&self.next) {
                self.next += 1;
            } else {
                self.concealed += 1;
                // With something behind it the frame is lost, else it is late and the buffer waits for it.
                self.next += i64::from(!self.frames.is_empty());
            }
            let waits = FRAME * self.frames.len() as u32;
            if waits > self.wanted() + SLACK && (self.squeezed_at + SQUEEZE).is_due(at) {
                self.squeezed_at = at;
                self.frames.remove(&self.next);
                self.next += 1;
            }
        }
    }

    /// What should wait, by the delays of late.
    fn wanted(&self) -> Duration {
        let late = self.delays.iter().map(|(_, late)| *late);
        let spread = late.clone().max().unwrap_or(0) - late.min().unwrap_or(0);
        LEAST.max(Duration::from_millis(spread.max(0) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_concealed_and_what_was_repeated_is_not() {
        let mut buffer = JitterBuffer::new();
        for n in 0..100_u32 {
            let now = Time::from_millis(u64::from(n) * 20);
            buffer.handle_timeout(now);
            match n {
                10 | 30 => {}
                31 => buffer.handle(now, &[n * 960, (n - 1) * 960]),
                _ => buffer.handle(now, &[n * 960]),
            }
        }
        assert_eq!((buffer.concealed, buffer.played), (1, 97));
    }

    #[test]
    fn a_delay_is_concealed_once_and_taken_back_unheard() {
        let mut buffer = JitterBuffer::new();
        for n in 0..1000_u32 {
            let late = if (100..150).contains(&n) { 200 } else { 0 };
            let now = Time::from_millis(u64::from(n) * 20 + late);
            buffer.handle_timeout(now);
            buffer.handle(now, &[n * 960]);
        }
        assert!((8..=11).contains(&buffer.concealed), "{}", buffer.concealed);
        assert!(buffer.frames.len() < 8, "{}", buffer.frames.len());
    }
}
