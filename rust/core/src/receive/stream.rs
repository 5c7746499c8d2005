//! One SSRC as it arrives: numbers, loss, jitter, the publisher's clock, rates (RFC 3550 §6.4, appendices A.1, A.3, A.8).

use core::time::Duration;

use super::rate::Rate;
use super::sequence::{Order, Received, Sequence};
use crate::drop::Drop;
use crate::rtcp::ReportBlock;
use crate::rtp::Header;
use crate::rtp::clock::{ClockMap, ntp_middle, ticks_at};
use crate::time::Time;
use crate::units::{Bitrate, SeqNo, Ssrc};

/// A jump of transit time by more seconds than this is a new timestamp base, not jitter.
const MAX_JITTER_SECS: u32 = 5;
/// A sender report that is further from the packets by more seconds than this is not about them.
const MAX_CLOCK_SECS: u32 = 10;

/// One SSRC of a publisher: an encoding's media, or its retransmissions.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    ssrc: Option<Ssrc>,
    sequence: Sequence,
    /// Received in this run of numbers, late and doubled ones included as RFC 3550 §6.4.1 wants it.
    received: u64,
    expected_before: u64,
    received_before: u64,
    jitter: Jitter,
    /// The timestamp of the newest packet.
    timestamp: u32,
    clock: Option<ClockMap>,
    bytes: Rate,
    frames: Rate,
    totals: StreamTotals,
}

/// What one stream brought since its receiver was made, over changes of SSRC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamTotals {
    /// Packets, without duplicates.
    pub packets: u64,
    /// Their bytes, RTP headers included.
    pub bytes: u64,
    /// Packets that had arrived before.
    pub duplicates: u64,
    /// Frames, counted as steps of the timestamp.
    pub frames: u64,
    /// Times that the numbering began anew.
    pub restarts: u64,
}

impl Stream {
    /// Takes in one packet of `size` bytes; a new SSRC restarts the stream.
    ///
    /// `clock_rate` is that of its payload type. Fails as [`Sequence::accept`] does.
    pub fn receive(&mut self, now: Time, clock_rate: u32, header: &Header, size: u32) -> Result<Received, Drop> {
        if self.ssrc != Some(header.ssrc) {
            self.unbind();
            self.ssrc = Some(header.ssrc);
        }
        let received = match self.sequence.accept(header.sequence_number) {
            Ok(received) => received,
            Err(reason) => {
                if reason == Drop::Duplicate {
                    self.received += 1;
                    self.totals.duplicates += 1;
                }
                return Err(reason);
            }
        };
        if let Order::First | Order::Restart = received.order {
            self.begin(received.order);
        }
        self.received += 1;
        self.totals.packets += 1;
        self.totals.bytes += u64::from(size);
        self.bytes.add(now, size);
        // A late packet's timestamp is older, and packets of one frame leave one after the other with one timestamp:
        // either would read as jitter of a network that has none.
        let is_new_frame = match received.order {
            Order::First | Order::Restart => true,
            Order::Newer { .. } => header.timestamp != self.timestamp,
            Order::Late => false,
        };
        if is_new_frame {
            self.jitter.update(now, clock_rate, header.timestamp);
            self.timestamp = header.timestamp;
            self.frames.add(now, 1);
            self.totals.frames += 1;
        }
        Ok(received)
    }

    /// Takes in a packet of this stream that came as a retransmission.
    ///
    /// Reports go on counting it as lost: they speak of the network, not of its repair (RFC 4588 §6.3). Fails as [`Sequence::repair`] does.
    pub fn repair(&mut self, low: u16) -> Result<Received, Drop> {
        self.sequence.repair(low)
    }

    /// Notes a sender report: NTP timestamp, RTP timestamp (RFC 3550 §6.4.1).
    ///
    /// One that is far from the timestamps of the packets is passed over: libwebrtc's first report on a sender that has begun
    /// anew can be hours away, and the next comes after five seconds.
    pub fn handle_sender_report(&mut self, now: Time, clock_rate: u32, ntp: u64, rtp: u32) {
        if !self.jitter.is_near(now, clock_rate, rtp) {
            return;
        }
        self.clock = Some(ClockMap { ntp, rtp, at: now, clock_rate });
    }

    /// Forgets the SSRC (BYE, RFC 3550 §6.6); numbering goes on when another comes.
    pub fn unbind(&mut self) {
        self.ssrc = None;
        self.clock = None;
        self.sequence.restart();
    }

    /// The SSRC it arrives on now.
    pub fn ssrc(&self) -> Option<Ssrc> {
        self.ssrc
    }

    /// The newest number, none before the first packet.
    pub fn highest(&self) -> Option<SeqNo> {
        self.sequence.highest()
    }

    /// The publisher's clock, none before the first sender report.
    pub fn clock(&self) -> Option<ClockMap> {
        self.clock
    }

    /// Bits per second over the last second, RTP headers included.
    pub fn bitrate(&self, now: Time) -> Bitrate {
        Bitrate::from_bps(self.bytes.per_second(now).saturating_mul(8))
    }

    /// Frames per second over the last second.
    pub fn frame_rate(&self, now: Time) -> u64 {
        self.frames.per_second(now)
    }

    /// Interarrival jitter in timestamp units (RFC 3550 A.8).
    pub fn jitter(&self) -> u32 {
        self.jitter.units()
    }

    /// Packets missing from this run of numbers, retransmissions not counted as received.
    pub fn lost(&self) -> u64 {
        self.sequence.expected().saturating_sub(self.received)
    }

    /// What it brought so far.
    pub fn totals(&self) -> StreamTotals {
        self.totals
    }

    /// The report block for this source; none if nothing came since the last one (RFC 3550 §6.4).
    pub fn report(&mut self, now: Time) -> Option<ReportBlock> {
        let ssrc = self.ssrc?;
        if self.received == self.received_before {
            return None;
        }
        let expected = self.sequence.expected();
        let fraction_lost = fraction_lost(expected - self.expected_before, self.received - self.received_before);
        self.expected_before = expected;
        self.received_before = self.received;
        let (last_sr, delay_since_last_sr) = match self.clock {
            Some(clock) => (ntp_middle(clock.ntp), delay_units(now.since(clock.at))),
            None => (0, 0),
        };
        Some(ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost: cumulative_lost(expected, self.received),
            highest_sequence_number: self.sequence.highest_on_wire(),
            jitter: self.jitter.units(),
            last_sender_report: last_sr,
            delay_since_last_sender_report: delay_since_last_sr,
        })
    }

    fn begin(&mut self, order: Order) {
        self.received = 0;
        self.expected_before = 0;
        self.received_before = 0;
        self.jitter = Jitter::default();
        if order == Order::Restart {
            self.totals.restarts += 1;
        }
    }
}

/// Lost of one interval in 256ths (RFC 3550 A.3).
fn fraction_lost(expected: u64, received: u64) -> u8 {
    let lost = expected.saturating_sub(received);
    if lost == 0 {
        return 0;
    }
    u8::try_from(lost * 256 / expected).unwrap_or(u8::MAX)
}

/// Lost so far, held within 24 bits signed (RFC 3550 A.3).
fn cumulative_lost(expected: u64, received: u64) -> i32 {
    let lost = i128::from(expected) - i128::from(received);
    i32::try_from(lost.clamp(-0x80_0000, 0x7F_FFFF)).unwrap_or(0)
}

/// A span in units of 2^-16 s, at most what 32 bits hold (18 hours).
fn delay_units(span: Duration) -> u32 {
    u32::try_from(span.as_nanos() * 65_536 / 1_000_000_000).unwrap_or(u32::MAX)
}

/// Interarrival jitter (RFC 3550 A.8), kept in 16ths of a tick.
#[derive(Clone, Copy, Debug, Default)]
struct Jitter {
    sixteenths: u32,
    /// The last transit time in ticks and the clock rate it was measured with.
    last: Option<(u32, u32)>,
}

impl Jitter {
    fn update(&mut self, now: Time, clock_rate: u32, timestamp: u32) {
        let transit = ticks_at(now, clock_rate).wrapping_sub(timestamp);
        if let Some((before, rate)) = self.last
            && rate == clock_rate
        {
            let d = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            if d < clock_rate.saturating_mul(MAX_JITTER_SECS) {
                let decay = self.sixteenths.saturating_add(8) >> 4;
                self.sixteenths = self.sixteenths.saturating_add(d).saturating_sub(decay);
            }
        }
        self.last = Some((transit, clock_rate));
    }

    /// Whether a timestamp of now is about where packets that leave now have theirs.
    fn is_near(self, now: Time, clock_rate: u32, timestamp: u32) -> bool {
        let transit = ticks_at(now, clock_rate).wrapping_sub(timestamp);
        self.last.is_some_and(|(before, rate)| {
            let distance = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            rate == clock_rate && distance < clock_rate.saturating_mul(MAX_CLOCK_SECS)
        })
    }

    const fn units(self) -> u32 {
        self.sixteenths >> 4
    }
}

#[cfg(test)]
mod tests;
