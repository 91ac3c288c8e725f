//! Extended attributes, space, holes, renames with flags and `fcntl` locks on a real mount.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use datapath::errno::Errno;
use datapath::sys;
use datapath::sys::process::PidFile;

use super::{TestMount, mounted};

#[test]
fn extended_attributes_come_and_go() {
    let Some(m) = mounted("xattr") else { return };
    let file = File::create(m.path("f")).unwrap();
    let set = |key: &[u8], value: &[u8], flags| sys::xattr::fset(&file, key, value, flags);
    let get = |key: &[u8]| sys::xattr::fget(&file, key);
    set(b"user.a", b"one", 0).unwrap();
    set(b"trusted.mine", &[0, 1, 2], 0).unwrap();
    assert_eq!(set(b"user.a", b"x", libc::XATTR_CREATE), Err(Errno::EEXIST));
    assert_eq!(set(b"user.b", b"x", libc::XATTR_REPLACE), Err(Errno::ENODATA));
    set(b"user.a", b"two", libc::XATTR_REPLACE).unwrap();
    assert_eq!(get(b"user.a").unwrap(), b"two");
    assert_eq!(get(b"trusted.mine").unwrap(), [0, 1, 2]);
    let big = vec![7; 60_000];
    set(b"user.big", &big, 0).unwrap();
    assert_eq!(get(b"user.big").unwrap(), big);
    let mut names = sys::xattr::flist(&file).unwrap();
    names.sort();
    assert_eq!(
        names,
        [b"trusted.mine".to_vec(), b"user.a".to_vec(), b"user.big".to_vec()]
    );
    sys::xattr::fremove(&file, b"user.a").unwrap();
    assert_eq!(get(b"user.a"), Err(Errno::ENODATA));
    assert_eq!(sys::xattr::fremove(&file, b"user.a"), Err(Errno::ENODATA));
    // GlusterFS's own bookkeeping is not a user's to change.
    assert_eq!(set(b"trusted.gfid", &[0; 16], 0), Err(Errno::EPERM));
    assert_eq!(sys::xattr::fremove(&file, b"trusted.afr.dirty"), Err(Errno::EPERM));
}

#[test]
fn what_the_kernel_asks_all_the_time_is_answered_here() {
    let Some(m) = mounted("local") else { return };
    let file = File::create(m.path("f")).unwrap();
    for _ in 0..10 {
        file.write_all_at(&[1; 100], 0).unwrap();
    }
    assert_eq!(sys::xattr::fget(&file, b"security.capability"), Err(Errno::ENODATA));
    assert_eq!(
        sys::xattr::fget(&file, b"system.posix_acl_access"),
        Err(Errno::EOPNOTSUPP)
    );
    assert_eq!(m.memory.count("getxattr"), 0, "no brick is asked");
}

#[test]
fn space_is_reserved_punched_and_found() {
    let Some(m) = mounted("space") else { return };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(m.path("f"))
        .unwrap();
    let size = || file.metadata().unwrap().size();
    sys::fs::fallocate(&file, 0, 0, 1 << 20).unwrap();
    assert_eq!(size(), 1 << 20);
    sys::fs::fallocate(&file, libc::FALLOC_FL_KEEP_SIZE, 1 << 20, 1 << 20).unwrap();
    assert_eq!(size(), 1 << 20);
    file.write_all_at(&vec![1; 64 << 10], 0).unwrap();
    let punch = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    sys::fs::fallocate(&file, punch, 16 << 10, 16 << 10).unwrap();
    let mut back = vec![9; 64 << 10];
    file.read_exact_at(&mut back, 0).unwrap();
    let holes = |b: &[u8]| b[16 << 10..32 << 10].iter().all(|x| *x == 0) && b[32 << 10] == 1 && b[(16 << 10) - 1] == 1;
    assert!(holes(&back));
    assert_eq!(sys::fs::lseek(&file, 0, libc::SEEK_HOLE), Ok(16 << 10));
    assert_eq!(sys::fs::lseek(&file, 16 << 10, libc::SEEK_DATA), Ok(32 << 10));
    assert_eq!(sys::fs::lseek(&file, 2 << 20, libc::SEEK_DATA), Err(Errno::ENXIO));
    sys::fs::fallocate(&file, libc::FALLOC_FL_ZERO_RANGE, 0, 4096).unwrap();
    file.read_exact_at(&mut back[..4096], 0).unwrap();
    assert!(back[..4096].iter().all(|x| *x == 0));
    assert_eq!(
        sys::fs::fallocate(&file, libc::FALLOC_FL_COLLAPSE_RANGE, 0, 4096),
        Err(Errno::EOPNOTSUPP)
    );
}

#[test]
fn renames_keep_their_flags_or_are_refused() {
    let Some(m) = mounted("flags") else { return };
    fs::write(m.path("a"), "a").unwrap();
    fs::write(m.path("b"), "b").unwrap();
    let dir = File::open(&m.dir).unwrap();
    let rename = |from: &[u8], to: &[u8], flags| sys::fs::renameat(&dir, from, &dir, to, flags);
    assert_eq!(rename(b"a", b"b", libc::RENAME_EXCHANGE), Err(Errno::EINVAL));
    assert!(rename(b"a", b"c", libc::RENAME_WHITEOUT).is_err());
    assert_eq!(rename(b"a", b"b", libc::RENAME_NOREPLACE), Err(Errno::EEXIST));
    assert_eq!(fs::read(m.path("a")).unwrap(), b"a");
    rename(b"a", b"c", libc::RENAME_NOREPLACE).unwrap();
    assert_eq!(fs::read(m.path("c")).unwrap(), b"a");
}

/// Runs fcntl on a file in a process of its own: a process never conflicts with its own locks.
fn fcntl(command: &str, path: &Path) -> std::process::Child {
    let script = "use Fcntl; open(my $f, '+<', $ARGV[0]) or die; \
         my $l = pack('s s x4 q q i x4', F_WRLCK, 0, 10, 20, 0); \
         my $ok = fcntl($f, eval($ARGV[1]), $l); \
         print unpack('s', $l); exit($ok ? 0 : 1)";
    let mut child = Command::new("perl");
    child
        .args(["-e", script])
        .arg(path)
        .arg(command)
        .stdout(std::process::Stdio::piped());
    child.spawn().unwrap()
}

fn outcome(child: std::process::Child) -> (bool, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn record_locks_exclude_other_processes_until_closed() {
    let Some(m) = mounted("fcntl") else { return };
    let path = m.path("l");
    // lockf of the whole file, by this process.
    let held = PidFile::lock(&path).unwrap();
    assert!(!outcome(fcntl("F_SETLK", &path)).0);
    let (ok, kind) = outcome(fcntl("F_GETLK", &path));
    assert_eq!((ok, kind), (true, libc::F_WRLCK.to_string()));
    let mut waiting = fcntl("F_SETLKW", &path);
    std::thread::sleep(Duration::from_millis(150));
    assert!(waiting.try_wait().unwrap().is_none(), "it waits");
    drop(held);
    assert!(outcome(waiting).0, "closing gave the lock back");
    let (ok, kind) = outcome(fcntl("F_GETLK", &path));
    assert_eq!((ok, kind), (true, libc::F_UNLCK.to_string()));
    assert!(outcome(fcntl("F_SETLK", &path)).0);
}

/// What the volume is asked while a name that is there, and one that is not, are looked at ten times: lookups and
/// getattrs.
fn asked(m: &TestMount) -> (usize, usize) {
    fs::write(m.path("f"), "abc").unwrap();
    // The second look finds what the first has fetched.
    let look = || {
        assert_eq!(fs::metadata(m.path("f")).unwrap().len(), 3);
        assert!(!m.path("missing").exists());
    };
    look();
    let (lookups, getattrs) = (m.memory.count("lookup"), m.memory.count("getattr"));
    (0..10).for_each(|_| look());
    (m.memory.count("lookup") - lookups, m.memory.count("getattr") - getattrs)
}

#[test]
fn the_kernel_keeps_nothing_unless_told() {
    let Some(m) = TestMount::new("ttl-none", &crate::dispatch::Behaviour::default()) else {
        return;
    };
    let (lookups, getattrs) = asked(&m);
    assert_eq!(lookups, 20, "each look at each name");
    m.memory.write_elsewhere(b"f", b"longer than before");
    assert_eq!(
        fs::metadata(m.path("f")).unwrap().len(),
        18,
        "after {getattrs} getattrs"
    );
}

#[test]
fn the_kernel_keeps_attributes_names_and_absences_as_long_as_told() {
    let long = std::time::Duration::from_secs(3600);
    let none = crate::dispatch::Behaviour::default();
    let of = |behaviour: crate::dispatch::Behaviour, name: &str| {
        TestMount::new(name, &behaviour).map(|m| {
            let asked = asked(&m);
            // What happens through this mount is seen at once, whatever the kernel remembers.
            fs::write(m.path("missing"), "x").unwrap();
            assert_eq!(fs::read(m.path("missing")).unwrap(), b"x");
            fs::remove_file(m.path("missing")).unwrap();
            assert!(!m.path("missing").exists());
            asked
        })
    };
    let negative = crate::dispatch::Behaviour {
        negative_ttl: long,
        ..none.clone()
    };
    let Some((lookups, _)) = of(negative, "ttl-negative") else {
        return;
    };
    assert_eq!(lookups, 10, "only for the name that is there");
    let entry = crate::dispatch::Behaviour {
        entry_ttl: long,
        ..none.clone()
    };
    let (lookups, getattrs) = of(entry, "ttl-entry").unwrap();
    assert_eq!(lookups, 10, "only for the name that is missing");
    assert!(getattrs >= 10, "the file's attributes each time, and the directory's");
    let attribute = crate::dispatch::Behaviour {
        attribute_ttl: long,
        ..none.clone()
    };
    assert_eq!(of(attribute, "ttl-attr").unwrap(), (20, 0));
    let all = crate::dispatch::Behaviour {
        attribute_ttl: long,
        entry_ttl: long,
        negative_ttl: long,
        ..none
    };
    assert_eq!(of(all, "ttl-all").unwrap(), (0, 0));
}

#[test]
fn direct_io_mode_enable_bypasses_the_cache() {
    let behaviour = crate::dispatch::Behaviour {
        direct_io: crate::dispatch::DirectIo::Enable,
        ..crate::dispatch::Behaviour::default()
    };
    let Some(m) = TestMount::new("dio", &behaviour) else {
        return;
    };
    fs::write(m.path("f"), "abc").unwrap();
    let file = File::open(m.path("f")).unwrap();
    let before = m.memory.count("read");
    let mut buf = [0; 3];
    for _ in 0..5 {
        file.read_exact_at(&mut buf, 0).unwrap();
    }
    assert_eq!(m.memory.count("read") - before, 5);
}
