//! Repair packets for a copy of video whose subscriber's path loses too much for retransmission to come in time.
//!
//! The sums are made as packets are written, out of the slices that go into the cipher; a complete window is written
//! before the next packet. `fec` says how, `docs/why/forward-error-correction.md` when and how much.

use core::time::Duration;

use super::Copy;
use super::transmit::Stamp;
use crate::bwe::Estimate;
use crate::drop::Drop;
use crate::fec::{self, Encoder, Format, protection::Conditions};
use crate::parameters::FecParameters;
use crate::rtp::FixedHeader;
use crate::send::Sender;
use crate::srtp::{Deferred, Outbound};
use crate::store::MAX_PACKET;
use crate::time::Time;
use crate::units::SeqNo;

/// Over how long packets and frames are counted for a plan.
const WINDOW: Duration = Duration::from_secs(1);

/// The protection of one copy.
pub(super) struct Protection {
    target: FecParameters,
    encoder: Option<Encoder>,
    /// The number of the next repair packet: it goes on over pauses, since the key is the same.
    next: SeqNo,
    /// Packets and frames sent until then.
    counted: (u64, u64, Time),
    packets_per_frame: f64,
    frame_rate: f64,
    /// Repair packets sent.
    pub(super) sent: u64,
}

impl Protection {
    pub(super) fn new(target: FecParameters, first: u16) -> Self {
        Self {
            target,
            encoder: None,
            next: SeqNo::first(first & 0x7FFF),
            counted: (0, 0, Time::ZERO),
            packets_per_frame: 0.0,
            frame_rate: 0.0,
            sent: 0,
        }
    }

    /// Decides on protection, a few times a second: only where retransmission comes too late (`is_late`).
    pub(super) fn judge(&mut self, now: Time, sender: &Sender, estimate: &Estimate, rtt: Duration, is_late: bool) {
        self.count(now, sender);
        let conditions = Conditions {
            loss: estimate.loss,
            mean_burst: estimate.mean_burst,
            rtt,
            packets_per_frame: self.packets_per_frame,
            frame_rate: self.frame_rate,
        };
        let plan = fec::protection::plan(&conditions, self.encoder.is_some()).filter(|_| is_late);
        match (plan, &mut self.encoder) {
            (Some(plan), Some(encoder)) => encoder.set_plan(plan),
            (Some(plan), none) => *none = Some(Encoder::new(plan)),
            (None, encoder) => *encoder = None,
        }
    }

    /// How many repair packets there are for each packet, 0 without protection.
    pub(super) fn overhead(&self) -> f64 {
        self.encoder
            .as_ref()
            .map_or(0.0, |encoder| f64::from(encoder.plan().repairs()) / f64::from(encoder.plan().packets()))
    }

    /// Adds a packet that leaves for the first time.
    pub(super) fn add(&mut self, header: &FixedHeader, parts: &[&[u8]]) {
        if let Some(encoder) = &mut self.encoder {
            encoder.add(header, parts);
        }
    }

    /// Whether repair packets are to be written before the next packet.
    pub(super) fn is_complete(&self) -> bool {
        self.encoder.as_ref().is_some_and(Encoder::is_complete)
    }

    /// Of the packets that a NACK names, those that need not be sent again yet, see [`fec::Coverage::repairable`].
    pub(super) fn repairable(&mut self, lost: impl Iterator<Item = u16> + Clone, is_repairable: impl FnMut(u16)) {
        if let Some(encoder) = &mut self.encoder {
            encoder.coverage().repairable(lost, is_repairable);
        }
    }

    /// Writes the next repair packet of a complete window; none when all are written.
    pub(super) fn write(
        &mut self,
        copy: &Copy,
        outbound: &Outbound,
        out: &mut [u8],
        stamp: &mut Stamp<'_>,
    ) -> Option<Result<Deferred, Drop>> {
        let (media, timestamp) = copy.sender.as_ref().map(|sender| (sender.ssrc(), sender.timestamp()))?;
        let mut payload = [0; MAX_PACKET];
        let len = self.encoder.as_mut()?.write(Format::FlexFec(media), &mut payload)?;
        let seq = self.next;
        self.next = seq.plus(1);
        self.sent += 1;
        let fixed = FixedHeader {
            payload_type: self.target.payload_type,
            sequence_number: seq.low(),
            timestamp,
            ssrc: self.target.ssrc,
            ..FixedHeader::default()
        };
        Some(super::transmit::write_own(copy, fixed, seq, payload.get(..len)?, outbound, out, stamp))
    }

    fn count(&mut self, now: Time, sender: &Sender) {
        let stats = sender.stats();
        let (packets, frames, at) = self.counted;
        let passed = now.since(at);
        if passed < WINDOW {
            return;
        }
        self.counted = (stats.packets, stats.frames, now);
        let (packets, frames) = (stats.packets.saturating_sub(packets), stats.frames.saturating_sub(frames));
        if at == Time::ZERO || frames == 0 {
            return;
        }
        #[allow(clippy::cast_precision_loss)] // of a second
        let (packets, frames) = (packets as f64, frames as f64);
        self.packets_per_frame = packets / frames;
        self.frame_rate = frames / passed.as_secs_f64();
    }
}
