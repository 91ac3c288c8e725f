//! Decoders of the group "fop".

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::one("fop", data));
