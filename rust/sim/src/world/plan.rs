//! What is to happen in one run, written down before it begins.

use rtpcore_core::Time;
use rtpcore_core::router::Limits;
use rtpcore_core::send::Layer;

use super::{Outcome, Sabotage};
use crate::faults::{Fault, Faults, Trouble};
use crate::links::Conditions;
use crate::media::{Media, Naming, Track};

/// A peer, by the order they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerId(pub usize);

/// A track, by the order they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TrackId(pub usize);

/// One peer's copy of a track, by the order they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ViewId(pub usize);

/// Something that somebody does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// A peer comes.
    Join(PeerId),
    /// A peer goes.
    Leave(PeerId),
    /// A track begins.
    Publish(TrackId),
    /// A track ends.
    Unpublish(TrackId),
    /// A copy begins.
    Subscribe(ViewId),
    /// A copy ends.
    Unsubscribe(ViewId),
    /// A copy wants at most this layer.
    Prefer(ViewId, Layer),
    /// A copy is paused or resumed.
    Pause(ViewId, bool),
    /// A copy goes on with another track.
    Follow(ViewId, TrackId),
}

#[derive(Clone, Debug)]
pub(super) struct PeerPlan {
    pub(super) worker: usize,
    pub(super) up: Conditions,
    pub(super) down: Conditions,
}

#[derive(Clone, Debug)]
pub(super) struct TrackPlan {
    pub(super) peer: PeerId,
    pub(super) track: Track,
}

#[derive(Clone, Debug)]
pub(super) struct ViewPlan {
    pub(super) peer: PeerId,
    pub(super) track: TrackId,
    pub(super) has_rtx: bool,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all chance comes from.
    pub seed: u64,
    /// How many workers, 1 to 4.
    pub workers: u8,
    /// How long it lasts, in milliseconds.
    pub lasts_ms: u64,
    /// What goes wrong.
    pub faults: Faults,
    /// Each packet's fate in the network depends on the packet alone and not on what was sent before it, so that two runs
    /// can be compared.
    pub is_keyed: bool,
    /// What is broken on purpose, to see the oracles object.
    pub sabotage: Option<Sabotage>,
    /// The routers' bounds.
    pub limits: Limits,
    /// Datagrams that a worker writes at a time.
    pub slab: usize,
    pub(super) peers: Vec<PeerPlan>,
    pub(super) tracks: Vec<TrackPlan>,
    pub(super) views: Vec<ViewPlan>,
    pub(super) acts: Vec<(Time, Act)>,
}

impl Plan {
    /// An empty room.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            workers: 1,
            lasts_ms: 6_000,
            faults: Faults::default(),
            is_keyed: false,
            sabotage: None,
            limits: Limits { history_packets: 4096, ..Limits::default() },
            slab: 64,
            peers: Vec::new(),
            tracks: Vec::new(),
            views: Vec::new(),
            acts: Vec::new(),
        }
    }

    /// A peer that is there from the start, on the same path both ways.
    pub fn peer(&mut self, conditions: Conditions) -> PeerId {
        let peer = self.peer_later(conditions, conditions);
        self.at(0, Act::Join(peer));
        peer
    }

    /// A peer that some act has to bring in.
    pub fn peer_later(&mut self, up: Conditions, down: Conditions) -> PeerId {
        // Round robin, as signalling does it.
        self.peers.push(PeerPlan { worker: self.peers.len(), up, down });
        PeerId(self.peers.len() - 1)
    }

    /// A track that begins with the run.
    pub fn track(&mut self, peer: PeerId, media: Media) -> TrackId {
        let track = self.track_later(peer, media, true, Naming::Rid);
        self.at(0, Act::Publish(track));
        track
    }

    /// A track that some act has to begin.
    pub fn track_later(&mut self, peer: PeerId, media: Media, has_rtx: bool, naming: Naming) -> TrackId {
        let number = u16::try_from(self.tracks.len()).unwrap_or(u16::MAX);
        let has_rtx = has_rtx && media != Media::Opus;
        self.tracks.push(TrackPlan { peer, track: Track { number, media, has_rtx, naming } });
        TrackId(self.tracks.len() - 1)
    }

    /// A copy that begins soon after the start.
    pub fn view(&mut self, peer: PeerId, track: TrackId) -> ViewId {
        let view = self.view_later(peer, track, true);
        self.at(100, Act::Subscribe(view));
        view
    }

    /// A copy that some act has to begin.
    pub fn view_later(&mut self, peer: PeerId, track: TrackId, has_rtx: bool) -> ViewId {
        let has_rtx = has_rtx && self.tracks[track.0].track.media != Media::Opus;
        self.views.push(ViewPlan { peer, track, has_rtx });
        ViewId(self.views.len() - 1)
    }

    /// Lets something happen.
    pub fn at(&mut self, at_ms: u64, act: Act) {
        self.acts.push((Time::from_millis(at_ms), act));
    }

    /// Lets something go wrong.
    pub fn fault(&mut self, peer: PeerId, from_ms: u64, until_ms: u64, trouble: Trouble) {
        let (from, until) = (Time::from_millis(from_ms), Time::from_millis(until_ms));
        self.faults.0.push(Fault { peer: peer.0, from, until, trouble });
    }

    /// Plays it.
    pub fn run(&self) -> Outcome {
        super::run(self)
    }

    pub(super) fn ends_at(&self) -> Time {
        Time::from_millis(self.lasts_ms)
    }

    /// The wall clock of a track's publisher at an instant, NTP.
    pub(super) fn wall_of(&self, track: u16, at: Time) -> u64 {
        crate::peer::wall_of(self.tracks[usize::from(track)].peer.0, at)
    }
}
