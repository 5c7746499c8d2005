//! One LiveKit client: its signalling, and a peer connection for each direction (protocol 16, `/rtc`).

use std::io;
use std::net::IpAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use mio::net::TcpStream;
use str0m::change::SdpPendingOffer;
use str0m::media::Mid;

use crate::count::Totals;
use crate::media::{Kind, Source};
use crate::messages::{
    AddTrackRequest, JoinResponse, LeaveRequest, Ping, Request, Response, SessionDescription, VideoLayer,
};
use crate::peer::{Peer, PeerError, Reading, Sink};
use crate::plan::Member;
use crate::sdp;
use crate::signal::{Server, Signal, SignalError};
use crate::socket::{Inbox, wall_ns};

/// Why a client takes no part.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// In signalling.
    #[error(transparent)]
    Signal(#[from] SignalError),
    /// In a peer connection.
    #[error("{0} peer connection: {1}")]
    Peer(&'static str, PeerError),
    /// The server ended the session.
    #[error("sent away by the server, reason {0}")]
    SentAway(i32),
    /// The server declined a request.
    #[error("the server declined: {1} (reason {0})")]
    Declined(i32, String),
    /// Its time was over.
    #[error("after {0} s, {1}")]
    Late(f64, &'static str),
    /// It had all that it needs, and has it no more.
    #[error("at the end, {0}")]
    Lost(&'static str),
}

/// Which of a client's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The websocket.
    Signal,
    /// The peer connection for its own tracks.
    Publisher,
    /// The one for the others' tracks.
    Subscriber,
}

/// A track of its own.
pub struct Track {
    /// Its packets.
    pub source: Source,
    id: String,
    mid: Option<Mid>,
}

/// One client.
pub struct Client {
    /// Why it takes no part any more.
    pub failure: Option<ClientError>,
    /// When its websocket began to connect.
    pub began_at: Instant,
    /// When the room was known.
    pub joined_at: Option<Instant>,
    /// When the next ping is due.
    pub ping_at: Option<Instant>,
    /// What it sends.
    pub tracks: Vec<Track>,
    signal: Signal,
    publisher: Option<Peer>,
    subscriber: Option<Peer>,
    expected_streams: usize,
    address: IpAddr,
    reading: Reading,
    pending: Option<SdpPendingOffer>,
    accepted: usize,
    ping_interval: std::time::Duration,
}

impl Client {
    /// Begins to connect.
    pub fn open(
        server: &Server,
        member: &Member,
        settings: Settings,
        now: Instant,
        register: impl FnOnce(&mut TcpStream) -> io::Result<()>,
    ) -> Result<Self, ClientError> {
        let kinds = [(member.audio, Kind::Audio, "load-audio"), (member.video, Kind::Video, "load-video")];
        let tracks = kinds.into_iter().filter(|&(publishes, ..)| publishes).map(|(_, kind, id)| Track {
            source: Source::new(kind, settings.packets_per_frame, now),
            id: id.to_owned(),
            mid: None,
        });
        Ok(Self {
            failure: None,
            began_at: now,
            joined_at: None,
            ping_at: None,
            tracks: tracks.collect(),
            signal: Signal::open(server, &member.token, member.subscribes, register)?,
            publisher: None,
            subscriber: None,
            expected_streams: settings.expected_streams,
            address: settings.address,
            reading: settings.reading,
            pending: None,
            accepted: 0,
            ping_interval: std::time::Duration::from_secs(5),
        })
    }

    /// Reads the websocket and does what the server says.
    pub fn handle_signal(&mut self, now: Instant) -> Result<(), ClientError> {
        let mut responses = Vec::new();
        let result = self.signal.ready(|response| responses.push(response));
        for response in responses {
            self.handle(response, now)?;
        }
        Ok(result?)
    }

    fn handle(&mut self, response: Response, now: Instant) -> Result<(), ClientError> {
        match response {
            Response::Join(join) => self.begin(&join, now)?,
            Response::TrackPublished(_) => self.offer_when_accepted()?,
            Response::Answer(answer) => {
                if let (Some(peer), Some(pending)) = (&mut self.publisher, self.pending.take()) {
                    peer.accept_answer(pending, &answer.sdp).map_err(of_publisher)?;
                    peer.timeout = now;
                }
            }
            Response::Offer(offer) => {
                if let Some(peer) = &mut self.subscriber {
                    let sdp = peer.accept_offer(&offer.sdp).map_err(of_subscriber)?;
                    peer.timeout = now;
                    let answer = SessionDescription { kind: "answer".to_owned(), sdp, id: offer.id };
                    self.signal.send(Request::Answer(answer))?;
                }
            }
            Response::Trickle(trickle) => {
                let peer = if trickle.target == 0 { &mut self.publisher } else { &mut self.subscriber };
                if let (Some(peer), Some(candidate)) = (peer, sdp::candidate_of(&trickle.candidate_init)) {
                    peer.add_candidate(&candidate);
                    peer.timeout = now;
                }
            }
            Response::Leave(leave) => return Err(ClientError::SentAway(leave.reason)),
            Response::RequestResponse(told) if told.reason != 0 => {
                return Err(ClientError::Declined(told.reason, told.message));
            }
            Response::RequestResponse(_) => {}
        }
        Ok(())
    }

    fn begin(&mut self, join: &JoinResponse, now: Instant) -> Result<(), ClientError> {
        self.joined_at = Some(now);
        self.ping_interval = std::time::Duration::from_secs(u64::try_from(join.ping_interval).unwrap_or(0).max(1));
        self.ping_at = Some(now + self.ping_interval);
        if join.subscriber_primary || self.expected_streams > 0 {
            self.subscriber = Some(Peer::new(self.address, self.reading, now).map_err(of_subscriber)?);
        }
        if !self.tracks.is_empty() {
            self.publisher = Some(Peer::new(self.address, Reading::All, now).map_err(of_publisher)?);
        }
        for track in &self.tracks {
            self.signal.send(Request::AddTrack(request_for(track)))?;
        }
        Ok(())
    }

    /// Offers all tracks in one go, as soon as the server knows of the last.
    fn offer_when_accepted(&mut self) -> Result<(), ClientError> {
        self.accepted += 1;
        let Some(peer) = self.publisher.as_mut().filter(|_| self.accepted == self.tracks.len()) else { return Ok(()) };
        let tracks: Vec<_> = self.tracks.iter().map(|track| (track.source.kind, track.id.as_str())).collect();
        let Some((sdp, pending, mids)) = peer.offer(&tracks) else { return Ok(()) };
        self.pending = Some(pending);
        for (track, mid) in self.tracks.iter_mut().zip(mids) {
            track.mid = Some(mid);
        }
        Ok(self.signal.send(Request::Offer(SessionDescription { kind: "offer".to_owned(), sdp, id: 1 }))?)
    }

    /// A peer connection, if there is one.
    pub fn peer(&mut self, part: Part) -> Option<&mut Peer> {
        match part {
            Part::Signal => None,
            Part::Publisher => self.publisher.as_mut(),
            Part::Subscriber => self.subscriber.as_mut(),
        }
    }

    /// Receives on a peer connection's socket.
    pub fn receive(
        &mut self,
        part: Part,
        inbox: &mut Inbox,
        now: Instant,
        sink: &mut impl Sink,
    ) -> Result<(), ClientError> {
        let Some(peer) = self.peer(part) else { return Ok(()) };
        let result = peer.receive(inbox, now, sink).map_err(of(part));
        self.heed_keyframe_requests();
        result
    }

    /// Lets a peer connection do what its time has come for.
    pub fn handle_timeout(&mut self, part: Part, now: Instant, sink: &mut impl Sink) -> Result<(), ClientError> {
        let Some(peer) = self.peer(part) else { return Ok(()) };
        peer.handle_timeout(now, sink).map_err(of(part))
    }

    fn heed_keyframe_requests(&mut self) {
        let asked = self.publisher.as_mut().map(Peer::keyframes).unwrap_or_default();
        for track in self.tracks.iter_mut().filter(|track| track.mid.is_some_and(|mid| asked.contains(&mid))) {
            track.source.request_keyframe();
        }
    }

    /// Sends a track's next frame.
    pub fn send_frame(&mut self, index: usize, now: Instant, sink: &mut impl Sink) -> Result<(), ClientError> {
        let track = &mut self.tracks[index];
        let (Some(peer), Some(mid)) = (self.publisher.as_mut(), track.mid) else { return Ok(()) };
        let kind = track.source.kind;
        track.source.make_frame(now, wall_ns, |packet| peer.send(mid, kind, packet, now));
        // All of it in one train, as encoders give it to a network that is not the bottleneck.
        peer.handle_timeout(now, sink).map_err(of_publisher)
    }

    /// Keeps the session alive.
    pub fn ping(&mut self, now: Instant) -> Result<(), ClientError> {
        self.ping_at = Some(now + self.ping_interval);
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let timestamp = i64::try_from(clock.as_millis()).unwrap_or(0);
        Ok(self.signal.send(Request::PingReq(Ping { timestamp, rtt: 1 }))?)
    }

    /// Says good-bye.
    pub fn leave(&mut self) {
        // Whoever leaves has no use for an error.
        let _ = self.signal.send(Request::Leave(LeaveRequest { reason: 1 }));
    }

    /// Whether its tracks may flow.
    pub fn can_send(&self) -> bool {
        self.publisher.as_ref().is_some_and(Peer::is_connected)
    }

    /// What it still waits for.
    pub fn lacks(&self) -> Option<&'static str> {
        let is_connected = |peer: &Option<Peer>| peer.as_ref().is_none_or(Peer::is_connected);
        if self.joined_at.is_none() {
            Some("the room is not known")
        } else if !is_connected(&self.publisher) {
            Some("the publisher's peer connection is not there")
        } else if !is_connected(&self.subscriber) {
            Some("the subscriber's peer connection is not there")
        } else if self.subscriber.as_ref().map_or(0, |peer| peer.counter.streams()) < self.expected_streams {
            Some("not all of the others' tracks have come")
        } else {
            None
        }
    }

    /// What it has received.
    pub fn totals(&self) -> Totals {
        self.subscriber.as_ref().map_or_else(Totals::default, |peer| peer.counter.totals())
    }

    /// Packets that it has sent.
    pub fn sent(&self) -> u64 {
        self.tracks.iter().map(|track| track.source.sent).sum()
    }

    /// The peer connection by which it is known to be there: the subscriber's, if it has one.
    pub fn primary(&self) -> Option<&Peer> {
        self.subscriber.as_ref().or(self.publisher.as_ref())
    }
}

/// What is the same for all clients, or given to each by the load.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Tracks that the others in its room have.
    pub expected_streams: usize,
    /// Of this machine, as the server may reach it.
    pub address: IpAddr,
    /// Of a subscriber.
    pub reading: Reading,
    /// Of a video track.
    pub packets_per_frame: u32,
}

fn request_for(track: &Track) -> AddTrackRequest {
    let plain = AddTrackRequest { cid: track.id.clone(), name: track.id.clone(), ..AddTrackRequest::default() };
    match track.source.kind {
        Kind::Audio => AddTrackRequest { kind: 0, source: 2, disable_red: true, ..plain },
        Kind::Video => {
            let (width, height) = (1280, 720);
            let layers = vec![VideoLayer { quality: 2, width, height, bitrate: 2_000_000 }];
            AddTrackRequest { kind: 1, source: 1, width, height, layers, ..plain }
        }
    }
}

fn of(part: Part) -> fn(PeerError) -> ClientError {
    if part == Part::Publisher { of_publisher } else { of_subscriber }
}

fn of_publisher(error: PeerError) -> ClientError {
    ClientError::Peer("publisher's", error)
}

fn of_subscriber(error: PeerError) -> ClientError {
    ClientError::Peer("subscriber's", error)
}
