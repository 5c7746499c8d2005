//! One publisher whose track goes to many subscribers: the commands that make the room, and the publisher's packets.
//!
//! All transports are keyed, so that a benchmark begins with media: handshakes are another matter.

use std::net::SocketAddr;

use rtpcore_core::command::{Command, Security};
use rtpcore_core::dtls::{Keys, MasterKeys};
use rtpcore_core::ice::{Path, Via};
use rtpcore_core::id::{ReceiverId, SenderId, TransportId};
use rtpcore_core::parameters::{CodecParameters, EncodingParameters, Kind, ReceiverParameters, SenderParameters};
use rtpcore_core::payload::Codec;
use rtpcore_core::rtp::{ExtensionKind, ExtensionMap, ExtensionWriter, FixedHeader};
use rtpcore_core::srtp::{Master, Outbound, Profile};
use rtpcore_core::{Mid, Pt, SeqNo, Ssrc};

/// Payload bytes of a video packet, and packets of a frame.
const VIDEO_PAYLOAD: usize = 1100;
const VIDEO_FRAME: usize = 8;
/// Payload bytes of an audio packet: 20 ms of Opus at 64 kbit/s.
const AUDIO_PAYLOAD: usize = 160;

/// Where the send time lies in a payload, behind everything that a codec's reader looks at.
const STAMP: usize = 32;

const MID: ExtensionId = ExtensionId(4);
const ABS_SEND_TIME: ExtensionId = ExtensionId(2);
const TRANSPORT_CC: ExtensionId = ExtensionId(3);
const AUDIO_LEVEL: ExtensionId = ExtensionId(1);

#[derive(Clone, Copy)]
struct ExtensionId(u8);

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Media {
    /// VP8 as libwebrtc sends it, with picture ids: frames of eight packets, 1100 bytes of payload each.
    Video,
    /// The same to subscribers who report when each packet came: each has a number of its own and waits for the pacer.
    NumberedVideo,
    /// Opus with its level: one packet of 160 bytes at a time.
    Audio,
}

impl Media {
    /// How many packets are sent at once.
    pub const fn frame_packets(self) -> usize {
        match self {
            Self::Video | Self::NumberedVideo => VIDEO_FRAME,
            Self::Audio => 1,
        }
    }

    /// Bytes of payload in each.
    pub const fn payload_len(self) -> usize {
        match self {
            Self::Video | Self::NumberedVideo => VIDEO_PAYLOAD,
            Self::Audio => AUDIO_PAYLOAD,
        }
    }

    /// Its name in results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Video => "video",
            Self::NumberedVideo => "numbered_video",
            Self::Audio => "audio",
        }
    }

    /// Not audio.
    pub const fn is_video(self) -> bool {
        !matches!(self, Self::Audio)
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Video | Self::NumberedVideo => Kind::Video,
            Self::Audio => Kind::Audio,
        }
    }

    fn codec(self, rtx: Option<Pt>) -> CodecParameters {
        let is_video = self.is_video();
        CodecParameters {
            codec: if is_video { Codec::Vp8 } else { Codec::Opus },
            payload_type: if is_video { Pt(96) } else { Pt(111) },
            clock_rate: if is_video { 90_000 } else { 48_000 },
            format: 1,
            rtx: rtx.filter(|_| is_video),
            nack: is_video,
            pli: is_video,
            fir: false,
            transport_cc: self == Self::NumberedVideo,
            remb: false,
        }
    }
}

/// The keys of a peer, as the peer has them: made up from its number, since nobody listens.
pub fn peer_keys(profile: Profile, number: usize) -> Keys {
    let master = |salt: u8| {
        let mut key: Vec<u8> = (0..profile.key_len()).map(|n| low(n * 7 + number) ^ salt).collect();
        key[1] = low(number >> 8);
        MasterKeys { key, salt: (0..profile.salt_len()).map(|n| low(n * 3 + number) ^ salt).collect() }
    };
    Keys { profile, local: master(0x5A), remote: master(0xA5) }
}

/// The command that makes a peer known. `number` names its keys.
pub fn add_transport(
    transport: TransportId,
    profile: Profile,
    number: usize,
    local: SocketAddr,
    remote: SocketAddr,
) -> Command {
    let keys = peer_keys(profile, number);
    let keys = Keys { profile, local: keys.remote, remote: keys.local };
    let path = Path { via: Via::Udp, local, remote };
    Command::AddTransport { transport, security: Box::new(Security::Keyed { path, keys: Box::new(keys) }) }
}

/// The command that makes the publisher's track known.
pub fn add_receiver(transport: TransportId, receiver: ReceiverId, media: Media) -> Command {
    Command::AddReceiver {
        transport,
        receiver,
        parameters: Box::new(ReceiverParameters {
            kind: media.kind(),
            mid: Mid::new(b"0"),
            codecs: vec![CodecParameters { transport_cc: true, ..media.codec(Some(Pt(97))) }],
            encodings: vec![EncodingParameters { rid: None, ssrc: Some(PUBLISHED), rtx_ssrc: None, fec_ssrc: None }],
            extensions: extensions(media),
            fec: None,
        }),
    }
}

/// The command that gives a subscriber its copy. `ssrc` is that of the copy.
pub fn add_sender(transport: TransportId, sender: SenderId, source: ReceiverId, media: Media, ssrc: u32) -> Command {
    Command::AddSender {
        transport,
        sender,
        source,
        parameters: Box::new(SenderParameters {
            kind: media.kind(),
            mid: Mid::new(b"0"),
            codecs: vec![media.codec(Some(Pt(97)))],
            ssrc: Ssrc(ssrc),
            rtx_ssrc: media.is_video().then_some(Ssrc(ssrc | 0x8000_0000)),
            extensions: extensions(media),
            cname: "bench".to_owned(),
            playout_delay: None,
            fec: None,
        }),
    }
}

/// The SSRC of the publisher's track.
pub const PUBLISHED: Ssrc = Ssrc(0x1000_0001);

fn extensions(media: Media) -> ExtensionMap {
    let mut map = ExtensionMap::NONE;
    map.set(ExtensionKind::Mid, MID.0);
    map.set(ExtensionKind::AbsSendTime, ABS_SEND_TIME.0);
    map.set(ExtensionKind::TransportCc, TRANSPORT_CC.0);
    if media == Media::Audio {
        map.set(ExtensionKind::AudioLevel, AUDIO_LEVEL.0);
    }
    map
}

/// Makes the publisher's SRTP packets.
pub struct Publisher {
    media: Media,
    outbound: Outbound,
    seq: SeqNo,
    transport_seq: u16,
    frame: u64,
    is_keyframe: bool,
    payload: Vec<u8>,
    header: [u8; 64],
}

impl Publisher {
    /// A publisher with the keys of this number.
    pub fn new(media: Media, profile: Profile, number: usize) -> Self {
        let keys = peer_keys(profile, number);
        let master = Master { key: &keys.local.key, salt: &keys.local.salt };
        Self {
            media,
            outbound: Outbound::new(profile, master).expect("the key fits its profile"),
            seq: SeqNo::first(1000),
            transport_seq: 0,
            frame: 0,
            is_keyframe: true,
            payload: (0..media.payload_len()).map(|n| low(n * 31)).collect(),
            header: [0; 64],
        }
    }

    /// Makes the next frame one that a new subscriber can begin with. The first is.
    pub fn make_keyframe(&mut self) {
        self.is_keyframe = true;
    }

    /// Writes the packets of the next frame into `out`, one behind the other and all of one length, which is returned.
    ///
    /// `stamp` is a time that the receiver of a packet can read (see [`stamp_of`]).
    pub fn write_frame(&mut self, stamp: u64, out: &mut Vec<u8>) -> usize {
        out.clear();
        let count = self.media.frame_packets();
        let mut len = 0;
        for n in 0..count {
            self.describe(n == 0);
            self.payload[STAMP..STAMP + 8].copy_from_slice(&stamp.to_be_bytes());
            let header_len = self.write_header(n + 1 == count);
            len = header_len + self.payload.len() + self.outbound.rtp_overhead();
            let start = out.len();
            out.resize(start + len, 0);
            let packet = &mut out[start..];
            packet[..header_len].copy_from_slice(&self.header[..header_len]);
            let index = self.seq.0 - (1 << 16);
            self.outbound.protect_rtp(index, header_len, &[], &self.payload, packet).expect("the packet fits");
            self.seq = self.seq.plus(1);
            self.transport_seq = self.transport_seq.wrapping_add(1);
        }
        self.frame += 1;
        self.is_keyframe = false;
        len
    }

    /// The payload descriptor: of the first frame a keyframe's, then of frames that follow on.
    fn describe(&mut self, is_first: bool) {
        if self.media == Media::Audio {
            // 20 ms, CELT, stereo, one frame.
            self.payload[0] = 0xFC;
            return;
        }
        let [high, low, ..] = [(self.frame >> 8) as u8 & 0x7F | 0x80, self.frame as u8];
        let start = if is_first { 0x90 } else { 0x80 };
        self.payload[..6].copy_from_slice(&[start, 0xF0, high, low, self.frame as u8, 0]);
        let keyframe = [0x10, 0x02, 0x00, 0x9D, 0x01, 0x2A, 0x80, 0x02, 0x68, 0x01];
        self.payload[6..16].copy_from_slice(&keyframe);
        self.payload[6] |= u8::from(!self.is_keyframe);
    }

    fn write_header(&mut self, is_last: bool) -> usize {
        let ticks = if self.media.is_video() { 3000 } else { 960 };
        let codec = self.media.codec(None);
        let fixed = FixedHeader {
            marker: is_last && self.media.is_video(),
            payload_type: codec.payload_type,
            sequence_number: self.seq.low(),
            timestamp: (self.frame as u32).wrapping_mul(ticks),
            ssrc: PUBLISHED,
            has_extension: true,
            ..FixedHeader::default()
        };
        let (head, rest) = self.header.split_at_mut(FixedHeader::LEN);
        fixed.write(head);
        let mut writer = ExtensionWriter::new(rest);
        writer.push(MID.0, b"0");
        writer.push(ABS_SEND_TIME.0, &[0x12, 0x34, 0x56]);
        writer.push(TRANSPORT_CC.0, &self.transport_seq.to_be_bytes());
        if self.media == Media::Audio {
            writer.push(AUDIO_LEVEL.0, &[0x9E]);
        }
        FixedHeader::LEN + writer.finish()
    }
}

/// The time that [`Publisher::write_frame`] put into a packet, from its decrypted payload.
pub fn stamp_of(payload: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*payload.get(STAMP..)?.first_chunk()?))
}

fn low(number: usize) -> u8 {
    (number & 0xFF) as u8
}
