//! A brick in a temporary directory, for the tests of the store. They need root (`trusted.*` xattrs).

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::errno::FsResult;
use crate::wire::{Dict, Gfid, Value};

use super::*;

pub const VOLUME_ID: Gfid = Gfid([0xa5; 16]);

static SERIAL: AtomicU32 = AtomicU32::new(0);
/// Ahead of the machine's clock: stamps win over times of the file system.
static CLOCK: AtomicU64 = AtomicU64::new(4_100_000_000);

/// A directory that goes with the value.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Err(e) = std::fs::remove_dir_all(&self.0) {
            eprintln!("{}: {e}", self.0.display());
        }
    }
}

pub fn temp_dir() -> TempDir {
    let n = SERIAL.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("ringluster-store-{}-{n}", std::process::id()));
    std::fs::create_dir(&path).unwrap();
    TempDir(path)
}

/// A caller with xdata of its own; every call is stamped a second later than the one before.
#[derive(Debug)]
pub struct Who {
    pub who: Identity,
    pub xdata: Dict,
    pub flags: u32,
}

impl Who {
    pub fn root() -> Who {
        Who {
            who: Identity {
                pid: 100,
                ..Identity::default()
            },
            xdata: Dict::null(),
            flags: 0b011_111,
        }
    }

    pub fn internal() -> Who {
        Who {
            who: Identity {
                pid: -6,
                ..Identity::default()
            },
            ..Who::root()
        }
    }

    pub fn user(uid: u32) -> Who {
        Who {
            who: Identity {
                uid,
                gid: uid,
                groups: Vec::new(),
                pid: 100,
            },
            ..Who::root()
        }
    }

    pub fn with(mut self, key: &'static str, value: Value) -> Who {
        self.xdata.set(key, value);
        self
    }

    pub fn gfid(self, gfid: Gfid) -> Who {
        self.with("gfid-req", Value::Gfid(gfid))
    }

    pub fn flags(mut self, flags: u32) -> Who {
        self.flags = flags;
        self
    }

    pub fn call(&self) -> Call<'_> {
        let sec = CLOCK.fetch_add(1, Ordering::Relaxed) as i64;
        Call {
            who: &self.who,
            stamp: Stamp {
                flags: self.flags,
                sec,
                nsec: 7,
            },
            xdata: &self.xdata,
        }
    }
}

/// A gfid that no other object of the tests has.
pub fn fresh_gfid() -> Gfid {
    Gfid::from_random(crate::sys::fs::random16().unwrap())
}

#[derive(Debug)]
pub struct Brick {
    store: Option<Store>,
    dir: TempDir,
}

impl Brick {
    pub fn new() -> Brick {
        let dir = temp_dir();
        init_brick(dir.path(), VOLUME_ID).unwrap();
        Brick { store: None, dir }.reopen()
    }

    /// Ends the process, so to speak, and starts it again.
    pub fn reopen(mut self) -> Brick {
        drop(self.store.take());
        let root = self.dir.path().to_owned();
        self.store = Some(
            Store::open(StoreConfig {
                root,
                volume_id: VOLUME_ID,
                options: Options::default(),
            })
            .unwrap(),
        );
        self
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn handle(&self, gfid: Gfid) -> PathBuf {
        let path = super::handle::handle_path(gfid);
        self.path().join(".glusterfs").join(std::str::from_utf8(&path).unwrap())
    }

    pub fn xattr(&self, name: &str, key: &str) -> Option<Vec<u8>> {
        crate::sys::xattr::get_at(&**self.store().root_dir(), name.as_bytes(), key.as_bytes()).ok()
    }

    pub fn try_create(&self, who: &Who, name: &str) -> FsResult<Created> {
        let xdata = Dict::new().with("gfid-req", Value::Gfid(fresh_gfid()));
        let call = Call {
            xdata: &xdata,
            ..who.call()
        };
        self.store()
            .create(&call, Gfid::ROOT, name.as_bytes(), libc::O_RDWR | libc::O_CREAT, 0o644)
    }

    /// A file in the root; its gfid.
    pub fn file(&self, name: &str) -> Gfid {
        self.file_in(Gfid::ROOT, name)
    }

    pub fn file_in(&self, parent: Gfid, name: &str) -> Gfid {
        let gfid = fresh_gfid();
        let who = Who::root().gfid(gfid);
        self.store()
            .create(&who.call(), parent, name.as_bytes(), libc::O_RDWR, 0o644)
            .unwrap();
        gfid
    }

    pub fn dir_in(&self, parent: Gfid, name: &str) -> Gfid {
        let gfid = fresh_gfid();
        self.store()
            .mkdir(&Who::root().gfid(gfid).call(), parent, name.as_bytes(), 0o755)
            .unwrap();
        gfid
    }

    pub fn lookup(&self, parent: Gfid, name: &str) -> FsResult<crate::wire::Iatt> {
        self.store().lookup(&Who::root().call(), parent, name.as_bytes()).result
    }

    pub fn lookup_gfid(&self, gfid: Gfid) -> FsResult<crate::wire::Iatt> {
        self.store().lookup_gfid(&Who::root().call(), gfid).result
    }
}
