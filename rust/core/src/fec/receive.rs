//! Recovers what a publisher's stream lost, out of the repair packets that came beside it.
//!
//! A repair packet is kept as the sum that is left when all packets at hand are taken out of it. Each packet that comes
//! later is taken out too; when one is left, that is the lost packet.

use super::{MUTABLE, Parity, Repair, ulpfec};
use crate::rtp::{Extensions, FixedHeader, Header};
use crate::units::{Pt, Ssrc};

/// How many packets of the stream are remembered: libwebrtc's windows have 48 at most, and some come late.
const MEDIA: usize = 128;
/// How many sums are kept that lack two packets or more. Each is 1.5 kB.
const SUMS: usize = 16;
/// A sum whose packets lie so far behind the newest is of no use: everything waited for it is given up or sent again.
const OLDEST: u16 = 512;

/// A packet of the stream, and how the caller finds its bytes again.
#[derive(Clone, Copy, Debug)]
struct Seen {
    sequence_number: u16,
    reference: u64,
}

/// What is left of one repair packet.
#[derive(Clone, Debug)]
struct Sum {
    rest: Parity,
    base: u16,
    /// Bit `i` says that packet `base + i` is still in it; zero where the slot is free.
    mask: u128,
}

/// One media stream of a publisher and its repair packets. Some 30 kB, allocated once.
///
/// Give it every packet as it came, those recovered here included, but none restored from a retransmission: that may
/// have other extensions than the original had, and what would be recovered with it would not be what was sent.
#[derive(Clone, Debug)]
pub struct Recovery {
    red: Option<Pt>,
    seen: Box<[Option<Seen>; MEDIA]>,
    sums: Box<[Sum]>,
    next: usize,
}

impl Recovery {
    /// For a stream whose packets may be wrapped in RED of this payload type.
    pub fn new(red: Option<Pt>) -> Self {
        let sum = Sum { rest: Parity::new(), base: 0, mask: 0 };
        Self { red, seen: Box::new([None; MEDIA]), sums: vec![sum; SUMS].into_boxed_slice(), next: 0 }
    }

    /// Takes in a packet of the stream: its decrypted `bytes`, where extensions lie in it, and a `reference` by which
    /// [`repair`](Self::repair) can ask for both. Then [`poll`](Self::poll).
    pub fn media(&mut self, reference: u64, bytes: &[u8], extensions: &Extensions) {
        let Some(sequence_number) = sequence_number(bytes) else { return };
        if let Some(slot) = self.seen.get_mut(usize::from(sequence_number) % MEDIA) {
            *slot = Some(Seen { sequence_number, reference });
        }
        self.take_out(sequence_number, bytes, extensions);
    }

    /// Takes in a repair packet for the stream `ssrc`; `find` gives the packets of [`media`](Self::media), as long as
    /// they are there. Then [`poll`](Self::poll). False where it is for another stream or too long.
    pub fn repair<'a>(
        &mut self,
        repair: &Repair<'_>,
        ssrc: Ssrc,
        find: impl Fn(u64) -> Option<(&'a [u8], &'a Extensions)>,
    ) -> bool {
        let Self { red, seen, sums, next } = self;
        // Where all are taken the oldest gives way.
        let Some(sum) = sums.get_mut(*next) else { return false };
        if repair.ssrc.is_some_and(|other| other != ssrc) || !sum.rest.load(repair) {
            return false;
        }
        *next = (*next + 1) % SUMS;
        (sum.base, sum.mask) = (repair.base, repair.mask);
        let mut left = repair.mask;
        while left != 0 {
            let ahead = left.trailing_zeros();
            left &= left - 1;
            let number = repair.base.wrapping_add(u16::try_from(ahead).unwrap_or(0));
            let known = seen.get(usize::from(number) % MEDIA).copied().flatten();
            if let Some(known) = known.filter(|known| known.sequence_number == number)
                && let Some((bytes, extensions)) = find(known.reference)
                && sequence_number(bytes) == Some(number)
                && add(&mut sum.rest, *red, bytes, extensions)
            {
                sum.mask &= !(1 << ahead);
            }
        }
        true
    }

    /// Writes the next recovered packet to `out`, as it was sent but without RED and with zeros in
    /// [mutable](super::MUTABLE) extensions, and returns its length. Call until it gives none.
    ///
    /// The caller handles it as one that came now, but did not come from the network, and gives it to
    /// [`media`](Self::media).
    pub fn poll(&mut self, ssrc: Ssrc, out: &mut [u8]) -> Option<usize> {
        while let Some(sum) = self.sums.iter_mut().find(|sum| sum.mask.is_power_of_two()) {
            let number = sum.base.wrapping_add(u16::try_from(sum.mask.trailing_zeros()).unwrap_or(0));
            sum.mask = 0;
            let len = sum.rest.write_packet(number, ssrc, out);
            let Some((len, bytes)) = len.and_then(|len| Some((len, out.get(..len)?))) else { continue };
            // Sums of what does not belong together come out as anything.
            if Header::parse(bytes).is_ok() {
                self.take_out(number, bytes, &Extensions::NONE);
                return Some(len);
            }
        }
        None
    }

    /// Takes a packet out of the sums that it is in.
    fn take_out(&mut self, number: u16, bytes: &[u8], extensions: &Extensions) {
        for sum in self.sums.iter_mut().filter(|sum| sum.mask != 0) {
            let ahead = number.wrapping_sub(sum.base);
            let bit = 1_u128.checked_shl(ahead.into()).unwrap_or(0) & sum.mask;
            if bit != 0 && add(&mut sum.rest, self.red, bytes, extensions) {
                sum.mask &= !bit;
            } else if (OLDEST..1 << 15).contains(&ahead) {
                sum.mask = 0;
            }
        }
    }
}

/// Adds a received packet to a sum as its sender did; false where it is none.
fn add(sum: &mut Parity, red: Option<Pt>, bytes: &[u8], extensions: &Extensions) -> bool {
    let Ok(header) = Header::parse_clear(bytes) else { return false };
    let (Some(&first), Some((_, body))) = (bytes.first(), bytes.split_first_chunk::<{ FixedHeader::LEN }>()) else {
        return false;
    };
    let mut fixed = FixedHeader {
        csrc_count: first & 0x0F,
        has_extension: first & 0x10 != 0,
        has_padding: first & 0x20 != 0,
        ..header.fixed()
    };
    let head_len = usize::from(header.payload_offset).saturating_sub(FixedHeader::LEN);
    let Some((head, mut payload)) = body.split_at_checked(head_len) else { return false };
    if red == Some(header.payload_type) {
        let Some((payload_type, rest)) = ulpfec::unwrap_red(payload) else { return false };
        (fixed.payload_type, payload) = (payload_type, rest);
    }
    if !sum.add(&fixed, &[head, payload]) {
        return false;
    }
    for kind in MUTABLE {
        if let (Some(offset), Some(value)) = (extensions.offset(kind), extensions.find(kind, bytes)) {
            sum.cancel(offset.saturating_sub(FixedHeader::LEN), value);
        }
    }
    true
}

fn sequence_number(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))
}
