//! What was said lately on the reliable channel: for members that came while it was said, and could not hear yet.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use super::Message;
use crate::time::Time;

/// How long it is kept: longer than any client takes from joining to its first open channel, even over a slow network.
const KEPT: Duration = Duration::from_secs(10);

/// How many bytes are kept per hub; the oldest go first.
const MAX_BYTES: usize = 100_000;

/// How many messages are kept: small ones cost more than their bytes.
const MAX_MESSAGES: usize = 1024;

/// The newest messages, numbered.
#[derive(Debug, Default)]
pub(super) struct Recent {
    entries: VecDeque<(Time, Arc<Message>)>,
    bytes: usize,
    /// The number of the next message.
    next: u64,
}

impl Recent {
    /// The number of the next message.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Counts a message, and keeps it if anybody may want it later.
    pub(super) fn push(&mut self, now: Time, message: &Arc<Message>, is_wanted: bool) {
        self.next += 1;
        if !is_wanted {
            // Whoever comes from now on wants only what is said later.
            self.entries.clear();
            self.bytes = 0;
            return;
        }
        self.entries.push_back((now, message.clone()));
        self.bytes += message.payload.len();
        self.expire(now);
    }

    /// What is kept from number `first` on.
    pub(super) fn since(&mut self, now: Time, first: u64) -> impl Iterator<Item = &Arc<Message>> {
        self.expire(now);
        let oldest = self.next - self.entries.len() as u64;
        let skipped = usize::try_from(first.saturating_sub(oldest)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skipped).map(|(_, message)| message)
    }

    fn expire(&mut self, now: Time) {
        while let Some((at, message)) = self.entries.front() {
            let is_over = self.bytes > MAX_BYTES || self.entries.len() > MAX_MESSAGES;
            if !is_over && !(*at + KEPT).is_due(now) {
                return;
            }
            self.bytes -= message.payload.len();
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::{Audience, Destinations, Label};
    use super::*;

    fn message(byte: u8, len: usize) -> Arc<Message> {
        Arc::new(Message {
            from: None,
            label: Label::Reliable,
            is_binary: true,
            payload: Bytes::from(vec![byte; len]),
            to: Audience::Named(Destinations::default()),
        })
    }

    fn kept(recent: &mut Recent, ms: u64, first: u64) -> Vec<u8> {
        recent.since(Time::from_millis(ms), first).map(|message| message.payload[0]).collect()
    }

    #[test]
    fn late_comers_get_what_came_after_them() {
        let mut recent = Recent::default();
        recent.push(Time::ZERO, &message(1, 1), true);
        let first = recent.next();
        recent.push(Time::ZERO, &message(2, 1), true);
        recent.push(Time::ZERO, &message(3, 1), true);
        assert_eq!(kept(&mut recent, 0, first), [2, 3]);
        assert_eq!(kept(&mut recent, 0, 3), []);
        recent.push(Time::ZERO, &message(4, 1), false);
        assert_eq!(kept(&mut recent, 0, 0), [], "nobody waits for it");
        let first = recent.next();
        recent.push(Time::ZERO, &message(5, 1), true);
        assert_eq!(kept(&mut recent, 0, first), [5]);
    }

    #[test]
    fn it_is_bounded_in_time_bytes_and_number() {
        let mut recent = Recent::default();
        recent.push(Time::ZERO, &message(1, 10), true);
        recent.push(Time::from_millis(5000), &message(2, 10), true);
        assert_eq!(kept(&mut recent, 9999, 0), [1, 2]);
        assert_eq!(kept(&mut recent, 10_000, 0), [2]);
        recent.push(Time::from_millis(5000), &message(3, MAX_BYTES - 10), true);
        assert_eq!(kept(&mut recent, 5000, 0), [2, 3]);
        recent.push(Time::from_millis(5000), &message(4, 1), true);
        assert_eq!(kept(&mut recent, 5000, 0), [3, 4], "the oldest goes first");
        recent.push(Time::from_millis(5000), &message(5, MAX_BYTES + 1), true);
        assert_eq!(kept(&mut recent, 5000, 0), [], "more than all there is room for");
        for _ in 0..=MAX_MESSAGES {
            recent.push(Time::from_millis(5000), &message(6, 1), true);
        }
        assert_eq!(kept(&mut recent, 5000, 0).len(), MAX_MESSAGES);
    }
}
