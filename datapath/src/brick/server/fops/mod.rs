//! Every fop of GLUSTERFS v4: from the decoded request to the reply.
//!
//! A handler that needs no disk answers at once and so keeps the order of arrival; one that has to wait takes the
//! context along into a task. Nothing here touches the file system by itself: that is the store's business.

mod data;
mod dir;
mod entry;
mod inode;
mod locks;
mod open;
mod xattr;

use bytes::Bytes;

use super::request::Ctx;
use crate::errno::Errno;
use crate::wire::fop::{CommonRsp, FopRsp, GetactivelkRsp, Iatt1Rsp, Iatt2Rsp, Iatt3Rsp, LeaseRsp, Request};

/// Starts a fop. `payload` is the data of a WRITE.
pub(super) fn start(ctx: Ctx, request: Request, payload: Bytes) {
    match request {
        Request::Stat(r) => ctx.finish(inode::stat(&ctx, &r)),
        Request::Fstat(r) => ctx.finish(inode::fstat(&ctx, &r)),
        Request::Lookup(r) => ctx.finish(inode::lookup(&ctx, &r)),
        Request::Readlink(r) => ctx.finish(inode::readlink(&ctx, &r)),
        Request::Access(r) => ctx.finish(inode::access(&ctx, &r)),
        Request::Statfs(r) => ctx.finish(inode::statfs(&ctx, &r)),
        Request::Setattr(r) => ctx.finish(inode::setattr(&ctx, &r)),
        Request::Fsetattr(r) => ctx.finish(inode::fsetattr(&ctx, &r)),
        Request::Mknod(r) => ctx.finish(entry::mknod(&ctx, &r)),
        Request::Mkdir(r) => ctx.finish(entry::mkdir(&ctx, &r)),
        Request::Symlink(r) => ctx.finish(entry::symlink(&ctx, &r)),
        Request::Link(r) => ctx.finish(entry::link(&ctx, &r)),
        Request::Unlink(r) => ctx.finish(entry::unlink(&ctx, &r)),
        Request::Rmdir(r) => ctx.finish(entry::rmdir(&ctx, &r)),
        Request::Rename(r) => ctx.finish(entry::rename(&ctx, &r)),
        Request::Open(r) => ctx.finish(open::open(&ctx, &r)),
        Request::Opendir(r) => ctx.finish(open::opendir(&ctx, &r)),
        Request::Create(r) => ctx.finish(open::create(&ctx, &r)),
        Request::Flush(r) => ctx.finish(open::flush(&ctx, &r)),
        Request::Release(r) => ctx.finish(open::release(&ctx, r.fd)),
        Request::Releasedir(r) => ctx.finish(open::release(&ctx, r.fd)),
        Request::Readdir(r) => ctx.finish(dir::readdir(&ctx, &r)),
        Request::Readdirp(r) => ctx.finish(dir::readdirp(&ctx, &r)),
        Request::Fsyncdir(r) => dir::fsyncdir(ctx, &r),
        Request::Read(r) => data::read(ctx, r),
        Request::Write(r) => data::write(ctx, r, payload),
        Request::Fsync(r) => data::fsync(ctx, r),
        Request::Truncate(r) => ctx.finish(data::truncate(&ctx, &r)),
        Request::Ftruncate(r) => ctx.finish(data::ftruncate(&ctx, &r)),
        Request::Fallocate(r) => ctx.finish(data::fallocate(&ctx, &r)),
        Request::Discard(r) => ctx.finish(data::discard(&ctx, &r)),
        Request::Zerofill(r) => ctx.finish(data::zerofill(&ctx, &r)),
        Request::Seek(r) => ctx.finish(data::seek(&ctx, &r)),
        Request::Rchecksum(r) => ctx.finish(data::rchecksum(&ctx, &r)),
        Request::CopyFileRange(r) => ctx.finish(data::copy_file_range(&ctx, &r)),
        Request::Setxattr(r) => ctx.finish(xattr::setxattr(&ctx, &r)),
        Request::Fsetxattr(r) => ctx.finish(xattr::fsetxattr(&ctx, &r)),
        Request::Getxattr(r) => ctx.finish(xattr::getxattr(&ctx, &r)),
        Request::Fgetxattr(r) => ctx.finish(xattr::fgetxattr(&ctx, &r)),
        Request::Removexattr(r) => ctx.finish(xattr::removexattr(&ctx, &r)),
        Request::Fremovexattr(r) => ctx.finish(xattr::fremovexattr(&ctx, &r)),
        Request::Xattrop(r) => ctx.finish(xattr::xattrop(&ctx, &r)),
        Request::Fxattrop(r) => ctx.finish(xattr::fxattrop(&ctx, &r)),
        Request::Lk(r) => locks::lk(ctx, r),
        Request::Inodelk(r) => locks::inodelk(ctx, r),
        Request::Finodelk(r) => locks::finodelk(ctx, r),
        Request::Entrylk(r) => locks::entrylk(ctx, r),
        Request::Fentrylk(r) => locks::fentrylk(ctx, r),
        Request::Getactivelk(r) => ctx.finish::<GetactivelkRsp>(locks::getactivelk(&ctx, &r)),
        // Features no client of a replicate volume uses, answered as 10.3 answers with them off
        // (wire-protocol.md 3.11).
        Request::Lease(_) => refuse::<LeaseRsp>(&ctx, Errno::ENOSYS),
        Request::Ipc(_) | Request::Setactivelk(_) => refuse::<CommonRsp>(&ctx, Errno::EOPNOTSUPP),
        Request::Icreate(_) => refuse::<Iatt1Rsp>(&ctx, Errno::EOPNOTSUPP),
        Request::Namelink(_) => refuse::<Iatt2Rsp>(&ctx, Errno::EOPNOTSUPP),
        Request::Put(_) => refuse::<Iatt3Rsp>(&ctx, Errno::EOPNOTSUPP),
        Request::Null => refuse::<CommonRsp>(&ctx, Errno::EOPNOTSUPP),
    }
}

fn refuse<R: FopRsp>(ctx: &Ctx, errno: Errno) {
    ctx.finish::<R>(Err(errno.into()));
}
