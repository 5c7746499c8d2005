//! The two directions of one peer: what is taken out of protection, and what is put in.

use core::fmt;

use rtpcore_cipher::CmKey;

use super::replay::ReplayWindow;
use super::session::{Session, Transform};
use super::{Master, Profile};
use crate::drop::Drop;
use crate::units::Ssrc;

/// 1024 packets of one stream: half a second of a fast one. Whoever retransmits without RTX (RFC 4588) sends the very same
/// packet again, a round trip and more behind the newest; every packet of window costs a bit per stream.
type RtpWindow = ReplayWindow<17>;

/// 128 reports: nobody retransmits those.
type RtcpWindow = ReplayWindow<3>;

/// Header of an RTCP packet that stays in the clear: its first word and the sender's SSRC (RFC 3711 §3.4).
const RTCP_CLEAR_LEN: usize = 8;

/// The flag and the index behind an RTCP packet (RFC 3711 §3.4).
const RTCP_WORD_LEN: usize = 4;
const RTCP_ENCRYPTED: u32 = 1 << 31;

/// What can be read of an RTP packet before anyone vouches for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClearHeader {
    /// Synchronisation source.
    pub ssrc: Ssrc,
    /// The 16 bits of the wire.
    pub sequence_number: u16,
    /// Length of the fixed header, CSRCs and extensions in bytes: all that is not encrypted.
    pub len: usize,
}

/// Takes one peer's packets out of protection.
///
/// It remembers a bounded number of streams. A stream is remembered, and its index moves, only by an authentic packet.
pub struct Inbound {
    session: Session,
    tag_len: usize,
    rtp: Streams<RtpWindow>,
    rtcp: Streams<RtcpWindow>,
}

impl Inbound {
    /// How many SSRCs a peer may bring by default, of RTP and of RTCP each: ten tracks of three encodings with their
    /// retransmissions. Each costs about 150 bytes once it appears.
    pub const MAX_SSRCS: usize = 64;

    /// Keys it with the sender's master; none if that does not fit the profile.
    pub fn new(profile: Profile, master: Master<'_>, max_ssrcs: usize) -> Option<Self> {
        Some(Self {
            session: Session::new(profile, master)?,
            tag_len: profile.tag_len(),
            rtp: Streams::new(max_ssrcs),
            rtcp: Streams::new(max_ssrcs),
        })
    }

    /// Decrypts an SRTP packet from the receive buffer into `out`, header first, and returns its length there.
    ///
    /// Drops: [`Drop::BadRtp`] too short; [`Drop::TooManySsrcs`]; [`Drop::TooOld`] and [`Drop::Replayed`] by the index,
    /// which is guessed from the highest so far (RFC 3711 §3.3.1); [`Drop::BadAuth`]; [`Drop::Oversized`] for `out`. In
    /// each case nothing is remembered and the bytes in `out` mean nothing.
    pub fn unprotect_rtp(&mut self, packet: &[u8], header: ClearHeader, out: &mut [u8]) -> Result<usize, Drop> {
        let (clear, sealed) = packet.split_at_checked(header.len).ok_or(Drop::BadRtp)?;
        let len = packet.len().checked_sub(self.tag_len).filter(|&len| len >= header.len).ok_or(Drop::BadRtp)?;
        let out = out.get_mut(..len).ok_or(Drop::Oversized)?;
        let (clear_out, plain_out) = out.split_at_mut_checked(header.len).ok_or(Drop::BadRtp)?;
        let ssrc = header.ssrc.0;

        let stream = self.rtp.find(ssrc)?;
        let highest = stream.and_then(|n| self.rtp.windows.get(n)).map(ReplayWindow::highest);
        let index = guess_index(highest, header.sequence_number);
        self.rtp.check(stream, index)?;
        // 2^48 packets are the end of a key (RFC 3711 §9.2).
        let roc = u32::try_from(index >> 16).map_err(|_| Drop::BadAuth)?;

        match &self.session.rtp {
            Transform::Aead(aead) => {
                if !aead.key.open(&aead.nonce(ssrc, index), clear, sealed, plain_out) {
                    return Err(Drop::BadAuth);
                }
            }
            Transform::Cm(key) => {
                let (message, tag) = packet.split_last_chunk().ok_or(Drop::BadRtp)?;
                if !key.verify(message, roc, tag) {
                    return Err(Drop::BadAuth);
                }
                let ciphertext = message.get(header.len..).ok_or(Drop::BadRtp)?;
                key.apply(ssrc, index, &[], ciphertext, plain_out);
            }
        }
        clear_out.copy_from_slice(clear);
        self.rtp.accept(stream, ssrc, index);
        Ok(len)
    }

    /// Decrypts an SRTCP packet in place and returns the RTCP in it, whether it was encrypted or only authenticated.
    ///
    /// Drops as in [`Self::unprotect_rtp`], with [`Drop::BadRtcp`] for one too short; a dropped packet is destroyed.
    pub fn unprotect_rtcp<'p>(&mut self, packet: &'p mut [u8]) -> Result<&'p [u8], Drop> {
        let overhead = RTCP_WORD_LEN + self.tag_len;
        let len = packet.len().checked_sub(overhead).filter(|&len| len >= RTCP_CLEAR_LEN).ok_or(Drop::BadRtcp)?;
        let ssrc = rtcp_ssrc(packet).ok_or(Drop::BadRtcp)?;
        // AES-CM ends in index and tag (RFC 3711 §3.4), AES-GCM in tag and index (RFC 7714 §9.2).
        let word_at = match &self.session.rtcp {
            Transform::Aead(_) => len + self.tag_len,
            Transform::Cm(_) => len,
        };
        let word = packet.get(word_at..).and_then(|rest| rest.first_chunk().copied()).ok_or(Drop::BadRtcp)?;
        let is_encrypted = u32::from_be_bytes(word) & RTCP_ENCRYPTED != 0;
        let index = u64::from(u32::from_be_bytes(word) & !RTCP_ENCRYPTED);

        let stream = self.rtcp.find(ssrc)?;
        self.rtcp.check(stream, index)?;

        let is_authentic = match &self.session.rtcp {
            Transform::Aead(aead) => {
                let nonce = aead.nonce(ssrc, index);
                if is_encrypted {
                    let (clear, rest) = packet.split_first_chunk_mut::<RTCP_CLEAR_LEN>().ok_or(Drop::BadRtcp)?;
                    let sealed = rest.get_mut(..len + self.tag_len - RTCP_CLEAR_LEN).ok_or(Drop::BadRtcp)?;
                    aead.key.open_in_place(&nonce, &rtcp_aad(*clear, word), sealed)
                } else {
                    // What is authenticated has to lie together: the word goes where the tag was.
                    let (_, rest) = packet.split_at_mut_checked(len).ok_or(Drop::BadRtcp)?;
                    let mut tag: [u8; rtpcore_cipher::AEAD_TAG_LEN] = *rest.first_chunk().ok_or(Drop::BadRtcp)?;
                    *rest.first_chunk_mut().ok_or(Drop::BadRtcp)? = word;
                    let aad = packet.get(..len + RTCP_WORD_LEN).ok_or(Drop::BadRtcp)?;
                    aead.key.open_in_place(&nonce, aad, &mut tag)
                }
            }
            Transform::Cm(key) => {
                let (message, rest) = packet.split_at_mut_checked(len).ok_or(Drop::BadRtcp)?;
                let tag = rest.last_chunk().ok_or(Drop::BadRtcp)?;
                let is_authentic = key.verify(message, u32::from_be_bytes(word), tag);
                if let (true, Some(text)) = (is_authentic && is_encrypted, message.get_mut(RTCP_CLEAR_LEN..)) {
                    key.apply_in_place(ssrc, index, text);
                }
                is_authentic
            }
        };
        if !is_authentic {
            return Err(Drop::BadAuth);
        }
        self.rtcp.accept(stream, ssrc, index);
        packet.get(..len).ok_or(Drop::BadRtcp)
    }

    /// Makes room for another SSRC where a track has gone. Only for an SSRC whose packets nobody takes any more: old ones
    /// could be played again from here on.
    pub fn forget(&mut self, ssrc: Ssrc) {
        self.rtp.forget(ssrc.0);
        self.rtcp.forget(ssrc.0);
    }

    /// How many SSRCs have a state, of RTP and of RTCP.
    pub fn ssrcs(&self) -> (usize, usize) {
        (self.rtp.ssrcs.len(), self.rtcp.ssrcs.len())
    }
}

/// The replay windows of a bounded number of streams.
struct Streams<W> {
    most: usize,
    /// Apart from the windows, so that a search touches few cache lines.
    ssrcs: Vec<u32>,
    windows: Vec<W>,
}

impl<const WORDS: usize> Streams<ReplayWindow<WORDS>> {
    /// Grows with the streams that appear: most peers bring a few, and many none.
    fn new(most: usize) -> Self {
        Self { most, ssrcs: Vec::new(), windows: Vec::new() }
    }

    /// Where a stream is, if it is known. An unknown one is refused before any work is done if there is no room.
    fn find(&self, ssrc: u32) -> Result<Option<usize>, Drop> {
        let found = self.ssrcs.iter().position(|&known| known == ssrc);
        if found.is_none() && self.ssrcs.len() >= self.most { Err(Drop::TooManySsrcs) } else { Ok(found) }
    }

    fn check(&self, stream: Option<usize>, index: u64) -> Result<(), Drop> {
        stream.and_then(|n| self.windows.get(n)).map_or(Ok(()), |window| window.check(index))
    }

    fn accept(&mut self, stream: Option<usize>, ssrc: u32, index: u64) {
        if let Some(window) = stream.and_then(|n| self.windows.get_mut(n)) {
            window.accept(index);
        } else {
            self.ssrcs.push(ssrc);
            self.windows.push(ReplayWindow::starting_at(index));
        }
    }

    fn forget(&mut self, ssrc: u32) {
        if let Some(n) = self.ssrcs.iter().position(|&known| known == ssrc) {
            self.ssrcs.swap_remove(n);
            self.windows.swap_remove(n);
        }
    }
}

/// Puts the packets for one peer into protection.
///
/// It remembers nothing of RTP: the index comes with the packet, from the sender's 64-bit sequence number. **An index must
/// never return under the same SSRC with other bytes**, header extensions included, or both plaintexts can be read and with
/// AES-GCM packets be forged. So what is retransmitted goes out under the RTX stream's own SSRC and number (RFC 4588), and a
/// stream that starts again starts with another SSRC.
pub struct Outbound {
    session: Session,
    tag_len: usize,
    /// Of the next RTCP packet, 31 bits; one count for all SSRCs, so each sees it rise.
    rtcp_index: u32,
}

/// A packet that is encrypted, and complete unless its tag was put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferred {
    /// Length of the packet, tag included.
    pub len: usize,
    /// The rollover counter that the tag covers; none if the tag is written.
    pub(super) roc: Option<u32>,
}

impl Outbound {
    /// Keys it with our own master; none if that does not fit the profile.
    pub fn new(profile: Profile, master: Master<'_>) -> Option<Self> {
        Some(Self { session: Session::new(profile, master)?, tag_len: profile.tag_len(), rtcp_index: 0 })
    }

    /// How many bytes protection adds to an RTP packet.
    pub fn rtp_overhead(&self) -> usize {
        self.tag_len
    }

    /// How many bytes protection adds to an RTCP packet.
    pub fn rtcp_overhead(&self) -> usize {
        self.tag_len + RTCP_WORD_LEN
    }

    /// Encrypts `head` and `body`, one after the other, behind the header that lies in the first `header_len` bytes of
    /// `out`, and returns the length of the packet.
    ///
    /// `index` is the 48-bit packet index (RFC 3711 §3.3.1): rollover counter and sequence number, the latter the same as
    /// in the header. A [`SeqNo`](crate::SeqNo) counts from 2^16, so its index is 2^16 less. None, with nothing to send, if `out` is too
    /// short, the header is none, or the index ends the key's life at 2^48.
    pub fn protect_rtp(
        &self,
        index: u64,
        header_len: usize,
        head: &[u8],
        body: &[u8],
        out: &mut [u8],
    ) -> Option<usize> {
        let Deferred { len, roc } = self.protect_rtp_deferred(index, header_len, head, body, out)?;
        if let (Some(roc), Transform::Cm(key)) = (roc, &self.session.rtp) {
            let (message, tag) = out.get_mut(..len)?.split_last_chunk_mut()?;
            *tag = key.tag(message, roc);
        }
        Some(len)
    }

    /// The same, but leaves the tag of AES-CM as zeroes, for a [`Tagger`](super::Tagger) to write with many others. The
    /// packet must not be sent before.
    pub fn protect_rtp_deferred(
        &self,
        index: u64,
        header_len: usize,
        head: &[u8],
        body: &[u8],
        out: &mut [u8],
    ) -> Option<Deferred> {
        let roc = u32::try_from(index >> 16).ok()?;
        let len = header_len.checked_add(head.len())?.checked_add(body.len())?.checked_add(self.tag_len)?;
        let (header, payload) = out.get_mut(..len)?.split_at_mut_checked(header_len)?;
        let ssrc = rtp_ssrc(header)?;
        debug_assert_eq!(header.get(2..4), index.to_be_bytes().get(6..), "the index is that of the header");
        match &self.session.rtp {
            Transform::Aead(aead) => {
                aead.key.seal(&aead.nonce(ssrc, index), header, head, body, payload);
                Some(Deferred { len, roc: None })
            }
            Transform::Cm(key) => {
                let (text, tag) = payload.split_last_chunk_mut::<{ rtpcore_cipher::CM_TAG_LEN }>()?;
                key.apply(ssrc, index, head, body, text);
                tag.fill(0);
                Some(Deferred { len, roc: Some(roc) })
            }
        }
    }

    /// Encrypts an RTCP packet into `out` and returns its length there.
    ///
    /// None, with nothing to send, if `out` is too short, `plain` has no sender, or the 2^31 indices are used up: a
    /// hundred reports a second for eight months. Then the peer has to connect again.
    pub fn protect_rtcp(&mut self, plain: &[u8], out: &mut [u8]) -> Option<usize> {
        let len = plain.len().checked_add(self.rtcp_overhead())?;
        let out = out.get_mut(..len)?;
        let ssrc = rtcp_ssrc(plain)?;
        let (clear, text) = plain.split_first_chunk::<RTCP_CLEAR_LEN>()?;
        if self.rtcp_index >= RTCP_ENCRYPTED {
            return None;
        }
        let index = u64::from(self.rtcp_index);
        let word = (self.rtcp_index | RTCP_ENCRYPTED).to_be_bytes();
        self.rtcp_index += 1;

        let (clear_out, rest) = out.split_first_chunk_mut::<RTCP_CLEAR_LEN>()?;
        *clear_out = *clear;
        match &self.session.rtcp {
            Transform::Aead(aead) => {
                let (sealed, word_out) = rest.split_last_chunk_mut()?;
                *word_out = word;
                aead.key.seal(&aead.nonce(ssrc, index), &rtcp_aad(*clear, word), &[], text, sealed);
            }
            Transform::Cm(key) => {
                let (text_out, _) = rest.split_at_mut_checked(text.len())?;
                key.apply(ssrc, index, &[], text, text_out);
                let (message, trailer) = out.split_at_mut_checked(plain.len())?;
                *trailer.first_chunk_mut()? = word;
                *trailer.last_chunk_mut()? = key.tag(message, u32::from_be_bytes(word));
            }
        }
        Some(len)
    }

    /// What writes the tags that were put off.
    pub(super) fn tag_key(&self) -> Option<&CmKey> {
        match &self.session.rtp {
            Transform::Cm(key) => Some(key),
            Transform::Aead(_) => None,
        }
    }
}

/// The index that a packet with these 16 bits most likely has, after the highest one so far (RFC 3711 §3.3.1).
///
/// That is the nearest one, in the same cycle if two are; but nothing lies before the first cycle, in which every stream
/// begins. [`SeqNo::nearest`](crate::SeqNo::nearest) differs only where two are equally near.
fn guess_index(highest: Option<u64>, sequence_number: u16) -> u64 {
    let Some(highest) = highest else { return u64::from(sequence_number) };
    let same_cycle = highest & !0xFFFF | u64::from(sequence_number);
    if same_cycle > highest + 0x8000 && same_cycle > 0xFFFF {
        same_cycle - 0x1_0000
    } else if same_cycle + 0x8000 < highest {
        same_cycle + 0x1_0000
    } else {
        same_cycle
    }
}

/// What AES-GCM authenticates of an encrypted RTCP packet besides the text (RFC 7714 §9.2).
fn rtcp_aad(clear: [u8; RTCP_CLEAR_LEN], word: [u8; RTCP_WORD_LEN]) -> [u8; RTCP_CLEAR_LEN + RTCP_WORD_LEN] {
    let mut aad = [0; RTCP_CLEAR_LEN + RTCP_WORD_LEN];
    let (front, back) = aad.split_at_mut(RTCP_CLEAR_LEN);
    front.copy_from_slice(&clear);
    back.copy_from_slice(&word);
    aad
}

fn rtp_ssrc(header: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*header.get(8..)?.first_chunk()?))
}

fn rtcp_ssrc(packet: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(*packet.get(4..)?.first_chunk()?))
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbound").field("ssrcs", &self.ssrcs()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound").field("rtcp_index", &self.rtcp_index).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(super) mod tests;
