//! A TURN server (RFC 8656) in front of this server's media, for clients whose network lets nothing else out.
//!
//! What the messages mean is the business of `turn-server-proto`. Here is what surrounds it: sockets and one thread, who may
//! relay ([`Keys`]), where to ([`Policy`]), and bounds on everything that strangers can cause. No media path runs through this
//! crate but that of clients which asked for it, and none of its work is done on the forwarder's threads.

mod address;
mod base62;
mod connection;
mod counters;
mod framing;
mod keys;
mod policy;
mod relays;
mod server;
mod session;
mod sockets;
mod stranger;
#[cfg(test)]
mod testing;
mod tls;
mod worker;

pub use address::{binding_request, mapped_address};
pub use counters::{Counters, DROPS, Drop};
pub use keys::{Keys, Refusal};
pub use policy::{Media, Network, Policy};
pub use server::{Config, Limits, Server, StartError};
pub use sockets::RelayAddress;
pub use tls::{TlsError, tls_config};

/// The realm of LiveKit's servers; clients are told it and repeat it.
pub const REALM: &str = "livekit";
