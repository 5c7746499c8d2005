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
    /// When the datagram was received.
    pub arrived_at: Time,
    /// The header as it lies in the bytes (of a retransmission: as the original would have had it).
    pub header: Header,
    /// Where the known header extensions lie in the bytes.
    pub extensions: Extensions,
    /// What the payload says about its frame.
    pub descriptor: Descriptor,
}

impl Packet {
    /// The payload within the packet's bytes.
    pub fn payload<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        let start = usize::from(self.header.payload_offset);
        bytes.get(start..start + usize::from(self.header.payload_len)).unwrap_or(&[])
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::payload::Detail;
    use crate::units::{Pt, Ssrc};

    /// A packet of nothing, for tests that only move packets.
    pub(crate) fn blank() -> Packet {
        Packet {
            encoding: 0,
            seq: SeqNo::first(0),
            arrived_at: Time::ZERO,
            header: Header {
                marker: false,
                payload_type: Pt(96),
                sequence_number: 0,
                timestamp: 0,
                ssrc: Ssrc(1),
                extension_profile: 0,
                extension_offset: 12,
                extension_len: 0,
                payload_offset: 12,
                payload_len: 0,
                padding_len: 0,
            },
            extensions: Extensions::NONE,
            descriptor: Descriptor {
                frame_start: true,
                frame_end: true,
                keyframe: false,
                spatial: 0,
                temporal: 0,
                temporal_switch: false,
                spatial_switch: false,
                inter_layer: false,
                detail: Detail::None,
            },
        }
    }
}
