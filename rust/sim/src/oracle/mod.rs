//! What must hold of everything a router sends, and of what its subscribers see.
//!
//! [`Egress`] stands at the router's door, before the network: it opens every datagram with the subscriber's keys and notes
//! it. When the run is over [`judge`] holds the notes against what was published and what of it arrived. [`viewer`] asks
//! the subscribers.

mod clock;
mod egress;
mod judge;
pub mod viewer;

pub use clock::ClockOracle;
pub use egress::{CopyLog, Egress, Sent};
pub use judge::judge;

use std::collections::BTreeMap;
use std::fmt;

use rtpcore_core::Time;

use crate::peer::Label;

/// What was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Everything sent can be opened with the subscriber's keys, and is a packet of a publisher with only its numbers
    /// changed.
    Readable,
    /// No (SSRC, index) is used for two texts, and with RTX not twice for one.
    IndexOnce,
    /// No packet is sent under two numbers.
    NumberOnce,
    /// The publisher's order is kept.
    Order,
    /// Time does not go back, and frames of one instant stay together.
    Time,
    /// Every number is sent, or waits for a packet that the network withheld.
    Hole,
    /// Frame numbers have no holes but the network's.
    FrameNumber,
    /// Frames are sent whole.
    Whole,
    /// No frame comes without those it is predicted from.
    References,
    /// The first frame after a start or a switch is a keyframe.
    Keyframe,
    /// The last packet of a picture, and no other, is marked.
    Marker,
    /// Copies have the payload type, media section and SSRC that were negotiated.
    Negotiated,
    /// A retransmission is what it repeats.
    Retransmission,
    /// Sender reports place every frame on its publisher's clock, to the tick.
    Clock,
    /// Nothing is sent that is paused.
    Paused,
    /// Who wants a track and has a path to it sees it.
    Seen,
    /// Who wants a layer that is sent gets it.
    Layer,
    /// Nobody waits long for reports.
    Reported,
    /// State and memory stay within their bounds.
    Bounded,
}

/// One objection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What was broken.
    pub rule: Rule,
    /// Which copy, by its number in the world.
    pub view: usize,
    /// When, as far as it is known.
    pub at: Time,
    /// How.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} in view {} at {} ms: {}", self.rule, self.view, self.at.as_millis(), self.what)
    }
}

/// Which published packets reached a router unharmed, and when first.
#[derive(Debug, Default)]
pub struct Ingress {
    arrived: BTreeMap<(u16, u8, u64), (Time, bool)>,
    newest: BTreeMap<(u16, u8), u64>,
}

impl Ingress {
    /// Notes one arrival.
    pub fn add(&mut self, now: Time, label: Label) {
        let newest = self.newest.entry((label.track, label.encoding)).or_insert(label.number);
        let is_late = label.number < *newest;
        *newest = (*newest).max(label.number);
        self.arrived.entry((label.track, label.encoding, label.number)).or_insert((now, is_late));
    }

    /// When a packet came, if it did.
    pub fn arrival(&self, track: u16, encoding: u8, number: u64) -> Option<Time> {
        self.arrived.get(&(track, encoding, number)).map(|&(at, _)| at)
    }

    /// How many packets between two numbers (neither counted) the network withheld or delayed behind others.
    pub fn disturbed(&self, track: u16, encoding: u8, after: u64, before: u64) -> u64 {
        let all = before.saturating_sub(after + 1);
        if all == 0 {
            return 0;
        }
        let range = (track, encoding, after + 1)..(track, encoding, before);
        let undisturbed = self.arrived.range(range).filter(|(_, (_, is_late))| !is_late).count();
        all - undisturbed as u64
    }
}
