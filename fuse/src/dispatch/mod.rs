//! One core of the mount: requests from its mailbox become operations of the volume, results become answers.
//!
//! Every request is a task of its own, so one that waits (for a lock, for a slow brick) holds up no other. Split by
//! kind: [`entries`] names and directories' contents, [`files`] open files, [`attrs`] attributes and xattrs, [`locks`],
//! [`listing`] directory streams. What the client itself answers without asking a brick is answered here.

mod attrs;
mod entries;
mod files;
mod listing;
mod locks;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use datapath::errno::{Errno, FsResult};
use datapath::exec;
use datapath::exec::mailbox::Receiver;
use datapath::wire::{Gfid, Iatt};

use crate::attr::Attr;
use crate::groups::GroupCache;
use crate::handle::HandleTable;
use crate::inode::{self, InodeTable};
use crate::ops::{Caller, FileOps};
use crate::request::{Answer, Entry, FsStat, Op, Request, Who};
use crate::router::{Router, ToCore};

/// When files bypass the kernel's page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DirectIo {
    /// Only those opened with O_DIRECT.
    #[default]
    Auto,
    /// All.
    Enable,
    /// None, whatever the open asks for.
    Disable,
}

/// How the mount behaves; the same on every core. Defaults as the mount's: nothing is cached by time, because a cache
/// that merely times out shows other clients' changes late.
#[derive(Clone, Debug, Default)]
pub struct Behaviour {
    /// How long the kernel may use attributes without asking (`attribute-timeout`).
    pub attribute_ttl: Duration,
    /// How long the kernel may use a name without asking (`entry-timeout`).
    pub entry_ttl: Duration,
    /// How long the kernel may believe that a name does not exist (`negative-timeout`).
    pub negative_ttl: Duration,
    /// How long a process's groups are remembered (`gid-timeout`).
    pub gid_ttl: Duration,
    /// `direct-io-mode`.
    pub direct_io: DirectIo,
    /// `fopen-keep-cache`.
    pub keep_cache: bool,
    /// `acl`: POSIX ACL xattrs are passed on instead of refused.
    pub acl: bool,
    /// `selinux`: security.selinux is passed on.
    pub selinux: bool,
    /// `capability`: security.capability is passed on.
    pub capability: bool,
    /// `ro`: refuse everything that changes something (the kernel does too).
    pub read_only: bool,
}

/// The state of one core.
pub(crate) struct Core<V: FileOps> {
    index: usize,
    ops: V,
    router: Router,
    behaviour: Behaviour,
    inodes: RefCell<InodeTable>,
    handles: RefCell<HandleTable<V::Fd>>,
    groups: RefCell<GroupCache>,
}

impl<V: FileOps> Core<V> {
    /// Core number `index` of the router's.
    pub(crate) fn new(index: usize, ops: V, router: Router, behaviour: Behaviour) -> Core<V> {
        // What this core creates it owns, so that a file's handles, locks and writes meet on one core.
        ops.share_gfids(router.cores(), index);
        Core {
            index,
            ops,
            router,
            inodes: RefCell::new(InodeTable::new()),
            handles: RefCell::new(HandleTable::new(index)),
            groups: RefCell::new(GroupCache::new(behaviour.gid_ttl)),
            behaviour,
        }
    }

    /// Serves until [`ToCore::Shutdown`]. What is still being worked on then is dropped with the core: the mount is
    /// gone, so nobody waits for it.
    pub(crate) async fn run(self, mut mailbox: Receiver<ToCore>) {
        let core = Rc::new(self);
        loop {
            match mailbox.recv().await {
                None | Some(ToCore::Shutdown) => break,
                Some(message) => core.accept(message),
            }
        }
        let (nodes, open) = (core.inodes.borrow().len(), core.handles.borrow().len());
        tracing::debug!("core {} ends with {nodes} inodes and {open} open files", core.index);
    }

    /// Takes a message in arrival order: tables are brought up to date at once, work becomes a task.
    fn accept(self: &Rc<Self>, message: ToCore) {
        match message {
            ToCore::Begin(_) | ToCore::Shutdown => {}
            ToCore::Nameless { request, seen } => self.find_open(request, seen),
            ToCore::Learn { gfid, lookups, mode } => self.inodes.borrow_mut().learn(gfid, lookups, mode),
            ToCore::Request(Request {
                node,
                op: Op::Forget { lookups },
                ..
            }) => {
                self.inodes.borrow_mut().forget(node, lookups);
            }
            ToCore::Request(request) => match request.op.unresolved() {
                Some(second) => self.resolve(second, request),
                None => drop(exec::spawn(Rc::clone(self).serve(request))),
            },
        }
    }

    /// Fills in a rename's or link's second inode and sends the request to the core of the first.
    fn resolve(self: &Rc<Self>, second: u64, mut request: Request) {
        let gfid = match self.inodes.borrow().gfid(second) {
            Ok(gfid) => gfid,
            Err(e) => return request.reply.send(Err(e)),
        };
        request.op.resolve(gfid);
        let core = self.router.next_stop(&request);
        if core == self.index {
            drop(exec::spawn(Rc::clone(self).serve(request)));
        } else {
            let router = self.router.clone();
            drop(exec::spawn(
                async move { router.send(core, ToCore::Request(request)).await },
            ));
        }
    }

    /// The last name of an inode may be gone while it is open on this core or another.
    fn find_open(self: &Rc<Self>, mut request: Request, seen: usize) {
        let open = self.handles.borrow().any_of(request.node);
        if let Some(fh) = open {
            request.op.use_handle(fh);
            drop(exec::spawn(Rc::clone(self).serve(request)));
        } else if seen < self.router.cores() {
            let (router, next) = (self.router.clone(), (self.index + 1) % self.router.cores());
            let message = ToCore::Nameless {
                request,
                seen: seen + 1,
            };
            drop(exec::spawn(async move { router.send(next, message).await }));
        } else {
            request.reply.send(Err(Errno::ESTALE));
        }
    }

    async fn serve(self: Rc<Self>, request: Request) {
        let Request {
            node,
            who,
            op,
            mut reply,
        } = request;
        let name = op.name();
        let attr_op = match &op {
            Op::Getattr { fh: None } => Some(Op::Getattr { fh: None }),
            Op::Setattr { change, fh: None } => Some(Op::Setattr {
                change: *change,
                fh: None,
            }),
            _ => None,
        };
        let answer = match op {
            Op::Readdir { fh, offset } => self.readdir(who, fh, offset, false, &mut reply).await,
            Op::Readdirplus { fh, offset } => self.readdir(who, fh, offset, true, &mut reply).await,
            op => self.answer(node, who, op).await,
        };
        if let (Err(Errno::ESTALE), Some(op)) = (&answer, attr_op) {
            return self.find_open(Request { node, who, op, reply }, 1);
        }
        if let Err(errno) = answer {
            tracing::trace!("{name} node {node:#x}: {errno:?}");
        }
        reply.send(answer);
    }

    async fn answer(&self, node: u64, who: Who, op: Op) -> FsResult<Answer> {
        if self.behaviour.read_only && changes_something(&op) {
            return Err(Errno::EROFS);
        }
        match op {
            Op::Lookup { name } => self.lookup(who, node, &name).await,
            Op::Mknod { name, mode, rdev } => self.mknod(who, node, &name, mode, rdev).await,
            Op::Mkdir { name, mode } => self.mkdir(who, node, &name, mode).await,
            Op::Symlink { name, target } => self.symlink(who, node, &name, &target).await,
            Op::Unlink { name } => self.unlink(who, node, &name).await,
            Op::Rmdir { name } => self.rmdir(who, node, &name).await,
            Op::Rename {
                name,
                to,
                newname,
                flags,
            } => self.rename(who, node, &name, to, &newname, flags).await,
            Op::Link { of, name } => self.link(who, node, of, &name).await,
            Op::Create { name, mode, flags } => self.create(who, node, &name, mode, flags).await,
            Op::Getattr { fh } => self.getattr(who, node, fh).await,
            Op::Setattr { change, fh } => self.setattr(who, node, fh, change).await,
            Op::Readlink => self.readlink(who, node).await,
            Op::Setxattr { name, value, flags } => self.setxattr(who, node, &name, value, flags).await,
            Op::Getxattr { name, size } => self.getxattr(who, node, &name, size).await,
            Op::Listxattr { size } => self.listxattr(who, node, size).await,
            Op::Removexattr { name } => self.removexattr(who, node, &name).await,
            Op::Statfs => self.statfs(who).await,
            Op::Opendir => self.opendir(who, node).await,
            Op::Releasedir { fh } => self.releasedir(fh),
            Op::Fsyncdir { fh, datasync } => self.fsyncdir(who, fh, datasync).await,
            Op::Getlk { fh, lock_owner, range } => self.getlk(who, fh, lock_owner, range).await,
            Op::Setlk {
                fh,
                lock_owner,
                range,
                wait,
            } => self.setlk(who, fh, lock_owner, range, wait).await,
            op => self.file_op(node, who, op).await,
        }
    }

    async fn file_op(&self, node: u64, who: Who, op: Op) -> FsResult<Answer> {
        match op {
            Op::Open { flags } => self.open(who, node, flags).await,
            Op::Read {
                fh,
                offset,
                size,
                lock_owner,
            } => self.read(who, fh, offset, size, lock_owner).await,
            Op::Write {
                fh,
                offset,
                data,
                flags,
                kill_privileges,
                lock_owner,
            } => {
                let caller = self.caller_owning(who, lock_owner);
                self.write(
                    caller,
                    fh,
                    files::Write {
                        offset,
                        data,
                        flags,
                        kill_privileges,
                    },
                )
                .await
            }
            Op::Flush { fh, lock_owner } => self.flush(who, fh, lock_owner).await,
            Op::Fsync { fh, datasync } => self.fsync(who, fh, datasync).await,
            Op::Release { fh, flock_owner } => self.release(who, fh, flock_owner).await,
            Op::Fallocate {
                fh,
                offset,
                length,
                mode,
            } => self.fallocate(who, fh, offset, length, mode).await,
            Op::Lseek { fh, offset, whence } => self.lseek(who, fh, offset, whence).await,
            // The kernel then copies by reading and writing.
            Op::CopyFileRange => Err(Errno::EOPNOTSUPP),
            Op::Ioctl => Err(Errno::ENOTTY),
            // default_permissions: the kernel checks access itself and is told not to ask again; a file can always
            // be polled; a replicated file has no block addresses.
            _ => Err(Errno::ENOSYS),
        }
    }

    async fn statfs(&self, who: Who) -> FsResult<Answer> {
        let s = self.ops.statfs(&self.caller(who)).await?;
        Ok(Answer::Statfs(FsStat {
            bsize: s.bsize,
            frsize: s.frsize,
            blocks: s.blocks,
            bfree: s.bfree,
            bavail: s.bavail,
            files: s.files,
            ffree: s.ffree,
            namemax: s.namemax,
        }))
    }

    fn caller(&self, who: Who) -> Caller {
        self.caller_owning(who, None)
    }

    fn caller_owning(&self, who: Who, lock_owner: Option<u64>) -> Caller {
        Caller {
            uid: who.uid,
            gid: who.gid,
            pid: who.pid as i32,
            groups: self.groups.borrow_mut().of(who),
            lk_owner: lock_owner.unwrap_or(0),
        }
    }

    fn gfid(&self, node: u64) -> FsResult<Gfid> {
        self.inodes.borrow().gfid(node)
    }

    /// Tells the owner of an inode that the kernel is about to hear of it. Must be complete before the answer is sent.
    async fn learn(&self, iatt: &Iatt) {
        let owner = inode::owner(inode::node_of(iatt.gfid), self.router.cores());
        if owner == self.index {
            self.inodes.borrow_mut().learn(iatt.gfid, 1, iatt.mode);
        } else {
            self.router
                .send(
                    owner,
                    ToCore::Learn {
                        gfid: iatt.gfid,
                        lookups: 1,
                        mode: iatt.mode,
                    },
                )
                .await;
        }
    }

    /// The entry to answer with; it counts as a lookup.
    async fn entry(&self, iatt: &Iatt) -> FsResult<Entry> {
        if iatt.gfid.is_null() {
            tracing::error!("a brick answered without a gfid");
            return Err(Errno::EIO);
        }
        self.learn(iatt).await;
        Ok(self.entry_of(iatt))
    }

    fn entry_of(&self, iatt: &Iatt) -> Entry {
        Entry {
            node: inode::node_of(iatt.gfid),
            attr: Attr::from_iatt(iatt),
            attr_ttl: self.behaviour.attribute_ttl,
            entry_ttl: self.behaviour.entry_ttl,
        }
    }
}

fn changes_something(op: &Op) -> bool {
    match op {
        Op::Setattr { .. }
        | Op::Mknod { .. }
        | Op::Mkdir { .. }
        | Op::Symlink { .. }
        | Op::Unlink { .. }
        | Op::Rmdir { .. }
        | Op::Rename { .. }
        | Op::Link { .. }
        | Op::Create { .. }
        | Op::Write { .. }
        | Op::Setxattr { .. }
        | Op::Removexattr { .. }
        | Op::Fallocate { .. } => true,
        Op::Open { flags } => {
            let flags = *flags as i32;
            flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0
        }
        _ => false,
    }
}

/// The error of an operation that addressed an inode by its gfid: "no such inode" means that what the kernel knows is
/// out of date, so that it looks the name up again before it tells the user.
fn by_node(errno: Errno) -> Errno {
    if errno == Errno::ENOENT { Errno::ESTALE } else { errno }
}
