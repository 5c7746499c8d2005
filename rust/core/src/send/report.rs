//! What a subscriber is told of its copy, and what it tells back (RFC 3550 §6.4).

use core::time::Duration;

use crate::rtcp::{ReportBlock, SenderInfo};
use crate::rtp::ClockMap;
use crate::rtp::ntp::NtpTime;
use crate::time::Time;
use crate::units::Ssrc;

/// How far apart sender reports are.
///
/// Players align audio and video by them, so that a new one should never be far; at one a second they are some 30 bytes/s.
const INTERVAL_MS: u64 = 950;
/// The RTT before the first measurement: more delays retransmissions to those who are near, less doubles them for those far.
const FIRST_RTT: Duration = Duration::from_millis(100);
/// A measurement outside this range is a lie or of no use to pace retransmissions.
const RTT_RANGE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// A sender report about one copy (RFC 3550 §6.4.1), with the publisher's wall clock in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// The copy's SSRC.
    pub ssrc: Ssrc,
    /// What it says.
    pub info: SenderInfo,
}

/// Counts what is sent and keeps the reports both ways.
#[derive(Clone, Debug)]
pub struct Report {
    packets: u64,
    octets: u64,
    due_at: Time,
    interval: Duration,
    /// The last reports: the middle 32 bits of their wall clock, and when they were sent.
    ///
    /// The wall clock is the publisher's, not ours, so the round trip is read off this table and not off the clock.
    sent: [Option<(u32, Time)>; 4],
    next_slot: usize,
    rtt: Option<Duration>,
    last_block: ReportBlock,
}

impl Report {
    /// Nothing sent yet.
    pub fn new(ssrc: Ssrc) -> Self {
        Self {
            packets: 0,
            octets: 0,
            due_at: Time::NEVER,
            // A little apart, so that the reports of a thousand copies begun by one join do not stay in step.
            interval: Duration::from_millis(INTERVAL_MS + u64::from(ssrc.0 % 100)),
            sent: [None; 4],
            next_slot: 0,
            rtt: None,
            last_block: ReportBlock::default(),
        }
    }

    /// Counts one packet sent for the first time.
    pub fn count(&mut self, payload_len: u16) {
        self.packets += 1;
        self.octets += u64::from(payload_len);
    }

    /// Wants a report at once: the timestamps have a new base.
    pub fn hurry(&mut self, now: Time) {
        self.due_at = now;
    }

    /// When the next report is due.
    pub fn due_at(&self) -> Time {
        self.due_at
    }

    /// The report for `now`; `clock` is the publisher's report moved to `now`, in the copy's timestamps.
    pub fn build(&mut self, now: Time, ssrc: Ssrc, clock: ClockMap) -> SenderReport {
        self.due_at = now + self.interval;
        if let Some(slot) = self.sent.get_mut(self.next_slot) {
            *slot = Some((middle(clock.ntp), now));
        }
        self.next_slot = (self.next_slot + 1) % self.sent.len();
        let info = SenderInfo {
            ntp_time: NtpTime(clock.ntp),
            rtp_timestamp: clock.rtp,
            packet_count: wrap(self.packets),
            octet_count: wrap(self.octets),
        };
        SenderReport { ssrc, info }
    }

    /// Takes in a report block about this copy.
    ///
    /// A round trip is measured only against a report that we know we sent (RFC 3550 §6.4.1: A - LSR - DLSR); a delay
    /// longer than the time since then is not believed.
    pub fn handle_block(&mut self, now: Time, block: &ReportBlock) {
        self.last_block = *block;
        let Some(sent_at) =
            self.sent.iter().flatten().find(|(lsr, _)| *lsr == block.last_sender_report).map(|(_, at)| *at)
        else {
            return;
        };
        let delay = Duration::from_nanos((u64::from(block.delay_since_last_sender_report) * 1_000_000_000) >> 16);
        let Some(sample) = now.since(sent_at).checked_sub(delay) else { return };
        let sample = sample.clamp(RTT_RANGE.0, RTT_RANGE.1);
        // An eighth of each new sample, as in RFC 6298 §2.
        self.rtt = Some(self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
    }

    /// The smoothed round trip, 100 ms before the first measurement.
    pub fn measured_rtt(&self) -> Option<Duration> {
        self.rtt
    }

    /// The round trip to reckon with: measured, or a guess before.
    pub fn rtt(&self) -> Duration {
        self.rtt.unwrap_or(FIRST_RTT)
    }

    /// Packets sent for the first time.
    pub fn packets(&self) -> u64 {
        self.packets
    }

    /// Payload octets in them.
    pub fn octets(&self) -> u64 {
        self.octets
    }

    /// What the subscriber last reported.
    pub fn last_block(&self) -> &ReportBlock {
        &self.last_block
    }
}

#[allow(clippy::cast_possible_truncation)]
fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

#[allow(clippy::cast_possible_truncation)]
fn wrap(count: u64) -> u32 {
    count as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(report: &mut Report, ms: u64) -> SenderReport {
        let clock = ClockMap { ntp: (7 << 32) + (ms << 20), rtp: 5, at: Time::ZERO, clock_rate: 90_000 };
        report.build(Time::from_millis(ms), Ssrc(7), clock)
    }

    fn block(last_sender_report: u32, delay: u32) -> ReportBlock {
        ReportBlock { last_sender_report, delay_since_last_sender_report: delay, ..ReportBlock::default() }
    }

    #[test]
    fn counts_and_interval() {
        let mut report = Report::new(Ssrc(7));
        assert_eq!(report.due_at(), Time::NEVER);
        report.count(1000);
        report.count(200);
        report.hurry(Time::from_millis(10));
        assert_eq!(report.due_at(), Time::from_millis(10));
        let sr = sent(&mut report, 10);
        assert_eq!((sr.info.packet_count, sr.info.octet_count), (2, 1200));
        assert_eq!(report.due_at(), Time::from_millis(10 + 957));
    }

    #[test]
    fn the_round_trip_leaves_out_the_subscribers_delay() {
        let mut report = Report::new(Ssrc(7));
        assert_eq!(report.rtt(), FIRST_RTT);
        let sr = sent(&mut report, 1000);
        report.handle_block(Time::from_millis(1540), &block(middle(sr.info.ntp_time.0), 65536 / 2));
        assert_eq!(report.rtt(), Duration::from_millis(40));
        report.handle_block(Time::from_millis(1620), &block(middle(sr.info.ntp_time.0), 65536 / 2));
        assert_eq!(report.rtt(), Duration::from_millis(50), "an eighth of 120");
    }

    #[test]
    fn reports_we_did_not_send_measure_nothing() {
        let mut report = Report::new(Ssrc(7));
        let sr = sent(&mut report, 1000);
        report.handle_block(Time::from_millis(1500), &block(0, 0));
        report.handle_block(Time::from_millis(1500), &block(middle(sr.info.ntp_time.0) + 1, 0));
        report.handle_block(Time::from_millis(1500), &block(middle(sr.info.ntp_time.0), 65536));
        assert_eq!(report.rtt(), FIRST_RTT);
        for n in 1..=4 {
            sent(&mut report, 1000 + n * 1000);
        }
        report.handle_block(Time::from_millis(6000), &block(middle(sr.info.ntp_time.0), 0));
        assert_eq!(report.rtt(), FIRST_RTT, "only four reports are remembered");
    }

    #[test]
    fn a_round_trip_stays_in_range() {
        let mut report = Report::new(Ssrc(7));
        let sr = sent(&mut report, 1000);
        report.handle_block(Time::from_millis(1000), &block(middle(sr.info.ntp_time.0), 0));
        assert_eq!(report.rtt(), RTT_RANGE.0);
        let mut report = Report::new(Ssrc(7));
        let sr = sent(&mut report, 1000);
        report.handle_block(Time::from_millis(9000), &block(middle(sr.info.ntp_time.0), 0));
        assert_eq!(report.rtt(), RTT_RANGE.1);
    }
}
