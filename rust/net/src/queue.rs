//! Events on their way to the owner: a queue and a descriptor that an event loop waits for.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rtpcore_core::event::Event;

use crate::batch::eventfd;

/// How many bytes of messages may wait for the owner: some seconds of a busy machine. What changes a state is always kept.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// What a message costs beside its bytes.
const OVERHEAD: usize = 256;

/// Filled by the workers, drained by the owner. The lock is taken per batch of events, never per packet.
pub(crate) struct EventQueue {
    waiting: Mutex<Waiting>,
    fd: OwnedFd,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    /// Of the messages among them.
    bytes: usize,
}

impl EventQueue {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { waiting: Mutex::default(), fd: eventfd()? })
    }

    /// Readable while events wait.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Takes everything out of `batch`; says how many messages were lost because the owner does not keep up. Wakes the owner
    /// only where nothing waited before.
    pub(crate) fn push(&self, batch: &mut Vec<Event>) -> usize {
        if batch.is_empty() {
            return 0;
        }
        let mut lost = 0;
        let mut waiting = self.lock();
        let was_empty = waiting.events.is_empty();
        for event in batch.drain(..) {
            let weight = weight_of(&event);
            if weight > 0 && waiting.bytes + weight > MAX_BYTES {
                lost += 1;
            } else {
                waiting.bytes += weight;
                waiting.events.push_back(event);
            }
        }
        drop(waiting);
        if was_empty {
            self.wake();
        }
        lost
    }

    /// Up to `most` events, oldest first.
    pub(crate) fn drain(&self, most: usize) -> Vec<Event> {
        let mut waiting = self.lock();
        let count = waiting.events.len().min(most);
        let drained: Vec<_> = waiting.events.drain(..count).collect();
        waiting.bytes -= drained.iter().map(weight_of).sum::<usize>();
        if waiting.events.is_empty() {
            self.clear();
        }
        drained
    }

    /// Makes the descriptor readable, so that a waiting owner looks.
    pub(crate) fn wake(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes from an array of eight; a full counter means that the owner is awake already.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    fn clear(&self) {
        let mut counter = [0u8; 8];
        // SAFETY: eight bytes into an array of eight; the descriptor does not block.
        unsafe { libc::read(self.fd.as_raw_fd(), counter.as_mut_ptr().cast(), counter.len()) };
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic while holding the lock can only come from an allocation; the queue is whole either way.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an event counts for the bound: nothing, if it is no message.
fn weight_of(event: &Event) -> usize {
    match event {
        Event::DataReceived { payload, .. } => payload.len() + OVERHEAD,
        Event::MessageReported { message, .. } => message.payload.len() + OVERHEAD,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use rtpcore_core::id::{ReceiverId, TransportId};

    use super::*;

    #[test]
    fn messages_are_lost_behind_a_slow_owner_and_states_are_not() {
        let queue = EventQueue::new().unwrap();
        let message = || Event::DataReceived {
            transport: TransportId::new(0, 1),
            label: "chat".into(),
            is_binary: true,
            payload: vec![0; MAX_BYTES / 4 - OVERHEAD].into(),
        };
        let ended = || Event::ReceiverEnded { receiver: ReceiverId::new(0, 1) };
        assert_eq!(queue.push(&mut (0..6).map(|_| message()).collect()), 2);
        assert_eq!(queue.push(&mut vec![ended(), message(), ended()]), 1);
        assert_eq!(queue.drain(2).len(), 2);
        assert_eq!(queue.push(&mut (0..3).map(|_| message()).collect()), 1, "two were taken");
        assert_eq!(queue.drain(100).len(), 6);
        assert_eq!(queue.push(&mut (0..4).map(|_| message()).collect()), 0);
    }
}
