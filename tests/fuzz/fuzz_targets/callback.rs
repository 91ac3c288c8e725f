//! Decoders of the group "callback".

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::one("callback", data));
