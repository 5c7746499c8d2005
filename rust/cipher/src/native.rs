//! The keys on AWS-LC.

use core::fmt;
use core::mem::MaybeUninit;

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use zeroize::Zeroize;

use crate::hmac::{HmacKey, State};
use crate::{AEAD_TAG_LEN, CM_TAG_LEN, counter_block};

/// An AES-GCM key with its schedule and hash table expanded once (RFC 7714 §3); erased when dropped.
pub struct AeadKey(LessSafeKey);

impl AeadKey {
    /// A key of 16 bytes for AES-128 or 32 for AES-256; none for any other length.
    pub fn new(key: &[u8]) -> Option<Self> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            32 => &AES_256_GCM,
            _ => return None,
        };
        Some(Self(LessSafeKey::new(UnboundKey::new(algorithm, key).ok()?)))
    }

    /// Encrypts `head` and `body`, one after the other, into `out` and puts the tag behind them.
    ///
    /// `aad` is authenticated only. A nonce must never return with other contents: that gives both plaintexts away.
    /// Panics unless `out` is exactly [`AEAD_TAG_LEN`] longer than `head` and `body` together.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], head: &[u8], body: &[u8], out: &mut [u8]) {
        // AWS-LC runs two inputs through one GCM state. An empty first one still costs a call, so a lone body is first.
        let (first, second) = if head.is_empty() { (body, head) } else { (head, body) };
        let (first_out, second_out_and_tag) = out.split_at_mut(first.len());
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .seal_out_of_place_scatter(nonce, Aad::from(aad), first, first_out, second, second_out_and_tag)
            .expect("out has room for head, body and tag");
    }

    /// Decrypts `sealed`, a ciphertext with its tag behind it, into `out`; false if it is not authentic, and then `out`
    /// holds nothing of the plaintext.
    ///
    /// Panics unless `out` is exactly [`AEAD_TAG_LEN`] shorter than `sealed`; shorter than a tag is not authentic.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        let Some((ciphertext, tag)) = sealed.split_last_chunk::<AEAD_TAG_LEN>() else { return false };
        assert_eq!(out.len(), ciphertext.len(), "out is as long as the ciphertext");
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.open_separate_gather(nonce, Aad::from(aad), ciphertext, tag, out).is_ok()
    }

    /// Decrypts `sealed`, a ciphertext with its tag behind it, in place, and leaves the tag's bytes as they are; false
    /// if it is not authentic, and then the ciphertext is lost.
    pub fn open_in_place(&self, nonce: &[u8; 12], aad: &[u8], sealed: &mut [u8]) -> bool {
        let Some((ciphertext, tag)) = sealed.split_last_chunk_mut::<AEAD_TAG_LEN>() else { return false };
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0.open_in_place_separate_tag(nonce, Aad::from(aad), tag, ciphertext).is_ok()
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AeadKey").finish_non_exhaustive()
    }
}

/// The keys of one AES-CM and HMAC-SHA1-80 session (RFC 3711 §4), expanded once; erased when dropped.
pub struct CmKey {
    aes: Aes,
    hmac: HmacKey,
    salt: [u8; 14],
}

/// Whose AES counts.
enum Aes {
    #[cfg(target_arch = "x86_64")]
    Wide(crate::vaes::RoundKeys),
    AwsLc(AesKey),
}

impl CmKey {
    /// From the session's encryption key, authentication key and salt (RFC 3711 §4.3.1).
    pub fn new(encryption: &[u8; 16], authentication: &[u8; 20], salt: &[u8; 14]) -> Self {
        #[cfg(target_arch = "x86_64")]
        let aes = match crate::vaes::RoundKeys::new(encryption) {
            Some(keys) => Aes::Wide(keys),
            None => Aes::AwsLc(AesKey::new(encryption)),
        };
        #[cfg(not(target_arch = "x86_64"))]
        let aes = Aes::AwsLc(AesKey::new(encryption));
        Self { aes, hmac: HmacKey::new(authentication), salt: *salt }
    }

    /// The same without the vector units, which a test machine has and another has not.
    #[cfg(test)]
    pub(crate) fn new_narrow(encryption: &[u8; 16], authentication: &[u8; 20], salt: &[u8; 14]) -> Self {
        Self { aes: Aes::AwsLc(AesKey::new(encryption)), hmac: HmacKey::new(authentication), salt: *salt }
    }

    /// Encrypts (or decrypts: it is the same) `head` and `body`, one after the other, into `out`.
    ///
    /// `index` is the 48-bit packet index of SRTP or the 31-bit one of SRTCP. An index must never return with other
    /// contents under the same `ssrc`: that gives both plaintexts away. Panics unless `out` is exactly as long as
    /// `head` and `body` together, at most 2^20 bytes.
    pub fn apply(&self, ssrc: u32, index: u64, head: &[u8], body: &[u8], out: &mut [u8]) {
        assert_eq!(out.len(), head.len() + body.len(), "out is as long as head and body");
        let block = counter_block(&self.salt, ssrc, index);
        match &self.aes {
            #[cfg(target_arch = "x86_64")]
            Aes::Wide(keys) => keys.apply(&block, head, body, out),
            Aes::AwsLc(key) => {
                let (head_out, body_out) = out.split_at_mut(head.len());
                let mut counter = Counter::new(block);
                counter.apply(key, head, head_out);
                counter.apply(key, body, body_out);
            }
        }
    }

    /// Encrypts or decrypts in place; otherwise like [`CmKey::apply`].
    pub fn apply_in_place(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        let block = counter_block(&self.salt, ssrc, index);
        match &self.aes {
            #[cfg(target_arch = "x86_64")]
            Aes::Wide(keys) => keys.apply_in_place(&block, data),
            Aes::AwsLc(key) => Counter::new(block).apply_in_place(key, data),
        }
    }

    /// The tag of one packet: the first 80 bits of the HMAC over `message` and the rollover counter (RFC 3711 §4.2).
    ///
    /// SRTCP has no rollover counter; its index, the last four bytes of what it authenticates, goes in its place.
    pub fn tag(&self, message: &[u8], roc: u32) -> [u8; CM_TAG_LEN] {
        self.hmac.tag(message, roc)
    }

    /// Whether `tag` is that of the packet, compared in constant time.
    pub fn verify(&self, message: &[u8], roc: u32, tag: &[u8; CM_TAG_LEN]) -> bool {
        verify_slices_are_equal(&self.tag(message, roc), tag).is_ok()
    }

    /// What the lanes start from.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn hmac(&self) -> &HmacKey {
        &self.hmac
    }
}

impl Drop for CmKey {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}

impl fmt::Debug for CmKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CmKey").finish_non_exhaustive()
    }
}

/// Fills `out` with the AES counter mode keystream of `key`, 16 or 32 bytes, from the counter block `iv` on: the
/// pseudo-random function of SRTP's key derivation (RFC 3711 §4.3.3, RFC 6188 §3.1). False if the key has another length.
pub fn keystream(key: &[u8], iv: &[u8; 16], out: &mut [u8]) -> bool {
    if !matches!(key.len(), 16 | 32) {
        return false;
    }
    out.fill(0);
    Counter::new(*iv).apply_in_place(&AesKey::new(key), out);
    true
}

/// An AES key schedule of AWS-LC.
struct AesKey(aws_lc_sys::AES_KEY);

impl AesKey {
    /// The key has 16 or 32 bytes.
    fn new(key: &[u8]) -> Self {
        let mut schedule = MaybeUninit::zeroed();
        #[allow(clippy::cast_possible_truncation)] // 256 at most
        let bits = (key.len() * 8) as u32;
        // SAFETY: `key` has `bits` bits to read, `schedule` is ours to write.
        let refused = unsafe { aws_lc_sys::AES_set_encrypt_key(key.as_ptr(), bits, schedule.as_mut_ptr()) };
        assert_eq!(refused, 0, "an AES key has 16 or 32 bytes");
        // SAFETY: all zeroes is a value of this struct of integers, and the call filled it in.
        Self(unsafe { schedule.assume_init() })
    }
}

impl Drop for AesKey {
    fn drop(&mut self) {
        self.0.rd_key.zeroize();
    }
}

/// A position in a keystream, which may lie within a block.
struct Counter {
    block: [u8; 16],
    keystream: [u8; 16],
    used: u32,
}

impl Counter {
    fn new(block: [u8; 16]) -> Self {
        Self { block, keystream: [0; 16], used: 0 }
    }

    fn apply(&mut self, key: &AesKey, from: &[u8], to: &mut [u8]) {
        assert_eq!(from.len(), to.len());
        // SAFETY: `from` is readable and `to` writable for their common length, and they are distinct borrows.
        unsafe { self.run(key, from.as_ptr(), to.as_mut_ptr(), from.len()) }
    }

    fn apply_in_place(&mut self, key: &AesKey, data: &mut [u8]) {
        // SAFETY: `data` is readable and writable for its length; AES_ctr128_encrypt works in place.
        unsafe { self.run(key, data.as_ptr(), data.as_mut_ptr(), data.len()) }
    }

    /// # Safety
    /// `from` must be readable and `to` writable for `len` bytes; they are equal or do not overlap.
    unsafe fn run(&mut self, key: &AesKey, from: *const u8, to: *mut u8, len: usize) {
        let Self { block, keystream, used } = self;
        // SAFETY: the caller vouches for the data. `block` and `keystream` have the 16 bytes that AES_ctr128_encrypt
        // keeps its place in, and `used` is below 16: it starts at zero and only that function changes it.
        unsafe {
            aws_lc_sys::AES_ctr128_encrypt(
                from,
                to,
                len,
                &raw const key.0,
                block.as_mut_ptr(),
                keystream.as_mut_ptr(),
                used,
            );
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.keystream.zeroize();
    }
}

/// Runs whole 64-byte blocks through SHA-1; panics on a broken one.
pub(crate) fn compress(state: &mut State, blocks: &[u8]) {
    assert_eq!(blocks.len() % 64, 0, "whole blocks");
    let mut context = aws_lc_sys::SHA_CTX { h: *state, Nl: 0, Nh: 0, data: [0; 64], num: 0 };
    // SAFETY: the context is initialised, with no bytes pending; `blocks` is readable for its length.
    let ok = unsafe { aws_lc_sys::SHA1_Update(&raw mut context, blocks.as_ptr().cast(), blocks.len()) };
    assert_eq!(ok, 1, "SHA1_Update cannot fail");
    *state = context.h;
}
