//! How much arrives: the rate of what feedback acknowledges.
//!
//! Bytes over time on the sender's and on the receiver's clock. Of the two the lower is what flows: a receiver that squeezes
//! its times together cannot claim more than was sent. While a queue stands, the receiver's alone is what the link carries.

use core::time::Duration;
use std::collections::VecDeque;

use super::Answered;
use super::number::{float, micros, seconds};

/// Packets that are remembered at most: half a second of 10 Mbit/s.
const MAX_PACKETS: usize = 500;
/// What the steady rate is taken over: a few frames, so that one large frame does not read as a rate.
const STEADY: Window = Window { packets: 20, span: Duration::from_millis(500), longest: Duration::from_secs(2) };
/// What the rate after a change is taken over: two feedbacks, and at low rates a few packets.
const RECENT: Window = Window { packets: 4, span: Duration::from_millis(150), longest: Duration::from_secs(1) };

/// Packets from the newest back: as many as fill both the count and the span, unless that gets too long.
struct Window {
    packets: usize,
    span: Duration,
    longest: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    sent: i64,
    arrived: i64,
    bytes: u32,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    /// By time of arrival.
    arrivals: VecDeque<Arrival>,
}

impl Acknowledged {
    /// Notes one arrival.
    pub(super) fn add(&mut self, answered: &Answered) {
        let arrival = Arrival { sent: micros(answered.sent_at), arrived: answered.arrived, bytes: answered.bytes };
        if self.arrivals.len() >= MAX_PACKETS {
            self.arrivals.pop_front();
        }
        // Nearly always the last place.
        let later = self.arrivals.iter().rev().take_while(|other| other.arrived > arrival.arrived).count();
        self.arrivals.insert(self.arrivals.len() - later, arrival);
    }

    /// Forgets everything: the receiver's clock is another one.
    pub(super) fn reset(&mut self) {
        self.arrivals.clear();
    }

    /// The rate that flows, over half a second or more.
    pub(super) fn steady(&self) -> Option<f64> {
        self.rates(&STEADY).map(|(sent, received)| sent.min(received))
    }

    /// The rate that arrives now: exact while a queue stands before the link, whatever was sent since; rough otherwise.
    pub(super) fn recent(&self) -> Option<f64> {
        self.rates(&RECENT).map(|(_, received)| received)
    }

    /// At which rate the packets of a window were sent, and at which they arrived.
    fn rates(&self, window: &Window) -> Option<(f64, f64)> {
        let newest = self.arrivals.back()?;
        let (span, longest) = (micros_of(window.span), micros_of(window.longest));
        let mut total = 0;
        let mut count = 0;
        let (mut first_sent, mut last_sent) = (newest, newest);
        let mut oldest = newest;
        let (mut gap, mut second_gap) = (0, 0);
        for arrival in self.arrivals.iter().rev() {
            let is_full = count >= window.packets && newest.arrived - oldest.arrived >= span;
            if is_full || newest.arrived - arrival.arrived > longest {
                break;
            }
            let pause = oldest.arrived - arrival.arrived;
            (gap, second_gap) = (gap.max(pause), second_gap.max(pause.min(gap)));
            total += u64::from(arrival.bytes);
            count += 1;
            oldest = arrival;
            first_sent = if arrival.sent < first_sent.sent { arrival } else { first_sent };
            last_sent = if arrival.sent > last_sent.sent { arrival } else { last_sent };
        }
        if count < window.packets.min(RECENT.packets) {
            return None;
        }
        // A lost feedback leaves a hole that says nothing; where pauses are the rule the second longest is as long.
        let received_over = newest.arrived - oldest.arrived - gap + second_gap;
        let sent_over = last_sent.sent - first_sent.sent;
        // The first to arrive opens the interval, the last that was sent closes it: neither is inside.
        let received = float(total - u64::from(oldest.bytes)) * 8.0 / seconds(received_over.max(1000));
        let sent = float(total - u64::from(last_sent.bytes)) * 8.0 / seconds(sent_over.max(1000));
        Some((sent, received))
    }
}

fn micros_of(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}
