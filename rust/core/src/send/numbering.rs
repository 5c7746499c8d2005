//! One running number of a subscriber's copy: holes that we make are closed, holes that loss made are kept.

/// From the original number `from` on, originals become `to`, `to + 1`, … until the next step.
#[derive(Clone, Copy, Debug, Default)]
struct Step {
    from: u64,
    to: u64,
}

/// Maps a rising original number to a rising outgoing one, with the last `N` closed holes remembered.
///
/// Works for sequence numbers and picture ids alike, both unwrapped to 64 bits. Two originals of one run never get the
/// same number, whatever order they come in: a number above all others continues the last step, and an older one lies in
/// the step it belonged to, or in a closed hole and so nowhere.
///
/// ```text
/// in     100  101  102   103  104   106  105
///        map  map  skip  map  skip  map  map
/// out    1    2    -     3    -     5    4      105 was lost for a while, its number waited for it
/// ```
#[derive(Clone, Debug)]
pub(super) struct Numbering<const N: usize> {
    /// A ring; `last` is the newest, `len` of them count.
    steps: [Step; N],
    last: usize,
    len: usize,
    /// The highest original seen in this run, kept or not.
    highest: u64,
    /// What the original after `highest` becomes.
    next: u64,
    /// One above the highest number handed out; holes may wait between here and `next`.
    unused: u64,
}

impl<const N: usize> Numbering<N> {
    /// Begins with the outgoing number `first`; [`Self::restart`] says which original that is.
    pub(super) const fn new(first: u64) -> Self {
        Self { steps: [Step { from: 0, to: 0 }; N], last: 0, len: 0, highest: 0, next: first, unused: first }
    }

    /// Begins a new run of originals at `original`, at least 1; outgoing numbers go on after the last one handed out.
    ///
    /// Older originals are forgotten, so holes that waited at the very end close.
    pub(super) fn restart(&mut self, original: u64) {
        self.len = 0;
        self.highest = original.saturating_sub(1);
        self.next = self.unused;
        self.push(Step { from: original, to: self.next });
    }

    /// The outgoing number of `original`; none if it was skipped, came before this run, or is no longer remembered.
    pub(super) fn map(&mut self, original: u64) -> Option<u64> {
        if original > self.highest {
            let to = self.next + (original - self.highest - 1);
            self.highest = original;
            self.next = to + 1;
            self.unused = self.next;
            return Some(to);
        }
        let to = self.recall(original)?;
        self.unused = self.unused.max(to + 1);
        Some(to)
    }

    /// Closes the hole that the originals `first..=last` would leave. Those not above the highest seen keep their number:
    /// the numbers behind them have been handed out.
    pub(super) fn skip(&mut self, first: u64, last: u64) {
        if last <= self.highest || self.len == 0 {
            return;
        }
        let lost = first.saturating_sub(self.highest + 1);
        let to = self.next + lost;
        self.highest = last;
        self.next = to;
        let step = Step { from: last + 1, to };
        match self.steps.get_mut(self.last) {
            // Nothing was handed out since the last hole: the two are one.
            Some(newest) if newest.to == to => *newest = step,
            _ => self.push(step),
        }
    }

    /// The highest original seen in this run.
    pub(super) const fn highest(&self) -> u64 {
        self.highest
    }

    /// How many holes would lie below `original` and above all numbers handed out, if it came next.
    pub(super) const fn holes_before(&self, original: u64) -> u64 {
        (self.next - self.unused) + original.saturating_sub(self.highest + 1)
    }

    /// What the original after the highest becomes.
    #[cfg(test)]
    pub(super) const fn next(&self) -> u64 {
        self.next
    }

    /// Whether a run has begun.
    pub(super) const fn has_begun(&self) -> bool {
        self.len > 0
    }

    fn recall(&self, original: u64) -> Option<u64> {
        let mut ceiling = self.next;
        for back in 0..self.len {
            let step = self.steps.get((self.last + N - back) % N)?;
            if original >= step.from {
                let to = step.to + (original - step.from);
                return (to < ceiling).then_some(to);
            }
            ceiling = step.to;
        }
        None
    }

    fn push(&mut self, step: Step) {
        self.last = (self.last + 1) % N;
        self.len = (self.len + 1).min(N);
        if let Some(slot) = self.steps.get_mut(self.last) {
            *slot = step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn begun(original: u64, first: u64) -> Numbering<4> {
        let mut numbering = Numbering::new(first);
        numbering.restart(original);
        numbering
    }

    #[test]
    fn the_example_in_the_docs_holds() {
        let mut n = begun(100, 1);
        assert_eq!((n.map(100), n.map(101)), (Some(1), Some(2)));
        n.skip(102, 102);
        assert_eq!(n.map(103), Some(3));
        n.skip(104, 104);
        assert_eq!(n.map(106), Some(5));
        assert_eq!(n.map(105), Some(4));
        assert_eq!((n.map(102), n.map(104)), (None, None), "closed holes have no number");
        assert_eq!(n.map(99), None, "before the run");
    }

    #[test]
    fn a_hole_between_skipped_originals_stays_open() {
        let mut n = begun(10, 1);
        n.map(10);
        n.skip(11, 11);
        n.skip(13, 13);
        assert_eq!(n.map(14), Some(3));
        assert_eq!(n.map(12), Some(2));
    }

    #[test]
    fn a_span_closes_what_was_not_seen_inside_it() {
        let mut n = begun(10, 1);
        n.map(10);
        n.skip(11, 11);
        n.skip(12, 13);
        assert_eq!(n.map(14), Some(2));
        assert_eq!(n.map(12), None);
    }

    #[test]
    fn forgotten_steps_give_no_number() {
        let mut n = begun(10, 1);
        for original in (10..30).step_by(2) {
            n.map(original);
            n.skip(original + 1, original + 1);
        }
        // Four steps are kept: those from 24, 26, 28 and 30 on.
        assert_eq!(n.map(24), Some(8));
        assert_eq!(n.map(22), None);
    }

    #[test]
    fn holes_at_the_end_close_at_a_restart_unless_they_were_filled() {
        for filled in [false, true] {
            let mut n = begun(10, 1);
            n.map(10);
            n.skip(13, 13);
            if filled {
                assert_eq!(n.map(11), Some(2));
            }
            n.restart(500);
            assert_eq!(n.map(500), Some(if filled { 3 } else { 2 }));
        }
    }

    #[test]
    fn a_restart_goes_on_after_the_last_number() {
        let mut n = begun(10, 1);
        n.map(12);
        n.restart(500);
        assert_eq!(n.map(500), Some(4));
        assert_eq!(n.map(11), None);
        assert_eq!(n.map(499), None);
    }

    proptest! {
        /// Whatever is lost, skipped and reordered: one number per original, in the originals' order, and no hole but loss.
        #[test]
        fn numbers_are_unique_ordered_and_dense(ops in prop::collection::vec((0u8..4, any::<prop::sample::Index>()), 1..120)) {
            let mut n = Numbering::<256>::new(1000);
            n.restart(50);
            let mut given = vec![(50, n.map(50).unwrap())];
            let (mut top, mut lost, mut skipped) = (50, vec![], 0);
            for (op, pick) in ops {
                match op {
                    0 => { top += 1; lost.push(top); }
                    1 => { top += 1; n.skip(top, top); skipped += 1; }
                    2 if !lost.is_empty() => {
                        let late = lost.swap_remove(pick.index(lost.len()));
                        if late < n.highest() { given.push((late, n.map(late).unwrap())); } else { lost.push(late); }
                    }
                    _ => { top += 1; given.push((top, n.map(top).unwrap())); }
                }
            }
            given.sort_unstable();
            prop_assert!(given.windows(2).all(|w| w[0].1 < w[1].1));
            let trailing = lost.iter().filter(|&&l| l > n.highest()).count() as u64;
            prop_assert_eq!(n.next() - 1000, top - 49 - skipped - trailing);
        }
    }
}
