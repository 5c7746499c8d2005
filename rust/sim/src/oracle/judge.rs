//! The verdict on one copy: what a decoder needs of every pair of neighbours, and of every frame.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use rtpcore_core::Time;

use super::{CopyLog, Ingress, Rule, Sent, Violation};
use crate::media::{Frame, Media, Track};
use crate::peer::Studio;

/// Commands wait for the worker's next turn, and so do packets, those that come in at another worker twice.
const TURN: Duration = Duration::from_millis(2);

/// What arrives longer after its capture is no use to anybody, and nobody has to remember what became of its frame.
const TOO_LATE: Duration = Duration::from_millis(1800);

/// Objections per copy; the first tells most.
const MOST: usize = 8;

/// Judges all that was sent of one copy. `paused` are the spans in which nothing was wanted, from the command on;
/// `cuts` are when its stream was told to end, these spans' beginnings and the end of the run included.
pub fn judge(
    copy: &CopyLog,
    studio: &Studio,
    ingress: &Ingress,
    tracks: &[Track],
    paused: &[(Time, Time)],
    cuts: &[Time],
) -> Vec<Violation> {
    let mut judge = Judge { copy, studio, ingress, tracks, violations: Vec::new() };
    judge.check_first();
    judge.check_neighbours();
    judge.check_frames(cuts);
    judge.check_pauses(paused);
    judge.violations.truncate(MOST);
    judge.violations
}

/// A frame by track, encoding and count.
type FrameId = (u16, u8, u32);

struct Judge<'a> {
    copy: &'a CopyLog,
    studio: &'a Studio,
    ingress: &'a Ingress,
    tracks: &'a [Track],
    violations: Vec<Violation>,
}

impl<'a> Judge<'a> {
    fn object(&mut self, rule: Rule, at: Time, what: String) {
        self.violations.push(Violation { rule, view: self.copy.view, at, what });
    }

    fn frame(&self, (track, encoding, frame): FrameId) -> &'a Frame {
        self.studio.frame(track, encoding, frame).expect("the tap lets nothing else in")
    }

    fn media(&self, sent: &Sent) -> Media {
        self.tracks[usize::from(sent.tag.track)].media
    }

    fn is_start(&self, sent: &Sent) -> bool {
        sent.tag.part == 0 && self.frame(id_of(sent)).is_keyframe
    }

    fn check_first(&mut self) {
        if let Some(first) = self.copy.sent.values().next()
            && !self.is_start(first)
        {
            self.object(Rule::Keyframe, first.at, format!("begins with {:?}", first.tag));
        }
    }

    fn check_neighbours(&mut self) {
        let copy = self.copy;
        let mut originals = BTreeMap::new();
        let mut done = BTreeSet::new();
        let mut before: Option<(u64, &Sent)> = None;
        for (&seq, sent) in &copy.sent {
            if let Some(other) = originals.insert((sent.tag.track, sent.tag.encoding, sent.number), seq) {
                self.object(Rule::NumberOnce, sent.at, format!("{:?} as {other} and as {seq}", sent.tag));
            }
            if let Some((last_seq, last)) = before {
                if id_of(last) == id_of(sent) {
                    self.check_within_frame(seq - last_seq - 1, last, sent);
                } else {
                    if !done.insert(id_of(last)) {
                        self.object(Rule::Order, last.at, format!("{:?} goes on after another frame", last.tag));
                    }
                    self.check_between_frames(seq - last_seq - 1, last, sent);
                }
            }
            before = Some((seq, sent));
        }
    }

    fn check_within_frame(&mut self, gap: u64, last: &Sent, sent: &Sent) {
        if sent.timestamp != last.timestamp {
            self.object(Rule::Time, sent.at, format!("{:?} has two timestamps", sent.tag));
        }
        if (sent.frame_number, sent.tl0) != (last.frame_number, last.tl0) {
            self.object(Rule::FrameNumber, sent.at, format!("{:?} has two frame numbers", sent.tag));
        }
        if sent.number <= last.number {
            self.object(Rule::Order, sent.at, format!("{:?} behind {:?}", sent.tag, last.tag));
        } else if gap != sent.number - last.number - 1 {
            let what = format!("{gap} numbers for {} packets within {:?}", sent.number - last.number - 1, sent.tag);
            self.object(Rule::Hole, sent.at, what);
        }
        if last.marker && self.media(sent) != Media::Opus {
            self.object(Rule::Marker, last.at, format!("{:?} is marked in mid-frame", last.tag));
        }
    }

    fn check_between_frames(&mut self, gap: u64, last: &Sent, sent: &Sent) {
        let is_same_stream = (last.tag.track, last.tag.encoding) == (sent.tag.track, sent.tag.encoding);
        let (from, to) = (self.frame(id_of(last)), self.frame(id_of(sent)));
        let is_same_picture = is_same_stream && from.picture == to.picture;
        let step = sent.timestamp.wrapping_sub(last.timestamp);
        if is_same_picture != (step == 0) || step >= 1 << 31 {
            self.object(Rule::Time, sent.at, format!("{step} ticks from {:?} to {:?}", last.tag, sent.tag));
        }
        let disturbed = if is_same_stream && sent.number > last.number {
            Some(self.ingress.disturbed(sent.tag.track, sent.tag.encoding, last.number, sent.number))
        } else {
            None
        };
        // A keyframe that follows without a hole may begin a new run of numbers.
        let is_switch = gap == 0 && self.is_start(sent);
        let goes_on = disturbed.is_some_and(|disturbed| gap <= disturbed);
        match disturbed {
            _ if is_switch || goes_on => {}
            Some(disturbed) => {
                let what = format!("{gap} numbers never come for {disturbed} packets, before {:?}", sent.tag);
                self.object(Rule::Hole, sent.at, what);
            }
            None if self.is_start(sent) => {
                self.object(Rule::Hole, sent.at, format!("{gap} numbers never come at the switch to {:?}", sent.tag));
            }
            None => self.object(Rule::Keyframe, sent.at, format!("from {:?} to {:?}", last.tag, sent.tag)),
        }
        self.check_frame_numbers(last, sent, disturbed.filter(|_| goes_on), is_switch);
        let is_end = last.tag.part + 1 == from.parts;
        if is_end
            && gap == 0
            && !is_switch
            && disturbed == Some(0)
            && !is_same_picture
            && !last.marker
            && self.media(sent) != Media::Opus
        {
            self.object(Rule::Marker, last.at, format!("{:?} ends a picture without a mark", last.tag));
        }
    }

    /// `disturbed` is none where the numbers do not go on in one stream.
    fn check_frame_numbers(&mut self, last: &Sent, sent: &Sent, disturbed: Option<u64>, is_switch: bool) {
        let (Some(before), Some(after)) = (last.frame_number, sent.frame_number) else { return };
        let (from, to) = (self.frame(id_of(last)), self.frame(id_of(sent)));
        let (bits, is_right) = match self.media(sent) {
            Media::Vp8 { .. } => {
                let step = u64::from(after.wrapping_sub(before) & 0x7FFF);
                (0x7FFF, disturbed.is_some_and(|disturbed| (1..=disturbed + 1).contains(&step)))
            }
            Media::Vp9 { .. } => {
                let step = u32::from(after.wrapping_sub(before) & 0x7FFF);
                (0x7FFF, disturbed.is_some() && step == (to.picture - from.picture) & 0x7FFF)
            }
            _ => {
                let step = u32::from(after.wrapping_sub(before));
                (0xFFFF, disturbed.is_some() && step == (sent.tag.frame - last.tag.frame) & 0xFFFF)
            }
        };
        let step = after.wrapping_sub(before) & bits;
        // A switch of one track's codec numbers goes on with the next number, at least.
        let is_next = is_switch && step == 1;
        if !(is_right || is_next) {
            let what = format!("{step} frame numbers from {:?} to {:?}", last.tag, sent.tag);
            self.object(Rule::FrameNumber, sent.at, what);
        }
        if let (Some(before), Some(after), true) = (last.tl0, sent.tl0, disturbed.is_some() && !is_switch) {
            let frames = self.studio.frames(sent.tag.track, sent.tag.encoding);
            let between = &frames[last.tag.frame as usize + 1..=sent.tag.frame as usize];
            let expected = between.iter().filter(|frame| frame.temporal == 0).count();
            if usize::from(after.wrapping_sub(before)) != expected & 0xFF {
                self.object(Rule::FrameNumber, sent.at, format!("TL0PICIDX jumps before {:?}", sent.tag));
            }
        }
    }

    /// Everything of a frame that arrived was sent, and everything it is predicted from.
    fn check_frames(&mut self, cuts: &[Time]) {
        let mut frames: BTreeMap<FrameId, BTreeSet<u8>> = BTreeMap::new();
        let mut order: Vec<(FrameId, Time)> = Vec::new();
        for sent in self.copy.sent.values() {
            let id = id_of(sent);
            if order.last().is_none_or(|(last, _)| *last != id) {
                order.push((id, sent.at));
            }
            frames.entry(id).or_default().insert(sent.tag.part);
        }
        for (index, &(id, at)) in order.iter().enumerate() {
            let frame = self.frame(id);
            // A pause or a switch may cut the last frame of a stream short, and then what comes late comes too late.
            let is_last = order.get(index + 1).is_none_or(|&(next, _)| self.frame(next).is_keyframe);
            // What came just before a cut may have found it done when its turn came.
            let cut = cuts.iter().find(|&&cut| cut > at).map_or(Time::NEVER, |&cut| cut - TURN);
            // The next stream begins when its keyframe comes, which is sent a turn later or two.
            let next = order[index + 1..].iter().find(|(next, _)| self.frame(*next).is_keyframe);
            let ends_at = next.map_or(cut, |&(next, at)| {
                let came_at = self.ingress.arrival(next.0, next.1, self.frame(next).first);
                cut.min(at).min(came_at.unwrap_or(at))
            });
            if let Some(part) = self.left_out(id, frame, &frames, ends_at)
                && !is_last
            {
                self.object(Rule::Whole, at, format!("{id:?} is sent without part {part}"));
            }
            for &reference in &frame.references {
                let id = (id.0, id.1, reference);
                if let Some(part) = self.left_out(id, self.frame(id), &frames, ends_at) {
                    let what =
                        format!("{:?} is predicted from {reference}, whose part {part} is left out", order[index].0);
                    self.object(Rule::References, at, what);
                }
            }
        }
    }

    /// A part of a frame that arrived before `ends_at` but was not sent.
    fn left_out(
        &self,
        id: FrameId,
        frame: &Frame,
        sent: &BTreeMap<FrameId, BTreeSet<u8>>,
        ends_at: Time,
    ) -> Option<u8> {
        let parts = sent.get(&id);
        (0..frame.parts).find(|part| {
            let arrival = self.ingress.arrival(id.0, id.1, frame.first + u64::from(*part));
            arrival.is_some_and(|at| at < ends_at && at < frame.captured_at + TOO_LATE)
                && !parts.is_some_and(|parts| parts.contains(part))
        })
    }

    fn check_pauses(&mut self, paused: &[(Time, Time)]) {
        let copy = self.copy;
        for sent in copy.sent.values() {
            if paused.iter().any(|&(from, until)| from + TURN < sent.at && sent.at < until) {
                return self.object(Rule::Paused, sent.at, format!("{:?} was sent all the same", sent.tag));
            }
        }
    }
}

const fn id_of(sent: &Sent) -> FrameId {
    (sent.tag.track, sent.tag.encoding, sent.tag.frame)
}
