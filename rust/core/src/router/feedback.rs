//! RTCP from a peer: what publishers say of their clocks, what subscribers say of their copies.

use core::time::Duration;

use super::Router;
use crate::bandwidth::Feedback;
use crate::crossing::Crossing;
use crate::drop::Drop;
use crate::event::Event;
use crate::parameters::Kind;
use crate::receive::ClockMap;
use crate::rtcp::{Compound, ReportBlock, RtcpPacket};
use crate::send;
use crate::store::MAX_PACKET;
use crate::time::Time;
use crate::transport::Queued;
use crate::units::Ssrc;

/// How many packets one RTCP datagram may have sent again: a subscriber that lost more needs a keyframe.
const MAX_RETRANSMISSIONS: usize = 256;

/// Packets that a receiver report of video speaks of, by and large: what a second of a small picture has.
const REPORTED_PACKETS: u64 = 30;

impl Router {
    /// SRTCP: opened in a copy, then packet by packet.
    pub(super) fn handle_rtcp(&mut self, now: Time, index: usize, datagram: &[u8]) -> Result<(), Drop> {
        let transport = self.transports.get_mut(index).ok_or(Drop::UnknownAddress)?;
        let inbound = transport.inbound.as_mut().ok_or(Drop::NoKeys)?;
        if datagram.len() > MAX_PACKET {
            return Err(Drop::Oversized);
        }
        let mut plain = std::mem::replace(&mut self.rtcp, Box::new([0; MAX_PACKET]));
        let slot = plain.get_mut(..datagram.len()).ok_or(Drop::Oversized)?;
        slot.copy_from_slice(datagram);
        let opened = inbound.unprotect_rtcp(slot);
        let handled = opened.and_then(|datagram| self.handle_compound(now, index, datagram));
        self.rtcp = plain;
        handled
    }

    fn handle_compound(&mut self, now: Time, index: usize, datagram: &[u8]) -> Result<(), Drop> {
        for packet in Compound::new(datagram) {
            match packet? {
                RtcpPacket::SenderReport(report) => {
                    self.handle_sender_report(
                        now,
                        index,
                        report.ssrc,
                        report.info.ntp_time.0,
                        report.info.rtp_timestamp,
                    );
                    report.blocks().for_each(|block| self.handle_report_block(now, index, &block));
                }
                RtcpPacket::ReceiverReport(report) => {
                    report.blocks().for_each(|block| self.handle_report_block(now, index, &block));
                }
                RtcpPacket::Nack(nack) => {
                    self.spare(index, nack.media_ssrc, nack.iter().take(MAX_RETRANSMISSIONS));
                    for number in nack.iter().take(MAX_RETRANSMISSIONS) {
                        if self.spared.contains(&number) {
                            continue;
                        }
                        if let Err(reason) = self.retransmit(now, index, nack.media_ssrc, number) {
                            self.count_drop(Some(index), reason);
                        }
                    }
                }
                RtcpPacket::Pli(pli) => self.handle_keyframe_request(now, index, pli.media_ssrc),
                RtcpPacket::Fir(fir) => {
                    fir.requests().for_each(|request| self.handle_keyframe_request(now, index, request.ssrc));
                }
                RtcpPacket::Bye(bye) => bye.sources().for_each(|ssrc| self.handle_bye(index, ssrc)),
                RtcpPacket::TransportCc(feedback) => {
                    if let Err(reason) = self.handle_transport_cc(now, index, &feedback) {
                        self.count_drop(Some(index), reason);
                    }
                }
                RtcpPacket::Remb(remb) => {
                    if let Err(reason) = self.handle_remb(now, index, remb.bitrate) {
                        self.count_drop(Some(index), reason);
                    }
                }
                RtcpPacket::Tmmbr(_)
                | RtcpPacket::Sdes(_)
                | RtcpPacket::App(_)
                | RtcpPacket::Xr(_)
                | RtcpPacket::Other { .. } => {}
            }
        }
        Ok(())
    }

    /// A publisher's clock, for everybody who follows the track.
    fn handle_sender_report(&mut self, now: Time, index: usize, ssrc: Ssrc, ntp: u64, rtp: u32) {
        let Some(transport) = self.transports.get(index) else { return };
        let Some(route) = transport.bindings.route(ssrc) else { return };
        let slot = transport.receivers.get(usize::from(route.receiver)).copied().flatten();
        let Some(feed_index) = slot.map(|feed| feed as usize) else { return };
        let Some(feed) = self.feeds.get_mut(feed_index) else { return };
        let Some(intake) = &mut feed.intake else { return };
        intake.receiver.handle_sender_report(now, route, ntp, rtp);
        let clock = intake.receiver.clock(route.encoding);
        self.share_clock(feed_index, route.encoding, clock);
    }

    /// Tells all followers of an encoding what its publisher's clock is, or that nobody knows: it has begun anew.
    pub(super) fn share_clock(&mut self, feed_index: usize, encoding: u8, clock: Option<ClockMap>) {
        let Some(feed) = self.feeds.get(feed_index) else { return };
        let (receiver, workers) = (feed.id, feed.workers);
        self.set_clock(feed_index, encoding, clock);
        self.crossings.extend(
            (0..64u8)
                .filter(|&worker| workers & (1 << worker) != 0)
                .map(|worker| (worker, Crossing::Clock { receiver, encoding, clock })),
        );
    }

    pub(super) fn set_clock(&mut self, feed_index: usize, encoding: u8, clock: Option<ClockMap>) {
        let Some(feed) = self.feeds.get_mut(feed_index) else { return };
        if let Some(slot) = feed.clocks.get_mut(usize::from(encoding)) {
            *slot = clock;
        }
        let stream = send::Stream { source: super::source_of(feed.id), encoding };
        for &index in &feed.senders {
            let Some(copy) = self.copies.get_mut(index as usize) else { continue };
            let Some(sender) = &mut copy.sender else { continue };
            sender.handle_clock(stream, clock);
            super::arm(&mut self.transports, &mut self.timers, copy.transport, sender.poll_timeout());
        }
    }

    fn handle_report_block(&mut self, now: Time, index: usize, block: &ReportBlock) {
        let copy = self.transports.get(index).and_then(|transport| transport.sender_of(block.ssrc));
        if let Some(copy) = copy.and_then(|copy| self.copies.get_mut(copy as usize))
            && let Some(sender) = &mut copy.sender
            && block.ssrc == sender.ssrc()
        {
            sender.handle_report_block(now, block);
            let Some(transport) = self.transports.get_mut(index) else { return };
            if copy.parameters.kind == Kind::Audio {
                return super::bandwidth::judge_redundancy(now, transport.bandwidth.as_deref(), copy);
            }
            let rtt = sender.stats().rtt;
            if let Some(bandwidth) = transport.bandwidth.as_mut().filter(|_| copy.is_numbered) {
                if let Some(rtt) = rtt {
                    bandwidth.estimator.handle_round_trip(rtt);
                }
                if bandwidth.feedback == Feedback::Remb {
                    // How many packets the report covers is not in it; the share alone is what counts here.
                    bandwidth.estimator.handle_loss(now, block.fraction_lost, REPORTED_PACKETS);
                }
            }
        }
    }

    /// Finds the numbers of a NACK that the subscriber can recover by itself, once what was sent for it is there.
    fn spare(&mut self, index: usize, ssrc: Ssrc, lost: impl Iterator<Item = u16> + Clone) {
        self.spared.clear();
        let copy = self.transports.get(index).and_then(|transport| transport.sender_of(ssrc));
        let Some(copy) = copy.and_then(|copy| self.copies.get_mut(copy as usize)) else { return };
        let rtt = copy.sender.as_ref().map_or(Duration::ZERO, send::Sender::rtt);
        // Without time for another try, bytes are cheaper than the picture.
        if let Some(protection) = copy.protection.as_mut().filter(|_| !copy.playout.is_urgent(rtt)) {
            protection.repairable(lost, |number| self.spared.push(number));
        }
    }

    /// One number of a NACK.
    fn retransmit(&mut self, now: Time, index: usize, ssrc: Ssrc, number: u16) -> Result<(), Drop> {
        let transport = self.transports.get_mut(index).ok_or(Drop::NotConnected)?;
        let copy_index = transport.sender_of(ssrc).ok_or(Drop::UnknownSsrc)?;
        let copy = self.copies.get_mut(copy_index as usize).ok_or(Drop::UnknownSsrc)?;
        copy.nacks += 1;
        let sender = copy.sender.as_mut().ok_or(Drop::NotInHistory)?;
        let bandwidth = transport.bandwidth.as_ref().filter(|_| copy.is_numbered);
        if bandwidth.is_some_and(|bandwidth| !bandwidth.can_repair(now)) {
            return Err(Drop::QueueFull);
        }
        let round_trip = bandwidth.and_then(|bandwidth| bandwidth.estimator.estimate().rtt).unwrap_or_default();
        // Who knows the round trip asks again just when it is over: that wavers, and to wait for the request after is dear.
        let seq = sender.retransmit(now, number, round_trip * 3 / 4)?;
        let has_rtx = sender.entry(seq).is_some_and(|entry| {
            copy.parameters.codecs.iter().any(|c| c.payload_type == entry.payload_type && c.rtx.is_some())
        });
        let rtx = if has_rtx { sender.next_rtx() } else { None };
        transport.enqueue(Queued { sender: copy_index, seq, rtx }, rtx.is_some() && copy.is_numbered)?;
        // Where this try must not fail it is made twice. Each of the two may be lost, both seldom are.
        if let Some(bandwidth) = transport.bandwidth.as_mut().filter(|_| rtx.is_some() && copy.is_numbered)
            && bandwidth.repairs_twice()
            && copy.playout.is_urgent(sender.rtt())
        {
            bandwidth.repair_later(now, Queued { sender: copy_index, seq, rtx: sender.next_rtx() });
        }
        self.mark_dirty(index);
        Ok(())
    }

    /// A subscriber's decoder needs a keyframe of what it gets.
    fn handle_keyframe_request(&mut self, now: Time, index: usize, ssrc: Ssrc) {
        let copy = self.transports.get(index).and_then(|transport| transport.sender_of(ssrc));
        let Some(copy) = copy.and_then(|copy| self.copies.get(copy as usize)) else { return };
        let Some(sender) = &copy.sender else { return };
        let encoding = sender.wants_keyframe().or_else(|| sender.forwarded_encoding());
        if let (Some(&feed), Some(encoding)) = (self.feed_by_id.get(&copy.source), encoding) {
            self.request_keyframes(now, feed, 1 << encoding.min(7));
        }
    }

    fn handle_bye(&mut self, index: usize, ssrc: Ssrc) {
        let Some(transport) = self.transports.get_mut(index) else { return };
        let Some(route) = transport.bindings.unbind(ssrc) else { return };
        let slot = transport.receivers.get(usize::from(route.receiver)).copied().flatten();
        let Some(feed) = slot.and_then(|feed| self.feeds.get_mut(feed as usize)) else { return };
        if let Some(intake) = &mut feed.intake {
            intake.receiver.handle_bye(route);
            self.events.push_back(Event::ReceiverEnded { receiver: feed.id });
        }
    }
}
