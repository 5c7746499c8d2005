//! Reads the body of a packet from front to back.

use crate::units::Ssrc;

/// What is left of a packet's body. Every read takes bytes off the front; none where there are too few.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    pub(super) const fn rest(self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<&'a [u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|&[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(|bytes| u16::from_be_bytes(*bytes))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(|bytes| u32::from_be_bytes(*bytes))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(|bytes| u64::from_be_bytes(*bytes))
    }

    pub(super) fn ssrc(&mut self) -> Option<Ssrc> {
        self.u32().map(Ssrc)
    }

    /// `count` entries of `N` bytes.
    pub(super) fn entries<const N: usize>(&mut self, count: usize) -> Option<&'a [[u8; N]]> {
        let (entries, _) = self.bytes(count.checked_mul(N)?)?.as_chunks();
        Some(entries)
    }

    /// Everything left as entries of `N` bytes; none where the last is cut short.
    pub(super) fn all_entries<const N: usize>(self) -> Option<&'a [[u8; N]]> {
        let (entries, left) = self.rest.as_chunks();
        left.is_empty().then_some(entries)
    }
}
