//! The packets a router still remembers: one ring of bytes, one ring of what is known of them.
//!
//! A subscriber's history refers to packets here instead of copying them, so that a retransmission costs no memory per
//! subscriber. The oldest packets give way to the newest; nothing is counted, freed or allocated on the way.

use crate::packet::Packet;

/// The largest RTP packet that is kept and forwarded, header included: what fits an Ethernet frame, with room to spare.
pub const MAX_PACKET: usize = 1500;

/// A packet in a [`PacketStore`]: the number of packets stored before it. Never reused.
pub type PacketRef = u64;

#[derive(Clone, Copy)]
struct Slot {
    packet: Packet,
    /// The owner's word about the packet: whose it is.
    owner: u32,
    /// Position of the first byte, counted over the whole life of the store.
    position: u64,
    len: u16,
}

/// A ring of the most recently received packets.
pub struct PacketStore {
    slots: Box<[Option<Slot>]>,
    next: PacketRef,
    bytes: Box<[u8]>,
    /// Bytes handed out over the whole life of the store, unused tails included.
    position: u64,
}

impl PacketStore {
    /// A store for the last `packets` packets (a power of two is rounded up to) of about `mean_len` bytes each.
    ///
    /// The memory is touched only as packets come, so an idle router stays small.
    pub fn new(packets: usize, mean_len: usize) -> Self {
        let packets = packets.max(16).next_power_of_two();
        let bytes = (packets * mean_len).max(16 * MAX_PACKET);
        Self {
            slots: vec![None; packets].into_boxed_slice(),
            next: 0,
            bytes: vec![0; bytes].into_boxed_slice(),
            position: 0,
        }
    }

    /// Room for one packet of up to [`MAX_PACKET`] bytes. What was written is kept only by [`commit`](Self::commit).
    pub fn reserve(&mut self) -> &mut [u8] {
        let start = self.start_of_next();
        self.bytes.get_mut(start..start + MAX_PACKET).unwrap_or(&mut [])
    }

    /// Keeps the first `len` bytes written to the last [`reserve`](Self::reserve) under a new reference.
    pub fn commit(&mut self, owner: u32, packet: Packet, len: usize) -> PacketRef {
        let start = self.start_of_next();
        let capacity = self.bytes.len() as u64;
        // Where the end was too near, the tail is skipped: it counts as handed out.
        let offset = self.position % capacity;
        if offset != start as u64 {
            self.position += capacity - offset;
        }
        let reference = self.next;
        let len = u16::try_from(len.min(MAX_PACKET)).unwrap_or(0);
        let mask = self.slots.len() - 1;
        #[allow(clippy::cast_possible_truncation)]
        if let Some(slot) = self.slots.get_mut(reference as usize & mask) {
            *slot = Some(Slot { packet, owner, position: self.position, len });
        }
        self.position += u64::from(len);
        self.next += 1;
        reference
    }

    /// The packet, its bytes and its owner, or none if newer packets took its place.
    pub fn find(&self, reference: PacketRef) -> Option<(&Packet, &[u8], u32)> {
        let mask = self.slots.len() - 1;
        if reference >= self.next || self.next - reference > self.slots.len() as u64 {
            return None;
        }
        #[allow(clippy::cast_possible_truncation)]
        let slot = self.slots.get(reference as usize & mask)?.as_ref()?;
        // A packet being written may take up to MAX_PACKET bytes past the current position.
        let capacity = self.bytes.len() as u64;
        if self.position + 2 * MAX_PACKET as u64 > slot.position + capacity {
            return None;
        }
        let start = usize::try_from(slot.position % capacity).ok()?;
        let bytes = self.bytes.get(start..start + usize::from(slot.len))?;
        Some((&slot.packet, bytes, slot.owner))
    }

    fn start_of_next(&self) -> usize {
        let capacity = self.bytes.len();
        let start = usize::try_from(self.position % capacity as u64).unwrap_or(0);
        if start + MAX_PACKET > capacity { 0 } else { start }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::Packet;

    #[test]
    fn keeps_the_newest_and_forgets_the_oldest() {
        let mut store = PacketStore::new(16, 100);
        let mut kept = Vec::new();
        for n in 0u64..200 {
            let len = 20 + usize::try_from(n).unwrap() % 1400;
            store.reserve()[..len].fill(u8::try_from(n % 251).unwrap());
            let reference = store.commit(7, Packet::BLANK, len);
            assert_eq!(reference, n);
            kept.push(len);
            for back in 0..=n {
                if let Some((_, bytes, owner)) = store.find(back) {
                    assert_eq!(owner, 7);
                    assert_eq!(bytes.len(), kept[usize::try_from(back).unwrap()]);
                    assert!(bytes.iter().all(|&b| u64::from(b) == back % 251), "packet {back} was overwritten");
                }
            }
            assert!(store.find(n).is_some());
            assert!(store.find(n + 1).is_none());
            assert!(n < 16 || store.find(n - 16).is_none());
        }
    }

    #[test]
    fn what_is_reserved_never_touches_what_is_found() {
        let mut store = PacketStore::new(64, 300);
        for n in 0u8..250 {
            store.reserve()[..600].fill(n);
            store.commit(0, Packet::BLANK, 600);
            // The next packet is written but not kept, as for a forged one.
            store.reserve().fill(0xFF);
            for back in 0..u64::from(n) {
                if let Some((_, bytes, _)) = store.find(back) {
                    assert!(bytes.iter().all(|&b| u64::from(b) == back));
                }
            }
        }
    }
}
