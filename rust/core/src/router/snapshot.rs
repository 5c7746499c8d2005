//! The counters of everybody, as a value: taken now and then, never on the way of a packet.

use super::{Copy, Feed, MAX_ENCODINGS, Router};
use crate::parameters::Kind;
use crate::stats::{EncodingStats, Limit, MemberStats, ReceiverStats, SenderStats, Snapshot, Traffic, TransportStats};
use crate::time::Time;

impl Router {
    /// Everything counted since the start.
    pub fn snapshot(&self, now: Time) -> Snapshot {
        Snapshot {
            at: now,
            received: self.received,
            sent: self.sent,
            forwarded: self.forwarded,
            drops: self.drops.clone(),
            added_delay: self.departures.taken(),
            keyframe_wait: self.keyframe_waits,
            transports: self.by_id.values().filter_map(|&index| self.transport_stats(index)).collect(),
            receivers: self.feed_by_id.values().filter_map(|&index| self.receiver_stats(now, index)).collect(),
            members: self.members_stats(),
            senders: self.copy_by_id.values().filter_map(|&index| self.sender_stats(index)).collect(),
        }
    }

    fn transport_stats(&self, index: usize) -> Option<TransportStats> {
        let transport = self.transports.get(index)?;
        Some(TransportStats {
            transport: transport.id,
            state: transport.state,
            received: transport.received,
            sent: transport.sent,
            drops: transport.drops.clone(),
            srtp_profile: transport.profile,
            bandwidth: transport.bandwidth.as_ref().map(|bandwidth| bandwidth.stats()),
        })
    }

    fn receiver_stats(&self, now: Time, index: usize) -> Option<ReceiverStats> {
        let feed = self.feeds.get(index)?;
        let intake = feed.intake.as_ref()?;
        let encodings = (0..MAX_ENCODINGS)
            .map_while(|encoding| {
                let number = u8::try_from(encoding).ok()?;
                let stats = intake.receiver.stats(number, now)?;
                let rate = intake.receiver.clock(number).map_or_else(
                    || intake.receiver.codecs().first().map_or(90_000, |codec| codec.clock_rate),
                    |clock| clock.clock_rate,
                );
                let size = intake.readers.get(encoding).and_then(|reader| {
                    (0..8).rev().find_map(|spatial| reader.resolution(spatial)).map(|size| (size.width, size.height))
                });
                Some(EncodingStats {
                    received: Traffic { packets: stats.media.packets, bytes: stats.media.bytes },
                    lost: i64::try_from(stats.lost).unwrap_or(i64::MAX),
                    jitter_ms: u32::try_from(u64::from(stats.jitter) * 1000 / u64::from(rate.max(1))).unwrap_or(0),
                    bitrate: stats.bitrate,
                    frames_per_second: u32::try_from(stats.frame_rate).unwrap_or(0),
                    size,
                    recovered: stats.recovered,
                    nacks: stats.nacked,
                    keyframe_requests: intake.keyframe_requests.get(encoding).copied().unwrap_or(0),
                })
            })
            .collect();
        Some(ReceiverStats { receiver: feed.id, encodings, followers: feed.follower_count() })
    }

    fn members_stats(&self) -> Vec<MemberStats> {
        let mut members: Vec<_> = self.hubs.values().flat_map(crate::data::Hub::stats).collect();
        members.sort_unstable_by_key(|member| member.member);
        members
    }

    fn sender_stats(&self, index: usize) -> Option<SenderStats> {
        let copy = self.copies.get(index)?;
        let stats = copy.sender.as_ref().map(crate::send::Sender::stats);
        let feed = self.feed_by_id.get(&copy.source).and_then(|&feed| self.feeds.get(feed));
        Some(SenderStats {
            sender: copy.id,
            sent: stats.map_or(Traffic::default(), |stats| Traffic { packets: stats.packets, bytes: stats.octets }),
            nacks: copy.nacks,
            fec_packets: copy.protection.as_ref().map_or(0, |protection| protection.sent),
            playout_delay_ms: u32::try_from(copy.playout.delay().as_millis()).unwrap_or(u32::MAX),
            wished: feed.map(|feed| super::wishes::most_of(copy, feed)),
            granted: copy.share.granted,
            limit: feed.map_or(Limit::Source, |feed| limit_of(copy, feed)),
            keyframe_wait_ms: copy.wait.last_ms(),
            retransmitted: stats.map_or(0, |stats| stats.retransmissions),
            dropped: copy.dropped,
            layer: copy.sender.as_ref().and_then(crate::send::Sender::layer),
            fraction_lost: stats.map_or(0, |stats| stats.last_block.fraction_lost),
            round_trip_ms: stats.and_then(|stats| stats.rtt).and_then(|rtt| u32::try_from(rtt.as_millis()).ok()),
        })
    }
}

/// Why a subscriber does not get more of a track: the first reason that holds.
fn limit_of(copy: &Copy, feed: &Feed) -> Limit {
    let (Some(sender), wished) = (&copy.sender, super::wishes::most_of(copy, feed)) else { return Limit::Source };
    if copy.is_paused {
        return Limit::Paused;
    }
    if copy.share.is_starved {
        return Limit::Bandwidth;
    }
    if feed.liveness.live() == 0 {
        return Limit::Publisher;
    }
    if sender.wants_keyframe().is_some() {
        return Limit::Keyframe;
    }
    if copy.parameters.kind == Kind::Audio {
        return Limit::None;
    }
    if copy.share.is_cut {
        return Limit::Bandwidth;
    }
    let encodings = feed.parameters.as_ref().map_or(0, |parameters| parameters.encodings.len());
    if encodings < 2 || usize::from(wished.spatial) + 1 >= encodings {
        Limit::None
    } else if copy.most.spatial <= wished.spatial {
        Limit::Wish
    } else {
        Limit::Publisher
    }
}
