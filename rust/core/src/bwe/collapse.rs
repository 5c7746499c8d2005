//! A link that lets through a fraction of what is sent, before its short queue shows any delay.
//!
//! ```text
//!  burst of loss    ++++++++xxxxxxxxxxx+++++++    one hole: nothing to act on, repair fills it
//!  too small a link ++++++++xxxxx+xxxxxxx+xxxx    holes between single arrivals: what arrives is all there is
//! ```
//!
//! libwebrtc has no such box: its loss estimate takes seconds there, because it weighs 250 ms of ruin against 3.5 s of peace.

use std::collections::VecDeque;

use super::number::{float, micros, seconds};
use crate::time::Time;

/// Packets that are looked at, at least, over this many microseconds: two feedbacks or three.
const MIN_PACKETS: usize = 24;
const MIN_SPAN: i64 = 150_000;
/// Packets that are kept: 150 ms of 8 Mbit/s.
const MAX_PACKETS: usize = 128;
/// The share lost from which a link counts as collapsed: no repair makes up for it.
const SHARE: f64 = 0.6;
/// Packets lost in a row that make a hole, and how many holes: loss in bursts makes one at a time.
const HOLE: usize = 4;
const HOLES: usize = 2;

#[derive(Clone, Copy, Debug)]
struct Fate {
    sent: i64,
    bytes: u32,
    is_lost: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Collapse {
    fates: VecDeque<Fate>,
    /// What was sent before the last reaction says nothing new.
    since: Time,
}

impl Collapse {
    /// Notes what became of a packet, in the order they were sent.
    pub(super) fn add(&mut self, sent_at: Time, bytes: u32, is_lost: bool) {
        if sent_at < self.since {
            return;
        }
        if self.fates.len() >= MAX_PACKETS {
            self.fates.pop_front();
        }
        self.fates.push_back(Fate { sent: micros(sent_at), bytes, is_lost });
    }

    /// What gets through, in bit/s, where the link has collapsed.
    pub(super) fn poll(&mut self, now: Time) -> Option<f64> {
        let newest = self.fates.back()?;
        let (mut packets, mut lost, mut received_bytes) = (0_usize, 0_usize, 0);
        let (mut run, mut holes) = (0, 0);
        let mut span = 0;
        for fate in self.fates.iter().rev() {
            if packets >= MIN_PACKETS && span >= MIN_SPAN {
                break;
            }
            span = newest.sent - fate.sent;
            packets += 1;
            if fate.is_lost {
                (lost, run) = (lost + 1, run + 1);
                holes += usize::from(run == HOLE);
            } else {
                run = 0;
                received_bytes += u64::from(fate.bytes);
            }
        }
        let is_enough = packets >= MIN_PACKETS && span >= MIN_SPAN;
        if !is_enough || holes < HOLES || float(lost as u64) < SHARE * float(packets as u64) {
            return None;
        }
        self.since = now;
        self.fates.clear();
        Some(float(received_bytes) * 8.0 / seconds(span))
    }
}
