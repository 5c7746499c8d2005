//! Which packets are missing and when to ask for them again (generic NACK, RFC 4585 §6.2.1).

use core::time::Duration;

use super::sequence::WINDOW;
use crate::time::Time;
use crate::units::SeqNo;

/// Most numbers missing at a time: beyond it a keyframe is cheaper than the repair.
pub const MAX_MISSING: usize = 1000;
/// How often one packet is asked for.
pub const MAX_TRIES: u8 = 10;
/// A packet so late is of no use to a conversation.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(1);
/// This many packets after a missing one it counts as lost: networks seldom reorder further.
const REORDERED_PACKETS: u64 = 3;
/// ... or after so long, where the stream is too slow for the count.
const REORDERED_FOR: Duration = Duration::from_millis(10);
/// Shortest wait before asking again: on a local network the round trip is shorter than a browser's pacing.
const MIN_REPEAT: Duration = Duration::from_millis(20);
/// Wait before asking again while the round trip is not measured.
const DEFAULT_REPEAT: Duration = Duration::from_millis(100);

/// More is missing than is worth asking for: wish for a keyframe instead. The list is empty now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooManyMissing;

/// The missing packets of one stream, oldest first. Allocates once.
#[derive(Clone, Debug)]
pub struct NackList {
    missing: Vec<Missing>,
    newest: SeqNo,
    /// The oldest number never asked for.
    fresh: Option<SeqNo>,
    next_at: Time,
    gave_up: u64,
    asked: u64,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    seq: SeqNo,
    noticed_at: Time,
    ask_at: Time,
    tries: u8,
    /// Arrived meanwhile; taken out at the next sweep, so that an arrival costs no move of the list.
    is_here: bool,
}

impl NackList {
    /// Nothing missing.
    pub fn new() -> Self {
        Self {
            missing: Vec::with_capacity(MAX_MISSING),
            newest: SeqNo(0),
            fresh: None,
            next_at: Time::NEVER,
            gave_up: 0,
            asked: 0,
        }
    }

    /// The packet `seq` is newer than all before it, and `missing` numbers before it were skipped.
    ///
    /// Fails, and forgets everything, where more than [`MAX_MISSING`] would be missing.
    pub fn handle_newest(&mut self, now: Time, seq: SeqNo, missing: u16) -> Result<(), TooManyMissing> {
        self.newest = seq;
        let count = usize::from(missing);
        if self.missing.len() + count > MAX_MISSING {
            self.missing.retain(|entry| !entry.is_here);
            if self.missing.len() + count > MAX_MISSING {
                self.gave_up += self.missing.len() as u64 + u64::from(missing);
                self.clear();
                return Err(TooManyMissing);
            }
        }
        let first = seq.0.saturating_sub(u64::from(missing));
        for number in first..seq.0 {
            self.missing.push(Missing {
                seq: SeqNo(number),
                noticed_at: now,
                ask_at: now + REORDERED_FOR,
                tries: 0,
                is_here: false,
            });
        }
        if missing > 0 {
            self.fresh = self.fresh.or(Some(SeqNo(first)));
            self.next_at = self.next_at.min(now + REORDERED_FOR);
        }
        if self.fresh.is_some_and(|fresh| self.is_past_reordering(fresh)) {
            self.next_at = self.next_at.min(now);
        }
        Ok(())
    }

    /// The packet `seq` arrived after all, by itself or as a retransmission.
    pub fn handle_received(&mut self, seq: SeqNo) {
        if let Ok(index) = self.missing.binary_search_by_key(&seq, |entry| entry.seq)
            && let Some(entry) = self.missing.get_mut(index)
        {
            entry.is_here = true;
        }
    }

    /// A keyframe starts at `seq`: what is missing before it is needed by no decoder any more.
    pub fn handle_keyframe(&mut self, seq: SeqNo) {
        let moot = self.missing.partition_point(|entry| entry.seq < seq);
        self.missing.drain(..moot);
        self.fresh = self.missing.iter().find(|entry| !entry.is_here && entry.tries == 0).map(|entry| entry.seq);
        if self.missing.is_empty() {
            self.next_at = Time::NEVER;
        }
    }

    /// Writes the numbers to ask for at `now` into `out`, in order, and says how many; `rtt` is the round trip if known.
    ///
    /// What does not fit stays due.
    pub fn poll(&mut self, now: Time, rtt: Option<Duration>, out: &mut [SeqNo]) -> usize {
        if !self.next_at.is_due(now) {
            return 0;
        }
        let repeat = rtt.unwrap_or(DEFAULT_REPEAT).max(MIN_REPEAT);
        let newest = self.newest;
        let mut slots = out.iter_mut();
        let (mut written, mut gave_up) = (0, 0);
        let mut next_at = Time::NEVER;
        let mut fresh = None;
        self.missing.retain_mut(|entry| {
            if entry.is_here {
                return false;
            }
            let give_up_at = entry.noticed_at + GIVE_UP_AFTER;
            let is_spent = entry.tries >= MAX_TRIES && entry.ask_at.is_due(now);
            // Behind the window of the sequence it would be refused even if it came.
            if is_spent || give_up_at.is_due(now) || entry.seq.0 + WINDOW <= newest.0 {
                gave_up += 1;
                return false;
            }
            let is_due = entry.ask_at.is_due(now) || entry.tries == 0 && newest.0 >= entry.seq.0 + REORDERED_PACKETS;
            if is_due {
                if let Some(slot) = slots.next() {
                    *slot = entry.seq;
                    written += 1;
                    entry.tries += 1;
                    entry.ask_at = now + repeat;
                } else {
                    next_at = now;
                }
            }
            if entry.tries == 0 {
                fresh = fresh.or(Some(entry.seq));
            }
            next_at = next_at.min(entry.ask_at).min(give_up_at);
            true
        });
        self.next_at = next_at;
        self.fresh = fresh;
        self.gave_up += gave_up;
        self.asked += written as u64;
        written
    }

    /// When [`Self::poll`] has something to do, [`Time::NEVER`] while nothing is missing.
    pub fn deadline(&self) -> Time {
        self.next_at
    }

    /// Forgets everything: the stream restarted.
    pub fn clear(&mut self) {
        self.missing.clear();
        self.fresh = None;
        self.next_at = Time::NEVER;
    }

    /// How many packets are missing and still hoped for.
    pub fn len(&self) -> usize {
        self.missing.iter().filter(|entry| !entry.is_here).count()
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many packets were given up so far.
    pub fn gave_up(&self) -> u64 {
        self.gave_up
    }

    /// How many numbers were asked for so far, repeats included.
    pub fn asked(&self) -> u64 {
        self.asked
    }

    fn is_past_reordering(&self, seq: SeqNo) -> bool {
        self.newest.0 >= seq.0 + REORDERED_PACKETS
    }
}

impl Default for NackList {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
