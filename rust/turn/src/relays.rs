//! The relays that are open, and whose they are.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

use mio::net::UdpSocket;
use slab::Slab;

use crate::sockets::{RelayAddress, bind_relay};

/// One port on which peers reach a client.
pub(crate) struct Relay {
    pub(crate) socket: UdpSocket,
    /// The client's number.
    pub(crate) client: usize,
    /// As peers see it.
    pub(crate) advertised: SocketAddr,
    user: String,
}

#[derive(Default)]
pub(crate) struct Relays {
    relays: Slab<Relay>,
    by_user: HashMap<String, usize>,
}

impl Relays {
    pub(crate) fn len(&self) -> usize {
        self.relays.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<&Relay> {
        self.relays.get(index)
    }

    /// How many each participant has.
    pub(crate) fn by_user(&self) -> &HashMap<String, usize> {
        &self.by_user
    }

    /// Binds a port for a client, and lets `register` wait for it; says the relay's number and address, unless there is none.
    pub(crate) fn open(
        &mut self,
        place: RelayAddress,
        ports: &RangeInclusive<u16>,
        client: usize,
        user: String,
        register: impl FnOnce(&mut UdpSocket, usize) -> io::Result<()>,
    ) -> Option<(usize, SocketAddr)> {
        let (mut socket, port) = bind_relay(place.local, ports)?;
        let index = self.relays.vacant_key();
        register(&mut socket, index).ok()?;
        let advertised = SocketAddr::new(place.advertised, port);
        *self.by_user.entry(user.clone()).or_default() += 1;
        self.relays.insert(Relay { socket, client, advertised, user });
        Some((index, advertised))
    }

    /// Closes a relay.
    pub(crate) fn remove(&mut self, index: usize) {
        let relay = self.relays.remove(index);
        if let Some(count) = self.by_user.get_mut(&relay.user) {
            *count -= 1;
            if *count == 0 {
                self.by_user.remove(&relay.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relays_are_counted_by_participant() {
        let ip = "127.0.0.1".parse().expect("an address");
        let place = RelayAddress { local: ip, advertised: "198.51.100.1".parse().expect("an address") };
        let mut relays = Relays::default();
        let open = |relays: &mut Relays, user: &str| {
            relays.open(place, &(20_000..=60_000), 7, user.to_owned(), |_, _| Ok(())).expect("a free port")
        };
        let (first, at) = open(&mut relays, "ada");
        let (second, _) = open(&mut relays, "ada");
        assert_eq!(at.ip(), place.advertised);
        assert_eq!(relays.get(first).map(|relay| relay.client), Some(7));
        assert_eq!(relays.by_user().get("ada"), Some(&2));
        relays.remove(first);
        relays.remove(second);
        assert_eq!((relays.len(), relays.by_user().len()), (0, 0));
    }

    #[test]
    fn a_relay_that_cannot_be_waited_for_is_none() {
        let ip = "127.0.0.1".parse().expect("an address");
        let place = RelayAddress { local: ip, advertised: ip };
        let mut relays = Relays::default();
        let refused =
            relays.open(place, &(20_000..=60_000), 0, "ada".to_owned(), |_, _| Err(io::Error::other("no descriptor")));
        assert_eq!((refused, relays.len()), (None, 0));
    }
}
