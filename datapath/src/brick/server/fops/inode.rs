//! LOOKUP, STAT, READLINK, ACCESS, STATFS, SETATTR and their fd forms.

use bytes::Bytes;

use crate::brick::index::{IA_TYPE_REQ, IA_TYPE_RSP, Virtual};
use crate::brick::server::counts;
use crate::brick::server::request::{Answer, Ctx, Fail, Object};
use crate::brick::store::Target;
use crate::errno::{Errno, FsResult};
use crate::wire::fop::{
    AccessReq, CommonRsp, FsetattrReq, FstatReq, Iatt1Rsp, Iatt2Rsp, LookupReq, ReadlinkReq, ReadlinkRsp, SetattrReq,
    StatReq, Statfs, StatfsReq, StatfsRsp,
};
use crate::wire::{Dict, Gfid, Iatt, Value};

/// The pid that stands for an NFS server, which wants to know the permissions themselves (wire-protocol.md 3.6).
const NFS_PID: i32 = 1;
/// The bits ACCESS knows: read 4, write 2, execute 1.
const ACCESS_BITS: [u32; 3] = [4, 2, 1];

pub(super) fn lookup(ctx: &Ctx, req: &LookupReq) -> Answer<Iatt2Rsp> {
    let (gfid, parent) = (ctx.gfid(req.gfid), ctx.gfid(req.pargfid));
    if let Some(dir) = ctx.virtual_dir(if req.bname.is_empty() { gfid } else { parent }) {
        return lookup_virtual(ctx, dir, req);
    }
    let call = ctx.call(&req.xdata);
    let store = &ctx.brick.store;
    let (looked, place) = if req.bname.is_empty() {
        if gfid.is_null() {
            return Err(Errno::EINVAL.into());
        }
        (store.lookup_gfid(&call, gfid), None)
    } else {
        (store.lookup(&call, parent, &req.bname), Some((parent, &req.bname[..])))
    };
    let mut xdata = looked.xdata;
    match looked.result {
        Ok(stat) => {
            counts::fill(&ctx.brick, stat.gfid, place, &req.xdata, &mut xdata);
            let (prestat, poststat) = (ctx.iatt(stat), ctx.iatt(looked.postparent));
            Ok(Iatt2Rsp {
                op_ret: 0,
                op_errno: 0,
                xdata,
                prestat,
                poststat,
            })
        }
        Err(errno) => {
            counts::fill(&ctx.brick, Gfid::NULL, None, &req.xdata, &mut xdata);
            Err(Fail { errno, xdata })
        }
    }
}

/// LOOKUP of an index directory, or of one below `entry-changes`.
fn lookup_virtual(ctx: &Ctx, dir: Virtual, req: &LookupReq) -> Answer<Iatt2Rsp> {
    let index = ctx.brick.index.borrow();
    let stat = if req.bname.is_empty() {
        index.stat(dir)?
    } else {
        index.lookup_name(dir, &req.bname)?
    };
    let mut xdata = Dict::null();
    if req.xdata.contains(IA_TYPE_REQ)
        && let Some(found) = index.virtual_dir(stat.gfid)
    {
        xdata.set(IA_TYPE_RSP, Value::Uint(index.entry_type(found)));
    }
    Ok(Iatt2Rsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
        prestat: stat,
        poststat: Iatt::default(),
    })
}

pub(super) fn stat(ctx: &Ctx, req: &StatReq) -> Answer<Iatt1Rsp> {
    let gfid = real_gfid(ctx, req.gfid)?;
    stat_object(ctx, &Object::Gfid(gfid), &req.xdata)
}

pub(super) fn fstat(ctx: &Ctx, req: &FstatReq) -> Answer<Iatt1Rsp> {
    stat_object(ctx, &ctx.object(req.fd, req.gfid)?, &req.xdata)
}

fn stat_object(ctx: &Ctx, object: &Object, asked: &Dict) -> Answer<Iatt1Rsp> {
    if let Some(dir) = ctx.virtual_dir(object.gfid()) {
        let stat = ctx.brick.index.borrow().stat(dir)?;
        return Ok(Iatt1Rsp {
            stat,
            ..Iatt1Rsp::default()
        });
    }
    let stated = ctx.brick.store.stat(&ctx.call(asked), object.target())?;
    let mut xdata = stated.xdata;
    ctx.count(object.gfid(), asked, &mut xdata);
    Ok(Iatt1Rsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
        stat: ctx.iatt(stated.stat),
    })
}

/// A gfid that is not null, as the brick knows it.
pub(super) fn real_gfid(ctx: &Ctx, gfid: Gfid) -> FsResult<Gfid> {
    let gfid = ctx.gfid(gfid);
    if gfid.is_null() { Err(Errno::EINVAL) } else { Ok(gfid) }
}

pub(super) fn readlink(ctx: &Ctx, req: &ReadlinkReq) -> Answer<ReadlinkRsp> {
    let gfid = real_gfid(ctx, req.gfid)?;
    let (text, stat) = ctx
        .brick
        .store
        .readlink(&ctx.call(&req.xdata), gfid, req.size as usize)?;
    Ok(ReadlinkRsp {
        op_ret: i32::try_from(text.len()).map_err(|_| Errno::ENAMETOOLONG)?,
        op_errno: 0,
        xdata: Dict::null(),
        buf: ctx.iatt(stat),
        path: Bytes::from(text),
    })
}

pub(super) fn access(ctx: &Ctx, req: &AccessReq) -> Answer<CommonRsp> {
    let gfid = real_gfid(ctx, req.gfid)?;
    let (store, call) = (&ctx.brick.store, ctx.call(&req.xdata));
    if ctx.who.pid != NFS_PID {
        store.access(&call, gfid, req.mask)?;
        return Ok(CommonRsp::default());
    }
    store.attributes(Target::Gfid(gfid))?;
    let granted = ACCESS_BITS
        .iter()
        .filter(|b| req.mask & **b != 0 && store.access(&call, gfid, **b).is_ok());
    Ok(CommonRsp {
        op_ret: 0,
        op_errno: granted.sum::<u32>() as i32,
        xdata: Dict::null(),
    })
}

pub(super) fn statfs(ctx: &Ctx, _: &StatfsReq) -> Answer<StatfsRsp> {
    let s = ctx.brick.store.statfs()?;
    let statfs = Statfs {
        bsize: s.bsize,
        frsize: s.frsize,
        blocks: s.blocks,
        bfree: s.bfree,
        bavail: s.bavail,
        files: s.files,
        ffree: s.ffree,
        favail: s.favail,
        fsid: s.fsid,
        flag: s.flag,
        namemax: s.namemax,
    };
    Ok(StatfsRsp {
        statfs,
        ..StatfsRsp::default()
    })
}

pub(super) fn setattr(ctx: &Ctx, req: &SetattrReq) -> Answer<Iatt2Rsp> {
    let gfid = real_gfid(ctx, req.gfid)?;
    set_attributes(ctx, &Object::Gfid(gfid), &req.stbuf, req.valid, &req.xdata)
}

pub(super) fn fsetattr(ctx: &Ctx, req: &FsetattrReq) -> Answer<Iatt2Rsp> {
    set_attributes(ctx, &ctx.object(req.fd, req.gfid)?, &req.stbuf, req.valid, &req.xdata)
}

fn set_attributes(ctx: &Ctx, object: &Object, new: &Iatt, valid: i32, asked: &Dict) -> Answer<Iatt2Rsp> {
    ctx.modifying()?;
    let done = ctx.brick.store.setattr(&ctx.call(asked), object.target(), new, valid)?;
    let mut xdata = done.xdata;
    ctx.count(object.gfid(), asked, &mut xdata);
    Ok(Iatt2Rsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
        prestat: ctx.iatt(done.pre),
        poststat: ctx.iatt(done.post),
    })
}
