//! Opus sent again in the packets behind it (RFC 2198), to subscribers that lose some and take it.
//!
//! What a publisher repeats itself is undone and made anew, since how much is worth it depends on the subscriber's path:
//! none where nothing is lost, none where the path is too narrow for it.
//!
//! ```text
//!  stored      47  48  49  50            each packet: the earlier payloads, oldest first, and its own
//!  sent, 2     [45 46|47] [46 47|48] [47 48|49] [48 49|50]
//! ```

use crate::parameters::SenderParameters;
use crate::payload::{Codec, Detail, red};
use crate::send::{Entry, Sender};
use crate::store::{MAX_PACKET, PacketStore};
use crate::units::{Pt, SeqNo};

/// Earlier payloads in one packet at most: each costs its bytes, and waits for the packets behind it.
const MOST: u8 = 3;
/// Loss from which one earlier payload is repeated, from which two are, and three, in 256ths: 1 %, 3 % and 10 %. What stays
/// lost then is below a thousandth everywhere.
const FROM: [u32; MOST as usize] = [3, 8, 26];
/// Where losses come in bursts of so many packets of video, one payload more is repeated: audio packets lie among them.
const BURST: f64 = 2.5;
/// What a repeated payload costs of what a packet without any does, in 256ths: half of a packet is headers.
const COST: u64 = 140;
/// While redundancy is on it stays until the loss is under half of that: what helped should not stop for having helped.
const STAY: u32 = 2;
/// The path must carry so many times what audio takes, repeated blocks included: the rest is for video and what wavers.
const ROOM: u64 = 2;
/// A packet with redundancy is never longer: what a path without fragments carries, with room for headers and tag.
const LONGEST: usize = 1100;

/// What carries the audio.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    /// What audio takes now, in bits per second, what is repeated included.
    pub(super) audio: u64,
    /// What the path is thought to carry.
    pub(super) carries: u64,
    /// How many packets of video are lost in a row.
    pub(super) burst: f64,
}

/// How the audio of one copy leaves.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Redundancy {
    /// The subscriber's payload types: of RED, and of the Opus in it.
    types: Option<(Pt, Pt)>,
    /// How many earlier payloads to repeat.
    blocks: u8,
}

impl Redundancy {
    pub(super) fn of(parameters: &SenderParameters) -> Self {
        let find = |codec| parameters.codecs.iter().find(|one| one.codec == codec).map(|one| one.payload_type);
        Self { types: find(Codec::Red).zip(find(Codec::Opus)), blocks: 0 }
    }

    /// Decides how much is repeated: `loss` in 256ths; without a path nothing is known of it.
    pub(super) fn judge(&mut self, loss: u32, path: Option<&Path>) {
        let level = |blocks: u8| FROM.get(usize::from(blocks).wrapping_sub(1)).copied().unwrap_or(u32::MAX);
        let least = |blocks: u8| if blocks <= self.blocks { level(blocks) / STAY } else { level(blocks) };
        let by_loss = (1..=MOST).take_while(|&blocks| loss >= least(blocks)).count();
        let mut blocks = u8::try_from(by_loss).unwrap_or(MOST);
        if let Some(path) = path
            && blocks > 0
        {
            let mut burst = path.burst;
            while burst >= BURST && blocks < MOST {
                (burst, blocks) = (burst - BURST, blocks + 1);
            }
            while blocks > 0 && path.audio * cost(blocks) / cost(self.blocks) * ROOM > path.carries {
                blocks -= 1;
            }
        }
        self.blocks = blocks;
    }

    /// Settles how a packet that was just taken leaves: how much of what lies before it is still there.
    ///
    /// It is settled once: without RTX a packet sent again must be the same to the last bit.
    pub(super) fn settle(self, sender: &mut Sender, store: &PacketStore, seq: SeqNo) {
        let Some((red, opus)) = self.types else { return };
        let Some(entry) = sender.entry(seq).copied() else { return };
        let Some((packet, bytes, _)) = store.find(entry.packet) else { return };
        let is_red = packet.descriptor.detail == Detail::Red;
        if !is_red && entry.payload_type != opus {
            return;
        }
        let mut room = LONGEST.saturating_sub(packet.payload(bytes).len());
        let mut blocks = 0;
        while blocks < self.blocks {
            let Some(earlier) = earlier(sender, &entry, blocks + 1) else { break };
            let Some(len) = primary(store, earlier).map(<[u8]>::len) else { break };
            if !(1..=red::MAX_REDUNDANT_LEN.min(room)).contains(&len) {
                break;
            }
            room -= len;
            blocks += 1;
        }
        if blocks < self.blocks && is_red {
            // Less is at hand than the publisher may have repeated: its packet as it is.
            return sender.settle(seq, red, Entry::AS_IT_CAME);
        }
        sender.settle(seq, if blocks > 0 { red } else { opus }, blocks);
    }

    /// Writes the payload of a packet with earlier ones into `out` and returns its length; none where one of them is gone.
    pub(super) fn write(
        self,
        sender: &Sender,
        entry: &Entry,
        store: &PacketStore,
        out: &mut [u8; MAX_PACKET],
    ) -> Option<usize> {
        let (_, opus) = self.types?;
        let mut redundant = [red::Redundant { timestamp_offset: 0, payload: &[] }; MOST as usize];
        let used = redundant.get_mut(..usize::from(entry.blocks))?;
        for (slot, distance) in used.iter_mut().rev().zip(1..) {
            let earlier = earlier(sender, entry, distance)?;
            let timestamp_offset = entry.timestamp.wrapping_sub(earlier.timestamp);
            *slot = red::Redundant { timestamp_offset, payload: primary(store, earlier)? };
        }
        red::write(opus, primary(store, entry)?, used, out)
    }
}

/// What audio with so many repeated payloads costs, relatively.
fn cost(blocks: u8) -> u64 {
    256 + u64::from(blocks) * COST
}

/// The packet so many before another, if it was sent and lies within what RED can tell.
fn earlier<'a>(sender: &'a Sender, entry: &Entry, distance: u8) -> Option<&'a Entry> {
    let earlier = sender.entry(SeqNo(entry.seq.0.checked_sub(u64::from(distance))?))?;
    (1..=red::MAX_OFFSET).contains(&entry.timestamp.wrapping_sub(earlier.timestamp)).then_some(earlier)
}

/// The payload that a packet was sent for, without what its publisher repeated.
fn primary<'a>(store: &'a PacketStore, entry: &Entry) -> Option<&'a [u8]> {
    let (packet, bytes, _) = store.find(entry.packet)?;
    let payload = packet.payload(bytes);
    if packet.descriptor.detail != Detail::Red {
        return Some(payload);
    }
    payload.get(red::parse(payload)?.primary().range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(blocks: u8, loss: u32, path: Option<Path>) -> u8 {
        let mut redundancy = Redundancy { types: None, blocks };
        redundancy.judge(loss, path.as_ref());
        redundancy.blocks
    }

    #[test]
    fn more_loss_repeats_more() {
        assert_eq!([0, 2, 3, 7, 8, 25, 26, 256].map(|loss| judged(0, loss, None)), [0, 0, 1, 1, 2, 2, 3, 3]);
        assert_eq!([4, 3, 1, 0].map(|loss| judged(2, loss, None)), [2, 1, 1, 0], "half of what began it");
    }

    #[test]
    fn a_narrow_path_repeats_less_and_what_is_repeated_already_is_not_counted_twice() {
        let path =
            |blocks: u8, kbps: u64| Some(Path { audio: 50_000 * cost(blocks) / 256, carries: kbps * 1000, burst: 1.0 });
        for before in 0..=3 {
            let blocks = [80, 160, 220, 400].map(|kbps| judged(before, 256, path(before, kbps)));
            assert_eq!(blocks, [0, 1, 2, 3], "{before} before");
        }
    }

    #[test]
    fn bursts_repeat_more() {
        let path = |burst| Some(Path { audio: 50_000, carries: 2_000_000, burst });
        assert_eq!([1.0, 2.5, 5.6, 20.0].map(|burst| judged(0, 5, path(burst))), [1, 2, 3, 3]);
        assert_eq!(judged(0, 0, path(8.0)), 0);
    }
}
