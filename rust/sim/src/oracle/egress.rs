//! A tap on everything that leaves a router for one peer, before the network has its way with it.

use std::collections::BTreeMap;

use rtpcore_core::payload::{vp8, vp9};
use rtpcore_core::rtcp::{Compound, RtcpPacket};
use rtpcore_core::rtp::{ExtensionKind, Extensions, Header};
use rtpcore_core::srtp::{ClearHeader, Inbound};
use rtpcore_core::{Drop, SeqNo, Ssrc, Time};

use super::{ClockOracle, Rule, Violation};
use crate::dice::Digest;
use crate::media::{Media, Tag, Track, copy_extensions};
use crate::peer::{KeyRing, Studio};

/// One packet that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// When it left.
    pub at: Time,
    /// Which packet it is.
    pub tag: Tag,
    /// Its number at the publisher.
    pub number: u64,
    /// Its timestamp here.
    pub timestamp: u32,
    /// Its marker bit here.
    pub marker: bool,
    /// The picture id (VP8, VP9) or the frame number of its dependency descriptor (AV1) here.
    pub frame_number: Option<u16>,
    /// TL0PICIDX here.
    pub tl0: Option<u8>,
    /// Of what a retransmission must repeat.
    digest: u64,
}

/// All that was sent of one copy.
pub struct CopyLog {
    /// Its number in the world.
    pub view: usize,
    /// Its SSRC.
    pub ssrc: Ssrc,
    /// Whether retransmissions have an SSRC of their own.
    pub has_rtx: bool,
    /// Packets by their extended number.
    pub sent: BTreeMap<u64, Sent>,
    /// When sender reports left.
    pub reports: Vec<Time>,
    clock: ClockOracle,
    media: Indexes,
    rtx: Indexes,
}

/// The texts that were sealed under each index of one SSRC.
#[derive(Default)]
struct Indexes {
    highest: Option<SeqNo>,
    texts: BTreeMap<u64, u64>,
}

impl Indexes {
    /// The extended number of a datagram, and what else was sealed under it before.
    fn note(&mut self, low: u16, datagram: &[u8]) -> (u64, Option<bool>) {
        let highest = self.highest.get_or_insert(SeqNo::first(low));
        let seq = highest.nearest(low);
        *highest = seq.max(*highest);
        let digest = Digest::of(datagram);
        let before = self.texts.insert(seq.0, digest).map(|before| before == digest);
        (seq.0, before)
    }
}

/// The tap of one peer.
pub struct Egress {
    opener: Inbound,
    copies: Vec<CopyLog>,
    violations: Vec<Violation>,
}

impl Egress {
    /// A tap that knows the peer's keys.
    pub fn new(keys: &KeyRing) -> Self {
        Self { opener: keys.opener(1024), copies: Vec::new(), violations: Vec::new() }
    }

    /// Expects the packets of a copy.
    pub fn add_copy(&mut self, view: usize, ssrc: Ssrc, has_rtx: bool) {
        self.copies.push(CopyLog {
            view,
            ssrc,
            has_rtx,
            sent: BTreeMap::new(),
            reports: Vec::new(),
            clock: ClockOracle::default(),
            media: Indexes::default(),
            rtx: Indexes::default(),
        });
    }

    /// What was sent, by copy.
    pub fn copies(&self) -> &[CopyLog] {
        &self.copies
    }

    /// What was wrong at first sight.
    pub fn take_violations(&mut self) -> Vec<Violation> {
        std::mem::take(&mut self.violations)
    }

    /// Takes a datagram; `wall_of` is the clock of a track's publisher at an instant, NTP.
    pub fn handle(
        &mut self,
        now: Time,
        datagram: &[u8],
        studio: &Studio,
        tracks: &[Track],
        wall_of: &dyn Fn(u16, Time) -> u64,
    ) {
        let handled = match datagram {
            [_, 192..=223, ..] => self.handle_rtcp(now, datagram, tracks, wall_of),
            _ => self.handle_rtp(now, datagram, studio, tracks, wall_of),
        };
        if let Err((rule, what)) = handled {
            let at = if matches!(datagram, [_, 192..=223, ..]) { 4..8 } else { 8..12 };
            let ssrc = datagram.get(at).and_then(|ssrc| ssrc.try_into().ok()).map(u32::from_be_bytes);
            let view = self.copies.iter().find(|copy| Some(copy.ssrc.0) == ssrc).map_or(usize::MAX, |copy| copy.view);
            self.violations.push(Violation { rule, view, at: now, what });
        }
    }

    fn handle_rtcp(
        &mut self,
        now: Time,
        datagram: &[u8],
        tracks: &[Track],
        wall_of: &dyn Fn(u16, Time) -> u64,
    ) -> Result<(), (Rule, String)> {
        let unreadable = |reason: Drop| (Rule::Readable, format!("RTCP: {reason:?}"));
        let mut plain = datagram.to_vec();
        for packet in Compound::new(self.opener.unprotect_rtcp(&mut plain).map_err(unreadable)?) {
            if let RtcpPacket::SenderReport(report) = packet.map_err(unreadable)? {
                let copy = self.copies.iter_mut().find(|copy| copy.ssrc == report.ssrc);
                let copy = copy.ok_or((Rule::Readable, format!("a report on {:?}", report.ssrc)))?;
                copy.reports.push(now);
                copy.clock
                    .handle_report(now, report.info.ntp_time.0, report.info.rtp_timestamp, tracks, wall_of)
                    .map_err(|what| (Rule::Clock, what))?;
            }
        }
        Ok(())
    }

    fn handle_rtp(
        &mut self,
        now: Time,
        datagram: &[u8],
        studio: &Studio,
        tracks: &[Track],
        wall_of: &dyn Fn(u16, Time) -> u64,
    ) -> Result<(), (Rule, String)> {
        let unreadable = |reason: Drop| (Rule::Readable, format!("RTP: {reason:?}"));
        let clear = Header::parse_clear(datagram).map_err(unreadable)?;
        let copy = self.copies.iter_mut().find(|copy| clear.ssrc == copy.ssrc || clear.ssrc.0 == copy.ssrc.0 + 1);
        let copy = copy.ok_or((Rule::Negotiated, format!("{:?} was not announced", clear.ssrc)))?;
        let is_rtx = clear.ssrc != copy.ssrc;
        let indexes = if is_rtx { &mut copy.rtx } else { &mut copy.media };
        let (seq, before) = indexes.note(clear.sequence_number, datagram);
        match before {
            Some(false) => return Err((Rule::IndexOnce, format!("{:?} {seq} for two texts", clear.ssrc))),
            Some(true) if is_rtx || copy.has_rtx => {
                return Err((Rule::IndexOnce, format!("{:?} {seq} twice", clear.ssrc)));
            }
            // Without RTX what is sent again is the very same datagram.
            Some(true) => return Ok(()),
            None => {}
        }
        let len = usize::from(clear.payload_offset);
        let sealed = ClearHeader { ssrc: clear.ssrc, sequence_number: clear.sequence_number, len };
        let mut plain = [0; 2048];
        let len = self.opener.unprotect_rtp(datagram, sealed, &mut plain).map_err(unreadable)?;
        let header = Header::parse(&plain[..len]).map_err(unreadable)?;
        let payload = header.payload(&plain[..len]);
        if is_rtx {
            copy.check_rtx(&header, payload)
        } else {
            copy.note(now, seq, &header, &plain[..len], studio, tracks, wall_of)
        }
    }
}

impl CopyLog {
    fn check_rtx(&self, header: &Header, payload: &[u8]) -> Result<(), (Rule, String)> {
        let wrong = |what: String| (Rule::Retransmission, what);
        let (original, rest) = payload.split_first_chunk().ok_or(wrong("of nothing".into()))?;
        let low = u16::from_be_bytes(*original);
        let seq = self.media.highest.map_or(0, |highest| highest.nearest(low).0);
        let sent = self.sent.get(&seq).ok_or(wrong(format!("of {seq}, never sent")))?;
        if sent.digest == digest_of(header, rest) { Ok(()) } else { Err(wrong(format!("of {seq} is another"))) }
    }

    #[allow(clippy::too_many_arguments)] // one caller
    fn note(
        &mut self,
        now: Time,
        seq: u64,
        header: &Header,
        packet: &[u8],
        studio: &Studio,
        tracks: &[Track],
        wall_of: &dyn Fn(u16, Time) -> u64,
    ) -> Result<(), (Rule, String)> {
        let payload = header.payload(packet);
        let tag = Tag::read(payload).ok_or((Rule::Readable, format!("{seq} is no publisher's packet")))?;
        let track = tracks.get(usize::from(tag.track)).ok_or((Rule::Readable, format!("{tag:?}")))?;
        let frame = studio.frame(tag.track, tag.encoding, tag.frame).ok_or((Rule::Readable, format!("{tag:?}")))?;
        if header.payload_type.0 != track.media.copy_payload_type() {
            return Err((Rule::Negotiated, format!("{seq} has {:?}", header.payload_type)));
        }
        let extensions = Extensions::parse(header, packet, &copy_extensions());
        let frame_number = match track.media {
            Media::Vp8 { .. } => vp8::parse(payload).and_then(|payload| payload.numbers.picture_id.number()),
            Media::Vp9 { .. } => vp9::parse(payload).and_then(|payload| payload.numbers.picture_id.number()),
            Media::Av1 { .. } => match extensions.find(ExtensionKind::DependencyDescriptor, packet) {
                Some(&[_, high, low, ..]) => Some(u16::from_be_bytes([high, low])),
                _ => return Err((Rule::Negotiated, format!("{seq} has no dependency descriptor"))),
            },
            Media::H264 | Media::Opus => None,
        };
        let tl0 = match track.media {
            Media::Vp8 { .. } => vp8::parse(payload).and_then(|payload| payload.numbers.tl0_pic_idx),
            _ => None,
        };
        self.clock
            .handle_packet(now, tag.track, header.timestamp, frame.captured_at, tracks, wall_of)
            .map_err(|what| (Rule::Clock, what))?;
        let sent = Sent {
            at: now,
            tag,
            number: frame.first + u64::from(tag.part),
            timestamp: header.timestamp,
            marker: header.marker,
            frame_number,
            tl0,
            digest: digest_of(header, payload),
        };
        self.sent.insert(seq, sent);
        Ok(())
    }
}

fn digest_of(header: &Header, payload: &[u8]) -> u64 {
    let mut digest = Digest::default();
    digest.number(u64::from(header.timestamp) << 1 | u64::from(header.marker));
    digest.bytes(payload);
    digest.value()
}
