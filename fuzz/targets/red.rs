//! RED (RFC 2198): blocks lie one behind the other up to the end, and what is taken apart can be put together again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtpcore_core::Pt;
use rtpcore_core::payload::{Codec, red};
use rtpcore_fuzz::read_stream;

fuzz_target!(|data: &[u8]| {
    read_stream(Codec::Red, data);
    let Some(blocks) = red::parse(data) else { return };
    let primary = blocks.primary();
    let redundant: Vec<_> = blocks.collect();
    assert!(redundant.len() < red::MAX_BLOCKS);
    let mut at = 4 * redundant.len() + 1;
    for block in redundant.iter().chain([&primary]) {
        assert_eq!(block.range.start, at);
        at = block.range.end;
    }
    assert_eq!(at, data.len());

    let sent: Vec<_> = redundant
        .iter()
        .filter(|block| block.timestamp_offset > 0 && !block.range.is_empty())
        .map(|block| red::Redundant { timestamp_offset: block.timestamp_offset, payload: &data[block.range.clone()] })
        .collect();
    let mut out = vec![0; data.len()];
    let len = red::write(Pt(111), &data[primary.range.clone()], &sent, &mut out).expect("there is room for all");
    let again = red::parse(&out[..len]).expect("what is written can be read");
    assert_eq!(out[again.primary().range], data[primary.range]);
    let again: Vec<_> = again.map(|block| (block.timestamp_offset, out[block.range].to_vec())).collect();
    let expected: Vec<_> = sent.iter().map(|block| (block.timestamp_offset, block.payload.to_vec())).collect();
    assert_eq!(again, expected);
});
