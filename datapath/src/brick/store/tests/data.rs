//! Content, times and sums.

use std::io::IoSlice;
use std::rc::Rc;

use super::super::testing::{Brick, Who};
use super::super::*;
use crate::wire::{Iatt, MdataIatt, Value};

fn open(brick: &Brick, gfid: Gfid, flags: i32) -> Rc<OpenFile> {
    brick
        .store()
        .open_file(&Who::root().flags(0).call(), gfid, flags)
        .unwrap()
}

fn write(brick: &Brick, file: &OpenFile, off: u64, bytes: &[u8]) -> Written {
    let who = Who::root()
        .flags(flag::CTIME | flag::MTIME)
        .with("glusterfs.write-is-append", Value::Uint(4));
    brick
        .store()
        .write(&who.call(), file, 0, off, &[IoSlice::new(bytes)])
        .unwrap()
}

fn content(brick: &Brick, file: &OpenFile, len: usize) -> Vec<u8> {
    let mut buf = vec![0; len];
    let n = brick.store().read(file, 0, 0, &mut buf).unwrap();
    buf.truncate(n);
    buf
}

#[test]
fn writes_tell_before_and_after_and_whether_they_append() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let file = open(&brick, gfid, libc::O_RDWR);
    let first = write(&brick, &file, 0, b"hello");
    assert_eq!((first.bytes, first.pre.size, first.post.size), (5, 0, 5));
    assert_eq!(first.xdata.get_u64("glusterfs.write-is-append"), Some(1));
    assert!(first.post.mtime > first.pre.mtime && first.post.atime == first.pre.atime && !first.sync);
    let over = write(&brick, &file, 1, b"a");
    assert_eq!(over.xdata.get_u64("glusterfs.write-is-append"), Some(0));
    let pieces = [IoSlice::new(b", "), IoSlice::new(b""), IoSlice::new(b"world")];
    let who = Who::root();
    assert_eq!(
        brick
            .store()
            .write(&who.call(), &file, libc::O_SYNC, 5, &pieces)
            .unwrap()
            .bytes,
        7
    );
    assert!(
        brick
            .store()
            .write(&who.call(), &file, libc::O_SYNC, 5, &pieces)
            .unwrap()
            .sync
    );
    assert_eq!(content(&brick, &file, 100), b"hallo, world");
    let done = brick.store().read_done(&who.call(), &file, 0, 5).unwrap();
    assert!(!done.eof && done.stat.size == 12);
    assert!(brick.store().read_done(&who.call(), &file, 7, 5).unwrap().eof);
    let reader = open(&brick, gfid, libc::O_RDONLY);
    assert_eq!(
        brick.store().write(&who.call(), &reader, 0, 0, &pieces).unwrap_err(),
        Errno::EBADF
    );
    assert_eq!(
        brick
            .store()
            .write(&who.call(), &file, 0, u64::MAX - 2, &pieces)
            .unwrap_err(),
        Errno::EFBIG
    );
    let writer = open(&brick, gfid, libc::O_WRONLY);
    assert_eq!(
        brick.store().read(&writer, 0, 0, &mut [0; 4]).unwrap_err(),
        Errno::EBADF
    );
}

#[test]
fn append_mode_writes_at_the_end_wherever_it_is_told_to() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let file = open(&brick, gfid, libc::O_RDWR | libc::O_APPEND);
    let _ = write(&brick, &file, 0, b"one");
    let second = write(&brick, &file, 0, b"two");
    assert_eq!(second.xdata.get_u64("glusterfs.write-is-append"), Some(1));
    assert_eq!(content(&brick, &file, 100), b"onetwo");
}

#[test]
fn direct_io_is_used_where_it_can_be() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let file = open(&brick, gfid, libc::O_RDWR | libc::O_DIRECT | libc::O_SYNC);
    assert!(file.is_sync());
    let mut memory = vec![7u8; 3 * 4096];
    let at = memory.as_ptr().align_offset(4096);
    assert_eq!(write(&brick, &file, 0, &memory[at..at + 4096]).bytes, 4096);
    assert_eq!(write(&brick, &file, 4096, &memory[at + 1..at + 101]).bytes, 100);
    let aligned = memory[at..].as_ptr() as usize;
    assert!(!file.io(0, 1, 4096, aligned).direct);
    assert!(!file.io(0, 0, 100, aligned).direct);
    assert!(!file.io(0, 0, 4096, aligned + 1).direct);
    let io = file.io(0, 0, 4096, aligned);
    if io.direct {
        let n = crate::sys::fs::pread(&*io.fd, &mut memory[at..at + 4096], 0).unwrap();
        assert_eq!(n, 4096);
    }
    assert_eq!(content(&brick, &file, 9000).len(), 4196);
    assert!(!open(&brick, gfid, libc::O_RDWR).io(0, 0, 4096, aligned).direct);
}

#[test]
fn truncate_fallocate_discard_zerofill_seek() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let file = open(&brick, gfid, libc::O_RDWR);
    let who = Who::root();
    let s = brick.store();
    let _ = write(&brick, &file, 0, &[1; 100_000]);
    let cut = s.truncate(&who.call(), Target::Gfid(gfid), 70_000).unwrap();
    assert_eq!((cut.pre.size, cut.post.size), (100_000, 70_000));
    assert_eq!(
        s.truncate(&who.call(), Target::File(&file), 80_000).unwrap().post.size,
        80_000
    );
    assert_eq!(
        s.truncate(&who.call(), Target::Gfid(Gfid::ROOT), 0).unwrap_err(),
        Errno::EISDIR
    );
    assert_eq!(
        s.truncate(&who.call(), Target::Gfid(gfid), u64::MAX).unwrap_err(),
        Errno::EFBIG
    );
    assert_eq!(s.fallocate(&who.call(), &file, 0, 0, 90_000).unwrap().post.size, 90_000);
    assert_eq!(
        s.fallocate(&who.call(), &file, 1, 0, 200_000).unwrap().post.size,
        90_000
    );
    assert_eq!(s.fallocate(&who.call(), &file, 8, 0, 1).unwrap_err(), Errno::EOPNOTSUPP);
    assert_eq!(s.fallocate(&who.call(), &file, 0, 0, 0).unwrap_err(), Errno::EINVAL);
    assert_eq!(s.discard(&who.call(), &file, 8192, 8192).unwrap().post.size, 90_000);
    assert_eq!(&content(&brick, &file, 90_000)[8190..8193], [1, 1, 0]);
    assert_eq!(s.zerofill(&who.call(), &file, 0, 10).unwrap().post.size, 90_000);
    assert_eq!(s.zerofill(&who.call(), &file, 90_000, 5000).unwrap().post.size, 95_000);
    assert_eq!(content(&brick, &file, 11)[9..], [0, 1]);
    assert_eq!(s.seek(&file, 0, 1).unwrap(), 8192);
    assert_eq!(s.seek(&file, 8192, 0).unwrap(), 16_384);
    assert_eq!(s.seek(&file, 1 << 40, 0).unwrap_err(), Errno::ENXIO);
    assert_eq!(s.seek(&file, 0, 4).unwrap_err(), Errno::EOPNOTSUPP);
    s.fsync(&file, true).unwrap();
    let dir = s.open_dir(&who.call(), Gfid::ROOT).unwrap();
    s.fsync_dir(&dir, false).unwrap();
}

#[test]
fn ranges_are_copied() {
    let brick = Brick::new();
    let (a, b) = (brick.file("a"), brick.file("b"));
    let (a, b) = (open(&brick, a, libc::O_RDWR), open(&brick, b, libc::O_RDWR));
    let _ = write(&brick, &a, 0, b"0123456789");
    let who = Who::root();
    let copied = brick
        .store()
        .copy_file_range(&who.call(), (&a, 2), (&b, 1), 100)
        .unwrap();
    assert_eq!((copied.bytes, copied.pre.size, copied.post.size), (8, 0, 9));
    assert_eq!(content(&brick, &b, 100), b"\x0023456789");
}

#[test]
fn sums_of_blocks() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let file = open(&brick, gfid, libc::O_WRONLY);
    let _ = write(&brick, &file, 0, b"abc");
    let who = Who::root().with("check-zero-filled", Value::Int(1));
    let sum = brick.store().rchecksum(&who.call(), &file, 0, 4096).unwrap();
    let md5 = [
        0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0, 0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72,
    ];
    assert_eq!(
        (sum.strong[..16].to_vec(), sum.strong[16..].to_vec()),
        (md5.to_vec(), vec![0; 16])
    );
    assert_eq!(sum.weak, 0x024a_0126, "a = 97+98+99, b = 97+195+294");
    assert_eq!(sum.xdata, Dict::new().with("buf-has-zeroes", Value::Uint(0)));
    brick
        .store()
        .set_options(Options {
            fips_mode_rchecksum: true,
            ..Options::default()
        })
        .unwrap();
    let sum = brick.store().rchecksum(&who.call(), &file, 0, 3).unwrap();
    assert_eq!(sum.strong[..4], [0xba, 0x78, 0x16, 0xbf]);
    assert_eq!(sum.xdata.get_i64("fips-mode-rchecksum"), Some(1));
    let zeros = open(&brick, brick.file("zeros"), libc::O_RDWR);
    let _ = write(&brick, &zeros, 0, &[0; 600_000]);
    let sum = brick.store().rchecksum(&who.call(), &zeros, 0, 600_000).unwrap();
    assert_eq!((sum.xdata.get_u64("buf-has-zeroes"), sum.weak), (Some(1), 0));
    assert_eq!(
        brick.store().rchecksum(&who.call(), &zeros, 0, 1 << 32).unwrap_err(),
        Errno::EINVAL
    );
}

#[test]
fn times_come_from_the_clients_and_the_newest_wins() {
    let brick = Brick::new();
    let gfid = brick.file("f");
    let store = brick.store();
    let who = Who::root().flags(0);
    let before = store.attributes(Target::Gfid(gfid)).unwrap();
    let stamp = |flags, sec| Call {
        stamp: Stamp { flags, sec, nsec: 9 },
        ..who.call()
    };
    let file = open(&brick, gfid, libc::O_RDWR);
    let old = store
        .write(&stamp(3, 1000), &file, 0, 0, &[IoSlice::new(b"x")])
        .unwrap()
        .post;
    assert_eq!(
        (old.mtime, old.ctime),
        (before.mtime, before.ctime),
        "an older stamp changes nothing"
    );
    let new = store
        .write(&stamp(3, 5_000_000_000), &file, 0, 0, &[IoSlice::new(b"x")])
        .unwrap()
        .post;
    assert_eq!(
        (new.mtime, new.ctime, new.atime, new.mtime_nsec),
        (5_000_000_000, 5_000_000_000, before.atime, 9)
    );
    let back = Iatt {
        atime: 11,
        atime_nsec: 1,
        mtime: 12,
        mtime_nsec: 2,
        ctime: 13,
        ..Iatt::default()
    };
    let bits = valid::ATIME | valid::MTIME | valid::CTIME;
    let set = store.setattr(&stamp(1, 5), Target::Gfid(gfid), &back, bits).unwrap();
    assert_eq!(
        (set.post.atime, set.post.mtime, set.post.ctime),
        (11, 12, 5_000_000_000),
        "ctime never goes back"
    );
    let disk = crate::sys::fs::lstatat(&**store.root_dir(), b"f").unwrap();
    assert_eq!((disk.atime, disk.mtime), ((11, 1), (12, 2)));
    let ctime = Iatt {
        ctime: 5_000_000_001,
        ..Iatt::default()
    };
    let set = store
        .setattr(&stamp(0, 0), Target::File(&file), &ctime, valid::CTIME)
        .unwrap();
    assert_eq!(set.post.ctime, 5_000_000_001);
    let now = store
        .setattr(&stamp(1, 5_000_000_100), Target::Gfid(gfid), &back, valid::MTIME_NOW)
        .unwrap();
    assert_eq!(
        (now.post.mtime, now.post.mtime_nsec, now.post.atime),
        (5_000_000_100, 9, 11),
        "the client's now"
    );
    drop(file);
    let brick = brick.reopen();
    assert_eq!(
        brick.lookup_gfid(gfid).unwrap().mtime,
        5_000_000_100,
        "it is on the disk"
    );
}

#[test]
fn an_old_file_gets_its_times_from_a_client() {
    let brick = Brick::new();
    let who = Who::root().flags(0).gfid(super::super::testing::fresh_gfid());
    let made = brick.store().mknod(&who.call(), Gfid::ROOT, b"f", 0o644, 0).unwrap();
    assert!(brick.xattr("f", "trusted.glusterfs.mdata").is_none());
    let back = Iatt {
        mtime: 12,
        ..Iatt::default()
    };
    brick
        .store()
        .setattr(&who.call(), Target::Gfid(made.stat.gfid), &back, valid::MTIME)
        .unwrap();
    assert!(
        brick.xattr("f", "trusted.glusterfs.mdata").is_none(),
        "a call without stamp makes none"
    );
    assert_eq!(brick.lookup(Gfid::ROOT, "f").unwrap().mtime, 12);
    let other = Who::root().flags(0).gfid(super::super::testing::fresh_gfid());
    let other = brick
        .store()
        .mknod(&other.call(), Gfid::ROOT, b"g", 0o644, 0)
        .unwrap()
        .stat
        .gfid;
    let stamped = Who::root().flags(flag::CTIME);
    let set = brick
        .store()
        .setattr(&stamped.call(), Target::Gfid(other), &back, valid::MTIME)
        .unwrap();
    assert_eq!(set.post.mtime, 12, "the stamp makes the xattr, the explicit time stays");
    let times = MdataIatt {
        atime: 1,
        mtime: 2,
        ctime: 3,
        atime_nsec: 4,
        mtime_nsec: 5,
        ctime_nsec: 6,
    };
    let set = Dict::new().with("set-ctime-mdata", Value::Mdata(times));
    brick
        .store()
        .setxattr(&who.call(), Target::Gfid(made.stat.gfid), &set, 0)
        .unwrap();
    let iatt = brick.lookup(Gfid::ROOT, "f").unwrap();
    assert_eq!((iatt.atime, iatt.mtime, iatt.ctime, iatt.ctime_nsec), (1, 2, 3, 6));
}
