//! One received packet, after SRTP and RTX were undone. From here on it is immutable and shared by all its senders.

use crate::payload::Descriptor;
use crate::rtp::{Extensions, Header};
use crate::time::Time;
use crate::units::SeqNo;

/// What is known of one received packet; its bytes lie beside it in the router's packet store, header first, in the clear.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// Which encoding of the track, an index into `ReceiverParameters::encodings`.
    pub encoding: u8,
    /// The extended sequence number in the original stream, retransmissions undone.
    pub seq: SeqNo,
    /// Whether a newer one of its encoding had come before it.
    pub is_late: bool,
    /// When the datagram was received.
    pub arrived_at: Time,
    /// How long the kernel had held it then, in nanoseconds.
    pub waited_ns: u32,
    /// The header as it lies in the bytes (of a retransmission: as the original would have had it).
    pub header: Header,
    /// Where the known header extensions lie in the bytes.
    pub extensions: Extensions,
    /// What the payload says about its frame.
    pub descriptor: Descriptor,
}

impl Packet {
    /// A packet of nothing, to be overwritten.
    pub const BLANK: Self = Self {
        encoding: 0,
        seq: SeqNo::first(0),
        is_late: false,
        arrived_at: Time::ZERO,
        waited_ns: 0,
        header: Header::BLANK,
        extensions: Extensions::NONE,
        descriptor: Descriptor::OPAQUE,
    };

    /// When it reached this machine, as far as the kernel says.
    pub fn kernel_had_it_at(&self) -> Time {
        Time::from_nanos(self.arrived_at.as_nanos().saturating_sub(u64::from(self.waited_ns)))
    }

    /// The payload within the packet's bytes.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.header.payload_offset);
        bytes.get(start..start + usize::from(self.header.payload_len)).unwrap_or(&[])
    }
}
