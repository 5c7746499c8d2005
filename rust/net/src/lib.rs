//! Sockets, threads and the clock round [`rtpcore_core`]: one worker per core, each with its own router.
//!
//! The only unsafe code and the only clock of the project live here (ciphers apart, see `rtpcore-cipher`). No policy does: what
//! happens to a packet is decided in the core.

mod batch;
mod clock;
mod forwarder;
mod queue;
mod sockets;
mod tcp;
mod worker;

pub use clock::Clock;
pub use forwarder::{Config, Forwarder, MAX_COMMANDS, Placement, SendError, StartError};
pub use sockets::Listen;
