//! Record marking (wire-protocol.md 1.1) over a control stream.
//!
//! Bounds what a peer may make this process store. Knows nothing of RPC messages.

use bytes::{Bytes, BytesMut};

use crate::rt::Stream;

/// Longest record accepted, bytes. Control messages are volfiles, dictionaries and status tables; the largest known
/// (status of a large cluster) stays below one MiB.
pub const MAX_RECORD: usize = 16 << 20;
/// Most fragments of one record, so that empty ones cannot be sent for ever.
const MAX_FRAGMENTS: usize = 4096;
const CHUNK: usize = 64 << 10;

/// Why no further record can be read.
#[derive(Debug)]
pub enum RecordError {
    /// The peer closed the connection between records.
    Closed,
    /// The peer closed the connection inside a record.
    Truncated,
    /// The record is longer than [`MAX_RECORD`]; the length announced so far is given.
    TooLong(usize),
    /// The record has too many fragments.
    TooManyFragments,
    /// The socket failed.
    Io(std::io::Error),
}

impl std::fmt::Display for RecordError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RecordError::Closed => f.write_str("connection closed by the peer"),
            RecordError::Truncated => f.write_str("connection closed inside a record"),
            RecordError::TooLong(len) => write!(f, "record of {len} bytes exceeds the limit of {MAX_RECORD}"),
            RecordError::TooManyFragments => write!(f, "record of more than {MAX_FRAGMENTS} fragments"),
            RecordError::Io(e) => write!(f, "socket error: {e}"),
        }
    }
}

impl std::error::Error for RecordError {}

/// Cuts the bytes of a stream into records.
pub(super) struct RecordReader {
    stream: Stream,
    chunk: Vec<u8>,
    received: BytesMut,
}

impl RecordReader {
    pub(super) fn new(stream: Stream) -> RecordReader {
        RecordReader {
            stream,
            chunk: Vec::with_capacity(CHUNK),
            received: BytesMut::new(),
        }
    }

    /// The next record, without its marks.
    pub(super) async fn next(&mut self) -> Result<Bytes, RecordError> {
        let mut record = BytesMut::new();
        for fragment in 0..MAX_FRAGMENTS {
            self.fill(4, fragment == 0).await?;
            let mark = self.received.split_to(4);
            let mark = mark.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte));
            let (last, len) = (mark >> 31 == 1, (mark & 0x7fff_ffff) as usize);
            if record.len() + len > MAX_RECORD {
                return Err(RecordError::TooLong(record.len() + len));
            }
            self.fill(len, false).await?;
            let body = self.received.split_to(len);
            if last && fragment == 0 {
                return Ok(body.freeze());
            }
            record.extend_from_slice(&body);
            if last {
                return Ok(record.freeze());
            }
        }
        Err(RecordError::TooManyFragments)
    }

    /// Receives until `wanted` bytes are there. Grows with what arrives, not with what was announced.
    async fn fill(&mut self, wanted: usize, at_boundary: bool) -> Result<(), RecordError> {
        while self.received.len() < wanted {
            let (result, chunk) = self.stream.read(std::mem::take(&mut self.chunk)).await;
            self.chunk = chunk;
            match result {
                Ok(0) if at_boundary && self.received.is_empty() => return Err(RecordError::Closed),
                Ok(0) => return Err(RecordError::Truncated),
                Ok(_) => self.received.extend_from_slice(&self.chunk),
                Err(e) => return Err(RecordError::Io(e)),
            }
        }
        Ok(())
    }
}
