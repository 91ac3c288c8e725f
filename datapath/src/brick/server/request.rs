//! One fop under way: who made it, on which connection, and how its reply goes back.
//!
//! Knows credentials, fds and gfid mapping; what the fop does is in `fops`.

use std::rc::Rc;

use bytes::Bytes;

use super::clients::Client;
use super::config::{BrickConfig, MAX_WAITING_LOCKS, Squash};
use super::connection::{Conn, InFlight};
use super::handle::OpenHandle;
use super::{Brick, Waiting, counts};
use crate::brick::access::Identity;
use crate::brick::index::Virtual;
use crate::brick::locks::{Effects, Owner, RequestId};
use crate::brick::store::{Call, OpenDir, OpenFile, Stamp, Target};
use crate::errno::{Errno, FsResult};
use crate::wire::auth::GlusterfsCred;
use crate::wire::fop::{ANONYMOUS_FD, Flock, FopRsp};
use crate::wire::rpc::CallHeader;
use crate::wire::{Dict, Gfid, Iatt};

/// Client pids that root-squash leaves alone when the client is trusted (brick-and-replicate.md B.2).
const UNSQUASHED_PIDS: [i32; 5] = [-1, -3, -4, -5, -6];

/// A failed fop: the number and, for some, results that travel in spite of it.
#[derive(Debug)]
pub struct Fail {
    /// The error.
    pub errno: Errno,
    /// The reply's xdata.
    pub xdata: Dict,
}

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Fail {
        Fail {
            errno,
            xdata: Dict::null(),
        }
    }
}

/// The result of a fop's handler.
pub type Answer<R> = Result<R, Fail>;

/// A request and its circumstances.
#[derive(Debug)]
pub(super) struct Ctx {
    pub brick: Rc<Brick>,
    pub conn: Rc<Conn>,
    pub client: Rc<Client>,
    pub xid: u32,
    pub who: Identity,
    pub stamp: Stamp,
    pub lk_owner: Bytes,
}

impl Ctx {
    /// The circumstances of a call, with root-squash applied.
    pub fn new(
        brick: &Rc<Brick>,
        conn: &Rc<Conn>,
        client: &Rc<Client>,
        header: &CallHeader,
        config: &BrickConfig,
    ) -> Ctx {
        let cred = header.cred.identity();
        let stamp = Stamp {
            flags: cred.flags,
            sec: i64::try_from(cred.ctime_sec).unwrap_or(i64::MAX),
            nsec: cred.ctime_nsec,
        };
        Ctx {
            brick: Rc::clone(brick),
            conn: Rc::clone(conn),
            client: Rc::clone(client),
            xid: header.xid,
            lk_owner: cred.lk_owner.clone(),
            who: identity(cred, client.admission.trusted, config.squash),
            stamp,
        }
    }

    /// What the store wants to know.
    pub fn call<'a>(&'a self, xdata: &'a Dict) -> Call<'a> {
        Call {
            who: &self.who,
            stamp: self.stamp,
            xdata,
        }
    }

    /// The lock owner of the credential.
    pub fn owner(&self) -> Owner {
        Brick::owner(&self.client, &self.lk_owner)
    }

    /// A gfid of the request as the brick knows it.
    pub fn gfid(&self, gfid: Gfid) -> Gfid {
        self.client.gfid_in(gfid)
    }

    /// Attributes as the client shall see them.
    pub fn iatt(&self, iatt: Iatt) -> Iatt {
        self.client.iatt_out(iatt)
    }

    /// The index directory a gfid stands for.
    pub fn virtual_dir(&self, gfid: Gfid) -> Option<Virtual> {
        self.brick.index.borrow().virtual_dir(gfid)
    }

    /// Refuses a modifying fop on a read-only brick; GlusterFS's own processes may still write.
    pub fn modifying(&self) -> FsResult<()> {
        let read_only = self.brick.config.borrow().read_only && !self.who.is_internal();
        if read_only { Err(Errno::EROFS) } else { Ok(()) }
    }

    /// Sends the reply.
    pub fn finish<R: FopRsp>(&self, answer: Answer<R>) {
        match answer {
            Ok(reply) => self.conn.reply(self.xid, &reply, None),
            Err(fail) => self
                .conn
                .reply(self.xid, &R::with_status(-1, fail.errno.0, fail.xdata), None),
        }
    }

    /// Marks the request as one that goes on in a task.
    pub fn begin(&self) -> InFlight {
        self.conn.begin()
    }

    /// What an fd number stands for; `EBADF` if nothing does.
    pub fn handle(&self, fd: i64) -> FsResult<OpenHandle> {
        self.client.fds.borrow().get(fd).cloned()
    }

    /// The open file of an fd fop. The anonymous fd opens the file for this request, with `flags`.
    pub fn file(&self, fd: i64, gfid: Gfid, flags: i32) -> FsResult<Rc<OpenFile>> {
        if fd == ANONYMOUS_FD {
            return self.brick.store.open_anonymous(self.gfid(gfid), flags);
        }
        match self.handle(fd)? {
            OpenHandle::File(file) => Ok(file),
            OpenHandle::Dir(_) | OpenHandle::Index(_) => Err(Errno::EBADF),
        }
    }

    /// The inode of an fd fop that works on files and directories.
    pub fn object(&self, fd: i64, gfid: Gfid) -> FsResult<Object> {
        if fd == ANONYMOUS_FD {
            return Ok(Object::Gfid(self.gfid(gfid)));
        }
        match self.handle(fd)? {
            OpenHandle::File(file) => Ok(Object::File(file)),
            OpenHandle::Dir(dir) => Ok(Object::Dir(dir)),
            OpenHandle::Index(index) => Ok(Object::Gfid(index.gfid)),
        }
    }

    /// Adds the lock and index counters that the request's xdata asks for to a reply's.
    pub fn count(&self, gfid: Gfid, asked: &Dict, reply: &mut Dict) {
        counts::fill(&self.brick, gfid, None, asked, reply);
    }

    /// Runs the consequences of a lock operation.
    pub fn settle(&self, fx: Effects) {
        self.brick.settle(fx);
    }

    /// Whether another request of this connection may wait for a lock.
    pub fn may_wait(&self) -> FsResult<()> {
        if self.conn.waiting_locks.get() >= MAX_WAITING_LOCKS {
            Err(Errno::ENOLCK)
        } else {
            Ok(())
        }
    }

    /// Leaves the reply to whoever grants the lock later.
    pub fn wait(self, request: RequestId, flock: Option<Flock>) {
        self.conn.waiting_locks.set(self.conn.waiting_locks.get() + 1);
        let waiting = Waiting {
            conn: Rc::clone(&self.conn),
            xid: self.xid,
            flock,
        };
        self.brick.waiting.borrow_mut().insert(request, waiting);
    }
}

/// The inode of a request, kept open while it is used.
#[derive(Clone, Debug)]
pub(super) enum Object {
    Gfid(Gfid),
    File(Rc<OpenFile>),
    Dir(Rc<OpenDir>),
}

impl Object {
    pub fn target(&self) -> Target<'_> {
        match self {
            Object::Gfid(gfid) => Target::Gfid(*gfid),
            Object::File(file) => Target::File(file),
            Object::Dir(dir) => Target::Dir(dir),
        }
    }

    pub fn gfid(&self) -> Gfid {
        self.target().gfid()
    }
}

/// A call the server makes on its own behalf.
pub(super) fn as_server<T>(f: impl FnOnce(&Call<'_>) -> T) -> T {
    let (who, xdata) = (Identity::root(), Dict::null());
    f(&Call {
        who: &who,
        stamp: Stamp::NONE,
        xdata: &xdata,
    })
}

/// The caller's identity on the brick.
fn identity(cred: GlusterfsCred, trusted: bool, squash: Squash) -> Identity {
    let mut who = Identity {
        uid: cred.uid,
        gid: cred.gid,
        groups: cred.groups,
        pid: cred.pid,
    };
    if trusted && UNSQUASHED_PIDS.contains(&who.pid) {
        return who;
    }
    if squash.all {
        who = Identity {
            uid: squash.anon_uid,
            gid: squash.anon_gid,
            groups: Vec::new(),
            ..who
        };
    } else if squash.root {
        let replace = |id: &mut u32, by: u32| {
            if *id == 0 {
                *id = by;
            }
        };
        replace(&mut who.uid, squash.anon_uid);
        replace(&mut who.gid, squash.anon_gid);
        who.groups.iter_mut().for_each(|g| replace(g, squash.anon_gid));
    }
    who
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cred(pid: i32) -> GlusterfsCred {
        GlusterfsCred {
            pid,
            groups: vec![0, 7],
            ..GlusterfsCred::default()
        }
    }

    #[test]
    fn squashing() {
        let root = Squash {
            root: true,
            ..Squash::default()
        };
        let who = identity(cred(9), false, root);
        assert_eq!(
            (who.uid, who.gid, who.groups.as_slice()),
            (65534, 65534, [65534, 7].as_slice())
        );
        let who = identity(
            GlusterfsCred {
                uid: 5,
                gid: 5,
                ..cred(9)
            },
            false,
            root,
        );
        assert_eq!((who.uid, who.gid), (5, 5));
        let all = Squash {
            all: true,
            anon_uid: 3,
            anon_gid: 4,
            ..Squash::default()
        };
        let who = identity(
            GlusterfsCred {
                uid: 5,
                gid: 5,
                ..cred(9)
            },
            true,
            all,
        );
        assert_eq!((who.uid, who.gid, who.groups.len()), (3, 4, 0));
    }

    #[test]
    fn trusted_daemons_are_not_squashed() {
        let all = Squash {
            all: true,
            root: true,
            ..Squash::default()
        };
        assert_eq!(identity(cred(-6), true, all).uid, 0);
        assert_eq!(identity(cred(-6), false, all).uid, 65534);
        assert_eq!(identity(cred(-7), true, all).uid, 65534);
    }
}
