//! What a scenario is made of, as values.

use rtpcore_core::send::Layer;

use super::score::Outcome;
use super::stage::Stage;
use crate::trace::Trace;

/// What a track carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Opus, 50 packets a second of about 32 kbit/s.
    Microphone,
    /// VP8 in an encoding for each rate, smallest first, all with three temporal layers.
    Camera {
        /// In bits per second.
        rates: Vec<u64>,
        /// Frames per second.
        fps: u64,
    },
    /// VP8 in one encoding without temporal layers: little while nothing changes, and large frames when something does.
    Slides,
}

impl Source {
    /// A camera of 720p as browsers send it: LiveKit's presets.
    pub fn camera() -> Self {
        Self::Camera { rates: vec![160_000, 450_000, 1_700_000], fps: 30 }
    }
}

/// What a viewer answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// Transport-wide feedback.
    TransportCc,
    /// Its own estimate.
    Remb,
    /// Neither.
    Nothing,
}

/// What a viewer wants of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Which.
    pub track: usize,
    /// At most this.
    pub most: Layer,
    /// Higher ones first.
    pub priority: u8,
}

impl Wish {
    /// All of a track.
    pub const fn all_of(track: usize) -> Self {
        Self { track, most: Layer { spatial: 2, temporal: 3 }, priority: 0 }
    }
}

/// One viewer.
#[derive(Clone, Debug)]
pub struct ViewerPlan {
    /// Behind which link.
    pub link: usize,
    /// When it comes, in milliseconds.
    pub joins_at: u64,
    /// What it answers with.
    pub answers: Answers,
    /// Whether it takes RED.
    pub has_red: bool,
    /// What it wants.
    pub wishes: Vec<Wish>,
}

impl ViewerPlan {
    /// One that wants all of so many tracks from the start.
    pub fn of(link: usize, tracks: usize) -> Self {
        let wishes = (0..tracks).map(Wish::all_of).collect();
        Self { link, joins_at: 500, answers: Answers::TransportCc, has_red: true, wishes }
    }
}

/// Somebody else on a link.
#[derive(Clone, Copy, Debug)]
pub struct Competitor {
    /// Which link.
    pub link: usize,
    /// From when, in milliseconds.
    pub from: u64,
    /// Until when.
    pub until: u64,
    /// So many bits per second whatever becomes of them; none takes what it gets, as TCP (Reno) does.
    pub bps: Option<u64>,
}

/// One run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Scenarios of one family share a row of the table.
    pub family: &'static str,
    /// From which all its chance comes.
    pub seed: u64,
    /// How long it lasts, in seconds.
    pub seconds: u64,
    /// Tracks, each with the publisher whose it is.
    pub tracks: Vec<(usize, Source)>,
    /// The paths of publishers: `up` is towards the router.
    pub publishers: Vec<Trace>,
    /// The paths of viewers, who may share one.
    pub links: Vec<Trace>,
    /// Viewers.
    pub viewers: Vec<ViewerPlan>,
    /// Competitors.
    pub competitors: Vec<Competitor>,
    /// In which seconds the link does not change, so that use and changes of layers are judged.
    pub steady: Option<(u64, u64)>,
    /// The second at which the link carries everything again.
    pub recovers_at: Option<u64>,
}

impl Scenario {
    /// Plays it.
    pub fn run(&self) -> Outcome {
        Stage::new(self).run()
    }
}
