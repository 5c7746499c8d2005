//! What a router has counted, as a value: cumulative, taken off the packet path.

use crate::drop::DropCounts;
use crate::event::TransportState;
use crate::histogram::Histogram;
use crate::id::{MemberId, ReceiverId, SenderId, TransportId};
use crate::send::Layer;
use crate::time::Time;
use crate::units::Bitrate;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams, packets or messages.
    pub packets: u64,
    /// Their payload bytes.
    pub bytes: u64,
}

impl Traffic {
    /// Counts one datagram.
    pub fn count(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }
}

/// Everything one router counted since its start.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// When it was taken.
    pub at: Time,
    /// Datagrams from peers.
    pub received: Traffic,
    /// Datagrams to peers.
    pub sent: Traffic,
    /// RTP packets handed to subscribers, retransmissions not counted.
    pub forwarded: u64,
    /// Packets that went no further, by reason.
    pub drops: DropCounts,
    /// For each copy of an RTP packet, from the packet's arrival in the kernel to when its batch was handed back to it.
    pub added_delay: Histogram,
    /// From a subscriber's wish for a track or a layer, or from its missing one, to the keyframe that began it.
    pub keyframe_wait: Histogram,
    /// Per peer, in the order they came.
    pub transports: Vec<TransportStats>,
    /// Per track.
    pub receivers: Vec<ReceiverStats>,
    /// Per copy.
    pub senders: Vec<SenderStats>,
    /// Per member of a hub, in ascending order.
    pub members: Vec<MemberStats>,
}

/// One member of a hub.
#[derive(Clone, Copy, Debug)]
pub struct MemberStats {
    /// Which.
    pub member: MemberId,
    /// The number of the last reliable message that was taken from it, 0 before the first that has one.
    pub last_sequence: u32,
    /// Messages and bytes that were taken from it.
    pub received: Traffic,
    /// Messages and bytes that it was handed.
    pub sent: Traffic,
}

/// One peer.
#[derive(Clone, Debug)]
pub struct TransportStats {
    /// Who.
    pub transport: TransportId,
    /// How far.
    pub state: TransportState,
    /// Datagrams from it.
    pub received: Traffic,
    /// Datagrams to it.
    pub sent: Traffic,
    /// What it sent that went no further.
    pub drops: DropCounts,
    /// The SRTP profile, once connected: its name in RFC 5764 or RFC 7714.
    pub srtp_profile: Option<&'static str>,
    /// What its path carries; none for peers that give no feedback on it, or get no video.
    pub bandwidth: Option<BandwidthStats>,
}

/// What a subscriber's path is thought to carry, and what it is used for.
#[derive(Clone, Copy, Debug)]
pub struct BandwidthStats {
    /// All media together.
    pub estimate: Bitrate,
    /// What the estimate goes by, as a metric label.
    pub cause: &'static str,
    /// What video may cost, repairs taken off; none where the peer gives no feedback although it promised.
    pub video_budget: Option<Bitrate>,
    /// What the layers that are granted cost.
    pub granted: Bitrate,
    /// Packets that wait for the pacer.
    pub queued: u32,
}

/// Why a subscriber does not get more of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// It gets all that there is.
    None,
    /// It wants no more.
    Wish,
    /// The owner paused the copy.
    Paused,
    /// Its path carries no more.
    Bandwidth,
    /// The publisher sends no more, or nothing.
    Publisher,
    /// The keyframe that begins it has not come.
    Keyframe,
    /// There is no track.
    Source,
}

impl Limit {
    /// As a metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Wish => "wish",
            Self::Paused => "paused",
            Self::Bandwidth => "bandwidth",
            Self::Publisher => "publisher",
            Self::Keyframe => "keyframe",
            Self::Source => "source",
        }
    }
}

/// One track as it arrives.
#[derive(Clone, Debug)]
pub struct ReceiverStats {
    /// Which.
    pub receiver: ReceiverId,
    /// Per encoding, smallest first.
    pub encodings: Vec<EncodingStats>,
    /// How many copies are sent, on all workers that were asked.
    pub followers: u32,
}

/// One encoding as it arrives.
#[derive(Clone, Copy, Debug, Default)]
pub struct EncodingStats {
    /// Packets and payload bytes, retransmissions undone.
    pub received: Traffic,
    /// Packets that never came (RFC 3550 §6.4.1); duplicates make it negative.
    pub lost: i64,
    /// Interarrival jitter (RFC 3550 §6.4.1), in milliseconds.
    pub jitter_ms: u32,
    /// Over the last second.
    pub bitrate: Bitrate,
    /// Frames of the last second.
    pub frames_per_second: u32,
    /// Width and height of the last keyframe, where the codec tells in the clear.
    pub size: Option<(u16, u16)>,
    /// Packets that were lost and made again out of repair packets (FlexFEC).
    pub recovered: u64,
    /// Requests for retransmission sent.
    pub nacks: u64,
    /// Requests for keyframes sent.
    pub keyframe_requests: u64,
}

/// One copy as it leaves.
#[derive(Clone, Copy, Debug)]
pub struct SenderStats {
    /// Which.
    pub sender: SenderId,
    /// Packets and payload bytes, retransmissions not counted.
    pub sent: Traffic,
    /// Packets that the subscriber asked for again, repeats included.
    pub nacks: u64,
    /// Packets sent again.
    pub retransmitted: u64,
    /// Repair packets sent in advance of loss (FlexFEC).
    pub fec_packets: u64,
    /// How long the subscriber is told to hold pictures back against loss, in milliseconds.
    pub playout_delay_ms: u32,
    /// The most that the subscriber wants, as far as the publisher sends it.
    pub wished: Option<Layer>,
    /// The most that its path has room for; none while paused, or where there is nothing to share.
    pub granted: Option<Layer>,
    /// Why it does not get more.
    pub limit: Limit,
    /// How long the last keyframe that it needed was waited for, in milliseconds.
    pub keyframe_wait_ms: Option<u32>,
    /// Packets of the track that this copy did not want or could not take.
    pub dropped: u64,
    /// What is forwarded now.
    pub layer: Option<Layer>,
    /// Loss the subscriber reported last, in 256ths (RFC 3550 §6.4.1).
    pub fraction_lost: u8,
    /// Round trip time by the subscriber's reports, in milliseconds.
    pub round_trip_ms: Option<u32>,
}
