//! Decoders of the group "base".

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::one("base", data));
