//! The end of a batch: queued packets become datagrams in a slab, peer by peer, so that each peer's are one run.

use core::ops::Range;

use slab::Slab;

use super::protection::Protection;
use super::{Copy, Router};
use crate::bandwidth::{Bandwidth, Class, Feedback, OUTSIDE};
use crate::drop::Drop;
use crate::packet::Packet;
use crate::payload::{self, Codec, Detail, red};
use crate::rtp::extension::{ExtensionWriter, PlayoutDelay};
use crate::rtp::{ExtensionKind, header::FixedHeader};
use crate::send::Entry;
use crate::srtp::{Deferred, Outbound};
use crate::store::{MAX_PACKET, PacketStore};
use crate::time::Time;
use crate::transmit::SendSlab;
use crate::transport::Queued;
use crate::units::{SeqNo, Ssrc};

/// The most bytes in front of the shared payload that are a subscriber's own: the original number of a retransmission
/// (RFC 4588 §4) and what a patch touches.
const MAX_HEAD: usize = 2 + payload::patch::MAX_HEAD;

/// The extensions that a subscriber's copy carries on from the original, as they came.
const CARRIED: [ExtensionKind; 5] = [
    ExtensionKind::AudioLevel,
    ExtensionKind::AbsCaptureTime,
    ExtensionKind::PlayoutDelay,
    ExtensionKind::VideoOrientation,
    ExtensionKind::VideoLayersAllocation,
];

impl Router {
    /// Writes what waits into `slab`, as much as fits; call again until it stays empty.
    ///
    /// A call that finds nothing says that everything is sent by now: delay is counted up to it.
    pub fn poll_transmit(&mut self, now: Time, slab: &mut SendSlab) {
        self.fan_out_waiting(now);
        while let Some((path, message)) = self.farewells.peek() {
            if !slab.has_room() {
                return;
            }
            if let Some(out) = slab.reserve().1.get_mut(..message.len()) {
                out.copy_from_slice(message);
                slab.commit(path, message.len());
            }
            self.farewells.pop();
        }
        while let Some(&number) = self.dirty.front() {
            let index = number as usize;
            let is_done = self.write_transport(now, index, slab);
            self.current = None;
            if !is_done {
                break;
            }
            self.dirty.pop_front();
            if let Some(transport) = self.transports.get_mut(index) {
                transport.is_dirty = false;
            }
        }
        self.finish_transmit(slab);
        if slab.runs().is_empty() {
            self.departures.settle(now);
        }
        for run in slab.runs() {
            self.sent.packets += run.count() as u64;
            self.sent.bytes += run.len as u64;
        }
    }

    /// Puts the tags into what lies in `slab`: the last part of [`poll_transmit`](Self::poll_transmit), and what is left to do
    /// where that was cut short by a fault, whose peer is gone then, so that the packets of all others can leave.
    pub fn finish_transmit(&mut self, slab: &mut SendSlab) {
        let Self { transports, tagger, .. } = self;
        tagger.finish(slab.bytes_mut(), |index| {
            transports.get(index as usize).and_then(|transport| transport.outbound.as_ref())
        });
    }

    /// Writes what waits for one peer; false where the slab is full before the end.
    pub(super) fn write_transport(&mut self, now: Time, index: usize, slab: &mut SendSlab) -> bool {
        let Self { transports, copies, store, tagger, drops, current, timers, .. } = self;
        let Some(transport) = transports.get_mut(index) else { return true };
        *current = Some(index);
        while let Some((path, message)) = transport.control.peek() {
            if !slab.has_room() {
                return false;
            }
            let (_, out) = slab.reserve();
            match out.get_mut(..message.len()) {
                Some(out) => {
                    out.copy_from_slice(message);
                    slab.commit(path, message.len());
                    transport.sent.count(message.len());
                }
                None => drops.count(Drop::Oversized),
            }
            transport.control.pop();
        }
        let (Some(path), Some(outbound)) = (transport.path, &transport.outbound) else {
            for _ in transport.queue.drain(..) {
                drops.count(Drop::NotConnected);
            }
            return true;
        };
        while let Some(queued) = transport.queue.front() {
            if !slab.has_room() {
                return false;
            }
            let (start, out) = slab.reserve();
            let mut stamp =
                Stamp { now, bandwidth: transport.bandwidth.as_deref_mut(), class: Class::Past, protection: None };
            let written = copies
                .get(queued.sender as usize)
                .ok_or(Drop::NotInHistory)
                .and_then(|copy| write_packet(copy, queued, store, outbound, out, &mut stamp));
            match written {
                Ok(sealed) => {
                    slab.commit(path, sealed.len);
                    transport.sent.count(sealed.len);
                    tagger.push(start, sealed, super::narrow(index));
                }
                Err(reason) => drops.count(reason),
            }
            transport.queue.pop_front();
        }
        let Some(bandwidth) = transport.bandwidth.as_deref_mut() else { return true };
        bandwidth.ripen(now);
        // Video and what is sent again, as the pacer lets go of them; then what a probe lacks.
        loop {
            if bandwidth.repairing.is_none() && !bandwidth.pacer.is_open(now) {
                break;
            }
            if !slab.has_room() {
                return false;
            }
            let (start, out) = slab.reserve();
            let Some(written) = write_next(now, bandwidth, copies, store, outbound, out) else { break };
            match written {
                Ok(sealed) => {
                    slab.commit(path, sealed.len);
                    transport.sent.count(sealed.len);
                    tagger.push(start, sealed, super::narrow(index));
                }
                Err(reason) => drops.count(reason),
            }
        }
        let at = bandwidth.pace_at(now);
        super::arm(transports, timers, index, at);
        *current = None;
        true
    }
}

/// The next packet of a numbered path: repair packets of a window that is complete, what waits, padding for a probe. None
/// when there is nothing.
fn write_next(
    now: Time,
    bandwidth: &mut Bandwidth,
    copies: &mut Slab<Copy>,
    store: &PacketStore,
    outbound: &Outbound,
    out: &mut [u8],
) -> Option<Result<Deferred, Drop>> {
    if let Some(sender) = bandwidth.repairing {
        if let Some(written) = write_repair(now, bandwidth, copies, sender, outbound, out) {
            return Some(written);
        }
        bandwidth.repairing = None;
        if !bandwidth.pacer.is_open(now) {
            return None;
        }
    }
    let waiting = bandwidth.front().copied();
    let is_padding = waiting.is_none();
    let queued = if let Some(queued) = waiting {
        queued
    } else {
        let sender = bandwidth.padded(now)?;
        let Some(queued) = padding_of(copies, sender, bandwidth.pacer.padding()) else {
            // The copy is gone, and nothing can be made of it until another is chosen: else there would always be something due.
            bandwidth.padding = None;
            return None;
        };
        queued
    };
    let class = match queued.rtx {
        _ if is_padding => Class::Padding,
        Some(_) => Class::Repair,
        None => Class::Video,
    };
    bandwidth.pop();
    let Some(copy) = copies.get_mut(queued.sender as usize) else { return Some(Err(Drop::NotInHistory)) };
    // Taken out for a moment: it sums up what is written of its copy.
    let mut protection = copy.protection.take();
    let mut stamp = Stamp { now, bandwidth: Some(bandwidth), class, protection: protection.as_deref_mut() };
    let written = write_packet(copy, &queued, store, outbound, out, &mut stamp);
    if protection.as_ref().is_some_and(|protection| protection.is_complete()) {
        bandwidth.repairing = Some(queued.sender);
    }
    copy.protection = protection;
    if is_padding && written.is_err() {
        // What was to be repeated is gone; the rest of the probe is not worth finding more.
        bandwidth.padding = None;
    }
    Some(written)
}

/// The next repair packet of a copy; none when its window is written.
fn write_repair(
    now: Time,
    bandwidth: &mut Bandwidth,
    copies: &mut Slab<Copy>,
    sender: u32,
    outbound: &Outbound,
    out: &mut [u8],
) -> Option<Result<Deferred, Drop>> {
    let copy = copies.get_mut(sender as usize)?;
    let mut protection = copy.protection.take()?;
    let mut stamp = Stamp { now, bandwidth: Some(bandwidth), class: Class::Protection, protection: None };
    let written = protection.write(copy, outbound, out, &mut stamp);
    copy.protection = Some(protection);
    written
}

/// When a packet leaves, for those who are told: under which number, or at what time.
pub(super) struct Stamp<'a> {
    now: Time,
    bandwidth: Option<&'a mut Bandwidth>,
    class: Class,
    /// What sums up what leaves for the first time.
    protection: Option<&'a mut Protection>,
}

impl Stamp<'_> {
    /// Writes the number (draft-holmer-rmcat-transport-wide-cc-extensions-01 §2) of a packet of `size` bytes in all into its
    /// place in `header`.
    fn write(&mut self, place: Option<Range<usize>>, size: usize, header: &mut [u8]) {
        let Some(bandwidth) = self.bandwidth.as_deref_mut() else { return };
        let size = size + OUTSIDE;
        if self.class == Class::Past {
            return bandwidth.handle_past(self.now, size);
        }
        let number = bandwidth.handle_sent(self.now, size, self.class);
        let Some(out) = place.and_then(|place| header.get_mut(place)) else { return };
        match bandwidth.feedback {
            Feedback::TransportCc => out.copy_from_slice(&number.to_be_bytes()),
            Feedback::Remb => out.copy_from_slice(&abs_send_time(self.now)),
        }
    }
}

/// Seconds in 6.18 bits: when a packet left, for peers that estimate themselves.
fn abs_send_time(now: Time) -> [u8; 3] {
    let [.., a, b, c] = ((u128::from(now.as_nanos()) << 18) / 1_000_000_000).to_be_bytes();
    [a, b, c]
}

/// A packet of about `size` bytes for a probe that has nothing else to send: one sent lately where some get lost, since it may
/// be one of those, else nothing but padding. A video packet is too much for the probes of narrow paths: five of them fill the
/// queue of 200 kbit/s for a quarter of a second.
fn padding_of(copies: &mut Slab<Copy>, sender: u32, size: u32) -> Option<Queued> {
    let copy = copies.get_mut(sender as usize)?;
    let is_of_use = size > MOST_PADDED && copy.playout.is_lossy();
    let copy = copy.sender.as_mut()?;
    let seq = if is_of_use { copy.poll_padding().unwrap_or(SeqNo(0)) } else { SeqNo(0) };
    let rtx = copy.next_rtx()?;
    Some(Queued { sender, seq, rtx: Some(rtx) })
}

/// One subscriber's packet: its own header and patched head, the shared payload behind it, sealed in the same stroke.
fn write_packet(
    copy: &Copy,
    queued: &Queued,
    store: &PacketStore,
    outbound: &Outbound,
    out: &mut [u8],
    stamp: &mut Stamp<'_>,
) -> Result<Deferred, Drop> {
    let sender = copy.sender.as_ref().ok_or(Drop::NotInHistory)?;
    if let (Some(rtx), SeqNo(0)) = (queued.rtx, queued.seq) {
        return write_padding(copy, rtx, outbound, out, stamp);
    }
    let entry = sender.entry(queued.seq).ok_or(Drop::NotInHistory)?;
    let (packet, bytes, _) = store.find(entry.packet).ok_or(Drop::NotInHistory)?;

    let mut payload = packet.payload(bytes);
    if (1..Entry::AS_IT_CAME).contains(&entry.blocks) {
        let mut repeated = [0; MAX_PACKET];
        let len = copy.redundancy.write(sender, entry, store, &mut repeated).ok_or(Drop::NotInHistory)?;
        let payload = repeated.get(..len).ok_or(Drop::Oversized)?;
        return write_payload(copy, queued, (entry, packet, bytes), payload, outbound, out, stamp);
    }
    if packet.descriptor.detail == Detail::Red && !is_red(copy, entry.payload_type) {
        let primary = red::parse(payload).ok_or(Drop::BadPayload)?.primary();
        payload = payload.get(primary.range).ok_or(Drop::BadPayload)?;
    }
    write_payload(copy, queued, (entry, packet, bytes), payload, outbound, out, stamp)
}

/// The same, once it is known what is in it.
fn write_payload(
    copy: &Copy,
    queued: &Queued,
    (entry, packet, bytes): (&Entry, &Packet, &[u8]),
    payload: &[u8],
    outbound: &Outbound,
    out: &mut [u8],
    stamp: &mut Stamp<'_>,
) -> Result<Deferred, Drop> {
    let sender = copy.sender.as_ref().ok_or(Drop::NotInHistory)?;
    let detail = &packet.descriptor.detail;
    let (mut head, mut head_len) = ([0; MAX_HEAD], 0);
    let (ssrc, seq, payload_type) = match queued.rtx {
        None => (sender.ssrc(), queued.seq, entry.payload_type),
        Some((ssrc, seq)) => {
            let codec = copy.parameters.codecs.iter().find(|codec| codec.payload_type == entry.payload_type);
            let rtx = codec.and_then(|codec| codec.rtx).ok_or(Drop::UnknownPayloadType)?;
            if let Some(original) = head.first_chunk_mut() {
                *original = queued.seq.low().to_be_bytes();
                head_len = 2;
            }
            (ssrc, seq, rtx)
        }
    };
    let own = payload::patch::head_len(detail).min(payload.len());
    let (patched, body) = payload.split_at_checked(own).unwrap_or((&[], payload));
    if let Some(slot) = head.get_mut(head_len..head_len + own) {
        slot.copy_from_slice(patched);
        entry.patch.apply(detail, slot);
        head_len += own;
    }

    let fixed = FixedHeader {
        marker: entry.marker,
        payload_type,
        sequence_number: seq.low(),
        timestamp: entry.timestamp,
        ssrc,
        ..FixedHeader::default()
    };
    let (header_len, place) = write_header(copy, entry, packet, bytes, fixed, out).ok_or(Drop::Oversized)?;
    let head = head.get(..head_len).unwrap_or(&[]);
    if let Some(protection) = stamp.protection.as_deref_mut()
        && queued.rtx.is_none()
    {
        // Before the number is written: what changes when a packet leaves counts as zero in sums.
        let fixed = FixedHeader { has_extension: header_len > FixedHeader::LEN, ..fixed };
        protection.add(&fixed, &[out.get(FixedHeader::LEN..header_len).unwrap_or(&[]), head, body]);
    }
    let size = header_len + head.len() + body.len() + outbound.rtp_overhead();
    stamp.write(place, size, out);
    // Streams count from 2^16, so that what came before the first packet still has a number; SRTP counts from zero.
    outbound.protect_rtp_deferred(seq.0 - (1 << 16), header_len, head, body, out).ok_or(Drop::Oversized)
}

/// A packet of nothing but padding, under the number of a retransmission (RFC 4588 §4, RFC 3550 §5.1).
fn write_padding(
    copy: &Copy,
    (ssrc, seq): (Ssrc, SeqNo),
    outbound: &Outbound,
    out: &mut [u8],
    stamp: &mut Stamp<'_>,
) -> Result<Deferred, Drop> {
    let payload_type = copy.parameters.codecs.iter().find_map(|codec| codec.rtx).ok_or(Drop::UnknownPayloadType)?;
    let fixed =
        FixedHeader { payload_type, sequence_number: seq.low(), ssrc, has_padding: true, ..FixedHeader::default() };
    let wanted = stamp.bandwidth.as_ref().map_or(0, |bandwidth| bandwidth.pacer.padding() as usize);
    let rest = FixedHeader::LEN + HEAD_OF_OWN + outbound.rtp_overhead() + OUTSIDE;
    let count = u8::try_from(wanted.saturating_sub(rest)).unwrap_or(u8::MAX).max(1);
    // The last byte counts them all.
    let mut padding = [0; u8::MAX as usize];
    let padding = padding.get_mut(..count.into()).ok_or(Drop::Oversized)?;
    *padding.last_mut().ok_or(Drop::Oversized)? = count;
    write_own(copy, fixed, seq, padding, outbound, out, stamp)
}

/// About what the extensions of a packet of our own take.
const HEAD_OF_OWN: usize = 16;

/// A packet that is no copy of anything: padding or repair.
pub(super) fn write_own(
    copy: &Copy,
    mut fixed: FixedHeader,
    seq: SeqNo,
    payload: &[u8],
    outbound: &Outbound,
    out: &mut [u8],
    stamp: &mut Stamp<'_>,
) -> Result<Deferred, Drop> {
    let (start, room) = out.split_at_mut_checked(FixedHeader::LEN).ok_or(Drop::Oversized)?;
    let mut writer = ExtensionWriter::new(room);
    if let (Some(id), Some(mid)) = (copy.parameters.extensions.id(ExtensionKind::Mid), &copy.parameters.mid) {
        writer.push(id, mid.as_bytes()).ok_or(Drop::Oversized)?;
    }
    let place = push_stamp(&mut writer, copy)?;
    let len = writer.finish();
    fixed.has_extension = len > 0;
    fixed.write(start).ok_or(Drop::Oversized)?;
    let header_len = FixedHeader::LEN + len;
    stamp.write(place, header_len + payload.len() + outbound.rtp_overhead(), out);
    outbound.protect_rtp_deferred(seq.0 - (1 << 16), header_len, &[], payload, out).ok_or(Drop::Oversized)
}

/// The largest packet of a probe that is made of padding, on the wire: one packet cannot have more than 255 bytes of it.
const MOST_PADDED: u32 = 400;

/// Makes room for what says when a packet leaves, and says where, if anything does; fails where the header is full.
fn push_stamp(writer: &mut ExtensionWriter<'_>, copy: &Copy) -> Result<Option<Range<usize>>, Drop> {
    if !copy.is_numbered {
        return Ok(None);
    }
    let ids = &copy.parameters.extensions;
    let (id, len) = match (ids.id(ExtensionKind::TransportCc), ids.id(ExtensionKind::AbsSendTime)) {
        (Some(id), _) => (id, 2),
        (None, Some(id)) => (id, 3),
        (None, None) => return Ok(None),
    };
    let blank = [0; 3];
    let at = blank.get(..len).and_then(|blank| writer.push(id, blank)).ok_or(Drop::Oversized)?;
    Ok(Some(FixedHeader::LEN + at..FixedHeader::LEN + at + len))
}

/// The fixed header and the extensions that were negotiated for this copy, and the place for what says when it leaves.
///
/// Nothing else in it depends on when it is written: without RTX a packet sent again must be the same to the last bit.
fn write_header(
    copy: &Copy,
    entry: &Entry,
    packet: &Packet,
    bytes: &[u8],
    mut fixed: FixedHeader,
    out: &mut [u8],
) -> Option<(usize, Option<Range<usize>>)> {
    let ids = &copy.parameters.extensions;
    let (start, room) = out.split_at_mut_checked(FixedHeader::LEN)?;
    let mut writer = ExtensionWriter::new(room);
    if let (Some(id), Some(mid)) = (ids.id(ExtensionKind::Mid), &copy.parameters.mid) {
        writer.push(id, mid.as_bytes())?;
    }
    let delay = playout_delay(copy, packet);
    if let (Some(id), Some(delay)) = (ids.id(ExtensionKind::PlayoutDelay), delay) {
        writer.push(id, &delay.write())?;
    }
    for kind in CARRIED {
        if kind == ExtensionKind::PlayoutDelay && delay.is_some() {
            continue;
        }
        if let (Some(id), Some(value)) = (ids.id(kind), packet.extensions.find(kind, bytes)) {
            writer.push(id, value)?;
        }
    }
    // VP8 says itself what depends on what. With the descriptor libwebrtc decodes whatever it can, and drops what is repaired
    // behind it: a fifth of the pictures at 5 % loss.
    if let (Some(id), Some(value)) = (
        ids.id(ExtensionKind::DependencyDescriptor),
        packet.extensions.find(ExtensionKind::DependencyDescriptor, bytes),
    ) && !matches!(packet.descriptor.detail, Detail::Vp8(_))
    {
        let mut copy = [0; 256];
        let len = payload::dependency_descriptor::write(value, entry.frame_offset, None, &mut copy)?;
        writer.push(id, copy.get(..len)?)?;
    }
    let place = push_stamp(&mut writer, copy).ok()?;
    let len = writer.finish();
    fixed.has_extension = len > 0;
    fixed.write(start)?;
    Some((FixedHeader::LEN + len, place))
}

/// How long the receiver is to hold this picture and those behind it back.
///
/// Where packets are sent again as they were, it must not change from one time to the next, so there only what was negotiated
/// counts. Receivers keep to it until they hear otherwise: with every picture that one can begin with it is said often enough.
fn playout_delay(copy: &Copy, packet: &Packet) -> Option<PlayoutDelay> {
    let adapted = copy.playout.value(copy.parameters.playout_delay).filter(|_| copy.is_numbered);
    match (adapted, copy.parameters.playout_delay) {
        (Some(adapted), _) => packet.descriptor.frame_start.then_some(adapted),
        (None, negotiated) => negotiated.filter(|_| packet.descriptor.keyframe),
    }
}

/// Whether a packet leaves as RED: only then are a publisher's blocks left in it.
fn is_red(copy: &Copy, payload_type: crate::units::Pt) -> bool {
    copy.parameters.codecs.iter().any(|codec| codec.payload_type == payload_type && codec.codec == Codec::Red)
}
