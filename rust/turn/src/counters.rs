//! What the server did, as counters that only rise; another thread reads them.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a message went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drop {
    /// Neither STUN nor data of a channel.
    Malformed,
    /// From somebody without an allocation, and no wish for one.
    Stranger,
    /// The name has no password here, or has had one.
    Unauthorized,
    /// The peer is none that may be relayed to.
    ForbiddenPeer,
    /// The participant has all the relays, or the relay all the peers, that it may have.
    Quota,
    /// No port is free, or the server has all the relays or connections that it takes.
    NoCapacity,
    /// The client takes less than the peer sends.
    SlowClient,
    /// The peer's network does.
    SlowPeer,
    /// Nothing came from any peer for long.
    Idle,
    /// A fault in this program, which cost one client its relay.
    Fault,
}

/// All reasons, with the words that statistics have for them.
pub const DROPS: [(Drop, &str); 10] = [
    (Drop::Malformed, "malformed"),
    (Drop::Stranger, "stranger"),
    (Drop::Unauthorized, "unauthorized"),
    (Drop::ForbiddenPeer, "forbidden_peer"),
    (Drop::Quota, "quota"),
    (Drop::NoCapacity, "no_capacity"),
    (Drop::SlowClient, "slow_client"),
    (Drop::SlowPeer, "slow_peer"),
    (Drop::Idle, "idle"),
    (Drop::Fault, "fault"),
];

/// Counters since start; the first three also fall.
#[derive(Debug, Default)]
pub struct Counters {
    /// Clients that hold something here.
    pub clients: AtomicU64,
    /// Connections over TCP and TLS.
    pub connections: AtomicU64,
    /// Relays that are open.
    pub allocations: AtomicU64,
    /// Relays that have ever been opened.
    pub allocations_made: AtomicU64,
    /// Packets from clients to peers.
    pub packets_to_peers: AtomicU64,
    /// Their bytes, without what TURN adds.
    pub bytes_to_peers: AtomicU64,
    /// Packets from peers to clients.
    pub packets_to_clients: AtomicU64,
    /// Their bytes, without what TURN adds.
    pub bytes_to_clients: AtomicU64,
    drops: [AtomicU64; DROPS.len()],
}

impl Counters {
    /// How often something was dropped for this reason.
    pub fn drops(&self, reason: Drop) -> u64 {
        self.drops[reason as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn count(&self, reason: Drop) {
        self.drops[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn to_peer(&self, bytes: usize) {
        self.packets_to_peers.fetch_add(1, Ordering::Relaxed);
        self.bytes_to_peers.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn to_client(&self, bytes: usize) {
        self.packets_to_clients.fetch_add(1, Ordering::Relaxed);
        self.bytes_to_clients.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_counter_and_word() {
        let counters = Counters::default();
        for (index, (reason, _)) in DROPS.iter().enumerate() {
            assert_eq!(*reason as usize, index);
            counters.count(*reason);
            assert_eq!(counters.drops(*reason), 1);
        }
    }
}
