//! Chance from a seed.

/// Splitmix64: one seed, one sequence.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A sequence of its own for one part of the world, so that a draw here moves nothing there.
    pub fn fork(seed: u64, part: u64) -> Self {
        Self(mix(seed ^ mix(part.wrapping_add(1))))
    }

    /// The next number.
    #[allow(clippy::should_implement_trait)] // it never ends, so it is no iterator worth the name
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number below `end`, 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// A number from `start` to below `end`.
    pub fn within(&mut self, start: u64, end: u64) -> u64 {
        start + self.below(end.saturating_sub(start))
    }

    /// Whether something happens that happens in so many of a thousand cases.
    pub fn permille(&mut self, chance: u32) -> bool {
        self.below(1000) < u64::from(chance)
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.below(choices.len() as u64)).unwrap_or(0)]
    }
}

/// Splitmix64's finisher: every bit of the input moves every bit of the output.
pub const fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

/// A running digest: FNV-1a over 64-bit words, for traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Digest {
    /// Takes in a number.
    pub fn number(&mut self, number: u64) {
        self.0 = mix(self.0 ^ number).wrapping_mul(0x0000_0100_0000_01B3);
    }

    /// Takes in bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.number(u64::from_le_bytes(word));
        }
    }

    /// What it comes to.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The digest of these bytes alone.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut digest = Self::default();
        digest.bytes(bytes);
        digest.value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_sequence_and_its_parts_differ() {
        let draw = |mut dice: Dice| [dice.next(), dice.next(), dice.next()];
        assert_eq!(draw(Dice::new(7)), draw(Dice::new(7)));
        assert_ne!(draw(Dice::fork(7, 0)), draw(Dice::fork(7, 1)));
        assert_ne!(draw(Dice::fork(7, 0)), draw(Dice::fork(8, 0)));
    }

    #[test]
    fn a_digest_tells_lengths_and_orders_apart() {
        assert_ne!(Digest::of(&[0]), Digest::of(&[0, 0]));
        assert_ne!(Digest::of(b"xy"), Digest::of(b"yx"));
        assert_ne!(Digest::of(b""), Digest::default().value());
    }
}
