//! ICE, DTLS and SCTP of one peer: what comes in, what they want, what that means for the peer's state.

use core::time::Duration;

use super::{Owner, Router};
use crate::drop::Drop;
use crate::dtls::DtlsOutput;
use crate::event::{Event, Reason, TransportState};
use crate::ice::{IceEvent, Path, Via};
use crate::rtcp;
use crate::time::Time;
use crate::transport::Transport;

/// How long a peer that lost its path is waited for: with the 15 s that ICE takes to notice, consent's 30 s (RFC 7675 §5.1).
const DISCONNECTED_PATIENCE: Duration = Duration::from_secs(15);

impl Router {
    /// DTLS records: handshake, or data channels.
    pub(super) fn handle_dtls(&mut self, now: Time, index: usize, path: Path, datagram: &[u8]) -> Result<(), Drop> {
        let instant = self.instant(now);
        let transport = self.transports.get_mut(index).ok_or(Drop::UnknownAddress)?;
        if transport.path.is_none() {
            // The peer may begin before it nominates; answer where it was heard.
            transport.path = Some(path);
        }
        let is_first = !std::mem::replace(&mut transport.has_said_hello, true);
        let dtls = transport.session.as_mut().and_then(|session| session.dtls.as_mut()).ok_or(Drop::BadDtls)?;
        if let Err(failure) = dtls.handle_datagram(instant, datagram) {
            self.remove_transport(index, TransportState::Failed, Reason::Dtls(failure));
            return Err(Drop::BadDtls);
        }
        self.poll_session(now, index);
        if is_first {
            self.wake_copies(now, index);
        }
        Ok(())
    }

    /// Does what ICE, DTLS and SCTP of a peer want, until they want nothing.
    pub(super) fn poll_session(&mut self, now: Time, index: usize) {
        self.poll_ice(now, index);
        self.poll_dtls(now, index);
        self.poll_sctp(now, index);
        self.mark_dirty(index);
        self.arm_session(index);
    }

    fn poll_ice(&mut self, now: Time, index: usize) {
        let instant = self.instant(now);
        let Some(transport) = self.transports.get_mut(index) else { return };
        let Some(session) = &mut transport.session else { return };
        // Events and answers to what was received come out with the next lapse of time.
        session.ice.handle_timeout(instant);
        while let Some((path, message)) = session.ice.poll_transmit() {
            if let Err(reason) = transport.control.push(path, &message) {
                transport.drops.count(reason);
            }
            self.by_path.entry(path).or_insert_with(|| {
                transport.paths.push(path);
                Owner::Checked(index)
            });
        }
        loop {
            let Some(transport) = self.transports.get_mut(index) else { return };
            let Some(event) = transport.session.as_mut().and_then(|session| session.ice.poll_event()) else { return };
            match event {
                IceEvent::Heard { via, remote } => self.hear(index, via, remote),
                IceEvent::Nominated(path) => {
                    transport.path = Some(path);
                    self.start_session(now, index);
                }
                IceEvent::Connected => self.start_session(now, index),
                IceEvent::Disconnected => {
                    transport.path = None;
                    transport.gives_up_at = now + DISCONNECTED_PATIENCE;
                    let at = transport.gives_up_at;
                    self.set_state(index, TransportState::Disconnected, Reason::ConsentExpired);
                    self.arm(index, at);
                }
            }
        }
    }

    /// Binds an address, on each of our own, to the peer that passed a check from it.
    fn hear(&mut self, index: usize, via: Via, remote: std::net::SocketAddr) {
        let is_ours = |candidate: &&is::Candidate| {
            (candidate.proto() == is::Protocol::Udp) == (via == Via::Udp)
                && candidate.addr().is_ipv4() == remote.is_ipv4()
        };
        let locals: Vec<_> = self.locals.iter().filter(is_ours).map(is::Candidate::addr).collect();
        for local in locals {
            let path = Path { via, local, remote };
            let before = self.by_path.insert(path, Owner::Heard(index));
            let Some(transport) = self.transports.get_mut(index) else { return };
            if before != Some(Owner::Heard(index)) && !transport.paths.contains(&path) {
                transport.paths.push(path);
            }
            self.claim(path, true);
        }
    }

    /// A path works: start DTLS, or go on with what was interrupted.
    fn start_session(&mut self, now: Time, index: usize) {
        let instant = self.instant(now);
        let Some(transport) = self.transports.get_mut(index) else { return };
        if let Some(dtls) = transport.session.as_mut().and_then(|session| session.dtls.as_mut())
            && !dtls.is_connected()
            && let Err(failure) = dtls.handle_timeout(instant)
        {
            // As client the first flight leaves now, not with the next timer.
            return self.remove_transport(index, TransportState::Failed, Reason::Dtls(failure));
        }
        let Some(transport) = self.transports.get_mut(index) else { return };
        match transport.state {
            TransportState::Disconnected if transport.outbound.is_some() => {
                transport.gives_up_at = Time::NEVER;
                self.set_state(index, TransportState::Connected, Reason::Normal);
                self.wake_copies(now, index);
            }
            TransportState::New | TransportState::Disconnected => {
                self.set_state(index, TransportState::Connecting, Reason::Normal);
            }
            _ => {}
        }
    }

    fn poll_dtls(&mut self, now: Time, index: usize) {
        let instant = self.instant(now);
        loop {
            let Some(transport) = self.transports.get_mut(index) else { return };
            let Some(path) = transport.path else { return };
            let Some(session) = &mut transport.session else { return };
            let Some(dtls) = &mut session.dtls else { return };
            match dtls.poll_output(&mut self.scratch) {
                Ok(DtlsOutput::Datagram(len)) => {
                    let message = self.scratch.get(..len).unwrap_or(&[]);
                    if let Err(reason) = transport.control.push(path, message) {
                        transport.drops.count(reason);
                    }
                }
                Ok(DtlsOutput::Data(len)) => {
                    let packet = self.scratch.get(..len).unwrap_or(&[]);
                    let handled = transport.sctp.as_mut().ok_or(Drop::BadSctp);
                    if let Err(reason) = handled.and_then(|sctp| sctp.handle_packet(instant, packet)) {
                        self.count_drop(Some(index), reason);
                    }
                }
                Ok(DtlsOutput::Connected(keys)) => {
                    if transport.set_keys(&keys).is_none() {
                        return self.remove_transport(index, TransportState::Failed, Reason::Fault);
                    }
                    transport.gives_up_at = Time::NEVER;
                    transport.report_timer.start(now);
                    if let Some(sctp) = &mut transport.sctp {
                        sctp.connect();
                    }
                    self.set_state(index, TransportState::Connected, Reason::Normal);
                    self.wake_copies(now, index);
                }
                Ok(DtlsOutput::Closed) => {
                    return self.remove_transport(index, TransportState::Closed, Reason::ClosedByPeer);
                }
                Ok(DtlsOutput::Timeout(at)) => {
                    session.dtls_timeout = at;
                    return;
                }
                Err(failure) => {
                    return self.remove_transport(index, TransportState::Failed, Reason::Dtls(failure));
                }
            }
        }
    }

    /// Packets and events of the association; afterwards whatever DTLS made of the packets.
    pub(super) fn poll_sctp(&mut self, now: Time, index: usize) {
        let instant = self.instant(now);
        let Some(transport) = self.transports.get_mut(index) else { return };
        let Transport { session, sctp: Some(sctp), drops, .. } = transport else { return };
        let Some(dtls) = session.as_mut().and_then(|session| session.dtls.as_mut()) else { return };
        if !dtls.is_connected() {
            return;
        }
        let mut events = std::mem::take(&mut self.sctp_events);
        sctp.poll_events(&mut events, |reason| drops.count(reason));
        let mut failed = None;
        sctp.poll_transmit(instant, |packet| {
            if let Err(failure) = dtls.send(packet) {
                failed = Some(failure);
            }
        });
        if let Some(failure) = failed {
            events.clear();
            self.sctp_events = events;
            return self.remove_transport(index, TransportState::Failed, Reason::Dtls(failure));
        }
        for event in events.drain(..) {
            self.handle_sctp_event(now, index, event);
        }
        self.sctp_events = events;
        self.poll_dtls(now, index);
    }

    /// The next deadline of ICE, DTLS and SCTP.
    fn arm_session(&mut self, index: usize) {
        let at = self.session_deadline(index);
        self.arm(index, at);
    }

    pub(super) fn session_deadline(&mut self, index: usize) -> Time {
        let Some(transport) = self.transports.get_mut(index) else { return Time::NEVER };
        let sctp = transport.sctp.as_ref().and_then(crate::sctp::Sctp::poll_timeout);
        // Without a path DTLS cannot send what is due; it goes on once there is one again.
        let has_path = transport.path.is_some();
        let (ice, dtls) = match &mut transport.session {
            Some(session) => (session.ice.poll_timeout(), session.dtls_timeout.filter(|_| has_path)),
            None => (None, None),
        };
        let gives_up_at = transport.gives_up_at;
        let earliest = [sctp, ice, dtls].into_iter().flatten().min();
        earliest.map_or(Time::NEVER, |instant| self.time_of(instant)).min(gives_up_at)
    }

    /// Tells the owner of a change, once.
    pub(super) fn set_state(&mut self, index: usize, state: TransportState, reason: Reason) {
        let Some(transport) = self.transports.get_mut(index) else { return };
        if transport.state != state {
            transport.state = state;
            self.events.push_back(Event::TransportChanged { transport: transport.id, state, reason });
        }
    }

    /// The peer can take media from now on, or soon: sees to the keyframes that its copies begin with.
    fn wake_copies(&mut self, now: Time, index: usize) {
        let copies = self.transports.get(index).map(|transport| transport.senders.clone()).unwrap_or_default();
        for copy in copies {
            self.request_wanted(now, copy as usize);
        }
        self.allocate_soon(now, index);
    }

    /// Says goodbye: RTCP BYE (RFC 3550 §6.6) for its copies, then `close_notify`.
    pub(super) fn close_transport(&mut self, now: Time, index: usize) {
        self.write_bye(index);
        let Some(transport) = self.transports.get_mut(index) else { return };
        if let Some(dtls) = transport.session.as_mut().and_then(|session| session.dtls.as_mut()) {
            dtls.close();
        }
        self.poll_dtls(now, index);
        // The last words outlive the peer in a queue of their own.
        if let Some(transport) = self.transports.get_mut(index) {
            let mut control = std::mem::take(&mut transport.control);
            while let Some((path, message)) = control.peek() {
                let _ = self.farewells.push(path, message);
                control.pop();
            }
        }
        self.remove_transport(index, TransportState::Closed, Reason::ClosedByOwner);
    }

    fn write_bye(&mut self, index: usize) {
        let Some(transport) = self.transports.get_mut(index) else { return };
        let (Some(path), Some(outbound)) = (transport.path, &mut transport.outbound) else { return };
        let ssrcs: Vec<_> = transport
            .senders
            .iter()
            .filter_map(|&sender| self.copies.get(sender as usize))
            .map(|copy| copy.parameters.ssrc)
            .take(31)
            .collect();
        if ssrcs.is_empty() {
            return;
        }
        let mut plain = [0; 512];
        let mut writer = rtcp::Writer::new(&mut plain);
        let written = rtcp::report::write_receiver_report(&mut writer, transport.feedback_ssrc, &[])
            .and_then(|()| rtcp::bye::write(&mut writer, &ssrcs, None));
        if written.is_ok() {
            let sealed = outbound.protect_rtcp(writer.as_bytes(), self.rtcp.as_mut_slice());
            if let Some(sealed) = sealed.and_then(|len| self.rtcp.get(..len)) {
                // A full queue means that nobody listens to a goodbye either.
                let _ = transport.control.push(path, sealed);
            }
        }
    }

    /// Forgets a peer with everything that hangs on it.
    pub(super) fn remove_transport(&mut self, index: usize, state: TransportState, reason: Reason) {
        self.set_state(index, state, reason);
        let Some(transport) = self.transports.get(index) else { return };
        let id = transport.id;
        let (speaker, hearer) = (transport.speaker, transport.hearer);
        let receivers: Vec<_> = transport.receivers.iter().flatten().copied().collect();
        let senders = transport.senders.clone();
        for feed in receivers {
            self.remove_feed(feed as usize);
        }
        for copy in senders {
            self.remove_copy(copy as usize);
        }
        let Some(transport) = self.transports.try_remove(index) else { return };
        self.by_id.remove(&id);
        if let Some(session) = &transport.session {
            self.by_ufrag.remove(session.ice.ufrag());
        }
        for path in &transport.paths {
            if matches!(self.by_path.get(path), Some(Owner::Heard(owner) | Owner::Checked(owner)) if *owner == index) {
                self.by_path.remove(path);
                self.claim(*path, false);
            }
        }
        for (_, other) in &mut self.transports {
            other.data_followers.retain(|&follower| follower != id);
        }
        self.dirty.retain(|&dirty| dirty as usize != index);
        self.leave_all(speaker, hearer);
    }
}
