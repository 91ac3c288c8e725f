//! What all fuzz targets do; a target is nothing but the name of a group of decoders.
//!
//! The decoders come from `datapath::wire::registry`, as those of the bounded fuzz in `tests/tests/wire` do.

use bytes::Bytes;
use datapath::wire::registry::{self, DecoderEntry};

/// The decoders of a group, in the registry's order.
pub fn decoders(group: &str) -> Vec<&'static DecoderEntry> {
    registry::decoders().filter(|d| d.group == group).collect()
}

/// One input: the first byte chooses the decoder, the rest is for it.
///
/// # Panics
/// When what must hold for any bytes does not; the fuzzer takes that for a finding.
pub fn one(group: &str, data: &[u8]) {
    let decoders = decoders(group);
    assert!(!decoders.is_empty(), "no decoder in group {group}");
    let Some((choice, data)) = data.split_first() else {
        return;
    };
    let entry = decoders[usize::from(*choice) % decoders.len()];
    if let Err(why) = entry.check(&Bytes::copy_from_slice(data)) {
        panic!("{why}");
    }
}
