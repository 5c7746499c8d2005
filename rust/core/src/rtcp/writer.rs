//! Collects packets for one datagram.

use core::fmt;

use super::PADDING;
use crate::units::Ssrc;

/// A packet does not fit, neither the bytes left nor its own fields; nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the RTCP packet does not fit")
    }
}

impl core::error::Error for Full {}

/// Collects RTCP packets in a caller's buffer, one behind the other, for one datagram.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

/// So that the length of one packet, in words less one, always fits its 16 bits.
const MAX: usize = 4 << 16;

impl<'a> Writer<'a> {
    /// An empty datagram at the start of `buffer`, whose size is its limit: leave room for SRTCP's index and tag.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        // In whole words, so that there is always room for a packet's padding.
        let len = buffer.len().min(MAX) & !3;
        let (buffer, _) = buffer.split_at_mut_checked(len).unwrap_or_default();
        Self { buffer, len: 0 }
    }

    /// Bytes written so far, a multiple of four.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Nothing is written yet.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes left.
    pub const fn room(&self) -> usize {
        self.buffer.len() - self.len
    }

    /// What is written so far.
    pub fn as_bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or(&[])
    }

    /// Starts a packet, which counts only once [`Open::close`] was called.
    pub(super) fn open(&mut self, packet_type: u8) -> Result<Open<'_, 'a>, Full> {
        let at = self.len + 4;
        if at > self.buffer.len() {
            return Err(Full);
        }
        Ok(Open { writer: self, packet_type, at })
    }
}

/// A packet being written, behind its common header. Dropped, it leaves the writer as it was.
pub(super) struct Open<'w, 'a> {
    writer: &'w mut Writer<'a>,
    packet_type: u8,
    at: usize,
}

impl Open<'_, '_> {
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.at + bytes.len();
        self.writer.buffer.get_mut(self.at..end).ok_or(Full)?.copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    pub(super) fn put_u16(&mut self, value: u16) -> Result<(), Full> {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn put_u32(&mut self, value: u32) -> Result<(), Full> {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn put_u64(&mut self, value: u64) -> Result<(), Full> {
        self.put(&value.to_be_bytes())
    }

    pub(super) fn put_ssrc(&mut self, ssrc: Ssrc) -> Result<(), Full> {
        self.put_u32(ssrc.0)
    }

    /// Where the next byte goes; for [`Open::patch`] and [`Open::rewind`].
    pub(super) const fn position(&self) -> usize {
        self.at
    }

    /// Bytes left for this packet.
    pub(super) const fn room(&self) -> usize {
        self.writer.buffer.len() - self.at
    }

    /// Writes over what was put at `position` before.
    pub(super) fn patch(&mut self, position: usize, bytes: &[u8]) {
        if let Some(earlier) = self.writer.buffer.get_mut(position..position + bytes.len()) {
            earlier.copy_from_slice(bytes);
        }
    }

    /// Forgets what was put since `position`.
    pub(super) fn rewind(&mut self, position: usize) {
        self.at = position.min(self.at);
    }

    /// Fills the last word with zeros.
    pub(super) fn align(&mut self) {
        let end = self.at.next_multiple_of(4);
        if let Some(fill) = self.writer.buffer.get_mut(self.at..end) {
            fill.fill(0);
            self.at = end;
        }
    }

    /// Makes the packet count: fills its last word and writes its common header, with `format` in the five bits for it.
    pub(super) fn close(mut self, format: u8) {
        self.align();
        let words = (self.at - self.writer.len) / 4 - 1;
        let [high, low] = u16::try_from(words).unwrap_or(u16::MAX).to_be_bytes();
        let first = 2 << 6 | (format & (PADDING - 1));
        let start = self.writer.len;
        self.patch(start, &[first, self.packet_type, high, low]);
        self.writer.len = self.at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_counts_once_it_is_closed() {
        let mut buffer = [0xAA; 15];
        let mut writer = Writer::new(&mut buffer);
        assert_eq!(writer.room(), 12, "whole words");
        let mut open = writer.open(204).unwrap();
        open.put(b"lost").unwrap();
        assert!(writer.is_empty());
        let mut open = writer.open(204).unwrap();
        open.put(b"kept!").unwrap();
        assert_eq!(open.put(b"long"), Err(Full));
        open.close(0xFF);
        assert_eq!(writer.as_bytes(), b"\x9F\xCC\0\x02kept!\0\0\0");
        assert_eq!(writer.room(), 0);
        assert!(writer.open(204).is_err());
    }

    #[test]
    fn the_longest_packet_fits_its_length_field() {
        let mut buffer = vec![0; MAX + 8];
        let mut writer = Writer::new(&mut buffer);
        let mut open = writer.open(204).unwrap();
        assert_eq!(open.put(&vec![0; MAX - 3]), Err(Full));
        open.put(&vec![0; MAX - 4]).unwrap();
        open.close(0);
        assert_eq!(writer.as_bytes()[2..4], [0xFF, 0xFF]);
        assert_eq!(writer.len(), MAX);
    }
}
