//! Rooms under seeded loss, jitter, cuts and attackers, in integer time, and oracles that judge what comes out.
//!
//! A [`Plan`] says who is there and what happens; [`Plan::run`] plays it against real [`Router`]s with real packets and
//! gives back an [`Outcome`]: the digest of all that happened and what the oracles object to. One seed is one run, to the
//! last bit.
//!
//! [`Router`]: rtpcore_core::router::Router
#![forbid(unsafe_code)]
#![allow(clippy::indexing_slicing)] // a broken invariant of the simulation should stop it

pub mod dice;
pub mod faults;
pub mod links;
pub mod media;
pub mod oracle;
pub mod peer;
pub mod quality;
pub mod random;
pub mod trace;
pub mod world;

pub use world::{Act, Outcome, PeerId, Plan, Sabotage, TrackId, ViewId, ViewOutcome};
