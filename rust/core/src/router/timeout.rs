//! What is due: ICE, DTLS, SCTP, reports, requests for packets and keyframes, and patience that has run out.

use std::cmp::Reverse;

use super::Router;
use crate::event::{Event, Reason, TransportState};
use crate::speaker::Meter;
use crate::time::Time;

impl Router {
    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Time {
        self.timers.peek().map_or(Time::NEVER, |Reverse((at, _))| *at)
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        self.fan_out_waiting(now);
        // What is due again at once has its turn with the next call: no peer keeps the others waiting.
        for _ in 0..self.timers.len() {
            let Some(&Reverse((at, number))) = self.timers.peek() else { return };
            if !at.is_due(now) {
                return;
            }
            self.timers.pop();
            let index = number as usize;
            // An entry that was overtaken by an earlier one, or whose peer is gone, says nothing.
            if self.transports.get(index).is_none_or(|transport| transport.armed_at != at) {
                continue;
            }
            self.current = Some(index);
            self.handle_transport_timeout(now, index);
            self.current = None;
        }
    }

    fn handle_transport_timeout(&mut self, now: Time, index: usize) {
        let instant = self.instant(now);
        let Some(transport) = self.transports.get_mut(index) else { return };
        transport.armed_at = Time::NEVER;
        if transport.gives_up_at.is_due(now) {
            let reason =
                if transport.state == TransportState::Disconnected { Reason::ConsentExpired } else { Reason::Normal };
            return self.remove_transport(index, TransportState::Failed, reason);
        }
        if let Some(sctp) = &mut transport.sctp {
            sctp.handle_timeout(instant);
        }
        if let Some(session) = &mut transport.session
            && let Some(dtls) = &mut session.dtls
            && (session.dtls_timeout.is_none_or(|at| at <= instant) || !dtls.is_connected())
            && let Err(failure) = dtls.handle_timeout(instant)
        {
            return self.remove_transport(index, TransportState::Failed, Reason::Dtls(failure));
        }
        self.poll_session(now, index);
        self.poll_meters(now, index);
        self.write_reports(now, index);
        self.poll_bandwidth(now, index);
        let at = self.media_deadline(index).min(self.bandwidth_deadline(index));
        self.arm(index, at);
        self.mark_dirty(index);
    }

    /// Tells whose loudness changed in the window that ends.
    fn poll_meters(&mut self, now: Time, index: usize) {
        let Self { transports, feeds, events, .. } = self;
        let Some(transport) = transports.get(index) else { return };
        for &feed in transport.receivers.iter().flatten() {
            let Some(feed) = feeds.get_mut(feed as usize) else { continue };
            let meter = feed.intake.as_mut().and_then(|intake| intake.meter.as_mut());
            if let Some(eighths) = meter.and_then(|meter| meter.poll(now)) {
                events.push_back(Event::AudioLevelChanged { receiver: feed.id, eighths });
            }
        }
    }

    /// The next deadline of a peer's tracks and copies.
    fn media_deadline(&self, index: usize) -> Time {
        let Some(transport) = self.transports.get(index) else { return Time::NEVER };
        let intakes = || {
            let feeds = transport.receivers.iter().flatten();
            feeds.filter_map(|&feed| self.feeds.get(feed as usize)?.intake.as_ref())
        };
        if !transport.is_connected() {
            // Whoever is cut off falls silent all the same.
            let meters = intakes().filter_map(|intake| intake.meter.as_ref());
            return meters.map(Meter::deadline).fold(Time::NEVER, Time::min);
        }
        let receivers = intakes().map(|intake| intake.deadline());
        let senders = transport
            .senders
            .iter()
            .filter_map(|&copy| self.copies.get(copy as usize)?.sender.as_ref().map(crate::send::Sender::poll_timeout));
        let arrivals = transport.arrivals.as_ref().map_or(Time::NEVER, |arrivals| arrivals.deadline());
        let has_receivers = transport.receivers.iter().any(Option::is_some);
        let reports = if has_receivers { transport.report_timer.deadline() } else { Time::NEVER };
        receivers.chain(senders).fold(arrivals.min(reports), Time::min)
    }
}
