//! What the loss allows: which rate of the bottleneck, together with a loss that is there at any rate, explains best what was
//! lost over the last seconds. libwebrtc calls it loss based bandwidth estimation, version 2.
//!
//! ```text
//!  packets in the order sent ─> observations of 250 ms ─> for each candidate rate, its likelihood ─> the likeliest
//!                                (packets, lost, rate)     p(lost) = inherent + share above the rate
//! ```

use core::time::Duration;
use std::collections::VecDeque;

use super::number::{float, micros, seconds};
use crate::time::Time;

/// The least time that an observation spans, in microseconds: fewer packets say little.
const OBSERVATION: i64 = 250_000;
/// Observations that are weighed, the newest most.
const WINDOW: usize = 15;
const AGEING: f64 = 0.9;
/// Observations before the first judgement.
const MIN_OBSERVATIONS: usize = 3;
/// An observation is forgotten after so many microseconds: while a path carries nothing but probes there are no new ones.
const MEMORY: i64 = 6_000_000;
/// ... and one that has not ended before a pause of this is not ended after it.
const PAUSE: i64 = 1_000_000;
/// Candidates are the rate so far times these, what arrives, and what the delay allows.
const FACTORS: [f64; 3] = [1.02, 1.0, 0.95];
/// A path may lose this share at any rate, ...
const MIN_INHERENT: f64 = 1e-3;
const FIRST_INHERENT: f64 = 0.01;
/// ... and at most this and a part that shrinks with the rate: at 1 Mbit/s 0.05 + 0.15. More is put down to the rate.
const MAX_INHERENT: f64 = 0.05;
/// libwebrtc has 100 kbit/s. With 150 a path that loses a fifth of everything still gets its 1 Mbit/s: where loss comes with
/// delay, or with far more of it, other boxes act, and subscribers of an SFU have repair.
const BALANCE: f64 = 150_000.0;
/// What arrives is a candidate where this share of the rate was sent.
const USED: f64 = 0.8;
const NEWTON_STEP: f64 = 0.75;
/// How much a higher rate is preferred where the likelihoods are alike, for each kbit/s and for each e-fold.
const BIAS: f64 = 0.0002;
const LOG_BIAS: f64 = 0.02;
/// From this loss on a lower rate is preferred instead; the change is smoothed over so much. libwebrtc turns at 0.2: since the
/// preference outweighs most likelihoods, a path that loses a fifth at random would fall and rise with every draw.
const BIAS_LOSS: f64 = 0.3;
const BIAS_SMOOTHING: f64 = 0.002;
/// After a loss the rate grows by no more than this in a window.
const MAX_GROWTH: f64 = 1.3;
const GROWTH_WINDOW: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug, Default)]
struct Observation {
    /// When its last packet left, in microseconds.
    ended: i64,
    packets: f64,
    lost: f64,
    /// What was sent in it, in bit/s.
    rate: f64,
}

/// An observation that still grows.
#[derive(Clone, Copy, Debug)]
struct Partial {
    packets: u32,
    lost: u32,
    bytes: u64,
    first_sent: i64,
    last_sent: i64,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    rate: f64,
    inherent: f64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Loss {
    observations: VecDeque<Observation>,
    partial: Option<Partial>,
    best: Candidate,
    /// Until when, and up to which rate, growth is held back.
    held: Option<(Time, f64)>,
    /// Weighed over the window.
    average: f64,
    floor: f64,
    is_limiting: bool,
}

impl Loss {
    pub(super) fn new() -> Self {
        Self {
            observations: VecDeque::with_capacity(WINDOW + 1),
            partial: None,
            best: Candidate { rate: f64::INFINITY, inherent: FIRST_INHERENT },
            held: None,
            average: 0.0,
            floor: 0.0,
            is_limiting: false,
        }
    }

    /// Notes what became of a packet, in the order they were sent.
    pub(super) fn add(&mut self, sent_at: Time, bytes: u32, is_lost: bool) {
        let sent = micros(sent_at);
        // Packets before a pause say nothing of the path after it.
        self.partial.take_if(|partial| partial.last_sent + PAUSE < sent);
        let partial =
            self.partial.get_or_insert(Partial { packets: 0, lost: 0, bytes: 0, first_sent: sent, last_sent: sent });
        partial.packets += 1;
        partial.lost += u32::from(is_lost);
        partial.bytes += u64::from(bytes);
        partial.last_sent = partial.last_sent.max(sent);
    }

    /// A packet that was noted as lost arrived after all.
    pub(super) fn take_back(&mut self) {
        if let Some(partial) = &mut self.partial
            && partial.lost > 0
        {
            partial.lost -= 1;
        } else if let Some(newest) = self.observations.back_mut() {
            newest.lost = (newest.lost - 1.0).max(0.0);
        }
    }

    /// Judges anew, where there is enough new to judge by. `delay`: what the delay allows; `flows`: what arrives.
    pub(super) fn update(&mut self, now: Time, delay: f64, flows: Option<f64>) {
        let is_complete = self.complete();
        self.forget(now);
        if !is_complete {
            return;
        }
        self.average = self.average_loss();
        // What arrives gets through, whatever is lost beside it.
        self.floor = flows.unwrap_or(0.0);
        if self.observations.len() < MIN_OBSERVATIONS {
            return;
        }
        if self.best.rate.is_infinite() {
            self.best.rate = delay;
        }
        let mut best = self.likeliest(delay, flows);
        if best.rate > self.best.rate {
            // Loss beyond what is inherent is not over.
            if best.inherent < self.average && self.is_limiting {
                best.rate = self.best.rate;
            }
            best.rate = best.rate.min(self.most(now));
        }
        if self.is_limiting && best.rate > self.best.rate && self.held.is_none_or(|(until, _)| until.is_due(now)) {
            self.held = Some((now + GROWTH_WINDOW, self.best.rate * MAX_GROWTH));
        }
        self.best = best;
        self.is_limiting = self.allowed() < delay;
    }

    /// What the loss allows, in bit/s; without bounds while that is more than the delay does.
    pub(super) fn rate(&self) -> f64 {
        if self.is_limiting { self.allowed() } else { f64::INFINITY }
    }

    /// The share that is lost, weighed over the last seconds: 0 to 1.
    pub(super) fn average(&self) -> f64 {
        self.average
    }

    /// The share that is lost at any rate: 0 to 1.
    pub(super) fn inherent(&self) -> f64 {
        self.best.inherent
    }

    /// A probe got through at `rate`.
    pub(super) fn raise(&mut self, rate: f64) {
        if self.best.rate.is_finite() {
            self.best.rate = self.best.rate.max(rate);
        }
    }

    /// No more than `rate` gets through.
    pub(super) fn lower(&mut self, rate: f64) {
        self.is_limiting = true;
        self.best.rate = self.best.rate.min(rate);
        self.floor = self.floor.min(rate);
    }

    fn allowed(&self) -> f64 {
        self.best.rate.min(self.instant_bound()).max(self.floor)
    }

    /// Ends the observation that grows, if it is long enough.
    fn complete(&mut self) -> bool {
        let Some(partial) = self.partial else { return false };
        let span = partial.last_sent - partial.first_sent;
        if span < OBSERVATION {
            return false;
        }
        self.partial = None;
        let rate = float(partial.bytes) * 8.0 / seconds(span);
        let (packets, lost) = (f64::from(partial.packets), f64::from(partial.lost));
        self.observations.push_back(Observation { ended: partial.last_sent, packets, lost, rate });
        if self.observations.len() > WINDOW {
            self.observations.pop_front();
        }
        true
    }

    /// Forgets what is too old to say something of the path.
    fn forget(&mut self, now: Time) {
        while self.observations.front().is_some_and(|oldest| oldest.ended + MEMORY < micros(now)) {
            self.observations.pop_front();
        }
        if self.observations.is_empty() {
            (self.average, self.is_limiting) = (0.0, false);
        }
    }

    /// Whether anything is known of the loss of late.
    pub(super) fn is_known(&self) -> bool {
        !self.observations.is_empty()
    }

    /// The observations with their weights, the newest first.
    fn weighed(&self) -> impl Iterator<Item = (f64, &Observation)> {
        let weights = core::iter::successors(Some(1.0), |weight| Some(weight * AGEING));
        weights.zip(self.observations.iter().rev())
    }

    fn average_loss(&self) -> f64 {
        let (lost, packets) = self.weighed().fold((0.0, 0.0), |(lost, packets), (weight, observation)| {
            (lost + weight * observation.lost, packets + weight * observation.packets)
        });
        if packets > 0.0 { lost / packets } else { 0.0 }
    }

    /// What the loss of the moment allows, whichever rate is likeliest.
    fn instant_bound(&self) -> f64 {
        let above = self.average - MAX_INHERENT;
        if above > 0.0 { BALANCE / above } else { f64::INFINITY }
    }

    /// How far growth may go now.
    fn most(&self, now: Time) -> f64 {
        match self.held {
            Some((until, most)) if !until.is_due(now) => most.max(self.best.rate),
            _ if self.is_limiting => self.best.rate * MAX_GROWTH,
            _ => f64::INFINITY,
        }
    }

    fn likeliest(&self, delay: f64, flows: Option<f64>) -> Candidate {
        let scaled = FACTORS.iter().map(|factor| self.best.rate * factor);
        // Between two layers of an SFU less flows than the rate allows, and that says nothing against the rate.
        let is_used = self.observations.back().is_some_and(|newest| newest.rate >= USED * self.best.rate);
        // What arrives was sent at a rate above it, by what is lost anyway.
        let flows = flows.filter(|_| is_used).map(|flows| flows / (1.0 - self.best.inherent));
        let rates = scaled.chain(flows).chain((delay > self.best.rate).then_some(delay));
        let mut best = (f64::NEG_INFINITY, self.best);
        for rate in rates {
            let candidate = self.fit(rate.max(1000.0));
            let likelihood = self.likelihood(candidate);
            if likelihood > best.0 {
                best = (likelihood, candidate);
            }
        }
        best.1
    }

    /// The inherent loss that fits `rate` best: one Newton step from the one so far.
    fn fit(&self, rate: f64) -> Candidate {
        let most = (MAX_INHERENT + BALANCE / rate).min(1.0);
        let inherent = self.best.inherent.clamp(MIN_INHERENT, most);
        let (first, second) = self.weighed().fold((0.0, 0.0), |(first, second), (weight, observation)| {
            let p = probability(inherent, rate, observation.rate);
            let received = observation.packets - observation.lost;
            (
                first + weight * (observation.lost / p - received / (1.0 - p)),
                second - weight * (observation.lost / (p * p) + received / ((1.0 - p) * (1.0 - p))),
            )
        });
        let step = if second < 0.0 { NEWTON_STEP * first / second } else { 0.0 };
        Candidate { rate, inherent: (inherent - step).clamp(MIN_INHERENT, most) }
    }

    fn likelihood(&self, candidate: Candidate) -> f64 {
        let distance = BIAS_LOSS - self.average;
        let bias = distance / (BIAS_SMOOTHING + distance.abs());
        let kbps = candidate.rate / 1000.0;
        let preference = bias * (BIAS * kbps + LOG_BIAS * (1.0 + kbps).ln());
        self.weighed()
            .map(|(weight, observation)| {
                let p = probability(candidate.inherent, candidate.rate, observation.rate);
                let received = observation.packets - observation.lost;
                weight * (observation.lost * p.ln() + received * (1.0 - p).ln() + preference * observation.packets)
            })
            .sum()
    }
}

/// How likely a packet is lost that was sent at `sent` bit/s over a link of `rate`.
fn probability(inherent: f64, rate: f64, sent: f64) -> f64 {
    let above = if sent > rate { (sent - rate) / sent } else { 0.0 };
    (inherent + (1.0 - inherent) * above).clamp(1e-6, 1.0 - 1e-6)
}
