//! RTCP to a peer: reports, requests for packets and keyframes, arrival times. Compound where reports are due, reduced-size
//! otherwise (RFC 5506).

use super::Router;
use crate::drop::Drop;
use crate::receive::KeyframeRequest;
use crate::rtcp::{self, Full, Writer};
use crate::time::Time;
use crate::units::SeqNo;

/// One RTCP datagram: what fits every path, with room for SRTCP's index and tag.
const MAX_RTCP: usize = 1200 - 32;

/// Numbers asked for in one go; more are asked for in the next.
const MAX_NACKS: usize = 128;

/// One datagram in the making; full ones are sealed and queued.
struct Outbox<'a> {
    plain: &'a mut [u8; MAX_RTCP],
    len: usize,
    sealed: Vec<Vec<u8>>,
}

impl Outbox<'_> {
    /// Appends what `write` writes, in a datagram of its own where the current one has no room.
    fn append(&mut self, mut write: impl FnMut(&mut Writer<'_>) -> Result<(), Full>) {
        for _ in 0..2 {
            let Some(room) = self.plain.get_mut(self.len..) else { return };
            let mut writer = Writer::new(room);
            if write(&mut writer).is_ok() {
                self.len += writer.len();
                return;
            }
            self.cut();
        }
    }

    /// Begins another datagram where the packet just written was cut short.
    fn cut_if(&mut self, is_cut_short: bool) {
        if is_cut_short {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if self.len > 0 {
            self.sealed.push(self.plain.get(..self.len).unwrap_or(&[]).to_vec());
            self.len = 0;
        }
    }
}

impl Router {
    /// Writes everything that is due to a peer.
    pub(super) fn write_reports(&mut self, now: Time, index: usize) {
        let Some(transport) = self.transports.get(index) else { return };
        if !transport.is_connected() {
            return;
        }
        let mut plain = [0; MAX_RTCP];
        let mut outbox = Outbox { plain: &mut plain, len: 0, sealed: Vec::new() };
        self.write_sender_reports(now, index, &mut outbox);
        self.write_receiver_reports(now, index, &mut outbox);
        self.write_feedback(now, index, &mut outbox);
        outbox.cut();
        let datagrams = outbox.sealed;
        for datagram in datagrams {
            self.send_rtcp(index, &datagram);
        }
    }

    fn send_rtcp(&mut self, index: usize, plain: &[u8]) {
        let Some(transport) = self.transports.get_mut(index) else { return };
        let (Some(path), Some(outbound)) = (transport.path, &mut transport.outbound) else { return };
        let sealed = outbound.protect_rtcp(plain, self.rtcp.as_mut_slice()).and_then(|len| self.rtcp.get(..len));
        let queued = sealed.ok_or(Drop::NoKeys).and_then(|sealed| transport.control.push(path, sealed));
        if let Err(reason) = queued {
            self.count_drop(Some(index), reason);
        }
    }

    fn write_sender_reports(&mut self, now: Time, index: usize, outbox: &mut Outbox<'_>) {
        let Some(transport) = self.transports.get(index) else { return };
        for &copy in &transport.senders {
            let Some(copy) = self.copies.get_mut(copy as usize) else { continue };
            let Some(report) = copy.sender.as_mut().and_then(|sender| sender.poll_report(now)) else { continue };
            let cname = copy.parameters.cname.as_bytes();
            outbox.append(|writer| {
                rtcp::report::write_sender_report(writer, report.ssrc, &report.info, &[])?;
                rtcp::sdes::write_cname(writer, report.ssrc, cname)
            });
        }
    }

    fn write_receiver_reports(&mut self, now: Time, index: usize, outbox: &mut Outbox<'_>) {
        let Some(transport) = self.transports.get_mut(index) else { return };
        let has_receivers = transport.receivers.iter().any(Option::is_some);
        if !has_receivers || !transport.report_timer.poll(now) {
            return;
        }
        let ssrc = transport.feedback_ssrc;
        for feed in transport.receivers.iter().flatten() {
            let Some(feed) = self.feeds.get_mut(*feed as usize) else { continue };
            let Some(intake) = &mut feed.intake else { continue };
            let mut blocks = [rtcp::ReportBlock::default(); 2 * crate::receive::MAX_ENCODINGS];
            let count = intake.receiver.report(now, &mut blocks);
            let blocks = blocks.get(..count).unwrap_or(&[]);
            outbox.append(|writer| rtcp::report::write_receiver_report(writer, ssrc, blocks));
        }
        // A round trip time for those who only send (RFC 3611 §4.4); the answer comes as DLRR, where the peer knows it.
        outbox.append(|writer| rtcp::sdes::write_cname(writer, ssrc, b"rtpcore"));
    }

    fn write_feedback(&mut self, now: Time, index: usize, outbox: &mut Outbox<'_>) {
        let Some(transport) = self.transports.get_mut(index) else { return };
        let (us, rtt) = (transport.feedback_ssrc, transport.round_trip.smoothed());
        for feed in transport.receivers.iter().flatten() {
            let Some(intake) = self.feeds.get_mut(*feed as usize).and_then(|feed| feed.intake.as_mut()) else {
                continue;
            };
            let mut missing = [SeqNo(0); MAX_NACKS];
            while let Some((ssrc, count)) = intake.receiver.poll_nack(now, rtt, &mut missing) {
                let numbers = missing.get(..count).unwrap_or(&[]);
                outbox.append(|writer| {
                    rtcp::nack::write(writer, us, ssrc, numbers.iter().map(|seq| seq.low())).map(|_| ())
                });
            }
            while let Some((encoding, ssrc, request)) = intake.receiver.poll_keyframe(now, rtt) {
                if let Some(count) = intake.keyframe_requests.get_mut(usize::from(encoding)) {
                    *count += 1;
                }
                outbox.append(|writer| match request {
                    KeyframeRequest::Pli => rtcp::pli::write(writer, us, ssrc),
                    KeyframeRequest::Fir { sequence_number } => {
                        rtcp::fir::write(writer, us, &[rtcp::fir::Request { ssrc, sequence_number }])
                    }
                });
            }
        }
        if let Some(arrivals) = &mut transport.arrivals {
            let mut list = [(SeqNo(0), Time::ZERO); crate::receive::arrival::MAX_ARRIVALS];
            while let Some(feedback) = arrivals.poll(now, &mut list) {
                let received = list.get(..feedback.received).unwrap_or(&[]);
                let mut head = rtcp::transport_cc::Head {
                    sender_ssrc: us,
                    media_ssrc: transport.media_ssrc,
                    base: feedback.base,
                    feedback_count: feedback.feedback_count,
                };
                // A datagram that holds other packets already takes a part; the rest goes into the next.
                let mut rest = received;
                while !rest.is_empty() {
                    let mut taken = 0;
                    outbox.append(|writer| {
                        taken = rtcp::transport_cc::write(writer, &head, rest.iter().copied())?;
                        Ok(())
                    });
                    let Some((last, _)) = taken.checked_sub(1).and_then(|last| rest.get(last)) else { break };
                    head.base = last.plus(1);
                    rest = rest.get(taken..).unwrap_or(&[]);
                    outbox.cut_if(!rest.is_empty());
                }
            }
        }
    }
}
