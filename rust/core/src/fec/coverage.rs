//! Which lost packets a subscriber can recover by itself, so that they need not be sent again at once.
//!
//! A receiver asks for a packet as soon as it sees the gap, most often before the repair packet has come. Answering
//! that costs the bytes of the packet a second time for nothing. It asks again a round trip later if repair failed.

/// How many repair packets are remembered: those of four windows at least.
const REPAIRS: usize = 64;

/// The repair packets sent lately and what their receiver said it lost. 1.5 kB, no allocation.
#[derive(Clone, Debug)]
pub struct Coverage {
    repairs: [Sent; REPAIRS],
    next: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sent {
    base: u16,
    mask: u64,
    /// Of `mask`, what the receiver lacked.
    lost: u64,
}

impl Sent {
    /// The packet's bit, where it is in the sum; else zero.
    fn bit(&self, sequence_number: u16) -> u64 {
        let ahead = u32::from(sequence_number.wrapping_sub(self.base));
        1_u64.checked_shl(ahead).unwrap_or(0) & self.mask
    }
}

impl Default for Coverage {
    fn default() -> Self {
        Self { repairs: [Sent::default(); REPAIRS], next: 0 }
    }
}

impl Coverage {
    /// A repair packet was sent: bit `i` of `mask` says that packet `base + i` is in it.
    pub(super) fn add(&mut self, base: u16, mask: u64) {
        if let Some(slot) = self.repairs.get_mut(self.next % REPAIRS) {
            *slot = Sent { base, mask, lost: 0 };
        }
        self.next = (self.next + 1) % REPAIRS;
    }

    /// The packets that a NACK names, and of them those that are not to be sent again yet: asked for the first time,
    /// and the repair packets sent lately are enough to recover them if they all came.
    ///
    /// Looks at each of the 64 repair packets a few times, whatever the NACK.
    pub fn repairable(&mut self, lost: impl Iterator<Item = u16> + Clone, mut is_repairable: impl FnMut(u16)) {
        let before = self.repairs;
        for sequence_number in lost.clone() {
            for sent in &mut self.repairs {
                sent.lost |= sent.bit(sequence_number);
            }
        }
        let mut left = self.repairs;
        while let Some(found) = recover_one(&left) {
            for sent in &mut left {
                sent.lost &= !sent.bit(found);
            }
        }
        for sequence_number in lost {
            let is_new = before.iter().all(|sent| sent.lost & sent.bit(sequence_number) == 0);
            let is_covered = left.iter().any(|sent| sent.bit(sequence_number) != 0);
            let is_left = left.iter().any(|sent| sent.lost & sent.bit(sequence_number) != 0);
            if is_new && is_covered && !is_left {
                is_repairable(sequence_number);
            }
        }
    }
}

/// A packet that is the only one lost of a sum.
fn recover_one(repairs: &[Sent; REPAIRS]) -> Option<u16> {
    let sent = repairs.iter().find(|sent| sent.lost.is_power_of_two())?;
    Some(sent.base.wrapping_add(u16::try_from(sent.lost.trailing_zeros()).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repairable(coverage: &mut Coverage, lost: &[u16]) -> Vec<u16> {
        let mut found = Vec::new();
        coverage.repairable(lost.iter().copied(), |seq| found.push(seq));
        found
    }

    #[test]
    fn one_loss_of_a_sum_waits_once() {
        let mut coverage = Coverage::default();
        assert_eq!(repairable(&mut coverage, &[65_534]), [0; 0], "nothing was sent");
        coverage.add(65_533, 0b1111);
        assert_eq!(repairable(&mut coverage, &[65_534, 1]), [65_534], "1 is in no sum");
        assert_eq!(repairable(&mut coverage, &[65_534]), [0; 0], "asked again: repair failed");
        assert_eq!(repairable(&mut coverage, &[0]), [0; 0], "now two are lost of one sum");
    }

    #[test]
    fn one_recovery_makes_the_next_possible() {
        let mut coverage = Coverage::default();
        coverage.add(10, 0b0011);
        coverage.add(11, 0b0011);
        coverage.add(20, 0b0011);
        assert_eq!(repairable(&mut coverage, &[11, 12, 20, 21]), [11, 12], "12 with 11 back; 20 and 21 not");
    }

    #[test]
    fn old_repair_packets_are_forgotten() {
        let mut coverage = Coverage::default();
        coverage.add(10, 1);
        for n in 0..64 {
            coverage.add(100 + n, 1);
        }
        assert_eq!(repairable(&mut coverage, &[10, 100, 163]), [100, 163]);
    }
}
