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
//! The hellos of Chromium 156 and GStreamer 1.22 were recorded; the rest is what sources and published hellos say. A browser
//! that changed one of the habits would still connect, only at the other engine's price. A client with BoringSSL or Pion and
//! an RSA certificate looks like all others of its kind, and fails.

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

#[cfg(test)]
mod tests {
    use super::*;

    /// A ClientHello with these suites and extensions.
    fn message(suites: &[u16], extensions: &[(u16, &[u8])]) -> Vec<u8> {
        let short = |len: usize| u16::try_from(len).unwrap().to_be_bytes();
        let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        let mut block = Vec::new();
        for (kind, content) in extensions {
            block.extend([kind.to_be_bytes(), short(content.len())].concat());
            block.extend(*content);
        }
        let (no_session, no_cookie, no_compression) = (&[0][..], &[0][..], &[1, 0][..]);
        let head = [&[254, 253][..], &[7; 32], no_session, no_cookie, &short(suites.len()), &suites, no_compression];
        [head.concat(), short(block.len()).to_vec(), block].concat()
    }

    /// A record with one part of it.
    fn record(message: &[u8], from: usize, to: usize) -> Vec<u8> {
        let to = to.min(message.len());
        let number = |number: usize| u32::try_from(number).unwrap().to_be_bytes()[1..].to_vec();
        let header = [vec![CLIENT_HELLO], number(message.len()), vec![0, 0], number(from), number(to - from)].concat();
        let len = u16::try_from(header.len() + to - from).unwrap().to_be_bytes();
        [&[HANDSHAKE_RECORD, 254, 255, 0, 0, 0, 0, 0, 0, 0, 0][..], &len, &header, &message[from..to]].concat()
    }

    fn whole(message: &[u8]) -> Heard {
        Hello::default().hear(&record(message, 0, message.len()))
    }

    const GROUPS: (u16, &[u8]) = (10, &[0, 4, 0, 29, 0, 23]);
    const ONE_FORMAT: (u16, &[u8]) = (EC_POINT_FORMATS, &[1, 0]);
    const THREE_FORMATS: (u16, &[u8]) = (EC_POINT_FORMATS, &[3, 0, 1, 2]);
    const ETM: (u16, &[u8]) = (ENCRYPT_THEN_MAC, &[]);
    const RENEGOTIATION: (u16, &[u8]) = (0xff01, &[0]);

    #[test]
    fn each_habit_makes_a_stranger() {
        let browser = message(&[0xc02b, 0xc02f], &[GROUPS, ONE_FORMAT, RENEGOTIATION]);
        assert_eq!(whole(&browser), Heard::EcdsaStack);
        for (library, suites, extensions) in [
            ("OpenSSL 3", &[0xc02b, 0x00ff][..], &[THREE_FORMATS, GROUPS, ETM][..]),
            ("OpenSSL that tells renegotiation by extension", &[0xc02b], &[RENEGOTIATION, THREE_FORMATS, GROUPS, ETM]),
            ("OpenSSL without formats", &[0xc02b], &[RENEGOTIATION, GROUPS, ETM]),
            ("OpenSSL 1.0.2", &[0xc02b, 0x00ff], &[THREE_FORMATS, GROUPS]),
            ("LibreSSL", &[0xc02b, 0x00ff], &[ONE_FORMAT, GROUPS]),
            ("GnuTLS", &[0xc02b], &[ONE_FORMAT, GROUPS, ETM, RENEGOTIATION]),
            ("mbedTLS", &[0xc02b, 0x00ff], &[ONE_FORMAT, GROUPS, ETM]),
            ("one that we cannot place", &[0xc02b], &[GROUPS]),
        ] {
            assert_eq!(whole(&message(suites, extensions)), Heard::OtherStack, "{library}");
        }
    }

    #[test]
    fn parts_are_put_together_in_any_order() {
        let browser = message(&[0xc02b; 100], &[GROUPS, ONE_FORMAT, RENEGOTIATION]);
        let parts: Vec<_> = (0..browser.len()).step_by(60).map(|from| record(&browser, from, from + 60)).collect();
        let (last, others) = parts.split_last().unwrap();
        for is_reversed in [false, true] {
            let mut hello = Hello::default();
            let mut order: Vec<_> = others.iter().collect();
            if is_reversed {
                order.reverse();
            }
            for part in order {
                // Twice: the network may do that.
                assert_eq!((hello.hear(part), hello.hear(part)), (Heard::NotEnough, Heard::NotEnough));
            }
            assert_eq!(hello.hear(last), Heard::EcdsaStack);
            assert_eq!(hello.take_datagrams().len(), 2 * others.len() + 1);
        }
        assert_eq!(Hello::default().hear(&parts.concat()), Heard::EcdsaStack, "all in one datagram");
    }

    #[test]
    fn what_is_no_hello_is_not_kept() {
        let browser = message(&[0xc02b], &[GROUPS, ONE_FORMAT]);
        let good = record(&browser, 0, browser.len());
        let mut hello = Hello::default();
        for at in [0, 4, 13] {
            // Not a handshake, of a later epoch, another message.
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(hello.hear(&bad), Heard::NotEnough);
        }
        for len in 0..good.len() {
            assert_eq!(hello.hear(&good[..len]), Heard::NotEnough);
        }
        assert!(hello.take_datagrams().is_empty());
    }

    #[test]
    fn patience_has_a_bound() {
        let endless = message(&[0xc02b; 3000], &[ONE_FORMAT]);
        let mut hello = Hello::default();
        let part = record(&endless, 0, 1000);
        for _ in 0..MAX_KEPT / part.len() {
            assert_eq!(hello.hear(&part), Heard::NotEnough);
        }
        assert_eq!(hello.hear(&part), Heard::OtherStack);
        assert!(hello.take_datagrams().concat().len() < MAX_KEPT + 1100);
        assert_eq!(whole(&message(&[0xc02b; 5000], &[ONE_FORMAT])), Heard::OtherStack, "too long");
        assert_eq!(whole(&[0; 50]), Heard::OtherStack, "unreadable");
    }
}
