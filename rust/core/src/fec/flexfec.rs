//! FlexFEC as libwebrtc speaks it, `flexfec-03` in SDP (draft-ietf-payload-flexible-fec-scheme-03 §4.2): repair packets
//! have a stream of their own, and a mask names the packets of the one stream that they protect.
//!
//! Its successor, RFC 8627, moved the SSRC out of this header; no browser speaks it yet.
//!
//! ```text
//!  0 |R|F|P|X|  CC   |M| PT recovery |        length recovery        |
//!  4 |                          TS recovery                          |
//!  8 |   SSRC count  |                   reserved                    |
//! 12 |                             SSRC                              |
//! 16 |            SN base            |k|         mask [0-14]         |
//! 20 |k|                mask [15-45], where the k above is 0         |
//! 24 |k|                mask [46-108], where the k above is 0        |
//! 28 |                                                               |
//! ```

use super::Repair;
use crate::units::Ssrc;

/// How many packets a mask can name from its first on.
pub const MASK_BITS: u32 = 109;
/// The most bytes in front of the sum.
pub const MAX_HEADER: usize = 32;

/// Up to the end of the first mask.
const HEADER: usize = 20;
const K16: u16 = 1 << 15;
const K32: u32 = 1 << 31;
const K64: u64 = 1 << 63;

/// Takes the payload of a repair packet apart.
///
/// None where it is cut off, is a retransmission (R) or has a fixed block (F), which libwebrtc never sends, protects
/// more or less than one stream, or names no packet.
pub fn parse(payload: &[u8]) -> Option<Repair<'_>> {
    let (head, mut rest) = payload.split_first_chunk::<HEADER>()?;
    let [first, second, l0, l1, t0, t1, t2, t3, streams, _, _, _, s0, s1, s2, s3, b0, b1, m0, m1] = *head;
    if first & 0xC0 != 0 || streams != 1 {
        return None;
    }
    // As on the wire: packet 0 is the highest bit.
    let word = u16::from_be_bytes([m0, m1]);
    let mut mask = u128::from(word & !K16) << 113;
    if word & K16 == 0 {
        let (word, behind) = rest.split_first_chunk()?;
        let word = u32::from_be_bytes(*word);
        mask |= u128::from(word & !K32) << 82;
        rest = behind;
        if word & K32 == 0 {
            let (word, behind) = rest.split_first_chunk()?;
            let word = u64::from_be_bytes(*word);
            if word & K64 == 0 {
                return None;
            }
            mask |= u128::from(word & !K64) << 19;
            rest = behind;
        }
    }
    (mask != 0).then_some(Repair {
        ssrc: Some(Ssrc(u32::from_be_bytes([s0, s1, s2, s3]))),
        base: u16::from_be_bytes([b0, b1]),
        mask: mask.reverse_bits(),
        flags: u16::from_be_bytes([first, second]),
        length: u16::from_be_bytes([l0, l1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        body: rest,
    })
}

/// Writes the payload of a repair packet, with the shortest mask that does; returns its length.
///
/// None where `out` is too short, the mask is empty or longer than [`MASK_BITS`], or there is no SSRC.
pub fn write(repair: &Repair<'_>, out: &mut [u8]) -> Option<usize> {
    let mask = repair.mask.reverse_bits();
    let bits = 128 - repair.mask.leading_zeros();
    if mask == 0 || bits > MASK_BITS {
        return None;
    }
    let mut header = [0; MAX_HEADER];
    let len = if bits <= 15 {
        HEADER
    } else if bits <= 46 {
        HEADER + 4
    } else {
        MAX_HEADER
    };
    // Each part ends with its k bit, so that all are cut from one row of bits.
    let short = low_u16(mask >> 113) | if len == HEADER { K16 } else { 0 };
    let middle = low_u32(mask >> 82) & !K32 | if len == HEADER + 4 { K32 } else { 0 };
    let long = low_u64(mask >> 19) & !K64 | K64;
    let [first, second] = repair.flags.to_be_bytes();
    let [l0, l1] = repair.length.to_be_bytes();
    let [t0, t1, t2, t3] = repair.timestamp.to_be_bytes();
    let [s0, s1, s2, s3] = repair.ssrc?.0.to_be_bytes();
    let [b0, b1] = repair.base.to_be_bytes();
    let [m0, m1] = short.to_be_bytes();
    *header.first_chunk_mut()? =
        [first & 0x3F, second, l0, l1, t0, t1, t2, t3, 1, 0, 0, 0, s0, s1, s2, s3, b0, b1, m0, m1];
    header.get_mut(HEADER..HEADER + 4)?.copy_from_slice(&middle.to_be_bytes());
    header.get_mut(HEADER + 4..)?.copy_from_slice(&long.to_be_bytes());
    let (head, rest) = out.split_at_mut_checked(len)?;
    head.copy_from_slice(header.get(..len)?);
    rest.get_mut(..repair.body.len())?.copy_from_slice(repair.body);
    Some(len + repair.body.len())
}

#[allow(clippy::cast_possible_truncation)]
const fn low_u16(bits: u128) -> u16 {
    bits as u16
}

#[allow(clippy::cast_possible_truncation)]
const fn low_u32(bits: u128) -> u32 {
    bits as u32
}

#[allow(clippy::cast_possible_truncation)]
const fn low_u64(bits: u128) -> u64 {
    bits as u64
}
