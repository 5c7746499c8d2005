//! Events on their way to the owner: a queue and a descriptor that an event loop waits for.

use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rtpcore_core::event::Event;

use crate::batch::eventfd;

/// Filled by the workers, drained by the owner. The lock is taken per batch of events, never per packet.
pub(crate) struct EventQueue {
    events: Mutex<VecDeque<Event>>,
    fd: OwnedFd,
}

impl EventQueue {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { events: Mutex::new(VecDeque::new()), fd: eventfd()? })
    }

    /// Readable while events wait.
    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Takes everything out of `batch`. Wakes the owner only where nothing waited before.
    pub(crate) fn push(&self, batch: &mut Vec<Event>) {
        if batch.is_empty() {
            return;
        }
        let was_empty = {
            let mut events = self.lock();
            let was_empty = events.is_empty();
            events.extend(batch.drain(..));
            was_empty
        };
        if was_empty {
            self.wake();
        }
    }

    /// Up to `most` events, oldest first.
    pub(crate) fn drain(&self, most: usize) -> Vec<Event> {
        let mut events = self.lock();
        let count = events.len().min(most);
        let drained = events.drain(..count).collect();
        if events.is_empty() {
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

    fn lock(&self) -> MutexGuard<'_, VecDeque<Event>> {
        // A panic while holding the lock can only come from an allocation; the queue is whole either way.
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
