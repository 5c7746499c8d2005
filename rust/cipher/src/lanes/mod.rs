//! HMAC-SHA1 of many packets side by side, one to each 32-bit lane of a vector register.
//!
//! Each lane walks through its own packet: the whole blocks where they lie, the tail with the padding, the outer block;
//! then it takes the next packet. So packets of any lengths mix, and lanes idle only when the packets run out.

mod avx2;
mod avx512;
mod rounds;

use crate::hmac::{State, inner_tail, outer_block, truncate};
use crate::native::compress;
use crate::{CM_TAG_LEN, TagJob};

/// The chaining values of all lanes, word by word.
#[repr(align(64))]
struct States<const LANES: usize>([[u32; LANES]; 5]);

/// Writes all tags side by side; false if this CPU has no lanes or there are too few jobs to fill them.
pub(crate) fn tag_many(jobs: &[TagJob<'_>], tags: &mut [[u8; CM_TAG_LEN]]) -> bool {
    // Up to here one by one is no slower.
    if jobs.len() <= 4 {
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
    run(jobs, tags, 5, |states, blocks, count| unsafe { avx2::compress(states, blocks, count) });
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

/// What every lane is at; one array each, so that a step over all lanes stays short.
struct Lanes<const LANES: usize> {
    states: States<LANES>,
    buffers: [[u8; 128]; LANES],
    stage: [Stage; LANES],
    job: [usize; LANES],
    /// Bytes of this stage already hashed.
    at: [usize; LANES],
    /// Blocks of this stage still to hash; in an idle lane more than in any other.
    left: [usize; LANES],
}

/// Walks all jobs through `LANES` lanes. `cost` is what a step of all lanes takes, in steps of one scalar hash: where
/// the last few packets would leave most lanes idle, they are finished one by one.
fn run<const LANES: usize>(
    jobs: &[TagJob<'_>],
    tags: &mut [[u8; CM_TAG_LEN]],
    cost: usize,
    compress_lanes: impl Fn(&mut States<LANES>, &[&[u8]; LANES], usize),
) {
    let mut lanes = Lanes {
        states: States([[0; LANES]; 5]),
        buffers: [[0; 128]; LANES],
        stage: [Stage::Idle; LANES],
        job: [0; LANES],
        at: [0; LANES],
        left: [usize::MAX; LANES],
    };
    let mut started = jobs.len().min(LANES);
    for (lane, job) in jobs[..started].iter().enumerate() {
        lanes.start(lane, lane, job);
    }
    let mut busy = started;
    while busy > 0 {
        if busy < LANES && lanes.is_worth_finishing_alone(cost) {
            for lane in 0..LANES {
                if lanes.stage[lane] != Stage::Idle {
                    tags[lanes.job[lane]] = lanes.finish(lane, jobs);
                }
            }
            return;
        }
        // The step is as long as the shortest stage.
        let count = lanes.left.iter().copied().fold(usize::MAX, usize::min);
        let Lanes { states, buffers, stage, job, at, .. } = &mut lanes;
        let mut blocks: [&[u8]; LANES] = [&[]; LANES];
        let mut spare = 0;
        for lane in 0..LANES {
            blocks[lane] = match stage[lane] {
                Stage::Body => &jobs[job[lane]].message[at[lane]..],
                Stage::Tail | Stage::Outer => &buffers[lane][at[lane]..],
                Stage::Idle => continue,
            };
            spare = lane;
        }
        if busy < LANES {
            // An idle lane repeats what another one hashes.
            for lane in 0..LANES {
                if stage[lane] == Stage::Idle {
                    blocks[lane] = blocks[spare];
                }
            }
        }
        compress_lanes(states, &blocks, count);
        for lane in 0..LANES {
            lanes.at[lane] += count * 64;
            lanes.left[lane] -= count;
            if lanes.left[lane] > 0 {
                continue;
            }
            let Some(tag) = lanes.advance(lane, jobs) else { continue };
            tags[lanes.job[lane]] = tag;
            if started < jobs.len() {
                lanes.start(lane, started, &jobs[started]);
                started += 1;
            } else {
                (lanes.stage[lane], lanes.left[lane]) = (Stage::Idle, usize::MAX);
                busy -= 1;
            }
        }
    }
}

impl<const LANES: usize> Lanes<LANES> {
    /// Takes up a job; its first stage is one that is not empty.
    #[inline]
    fn start(&mut self, lane: usize, number: usize, job: &TagJob<'_>) {
        self.states.set(lane, &job.key.hmac().inner);
        self.job[lane] = number;
        (self.stage[lane], self.at[lane], self.left[lane]) = (Stage::Body, 0, job.message.len() / 64);
        if self.left[lane] == 0 {
            self.enter_tail(lane, job);
        }
    }

    #[inline]
    fn enter_tail(&mut self, lane: usize, job: &TagJob<'_>) {
        let len = inner_tail(&mut self.buffers[lane], job.message, job.roc);
        (self.stage[lane], self.at[lane], self.left[lane]) = (Stage::Tail, 0, len / 64);
    }

    /// Leaves a stage with nothing left in it for the next; the tag if it was the last.
    #[inline]
    fn advance(&mut self, lane: usize, jobs: &[TagJob<'_>]) -> Option<[u8; CM_TAG_LEN]> {
        let job = &jobs[self.job[lane]];
        match self.stage[lane] {
            Stage::Body => self.enter_tail(lane, job),
            Stage::Tail => {
                outer_block(&mut self.buffers[lane], &self.states.of(lane));
                self.states.set(lane, &job.key.hmac().outer);
                (self.stage[lane], self.at[lane], self.left[lane]) = (Stage::Outer, 0, 1);
            }
            Stage::Outer => return Some(truncate(&self.states.of(lane))),
            Stage::Idle => {}
        }
        None
    }

    /// Whether the busy lanes would sooner get home one by one than side by side.
    fn is_worth_finishing_alone(&self, cost: usize) -> bool {
        let (mut most, mut sum) = (0, 0);
        for (stage, left) in self.stage.iter().zip(self.left) {
            // What follows the stage, give or take a block of padding.
            let blocks = match stage {
                Stage::Body => left + 2,
                Stage::Tail => left + 1,
                Stage::Outer => left,
                Stage::Idle => 0,
            };
            most = most.max(blocks);
            sum += blocks;
        }
        most * cost > sum
    }

    /// Goes the rest of the way alone.
    fn finish(&mut self, lane: usize, jobs: &[TagJob<'_>]) -> [u8; CM_TAG_LEN] {
        loop {
            let mut state = self.states.of(lane);
            let bytes: &[u8] = match self.stage[lane] {
                Stage::Body => jobs[self.job[lane]].message,
                _ => &self.buffers[lane],
            };
            compress(&mut state, &bytes[self.at[lane]..][..self.left[lane] * 64]);
            self.states.set(lane, &state);
            if let Some(tag) = self.advance(lane, jobs) {
                return tag;
            }
        }
    }
}

impl<const LANES: usize> States<LANES> {
    #[inline]
    fn of(&self, lane: usize) -> State {
        let mut state = [0; 5];
        for (value, words) in state.iter_mut().zip(&self.0) {
            *value = words[lane];
        }
        state
    }

    #[inline]
    fn set(&mut self, lane: usize, state: &State) {
        for (words, value) in self.0.iter_mut().zip(state) {
            words[lane] = *value;
        }
    }
}

#[cfg(test)]
mod tests;
