//! Who gets how much of a subscriber's path: a budget and wishes in, layers out. Pure policy, called off the packet path.
//!
//! ```text
//!            costs of a track               ladder, best last              the steps of all ladders, one order
//!  720p  ░░ 700  1200  1700 kbit/s     180p ─ 180p ─ 180p ─ 360p ─ ...     every wish's first rung, by priority
//!  360p  ░░ 180   300   450        →   7.5fps  15    30     15         →   then rung by rung, smallest pictures first,
//!  180p  ░░  60   100   150             60    100   150    300             as far as the budget goes
//! ```
//!
//! Temporal layers come before spatial ones, both ways: from 360p30 the way down goes over 360p15 to 180p30. A picture
//! larger than the smallest comes with at least half its frames; nobody trades motion for pixels beyond that.
//!
//! Promises, each a property test: what is granted never costs more than the budget (except first rungs of wishes that may
//! not be paused); no wish rises above its first rung while another that fits has none; and more budget never takes a step
//! away that less budget granted, unless to grant one that comes before it in the order.

use crate::send::Layer;

/// Spatial layers or encodings, and temporal layers, of one track.
pub const MAX_SPATIAL: usize = 3;
/// Temporal layers of one spatial layer.
pub const MAX_TEMPORAL: usize = 4;
/// Rungs of a ladder.
const MAX_RUNGS: usize = MAX_SPATIAL * MAX_TEMPORAL;

/// A rung above what is granted now must fit with so much to spare, in 256ths of its bitrate: estimates and rates of frames
/// waver by some percent, and each step up costs a keyframe.
const HEADROOM: u64 = 13;

/// Bits per second up to and including each layer, by spatial and temporal layer; 0 where there is no such layer.
pub type Costs = [[u64; MAX_TEMPORAL]; MAX_SPATIAL];

/// One step of a ladder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rung {
    /// What the subscriber gets.
    pub layer: Layer,
    /// What that costs, in bits per second.
    pub bitrate: u64,
}

/// The layers of a track that are worth having, cheapest first, each better and dearer than the one before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ladder {
    rungs: [Rung; MAX_RUNGS],
    len: usize,
}

impl Ladder {
    /// The ladder of a track with these costs, for somebody who wants at most `most`.
    ///
    /// Empty where nothing is known of it. Where all its spatial layers are above `most`, the smallest of them counts.
    pub fn new(costs: &Costs, most: Layer) -> Self {
        let mut ladder = Self::default();
        let exists = |row: &[u64; MAX_TEMPORAL]| row.iter().any(|&cost| cost > 0);
        let smallest = costs.iter().position(exists).unwrap_or(0);
        for (spatial, row) in costs.iter().enumerate() {
            if spatial > usize::from(most.spatial).max(smallest) {
                break;
            }
            let top = row.iter().rposition(|&cost| cost > 0).unwrap_or(0).min(usize::from(most.temporal));
            let least = if spatial == smallest { 0 } else { top.saturating_sub(1) };
            for (temporal, &bitrate) in row.iter().enumerate().take(top + 1).skip(least) {
                ladder.push(spatial, temporal, bitrate);
            }
        }
        ladder
    }

    /// From the cheapest to the best.
    pub fn rungs(&self) -> &[Rung] {
        self.rungs.get(..self.len).unwrap_or(&[])
    }

    /// The best rung that is not above `layer`.
    pub fn position(&self, layer: Layer) -> Option<usize> {
        self.rungs()
            .iter()
            .rposition(|rung| rung.layer.spatial <= layer.spatial && rung.layer.temporal <= layer.temporal)
    }

    /// Puts a better layer on top. What costs more than it is not worth having.
    fn push(&mut self, spatial: usize, temporal: usize, bitrate: u64) {
        if bitrate == 0 {
            return;
        }
        while self.rungs().last().is_some_and(|top| top.bitrate >= bitrate) {
            self.len -= 1;
        }
        let (Ok(spatial), Ok(temporal)) = (u8::try_from(spatial), u8::try_from(temporal)) else { return };
        if let Some(slot) = self.rungs.get_mut(self.len) {
            *slot = Rung { layer: Layer { spatial, temporal }, bitrate };
            self.len += 1;
        }
    }
}

/// What one copy of a video track wishes for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// What it could get.
    pub ladder: Ladder,
    /// The rung that it has; none while it is paused.
    pub current: Option<usize>,
    /// Higher ones are served first.
    pub priority: u8,
    /// It gets its first rung whatever that costs.
    pub is_unpausable: bool,
    /// So many rungs of its ladder it may have now, all if none: the last step down is too short ago.
    pub allowed: Option<usize>,
}

impl Wish {
    /// The rungs that it may have now.
    fn rungs(&self) -> &[Rung] {
        let rungs = self.ladder.rungs();
        self.allowed.and_then(|allowed| rungs.get(..allowed)).unwrap_or(rungs)
    }

    /// What a rung counts for: a new one needs headroom.
    fn cost(&self, rung: usize) -> u64 {
        let bitrate = self.ladder.rungs().get(rung).map_or(0, |rung| rung.bitrate);
        match self.current {
            Some(current) if rung <= current => bitrate,
            _ => bitrate + bitrate * HEADROOM / 256,
        }
    }
}

/// Shares `budget` bits per second out: for each wish the rung that it gets, none where it has to pause.
///
/// `grants` is as long as `wishes`; allocates nothing. At most some hundred comparisons for a dozen wishes.
pub fn allocate(budget: u64, wishes: &[Wish], grants: &mut [Option<usize>]) {
    grants.fill(None);
    let mut left = budget;
    // Every wish's first rung; the order among equals is theirs.
    for priority in priorities(wishes) {
        for (wish, grant) in wishes.iter().zip(&mut *grants).filter(|(wish, _)| wish.priority == priority) {
            if wish.rungs().is_empty() {
                continue;
            }
            let cost = wish.cost(0);
            if cost <= left || wish.is_unpausable {
                left = left.saturating_sub(cost);
                *grant = Some(0);
            }
        }
    }
    for priority in priorities(wishes) {
        raise(priority, &mut left, wishes, grants);
    }
}

/// Raises the wishes of one priority step by step, smallest pictures first, each until a step does not fit.
fn raise(priority: u8, left: &mut u64, wishes: &[Wish], grants: &mut [Option<usize>]) {
    for spatial in 0..=u8::try_from(MAX_SPATIAL).unwrap_or(u8::MAX) {
        for (wish, grant) in wishes.iter().zip(&mut *grants).filter(|(wish, _)| wish.priority == priority) {
            while let Some(rung) = *grant {
                let next = rung + 1;
                if wish.rungs().get(next).is_none_or(|next| next.layer.spatial > spatial) {
                    break;
                }
                let step = wish.cost(next).saturating_sub(wish.cost(rung));
                if step > *left {
                    break;
                }
                *left -= step;
                *grant = Some(next);
            }
        }
    }
}

/// The priorities that occur, highest first.
fn priorities(wishes: &[Wish]) -> impl Iterator<Item = u8> + '_ {
    let mut last = None;
    core::iter::from_fn(move || {
        let below = wishes.iter().map(|wish| wish.priority).filter(|&p| last.is_none_or(|last| p < last));
        last = Some(below.max()?);
        last
    })
}

/// What all wishes together would cost if each had what it wants.
pub fn wanted(wishes: &[Wish]) -> u64 {
    wishes.iter().filter_map(|wish| Some(wish.cost(wish.ladder.len.checked_sub(1)?))).sum()
}

#[cfg(test)]
mod tests;
