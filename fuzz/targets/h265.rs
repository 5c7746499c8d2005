//! A stream of H.265 payloads: each read with what the ones before it left behind, its numbers rewritten and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rtpcore_core::payload::Codec;
use rtpcore_fuzz::read_stream;

fuzz_target!(|data: &[u8]| read_stream(Codec::H265, data));
