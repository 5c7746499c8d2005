//! Sixteen lanes on AVX-512.

use core::arch::x86_64::{
    __m512i, _mm_set_epi8, _mm512_add_epi32, _mm512_broadcast_i32x4, _mm512_loadu_si512, _mm512_rol_epi32,
    _mm512_set1_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_storeu_si512,
    _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use super::States;
use super::rounds::sha1_block;

/// Runs the first `count` blocks of every lane through SHA-1; panics if a lane has fewer.
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn compress(states: &mut States<16>, lanes: &[&[u8]; 16], count: usize) {
    assert!(lanes.iter().all(|lane| lane.len() / 64 >= count), "every lane has its blocks");
    // Loops, not `map`: a closure handed to the standard library is compiled without the vector unit and then called.
    let mut state = [_mm512_setzero_si512(); 5];
    for (value, word) in state.iter_mut().zip(&states.0) {
        // SAFETY: each word of the states is sixteen times four bytes.
        *value = unsafe { _mm512_loadu_si512(word.as_ptr().cast()) };
    }
    for block in 0..count {
        let mut words = [_mm512_setzero_si512(); 16];
        for (row, lane) in words.iter_mut().zip(lanes) {
            // SAFETY: every lane has `count` blocks of 64 bytes.
            *row = unsafe { _mm512_loadu_si512(lane.as_ptr().add(block * 64).cast()) };
        }
        transpose(&mut words);
        rounds(&mut state, words);
    }
    for (word, value) in states.0.iter_mut().zip(state) {
        // SAFETY: each word of the states is sixteen times four bytes.
        unsafe { _mm512_storeu_si512(word.as_mut_ptr().cast(), value) };
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn rounds(state: &mut [__m512i; 5], mut w: [__m512i; 16]) {
    macro_rules! rotate {
        ($n:literal, $x:expr) => {
            _mm512_rol_epi32::<$n>($x)
        };
    }
    sha1_block!(
        state, w,
        add: _mm512_add_epi32, rotate: rotate, splat: _mm512_set1_epi32,
        choose: choose, parity: parity, majority: majority, xor: _mm512_xor_si512,
    );
}

// The immediate is the truth table: bit 4x + 2y + z.

#[inline]
#[target_feature(enable = "avx512f")]
fn choose(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xca>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn parity(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0x96>(x, y, z)
}

#[inline]
#[target_feature(enable = "avx512f")]
fn majority(x: __m512i, y: __m512i, z: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<0xe8>(x, y, z)
}

/// Turns a row per lane into a row per word, and the words from big endian into numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose(rows: &mut [__m512i; 16]) {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    let mut pairs = *rows;
    for n in 0..8 {
        let (x, y) = (_mm512_shuffle_epi8(rows[2 * n], swap), _mm512_shuffle_epi8(rows[2 * n + 1], swap));
        pairs[2 * n] = _mm512_unpacklo_epi32(x, y);
        pairs[2 * n + 1] = _mm512_unpackhi_epi32(x, y);
    }
    // Row 4n + k of `quads`: word k of every quarter, of lanes 4n to 4n + 3.
    let mut quads = pairs;
    for n in 0..4 {
        let [p, q, r, s] = [pairs[4 * n], pairs[4 * n + 1], pairs[4 * n + 2], pairs[4 * n + 3]];
        quads[4 * n] = _mm512_unpacklo_epi64(p, r);
        quads[4 * n + 1] = _mm512_unpackhi_epi64(p, r);
        quads[4 * n + 2] = _mm512_unpacklo_epi64(q, s);
        quads[4 * n + 3] = _mm512_unpackhi_epi64(q, s);
    }
    for k in 0..4 {
        let [p, q, r, s] = [quads[k], quads[4 + k], quads[8 + k], quads[12 + k]];
        let (even_low, odd_low) = (_mm512_shuffle_i32x4::<0x88>(p, q), _mm512_shuffle_i32x4::<0xdd>(p, q));
        let (even_high, odd_high) = (_mm512_shuffle_i32x4::<0x88>(r, s), _mm512_shuffle_i32x4::<0xdd>(r, s));
        rows[k] = _mm512_shuffle_i32x4::<0x88>(even_low, even_high);
        rows[4 + k] = _mm512_shuffle_i32x4::<0x88>(odd_low, odd_high);
        rows[8 + k] = _mm512_shuffle_i32x4::<0xdd>(even_low, even_high);
        rows[12 + k] = _mm512_shuffle_i32x4::<0xdd>(odd_low, odd_high);
    }
}
