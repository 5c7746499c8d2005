//! An Opus packet's table of contents: never longer than 120 ms, whatever its bytes say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtpcore_core::payload::{Codec, opus};
use rtpcore_fuzz::read_stream;

fuzz_target!(|data: &[u8]| {
    if let Some(contents) = opus::parse(data) {
        assert!(contents.ticks() <= 5760, "{contents:?}");
        assert!((120..=2880).contains(&contents.frame_ticks));
    }
    read_stream(Codec::Opus, data);
});
