//! Decoders of the group "dump".

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::one("dump", data));
