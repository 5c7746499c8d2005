//! What a STUN server is asked, and what it says: the address that this machine has from outside (RFC 8489 §2).

use std::net::SocketAddr;

use turn_server_proto::stun::types::attribute::XorMappedAddress;
use turn_server_proto::stun::types::message::{
    BINDING, Message, MessageClass, MessageType, MessageWriteVec, TransactionId,
};
use turn_server_proto::stun::types::prelude::*;

/// A Binding request. `transaction` is random: whoever cannot guess its 96 bits cannot answer.
pub fn binding_request(transaction: [u8; 12]) -> Vec<u8> {
    let kind = MessageType::from_class_method(MessageClass::Request, BINDING);
    Message::builder(kind, transaction_id(transaction), MessageWriteVec::with_capacity(20)).finish()
}

/// The address in the answer to a Binding request; None where `answer` is none to this one, or a refusal.
pub fn mapped_address(answer: &[u8], transaction: [u8; 12]) -> Option<SocketAddr> {
    let message = Message::from_bytes(answer).ok()?;
    let id = transaction_id(transaction);
    if !message.has_class(MessageClass::Success) || !message.has_method(BINDING) || message.transaction_id() != id {
        return None;
    }
    message.attribute::<XorMappedAddress>().ok().map(|address| address.addr(id))
}

fn transaction_id(bytes: [u8; 12]) -> TransactionId {
    let mut wide = [0; 16];
    wide[4..].copy_from_slice(&bytes);
    TransactionId::from(u128::from_be_bytes(wide))
}

/// The answer to somebody's Binding request.
pub(crate) fn binding_response(request: &Message<'_>, from: SocketAddr) -> Option<Vec<u8>> {
    let mut response = Message::builder_success(request, MessageWriteVec::with_capacity(64));
    response.add_attribute(&XorMappedAddress::new(from, request.transaction_id())).ok()?;
    response.add_fingerprint().ok()?;
    Some(response.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSACTION: [u8; 12] = *b"abcdefghijkl";

    fn answer(address: &str) -> Vec<u8> {
        let request = binding_request(TRANSACTION);
        let request = Message::from_bytes(&request).expect("a request");
        binding_response(&request, address.parse().expect("an address")).expect("a response")
    }

    #[test]
    fn a_request_is_a_bare_header() {
        assert_eq!(binding_request(TRANSACTION), b"\0\x01\0\0\x21\x12\xa4\x42abcdefghijkl");
    }

    #[test]
    fn answers_say_the_address() {
        for address in ["198.51.100.7:4242", "[2001:db8::7]:4242"] {
            assert_eq!(mapped_address(&answer(address), TRANSACTION), address.parse().ok());
        }
    }

    #[test]
    fn nothing_else_is_an_answer() {
        let right = answer("198.51.100.7:4242");
        assert_eq!(mapped_address(&right, *b"ABCDEFGHIJKL"), None);
        assert_eq!(mapped_address(&right[..right.len() - 1], TRANSACTION), None);
        assert_eq!(mapped_address(&binding_request(TRANSACTION), TRANSACTION), None);
        assert_eq!(mapped_address(b"", TRANSACTION), None);
    }
}
