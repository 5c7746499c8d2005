//! The router through its public face: keyed peers, real SRTP, no network. Whole rooms are played in `rust/sim`.

use core::time::Duration;
use std::net::SocketAddr;

use super::*;
use crate::command::{Command, Security};
use crate::dtls::{Keys, MasterKeys};
use crate::ice::{Path, Via};
use crate::parameters::{CodecParameters, EncodingParameters, Kind};
use crate::payload::Codec;
use crate::rtcp::{self, Compound, RtcpPacket};
use crate::rtp::header::FixedHeader;
use crate::rtp::{ExtensionMap, Header, NtpTime};
use crate::send::Layer;
use crate::srtp::{ClearHeader, Inbound, Outbound, Profile};
use crate::transmit::SendSlab;
use crate::units::{Pt, SeqNo, Ssrc};

mod bandwidth;
mod delay;
mod loudness;
mod media;
mod peers;
mod webrtc;
mod workers;

const TRACK: Ssrc = Ssrc(0x2222);
const COPY: Ssrc = Ssrc(0x3333);

/// A router, its peers' ends of the keys, and a clock that only the test moves.
struct Bench {
    router: Router,
    slab: SendSlab,
    now: Time,
}

/// What came out for one peer, opened.
#[derive(Debug)]
enum Heard {
    Rtp(Header, Vec<u8>),
    Rtcp(Vec<u8>),
}

/// A peer's end.
struct Client {
    number: u8,
    sealer: Outbound,
    opener: Inbound,
    seq: u64,
    timestamp: u32,
    picture_id: u16,
}

impl Bench {
    fn new() -> Self {
        Self::of_worker(0, Limits { history_packets: 256, ..Limits::default() })
    }

    fn of_worker(worker: u8, limits: Limits) -> Self {
        Self::of(worker, limits, Vec::new())
    }

    fn with_local(local: Candidate) -> Self {
        Self::of(0, Limits { history_packets: 256, ..Limits::default() }, vec![local])
    }

    // An anchor only: everything in a test counts from zero.
    #[allow(clippy::disallowed_methods)]
    fn of(worker: u8, limits: Limits, locals: Vec<Candidate>) -> Self {
        let neighbours = 0b11 & !(1 << worker);
        let config = RouterConfig { worker, epoch: Instant::now(), seed: 7, locals, limits, neighbours };
        Self { router: Router::new(config), slab: SendSlab::new(64), now: Time::ZERO }
    }

    fn at(&mut self, ms: u64) {
        self.now = Time::from_millis(ms);
        if self.router.poll_timeout().is_due(self.now) {
            self.router.handle_timeout(self.now);
        }
    }

    fn add(&mut self, number: u8) -> Client {
        let security = Box::new(Security::Keyed { path: path(number), keys: Box::new(keys(number)) });
        self.command(Command::AddTransport { transport: self.transport(number), security });
        Client::new(number)
    }

    fn transport(&self, number: u8) -> TransportId {
        TransportId::new(self.router.worker, number.into())
    }

    fn command(&mut self, command: Command) {
        self.router.handle_command(self.now, command);
    }

    /// Peer `number` publishes VP8 in so many encodings, SSRCs from [`TRACK`] on.
    fn publish(&mut self, number: u8, encodings: u8) -> ReceiverId {
        let receiver = ReceiverId::new(self.router.worker, number.into());
        let parameters = Box::new(receiver_parameters(encodings));
        self.command(Command::AddReceiver { transport: self.transport(number), receiver, parameters });
        receiver
    }

    /// Peer `number` gets a copy of `source`.
    fn subscribe(&mut self, number: u8, source: ReceiverId) -> SenderId {
        let sender = SenderId::new(self.router.worker, number.into());
        let parameters = Box::new(sender_parameters());
        self.command(Command::AddSender { transport: self.transport(number), sender, source, parameters });
        sender
    }

    fn hear(&mut self, from: &Client, datagram: &[u8]) {
        self.router.handle_datagram(self.now, path(from.number), datagram);
    }

    fn frame(&mut self, from: &mut Client, encoding: u8, is_keyframe: bool) {
        let datagram = from.frame(encoding, is_keyframe);
        self.hear(from, &datagram);
    }

    fn rtcp(&mut self, from: &mut Client, write: impl FnOnce(&mut rtcp::Writer<'_>)) {
        let datagram = from.rtcp(write);
        self.hear(from, &datagram);
    }

    /// All that waits, by address.
    fn drain(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        let mut all = Vec::new();
        loop {
            self.slab.clear();
            self.router.poll_transmit(self.now, &mut self.slab);
            if self.slab.runs().is_empty() {
                return all;
            }
            for run in self.slab.runs() {
                all.extend(self.slab.bytes_of(run).chunks(run.segment).map(|bytes| (run.path.remote, bytes.to_vec())));
            }
        }
    }

    /// What waits for one peer, opened; what waits for others is thrown away.
    fn heard(&mut self, client: &mut Client) -> Vec<Heard> {
        let address = path(client.number).remote;
        let own = self.drain().into_iter().filter(|(to, _)| *to == address);
        own.map(|(_, datagram)| client.open(&datagram)).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.router.poll_event()).collect()
    }

    fn drops(&self, reason: Drop) -> u64 {
        self.router.snapshot(self.now).drops.get(reason)
    }

    fn followers(&self, receiver: ReceiverId) -> Option<u32> {
        let snapshot = self.router.snapshot(self.now);
        snapshot.receivers.iter().find(|stats| stats.receiver == receiver).map(|stats| stats.followers)
    }
}

impl Client {
    fn new(number: u8) -> Self {
        let Keys { profile, local, remote } = keys(number);
        Self {
            number,
            sealer: Outbound::new(profile, remote.as_master()).unwrap(),
            opener: Inbound::new(profile, local.as_master(), 64).unwrap(),
            seq: 1 << 16 | 1000,
            timestamp: 90_000 * u32::from(number),
            picture_id: 100,
        }
    }

    /// A frame of one packet.
    fn frame(&mut self, encoding: u8, is_keyframe: bool) -> Vec<u8> {
        let [high, low] = self.picture_id.to_be_bytes();
        let mut payload = vec![0x90, 0x80, high | 0x80, low];
        payload.extend(if is_keyframe { [0x10, 0, 0, 0x9D, 0x01, 0x2A, 64, 0, 64, 0] } else { [0x11; 10] });
        let ssrc = Ssrc(TRACK.0 + u32::from(encoding));
        let sealed = self.packet(ssrc, 96, &payload);
        self.picture_id += 1;
        self.timestamp = self.timestamp.wrapping_add(3000);
        sealed
    }

    fn packet(&mut self, ssrc: Ssrc, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        self.packet_of(ssrc, payload_type, payload, true)
    }

    fn packet_of(&mut self, ssrc: Ssrc, payload_type: u8, payload: &[u8], marker: bool) -> Vec<u8> {
        let header = FixedHeader {
            marker,
            payload_type: Pt(payload_type),
            sequence_number: SeqNo(self.seq).low(),
            timestamp: self.timestamp,
            ssrc,
            ..FixedHeader::default()
        };
        let mut out = vec![0; 1500];
        header.write(&mut out).unwrap();
        let len = self.sealer.protect_rtp(self.seq - (1 << 16), FixedHeader::LEN, &[], payload, &mut out).unwrap();
        out.truncate(len);
        self.seq += 1;
        out
    }

    fn rtcp(&mut self, write: impl FnOnce(&mut rtcp::Writer<'_>)) -> Vec<u8> {
        let mut plain = [0; 1200];
        let mut writer = rtcp::Writer::new(&mut plain);
        write(&mut writer);
        let mut out = vec![0; 1500];
        let len = self.sealer.protect_rtcp(writer.as_bytes(), &mut out).unwrap();
        out.truncate(len);
        out
    }

    /// The publisher's clock: its timestamp now is that of its next frame.
    fn report(&self, writer: &mut rtcp::Writer<'_>, ntp: u64) {
        let info =
            rtcp::SenderInfo { ntp_time: NtpTime(ntp), rtp_timestamp: self.timestamp, packet_count: 1, octet_count: 1 };
        rtcp::report::write_sender_report(writer, TRACK, &info, &[]).unwrap();
    }

    fn open(&mut self, datagram: &[u8]) -> Heard {
        if matches!(datagram, [_, 192..=223, ..]) {
            let mut plain = datagram.to_vec();
            return Heard::Rtcp(self.opener.unprotect_rtcp(&mut plain).unwrap().to_vec());
        }
        let plain = self.open_whole(datagram);
        let header = Header::parse(&plain).unwrap();
        Heard::Rtp(header, header.payload(&plain).to_vec())
    }

    /// An RTP packet, header and all.
    fn open_whole(&mut self, datagram: &[u8]) -> Vec<u8> {
        let clear = Header::parse_clear(datagram).unwrap();
        let len = usize::from(clear.payload_offset);
        let sealed = ClearHeader { ssrc: clear.ssrc, sequence_number: clear.sequence_number, len };
        let mut plain = vec![0; 1500];
        let len = self.opener.unprotect_rtp(datagram, sealed, &mut plain).unwrap();
        plain.truncate(len);
        plain
    }
}

/// The RTP packets among them.
fn rtp(heard: &[Heard]) -> Vec<&Header> {
    heard.iter().filter_map(|heard| if let Heard::Rtp(header, _) = heard { Some(header) } else { None }).collect()
}

/// Which keyframes a publisher is asked for.
fn plis(heard: &[Heard]) -> Vec<Ssrc> {
    let compounds = heard.iter().filter_map(|heard| if let Heard::Rtcp(bytes) = heard { Some(bytes) } else { None });
    let packets = compounds.flat_map(|bytes| Compound::new(bytes)).map(Result::unwrap);
    packets.filter_map(|packet| if let RtcpPacket::Pli(pli) = packet { Some(pli.media_ssrc) } else { None }).collect()
}

/// The wall clocks and timestamps of the sender reports among them.
fn sender_reports(heard: &[Heard]) -> Vec<(u64, u32)> {
    let compounds = heard.iter().filter_map(|heard| if let Heard::Rtcp(bytes) = heard { Some(bytes) } else { None });
    let packets = compounds.flat_map(|bytes| Compound::new(bytes)).map(Result::unwrap);
    let report = |packet| if let RtcpPacket::SenderReport(report) = packet { Some(report.info) } else { None };
    packets.filter_map(report).map(|info| (info.ntp_time.0, info.rtp_timestamp)).collect()
}

fn path(number: u8) -> Path {
    Path { via: Via::Udp, local: ([192, 0, 2, 1], 7000).into(), remote: ([10, 0, 0, number], 5000).into() }
}

fn keys(number: u8) -> Keys {
    let master = |byte| MasterKeys { key: vec![byte; 16], salt: vec![byte; 12] };
    Keys { profile: Profile::AeadAes128Gcm, local: master(number), remote: master(number ^ 0xFF) }
}

fn codec(payload_type: u8) -> CodecParameters {
    CodecParameters {
        codec: Codec::Vp8,
        payload_type: Pt(payload_type),
        clock_rate: 90_000,
        format: 8,
        rtx: Some(Pt(payload_type + 1)),
        nack: true,
        pli: true,
        fir: false,
        transport_cc: false,
        remb: false,
    }
}

fn receiver_parameters(encodings: u8) -> ReceiverParameters {
    let encoding =
        |number| EncodingParameters { rid: None, ssrc: Some(Ssrc(TRACK.0 + number)), rtx_ssrc: None, fec_ssrc: None };
    ReceiverParameters {
        kind: Kind::Video,
        mid: None,
        codecs: vec![codec(96)],
        encodings: (0..encodings.into()).map(encoding).collect(),
        extensions: ExtensionMap::NONE,
        fec: None,
    }
}

fn sender_parameters() -> SenderParameters {
    SenderParameters {
        kind: Kind::Video,
        mid: None,
        codecs: vec![codec(120)],
        ssrc: COPY,
        rtx_ssrc: Some(Ssrc(COPY.0 + 1)),
        extensions: ExtensionMap::NONE,
        cname: "us".into(),
        playout_delay: None,
        fec: None,
    }
}
