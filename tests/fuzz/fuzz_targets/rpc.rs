//! Decoders of the group "rpc".

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::one("rpc", data));
