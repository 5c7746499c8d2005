//! What a viewer sees: frames that are whole and whose references were shown, in order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use rtpcore_core::{SeqNo, Time};

use super::Studio;
use crate::media::Tag;

/// Frames that wait for their parts or references; older ones are given up.
const MOST_WAITING: usize = 200;

/// A frame that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// When.
    pub at: Time,
    /// Any packet of it.
    pub tag: Tag,
    /// Its spatial layer within its stream.
    pub spatial: u8,
    /// Its temporal layer.
    pub temporal: u8,
}

/// A frame, by track, encoding and count.
type FrameId = (u16, u8, u32);

/// One copy's decoder. It knows what is predicted from what, so it errs neither way.
#[derive(Default)]
pub struct Decoder {
    /// Frames not yet shown, by the number of their first packet here, with the parts that came.
    waiting: BTreeMap<SeqNo, (Tag, BTreeSet<u8>)>,
    /// Lately decoded, and in which order.
    known: BTreeSet<FrameId>,
    order: VecDeque<FrameId>,
    newest: SeqNo,
    shown: Vec<Shown>,
    late: Vec<Shown>,
}

impl Decoder {
    /// What was shown, in order.
    pub fn shown(&self) -> &[Shown] {
        &self.shown
    }

    /// What was decoded too late to be shown: newer frames had been.
    pub fn late(&self) -> &[Shown] {
        &self.late
    }

    /// Takes one packet.
    pub fn handle(&mut self, now: Time, seq: SeqNo, tag: Tag, studio: &Studio) {
        let first = SeqNo(seq.0.saturating_sub(u64::from(tag.part)));
        if self.known.contains(&id_of(tag)) {
            return;
        }
        let (_, parts) = self.waiting.entry(first).or_insert_with(|| (tag, BTreeSet::new()));
        parts.insert(tag.part);
        while let Some((first, shown)) = self.ready(now, studio) {
            self.waiting.remove(&first);
            self.known.insert(id_of(shown.tag));
            self.order.push_back(id_of(shown.tag));
            // What is older than what was shown would be time going back: it helps others, and is not seen.
            if first >= self.newest {
                self.newest = first;
                self.shown.push(shown);
            } else {
                self.late.push(shown);
            }
        }
        while self.waiting.len() > MOST_WAITING {
            self.waiting.pop_first();
        }
        while self.order.len() > 4 * MOST_WAITING
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// The oldest frame that is whole and has its references.
    fn ready(&self, now: Time, studio: &Studio) -> Option<(SeqNo, Shown)> {
        self.waiting.iter().find_map(|(&first, (tag, parts))| {
            let frame = studio.frame(tag.track, tag.encoding, tag.frame)?;
            let is_whole = parts.len() == usize::from(frame.parts);
            let has_references =
                frame.references.iter().all(|&reference| self.known.contains(&(tag.track, tag.encoding, reference)));
            let shown = Shown { at: now, tag: *tag, spatial: frame.spatial, temporal: frame.temporal };
            (is_whole && has_references).then_some((first, shown))
        })
    }
}

const fn id_of(tag: Tag) -> FrameId {
    (tag.track, tag.encoding, tag.frame)
}
