//! ULPFEC (RFC 5109) as browsers send it: one level of protection, inside RED (RFC 2198) in the stream it protects.
//!
//! RED for video is a single byte, the payload type of what follows, in front of media and repair packets alike. The
//! sum is over the packets without it: as they would have been sent outside of RED.
//!
//! ```text
//!  0 |E|L|P|X|  CC   |M| PT recovery |            SN base            |
//!  4 |                          TS recovery                          |
//!  8 |        length recovery        |       protection length       |
//! 12 |             mask [0-15]       |  mask [16-47], where L is 1 ..
//! ```

use super::Repair;
use crate::units::Pt;

/// How many packets a mask can name from its first on.
pub const MASK_BITS: u32 = 48;
/// The most bytes in front of the sum.
pub const MAX_HEADER: usize = 18;

/// Up to the end of the short mask.
const HEADER: usize = 14;
/// Says that the header is extended, which no RFC defines.
const EXTENDED: u8 = 0x80;
const LONG_MASK: u8 = 0x40;

/// Takes what is behind the RED byte of a repair packet apart: level 0, the only one that browsers send.
///
/// None where it is cut off, the header is extended (E), or it names no packet.
pub fn parse(block: &[u8]) -> Option<Repair<'_>> {
    let (head, mut rest) = block.split_first_chunk::<HEADER>()?;
    let [first, second, b0, b1, t0, t1, t2, t3, l0, l1, p0, p1, m0, m1] = *head;
    if first & EXTENDED != 0 {
        return None;
    }
    let mut bytes = [0; 16];
    [bytes[0], bytes[1]] = [m0, m1];
    if first & LONG_MASK != 0 {
        let (more, behind) = rest.split_first_chunk::<4>()?;
        [bytes[2], bytes[3], bytes[4], bytes[5]] = *more;
        rest = behind;
    }
    let mask = u128::from_be_bytes(bytes).reverse_bits();
    (mask != 0).then_some(Repair {
        ssrc: None,
        base: u16::from_be_bytes([b0, b1]),
        mask,
        flags: u16::from_be_bytes([first & 0x3F, second]),
        length: u16::from_be_bytes([l0, l1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        body: rest.get(..usize::from(u16::from_be_bytes([p0, p1])))?,
    })
}

/// Writes what goes behind the RED byte of a repair packet, with the shortest mask that does; returns its length.
///
/// None where `out` is too short, the mask is empty or longer than [`MASK_BITS`].
pub fn write(repair: &Repair<'_>, out: &mut [u8]) -> Option<usize> {
    let bits = 128 - repair.mask.leading_zeros();
    if bits == 0 || bits > MASK_BITS {
        return None;
    }
    let is_long = bits > 16;
    let len = if is_long { MAX_HEADER } else { HEADER };
    let [first, second] = repair.flags.to_be_bytes();
    let first = first & 0x3F | if is_long { LONG_MASK } else { 0 };
    let [b0, b1] = repair.base.to_be_bytes();
    let [t0, t1, t2, t3] = repair.timestamp.to_be_bytes();
    let [l0, l1] = repair.length.to_be_bytes();
    let [p0, p1] = u16::try_from(repair.body.len()).ok()?.to_be_bytes();
    let [m0, m1, m2, m3, m4, m5, ..] = repair.mask.reverse_bits().to_be_bytes();
    let header = [first, second, b0, b1, t0, t1, t2, t3, l0, l1, p0, p1, m0, m1, m2, m3, m4, m5];
    let (head, rest) = out.split_at_mut_checked(len)?;
    head.copy_from_slice(header.get(..len)?);
    rest.get_mut(..repair.body.len())?.copy_from_slice(repair.body);
    Some(len + repair.body.len())
}

/// The one byte of RED in front of a packet's own payload, and what lies behind it; none where the payload is empty or
/// has blocks in front of its own (RFC 2198 §3), which video never has.
pub fn unwrap_red(payload: &[u8]) -> Option<(Pt, &[u8])> {
    let (&first, rest) = payload.split_first()?;
    (first & 0x80 == 0).then_some((Pt(first), rest))
}
