//! HMAC-SHA1 of many packets side by side, one to each 32-bit lane of a vector register.
//!
//! Each lane walks through its own packet: the whole blocks where they lie, the tail with the padding, the outer block;
//! then it takes the next packet. So packets of any lengths mix, and lanes idle only when the packets run out.

mod avx2;
mod avx512;
mod rounds;

use crate::hmac::{HmacKey, State, inner_tail, outer_block, truncate};
use crate::native::compress;
use crate::{CM_TAG_LEN, TagJob};

/// The chaining values of all lanes, word by word.
#[repr(align(64))]
struct States<const LANES: usize>([[u32; LANES]; 5]);

/// Writes all tags side by side; false if this CPU has no lanes or there are too few jobs to fill them.
pub(crate) fn tag_many(jobs: &[TagJob<'_>], tags: &mut [[u8; CM_TAG_LEN]]) -> bool {
    if jobs.len() < 3 {
        return false;
    }
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        tag_avx512(jobs, tags);
    } else if is_x86_feature_detected!("avx2") {
        tag_avx2(jobs, tags);
    } else {
        return false;
    }
    true
}

/// The CPU has AVX-512F and BW.
fn tag_avx512(jobs: &[TagJob<'_>], tags: &mut [[u8; CM_TAG_LEN]]) {
    debug_assert!(is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw"));
    // SAFETY: the only caller has asked the CPU.
    run(jobs, tags, 4, |states, blocks, count| unsafe { avx512::compress(states, blocks, count) });
}

/// The CPU has AVX2.
fn tag_avx2(jobs: &[TagJob<'_>], tags: &mut [[u8; CM_TAG_LEN]]) {
    debug_assert!(is_x86_feature_detected!("avx2"));
    // SAFETY: the only caller has asked the CPU.
    run(jobs, tags, 4, |states, blocks, count| unsafe { avx2::compress(states, blocks, count) });
}

/// Where a lane is in its packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// In the message itself.
    Body,
    /// In the lane's buffer, which holds the last bytes, the ROC and the padding.
    Tail,
    /// In the lane's buffer, which holds the inner digest.
    Outer,
    /// Out of work.
    Idle,
}

struct Lane {
    job: usize,
    stage: Stage,
    /// Bytes of this stage already hashed.
    at: usize,
    /// Blocks of this stage still to hash.
    left: usize,
    buffer: [u8; 128],
}

/// Walks all jobs through `LANES` lanes. `cost` is what a step of all lanes takes, in steps of one scalar hash: where
/// the last few packets would leave most lanes idle, they are finished one by one.
fn run<const LANES: usize>(
    jobs: &[TagJob<'_>],
    tags: &mut [[u8; CM_TAG_LEN]],
    cost: usize,
    compress_lanes: impl Fn(&mut States<LANES>, &[&[u8]; LANES], usize),
) {
    let mut states = States([[0; LANES]; 5]);
    let mut waiting = jobs.iter().enumerate();
    let mut lanes: [Lane; LANES] =
        core::array::from_fn(|_| Lane { job: 0, stage: Stage::Idle, at: 0, left: 0, buffer: [0; 128] });
    for (n, lane) in lanes.iter_mut().enumerate() {
        if let Some((job, it)) = waiting.next() {
            lane.start(job, it, &mut states, n);
        }
    }
    loop {
        // The step is as long as the shortest stage.
        let busy = || lanes.iter().filter(|lane| lane.stage != Stage::Idle);
        let Some(count) = busy().map(|lane| lane.left).min() else { return };
        if waiting.len() == 0 {
            let most = busy().map(Lane::blocks_to_go_at_least).max().unwrap_or(0);
            let sum: usize = busy().map(Lane::blocks_to_go_at_least).sum();
            if most * cost > sum {
                break;
            }
        }
        let blocks = lanes.each_ref().map(|lane| lane.pending(jobs));
        // An idle lane repeats what another one hashes.
        let spare = blocks.iter().find(|pending| !pending.is_empty()).copied().unwrap_or(&[]);
        let blocks = blocks.map(|pending| if pending.is_empty() { spare } else { pending });
        compress_lanes(&mut states, &blocks, count);
        for (n, lane) in lanes.iter_mut().enumerate() {
            if lane.stage == Stage::Idle {
                continue;
            }
            lane.at += count * 64;
            lane.left -= count;
            while lane.left == 0 && lane.stage != Stage::Idle {
                if let Some(tag) = lane.advance(jobs, &mut states, n) {
                    tags[lane.job] = tag;
                    match waiting.next() {
                        Some((job, it)) => lane.start(job, it, &mut states, n),
                        None => lane.stage = Stage::Idle,
                    }
                }
            }
        }
    }
    for (n, lane) in lanes.iter_mut().enumerate() {
        if lane.stage != Stage::Idle {
            tags[lane.job] = lane.finish(jobs, &mut states, n);
        }
    }
}

impl Lane {
    /// Takes up a job. Its first stage may be empty.
    fn start<const LANES: usize>(&mut self, job: usize, it: &TagJob<'_>, states: &mut States<LANES>, n: usize) {
        let HmacKey { inner, .. } = it.key.hmac();
        states.set(n, inner);
        (self.job, self.stage, self.at, self.left) = (job, Stage::Body, 0, it.message.len() / 64);
        if self.left == 0 {
            self.enter_tail(it);
        }
    }

    /// Goes on to the next stage; the tag if there is none.
    fn advance<const LANES: usize>(
        &mut self,
        jobs: &[TagJob<'_>],
        states: &mut States<LANES>,
        n: usize,
    ) -> Option<[u8; CM_TAG_LEN]> {
        match self.stage {
            Stage::Body => self.enter_tail(&jobs[self.job]),
            Stage::Tail => {
                outer_block(&mut self.buffer, &states.of(n));
                states.set(n, &jobs[self.job].key.hmac().outer);
                (self.stage, self.at, self.left) = (Stage::Outer, 0, 1);
            }
            Stage::Outer => return Some(truncate(&states.of(n))),
            Stage::Idle => {}
        }
        None
    }

    fn enter_tail(&mut self, job: &TagJob<'_>) {
        let rest = &job.message[job.message.len() & !63..];
        let len = inner_tail(&mut self.buffer, rest, job.message.len(), job.roc);
        (self.stage, self.at, self.left) = (Stage::Tail, 0, len / 64);
    }

    /// What is left of this stage, in whole blocks.
    fn pending<'a>(&'a self, jobs: &[TagJob<'a>]) -> &'a [u8] {
        let bytes: &[u8] = match self.stage {
            Stage::Body => jobs[self.job].message,
            Stage::Tail | Stage::Outer => &self.buffer,
            Stage::Idle => return &[],
        };
        &bytes[self.at..self.at + self.left * 64]
    }

    /// How far this lane is from its tag, give or take a block of padding.
    fn blocks_to_go_at_least(&self) -> usize {
        self.left
            + match self.stage {
                Stage::Body => 2,
                Stage::Tail => 1,
                Stage::Outer | Stage::Idle => 0,
            }
    }

    /// Goes the rest of the way alone.
    fn finish<const LANES: usize>(
        &mut self,
        jobs: &[TagJob<'_>],
        states: &mut States<LANES>,
        n: usize,
    ) -> [u8; CM_TAG_LEN] {
        loop {
            let mut state = states.of(n);
            compress(&mut state, self.pending(jobs));
            states.set(n, &state);
            if let Some(tag) = self.advance(jobs, states, n) {
                return tag;
            }
        }
    }
}

impl<const LANES: usize> States<LANES> {
    fn of(&self, lane: usize) -> State {
        self.0.map(|word| word[lane])
    }

    fn set(&mut self, lane: usize, state: &State) {
        for (words, value) in self.0.iter_mut().zip(state) {
            words[lane] = *value;
        }
    }
}

#[cfg(test)]
mod tests;
