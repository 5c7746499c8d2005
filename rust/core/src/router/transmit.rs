//! The end of a batch: queued packets become datagrams in a slab, peer by peer, so that each peer's are one run.

use super::{Copy, Router};
use crate::drop::Drop;
use crate::payload::{self, Codec, red};
use crate::rtp::extension::ExtensionWriter;
use crate::rtp::{ExtensionKind, header::FixedHeader};
use crate::send::Entry;
use crate::srtp::{Deferred, Outbound};
use crate::store::PacketStore;
use crate::time::Time;
use crate::transmit::SendSlab;
use crate::transport::Queued;

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
            if !self.write_transport(index, slab) {
                break;
            }
            self.dirty.pop_front();
            if let Some(transport) = self.transports.get_mut(index) {
                transport.is_dirty = false;
            }
        }
        let Self { transports, tagger, .. } = self;
        tagger.finish(slab.bytes_mut(), |index| {
            transports.get(index as usize).and_then(|transport| transport.outbound.as_ref())
        });
        if slab.runs().is_empty() {
            self.departures.settle(now);
        }
        for run in slab.runs() {
            self.sent.packets += run.count() as u64;
            self.sent.bytes += run.len as u64;
        }
    }

    /// Writes what waits for one peer; false where the slab is full before the end.
    fn write_transport(&mut self, index: usize, slab: &mut SendSlab) -> bool {
        let Self { transports, copies, store, tagger, drops, current, .. } = self;
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
            let written = copies
                .get(queued.sender as usize)
                .ok_or(Drop::NotInHistory)
                .and_then(|copy| write_packet(copy, queued, store, outbound, out));
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
        *current = None;
        true
    }
}

/// One subscriber's packet: its own header and patched head, the shared payload behind it, sealed in the same stroke.
fn write_packet(
    copy: &Copy,
    queued: &Queued,
    store: &PacketStore,
    outbound: &Outbound,
    out: &mut [u8],
) -> Result<Deferred, Drop> {
    let sender = copy.sender.as_ref().ok_or(Drop::NotInHistory)?;
    let entry = sender.entry(queued.seq).ok_or(Drop::NotInHistory)?;
    let (packet, bytes, _) = store.find(entry.packet).ok_or(Drop::NotInHistory)?;

    let mut payload = packet.payload(bytes);
    if packet_is_red(copy, packet.header.payload_type) && !is_red(copy, entry.payload_type) {
        let primary = red::parse(payload).ok_or(Drop::BadPayload)?.primary();
        payload = payload.get(primary.range).ok_or(Drop::BadPayload)?;
    }
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
    let header_len = write_header(copy, entry, packet, bytes, fixed, out).ok_or(Drop::Oversized)?;
    let head = head.get(..head_len).unwrap_or(&[]);
    // Streams count from 2^16, so that what came before the first packet still has a number; SRTP counts from zero.
    outbound.protect_rtp_deferred(seq.0 - (1 << 16), header_len, head, body, out).ok_or(Drop::Oversized)
}

/// The fixed header and the extensions that were negotiated for this copy.
///
/// Nothing in it depends on when it is written: without RTX a packet sent again must be the same to the last bit.
fn write_header(
    copy: &Copy,
    entry: &Entry,
    packet: &crate::packet::Packet,
    bytes: &[u8],
    mut fixed: FixedHeader,
    out: &mut [u8],
) -> Option<usize> {
    let ids = &copy.parameters.extensions;
    let (start, room) = out.split_at_mut_checked(FixedHeader::LEN)?;
    let mut writer = ExtensionWriter::new(room);
    if let (Some(id), Some(mid)) = (ids.id(ExtensionKind::Mid), &copy.parameters.mid) {
        writer.push(id, mid.as_bytes())?;
    }
    for kind in CARRIED {
        if let (Some(id), Some(value)) = (ids.id(kind), packet.extensions.find(kind, bytes)) {
            writer.push(id, value)?;
        }
    }
    if let (Some(id), Some(value)) = (
        ids.id(ExtensionKind::DependencyDescriptor),
        packet.extensions.find(ExtensionKind::DependencyDescriptor, bytes),
    ) {
        let mut copy = [0; 256];
        let len = payload::dependency_descriptor::write(value, entry.frame_offset, None, &mut copy)?;
        writer.push(id, copy.get(..len)?)?;
    }
    let len = writer.finish();
    fixed.has_extension = len > 0;
    fixed.write(start)?;
    Some(FixedHeader::LEN + len)
}

/// Whether the publisher's payload type carries RED: only then is a packet taken apart for subscribers without it.
fn packet_is_red(copy: &Copy, payload_type: crate::units::Pt) -> bool {
    copy.red == Some(payload_type)
}

fn is_red(copy: &Copy, payload_type: crate::units::Pt) -> bool {
    copy.parameters.codecs.iter().any(|codec| codec.payload_type == payload_type && codec.codec == Codec::Red)
}
