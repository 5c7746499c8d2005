//! What came of a run.

use rtpcore_core::Time;
use rtpcore_core::drop::DropCounts;
use rtpcore_core::event::Event;
use rtpcore_core::stats::Snapshot;

use super::{ViewId, ViewState, World, ssrc_of};
use crate::media::Tag;
use crate::oracle::viewer::{self, Wish};
use crate::oracle::{Rule, Violation, judge};
use crate::peer::Shown;

/// What one view came to.
#[derive(Clone, Debug, Default)]
pub struct ViewOutcome {
    /// The frames that were shown, in order.
    pub shown: Vec<Shown>,
    /// Those that were decoded too late to be shown.
    pub late: Vec<Shown>,
    /// Packets that were sent to it, retransmissions not counted.
    pub sent: usize,
    /// Keyframes that it asked for.
    pub asked_keyframes: u64,
    /// Sender reports it was sent.
    pub reports: Vec<Time>,
}

impl ViewOutcome {
    /// Which frames were shown, without the times.
    pub fn frames(&self) -> Vec<Tag> {
        self.shown.iter().map(|shown| Tag { part: 0, ..shown.tag }).collect()
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// Of everything that was sent and reported, when and in which order.
    pub digest: u64,
    /// What the oracles object to.
    pub violations: Vec<Violation>,
    /// By view.
    pub views: Vec<ViewOutcome>,
    /// By worker, at the end.
    pub snapshots: Vec<Snapshot>,
    /// What the routers reported.
    pub events: Vec<(Time, Event)>,
    /// Datagrams that the routers sent.
    pub sent: u64,
    /// Datagrams that peers could not open.
    pub refused: u64,
}

impl Outcome {
    /// One view's.
    pub fn view(&self, view: ViewId) -> &ViewOutcome {
        &self.views[view.0]
    }

    /// What went no further, over all workers.
    pub fn drops(&self) -> DropCounts {
        let mut drops = DropCounts::default();
        self.snapshots.iter().for_each(|snapshot| drops.add(&snapshot.drops));
        drops
    }

    /// Whether the oracles object to something of this kind.
    pub fn breaks(&self, rule: Rule) -> bool {
        self.violations.iter().any(|violation| violation.rule == rule)
    }

    /// Stops a test whose oracles object.
    ///
    /// # Panics
    /// If there are violations.
    pub fn assert_sound(&self, what: &str) {
        let list: Vec<_> = self.violations.iter().take(20).map(ToString::to_string).collect();
        assert!(list.is_empty(), "{what}: {} objections\n{}", self.violations.len(), list.join("\n"));
    }
}

impl World<'_> {
    /// The verdict.
    pub(super) fn conclude(mut self) -> Outcome {
        let mut views = vec![ViewOutcome::default(); self.views.len()];
        // What came last is still under way.
        self.views.iter_mut().for_each(|view| view.cuts.push(self.now));
        for place in &mut self.places {
            self.violations.extend(place.egress.take_violations());
            for copy in place.egress.copies() {
                let ViewState { paused, cuts, .. } = &self.views[copy.view];
                self.violations.extend(judge(copy, &self.studio, &self.ingress, &self.tracks, paused, cuts));
                views[copy.view].sent += copy.sent.len();
                views[copy.view].reports.extend(&copy.reports);
            }
            for view in place.peer.views() {
                let outcome = &mut views[view.number];
                outcome.shown.extend(view.decoder().shown());
                outcome.late.extend(view.decoder().late());
                outcome.asked_keyframes += view.asked_keyframes();
            }
        }
        self.ask_viewers(&views);
        self.violations.sort_by_key(|violation| (violation.at, violation.view, violation.rule));
        Outcome {
            digest: self.digest.value(),
            violations: self.violations,
            views,
            snapshots: self.workers.iter().map(|worker| worker.snapshot(self.now)).collect(),
            events: self.events,
            sent: self.sent,
            refused: self.places.iter().map(|place| place.peer.refused()).sum(),
        }
    }

    /// Everybody whose wishes are old enough, and whose path has been good for as long, must have them.
    fn ask_viewers(&mut self, views: &[ViewOutcome]) {
        let settled = self.now - viewer::SETTLED;
        for (number, view) in self.views.iter().enumerate() {
            let publisher = self.plan.tracks[view.track].peer.0;
            let is_there = view.is_active
                && !view.is_paused
                && self.is_published[view.track]
                && self.places[publisher].peer.is_present
                && view.changed_at <= settled;
            let troubled = self.plan.faults.0.iter().filter(|fault| [view.peer, publisher].contains(&fault.peer));
            let is_calm = troubled.map(|fault| fault.until).max().unwrap_or(Time::ZERO) <= settled;
            if is_there && is_calm {
                let wish = Wish { view: number, track: self.tracks[view.track], most: view.most };
                self.violations.extend(viewer::check(&wish, &views[number].shown, &views[number].late, self.now));
            }
            debug_assert!(self.places[view.peer].peer.views().iter().all(|view| view.ssrc == ssrc_of(view.number)));
        }
    }
}
