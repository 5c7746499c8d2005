//! Messages in a stream (RFC 8656 §3.6 and §12.5): both kinds say how long they are; channel data is padded to four bytes.

/// The longest message taken: more than fits a datagram of any network is no relayed packet.
pub(crate) const MAX_MESSAGE: usize = 4096;

/// What lies at the beginning of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A message of so many bytes, with padding behind it up to the second number.
    Whole(usize, usize),
    /// Its rest is still to come.
    Partial,
    /// No TURN: where it ends cannot be told.
    Unframed,
}

/// Looks at the beginning of a stream.
pub(crate) fn frame(stream: &[u8]) -> Frame {
    let &[first, _, high, low, ..] = stream else { return Frame::Partial };
    let announced = usize::from(u16::from_be_bytes([high, low]));
    let (len, padded) = match first >> 6 {
        0 => (announced + 20, announced + 20),
        1 => (announced + 4, (announced + 4).next_multiple_of(4)),
        _ => return Frame::Unframed,
    };
    if padded > MAX_MESSAGE {
        Frame::Unframed
    } else if stream.len() < padded {
        Frame::Partial
    } else {
        Frame::Whole(len, padded)
    }
}

/// How many zeros follow a message that is sent in a stream.
pub(crate) fn padding(message: &[u8]) -> usize {
    message.len().next_multiple_of(4) - message.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_long_as_they_say() {
        let mut stun = [0; 28];
        stun[3] = 8;
        assert_eq!(frame(&stun), Frame::Whole(28, 28));
        assert_eq!(frame(&stun[..27]), Frame::Partial);
        assert_eq!(frame(&[]), Frame::Partial);
    }

    #[test]
    fn channel_data_is_padded() {
        let data = [0x40, 0, 0, 1, 7, 0, 0, 0, 0x40];
        assert_eq!(frame(&data), Frame::Whole(5, 8));
        assert_eq!(frame(&data[..5]), Frame::Partial);
        assert_eq!(padding(&data[..5]), 3);
        assert_eq!(padding(&data[..8]), 0);
    }

    #[test]
    fn anything_else_cannot_be_told_apart() {
        assert_eq!(frame(b"GET / HTTP/1.1"), Frame::Unframed);
        assert_eq!(frame(&[0x80, 0, 0, 0]), Frame::Unframed);
        assert_eq!(frame(&[0x40, 0, 0xff, 0xff]), Frame::Unframed);
    }
}
