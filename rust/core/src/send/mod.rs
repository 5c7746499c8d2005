//! One subscriber's copy of a track: what it gets, under which numbers, kept for when it asks again.
//!
//! ```text
//!  packets of a source ─> selector ─> rewriter ─> cache ─> SeqNo ─> the router writes the bytes when the pacer lets go
//!                            │           │          ^
//!                          Drop      left out:      │ NACK
//!                                  hole closed   retransmit ─> SeqNo ─> the same
//! ```
//!
//! Nothing here touches bytes, decides how much a subscriber should get, or sends. RFC 7667 §3.7.

mod clock;
mod frames;
mod numbering;
mod pictures;

pub mod cache;
pub mod report;
pub mod rewriter;
pub mod selector;

use core::time::Duration;

pub use crate::rtcp::ReportBlock;
pub use crate::rtp::ClockMap;
pub use cache::{Cache, Entry};
pub use report::SenderReport;
pub use rewriter::{Link, Rewriter, Rewritten};
pub use selector::{Decision, Layer, MAX_ENCODINGS, Selector, Shape, SourceId, Stream};

use crate::drop::Drop;
use crate::packet::Packet;
use crate::time::Time;
use crate::units::{Pt, SeqNo, Ssrc};
use report::Report;

/// How far back padding repeats what was sent: some frames.
const PADDING_SPAN: u64 = 48;

/// Which of a publisher's payload types a subscriber takes, and under which number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadTypes {
    /// By the publisher's payload type, the subscriber's; [`Self::NO`] where it takes none.
    table: [u8; 128],
}

impl PayloadTypes {
    const NO: u8 = u8::MAX;

    /// Takes nothing.
    pub const fn new() -> Self {
        Self { table: [Self::NO; 128] }
    }

    /// Sends what comes as `from` out as `to`. The two must be the same codec with the same parameters and clock rate.
    pub fn set(&mut self, from: Pt, to: Pt) {
        if let Some(slot) = self.table.get_mut(usize::from(from.0)) {
            *slot = to.0 & 0x7F;
        }
    }

    /// The subscriber's payload type; none if it does not take this codec.
    pub fn find(&self, from: Pt) -> Option<Pt> {
        self.table.get(usize::from(from.0)).copied().filter(|&to| to != Self::NO).map(Pt)
    }
}

impl Default for PayloadTypes {
    fn default() -> Self {
        Self::new()
    }
}

/// A track that a sender can follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What the caller calls it.
    pub id: SourceId,
    /// How it is cut.
    pub shape: Shape,
    /// Ticks of its timestamps per second; one for all codecs of the track.
    pub clock_rate: u32,
    /// What the subscriber takes of it.
    pub payload_types: PayloadTypes,
    /// By encoding, the last sender report; later ones come by [`Sender::handle_clock`].
    pub clocks: [Option<ClockMap>; MAX_ENCODINGS],
}

/// What a new copy begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The copy's SSRC.
    pub ssrc: Ssrc,
    /// The SSRC of its retransmissions, where RTX was negotiated.
    pub rtx_ssrc: Option<Ssrc>,
    /// The first sequence number: random, below 2^15 (see [`Rewriter::new`]).
    pub sequence_number: u16,
    /// The first sequence number of the retransmissions, likewise.
    pub rtx_sequence_number: u16,
    /// The first timestamp, random.
    pub timestamp: u32,
    /// How many packets to keep for retransmission, see [`Cache::new`].
    pub history: u16,
}

/// Counters of one copy, cumulative, and what the subscriber last said of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderStats {
    /// Packets sent for the first time.
    pub packets: u64,
    /// Payload octets in them.
    pub octets: u64,
    /// Frames of video sent, counted by their last packets.
    pub frames: u64,
    /// Packets sent again.
    pub retransmissions: u64,
    /// Switches to another encoding or track, resumptions included.
    pub switches: u64,
    /// The smoothed round trip; none before the first measurement.
    pub rtt: Option<Duration>,
    /// The subscriber's last report.
    pub last_block: ReportBlock,
}

/// One subscriber's copy of a track; SSRC and numbering survive every switch.
#[derive(Clone, Debug)]
pub struct Sender {
    start: Start,
    selector: Selector,
    rewriter: Rewriter,
    cache: Cache,
    report: Report,
    /// Where the forwarded packets come from.
    source: Source,
    /// The source that is followed but has not begun.
    next: Option<Source>,
    /// The stream whose clock the timestamps go by; stays over a pause.
    stream: Option<Stream>,
    rtx_next: SeqNo,
    announced: Option<Layer>,
    /// The highest layers forwarded since the last switch.
    seen: Layer,
    wanted: Option<Layer>,
    is_paused: bool,
    /// The next stream follows on nothing: what was lost before it is of no use any more.
    begins_anew: bool,
    /// Packets before this one are not sent again.
    first: SeqNo,
    /// The packet that padding repeated last.
    padded: SeqNo,
    retransmissions: u64,
    switches: u64,
    frames: u64,
}

impl Sender {
    /// A copy of `source` that sends nothing until [`Self::set_target`]. Allocates here and never again.
    pub fn new(start: Start, source: Source) -> Self {
        Self {
            start,
            selector: Selector::new(source.id, source.shape),
            rewriter: Rewriter::new(start.sequence_number, start.timestamp),
            cache: Cache::new(start.history),
            report: Report::new(start.ssrc),
            source,
            next: None,
            stream: None,
            rtx_next: SeqNo::first(start.rtx_sequence_number),
            announced: None,
            seen: Layer::default(),
            wanted: None,
            is_paused: false,
            begins_anew: false,
            first: SeqNo(0),
            padded: SeqNo(0),
            retransmissions: 0,
            switches: 0,
            frames: 0,
        }
    }

    /// Takes one packet of `source`, in the order of arrival, late and padding-only ones too: what is left out must be seen
    /// here, so that its number is closed.
    ///
    /// `packet_ref` names its bytes in the caller's store. On success the entry under the returned number says how to write
    /// it ([`Self::entry`]), and the packet must be sent under it or not at all.
    pub fn forward(&mut self, now: Time, source: SourceId, packet: &Packet, packet_ref: u64) -> Result<SeqNo, Drop> {
        let Some(known) = self.source_of(source) else { return Err(Drop::NoFollower) };
        let Some(payload_type) = known.payload_types.find(packet.header.payload_type) else {
            return Err(self.leave_out(source, packet, Drop::UnknownPayloadType));
        };
        if packet.header.payload_len == 0 {
            return Err(self.leave_out(source, packet, Drop::PaddingOnly));
        }
        let marker = match self.selector.select(source, packet) {
            Decision::Forward { marker } => marker,
            Decision::Switch { marker } => {
                self.seen = Layer::default();
                self.join(now, Stream { source, encoding: packet.encoding }, packet);
                marker
            }
            Decision::Drop(reason) => {
                if self.is_forwarding(source, packet) {
                    self.rewriter.skip_frame(packet);
                }
                return Err(reason);
            }
        };
        let rewritten = self.rewriter.rewrite(packet, marker).ok_or(Drop::TooLate)?;
        if core::mem::take(&mut self.begins_anew) {
            self.first = rewritten.seq;
        }
        let descriptor = &packet.descriptor;
        self.seen.spatial = self.seen.spatial.max(descriptor.spatial);
        self.seen.temporal = self.seen.temporal.max(descriptor.temporal);
        let seq = self.cache.store(Entry::new(now, packet_ref, payload_type, &rewritten))?;
        self.report.count(packet.header.payload_len);
        self.frames += u64::from(marker);
        Ok(seq)
    }

    /// Answers one number of a NACK (RFC 4585 §6.2.1): the packet to send again, by the same entry as the first time.
    ///
    /// With RTX it goes out under [`Self::next_rtx`]. Without, it goes out under the same number, and then must be the same
    /// bytes to the last bit, extensions included, or SRTP would seal two texts under one nonce.
    ///
    /// A copy that is thought to be under way is not sent again: for the round trip of the reports, and at least for `queued`,
    /// which knows of queues that reports, a second apart, do not.
    pub fn retransmit(&mut self, now: Time, low: u16, queued: Duration) -> Result<SeqNo, Drop> {
        if self.selector.stream().is_none() {
            return Err(Drop::Paused);
        }
        let seq = self.cache.retransmit(now, low, self.report.rtt().max(queued), self.first)?;
        self.retransmissions += 1;
        Ok(seq)
    }

    /// A packet that was sent lately, to be sent again as padding: the newest in turn, so that what is lost of them is
    /// repaired before it is missed. None where nothing is being forwarded.
    pub fn poll_padding(&mut self) -> Option<SeqNo> {
        self.selector.stream()?;
        let newest = self.cache.newest();
        let oldest = SeqNo(newest.0.saturating_sub(PADDING_SPAN)).max(self.first);
        let next = self.padded.plus(1);
        let from = if (oldest..=newest).contains(&next) { next } else { oldest };
        // Numbers of frames that were left out are not there.
        let found = (from.0..=newest.0).map(SeqNo).find(|&seq| self.cache.get(seq).is_some())?;
        self.padded = found;
        Some(found)
    }

    /// The SSRC and number for one retransmission, used up by asking (RFC 4588 §4); none where RTX was not negotiated.
    pub fn next_rtx(&mut self) -> Option<(Ssrc, SeqNo)> {
        let ssrc = self.start.rtx_ssrc?;
        let seq = self.rtx_next;
        self.rtx_next = seq.plus(1);
        Some((ssrc, seq))
    }

    /// Settles how a packet that was just taken is sent (see [`Cache::settle`]).
    pub fn settle(&mut self, seq: SeqNo, payload_type: Pt, blocks: u8) {
        self.cache.settle(seq, payload_type, blocks);
    }

    /// How to write the packet with this number, while it is kept.
    pub fn entry(&self, seq: SeqNo) -> Option<&Entry> {
        self.cache.get(seq)
    }

    /// Wants at most `target` from now on. While paused it is kept for [`Self::resume`].
    pub fn set_target(&mut self, target: Layer) {
        self.wanted = Some(target);
        if !self.is_paused {
            self.selector.set_target(self.wanted);
        }
    }

    /// Sends nothing from the next packet on, in the middle of a frame too (see [`Selector::set_target`]).
    pub fn pause(&mut self) {
        self.is_paused = true;
        self.begins_anew = true;
        self.selector.set_target(None);
    }

    /// Ends what is forwarded now without waiting for what is wanted next to begin.
    pub fn cut(&mut self) {
        self.selector.set_target(None);
        if !self.is_paused {
            self.selector.set_target(self.wanted);
        }
        self.begins_anew = true;
    }

    /// Goes on with the next keyframe, audio with the next packet.
    pub fn resume(&mut self) {
        self.is_paused = false;
        self.selector.set_target(self.wanted);
    }

    /// Follows another track from its next keyframe on; until then packets of the old one are still taken.
    pub fn switch_source(&mut self, source: Source) {
        self.selector.follow(source.id, source.shape);
        if source.id == self.source.id {
            self.source = source;
            self.next = None;
        } else {
            self.next = Some(source);
        }
    }

    /// Whether anything was ever forwarded.
    pub fn has_begun(&self) -> bool {
        self.stream.is_some()
    }

    /// Takes in a publisher's sender report on one encoding of a followed track; none once the encoding begins anew.
    pub fn handle_clock(&mut self, stream: Stream, clock: Option<ClockMap>) {
        let source = if self.source.id == stream.source { Some(&mut self.source) } else { self.next.as_mut() };
        if let Some(source) = source.filter(|source| source.id == stream.source)
            && let Some(slot) = source.clocks.get_mut(usize::from(stream.encoding))
        {
            *slot = clock;
        }
    }

    /// Takes in what the subscriber reports of this copy.
    pub fn handle_report_block(&mut self, now: Time, block: &ReportBlock) {
        self.report.handle_block(now, block);
    }

    /// When [`Self::poll_report`] has something next; [`Time::NEVER`] while paused or before the publisher told its clock.
    pub fn poll_timeout(&self) -> Time {
        if self.clock().is_some() { self.report.due_at() } else { Time::NEVER }
    }

    /// The sender report, when it is due: at once after the first packet and after each switch, then about every second.
    ///
    /// It carries the publisher's wall clock, so that all its tracks line up at the subscriber as they did at home.
    pub fn poll_report(&mut self, now: Time) -> Option<SenderReport> {
        if !self.poll_timeout().is_due(now) {
            return None;
        }
        let publisher = self.clock()?;
        let rtp = publisher.rtp_at(now).wrapping_add(self.rewriter.timestamp_offset()?);
        Some(self.report.build(
            now,
            self.start.ssrc,
            ClockMap { ntp: publisher.ntp_at(now), rtp, at: now, ..publisher },
        ))
    }

    /// The limit in force, whatever came within it; none while paused or waiting for the first keyframe.
    pub fn limit(&self) -> Option<Layer> {
        self.selector.layer()
    }

    /// What is forwarded: the encoding or the highest spatial layer, and the highest temporal layer, that came and are within
    /// the limit; none while paused or waiting for the first keyframe.
    pub fn layer(&self) -> Option<Layer> {
        let limit = self.limit()?;
        let spatial = match self.source.shape {
            Shape::Simulcast => self.forwarded_encoding()?,
            _ => self.seen.spatial.min(limit.spatial),
        };
        Some(Layer { spatial, temporal: self.seen.temporal.min(limit.temporal) })
    }

    /// Whether [`Self::layer`] is another one than when this was last asked.
    pub fn poll_layer_changed(&mut self) -> bool {
        let layer = self.layer();
        core::mem::replace(&mut self.announced, layer) != layer
    }

    /// The encoding of the followed track that must bring a keyframe; the caller asks for it (PLI) and limits how often.
    pub fn wants_keyframe(&self) -> Option<u8> {
        self.selector.wants_keyframe()
    }

    /// The track whose packets are forwarded now, which is the old one until the followed one begins.
    pub fn forwarded_source(&self) -> Option<SourceId> {
        self.selector.stream().map(|stream| stream.source)
    }

    /// The encoding whose packets are forwarded now.
    pub fn forwarded_encoding(&self) -> Option<u8> {
        self.selector.stream().map(|stream| stream.encoding)
    }

    /// The SSRC of this copy.
    pub fn ssrc(&self) -> Ssrc {
        self.start.ssrc
    }

    /// The round trip to reckon with: as the subscriber's reports measure it, or a guess before.
    pub fn rtt(&self) -> Duration {
        self.report.rtt()
    }

    /// The timestamp of the newest frame sent; 0 before the first.
    pub fn timestamp(&self) -> u32 {
        self.cache.get(self.cache.newest()).map_or(0, |entry| entry.timestamp)
    }

    /// What happened so far.
    pub fn stats(&self) -> SenderStats {
        SenderStats {
            packets: self.report.packets(),
            octets: self.report.octets(),
            frames: self.frames,
            retransmissions: self.retransmissions,
            switches: self.switches,
            rtt: self.report.measured_rtt(),
            last_block: *self.report.last_block(),
        }
    }

    /// Joins the numbers of `stream` on to those sent so far.
    fn join(&mut self, now: Time, stream: Stream, packet: &Packet) {
        let clock = |source: &Source, encoding: u8| source.clocks.get(usize::from(encoding)).copied().flatten();
        if stream.source != self.source.id
            && let Some(next) = self.next.take_if(|next| next.id == stream.source)
        {
            self.source = next;
        }
        let link = match self.stream {
            Some(last) if last == stream => Link::SameClock,
            Some(last) if last.source == stream.source => {
                match (clock(&self.source, last.encoding), clock(&self.source, stream.encoding)) {
                    (Some(old), Some(new)) => Link::Reports { old, new },
                    _ => Link::Elapsed,
                }
            }
            _ => Link::Elapsed,
        };
        self.stream = Some(stream);
        self.switches += 1;
        self.rewriter.switch(packet, self.source.clock_rate, link);
        self.report.hurry(now);
    }

    /// Closes the place of a packet that the selector cannot judge, since its descriptor says nothing of the frame.
    fn leave_out(&mut self, source: SourceId, packet: &Packet, reason: Drop) -> Drop {
        if self.is_forwarding(source, packet) {
            self.rewriter.skip(packet);
        }
        reason
    }

    fn is_forwarding(&self, source: SourceId, packet: &Packet) -> bool {
        self.selector.stream() == Some(Stream { source, encoding: packet.encoding })
    }

    fn source_of(&self, id: SourceId) -> Option<&Source> {
        if self.source.id == id { Some(&self.source) } else { self.next.as_ref().filter(|next| next.id == id) }
    }

    /// The publisher's clock of the stream now forwarded.
    fn clock(&self) -> Option<ClockMap> {
        let stream = self.selector.stream()?;
        self.source.clocks.get(usize::from(stream.encoding)).copied().flatten()
    }
}

#[cfg(test)]
mod tests;
