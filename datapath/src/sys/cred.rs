//! The file-system identity of the calling thread, taken on for the length of one call.
//!
//! Objects made under [`FsIds::assume`] belong to the caller of a fop. Whether the caller may make them is decided
//! by `brick::access`, which knows supplementary groups and ACLs; the kernel is therefore told to leave the thread's
//! capabilities alone when the identity changes (`SECBIT_NO_SETUID_FIXUP`), instead of judging a second time
//! without knowing the groups.

use std::cell::Cell;
use std::marker::PhantomData;

thread_local! {
    static CAPABILITIES_STAY: Cell<bool> = const { Cell::new(false) };
}

/// The identity of a fop's caller is in force while this lives; dropping it restores the former one, on every path.
#[derive(Debug)]
pub struct FsIds {
    uid: Option<u32>,
    gid: Option<u32>,
    /// Identity is the thread's: the guard must be dropped where it was made.
    _thread: PhantomData<*const ()>,
}

impl FsIds {
    /// Takes on `uid` and `gid` for new objects.
    pub fn assume(uid: u32, gid: u32) -> FsIds {
        keep_capabilities();
        // The group first: it must not depend on what the user id allows.
        let gid = (gid != 0).then(|| set_gid(gid));
        let uid = (uid != 0).then(|| set_uid(uid));
        FsIds {
            uid,
            gid,
            _thread: PhantomData,
        }
    }
}

impl Drop for FsIds {
    fn drop(&mut self) {
        if let Some(uid) = self.uid {
            set_uid(uid);
        }
        if let Some(gid) = self.gid {
            set_gid(gid);
        }
    }
}

fn set_uid(uid: u32) -> u32 {
    // SAFETY: setfsuid takes no memory; it changes the calling thread only.
    unsafe { libc::setfsuid(uid) as u32 }
}

fn set_gid(gid: u32) -> u32 {
    // SAFETY: setfsgid takes no memory; it changes the calling thread only.
    unsafe { libc::setfsgid(gid) as u32 }
}

/// From linux/securebits.h.
const SECBIT_NO_SETUID_FIXUP: libc::c_int = 1 << 2;

/// Once per thread. A process without CAP_SETPCAP keeps the kernel's rule: it then also checks by itself,
/// without the supplementary groups.
fn keep_capabilities() {
    CAPABILITIES_STAY.with(|done| {
        if done.replace(true) {
            return;
        }
        // SAFETY: these two prctl operations take no memory and change the calling thread only.
        let set = unsafe {
            let bits = libc::prctl(libc::PR_GET_SECUREBITS);
            bits >= 0 && libc::prctl(libc::PR_SET_SECUREBITS, bits | SECBIT_NO_SETUID_FIXUP) == 0
        };
        if !set {
            tracing::warn!(
                "this process may not keep its capabilities (no CAP_SETPCAP): the kernel will refuse access that a \
                 caller has by a supplementary group only"
            );
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn objects_belong_to_the_assumed_identity_and_it_ends_with_the_guard() {
        let dir = std::env::temp_dir().join(format!("ringluster-cred-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        {
            let _ids = FsIds::assume(1234, 5678);
            std::fs::write(dir.join("theirs"), b"").unwrap();
        }
        std::fs::write(dir.join("ours"), b"").unwrap();
        let theirs = std::fs::metadata(dir.join("theirs")).unwrap();
        let ours = std::fs::metadata(dir.join("ours")).unwrap();
        assert_eq!((theirs.uid(), theirs.gid()), (1234, 5678));
        assert_eq!((ours.uid(), ours.gid()), (0, 0));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
