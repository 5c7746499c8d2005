//! A bottleneck in virtual time: senders with a pacer, a link with a queue, receivers that report. A step is a millisecond.

use core::time::Duration;
use std::collections::VecDeque;

use crate::bwe::{Cluster, Estimate, Estimator, Lie, Settings};
use crate::receive::arrival::{self, Arrivals};
use crate::rtcp::transport_cc::{Head, write};
use crate::rtcp::{Compound, RtcpPacket, Writer};
use crate::time::Time;
use crate::units::{Bitrate, SeqNo, Ssrc};

/// A full packet on the wire.
const PACKET: usize = 1200;

/// Splitmix64.
#[derive(Clone)]
pub(super) struct Dice(pub u64);

impl Dice {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(super) fn permille(&mut self, chance: u64) -> bool {
        self.next() % 1000 < chance
    }
}

/// What a sender has to send.
pub(super) enum Source {
    /// As much as it may.
    Greedy,
    /// The highest of these rates in kbit/s that it may, in 30 frames a second.
    Layers(&'static [u64]),
}

/// The bottleneck, and the way back.
#[derive(Clone)]
pub(super) struct Link {
    /// From which millisecond on, how many kbit/s.
    pub rates: Vec<(u64, u64)>,
    /// Bytes that wait at most; what comes then is lost.
    pub queue: usize,
    /// How long packets wait at most, in ms, as of the rate of the moment.
    pub queue_ms: u64,
    pub one_way_ms: u64,
    /// Of a thousand packets, lost whatever the queue.
    pub loss: u64,
    /// The mean length of the bursts that the loss comes in; 1 for none.
    pub burst: u64,
    /// Of a thousand feedbacks: lost, delayed by 120 ms, sent twice.
    pub feedback_faults: [u64; 3],
    /// Packets that arrive up to this much later, and so out of order.
    pub jitter_us: u64,
    /// Every second, for so many ms, nothing leaves the queue: a radio that scans, a cell that changes.
    pub stall_ms: u64,
}

impl Link {
    pub(super) fn of(rates: &[(u64, u64)]) -> Self {
        Self {
            rates: rates.to_vec(),
            queue: 1_000_000,
            queue_ms: 300,
            one_way_ms: 25,
            loss: 0,
            burst: 1,
            feedback_faults: [0; 3],
            jitter_us: 0,
            stall_ms: 0,
        }
    }

    fn kbps(&self, ms: u64) -> u64 {
        self.rates.iter().take_while(|(from, _)| *from <= ms).last().map_or(1, |(_, kbps)| *kbps)
    }
}

/// A sender with its receiver.
pub(super) struct Flow {
    pub estimator: Estimator,
    source: Source,
    /// Media that waits for the pacer.
    backlog: VecDeque<usize>,
    /// Bits that may leave.
    owed: i64,
    probe: Option<Probe>,
    arrivals: Arrivals,
    /// Feedback on its way.
    feedbacks: Vec<(u64, Vec<u8>)>,
    pub layer: u64,
    /// The highest layer flows whatever the target.
    pub is_fixed: bool,
    pub lies: Vec<Lie>,
    pub starts_at: u64,
}

/// A probe that leaves.
struct Probe {
    cluster: Cluster,
    packets: u32,
    bytes: u32,
    owed: i64,
}

impl Probe {
    fn is_done(&self) -> bool {
        self.packets >= self.cluster.packets.into() && self.bytes >= self.cluster.bytes
    }
}

impl Flow {
    /// The highest layer that may flow, a frame of so many percent of its mean.
    fn make_frame(&mut self, percent: u64) {
        let Source::Layers(layers) = self.source else { return };
        let target = if self.is_fixed { u64::MAX } else { self.estimator.estimate().target.as_bps() };
        self.layer = layers.iter().rev().find(|&&kbps| kbps * 1000 <= target).copied().unwrap_or(0);
        let mut frame = usize::try_from(self.layer * 33 / 8 * percent / 100).unwrap();
        while frame > 0 {
            let size = frame.min(PACKET);
            self.backlog.push_back(size.max(60));
            frame -= size;
        }
        // The backlog of a layer that is gone is not worth its delay.
        while self.backlog.iter().sum::<usize>() > 30_000 {
            self.backlog.pop_front();
        }
    }

    /// What leaves of a probe in this millisecond: media, and padding where there is none.
    fn pace_probe(&mut self) -> Vec<usize> {
        let Some(probe) = &mut self.probe else { return Vec::new() };
        probe.owed += per_ms(probe.cluster.rate.as_bps());
        let padding = usize::try_from(probe.cluster.bytes.div_ceil(probe.cluster.packets.into())).unwrap();
        let mut out = Vec::new();
        while probe.owed > 0 && !probe.is_done() {
            let size = self.backlog.pop_front().unwrap_or(padding.clamp(60, PACKET));
            probe.owed -= bits(size);
            probe.packets += 1;
            probe.bytes += u32::try_from(size).unwrap();
            out.push(size);
        }
        if probe.is_done() {
            self.probe = None;
        }
        out
    }

    /// What leaves of the media in this millisecond: frames at twice the target.
    fn pace_media(&mut self) -> Vec<usize> {
        let target = if self.is_fixed { 10_000_000 } else { self.estimator.estimate().target.as_bps() };
        let is_greedy = matches!(self.source, Source::Greedy);
        let pace = if is_greedy { 1 } else { 2 };
        self.owed = (self.owed + pace * per_ms(target)).min(2 * bits(PACKET));
        let mut out = Vec::new();
        while self.owed > 0 {
            let Some(size) = (if is_greedy { Some(PACKET) } else { self.backlog.pop_front() }) else { break };
            self.owed -= bits(size);
            out.push(size);
        }
        out
    }
}

fn per_ms(bps: u64) -> i64 {
    i64::try_from(bps / 1000).unwrap()
}

fn bits(bytes: usize) -> i64 {
    i64::try_from(bytes * 8).unwrap()
}

/// One sample each 10 ms of each flow.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub ms: u64,
    pub estimate: Estimate,
    pub kbps: u64,
    pub layer: u64,
    pub queue_ms: u64,
    pub received: u64,
}

pub(super) struct World {
    pub link: Link,
    pub flows: Vec<Flow>,
    pub traces: Vec<Vec<Sample>>,
    pub dice: Dice,
    pub ms: u64,
    busy_until_us: u64,
    queued: VecDeque<(u64, usize)>,
    /// Arrival in µs, flow, number, size.
    in_flight: Vec<(u64, usize, u16, usize)>,
    received: Vec<u64>,
    in_burst: bool,
}

pub(super) fn settings(start: u64) -> Settings {
    let kbps = |kbps: u64| Bitrate::from_bps(kbps * 1000);
    Settings { start: kbps(start), min: kbps(30), max: kbps(10_000) }
}

impl World {
    pub(super) fn new(link: Link, seed: u64) -> Self {
        Self {
            link,
            flows: Vec::new(),
            traces: Vec::new(),
            dice: Dice(seed),
            ms: 0,
            busy_until_us: 0,
            queued: VecDeque::new(),
            in_flight: Vec::new(),
            received: Vec::new(),
            in_burst: false,
        }
    }

    /// Adds a sender that wants `wanted` kbit/s.
    pub(super) fn add(&mut self, source: Source, start: u64, wanted: u64, starts_at: u64) {
        let now = Time::from_millis(starts_at);
        // Near the end of 16 bits, and of the receiver's 24 bits of time: every run wraps.
        let mut estimator = Estimator::starting_at(now, settings(start), SeqNo::first(0xFF00));
        estimator.set_wanted(now, Bitrate::from_bps(wanted * 1000));
        self.flows.push(Flow {
            estimator,
            source,
            backlog: VecDeque::new(),
            owed: 0,
            probe: None,
            arrivals: Arrivals::new(),
            feedbacks: Vec::new(),
            layer: 0,
            is_fixed: false,
            lies: Vec::new(),
            starts_at,
        });
        self.traces.push(Vec::new());
        self.received.push(0);
    }

    /// Runs to `end` milliseconds.
    pub(super) fn run(&mut self, end: u64) {
        while self.ms < end {
            for index in 0..self.flows.len() {
                if self.ms >= self.flows[index].starts_at {
                    self.send(index);
                }
            }
            self.arrive();
            for index in 0..self.flows.len() {
                if self.ms >= self.flows[index].starts_at {
                    self.report(index);
                    self.sample(index);
                }
            }
            self.ms += 1;
        }
    }

    /// One flow's samples in this span.
    pub(super) fn between(&self, flow: usize, from: u64, to: u64) -> impl Iterator<Item = &Sample> {
        self.traces[flow].iter().filter(move |sample| (from..to).contains(&sample.ms))
    }

    /// The kbit/s that arrived in a span.
    pub(super) fn throughput(&self, flow: usize, from: u64, to: u64) -> u64 {
        let mut span = self.between(flow, from, to);
        let first = span.next().unwrap().received;
        (span.last().unwrap().received - first) * 8 / (to - from)
    }

    /// The wait in the queue that so many of a hundred packets did not exceed.
    pub(super) fn queue_percentile(&self, percent: usize, from: u64, to: u64) -> u64 {
        let mut waits: Vec<_> = self.between(0, from, to).map(|sample| sample.queue_ms).collect();
        waits.sort_unstable();
        waits[(waits.len() - 1) * percent / 100]
    }

    /// When the target was first at or below (`down`), or above, `kbps`, from `from` on.
    pub(super) fn first(&self, flow: usize, from: u64, reached: impl Fn(u64) -> bool) -> Option<u64> {
        self.traces[flow].iter().find(|sample| sample.ms >= from && reached(sample.kbps)).map(|sample| sample.ms - from)
    }

    fn send(&mut self, index: usize) {
        let now = Time::from_millis(self.ms);
        let flow = &mut self.flows[index];
        if self.ms.is_multiple_of(33) {
            flow.make_frame(70 + self.dice.next() % 61);
        }
        if flow.probe.is_none() {
            flow.probe = flow.estimator.poll_probe(now).map(|cluster| Probe { cluster, packets: 0, bytes: 0, owed: 0 });
        }
        let id = flow.probe.as_ref().map(|probe| probe.cluster.id);
        for size in if id.is_some() { flow.pace_probe() } else { flow.pace_media() } {
            let number = self.flows[index].estimator.handle_sent(now, size, id);
            self.enter(index, number, size);
        }
    }

    fn enter(&mut self, flow: usize, number: u16, size: usize) {
        let now_us = self.ms * 1000;
        let kbps = self.link.kbps(self.ms);
        self.queued.retain(|(leaves, _)| *leaves > now_us);
        let waiting: usize = self.queued.iter().map(|(_, size)| size).sum();
        let limit = self.link.queue.min(usize::try_from(kbps * self.link.queue_ms / 8).unwrap().max(3000));
        let is_lost = if self.link.burst > 1 {
            // Two states (Gilbert): the mean of the good one makes the share.
            let leave_good = 1000 * self.link.loss / (self.link.burst * (1000 - self.link.loss));
            let turns = if self.in_burst { 1000 / self.link.burst } else { leave_good };
            if self.dice.permille(turns) {
                self.in_burst = !self.in_burst;
            }
            self.in_burst
        } else {
            self.dice.permille(self.link.loss)
        };
        if waiting + size > limit || is_lost {
            return;
        }
        let mut start = self.busy_until_us.max(now_us);
        if start % 1_000_000 < self.link.stall_ms * 1000 {
            start = start / 1_000_000 * 1_000_000 + self.link.stall_ms * 1000;
        }
        self.busy_until_us = start + size as u64 * 8000 / kbps;
        self.queued.push_back((self.busy_until_us, size));
        let jitter = self.dice.next() % (self.link.jitter_us + 1);
        self.in_flight.push((self.busy_until_us + self.link.one_way_ms * 1000 + jitter, flow, number, size));
    }

    fn arrive(&mut self) {
        let now_us = self.ms * 1000;
        let mut due: Vec<_> = self.in_flight.extract_if(.., |(at, ..)| *at <= now_us).collect();
        due.sort_unstable();
        for (at, flow, number, size) in due {
            // The receiver's clock has its own start: 24 bits of 64 ms end soon after.
            let at = Time::from_nanos(at * 1000 + ((1 << 24) * 64 - 3000) * 1_000_000);
            self.flows[flow].arrivals.record(at, number, u32::try_from(size).unwrap());
            self.received[flow] += size as u64;
        }
    }

    fn report(&mut self, index: usize) {
        let now = Time::from_millis(self.ms);
        let theirs = now + Duration::from_millis((1 << 24) * 64 - 3000);
        let flow = &mut self.flows[index];
        let mut out = [(SeqNo(0), Time::ZERO); arrival::MAX_ARRIVALS];
        while let Some(feedback) = flow.arrivals.poll(theirs, &mut out) {
            let mut buffer = [0; 1500];
            let mut writer = Writer::new(&mut buffer);
            let head = Head {
                sender_ssrc: Ssrc(1),
                media_ssrc: Ssrc(2),
                base: feedback.base,
                feedback_count: feedback.feedback_count,
            };
            let taken = write(&mut writer, &head, out[..feedback.received].iter().copied()).unwrap();
            assert_eq!(taken, feedback.received);
            let bytes = writer.as_bytes().to_vec();
            let [lost, late, twice] = self.link.feedback_faults.map(|chance| self.dice.permille(chance));
            let at = self.ms + self.link.one_way_ms + if late { 120 } else { 0 };
            if !lost {
                flow.feedbacks.push((at, bytes.clone()));
            }
            if twice {
                flow.feedbacks.push((at + 30, bytes));
            }
        }
        for (_, bytes) in flow.feedbacks.extract_if(.., |(at, _)| *at <= self.ms) {
            handle(&mut flow.estimator, now, &bytes).unwrap_or_else(|lie| flow.lies.push(lie));
        }
        if flow.estimator.poll_timeout().is_due(now) {
            flow.estimator.handle_timeout(now);
            assert!(!flow.estimator.poll_timeout().is_due(now), "a deadline that stays due");
        }
    }

    fn sample(&mut self, index: usize) {
        if !self.ms.is_multiple_of(10) {
            return;
        }
        let flow = &self.flows[index];
        let estimate = flow.estimator.estimate();
        self.traces[index].push(Sample {
            ms: self.ms,
            estimate,
            kbps: estimate.target.as_bps() / 1000,
            layer: flow.layer,
            queue_ms: self.busy_until_us.saturating_sub(self.ms * 1000) / 1000,
            received: self.received[index],
        });
    }
}

/// Reads one RTCP packet and hands it in.
pub(super) fn handle(estimator: &mut Estimator, now: Time, bytes: &[u8]) -> Result<(), Lie> {
    match Compound::new(bytes).next().unwrap().unwrap() {
        RtcpPacket::TransportCc(feedback) => estimator.handle_feedback(now, &feedback),
        other => panic!("{other:?}"),
    }
}
