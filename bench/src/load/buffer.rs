//! Buffers that O_DIRECT accepts, and cheap random numbers.

/// Alignment that every file system accepts for O_DIRECT.
const ALIGNMENT: usize = 4096;

/// Bytes that begin at a multiple of 4096 in memory.
#[derive(Debug)]
pub struct Aligned {
    bytes: Vec<u8>,
    begin: usize,
    length: usize,
}

impl Aligned {
    /// `length` bytes that no file system can compress or deduplicate.
    #[must_use]
    pub fn random(length: usize, seed: u64) -> Aligned {
        let mut bytes = vec![0; length + ALIGNMENT];
        let begin = bytes.as_ptr().align_offset(ALIGNMENT);
        let mut random = Random::new(seed);
        for chunk in bytes.chunks_mut(8) {
            let word = random.next().to_le_bytes();
            chunk.iter_mut().zip(word).for_each(|(byte, value)| *byte = value);
        }
        Aligned { bytes, begin, length }
    }

    /// To write from.
    #[must_use]
    pub fn get(&self) -> &[u8] {
        self.bytes.get(self.begin..self.begin + self.length).unwrap_or_default()
    }

    /// To read into.
    pub fn get_mut(&mut self) -> &mut [u8] {
        self.bytes
            .get_mut(self.begin..self.begin + self.length)
            .unwrap_or_default()
    }
}

/// A xorshift generator: the same seed gives the same places on both file systems that are compared.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_and_full_length() {
        let mut buffer = Aligned::random(4096, 1);
        assert_eq!(buffer.get().len(), 4096);
        assert_eq!(buffer.get().as_ptr().align_offset(ALIGNMENT), 0);
        assert_eq!(buffer.get_mut().len(), 4096);
        assert_ne!(buffer.get(), Aligned::random(4096, 2).get());
    }
}
