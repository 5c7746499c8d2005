//! A room's exchange of data: who hears what a member says, and what those who come late are told of it.
//!
//! ```text
//!  data channel of a member ─ Hub::accept ─ envelope::admit ─┬─ Hub::recipients ─ data channels of the members here
//!                                                            └─ once to each other worker with members ─ the same there
//! ```
//!
//! A member lives on one worker with both its transports. Every worker with members keeps a [`Hub`] of its own: it knows its
//! members by name and those of other workers by number, which is enough to know where to send. The owner tells all workers of
//! every member before it tells anybody else, so that nothing which is said in answer to a member's coming can miss it.
//!
//! Channels go by label: [`Label::Reliable`] and [`Label::Lossy`] carry LiveKit's data packets, [`Label::Track`] the packets
//! of its data tracks, all others whatever their users like, which goes on unchanged.

pub mod envelope;
mod hub;
mod recent;
mod wire;

use std::sync::Arc;

use bytes::Bytes;

pub use self::envelope::Destinations;
pub use self::hub::Hub;
pub(crate) use self::hub::{Taken, with_handle};
use crate::id::{DataTrackId, MemberId, TransportId};

/// How many members a hub has on all workers together: more than the largest room that was ever asked for.
pub const MAX_MEMBERS: usize = 10_000;

/// Which channel a message comes and goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// Data packets that arrive, in order.
    Reliable,
    /// Data packets that arrive at once or not at all.
    Lossy,
    /// Packets of data tracks.
    Track,
    /// Anything else.
    Other(Box<str>),
}

impl Label {
    /// The kind of channel with this label.
    pub fn new(label: &str) -> Self {
        match label {
            "_reliable" => Self::Reliable,
            "_lossy" => Self::Lossy,
            "_data_track" => Self::Track,
            other => Self::Other(other.into()),
        }
    }

    /// As the channel has it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Reliable => "_reliable",
            Self::Lossy => "_lossy",
            Self::Track => "_data_track",
            Self::Other(label) => label,
        }
    }
}

/// Whom a message is for. Never for who said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Those whom the packet names, or everybody.
    Named(Destinations),
    /// These, in ascending order.
    Members(Box<[MemberId]>),
}

/// What a member or the owner said: one value, shared by all who hear it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Who said it; none is the owner.
    pub from: Option<MemberId>,
    /// On which channel.
    pub label: Label,
    /// Binary or text.
    pub is_binary: bool,
    /// The bytes.
    pub payload: Bytes,
    /// For whom.
    pub to: Audience,
}

/// A member's names, which do not change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// Its participant sid.
    pub sid: Box<str>,
    /// Its identity.
    pub identity: Box<str>,
}

/// What a member may do, and how it appears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// What it says goes on.
    pub may_publish: bool,
    /// Nobody is told who says it.
    pub is_hidden: bool,
    /// It may write in the name of others.
    pub is_agent: bool,
}

/// Which transport a member is to have from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The one it has.
    Keep,
    /// This one, or none.
    Set(Option<TransportId>),
}

/// Which member of which hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    pub(crate) hub: crate::id::HubId,
    pub(crate) member: MemberId,
}

/// What the owner asks of a hub. Said to all workers where nothing else is said.
pub enum HubCommand {
    /// There is such a hub.
    Open,
    /// There is no more.
    Close,
    /// A member; to its own worker.
    AddMember {
        /// Its name from now on.
        member: MemberId,
        /// As others know it.
        names: Names,
        /// What it may do.
        rights: Rights,
    },
    /// There is a member on another worker; to all workers but its own.
    AddElsewhere(MemberId),
    /// There is no such member any more.
    RemoveMember(MemberId),
    /// A member may do something else from now on; to its worker.
    SetRights {
        /// Which.
        member: MemberId,
        /// What it may do.
        rights: Rights,
    },
    /// A member speaks and hears by these transports; to its worker.
    SetTransports {
        /// Which.
        member: MemberId,
        /// Where its messages come in.
        input: Change,
        /// Where it gets messages.
        output: Change,
    },
    /// A member hears from now on; to its worker.
    Activate(MemberId),
    /// A member's messages are for the owner, beside its transport or instead of one; to its worker.
    Listen {
        /// Which.
        member: MemberId,
        /// Whether to start, not to stop.
        is_listening: bool,
    },
    /// A member without a transport says something; to its worker.
    Say {
        /// Which.
        member: MemberId,
        /// On which channel.
        label: Label,
        /// The bytes, binary.
        payload: Bytes,
    },
    /// The owner says something; to the workers whose members it is for.
    Send(Arc<Message>),
    /// Also report what members say, or no longer.
    Tap(bool),
    /// Report acknowledgement and response to this RPC request instead of passing them on, or no longer.
    Expect {
        /// The id of the request.
        request: Box<str>,
        /// Whether to start, not to stop.
        is_expected: bool,
    },
    /// A member publishes a data track; to its worker, which is the track's.
    AddTrack {
        /// Its name from now on.
        track: DataTrackId,
        /// Whose.
        publisher: MemberId,
        /// The number that the publisher's packets have, from 1.
        handle: u16,
    },
    /// There is no such data track any more.
    RemoveTrack(DataTrackId),
    /// A member gets a data track, or no longer; to its worker and to the track's.
    Subscribe {
        /// Which track.
        track: DataTrackId,
        /// Who.
        member: MemberId,
        /// The number that its packets are to have; none to stop.
        handle: Option<u16>,
    },
}

/// What one worker's hub tells another's.
pub enum HubCrossing {
    /// Somebody said something.
    Message(Arc<Message>),
    /// A packet of a data track.
    Track {
        /// Whose.
        member: MemberId,
        /// Which.
        track: DataTrackId,
        /// The packet, with its publisher's handle.
        payload: Bytes,
    },
}

/// Why the owner is told of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// It asked for all of them.
    Tapped,
    /// This member hears it.
    Heard(MemberId),
    /// It answers the owner's RPC request with this id, and goes nowhere else.
    Reply(Box<str>),
}
