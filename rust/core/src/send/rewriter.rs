//! The numbers of a subscriber's copy: one SSRC whose sequence, time and frame numbers run on over every switch.
//!
//! Sequence numbers. A number that the publisher's network lost keeps its place and waits for the retransmission; a packet
//! that we leave out has its place closed, so that the subscriber never asks for it:
//!
//! ```text
//! in     100  101  102      103          in     100  101  (102 lost)  103  102 again
//! fate   fwd  fwd  dropped  fwd          fate   fwd  fwd              fwd  fwd
//! out    1    2    -        3            out    1    2                4    3
//!
//! one picture left out, its middle lost:         a switch from encoding 0 to encoding 1, which was at 7000:
//! in     100  101  (102 lost)  103  104         in     0:100  0:101  1:7000  1:7001  0:102 (too late)
//! fate   fwd  drop             drop fwd         out    1      2      3       4       -
//! out    1    -                -    2
//! ```
//!
//! Timestamps. Within a stream an offset. At a switch between encodings of one track the sender reports say where the new
//! timestamp lies on the old clock (encoding 0: 9000 at wall clock 10.0 s, encoding 1: 500 at 10.1 s, both of 90 kHz: a
//! frame of encoding 1 at 1400 was captured at 10.11 s, on the old clock 18900). Without reports, or from another track,
//! the time between the arrivals counts. Always at least one tick is added: a decoder takes frames of equal timestamp for one.
//!
//! Frame numbers. VP8 picture ids are closed over frames left out like sequence numbers, since libwebrtc holds a frame back
//! while an id before it is missing. Those of VP9 and of the dependency descriptor only get an offset per stream: frames
//! name their references by differences of them, and a closed hole would make the names wrong.

use super::clock::{signed_distance, ticks, wrap};
use super::frames::Frames;
use super::numbering::Numbering;
use crate::packet::Packet;
use crate::payload::Patch;
use crate::rtp::ClockMap;
use crate::time::Time;
use crate::units::SeqNo;

/// Closed holes that are remembered. In the worst case, a layer cut from every picture, there is one per picture.
const STEPS: usize = 64;
/// More numbers than these in one hole start over: no retransmission comes from so far back, and a subscriber that loses
/// two such holes in a row guesses the rollover counter wrong (RFC 3711 §3.3.1).
const MOST_MISSING: u64 = 1 << 13;

/// What connects a new stream's clock to the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// The stream of before goes on.
    SameClock,
    /// Another encoding of the same track: both sides' sender reports.
    Reports {
        /// Of the encoding that was forwarded until now.
        old: ClockMap,
        /// Of the encoding that begins.
        new: ClockMap,
    },
    /// Nothing but the time that passed.
    Elapsed,
}

/// The numbers that one packet of the copy carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewritten {
    /// The extended sequence number; its bits above 16 are the SRTP rollover counter.
    pub seq: SeqNo,
    /// The timestamp.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// The payload format's numbers.
    pub patch: Patch,
    /// What is added to the frame number of the dependency descriptor, wrapping.
    pub frame_offset: u16,
}

/// The newest frame of the copy.
#[derive(Clone, Copy, Debug)]
struct Newest {
    timestamp: u32,
    /// When its first packet arrived.
    at: Time,
}

/// The packet that was left out last: what is lost between two packets of one layer frame that is left out belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct LeftOut {
    timestamp: u32,
    spatial: u8,
    seq: SeqNo,
}

/// Makes a subscriber's numbers from a publisher's.
#[derive(Clone, Debug)]
pub struct Rewriter {
    sequence: Numbering<STEPS>,
    frames: Frames,
    clock_rate: u32,
    /// Added to the original timestamp; before the first packet the timestamp to begin with.
    timestamp_offset: u32,
    newest: Option<Newest>,
    left_out: Option<LeftOut>,
}

impl Rewriter {
    /// A copy whose first packet gets these numbers; both should be random (RFC 3550 §5.1), the sequence number below 2^15
    /// so that the loss of the first packets cannot hide a rollover (RFC 3711 §3.3.1).
    pub fn new(sequence: u16, timestamp: u32) -> Self {
        Self {
            sequence: Numbering::new(SeqNo::first(sequence).0),
            frames: Frames::new(),
            clock_rate: 0,
            timestamp_offset: timestamp,
            newest: None,
            left_out: None,
        }
    }

    /// Joins on a stream that begins with `packet`; what comes later from before that packet has no number.
    pub fn switch(&mut self, packet: &Packet, clock_rate: u32, link: Link) {
        self.clock_rate = clock_rate;
        self.sequence.restart(packet.seq.0);
        self.frames.restart(&packet.descriptor);
        self.left_out = None;
        let timestamp = packet.header.timestamp;
        let Some(newest) = self.newest else {
            self.timestamp_offset = self.timestamp_offset.wrapping_sub(timestamp);
            return;
        };
        let elapsed = i64::try_from(ticks(packet.arrived_at.since(newest.at), clock_rate)).unwrap_or(i64::MAX);
        let step = self
            .aligned(timestamp, link)
            .map(|aligned| i64::from(signed_distance(newest.timestamp, aligned)))
            // Reports that put a frame over a second from where its arrival does are broken: freeze nobody by them.
            .filter(|step| step.abs_diff(elapsed) <= u64::from(clock_rate))
            .unwrap_or(elapsed)
            .max(1);
        self.timestamp_offset = newest.timestamp.wrapping_add(wrap(step.unsigned_abs())).wrapping_sub(timestamp);
    }

    /// The numbers of a packet that is forwarded; none if it comes from before its stream began or from where nothing is
    /// remembered any more. The same packet always gets the same numbers.
    pub fn rewrite(&mut self, packet: &Packet, marker: bool) -> Option<Rewritten> {
        if !self.sequence.has_begun() {
            return None;
        }
        self.bridge(packet);
        let (patch, frame_offset) = self.frames.rewrite(&packet.descriptor)?;
        let seq = SeqNo(self.sequence.map(packet.seq.0)?);
        let timestamp = packet.header.timestamp.wrapping_add(self.timestamp_offset);
        if self.newest.is_none_or(|newest| signed_distance(newest.timestamp, timestamp) > 0) {
            self.newest = Some(Newest { timestamp, at: packet.arrived_at });
        }
        Some(Rewritten { seq, timestamp, marker, patch, frame_offset })
    }

    /// Closes the place of a frame that is left out of the stream now forwarded; called for each packet of it.
    pub fn skip_frame(&mut self, packet: &Packet) {
        self.skip(packet);
        self.frames.skip(packet.descriptor.detail);
    }

    /// Closes the place of a single packet that is left out of the stream now forwarded, such as padding.
    pub fn skip(&mut self, packet: &Packet) {
        if !self.sequence.has_begun() {
            return;
        }
        self.bridge(packet);
        let here = LeftOut { timestamp: packet.header.timestamp, spatial: packet.descriptor.spatial, seq: packet.seq };
        let first = match self.left_out {
            Some(LeftOut { timestamp, spatial, seq })
                if timestamp == here.timestamp && spatial == here.spatial && seq.0 == self.sequence.highest() =>
            {
                seq.plus(1)
            }
            _ => here.seq,
        };
        if here.seq.0 > self.sequence.highest() {
            self.left_out = Some(here);
        }
        self.sequence.skip(first.0, here.seq.0);
    }

    /// What is added to original timestamps of the stream now forwarded; none before the first packet.
    pub fn timestamp_offset(&self) -> Option<u32> {
        self.newest.map(|_| self.timestamp_offset)
    }

    /// The clock rate of the stream now forwarded, in ticks per second; zero before the first.
    pub fn clock_rate(&self) -> u32 {
        self.clock_rate
    }

    /// Where `timestamp` of the new stream lies on the clock of the copy, if that can be known.
    fn aligned(&self, timestamp: u32, link: Link) -> Option<u32> {
        let on_old_clock = match link {
            Link::SameClock => timestamp,
            Link::Reports { old, new } => old.ntp_to_rtp(new.rtp_to_ntp(timestamp)),
            Link::Elapsed => return None,
        };
        Some(on_old_clock.wrapping_add(self.timestamp_offset))
    }

    /// Starts over behind a jump that is no loss; the timestamps go on.
    fn bridge(&mut self, packet: &Packet) {
        if self.sequence.holes_before(packet.seq.0) > MOST_MISSING && packet.seq.0 > self.sequence.highest() {
            self.sequence.restart(packet.seq.0);
            self.frames.restart(&packet.descriptor);
        }
    }
}

#[cfg(test)]
mod tests;
