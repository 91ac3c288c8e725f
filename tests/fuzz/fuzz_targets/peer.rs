//! Decoders of the group "peer".

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::one("peer", data));
