//! Eight lanes on AVX2.

use core::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_and_si256, _mm256_loadu_si256, _mm256_or_si256, _mm256_permute2x128_si256,
    _mm256_set_epi8, _mm256_set1_epi32, _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_slli_epi32,
    _mm256_srli_epi32, _mm256_storeu_si256, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi32,
    _mm256_unpacklo_epi64, _mm256_xor_si256,
};

use super::States;
use super::rounds::sha1_block;

/// Runs the first `count` blocks of every lane through SHA-1; panics if a lane has fewer.
#[target_feature(enable = "avx2")]
pub(super) fn compress(states: &mut States<8>, lanes: &[&[u8]; 8], count: usize) {
    assert!(lanes.iter().all(|lane| lane.len() / 64 >= count), "every lane has its blocks");
    // Loops, not `map`: a closure handed to the standard library is compiled without the vector unit and then called.
    let mut state = [_mm256_setzero_si256(); 5];
    for (value, word) in state.iter_mut().zip(&states.0) {
        // SAFETY: each word of the states is eight times four bytes.
        *value = unsafe { _mm256_loadu_si256(word.as_ptr().cast()) };
    }
    for block in 0..count {
        let mut words = [_mm256_setzero_si256(); 16];
        for (half, words) in words.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            for (row, lane) in words.iter_mut().zip(lanes) {
                // SAFETY: every lane has `count` blocks of 64 bytes, of which this is half of one.
                *row = unsafe { _mm256_loadu_si256(lane.as_ptr().add(block * 64 + half * 32).cast()) };
            }
            transpose(words);
        }
        rounds(&mut state, words);
    }
    for (word, value) in states.0.iter_mut().zip(state) {
        // SAFETY: each word of the states is eight times four bytes.
        unsafe { _mm256_storeu_si256(word.as_mut_ptr().cast(), value) };
    }
}

#[inline]
#[target_feature(enable = "avx2")]
fn rounds(state: &mut [__m256i; 5], mut w: [__m256i; 16]) {
    macro_rules! rotate {
        ($n:literal, $x:expr) => {{
            let x = $x;
            _mm256_or_si256(_mm256_slli_epi32::<$n>(x), _mm256_srli_epi32::<{ 32 - $n }>(x))
        }};
    }
    sha1_block!(
        state, w,
        add: _mm256_add_epi32, rotate: rotate, splat: _mm256_set1_epi32,
        choose: choose, parity: parity, majority: majority, xor: _mm256_xor_si256,
    );
}

#[inline]
#[target_feature(enable = "avx2")]
fn choose(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    _mm256_xor_si256(z, _mm256_and_si256(x, _mm256_xor_si256(y, z)))
}

#[inline]
#[target_feature(enable = "avx2")]
fn parity(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    _mm256_xor_si256(_mm256_xor_si256(x, y), z)
}

#[inline]
#[target_feature(enable = "avx2")]
fn majority(x: __m256i, y: __m256i, z: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_and_si256(x, y), _mm256_and_si256(z, _mm256_or_si256(x, y)))
}

/// Turns a row per lane into a row per word, and the words from big endian into numbers.
#[inline]
#[target_feature(enable = "avx2")]
fn transpose(rows: &mut [__m256i; 8]) {
    let swap = _mm256_set_epi8(
        12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3,
    );
    let mut pairs = *rows;
    for n in 0..4 {
        let (x, y) = (_mm256_shuffle_epi8(rows[2 * n], swap), _mm256_shuffle_epi8(rows[2 * n + 1], swap));
        pairs[2 * n] = _mm256_unpacklo_epi32(x, y);
        pairs[2 * n + 1] = _mm256_unpackhi_epi32(x, y);
    }
    // Row 4n + k of `quads`: word k of both halves, of lanes 4n to 4n + 3.
    let mut quads = pairs;
    for n in 0..2 {
        let [p, q, r, s] = [pairs[4 * n], pairs[4 * n + 1], pairs[4 * n + 2], pairs[4 * n + 3]];
        quads[4 * n] = _mm256_unpacklo_epi64(p, r);
        quads[4 * n + 1] = _mm256_unpackhi_epi64(p, r);
        quads[4 * n + 2] = _mm256_unpacklo_epi64(q, s);
        quads[4 * n + 3] = _mm256_unpackhi_epi64(q, s);
    }
    for k in 0..4 {
        rows[k] = _mm256_permute2x128_si256::<0x20>(quads[k], quads[4 + k]);
        rows[4 + k] = _mm256_permute2x128_si256::<0x31>(quads[k], quads[4 + k]);
    }
}
