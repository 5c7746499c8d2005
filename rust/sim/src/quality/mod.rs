//! What viewers see on bad networks: scenarios in virtual time, each one run of one seed, and figures of them.
//!
//! ```text
//!  publishers ──> Router ──> bottleneck with its queue ──> viewers: feedback, NACK, decoder, jitter buffer
//!   (VP8 simulcast,  ^          ^ competitors                 │
//!    Opus)           └──────────┴───────── RTCP, lossy ───────┘
//! ```
//!
//! [`crate::world`] plays rooms for invariants: tracks of made-up sizes, every byte judged, several workers. Here sizes, rates
//! and times must be those of an encoder and a player, and nothing else matters; so this is a lighter driver round one router
//! whose transports are keyed beforehand. Router, links, traces and keys are the same.

mod audio;
mod competitor;
mod family;
mod playout;
mod publisher;
mod remb;
mod scenario;
mod score;
mod source;
mod stage;
mod table;
mod viewer;

pub use family::{FAMILIES, all};
pub use scenario::{Answers, Competitor, Scenario, Source, ViewerPlan, Wish};
pub use score::{Figures, Outcome, Second};
pub use table::{Moved, Row, compare, parse, print, rows};
