//! Traces: what a link does over time, each way, as a small text file, and the recordings of mahimahi.
//!
//! A trace has a line for each change, in order of time; what a line does not name stays as it was:
//!
//! ```text
//! # DSL in the evening: 25 ms each way, and for twenty seconds a fifth of the rate.
//! seed 7
//! both 0   delay=25 loss=0.5
//! down 0   rate=3000 queue=300
//! down 10  rate=600
//! down 30  rate=3000
//! down 60  again
//! ```
//!
//! First the direction (`down` is towards the client, or `up`, or `both`), then the second from which the line holds, then
//! what holds:
//!
//! | word | unit | meaning |
//! |---|---|---|
//! | `delay` | ms | one way; the round trip has both |
//! | `jitter` | ms | added at random up to this, without reordering |
//! | `loss` | % | of packets, each by itself unless `burst` is there too |
//! | `burst` | packets | losses come in bursts of this mean length (Gilbert-Elliott); 0: each by itself |
//! | `reorder` | % | of packets are held back so that others overtake them |
//! | `hold` | ms | for at most so long |
//! | `duplicate` | % | of packets come twice |
//! | `rate` | kbit/s | bottleneck, headers of IP and UDP included; 0: an outage; `none`: as much as comes |
//! | `queue` | ms | a packet that would wait longer than this at the rate of the moment is dropped |
//! | `mahimahi` | file | the bottleneck is this recording, in place of `rate` |
//! | `again` | | the schedule starts again from its beginning |
//!
//! A change of the rate applies also to what already waits. Lost packets have used the bottleneck: they are lost on the air.

mod mahimahi;
mod path;
mod schedule;
#[cfg(test)]
mod tests;

use core::time::Duration;

pub use mahimahi::Opportunities;
pub use path::{Fate, Path};
pub use schedule::Schedule;

use crate::links::{Conditions, Loss, Rate};

/// A link, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// From which all its chance comes.
    pub seed: u64,
    /// Towards the client.
    pub down: Schedule,
    /// From it.
    pub up: Schedule,
}

/// What a direction's lines have said so far.
#[derive(Clone, Copy, Debug)]
struct Words {
    conditions: Conditions,
    /// In percent.
    loss: f64,
    /// Mean length in packets, 0 for none.
    burst: f64,
    bps: Option<u64>,
    queue_us: u64,
}

impl Words {
    const NONE: Self = Self {
        conditions: Conditions { delay_us: 0, ..Conditions::CLEAN },
        loss: 0.0,
        burst: 0.0,
        bps: None,
        // Longer than what a modem's buffer holds makes calls impossible; much shorter drops every keyframe.
        queue_us: 300_000,
    };

    fn conditions(&self) -> Conditions {
        let rate =
            self.bps.map(|bps| Rate { bps, queue: u64::try_from(bytes(bps, self.queue_us)).unwrap_or(u64::MAX) });
        Conditions { loss: loss(self.loss, self.burst), rate, ..self.conditions }
    }
}

/// How many bytes pass at a rate.
fn bytes(bps: u64, us: u64) -> u128 {
    u128::from(bps) * u128::from(us) / 8_000_000
}

/// Gilbert's model (1960) from the share of lost packets and the mean length of a burst: all of the bad state is lost.
fn loss(percent: f64, burst: f64) -> Loss {
    let lost = percent / 100.0;
    if lost <= 0.0 {
        Loss::None
    } else if burst <= 1.0 {
        Loss::Random { permille: (lost * 1000.0).round() as u32 }
    } else {
        let ends = 1.0 / burst;
        let begins = ends * lost / (1.0 - lost);
        Loss::Gilbert { begins: (begins * 1e6).round() as u32, ends: (ends * 1e6).round() as u32 }
    }
}

impl Trace {
    /// Reads a trace. `open` gives the text of a recording that it names.
    ///
    /// # Errors
    /// Says which line is wrong, and why.
    pub fn parse(text: &str, open: impl Fn(&str) -> Result<String, String>) -> Result<Self, String> {
        let mut seed = 1;
        let (mut down, mut up) = (Reading::default(), Reading::default());
        for (number, line) in (1..).zip(text.lines()) {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(first) = words.next() else { continue };
            let second = words.next().unwrap_or_default();
            let rest: Vec<_> = words.collect();
            let read = match first {
                "seed" => second.parse().map(|given| seed = given).map_err(|error| format!("{second}: {error}")),
                "down" => down.line(second, &rest, &open),
                "up" => up.line(second, &rest, &open),
                "both" => down.line(second, &rest, &open).and_then(|()| up.line(second, &rest, &open)),
                _ => Err(format!("{first} is none of seed, down, up, both")),
            };
            read.map_err(|error| format!("line {number}: {error}"))?;
        }
        Ok(Self { seed, down: down.end()?, up: up.end()? })
    }
}

/// A direction that is being read.
#[derive(Debug)]
struct Reading {
    words: Words,
    schedule: Schedule,
}

impl Default for Reading {
    fn default() -> Self {
        Self { words: Words::NONE, schedule: Schedule::default() }
    }
}

impl Reading {
    fn line(&mut self, at: &str, words: &[&str], open: &impl Fn(&str) -> Result<String, String>) -> Result<(), String> {
        let at = Duration::from_micros(scaled(at, 1e6)?);
        if words == ["again"] {
            return self.schedule.repeat_after(at);
        }
        for word in words {
            let (name, value) = word.split_once('=').ok_or_else(|| format!("{word} is not name=value"))?;
            if name == "mahimahi" {
                self.schedule.opportunities = Some(Opportunities::parse(&open(value)?)?);
            } else {
                self.words.set(name, value)?;
            }
        }
        self.schedule.queue = Duration::from_micros(self.words.queue_us);
        self.schedule.push(at, self.words.conditions())
    }

    fn end(self) -> Result<Schedule, String> {
        self.schedule.check()
    }
}

impl Words {
    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let percent =
            || scaled(value, 10.0).and_then(|it| if it <= 1000 { Ok(it as u32) } else { Err("over 100 %".into()) });
        let us = || scaled(value, 1000.0);
        match name {
            "delay" => self.conditions.delay_us = us()?,
            "jitter" => self.conditions.jitter_us = us()?,
            "loss" => self.loss = f64::from(percent()?) / 10.0,
            "burst" => self.burst = scaled(value, 100.0)? as f64 / 100.0,
            "reorder" => self.conditions.reordered = percent()?,
            "hold" => self.conditions.held_us = us()?,
            "duplicate" => self.conditions.duplicated = percent()?,
            "rate" if value == "none" => self.bps = None,
            "rate" => self.bps = Some(scaled(value, 1000.0)?),
            "queue" => self.queue_us = us()?,
            _ => return Err(format!("{name} is not known")),
        }
        Ok(())
    }
}

/// A number with a fraction, in smaller units.
fn scaled(text: &str, units: f64) -> Result<u64, String> {
    let value: f64 = text.parse().map_err(|error| format!("{text}: {error}"))?;
    // Ten million of anything here is a mistake, and fits with its units.
    if (0.0..1e7).contains(&value) {
        Ok((value * units).round() as u64)
    } else {
        Err(format!("{text} is out of range"))
    }
}
