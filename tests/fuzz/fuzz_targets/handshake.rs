//! Decoders of the group "handshake".

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::one("handshake", data));
