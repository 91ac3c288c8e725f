//! Fops that change names: MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME.

use crate::brick::server::request::{Answer, Ctx, Fail};
use crate::brick::store::Made;
use crate::errno::{Errno, FsResult};
use crate::wire::fop::{
    Iatt2Rsp, Iatt3Rsp, LinkReq, MkdirReq, MknodReq, RenameReq, RenameRsp, RmdirReq, SymlinkReq, UnlinkReq,
};
use crate::wire::{Dict, Gfid, Iatt};

/// The parent of a new name. Nothing can be made in an index directory.
fn parent_of(ctx: &Ctx, gfid: Gfid) -> FsResult<Gfid> {
    ctx.modifying()?;
    let gfid = ctx.gfid(gfid);
    if ctx.virtual_dir(gfid).is_some() {
        Err(Errno::EPERM)
    } else {
        Ok(gfid)
    }
}

fn made(ctx: &Ctx, made: Made, asked: &Dict) -> Iatt3Rsp {
    let mut xdata = made.xdata;
    ctx.count(made.stat.gfid, asked, &mut xdata);
    Iatt3Rsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
        stat: ctx.iatt(made.stat),
        preparent: ctx.iatt(made.preparent),
        postparent: ctx.iatt(made.postparent),
    }
}

pub(super) fn mknod(ctx: &Ctx, req: &MknodReq) -> Answer<Iatt3Rsp> {
    let parent = parent_of(ctx, req.pargfid)?;
    let done = ctx
        .brick
        .store
        .mknod(&ctx.call(&req.xdata), parent, &req.bname, req.mode, req.dev)?;
    Ok(made(ctx, done, &req.xdata))
}

pub(super) fn mkdir(ctx: &Ctx, req: &MkdirReq) -> Answer<Iatt3Rsp> {
    let parent = parent_of(ctx, req.pargfid)?;
    match ctx
        .brick
        .store
        .mkdir(&ctx.call(&req.xdata), parent, &req.bname, req.mode)
    {
        Ok(done) => Ok(made(ctx, done, &req.xdata)),
        Err(refused) => Err(Fail {
            errno: refused.errno,
            xdata: refused.xdata,
        }),
    }
}

pub(super) fn symlink(ctx: &Ctx, req: &SymlinkReq) -> Answer<Iatt3Rsp> {
    let parent = parent_of(ctx, req.pargfid)?;
    let done = ctx
        .brick
        .store
        .symlink(&ctx.call(&req.xdata), parent, &req.bname, &req.linkname)?;
    Ok(made(ctx, done, &req.xdata))
}

pub(super) fn link(ctx: &Ctx, req: &LinkReq) -> Answer<Iatt3Rsp> {
    let parent = parent_of(ctx, req.newpargfid)?;
    let done = ctx
        .brick
        .store
        .link(&ctx.call(&req.xdata), ctx.gfid(req.oldgfid), parent, &req.newbname)?;
    Ok(made(ctx, done, &req.xdata))
}

pub(super) fn unlink(ctx: &Ctx, req: &UnlinkReq) -> Answer<Iatt2Rsp> {
    ctx.modifying()?;
    let parent = ctx.gfid(req.pargfid);
    if let Some(dir) = ctx.virtual_dir(parent) {
        let (prestat, poststat) = ctx.brick.index.borrow_mut().unlink(dir, &req.bname)?;
        return Ok(Iatt2Rsp {
            prestat,
            poststat,
            ..Iatt2Rsp::default()
        });
    }
    let done = ctx.brick.store.unlink(&ctx.call(&req.xdata), parent, &req.bname)?;
    Ok(removed(ctx, done.preparent, done.postparent, done.xdata))
}

pub(super) fn rmdir(ctx: &Ctx, req: &RmdirReq) -> Answer<Iatt2Rsp> {
    ctx.modifying()?;
    let parent = ctx.gfid(req.pargfid);
    if let Some(dir) = ctx.virtual_dir(parent) {
        let (prestat, poststat) = ctx.brick.index.borrow_mut().rmdir(dir, &req.bname, req.xflags)?;
        return Ok(Iatt2Rsp {
            prestat,
            poststat,
            ..Iatt2Rsp::default()
        });
    }
    let done = ctx
        .brick
        .store
        .rmdir(&ctx.call(&req.xdata), parent, &req.bname, req.xflags)?;
    Ok(removed(ctx, done.preparent, done.postparent, done.xdata))
}

fn removed(ctx: &Ctx, pre: Iatt, post: Iatt, xdata: Dict) -> Iatt2Rsp {
    Iatt2Rsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
        prestat: ctx.iatt(pre),
        poststat: ctx.iatt(post),
    }
}

pub(super) fn rename(ctx: &Ctx, req: &RenameReq) -> Answer<RenameRsp> {
    let (old, new) = (parent_of(ctx, req.oldpargfid)?, parent_of(ctx, req.newpargfid)?);
    let done = ctx
        .brick
        .store
        .rename(&ctx.call(&req.xdata), old, &req.oldbname, new, &req.newbname)?;
    let mut xdata = done.xdata;
    ctx.count(done.stat.gfid, &req.xdata, &mut xdata);
    Ok(RenameRsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
        stat: ctx.iatt(done.stat),
        preoldparent: ctx.iatt(done.preoldparent),
        postoldparent: ctx.iatt(done.postoldparent),
        prenewparent: ctx.iatt(done.prenewparent),
        postnewparent: ctx.iatt(done.postnewparent),
    })
}
