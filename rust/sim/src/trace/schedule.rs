//! One direction's conditions over time.

use core::time::Duration;

use super::mahimahi::Opportunities;
use crate::links::Conditions;

/// What holds from when on, in order; perhaps again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    steps: Vec<(Duration, Conditions)>,
    period: Option<Duration>,
    /// How long a packet may wait for an opportunity of a recording, or for the end of an outage.
    pub(super) queue: Duration,
    /// A recording in place of rates.
    pub(super) opportunities: Option<Opportunities>,
}

impl Schedule {
    /// The same all the time.
    pub fn constant(conditions: Conditions) -> Self {
        Self { steps: vec![(Duration::ZERO, conditions)], ..Self::default() }
    }

    /// From `at` on these conditions hold.
    ///
    /// # Errors
    /// Where that is before the last one, or after the end of a period.
    pub fn push(&mut self, at: Duration, conditions: Conditions) -> Result<(), String> {
        match self.steps.last_mut() {
            None if !at.is_zero() => Err("a direction begins at 0".into()),
            _ if self.period.is_some() => Err("nothing comes after again".into()),
            Some((last, _)) if *last > at => Err(format!("{at:?} comes after {last:?}")),
            Some((last, same)) if *last == at => {
                *same = conditions;
                Ok(())
            }
            _ => {
                self.steps.push((at, conditions));
                Ok(())
            }
        }
    }

    /// After `period` all begins again.
    ///
    /// # Errors
    /// Where that is not after the last change.
    pub fn repeat_after(&mut self, period: Duration) -> Result<(), String> {
        if self.steps.last().is_none_or(|(last, _)| *last >= period) {
            return Err("again must come after the last change".into());
        }
        self.period = Some(period);
        Ok(())
    }

    pub(super) fn check(mut self) -> Result<Self, String> {
        if self.steps.is_empty() {
            self.push(Duration::ZERO, super::Words::NONE.conditions())?;
        }
        Ok(self)
    }

    /// What holds at a time, and until when, if not for ever.
    pub fn at(&self, time: Duration) -> (&Conditions, Option<Duration>) {
        let (base, within) = match self.period {
            None => (Duration::ZERO, time),
            Some(period) => {
                let within = (time.as_nanos() % period.as_nanos()) as u64;
                (time - Duration::from_nanos(within), Duration::from_nanos(within))
            }
        };
        let next = self.steps.partition_point(|(at, _)| *at <= within).max(1);
        let ends = self.steps.get(next).map(|(at, _)| *at).or(self.period);
        (&self.steps[next - 1].1, ends.map(|ends| base + ends))
    }

    /// The bytes that pass the bottleneck between two times; none where that is without a bound.
    pub fn capacity(&self, from: Duration, until: Duration) -> Option<u64> {
        if let Some(opportunities) = &self.opportunities {
            return Some(opportunities.capacity(from, until));
        }
        let mut bits = 0;
        let mut now = from;
        while now < until {
            let (conditions, ends) = self.at(now);
            let ends = ends.map_or(until, |ends| ends.min(until));
            bits += u128::from(conditions.rate?.bps) * (ends - now).as_nanos() / 1_000_000_000;
            now = ends;
        }
        u64::try_from(bits / 8).ok()
    }

    /// When the bottleneck has sent `bytes` that it begins with at `from`; none if it never has.
    pub(super) fn sent_at(&self, from: Duration, bytes: u64) -> Option<Duration> {
        let mut left = u128::from(bytes) * 8_000_000_000;
        let mut now = from;
        loop {
            let (conditions, ends) = self.at(now);
            let Some(rate) = conditions.rate else { return Some(now) };
            let bps = u128::from(rate.bps);
            let within = ends.map(|ends| (ends - now).as_nanos() * bps);
            if bps > 0 && within.is_none_or(|within| left <= within) {
                return Some(now + Duration::from_nanos(left.div_ceil(bps) as u64));
            }
            left -= within?;
            now = ends?;
            // Nothing passes in a whole period.
            if self.period.is_some_and(|period| now - from > period)
                && self.capacity(Duration::ZERO, self.period?) == Some(0)
            {
                return None;
            }
        }
    }
}
