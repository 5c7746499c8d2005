//! The keys in plain Rust, for wasm32 and as an oracle.

use core::fmt;

use aes::cipher::{InnerIvInit, KeyIvInit, StreamCipher, StreamCipherCoreWrapper};
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use zeroize::Zeroize;

use crate::{AEAD_TAG_LEN, CM_TAG_LEN, counter_block};

/// An AES-GCM key with its schedule and hash table expanded once (RFC 7714 §3); erased when dropped.
pub struct AeadKey(Gcm);

enum Gcm {
    Aes128(Box<Aes128Gcm>),
    Aes256(Box<Aes256Gcm>),
}

impl AeadKey {
    /// A key of 16 bytes for AES-128 or 32 for AES-256; none for any other length.
    pub fn new(key: &[u8]) -> Option<Self> {
        Some(Self(match key.len() {
            16 => Gcm::Aes128(Box::new(Aes128Gcm::new_from_slice(key).ok()?)),
            32 => Gcm::Aes256(Box::new(Aes256Gcm::new_from_slice(key).ok()?)),
            _ => return None,
        }))
    }

    /// Encrypts `head` and `body`, one after the other, into `out` and puts the tag behind them.
    ///
    /// `aad` is authenticated only. A nonce must never return with other contents: that gives both plaintexts away.
    /// Panics unless `out` is exactly [`AEAD_TAG_LEN`] longer than `head` and `body` together.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], head: &[u8], body: &[u8], out: &mut [u8]) {
        let (text, tag_out) = out.split_at_mut(head.len() + body.len());
        text[..head.len()].copy_from_slice(head);
        text[head.len()..].copy_from_slice(body);
        let tag = match &self.0 {
            Gcm::Aes128(key) => key.encrypt_inout_detached(nonce.into(), aad, text.into()),
            Gcm::Aes256(key) => key.encrypt_inout_detached(nonce.into(), aad, text.into()),
        };
        tag_out.copy_from_slice(&tag.expect("a packet is shorter than GCM allows"));
    }

    /// Decrypts `sealed`, a ciphertext with its tag behind it, into `out`; false if it is not authentic, and then `out`
    /// holds nothing of the plaintext.
    ///
    /// Panics unless `out` is exactly [`AEAD_TAG_LEN`] shorter than `sealed`; shorter than a tag is not authentic.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], sealed: &[u8], out: &mut [u8]) -> bool {
        let Some((ciphertext, tag)) = sealed.split_last_chunk::<AEAD_TAG_LEN>() else { return false };
        let buffer = InOutBuf::new(ciphertext, out).expect("out is as long as the ciphertext");
        self.open_buffer(nonce, aad, buffer, tag)
    }

    /// Decrypts `sealed`, a ciphertext with its tag behind it, in place, and leaves the tag's bytes as they are; false
    /// if it is not authentic, and then the ciphertext is lost.
    pub fn open_in_place(&self, nonce: &[u8; 12], aad: &[u8], sealed: &mut [u8]) -> bool {
        let Some((ciphertext, tag)) = sealed.split_last_chunk_mut::<AEAD_TAG_LEN>() else { return false };
        self.open_buffer(nonce, aad, ciphertext.into(), tag)
    }

    fn open_buffer(&self, nonce: &[u8; 12], aad: &[u8], buffer: InOutBuf<'_, '_, u8>, tag: &[u8; 16]) -> bool {
        let opened = match &self.0 {
            Gcm::Aes128(key) => key.decrypt_inout_detached(nonce.into(), aad, buffer, tag.into()),
            Gcm::Aes256(key) => key.decrypt_inout_detached(nonce.into(), aad, buffer, tag.into()),
        };
        opened.is_ok()
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AeadKey").finish_non_exhaustive()
    }
}

/// The keys of one AES-CM and HMAC-SHA1-80 session (RFC 3711 §4), expanded once; erased when dropped.
pub struct CmKey {
    aes: aes::Aes128,
    hmac: Hmac<Sha1>,
    salt: [u8; 14],
}

impl CmKey {
    /// From the session's encryption key, authentication key and salt (RFC 3711 §4.3.1).
    pub fn new(encryption: &[u8; 16], authentication: &[u8; 20], salt: &[u8; 14]) -> Self {
        let hmac = Hmac::new_from_slice(authentication).expect("HMAC takes keys of any length");
        Self { aes: aes::Aes128::new(encryption.into()), hmac, salt: *salt }
    }

    /// Encrypts (or decrypts: it is the same) `head` and `body`, one after the other, into `out`.
    ///
    /// `index` is the 48-bit packet index of SRTP or the 31-bit one of SRTCP. An index must never return with other
    /// contents under the same `ssrc`: that gives both plaintexts away. Panics unless `out` is exactly as long as
    /// `head` and `body` together, at most 2^20 bytes.
    pub fn apply(&self, ssrc: u32, index: u64, head: &[u8], body: &[u8], out: &mut [u8]) {
        let (head_out, body_out) = out.split_at_mut(head.len());
        head_out.copy_from_slice(head);
        body_out.copy_from_slice(body);
        self.apply_in_place(ssrc, index, out);
    }

    /// Encrypts or decrypts in place; otherwise like [`CmKey::apply`].
    pub fn apply_in_place(&self, ssrc: u32, index: u64, data: &mut [u8]) {
        let block = counter_block(&self.salt, ssrc, index);
        let core = ctr::CtrCore::<_, ctr::flavors::Ctr128BE>::inner_iv_init(&self.aes, &block.into());
        StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
    }

    /// The tag of one packet: the first 80 bits of the HMAC over `message` and the rollover counter (RFC 3711 §4.2).
    ///
    /// SRTCP has no rollover counter; its index, the last four bytes of what it authenticates, goes in its place.
    pub fn tag(&self, message: &[u8], roc: u32) -> [u8; CM_TAG_LEN] {
        let digest: [u8; 20] = self.digest(message, roc).finalize().into_bytes().into();
        let mut tag = [0; CM_TAG_LEN];
        tag.copy_from_slice(&digest[..CM_TAG_LEN]);
        tag
    }

    /// Whether `tag` is that of the packet, compared in constant time.
    pub fn verify(&self, message: &[u8], roc: u32, tag: &[u8; CM_TAG_LEN]) -> bool {
        self.digest(message, roc).verify_truncated_left(tag).is_ok()
    }

    fn digest(&self, message: &[u8], roc: u32) -> Hmac<Sha1> {
        let mut hmac = self.hmac.clone();
        hmac.update(message);
        hmac.update(&roc.to_be_bytes());
        hmac
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
    out.fill(0);
    match key.len() {
        16 => ctr::Ctr128BE::<aes::Aes128>::new_from_slices(key, iv).map(|mut c| c.apply_keystream(out)).is_ok(),
        32 => ctr::Ctr128BE::<aes::Aes256>::new_from_slices(key, iv).map(|mut c| c.apply_keystream(out)).is_ok(),
        _ => false,
    }
}
