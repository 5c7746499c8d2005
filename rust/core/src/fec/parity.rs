//! The sum that both formats carry: packets added up with exclusive or (RFC 5109 §8).

use super::Repair;
use crate::rtp::FixedHeader;
use crate::store::MAX_PACKET;
use crate::units::Ssrc;

/// The most bytes behind the fixed header that are summed: what the router forwards at most.
pub const MAX_BODY: usize = MAX_PACKET - FixedHeader::LEN;

/// P, X, CC and M, PT: all of the first two bytes but the version.
const FLAGS: u16 = 0x3FFF;

/// A sum of packets. About 1.5 kB, allocated once.
#[derive(Clone, Debug)]
pub struct Parity {
    flags: u16,
    length: u16,
    timestamp: u32,
    /// How much of `body` is in use: the longest packet. All behind it is zero.
    used: usize,
    body: Box<[u8]>,
}

impl Default for Parity {
    fn default() -> Self {
        Self::new()
    }
}

impl Parity {
    /// The sum of nothing.
    pub fn new() -> Self {
        Self { flags: 0, length: 0, timestamp: 0, used: 0, body: vec![0; MAX_BODY].into_boxed_slice() }
    }

    /// Adds a packet, or takes it out again: its fixed header, of which sequence number and SSRC are left out, and what
    /// lies behind it in `parts`, one after the other.
    ///
    /// False, and nothing is added, where the parts are longer than [`MAX_BODY`].
    #[inline]
    pub fn add(&mut self, header: &FixedHeader, parts: &[&[u8]]) -> bool {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let Some(mut rest) = self.body.get_mut(..len) else { return false };
        for part in parts {
            let Some((at, behind)) = rest.split_at_mut_checked(part.len()) else { return false };
            xor(at, part);
            rest = behind;
        }
        let bytes = header.to_bytes();
        self.flags ^= u16::from_be_bytes([bytes[0], bytes[1]]) & FLAGS;
        self.length ^= u16::try_from(len).unwrap_or(0);
        self.timestamp ^= header.timestamp;
        self.used = self.used.max(len);
        true
    }

    /// Takes `bytes` of a packet out of the sum again, so that they count as zero. They lie `offset` behind its fixed
    /// header.
    pub fn cancel(&mut self, offset: usize, bytes: &[u8]) {
        if let Some(at) = self.body.get_mut(offset..).and_then(|rest| rest.get_mut(..bytes.len())) {
            xor(at, bytes);
        }
    }

    /// Makes this the sum that a repair packet carries; false, and it is the sum of nothing, where that is too long.
    pub fn load(&mut self, repair: &Repair<'_>) -> bool {
        self.clear();
        let Some(at) = self.body.get_mut(..repair.body.len()) else { return false };
        at.copy_from_slice(repair.body);
        (self.flags, self.length, self.timestamp) = (repair.flags & FLAGS, repair.length, repair.timestamp);
        self.used = repair.body.len();
        true
    }

    /// As a repair packet says it.
    pub fn repair(&self, ssrc: Option<Ssrc>, base: u16, mask: u128) -> Repair<'_> {
        let Self { flags, length, timestamp, .. } = *self;
        Repair { ssrc, base, mask, flags, length, timestamp, body: self.body.get(..self.used).unwrap_or(&[]) }
    }

    /// Writes the packet that is left when all others of the sum were taken out; returns its length.
    ///
    /// None where it is longer than the sum, so that no packet gave it, or than `out`.
    pub fn write_packet(&self, sequence_number: u16, ssrc: Ssrc, out: &mut [u8]) -> Option<usize> {
        let body = self.body.get(..self.used)?.get(..usize::from(self.length))?;
        let (fixed, rest) = out.split_first_chunk_mut::<{ FixedHeader::LEN }>()?;
        let [first, second] = (self.flags | 2 << 14).to_be_bytes();
        let [high, low] = sequence_number.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [s0, s1, s2, s3] = ssrc.0.to_be_bytes();
        *fixed = [first, second, high, low, t0, t1, t2, t3, s0, s1, s2, s3];
        rest.get_mut(..body.len())?.copy_from_slice(body);
        Some(FixedHeader::LEN + body.len())
    }

    /// Makes it the sum of nothing again.
    pub fn clear(&mut self) {
        if let Some(used) = self.body.get_mut(..self.used) {
            used.fill(0);
        }
        (self.flags, self.length, self.timestamp, self.used) = (0, 0, 0, 0);
    }
}

/// Adds `from` to `to`, of equal length. The compiler makes it wide.
#[inline]
fn xor(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to ^= from;
    }
}
