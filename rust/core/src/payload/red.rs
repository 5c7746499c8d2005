//! Redundant audio (RFC 2198): a payload that repeats earlier ones in front of its own.

use core::ops::Range;

use super::bits::BitWriter;
use crate::units::Pt;

/// Blocks in one packet, the primary included. Browsers send two or three; every one costs the sender its bandwidth
/// again.
pub const MAX_BLOCKS: usize = 16;
/// The farthest that a redundant block can lie back, in timestamp units (14 bits): 341 ms of Opus.
pub const MAX_OFFSET: u32 = (1 << 14) - 1;
/// The longest redundant block, in bytes (10 bits).
pub const MAX_REDUNDANT_LEN: usize = (1 << 10) - 1;

/// Length of the header of a redundant block.
const BLOCK_HEADER_LEN: usize = 4;

/// One block in a RED payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The payload type of what is in it.
    pub payload_type: Pt,
    /// How far it lies before the packet's timestamp; 0 in the primary block.
    pub timestamp_offset: u32,
    /// Where its bytes lie in the payload.
    pub range: Range<usize>,
}

/// The blocks of one RED payload, all lengths checked.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    payload: &'a [u8],
    header: usize,
    data: usize,
    primary: Block,
}

/// Walks the block headers of a RED payload; none if one is cut off, the data is shorter than they say, or there are
/// more than [`MAX_BLOCKS`].
pub fn parse(payload: &[u8]) -> Option<Blocks<'_>> {
    let (mut header, mut redundant_len) = (0, 0);
    for _ in 0..MAX_BLOCKS {
        let (first, len) = read_header(payload, header)?;
        if let Some((_, len)) = len {
            header += BLOCK_HEADER_LEN;
            redundant_len += len;
            continue;
        }
        let data = header + 1;
        let range = data + redundant_len..payload.len();
        if range.start > range.end {
            return None;
        }
        let primary = Block { payload_type: first, timestamp_offset: 0, range };
        return Some(Blocks { payload, header: 0, data, primary });
    }
    None
}

impl Blocks<'_> {
    /// The block that the packet was sent for, always the last.
    pub fn primary(&self) -> Block {
        self.primary.clone()
    }
}

impl Iterator for Blocks<'_> {
    type Item = Block;

    /// The redundant blocks in the order of the packet, oldest first.
    fn next(&mut self) -> Option<Block> {
        let (payload_type, redundant) = read_header(self.payload, self.header)?;
        let (timestamp_offset, len) = redundant?;
        let start = self.data;
        self.header += BLOCK_HEADER_LEN;
        self.data += len;
        Some(Block { payload_type, timestamp_offset, range: start..self.data })
    }
}

/// The payload type of the block header at `at` and, of a redundant one, timestamp offset and length.
fn read_header(payload: &[u8], at: usize) -> Option<(Pt, Option<(u32, usize)>)> {
    let rest = payload.get(at..)?;
    let first = rest.first()?;
    let payload_type = Pt(first & 0x7F);
    if first & 0x80 == 0 {
        return Some((payload_type, None));
    }
    let word = u32::from_be_bytes(*rest.first_chunk()?);
    Some((payload_type, Some((word >> 10 & MAX_OFFSET, usize::from(word.to_le_bytes()[0]) | (word as usize & 0x300)))))
}

/// An earlier payload, to be sent again.
#[derive(Clone, Copy, Debug)]
pub struct Redundant<'a> {
    /// How far it lies before the primary, in timestamp units; beyond [`MAX_OFFSET`] it is left out.
    pub timestamp_offset: u32,
    /// Its bytes; more than [`MAX_REDUNDANT_LEN`], or none, are left out.
    pub payload: &'a [u8],
}

/// Writes a RED payload to `out`: `primary` behind those of `redundant`, oldest first, that can be told in a header and
/// fit. Where room is short, older ones are left out first. Returns how many bytes were written.
///
/// All blocks get `payload_type`. None if not even the primary fits.
pub fn write(payload_type: Pt, primary: &[u8], redundant: &[Redundant<'_>], out: &mut [u8]) -> Option<usize> {
    let mut room = out.len().checked_sub(1 + primary.len())?;
    let is_sendable = |block: &&Redundant<'_>| {
        (1..=MAX_OFFSET).contains(&block.timestamp_offset) && (1..=MAX_REDUNDANT_LEN).contains(&block.payload.len())
    };
    // From the newest back, to where room or blocks run out.
    let mut first = redundant.len();
    let mut blocks = 1;
    for (i, block) in redundant.iter().enumerate().rev().filter(|(_, block)| is_sendable(block)) {
        let Some(left) = room.checked_sub(BLOCK_HEADER_LEN + block.payload.len()) else { break };
        if blocks == MAX_BLOCKS {
            break;
        }
        (room, first, blocks) = (left, i, blocks + 1);
    }
    let chosen = || redundant.iter().skip(first).filter(is_sendable);
    let mut writer = BitWriter::new(out);
    for block in chosen() {
        writer.bits(u32::from(0x80 | payload_type.0), 8)?;
        writer.bits(block.timestamp_offset, 14)?;
        writer.bits(u32::try_from(block.payload.len()).ok()?, 10)?;
    }
    writer.bits(u32::from(payload_type.0 & 0x7F), 8)?;
    let mut len = writer.finish()?;
    for payload in chosen().map(|block| block.payload).chain([primary]) {
        out.get_mut(len..len + payload.len())?.copy_from_slice(payload);
        len += payload.len();
    }
    Some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPUS: Pt = Pt(111);

    #[test]
    fn a_packet_with_one_earlier_block() {
        // PT 111, 960 ticks back, 3 bytes; then PT 111, 2 bytes.
        let packet = [0xEF, 0x0F, 0x00, 0x03, 0x6F, 1, 2, 3, 9, 8];
        let blocks = parse(&packet).unwrap();
        assert_eq!(blocks.primary(), Block { payload_type: OPUS, timestamp_offset: 0, range: 8..10 });
        let redundant: Vec<_> = blocks.collect();
        assert_eq!(redundant, [Block { payload_type: OPUS, timestamp_offset: 960, range: 5..8 }]);
        let mut out = [0; 10];
        let earlier = Redundant { timestamp_offset: 960, payload: &[1, 2, 3] };
        assert_eq!(write(OPUS, &[9, 8], &[earlier], &mut out), Some(10));
        assert_eq!(out, packet);
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        let packet = [0xEF, 0x0F, 0x00, 0x03, 0x6F, 1, 2, 3];
        for len in 0..packet.len() {
            assert!(parse(&packet[..len]).is_none(), "{len}");
        }
        assert_eq!(parse(&packet).unwrap().primary().range, 8..8, "an empty primary block");
        assert!(parse(&[0x6F]).unwrap().next().is_none());
    }

    #[test]
    fn sixteen_blocks_are_read_and_seventeen_are_not() {
        let packet = |redundant: usize| {
            let mut bytes = [0xEF, 0x0F, 0x00, 0x00].repeat(redundant);
            bytes.push(0x6F);
            bytes
        };
        assert_eq!(parse(&packet(MAX_BLOCKS - 1)).unwrap().count(), MAX_BLOCKS - 1);
        assert!(parse(&packet(MAX_BLOCKS)).is_none());
    }

    #[test]
    fn what_no_header_can_tell_is_left_out() {
        let long = [7; MAX_REDUNDANT_LEN + 1];
        let longest = &long[..MAX_REDUNDANT_LEN];
        let mut out = [0; 4096];
        let mut offsets = |blocks: &[(u32, &[u8])]| -> Vec<u32> {
            let blocks: Vec<_> =
                blocks.iter().map(|&(timestamp_offset, payload)| Redundant { timestamp_offset, payload }).collect();
            let len = write(OPUS, &[1], &blocks, &mut out).unwrap();
            parse(&out[..len]).unwrap().map(|block| block.timestamp_offset).collect()
        };
        assert_eq!(offsets(&[(MAX_OFFSET + 1, &[1]), (MAX_OFFSET, &[1]), (0, &[1])]), [MAX_OFFSET]);
        assert_eq!(offsets(&[(1920, &long), (960, longest), (480, &[])]), [960]);
        let many: Vec<(u32, &[u8])> = (1..=20).rev().map(|n| (n, &[1][..])).collect();
        assert_eq!(offsets(&many), (1..=15).rev().collect::<Vec<_>>());
    }

    #[test]
    fn short_room_costs_the_oldest() {
        let blocks = [
            Redundant { timestamp_offset: 1920, payload: &[1; 10] },
            Redundant { timestamp_offset: 960, payload: &[2; 10] },
        ];
        let full = 4 + 10 + 4 + 10 + 1 + 5;
        for (room, expected) in [(full, 2), (full - 1, 1), (full - 14, 1), (full - 15, 0), (6, 0)] {
            let mut out = vec![0; room];
            let len = write(OPUS, &[3; 5], &blocks, &mut out).unwrap();
            let got = parse(&out[..len]).unwrap();
            assert_eq!(&out[got.primary().range], &[3; 5]);
            let offsets: Vec<_> = got.map(|block| block.timestamp_offset).collect();
            assert_eq!(offsets, &[1920, 960][2 - expected..], "{room}");
        }
        assert_eq!(write(OPUS, &[3; 5], &blocks, &mut [0; 5]), None);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            primary in prop::collection::vec(any::<u8>(), 0..200),
            blocks in prop::collection::vec((1..=MAX_OFFSET, prop::collection::vec(any::<u8>(), 1..=1023)), 0..5),
        ) {
            let redundant: Vec<_> =
                blocks.iter().map(|(offset, bytes)| Redundant { timestamp_offset: *offset, payload: bytes }).collect();
            let mut out = [0; 8192];
            let len = write(OPUS, &primary, &redundant, &mut out).unwrap();
            let got = parse(&out[..len]).unwrap();
            prop_assert_eq!(&out[got.primary().range], &primary[..]);
            let read: Vec<_> = got.map(|block| (block.timestamp_offset, out[block.range].to_vec())).collect();
            prop_assert_eq!(read, blocks);
        }

        #[test]
        fn every_range_lies_in_the_packet(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(blocks) = parse(&bytes) {
                let mut end = 0;
                let primary = blocks.primary().range;
                for block in blocks {
                    prop_assert!(block.range.start >= end && block.range.end <= primary.start);
                    end = block.range.end;
                }
                prop_assert!(bytes.get(primary).is_some());
            }
        }
    }
}
