//! A small open-addressed table by SSRC: bounded, allocated once, the same for every run.

use crate::time::Time;
use crate::units::Ssrc;

/// The table is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// One SSRC that is bound to something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<V> {
    pub(super) ssrc: Ssrc,
    /// When its last packet came.
    pub(super) heard_at: Time,
    pub(super) value: V,
}

/// SSRCs with what they are bound to.
///
/// A peer that chooses its SSRCs to collide makes a search as long as the limit, no longer; so the hash needs no secret.
#[derive(Clone, Debug)]
pub(super) struct SsrcTable<V> {
    /// At least twice the limit, a power of two: linear probing stays short.
    slots: Box<[Option<Entry<V>>]>,
    len: usize,
    limit: usize,
}

impl<V: Copy> SsrcTable<V> {
    pub(super) fn new(limit: usize) -> Self {
        let slots = std::iter::repeat_n(None, (limit.max(1) * 2).next_power_of_two()).collect();
        Self { slots, len: 0, limit }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    pub(super) fn get(&self, ssrc: Ssrc) -> Option<&Entry<V>> {
        self.slots.get(self.find(ssrc)?)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, ssrc: Ssrc) -> Option<&mut Entry<V>> {
        let index = self.find(ssrc)?;
        self.slots.get_mut(index)?.as_mut()
    }

    /// Adds or replaces.
    pub(super) fn insert(&mut self, entry: Entry<V>) -> Result<(), Full> {
        if let Some(present) = self.get_mut(entry.ssrc) {
            *present = entry;
            return Ok(());
        }
        if self.len >= self.limit {
            return Err(Full);
        }
        let mut index = self.home(entry.ssrc);
        while self.at(index).is_some() {
            index = self.next(index);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(entry);
            self.len += 1;
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, ssrc: Ssrc) -> Option<Entry<V>> {
        let mut hole = self.find(ssrc)?;
        let removed = self.slots.get_mut(hole)?.take();
        self.len -= 1;
        // Move up what a search would miss behind the hole; no gravestones, so that a search never grows with history.
        let mut index = self.next(hole);
        while let Some(entry) = self.at(index) {
            let home = self.home(entry.ssrc);
            if self.distance(home, index) >= self.distance(hole, index) {
                self.slots.swap(hole, index);
                hole = index;
            }
            index = self.next(index);
        }
        removed
    }

    /// Removes all whose value does not pass, and tells `gone` of each.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&V) -> bool, mut gone: impl FnMut(Ssrc)) {
        // A removal may move an entry over the start of the table, behind the walk: walk again until none goes.
        while let Some(ssrc) = self.slots.iter().flatten().find(|entry| !keep(&entry.value)).map(|entry| entry.ssrc) {
            self.remove(ssrc);
            gone(ssrc);
        }
    }

    fn find(&self, ssrc: Ssrc) -> Option<usize> {
        let mut index = self.home(ssrc);
        while let Some(entry) = self.at(index) {
            if entry.ssrc == ssrc {
                return Some(index);
            }
            index = self.next(index);
        }
        None
    }

    fn at(&self, index: usize) -> Option<&Entry<V>> {
        self.slots.get(index)?.as_ref()
    }

    /// Fibonacci hashing: the high bits of a product spread neighbours apart.
    fn home(&self, ssrc: Ssrc) -> usize {
        let hash = ssrc.0.wrapping_mul(0x9E37_79B1) >> 16;
        hash as usize & (self.slots.len() - 1)
    }

    fn next(&self, index: usize) -> usize {
        (index + 1) & (self.slots.len() - 1)
    }

    fn distance(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.slots.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn entry(ssrc: u32, value: u32) -> Entry<u32> {
        Entry { ssrc: Ssrc(ssrc), heard_at: Time::ZERO, value }
    }

    #[test]
    fn holds_its_limit_and_not_one_more() {
        let mut table = SsrcTable::new(4);
        for i in 0..4 {
            assert_eq!(table.insert(entry(i, i)), Ok(()));
        }
        assert_eq!(table.insert(entry(4, 4)), Err(Full));
        assert_eq!(table.insert(entry(3, 9)), Ok(()), "a replacement needs no room");
        assert_eq!(table.get(Ssrc(3)).map(|entry| entry.value), Some(9));
        table.remove(Ssrc(0));
        assert_eq!(table.insert(entry(4, 4)), Ok(()));
        assert_eq!(table.len(), 4);
    }

    proptest! {
        /// SSRCs from a few values, so that they collide and chains form and break.
        #[test]
        fn equals_a_map(steps in prop::collection::vec((0u32..24, 0u8..3), 1..400)) {
            let mut table = SsrcTable::new(8);
            let mut model = BTreeMap::new();
            for (i, (key, action)) in (0..).zip(steps) {
                let ssrc = key << 16;
                match action {
                    0 => {
                        let is_full = model.len() == 8 && !model.contains_key(&ssrc);
                        prop_assert_eq!(table.insert(entry(ssrc, i)).is_err(), is_full);
                        if !is_full {
                            model.insert(ssrc, i);
                        }
                    }
                    1 => prop_assert_eq!(table.remove(Ssrc(ssrc)).map(|e| e.value), model.remove(&ssrc)),
                    _ => {
                        table.retain(|value| value % 8 != i % 8, |_| ());
                        model.retain(|_, value| *value % 8 != i % 8);
                    }
                }
                prop_assert_eq!(table.len(), model.len());
                for key in 0..24 {
                    let found = table.get(Ssrc(key << 16)).map(|e| e.value);
                    prop_assert_eq!(found, model.get(&(key << 16)).copied());
                }
            }
        }
    }
}
