//! The watching half of a peer: one copy of a track, what is missing of it, what is asked for.

use core::time::Duration;
use std::collections::BTreeMap;

use rtpcore_core::rtcp::{self, Writer};
use rtpcore_core::rtp::Header;
use rtpcore_core::srtp::Outbound;
use rtpcore_core::{SeqNo, Ssrc, Time};

use super::Studio;
use super::decoder::Decoder;
use super::numbers::{Counted, Numbers};
use super::publisher::{low, seal_rtcp};
use crate::media::{Media, Tag};

/// Before the first request: what is merely reordered comes by itself.
const PATIENCE: Duration = Duration::from_millis(10);
/// Between requests for the same packet.
const REPEAT: Duration = Duration::from_millis(80);
/// Requests for one packet, as libwebrtc.
const MOST_TRIES: u8 = 10;
/// Numbers missing at once; more is a matter for a keyframe.
const MOST_MISSING: usize = 500;
/// A decoder that shows nothing for so long while packets come asks for a keyframe.
const STUCK: Duration = Duration::from_millis(400);
/// Between receiver reports.
const REPORTS: Duration = Duration::from_millis(900);

/// One copy, as its subscriber sees it.
pub struct View {
    /// The copy's SSRC; retransmissions come on the next one.
    pub ssrc: Ssrc,
    /// Its number in the world.
    pub number: usize,
    media: Media,
    numbers: Numbers,
    missing: BTreeMap<SeqNo, Missing>,
    decoder: Decoder,
    /// By spatial layer, since when packets come that show nothing.
    stuck_since: [Option<Time>; 3],
    report_at: Time,
    asked_keyframes: u64,
}

#[derive(Clone, Copy)]
struct Missing {
    ask_at: Time,
    tries: u8,
}

impl View {
    /// A copy of which nothing came yet.
    pub fn new(now: Time, number: usize, ssrc: Ssrc, media: Media) -> Self {
        Self {
            ssrc,
            number,
            media,
            numbers: Numbers::new(ssrc),
            missing: BTreeMap::new(),
            decoder: Decoder::default(),
            stuck_since: [None; 3],
            report_at: now + REPORTS,
            asked_keyframes: 0,
        }
    }

    /// What was shown so far.
    pub fn decoder(&self) -> &Decoder {
        &self.decoder
    }

    /// How many keyframes it asked for.
    pub fn asked_keyframes(&self) -> u64 {
        self.asked_keyframes
    }

    pub(super) fn takes(&self, ssrc: Ssrc) -> bool {
        self.numbers.takes(ssrc)
    }

    pub(super) fn handle_packet(&mut self, now: Time, header: &Header, packet: &[u8], studio: &Studio) {
        let Some(counted) = self.numbers.count(header, header.payload(packet)) else { return };
        let Counted { seq, highest, payload, .. } = counted;
        self.missing.remove(&seq);
        self.note_missing(now, highest, seq);
        if let Some(tag) = Tag::read(payload) {
            let before = self.decoder.shown().len();
            self.decoder.handle(now, seq, tag, studio);
            let spatial = studio.frame(tag.track, tag.encoding, tag.frame).map_or(0, |frame| frame.spatial);
            self.stuck_since[usize::from(spatial)].get_or_insert(now);
            for shown in &self.decoder.shown()[before..] {
                self.stuck_since[usize::from(shown.spatial)] = None;
            }
        }
    }

    fn note_missing(&mut self, now: Time, highest: SeqNo, seq: SeqNo) {
        if self.media == Media::Opus {
            return;
        }
        for number in highest.0 + 1..seq.0 {
            if self.missing.len() < MOST_MISSING {
                self.missing.insert(SeqNo(number), Missing { ask_at: now + PATIENCE, tries: 0 });
            }
        }
    }

    pub(super) fn handle_sender_report(&mut self, now: Time, ntp: u64) {
        self.numbers.handle_sender_report(now, ntp);
    }

    pub(super) fn deadline(&self) -> Time {
        let asks = self.missing.values().map(|missing| missing.ask_at).min().unwrap_or(Time::NEVER);
        self.report_at.min(asks).min(self.stuck_until())
    }

    /// The next thing to tell, sealed.
    pub(super) fn poll_feedback(&mut self, now: Time, us: Ssrc, sealer: &mut Outbound) -> Option<Vec<u8>> {
        let mut plain = [0; 1100];
        let mut writer = Writer::new(&mut plain);
        if self.report_at.is_due(now) {
            self.report_at = now + REPORTS;
            let blocks = self.numbers.report(now);
            rtcp::report::write_receiver_report(&mut writer, us, blocks.as_slice()).ok()?;
        }
        let due = self.due(now);
        if !due.is_empty() {
            rtcp::nack::write(&mut writer, us, self.ssrc, due.into_iter().map(|seq| low(seq.0))).ok()?;
        }
        if self.stuck_until().is_due(now) {
            self.stuck_since = [None; 3];
            self.asked_keyframes += 1;
            rtcp::pli::write(&mut writer, us, self.ssrc).ok()?;
        }
        seal_rtcp(&writer, sealer)
    }

    /// What to ask for again now.
    fn due(&mut self, now: Time) -> Vec<SeqNo> {
        let mut due = Vec::new();
        self.missing.retain(|&seq, missing| {
            if missing.ask_at.is_due(now) && due.len() < 100 {
                if missing.tries >= MOST_TRIES {
                    return false;
                }
                missing.tries += 1;
                missing.ask_at = now + REPEAT;
                due.push(seq);
            }
            true
        });
        due
    }

    /// When to ask for a keyframe: a layer of which packets come shows nothing. A decoder of all layers would stand still.
    fn stuck_until(&self) -> Time {
        let since = self.stuck_since.iter().flatten().min().filter(|_| self.media != Media::Opus);
        since.map_or(Time::NEVER, |&since| since + STUCK)
    }
}
