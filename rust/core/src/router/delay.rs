//! How long packets and subscribers wait for us: arrival to departure, and wish to keyframe.
//!
//! Nothing here reads a clock: the times are those that inputs bring. A batch is handed out by one or more calls of
//! [`poll_transmit`](super::Router::poll_transmit), the last of which finds nothing; its time is when the batch was gone.

use crate::histogram::Histogram;
use crate::send::Sender;
use crate::time::Time;

/// Packets whose departure is awaited at once: several batches, since those of one batch mostly came at the same time.
const MAX_AWAITED: usize = 256;

/// Forwarded packets whose batch is not gone yet, and how long those before took.
pub(super) struct Departures {
    /// When a packet came, and how many copies of it leave.
    awaited: Vec<(Time, u32)>,
    taken: Histogram,
}

impl Departures {
    pub(super) fn new() -> Self {
        Self { awaited: Vec::with_capacity(MAX_AWAITED), taken: Histogram::default() }
    }

    /// So many copies of a packet that came at `arrived_at` are about to leave.
    pub(super) fn await_copies(&mut self, now: Time, arrived_at: Time, copies: u32) {
        if copies == 0 {
            return;
        }
        if let Some((at, count)) = self.awaited.last_mut()
            && *at == arrived_at
        {
            *count += copies;
        } else if self.awaited.len() < MAX_AWAITED {
            self.awaited.push((arrived_at, copies));
        } else {
            // A caller that takes nothing out: its packets are judged by what is known now.
            self.taken.count(nanos(arrived_at, now), copies);
        }
    }

    /// Everything is gone.
    pub(super) fn settle(&mut self, now: Time) {
        for (arrived_at, copies) in self.awaited.drain(..) {
            self.taken.count(nanos(arrived_at, now), copies);
        }
    }

    pub(super) fn taken(&self) -> Histogram {
        self.taken
    }
}

/// A copy's wait for the keyframe that begins what its subscriber wants.
#[derive(Clone, Copy, Default)]
pub(super) struct Wait {
    since: Option<Time>,
    last_ms: Option<u32>,
}

impl Wait {
    /// A keyframe is wanted, perhaps since long ago.
    pub(super) fn begin(&mut self, now: Time) {
        self.since.get_or_insert(now);
    }

    /// The wishes have changed; the new ones may need no keyframe.
    pub(super) fn reconsider(&mut self, sender: &Sender) {
        if sender.wants_keyframe().is_none() {
            self.since = None;
        }
    }

    /// How long the last one took, in milliseconds.
    pub(super) fn last_ms(&self) -> Option<u32> {
        self.last_ms
    }

    /// Packets were forwarded: if the keyframe was among them, the wait is over.
    pub(super) fn end(&mut self, now: Time, sender: &Sender, waits: &mut Histogram) {
        if let Some(since) = self.since
            && sender.wants_keyframe().is_none()
        {
            self.since = None;
            self.last_ms = u32::try_from(now.since(since).as_millis()).ok();
            waits.count(nanos(since, now), 1);
        }
    }
}

fn nanos(from: Time, to: Time) -> u64 {
    to.as_nanos().saturating_sub(from.as_nanos())
}
