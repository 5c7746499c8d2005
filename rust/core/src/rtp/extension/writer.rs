//! Writes the extension block of a packet (RFC 8285 §4.1.2, §4.2, §4.3).

use super::{ONE_BYTE, TWO_BYTE};

/// Writes an extension block, behind the fixed header and the CSRCs, element by element.
///
/// The block is in the one-byte form until an element needs the two-byte form: an id above 14, more than 16 bytes, or
/// none. Browsers that negotiated no `extmap-allow-mixed` (RFC 8285 §6) understand one form per stream, so do not push
/// what needs the other.
///
/// ```
/// use rtpcore_core::rtp::ExtensionWriter;
///
/// let mut buffer = [0; 64];
/// let mut writer = ExtensionWriter::new(&mut buffer);
/// writer.push(3, &[0x12, 0x34]);
/// assert_eq!(writer.finish(), 8);
/// assert_eq!(buffer[..8], [0xBE, 0xDE, 0, 1, 0x31, 0x12, 0x34, 0]);
/// ```
#[derive(Debug)]
pub struct ExtensionWriter<'a> {
    buffer: &'a mut [u8],
    /// Bytes written, the head included.
    len: usize,
    is_two_byte: bool,
}

/// The profile word and the length in words.
const HEAD: usize = 4;

impl<'a> ExtensionWriter<'a> {
    /// An empty block at the start of `buffer`, which need not be cleared.
    #[inline]
    pub fn new(buffer: &'a mut [u8]) -> Self {
        // In whole words, so that there is always room for the padding; and no more than the length field can say.
        let len = buffer.len().min(HEAD + 4 * usize::from(u16::MAX)) & !3;
        let (buffer, _) = buffer.split_at_mut_checked(len).unwrap_or_default();
        Self { buffer, len: HEAD, is_two_byte: false }
    }

    /// Adds an element and returns where in the buffer its value lies; none if it does not fit, or no form can carry it:
    /// an id of 0, or more than 255 bytes.
    ///
    /// The first element that needs the two-byte form moves those before it, so push a value to be patched later behind
    /// the ones that may be long.
    #[inline]
    pub fn push(&mut self, id: u8, value: &[u8]) -> Option<usize> {
        if self.is_two_byte || !fits_one_byte(id, value.len()) {
            return self.push_two_byte(id, value);
        }
        let at = self.len + 1;
        let end = at + value.len();
        let (head, body) = self.buffer.get_mut(self.len..end)?.split_first_mut()?;
        #[allow(clippy::cast_possible_truncation)] // at most 16, just checked
        let len_bits = value.len() as u8 - 1;
        *head = id << 4 | len_bits;
        body.copy_from_slice(value);
        self.len = end;
        Some(at)
    }

    #[cold]
    fn push_two_byte(&mut self, id: u8, value: &[u8]) -> Option<usize> {
        let len = u8::try_from(value.len()).ok()?;
        let grown = if self.is_two_byte { self.len } else { self.len + self.count_one_byte() };
        let at = grown + 2;
        // Before anything moves: what does not fit changes nothing.
        if id == 0 || at + value.len() > self.buffer.len() {
            return None;
        }
        if !self.is_two_byte {
            self.widen();
        }
        let [head_id, head_len, body @ ..] = self.buffer.get_mut(self.len..at + value.len())? else { return None };
        *head_id = id;
        *head_len = len;
        body.copy_from_slice(value);
        self.len = at + value.len();
        Some(at)
    }

    /// How many elements of the one-byte form are written.
    fn count_one_byte(&self) -> usize {
        let mut count = 0;
        let mut at = HEAD;
        while let Some(&head) = self.buffer.get(at).filter(|_| at < self.len) {
            at += usize::from(head & 0x0F) + 2;
            count += 1;
        }
        count
    }

    /// Rewrites the elements so far in the two-byte form, which the caller saw to be one byte longer for each.
    fn widen(&mut self) {
        self.is_two_byte = true;
        let mut at = HEAD;
        while let Some(&head) = self.buffer.get(at).filter(|_| at < self.len) {
            // Opens a gap behind the head. Quadratic, but in a handful of elements, and only for a rare kind of packet.
            self.buffer.copy_within(at + 1..self.len, at + 2);
            self.len += 1;
            let len = (head & 0x0F) + 1;
            if let Some([head_id, head_len]) = self.buffer.get_mut(at..at + 2) {
                *head_id = head >> 4;
                *head_len = len;
            }
            at += 2 + usize::from(len);
        }
    }

    /// Pads to a whole word, writes the head and returns the block's length in bytes: 0 where nothing was pushed, and
    /// then the fixed header must not announce an extension.
    #[inline]
    pub fn finish(self) -> usize {
        if self.len == HEAD {
            return 0;
        }
        let end = self.len.next_multiple_of(4);
        if let Some(padding) = self.buffer.get_mut(self.len..end) {
            padding.fill(0);
        }
        let profile = if self.is_two_byte { TWO_BYTE } else { ONE_BYTE };
        #[allow(clippy::cast_possible_truncation)] // bounded by `new`
        let words = ((end - HEAD) / 4) as u16;
        if let Some(head) = self.buffer.first_chunk_mut() {
            let ([a, b], [c, d]) = (profile.to_be_bytes(), words.to_be_bytes());
            *head = [a, b, c, d];
        }
        end
    }
}

/// An id of 1 to 14 and a length of 1 to 16; one comparison each, since it is asked for every element sent.
#[inline]
const fn fits_one_byte(id: u8, len: usize) -> bool {
    id.wrapping_sub(1) < 14 && len.wrapping_sub(1) < 16
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{ExtensionKind, ExtensionMap, Extensions, FixedHeader, Header};
    use proptest::prelude::*;

    fn block(elements: &[(u8, &[u8])]) -> Vec<u8> {
        let mut buffer = [0xAA; 600];
        let mut writer = ExtensionWriter::new(&mut buffer);
        for (id, value) in elements {
            assert!(writer.push(*id, value).is_some());
        }
        let len = writer.finish();
        buffer[..len].to_vec()
    }

    #[test]
    fn the_two_byte_form_is_used_only_where_it_must() {
        assert_eq!(block(&[(14, &[7; 16])])[..5], [0xBE, 0xDE, 0, 5, 0xEF]);
        assert_eq!(block(&[(15, &[7])]), [0x10, 0, 0, 1, 15, 1, 7, 0]);
        assert_eq!(block(&[(1, &[7; 17])])[..6], [0x10, 0, 0, 5, 1, 17]);
        assert_eq!(block(&[(1, &[])]), [0x10, 0, 0, 1, 1, 0, 0, 0]);
        assert!(block(&[]).is_empty());
    }

    #[test]
    fn elements_before_the_first_long_one_are_rewritten() {
        let bytes = block(&[(1, b"ab"), (2, b"c"), (20, b""), (3, b"de")]);
        assert_eq!(bytes, *b"\x10\0\0\x04\x01\x02ab\x02\x01c\x14\0\x03\x02de\0\0\0");
    }

    #[test]
    fn no_room_means_no_change() {
        // Two words of elements: 1 + 3, then exactly 1 + 3.
        let mut buffer = [0xAA; 15];
        let mut writer = ExtensionWriter::new(&mut buffer);
        assert_eq!(writer.push(1, b"abc"), Some(5));
        assert_eq!(writer.push(2, b"defg"), None, "one byte too many");
        assert_eq!(writer.push(16, b"ab"), None, "widening takes one more");
        assert_eq!(writer.push(0, b"a"), None);
        assert_eq!(writer.push(2, b"def"), Some(9));
        assert_eq!(writer.push(3, b"x"), None);
        assert_eq!(writer.finish(), 12);
        assert_eq!(buffer, *b"\xBE\xDE\0\x02\x12abc\x22def\xAA\xAA\xAA");
    }

    #[test]
    fn a_buffer_without_room_for_the_head_takes_nothing() {
        for size in 0..5 {
            let mut buffer = vec![0; size];
            let mut writer = ExtensionWriter::new(&mut buffer);
            assert_eq!(writer.push(1, b"a"), None);
            assert_eq!(writer.push(16, b"a"), None);
            assert_eq!(writer.finish(), 0);
        }
    }

    #[test]
    fn values_beyond_the_wire_are_refused() {
        let mut buffer = [0; 600];
        let mut writer = ExtensionWriter::new(&mut buffer);
        assert_eq!(writer.push(1, &[0; 256]), None);
        assert_eq!(writer.push(1, &[0; 255]), Some(6));
        assert_eq!(writer.finish(), 4 + 260);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            elements in prop::collection::btree_map(
                0..ExtensionKind::COUNT, (prop_oneof![1..15_u8, 1..=255_u8], prop::collection::vec(any::<u8>(), 0..20)), 0..11),
            room in 0..200_usize,
        ) {
            let mut packet = vec![0xAA; FixedHeader::LEN + room];
            FixedHeader { has_extension: true, ..FixedHeader::default() }.write(&mut packet).unwrap();
            let mut map = ExtensionMap::NONE;
            let mut pushed = Vec::new();
            let mut writer = ExtensionWriter::new(&mut packet[FixedHeader::LEN..]);
            for (kind, (id, value)) in elements {
                let kind = ExtensionKind::ALL[kind];
                if map.kind(id).is_none() {
                    map.set(kind, id);
                    if let Some(at) = writer.push(id, &value) {
                        pushed.push((kind, value, at));
                    }
                }
            }
            let is_two_byte = writer.is_two_byte;
            let len = writer.finish();
            prop_assert_eq!(len % 4, 0);
            prop_assert!(len <= room);
            prop_assert_eq!(len == 0, pushed.is_empty());
            if len > 0 {
                packet.truncate(FixedHeader::LEN + len);
                let header = Header::parse(&packet).unwrap();
                prop_assert_eq!(header.payload_len, 0);
                let found = Extensions::parse(&header, &packet, &map);
                for kind in ExtensionKind::ALL {
                    let expected = pushed.iter().find(|(other, ..)| *other == kind);
                    prop_assert_eq!(found.find(kind, &packet), expected.map(|(_, value, _)| &value[..]));
                    if let (Some((.., at)), false) = (expected, is_two_byte) {
                        prop_assert_eq!(found.offset(kind), Some(FixedHeader::LEN + at));
                    }
                }
            }
        }
    }
}
