//! A run in figures.

use core::time::Duration;
use std::ops::Range;

use rtpcore_core::Time;
use rtpcore_core::allocate::{Ladder, Wish, allocate};
use rtpcore_core::id::TransportId;
use rtpcore_core::stats::Snapshot;

use super::publisher::{Publisher, Track};
use super::scenario::Scenario;
use super::viewer::{Came, Player, Viewer};
use crate::trace::Fate;

/// Rates are held against the capacity over so long.
const WINDOW_MS: u64 = 500;
/// From so much of the capacity on it is too much, in percent: frames are not cut to windows.
const TOO_MUCH: u64 = 115;

/// What happened to a viewer's packets at the bottleneck.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Bytes by window.
    sent: Vec<u64>,
    overflowed: u64,
    /// Packets by the milliseconds that they waited.
    queued: Vec<u64>,
    pub pauses: u64,
}

impl Tally {
    pub(super) fn add(&mut self, now: Time, size: usize, fate: Fate) {
        let window = (now.as_millis() / WINDOW_MS) as usize;
        if self.sent.len() <= window {
            self.sent.resize(window + 1, 0);
        }
        self.sent[window] += size as u64;
        match fate {
            Fate::Overflowed => self.overflowed += size as u64,
            Fate::Lost { queued } | Fate::Arrives { queued, .. } => {
                let ms = (queued.as_millis() as usize).min(5000);
                if self.queued.len() <= ms {
                    self.queued.resize(ms + 1, 0);
                }
                self.queued[ms] += 1;
            }
        }
    }

    fn queue_p95(&self) -> f64 {
        let total: u64 = self.queued.iter().sum();
        let mut left = total * 95 / 100;
        let at = self.queued.iter().position(|&count| {
            let is_here = left < count;
            left = left.saturating_sub(count);
            is_here
        });
        at.unwrap_or(0) as f64
    }
}

/// What one viewer got. Seconds, percent, milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Seconds frozen, all copies of video together.
    pub frozen_s: f64,
    /// The longest time between two frames.
    pub longest_gap_s: f64,
    /// From joining to the first frame.
    pub first_frame_ms: Option<f64>,
    /// Video that came in the steady part, of what the best layers cost that fit into the link beside audio.
    pub used: Option<f64>,
    /// All that came in the steady part, of what the link carries.
    pub used_of_link: Option<f64>,
    /// Bytes that found the queue full, of those sent.
    pub overflowed: f64,
    /// The longest time for which more was sent than the link carries.
    pub longest_over_s: f64,
    /// What packets waited at the bottleneck; of a hundred, five waited longer.
    pub queue_p95_ms: f64,
    /// Bytes of packets sent again because they were asked for, of all that came.
    pub repair: f64,
    /// Bytes of probes, likewise.
    pub padding: f64,
    /// Audio concealed.
    pub audio_lost: f64,
    /// The longest time without a packet of audio.
    pub longest_silence_s: f64,
    /// Changes of the encoding shown, per minute of the steady part.
    pub switches: Option<f64>,
    /// From when the link carries everything again to the first frame of the best encoding.
    pub recovered_s: Option<f64>,
    /// Keyframes that the viewer asked for.
    pub asked_keyframes: u64,
    /// Times that the router paused a copy for want of room.
    pub pauses: u64,
}

/// See [`Scenario::run`].
#[derive(Clone, Debug)]
pub struct Outcome {
    /// One for each viewer.
    pub viewers: Vec<Figures>,
    /// Keyframes that publishers were asked for, per minute.
    pub asked_keyframes: f64,
    /// What each viewer got, second by second.
    pub seconds: Vec<Vec<Second>>,
}

/// What a viewer got in a second. In kbit/s.
#[derive(Clone, Copy, Debug, Default)]
pub struct Second {
    /// Audio.
    pub audio: u64,
    /// Video, for the first time.
    pub video: u64,
    /// Sent again, as asked for.
    pub repair: u64,
    /// Of probes.
    pub padding: u64,
    /// The encoding shown last, of the first copy of video.
    pub encoding: Option<u8>,
    /// What the router thought at its end that the path carries, what that goes by, and how many packets waited there.
    pub estimate: u64,
    /// See there.
    pub cause: &'static str,
    /// See there.
    pub queued: u32,
}

impl Outcome {
    pub(super) fn new(
        scenario: &Scenario,
        publishers: &[Publisher],
        viewers: &[Viewer],
        tallies: &[Tally],
        snapshots: &[Snapshot],
    ) -> Self {
        let asked: u64 = publishers.iter().map(|publisher| publisher.asked_keyframes).sum();
        let tracks: Vec<_> = publishers.iter().flat_map(|publisher| &publisher.tracks).collect();
        Self {
            viewers: viewers
                .iter()
                .zip(tallies)
                .map(|(viewer, tally)| figures(scenario, &tracks, viewer, tally))
                .collect(),
            asked_keyframes: asked as f64 * 60.0 / scenario.seconds as f64,
            seconds: (publishers.len()..)
                .zip(viewers)
                .map(|(number, viewer)| by_second(scenario, viewer, TransportId::new(0, number as u64), snapshots))
                .collect(),
        }
    }
}

fn figures(scenario: &Scenario, tracks: &[&Track], viewer: &Viewer, tally: &Tally) -> Figures {
    let joined_at = Time::from_millis(viewer.plan.joins_at);
    let mut figures = Figures {
        queue_p95_ms: tally.queue_p95(),
        overflowed: percent(tally.overflowed, tally.sent.iter().sum()),
        longest_over_s: longest_over(scenario, viewer, tally),
        pauses: tally.pauses,
        ..Figures::default()
    };
    let all = sum(viewer, 0..usize::MAX);
    figures.repair = percent(all.repair, all.all());
    figures.padding = percent(all.padding, all.all());
    let (mut played, mut concealed) = (0, 0);
    for copy in &viewer.copies {
        figures.asked_keyframes += copy.asked_keyframes;
        match &copy.player {
            Player::Audio(buffer) => {
                played += buffer.played;
                concealed += buffer.concealed;
                figures.longest_silence_s = figures.longest_silence_s.max(buffer.silence.as_secs_f64());
            }
            Player::Video(playout) => {
                figures.frozen_s += playout.frozen.as_secs_f64();
                figures.longest_gap_s = figures.longest_gap_s.max(playout.longest.as_secs_f64());
                let first = playout.shown.first().map(|shown| shown.at.since(joined_at).as_secs_f64() * 1000.0);
                if let Some(first) = first {
                    figures.first_frame_ms = Some(figures.first_frame_ms.unwrap_or(0.0).max(first));
                }
                if let Some(at) = scenario.recovers_at {
                    let at = Time::from_millis(at * 1000);
                    let top = tracks.iter().find(|track| track.number == copy.track).map_or(0, |track| track.top());
                    let back = playout.shown.iter().find(|shown| shown.at >= at && shown.encoding == top);
                    let end = Time::from_millis(scenario.seconds * 1000);
                    let took = back.map_or(end, |shown| shown.at).since(at).as_secs_f64();
                    figures.recovered_s = Some(figures.recovered_s.unwrap_or(0.0).max(took));
                }
                if let Some((from, until)) = scenario.steady {
                    let is_within = |at: Time| (from * 1000..until * 1000).contains(&at.as_millis());
                    let pairs = playout.shown.windows(2).filter(|pair| is_within(pair[1].at));
                    let count = pairs.filter(|pair| pair[0].encoding != pair[1].encoding).count();
                    *figures.switches.get_or_insert(0.0) += count as f64 * 60.0 / (until - from) as f64;
                }
            }
        }
    }
    figures.audio_lost = percent(concealed, played);
    if let Some((from, until)) = scenario.steady {
        (figures.used, figures.used_of_link) = used(scenario, tracks, viewer, from..until);
    }
    figures
}

/// How much of what could come did, of the best layers and of the link.
fn used(scenario: &Scenario, tracks: &[&Track], viewer: &Viewer, steady: Range<u64>) -> (Option<f64>, Option<f64>) {
    let seconds = steady.end - steady.start;
    let came = sum(viewer, steady.start as usize..steady.end as usize);
    let link = &scenario.links[viewer.plan.link];
    let capacity = link.down.capacity(Duration::from_secs(steady.start), Duration::from_secs(steady.end));
    let budget = capacity.map_or(u64::MAX, |bytes| bytes.saturating_sub(came.audio) * 8 / seconds);
    let end = Time::from_millis(scenario.seconds * 1000);
    let wishes = viewer.plan.wishes.iter().filter_map(|wish| {
        let track = tracks.iter().find(|track| track.number == wish.track && !track.is_audio())?;
        let ladder = Ladder::new(&track.costs(end), wish.most);
        // Steps up need no headroom where nothing wavers.
        let current = ladder.rungs().len().checked_sub(1);
        Some(Wish { ladder, current, priority: wish.priority, ..Wish::default() })
    });
    let wishes: Vec<_> = wishes.collect();
    let mut grants = vec![None; wishes.len()];
    allocate(budget, &wishes, &mut grants);
    let best = wishes.iter().zip(&grants).filter_map(|(wish, grant)| wish.ladder.rungs().get((*grant)?));
    let best: u64 = best.map(|rung| rung.bitrate).sum::<u64>() * seconds / 8;
    let used = (best > 0).then(|| percent(came.video, best));
    // Somebody else's part of a link is not known.
    let is_alone = scenario.competitors.is_empty()
        && scenario.viewers.iter().filter(|other| other.link == viewer.plan.link).count() == 1;
    if is_alone { (used, capacity.map(|capacity| percent(came.all(), capacity))) } else { (None, None) }
}

fn longest_over(scenario: &Scenario, viewer: &Viewer, tally: &Tally) -> f64 {
    let link = &scenario.links[viewer.plan.link].down;
    let (mut longest, mut run) = (0, 0);
    for (window, &sent) in (0..).zip(&tally.sent) {
        let from = Duration::from_millis(window * WINDOW_MS);
        let capacity = link.capacity(from, from + Duration::from_millis(WINDOW_MS));
        let is_over = capacity.is_some_and(|capacity| sent * 100 > capacity * TOO_MUCH);
        run = if is_over { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest as f64 * WINDOW_MS as f64 / 1000.0
}

fn by_second(scenario: &Scenario, viewer: &Viewer, id: TransportId, snapshots: &[Snapshot]) -> Vec<Second> {
    let playout = viewer.copies.iter().find_map(|copy| match &copy.player {
        Player::Video(playout) => Some(playout),
        Player::Audio(_) => None,
    });
    let second = |second: u64| {
        let came = viewer.came.get(second as usize).copied().unwrap_or_default();
        let shown = playout.and_then(|playout| {
            playout.shown.iter().rfind(|shown| shown.at.as_millis() / 1000 == second).map(|shown| shown.encoding)
        });
        let kbps = |bytes: u64| bytes * 8 / 1000;
        let transports = snapshots.get(second as usize).map_or(&[][..], |snapshot| &snapshot.transports);
        let stats = transports.iter().find(|stats| stats.transport == id).and_then(|stats| stats.bandwidth);
        Second {
            audio: kbps(came.audio),
            video: kbps(came.video),
            repair: kbps(came.repair),
            padding: kbps(came.padding),
            encoding: shown,
            estimate: stats.map_or(0, |stats| stats.estimate.as_bps() / 1000),
            cause: stats.map_or("", |stats| stats.cause),
            queued: stats.map_or(0, |stats| stats.queued),
        }
    };
    (0..scenario.seconds).map(second).collect()
}

/// All that came in these seconds.
fn sum(viewer: &Viewer, seconds: Range<usize>) -> Came {
    let end = seconds.end.min(viewer.came.len());
    let mut all = Came::default();
    for came in viewer.came.get(seconds.start..end).unwrap_or(&[]) {
        all.audio += came.audio;
        all.video += came.video;
        all.repair += came.repair;
        all.padding += came.padding;
    }
    all
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
