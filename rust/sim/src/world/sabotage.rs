//! A router that breaks a rule on purpose: its datagrams are opened, altered and sealed again on the way out. What the
//! oracles do not notice here they would not notice in earnest.

use rtpcore_core::rtcp::{Compound, RtcpPacket};
use rtpcore_core::rtp::Header;
use rtpcore_core::srtp::{ClearHeader, Inbound, Outbound};
use rtpcore_core::{SeqNo, Ssrc, Time};

use crate::peer::KeyRing;

/// How many packets pass before something is done to one.
const EVERY: u64 = 50;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Some packets are withheld and their numbers left open.
    Withhold,
    /// Some packets are withheld and the rest closes up.
    WithholdAndClose,
    /// Some packets are sent again under the next number.
    Repeat,
    /// Some packets get the number of the one before.
    ReuseNumber,
    /// From some packet on all numbers are one higher.
    SkipNumber,
    /// Some packets are a tenth of a second in the past.
    TurnBackTime,
    /// Some packets have another picture id.
    ChangePictureId,
    /// Some marks are turned round.
    FlipMarker,
    /// Some payloads are damaged.
    Garble,
    /// The first packets are withheld, so that the stream begins in the middle.
    WithholdStart,
    /// Sender reports are 20 ms late.
    ShiftReports,
    /// Nothing leaves after two seconds.
    FallSilent,
    /// The payload type is the publisher's.
    KeepPayloadType,
    /// Two packets in a row change places, numbers included.
    Swap,
}

impl Sabotage {
    /// All of it.
    pub const ALL: [Self; 14] = [
        Self::Withhold,
        Self::WithholdAndClose,
        Self::Repeat,
        Self::ReuseNumber,
        Self::SkipNumber,
        Self::TurnBackTime,
        Self::ChangePictureId,
        Self::FlipMarker,
        Self::Garble,
        Self::WithholdStart,
        Self::ShiftReports,
        Self::FallSilent,
        Self::KeepPayloadType,
        Self::Swap,
    ];
}

/// One peer's copies, altered.
pub(super) struct Saboteur {
    sabotage: Sabotage,
    opener: Inbound,
    sealer: Outbound,
    count: u64,
    /// Added to all numbers.
    shift: u64,
    /// By SSRC the highest number so far.
    highest: Vec<(Ssrc, SeqNo)>,
    held: Option<(SeqNo, Vec<u8>)>,
}

impl Saboteur {
    pub(super) fn new(sabotage: Sabotage, keys: &KeyRing) -> Self {
        Self {
            sabotage,
            opener: keys.opener(1024),
            sealer: keys.router_sealer(),
            count: 0,
            shift: 0,
            highest: Vec::new(),
            held: None,
        }
    }

    /// What becomes of one datagram.
    pub(super) fn alter(&mut self, now: Time, datagram: Vec<u8>) -> Vec<Vec<u8>> {
        if self.sabotage == Sabotage::FallSilent && now > Time::from_millis(2000) {
            return Vec::new();
        }
        match datagram[..] {
            [_, 192..=223, ..] => vec![self.alter_rtcp(datagram)],
            _ => self.alter_rtp(&datagram),
        }
    }

    fn alter_rtcp(&mut self, datagram: Vec<u8>) -> Vec<u8> {
        let mut plain = datagram.clone();
        let Ok(opened) = self.opener.unprotect_rtcp(&mut plain) else { return datagram };
        let mut altered = opened.to_vec();
        if self.sabotage == Sabotage::ShiftReports
            && let Some(Ok(RtcpPacket::SenderReport(report))) = Compound::new(opened).next()
        {
            let late = report.info.ntp_time.0 + (1 << 32) / 50;
            altered[8..16].copy_from_slice(&late.to_be_bytes());
        }
        let mut out = [0; 2048];
        let len = self.sealer.protect_rtcp(&altered, &mut out).unwrap_or(0);
        out[..len].to_vec()
    }

    fn alter_rtp(&mut self, datagram: &[u8]) -> Vec<Vec<u8>> {
        let Ok(clear) = Header::parse_clear(datagram) else { return vec![datagram.to_vec()] };
        let header_len = usize::from(clear.payload_offset);
        let sealed = ClearHeader { ssrc: clear.ssrc, sequence_number: clear.sequence_number, len: header_len };
        let mut plain = vec![0; 2048];
        let Ok(len) = self.opener.unprotect_rtp(datagram, sealed, &mut plain) else { return Vec::new() };
        plain.truncate(len);
        let seq = self.extend(clear.ssrc, clear.sequence_number);
        self.count += 1;
        let is_turn = self.count.is_multiple_of(EVERY);
        let mut numbers = vec![seq.0.wrapping_add(self.shift)];
        match self.sabotage {
            Sabotage::Withhold if is_turn => return Vec::new(),
            Sabotage::WithholdAndClose if is_turn => {
                self.shift = self.shift.wrapping_sub(1);
                return Vec::new();
            }
            Sabotage::WithholdStart if self.count < EVERY => {
                self.shift = self.shift.wrapping_sub(1);
                return Vec::new();
            }
            Sabotage::Repeat if is_turn => {
                numbers.push(numbers[0] + 1);
                self.shift += 1;
            }
            Sabotage::ReuseNumber if is_turn => numbers[0] -= 1,
            Sabotage::SkipNumber if self.count == EVERY => {
                self.shift += 1;
                numbers[0] += 1;
            }
            Sabotage::TurnBackTime if is_turn => {
                let timestamp = clear.timestamp.wrapping_sub(9000);
                plain[4..8].copy_from_slice(&timestamp.to_be_bytes());
            }
            Sabotage::ChangePictureId if is_turn => plain[header_len + 3] ^= 0x10,
            Sabotage::FlipMarker if is_turn => plain[1] ^= 0x80,
            Sabotage::Garble if is_turn => plain[len - 20] ^= 0x55,
            Sabotage::KeepPayloadType => plain[1] = plain[1] & 0x80 | 96,
            Sabotage::Swap if is_turn => {
                self.held = Some((seq, plain));
                return Vec::new();
            }
            _ => {}
        }
        if let Some((held_seq, held)) = self.held.take() {
            return vec![self.seal(seq.0, &held, header_len), self.seal(held_seq.0, &plain, header_len)];
        }
        numbers.into_iter().map(|number| self.seal(number, &plain, header_len)).collect()
    }

    fn seal(&self, number: u64, plain: &[u8], header_len: usize) -> Vec<u8> {
        let mut out = [0; 2048];
        out[..header_len].copy_from_slice(&plain[..header_len]);
        out[2..4].copy_from_slice(&SeqNo(number).low().to_be_bytes());
        let len = self.sealer.protect_rtp(number - (1 << 16), header_len, &[], &plain[header_len..], &mut out);
        out[..len.unwrap_or(0)].to_vec()
    }

    fn extend(&mut self, ssrc: Ssrc, low: u16) -> SeqNo {
        if let Some((_, highest)) = self.highest.iter_mut().find(|(known, _)| *known == ssrc) {
            let seq = highest.nearest(low);
            *highest = seq.max(*highest);
            seq
        } else {
            self.highest.push((ssrc, SeqNo::first(low)));
            SeqNo::first(low)
        }
    }
}
