//! The reply of a brick that is still to come.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::errno::{Errno, FsResult};
use crate::exec::sync::oneshot;
use crate::rpc::{RawReply, RpcError};
use crate::wire::fop::{FopRsp, ReadRsp};

type Raw = oneshot::Receiver<Result<RawReply, RpcError>>;

/// A request under way. The request was queued when this was made; dropping it only ignores the answer.
///
/// Yields the result structure when `op_ret` says success, else its errno. A lost connection is `ENOTCONN`; a reply
/// that does not decode is `EIO`.
#[derive(Debug)]
pub struct Reply<T> {
    raw: Option<Raw>,
    result: PhantomData<fn() -> T>,
}

impl<T> Reply<T> {
    /// Waits for `raw`.
    pub(super) fn new(raw: Raw) -> Reply<T> {
        Reply {
            raw: Some(raw),
            result: PhantomData,
        }
    }

    /// A request that could not be sent: the brick is not connected.
    pub(super) fn not_connected() -> Reply<T> {
        Reply {
            raw: None,
            result: PhantomData,
        }
    }
}

/// The file data of a READ, still to come.
#[derive(Debug)]
pub struct DataReply(Reply<ReadRsp>);

impl DataReply {
    pub(super) fn new(reply: Reply<ReadRsp>) -> DataReply {
        DataReply(reply)
    }
}

fn poll_raw(raw: &mut Option<Raw>, cx: &mut Context<'_>) -> Poll<FsResult<RawReply>> {
    let Some(receiver) = raw else {
        return Poll::Ready(Err(Errno::ENOTCONN));
    };
    let answer = match Pin::new(receiver).poll(cx) {
        Poll::Pending => return Poll::Pending,
        Poll::Ready(answer) => answer,
    };
    *raw = None;
    Poll::Ready(match answer {
        Ok(Ok(reply)) => Ok(reply),
        Ok(Err(RpcError::Disconnected)) | Err(_) => Err(Errno::ENOTCONN),
        Ok(Err(e)) => {
            tracing::error!("a brick's reply: {e}");
            Err(Errno::EIO)
        }
    })
}

fn decode<T: FopRsp>(reply: &RawReply) -> FsResult<T> {
    let rsp: T = reply.decode().map_err(|e| {
        tracing::error!("a brick's reply: {e}");
        Errno::EIO
    })?;
    rsp.into_result()
}

impl<T: FopRsp> Future for Reply<T> {
    type Output = FsResult<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FsResult<T>> {
        match poll_raw(&mut self.raw, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(raw) => Poll::Ready(raw.and_then(|r| decode(&r))),
        }
    }
}

impl Future for DataReply {
    type Output = FsResult<(ReadRsp, Bytes)>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<FsResult<(ReadRsp, Bytes)>> {
        match poll_raw(&mut self.0.raw, cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(raw) => Poll::Ready(raw.and_then(|r| Ok((decode(&r)?, r.payload)))),
        }
    }
}
