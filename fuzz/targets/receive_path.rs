//! The whole way of a packet: a publisher with keys, two subscribers, and a stranger who send what the input says, sealed
//! with the right key or raw, while the owner gives commands and time passes.
//!
//! What reaches the subscribers is opened as they would: under their keys, no number twice, RTCP that parses, nothing that
//! was not negotiated. What is kept stays within its bounds.
#![no_main]

use std::collections::BTreeMap;
use std::time::Instant;

use libfuzzer_sys::fuzz_target;
use rtpcore_core::command::{Command, Security};
use rtpcore_core::dtls::{Keys, MasterKeys};
use rtpcore_core::ice::{Path, Via};
use rtpcore_core::id::{ReceiverId, SenderId, TransportId};
use rtpcore_core::parameters::{
    CodecParameters, EncodingParameters, FecParameters, Kind, ReceiverParameters, SenderParameters,
};
use rtpcore_core::payload::Codec;
use rtpcore_core::router::{Limits, Router, RouterConfig};
use rtpcore_core::rtcp::{self, Compound, Writer};
use rtpcore_core::rtp::{ExtensionKind, ExtensionMap, ExtensionWriter, FixedHeader, Header};
use rtpcore_core::send::Layer;
use rtpcore_core::srtp::{ClearHeader, Inbound, Outbound, Profile};
use rtpcore_core::transmit::SendSlab;
use rtpcore_core::{Drop, Mid, Pt, Rid, Ssrc, Time};
use rtpcore_fuzz::Input;

const PUBLISHER: usize = 0;
const PEERS: usize = 3;
const CODECS: [Codec; 6] = [Codec::Vp8, Codec::Vp9, Codec::Av1, Codec::H264, Codec::H265, Codec::Opaque];
const VIDEO: Pt = Pt(96);
const RTX: Pt = Pt(97);
const FLEXFEC: Pt = Pt(110);
const OPUS: Pt = Pt(111);
const RED: Pt = Pt(63);
/// Of the publisher: two encodings with their retransmissions, audio, another video track, one that nobody expects, and the
/// other track's repair packets.
const SSRCS: [u32; 8] = [10, 11, 20, 21, 30, 40, 50, 60];

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (Some(codec), Some(profile)) = (input.byte(), input.byte()) else { return };
    let codec = CODECS[usize::from(codec) % CODECS.len()];
    let mut world = World::new(codec, Profile::ALL[usize::from(profile) % 3]);
    while world.step(&mut input).is_some() {
        world.drain();
    }
});

struct World {
    router: Router,
    slab: SendSlab,
    now: Time,
    peers: Vec<Peer>,
    /// The publisher's: by SSRC, the index and the timestamp of the last packet.
    streams: BTreeMap<u32, (u64, u32)>,
}

struct Peer {
    path: Path,
    outbound: Outbound,
    inbound: Inbound,
    /// The newest number that came, by SSRC.
    heard: BTreeMap<u32, u16>,
    /// What came, by SSRC and number.
    taken: BTreeMap<(u32, u16), Vec<u8>>,
}

impl World {
    fn new(codec: Codec, profile: Profile) -> Self {
        let limits =
            Limits { max_transports: PEERS, history_packets: 256, keyframe_interval_ms: 500, ..Limits::default() };
        let config =
            RouterConfig { worker: 0, epoch: Instant::now(), seed: 1, locals: Vec::new(), limits, neighbours: 0 };
        let mut world = Self {
            router: Router::new(config),
            slab: SendSlab::new(256),
            now: Time::from_millis(1),
            peers: (0..PEERS).map(|number| Peer::new(number, profile)).collect(),
            streams: BTreeMap::new(),
        };
        for number in 0..PEERS {
            let path = world.peers[number].path;
            let keys = Box::new(keys(number, profile));
            let security = Box::new(Security::Keyed { path, keys });
            world.command(Command::AddTransport { transport: transport(number), security });
        }
        for number in 0..3 {
            let (transport, receiver) = (transport(PUBLISHER), receiver(number));
            world.command(Command::AddReceiver { transport, receiver, parameters: Box::new(track(number, codec)) });
        }
        for number in 0..4 {
            world.add_sender(number, codec);
        }
        // Nobody can be let in behind the last peer.
        let security = Box::new(Security::Keyed { path: path(9), keys: Box::new(keys(9, profile)) });
        world.command(Command::AddTransport { transport: transport(9), security });
        world.drain();
        world
    }

    fn add_sender(&mut self, number: u8, codec: Codec) {
        let source = receiver(number & 1);
        let parameters = Box::new(copy(number, codec));
        let transport = transport(1 + usize::from(number >> 1));
        self.command(Command::AddSender { transport, sender: sender(number), source, parameters });
    }

    fn command(&mut self, command: Command) {
        self.router.handle_command(self.now, command);
    }

    /// One thing that happens; none at the end of the input.
    fn step(&mut self, input: &mut Input<'_>) -> Option<()> {
        let op = input.byte()?;
        match op & 7 {
            0 => {
                let path = path(usize::from(op >> 3) % (PEERS + 1));
                self.router.handle_datagram(self.now, path, input.chunk()?);
            }
            1..=4 => self.send_rtp(op, input)?,
            5 => self.send_rtcp(op, input)?,
            6 => {
                self.now = self.now + core::time::Duration::from_millis(u64::from(input.short()?));
                // What one peer's turn makes due for another has its own with the next call; and that is all.
                let (mut turns, mut before) = (0, Time::ZERO);
                while self.router.poll_timeout().is_due(self.now) {
                    turns = if self.router.poll_timeout() > before { 0 } else { turns + 1 };
                    assert!(turns < 4, "time goes on");
                    before = self.router.poll_timeout();
                    self.router.handle_timeout(self.now);
                    self.drain();
                }
            }
            _ => self.ask(op >> 3, input)?,
        }
        Some(())
    }

    /// A packet of the publisher, sealed with its key.
    fn send_rtp(&mut self, op: u8, input: &mut Input<'_>) -> Option<()> {
        let ssrc = SSRCS[usize::from(op >> 3) % SSRCS.len()];
        let (flags, step) = (input.byte()?, input.byte()?);
        let payload = input.chunk()?;
        let dependency = if flags & 1 == 0 { None } else { Some(input.chunk()?) };
        let (index, timestamp) = self.streams.entry(ssrc).or_insert((0x1_0000, 0));
        // Mostly the next number; sometimes a hole, a jump back, or a leap.
        *index = match step {
            0..=199 => *index + 1,
            200..=239 => *index + u64::from(step - 198),
            240..=254 => (*index - u64::from(step - 239)).max(0x1_0000),
            255 => *index + 0x4000,
        };
        if flags & 2 != 0 {
            *timestamp = timestamp.wrapping_add(3000);
        }
        let payload_type = match (ssrc, flags >> 6) {
            (_, 3) => Pt(flags & 0x7F),
            (11 | 21, _) => RTX,
            (60, _) => FLEXFEC,
            (30, 1) => RED,
            (30, _) => OPUS,
            _ => VIDEO,
        };
        let mut packet = [0; 1400];
        let header = FixedHeader {
            marker: flags & 4 != 0,
            payload_type,
            sequence_number: (*index & 0xFFFF) as u16,
            timestamp: *timestamp,
            ssrc: Ssrc(ssrc),
            csrc_count: 0,
            has_extension: true,
            has_padding: flags & 8 != 0,
        };
        header.write(&mut packet);
        let mut extensions = ExtensionWriter::new(&mut packet[12..700]);
        let rid: &[u8] = if ssrc < 20 { b"l" } else { b"h" };
        let mid: &[u8] = match ssrc {
            30 => b"1",
            40 => b"2",
            _ => b"0",
        };
        if flags & 16 != 0 {
            extensions.push(1, mid)?;
            extensions.push(if payload_type == RTX { 3 } else { 2 }, rid)?;
        }
        extensions.push(6, &(*index as u16).to_be_bytes())?;
        if let Some(dependency) = dependency.filter(|bytes| !bytes.is_empty()) {
            extensions.push(7, dependency)?;
        }
        let header_len = 12 + extensions.finish();
        let mut body = payload.to_vec();
        if flags & 32 != 0 {
            body.resize(600, 0xAB);
        }
        let Peer { path, outbound, .. } = &self.peers[PUBLISHER];
        let index = *index - 0x1_0000;
        let len = outbound.protect_rtp(index, header_len, &[], &body, &mut packet)?;
        self.router.handle_datagram(self.now, *path, &packet[..len]);
        Some(())
    }

    /// A report of any peer, sealed with its key: any bytes, or a request that makes sense.
    fn send_rtcp(&mut self, op: u8, input: &mut Input<'_>) -> Option<()> {
        let number = usize::from(op >> 3) % PEERS;
        let bytes = input.chunk()?;
        let mut plain = [0; 400];
        let mut writer = Writer::new(&mut plain);
        let peer = &mut self.peers[number];
        let newest = peer.heard.iter().nth(usize::from(op >> 6)).map(|(&ssrc, &seq)| (Ssrc(ssrc), seq));
        let plain = match (op >> 5 & 3, newest) {
            (1, Some((ssrc, seq))) => {
                let first = seq.wrapping_sub(bytes.len() as u16);
                let lost = (0..).zip(bytes).filter(|(_, byte)| **byte & 1 == 1).map(|(n, _)| first.wrapping_add(n));
                rtcp::nack::write(&mut writer, Ssrc(1), ssrc, lost).ok()?;
                writer.as_bytes()
            }
            (2, Some((ssrc, _))) => {
                rtcp::pli::write(&mut writer, Ssrc(1), ssrc).ok()?;
                writer.as_bytes()
            }
            _ => bytes,
        };
        let mut sealed = [0; 500];
        let Some(len) = peer.outbound.protect_rtcp(plain, &mut sealed) else { return Some(()) };
        self.router.handle_datagram(self.now, peer.path, &sealed[..len]);
        Some(())
    }

    /// What an owner may ask for at any time.
    fn ask(&mut self, what: u8, input: &mut Input<'_>) -> Option<()> {
        let argument = input.byte()?;
        let sender = sender(argument & 3);
        let receiver = receiver((argument >> 2) % 3);
        self.command(match what % 6 {
            0 => Command::Pause { sender, is_paused: argument & 16 != 0 },
            1 => Command::Prefer {
                sender,
                most: Layer { spatial: argument >> 4 & 3, temporal: argument >> 6 },
                priority: argument & 1,
            },
            2 => Command::Follow { sender, source: receiver },
            3 => Command::RequestKeyframe { receiver, encoding: Some(argument >> 5) },
            4 => Command::RemoveSender(sender),
            _ => {
                let codec = CODECS[usize::from(argument >> 4) % CODECS.len()];
                let is_there = self.router.snapshot(self.now).senders.iter().any(|stats| stats.sender == sender);
                if !is_there {
                    self.add_sender(argument & 3, codec);
                    // A copy that starts again would use its numbers again: that is what new SSRCs are for.
                    self.peers[1 + usize::from(argument >> 1 & 1)].forget(argument & 3);
                }
                return Some(());
            }
        });
        Some(())
    }

    /// Takes everything out of the router, as its peers would.
    fn drain(&mut self) {
        let mut datagrams = 0;
        loop {
            self.slab.clear();
            self.router.poll_transmit(self.now, &mut self.slab);
            if self.slab.runs().is_empty() {
                break;
            }
            for run in self.slab.runs() {
                let number = (0..PEERS).find(|&number| self.peers[number].path == run.path).expect("a known peer");
                for datagram in self.slab.bytes_of(run).chunks(run.segment) {
                    datagrams += 1;
                    self.peers[number].take(number, datagram);
                }
            }
        }
        assert!(datagrams <= 4096, "{datagrams} for one input");
        let events = core::iter::from_fn(|| self.router.poll_event()).count();
        assert!(events <= 64, "{events} for one input");
        assert!(self.router.poll_crossing().is_none());
        let snapshot = self.router.snapshot(self.now);
        assert_eq!(snapshot.transports.len(), PEERS);
        assert!(snapshot.receivers.len() <= 3 && snapshot.senders.len() <= 4);
        assert_eq!(snapshot.drops.get(Drop::Panicked), 0);
    }
}

impl Peer {
    fn new(number: usize, profile: Profile) -> Self {
        let keys = keys(number, profile);
        Self {
            path: path(number),
            outbound: Outbound::new(profile, keys.remote.as_master()).expect("the lengths fit"),
            inbound: Inbound::new(profile, keys.local.as_master(), 64).expect("the lengths fit"),
            heard: BTreeMap::new(),
            taken: BTreeMap::new(),
        }
    }

    fn forget(&mut self, sender: u8) {
        for ssrc in [100, 200, 300].map(|first| first + u32::from(sender)) {
            self.inbound.forget(Ssrc(ssrc));
            self.heard.remove(&ssrc);
            self.taken.retain(|&(other, _), _| other != ssrc);
        }
    }

    fn take(&mut self, number: usize, datagram: &[u8]) {
        assert!(datagram.len() <= 1500);
        if (192..=223).contains(&datagram[1]) {
            let mut datagram = datagram.to_vec();
            let plain = self.inbound.unprotect_rtcp(&mut datagram).expect("sealed with our key, once");
            assert!(!plain.is_empty() && Compound::new(plain).all(|packet| packet.is_ok()), "{plain:x?}");
            return;
        }
        assert_ne!(number, PUBLISHER, "nothing is sent back");
        let clear = Header::parse_clear(datagram).expect("a header");
        let len = usize::from(clear.payload_offset);
        let sealed = ClearHeader { ssrc: clear.ssrc, sequence_number: clear.sequence_number, len };
        let mut plain = [0; 1500];
        let number_of = (clear.ssrc.0, clear.sequence_number);
        let len = match self.inbound.unprotect_rtp(datagram, sealed, &mut plain) {
            Ok(len) => len,
            // Without RTX, which audio never has, what was lost is sent again as it was. With other bytes it would give
            // the key stream away.
            Err(reason) => {
                let has_rtx = number == 1 && clear.payload_type == VIDEO;
                assert!(!has_rtx && matches!(reason, Drop::Replayed | Drop::TooOld), "{reason:?}: {clear:?}");
                return assert_eq!(self.taken.get(&number_of).map(Vec::as_slice), Some(datagram));
            }
        };
        self.taken.insert(number_of, datagram.to_vec());
        let header = Header::parse(&plain[..len]).expect("padding that fits");
        let copies = if number == 1 { 0..2 } else { 2..4 };
        let (is_rtx, is_repair, copy) = (header.ssrc.0 / 100 == 2, header.ssrc.0 >= 300, header.ssrc.0 % 100);
        assert!(copies.contains(&copy), "SSRC {} is not of this peer", header.ssrc.0);
        assert!(!is_rtx || number == 1, "retransmissions were not negotiated with the other");
        let video = if is_rtx { RTX } else { VIDEO };
        let known = if is_repair { &[FLEXFEC][..] } else { &[video, OPUS, RED] };
        assert!(known.contains(&header.payload_type), "{:?} was not negotiated", header.payload_type);
        self.heard.insert(header.ssrc.0, header.sequence_number);
    }
}

fn path(number: usize) -> Path {
    let remote = ([192, 0, 2, 1], 1000 + number as u16).into();
    Path { via: Via::Udp, local: ([127, 0, 0, 1], 7882).into(), remote }
}

fn keys(number: usize, profile: Profile) -> Keys {
    let master = |with: u8| MasterKeys {
        key: vec![with + number as u8; profile.key_len()],
        salt: vec![with + number as u8; profile.salt_len()],
    };
    Keys { profile, local: master(0x10), remote: master(0x20) }
}

fn transport(number: usize) -> TransportId {
    TransportId::new(0, 1 + number as u64)
}

fn receiver(number: u8) -> ReceiverId {
    ReceiverId::new(0, 1 + u64::from(number))
}

fn sender(number: u8) -> SenderId {
    SenderId::new(0, 1 + u64::from(number))
}

fn extensions() -> ExtensionMap {
    let mut map = ExtensionMap::NONE;
    for (kind, id) in ExtensionKind::ALL.into_iter().zip([1, 2, 3, 4, 5, 6, 8, 9, 10, 7, 11]) {
        map.set(kind, id);
    }
    map
}

fn codecs(number: u8, codec: Codec, has_rtx: bool) -> Vec<CodecParameters> {
    let parameters = |codec, payload_type, clock_rate| CodecParameters {
        codec,
        payload_type,
        clock_rate,
        format: codec as u64,
        rtx: (has_rtx && payload_type == VIDEO).then_some(RTX),
        nack: true,
        pli: true,
        fir: false,
        transport_cc: true,
        remb: false,
    };
    if number == 1 {
        vec![parameters(Codec::Red, RED, 48_000), parameters(Codec::Opus, OPUS, 48_000)]
    } else {
        vec![parameters(codec, VIDEO, 90_000)]
    }
}

/// Track 0 comes in two encodings, 1 is audio, 2 another video.
fn track(number: u8, codec: Codec) -> ReceiverParameters {
    let encoding = |rid: &[u8], ssrc| EncodingParameters {
        rid: Rid::new(rid),
        ssrc: Some(Ssrc(ssrc)),
        rtx_ssrc: Some(Ssrc(ssrc + 1)),
        fec_ssrc: None,
    };
    ReceiverParameters {
        kind: if number == 1 { Kind::Audio } else { Kind::Video },
        mid: Mid::new(&[b'0' + number]),
        codecs: codecs(number, codec, true),
        encodings: match number {
            0 => vec![encoding(b"l", 10), encoding(b"h", 20)],
            1 => vec![EncodingParameters::default()],
            _ => vec![EncodingParameters { ssrc: Some(Ssrc(40)), fec_ssrc: Some(Ssrc(60)), ..Default::default() }],
        },
        extensions: extensions(),
        fec: (number == 2).then_some(FLEXFEC),
    }
}

/// Copies 0 and 1 are the first subscriber's, with retransmissions and all extensions; 2 and 3 the other's, with neither.
fn copy(number: u8, codec: Codec) -> SenderParameters {
    let is_rich = number < 2;
    let ssrc = u32::from(number);
    SenderParameters {
        kind: if number & 1 == 1 { Kind::Audio } else { Kind::Video },
        mid: Mid::new(&[b'0' + number]),
        codecs: codecs(number & 1, codec, is_rich),
        ssrc: Ssrc(100 + ssrc),
        rtx_ssrc: is_rich.then_some(Ssrc(200 + ssrc)),
        extensions: if is_rich { extensions() } else { ExtensionMap::NONE },
        cname: "fuzz".into(),
        playout_delay: None,
        fec: is_rich.then_some(FecParameters { payload_type: FLEXFEC, ssrc: Ssrc(300 + ssrc) }),
    }
}
