//! The data channel establishment protocol (RFC 8832): two messages.

use crate::drop::Drop;

const OPEN: u8 = 0x03;

/// DATA_CHANNEL_ACK, whole (RFC 8832 §5.2).
pub const ACK: [u8; 1] = [0x02];

/// The longest label or protocol name that is accepted; browsers allow 65535 bytes, nobody uses 200.
const MAX_NAME: usize = 1024;

/// How long a channel tries to deliver a message (RFC 8832 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reliability {
    /// Until it arrives.
    Reliable,
    /// So many retransmissions.
    Retransmits(u32),
    /// So many milliseconds.
    Lifetime(u32),
}

/// What a channel is opened with (RFC 8832 §5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The name the application knows it by.
    pub label: String,
    /// The subprotocol; mostly empty.
    pub protocol: String,
    /// Messages arrive in the order they were sent.
    pub is_ordered: bool,
    /// When to give up.
    pub reliability: Reliability,
    /// Priority; 256 is normal (RFC 8831 §6.4).
    pub priority: u16,
}

impl Open {
    /// An ordered or unordered channel of normal priority.
    pub fn new(label: &str, is_ordered: bool, reliability: Reliability) -> Self {
        Self { label: label.into(), protocol: String::new(), is_ordered, reliability, priority: 256 }
    }

    /// Reads a DATA_CHANNEL_OPEN message.
    pub fn parse(message: &[u8]) -> Result<Self, Drop> {
        let bad = Drop::BadDataChannel;
        let (head, names) = message.split_first_chunk::<12>().ok_or(bad)?;
        let &[kind, channel_type, p0, p1, r0, r1, r2, r3, l0, l1, n0, n1] = head;
        if kind != OPEN {
            return Err(bad);
        }
        let value = u32::from_be_bytes([r0, r1, r2, r3]);
        let reliability = match channel_type & 0x7F {
            0 => Reliability::Reliable,
            1 => Reliability::Retransmits(value),
            2 => Reliability::Lifetime(value),
            _ => return Err(bad),
        };
        let label_len = usize::from(u16::from_be_bytes([l0, l1]));
        let protocol_len = usize::from(u16::from_be_bytes([n0, n1]));
        if label_len > MAX_NAME || protocol_len > MAX_NAME {
            return Err(bad);
        }
        let (label, rest) = names.split_at_checked(label_len).ok_or(bad)?;
        let protocol = rest.get(..protocol_len).ok_or(bad)?;
        Ok(Self {
            label: String::from_utf8(label.to_vec()).map_err(|_| bad)?,
            protocol: String::from_utf8(protocol.to_vec()).map_err(|_| bad)?,
            is_ordered: channel_type & 0x80 == 0,
            reliability,
            priority: u16::from_be_bytes([p0, p1]),
        })
    }

    /// Writes a DATA_CHANNEL_OPEN message.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (kind, value) = match self.reliability {
            Reliability::Reliable => (0, 0),
            Reliability::Retransmits(count) => (1, count),
            Reliability::Lifetime(millis) => (2, millis),
        };
        let len = |name: &str| u16::try_from(name.len().min(MAX_NAME)).unwrap_or(0).to_be_bytes();
        let name = |name: &str| name.as_bytes().get(..name.len().min(MAX_NAME)).unwrap_or(&[]).to_vec();
        let mut bytes = vec![OPEN, kind | if self.is_ordered { 0 } else { 0x80 }];
        bytes.extend(self.priority.to_be_bytes());
        bytes.extend(value.to_be_bytes());
        bytes.extend(len(&self.label));
        bytes.extend(len(&self.protocol));
        bytes.extend(name(&self.label));
        bytes.extend(name(&self.protocol));
        bytes
    }
}

/// Whether a DCEP message is the acknowledgement.
pub fn is_ack(message: &[u8]) -> bool {
    message == ACK
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_survives_the_wire() {
        for reliability in [Reliability::Reliable, Reliability::Retransmits(0), Reliability::Lifetime(150)] {
            for is_ordered in [true, false] {
                let mut open = Open::new("_lossy", is_ordered, reliability);
                open.protocol = "chat".into();
                assert_eq!(Open::parse(&open.to_bytes()), Ok(open));
            }
        }
    }

    #[test]
    fn lying_lengths_are_refused() {
        let bytes = Open::new("label", true, Reliability::Reliable).to_bytes();
        for cut in 0..bytes.len() {
            assert_eq!(Open::parse(&bytes[..cut]), Err(Drop::BadDataChannel));
        }
        let mut unknown = bytes;
        unknown[1] = 3;
        assert_eq!(Open::parse(&unknown), Err(Drop::BadDataChannel));
    }
}
