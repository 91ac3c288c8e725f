//! Decoders of the group "portmap".

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::one("portmap", data));
