//! What is written on a LiveKit data packet (`livekit.DataPacket`): read once where it comes in, and overwritten where a
//! client's word is not taken.
//!
//! The only code below Python that knows a message of LiveKit's. Field numbers are those of the published descriptors
//! (PyPI `livekit-protocol`). Whatever is not named here goes on byte for byte, so that clients newer than this code reach
//! each other.

use bytes::Bytes;

use super::wire::{Field, Fields, Malformed, Value, put_bytes, put_number, put_text};
use crate::drop::Drop;

/// How many receivers one packet may name: as many as a room may have members.
pub const MAX_DESTINATIONS: usize = super::MAX_MEMBERS;

/// Fields of `DataPacket`.
mod packet {
    pub(super) const KIND: u32 = 1;
    pub(super) const USER: u32 = 2;
    pub(super) const SPEAKER: u32 = 3;
    pub(super) const IDENTITY: u32 = 4;
    pub(super) const DESTINATION: u32 = 5;
    pub(super) const SIP_DTMF: u32 = 6;
    pub(super) const TRANSCRIPTION: u32 = 7;
    pub(super) const METRICS: u32 = 8;
    pub(super) const CHAT: u32 = 9;
    pub(super) const RPC_ACK: u32 = 11;
    pub(super) const RPC_RESPONSE: u32 = 12;
    pub(super) const STREAM_HEADER: u32 = 13;
    pub(super) const STREAM_TRAILER: u32 = 15;
    pub(super) const SEQUENCE: u32 = 16;
    pub(super) const SID: u32 = 17;
    pub(super) const ENCRYPTED: u32 = 18;
}

/// Fields of `UserPacket`, which named sender and receivers before the packet round it did.
mod user {
    pub(super) const SID: u32 = 1;
    pub(super) const DESTINATION_SID: u32 = 3;
    pub(super) const IDENTITY: u32 = 5;
    pub(super) const DESTINATION: u32 = 6;
}

/// `ChatMessage.generated`.
const CHAT_GENERATED: u32 = 6;
/// `DataStream.Header.text_header`.
const TEXT_HEADER: u32 = 9;
/// `DataStream.TextHeader.generated`.
const TEXT_GENERATED: u32 = 5;
/// `RpcAck.request_id` and `RpcResponse.request_id`.
const REQUEST_ID: u32 = 1;

/// Who sends a packet, as others are to read it.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// Its participant sid.
    pub sid: &'a str,
    /// Its identity.
    pub identity: &'a str,
    /// Nobody is to know it: both names are left out.
    pub is_hidden: bool,
    /// It may speak for others: transcribe them, and write in their name.
    pub is_agent: bool,
}

/// `DataPacket.Kind`: which channel a packet came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// In order, until it arrives.
    Reliable,
    /// Once, in any order.
    Lossy,
}

/// A packet that may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// What others are to read.
    pub packet: Bytes,
    /// The sender's number for it, from 1; 0 is none.
    pub sequence: u32,
    /// Whom it is for.
    pub to: Destinations,
    /// The id of the RPC request that it acknowledges or answers.
    pub reply_to: Option<Box<str>>,
}

/// Whom a packet names as its receivers; if it names nobody it is for everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destinations {
    identities: Vec<Box<str>>,
    sids: Vec<Box<str>>,
}

impl Destinations {
    /// Whether the participant with these names is one of them.
    pub fn contains(&self, sid: &str, identity: &str) -> bool {
        let names = |list: &[Box<str>], name: &str| list.binary_search_by(|entry| entry.as_ref().cmp(name)).is_ok();
        self.is_everybody() || names(&self.identities, identity) || names(&self.sids, sid)
    }

    /// Whether nobody is named.
    pub fn is_everybody(&self) -> bool {
        self.identities.is_empty() && self.sids.is_empty()
    }

    fn push(list: &mut Vec<Box<str>>, name: &[u8]) -> Result<(), Drop> {
        if list.len() >= MAX_DESTINATIONS {
            return Err(Drop::BadDataPacket);
        }
        list.push(text(name)?);
        Ok(())
    }

    fn sort(&mut self) {
        for list in [&mut self.identities, &mut self.sids] {
            list.sort_unstable();
            list.dedup();
        }
    }
}

/// Reads a packet and writes it as others are to have it: with the sender's real names, and the kind of its channel.
///
/// Fails with [`Drop::BadDataPacket`] where it is no packet or means different things to different readers (two values, a
/// known field of another type), and with [`Drop::NotPermitted`] for what this sender may not say: transcriptions unless it
/// is an agent, metrics and lists of speakers in any case, since those are between a client and its server.
pub fn admit(packet: &[u8], origin: &Origin<'_>, kind: Kind) -> Result<Envelope, Drop> {
    let seen = Seen::read(packet)?;
    let may_write_for_others = match seen.value {
        Some((packet::METRICS | packet::SPEAKER, _)) => return Err(Drop::NotPermitted),
        Some((packet::TRANSCRIPTION, _)) if !origin.is_agent => return Err(Drop::NotPermitted),
        Some((packet::TRANSCRIPTION | packet::CHAT, _)) => true,
        Some((packet::STREAM_HEADER, header)) => is_text(header)?,
        _ => false,
    };
    let named = seen.identity.filter(|&name| !name.is_empty() && name != origin.identity.as_bytes());
    let foreign = named.filter(|_| origin.is_agent && may_write_for_others);
    let (sid, identity) = if origin.is_hidden { ("", "") } else { (origin.sid, origin.identity) };

    let mut out = Vec::with_capacity(packet.len() + 2 * (sid.len() + identity.len()) + 32);
    let mut to = seen.to;
    if kind == Kind::Lossy {
        put_number(&mut out, packet::KIND, 1);
    }
    for field in Fields::of(packet) {
        let field = field?;
        match (field.number, field.value) {
            (packet::KIND | packet::IDENTITY | packet::SID, _) => {}
            (packet::USER, Value::Bytes(body)) => {
                put_bytes(&mut out, packet::USER, &rewrite_user(body, sid, identity, &mut to)?);
            }
            (packet::CHAT, Value::Bytes(body)) if foreign.is_some() => {
                put_bytes(&mut out, packet::CHAT, &with_flag(body, CHAT_GENERATED)?);
            }
            (packet::STREAM_HEADER, Value::Bytes(body)) if foreign.is_some() => {
                put_bytes(&mut out, packet::STREAM_HEADER, &with_generated_text(body)?);
            }
            _ => out.extend_from_slice(field.raw),
        }
    }
    put_text(&mut out, packet::IDENTITY, foreign.unwrap_or(identity.as_bytes()));
    put_text(&mut out, packet::SID, sid.as_bytes());
    to.sort();
    Ok(Envelope { packet: out.into(), sequence: seen.sequence, to, reply_to: seen.reply_to })
}

/// What a packet says, before anything is believed.
#[derive(Default)]
struct Seen<'a> {
    /// The number and the bytes of what it carries; none for what is newer than this code.
    value: Option<(u32, &'a [u8])>,
    identity: Option<&'a [u8]>,
    sequence: u32,
    to: Destinations,
    reply_to: Option<Box<str>>,
}

impl<'a> Seen<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Drop> {
        let mut seen = Self::default();
        for field in Fields::of(bytes) {
            let Field { number, value, .. } = field?;
            match (number, value) {
                (packet::KIND, Value::Varint(_)) | (packet::SID, Value::Bytes(_)) => {}
                (packet::IDENTITY, Value::Bytes(name)) => seen.identity = Some(name),
                (packet::DESTINATION, Value::Bytes(name)) => Destinations::push(&mut seen.to.identities, name)?,
                (packet::SEQUENCE, Value::Varint(number)) => {
                    seen.sequence = u32::try_from(number).map_err(|_| Drop::BadDataPacket)?;
                }
                // Readers keep the last of several values, or mix them: nobody who means well sends two.
                (number, Value::Bytes(body)) if is_value(number) && seen.value.is_none() => {
                    seen.value = Some((number, body));
                    if matches!(number, packet::RPC_ACK | packet::RPC_RESPONSE) {
                        seen.reply_to = request_id(body)?;
                    }
                }
                (number, _) if is_value(number) || is_address(number) => return Err(Drop::BadDataPacket),
                _ => {}
            }
        }
        Ok(seen)
    }
}

/// Whether a field is one of the known members of `DataPacket.value`.
fn is_value(number: u32) -> bool {
    matches!(number, packet::USER | packet::SPEAKER | packet::SIP_DTMF..=packet::STREAM_TRAILER | packet::ENCRYPTED)
}

/// Whether a field says from whom, to whom or how.
fn is_address(number: u32) -> bool {
    matches!(number, packet::KIND | packet::IDENTITY | packet::DESTINATION | packet::SEQUENCE | packet::SID)
}

/// The user packet with its sender's real names; whom it names as receivers is added to `to`.
fn rewrite_user(body: &[u8], sid: &str, identity: &str, to: &mut Destinations) -> Result<Vec<u8>, Drop> {
    let mut out = Vec::with_capacity(body.len() + sid.len() + identity.len() + 8);
    for field in Fields::of(body) {
        let field = field?;
        match (field.number, field.value) {
            (user::SID | user::IDENTITY, Value::Bytes(_)) => continue,
            (user::DESTINATION_SID, Value::Bytes(name)) => Destinations::push(&mut to.sids, name)?,
            (user::DESTINATION, Value::Bytes(name)) => Destinations::push(&mut to.identities, name)?,
            (user::SID | user::IDENTITY | user::DESTINATION_SID | user::DESTINATION, _) => {
                return Err(Drop::BadDataPacket);
            }
            _ => {}
        }
        out.extend_from_slice(field.raw);
    }
    put_text(&mut out, user::SID, sid.as_bytes());
    put_text(&mut out, user::IDENTITY, identity.as_bytes());
    Ok(out)
}

/// A message with one of its flags set.
fn with_flag(body: &[u8], flag: u32) -> Result<Vec<u8>, Drop> {
    let mut out = Vec::with_capacity(body.len() + 2);
    for field in Fields::of(body) {
        let field = field?;
        if field.number != flag {
            out.extend_from_slice(field.raw);
        }
    }
    put_number(&mut out, flag, 1);
    Ok(out)
}

/// A stream header whose text is marked as not written by a human.
fn with_generated_text(body: &[u8]) -> Result<Vec<u8>, Drop> {
    let mut out = Vec::with_capacity(body.len() + 4);
    for field in Fields::of(body) {
        let field = field?;
        match (field.number, field.value) {
            (TEXT_HEADER, Value::Bytes(text)) => {
                put_bytes(&mut out, TEXT_HEADER, &with_flag(text, TEXT_GENERATED)?);
            }
            _ => out.extend_from_slice(field.raw),
        }
    }
    Ok(out)
}

/// Whether a stream header announces text, not a file.
fn is_text(header: &[u8]) -> Result<bool, Drop> {
    let mut is_text = false;
    for field in Fields::of(header) {
        is_text |= field?.number == TEXT_HEADER;
    }
    Ok(is_text)
}

/// Which request an acknowledgement or a response is about.
fn request_id(body: &[u8]) -> Result<Option<Box<str>>, Drop> {
    let mut id = None;
    for field in Fields::of(body) {
        if let Field { number: REQUEST_ID, value: Value::Bytes(bytes), .. } = field? {
            id = Some(text(bytes)?);
        }
    }
    Ok(id)
}

fn text(bytes: &[u8]) -> Result<Box<str>, Drop> {
    core::str::from_utf8(bytes).map(Box::from).map_err(|_| Drop::BadDataPacket)
}

impl From<Malformed> for Drop {
    fn from(_: Malformed) -> Self {
        Self::BadDataPacket
    }
}

#[cfg(test)]
mod tests;
