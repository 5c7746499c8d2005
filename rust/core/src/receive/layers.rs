//! What each layer of a track costs a subscriber, measured as its packets come in.

use core::time::Duration;

use super::rate::Rate;
use crate::allocate::{Costs, MAX_SPATIAL, MAX_TEMPORAL};
use crate::packet::Packet;
use crate::time::Time;

/// What a packet has besides its payload, on the wire of a subscriber: IPv4, UDP, RTP with usual extensions, an SRTP tag.
pub const OVERHEAD: u32 = 20 + 8 + 32 + 16;
/// How often the measured rates are looked at.
const REFRESH: Duration = Duration::from_millis(100);
/// Of a rate that fell, this part of the fall is believed each time: a speaker pauses, a camera does not.
const DECAY: u64 = 8;
/// What keyframes cost is averaged over so long: one passes on what the pacer spreads, one a second does not.
const KEYFRAMES: Duration = Duration::from_secs(4);
/// What a layer is thought to cost before its first frames are measured, by encoding: LiveKit's presets for 720p.
const FIRST: [u64; MAX_SPATIAL] = [160_000, 450_000, 1_700_000];

/// The rates of one track's layers.
#[derive(Clone, Debug, Default)]
pub struct LayerRates {
    rates: [[Rate; MAX_TEMPORAL]; MAX_SPATIAL],
    /// Of each layer alone, in bits per second, falling slowly.
    smoothed: Costs,
    /// Bytes of keyframes of each spatial layer since they were last looked at, and in bits per second over a while.
    keyframes: [u64; MAX_SPATIAL],
    averaged: [u64; MAX_SPATIAL],
    refreshed_at: Time,
}

impl LayerRates {
    /// Counts a packet that is a simulcast encoding's (`is_simulcast`), or of a spatial layer by its descriptor.
    ///
    /// Keyframes are counted by themselves, over a longer time: they come once in a while, unless there are many who ask. A
    /// track of nothing else is taken for what [`FIRST`] says.
    pub fn handle_packet(&mut self, now: Time, packet: &Packet, is_simulcast: bool) {
        let descriptor = &packet.descriptor;
        let spatial = if is_simulcast { packet.encoding } else { descriptor.spatial };
        if descriptor.keyframe && descriptor.temporal == 0 && !is_opaque(packet) {
            if let Some(bytes) = self.keyframes.get_mut(usize::from(spatial).min(MAX_SPATIAL - 1)) {
                *bytes += u64::from(packet.header.payload_len) + u64::from(OVERHEAD);
            }
            return;
        }
        let row = self.rates.get_mut(usize::from(spatial).min(MAX_SPATIAL - 1));
        if let Some(rate) = row.and_then(|row| row.get_mut(usize::from(descriptor.temporal).min(MAX_TEMPORAL - 1))) {
            rate.add(now, u32::from(packet.header.payload_len) + OVERHEAD);
        }
    }

    /// What it costs to have each layer, in bits per second: with the temporal layers below it, and in SVC with the spatial
    /// ones. `live` says by bit which encodings are sent; others cost nothing, since there is nothing.
    pub fn costs(&mut self, now: Time, is_simulcast: bool, live: u8) -> Costs {
        self.refresh(now);
        let mut costs = self.smoothed;
        for (spatial, row) in costs.iter_mut().enumerate() {
            let is_live = live & (1 << spatial) != 0;
            let mut sum = self.averaged.get(spatial).copied().unwrap_or(0);
            if is_simulcast && !is_live {
                row.fill(0);
            } else if row.iter().all(|&cost| cost == 0) && (is_live && is_simulcast || spatial == 0 && live != 0) {
                row[0] = FIRST.get(spatial).copied().unwrap_or(0);
                sum = 0;
            }
            for cost in row.iter_mut().filter(|cost| **cost > 0) {
                sum += *cost;
                *cost = sum;
            }
        }
        if !is_simulcast {
            stack(&mut costs);
        }
        costs
    }

    fn refresh(&mut self, now: Time) {
        if self.refreshed_at != Time::ZERO && now.since(self.refreshed_at) < REFRESH {
            return;
        }
        let over = u64::try_from(KEYFRAMES.as_millis()).unwrap_or(1);
        let passed = u64::try_from(now.since(self.refreshed_at).as_millis()).unwrap_or(over).min(over);
        self.refreshed_at = now;
        for (bytes, averaged) in self.keyframes.iter_mut().zip(&mut self.averaged) {
            *averaged = *averaged * (over - passed) / over + core::mem::take(bytes).saturating_mul(8000) / over;
        }
        for (rate, smoothed) in self.rates.iter().flatten().zip(self.smoothed.iter_mut().flatten()) {
            let bps = rate.per_second(now).saturating_mul(8);
            // What stopped altogether is gone at once: it is no layer any more.
            *smoothed = if bps == 0 || bps >= *smoothed { bps } else { *smoothed - (*smoothed - bps) / DECAY };
        }
    }
}

/// In SVC each spatial layer needs those below it, at its own frame rate.
fn stack(costs: &mut Costs) {
    let mut below = [0; MAX_TEMPORAL];
    for row in costs.iter_mut() {
        let mut last = 0;
        for (cost, below) in row.iter_mut().zip(&mut below) {
            last = (*below).max(last);
            if *cost > 0 {
                *cost += last;
                *below = *cost;
            }
        }
    }
}

/// A payload that cannot be read passes for a keyframe in every packet.
fn is_opaque(packet: &Packet) -> bool {
    packet.descriptor == crate::payload::Descriptor::OPAQUE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(encoding: u8, spatial: u8, temporal: u8, payload_len: u16) -> Packet {
        let mut packet = Packet { encoding, ..Packet::BLANK };
        packet.header.payload_len = payload_len;
        packet.descriptor.keyframe = false;
        packet.descriptor.spatial = spatial;
        packet.descriptor.temporal = temporal;
        packet
    }

    /// A second of 1000 bytes on the wire per frame, at 25 frames a second of two temporal layers.
    fn second(rates: &mut LayerRates, from: u64, encoding: u8, spatial: u8, is_simulcast: bool) {
        for frame in 0..25 {
            let temporal = u8::from(frame % 2 == 1);
            let len = u16::try_from(1000 - OVERHEAD).unwrap();
            let packet = packet(encoding, spatial, temporal, len);
            rates.handle_packet(Time::from_millis(from + frame * 40), &packet, is_simulcast);
        }
    }

    #[test]
    fn temporal_layers_add_up() {
        let mut rates = LayerRates::default();
        second(&mut rates, 1000, 1, 0, true);
        let costs = rates.costs(Time::from_millis(1990), true, 0b010);
        assert_eq!(costs[0], [0; 4], "not sent");
        let [half, whole, none, _] = costs[1];
        assert!((100_000..110_000).contains(&half) && (195_000..210_000).contains(&whole) && none == 0, "{costs:?}");
    }

    #[test]
    fn spatial_layers_of_one_encoding_add_up_and_those_of_simulcast_do_not() {
        let mut svc = LayerRates::default();
        second(&mut svc, 1000, 0, 0, false);
        second(&mut svc, 1000, 0, 1, false);
        let costs = svc.costs(Time::from_millis(1990), false, 1);
        assert!((390_000..420_000).contains(&costs[1][1]), "{costs:?}");
        assert!((190_000..220_000).contains(&costs[1][0]), "the layer below at its own frame rate: {costs:?}");
    }

    #[test]
    fn what_was_not_measured_is_guessed_and_what_is_not_sent_is_not_there() {
        let mut rates = LayerRates::default();
        let costs = rates.costs(Time::from_millis(5), true, 0b101);
        assert_eq!([costs[0][0], costs[1][0], costs[2][0]], [FIRST[0], 0, FIRST[2]]);
        assert_eq!(rates.costs(Time::from_millis(5), false, 0b001)[0][0], FIRST[0]);
        assert_eq!(rates.costs(Time::from_millis(5), false, 0), Costs::default());
    }

    #[test]
    fn a_rate_rises_at_once_and_falls_slowly() {
        let mut rates = LayerRates::default();
        second(&mut rates, 1000, 0, 0, true);
        let before = rates.costs(Time::from_millis(1990), true, 1)[0][1];
        // Half of the frames from now on.
        for frame in 0..12 {
            rates.handle_packet(Time::from_millis(2000 + frame * 80), &packet(0, 0, 0, 924), true);
            rates.handle_packet(Time::from_millis(2000 + frame * 80), &packet(0, 0, 1, 10), true);
        }
        let after = rates.costs(Time::from_millis(2990), true, 1)[0][1];
        assert!(after < before && after > before * 3 / 4, "{before} {after}");
    }

    #[test]
    fn one_keyframe_costs_little_and_one_a_second_what_it_is() {
        let mut rates = LayerRates::default();
        let mut cost = |from: u64| {
            let mut key = packet(0, 0, 0, 24_924);
            key.descriptor.keyframe = true;
            key.descriptor.frame_end = false;
            rates.handle_packet(Time::from_millis(from), &key, true);
            second(&mut rates, from, 0, 0, true);
            rates.costs(Time::from_millis(from + 990), true, 1)[0][1]
        };
        let first = cost(1000);
        assert!((240_000..260_000).contains(&first), "200 kbit/s of frames, and one of 25 kB: {first}");
        let last = (2..20).map(|n| cost(n * 1000)).last().unwrap();
        assert!((370_000..430_000).contains(&last), "{last}");
    }

    #[test]
    fn keyframes_alone_tell_nothing() {
        let mut rates = LayerRates::default();
        let mut key = packet(0, 0, 0, 1000);
        key.descriptor.keyframe = true;
        key.descriptor.frame_end = false;
        (0..50).for_each(|n| rates.handle_packet(Time::from_millis(1000 + n), &key, true));
        assert_eq!(rates.costs(Time::from_millis(1100), true, 1)[0][0], FIRST[0]);
    }
}
