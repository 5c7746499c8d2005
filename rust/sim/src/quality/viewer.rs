//! Who watches, as libwebrtc does: says which packets came and when, asks for what is missing, asks for a keyframe when stuck.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use rtpcore_core::parameters::{Kind, SenderParameters};
use rtpcore_core::payload::{Codec, red};
use rtpcore_core::rtcp::transport_cc::{self, Head};
use rtpcore_core::rtcp::{self, Compound, ReportBlock, RtcpPacket, Writer};
use rtpcore_core::rtp::extension::Extensions;
use rtpcore_core::rtp::{ExtensionKind, ExtensionMap, Header};
use rtpcore_core::srtp::{ClearHeader, Inbound, Outbound};
use rtpcore_core::{Bitrate, Mid, SeqNo, Ssrc, Time};

use super::audio::JitterBuffer;
use super::playout::Playout;
use super::publisher::codec;
use super::remb::RembEstimator;
use super::scenario::{Answers, ViewerPlan};
use super::source::Tag;
use crate::peer::{Counted, KeyRing, Numbers};

/// Between requests for the same packet: what libwebrtc takes for the round trip where it only receives.
const REPEAT: Duration = Duration::from_millis(100);
const MOST_TRIES: u8 = 10;
/// Numbers missing at once; with more, only a keyframe helps.
const MOST_MISSING: usize = 1000;
/// Without a frame for so long a keyframe is asked for: before the first, and later.
const FIRST_PATIENCE: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(3);
const REPORTS: Duration = Duration::from_secs(1);
/// What came so long ago is not reported again when a number below it comes late.
const REMEMBERED: Duration = Duration::from_millis(500);
const TRANSPORT_CC: u8 = 3;
const ABS_SEND_TIME: u8 = 4;
const PLAYOUT_DELAY: u8 = 5;
const VP8: u8 = 120;
const OPUS: u8 = 109;
const RED: u8 = 63;

/// Bytes that came, IP and UDP included, by what they were.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Came {
    pub audio: u64,
    pub video: u64,
    /// Asked for.
    pub repair: u64,
    /// Not asked for.
    pub padding: u64,
}

impl Came {
    pub(super) fn all(&self) -> u64 {
        self.audio + self.video + self.repair + self.padding
    }
}

struct Missing {
    ask_at: Time,
    tries: u8,
}

/// What is shown or heard of a copy.
pub(super) enum Player {
    Video(Playout),
    Audio(JitterBuffer),
}

/// One copy of a track.
pub(super) struct Copy {
    pub track: usize,
    ssrc: Ssrc,
    pub player: Player,
    numbers: Numbers,
    /// Expected and received at the last report.
    reported: (u64, u64),
    missing: BTreeMap<SeqNo, Missing>,
    asked: VecDeque<SeqNo>,
    /// When a packet last came, a frame was last shown, and a keyframe asked for.
    came_at: Option<Time>,
    patient_until: Time,
    pub asked_keyframes: u64,
}

/// See the module.
pub(super) struct Viewer {
    pub plan: ViewerPlan,
    sealer: Outbound,
    opener: Inbound,
    ssrc: Ssrc,
    pub copies: Vec<Copy>,
    arrivals: BTreeMap<SeqNo, Time>,
    /// The first number that the next feedback speaks of.
    window: SeqNo,
    newest: Option<SeqNo>,
    feedback_count: u8,
    feedback_at: Time,
    feedback_every: Duration,
    remb: RembEstimator,
    report_at: Time,
    /// By second, what came.
    pub came: Vec<Came>,
    outgoing: VecDeque<Vec<u8>>,
}

impl Viewer {
    /// `tracks` says of each track whether it is audio.
    pub(super) fn new(number: usize, plan: &ViewerPlan, keys: &KeyRing, tracks: &[bool], rtt: Duration) -> Self {
        let patience = (rtt + Duration::from_millis(30)).min(Duration::from_millis(250));
        let copy = |wish: &super::scenario::Wish| Copy {
            track: wish.track,
            ssrc: ssrc_of(wish.track),
            player: if tracks[wish.track] {
                Player::Audio(JitterBuffer::new())
            } else {
                Player::Video(Playout::new(patience))
            },
            numbers: Numbers::new(ssrc_of(wish.track)),
            reported: (0, 0),
            missing: BTreeMap::new(),
            asked: VecDeque::new(),
            came_at: None,
            patient_until: Time::NEVER,
            asked_keyframes: 0,
        };
        Self {
            plan: plan.clone(),
            sealer: keys.sealer(),
            opener: keys.opener(128),
            ssrc: Ssrc(0x0300_0000 + number as u32),
            copies: plan.wishes.iter().map(copy).collect(),
            arrivals: BTreeMap::new(),
            window: SeqNo(0),
            newest: None,
            feedback_count: 0,
            feedback_at: Time::NEVER,
            // libwebrtc's varies between these with the rate.
            feedback_every: Duration::from_millis([50, 70, 100][number % 3]),
            remb: RembEstimator::new(),
            report_at: Time::from_millis(plan.joins_at) + REPORTS,
            came: Vec::new(),
            outgoing: VecDeque::new(),
        }
    }

    /// What signalling tells the router of a copy.
    pub(super) fn parameters(&self, copy: usize) -> SenderParameters {
        let Copy { track, ssrc, player, .. } = &self.copies[copy];
        let is_video = matches!(player, Player::Video(_));
        let mut codecs = if is_video { vec![codec(Codec::Vp8, VP8)] } else { vec![codec(Codec::Opus, OPUS)] };
        if self.plan.has_red && !is_video {
            codecs.push(codec(Codec::Red, RED));
        }
        let mut extensions = ExtensionMap::NONE;
        match self.plan.answers {
            Answers::TransportCc => extensions.set(ExtensionKind::TransportCc, TRANSPORT_CC),
            Answers::Remb => extensions.set(ExtensionKind::AbsSendTime, ABS_SEND_TIME),
            Answers::Nothing => {}
        }
        extensions.set(ExtensionKind::PlayoutDelay, PLAYOUT_DELAY);
        for codec in &mut codecs {
            codec.transport_cc = self.plan.answers == Answers::TransportCc;
            codec.remb = self.plan.answers == Answers::Remb;
        }
        SenderParameters {
            kind: if is_video { Kind::Video } else { Kind::Audio },
            mid: Mid::new(track.to_string().as_bytes()),
            codecs,
            ssrc: *ssrc,
            rtx_ssrc: is_video.then_some(Ssrc(ssrc.0 + 1)),
            extensions,
            cname: "sim".into(),
            playout_delay: None,
            fec: None,
        }
    }

    pub(super) fn handle_datagram(&mut self, now: Time, datagram: &[u8]) {
        match datagram {
            [_, 192..=223, ..] => self.handle_rtcp(now, datagram),
            _ => self.handle_rtp(now, datagram),
        }
    }

    fn handle_rtp(&mut self, now: Time, datagram: &[u8]) {
        let Ok(clear) = Header::parse_clear(datagram) else { return };
        let sealed = ClearHeader {
            ssrc: clear.ssrc,
            sequence_number: clear.sequence_number,
            len: usize::from(clear.payload_offset),
        };
        let mut plain = [0; 2048];
        let Ok(len) = self.opener.unprotect_rtp(datagram, sealed, &mut plain) else { return };
        let packet = &plain[..len];
        let Ok(header) = Header::parse(packet) else { return };
        let size = datagram.len() + 28;
        self.note_arrival(now, &header, packet, size);
        let second = (now.as_millis() / 1000) as usize;
        if self.came.len() <= second {
            self.came.resize(second + 1, Came::default());
        }
        let Some(copy) = self.copies.iter_mut().find(|copy| copy.numbers.takes(header.ssrc)) else { return };
        if let Player::Video(playout) = &mut copy.player {
            let mut ids = ExtensionMap::NONE;
            ids.set(ExtensionKind::PlayoutDelay, PLAYOUT_DELAY);
            if let Some(delay) = Extensions::parse(&header, packet, &ids).playout_delay(packet) {
                playout.hold(delay.min);
            }
        }
        copy.handle_packet(now, &header, header.payload(packet), size as u64, &mut self.came[second]);
    }

    /// Notes what feedback goes by.
    fn note_arrival(&mut self, now: Time, header: &Header, packet: &[u8], size: usize) {
        let mut ids = ExtensionMap::NONE;
        ids.set(ExtensionKind::TransportCc, TRANSPORT_CC);
        ids.set(ExtensionKind::AbsSendTime, ABS_SEND_TIME);
        let extensions = Extensions::parse(header, packet, &ids);
        if let Some(&[a, b, c]) = extensions.find(ExtensionKind::AbsSendTime, packet) {
            self.remb.handle(now, [a, b, c], size);
        }
        let Some(number) = extensions.transport_cc(packet) else { return };
        let newest = *self.newest.get_or_insert_with(|| {
            self.window = SeqNo::first(number);
            self.feedback_at = now + self.feedback_every;
            SeqNo::first(number)
        });
        let seq = newest.nearest(number);
        self.newest = Some(newest.max(seq));
        self.arrivals.insert(seq, now);
        self.window = self.window.min(seq);
    }

    fn handle_rtcp(&mut self, now: Time, datagram: &[u8]) {
        let mut plain = datagram.to_vec();
        let Ok(packets) = self.opener.unprotect_rtcp(&mut plain) else { return };
        for packet in Compound::new(packets).flatten() {
            if let RtcpPacket::SenderReport(report) = packet
                && let Some(copy) = self.copies.iter_mut().find(|copy| copy.ssrc == report.ssrc)
            {
                copy.numbers.handle_sender_report(now, report.info.ntp_time.0);
            }
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Time) {
        for copy in &mut self.copies {
            match &mut copy.player {
                Player::Audio(buffer) => buffer.handle_timeout(now),
                Player::Video(_) => copy.show(now),
            }
        }
        let mut plain = [0; 1300];
        let mut writer = Writer::new(&mut plain);
        if self.report_at.is_due(now) {
            self.report_at = now + REPORTS;
            let blocks: Vec<_> = self.copies.iter_mut().filter_map(|copy| copy.report(now)).take(31).collect();
            let _ = rtcp::report::write_receiver_report(&mut writer, self.ssrc, &blocks);
        }
        for copy in &mut self.copies {
            copy.ask(now, self.ssrc, &mut writer);
        }
        if self.plan.answers == Answers::Remb
            && let Some(rate) = self.remb.poll(now)
        {
            let ssrcs: Vec<_> = self.copies.iter().map(|copy| copy.ssrc).collect();
            let _ = rtcp::remb::write(&mut writer, self.ssrc, Bitrate::from_bps(rate), &ssrcs);
        }
        self.seal(writer.as_bytes());
        if self.feedback_at.is_due(now) {
            self.feedback_at = now + self.feedback_every;
            self.report_arrivals(now);
        }
    }

    fn seal(&mut self, plain: &[u8]) {
        let mut out = [0; 1500];
        if !plain.is_empty()
            && let Some(len) = self.sealer.protect_rtcp(plain, &mut out)
        {
            self.outgoing.push_back(out[..len].to_vec());
        }
    }

    fn report_arrivals(&mut self, now: Time) {
        let media_ssrc = self.copies.first().map_or(self.ssrc, |copy| copy.ssrc);
        while self.arrivals.range(self.window..).next().is_some() {
            let mut plain = [0; 1300];
            let mut writer = Writer::new(&mut plain);
            let head =
                Head { sender_ssrc: self.ssrc, media_ssrc, base: self.window, feedback_count: self.feedback_count };
            let arrivals = self.arrivals.range(self.window..).map(|(seq, at)| (*seq, *at));
            let Ok(taken @ 1..) = transport_cc::write(&mut writer, &head, arrivals.clone()) else { break };
            let last = arrivals.take(taken).last();
            self.feedback_count = self.feedback_count.wrapping_add(1);
            if let Some((last, _)) = last {
                self.window = last.plus(1);
            }
            self.seal(writer.as_bytes());
        }
        let window = self.window;
        self.arrivals.retain(|seq, at| *seq >= window || !(*at + REMEMBERED).is_due(now));
    }

    pub(super) fn poll_timeout(&self) -> Time {
        let copies = self.copies.iter().map(Copy::poll_timeout).fold(Time::NEVER, Time::min);
        let own = if self.plan.answers == Answers::Remb { self.remb.due_at } else { Time::NEVER };
        copies.min(own).min(self.feedback_at).min(self.report_at)
    }

    pub(super) fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.pop_front()
    }

    pub(super) fn finish(&mut self, now: Time) {
        for copy in &mut self.copies {
            if let Player::Video(playout) = &mut copy.player {
                playout.finish(now);
            }
        }
    }
}

impl Copy {
    fn handle_packet(&mut self, now: Time, header: &Header, payload: &[u8], size: u64, came: &mut Came) {
        let Some(counted) = self.numbers.count(header, payload) else {
            came.padding += size;
            return;
        };
        let Counted { seq, highest, is_rtx, payload } = counted;
        match (&self.player, is_rtx) {
            (_, true) if self.asked.contains(&seq) => came.repair += size,
            (_, true) => came.padding += size,
            (Player::Audio(_), _) => came.audio += size,
            (Player::Video(_), _) => came.video += size,
        }
        self.missing.remove(&seq);
        if matches!(self.player, Player::Video(_)) {
            for lost in highest.0 + 1..seq.0 {
                self.missing.insert(SeqNo(lost), Missing { ask_at: now, tries: 0 });
            }
        }
        self.came_at = Some(now);
        match &mut self.player {
            Player::Audio(buffer) => {
                let mut timestamps = vec![header.timestamp];
                if header.payload_type.0 == RED
                    && let Some(blocks) = red::parse(payload)
                {
                    timestamps.extend(blocks.map(|block| header.timestamp.wrapping_sub(block.timestamp_offset)));
                }
                buffer.handle(now, &timestamps);
            }
            Player::Video(playout) => {
                if self.patient_until == Time::NEVER {
                    self.patient_until = now + FIRST_PATIENCE;
                }
                if let Some(tag) = Tag::read(payload) {
                    playout.handle(now, seq, header.timestamp, tag);
                }
                self.show(now);
            }
        }
    }

    fn show(&mut self, now: Time) {
        let Player::Video(playout) = &mut self.player else { return };
        if let Some(first) = playout.show(now) {
            self.patient_until = now + PATIENCE;
            // What is older than what is shown is of no use any more.
            self.missing = self.missing.split_off(&first);
        }
    }

    /// Asks for packets and, when stuck, for a keyframe.
    fn ask(&mut self, now: Time, us: Ssrc, writer: &mut Writer<'_>) {
        let Player::Video(playout) = &self.player else { return };
        let mut wants_keyframe = false;
        if self.missing.len() > MOST_MISSING {
            self.missing.clear();
            wants_keyframe = true;
        }
        let mut due = Vec::new();
        self.missing.retain(|&seq, missing| {
            if missing.ask_at.is_due(now) {
                if missing.tries >= MOST_TRIES {
                    return false;
                }
                missing.tries += 1;
                missing.ask_at = now + REPEAT;
                due.push(seq);
            }
            true
        });
        if !due.is_empty() {
            let _ = rtcp::nack::write(writer, us, self.ssrc, due.iter().map(|seq| seq.low()));
            self.asked.extend(due);
            while self.asked.len() > 2000 {
                self.asked.pop_front();
            }
        }
        if self.patient_until.is_due(now) {
            let is_first = playout.shown.is_empty();
            let is_active = self.came_at.is_some_and(|at| !(at + PATIENCE).is_due(now));
            self.patient_until = now + if is_first { FIRST_PATIENCE } else { PATIENCE };
            wants_keyframe |= is_active;
        }
        if wants_keyframe {
            self.asked_keyframes += 1;
            let _ = rtcp::pli::write(writer, us, self.ssrc);
        }
    }

    fn report(&mut self, now: Time) -> Option<ReportBlock> {
        let block = self.numbers.report(now)?;
        let (expected, received) = self.numbers.expected_and_received();
        let of_late = (expected - self.reported.0, received - self.reported.1);
        self.reported = (expected, received);
        let lost = of_late.0.saturating_sub(of_late.1);
        Some(ReportBlock { fraction_lost: (lost * 256 / of_late.0.max(1)).min(255) as u8, ..block })
    }

    fn poll_timeout(&self) -> Time {
        match &self.player {
            Player::Audio(buffer) => buffer.play_at,
            Player::Video(playout) => {
                let asks = self.missing.values().map(|missing| missing.ask_at).fold(Time::NEVER, Time::min);
                asks.min(playout.poll_timeout()).min(self.patient_until)
            }
        }
    }
}

/// The SSRC of a viewer's copy of a track.
fn ssrc_of(track: usize) -> Ssrc {
    Ssrc(0x1000_0000 + 2 * track as u32)
}
