//! OPEN, OPENDIR, CREATE, FLUSH, RELEASE: the life of an fd.

use std::rc::Rc;

use super::inode::real_gfid;
use crate::brick::locks::Effects;
use crate::brick::server::handle::{OpenHandle, OpenIndex};
use crate::brick::server::request::{Answer, Ctx};
use crate::errno::{Errno, FsResult};
use crate::wire::Dict;
use crate::wire::flags::{self, open_from_wire};
use crate::wire::fop::{CommonRsp, CreateReq, CreateRsp, FlushReq, OpenReq, OpenRsp, OpendirReq};

/// Enters an open object into the client's table.
fn enter(ctx: &Ctx, handle: OpenHandle) -> FsResult<i64> {
    ctx.client.fds.borrow_mut().insert(handle)
}

pub(super) fn open(ctx: &Ctx, req: &OpenReq) -> Answer<OpenRsp> {
    let gfid = real_gfid(ctx, req.gfid)?;
    if req.flags & (flags::open::ACCMODE | flags::open::TRUNC) != 0 {
        ctx.modifying()?;
    }
    // Not a flag of open(2), but it asks for another permission.
    let exec = (req.flags & flags::open::FMODE_EXEC) as i32;
    let file = ctx
        .brick
        .store
        .open_file(&ctx.call(&req.xdata), gfid, open_from_wire(req.flags) | exec)?;
    let mut xdata = Dict::null();
    ctx.count(gfid, &req.xdata, &mut xdata);
    Ok(OpenRsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
        fd: enter(ctx, OpenHandle::File(file))?,
    })
}

pub(super) fn opendir(ctx: &Ctx, req: &OpendirReq) -> Answer<OpenRsp> {
    let gfid = real_gfid(ctx, req.gfid)?;
    let handle = match ctx.virtual_dir(gfid) {
        Some(dir) => {
            let fd = ctx.brick.index.borrow().open_dir(dir)?;
            OpenHandle::Index(Rc::new(OpenIndex { dir, gfid, fd }))
        }
        None => OpenHandle::Dir(ctx.brick.store.open_dir(&ctx.call(&req.xdata), gfid)?),
    };
    Ok(OpenRsp {
        op_ret: 0,
        op_errno: 0,
        xdata: Dict::null(),
        fd: enter(ctx, handle)?,
    })
}

pub(super) fn create(ctx: &Ctx, req: &CreateReq) -> Answer<CreateRsp> {
    ctx.modifying()?;
    let parent = ctx.gfid(req.pargfid);
    if ctx.virtual_dir(parent).is_some() {
        return Err(Errno::EPERM.into());
    }
    let flags = open_from_wire(req.flags);
    let done = ctx
        .brick
        .store
        .create(&ctx.call(&req.xdata), parent, &req.bname, flags, req.mode)?;
    let mut xdata = done.made.xdata;
    ctx.count(done.made.stat.gfid, &req.xdata, &mut xdata);
    let fd = enter(ctx, OpenHandle::File(done.file))?;
    Ok(CreateRsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
        stat: ctx.iatt(done.made.stat),
        fd: fd as u64,
        preparent: ctx.iatt(done.made.preparent),
        postparent: ctx.iatt(done.made.postparent),
    })
}

/// An application closed its descriptor: the record locks of the owner go (brick-and-replicate.md C.5).
pub(super) fn flush(ctx: &Ctx, req: &FlushReq) -> Answer<CommonRsp> {
    let object = ctx.object(req.fd, req.gfid)?;
    let mut fx = Effects::default();
    ctx.brick
        .locks
        .borrow_mut()
        .flush(object.gfid(), &ctx.owner(), req.fd, &mut fx);
    let mut xdata = Dict::null();
    ctx.count(object.gfid(), &req.xdata, &mut xdata);
    ctx.settle(fx);
    Ok(CommonRsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
    })
}

/// RELEASE and RELEASEDIR. A number that is not in use is no error: 10.3 always answers with success.
pub(super) fn release(ctx: &Ctx, fd: i64) -> Answer<CommonRsp> {
    let handle = ctx.client.fds.borrow_mut().remove(fd);
    match handle {
        Ok(handle) => {
            let mut fx = Effects::default();
            ctx.brick
                .locks
                .borrow_mut()
                .release(handle.gfid(), ctx.client.id, fd, &mut fx);
            drop(handle);
            ctx.settle(fx);
        }
        Err(e) => tracing::debug!(peer = %ctx.conn.peer_text, fd, "release: {e}"),
    }
    Ok(CommonRsp {
        op_ret: 0,
        op_errno: 0,
        xdata: Dict::new(),
    })
}
