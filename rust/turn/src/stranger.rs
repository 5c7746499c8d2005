//! What is made of a message from somebody who is nobody's client yet: next to nothing.

use std::net::SocketAddr;

use turn_server_proto::stun::types::message::{BINDING, Message, MessageClass};
use turn_server_proto::types::message::ALLOCATE;

use crate::address::binding_response;
use crate::counters::Drop;

/// What somebody wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Its own address: here is the answer, and nothing is kept.
    Address(Vec<u8>),
    /// A relay.
    Relay,
}

/// Reads a stranger's message.
pub(crate) fn read(bytes: &[u8], from: SocketAddr) -> Result<Wish, Drop> {
    let is_channel = bytes.first().is_some_and(|byte| byte >> 6 == 1);
    let wrong = if is_channel { Drop::Stranger } else { Drop::Malformed };
    let message = Message::from_bytes(bytes).map_err(|_| wrong)?;
    if !message.has_class(MessageClass::Request) {
        Err(Drop::Stranger)
    } else if message.has_method(BINDING) {
        binding_response(&message, from).map(Wish::Address).ok_or(Drop::Fault)
    } else if message.has_method(ALLOCATE) {
        Ok(Wish::Relay)
    } else {
        Err(Drop::Stranger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Client, at, binding, channel_data, send};

    #[test]
    fn a_stranger_may_ask_for_its_address_and_for_a_relay() {
        let from = at("203.0.113.9:5000");
        assert!(matches!(read(&binding(), from), Ok(Wish::Address(_))));
        assert_eq!(read(&Client::new("PA_ada", 1).allocate(), from), Ok(Wish::Relay));
    }

    #[test]
    fn nothing_else_is_heard() {
        let from = at("203.0.113.9:5000");
        for message in [send(at("1.1.1.1:1"), b"x"), channel_data(0x4000, b"x"), Client::new("PA_x", 1).refresh(1)] {
            assert_eq!(read(&message, from), Err(Drop::Stranger));
        }
        for garbage in [&b""[..], b"\0", b"GET / HTTP/1.1"] {
            assert!(read(garbage, from).is_err());
        }
    }
}
