//! The tags of AES-CM packets, for many packets of many peers at once.

use rtpcore_cipher::{CM_TAG_LEN, TagJob, tag_many};

use super::context::{Deferred, Outbound};

/// Packets hashed per call: four times the lanes of the widest CPU, so that few lanes idle at the end, and little stack.
const BATCH: usize = 64;

/// Collects the packets that [`Outbound::protect_rtp_deferred`] left without a tag in a slab, and writes all their tags.
///
/// Hashing is most of the work of AES-CM, and side by side the packets of many peers are hashed at a third of the cost. A
/// router fills its slab, calls [`Tagger::finish`] once and then sends the slab.
#[derive(Debug, Default)]
pub struct Tagger {
    pending: Vec<Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    offset: usize,
    len: usize,
    roc: u32,
    owner: u32,
}

impl Tagger {
    /// Room for `packets` without allocating; it grows beyond that and keeps what it grew to.
    pub fn with_capacity(packets: usize) -> Self {
        Self { pending: Vec::with_capacity(packets) }
    }

    /// Notes a packet at `offset` of the slab. `owner` is any number by which [`Tagger::finish`] can find its [`Outbound`].
    ///
    /// A packet that is complete already (AES-GCM) is let pass, so a caller need not ask.
    pub fn push(&mut self, offset: usize, packet: Deferred, owner: u32) {
        if let Some(roc) = packet.roc {
            self.pending.push(Pending { offset, len: packet.len, roc, owner });
        }
    }

    /// Whether no packet waits for its tag.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Writes the tag of every packet noted since the last time.
    ///
    /// `outbound` names what protected the packets of an owner. A packet whose owner is gone keeps zeroes for a tag:
    /// whoever gets it will refuse it.
    pub fn finish<'k>(&mut self, slab: &mut [u8], outbound: impl Fn(u32) -> Option<&'k Outbound>) {
        for batch in self.pending.chunks(BATCH) {
            finish_batch(batch, slab, &outbound);
        }
        self.pending.clear();
    }
}

fn finish_batch<'k>(batch: &[Pending], slab: &mut [u8], outbound: &impl Fn(u32) -> Option<&'k Outbound>) {
    let mut tags = [[0; CM_TAG_LEN]; BATCH];
    let mut ends = [0; BATCH];
    let mut count = 0;
    {
        let found = batch.iter().filter_map(|packet| {
            let key = outbound(packet.owner)?.tag_key()?;
            let end = packet.offset.checked_add(packet.len)?.checked_sub(CM_TAG_LEN)?;
            Some((TagJob { key, message: slab.get(packet.offset..end)?, roc: packet.roc }, end))
        });
        let mut jobs: Option<[TagJob<'_>; BATCH]> = None;
        for (job, end) in found {
            // The first job fills the places that are not needed.
            if let (Some(place), Some(at)) = (jobs.get_or_insert([job; BATCH]).get_mut(count), ends.get_mut(count)) {
                (*place, *at) = (job, end);
                count += 1;
            }
        }
        if let Some(jobs) = jobs.as_ref().and_then(|jobs| jobs.get(..count)) {
            tag_many(jobs, &mut tags);
        }
    }
    for (tag, end) in tags.iter().zip(ends).take(count) {
        if let Some(place) = slab.get_mut(end..).and_then(|rest| rest.first_chunk_mut()) {
            *place = *tag;
        }
    }
}
