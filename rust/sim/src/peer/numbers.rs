//! The numbers of one copy's packets as who receives them counts: retransmissions undone (RFC 4588 §4), extended
//! (RFC 3550 §A.1), and reported.

use rtpcore_core::rtcp::ReportBlock;
use rtpcore_core::rtp::Header;
use rtpcore_core::rtp::clock::ntp_middle;
use rtpcore_core::{SeqNo, Ssrc, Time};

/// See the module.
pub(crate) struct Numbers {
    ssrc: Ssrc,
    highest: Option<SeqNo>,
    first: SeqNo,
    received: u64,
    /// The last sender report, and when it came.
    heard: Option<(u32, Time)>,
}

/// A packet that was counted.
pub(crate) struct Counted<'a> {
    pub(crate) seq: SeqNo,
    /// The highest number before it.
    pub(crate) highest: SeqNo,
    pub(crate) is_rtx: bool,
    pub(crate) payload: &'a [u8],
}

impl Numbers {
    /// Of the copy that comes with `ssrc`; its retransmissions come on the next one.
    pub(crate) fn new(ssrc: Ssrc) -> Self {
        Self { ssrc, highest: None, first: SeqNo(0), received: 0, heard: None }
    }

    pub(crate) fn takes(&self, ssrc: Ssrc) -> bool {
        ssrc == self.ssrc || ssrc.0 == self.ssrc.0 + 1
    }

    /// Counts a packet; none is a retransmission of nothing.
    pub(crate) fn count<'a>(&mut self, header: &Header, payload: &'a [u8]) -> Option<Counted<'a>> {
        let (mut number, mut payload) = (header.sequence_number, payload);
        let is_rtx = header.ssrc != self.ssrc;
        if is_rtx {
            let (original, rest) = payload.split_first_chunk()?;
            (number, payload) = (u16::from_be_bytes(*original), rest);
        } else {
            self.received += 1;
        }
        let highest = *self.highest.get_or_insert_with(|| {
            self.first = SeqNo::first(number);
            SeqNo::first(number)
        });
        let seq = highest.nearest(number);
        self.highest = Some(highest.max(seq));
        Some(Counted { seq, highest, is_rtx, payload })
    }

    pub(crate) fn handle_sender_report(&mut self, now: Time, ntp: u64) {
        self.heard = Some((ntp_middle(ntp), now));
    }

    /// How many packets there were to come, and how many came; retransmissions are not counted.
    pub(crate) fn expected_and_received(&self) -> (u64, u64) {
        let expected = self.highest.map_or(0, |highest| highest.0 - self.first.0.min(highest.0) + 1);
        (expected, self.received)
    }

    /// What a receiver report says of all so far (RFC 3550 §6.4.1), without the fraction lost of late.
    pub(crate) fn report(&self, now: Time) -> Option<ReportBlock> {
        let highest = self.highest?;
        let (expected, received) = self.expected_and_received();
        let (last_sender_report, delay) = self.heard.map_or((0, 0), |(last, at)| {
            (last, u32::try_from(now.since(at).as_nanos() * 65_536 / 1_000_000_000).unwrap_or(u32::MAX))
        });
        Some(ReportBlock {
            ssrc: self.ssrc,
            cumulative_lost: i32::try_from(expected.saturating_sub(received)).unwrap_or(0),
            highest_sequence_number: u32::try_from(highest.0 - (1 << 16)).unwrap_or(0),
            last_sender_report,
            delay_since_last_sender_report: delay,
            ..ReportBlock::default()
        })
    }
}
