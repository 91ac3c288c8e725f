//! Decoders of the group "cli".

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::one("cli", data));
