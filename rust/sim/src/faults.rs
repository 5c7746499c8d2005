//! What goes wrong on purpose, and when: links that are cut or squeezed, bytes that are damaged, datagrams that somebody
//! else sends.

use rtpcore_core::Time;

use crate::dice::Dice;
use crate::links::Rate;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From the peer to the router.
    Up,
    /// From the router to the peer.
    Down,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing arrives, this way or (with none) either way.
    Cut(Option<Way>),
    /// The bottleneck is narrower.
    Squeeze(Way, Rate),
    /// Of a thousand datagrams, how many have bits flipped.
    Damage(Way, u32),
    /// Of a thousand datagrams, how many lose their end.
    Truncate(Way, u32),
    /// Of a thousand datagrams, how many are followed by an older one, sent once more as it was.
    Replay(Way, u32),
    /// So many forged datagrams a second come from the peer's address.
    Forge(Forgery, u32),
}

/// What an attacker who can spoof the peer's address sends to the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgery {
    /// Any bytes.
    Noise,
    /// SRTP-shaped, each with another SSRC.
    Ssrcs,
    /// SRTP-shaped, under the peer's own SSRCs.
    Media,
    /// SRTCP-shaped.
    Reports,
}

/// One fault of one peer's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Whose path.
    pub peer: usize,
    /// First instant.
    pub from: Time,
    /// First instant without it.
    pub until: Time,
    /// What goes wrong.
    pub trouble: Trouble,
}

impl Fault {
    fn is_on(&self, now: Time, peer: usize) -> bool {
        self.peer == peer && self.from <= now && now < self.until
    }
}

/// The schedule of one run.
#[derive(Clone, Debug, Default)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Whether nothing gets through this way.
    pub fn is_cut(&self, now: Time, peer: usize, way: Way) -> bool {
        self.active(now, peer).any(|trouble| matches!(trouble, Trouble::Cut(cut) if cut.is_none_or(|cut| cut == way)))
    }

    /// The narrower bottleneck, if there is one.
    pub fn rate(&self, now: Time, peer: usize, way: Way) -> Option<Rate> {
        self.active(now, peer).find_map(|trouble| match trouble {
            Trouble::Squeeze(squeezed, rate) if squeezed == way => Some(rate),
            _ => None,
        })
    }

    /// Damages a datagram, if it is its turn; true if it is no longer what was sent.
    pub fn damage(&self, now: Time, peer: usize, way: Way, dice: &mut Dice, datagram: &mut Vec<u8>) -> bool {
        let mut is_damaged = false;
        for trouble in self.active(now, peer) {
            match trouble {
                Trouble::Damage(damaged, permille) if damaged == way && dice.permille(permille) => {
                    for _ in 0..=dice.below(3) {
                        let bit = dice.below(datagram.len() as u64 * 8);
                        if let Some(byte) = datagram.get_mut(usize::try_from(bit / 8).unwrap_or(0)) {
                            *byte ^= 1 << (bit % 8);
                            is_damaged = true;
                        }
                    }
                }
                Trouble::Truncate(cut, permille) if cut == way && dice.permille(permille) => {
                    datagram.truncate(usize::try_from(dice.below(datagram.len() as u64)).unwrap_or(0));
                    is_damaged = true;
                }
                _ => {}
            }
        }
        is_damaged
    }

    /// Whether an older datagram is sent once more now.
    pub fn replays(&self, now: Time, peer: usize, way: Way, dice: &mut Dice) -> bool {
        self.active(now, peer).any(
            |trouble| matches!(trouble, Trouble::Replay(replayed, chance) if replayed == way && dice.permille(chance)),
        )
    }

    /// When all of it is over.
    pub fn end(&self) -> Time {
        self.0.iter().map(|fault| fault.until).max().unwrap_or(Time::ZERO)
    }

    fn active(&self, now: Time, peer: usize) -> impl Iterator<Item = Trouble> {
        self.0.iter().filter(move |fault| fault.is_on(now, peer)).map(|fault| fault.trouble)
    }
}

/// One forged datagram. `ssrcs` are the peer's own.
pub fn forge(forgery: Forgery, ssrcs: &[u32], dice: &mut Dice) -> Vec<u8> {
    let len = usize::try_from(dice.within(1, 1600)).unwrap_or(1);
    let mut datagram: Vec<u8> = (0..len).map(|_| dice.next().to_be_bytes()[0]).collect();
    let ssrc = match forgery {
        Forgery::Noise => return datagram,
        Forgery::Media | Forgery::Reports if !ssrcs.is_empty() => dice.pick(ssrcs),
        Forgery::Ssrcs | Forgery::Media | Forgery::Reports => dice.next().to_be_bytes()[3].into(),
    };
    datagram.resize(len.max(40), 0);
    let ssrc = if forgery == Forgery::Ssrcs { u32::from_be_bytes(first_four(dice)) } else { ssrc };
    if forgery == Forgery::Reports {
        let kind = 200 + (datagram[1] & 7);
        datagram[..2].copy_from_slice(&[0x80, kind]);
        datagram[4..8].copy_from_slice(&ssrc.to_be_bytes());
    } else {
        datagram[..2].copy_from_slice(&[0x80, 96]);
        datagram[8..12].copy_from_slice(&ssrc.to_be_bytes());
    }
    datagram
}

fn first_four(dice: &mut Dice) -> [u8; 4] {
    let bytes = dice.next().to_be_bytes();
    [bytes[0], bytes[1], bytes[2], bytes[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(trouble: Trouble) -> Faults {
        Faults(vec![Fault { peer: 1, from: Time::from_millis(10), until: Time::from_millis(20), trouble }])
    }

    #[test]
    fn a_fault_has_a_beginning_an_end_a_peer_and_a_way() {
        let cut = faults(Trouble::Cut(Some(Way::Up)));
        let is_cut = |at, peer, way| cut.is_cut(Time::from_millis(at), peer, way);
        assert!(is_cut(10, 1, Way::Up) && is_cut(19, 1, Way::Up));
        assert!(!is_cut(9, 1, Way::Up) && !is_cut(20, 1, Way::Up));
        assert!(!is_cut(15, 0, Way::Up) && !is_cut(15, 1, Way::Down));
        let both = faults(Trouble::Cut(None));
        assert!(both.is_cut(Time::from_millis(15), 1, Way::Up) && both.is_cut(Time::from_millis(15), 1, Way::Down));
        assert_eq!(both.end(), Time::from_millis(20));
    }

    #[test]
    fn damage_changes_bytes_and_says_so() {
        let damage = faults(Trouble::Damage(Way::Down, 500));
        let mut dice = Dice::new(1);
        let mut damaged = 0;
        for _ in 0..1000 {
            let mut datagram = vec![0; 100];
            let says = damage.damage(Time::from_millis(15), 1, Way::Down, &mut dice, &mut datagram);
            // An even number of flips of one bit says damage where there is none: the cautious side.
            assert!(says || datagram == vec![0; 100]);
            damaged += usize::from(says);
        }
        assert!((400..600).contains(&damaged), "{damaged}");
    }

    #[test]
    fn forgeries_look_the_part() {
        let mut dice = Dice::new(1);
        for _ in 0..100 {
            let media = forge(Forgery::Media, &[7], &mut dice);
            assert_eq!((media[0], &media[8..12]), (0x80, &[0, 0, 0, 7][..]));
            let report = forge(Forgery::Reports, &[7], &mut dice);
            assert!((200..=207).contains(&report[1]));
            assert!(!forge(Forgery::Noise, &[], &mut dice).is_empty());
        }
    }
}
