//! The two SRTP ciphers, keyed once: AES-GCM (RFC 7714) and AES-CM with HMAC-SHA1-80 (RFC 3711 §4).
//!
//! Every operation reads a payload that others share and writes the one copy that goes out, so a forwarded packet is
//! never copied before it is encrypted. The payload comes as `head` and `body`: the few bytes that a payload format
//! patches per subscriber, then the shared rest.
//!
//! AES-CM pays for a SHA-1 over the whole packet, four times the cost of the encryption. [`tag_many`] hides that: it
//! hashes the packets of many subscribers side by side in the lanes of a vector register.
//!
//! Apart from the sockets this is the only crate with unsafe code: calls into AWS-LC where its safe crate offers no
//! cached key, and vector loads and stores. On wasm32 everything is plain Rust from RustCrypto, behind the same names;
//! off wasm32 that back end is the oracle of the tests.
//!
//! # Measured
//!
//! `examples/ratio.rs`, ns per packet with 1100 bytes of payload and 20 of header, 16 keys in turn, on a Xeon with
//! AVX-512, VAES and SHA-NI (2.3 GHz nominal, shared, so compare within the table only):
//!
//! | | ns | × |
//! |---|--:|--:|
//! | AES-128-GCM | 175 | 1.00 |
//! | AES-128-GCM, 5 bytes of head | 194 | 1.11 |
//! | AES-256-GCM | 202 | 1.16 |
//! | AES-256-GCM, 5 bytes of head | 214 | 1.23 |
//! | AES-CM alone | 79 | 0.45 |
//! | HMAC-SHA1 alone, one by one | 775 | 4.43 |
//! | HMAC-SHA1 alone, gathered | 234 | 1.34 |
//! | AES-CM and HMAC-SHA1, one by one | 857 | 4.90 |
//! | AES-CM and HMAC-SHA1, gathered | 314 | 1.79 |
//!
//! AVX2 instead of AVX-512 gathers HMAC-SHA1 in 443 ns, still well below the 775 of SHA-NI one by one, so it is kept for
//! the CPUs without AVX-512. AWS-LC's own counter mode takes 170 ns.
//!
//! How AES-GCM takes `head` and `body` was chosen among the following (1100 bytes, one run, ns). Without a head: copy and
//! seal in place, 198; the body as AWS-LC's extra input behind an empty first one, 186; the body as the first, **170**.
//! With five bytes of head: copy both and seal in place, 200; the head filled up to a block from the body, so that the
//! extra input begins on a block, 192, or to 64 bytes, 188 to 191; the head first, the body as extra input, **190**. So
//! nothing is copied and nothing unsafe is needed; what a head costs is the second pass of AWS-LC's start and end.
#![deny(unsafe_op_in_unsafe_fn)]
#![warn(clippy::undocumented_unsafe_blocks)]
#![cfg_attr(test, allow(clippy::cast_possible_truncation))] // of counters, into test data

#[cfg(not(target_arch = "wasm32"))]
mod hmac;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(not(target_arch = "wasm32"))]
mod native;
#[cfg(any(test, target_arch = "wasm32"))]
#[cfg_attr(not(target_arch = "wasm32"), allow(unreachable_pub))] // public where it is the back end
mod pure;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vaes;

#[cfg(not(target_arch = "wasm32"))]
pub use native::{AeadKey, CmKey, keystream};
#[cfg(target_arch = "wasm32")]
pub use pure::{AeadKey, CmKey, keystream};

/// Length of an AES-GCM tag in bytes (RFC 7714 §13.1, both profiles).
pub const AEAD_TAG_LEN: usize = 16;

/// Length of an HMAC-SHA1-80 tag in bytes (RFC 3711 §4.2.1).
pub const CM_TAG_LEN: usize = 10;

/// One packet whose HMAC-SHA1-80 tag is wanted.
#[derive(Clone, Copy, Debug)]
pub struct TagJob<'a> {
    /// The key of the stream's session.
    pub key: &'a CmKey,
    /// The packet from its first byte, encrypted, without the tag.
    pub message: &'a [u8],
    /// What is authenticated behind the packet without being sent: the rollover counter (RFC 3711 §4.2).
    pub roc: u32,
}

/// Writes the tag of every job into the same place of `tags`; panics if there are fewer tags than jobs.
///
/// Worth calling with many jobs at once, of any mixture of lengths: with AVX-512 sixteen packets are hashed in little
/// more than the time of four, with AVX2 eight.
pub fn tag_many(jobs: &[TagJob<'_>], tags: &mut [[u8; CM_TAG_LEN]]) {
    let tags = &mut tags[..jobs.len()];
    #[cfg(target_arch = "x86_64")]
    if lanes::tag_many(jobs, tags) {
        return;
    }
    for (job, tag) in jobs.iter().zip(tags) {
        *tag = job.key.tag(job.message, job.roc);
    }
}

/// The initial counter block of AES-CM (RFC 3711 §4.1.1): the salt, mixed with the stream and the packet index.
///
/// The last two bytes count the blocks and begin at zero, which bounds a packet to 2^20 bytes.
fn counter_block(salt: &[u8; 14], ssrc: u32, index: u64) -> [u8; 16] {
    let salt = u128::from_be_bytes([
        salt[0], salt[1], salt[2], salt[3], salt[4], salt[5], salt[6], salt[7], salt[8], salt[9], salt[10], salt[11],
        salt[12], salt[13], 0, 0,
    ]);
    (salt ^ (u128::from(ssrc) << 64) ^ (u128::from(index & 0xFFFF_FFFF_FFFF) << 16)).to_be_bytes()
}

/// Overwrites key bytes with zeroes in a way that the compiler does not leave out.
pub fn erase(bytes: &mut [u8]) {
    zeroize::Zeroize::zeroize(bytes);
}
