//! Decoders of the group "brickop".

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::one("brickop", data));
