//! A publisher's track as it arrives: behind the transport, which has decrypted and parsed the packet, before the router,
//! which hands it to senders.
//!
//! [`binding`] finds the encoding; [`Receiver::accept`] undoes retransmission and extends numbers; the rest keeps what
//! feedback needs: [`nack`], [`keyframe`], [`report`], [`arrival`]. Nothing here writes RTCP or reads payloads.

pub mod arrival;
pub mod binding;
pub mod keyframe;
pub mod layers;
pub mod liveness;
pub mod nack;
pub mod opening;
pub mod rate;
pub mod report;
pub mod sequence;
mod ssrcs;
pub mod stream;

use core::time::Duration;

pub use self::arrival::{Arrival, Arrivals, Feedback};
pub use self::binding::{BindError, Bindings, Flow, Identifiers, Route};
pub use self::keyframe::{KeyframeRequest, KeyframeRequests};
pub use self::layers::LayerRates;
pub use self::liveness::Liveness;
pub use self::nack::NackList;
pub use self::opening::Opening;
pub use self::report::{ReportTimer, RoundTrip};
pub use self::sequence::Order;
pub use self::stream::{Stream, StreamTotals};
pub use crate::rtp::ClockMap;

use crate::drop::Drop;
use crate::parameters::{CodecParameters, Kind, ReceiverParameters};
use crate::rtcp::ReportBlock;
use crate::rtp::Header;
use crate::time::Time;
use crate::units::{Bitrate, SeqNo, Ssrc};

/// Encodings of one track (RFC 8853): browsers send no more than three.
pub const MAX_ENCODINGS: usize = 3;

/// A packet that was taken in: what the payload reader and the senders need beside its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The encoding, an index into `ReceiverParameters::encodings`.
    pub encoding: u8,
    /// The codec, an index into `ReceiverParameters::codecs`.
    pub codec: u8,
    /// The extended number in the original stream.
    pub seq: SeqNo,
    /// How it stands to those before it. After [`Order::First`] and [`Order::Restart`] a payload reader begins anew.
    pub order: Order,
    /// Whether it came by itself or as a retransmission.
    pub flow: Flow,
    /// It carries padding and no payload. Forward nothing, but close its number: the stream goes on at the next.
    pub is_padding: bool,
    /// The header as the original had it; offsets are into the packet that was given.
    pub header: Header,
}

/// Why a receiver cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverError {
    /// No encoding or more than [`MAX_ENCODINGS`].
    Encodings,
    /// No codec or more than 127, a clock rate of 0, or a payload type above 127 or used twice.
    Codecs,
}

/// One track of a publisher.
#[derive(Clone, Debug)]
pub struct Receiver {
    kind: Kind,
    codecs: Vec<CodecParameters>,
    /// By payload type.
    payloads: [Payload; 128],
    encodings: Vec<Encoding>,
}

/// What a payload type means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    Unknown,
    Media(u8),
    Rtx(u8),
}

#[derive(Clone, Debug)]
struct Encoding {
    media: Stream,
    rtx: Stream,
    fec: Stream,
    nack: Option<NackList>,
    keyframes: KeyframeRequests,
    repaired: u64,
    recovered: u64,
    /// Which SSRC retransmits which: numbers of a source that was replaced mean nothing in the new one's.
    rtx_of: Option<(Ssrc, Ssrc)>,
    /// The codec of the newest packet: its clock rate is that of sender reports.
    codec: u8,
}

/// How one encoding arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodingStats {
    /// Where it comes from now.
    pub ssrc: Option<Ssrc>,
    /// Bits per second over the last second, RTP headers included, retransmissions not.
    pub bitrate: Bitrate,
    /// Frames per second over the last second.
    pub frame_rate: u64,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Packets of this run of numbers that the network lost.
    pub lost: u64,
    /// Packets that came as retransmissions and were needed.
    pub repaired: u64,
    /// Packets that were lost and made out of repair packets.
    pub recovered: u64,
    /// Numbers asked for, repeats included.
    pub nacked: u64,
    /// Packets that never came.
    pub gave_up: u64,
    /// What came by itself.
    pub media: StreamTotals,
    /// What came as retransmissions.
    pub rtx: StreamTotals,
}

impl Receiver {
    /// A track that has not begun; asks for keyframes no more often than once in `keyframe_interval` per encoding.
    pub fn new(parameters: &ReceiverParameters, keyframe_interval: Duration) -> Result<Self, ReceiverError> {
        if !(1..=MAX_ENCODINGS).contains(&parameters.encodings.len()) {
            return Err(ReceiverError::Encodings);
        }
        let payloads = payloads(&parameters.codecs).ok_or(ReceiverError::Codecs)?;
        let preferred = parameters.codecs.first().ok_or(ReceiverError::Codecs)?;
        let is_nacked = parameters.codecs.iter().any(|codec| codec.nack);
        let encoding = || Encoding {
            media: Stream::default(),
            rtx: Stream::default(),
            fec: Stream::default(),
            nack: is_nacked.then(NackList::new),
            keyframes: KeyframeRequests::new(preferred, keyframe_interval),
            repaired: 0,
            recovered: 0,
            rtx_of: None,
            codec: 0,
        };
        let encodings = parameters.encodings.iter().map(|_| encoding()).collect();
        Ok(Self { kind: parameters.kind, codecs: parameters.codecs.clone(), payloads, encodings })
    }

    /// Takes in a packet that [`Bindings::bind`] routed here; `packet` is the whole of it, decrypted.
    ///
    /// Fails with [`Drop::UnknownPayloadType`], [`Drop::Duplicate`], [`Drop::TooLate`]; a retransmission also with
    /// [`Drop::PaddingOnly`] (a probe) or [`Drop::BadRtx`].
    pub fn accept(&mut self, now: Time, route: Route, header: &Header, packet: &[u8]) -> Result<Accepted, Drop> {
        let payload = self.payloads.get(usize::from(header.payload_type.0)).copied();
        let encoding = self.encodings.get_mut(usize::from(route.encoding)).ok_or(Drop::UnknownSsrc)?;
        let size = u32::try_from(packet.len()).map_err(|_| Drop::Oversized)?;
        let (codec, received, header) = match (payload, route.flow) {
            (Some(Payload::Media(index)), Flow::Media) => {
                let codec = self.codecs.get(usize::from(index)).ok_or(Drop::UnknownPayloadType)?;
                let received = encoding.media.receive(now, codec.clock_rate, header, size)?;
                encoding.codec = index;
                (index, received, *header)
            }
            (Some(Payload::Rtx(index)), Flow::Rtx) => {
                let codec = self.codecs.get(usize::from(index)).ok_or(Drop::UnknownPayloadType)?;
                encoding.rtx.receive(now, codec.clock_rate, header, size)?;
                let ssrc = encoding.media.ssrc().ok_or(Drop::BadRtx)?;
                if encoding.rtx_of.is_some_and(|(rtx, media)| rtx == header.ssrc && media != ssrc) {
                    return Err(Drop::BadRtx);
                }
                encoding.rtx_of = Some((header.ssrc, ssrc));
                let original = undo_rtx(header, packet, codec, ssrc)?;
                let received = encoding.media.repair(original.sequence_number)?;
                encoding.repaired += 1;
                (index, received, original)
            }
            (Some(Payload::Media(index)), Flow::Fec) => {
                let received = encoding.media.repair(header.sequence_number)?;
                encoding.recovered += 1;
                (index, received, *header)
            }
            (Some(Payload::Media(_) | Payload::Rtx(_)), _) => return Err(Drop::BadRtx),
            (Some(Payload::Unknown) | None, _) => return Err(Drop::UnknownPayloadType),
        };
        encoding.note(now, received);
        Ok(Accepted {
            encoding: route.encoding,
            codec,
            seq: received.seq,
            order: received.order,
            flow: route.flow,
            is_padding: header.payload_len == 0,
            header,
        })
    }

    /// Takes in a repair packet of `size` bytes of payload that [`Bindings::bind`] routed here.
    ///
    /// Fails with [`Drop::Duplicate`] or [`Drop::TooLate`].
    pub fn accept_repair(&mut self, now: Time, route: Route, header: &Header, size: usize) -> Result<(), Drop> {
        let encoding = self.encodings.get_mut(usize::from(route.encoding)).ok_or(Drop::UnknownSsrc)?;
        let size = u32::try_from(size).map_err(|_| Drop::Oversized)?;
        encoding.fec.receive(now, 90_000, header, size).map(drop)
    }

    /// The SSRC that an encoding's media come on; none before the first packet.
    pub fn ssrc(&self, encoding: u8) -> Option<Ssrc> {
        self.encodings.get(usize::from(encoding))?.media.ssrc()
    }

    /// A keyframe of `encoding` begins with packet `seq`: wishes are granted, older losses are moot.
    pub fn handle_keyframe(&mut self, encoding: u8, seq: SeqNo) {
        if let Some(encoding) = self.encodings.get_mut(usize::from(encoding)) {
            encoding.keyframes.handle_keyframe();
            if let Some(nack) = &mut encoding.nack {
                nack.handle_keyframe(seq);
            }
        }
    }

    /// Somebody needs a keyframe of `encoding`. Audio has none: ignored.
    pub fn request_keyframe(&mut self, now: Time, encoding: u8) {
        if self.kind == Kind::Video
            && let Some(encoding) = self.encodings.get_mut(usize::from(encoding))
        {
            encoding.keyframes.request(now);
        }
    }

    /// Notes a sender report about the stream that `route` names (RFC 3550 §6.4.1).
    pub fn handle_sender_report(&mut self, now: Time, route: Route, ntp: u64, rtp: u32) {
        if let Some(encoding) = self.encodings.get_mut(usize::from(route.encoding)) {
            let rate = self.codecs.get(usize::from(encoding.codec)).map_or(90_000, |codec| codec.clock_rate);
            encoding.stream_mut(route.flow).handle_sender_report(now, rate, ntp, rtp);
        }
    }

    /// The stream that `route` names ended (BYE, RFC 3550 §6.6).
    pub fn handle_bye(&mut self, route: Route) {
        if let Some(encoding) = self.encodings.get_mut(usize::from(route.encoding)) {
            encoding.stream_mut(route.flow).unbind();
            if let (Flow::Media, Some(nack)) = (route.flow, &mut encoding.nack) {
                nack.clear();
            }
        }
    }

    /// What to ask for again at `now`: the SSRC, and how many numbers were written into `out`, in order.
    ///
    /// Call until it is none. `rtt` is the round trip to the publisher if known.
    pub fn poll_nack(&mut self, now: Time, rtt: Option<Duration>, out: &mut [SeqNo]) -> Option<(Ssrc, usize)> {
        self.encodings.iter_mut().find_map(|encoding| {
            let ssrc = encoding.media.ssrc()?;
            let count = encoding.nack.as_mut()?.poll(now, rtt, out);
            (count > 0).then_some((ssrc, count))
        })
    }

    /// The keyframe request to send at `now`, the encoding and the SSRC it is about. Call until it is none.
    pub fn poll_keyframe(&mut self, now: Time, rtt: Option<Duration>) -> Option<(u8, Ssrc, KeyframeRequest)> {
        (0u8..).zip(&mut self.encodings).find_map(|(number, encoding)| {
            let ssrc = encoding.media.ssrc()?;
            Some((number, ssrc, encoding.keyframes.poll(now, rtt)?))
        })
    }

    /// Writes the report blocks of all streams heard since the last report into `out`, and says how many.
    ///
    /// What does not fit is in the next report. Six always fit.
    pub fn report(&mut self, now: Time, out: &mut [ReportBlock]) -> usize {
        let mut slots = out.iter_mut();
        let mut count = 0;
        for stream in self.encodings.iter_mut().flat_map(|encoding| [&mut encoding.media, &mut encoding.rtx]) {
            if slots.len() == 0 {
                break;
            }
            if let Some(report) = stream.report(now)
                && let Some(slot) = slots.next()
            {
                *slot = report;
                count += 1;
            }
        }
        count
    }

    /// When a poll has something to do, [`Time::NEVER`] if not before the next packet.
    pub fn deadline(&self) -> Time {
        self.encodings.iter().filter(|encoding| encoding.media.ssrc().is_some()).fold(Time::NEVER, |at, encoding| {
            let nack_at = encoding.nack.as_ref().map_or(Time::NEVER, NackList::deadline);
            at.min(nack_at).min(encoding.keyframes.deadline())
        })
    }

    /// The publisher's clock for one encoding, none before its first sender report.
    pub fn clock(&self, encoding: u8) -> Option<ClockMap> {
        self.encodings.get(usize::from(encoding))?.media.clock()
    }

    /// How one encoding arrives; none if there is no such encoding.
    pub fn stats(&self, encoding: u8, now: Time) -> Option<EncodingStats> {
        let encoding = self.encodings.get(usize::from(encoding))?;
        let nack = encoding.nack.as_ref();
        Some(EncodingStats {
            ssrc: encoding.media.ssrc(),
            bitrate: encoding.media.bitrate(now),
            frame_rate: encoding.media.frame_rate(now),
            jitter: encoding.media.jitter(),
            lost: encoding.media.lost(),
            repaired: encoding.repaired,
            recovered: encoding.recovered,
            nacked: nack.map_or(0, NackList::asked),
            gave_up: nack.map_or(0, NackList::gave_up),
            media: encoding.media.totals(),
            rtx: encoding.rtx.totals(),
        })
    }

    /// Audio or video.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The codecs that may arrive; [`Accepted::codec`] points here.
    pub fn codecs(&self) -> &[CodecParameters] {
        &self.codecs
    }

    /// How many encodings there are.
    pub fn encodings(&self) -> usize {
        self.encodings.len()
    }
}

impl Encoding {
    /// Keeps the list of missing packets.
    fn note(&mut self, now: Time, received: sequence::Received) {
        let Some(nack) = &mut self.nack else { return };
        match received.order {
            Order::First | Order::Restart => nack.clear(),
            Order::Late => nack.handle_received(received.seq),
            Order::Newer { missing } => {
                if nack.handle_newest(now, received.seq, missing).is_err() {
                    self.keyframes.request(now);
                }
            }
        }
    }

    fn stream_mut(&mut self, flow: Flow) -> &mut Stream {
        match flow {
            Flow::Media => &mut self.media,
            Flow::Rtx => &mut self.rtx,
            Flow::Fec => &mut self.fec,
        }
    }
}

/// The original's header: its number is the first two bytes of the payload (RFC 4588 §4).
fn undo_rtx(header: &Header, packet: &[u8], codec: &CodecParameters, ssrc: Ssrc) -> Result<Header, Drop> {
    // Browsers probe the bandwidth with retransmissions of nothing.
    if header.payload_len == 0 {
        return Err(Drop::PaddingOnly);
    }
    let payload_len = header.payload_len.checked_sub(2).ok_or(Drop::BadRtx)?;
    let payload = packet.get(usize::from(header.payload_offset)..).ok_or(Drop::BadRtx)?;
    let number = payload.first_chunk::<2>().ok_or(Drop::BadRtx)?;
    Ok(Header {
        payload_type: codec.payload_type,
        sequence_number: u16::from_be_bytes(*number),
        ssrc,
        payload_offset: header.payload_offset + 2,
        payload_len,
        ..*header
    })
}

/// What each payload type means; none where two mean the same or a number is out of range.
fn payloads(codecs: &[CodecParameters]) -> Option<[Payload; 128]> {
    let mut payloads = [Payload::Unknown; 128];
    for (index, codec) in codecs.iter().enumerate() {
        let index = u8::try_from(index).ok().filter(|_| codec.clock_rate > 0)?;
        let media = (codec.payload_type, Payload::Media(index));
        for (pt, meaning) in [Some(media), codec.rtx.map(|pt| (pt, Payload::Rtx(index)))].into_iter().flatten() {
            let slot = payloads.get_mut(usize::from(pt.0)).filter(|slot| **slot == Payload::Unknown)?;
            *slot = meaning;
        }
    }
    Some(payloads)
}

#[cfg(test)]
mod tests;
