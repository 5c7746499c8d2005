//! AES-128 counter mode, four blocks to an instruction, on CPUs with VAES and AVX-512.
//!
//! AWS-LC's counter mode encrypts one block per instruction. With the hashing spread over lanes that became the dearer
//! half of AES-CM; this is less than half of it again (table in the crate's head).

use core::arch::x86_64::{
    __m128i, __m512i, _mm_aeskeygenassist_si128, _mm_loadu_si128, _mm_shuffle_epi32, _mm_slli_si128, _mm_storeu_si128,
    _mm_xor_si128, _mm512_add_epi32, _mm512_aesenc_epi128, _mm512_aesenclast_epi128, _mm512_broadcast_i32x4,
    _mm512_mask_storeu_epi8, _mm512_maskz_loadu_epi8, _mm512_set_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8,
    _mm512_xor_si512,
};

use zeroize::Zeroize;

/// The eleven round keys of AES-128 (FIPS 197 §5.2); that there are some means that the CPU has what this file needs.
pub(crate) struct RoundKeys([[u8; 16]; 11]);

impl RoundKeys {
    /// Expands a key; none if the CPU lacks VAES or AVX-512.
    pub(crate) fn new(key: &[u8; 16]) -> Option<Self> {
        let fit = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw");
        // SAFETY: the CPU has AES.
        fit.then(|| Self(unsafe { expand(key) }))
    }

    /// XORs the keystream from `block` on over `head` and `body` into `out`, which is as long as both.
    pub(crate) fn apply(&self, block: &[u8; 16], head: &[u8], body: &[u8], out: &mut [u8]) {
        assert_eq!(out.len(), head.len() + body.len());
        let (mut out, mut body, mut counter) = (out, body, 0);
        if !head.is_empty() {
            // The vectors begin behind the 64-byte step that head and body share.
            let (whole, rest) = head.split_at(head.len() & !63);
            let (to, left) = out.split_at_mut(whole.len());
            self.run(block, counter, whole, to);
            let (joint, after) = body.split_at(body.len().min(64 - rest.len()));
            let mut step = [0; 64];
            step[..rest.len()].copy_from_slice(rest);
            step[rest.len()..rest.len() + joint.len()].copy_from_slice(joint);
            let (to, left) = left.split_at_mut(rest.len() + joint.len());
            self.run(block, counter + whole.len() / 16, &step[..to.len()], to);
            counter += whole.len() / 16 + 4;
            (out, body) = (left, after);
        }
        self.run(block, counter, body, out);
    }

    /// XORs the keystream from `block` on over `data`.
    pub(crate) fn apply_in_place(&self, block: &[u8; 16], data: &mut [u8]) {
        // SAFETY: there are round keys, so the CPU fits; `data` is readable and writable for its length.
        unsafe { xor_keystream(&self.0, block, 0, data.as_ptr(), data.as_mut_ptr(), data.len()) }
    }

    fn run(&self, block: &[u8; 16], counter: usize, from: &[u8], to: &mut [u8]) {
        assert_eq!(from.len(), to.len());
        // SAFETY: there are round keys, so the CPU fits; both slices are valid for their common length.
        unsafe { xor_keystream(&self.0, block, counter, from.as_ptr(), to.as_mut_ptr(), from.len()) }
    }
}

impl Drop for RoundKeys {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Vectors in flight: enough to hide the latency of the AES unit.
const WIDE: usize = 8;
const NARROW: usize = 4;

/// XORs `len` bytes at `from` with the keystream into `to`. The counter block is `block` plus `counter`, of which only the
/// last 32 bits count; they start at most at 2^16 here, so nothing is carried.
///
/// # Safety
/// `from` must be readable and `to` writable for `len` bytes; they are equal or do not overlap.
#[target_feature(enable = "vaes,avx512f,avx512bw")]
unsafe fn xor_keystream(
    keys: &[[u8; 16]; 11],
    block: &[u8; 16],
    counter: usize,
    from: *const u8,
    to: *mut u8,
    len: usize,
) {
    // The last 32-bit word of each block is kept in the CPU's byte order for adding.
    let order = _mm512_set_epi32(
        0x0c0d_0e0f,
        0x0b0a_0908,
        0x0706_0504,
        0x0302_0100,
        0x0c0d_0e0f,
        0x0b0a_0908,
        0x0706_0504,
        0x0302_0100,
        0x0c0d_0e0f,
        0x0b0a_0908,
        0x0706_0504,
        0x0302_0100,
        0x0c0d_0e0f,
        0x0b0a_0908,
        0x0706_0504,
        0x0302_0100,
    );
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    let start = counter as i32;
    let first = _mm512_set_epi32(start + 3, 0, 0, 0, start + 2, 0, 0, 0, start + 1, 0, 0, 0, start, 0, 0, 0);
    let step = _mm512_set_epi32(4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0);
    let base = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(load(block)), order);
    let mut next = _mm512_add_epi32(base, first);
    let keys = keys.each_ref().map(|key| _mm512_broadcast_i32x4(load(key)));

    let mut done = 0;
    // The keystream of the next `N` vectors. A macro: a generic function would have to spill the counters and keys.
    macro_rules! keystream {
        ($n:expr) => {{
            let mut streams = [_mm512_setzero_si512(); $n];
            for stream in &mut streams {
                *stream = _mm512_xor_si512(_mm512_shuffle_epi8(next, order), keys[0]);
                next = _mm512_add_epi32(next, step);
            }
            for key in &keys[1..10] {
                for stream in &mut streams {
                    *stream = _mm512_aesenc_epi128(*stream, *key);
                }
            }
            for stream in &mut streams {
                *stream = _mm512_aesenclast_epi128(*stream, keys[10]);
            }
            streams
        }};
    }
    while len - done >= WIDE * 64 {
        for stream in keystream!(WIDE) {
            // SAFETY: at least eight times 64 bytes are left behind `done`.
            unsafe { xor(stream, u64::MAX, from.add(done), to.add(done)) };
            done += 64;
        }
    }
    while done < len {
        for stream in keystream!(NARROW) {
            let left = len - done;
            if left == 0 {
                return;
            }
            let mask = if left < 64 { (1 << left) - 1 } else { u64::MAX };
            // SAFETY: the mask covers no more than what is left.
            unsafe { xor(stream, mask, from.add(done), to.add(done)) };
            done += left.min(64);
        }
    }
}

/// XORs the bytes at `from` that `mask` names with those of `stream` into `to`.
///
/// # Safety
/// `from` must be readable and `to` writable wherever `mask` has a bit.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn xor(stream: __m512i, mask: u64, from: *const u8, to: *mut u8) {
    // SAFETY: a masked load or store touches only the bytes of its mask.
    unsafe {
        let text = _mm512_maskz_loadu_epi8(mask, from.cast());
        _mm512_mask_storeu_epi8(to.cast(), mask, _mm512_xor_si512(text, stream));
    }
}

#[inline]
#[target_feature(enable = "sse2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    // SAFETY: sixteen bytes, of any alignment.
    unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) }
}

/// The key expansion of FIPS 197 §5.2.
#[target_feature(enable = "aes,sse2")]
fn expand(key: &[u8; 16]) -> [[u8; 16]; 11] {
    let mut keys = [*key; 11];
    let mut last = load(key);
    macro_rules! round {
        ($($n:literal $constant:literal),*) => {$(
            let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<$constant>(last));
            // Each word is the XOR of all words up to it.
            last = _mm_xor_si128(last, _mm_slli_si128::<4>(last));
            last = _mm_xor_si128(last, _mm_slli_si128::<8>(last));
            last = _mm_xor_si128(last, word);
            // SAFETY: sixteen bytes, of any alignment.
            unsafe { _mm_storeu_si128(keys[$n].as_mut_ptr().cast(), last) };
        )*};
    }
    round!(1 0x01, 2 0x02, 3 0x04, 4 0x08, 5 0x10, 6 0x20, 7 0x40, 8 0x80, 9 0x1b, 10 0x36);
    keys
}
