use super::*;
use crate::CmKey;

type Tags = Vec<[u8; CM_TAG_LEN]>;
type Tagger = fn(&[TagJob<'_>], &mut [[u8; CM_TAG_LEN]]);

fn keys() -> Vec<CmKey> {
    (0..16u8).map(|n| CmKey::new(&[n; 16], &[n.wrapping_mul(17) ^ 0x5a; 20], &[n; 14])).collect()
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n * 7 + n / 256) as u8).collect()
}

/// Every way that this CPU can go.
fn taggers() -> Vec<(&'static str, Tagger)> {
    let mut taggers: Vec<(&str, Tagger)> = vec![("chosen", crate::tag_many)];
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        taggers.push(("avx512", tag_avx512));
    }
    if is_x86_feature_detected!("avx2") {
        taggers.push(("avx2", tag_avx2));
    }
    taggers
}

fn expect_scalar(jobs: &[TagJob<'_>]) {
    let expected: Tags = jobs.iter().map(|job| job.key.tag(job.message, job.roc)).collect();
    for (name, tagger) in taggers() {
        let mut tags = vec![[0; CM_TAG_LEN]; jobs.len()];
        tagger(jobs, &mut tags);
        for (n, job) in jobs.iter().enumerate() {
            assert_eq!(tags[n], expected[n], "{name}, job {n} of {}, {} bytes", jobs.len(), job.message.len());
        }
    }
}

#[test]
fn every_length_at_once() {
    let (keys, data) = (keys(), data(3000));
    let job = |n: usize| TagJob {
        key: &keys[n % 16],
        message: &data[n % 13..][..n],
        roc: (n as u32).wrapping_mul(0x0101_0101),
    };
    // Growing, then in an order in which neighbours differ much.
    expect_scalar(&(0..=1500).map(job).collect::<Vec<_>>());
    expect_scalar(&(0..=1500).map(|n| job(n * 677 % 1501)).collect::<Vec<_>>());
}

#[test]
fn sixteen_at_once_of_every_length() {
    let (keys, data) = (keys(), data(3000));
    for len in 0..=1500 {
        let jobs: Vec<_> = (0..16)
            .map(|n| TagJob { key: &keys[n], message: &data[n..][..(len + n * 97) % 1501], roc: (len * n) as u32 })
            .collect();
        expect_scalar(&jobs);
    }
}

#[test]
fn any_number_of_jobs() {
    let (keys, data) = (keys(), data(3000));
    for count in 0..=50 {
        let equal: Vec<_> =
            (0..count).map(|n| TagJob { key: &keys[n % 16], message: &data[n..][..1132], roc: n as u32 }).collect();
        expect_scalar(&equal);
        let one_long: Vec<_> = (0..count)
            .map(|n| TagJob { key: &keys[n % 16], message: &data[..if n == 3 { 1500 } else { 40 }], roc: 7 })
            .collect();
        expect_scalar(&one_long);
    }
}
