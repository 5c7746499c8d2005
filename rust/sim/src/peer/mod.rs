//! A simulated peer: publishes tracks, answers for them, watches others' and asks for what it misses.
//!
//! It speaks as a browser behind DTLS does, but is keyed beforehand: SRTP both ways, compound RTCP, NACK and RTX, PLI.

mod decoder;
mod numbers;
mod publisher;
mod subscriber;

pub use decoder::{Decoder, Shown};
pub(crate) use numbers::{Counted, Numbers};
pub use publisher::{Label, Published};
pub use subscriber::View;

use std::collections::VecDeque;

use rtpcore_core::dtls::{Keys, MasterKeys};
use rtpcore_core::rtcp::{Compound, RtcpPacket};
use rtpcore_core::rtp::Header;
use rtpcore_core::srtp::{ClearHeader, Inbound, Outbound, Profile};
use rtpcore_core::{Drop, Ssrc, Time};

use crate::dice::Dice;
use crate::media::{Frame, Track};

/// The keys of one peer's path, both ways, from a seed.
pub struct KeyRing {
    profile: Profile,
    up: MasterKeys,
    down: MasterKeys,
}

impl KeyRing {
    /// The keys of peer `number`; each third peer has another profile.
    pub fn new(seed: u64, number: usize) -> Self {
        let mut dice = Dice::fork(seed, 0x6B65_7900 + number as u64);
        let profile = Profile::ALL[number % 3];
        let mut master = || MasterKeys {
            key: (0..profile.key_len()).map(|_| dice.next().to_be_bytes()[0]).collect(),
            salt: (0..profile.salt_len()).map(|_| dice.next().to_be_bytes()[0]).collect(),
        };
        Self { profile, up: master(), down: master() }
    }

    /// As the router takes them.
    pub fn of_router(&self) -> Keys {
        Keys { profile: self.profile, local: self.down.as_master().into(), remote: self.up.as_master().into() }
    }

    /// What opens packets to the peer.
    ///
    /// # Panics
    /// Never: the keys were made for the profile.
    pub fn opener(&self, most: usize) -> Inbound {
        Inbound::new(self.profile, self.down.as_master(), most).expect("keys that fit")
    }

    /// What seals packets as the peer does.
    ///
    /// # Panics
    /// Never: the keys were made for the profile.
    pub fn sealer(&self) -> Outbound {
        Outbound::new(self.profile, self.up.as_master()).expect("keys that fit")
    }

    /// What seals packets as the router does: for saboteurs.
    ///
    /// # Panics
    /// Never: the keys were made for the profile.
    pub fn router_sealer(&self) -> Outbound {
        Outbound::new(self.profile, self.down.as_master()).expect("keys that fit")
    }
}

/// Every frame that was published, by track and encoding.
#[derive(Debug, Default)]
pub struct Studio {
    frames: Vec<Vec<Vec<Frame>>>,
}

impl Studio {
    /// Notes the frames of one picture.
    pub fn add(&mut self, track: u16, encoding: u8, frames: Vec<Frame>) {
        let (track, encoding) = (usize::from(track), usize::from(encoding));
        if self.frames.len() <= track {
            self.frames.resize_with(track + 1, Vec::new);
        }
        let track = &mut self.frames[track];
        if track.len() <= encoding {
            track.resize_with(encoding + 1, Vec::new);
        }
        track[encoding].extend(frames);
    }

    /// A frame by its number.
    pub fn frame(&self, track: u16, encoding: u8, frame: u32) -> Option<&Frame> {
        self.frames.get(usize::from(track))?.get(usize::from(encoding))?.get(frame as usize)
    }

    /// All frames of an encoding.
    pub fn frames(&self, track: u16, encoding: u8) -> &[Frame] {
        self.frames
            .get(usize::from(track))
            .and_then(|track| track.get(usize::from(encoding)))
            .map_or(&[], Vec::as_slice)
    }

    /// The frame that the packet with this number belongs to.
    pub fn frame_of(&self, track: u16, encoding: u8, number: u64) -> Option<(u32, &Frame)> {
        let frames = self.frames(track, encoding);
        let index = frames.partition_point(|frame| frame.first <= number).checked_sub(1)?;
        let frame = frames.get(index).filter(|frame| number < frame.first + u64::from(frame.parts))?;
        Some((u32::try_from(index).ok()?, frame))
    }
}

/// The wall clock of peer `number` at `now`, NTP: no two agree.
pub fn wall_of(number: usize, now: Time) -> u64 {
    let start = (3_900_000_000 + 1_000 * number as u64) << 32 | 0x1234_5678;
    start.wrapping_add(rtpcore_core::rtp::clock::ntp_span(now.since(Time::ZERO)))
}

/// A datagram on its way out.
#[derive(Debug)]
pub struct Outgoing {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// For media, which packet it is, so that the world knows what arrived without opening it.
    pub label: Option<Label>,
}

/// One peer.
pub struct Peer {
    sealer: Outbound,
    opener: Inbound,
    number: usize,
    ssrc: Ssrc,
    published: Vec<Published>,
    views: Vec<View>,
    transport_cc: u16,
    outgoing: VecDeque<Outgoing>,
    refused: u64,
    /// Whether it is in the room.
    pub is_present: bool,
}

impl Peer {
    /// A peer that publishes and watches nothing.
    pub fn new(number: usize, keys: &KeyRing) -> Self {
        Self {
            sealer: keys.sealer(),
            opener: keys.opener(64),
            number,
            ssrc: Ssrc(0x0100_0000 + u32::try_from(number).unwrap_or(0)),
            published: Vec::new(),
            views: Vec::new(),
            transport_cc: 0,
            outgoing: VecDeque::new(),
            refused: 0,
            is_present: false,
        }
    }

    /// Begins to publish a track.
    pub fn publish(&mut self, now: Time, track: Track, seed: u64) {
        self.published.push(Published::new(now, track, seed));
    }

    /// Stops publishing.
    pub fn unpublish(&mut self, track: u16) {
        self.published.retain(|published| published.track.number != track);
    }

    /// Begins to watch a copy.
    pub fn watch(&mut self, view: View) {
        self.views.push(view);
    }

    /// The copies it watches.
    pub fn views(&self) -> &[View] {
        &self.views
    }

    /// One of them, by the SSRC of its media.
    pub fn view_mut(&mut self, ssrc: Ssrc) -> Option<&mut View> {
        self.views.iter_mut().find(|view| view.ssrc == ssrc)
    }

    /// The SSRCs it publishes under, for those who forge them.
    pub fn ssrcs(&self) -> Vec<u32> {
        self.published.iter().flat_map(Published::ssrcs).map(|ssrc| ssrc.0).collect()
    }

    /// Datagrams that it could not open.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// Takes a datagram.
    pub fn handle_datagram(&mut self, now: Time, datagram: &[u8], studio: &Studio) {
        let handled = match datagram {
            [_, 192..=223, ..] => self.handle_rtcp(now, datagram),
            _ => self.handle_rtp(now, datagram, studio),
        };
        if !matches!(handled, Ok(()) | Err(Drop::Replayed | Drop::TooOld)) {
            self.refused += 1;
        }
    }

    fn handle_rtp(&mut self, now: Time, datagram: &[u8], studio: &Studio) -> Result<(), Drop> {
        let clear = Header::parse_clear(datagram)?;
        let sealed = ClearHeader {
            ssrc: clear.ssrc,
            sequence_number: clear.sequence_number,
            len: usize::from(clear.payload_offset),
        };
        let mut plain = [0; 2048];
        let len = self.opener.unprotect_rtp(datagram, sealed, &mut plain)?;
        let packet = &plain[..len];
        let header = Header::parse(packet)?;
        let view = self.views.iter_mut().find(|view| view.takes(header.ssrc)).ok_or(Drop::UnknownSsrc)?;
        view.handle_packet(now, &header, packet, studio);
        Ok(())
    }

    fn handle_rtcp(&mut self, now: Time, datagram: &[u8]) -> Result<(), Drop> {
        let mut plain = datagram.to_vec();
        let packets = self.opener.unprotect_rtcp(&mut plain)?;
        for packet in Compound::new(packets) {
            match packet? {
                RtcpPacket::SenderReport(report) => {
                    if let Some(view) = self.views.iter_mut().find(|view| view.ssrc == report.ssrc) {
                        view.handle_sender_report(now, report.info.ntp_time.0);
                    }
                }
                RtcpPacket::ReceiverReport(report) => {
                    for block in report.blocks() {
                        self.published.iter_mut().for_each(|published| published.handle_report(block.ssrc));
                    }
                }
                RtcpPacket::Nack(nack) => {
                    for number in nack.iter() {
                        self.retransmit(nack.media_ssrc, number);
                    }
                }
                RtcpPacket::Pli(pli) => {
                    self.published.iter_mut().for_each(|published| published.handle_pli(pli.media_ssrc));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn retransmit(&mut self, ssrc: Ssrc, number: u16) {
        let Self { published, sealer, transport_cc, outgoing, .. } = self;
        outgoing.extend(
            published.iter_mut().find_map(|published| published.retransmit(ssrc, number, sealer, transport_cc)),
        );
    }

    /// Does what is due; frames that were made go to the studio.
    pub fn handle_timeout(&mut self, now: Time, studio: &mut Studio) {
        let wall = wall_of(self.number, now);
        for published in &mut self.published {
            published.poll_frames(now, &self.sealer, &mut self.transport_cc, studio, &mut self.outgoing);
            if let Some(bytes) = published.poll_report(now, wall, &mut self.sealer) {
                self.outgoing.push_back(Outgoing { bytes, label: None });
            }
        }
        for view in &mut self.views {
            while let Some(bytes) = view.poll_feedback(now, self.ssrc, &mut self.sealer) {
                self.outgoing.push_back(Outgoing { bytes, label: None });
            }
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Time {
        let published = self.published.iter().map(Published::deadline);
        published.chain(self.views.iter().map(View::deadline)).fold(Time::NEVER, Time::min)
    }

    /// The next datagram.
    pub fn poll_transmit(&mut self) -> Option<Outgoing> {
        self.outgoing.pop_front()
    }
}
