//! How many packets are lost in a row: what protection against loss goes by.

/// A loss counts less with each loss after it: some hundred are remembered.
const KEEP: f64 = 0.99;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    lost: f64,
    runs: f64,
    is_within: bool,
}

impl Bursts {
    /// Notes what became of a packet, in the order they were sent.
    pub(super) fn add(&mut self, is_lost: bool) {
        if is_lost {
            self.lost = self.lost * KEEP + 1.0;
            self.runs = self.runs * KEEP + f64::from(u8::from(!self.is_within));
        }
        self.is_within = is_lost;
    }

    /// The mean number of packets lost in a row, 1 or more.
    pub(super) fn mean(&self) -> f64 {
        if self.runs > 0.0 { (self.lost / self.runs).max(1.0) } else { 1.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bursts_have_a_length() {
        let mut bursts = Bursts::default();
        assert!((bursts.mean() - 1.0).abs() < 1e-9);
        for _ in 0..200 {
            (0..20).for_each(|_| bursts.add(false));
            (0..8).for_each(|_| bursts.add(true));
        }
        assert!((7.5..8.5).contains(&bursts.mean()), "{}", bursts.mean());
        for n in 0..2000 {
            bursts.add(n % 10 == 0);
        }
        assert!(bursts.mean() < 2.0, "the old ones are forgotten: {}", bursts.mean());
    }
}
