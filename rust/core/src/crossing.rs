//! What one worker tells another: values, never handles, so that the same words work between machines.

use bytes::Bytes;

use crate::data::HubCrossing;
use crate::ice::Path;
use crate::id::{HubId, ReceiverId, TransportId};
use crate::packet::Packet;
use crate::receive::ClockMap;
use crate::store::MAX_PACKET;

/// A packet or a datagram with its bytes. Boxes travel back empty, so that a steady stream allocates nothing.
pub struct Parcel {
    len: u16,
    bytes: [u8; MAX_PACKET],
}

impl Parcel {
    /// A parcel of nothing.
    pub fn empty() -> Box<Self> {
        Box::new(Self { len: 0, bytes: [0; MAX_PACKET] })
    }

    /// Packs `bytes`; more than [`MAX_PACKET`] are cut off.
    pub fn pack(&mut self, bytes: &[u8]) {
        let len = bytes.len().min(MAX_PACKET);
        if let (Some(out), Some(bytes)) = (self.bytes.get_mut(..len), bytes.get(..len)) {
            out.copy_from_slice(bytes);
        }
        self.len = u16::try_from(len).unwrap_or(0);
    }

    /// What was packed.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

/// One value on its way to another worker.
pub enum Crossing {
    /// A track's packet, for a worker with followers: the payload is copied once per worker, then fanned out there.
    Packet {
        /// Of which track.
        receiver: ReceiverId,
        /// What is known of it.
        packet: Box<Packet>,
        /// Its bytes.
        parcel: Box<Parcel>,
    },
    /// A parcel that was emptied, going home.
    Emptied(Box<Packet>, Box<Parcel>),
    /// A datagram that the kernel gave to the wrong worker.
    Datagram {
        /// From where to where.
        path: Path,
        /// Says nothing: the pair stays together, so that it can come home.
        packet: Box<Packet>,
        /// Its bytes.
        parcel: Box<Parcel>,
    },
    /// From now on (or no longer) datagrams on this path belong to the worker that says so.
    Claim {
        /// The path.
        path: Path,
        /// Claimed, not given up.
        is_claimed: bool,
    },
    /// The worker that says so has followers of this track, or no longer has any.
    Follow {
        /// Which track.
        receiver: ReceiverId,
        /// Whether it has.
        is_following: bool,
    },
    /// A follower needs a keyframe.
    Keyframe {
        /// Of which track.
        receiver: ReceiverId,
        /// Which encoding.
        encoding: u8,
    },
    /// The publisher's clock, from its sender report, or that it is not known any more.
    Clock {
        /// Of which track.
        receiver: ReceiverId,
        /// Which encoding.
        encoding: u8,
        /// The clock.
        clock: Option<ClockMap>,
    },
    /// How many encodings a track has and in what codecs it may come: told to new followers.
    Shape {
        /// Of which track.
        receiver: ReceiverId,
        /// As negotiated with the publisher.
        parameters: Box<crate::parameters::ReceiverParameters>,
    },
    /// The track is gone.
    Gone {
        /// Which.
        receiver: ReceiverId,
    },
    /// Messages of `source` are wanted (or no longer wanted) by a peer of the worker that says so.
    FollowData {
        /// Whose messages.
        source: TransportId,
        /// Who wants them.
        transport: TransportId,
        /// Whether they are wanted.
        is_following: bool,
    },
    /// Something said in a hub with members of the worker it goes to.
    Hub(HubId, HubCrossing),
    /// A data channel message for a peer of the worker it goes to.
    Data {
        /// Who gets it.
        transport: TransportId,
        /// On which channel.
        label: std::sync::Arc<str>,
        /// Binary or text.
        is_binary: bool,
        /// The message.
        payload: Bytes,
    },
}
