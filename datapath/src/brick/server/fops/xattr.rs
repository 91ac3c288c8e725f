//! SETXATTR, GETXATTR, REMOVEXATTR, XATTROP and their fd forms (brick-and-replicate.md A.7, B.9).

use super::inode::real_gfid;
use crate::brick::index::{KINDS, PURGE_INDEX};
use crate::brick::server::request::{Answer, Ctx, Object};
use crate::errno::{Errno, FsResult};
use crate::wire::callback::{self, CacheInvalidation, EventType};
use crate::wire::fop::{
    CommonRsp, DictRsp, FgetxattrReq, FremovexattrReq, FsetxattrReq, FxattropReq, GetxattrReq, RemovexattrReq,
    SetxattrReq, XattropReq,
};
use crate::wire::handshake::IF_LOCKED;
use crate::wire::{Dict, Gfid, OldDict, Value};

/// Keys by which bricks are blamed, and the one beside them that blames nobody.
const BLAME_PREFIX: &str = "trusted.afr.";
const DIRTY: &str = "trusted.afr.dirty";

/// The object of a request by gfid that is no index directory: those have no xattrs.
fn object_of(ctx: &Ctx, gfid: Gfid) -> FsResult<Object> {
    let gfid = real_gfid(ctx, gfid)?;
    if ctx.virtual_dir(gfid).is_some() {
        Err(Errno::EOPNOTSUPP)
    } else {
        Ok(Object::Gfid(gfid))
    }
}

pub(super) fn setxattr(ctx: &Ctx, req: &SetxattrReq) -> Answer<CommonRsp> {
    set(ctx, &object_of(ctx, req.gfid)?, &req.dict, req.flags, &req.xdata)
}

pub(super) fn fsetxattr(ctx: &Ctx, req: &FsetxattrReq) -> Answer<CommonRsp> {
    set(ctx, &ctx.object(req.fd, req.gfid)?, &req.dict, req.flags, &req.xdata)
}

fn set(ctx: &Ctx, object: &Object, pairs: &Dict, flags: u32, asked: &Dict) -> Answer<CommonRsp> {
    ctx.modifying()?;
    let mut xdata = ctx
        .brick
        .store
        .setxattr(&ctx.call(asked), object.target(), pairs, flags as i32)?;
    ctx.count(object.gfid(), asked, &mut xdata);
    Ok(CommonRsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
    })
}

pub(super) fn removexattr(ctx: &Ctx, req: &RemovexattrReq) -> Answer<CommonRsp> {
    remove(ctx, &object_of(ctx, req.gfid)?, &req.name, &req.xdata)
}

pub(super) fn fremovexattr(ctx: &Ctx, req: &FremovexattrReq) -> Answer<CommonRsp> {
    remove(ctx, &ctx.object(req.fd, req.gfid)?, &req.name, &req.xdata)
}

fn remove(ctx: &Ctx, object: &Object, name: &[u8], asked: &Dict) -> Answer<CommonRsp> {
    ctx.modifying()?;
    let mut xdata = ctx.brick.store.removexattr(&ctx.call(asked), object.target(), name)?;
    ctx.count(object.gfid(), asked, &mut xdata);
    Ok(CommonRsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
    })
}

pub(super) fn getxattr(ctx: &Ctx, req: &GetxattrReq) -> Answer<DictRsp> {
    let name = (req.namelen != 0).then_some(&req.name[..]);
    if let Some(reply) = name.and_then(|n| index_xattr(ctx, n)) {
        return Ok(reply);
    }
    get(ctx, &object_of(ctx, req.gfid)?, name, &req.xdata)
}

pub(super) fn fgetxattr(ctx: &Ctx, req: &FgetxattrReq) -> Answer<DictRsp> {
    let name = (req.namelen != 0).then_some(&req.name[..]);
    if let Some(reply) = name.and_then(|n| index_xattr(ctx, n)) {
        return Ok(reply);
    }
    get(ctx, &ctx.object(req.fd, req.gfid)?, name, &req.xdata)
}

fn get(ctx: &Ctx, object: &Object, name: Option<&[u8]>, asked: &Dict) -> Answer<DictRsp> {
    let found = ctx.brick.store.getxattr(&ctx.call(asked), object.target(), name)?;
    let mut xdata = Dict::null();
    ctx.count(object.gfid(), asked, &mut xdata);
    let op_ret = i32::try_from(found.size).map_err(|_| Errno::E2BIG)?;
    Ok(DictRsp {
        op_ret,
        op_errno: 0,
        xdata,
        dict: found.dict,
        ..DictRsp::default()
    })
}

/// The virtual xattrs of the index: where its directories are and how much is in them.
fn index_xattr(ctx: &Ctx, name: &[u8]) -> Option<DictRsp> {
    let index = ctx.brick.index.borrow();
    for kind in KINDS {
        let (key, value) = if name == kind.gfid_key().as_bytes() {
            (kind.gfid_key(), Value::ptr(index.gfid_of(kind).0.to_vec()))
        } else if let Some(key) = kind.count_key().filter(|k| k.as_bytes() == name) {
            (key, Value::Uint(index.count(kind)))
        } else {
            continue;
        };
        return Some(DictRsp {
            dict: Dict::new().with(key, value),
            ..DictRsp::default()
        });
    }
    None
}

pub(super) fn xattrop(ctx: &Ctx, req: &XattropReq) -> Answer<DictRsp> {
    operate(ctx, &object_of(ctx, req.gfid)?, req.flags, &req.dict, &req.xdata)
}

pub(super) fn fxattrop(ctx: &Ctx, req: &FxattropReq) -> Answer<DictRsp> {
    operate(ctx, &ctx.object(req.fd, req.gfid)?, req.flags, &req.dict, &req.xdata)
}

/// Index entries before, the counters, index entries after: in one go, so nothing of the same inode comes between.
fn operate(ctx: &Ctx, object: &Object, op: u32, pairs: &Dict, asked: &Dict) -> Answer<DictRsp> {
    ctx.modifying()?;
    let (gfid, store) = (object.gfid(), &ctx.brick.store);
    if let Some(domain) = asked.get_str(IF_LOCKED)
        && !ctx
            .brick
            .locks
            .borrow()
            .holds_inodelk(gfid, domain.as_bytes(), &ctx.owner())
    {
        return Err(Errno::EAGAIN.into());
    }
    // An inode that is gone must not get into the index.
    let stat = store.attributes(object.target())?;
    ctx.brick.index.borrow_mut().before_xattrop(gfid, op, pairs, asked)?;
    let dict = store.xattrop(&ctx.call(asked), object.target(), op, pairs)?;
    let purge = asked.contains(PURGE_INDEX) && stat.is_dir();
    ctx.brick
        .index
        .borrow_mut()
        .after_xattrop(gfid, op, purge, &dict, asked);
    tell_others(ctx, gfid, pairs);
    let mut xdata = Dict::null();
    ctx.count(gfid, asked, &mut xdata);
    Ok(DictRsp {
        op_ret: 0,
        op_errno: 0,
        xdata,
        dict,
        ..DictRsp::default()
    })
}

/// Somebody has missed something, or has been healed: clients that can still read there must know before whoever made
/// the change hears that this is on record. Only those of this implementation are told.
fn tell_others(ctx: &Ctx, gfid: Gfid, pairs: &Dict) {
    let mut blamed = OldDict::new();
    for (key, value) in pairs.iter() {
        let Ok(name) = std::str::from_utf8(&key.0) else {
            continue;
        };
        let changes = value.as_bytes().is_some_and(|v| v.iter().any(|b| *b != 0));
        if changes && name.starts_with(BLAME_PREFIX) && name != DIRTY {
            blamed = blamed.with_str(name.to_string(), "1");
        }
    }
    if blamed.is_empty() {
        return;
    }
    let notice = CacheInvalidation {
        gfid: gfid.to_string().into(),
        event_type: EventType::CacheInvalidation as u32,
        flags: callback::invalidate::XATTR,
        xdata: blamed,
        ..CacheInvalidation::default()
    };
    for client in ctx.brick.clients.borrow().ours_but(ctx.client.id) {
        if let Some(conn) = client.connection() {
            conn.callback(callback::Proc::CacheInvalidation, &notice);
        }
    }
}
