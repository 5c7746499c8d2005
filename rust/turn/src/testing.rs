//! A client's messages, for tests.

use std::net::SocketAddr;

use turn_server_proto::stun::types::attribute::{ErrorCode, Nonce, Realm, Username};
use turn_server_proto::stun::types::message::{
    BINDING, IntegrityAlgorithm, LongTermCredentials, Message, MessageClass, MessageIntegrityCredentials, MessageType,
    MessageWriteVec, Method, TransactionId,
};
use turn_server_proto::stun::types::prelude::*;
use turn_server_proto::types::AddressFamily;
use turn_server_proto::types::attribute::{
    ChannelNumber, Data, Lifetime, RequestedAddressFamily, RequestedTransport, XorPeerAddress, XorRelayedAddress,
};
use turn_server_proto::types::message::{ALLOCATE, CHANNEL_BIND, CREATE_PERMISSION, REFRESH, SEND};

use crate::{Keys, REALM, base62};

/// Unix time in all tests but those that have sockets.
pub(crate) const NOW_S: u64 = 1_000;

pub(crate) fn keys() -> Keys {
    Keys::new([("devkey".to_owned(), "secret".to_owned())])
}

pub(crate) fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address with port")
}

/// What a client knows.
pub(crate) struct Client {
    pub(crate) name: String,
    credentials: MessageIntegrityCredentials,
    pub(crate) nonce: Option<String>,
}

impl Client {
    /// A participant whose password is good until then.
    pub(crate) fn new(participant: &str, expires_at: u64) -> Self {
        let name = base62::encode(format!("devkey|{participant}|{expires_at}").as_bytes());
        let password = keys().password(&name, 0).expect("a password");
        Self::with_password(name, password)
    }

    pub(crate) fn with_password(name: String, password: String) -> Self {
        let key = LongTermCredentials::new(name.clone(), password).to_key(REALM.to_owned());
        Self { name, credentials: key.into(), nonce: None }
    }

    fn request(&self, method: Method, attributes: &[&dyn AttributeWrite]) -> Vec<u8> {
        let mut message = Message::builder_request(method, MessageWriteVec::new());
        for attribute in attributes {
            message.add_attribute(*attribute).expect("room");
        }
        if let Some(nonce) = &self.nonce {
            message.add_attribute(&Username::new(&self.name).expect("a name")).expect("room");
            message.add_attribute(&Realm::new(REALM).expect("a realm")).expect("room");
            message.add_attribute(&Nonce::new(nonce).expect("a nonce")).expect("room");
            message.add_message_integrity(&self.credentials, IntegrityAlgorithm::Sha1).expect("room");
        }
        message.finish()
    }

    pub(crate) fn allocate(&self) -> Vec<u8> {
        self.request(ALLOCATE, &[&RequestedTransport::new(RequestedTransport::UDP)])
    }

    pub(crate) fn allocate_v6(&self) -> Vec<u8> {
        let family = RequestedAddressFamily::new(AddressFamily::IPV6);
        self.request(ALLOCATE, &[&RequestedTransport::new(RequestedTransport::UDP), &family])
    }

    pub(crate) fn allocate_tcp(&self) -> Vec<u8> {
        self.request(ALLOCATE, &[&RequestedTransport::new(RequestedTransport::TCP)])
    }

    pub(crate) fn refresh(&self, seconds: u32) -> Vec<u8> {
        self.request(REFRESH, &[&Lifetime::new(seconds)])
    }

    pub(crate) fn permit(&self, peers: &[SocketAddr]) -> Vec<u8> {
        let id = TransactionId::generate();
        let kind = MessageType::from_class_method(MessageClass::Request, CREATE_PERMISSION);
        let mut message = Message::builder(kind, id, MessageWriteVec::new());
        for peer in peers {
            message.add_attribute(&XorPeerAddress::new(*peer, id)).expect("room");
        }
        message.add_attribute(&Username::new(&self.name).expect("a name")).expect("room");
        message.add_attribute(&Realm::new(REALM).expect("a realm")).expect("room");
        message.add_attribute(&Nonce::new(self.nonce.as_ref().expect("a nonce")).expect("short")).expect("room");
        message.add_message_integrity(&self.credentials, IntegrityAlgorithm::Sha1).expect("room");
        message.finish()
    }

    pub(crate) fn bind(&self, channel: u16, peer: SocketAddr) -> Vec<u8> {
        let id = TransactionId::generate();
        let kind = MessageType::from_class_method(MessageClass::Request, CHANNEL_BIND);
        let mut message = Message::builder(kind, id, MessageWriteVec::new());
        message.add_attribute(&ChannelNumber::new(channel)).expect("room");
        message.add_attribute(&XorPeerAddress::new(peer, id)).expect("room");
        message.add_attribute(&Username::new(&self.name).expect("a name")).expect("room");
        message.add_attribute(&Realm::new(REALM).expect("a realm")).expect("room");
        message.add_attribute(&Nonce::new(self.nonce.as_ref().expect("a nonce")).expect("short")).expect("room");
        message.add_message_integrity(&self.credentials, IntegrityAlgorithm::Sha1).expect("room");
        message.finish()
    }

    /// Learns the nonce from the first refusal.
    pub(crate) fn learn(&mut self, refusal: &[u8]) {
        let message = Message::from_bytes(refusal).expect("a message");
        self.nonce = Some(message.attribute::<Nonce>().expect("a nonce").nonce().to_owned());
    }

    /// Whether an answer is signed with this client's password.
    pub(crate) fn trusts(&self, answer: &[u8]) -> bool {
        Message::from_bytes(answer).expect("a message").validate_integrity(&self.credentials).is_ok()
    }
}

pub(crate) fn send(peer: SocketAddr, data: &[u8]) -> Vec<u8> {
    let id = TransactionId::generate();
    let kind = MessageType::from_class_method(MessageClass::Indication, SEND);
    let mut message = Message::builder(kind, id, MessageWriteVec::new());
    message.add_attribute(&XorPeerAddress::new(peer, id)).expect("room");
    message.add_attribute(&Data::new(data)).expect("room");
    message.finish()
}

pub(crate) fn channel_data(channel: u16, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).expect("short");
    [&channel.to_be_bytes(), &length.to_be_bytes(), data].concat()
}

pub(crate) fn binding() -> Vec<u8> {
    Message::builder_request(BINDING, MessageWriteVec::new()).finish()
}

/// The code of a refusal; None where it is an answer.
pub(crate) fn code_of(answer: &[u8]) -> Option<u16> {
    let message = Message::from_bytes(answer).expect("a message");
    if message.has_class(MessageClass::Success) {
        return None;
    }
    Some(message.attribute::<ErrorCode>().expect("a code").code())
}

pub(crate) fn relay_of(answer: &[u8]) -> SocketAddr {
    let message = Message::from_bytes(answer).expect("a message");
    message.attribute::<XorRelayedAddress>().expect("a relay").addr(message.transaction_id())
}

/// The peer and the data of an indication.
pub(crate) fn indicated(message: &[u8]) -> (SocketAddr, Vec<u8>) {
    let message = Message::from_bytes(message).expect("a message");
    let peer = message.attribute::<XorPeerAddress>().expect("a peer").addr(message.transaction_id());
    (peer, message.attribute::<Data>().expect("data").data().to_vec())
}
