//! GETXATTR, SETXATTR, REMOVEXATTR and their fd forms (brick-and-replicate.md A.7).

use crate::errno::{Errno, FsResult};
use crate::sys::fs::Stat;
use crate::wire::{Dict, Iatt, Key, Value};

use super::mdata::{self, Times};
use super::node::Node;
use super::{Call, Store, Target, access, fill, gfid2path};

/// Xattrs of an object.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Xattrs {
    /// Names and values.
    pub dict: Dict,
    /// op_ret: the length of the value asked for, or of the list of names.
    pub size: usize,
}

impl Store {
    /// GETXATTR and FGETXATTR of one name, which may be a virtual key; with no name, all that are listed.
    ///
    /// # Errors
    /// `ESTALE`, `ENODATA` if there is none (also for the names that are never shown), `EACCES`, `EOPNOTSUPP`.
    pub fn getxattr(&self, call: &Call<'_>, target: Target<'_>, name: Option<&[u8]>) -> FsResult<Xattrs> {
        let node = self.node_of(target)?;
        let Some(name) = name.filter(|n| !n.is_empty()) else {
            return list_all(&node, call.who.is_internal());
        };
        if let Some(value) = self.virtual_xattr(&node, target.gfid(), name) {
            let value = value?;
            let size = value.as_bytes().map_or(0, <[u8]>::len);
            return Ok(Xattrs {
                dict: one(name, value),
                size,
            });
        }
        let internal = fill::is_identity(name) || name == mdata::KEY;
        if name.starts_with(gfid2path::PREFIX) || (internal && !call.who.is_internal()) {
            return Err(Errno::ENODATA);
        }
        if name.starts_with(b"user.") {
            self.check(call, &node, &node.stat()?, access::READ)?;
        }
        let value = node.get(stored_name(name))?;
        let size = value.len();
        Ok(Xattrs {
            dict: one(name, Value::ptr(value)),
            size,
        })
    }

    /// SETXATTR and FSETXATTR of every pair; `flags` are `XATTR_CREATE` (1) and `XATTR_REPLACE` (2). Names before one
    /// that fails stay set. The reply's xdata has the attributes before and after.
    ///
    /// # Errors
    /// `EPERM` for the object's identity, `EOPNOTSUPP` for GlusterFS's own names, `EINVAL` for a malformed value,
    /// `EACCES`, `ENOSPC`, `EEXIST`, `ENODATA`.
    pub fn setxattr(&self, call: &Call<'_>, target: Target<'_>, pairs: &Dict, flags: i32) -> FsResult<Dict> {
        let (node, stat) = self.node_stat(target)?;
        for (key, value) in pairs.iter() {
            self.check_settable(call, &node, &stat, &key.0, value)?;
        }
        let pre = self.iatt_from(&node, target.gfid(), &stat)?;
        for (key, value) in pairs.iter() {
            self.set_one(&node, target, &key.0, value, flags)?;
        }
        let post = self.touched(call, &node, target.gfid())?;
        Ok(iatts_in_xdata(pre, post))
    }

    fn check_settable(&self, call: &Call<'_>, node: &Node, stat: &Stat, name: &[u8], value: &Value) -> FsResult<()> {
        if fill::is_identity(name) {
            return Err(Errno::EPERM);
        }
        if name == b"set-ctime-mdata" {
            return if matches!(value, Value::Mdata(_)) {
                Ok(())
            } else {
                Err(Errno::EINVAL)
            };
        }
        if name.starts_with(gfid2path::PREFIX) || !fill::is_real_name(name) {
            return Err(Errno::EOPNOTSUPP);
        }
        let bytes = stored_bytes(value).ok_or(Errno::EINVAL)?;
        if name == mdata::KEY && Times::decode(bytes).is_none() {
            return Err(Errno::EINVAL);
        }
        if is_acl(name) && !bytes.is_empty() && !access::acl_is_valid(bytes) {
            return Err(Errno::EINVAL);
        }
        self.check_writable(call, node, stat, name)
    }

    /// Whether the caller may set or remove an xattr of this name.
    fn check_writable(&self, call: &Call<'_>, node: &Node, stat: &Stat, name: &[u8]) -> FsResult<()> {
        if is_acl(name) {
            let checked = self.options.borrow().access_control;
            return if checked && !call.who.is_super() && call.who.uid != stat.uid {
                Err(Errno::EPERM)
            } else {
                Ok(())
            };
        }
        if name.starts_with(b"user.") {
            return self.check(call, node, stat, access::WRITE);
        }
        Ok(())
    }

    fn set_one(&self, node: &Node, target: Target<'_>, name: &[u8], value: &Value, flags: i32) -> FsResult<()> {
        if let Value::Mdata(times) = value
            && name == b"set-ctime-mdata"
        {
            return self.init_times(node, target, Times::from_wire(times));
        }
        let bytes = stored_bytes(value).ok_or(Errno::EINVAL)?;
        if name == mdata::KEY {
            let times = Times::decode(bytes).ok_or(Errno::EINVAL)?;
            let mut merged = self.times_of(node, target.gfid())?.unwrap_or(times);
            merged.merge(&times);
            return self.write_times(node, target.gfid(), merged);
        }
        node.set(stored_name(name), bytes, flags)
    }

    /// The first times of an old object, as a client saw them. Times that are there stay unless older.
    fn init_times(&self, node: &Node, target: Target<'_>, times: Times) -> FsResult<()> {
        let mut merged = self.times_of(node, target.gfid())?.unwrap_or(times);
        merged.merge(&times);
        self.write_times(node, target.gfid(), merged)
    }

    /// REMOVEXATTR and FREMOVEXATTR. An empty name removes every key of the request's xdata that is there.
    ///
    /// # Errors
    /// `EPERM` for the object's identity, `ENODATA`, `EACCES`.
    pub fn removexattr(&self, call: &Call<'_>, target: Target<'_>, name: &[u8]) -> FsResult<Dict> {
        let (node, stat) = self.node_stat(target)?;
        let many: Vec<&[u8]> = if name.is_empty() {
            call.xdata.iter().map(|(k, _)| &*k.0).collect()
        } else {
            vec![]
        };
        for key in many.iter().copied().chain((!name.is_empty()).then_some(name)) {
            if fill::is_identity(key) {
                return Err(Errno::EPERM);
            }
            self.check_writable(call, &node, &stat, key)?;
        }
        let pre = self.iatt_from(&node, target.gfid(), &stat)?;
        if !name.is_empty() {
            node.remove(stored_name(name))?;
        }
        for key in many.into_iter().filter(|k| fill::is_real_name(k)) {
            match node.remove(key) {
                Ok(()) | Err(Errno::ENODATA) => {}
                Err(e) => return Err(e),
            }
        }
        // The times may have been among them.
        self.inodes.forget(target.gfid());
        let post = self.touched(call, &node, target.gfid())?;
        Ok(iatts_in_xdata(pre, post))
    }
}

fn is_acl(name: &[u8]) -> bool {
    name == access::ACL_ACCESS.as_bytes() || name == access::ACL_DEFAULT.as_bytes()
}

/// The name an xattr has on the disk: clients' SELinux labels must not label the brick's own files (features/selinux).
fn stored_name(name: &[u8]) -> &[u8] {
    if name == b"security.selinux" {
        b"trusted.glusterfs.selinux"
    } else {
        name
    }
}

/// The bytes of a value as they are stored: text with its NUL.
fn stored_bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Ptr(b) | Value::Str(b) | Value::StrOld(b) => Some(b),
        Value::Gfid(g) => Some(&g.0),
        _ => None,
    }
}

fn one(name: &[u8], value: Value) -> Dict {
    Dict::from_pairs(vec![(Key(name.to_vec().into()), value)])
}

/// The times of the ctime feature are shown to GlusterFS's own processes only: heal copies them.
fn list_all(node: &Node, internal: bool) -> FsResult<Xattrs> {
    let mut out = Xattrs {
        dict: Dict::new(),
        size: 0,
    };
    let shown = |name: &Vec<u8>| !fill::is_unlisted(name) && (internal || name != mdata::KEY);
    for name in node.list()?.into_iter().filter(shown) {
        if let Some(value) = node.find(&name)? {
            out.size += name.len() + 1;
            out.dict.set(Key(name.into()), Value::ptr(value));
        }
    }
    Ok(out)
}

/// The keys of a reply that spare the client a lookup.
fn iatts_in_xdata(pre: Iatt, post: Iatt) -> Dict {
    let value = |i: Iatt| Value::Iatt(Box::new(i));
    Dict::new()
        .with("virt-gf-prestat", value(pre))
        .with("virt-gf-poststat", value(post))
        .with("dht-get-iatt-in-xattr", value(post))
}
