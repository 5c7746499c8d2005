//! An estimator between a sender and a receiver that says anything: whatever it hears, its target stays within bounds, and
//! no deadline stays due.
//!
//! The input is a row of operations, a byte each: the low three bits say what, the rest how much time passes.
#![no_main]

use core::time::Duration;

use libfuzzer_sys::fuzz_target;
use rtpcore_core::bwe::{Estimator, Settings};
use rtpcore_core::rtcp::{Compound, RtcpPacket};
use rtpcore_core::{Bitrate, Time};
use rtpcore_fuzz::Input;

fuzz_target!(|data: &[u8]| {
    let mut now = Time::ZERO;
    let [start, min, max] = [300_000, 30_000, 10_000_000].map(Bitrate::from_bps);
    let mut estimator = Estimator::new(now, Settings { start, min, max });
    let mut cluster = None;
    let mut input = Input(data);
    while let Some(operation) = input.byte() {
        now = now + Duration::from_millis(u64::from(operation >> 3) * 2);
        if operation & 7 < 3 {
            let Some(size) = input.short() else { return };
            let probe = cluster.filter(|_| operation & 7 == 2);
            match operation & 7 {
                0 => estimator.handle_unnumbered(now, size.into()),
                _ => drop(estimator.handle_sent(now, size.into(), probe)),
            }
        } else if operation & 7 < 6 {
            let Some(body) = input.chunk() else { return };
            hear(&mut estimator, now, body);
        } else if operation & 7 == 6 {
            let Some(much) = input.short() else { return };
            // From nothing to far beyond any link.
            let much = u64::from(much & 0xFFF) << (much >> 12 << 2);
            estimator.set_wanted(now, Bitrate::from_bps(much));
            estimator.handle_loss(now, much.to_be_bytes()[7], much);
            estimator.handle_round_trip(Duration::from_micros(much));
        } else {
            estimator.handle_timeout(now);
            assert!(!estimator.poll_timeout().is_due(now), "a deadline that stays due");
        }
        cluster = estimator.poll_probe(now).map(|cluster| cluster.id).or(cluster);
        let estimate = estimator.estimate();
        assert!((min..=max).contains(&estimate.target), "{estimate:?}");
        assert!((0.0..=1.0).contains(&estimate.loss) && estimate.trend.is_finite(), "{estimate:?}");
    }
});

/// Feedback, or whatever the bytes say: format, packet type, and what follows the length.
fn hear(estimator: &mut Estimator, now: Time, body: &[u8]) {
    let Some((head, rest)) = body.split_first_chunk::<2>() else { return };
    let mut packet = vec![0x80 | head[0] & 0x1F, head[1], 0, 0];
    packet.extend(rest);
    packet.resize(packet.len().next_multiple_of(4), 0);
    let words = u16::try_from(packet.len() / 4 - 1).expect("less than 300 bytes");
    packet[2..4].copy_from_slice(&words.to_be_bytes());
    for packet in Compound::new(&packet).map_while(Result::ok) {
        match packet {
            RtcpPacket::TransportCc(feedback) => drop(estimator.handle_feedback(now, &feedback)),
            RtcpPacket::Remb(remb) => estimator.handle_remb(now, remb.bitrate),
            _ => {}
        }
    }
}
