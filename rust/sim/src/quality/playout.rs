//! What is seen of one copy of video, as libwebrtc counts it: whole frames whose references were decoded, in order; a freeze is
//! a gap between shown frames of more than three average ones, and than an average one and 150 ms (W3C webrtc-stats,
//! `freezeCount`).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rtpcore_core::{SeqNo, Time};

use super::source::Tag;

/// Gaps that are averaged.
const AVERAGED: usize = 30;
const LEAST_FREEZE: Duration = Duration::from_millis(150);
/// Frames that wait for parts or references; more are given up.
const MOST_WAITING: usize = 200;
/// Decoded frames that are remembered.
const MOST_KNOWN: usize = 600;

/// A frame that was shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub at: Time,
    pub encoding: u8,
}

/// A frame that is not whole, or waits.
struct Waiting {
    tag: Tag,
    parts: Vec<bool>,
    missing: usize,
    whole_at: Time,
    /// In microseconds since the first frame's, on its sender's clock.
    captured_us: i64,
}

/// When frames come, on their sender's clock: so that they can be held back for a while and shown as they were taken.
#[derive(Debug, Default)]
struct Clock {
    first: Option<u32>,
    /// The least that a frame's arrival lay behind its timestamp, in microseconds.
    least_us: Option<i64>,
    hold: Duration,
}

impl Clock {
    fn captured_us(&mut self, timestamp: u32) -> i64 {
        let first = *self.first.get_or_insert(timestamp);
        i64::from(timestamp.wrapping_sub(first).cast_signed()) * 100 / 9
    }

    /// A frame came as soon as this at least.
    fn note(&mut self, now: Time, captured_us: i64) {
        let behind = micros(now) - captured_us;
        self.least_us = Some(self.least_us.map_or(behind, |least| least.min(behind)));
    }

    /// When a frame is due that shall be held back.
    fn due_at(&self, captured_us: i64) -> Time {
        let Some(least) = self.least_us.filter(|_| !self.hold.is_zero()) else { return Time::ZERO };
        Time::from_nanos(u64::try_from((captured_us + least) * 1000).unwrap_or(0)) + self.hold
    }
}

fn micros(time: Time) -> i64 {
    (time.as_nanos() / 1000).cast_signed()
}

/// See the module.
pub(super) struct Playout {
    /// By the number of the first packet.
    waiting: BTreeMap<SeqNo, Waiting>,
    known: BTreeSet<(u8, u32)>,
    order: VecDeque<(u8, u32)>,
    /// The number that the next frame begins with, if none is missing.
    next: SeqNo,
    /// How long a frame waits for those before it: libwebrtc's jitter buffer covers a retransmission.
    patience: Duration,
    clock: Clock,
    gaps: VecDeque<Duration>,
    pub shown: Vec<Shown>,
    pub frozen: Duration,
    pub longest: Duration,
}

impl Playout {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            waiting: BTreeMap::new(),
            known: BTreeSet::new(),
            order: VecDeque::new(),
            next: SeqNo(0),
            patience,
            clock: Clock::default(),
            gaps: VecDeque::new(),
            shown: Vec::new(),
            frozen: Duration::ZERO,
            longest: Duration::ZERO,
        }
    }

    /// Holds pictures back for at least so long from now on (the playout delay extension).
    pub(super) fn hold(&mut self, least: Duration) {
        self.clock.hold = least;
    }

    /// Takes a packet, in whatever order.
    pub(super) fn handle(&mut self, now: Time, seq: SeqNo, timestamp: u32, tag: Tag) {
        let first = SeqNo(seq.0.saturating_sub(u64::from(tag.part)));
        if first < self.next {
            return;
        }
        let count = usize::from(tag.parts);
        let captured_us = self.clock.captured_us(timestamp);
        let frame = self.waiting.entry(first).or_insert_with(|| Waiting {
            tag,
            parts: vec![false; count],
            missing: count,
            whole_at: Time::NEVER,
            captured_us,
        });
        if let Some(part) = frame.parts.get_mut(usize::from(tag.part)).filter(|part| !**part) {
            *part = true;
            frame.missing -= 1;
            if frame.missing == 0 {
                frame.whole_at = now;
                self.clock.note(now, captured_us);
            }
        }
        while self.waiting.len() > MOST_WAITING {
            self.waiting.pop_first();
        }
    }

    /// Shows what can be shown now. Returns the number of the first packet of the newest shown: nothing before it is of use.
    pub(super) fn show(&mut self, now: Time) -> Option<SeqNo> {
        let mut shown = None;
        while let Some((first, at)) = self.candidate() {
            if !at.is_due(now) {
                break;
            }
            let Some(frame) = self.waiting.remove(&first) else { break };
            self.waiting = self.waiting.split_off(&first);
            self.next = first.plus(u64::from(frame.tag.parts));
            self.remember((frame.tag.encoding, frame.tag.frame));
            self.count(now);
            self.shown.push(Shown { at: now, encoding: frame.tag.encoding });
            shown = Some(first);
        }
        shown
    }

    /// When the next frame is to be shown, as far as is known.
    pub(super) fn poll_timeout(&self) -> Time {
        self.candidate().map_or(Time::NEVER, |(_, at)| at)
    }

    /// What is still missing at the end is a freeze too.
    pub(super) fn finish(&mut self, now: Time) {
        self.count(now);
    }

    fn candidate(&self) -> Option<(SeqNo, Time)> {
        let is_decodable = |frame: &Waiting| {
            let has = |reference| self.known.contains(&(frame.tag.encoding, reference));
            frame.missing == 0 && frame.tag.references().all(has)
        };
        let (&first, frame) = self.waiting.iter().find(|(_, frame)| is_decodable(frame))?;
        let is_next = first == self.next || self.shown.is_empty();
        let at = if is_next { frame.whole_at } else { frame.whole_at + self.patience };
        Some((first, at.max(self.clock.due_at(frame.captured_us))))
    }

    fn remember(&mut self, id: (u8, u32)) {
        self.known.insert(id);
        self.order.push_back(id);
        if self.order.len() > MOST_KNOWN
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    fn count(&mut self, now: Time) {
        let Some(last) = self.shown.last() else { return };
        let gap = now.since(last.at);
        self.longest = self.longest.max(gap);
        if !self.gaps.is_empty() {
            let average = self.gaps.iter().sum::<Duration>() / self.gaps.len() as u32;
            if gap >= (average * 3).max(average + LEAST_FREEZE) {
                self.frozen += gap;
            }
        }
        self.gaps.push_back(gap);
        if self.gaps.len() > AVERAGED {
            self.gaps.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(frame: u32, part: u16, parts: u16) -> Tag {
        Tag::of_chain(frame, part, parts)
    }

    fn at(ms: u64) -> Time {
        Time::from_millis(ms)
    }

    #[test]
    fn a_gap_of_three_frames_is_no_freeze_and_one_of_six_is() {
        let mut playout = Playout::new(Duration::ZERO);
        let mut show = |ms, n: u64| {
            playout.handle(at(ms), SeqNo(100 + n), 0, tag(n as u32, 0, 1));
            playout.show(at(ms));
            playout.frozen.as_millis()
        };
        (0..40).for_each(|n| assert_eq!(show(n * 33, n), 0));
        assert_eq!(show(39 * 33 + 99, 40), 0);
        assert_eq!(show(39 * 33 + 99 + 198, 41), 198, "the whole gap");
    }

    #[test]
    fn what_is_held_back_is_shown_at_the_pace_it_was_taken() {
        let mut playout = Playout::new(Duration::ZERO);
        playout.hold(Duration::from_millis(100));
        let handle = |playout: &mut Playout, ms, n: u32| {
            playout.handle(at(ms), SeqNo(100 + u64::from(n)), n * 3000, tag(n, 0, 1))
        };
        handle(&mut playout, 1000, 0);
        // The second comes late, the third before its time.
        handle(&mut playout, 1090, 1);
        handle(&mut playout, 1091, 2);
        let mut shown = Vec::new();
        for ms in 1000..1300 {
            let before = playout.shown.len();
            playout.show(at(ms));
            shown.extend((before..playout.shown.len()).map(|_| ms));
        }
        assert_eq!(shown, [1100, 1134, 1167]);
    }

    #[test]
    fn a_frame_waits_for_its_reference_and_for_its_parts() {
        let mut playout = Playout::new(Duration::from_millis(50));
        playout.handle(at(0), SeqNo(100), 0, tag(0, 0, 1));
        playout.show(at(0));
        playout.handle(at(33), SeqNo(103), 0, tag(2, 0, 1));
        playout.handle(at(34), SeqNo(102), 0, tag(1, 1, 2));
        playout.show(at(200));
        assert_eq!(playout.shown.len(), 1, "the second lacks its first part, the third the second");
        playout.handle(at(210), SeqNo(101), 0, tag(1, 0, 2));
        assert_eq!(playout.show(at(210)), Some(SeqNo(103)));
        assert_eq!(playout.shown.len(), 3);
    }

    #[test]
    fn a_keyframe_behind_a_hole_waits_for_what_may_still_come() {
        let mut playout = Playout::new(Duration::from_millis(50));
        playout.handle(at(0), SeqNo(100), 0, tag(0, 0, 1));
        playout.show(at(0));
        playout.handle(at(40), SeqNo(105), 0, Tag::of_chain(0, 0, 1));
        assert_eq!((playout.show(at(40)), playout.poll_timeout()), (None, at(90)));
        assert_eq!(playout.show(at(90)), Some(SeqNo(105)));
    }
}
