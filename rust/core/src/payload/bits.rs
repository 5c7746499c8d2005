//! Bit fields in network order, over slices whose end cannot be overrun.

/// Reads bit fields from the front of a slice; past the end every answer is none.
#[derive(Clone, Copy, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the most significant bit of the first byte.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bits were read so far.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// How many bits are left.
    pub const fn remaining(&self) -> usize {
        (self.bytes.len() * 8).saturating_sub(self.at)
    }

    /// The next `count` bits, 0 to 32, as a number.
    #[allow(clippy::cast_possible_truncation)] // masked to `count` bits
    pub fn bits(&mut self, count: u32) -> Option<u32> {
        let end = self.at + count as usize;
        if count > 32 || end > self.bytes.len() * 8 {
            return None;
        }
        let last = end.div_ceil(8);
        let mut value = 0_u64;
        for &byte in self.bytes.get(self.at / 8..last)? {
            value = value << 8 | u64::from(byte);
        }
        self.at = end;
        Some((value >> (last * 8 - end) & ((1 << count) - 1)) as u32)
    }

    /// The next `count` bits, 0 to 8.
    pub fn bits8(&mut self, count: u32) -> Option<u8> {
        u8::try_from(self.bits(count)?).ok()
    }

    /// The next `count` bits, 0 to 16.
    pub fn bits16(&mut self, count: u32) -> Option<u16> {
        u16::try_from(self.bits(count)?).ok()
    }

    /// The next bit.
    pub fn flag(&mut self) -> Option<bool> {
        Some(self.bits(1)? == 1)
    }

    /// A number below `count`, 1 to 64, in as few bits as it takes: `ns(n)` of the AV1 specification, §4.10.7.
    pub fn below(&mut self, count: u8) -> Option<u8> {
        if !(1..=64).contains(&count) {
            return None;
        }
        let width = 8 - count.leading_zeros();
        let short = (1_u8 << width) - count; // that many values need one bit less
        let value = self.bits8(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.bits8(1)?)
    }
}

/// Writes bit fields into a slice from its front.
#[derive(Debug)]
pub struct BitWriter<'a> {
    out: &'a mut [u8],
    len: usize,
    pending: u64,
    pending_bits: u32,
}

impl<'a> BitWriter<'a> {
    /// Starts at the most significant bit of the first byte.
    pub fn new(out: &'a mut [u8]) -> Self {
        Self { out, len: 0, pending: 0, pending_bits: 0 }
    }

    /// Appends the low `count` bits of `value`, 0 to 32; none if the slice is full.
    ///
    /// Bits that do not fill a byte yet are kept back, and can still be refused by [`BitWriter::finish`].
    #[allow(clippy::cast_possible_truncation)] // the byte shifted down is the one meant
    pub fn bits(&mut self, value: u32, count: u32) -> Option<()> {
        if count > 32 {
            return None;
        }
        self.pending = self.pending << count | u64::from(value) & ((1 << count) - 1);
        self.pending_bits += count;
        while self.pending_bits >= 8 {
            self.pending_bits -= 8;
            *self.out.get_mut(self.len)? = (self.pending >> self.pending_bits) as u8;
            self.len += 1;
        }
        Some(())
    }

    /// Appends the next `count` bits of `reader`.
    pub fn copy(&mut self, reader: &mut BitReader<'_>, mut count: usize) -> Option<()> {
        while count > 0 {
            let step = count.min(32);
            let width = u32::try_from(step).ok()?;
            self.bits(reader.bits(width)?, width)?;
            count -= step;
        }
        Some(())
    }

    /// Fills the last byte with zeros and says how many bytes were written.
    pub fn finish(mut self) -> Option<usize> {
        let odd = self.pending_bits % 8;
        if odd > 0 {
            self.bits(0, 8 - odd)?;
        }
        Some(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_end_is_a_wall() {
        let mut reader = BitReader::new(&[0xA5, 0xFF]);
        assert_eq!(reader.bits(3), Some(0b101));
        assert_eq!(reader.bits(14), None);
        assert_eq!(reader.bits(13), Some(0b0_0101_1111_1111));
        assert_eq!(reader.bits(1), None);
        assert_eq!(reader.bits(0), Some(0));
        assert_eq!(BitReader::new(&[0; 9]).bits(33), None);
        let mut room = [0; 1];
        let mut writer = BitWriter::new(&mut room);
        assert_eq!(writer.bits(0x7FFF, 15), Some(()), "a byte is written when it is full");
        assert_eq!(writer.bits(1, 1), None);
        let mut writer = BitWriter::new(&mut room);
        assert_eq!(writer.bits(0x1FF, 9), Some(()));
        assert_eq!(writer.finish(), None);
    }

    #[test]
    fn numbers_below_five_take_two_or_three_bits() {
        // n = 5: w = 3, m = 3: 00, 01, 10, 110, 111.
        let mut reader = BitReader::new(&[0b0001_1011, 0b0111_0000]);
        let read: Vec<_> = (0..5).map(|_| reader.below(5).unwrap()).collect();
        assert_eq!((read, reader.position()), (vec![0, 1, 2, 3, 4], 12));
        assert_eq!(BitReader::new(&[]).below(1), Some(0), "a single choice takes no bit");
        assert_eq!(BitReader::new(&[0; 9]).below(0), None);
        assert_eq!(BitReader::new(&[0xFF; 9]).below(64), Some(63));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in prop::collection::vec((any::<u32>(), 0_u32..=32), 0..40)) {
            let mut room = [0xEE; 160];
            let mut writer = BitWriter::new(&mut room);
            for &(value, width) in &fields {
                prop_assert_eq!(writer.bits(value, width), Some(()));
            }
            let len = writer.finish().unwrap();
            let total: usize = fields.iter().map(|&(_, width)| width as usize).sum();
            prop_assert_eq!(len, total.div_ceil(8));
            let mut reader = BitReader::new(&room[..len]);
            for &(value, width) in &fields {
                let low = u64::from(value) & ((1 << width) - 1);
                prop_assert_eq!(reader.bits(width).map(u64::from), Some(low));
            }
            prop_assert!(reader.remaining() < 8);
        }
    }
}
