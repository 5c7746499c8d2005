//! Why a packet went no further: every early exit of the packet path has a name and a counter.

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $label:literal,)*) => {
        /// Why a packet went no further.
        ///
        /// A peer's bad packet is never an error, only one of these, counted per transport and per worker.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Drop { $($(#[$doc])* $name,)* }

        impl Drop {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason as a metric label: lower case with underscores.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

reasons! {
    /// The first byte belongs to no protocol that shares this port (RFC 7983).
    UnknownProtocol => "unknown_protocol",
    /// Media from an address that no transport has nominated.
    UnknownAddress => "unknown_address",
    /// A STUN message that does not parse, or whose integrity check fails.
    BadStun => "bad_stun",
    /// A STUN request whose user name no transport answers to.
    UnknownUfrag => "unknown_ufrag",
    /// DTLS records that the handshake or the association refuses.
    BadDtls => "bad_dtls",
    /// An SCTP packet that does not parse or belongs to no association.
    BadSctp => "bad_sctp",
    /// A data channel message that breaks DCEP or the limits (RFC 8832).
    BadDataChannel => "bad_data_channel",
    /// A message on a channel with framing that is not framed so, or means different things to different readers.
    BadDataPacket => "bad_data_packet",
    /// A packet of a data track that was not announced.
    UnknownDataTrack => "unknown_data_track",
    /// The sender may not say this, or nothing at all.
    NotPermitted => "not_permitted",
    /// A data message nobody could take: the reader is too slow.
    SlowReader => "slow_reader",
    /// Media before DTLS finished.
    NoKeys => "no_keys",
    /// Larger than any packet that can be forwarded.
    Oversized => "oversized",
    /// The RTP header, its extensions or its padding do not fit the packet.
    BadRtp => "bad_rtp",
    /// The RTCP lengths do not fit the packet, or no known packet is in it.
    BadRtcp => "bad_rtcp",
    /// Feedback on bandwidth from a peer that agreed on none, or that says what cannot be.
    BadFeedback => "bad_feedback",
    /// SRTP or SRTCP authentication failed: forged, damaged or sealed with another key.
    BadAuth => "bad_auth",
    /// An index that was seen before (RFC 3711 §3.3.2).
    Replayed => "replayed",
    /// An index older than the replay window.
    TooOld => "too_old",
    /// An SSRC that no track claims, by number, mid or rid.
    UnknownSsrc => "unknown_ssrc",
    /// More SSRCs than one peer may bring.
    TooManySsrcs => "too_many_ssrcs",
    /// A payload type the track did not negotiate.
    UnknownPayloadType => "unknown_payload_type",
    /// A payload descriptor that does not parse.
    BadPayload => "bad_payload",
    /// Nothing but padding: a bandwidth probe, useful only as an arrival.
    PaddingOnly => "padding_only",
    /// A retransmission (RFC 4588) of nothing: no original number in it, or no stream it belongs to.
    BadRtx => "bad_rtx",
    /// A repair packet that does not parse, or repairs no stream of ours.
    BadFec => "bad_fec",
    /// The same packet or message arrived before, in the original or again.
    Duplicate => "duplicate",
    /// Nobody follows the track.
    NoFollower => "no_follower",
    /// The subscriber paused this sender.
    Paused => "paused",
    /// An encoding or a layer other than the one selected.
    OtherLayer => "other_layer",
    /// Waiting for a keyframe of the selected source.
    AwaitingKeyframe => "awaiting_keyframe",
    /// Came after the numbers around it were handed out or the stream moved on.
    TooLate => "too_late",
    /// The receiving side of a subscriber is not connected.
    NotConnected => "not_connected",
    /// The send queue of a subscriber or the socket is full.
    QueueFull => "queue_full",
    /// A retransmission was asked for what is no longer kept.
    NotInHistory => "not_in_history",
    /// A retransmission was asked for again before the last one can have arrived.
    RetransmittedRecently => "retransmitted_recently",
    /// The kernel refused to send it.
    SendFailed => "send_failed",
    /// The queue to another worker is full.
    WorkerBusy => "worker_busy",
    /// A fault of ours in one peer's code, caught at its border; that peer is closed.
    Panicked => "panicked",
}

/// One counter per [`Drop`] reason, cumulative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DropCounts([u64; Drop::ALL.len()]);

impl DropCounts {
    /// Counts one packet. Never fails.
    pub fn count(&mut self, reason: Drop) {
        if let Some(n) = self.0.get_mut(reason as usize) {
            *n += 1;
        }
    }

    /// How many packets were dropped for `reason`.
    pub fn get(&self, reason: Drop) -> u64 {
        self.0.get(reason as usize).copied().unwrap_or(0)
    }

    /// How many packets were dropped, for all reasons together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Adds another set of counters to this one.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// The reasons that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Drop, u64)> + '_ {
        Drop::ALL.iter().copied().zip(self.0.iter().copied()).filter(|&(_, n)| n > 0)
    }
}

impl Default for DropCounts {
    fn default() -> Self {
        Self([0; Drop::ALL.len()])
    }
}
