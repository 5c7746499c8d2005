//! Which protocol a datagram speaks: what is let through has room for the header of that protocol.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtpcore_core::demux::{Protocol, classify};
use rtpcore_core::rtp::Header;

fuzz_target!(|data: &[u8]| {
    let Ok(protocol) = classify(data) else { return };
    let (first, len) = match protocol {
        Protocol::Stun => (0..=3, 20),
        Protocol::Dtls => (20..=63, 13),
        Protocol::Rtp => (128..=191, 12),
        Protocol::Rtcp => (128..=191, 8),
    };
    assert!(first.contains(&data[0]) && data.len() >= len);
    if protocol == Protocol::Rtp {
        let _ = Header::parse_clear(data);
    }
});
