//! Fops that make a name: CREATE, MKNOD, MKDIR, SYMLINK, LINK (brick-and-replicate.md B.4).
//!
//! Steps of a new object and what a crash after each leaves:
//! 1. system call: an object without gfid. Its creator was never answered; the next named lookup with `gfid-req` gives it
//!    a gfid once it is a second old, and heal treats it like any object that is missing elsewhere.
//! 2. gfid2path and the xattrs of the request: the same.
//! 3. `trusted.gfid`: an object that is found by name but not by gfid; the next lookup by name makes the handle.
//! 4. handle: a complete object; only times may be those of the file system.
//! 5. times of object and parent.
//!
//! If a step fails instead, the name and the handle are removed again.

use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;

use crate::errno::{Errno, FsResult};
use crate::sys::fs;
use crate::wire::{Dict, Gfid, Iatt, Value};

use super::file::{check_regular, wanted_access};
use super::handle::{handle_path, parked_path};
use super::node::Node;
use super::{Call, GFID_KEY, OpenFile, Parent, Store, access, check_name, fault, fill, gfid2path};

/// A name was made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Made {
    /// The object.
    pub stat: Iatt,
    /// The parent before.
    pub preparent: Iatt,
    /// The parent after.
    pub postparent: Iatt,
    /// The reply's xdata.
    pub xdata: Dict,
}

/// A file was created (or opened, if it was there) and is open.
#[derive(Clone, Debug)]
pub struct Created {
    /// The open file.
    pub file: Rc<OpenFile>,
    /// Attributes; `xdata` echoes the request's.
    pub made: Made,
    /// Whether it did not exist before.
    pub is_new: bool,
}

/// A mkdir was refused, and why in detail.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The error.
    pub errno: Errno,
    /// The reply's xdata.
    pub xdata: Dict,
}

impl From<Errno> for Refused {
    fn from(errno: Errno) -> Refused {
        Refused {
            errno,
            xdata: Dict::null(),
        }
    }
}

/// The gfid the client chose for a new object.
fn requested_gfid(call: &Call<'_>) -> FsResult<Gfid> {
    call.xdata
        .get_gfid("gfid-req")
        .filter(|g| !g.is_null() && !g.is_root())
        .ok_or(Errno::EINVAL)
}

/// Keys of a request's xdata that are not xattrs of the new object although their names could be.
const NOT_STORED: [&[u8]; 3] = [
    b"trusted.gfid",
    b"trusted.glusterfs.volume-id",
    b"trusted.glusterfs.mdata",
];

impl Store {
    /// CREATE: makes `name` with permission bits `mode` and opens it; an existing regular file is opened instead,
    /// unless `flags` has `O_EXCL`. `flags` 0 is `O_RDWR | O_EXCL`.
    ///
    /// # Errors
    /// `EINVAL` without `gfid-req`, `ESTALE` if the parent is gone, `EEXIST`, `EACCES`, `ENOSPC`, or what the file
    /// system gives.
    pub fn create(&self, call: &Call<'_>, parent: Gfid, name: &[u8], flags: i32, mode: u32) -> FsResult<Created> {
        check_name(parent, name)?;
        let gfid = requested_gfid(call)?;
        let flags = if flags == 0 { libc::O_RDWR | libc::O_EXCL } else { flags };
        let parent = self.parent(parent)?;
        let preparent = self.iatt_from(&parent.node(), parent.gfid, &parent.stat)?;
        let options = self.options();
        let mode = mode & 0o7777 & (options.create_mask | 0o7000) | options.force_create_mode;
        match self.create_new(call, &parent, name, gfid, flags, mode) {
            Ok((fd, stat)) => {
                let made = self.made(call, &parent, preparent, stat, call.xdata.clone())?;
                Ok(Created {
                    file: self.register(gfid, flags, fd),
                    made,
                    is_new: true,
                })
            }
            Err(Errno::EEXIST) if flags & libc::O_EXCL == 0 => {
                self.create_existing(call, &parent, name, flags, preparent)
            }
            Err(e) => Err(e),
        }
    }

    fn create_new(
        &self,
        call: &Call<'_>,
        parent: &Parent,
        name: &[u8],
        gfid: Gfid,
        flags: i32,
        mode: u32,
    ) -> FsResult<(OwnedFd, Iatt)> {
        if let Err(e) = self.check_parent(call, parent).and_then(|()| self.check_reserve(call)) {
            // A file that is there is opened whatever its directory allows.
            return Err(if fs::lstatat(&*parent.fd, name).is_ok() {
                Errno::EEXIST
            } else {
                e
            });
        }
        let kept = flags & (libc::O_ACCMODE | libc::O_APPEND | libc::O_NOATIME);
        let fd = {
            let _ids = self.assume(call);
            fs::openat(
                &*parent.fd,
                name,
                kept | libc::O_CREAT | libc::O_EXCL | libc::O_NOFOLLOW,
                mode,
            )?
        };
        let fd = Arc::new(fd);
        let node = Node::whole(&fd);
        self.finish_new(call, parent, name, &node, gfid, false)?;
        let stat = self.iatt(&node, gfid)?;
        drop(node);
        Ok((Arc::into_inner(fd).ok_or(Errno::EIO)?, stat))
    }

    fn create_existing(
        &self,
        call: &Call<'_>,
        parent: &Parent,
        name: &[u8],
        flags: i32,
        preparent: Iatt,
    ) -> FsResult<Created> {
        let node = Node::at(&parent.fd, name);
        let stat = node.stat()?;
        check_regular(&stat)?;
        self.check(call, &node, &stat, wanted_access(flags))?;
        let gfid = node.gfid()?.ok_or(Errno::ENODATA)?;
        self.repair_handle(parent, name, gfid, &stat);
        let kept = flags & (libc::O_ACCMODE | libc::O_APPEND | libc::O_TRUNC | libc::O_NOATIME);
        let fd = node.open(kept | libc::O_NONBLOCK)?;
        self.apply_stamp(&node, gfid, call.stamp.for_object());
        let stat = self.iatt(&node, gfid)?;
        let made = Made {
            stat,
            preparent,
            postparent: preparent,
            xdata: call.xdata.clone(),
        };
        Ok(Created {
            file: self.register(gfid, flags, fd),
            made,
            is_new: false,
        })
    }

    /// MKNOD: `mode` has file type (none is a regular file) and permission bits, `rdev` is a raw `dev_t`. With
    /// `glusterfs-internal-fop` in xdata, a gfid that exists on this brick gets `name` as a further link.
    ///
    /// # Errors
    /// As [`Store::create`]; `EINVAL` for a type mknod cannot make.
    pub fn mknod(&self, call: &Call<'_>, parent: Gfid, name: &[u8], mode: u32, rdev: u64) -> FsResult<Made> {
        check_name(parent, name)?;
        let gfid = requested_gfid(call)?;
        let kind = if mode & libc::S_IFMT == 0 {
            libc::S_IFREG
        } else {
            mode & libc::S_IFMT
        };
        if !matches!(
            kind,
            libc::S_IFREG | libc::S_IFIFO | libc::S_IFSOCK | libc::S_IFCHR | libc::S_IFBLK
        ) {
            return Err(Errno::EINVAL);
        }
        let (parent, preparent) = self.prepare(call, parent)?;
        if call.xdata.contains("glusterfs-internal-fop")
            && let Some(stat) = self.link_existing(call, &parent, name, gfid, kind)?
        {
            return self.made(call, &parent, preparent, stat, Dict::null());
        }
        let options = self.options();
        let bits = mode & 0o7777 & (options.create_mask | 0o7000) | options.force_create_mode;
        {
            let _ids = self.assume(call);
            fs::mknodat(&*parent.fd, name, kind | bits, rdev)?;
        }
        let node = Node::at(&parent.fd, name);
        self.finish_new(call, &parent, name, &node, gfid, false)?;
        let stat = self.iatt(&node, gfid)?;
        self.made(call, &parent, preparent, stat, Dict::null())
    }

    /// A further name for a file that is already here; `None` if there is none of this type.
    fn link_existing(
        &self,
        call: &Call<'_>,
        parent: &Parent,
        name: &[u8],
        gfid: Gfid,
        kind: u32,
    ) -> FsResult<Option<Iatt>> {
        let handle = handle_path(gfid);
        let parked = parked_path(gfid);
        if fs::lstatat(&*self.hidden, &handle) == Err(Errno::ENOENT) {
            match fs::renameat(&*self.hidden, &parked, &*self.hidden, &handle, libc::RENAME_NOREPLACE) {
                Ok(()) => {
                    self.inodes.unpark(gfid);
                    gfid2path::forget_all(&Node::at(&self.hidden, &handle))?;
                }
                Err(Errno::ENOENT) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        let node = Node::at(&self.hidden, &handle);
        let stat = node.stat()?;
        if stat.file_type() != kind {
            // A handle that a crash left of something else is in the way of the new object.
            if !stat.is_dir() && stat.nlink == 1 && !stat.is_symlink() {
                self.retire_handle(gfid)?;
            }
            return Ok(None);
        }
        fs::linkat(&*self.hidden, &handle, &*parent.fd, name)?;
        self.record_name(&node, parent.gfid, name, stat.nlink)
            .inspect_err(|_| undo(parent, name, false))?;
        self.apply_stamp(&node, gfid, call.stamp.for_object());
        self.iatt(&node, gfid).map(Some)
    }

    /// MKDIR with permission bits `mode`.
    ///
    /// # Errors
    /// As [`Store::create`]; `EIO` with `glusterfs.preop.check.failed` in xdata if the parent's xattr is not what
    /// `glusterfs.preop.parent.key` expects.
    pub fn mkdir(&self, call: &Call<'_>, parent: Gfid, name: &[u8], mode: u32) -> Result<Made, Refused> {
        check_name(parent, name)?;
        let gfid = requested_gfid(call)?;
        let (parent, preparent) = self.prepare(call, parent)?;
        check_preop(call, &parent)?;
        let options = self.options();
        let mode = mode & 0o7777 & (options.create_directory_mask | 0o7000) | options.force_directory_mode;
        {
            let _ids = self.assume(call);
            fs::mkdirat(&*parent.fd, name, mode)?;
        }
        // What was remembered of another directory with this gfid.
        self.dirs.borrow_mut().remove(&gfid);
        self.inodes.forget(gfid);
        let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_NOFOLLOW;
        let opened = fs::openat(&*parent.fd, name, flags, 0).inspect_err(|_| undo(&parent, name, true))?;
        let fd = Arc::new(opened);
        let node = Node::whole(&fd);
        self.finish_new(call, &parent, name, &node, gfid, true)?;
        self.inodes.set_handle_seen(gfid);
        self.dirs.borrow_mut().insert(gfid, fd);
        let stat = self.iatt(&node, gfid)?;
        Ok(self.made(call, &parent, preparent, stat, Dict::null())?)
    }

    /// SYMLINK: `name` with the text `target`.
    ///
    /// # Errors
    /// As [`Store::create`].
    pub fn symlink(&self, call: &Call<'_>, parent: Gfid, name: &[u8], target: &[u8]) -> FsResult<Made> {
        check_name(parent, name)?;
        let gfid = requested_gfid(call)?;
        let (parent, preparent) = self.prepare(call, parent)?;
        {
            let _ids = self.assume(call);
            fs::symlinkat(target, &*parent.fd, name)?;
        }
        let node = Node::at(&parent.fd, name);
        self.finish_new(call, &parent, name, &node, gfid, false)?;
        let stat = self.iatt(&node, gfid)?;
        self.made(call, &parent, preparent, stat, Dict::null())
    }

    /// LINK: a further name for the non-directory `gfid`. After the link a crash leaves a name without gfid2path
    /// record: it works, only its path is not told by gfid.
    ///
    /// # Errors
    /// `ESTALE` if either gfid is gone, `EPERM` for a directory, `EMLINK` beyond `max-hardlinks`, `EEXIST`, `EACCES`,
    /// `ENOSPC`.
    pub fn link(&self, call: &Call<'_>, gfid: Gfid, parent: Gfid, name: &[u8]) -> FsResult<Made> {
        check_name(parent, name)?;
        if self.inodes.is_parked(gfid) {
            return Err(Errno::ESTALE);
        }
        let (node, stat) = self.locate_stat_known(gfid)?;
        if stat.is_dir() {
            return Err(Errno::EPERM);
        }
        let (parent, preparent) = self.prepare(call, parent)?;
        // In a sticky directory a name could only be removed by the file's owner.
        self.check_sticky(call, &parent, &stat)?;
        let limit = self.options.borrow().max_hardlinks;
        if limit > 0 && stat.nlink.saturating_sub(1) >= limit {
            return Err(Errno::EMLINK);
        }
        fs::linkat(&*self.hidden, &handle_path(gfid), &*parent.fd, name)?;
        fault::point("link/linked");
        self.record_name(&node, parent.gfid, name, stat.nlink)
            .inspect_err(|_| undo(&parent, name, false))?;
        self.apply_stamp(&node, gfid, call.stamp.for_object());
        let stat = self.iatt(&node, gfid)?;
        self.made(call, &parent, preparent, stat, Dict::null())
    }

    /// The parent of a name to be made, checked, and its attributes before.
    fn prepare(&self, call: &Call<'_>, parent: Gfid) -> FsResult<(Parent, Iatt)> {
        let parent = self.parent(parent)?;
        self.check_parent(call, &parent)?;
        self.check_reserve(call)?;
        let pre = self.iatt_from(&parent.node(), parent.gfid, &parent.stat)?;
        Ok((parent, pre))
    }

    fn made(&self, call: &Call<'_>, parent: &Parent, preparent: Iatt, stat: Iatt, xdata: Dict) -> FsResult<Made> {
        let postparent = self.touch_parent(call, parent)?;
        Ok(Made {
            stat,
            preparent,
            postparent,
            xdata,
        })
    }

    /// Steps 2 to 5 of a new object; undone if one fails.
    fn finish_new(
        &self,
        call: &Call<'_>,
        parent: &Parent,
        name: &[u8],
        node: &Node,
        gfid: Gfid,
        is_dir: bool,
    ) -> FsResult<()> {
        fault::point("new/made");
        let handled = self.dress(call, parent, name, node, gfid, is_dir).and_then(|()| {
            fault::point("new/gfid");
            if is_dir {
                self.point_handle(parent.gfid, name, gfid)
            } else {
                self.link_handle(&parent.fd, name, gfid)
            }
        });
        if let Err(e) = handled {
            undo(parent, name, is_dir);
            return Err(e);
        }
        fault::point("new/handle");
        self.stamp_new(node, gfid, call.stamp.for_object()).inspect_err(|_| {
            undo(parent, name, is_dir);
            if let Err(e) = self.unlink_handle(gfid) {
                tracing::warn!(%gfid, error = %e, "the handle of an object that could not be made stays behind");
            }
        })
    }

    /// Steps 2 and 3: the xattrs.
    fn dress(
        &self,
        call: &Call<'_>,
        parent: &Parent,
        name: &[u8],
        node: &Node,
        gfid: Gfid,
        is_dir: bool,
    ) -> FsResult<()> {
        if !is_dir {
            self.record_name(node, parent.gfid, name, 1)?;
        }
        for (key, value) in call.xdata.iter() {
            let name = &*key.0;
            let (Value::Ptr(value) | Value::Str(value) | Value::StrOld(value)) = value else {
                continue;
            };
            let is_acl = name == access::ACL_ACCESS.as_bytes() || name == access::ACL_DEFAULT.as_bytes();
            if is_acl {
                node.set(name, value, 0)?;
            } else if fill::is_real_name(name) && !NOT_STORED.contains(&name) {
                node.set(name, value, libc::XATTR_CREATE)?;
            }
        }
        fault::point("new/xattrs");
        node.set(GFID_KEY, &gfid.0, libc::XATTR_CREATE)
    }
}

/// Takes back a name that was just made.
fn undo(parent: &Parent, name: &[u8], is_dir: bool) {
    let done = if is_dir {
        fs::rmdirat(&*parent.fd, name)
    } else {
        fs::unlinkat(&*parent.fd, name)
    };
    if let Err(e) = done {
        let name = String::from_utf8_lossy(name);
        tracing::warn!(parent = %parent.gfid, %name, error = %e, "a name that could not be completed stays behind");
    }
}

/// The distribute layer's check that it and the brick mean the same layout of the parent.
fn check_preop(call: &Call<'_>, parent: &Parent) -> Result<(), Refused> {
    let Some(key) = call.xdata.get_str("glusterfs.preop.parent.key") else {
        return Ok(());
    };
    let expected = call.xdata.get_bytes(key);
    let found = parent.node().find(key.as_bytes())?;
    if expected.is_some() && expected == found.as_deref() {
        return Ok(());
    }
    let xdata = Dict::new().with("glusterfs.preop.check.failed", Value::Int(1));
    Err(Refused {
        errno: Errno::EIO,
        xdata,
    })
}
