//! A direction of a trace in use.

use core::time::Duration;

use rtpcore_core::Time;

use super::mahimahi::Used;
use super::schedule::Schedule;
use crate::dice::Dice;
use crate::links::{Arrivals, Link};

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It would have waited too long at the bottleneck.
    Overflowed,
    /// It passed the bottleneck and was lost.
    Lost {
        /// How long it waited until the bottleneck had sent it.
        queued: Duration,
    },
    /// It comes, once or twice.
    Arrives {
        /// How long it waited until the bottleneck had sent it.
        queued: Duration,
        /// When it comes.
        at: Arrivals,
    },
}

/// One direction of a link that follows a schedule, which begins at [`Time::ZERO`].
#[derive(Clone, Debug)]
pub struct Path {
    schedule: Schedule,
    link: Link,
    /// When the bottleneck has sent all that waits.
    free_at: Duration,
    used: Used,
}

impl Path {
    /// A path whose every draw comes from `seed`, and `part` of it.
    pub fn new(schedule: Schedule, seed: u64, part: u64) -> Self {
        let link = Link::new(*schedule.at(Duration::ZERO).0, Dice::fork(seed, part).next());
        Self { schedule, link, free_at: Duration::ZERO, used: Used::default() }
    }

    /// What it follows.
    pub const fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    /// Takes a packet of `len` bytes; `now` never goes back.
    pub fn carry(&mut self, now: Time, len: usize) -> Fate {
        let since = Duration::from_nanos(u64::try_from(now.since(Time::ZERO).as_nanos()).unwrap_or(u64::MAX));
        let Some(sent_at) = self.queue(since, len as u64) else { return Fate::Overflowed };
        let queued = sent_at - since;
        self.link.change(*self.schedule.at(since).0);
        match self.link.pass(now + queued) {
            [None, None] => Fate::Lost { queued },
            at => Fate::Arrives { queued, at },
        }
    }

    /// When a packet has left the bottleneck.
    fn queue(&mut self, now: Duration, len: u64) -> Option<Duration> {
        if let Some(opportunities) = &self.schedule.opportunities {
            let (used, sent_at) = self.used.send(opportunities, now, len);
            return (sent_at - now <= self.schedule.queue).then(|| {
                self.used = used;
                sent_at
            });
        }
        let begins = self.free_at.max(now);
        let rate = self.schedule.at(now).0.rate;
        let waiting = self.schedule.capacity(now, begins).unwrap_or(0);
        if rate.is_some_and(|rate| rate.bps > 0 && waiting > rate.queue) {
            return None;
        }
        let sent_at = self.schedule.sent_at(begins, len)?;
        // In an outage there is no rate by which to tell how long a packet would wait, but it is known when it ends.
        if rate.is_some_and(|rate| rate.bps == 0) && sent_at - now > self.schedule.queue {
            return None;
        }
        self.free_at = sent_at;
        Some(sent_at)
    }
}
