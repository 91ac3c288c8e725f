//! LK, INODELK, ENTRYLK and their fd forms, GETACTIVELK (wire-protocol.md 3.3).

use bytes::Bytes;

use crate::brick::locks::{
    Effects, EntrylkRequest, InodelkRequest, LkOwner, LockKind, LockOp, Outcome, Owner, PosixRequest, Range,
    entrylk_op, inodelk_op,
};
use crate::brick::server::request::{Ctx, Fail};
use crate::brick::store::Target;
use crate::errno::{Errno, FsResult};
use crate::wire::fop::{
    CommonRsp, EntrylkReq, FentrylkReq, FinodelkReq, Flock, FopRsp, GetactivelkReq, GetactivelkRsp, InodelkReq, LkCmd,
    LkReq, LkRsp, LockEntry, LockType,
};
use crate::wire::{Dict, Gfid};

/// The parts an inodelk and a finodelk share.
struct Inodelk {
    gfid: FsResult<Gfid>,
    cmd: u32,
    kind: u32,
    flock: Flock,
    domain: Bytes,
}

pub(in crate::brick::server) fn inodelk(ctx: Ctx, req: InodelkReq) {
    let gfid = known(&ctx, req.gfid);
    let InodelkReq {
        cmd,
        kind,
        flock,
        volume,
        ..
    } = req;
    lock_inode(
        ctx,
        Inodelk {
            gfid,
            cmd,
            kind,
            flock,
            domain: volume,
        },
    );
}

pub(in crate::brick::server) fn finodelk(ctx: Ctx, req: FinodelkReq) {
    let gfid = ctx.object(req.fd, req.gfid).map(|o| o.gfid());
    let FinodelkReq {
        cmd,
        kind,
        flock,
        volume,
        ..
    } = req;
    lock_inode(
        ctx,
        Inodelk {
            gfid,
            cmd,
            kind,
            flock,
            domain: volume,
        },
    );
}

/// The gfid of a lock request by gfid: it must exist here, or the client would believe that it holds a lock on
/// something this brick cannot change.
fn known(ctx: &Ctx, gfid: Gfid) -> FsResult<Gfid> {
    let gfid = ctx.gfid(gfid);
    if gfid.is_null() {
        return Err(Errno::EINVAL);
    }
    let store = &ctx.brick.store;
    if store.open_count(gfid) == 0 && ctx.virtual_dir(gfid).is_none() && !ctx.brick.locks.borrow().is_locked(gfid) {
        store.attributes(Target::Gfid(gfid))?;
    }
    Ok(gfid)
}

fn lock_inode(ctx: Ctx, lock: Inodelk) {
    let request = ctx.brick.next_request();
    let mut fx = Effects::default();
    let gfid = lock.gfid;
    let result = gfid.and_then(|gfid| {
        let op = inodelk_op(lock.cmd, lock.kind)?;
        if matches!(op, LockOp::Wait(_)) {
            ctx.may_wait()?;
        }
        let call = InodelkRequest {
            gfid,
            domain: &lock.domain,
            owner: ctx.owner(),
            pid: ctx.who.pid,
            op,
            start: lock.flock.start,
            len: lock.flock.len,
            request,
        };
        ctx.brick.locks.borrow_mut().inodelk(ctx.brick.now_ns(), call, &mut fx)
    });
    answer(ctx, gfid, result, request, fx);
}

/// Replies, or leaves that to the grant. Consequences for others come after the caller's own reply.
fn answer(
    ctx: Ctx,
    gfid: FsResult<Gfid>,
    result: FsResult<Outcome>,
    request: crate::brick::locks::RequestId,
    fx: Effects,
) {
    let brick = std::rc::Rc::clone(&ctx.brick);
    if let (Ok(gfid), Ok(Outcome::Queued) | Err(Errno::EAGAIN)) = (gfid, &result) {
        brick.contended(gfid);
    }
    match result {
        Ok(Outcome::Granted) => ctx.finish::<CommonRsp>(Ok(CommonRsp::default())),
        Ok(Outcome::Queued) => ctx.wait(request, None),
        Err(e) => ctx.finish::<CommonRsp>(Err(e.into())),
    }
    brick.settle(fx);
}

/// The parts an entrylk and a fentrylk share.
struct Entrylk {
    gfid: FsResult<Gfid>,
    cmd: u32,
    kind: u32,
    named: bool,
    name: Bytes,
    domain: Bytes,
}

pub(in crate::brick::server) fn entrylk(ctx: Ctx, req: EntrylkReq) {
    let gfid = known(&ctx, req.gfid);
    let EntrylkReq {
        cmd,
        kind,
        namelen,
        name,
        volume,
        ..
    } = req;
    lock_entry(
        ctx,
        Entrylk {
            gfid,
            cmd,
            kind,
            named: namelen != 0,
            name,
            domain: volume,
        },
    );
}

pub(in crate::brick::server) fn fentrylk(ctx: Ctx, req: FentrylkReq) {
    let gfid = ctx.object(req.fd, req.gfid).map(|o| o.gfid());
    let FentrylkReq {
        cmd,
        kind,
        namelen,
        name,
        volume,
        ..
    } = req;
    lock_entry(
        ctx,
        Entrylk {
            gfid,
            cmd,
            kind,
            named: namelen != 0,
            name,
            domain: volume,
        },
    );
}

fn lock_entry(ctx: Ctx, lock: Entrylk) {
    let request = ctx.brick.next_request();
    let mut fx = Effects::default();
    let gfid = lock.gfid;
    let result = gfid.and_then(|gfid| {
        let op = entrylk_op(lock.cmd, lock.kind)?;
        if matches!(op, LockOp::Wait(_)) {
            ctx.may_wait()?;
        }
        let call = EntrylkRequest {
            gfid,
            domain: &lock.domain,
            owner: ctx.owner(),
            pid: ctx.who.pid,
            op,
            name: lock.named.then_some(&lock.name[..]),
            request,
        };
        ctx.brick.locks.borrow_mut().entrylk(ctx.brick.now_ns(), call, &mut fx)
    });
    answer(ctx, gfid, result, request, fx);
}

/// The owner of an LK call: the one in the lock, which clients set to that of the credential.
fn lk_owner(ctx: &Ctx, flock: &Flock) -> Owner {
    let bytes = if flock.lk_owner.is_empty() {
        &ctx.lk_owner
    } else {
        &flock.lk_owner
    };
    Owner {
        client: ctx.client.id,
        lk_owner: LkOwner::new(bytes),
    }
}

pub(in crate::brick::server) fn lk(ctx: Ctx, req: LkReq) {
    let gfid = match ctx.object(req.fd, req.gfid) {
        Ok(object) => object.gfid(),
        Err(e) => return ctx.finish::<LkRsp>(Err(e.into())),
    };
    match LkCmd::from_wire(req.cmd) {
        Some(LkCmd::GetLk) => {
            let answer = getlk(&ctx, gfid, &req.flock);
            ctx.finish(answer);
        }
        Some(LkCmd::SetLk) => setlk(ctx, gfid, &req, false),
        Some(LkCmd::SetLkW) => setlk(ctx, gfid, &req, true),
        // Reservation locks and the listing by fd are not sent by any client of this protocol version.
        Some(LkCmd::ReslkLck | LkCmd::ReslkLckW | LkCmd::ReslkUnlck | LkCmd::GetLkFd) => {
            ctx.finish::<LkRsp>(Err(Errno::EOPNOTSUPP.into()));
        }
        None => ctx.finish::<LkRsp>(Err(Errno::EINVAL.into())),
    }
}

fn getlk(ctx: &Ctx, gfid: Gfid, asked: &Flock) -> Result<LkRsp, Fail> {
    let kind = LockKind::from_wire(asked.kind).ok_or(Errno::EINVAL)?;
    let range = Range::from_wire(asked.start, asked.len)?;
    let owner = lk_owner(ctx, asked);
    // Who asks may be about to wait, here or on another brick.
    meet_record(ctx, gfid, &owner, kind, range);
    let locks = ctx.brick.locks.borrow();
    let flock = match locks.getlk(gfid, &owner, kind, range) {
        None => Flock {
            kind: LockType::Unlock.to_wire(),
            ..detached(asked)
        },
        Some(held) => Flock {
            kind: held.kind.wire(),
            whence: 0,
            start: held.range.start,
            len: held.range.wire_len(),
            pid: held.pid,
            lk_owner: Bytes::copy_from_slice(held.owner.lk_owner.as_bytes()),
        },
    };
    Ok(LkRsp {
        flock,
        ..LkRsp::default()
    })
}

/// Has the holders looked at that are in the way of a record lock, if there are any.
fn meet_record(ctx: &Ctx, gfid: Gfid, owner: &Owner, kind: LockKind, range: Range) {
    let holders = ctx.brick.locks.borrow().record_conflicts(gfid, owner, kind, range);
    if !holders.is_empty() {
        ctx.brick.record_contended(gfid, holders);
    }
}

/// A copy that does not keep the received record in memory.
fn detached(flock: &Flock) -> Flock {
    Flock {
        lk_owner: Bytes::copy_from_slice(&flock.lk_owner),
        ..flock.clone()
    }
}

fn setlk(ctx: Ctx, gfid: Gfid, req: &LkReq, wait: bool) {
    let request = ctx.brick.next_request();
    let mut fx = Effects::default();
    let result = set_posix(&ctx, gfid, req, wait, request, &mut fx);
    let brick = std::rc::Rc::clone(&ctx.brick);
    let flock = detached(&req.flock);
    match result {
        Ok(Outcome::Granted) => ctx.finish(Ok(LkRsp {
            flock,
            ..LkRsp::default()
        })),
        Ok(Outcome::Queued) => ctx.wait(request, Some(flock)),
        Err(e) => ctx.finish::<LkRsp>(Err(e.into())),
    }
    brick.settle(fx);
}

fn set_posix(
    ctx: &Ctx,
    gfid: Gfid,
    req: &LkReq,
    wait: bool,
    request: crate::brick::locks::RequestId,
    fx: &mut Effects,
) -> FsResult<Outcome> {
    let flock = &req.flock;
    let op = match (LockKind::from_wire(flock.kind), wait) {
        (Some(kind), false) => LockOp::Try(kind),
        (Some(kind), true) => LockOp::Wait(kind),
        (None, _) if flock.kind == LockType::Unlock.to_wire() => LockOp::Unlock(LockKind::Write),
        _ => return Err(Errno::EINVAL),
    };
    if matches!(op, LockOp::Wait(_)) {
        ctx.may_wait()?;
    }
    let range = Range::from_wire(flock.start, flock.len)?;
    let owner = lk_owner(ctx, flock);
    if let LockOp::Try(kind) | LockOp::Wait(kind) = op {
        meet_record(ctx, gfid, &owner, kind, range);
    }
    let call = PosixRequest {
        gfid,
        owner,
        fd: req.fd,
        pid: flock.pid,
        op,
        range,
        request,
    };
    ctx.brick.locks.borrow_mut().setlk(call, fx)
}

pub(in crate::brick::server) fn getactivelk(ctx: &Ctx, req: &GetactivelkReq) -> Result<GetactivelkRsp, Fail> {
    let gfid = known(ctx, req.gfid)?;
    let locks = ctx.brick.locks.borrow();
    let clients = ctx.brick.clients.borrow();
    let entries: Vec<LockEntry> = locks
        .posix_held(gfid)
        .iter()
        .map(|held| LockEntry {
            flock: Flock {
                kind: held.kind.wire(),
                whence: 0,
                start: held.range.start,
                len: held.range.wire_len(),
                pid: held.pid,
                lk_owner: Bytes::copy_from_slice(held.owner.lk_owner.as_bytes()),
            },
            client_uid: clients
                .get(held.owner.client)
                .map_or_else(Bytes::new, |c| Bytes::copy_from_slice(c.admission.uuid.as_bytes())),
            lk_flags: 0,
        })
        .collect();
    let mut reply = GetactivelkRsp::with_status(entries.len() as i32, 0, Dict::null());
    reply.locks = entries;
    Ok(reply)
}
