//! What a receiver reports that estimates by itself (draft-alvestrand-rmcat-remb-03), with the loss of its receiver reports
//! (draft-ietf-rmcat-gcc-02 §6).

use core::time::Duration;

use crate::time::Time;

/// More is no estimate: "as much as you like", or a lie.
const MAX_CREDIBLE: f64 = 1e10;
/// An estimate that was not repeated for this long bounds nothing beside transport-wide feedback: receivers repeat it every
/// second, and then some stop.
const STALE_AFTER: Duration = Duration::from_secs(5);
/// Loss above which the rate falls by half of it, and below which it grows.
const HIGH_LOSS: f64 = 0.10;
const LOW_LOSS: f64 = 0.02;
/// Growth per second.
const GROWTH: f64 = 1.08;
/// A report of fewer packets waits for the next one.
const MIN_PACKETS: f64 = 20.0;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Reports {
    remb: Option<(Time, f64)>,
    /// What loss leaves of the estimate.
    bound: Option<f64>,
    grown_at: Option<Time>,
    packets: f64,
    lost: f64,
    average: f64,
}

impl Reports {
    /// Takes an estimate; false where it cannot be one.
    pub(super) fn handle_remb(&mut self, now: Time, bps: f64) -> bool {
        if bps <= 0.0 || bps > MAX_CREDIBLE {
            return false;
        }
        self.remb = Some((now, bps));
        true
    }

    /// Takes the share lost, 0 to 1, of so many packets, with the target that they were sent under.
    pub(super) fn handle_loss(&mut self, now: Time, share: f64, packets: f64, target: f64) {
        self.packets += packets;
        self.lost += packets * share;
        if self.packets < MIN_PACKETS {
            return;
        }
        let loss = self.lost / self.packets;
        (self.packets, self.lost) = (0.0, 0.0);
        self.average = loss;
        let passed = self.grown_at.map_or(0.0, |grown_at| now.since(grown_at).as_secs_f64()).min(1.0);
        self.grown_at = Some(now);
        if loss > HIGH_LOSS {
            self.bound = Some(target * (1.0 - loss / 2.0));
        } else if loss < LOW_LOSS {
            self.bound = self.bound.map(|bound| bound * GROWTH.powf(passed) + 1000.0 * passed);
        }
        // What no longer binds is forgotten, so that the next loss starts from what flows.
        if let (Some(bound), Some((_, remb))) = (self.bound, self.remb)
            && bound > remb
        {
            self.bound = None;
        }
    }

    /// The estimate beside transport-wide feedback, while it is fresh.
    pub(super) fn fresh(&self, now: Time) -> Option<f64> {
        self.remb.filter(|(at, _)| now.since(*at) < STALE_AFTER).map(|(_, bps)| bps)
    }

    /// The estimate where there is nothing else.
    pub(super) fn latest(&self) -> Option<f64> {
        self.remb.map(|(_, bps)| bps)
    }

    /// What loss leaves.
    pub(super) fn bound(&self) -> Option<f64> {
        self.bound
    }

    /// The share lost of late, 0 to 1.
    pub(super) fn average(&self) -> f64 {
        self.average
    }
}
