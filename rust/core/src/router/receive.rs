//! A datagram comes in: to whom it belongs, what it is, and for media the way to the fan-out.

use std::cmp::Reverse;

use is::stun::StunMessage;

use super::{Feed, Intake, Owner, Router};
use crate::crossing::Crossing;
use crate::demux::{Protocol, classify};
use crate::drop::Drop;
use crate::event::Event;
use crate::ice::{self, Path};
use crate::packet::Packet;
use crate::payload::{Descriptor, Reader};
use crate::receive::{Accepted, Flow, Identifiers, Order, Route};
use crate::rtp::{ExtensionKind, Extensions, Header};
use crate::speaker::Meter;
use crate::srtp::ClearHeader;
use crate::store::{MAX_PACKET, PacketRef};
use crate::time::Time;

impl Router {
    /// Takes one datagram that came on `path`. Whatever is wrong with it is counted, never reported.
    pub fn handle_datagram(&mut self, now: Time, path: Path, datagram: &[u8]) {
        self.handle_datagram_at(now, now, path, datagram);
    }

    /// The same, for one that had waited since `arrived_at` before anyone looked.
    ///
    /// Only the arrival times that publishers are told of, and the delay that we count, go by it: a burst that is read at once did not arrive at once, and
    /// a sender that is told so takes its probe of the bandwidth for a failure.
    pub fn handle_datagram_at(&mut self, now: Time, arrived_at: Time, path: Path, datagram: &[u8]) {
        self.received.count(datagram.len());
        let owner = self.by_path.get(&path).copied();
        if let Some(Owner::Foreign(worker)) = owner {
            return self.pass_on(worker, path, datagram);
        }
        let known = match owner {
            Some(Owner::Heard(index)) => Some(index),
            _ => None,
        };
        self.current = known;
        if let Some(transport) = known.and_then(|index| self.transports.get_mut(index)) {
            transport.received.count(datagram.len());
        }
        let protocol = classify(datagram);
        if protocol != Ok(Protocol::Rtp) {
            self.fan_out_waiting(now);
            self.current = known;
        }
        let handled = match (protocol, known) {
            (Err(reason), _) => Err(reason),
            (Ok(Protocol::Stun), _) => self.handle_stun(now, path, owner, datagram),
            (Ok(_), None) => Err(Drop::UnknownAddress),
            (Ok(Protocol::Rtp), Some(index)) => self.handle_rtp(now, arrived_at, index, datagram),
            (Ok(Protocol::Rtcp), Some(index)) => self.handle_rtcp(now, index, datagram),
            (Ok(Protocol::Dtls), Some(index)) => self.handle_dtls(now, index, path, datagram),
        };
        if let Err(reason) = handled {
            self.count_drop(known, reason);
        }
        self.current = None;
    }

    /// A request finds its peer by user name, anything else by path. Strangers cost a parse and a look-up, nothing is kept.
    fn handle_stun(&mut self, now: Time, path: Path, owner: Option<Owner>, datagram: &[u8]) -> Result<(), Drop> {
        let message = StunMessage::parse(datagram).map_err(|_| Drop::BadStun)?;
        let index = match (message.split_username(), owner) {
            (Some((local, _)), _) if message.is_binding_request() => match self.by_ufrag.get(local) {
                Some(&index) => index,
                None => match ice::owner_of(&message) {
                    Some(worker) if worker != self.worker => {
                        self.pass_on(worker, path, datagram);
                        return Ok(());
                    }
                    _ => return Err(Drop::UnknownUfrag),
                },
            },
            (_, Some(Owner::Heard(index) | Owner::Checked(index))) => index,
            _ => return Err(Drop::UnknownAddress),
        };
        self.current = Some(index);
        let instant = self.instant(now);
        let transport = self.transports.get_mut(index).ok_or(Drop::UnknownUfrag)?;
        let session = transport.session.as_mut().ok_or(Drop::BadStun)?;
        session.ice.handle_stun(instant, path, message)?;
        self.poll_session(now, index);
        Ok(())
    }

    /// Gives a datagram to the worker where its peer lives.
    fn pass_on(&mut self, worker: u8, path: Path, datagram: &[u8]) {
        if datagram.len() > MAX_PACKET {
            return self.drops.count(Drop::Oversized);
        }
        let (packet, mut parcel) = self.empty_parcel();
        parcel.pack(datagram);
        self.crossings.push_back((worker, Crossing::Datagram { path, packet, parcel }));
    }

    /// SRTP: to the store, to its track, to the followers.
    fn handle_rtp(&mut self, now: Time, arrived_at: Time, index: usize, datagram: &[u8]) -> Result<(), Drop> {
        let transport = self.transports.get_mut(index).ok_or(Drop::UnknownAddress)?;
        let inbound = transport.inbound.as_mut().ok_or(Drop::NoKeys)?;
        if datagram.len() > MAX_PACKET {
            return Err(Drop::Oversized);
        }
        let clear = Header::parse_clear(datagram)?;
        let header_len = usize::from(clear.payload_offset);
        // The only copy on the way in is the one that decryption writes.
        let slot = self.store.reserve();
        let sealed = ClearHeader { ssrc: clear.ssrc, sequence_number: clear.sequence_number, len: header_len };
        let len = inbound.unprotect_rtp(datagram, sealed, slot)?;
        let packet = slot.get(..len).ok_or(Drop::BadRtp)?;
        let header = Header::parse(packet)?;
        let extensions = Extensions::parse(&header, packet, &transport.extensions);
        if let (Some(arrivals), Some(number)) = (&mut transport.arrivals, extensions.transport_cc(packet)) {
            arrivals.record(arrived_at, number, u32::try_from(datagram.len()).unwrap_or(u32::MAX));
            // Here and not at the end: a probe of nothing but padding wants its answer too.
            let at = arrivals.deadline();
            if at < transport.armed_at {
                transport.armed_at = at;
                self.timers.push(Reverse((at, super::narrow(index))));
            }
        }
        let route = transport.bindings.bind(now, &header, &Identifiers::read(&extensions, packet))?;
        if route.flow == Flow::Media {
            transport.media_ssrc = header.ssrc;
        } else if route.flow == Flow::Fec {
            let start = usize::from(header.payload_offset);
            let payload = packet.get(start..start + usize::from(header.payload_len)).ok_or(Drop::BadRtp)?;
            self.scratch.clear();
            self.scratch.extend_from_slice(payload);
        }
        let slot = transport.receivers.get(usize::from(route.receiver)).copied().flatten();
        let feed_index = slot.ok_or(Drop::UnknownSsrc)? as usize;
        if route.flow == Flow::Fec {
            return self.handle_repair(now, index, feed_index, route, &header);
        }
        let feed = self.feeds.get_mut(feed_index).ok_or(Drop::UnknownSsrc)?;
        let Some(intake) = &mut feed.intake else { return Err(Drop::UnknownSsrc) };
        let is_protected = intake.recovery.is_some() && route.flow == Flow::Media;
        let (accepted, mut packet, unreadable) = take_in(now, intake, route, &header, extensions, packet)?;
        let waited_ns = now.as_nanos().saturating_sub(arrived_at.as_nanos());
        packet.waited_ns = u32::try_from(waited_ns).unwrap_or(u32::MAX);
        let is_new = intake.begin(accepted.encoding);
        let has_lost_clock = matches!(accepted.order, Order::First | Order::Restart)
            && feed.clocks.get(usize::from(accepted.encoding)).is_some_and(Option::is_some)
            && intake.receiver.clock(accepted.encoding).is_none();
        let deadline = intake.deadline();
        let receiver = feed.id;
        if is_new {
            self.events.push_back(Event::EncodingStarted { receiver, encoding: accepted.encoding });
        }
        if has_lost_clock {
            // Another SSRC, whose timestamps have nothing to do with those before.
            self.share_clock(feed_index, accepted.encoding, None);
        }
        let reference = self.store.commit(u32::try_from(feed_index).unwrap_or(u32::MAX), packet, len);
        self.arm(index, deadline);
        self.fan_out(now, feed_index, reference);
        if is_protected {
            self.note_protected(feed_index, reference);
            self.recover(now, index, feed_index, route);
        }
        unreadable.map_or(Ok(()), Err)
    }

    /// Hands one stored packet to everybody who follows its track.
    pub(super) fn fan_out(&mut self, now: Time, feed_index: usize, reference: PacketRef) {
        self.cross(feed_index, reference);
        self.fan_out_later(now, feed_index, reference);
    }
}

impl Intake {
    /// When there is something to do for this track.
    pub(super) fn deadline(&self) -> Time {
        self.receiver.deadline().min(self.meter.as_ref().map_or(Time::NEVER, Meter::deadline))
    }

    /// Whether this is the first packet of an encoding.
    fn begin(&mut self, encoding: u8) -> bool {
        match self.has_started.get_mut(usize::from(encoding)) {
            Some(has_started) => !std::mem::replace(has_started, true),
            None => false,
        }
    }
}

impl Feed {
    /// Followers here and elsewhere.
    pub(super) fn follower_count(&self) -> u32 {
        u32::try_from(self.senders.len()).unwrap_or(u32::MAX).saturating_add(self.workers.count_ones())
    }
}

/// Undoes retransmission, extends numbers, reads the payload descriptor: once, for all followers.
pub(super) fn take_in(
    now: Time,
    intake: &mut Intake,
    route: Route,
    header: &Header,
    extensions: Extensions,
    packet: &[u8],
) -> Result<(Accepted, Packet, Option<Drop>), Drop> {
    let accepted = intake.receiver.accept(now, route, header, packet)?;
    let encoding = accepted.encoding;
    let codec = intake.receiver.codecs().get(usize::from(accepted.codec)).ok_or(Drop::UnknownPayloadType)?.codec;
    let reader = intake.readers.get_mut(usize::from(encoding)).ok_or(Drop::UnknownSsrc)?;
    if matches!(accepted.order, Order::First | Order::Restart) || reader.codec() != codec {
        *reader = Reader::new(codec);
    }
    let mut header = accepted.header;
    let start = usize::from(header.payload_offset);
    let payload = packet.get(start..start + usize::from(header.payload_len)).ok_or(Drop::BadRtp)?;
    let dependency = extensions.find(ExtensionKind::DependencyDescriptor, packet);
    // What carries nothing, or nothing that can be read, goes on without its payload: followers must see its number to close it.
    let mut unreadable = accepted.is_padding.then_some(Drop::PaddingOnly);
    let descriptor = if accepted.is_padding {
        Descriptor::OPAQUE
    } else {
        reader.read(payload, header.marker, header.timestamp, dependency).unwrap_or_else(|reason| {
            unreadable = Some(reason);
            header.payload_len = 0;
            Descriptor::OPAQUE
        })
    };
    if descriptor.keyframe && descriptor.frame_start && unreadable.is_none() {
        intake.receiver.handle_keyframe(encoding, accepted.seq);
    }
    if let Some(meter) = &mut intake.meter
        && let Some(&[level]) = extensions.find(ExtensionKind::AudioLevel, packet)
        && !accepted.is_padding
    {
        // The highest bit is the sender's opinion on whether it is a voice.
        meter.handle_packet(now, level & 0x7F, header.timestamp);
    }
    let (seq, is_late) = (accepted.seq, accepted.order == Order::Late);
    let packet = Packet { encoding, seq, is_late, arrived_at: now, waited_ns: 0, header, extensions, descriptor };
    Ok((accepted, packet, unreadable))
}
