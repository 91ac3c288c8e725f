//! The checksum of a volume's definition. Peers compare it, so it must be GlusterFS's exactly, oddities included
//! (wire-protocol.md 6.5, "Checksum of a volume").

/// Bytes that are handled as a unit; each unit's tail has rules of its own.
const CHUNK: usize = 1024;
/// What a state of zero is replaced with before a chunk.
const SEED: [u8; 4] = [0xba, 0xbe, 0xb0, 0x0b];

/// The two checksums of a volume: the one stored in `cksum` as `info=N`, and the one that continues over the content
/// of the file `cksum` itself and is compared between peers.
pub fn volume_checksum(info: &str) -> (u32, u32) {
    let mut lines: Vec<&str> = info.split_inclusive('\n').collect();
    lines.sort_unstable();
    let mut state = [0; 4];
    feed(&mut state, lines.concat().as_bytes());
    let stored = u32::from_le_bytes(state);
    feed(&mut state, format!("info={stored}\n").as_bytes());
    (stored, u32::from_le_bytes(state))
}

fn feed(state: &mut [u8; 4], bytes: &[u8]) {
    for chunk in bytes.chunks(CHUNK) {
        if *state == [0; 4] {
            *state = SEED;
        }
        let n = chunk.len();
        for start in (0..n.saturating_sub(4)).step_by(4) {
            mix(state, chunk.iter().skip(start).take(4));
        }
        // The tail has one byte more than is left over: a full chunk mixes one and skips the last three.
        mix(state, chunk.iter().skip(n.saturating_sub(4)).take(n % 4 + 1));
    }
}

fn mix<'a>(state: &mut [u8; 4], bytes: impl Iterator<Item = &'a u8>) {
    for (shift, (cell, byte)) in state.iter_mut().zip(bytes).enumerate() {
        *cell ^= byte << shift;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_value_glusterfs_stored() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/generated");
        let info = std::fs::read_to_string(format!("{folder}/info")).unwrap();
        assert_eq!(volume_checksum(&info), (1_532_547_275, 63_177_887));
    }

    #[test]
    fn does_not_depend_on_the_order_of_lines() {
        assert_eq!(volume_checksum("a=1\nb=2\n"), volume_checksum("b=2\na=1\n"));
        assert_ne!(volume_checksum("a=1\nb=2\n"), volume_checksum("a=9\nb=2\n"));
    }

    #[test]
    fn short_texts_do_not_panic() {
        for n in 0..9 {
            volume_checksum(&"x".repeat(n));
        }
    }
}
