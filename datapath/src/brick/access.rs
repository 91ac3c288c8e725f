//! Who may do what: mode bits, POSIX ACLs, the sticky bit, ownership (features/access-control).
//!
//! Pure decisions on values; reading them off the disk is the store's work. The caller's groups come from the
//! credential, so the brick never asks the system's user database.

use crate::errno::{Errno, FsResult};
use crate::sys::fs::Stat;

/// Read permission, in the bits of `access(2)`.
pub const READ: u32 = 4;
/// Write permission.
pub const WRITE: u32 = 2;
/// Execute or search permission.
pub const EXECUTE: u32 = 1;

/// The xattr that holds an object's access ACL.
pub const ACL_ACCESS: &str = "system.posix_acl_access";
/// The xattr that holds a directory's default ACL.
pub const ACL_DEFAULT: &str = "system.posix_acl_default";

/// Who a call is made for (wire-protocol.md 1.5, after root-squash).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The client's process id; negative values are GlusterFS's own processes (self-heal daemon, rebalance...).
    pub pid: i32,
}

impl Identity {
    /// The superuser, as an ordinary process.
    pub fn root() -> Identity {
        Identity::default()
    }

    /// One of GlusterFS's own processes: exempt from permissions and from the disk reserve.
    pub fn is_internal(&self) -> bool {
        self.pid < 0
    }

    /// Whether permissions do not apply.
    pub fn is_super(&self) -> bool {
        self.uid == 0 || self.is_internal()
    }

    /// Whether `gid` is the primary or a supplementary group.
    pub fn in_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}

/// The bytes of an ACL xattr before its entries: the version.
const ACL_HEAD: usize = 4;
/// The bytes of one entry: tag, permissions, id.
const ACL_ENTRY: usize = 8;
const ACL_VERSION: u32 = 2;
const TAG_USER_OBJ: u16 = 0x01;
const TAG_USER: u16 = 0x02;
const TAG_GROUP_OBJ: u16 = 0x04;
const TAG_GROUP: u16 = 0x08;
const TAG_MASK: u16 = 0x10;
const TAG_OTHER: u16 = 0x20;

#[derive(Clone, Copy)]
struct Entry {
    tag: u16,
    perm: u32,
    id: u32,
}

/// The entries of an ACL xattr; `EINVAL` if it is not one.
fn entries(acl: &[u8]) -> FsResult<Vec<Entry>> {
    let (head, body) = acl.split_first_chunk::<ACL_HEAD>().ok_or(Errno::EINVAL)?;
    if u32::from_le_bytes(*head) != ACL_VERSION || !body.len().is_multiple_of(ACL_ENTRY) {
        return Err(Errno::EINVAL);
    }
    body.chunks_exact(ACL_ENTRY)
        .map(|e| {
            let entry = Entry {
                tag: u16::from_le_bytes([e[0], e[1]]),
                perm: u32::from(u16::from_le_bytes([e[2], e[3]])),
                id: u32::from_le_bytes([e[4], e[5], e[6], e[7]]),
            };
            let known = matches!(
                entry.tag,
                TAG_USER_OBJ | TAG_USER | TAG_GROUP_OBJ | TAG_GROUP | TAG_MASK | TAG_OTHER
            );
            if known && entry.perm <= 7 {
                Ok(entry)
            } else {
                Err(Errno::EINVAL)
            }
        })
        .collect()
}

/// Whether `acl` has the form of an ACL xattr: the check before one is stored.
pub fn acl_is_valid(acl: &[u8]) -> bool {
    entries(acl).is_ok()
}

/// Whether `who` has all of the `want` bits on an object with these attributes.
/// `acl` is its access ACL, asked for only if it can matter.
pub fn permits(who: &Identity, on: &Stat, acl: impl FnOnce() -> Option<Vec<u8>>, want: u32) -> bool {
    if who.is_super() {
        return true;
    }
    if who.uid == on.uid {
        return (on.mode >> 6) & want == want;
    }
    match acl() {
        Some(acl) => entries(&acl).is_ok_and(|entries| acl_permits(who, on, &entries, want)),
        None if who.in_group(on.gid) => (on.mode >> 3) & want == want,
        None => on.mode & want == want,
    }
}

/// The algorithm of acl(5) for a caller who is not the owner.
fn acl_permits(who: &Identity, on: &Stat, entries: &[Entry], want: u32) -> bool {
    let mask = entries.iter().find(|e| e.tag == TAG_MASK).map_or(7, |e| e.perm);
    if let Some(named) = entries.iter().find(|e| e.tag == TAG_USER && e.id == who.uid) {
        return named.perm & mask & want == want;
    }
    let mut member = false;
    for entry in entries {
        let matches = match entry.tag {
            TAG_GROUP_OBJ => who.in_group(on.gid),
            TAG_GROUP => who.in_group(entry.id),
            _ => false,
        };
        member |= matches;
        if matches && entry.perm & mask & want == want {
            return true;
        }
    }
    !member
        && entries
            .iter()
            .find(|e| e.tag == TAG_OTHER)
            .is_some_and(|e| e.perm & want == want)
}

/// Whether `who` may remove or rename `victim` in `parent` as far as the sticky bit is concerned.
pub fn sticky_permits(who: &Identity, parent: &Stat, victim: &Stat) -> bool {
    parent.mode & libc::S_ISVTX == 0 || who.is_super() || who.uid == parent.uid || who.uid == victim.uid
}

/// What a setattr is about to change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// New permission bits.
    pub mode: Option<u32>,
    /// New owner.
    pub uid: Option<u32>,
    /// New group.
    pub gid: Option<u32>,
    /// A time is set. Whether to "now" or another is not told apart: clients send both alike, and the kernel of a mount
    /// has seen to it that another is set by the owner only.
    pub times: bool,
}

/// Whether `who` may make this change: `EPERM` where ownership is needed, `EACCES` where write permission would do.
/// Returns the permission bits to store: set-gid is taken off a file that leaves the caller's groups. GlusterFS's own
/// processes have no privilege here unless they are root, as on 10.3.
pub fn may_change(
    who: &Identity,
    on: &Stat,
    acl: impl FnOnce() -> Option<Vec<u8>>,
    change: &Change,
) -> FsResult<Option<u32>> {
    if who.uid == 0 {
        return Ok(change.mode);
    }
    let owner = who.uid == on.uid;
    if change.uid.is_some_and(|uid| uid != on.uid || !owner) {
        return Err(Errno::EPERM);
    }
    if change
        .gid
        .is_some_and(|gid| !owner || (gid != on.gid && !who.in_group(gid)))
    {
        return Err(Errno::EPERM);
    }
    if change.mode.is_some() && !owner {
        return Err(Errno::EPERM);
    }
    if change.times && !owner && !permits(who, on, acl, WRITE) {
        return Err(Errno::EACCES);
    }
    let group = change.gid.unwrap_or(on.gid);
    Ok(change.mode.map(|mode| {
        if on.is_dir() || who.in_group(group) {
            mode
        } else {
            mode & !libc::S_ISGID
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(uid: u32, groups: &[u32]) -> Identity {
        Identity {
            uid,
            gid: uid,
            groups: groups.to_vec(),
            pid: 100,
        }
    }

    fn object(mode: u32, uid: u32, gid: u32) -> Stat {
        Stat {
            mode,
            uid,
            gid,
            ..Stat::default()
        }
    }

    fn acl(list: &[(u16, u16, u32)]) -> Vec<u8> {
        let mut out = 2u32.to_le_bytes().to_vec();
        for (tag, perm, id) in list {
            out.extend(tag.to_le_bytes());
            out.extend(perm.to_le_bytes());
            out.extend(id.to_le_bytes());
        }
        out
    }

    #[test]
    fn the_owner_is_judged_by_the_owners_bits_only() {
        let file = object(0o100077, 5, 6);
        assert!(!permits(&user(5, &[6]), &file, || None, READ));
        assert!(permits(&user(7, &[6]), &file, || None, READ | WRITE | EXECUTE));
        assert!(permits(&user(8, &[]), &file, || None, READ));
        assert!(!permits(&user(8, &[]), &object(0o100770, 5, 6), || None, READ));
        assert!(permits(&Identity::root(), &object(0o100000, 5, 6), || None, WRITE));
        assert!(permits(
            &Identity {
                pid: -6,
                uid: 9,
                ..Identity::default()
            },
            &object(0o100000, 5, 6),
            || None,
            WRITE
        ));
    }

    #[test]
    fn acl_entries_are_masked_and_groups_are_tried_one_by_one() {
        let file = object(0o100660, 5, 6);
        let list = acl(&[(1, 6, 0), (2, 6, 20), (4, 4, 0), (8, 2, 30), (16, 4, 0), (32, 0, 0)]);
        let of = |who: &Identity, want| permits(who, &file, || Some(list.clone()), want);
        assert!(of(&user(20, &[]), READ));
        assert!(!of(&user(20, &[]), WRITE), "the mask takes write away");
        assert!(of(&user(21, &[6]), READ));
        assert!(
            !of(&user(21, &[30]), READ),
            "the named group has only w, masked to nothing"
        );
        assert!(of(&user(21, &[30, 6]), READ));
        assert!(!of(&user(40, &[]), READ));
    }

    #[test]
    fn a_broken_acl_permits_nothing() {
        let file = object(0o100666, 5, 6);
        assert!(!permits(&user(7, &[]), &file, || Some(vec![1, 2, 3]), READ));
        assert!(!acl_is_valid(&acl(&[(3, 7, 0)])));
        assert!(!acl_is_valid(&acl(&[(1, 9, 0)])));
        assert!(acl_is_valid(&acl(&[(1, 7, 0), (4, 5, 0), (32, 0, 0)])));
    }

    #[test]
    fn sticky_directories_protect_other_peoples_files() {
        let tmp = object(0o041777, 0, 0);
        assert!(!sticky_permits(&user(5, &[]), &tmp, &object(0o100666, 6, 6)));
        assert!(sticky_permits(&user(5, &[]), &tmp, &object(0o100666, 5, 6)));
        assert!(sticky_permits(
            &user(5, &[]),
            &object(0o040777, 0, 0),
            &object(0o100666, 6, 6)
        ));
        assert!(sticky_permits(
            &user(7, &[]),
            &object(0o041777, 7, 0),
            &object(0o100666, 6, 6)
        ));
    }

    #[test]
    fn ownership_rules_of_setattr() {
        let file = object(0o100664, 5, 6);
        let change = |c: Change, who: &Identity| may_change(who, &file, || None, &c);
        let chown = Change {
            uid: Some(9),
            ..Change::default()
        };
        assert_eq!(change(chown, &user(5, &[])), Err(Errno::EPERM));
        assert_eq!(change(chown, &Identity::root()), Ok(None));
        let chgrp = Change {
            gid: Some(8),
            ..Change::default()
        };
        assert_eq!(change(chgrp, &user(5, &[8])), Ok(None));
        assert_eq!(change(chgrp, &user(5, &[])), Err(Errno::EPERM));
        assert_eq!(change(chgrp, &user(7, &[8])), Err(Errno::EPERM));
        let chmod = Change {
            mode: Some(0o2755),
            ..Change::default()
        };
        assert_eq!(change(chmod, &user(7, &[])), Err(Errno::EPERM));
        assert_eq!(
            change(chmod, &user(5, &[])),
            Ok(Some(0o755)),
            "not in group 6: no set-gid"
        );
        assert_eq!(change(chmod, &user(5, &[6])), Ok(Some(0o2755)));
        let touch = Change {
            times: true,
            ..Change::default()
        };
        assert_eq!(change(touch, &user(7, &[6])), Ok(None));
        assert_eq!(change(touch, &user(7, &[])), Err(Errno::EACCES));
        let healer = Identity {
            uid: 9,
            pid: -6,
            ..Identity::default()
        };
        assert_eq!(change(touch, &healer), Ok(None));
        assert_eq!(change(chmod, &healer), Err(Errno::EPERM));
    }
}
