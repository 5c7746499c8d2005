//! Who is asking? A client's TLS library, told by its ClientHello (RFC 5246 §7.4.1.2, RFC 6347 §4.2).
//!
//! A ClientHello does not say what kind of certificate the client will show, but the libraries give themselves away. Those of
//! browsers make ECDSA certificates unless a page asks for something else; what is built on OpenSSL and its like (GStreamer,
//! aiortc, embedded devices) may have any. Three habits, each of which alone makes a stranger of a client:
//!
//! | | point formats (RFC 8422 §5.1.2) | encrypt-then-MAC (RFC 7366) | renegotiation (RFC 5746) told by |
//! |---|---|---|---|
//! | BoringSSL (Chromium 156, Safari), NSS (Firefox), Pion, dimpl | uncompressed | never | the extension, or not at all |
//! | OpenSSL 3.0 (GStreamer 1.22, aiortc) | three | yes | the cipher suite |
//! | OpenSSL 1.0.2 | three | no | the cipher suite |
//! | LibreSSL | uncompressed | never | the cipher suite |
//! | GnuTLS | uncompressed | yes | the extension |
//! | mbedTLS | uncompressed | yes | the cipher suite |
//!
//! A browser that changed one of them would still connect, only at the other engine's price. A client with BoringSSL or Pion
//! and an RSA certificate looks like all others of its kind, and fails.

/// The longest ClientHello that is listened to: with a post-quantum key share it has some 1600 bytes.
const MAX_HELLO: usize = 8192;

/// How much is kept of a client that takes its time, repetitions included.
const MAX_KEPT: usize = 2 * MAX_HELLO;

const RECORD_HEADER: usize = 13;
const MESSAGE_HEADER: usize = 12;
const HANDSHAKE_RECORD: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const UNCOMPRESSED_ONLY: [u8; 2] = [1, 0];
const RENEGOTIATION_SUITE: u16 = 0x00ff;
const EC_POINT_FORMATS: u16 = 11;
const ENCRYPT_THEN_MAC: u16 = 22;

/// What the datagrams so far say of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// No ClientHello, or only a part of one.
    NotEnough,
    /// A library of those that make ECDSA certificates.
    EcdsaStack,
    /// Any other.
    OtherStack,
}

/// The datagrams that brought the ClientHello so far, for the engine that will answer them.
#[derive(Default)]
pub(super) struct Hello {
    datagrams: Vec<Vec<u8>>,
}

impl Hello {
    /// Takes a datagram of the client; one without a part of a ClientHello is not kept.
    pub(super) fn hear(&mut self, datagram: &[u8]) -> Heard {
        let Some(total) = fragments(datagram).map(|fragment| fragment.total).next() else { return Heard::NotEnough };
        self.datagrams.push(datagram.to_vec());
        let kept: usize = self.datagrams.iter().map(Vec::len).sum();
        if total > MAX_HELLO || kept > MAX_KEPT {
            return Heard::OtherStack;
        }
        match self.assemble(total) {
            None => Heard::NotEnough,
            Some(message) if has_browser_habits(&message).unwrap_or(false) => Heard::EcdsaStack,
            Some(_) => Heard::OtherStack,
        }
    }

    /// Hands out what was kept, in the order it came.
    pub(super) fn take_datagrams(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.datagrams)
    }

    /// The whole message of this length, if every part of it has come, in whatever order.
    fn assemble(&self, total: usize) -> Option<Vec<u8>> {
        let mut message = Vec::new();
        loop {
            let before = message.len();
            for fragment in self.datagrams.iter().flat_map(|datagram| fragments(datagram)) {
                let news = message.len().checked_sub(fragment.offset).and_then(|known| fragment.bytes.get(known..));
                if fragment.total == total {
                    message.extend_from_slice(news.unwrap_or(&[]));
                }
            }
            if message.len() >= total {
                return Some(message);
            }
            if message.len() == before {
                return None;
            }
        }
    }
}

/// A part of a ClientHello.
struct Fragment<'a> {
    total: usize,
    offset: usize,
    bytes: &'a [u8],
}

/// The parts of a ClientHello in a datagram; ends at the first record that is not one.
fn fragments(mut datagram: &[u8]) -> impl Iterator<Item = Fragment<'_>> {
    let mut record: &[u8] = &[];
    std::iter::from_fn(move || {
        if record.is_empty() {
            let header = take(&mut datagram, RECORD_HEADER)?;
            record = take(&mut datagram, number(header.get(11..)?))?;
            if header.first() != Some(&HANDSHAKE_RECORD) || number(header.get(3..5)?) != 0 {
                return None;
            }
        }
        let header = take(&mut record, MESSAGE_HEADER)?;
        let bytes = take(&mut record, number(header.get(9..)?))?;
        let (total, offset) = (number(header.get(1..4)?), number(header.get(6..9)?));
        let is_hello = header.first() == Some(&CLIENT_HELLO) && offset + bytes.len() <= total;
        is_hello.then_some(Fragment { total, offset, bytes })
    })
}

/// Whether a ClientHello was written by one of the libraries that make ECDSA certificates; none if it cannot be read.
fn has_browser_habits(message: &[u8]) -> Option<bool> {
    let mut rest = message.get(34..)?; // version, random
    vector(&mut rest, 1)?; // session
    vector(&mut rest, 1)?; // cookie
    let suites = vector(&mut rest, 2)?;
    vector(&mut rest, 1)?; // compression
    let mut extensions = vector(&mut rest, 2)?;
    let mut is_uncompressed_only = false;
    while !extensions.is_empty() {
        let kind = u16::try_from(number(take(&mut extensions, 2)?)).ok()?;
        let content = vector(&mut extensions, 2)?;
        match kind {
            EC_POINT_FORMATS => is_uncompressed_only = content == UNCOMPRESSED_ONLY,
            ENCRYPT_THEN_MAC => return Some(false),
            _ => {}
        }
    }
    Some(is_uncompressed_only && !suites.chunks_exact(2).any(|suite| suite == RENEGOTIATION_SUITE.to_be_bytes()))
}

/// Takes a vector whose length stands before it in so many bytes.
fn vector<'a>(input: &mut &'a [u8], length_bytes: usize) -> Option<&'a [u8]> {
    let len = number(take(input, length_bytes)?);
    take(input, len)
}

fn take<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(taken)
}

/// A number of at most three bytes, most significant first.
fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, &byte| (number << 8) | usize::from(byte))
}
