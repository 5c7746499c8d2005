//! Which protocol a datagram speaks: STUN, DTLS, RTP and RTCP share one port (RFC 7983, RFC 9443, RFC 5761).

use crate::drop::Drop;

/// The protocols that share a transport's port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// RFC 8489; the only one a stranger may speak.
    Stun,
    /// RFC 6347, RFC 9147.
    Dtls,
    /// RTP, under SRTP (RFC 3550, RFC 3711).
    Rtp,
    /// RTCP, under SRTCP (RFC 3550, RFC 3711).
    Rtcp,
}

/// The message header (RFC 8489 §5).
const STUN_MIN: usize = 20;
/// The record header of DTLS 1.2 (RFC 6347 §4.1). The shortest record of DTLS 1.3 has a shorter header, but never less
/// than 16 bytes of ciphertext behind it (RFC 9147 §4.2.3).
const DTLS_MIN: usize = 13;
/// The fixed header (RFC 3550 §5.1).
const RTP_MIN: usize = 12;
/// The common header and one SSRC, in the clear even under SRTCP (RFC 3711 §3.4).
const RTCP_MIN: usize = 8;

/// Tells a datagram's protocol by its first byte, and RTP from RTCP by its second.
///
/// Fails with [`Drop::UnknownProtocol`] for what this core does not speak (ZRTP, TURN channels, QUIC) and for an empty
/// datagram; with the protocol's own `Bad…` for one shorter than the protocol's header. RTCP is what has 192 to 223 as its
/// second byte: payload types 64 to 95 with the marker set, which nobody may negotiate beside RTCP (RFC 5761 §4).
#[inline]
pub fn classify(datagram: &[u8]) -> Result<Protocol, Drop> {
    let Some(&first) = datagram.first() else { return Err(Drop::UnknownProtocol) };
    let (protocol, min, short) = match first {
        128..=191 => match datagram.get(1) {
            Some(192..=223) => (Protocol::Rtcp, RTCP_MIN, Drop::BadRtcp),
            _ => (Protocol::Rtp, RTP_MIN, Drop::BadRtp),
        },
        0..=3 => (Protocol::Stun, STUN_MIN, Drop::BadStun),
        20..=63 => (Protocol::Dtls, DTLS_MIN, Drop::BadDtls),
        // 16 to 19 ZRTP, 64 to 79 TURN channels, 80 to 127 and 192 to 255 QUIC (RFC 9443 §2).
        _ => return Err(Drop::UnknownProtocol),
    };
    if datagram.len() < min { Err(short) } else { Ok(protocol) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A datagram of `len` bytes that begins with these two.
    fn datagram(first: u8, second: u8, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len.max(2)];
        bytes[0] = first;
        bytes[1] = second;
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn every_first_byte_has_its_protocol() {
        for first in 0..=255 {
            let expected = match first {
                0..=3 => Ok(Protocol::Stun),
                20..=63 => Ok(Protocol::Dtls),
                128..=191 => Ok(Protocol::Rtp),
                _ => Err(Drop::UnknownProtocol),
            };
            assert_eq!(classify(&datagram(first, 96, 20)), expected, "first byte {first}");
        }
    }

    #[test]
    fn the_second_byte_tells_rtcp_from_rtp() {
        for second in 0..=255 {
            let expected = if (192..=223).contains(&second) { Protocol::Rtcp } else { Protocol::Rtp };
            assert_eq!(classify(&datagram(0x80, second, 20)), Ok(expected), "second byte {second}");
        }
    }

    #[test]
    fn each_protocol_has_its_shortest_datagram() {
        for (first, second, min, short) in [
            (0, 1, 20, Drop::BadStun),
            (22, 254, 13, Drop::BadDtls),
            (0x80, 96, 12, Drop::BadRtp),
            (0x80, 200, 8, Drop::BadRtcp),
        ] {
            assert!(classify(&datagram(first, second, min)).is_ok());
            assert_eq!(classify(&datagram(first, second, min - 1)), Err(short));
        }
        assert_eq!(classify(&[]), Err(Drop::UnknownProtocol));
        assert_eq!(classify(&[0x80]), Err(Drop::BadRtp));
    }
}
