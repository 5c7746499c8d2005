//! What a forwarded packet costs under each cipher, in ns, and as a multiple of AES-128-GCM.
//!
//! `cargo run --release -p rtpcore-cipher --example ratio`. Compare within one run: the machine and its other work move
//! all figures together. The best of several rounds counts, interleaved over the ciphers so that a slow spell hits all.

#![allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)] // counters into test data, and nanoseconds

use std::hint::black_box;
use std::time::Instant;

use rtpcore_cipher::{AEAD_TAG_LEN, AeadKey, CM_TAG_LEN, CmKey, TagJob, tag_many};

/// Fixed header, one extension block: what the forwarder authenticates besides the payload.
const HEADER: usize = 20;
/// Packets per call, each of another subscriber.
const BATCH: usize = 16;
const SLOT: usize = 2048;
const ROUNDS: usize = 500;
const CALLS: usize = 100;

type Case<'a> = (&'a str, Box<dyn FnMut(u64) + 'a>);

fn main() {
    for payload in [160, 1100, 1200] {
        measure(payload);
    }
}

fn measure(payload: usize) {
    let shared: Vec<u8> = (0..payload).map(|n| n as u8).collect();
    let head = [0x90, 0x80, 0x12, 0x34, 0x56];
    let gcm = |len: usize| -> Vec<AeadKey> { (0..BATCH).map(|n| AeadKey::new(&vec![n as u8; len]).unwrap()).collect() };
    let (gcm128, gcm256) = (gcm(16), gcm(32));
    let cm: Vec<CmKey> = (0..BATCH as u8).map(|n| CmKey::new(&[n; 16], &[n ^ 0x55; 20], &[n; 14])).collect();

    let seal = |keys: &[AeadKey], head: &[u8], slab: &mut [u8], call: u64| {
        let body = &black_box(&shared)[head.len()..];
        for (slot, key) in slab.chunks_exact_mut(SLOT).zip(keys) {
            let (header, rest) = slot.split_at_mut(HEADER);
            key.seal(&nonce(call), header, head, body, &mut rest[..payload + AEAD_TAG_LEN]);
        }
    };
    let encrypt = |slab: &mut [u8], call: u64| {
        for (slot, key) in slab.chunks_exact_mut(SLOT).zip(&cm) {
            key.apply(7, call, &[], black_box(&shared), &mut slot[HEADER..HEADER + payload]);
        }
    };
    let tag_one_by_one = |slab: &mut [u8], call: u64| {
        for (slot, key) in slab.chunks_exact_mut(SLOT).zip(&cm) {
            let (message, rest) = slot.split_at_mut(HEADER + payload);
            rest[..CM_TAG_LEN].copy_from_slice(&key.tag(message, call as u32));
        }
    };
    let tag_gathered = |slab: &mut [u8], call: u64| {
        let mut tags = [[0; CM_TAG_LEN]; BATCH];
        let jobs: [TagJob<'_>; BATCH] = std::array::from_fn(|n| TagJob {
            key: &cm[n],
            message: &slab[n * SLOT..][..HEADER + payload],
            roc: call as u32,
        });
        tag_many(&jobs, &mut tags);
        for (slot, tag) in slab.chunks_exact_mut(SLOT).zip(&tags) {
            slot[HEADER + payload..][..CM_TAG_LEN].copy_from_slice(tag);
        }
    };

    let mut slabs = vec![vec![0u8; BATCH * SLOT]; 9];
    let mut slabs = slabs.iter_mut();
    let mut slab = || slabs.next().unwrap();
    let [gcm128_slab, gcm128_head, gcm256_slab, gcm256_head] = [slab(), slab(), slab(), slab()];
    let [aes, hmac_single, hmac_gathered, single, gathered] = [slab(), slab(), slab(), slab(), slab()];
    let mut cases: [Case<'_>; 9] = [
        ("AES-128-GCM", Box::new(|call| seal(&gcm128, &[], gcm128_slab, call))),
        ("AES-128-GCM, 5 bytes of head", Box::new(|call| seal(&gcm128, &head, gcm128_head, call))),
        ("AES-256-GCM", Box::new(|call| seal(&gcm256, &[], gcm256_slab, call))),
        ("AES-256-GCM, 5 bytes of head", Box::new(|call| seal(&gcm256, &head, gcm256_head, call))),
        ("AES-CM alone", Box::new(|call| encrypt(aes, call))),
        ("HMAC-SHA1 alone, one by one", Box::new(|call| tag_one_by_one(hmac_single, call))),
        ("HMAC-SHA1 alone, gathered", Box::new(|call| tag_gathered(hmac_gathered, call))),
        ("AES-CM and HMAC-SHA1, one by one", Box::new(|call| (encrypt(single, call), tag_one_by_one(single, call)).1)),
        ("AES-CM and HMAC-SHA1, gathered", Box::new(|call| (encrypt(gathered, call), tag_gathered(gathered, call)).1)),
    ];
    let mut best = [f64::MAX; 9];
    for round in 0..ROUNDS {
        for ((_, case), best) in cases.iter_mut().zip(&mut best) {
            let start = Instant::now();
            for call in 0..CALLS {
                case((round * CALLS + call) as u64);
            }
            *best = best.min(start.elapsed().as_nanos() as f64 / (CALLS * BATCH) as f64);
        }
    }
    println!("payload {payload} bytes, header {HEADER}, {BATCH} keys");
    for ((name, _), ns) in cases.iter().zip(best) {
        println!("  {name:<34} {ns:7.1} ns  x{:.2}", ns / best[0]);
    }
}

fn nonce(call: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&call.to_be_bytes());
    nonce
}
