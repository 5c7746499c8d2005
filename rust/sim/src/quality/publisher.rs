//! Who sends: frames at their rate, paced as libwebrtc does, keyframes when asked, packets again when asked.

use core::time::Duration;
use std::collections::VecDeque;

use rtpcore_core::parameters::{CodecParameters, EncodingParameters, Kind, ReceiverParameters};
use rtpcore_core::payload::Codec;
use rtpcore_core::rtcp::{self, Compound, RtcpPacket, SenderInfo, Writer};
use rtpcore_core::rtp::header::FixedHeader;
use rtpcore_core::rtp::{ExtensionMap, NtpTime};
use rtpcore_core::srtp::{Inbound, Outbound};
use rtpcore_core::{Mid, Pt, Ssrc, Time};

use super::scenario::Source;
use super::source::{Coded, Encoder};
use crate::dice::Dice;
use crate::peer::{KeyRing, wall_of};

/// Packets kept for those who ask again.
const HISTORY: usize = 600;
const REPORTS: Duration = Duration::from_secs(1);
/// Publisher's payload types; retransmissions are one above.
const VP8: u8 = 96;
const OPUS: u8 = 111;
/// What tells two payload types apart or not, see [`CodecParameters::format`].
pub(super) const FORMATS: (u64, u64) = (8, 48);
/// Bytes of an Opus packet: 32 kbit/s.
const OPUS_LEN: usize = 80;

/// A codec's parameters, `nack` and RTX for video alone.
pub(super) fn codec(codec: Codec, payload_type: u8) -> CodecParameters {
    let is_video = codec == Codec::Vp8;
    CodecParameters {
        codec,
        payload_type: Pt(payload_type),
        clock_rate: if is_video { 90_000 } else { 48_000 },
        format: if is_video { FORMATS.0 } else { FORMATS.1 + u64::from(codec == Codec::Red) },
        rtx: is_video.then_some(Pt(payload_type + 1)),
        nack: is_video,
        pli: is_video,
        fir: false,
        transport_cc: false,
        remb: false,
    }
}

struct Stream {
    encoder: Encoder,
    ssrc: Ssrc,
    number: u64,
    rtx_number: u64,
    history: VecDeque<(u64, Coded)>,
    packets: u32,
    octets: u32,
}

/// A track that is being sent.
pub(super) struct Track {
    pub number: usize,
    source: Source,
    streams: Vec<Stream>,
    began_at: Time,
    frames: u64,
}

impl Track {
    pub(super) fn new(number: usize, source: Source, seed: u64) -> Self {
        let encodings = if let Source::Camera { rates, .. } = &source { rates.len() } else { 1 };
        let stream = |encoding: usize| Stream {
            encoder: Encoder::new(&source, encoding as u8, Dice::fork(seed, 64 + 8 * number as u64 + encoding as u64)),
            ssrc: ssrc_of(number, encoding),
            number: 1 << 16,
            rtx_number: 1 << 16,
            history: VecDeque::new(),
            packets: 0,
            octets: 0,
        };
        let streams = (0..encodings).map(stream).collect();
        // Tracks do not tick in step.
        let began_at = Time::from_millis(10 + 7 * number as u64 % 33);
        Self { number, source, streams, began_at, frames: 0 }
    }

    /// Bits per second of each temporal layer of each encoding, keyframes left out, as a viewer's wire has them.
    pub(super) fn costs(&self, now: Time) -> [[u64; 4]; 3] {
        let mut costs = [[0; 4]; 3];
        let passed = now.since(self.began_at).as_millis().max(1) as u64;
        for (row, stream) in costs.iter_mut().zip(&self.streams) {
            let mut sum = 0;
            for (cost, made) in row.iter_mut().zip(stream.encoder.made).filter(|(_, made)| *made > 0) {
                sum += made;
                *cost = sum * 8000 / passed;
            }
        }
        costs
    }

    pub(super) fn is_audio(&self) -> bool {
        self.source == Source::Microphone
    }

    /// The best encoding there is.
    pub(super) fn top(&self) -> u8 {
        (self.streams.len() - 1) as u8
    }

    /// What signalling tells the router.
    pub(super) fn parameters(&self) -> ReceiverParameters {
        let encoding = |stream: &Stream| EncodingParameters {
            rid: None,
            ssrc: Some(stream.ssrc),
            rtx_ssrc: (!self.is_audio()).then_some(Ssrc(stream.ssrc.0 + 1)),
            fec_ssrc: None,
        };
        ReceiverParameters {
            kind: if self.is_audio() { Kind::Audio } else { Kind::Video },
            mid: Mid::new(format!("{}", self.number).as_bytes()),
            codecs: vec![if self.is_audio() { codec(Codec::Opus, OPUS) } else { codec(Codec::Vp8, VP8) }],
            encodings: self.streams.iter().map(encoding).collect(),
            extensions: ExtensionMap::NONE,
            fec: None,
        }
    }

    fn interval(&self) -> Duration {
        match self.source {
            Source::Microphone => Duration::from_millis(20),
            Source::Camera { fps, .. } => Duration::from_nanos(1_000_000_000 / fps),
            Source::Slides => Duration::from_nanos(1_000_000_000 / 15),
        }
    }

    fn due_at(&self) -> Time {
        self.began_at + Duration::from_nanos(self.interval().as_nanos() as u64 * self.frames)
    }

    fn timestamp_at(&self, now: Time) -> u32 {
        let rate = if self.is_audio() { 48_000 } else { 90_000 };
        (u128::from(now.as_nanos()) * rate / 1_000_000_000) as u32
    }

    /// The packets of the next frame in all encodings, with the encoding.
    fn make(&mut self) -> Vec<(usize, Coded)> {
        let now = self.due_at();
        let timestamp = self.timestamp_at(now);
        self.frames += 1;
        if self.is_audio() {
            let payload = vec![0x78; OPUS_LEN];
            return vec![(0, Coded { payload, timestamp, marker: self.frames == 1 })];
        }
        // Small ones first, as libwebrtc's encoder gives them out.
        let streams = self.streams.iter_mut().enumerate();
        streams
            .flat_map(|(n, stream)| stream.encoder.encode(now, timestamp).into_iter().map(move |it| (n, it)))
            .collect()
    }

    /// One packet, sealed; as a retransmission under a number of that stream.
    fn seal(&mut self, encoding: usize, number: u64, coded: &Coded, is_rtx: bool, sealer: &Outbound) -> Vec<u8> {
        let payload_type = if self.is_audio() { OPUS } else { VP8 + u8::from(is_rtx) };
        let stream = &mut self.streams[encoding];
        let (ssrc, seq) = if is_rtx {
            stream.rtx_number += 1;
            (Ssrc(stream.ssrc.0 + 1), stream.rtx_number)
        } else {
            (stream.ssrc, number)
        };
        let header = FixedHeader {
            marker: coded.marker,
            payload_type: Pt(payload_type),
            sequence_number: seq as u16,
            timestamp: coded.timestamp,
            ssrc,
            ..FixedHeader::default()
        };
        let mut out = [0; 1500];
        out[..FixedHeader::LEN].copy_from_slice(&header.to_bytes());
        let original = (number as u16).to_be_bytes();
        let head: &[u8] = if is_rtx { &original } else { &[] };
        let len = sealer.protect_rtp(seq - (1 << 16), FixedHeader::LEN, head, &coded.payload, &mut out).unwrap_or(0);
        out[..len].to_vec()
    }

    fn send(&mut self, encoding: usize, coded: Coded, sealer: &Outbound) -> Vec<u8> {
        let stream = &mut self.streams[encoding];
        stream.number += 1;
        stream.packets += 1;
        stream.octets = stream.octets.wrapping_add(coded.payload.len() as u32);
        let number = stream.number;
        let sealed = self.seal(encoding, number, &coded, false, sealer);
        let history = &mut self.streams[encoding].history;
        history.push_back((number, coded));
        if history.len() > HISTORY {
            history.pop_front();
        }
        sealed
    }
}

/// One publisher with its tracks.
pub(super) struct Publisher {
    sealer: Outbound,
    opener: Inbound,
    number: usize,
    pub tracks: Vec<Track>,
    /// Video that waits for its turn.
    waiting: VecDeque<Vec<u8>>,
    /// Bits per second at which video leaves.
    rate: u64,
    free_at: Time,
    report_at: Time,
    outgoing: VecDeque<Vec<u8>>,
    pub asked_keyframes: u64,
}

impl Publisher {
    pub(super) fn new(number: usize, keys: &KeyRing, tracks: Vec<Track>) -> Self {
        let rate = |track: &Track| match &track.source {
            Source::Camera { rates, .. } => rates.iter().sum(),
            Source::Slides => 2_500_000,
            Source::Microphone => 0,
        };
        // libwebrtc's pacing factor.
        let rate = tracks.iter().map(rate).sum::<u64>().max(1) * 5 / 2;
        let (free_at, report_at) = (Time::ZERO, Time::from_millis(100));
        let (waiting, outgoing) = (VecDeque::new(), VecDeque::new());
        let (sealer, opener) = (keys.sealer(), keys.opener(64));
        Self { sealer, opener, number, tracks, waiting, rate, free_at, report_at, outgoing, asked_keyframes: 0 }
    }

    pub(super) fn handle_datagram(&mut self, datagram: &[u8]) {
        let mut plain = datagram.to_vec();
        let Ok(packets) = self.opener.unprotect_rtcp(&mut plain) else { return };
        for packet in Compound::new(packets).flatten() {
            match packet {
                RtcpPacket::Pli(pli) => {
                    self.asked_keyframes += 1;
                    let is_asked = |stream: &Stream| stream.ssrc == pli.media_ssrc;
                    // libwebrtc's VP8 encoder makes keyframes of all encodings when one is asked for.
                    for track in self.tracks.iter_mut().filter(|track| track.streams.iter().any(is_asked)) {
                        track.streams.iter_mut().for_each(|stream| stream.encoder.ask_keyframe());
                    }
                }
                RtcpPacket::Nack(nack) => nack.iter().for_each(|low| self.retransmit(nack.media_ssrc, low)),
                _ => {}
            }
        }
    }

    fn retransmit(&mut self, ssrc: Ssrc, low: u16) {
        for track in &mut self.tracks {
            let Some(encoding) = track.streams.iter().position(|stream| stream.ssrc == ssrc) else { continue };
            let kept = track.streams[encoding].history.iter().find(|(number, _)| *number as u16 == low).cloned();
            if let Some((number, coded)) = kept {
                let sealed = track.seal(encoding, number, &coded, true, &self.sealer);
                self.waiting.push_front(sealed);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        for track in &mut self.tracks {
            while track.due_at().is_due(now) {
                let is_audio = track.is_audio();
                for (encoding, coded) in track.make() {
                    let sealed = track.send(encoding, coded, &self.sealer);
                    if is_audio { &mut self.outgoing } else { &mut self.waiting }.push_back(sealed);
                }
            }
        }
        while self.free_at.is_due(now)
            && let Some(sealed) = self.waiting.pop_front()
        {
            self.free_at =
                self.free_at.max(now) + Duration::from_nanos(sealed.len() as u64 * 8_000_000_000 / self.rate);
            self.outgoing.push_back(sealed);
        }
        if self.report_at.is_due(now) {
            self.report_at = now + REPORTS;
            self.report(now);
        }
    }

    fn report(&mut self, now: Time) {
        for track in &self.tracks {
            let mut plain = [0; 400];
            let mut writer = Writer::new(&mut plain);
            for stream in &track.streams {
                let info = SenderInfo {
                    ntp_time: NtpTime(wall_of(self.number, now)),
                    rtp_timestamp: track.timestamp_at(now),
                    packet_count: stream.packets,
                    octet_count: stream.octets,
                };
                let _ = rtcp::report::write_sender_report(&mut writer, stream.ssrc, &info, &[]);
            }
            let mut out = [0; 500];
            if let Some(len) = self.sealer.protect_rtcp(writer.as_bytes(), &mut out) {
                self.outgoing.push_back(out[..len].to_vec());
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Time {
        let paced = if self.waiting.is_empty() { Time::NEVER } else { self.free_at };
        self.tracks.iter().map(Track::due_at).fold(paced.min(self.report_at), Time::min)
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }
}

fn ssrc_of(track: usize, encoding: usize) -> Ssrc {
    Ssrc(0x2000_0000 + ((track as u32) << 4) + ((encoding as u32) << 1))
}
