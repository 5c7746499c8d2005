//! Recordings of cellular links in mahimahi's format (Netravali et al., USENIX ATC 2015): a line is a time in milliseconds
//! at which 1500 bytes can be delivered; after the last one it begins again. What is not used at its time is gone.

use core::time::Duration;

/// Bytes of one opportunity.
const BYTES: u64 = 1500;

/// When a link can deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opportunities {
    at_ms: Vec<u64>,
}

impl Opportunities {
    /// Reads a recording.
    ///
    /// # Errors
    /// Where a line is no time, goes back, or none is above 0.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
        let at_ms: Vec<u64> = lines
            .map(|(number, line)| {
                line.trim().parse().map_err(|error| format!("line {number} of the recording: {error}"))
            })
            .collect::<Result<_, _>>()?;
        if let Some(at) = at_ms.windows(2).position(|pair| pair[0] > pair[1]) {
            return Err(format!("line {} of the recording goes back in time", at + 2));
        }
        if at_ms.last().is_none_or(|last| *last == 0) {
            return Err("the recording has no length".into());
        }
        Ok(Self { at_ms })
    }

    fn period(&self) -> u64 {
        self.at_ms[self.at_ms.len() - 1]
    }

    /// The time of an opportunity, counted over all periods.
    fn at(&self, number: u64) -> Duration {
        let count = self.at_ms.len() as u64;
        Duration::from_millis(number / count * self.period() + self.at_ms[(number % count) as usize])
    }

    /// The first opportunity that is not before a time.
    fn first(&self, time: Duration) -> u64 {
        let ms = time.as_nanos().div_ceil(1_000_000) as u64;
        // A period ends with the millisecond that its last line names, and the next begins at 0, one and the same.
        let (periods, within) = (ms.saturating_sub(1) / self.period(), ms);
        let within = within - periods * self.period();
        periods * self.at_ms.len() as u64 + self.at_ms.partition_point(|at| *at < within) as u64
    }

    pub(super) fn capacity(&self, from: Duration, until: Duration) -> u64 {
        (self.first(until) - self.first(from)) * BYTES
    }
}

/// How far the opportunities are used.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    number: u64,
    bytes: u64,
}

impl Used {
    /// What is used, and when the last byte goes, after a packet that comes now.
    pub(super) fn send(mut self, opportunities: &Opportunities, now: Duration, len: u64) -> (Self, Duration) {
        let first = opportunities.first(now);
        if first > self.number {
            self = Self { number: first, bytes: 0 };
        }
        self.bytes += len;
        // A full one is left when more comes.
        let passed = self.bytes.saturating_sub(1) / BYTES;
        self.number += passed;
        self.bytes -= passed * BYTES;
        (self, opportunities.at(self.number))
    }
}
