//! DATA_CHANNEL_OPEN (RFC 8832 §5.1): what is read can be written and is the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtpcore_core::sctp::dcep::{Open, is_ack};

fuzz_target!(|data: &[u8]| {
    if let Ok(open) = Open::parse(data) {
        assert!(open.label.len() <= 1024 && open.protocol.len() <= 1024);
        assert!(!is_ack(data));
        assert_eq!(Open::parse(&open.to_bytes()), Ok(open));
    }
});
