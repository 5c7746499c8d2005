//! The part of LiveKit's signalling that a client with media needs, by field number (`livekit_rtc.proto`, protocol 16).
//!
//! Written by hand so that no protobuf compiler is needed; what is left out is skipped when it comes.

use prost::{Message, Oneof};

/// What a client sends.
#[derive(Clone, PartialEq, Message)]
pub struct SignalRequest {
    /// One of many.
    #[prost(oneof = "Request", tags = "1, 2, 4, 8, 16")]
    pub message: Option<Request>,
}

/// Alternatives of [`SignalRequest`].
#[derive(Clone, PartialEq, Oneof)]
pub enum Request {
    /// Of the publisher's peer connection.
    #[prost(message, tag = "1")]
    Offer(SessionDescription),
    /// Of the subscriber's peer connection.
    #[prost(message, tag = "2")]
    Answer(SessionDescription),
    /// A track that an offer will hold.
    #[prost(message, tag = "4")]
    AddTrack(AddTrackRequest),
    /// Good-bye.
    #[prost(message, tag = "8")]
    Leave(LeaveRequest),
    /// Keeps the session alive.
    #[prost(message, tag = "16")]
    PingReq(Ping),
}

/// What a server sends.
#[derive(Clone, PartialEq, Message)]
pub struct SignalResponse {
    /// One of many; none where it is of no concern here.
    #[prost(oneof = "Response", tags = "1, 2, 3, 4, 6, 8, 22")]
    pub message: Option<Response>,
}

/// Alternatives of [`SignalResponse`].
#[derive(Clone, PartialEq, Oneof)]
pub enum Response {
    /// The first of all.
    #[prost(message, tag = "1")]
    Join(JoinResponse),
    /// To the publisher's offer.
    #[prost(message, tag = "2")]
    Answer(SessionDescription),
    /// Of the subscriber's peer connection.
    #[prost(message, tag = "3")]
    Offer(SessionDescription),
    /// A candidate.
    #[prost(message, tag = "4")]
    Trickle(TrickleRequest),
    /// A track that was added may be offered.
    #[prost(message, tag = "6")]
    TrackPublished(TrackPublishedResponse),
    /// The server ends the session.
    #[prost(message, tag = "8")]
    Leave(LeaveRequest),
    /// What became of a request, where that is worth a word.
    #[prost(message, tag = "22")]
    RequestResponse(RequestResponse),
}

/// The room is known.
#[derive(Clone, PartialEq, Message)]
pub struct JoinResponse {
    /// The server offers its peer connection at once.
    #[prost(bool, tag = "6")]
    pub subscriber_primary: bool,
    /// Seconds between two pings.
    #[prost(int32, tag = "11")]
    pub ping_interval: i32,
}

/// An offer or an answer.
#[derive(Clone, PartialEq, Message)]
pub struct SessionDescription {
    /// `offer` or `answer`.
    #[prost(string, tag = "1")]
    pub kind: String,
    /// RFC 8866.
    #[prost(string, tag = "2")]
    pub sdp: String,
    /// Which offer an answer is to.
    #[prost(uint32, tag = "3")]
    pub id: u32,
}

/// One candidate, or that there are no more.
#[derive(Clone, PartialEq, Message)]
pub struct TrickleRequest {
    /// RTCIceCandidateInit as JSON.
    #[prost(string, tag = "1")]
    pub candidate_init: String,
    /// 0 the publisher's peer connection, 1 the subscriber's.
    #[prost(int32, tag = "2")]
    pub target: i32,
}

/// A track to publish.
#[derive(Clone, PartialEq, Message)]
pub struct AddTrackRequest {
    /// The track's part of `a=msid`.
    #[prost(string, tag = "1")]
    pub cid: String,
    /// What users call it.
    #[prost(string, tag = "2")]
    pub name: String,
    /// 0 audio, 1 video.
    #[prost(int32, tag = "3")]
    pub kind: i32,
    /// Pixels.
    #[prost(uint32, tag = "4")]
    pub width: u32,
    /// Pixels.
    #[prost(uint32, tag = "5")]
    pub height: u32,
    /// 1 camera, 2 microphone.
    #[prost(int32, tag = "8")]
    pub source: i32,
    /// The encodings.
    #[prost(message, repeated, tag = "9")]
    pub layers: Vec<VideoLayer>,
    /// Plain Opus.
    #[prost(bool, tag = "13")]
    pub disable_red: bool,
}

/// One encoding of a video track.
#[derive(Clone, PartialEq, Message)]
pub struct VideoLayer {
    /// 0 low, 1 medium, 2 high.
    #[prost(int32, tag = "1")]
    pub quality: i32,
    /// Pixels.
    #[prost(uint32, tag = "2")]
    pub width: u32,
    /// Pixels.
    #[prost(uint32, tag = "3")]
    pub height: u32,
    /// Bits per second.
    #[prost(uint32, tag = "4")]
    pub bitrate: u32,
}

/// A track is accepted.
#[derive(Clone, PartialEq, Message)]
pub struct TrackPublishedResponse {
    /// That of the request.
    #[prost(string, tag = "1")]
    pub cid: String,
}

/// The end.
#[derive(Clone, PartialEq, Message)]
pub struct LeaveRequest {
    /// A `DisconnectReason`; 1 is the client's own wish.
    #[prost(int32, tag = "2")]
    pub reason: i32,
}

/// A client's ping, with what the last one took.
#[derive(Clone, PartialEq, Message)]
pub struct Ping {
    /// Milliseconds of the client's clock.
    #[prost(int64, tag = "1")]
    pub timestamp: i64,
    /// Milliseconds.
    #[prost(int64, tag = "2")]
    pub rtt: i64,
}

/// What became of a request.
#[derive(Clone, PartialEq, Message)]
pub struct RequestResponse {
    /// 0 is well.
    #[prost(int32, tag = "2")]
    pub reason: i32,
    /// In words.
    #[prost(string, tag = "3")]
    pub message: String,
}
