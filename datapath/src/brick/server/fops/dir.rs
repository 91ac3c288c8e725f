//! READDIR, READDIRP, FSYNCDIR (wire-protocol.md 3.9).

use std::rc::Rc;

use bytes::Bytes;

use crate::brick::server::config::MAX_READDIR_LEN;
use crate::brick::server::handle::{OpenHandle, OpenIndex};
use crate::brick::server::request::{Answer, Ctx};
use crate::brick::store::{DirPage, Dirent, OpenDir, Target};
use crate::errno::{Errno, FsResult};
use crate::exec;
use crate::wire::fop::{
    ANONYMOUS_FD, CommonRsp, DirEntry, DirEntryPlus, FsyncdirReq, ReaddirReq, ReaddirRsp, ReaddirpReq, ReaddirpRsp,
};
use crate::wire::{Dict, Gfid};

/// Asks for the types of the gfids that name the entries of an index directory.
const GET_GFID_TYPE: &str = "get-gfid-type";

/// What a listing reads from.
enum Listing {
    Real(Rc<OpenDir>),
    Index(Rc<OpenIndex>),
}

fn listing(ctx: &Ctx, fd: i64, gfid: Gfid) -> FsResult<Listing> {
    if fd != ANONYMOUS_FD {
        return match ctx.handle(fd)? {
            OpenHandle::Dir(dir) => Ok(Listing::Real(dir)),
            OpenHandle::Index(index) => Ok(Listing::Index(index)),
            OpenHandle::File(_) => Err(Errno::ENOTDIR),
        };
    }
    let gfid = ctx.gfid(gfid);
    match ctx.virtual_dir(gfid) {
        Some(dir) => {
            let fd = ctx.brick.index.borrow().open_dir(dir)?;
            Ok(Listing::Index(Rc::new(OpenIndex { dir, gfid, fd })))
        }
        None => ctx.brick.store.open_dir_anonymous(gfid).map(Listing::Real),
    }
}

/// op_ret and op_errno of a page: the number of entries, and `ENOENT` at the end of the directory.
fn status(entries: usize, eof: bool) -> (i32, i32) {
    (
        i32::try_from(entries).unwrap_or(i32::MAX),
        if eof { Errno::ENOENT.0 } else { 0 },
    )
}

fn budget(size: u32) -> usize {
    (size as usize).min(MAX_READDIR_LEN)
}

pub(super) fn readdir(ctx: &Ctx, req: &ReaddirReq) -> Answer<ReaddirRsp> {
    let page = match listing(ctx, req.fd, req.gfid)? {
        Listing::Real(dir) => ctx
            .brick
            .store
            .readdir(&ctx.call(&req.xdata), &dir, req.offset, budget(req.size))?,
        Listing::Index(index) => index_page(ctx, &index, req.offset, budget(req.size), &req.xdata)?,
    };
    let (op_ret, op_errno) = status(page.entries.len(), page.eof);
    let entries = page.entries.into_iter().map(plain).collect();
    Ok(ReaddirRsp {
        op_ret,
        op_errno,
        xdata: Dict::null(),
        entries,
    })
}

pub(super) fn readdirp(ctx: &Ctx, req: &ReaddirpReq) -> Answer<ReaddirpRsp> {
    let page = match listing(ctx, req.fd, req.gfid)? {
        Listing::Real(dir) => ctx
            .brick
            .store
            .readdirp(&ctx.call(&req.xdata), &dir, req.offset, budget(req.size))?,
        Listing::Index(index) => index_page(ctx, &index, req.offset, budget(req.size), &req.xdata)?,
    };
    let (op_ret, op_errno) = status(page.entries.len(), page.eof);
    let dress = |mut e: Dirent| {
        let stat = ctx.iatt(e.stat.take().unwrap_or_default());
        let dict = std::mem::take(&mut e.xdata);
        DirEntryPlus {
            entry: plain(e),
            stat,
            dict,
        }
    };
    Ok(ReaddirpRsp {
        op_ret,
        op_errno,
        xdata: Dict::null(),
        entries: page.entries.into_iter().map(dress).collect(),
    })
}

fn plain(e: Dirent) -> DirEntry {
    DirEntry {
        d_ino: e.ino,
        d_off: e.off,
        d_type: e.d_type.into(),
        name: Bytes::from(e.name),
    }
}

/// A page of an index directory; entry types are those of the inodes the names stand for, if asked for.
fn index_page(ctx: &Ctx, index: &OpenIndex, off: u64, size: usize, asked: &Dict) -> FsResult<DirPage> {
    let (entries, eof) = ctx.brick.index.borrow().read_dir(index.dir, &index.fd, off, size)?;
    let typed = asked.contains(GET_GFID_TYPE);
    let dress = |e: crate::brick::index::IndexEntry| {
        let d_type = if typed { type_of(ctx, &e.name) } else { libc::DT_UNKNOWN };
        Dirent {
            name: e.name,
            ino: e.ino,
            off: e.off,
            d_type,
            stat: None,
            xdata: Dict::null(),
        }
    };
    Ok(DirPage {
        entries: entries.into_iter().map(dress).collect(),
        eof,
    })
}

/// The `DT_*` of the inode whose gfid `name` is; unknown if it is none or is gone.
fn type_of(ctx: &Ctx, name: &[u8]) -> u8 {
    let gfid = std::str::from_utf8(name)
        .ok()
        .and_then(|text| text.parse::<Gfid>().ok());
    let stat = gfid.and_then(|g| ctx.brick.store.attributes(Target::Gfid(g)).ok());
    // The DT_* numbers are the file type bits of a mode.
    stat.map_or(libc::DT_UNKNOWN, |s| (s.file_type() >> 12) as u8)
}

pub(super) fn fsyncdir(ctx: Ctx, req: &FsyncdirReq) {
    let (fd, datasync) = match listing(&ctx, req.fd, req.gfid) {
        Ok(Listing::Real(dir)) => (dir.descriptor().clone(), req.data != 0),
        Ok(Listing::Index(_)) => return ctx.finish(Ok(CommonRsp::default())),
        Err(e) => return ctx.finish::<CommonRsp>(Err(e.into())),
    };
    let in_flight = ctx.begin();
    exec::spawn(async move {
        let done = exec::file::fsync(&fd, datasync).await;
        ctx.finish(done.map(|()| CommonRsp::default()).map_err(|e| Errno::from(e).into()));
        drop(in_flight);
    });
}
