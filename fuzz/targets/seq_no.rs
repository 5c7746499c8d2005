//! Extends a run of wire numbers, two bytes each: the low bits stay, and no step is longer than half the number space.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtpcore_core::SeqNo;

fuzz_target!(|data: &[u8]| {
    let mut lows = data.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    let Some(first) = lows.next() else { return };
    let mut highest = SeqNo::first(first);
    for low in lows {
        let extended = highest.nearest(low);
        assert_eq!(extended.low(), low);
        assert!(extended.0.abs_diff(highest.0) <= 0x8000, "{highest:?} to {extended:?}");
        if extended > highest {
            assert!(extended.0 - highest.0 < 0x8000, "half way round is older, not newer");
        }
        highest = highest.max(extended);
    }
});
