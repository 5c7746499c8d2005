//! One worker's table of peers: datagrams, commands and time in; datagrams, events and the next deadline out.
//!
//! After every input drain, in this order: [`Router::poll_transmit`], [`Router::poll_crossing`], [`Router::poll_event`]; then
//! wait for [`Router::poll_timeout`]. `now` never goes back. The same inputs give the same outputs, to the last bit.
//!
//! ```text
//!  handle_datagram ─ demux ─┬─ STUN ─ ice          receive.rs
//!                           ├─ DTLS ─ dtls, sctp   session.rs
//!                           ├─ SRTCP ─ feedback.rs
//!                           └─ SRTP ─ receive.rs ─ fan_out.rs ─ queue ─ poll_transmit   transmit.rs
//! ```

mod bandwidth;
mod command;
mod crossing;
mod data;
mod delay;
mod fan_out;
mod feedback;
mod hub;
mod playout;
mod protection;
mod receive;
mod recovery;
mod redundancy;
mod report;
mod session;
mod snapshot;

mod timeout;
mod transmit;
mod wishes;

use std::cmp::Reverse;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BinaryHeap, HashMap, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::Instant;

use is::Candidate;
use is::stun::StunMessage;
use slab::Slab;

use crate::allocate::Wish;
use crate::crossing::{Crossing, Parcel};
use crate::data::Hub;
use crate::drop::{Drop, DropCounts};
use crate::event::{Event, Reason, TransportState};
use crate::fec::Recovery;
use crate::histogram::Histogram;
use crate::ice::{self, Path};
use crate::id::{HubId, MemberId, ReceiverId, SenderId, TransportId};
use crate::packet::Packet;
use crate::parameters::{Kind, ReceiverParameters, SenderParameters};
use crate::payload::Reader;
use crate::receive::{ClockMap, LayerRates, Liveness, MAX_ENCODINGS, Opening, Receiver};
use crate::sctp::SctpEvent;
use crate::send::{Layer, Sender, SourceId};
use crate::speaker::{self, Meter};
use crate::srtp::Tagger;
use crate::stats::Traffic;
use crate::store::{MAX_PACKET, PacketStore};
use crate::time::Time;
use crate::transport::{Control, Transport};
use crate::units::Bitrate;
use delay::{Departures, Wait};
use fan_out::Waiting;
use playout::Playout;
use protection::Protection;
use redundancy::Redundancy;

/// Where estimation starts: enough for one small picture and a middle one. The first probes leave with the first packets and
/// tell within two round trips; more to begin with floods a phone, less shows everybody a blur.
const START_BITRATE: Bitrate = Bitrate::from_bps(1_000_000);

/// Bounds of one router.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Peers at once.
    pub max_transports: usize,
    /// Packets kept for retransmission, all tracks together.
    pub history_packets: usize,
    /// Keyframe requests closer than this count as one, in milliseconds.
    pub keyframe_interval_ms: u32,
    /// Find out what subscribers' paths carry, and send no more.
    pub estimates_bandwidth: bool,
    /// What a path is thought to carry before anything is known of it.
    pub start_bitrate: Bitrate,
    /// What counts as speaking.
    pub speaking: speaker::Settings,
}

impl Default for Limits {
    fn default() -> Self {
        let speaking = speaker::Settings::default();
        Self {
            max_transports: 10_000,
            history_packets: 16_384,
            keyframe_interval_ms: 500,
            estimates_bandwidth: true,
            start_bitrate: START_BITRATE,
            speaking,
        }
    }
}

/// What a router is made with.
pub struct RouterConfig {
    /// Its number among the workers.
    pub worker: u8,
    /// What [`Time::ZERO`] is for crates that speak `Instant`; only differences to it are used.
    pub epoch: Instant,
    /// Where all its randomness comes from; none of it needs to be secret.
    pub seed: u64,
    /// Our candidates.
    pub locals: Vec<Candidate>,
    /// Bounds.
    pub limits: Limits,
    /// The other workers, a bit each.
    pub neighbours: u64,
}

/// Hashing by fixed keys: nothing is iterated, and only peers that passed a check get in.
type Table<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// Who a path belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner {
    /// A peer that passed a check on it: anything may come.
    Heard(usize),
    /// A peer that we send checks to there: only STUN may come.
    Checked(usize),
    /// A peer of another worker.
    Foreign(u8),
}

/// A publisher's track on its way to senders: of a peer here, or of another worker's.
struct Feed {
    id: ReceiverId,
    /// How it was negotiated; none for a foreign track until its worker told.
    parameters: Option<ReceiverParameters>,
    /// The track itself, where its peer lives here.
    intake: Option<Box<Intake>>,
    /// Indexes of the senders that follow it.
    senders: Vec<u32>,
    /// The workers that have followers of it, a bit each.
    workers: u64,
    clocks: [Option<ClockMap>; MAX_ENCODINGS],
    liveness: Liveness,
    /// What its layers cost; of video alone.
    layers: Option<Box<LayerRates>>,
    /// By encoding, what a copy that is new here begins with; of video alone.
    openings: Option<Box<[Opening; MAX_ENCODINGS]>>,
    /// For a foreign track: when a keyframe was last asked for.
    asked_at: [Option<Time>; MAX_ENCODINGS],
}

/// Where a track comes in.
struct Intake {
    transport: usize,
    /// The number that the transport's bindings know it by.
    number: u16,
    receiver: Receiver,
    readers: Vec<Reader>,
    has_started: [bool; MAX_ENCODINGS],
    keyframe_requests: [u64; MAX_ENCODINGS],
    /// Of audio whose sender says how loud it is.
    meter: Option<Meter>,
    /// Where the publisher sends repair packets.
    recovery: Option<Box<Recovery>>,
}

/// One subscriber's copy.
struct Copy {
    id: SenderId,
    transport: usize,
    parameters: SenderParameters,
    /// None until a foreign track's worker told how it is cut.
    sender: Option<Sender>,
    source: ReceiverId,
    most: Layer,
    /// Among the copies of its subscriber; higher ones are served first.
    priority: u8,
    is_paused: bool,
    share: Share,
    /// Its packets carry a transport-wide number, or when they left.
    is_numbered: bool,
    /// How much of its audio is repeated.
    redundancy: Redundancy,
    /// How long its receiver is to hold pictures back.
    playout: Playout,
    /// Its repair packets, where negotiated.
    protection: Option<Box<Protection>>,
    dropped: u64,
    nacks: u64,
    wait: Wait,
}

/// What a copy of video gets of its subscriber's path.
#[derive(Clone, Copy, Default)]
struct Share {
    /// At most this; none where there is no room, or nothing to share.
    granted: Option<Layer>,
    /// Whether that was reckoned at all.
    is_reckoned: bool,
    /// Paused for want of room.
    is_starved: bool,
    /// Less than is wanted and sent.
    is_cut: bool,
    /// When it last got less than before.
    lowered_at: Option<Time>,
}

/// One worker's table of peers.
pub struct Router {
    worker: u8,
    epoch: Instant,
    random: Random,
    locals: Vec<Candidate>,
    limits: Limits,

    transports: Slab<Transport>,
    by_id: BTreeMap<TransportId, usize>,
    by_ufrag: BTreeMap<String, usize>,
    by_path: Table<Path, Owner>,
    feeds: Slab<Feed>,
    feed_by_id: BTreeMap<ReceiverId, usize>,
    copies: Slab<Copy>,
    copy_by_id: BTreeMap<SenderId, usize>,
    hubs: BTreeMap<HubId, Hub>,
    /// Who hears the message that is handed out.
    hearers: Vec<MemberId>,
    tapped: Vec<String>,
    /// The other workers, a bit each.
    neighbours: u64,

    store: PacketStore,
    tagger: Tagger,
    dirty: VecDeque<u32>,
    /// Packets that followers here have not been handed yet.
    waiting: Vec<Waiting>,
    /// Numbers of the NACK in hand that need no retransmission yet.
    spared: Vec<u16>,
    /// While shares are reckoned: wishes, whose they are, what they get.
    wishes: Vec<Wish>,
    wishers: Vec<u32>,
    grants: Vec<Option<usize>>,
    /// Last words to peers that are gone.
    farewells: Control,
    timers: BinaryHeap<Reverse<(Time, u32)>>,
    events: VecDeque<Event>,
    crossings: VecDeque<(u8, Crossing)>,
    /// Parcels to pack next.
    parcels: Vec<(Box<Packet>, Box<Parcel>)>,
    sctp_events: Vec<SctpEvent>,
    scratch: Vec<u8>,
    rtcp: Box<[u8; MAX_PACKET]>,

    /// Whose code runs: who pays for a fault.
    current: Option<usize>,
    received: Traffic,
    sent: Traffic,
    forwarded: u64,
    drops: DropCounts,
    departures: Departures,
    keyframe_waits: Histogram,
}

impl Router {
    /// A router without peers.
    pub fn new(config: RouterConfig) -> Self {
        Self {
            worker: config.worker,
            epoch: config.epoch,
            random: Random(config.seed),
            locals: config.locals,
            limits: config.limits,
            transports: Slab::new(),
            by_id: BTreeMap::new(),
            by_ufrag: BTreeMap::new(),
            by_path: Table::default(),
            feeds: Slab::new(),
            feed_by_id: BTreeMap::new(),
            copies: Slab::new(),
            copy_by_id: BTreeMap::new(),
            hubs: BTreeMap::new(),
            hearers: Vec::new(),
            tapped: Vec::new(),
            neighbours: config.neighbours,
            store: PacketStore::new(config.limits.history_packets, MEAN_PACKET),
            tagger: Tagger::with_capacity(256),
            dirty: VecDeque::new(),
            waiting: Vec::with_capacity(fan_out::MAX_WAITING),
            spared: Vec::new(),
            wishes: Vec::new(),
            wishers: Vec::new(),
            grants: Vec::new(),
            farewells: Control::default(),
            timers: BinaryHeap::new(),
            events: VecDeque::new(),
            crossings: VecDeque::new(),
            parcels: Vec::new(),
            sctp_events: Vec::new(),
            scratch: Vec::new(),
            rtcp: Box::new([0; MAX_PACKET]),
            current: None,
            received: Traffic::default(),
            sent: Traffic::default(),
            forwarded: 0,
            drops: DropCounts::default(),
            departures: Departures::new(),
            keyframe_waits: Histogram::default(),
        }
    }

    /// The worker whose peer a stranger's first datagram is for; none if it is no STUN request.
    pub fn owner_of(datagram: &[u8]) -> Option<u8> {
        ice::owner_of(&StunMessage::parse(datagram).ok()?)
    }

    /// Whether a peer here passed a check on this path: what comes on it is somebody's.
    pub fn is_heard(&self, path: &Path) -> bool {
        matches!(self.by_path.get(path), Some(Owner::Heard(_)))
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next value for another worker.
    pub fn poll_crossing(&mut self) -> Option<(u8, Crossing)> {
        self.crossings.pop_front()
    }

    /// A value could not be handed over: the other worker is too busy.
    pub fn handle_crossing_refused(&mut self, crossing: Crossing) {
        if let Crossing::Packet { packet, parcel, .. } | Crossing::Datagram { packet, parcel, .. } = crossing {
            self.keep_parcel(packet, parcel);
        }
        self.drops.count(Drop::WorkerBusy);
    }

    /// The kernel refused to send so many datagrams.
    pub fn handle_send_refused(&mut self, count: usize) {
        for _ in 0..count {
            self.drops.count(Drop::SendFailed);
        }
    }

    /// The owner does not keep up with the messages that it asked for: so many were not kept for it.
    pub fn handle_reports_refused(&mut self, count: usize) {
        for _ in 0..count {
            self.drops.count(Drop::SlowReader);
        }
    }

    /// A peer announced a frame longer than any packet (RFC 4571 §2).
    pub fn handle_frame_refused(&mut self) {
        self.drops.count(Drop::Oversized);
    }

    /// A fault was caught while this router ran: the peer it ran for is closed, the others go on.
    pub fn handle_fault(&mut self) {
        self.drops.count(Drop::Panicked);
        if let Some(index) = self.current.take() {
            self.remove_transport(index, TransportState::Failed, Reason::Fault);
        }
    }

    /// Says goodbye to everybody: what [`poll_transmit`](Self::poll_transmit) then writes are the last words.
    pub fn close(&mut self, now: Time) {
        let all: Vec<_> = self.by_id.values().copied().collect();
        for index in all {
            self.close_transport(now, index);
        }
    }

    /// Counts a drop for the router and, where it is known, for the peer.
    fn count_drop(&mut self, transport: Option<usize>, reason: Drop) {
        self.drops.count(reason);
        if let Some(transport) = transport.and_then(|index| self.transports.get_mut(index)) {
            transport.drops.count(reason);
        }
    }

    fn instant(&self, now: Time) -> Instant {
        self.epoch + now.since(Time::ZERO)
    }

    fn time_of(&self, instant: Instant) -> Time {
        Time::ZERO + instant.saturating_duration_since(self.epoch)
    }

    /// Puts a peer on the list of those with something to send.
    fn mark_dirty(&mut self, index: usize) {
        if let Some(transport) = self.transports.get_mut(index)
            && !transport.is_dirty
        {
            transport.is_dirty = true;
            self.dirty.push_back(narrow(index));
        }
    }

    /// Sees to it that a peer gets its turn at `at` or before.
    fn arm(&mut self, index: usize, at: Time) {
        arm(&mut self.transports, &mut self.timers, index, at);
    }

    fn keep_parcel(&mut self, packet: Box<Packet>, parcel: Box<Parcel>) {
        // As many as one burst of a large frame needs; the rest is given back.
        if self.parcels.len() < 1024 {
            self.parcels.push((packet, parcel));
        }
    }
}

/// Sets a peer's timer to `at`, unless it is earlier already.
fn arm(transports: &mut Slab<Transport>, timers: &mut BinaryHeap<Reverse<(Time, u32)>>, index: usize, at: Time) {
    if let Some(transport) = transports.get_mut(index)
        && at < transport.armed_at
    {
        transport.armed_at = at;
        timers.push(Reverse((at, narrow(index))));
    }
}

/// Bytes that a packet takes on the average of video and audio: how the store's memory is divided.
const MEAN_PACKET: usize = 1200;

/// Indexes of slabs fit 32 bits: their sizes are bounded far below.
fn narrow(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// Where the costs of a track's layers are measured: of video alone, the rest has none.
fn layer_rates(parameters: &ReceiverParameters) -> Option<Box<LayerRates>> {
    (parameters.kind == Kind::Video).then(Box::default)
}

/// Where what a new copy begins with is kept: of video alone, since audio begins anywhere.
fn openings(parameters: &ReceiverParameters) -> Option<Box<[Opening; MAX_ENCODINGS]>> {
    (parameters.kind == Kind::Video).then(Box::default)
}

/// What a sender calls a source: the feed's number, which is never used twice within 2^32.
fn source_of(receiver: ReceiverId) -> SourceId {
    #[allow(clippy::cast_possible_truncation)]
    SourceId(receiver.as_u64() as u32 ^ ((receiver.as_u64() >> 32) as u32))
}

/// Splitmix64: small, seeded, good enough for report jitter and first sequence numbers.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests;
