//! When video may leave: a burst at once, more of it spread out, probes at a rate of their own.
//!
//! A keyframe is many times an average frame. Sent at once it fills the queue of a slow link, and whatever comes behind it,
//! audio above all, waits or is lost. Audio is never asked of the pacer: it goes past it.
//!
//! ```text
//!  rate 3 Mbit/s, burst 40 ms = 15 kB
//!  ├─ frame of 5 kB: leaves whole ─┤          ├─ keyframe of 60 kB: 15 kB leave, the rest takes 120 ms ─┤
//! ```

use core::time::Duration;

use crate::bwe::{Cluster, ClusterId};
use crate::time::Time;
use crate::units::Bitrate;

/// How much faster than the estimate packets leave: frames come in bursts of their own, and a keyframe should not take a
/// second. libwebrtc has the same factor. It is for paths that may carry more than is thought.
const FACTOR: (u64, u64) = (5, 2);
/// ... and on a path whose bottleneck is known: what is faster than that waits there, and audio with it.
const TIGHT: (u64, u64) = (1, 1);
/// What may leave at once, as time at the pacing rate: an average frame passes whole. libwebrtc has the same.
const BURST: Duration = Duration::from_millis(40);
/// ... and where the bottleneck is known: what arrives there at once is a queue, and taken for one that grows.
const TIGHT_BURST: Duration = Duration::from_millis(5);
/// A probe is sent in steps of this; finer ones no timer keeps.
const PROBE_STEP: Duration = Duration::from_millis(2);
/// A probe that has not got rid of its bytes by then has failed: nobody may send at its rate for long.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

/// Says when the next paced packet may leave.
#[derive(Clone, Debug)]
pub struct Pacer {
    /// Bits per second.
    rate: u64,
    burst: Duration,
    /// When everything sent so far would have left at the rate.
    free_at: Time,
    probe: Option<Probe>,
}

/// A probe that is being sent.
#[derive(Clone, Copy, Debug)]
struct Probe {
    cluster: Cluster,
    began_at: Time,
    bytes: u64,
    packets: u32,
}

impl Pacer {
    /// A pacer for a path that is thought to carry `estimate`.
    pub fn new(estimate: Bitrate) -> Self {
        let mut pacer = Self { rate: 1, burst: BURST, free_at: Time::ZERO, probe: None };
        pacer.set_estimate(estimate, false);
        pacer
    }

    /// The path is thought to carry `estimate` now; `is_tight` if it is known to carry no more.
    pub fn set_estimate(&mut self, estimate: Bitrate, is_tight: bool) {
        let ((times, parts), burst) = if is_tight { (TIGHT, TIGHT_BURST) } else { (FACTOR, BURST) };
        self.burst = burst;
        self.rate = (estimate.as_bps().saturating_mul(times) / parts).max(1);
    }

    /// Begins a probe; what is sent from now on belongs to it until it has what it needs. One at a time.
    pub fn begin_probe(&mut self, now: Time, cluster: Cluster) {
        self.probe = Some(Probe { cluster, began_at: now, bytes: 0, packets: 0 });
    }

    /// Whether a probe is being sent. One that took too long is given up.
    pub fn is_probing(&mut self, now: Time) -> bool {
        self.probe.take_if(|probe| (probe.began_at + PROBE_PATIENCE).is_due(now));
        self.probe.is_some()
    }

    /// Whether a packet may leave.
    pub fn is_open(&self, now: Time) -> bool {
        self.open_at().is_due(now)
    }

    /// When the next packet may leave.
    pub fn open_at(&self) -> Time {
        match &self.probe {
            Some(probe) => probe.due_at(),
            None => self.free_at - self.burst,
        }
    }

    /// The probe that a packet which leaves now belongs to.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.probe.as_ref().map(|probe| probe.cluster.id)
    }

    /// A paced packet of `size` bytes left.
    pub fn handle_sent(&mut self, now: Time, size: usize) {
        self.free_at = self.free_at.max(now) + span(size as u64, self.rate);
        if let Some(probe) = &mut self.probe {
            probe.bytes += size as u64;
            probe.packets += 1;
            let is_complete =
                probe.bytes >= u64::from(probe.cluster.bytes) && probe.packets >= u32::from(probe.cluster.packets);
            if is_complete {
                self.probe = None;
            }
        }
    }

    /// How many bytes the next packet of a probe needs, if all that are left are alike: what pads it should not be longer.
    /// No bound without a probe.
    pub fn padding(&self) -> u32 {
        let Some(Probe { cluster, bytes, packets, .. }) = &self.probe else { return u32::MAX };
        let (bytes, packets) =
            (u64::from(cluster.bytes).saturating_sub(*bytes), u32::from(cluster.packets).saturating_sub(*packets));
        u32::try_from(bytes.div_ceil(packets.max(1).into())).unwrap_or(u32::MAX)
    }

    /// How long `bytes` take at the pacing rate.
    pub fn time_for(&self, bytes: u64) -> Duration {
        span(bytes, self.rate)
    }
}

impl Probe {
    fn due_at(&self) -> Time {
        let at = self.began_at + span(self.bytes, self.cluster.rate.as_bps());
        at - PROBE_STEP
    }
}

fn span(bytes: u64, bps: u64) -> Duration {
    Duration::from_nanos(u64::try_from(u128::from(bytes) * 8_000_000_000 / u128::from(bps.max(1))).unwrap_or(u64::MAX))
}
