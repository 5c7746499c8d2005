//! The sending half of a peer: frames into packets, reports, and answers to those who ask for either again.

use core::time::Duration;
use std::collections::VecDeque;

use rtpcore_core::rtcp::{self, SenderInfo, Writer};
use rtpcore_core::rtp::header::FixedHeader;
use rtpcore_core::rtp::{ExtensionKind, ExtensionWriter, NtpTime};
use rtpcore_core::srtp::Outbound;
use rtpcore_core::{Pt, Ssrc, Time};

use super::{Outgoing, Studio};
use crate::media::{Coded, Encoder, Media, Naming, Track, published_extensions};

/// Packets kept for those who ask again: as many as browsers keep.
const HISTORY: usize = 1000;
/// Between sender reports.
const REPORTS: Duration = Duration::from_secs(1);

/// Which packet of which track a datagram carries, in the original or again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// The track's number.
    pub track: u16,
    /// The encoding.
    pub encoding: u8,
    /// The packet's number, counted on over wraps.
    pub number: u64,
    /// How often it was sent before.
    pub attempt: u32,
}

/// A track that is being sent.
pub struct Published {
    /// Which.
    pub track: Track,
    streams: Vec<Stream>,
    frame_at: Time,
    report_at: Time,
}

struct Stream {
    encoder: Encoder,
    ssrc: Ssrc,
    rtx_ssrc: Ssrc,
    rtx_number: u64,
    history: VecDeque<Kept>,
    packets: u32,
    octets: u32,
    /// Whether reports showed that the router knows whose packets these are.
    is_known: bool,
    is_rtx_known: bool,
}

struct Kept {
    coded: Coded,
    sealed: Vec<u8>,
    attempts: u32,
}

impl Published {
    pub(super) fn new(now: Time, track: Track, seed: u64) -> Self {
        let stream = |encoding| Stream {
            encoder: Encoder::new(track, encoding, seed),
            ssrc: track.ssrc(encoding),
            rtx_ssrc: track.rtx_ssrc(encoding),
            rtx_number: 1 << 16,
            history: VecDeque::new(),
            packets: 0,
            octets: 0,
            is_known: track.naming == Naming::Ssrc,
            is_rtx_known: track.naming == Naming::Ssrc,
        };
        // Tracks do not tick in step.
        let phase = Duration::from_micros(u64::from(track.number) * 1_700);
        Self {
            track,
            streams: (0..track.media.encodings()).map(stream).collect(),
            frame_at: now + phase,
            report_at: now + Duration::from_millis(200) + phase,
        }
    }

    pub(super) fn ssrcs(&self) -> impl Iterator<Item = Ssrc> {
        self.streams.iter().flat_map(|stream| [stream.ssrc, stream.rtx_ssrc])
    }

    pub(super) fn deadline(&self) -> Time {
        self.frame_at.min(self.report_at)
    }

    /// The next picture of every encoding, if it is time.
    pub(super) fn poll_frames(
        &mut self,
        now: Time,
        sealer: &Outbound,
        transport_cc: &mut u16,
        studio: &mut Studio,
        outgoing: &mut VecDeque<Outgoing>,
    ) {
        if !self.frame_at.is_due(now) {
            return;
        }
        for (encoding, stream) in (0..).zip(&mut self.streams) {
            let (packets, frames) = stream.encoder.encode(self.frame_at);
            studio.add(self.track.number, encoding, frames);
            for coded in packets {
                let sealed = stream.seal(&self.track, encoding, &coded, None, sealer, transport_cc);
                let label = Label { track: self.track.number, encoding, number: coded.number, attempt: 0 };
                outgoing.push_back(Outgoing { bytes: sealed.clone(), label: Some(label) });
                stream.packets += 1;
                stream.octets = stream.octets.wrapping_add(u32::try_from(coded.payload.len()).unwrap_or(0));
                stream.history.push_back(Kept { coded, sealed, attempts: 0 });
            }
            while stream.history.len() > HISTORY {
                stream.history.pop_front();
            }
        }
        self.frame_at = self.frame_at + Duration::from_nanos(self.track.media.interval());
    }

    /// One compound of sender reports, if it is time; `wall` is the publisher's clock.
    pub(super) fn poll_report(&mut self, now: Time, wall: u64, sealer: &mut Outbound) -> Option<Vec<u8>> {
        if !self.report_at.is_due(now) {
            return None;
        }
        self.report_at = now + REPORTS;
        let mut plain = [0; 1200];
        let mut writer = Writer::new(&mut plain);
        for stream in self.streams.iter().filter(|stream| stream.packets > 0) {
            let info = SenderInfo {
                ntp_time: NtpTime(wall),
                rtp_timestamp: stream.encoder.timestamp_at(now),
                packet_count: stream.packets,
                octet_count: stream.octets,
            };
            rtcp::report::write_sender_report(&mut writer, stream.ssrc, &info, &[]).ok()?;
            rtcp::sdes::write_cname(&mut writer, stream.ssrc, b"sim").ok()?;
        }
        seal_rtcp(&writer, sealer)
    }

    /// Reports show that packets under this SSRC arrive.
    pub(super) fn handle_report(&mut self, ssrc: Ssrc) {
        for stream in &mut self.streams {
            stream.is_known |= stream.ssrc == ssrc;
            stream.is_rtx_known |= stream.rtx_ssrc == ssrc;
        }
    }

    pub(super) fn handle_pli(&mut self, ssrc: Ssrc) {
        self.streams.iter_mut().filter(|stream| stream.ssrc == ssrc).for_each(|stream| stream.encoder.ask_keyframe());
    }

    /// One packet again, if it is this track's and is kept.
    pub(super) fn retransmit(
        &mut self,
        ssrc: Ssrc,
        low: u16,
        sealer: &Outbound,
        transport_cc: &mut u16,
    ) -> Option<Outgoing> {
        let track = self.track;
        let (encoding, stream) = (0..).zip(&mut self.streams).find(|(_, stream)| stream.ssrc == ssrc)?;
        let at = stream.history.iter().position(|kept| kept.coded.number.to_be_bytes()[6..] == low.to_be_bytes())?;
        let kept = &mut stream.history[at];
        kept.attempts += 1;
        let label = Label { track: track.number, encoding, number: kept.coded.number, attempt: kept.attempts };
        if !track.has_rtx {
            return Some(Outgoing { bytes: kept.sealed.clone(), label: Some(label) });
        }
        let coded = kept.coded.clone();
        let number = stream.rtx_number;
        stream.rtx_number += 1;
        let bytes = stream.seal(&track, encoding, &coded, Some(number), sealer, transport_cc);
        Some(Outgoing { bytes, label: Some(label) })
    }
}

impl Stream {
    /// One packet as it goes on the wire; as a retransmission under a number of that stream (RFC 4588 §4).
    fn seal(
        &self,
        track: &Track,
        encoding: u8,
        coded: &Coded,
        again: Option<u64>,
        sealer: &Outbound,
        transport_cc: &mut u16,
    ) -> Vec<u8> {
        let (number, ssrc, payload_type) = match again {
            None => (coded.number, self.ssrc, track.media.payload_type()),
            Some(number) => (number, self.rtx_ssrc, track.media.payload_type() + 1),
        };
        let mut out = [0; 1500];
        let (fixed, room) = out.split_at_mut(FixedHeader::LEN);
        let extensions = self.write_extensions(track, encoding, coded, again.is_some(), transport_cc, room);
        let header = FixedHeader {
            marker: coded.marker,
            payload_type: Pt(payload_type),
            sequence_number: low(number),
            timestamp: coded.timestamp,
            ssrc,
            has_extension: extensions > 0,
            ..FixedHeader::default()
        };
        fixed.copy_from_slice(&header.to_bytes());
        let original = low(coded.number).to_be_bytes();
        let head: &[u8] = if again.is_some() { &original } else { &[] };
        let sealed =
            sealer.protect_rtp(number - (1 << 16), FixedHeader::LEN + extensions, head, &coded.payload, &mut out);
        out[..sealed.unwrap_or(0)].to_vec()
    }

    fn write_extensions(
        &self,
        track: &Track,
        encoding: u8,
        coded: &Coded,
        is_rtx: bool,
        transport_cc: &mut u16,
        room: &mut [u8],
    ) -> usize {
        let ids = published_extensions();
        let mut writer = ExtensionWriter::new(room);
        let mut push = |kind, value: &[u8]| {
            if let Some(id) = ids.id(kind) {
                writer.push(id, value);
            }
        };
        *transport_cc = transport_cc.wrapping_add(1);
        push(ExtensionKind::TransportCc, &transport_cc.to_be_bytes());
        if let (false, Some(mid), Some(rid)) =
            (if is_rtx { self.is_rtx_known } else { self.is_known }, track.mid(), Track::rid(encoding))
        {
            push(ExtensionKind::Mid, mid.as_bytes());
            push(if is_rtx { ExtensionKind::RepairedRid } else { ExtensionKind::Rid }, rid.as_bytes());
        }
        if track.media == Media::Opus {
            push(ExtensionKind::AudioLevel, &[0x80 | 30]);
        }
        if let Some(descriptor) = &coded.descriptor {
            push(ExtensionKind::DependencyDescriptor, descriptor);
        }
        writer.finish()
    }
}

/// The 16 bits of the wire.
pub(super) fn low(number: u64) -> u16 {
    let [.., high, low] = number.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Seals what was written, if anything was.
pub(super) fn seal_rtcp(writer: &Writer<'_>, sealer: &mut Outbound) -> Option<Vec<u8>> {
    if writer.is_empty() {
        return None;
    }
    let mut out = [0; 1500];
    let len = sealer.protect_rtcp(writer.as_bytes(), &mut out)?;
    Some(out[..len].to_vec())
}
