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
use crate::payload::{Codec, red};
use crate::send::{Entry, Sender};
use crate::store::{MAX_PACKET, PacketStore};
use crate::units::{Pt, SeqNo};

/// Earlier payloads in one packet at most: three losses in a row are seldom, and each costs its bytes.
const MOST: u8 = 2;
/// Loss from which one earlier payload is repeated, and from which two are, in 256ths: 1 % and 8 %.
const FROM: [u32; MOST as usize] = [3, 20];
/// While redundancy is on it stays until the loss is under half of that: what helped should not stop for having helped.
const STAY: u32 = 2;
/// The path must carry so many times what audio takes, repeated blocks included: the rest is for video and what wavers.
const ROOM: u64 = 2;
/// A packet with redundancy is never longer: what a path without fragments carries, with room for headers and tag.
const LONGEST: usize = 1100;

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

    /// Decides how much is repeated: `loss` in 256ths; `audio` and `path` in bits per second, without a path nothing is known
    /// of it.
    pub(super) fn judge(&mut self, loss: u32, audio: u64, path: Option<u64>) {
        let level = |blocks: u8| FROM.get(usize::from(blocks).wrapping_sub(1)).copied().unwrap_or(u32::MAX);
        let mut blocks = 0;
        while blocks < MOST {
            let next = blocks + 1;
            let least = if next <= self.blocks { level(next) / STAY } else { level(next) };
            let has_room = path.is_none_or(|path| audio * u64::from(next + 1) * ROOM <= path);
            if loss < least || !has_room {
                break;
            }
            blocks = next;
        }
        self.blocks = blocks;
    }

    /// Settles how a packet that was just taken leaves: how much of what lies before it is still there.
    ///
    /// It is settled once: without RTX a packet sent again must be the same to the last bit.
    pub(super) fn settle(&self, sender: &mut Sender, source_red: Option<Pt>, store: &PacketStore, seq: SeqNo) {
        let Some((red, opus)) = self.types else { return };
        let Some(entry) = sender.entry(seq).copied() else { return };
        let Some((packet, bytes, _)) = store.find(entry.packet) else { return };
        let is_red = source_red == Some(packet.header.payload_type);
        if !is_red && entry.payload_type != opus {
            return;
        }
        let mut room = LONGEST.saturating_sub(packet.payload(bytes).len());
        let mut blocks = 0;
        while blocks < self.blocks {
            let Some(earlier) = earlier(sender, &entry, blocks + 1) else { break };
            let Some(len) = primary(store, earlier, source_red).map(<[u8]>::len) else { break };
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
        &self,
        sender: &Sender,
        entry: &Entry,
        source_red: Option<Pt>,
        store: &PacketStore,
        out: &mut [u8; MAX_PACKET],
    ) -> Option<usize> {
        let (_, opus) = self.types?;
        let mut redundant = [red::Redundant { timestamp_offset: 0, payload: &[] }; MOST as usize];
        let used = redundant.get_mut(..usize::from(entry.blocks))?;
        for (slot, distance) in used.iter_mut().rev().zip(1..) {
            let earlier = earlier(sender, entry, distance)?;
            let timestamp_offset = entry.timestamp.wrapping_sub(earlier.timestamp);
            *slot = red::Redundant { timestamp_offset, payload: primary(store, earlier, source_red)? };
        }
        red::write(opus, primary(store, entry, source_red)?, used, out)
    }
}

/// The packet so many before another, if it was sent and lies within what RED can tell.
fn earlier<'a>(sender: &'a Sender, entry: &Entry, distance: u8) -> Option<&'a Entry> {
    let earlier = sender.entry(SeqNo(entry.seq.0.checked_sub(u64::from(distance))?))?;
    (1..=red::MAX_OFFSET).contains(&entry.timestamp.wrapping_sub(earlier.timestamp)).then_some(earlier)
}

/// The payload that a packet was sent for, without what its publisher repeated.
fn primary<'a>(store: &'a PacketStore, entry: &Entry, source_red: Option<Pt>) -> Option<&'a [u8]> {
    let (packet, bytes, _) = store.find(entry.packet)?;
    let payload = packet.payload(bytes);
    if source_red != Some(packet.header.payload_type) {
        return Some(payload);
    }
    payload.get(red::parse(payload)?.primary().range)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(blocks: u8, loss: u32, audio: u64, path: Option<u64>) -> u8 {
        let mut redundancy = Redundancy { types: None, blocks };
        redundancy.judge(loss, audio, path);
        redundancy.blocks
    }

    #[test]
    fn more_loss_repeats_more_and_a_narrow_path_nothing() {
        assert_eq!([0, 2, 3, 19, 20, 128].map(|loss| judged(0, loss, 50_000, None)), [0, 0, 1, 1, 2, 2]);
        assert_eq!(judged(2, 10, 50_000, None), 2, "half of what began it");
        assert_eq!(judged(2, 9, 50_000, None), 1);
        assert_eq!(judged(1, 1, 50_000, None), 1);
        assert_eq!(judged(1, 0, 50_000, None), 0);
        assert_eq!([80_000, 200_000, 300_000].map(|path| judged(2, 128, 50_000, Some(path))), [0, 1, 2]);
    }
}
