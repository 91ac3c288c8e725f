//! Cuts a byte stream into RPC records (wire-protocol.md 1.1) and lays file data at page-aligned addresses.
//!
//! Small records are read through a staging buffer, many per system call. A record that carries file data
//! (WRITE calls, READ replies) is split: the message is copied out, the data is received straight into a page
//! buffer of its own, except for the part that was already in the staging buffer.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use crate::exec::buf::{self, PageBuf};
use crate::exec::net::Stream;
use crate::wire::fop::HeaderLen;
use crate::wire::record::{MARK_LEN, Mark};

/// Bytes of the staging buffer: also the most file data that is ever copied per record.
const STAGING_LEN: usize = 16 * 1024;
/// From this length on file data gets a page-aligned buffer.
const ALIGNED_PAYLOAD_MIN: usize = 4096;

/// One RPC message and the file data behind it.
#[derive(Debug)]
pub struct Record {
    /// The RPC message: header, credential, XDR body.
    pub message: Bytes,
    /// Raw file data; empty for all but WRITE, PUT and READ.
    pub payload: Bytes,
}

/// Why a stream cannot be read on.
#[derive(Debug)]
pub enum RecordError {
    /// The socket failed.
    Io(io::Error),
    /// The peer ended the stream inside a record.
    Truncated {
        /// Bytes the record still lacked.
        missing: usize,
    },
    /// The record is longer than this receiver accepts.
    TooLong {
        /// Length announced so far, bytes.
        len: usize,
        /// The limit, bytes.
        limit: usize,
    },
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordError::Io(e) => write!(f, "receive failed: {e}"),
            RecordError::Truncated { missing } => write!(f, "stream ended inside a record, {missing} bytes short"),
            RecordError::TooLong { len, limit } => {
                write!(
                    f,
                    "record of {len} bytes is above the limit of {limit}: not this protocol or a damaged stream"
                )
            }
        }
    }
}

impl std::error::Error for RecordError {}

impl From<io::Error> for RecordError {
    fn from(e: io::Error) -> RecordError {
        RecordError::Io(e)
    }
}

/// Reads records from one stream. Not cancel-safe: a dropped [`RecordReader::next`] ends its use.
#[derive(Debug)]
pub struct RecordReader {
    stream: Stream,
    staging: Option<PageBuf>,
    start: usize,
    end: usize,
    max_record: usize,
    received: Rc<Cell<u64>>,
}

impl RecordReader {
    /// A reader that refuses records above `max_record` bytes.
    pub fn new(stream: Stream, max_record: usize) -> RecordReader {
        RecordReader {
            stream,
            staging: Some(buf::alloc(STAGING_LEN)),
            start: 0,
            end: 0,
            max_record,
            received: Rc::default(),
        }
    }

    /// Bytes received so far.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    /// The count of [`RecordReader::received`], to be looked at while records are read.
    pub fn counter(&self) -> Rc<Cell<u64>> {
        Rc::clone(&self.received)
    }

    fn count(&self, bytes: usize) {
        self.received.set(self.received.get() + bytes as u64);
    }

    /// The next record, or `None` when the peer ended the stream between records. `split` is shown the first bytes
    /// of a record and says where its file data begins.
    ///
    /// # Errors
    /// A failed socket, a stream that ends inside a record, a record above the limit.
    pub async fn next(&mut self, mut split: impl FnMut(&[u8]) -> HeaderLen) -> Result<Option<Record>, RecordError> {
        if !self.fill_to(MARK_LEN).await? {
            return Ok(None);
        }
        let Mark { len, last } = self.take_mark();
        self.check_len(len)?;
        if last {
            self.single(len, &mut split).await.map(Some)
        } else {
            self.fragments(len, &mut split).await.map(Some)
        }
    }

    /// A record of one fragment: what every known peer sends.
    async fn single(&mut self, len: usize, split: &mut impl FnMut(&[u8]) -> HeaderLen) -> Result<Record, RecordError> {
        let capacity = self.window().len();
        let mut want = len.min(capacity);
        // A large record: a first look at whatever has come decides where its data goes.
        if len > capacity {
            want = want.min(1024);
        }
        loop {
            self.need(want, len).await?;
            let seen = &self.buffered()[..self.available().min(len)];
            match split(seen) {
                HeaderLen::At(at) if at <= seen.len() => return self.with_payload(len, at).await,
                HeaderLen::NeedMore if want < len.min(capacity) => want = len.min(capacity),
                HeaderLen::At(_) | HeaderLen::NotPayload | HeaderLen::NeedMore => return self.whole(len).await,
            }
        }
    }

    /// The message is `at` bytes long, file data follows.
    async fn with_payload(&mut self, len: usize, at: usize) -> Result<Record, RecordError> {
        let payload_len = len - at;
        if payload_len < ALIGNED_PAYLOAD_MIN && self.available() >= len {
            let all = Bytes::copy_from_slice(&self.buffered()[..len]);
            self.start += len;
            return Ok(Record {
                message: all.slice(..at),
                payload: all.slice(at..),
            });
        }
        let message = Bytes::copy_from_slice(&self.buffered()[..at]);
        self.start += at;
        let payload = self.collect(payload_len).await?;
        Ok(Record { message, payload })
    }

    /// A record without file data.
    async fn whole(&mut self, len: usize) -> Result<Record, RecordError> {
        let message = if self.available() >= len {
            let copy = Bytes::copy_from_slice(&self.buffered()[..len]);
            self.start += len;
            copy
        } else {
            self.collect(len).await?
        };
        Ok(Record {
            message,
            payload: Bytes::new(),
        })
    }

    /// `len` bytes in a page buffer: what is staged is copied, the rest is received in place.
    async fn collect(&mut self, len: usize) -> Result<Bytes, RecordError> {
        let mut page = buf::alloc(len);
        let staged = self.available().min(len);
        page[..staged].copy_from_slice(&self.buffered()[..staged]);
        self.start += staged;
        let mut filled = staged;
        while filled < len {
            let (got, back) = self.stream.recv(page, filled).await;
            page = back;
            match got? {
                0 => return Err(RecordError::Truncated { missing: len - filled }),
                n => {
                    filled += n;
                    self.count(n);
                }
            }
        }
        Ok(page.freeze(0..len))
    }

    /// A record of several fragments, put together in one piece. Rare: only old or foreign peers do it.
    async fn fragments(
        &mut self,
        first: usize,
        split: &mut impl FnMut(&[u8]) -> HeaderLen,
    ) -> Result<Record, RecordError> {
        let mut all = BytesMut::new();
        let (mut len, mut last) = (first, false);
        loop {
            let part = self.whole(len).await?.message;
            all.extend_from_slice(&part);
            if last {
                break;
            }
            if !self.fill_to(MARK_LEN).await? {
                return Err(RecordError::Truncated { missing: MARK_LEN });
            }
            Mark { len, last } = self.take_mark();
            self.check_len(all.len().saturating_add(len))?;
        }
        let all = all.freeze();
        Ok(match split(&all) {
            HeaderLen::At(at) if at <= all.len() => Record {
                message: all.slice(..at),
                payload: all.slice(at..),
            },
            _ => Record {
                message: all,
                payload: Bytes::new(),
            },
        })
    }

    fn check_len(&self, len: usize) -> Result<(), RecordError> {
        if len > self.max_record {
            return Err(RecordError::TooLong {
                len,
                limit: self.max_record,
            });
        }
        Ok(())
    }

    fn take_mark(&mut self) -> Mark {
        let mut word = [0; MARK_LEN];
        word.copy_from_slice(&self.buffered()[..MARK_LEN]);
        self.start += MARK_LEN;
        Mark::from_bytes(word)
    }

    fn window(&self) -> &[u8] {
        self.staging.as_deref().unwrap_or(&[])
    }

    fn available(&self) -> usize {
        self.end - self.start
    }

    fn buffered(&self) -> &[u8] {
        &self.window()[self.start..self.end]
    }

    /// Like [`Self::fill_to`] inside a record of `len` bytes, where the end of the stream is an error.
    async fn need(&mut self, want: usize, len: usize) -> Result<(), RecordError> {
        if self.fill_to(want).await? {
            return Ok(());
        }
        Err(RecordError::Truncated {
            missing: len - self.available(),
        })
    }

    /// Receives until `want` bytes (at most the staging buffer's size) are there. `false`: the stream ended; an error
    /// if it ended inside a mark.
    async fn fill_to(&mut self, want: usize) -> Result<bool, RecordError> {
        if self.available() >= want {
            return Ok(true);
        }
        let mut staging = match self.staging.take() {
            Some(s) => s,
            None => {
                return Err(RecordError::Io(io::Error::other(
                    "record reader used after an interrupted read",
                )));
            }
        };
        staging.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        while self.end < want {
            let (got, back) = self.stream.recv(staging, self.end).await;
            staging = back;
            match got {
                Ok(0) => {
                    self.staging = Some(staging);
                    if want == MARK_LEN && self.end > 0 {
                        return Err(RecordError::Truncated {
                            missing: want - self.end,
                        });
                    }
                    return Ok(false);
                }
                Ok(n) => {
                    self.end += n;
                    self.count(n);
                }
                Err(e) => {
                    self.staging = Some(staging);
                    return Err(e.into());
                }
            }
        }
        self.staging = Some(staging);
        Ok(true)
    }
}
