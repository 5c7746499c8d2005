//! One router with its inbox: what came while it was busy is handled in one turn, as its thread does.

use core::time::Duration;
use std::time::Instant;

use rtpcore_core::Time;
use rtpcore_core::command::Command;
use rtpcore_core::crossing::Crossing;
use rtpcore_core::event::Event;
use rtpcore_core::ice::Path;
use rtpcore_core::router::{Router, RouterConfig};
use rtpcore_core::stats::Snapshot;
use rtpcore_core::transmit::SendSlab;

use super::Plan;
use crate::dice::Dice;
use crate::peer::Label;

/// What a worker is given.
pub(super) enum Input {
    Datagram { path: Path, bytes: Vec<u8>, label: Option<Label> },
    Crossing { from: u8, crossing: Crossing },
    Command(Box<Command>),
}

pub(super) struct Worker {
    router: Router,
    slab: SendSlab,
    inbox: Vec<Input>,
    dice: Dice,
    /// When the next turn is.
    wake_at: Time,
    /// What was sent in the last turn.
    pub(super) sent: Vec<(Path, Vec<u8>)>,
}

impl Worker {
    pub(super) fn new(plan: &Plan, number: u8) -> Self {
        let all = u64::MAX.checked_shr(64 - u32::from(plan.workers)).unwrap_or(0);
        let config = RouterConfig {
            worker: number,
            epoch: Instant::now(),
            seed: Dice::fork(plan.seed, 0x776F_726B + u64::from(number)).next(),
            locals: Vec::new(),
            limits: plan.limits,
            neighbours: all & !(1 << number),
        };
        Self {
            router: Router::new(config),
            slab: SendSlab::new(plan.slab),
            inbox: Vec::new(),
            dice: Dice::fork(plan.seed, 0x7475_726E + u64::from(number)),
            wake_at: Time::NEVER,
            sent: Vec::new(),
        }
    }

    /// Takes an input; says when to wake, unless a turn is due before that anyway.
    pub(super) fn give(&mut self, now: Time, input: Input) -> Option<Time> {
        self.inbox.push(input);
        let at = now + Duration::from_micros(self.dice.below(150));
        (at < self.wake_at).then(|| {
            self.wake_at = at;
            at
        })
    }

    /// Whether this wake-up is the one that counts.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.wake_at.is_due(now)
    }

    /// One turn; `arrived` hears of each packet that got here unharmed.
    pub(super) fn turn(&mut self, now: Time, mut arrived: impl FnMut(Label)) {
        self.wake_at = Time::NEVER;
        for input in std::mem::take(&mut self.inbox) {
            match input {
                Input::Datagram { path, bytes, label } => {
                    label.into_iter().for_each(&mut arrived);
                    self.router.handle_datagram(now, path, &bytes);
                }
                Input::Crossing { from, crossing } => self.router.handle_crossing(now, from, crossing),
                Input::Command(command) => self.router.handle_command(now, *command),
            }
        }
        if self.router.poll_timeout().is_due(now) {
            self.router.handle_timeout(now);
        }
        loop {
            self.slab.clear();
            self.router.poll_transmit(now, &mut self.slab);
            if self.slab.runs().is_empty() {
                break;
            }
            for run in self.slab.runs() {
                self.sent.extend(self.slab.bytes_of(run).chunks(run.segment).map(|bytes| (run.path, bytes.to_vec())));
            }
        }
    }

    pub(super) fn poll_crossing(&mut self) -> Option<(u8, Crossing)> {
        self.router.poll_crossing()
    }

    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.router.poll_event()
    }

    /// When the router's own timer wants a turn, unless one is due before.
    pub(super) fn next_wake(&mut self) -> Option<Time> {
        let at = self.router.poll_timeout();
        (at < self.wake_at).then(|| {
            self.wake_at = at;
            at
        })
    }

    pub(super) fn snapshot(&self, now: Time) -> Snapshot {
        self.router.snapshot(now)
    }
}
