//! HMAC-SHA1 (RFC 2104) with the two key blocks hashed once, and the packet's tail blocks laid out for any engine.

use zeroize::Zeroize;

use crate::native::compress;

/// The chaining value of SHA-1 (FIPS 180-4 §5.3.1).
pub(crate) type State = [u32; 5];

const INITIAL: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// SHA-1 after the inner and after the outer key block: two of the compressions that each packet would repeat.
pub(crate) struct HmacKey {
    pub(crate) inner: State,
    pub(crate) outer: State,
}

impl HmacKey {
    pub(crate) fn new(key: &[u8; 20]) -> Self {
        let midstate = |pad: u8| {
            let mut block = [pad; 64];
            for (b, k) in block.iter_mut().zip(key) {
                *b ^= k;
            }
            let mut state = INITIAL;
            compress(&mut state, &block);
            block.zeroize();
            state
        };
        Self { inner: midstate(0x36), outer: midstate(0x5c) }
    }

    /// The first 80 bits of the HMAC over `message` and the four bytes of `roc`.
    pub(crate) fn tag(&self, message: &[u8], roc: u32) -> [u8; 10] {
        let mut state = self.inner;
        compress(&mut state, &message[..message.len() & !63]);
        let mut buffer = [0; 128];
        let len = inner_tail(&mut buffer, message, roc);
        compress(&mut state, &buffer[..len]);
        outer_block(&mut buffer, &state);
        state = self.outer;
        compress(&mut state, &buffer[..64]);
        truncate(&state)
    }
}

impl Drop for HmacKey {
    fn drop(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// Lays out the end of the inner hash: what of `message` fills no whole block, the ROC, and the padding of SHA-1.
/// Returns how many bytes of `buffer` that takes, 64 or 128.
#[inline]
pub(crate) fn inner_tail(buffer: &mut [u8; 128], message: &[u8], roc: u32) -> usize {
    let (blocks, rest) = message.as_chunks::<64>();
    let n = rest.len();
    // Four bytes of ROC, one of 0x80 and eight of length follow the message.
    let total = if n + 13 <= 64 { 64 } else { 128 };
    *buffer = [0; 128];
    buffer[..n].copy_from_slice(rest);
    buffer[n..n + 4].copy_from_slice(&roc.to_be_bytes());
    buffer[n + 4] = 0x80;
    // The key block counts too.
    let bytes = 64 + blocks.len() * 64 + n + 4;
    buffer[total - 8..total].copy_from_slice(&(bytes as u64 * 8).to_be_bytes());
    total
}

/// Lays out the one block of the outer hash: the inner digest and the padding of SHA-1.
#[inline]
pub(crate) fn outer_block(buffer: &mut [u8; 128], inner: &State) {
    for (bytes, word) in buffer.chunks_exact_mut(4).zip(inner) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    buffer[20] = 0x80;
    buffer[21..56].fill(0);
    buffer[56..64].copy_from_slice(&((64 + 20) * 8u64).to_be_bytes());
}

/// The tag within the outer hash: its first 80 bits.
#[inline]
pub(crate) fn truncate(outer: &State) -> [u8; 10] {
    let mut tag = [0; 10];
    tag[..4].copy_from_slice(&outer[0].to_be_bytes());
    tag[4..8].copy_from_slice(&outer[1].to_be_bytes());
    tag[8..].copy_from_slice(&outer[2].to_be_bytes()[..2]);
    tag
}
