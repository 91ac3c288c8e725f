//! Fops on the content of files (brick-and-replicate.md B.8).
//!
//! Cached reads and page-cache writes are done at once, in the order of arrival; what has to wait for the disk (cold
//! reads, direct I/O, fsync) goes through the ring in a task of its own. File data is never copied here: a write goes
//! out from the buffer it was received in, a reply is sent from the buffer it was read into.

use std::rc::Rc;

use bytes::Bytes;

use super::inode::real_gfid;
use crate::brick::server::config::MAX_READ_LEN;
use crate::brick::server::request::{Answer, Ctx};
use crate::brick::store::{OpenFile, PrePost, Target, WritePlan, Written};
use crate::errno::{Errno, FsResult};
use crate::exec;
use crate::exec::buf::{self, PageBuf};
use crate::sys::fs;
use crate::wire::fop::{
    CopyFileRangeReq, DiscardReq, FallocateReq, FopRsp, FsyncReq, FtruncateReq, Iatt2Rsp, Iatt3Rsp, RchecksumReq,
    RchecksumRsp, ReadReq, ReadRsp, SeekReq, SeekRsp, TruncateReq, WriteReq, ZerofillReq,
};
use crate::wire::{Dict, Gfid};

/// RCHECKSUM's flags word, as 10.3 sends it.
const RCHECKSUM_FLAGS: u32 = 1;

fn pre_post(ctx: &Ctx, gfid: Gfid, asked: &Dict, done: PrePost) -> Iatt2Rsp {
    let mut xdata = done.xdata;
    ctx.count(gfid, asked, &mut xdata);
    Iatt2Rsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
        prestat: ctx.iatt(done.pre),
        poststat: ctx.iatt(done.post),
    }
}

pub(super) fn read(ctx: Ctx, req: ReadReq) {
    match start_read(&ctx, req) {
        Ok(None) => {}
        Ok(Some(cold)) => {
            let in_flight = ctx.begin();
            exec::spawn(async move {
                if let Err(e) = finish_read(&ctx, cold).await {
                    ctx.finish::<ReadRsp>(Err(e.into()));
                }
                drop(in_flight);
            });
        }
        Err(e) => ctx.finish::<ReadRsp>(Err(e.into())),
    }
}

/// A read the page cache could not serve at once.
struct ColdRead {
    file: Rc<OpenFile>,
    req: ReadReq,
    buf: PageBuf,
    len: usize,
}

/// Serves a read from the page cache and replies, or gives back what must wait.
fn start_read(ctx: &Ctx, req: ReadReq) -> FsResult<Option<ColdRead>> {
    let file = ctx.file(req.fd, req.gfid, libc::O_RDONLY)?;
    if !file.is_readable() {
        return Err(Errno::EBADF);
    }
    let len = (req.size as usize).min(MAX_READ_LEN);
    let mut buf = buf::alloc(len.max(1));
    let io = file.io(req.flag as i32, req.offset, len as u64, buf.as_ptr() as usize);
    let got = match io.direct {
        true => Err(Errno::EAGAIN),
        false => fs::pread_nowait(&*io.fd, &mut buf[..len], req.offset),
    };
    match got {
        Ok(n) => {
            let done = ctx.brick.store.read_done(&ctx.call(&req.xdata), &file, req.offset, n)?;
            if n == len || done.eof {
                reply_read(ctx, &file, &req, buf, n)?;
                return Ok(None);
            }
        }
        // EOPNOTSUPP: a file system that cannot tell; everything is read through the ring then.
        Err(Errno::EAGAIN | Errno::EOPNOTSUPP) => {}
        Err(e) => return Err(e),
    }
    Ok(Some(ColdRead { file, req, buf, len }))
}

/// Reads through the ring and replies.
async fn finish_read(ctx: &Ctx, cold: ColdRead) -> FsResult<()> {
    let ColdRead { file, req, buf, len } = cold;
    let io = file.io(req.flag as i32, req.offset, len as u64, buf.as_ptr() as usize);
    let (got, buf) = exec::file::read_at(&io.fd, req.offset, buf, len).await;
    let done = got.map_err(Errno::from)?;
    reply_read(ctx, &file, &req, buf, done)
}

/// Sends what was read from where it was read to.
fn reply_read(ctx: &Ctx, file: &OpenFile, req: &ReadReq, buf: PageBuf, n: usize) -> FsResult<()> {
    let done = ctx.brick.store.read_done(&ctx.call(&req.xdata), file, req.offset, n)?;
    let mut xdata = done.xdata;
    ctx.count(file.gfid(), &req.xdata, &mut xdata);
    let reply = ReadRsp {
        op_ret: n as i32,
        op_errno: if done.eof { Errno::ENOENT.0 } else { 0 },
        stat: ctx.iatt(done.stat),
        size: n as u32,
        xdata,
    };
    ctx.conn.reply(ctx.xid, &reply, (n > 0).then(|| buf.freeze(0..n)));
    Ok(())
}

/// A write that has to wait for the disk: direct, or to be made durable before the reply.
enum SlowWrite {
    Direct(WritePlan),
    Sync(Written),
}

pub(super) fn write(ctx: Ctx, req: WriteReq, payload: Bytes) {
    let started = ctx.file(req.fd, req.gfid, libc::O_WRONLY).and_then(|file| {
        let slow = start_write(&ctx, &req, &file, &payload)?;
        Ok((file, slow))
    });
    match started {
        Ok((_, None)) => {}
        Ok((file, Some(slow))) => {
            let in_flight = ctx.begin();
            exec::spawn(async move {
                let done = finish_write(&ctx, &req, &file, slow, payload).await;
                ctx.finish::<Iatt2Rsp>(done.map_err(Into::into));
                drop(in_flight);
            });
        }
        Err(e) => ctx.finish::<Iatt2Rsp>(Err(e.into())),
    }
}

/// Writes to the page cache and replies, or gives back what must wait.
fn start_write(ctx: &Ctx, req: &WriteReq, file: &OpenFile, payload: &Bytes) -> FsResult<Option<SlowWrite>> {
    ctx.modifying()?;
    let (store, call) = (&ctx.brick.store, ctx.call(&req.xdata));
    let address = payload.as_ptr() as usize;
    let plan = store.write_begin(&call, file, req.flag as i32, req.offset, payload.len() as u64, address)?;
    if plan.io.direct {
        return Ok(Some(SlowWrite::Direct(plan)));
    }
    let mut done = 0;
    while done < payload.len() {
        match fs::pwrite(&*plan.io.fd, &payload[done..], req.offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(_) if done > 0 => break,
            Err(e) => return Err(e),
        }
    }
    let written = store.write_end(&call, file, plan, done)?;
    if written.sync {
        return Ok(Some(SlowWrite::Sync(written)));
    }
    ctx.finish(Ok(written_reply(ctx, req, file, written)));
    Ok(None)
}

fn written_reply(ctx: &Ctx, req: &WriteReq, file: &OpenFile, written: Written) -> Iatt2Rsp {
    let mut xdata = written.xdata;
    ctx.count(file.gfid(), &req.xdata, &mut xdata);
    let (prestat, poststat) = (ctx.iatt(written.pre), ctx.iatt(written.post));
    Iatt2Rsp {
        op_ret: written.bytes as i32,
        op_errno: 0,
        xdata,
        prestat,
        poststat,
    }
}

async fn finish_write(
    ctx: &Ctx,
    req: &WriteReq,
    file: &OpenFile,
    slow: SlowWrite,
    payload: Bytes,
) -> FsResult<Iatt2Rsp> {
    let written = match slow {
        SlowWrite::Sync(written) => written,
        SlowWrite::Direct(plan) => {
            let done = write_direct(&plan, req.offset, payload).await?;
            ctx.brick.store.write_end(&ctx.call(&req.xdata), file, plan, done)?
        }
    };
    if written.sync {
        exec::file::fsync(file.descriptor(), true).await.map_err(Errno::from)?;
    }
    Ok(written_reply(ctx, req, file, written))
}

/// Writes all of `payload` through the ring; a failure after a part is a short write.
async fn write_direct(plan: &WritePlan, offset: u64, payload: Bytes) -> FsResult<usize> {
    let mut done = 0;
    while done < payload.len() {
        match exec::file::write_at(&plan.io.fd, offset + done as u64, payload.slice(done..)).await {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(_) if done > 0 => break,
            Err(e) => return Err(e.into()),
        }
    }
    Ok(done)
}

pub(super) fn fsync(ctx: Ctx, req: FsyncReq) {
    let file = match ctx.file(req.fd, req.gfid, libc::O_RDONLY) {
        Ok(file) => file,
        Err(e) => return ctx.finish::<Iatt2Rsp>(Err(e.into())),
    };
    let in_flight = ctx.begin();
    exec::spawn(async move {
        let done = sync_file(&ctx, &file, &req).await;
        ctx.finish::<Iatt2Rsp>(done.map_err(Into::into));
        drop(in_flight);
    });
}

async fn sync_file(ctx: &Ctx, file: &OpenFile, req: &FsyncReq) -> FsResult<Iatt2Rsp> {
    let store = &ctx.brick.store;
    let pre = store.attributes(Target::File(file))?;
    exec::file::fsync(file.descriptor(), req.data != 0)
        .await
        .map_err(Errno::from)?;
    let post = store.attributes(Target::File(file))?;
    Ok(pre_post(
        ctx,
        file.gfid(),
        &req.xdata,
        PrePost {
            pre,
            post,
            xdata: Dict::null(),
        },
    ))
}

pub(super) fn truncate(ctx: &Ctx, req: &TruncateReq) -> Answer<Iatt2Rsp> {
    ctx.modifying()?;
    let gfid = real_gfid(ctx, req.gfid)?;
    let done = ctx
        .brick
        .store
        .truncate(&ctx.call(&req.xdata), Target::Gfid(gfid), req.offset)?;
    Ok(pre_post(ctx, gfid, &req.xdata, done))
}

pub(super) fn ftruncate(ctx: &Ctx, req: &FtruncateReq) -> Answer<Iatt2Rsp> {
    let call = ctx.call(&req.xdata);
    change(ctx, req.fd, req.gfid, &req.xdata, |f| {
        ctx.brick.store.truncate(&call, Target::File(f), req.offset)
    })
}

pub(super) fn fallocate(ctx: &Ctx, req: &FallocateReq) -> Answer<Iatt2Rsp> {
    let call = ctx.call(&req.xdata);
    change(ctx, req.fd, req.gfid, &req.xdata, |f| {
        ctx.brick
            .store
            .fallocate(&call, f, req.flags as i32, req.offset, req.size)
    })
}

pub(super) fn discard(ctx: &Ctx, req: &DiscardReq) -> Answer<Iatt2Rsp> {
    let call = ctx.call(&req.xdata);
    change(ctx, req.fd, req.gfid, &req.xdata, |f| {
        ctx.brick.store.discard(&call, f, req.offset, req.size)
    })
}

pub(super) fn zerofill(ctx: &Ctx, req: &ZerofillReq) -> Answer<Iatt2Rsp> {
    let call = ctx.call(&req.xdata);
    change(ctx, req.fd, req.gfid, &req.xdata, |f| {
        ctx.brick.store.zerofill(&call, f, req.offset, req.size)
    })
}

/// A change of an open file's content or allocation.
fn change(
    ctx: &Ctx,
    fd: i64,
    gfid: Gfid,
    asked: &Dict,
    act: impl FnOnce(&OpenFile) -> FsResult<PrePost>,
) -> Answer<Iatt2Rsp> {
    ctx.modifying()?;
    let file = ctx.file(fd, gfid, libc::O_RDWR)?;
    let done = act(&file)?;
    Ok(pre_post(ctx, file.gfid(), asked, done))
}

pub(super) fn seek(ctx: &Ctx, req: &SeekReq) -> Answer<SeekRsp> {
    let file = ctx.file(req.fd, req.gfid, libc::O_RDONLY)?;
    let offset = ctx.brick.store.seek(&file, req.offset, req.what)?;
    Ok(SeekRsp {
        offset,
        ..SeekRsp::default()
    })
}

pub(super) fn rchecksum(ctx: &Ctx, req: &RchecksumReq) -> Answer<RchecksumRsp> {
    let file = ctx.file(req.fd, req.gfid, libc::O_RDONLY)?;
    let len = (req.len as usize).min(MAX_READ_LEN);
    let sums = ctx
        .brick
        .store
        .rchecksum(&ctx.call(&req.xdata), &file, req.offset, len)?;
    Ok(RchecksumRsp {
        op_ret: 0,
        op_errno: 0,
        xdata: sums.xdata,
        flags: RCHECKSUM_FLAGS,
        weak_checksum: sums.weak,
        strong_checksum: Bytes::copy_from_slice(&sums.strong),
    })
}

pub(super) fn copy_file_range(ctx: &Ctx, req: &CopyFileRangeReq) -> Answer<Iatt3Rsp> {
    ctx.modifying()?;
    let source = ctx.file(req.fd_in, req.gfid1, libc::O_RDONLY)?;
    let dest = ctx.file(req.fd_out, req.gfid2, libc::O_RDWR)?;
    let call = ctx.call(&req.xdata);
    let len = req.size as usize;
    let done = ctx
        .brick
        .store
        .copy_file_range(&call, (&source, req.off_in), (&dest, req.off_out), len)?;
    let mut reply = Iatt3Rsp::with_status(done.bytes as i32, 0, Dict::null());
    ctx.count(dest.gfid(), &req.xdata, &mut reply.xdata);
    reply.stat = ctx.iatt(done.source);
    reply.preparent = ctx.iatt(done.pre);
    reply.postparent = ctx.iatt(done.post);
    Ok(reply)
}
