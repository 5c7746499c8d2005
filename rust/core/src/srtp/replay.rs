//! Which indices were seen (RFC 3711 §3.3.2).

use crate::drop::Drop;

/// Remembers the highest index and which of the `64 * (WORDS - 1)` up to it were seen, at least 64.
///
/// The bits are a ring over the index, of which the word being entered is cleared, so nothing is ever shifted.
#[derive(Clone, Debug)]
pub(super) struct ReplayWindow<const WORDS: usize> {
    highest: u64,
    words: [u64; WORDS],
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    /// How many indices up to the highest are told apart; anything older is refused.
    pub(super) const LEN: u64 = {
        assert!(WORDS >= 2, "RFC 3711 asks for 64 at least");
        64 * (WORDS as u64 - 1)
    };

    /// A window whose first index is `index`, already seen.
    pub(super) fn starting_at(index: u64) -> Self {
        let mut window = Self { highest: index, words: [0; WORDS] };
        window.mark(index);
        window
    }

    /// The highest index accepted so far.
    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Whether `index` is new; changes nothing, for the packet may still be forged.
    pub(super) fn check(&self, index: u64) -> Result<(), Drop> {
        if index > self.highest {
            return Ok(());
        }
        if self.highest - index >= Self::LEN {
            return Err(Drop::TooOld);
        }
        let word = self.words.get(Self::slot(index)).copied().unwrap_or(u64::MAX);
        if word >> (index % 64) & 1 == 1 { Err(Drop::Replayed) } else { Ok(()) }
    }

    /// Notes that the packet with `index`, which [`Self::check`] let pass, is authentic.
    pub(super) fn accept(&mut self, index: u64) {
        if index > self.highest {
            let entered = (index / 64 - self.highest / 64).min(WORDS as u64);
            for n in 0..entered {
                if let Some(word) = self.words.get_mut(Self::slot(index - n * 64)) {
                    *word = 0;
                }
            }
            self.highest = index;
        }
        self.mark(index);
    }

    fn mark(&mut self, index: u64) {
        if let Some(word) = self.words.get_mut(Self::slot(index)) {
            *word |= 1 << (index % 64);
        }
    }

    #[allow(clippy::cast_possible_truncation)] // below WORDS
    fn slot(index: u64) -> usize {
        (index / 64 % WORDS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// Every index ever seen, without any cleverness.
    struct Model {
        seen: BTreeSet<u64>,
        len: u64,
    }

    impl Model {
        fn check(&self, index: u64) -> Result<(), Drop> {
            let highest = *self.seen.last().unwrap();
            if index + self.len <= highest {
                Err(Drop::TooOld)
            } else if self.seen.contains(&index) {
                Err(Drop::Replayed)
            } else {
                Ok(())
            }
        }
    }

    fn compare<const WORDS: usize>(start: u64, moves: &[i64]) {
        let mut window = ReplayWindow::<WORDS>::starting_at(start);
        let mut model = Model { seen: BTreeSet::from([start]), len: ReplayWindow::<WORDS>::LEN };
        for by in moves {
            let index = window.highest().saturating_add_signed(*by);
            let expected = model.check(index);
            assert_eq!(window.check(index), expected, "{index} with highest {}", window.highest());
            if expected.is_ok() {
                window.accept(index);
                model.seen.insert(index);
            }
            assert_eq!(window.highest(), *model.seen.last().unwrap());
        }
        // And everything within reach, once more.
        let highest = window.highest();
        for index in highest.saturating_sub(window_span::<WORDS>())..=highest + 70 {
            assert_eq!(window.check(index), model.check(index), "{index} with highest {highest}");
        }
    }

    fn window_span<const WORDS: usize>() -> u64 {
        ReplayWindow::<WORDS>::LEN + 70
    }

    fn moves() -> impl Strategy<Value = Vec<i64>> {
        let one = prop_oneof![4 => -150i64..=3, 2 => 1i64..=2, 1 => 1i64..=200, 1 => -1200i64..=1300];
        prop::collection::vec(one, 0..400)
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(start in prop_oneof![0u64..300, (1u64 << 47)..(1 << 47) + 300], moves in moves()) {
            compare::<2>(start, &moves);
            compare::<3>(start, &moves);
            compare::<17>(start, &moves);
        }
    }

    #[test]
    fn the_bound_is_exact() {
        let mut window = ReplayWindow::<3>::starting_at(0);
        window.accept(128);
        assert_eq!(window.check(0), Err(Drop::TooOld));
        assert_eq!(window.check(1), Ok(()));
        assert_eq!(window.check(128), Err(Drop::Replayed));
        let mut window = ReplayWindow::<3>::starting_at(0);
        window.accept(127);
        assert_eq!(window.check(0), Err(Drop::Replayed));
    }
}
