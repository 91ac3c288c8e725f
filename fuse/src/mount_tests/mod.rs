//! A real kernel mount of the in-memory file system on two cores, used through system calls like by any program.
//!
//! Needs root and /dev/fuse; where they are missing each test says on stderr that it was skipped.

mod extended;

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use datapath::exec::{CoreConfig, uring_core};

use crate::dispatch::{Behaviour, Core};
use crate::memory::Memory;
use crate::mount::{MountSpec, Mounted, is_mounted};
use crate::router::{Router, mailboxes};
use crate::transport::TransportConfig;

/// A mount of an empty [`Memory`] that is gone when dropped.
pub(crate) struct TestMount {
    pub dir: PathBuf,
    pub memory: Memory,
    mounted: Option<Mounted>,
    router: Router,
    cores: Vec<JoinHandle<()>>,
}

impl TestMount {
    /// `None`, said on stderr, where mounting is impossible.
    pub(crate) fn new(name: &str, behaviour: &Behaviour) -> Option<TestMount> {
        let dir = std::env::temp_dir().join(format!("ringluster-fuse-{name}-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        if let Err(why) = crate::mount::check(&dir) {
            eprintln!("skipped: {why}");
            fs::remove_dir(&dir).unwrap();
            return None;
        }
        let memory = Memory::new();
        let (router, receivers) = mailboxes(2);
        let mut cores = Vec::new();
        for (index, receiver) in receivers.into_iter().enumerate() {
            let (memory, router, behaviour) = (memory.clone(), router.clone(), behaviour.clone());
            cores.push(std::thread::spawn(move || {
                let config = CoreConfig {
                    entries: 64,
                    pin_cpu: None,
                    buffer_bytes: 1 << 20,
                };
                uring_core(config, || Core::new(index, memory, router, behaviour).run(receiver)).unwrap();
            }));
        }
        let spec = MountSpec {
            target: dir.clone(),
            source: format!("h:/{name}"),
            flags: 0,
            extra: String::new(),
        };
        let intake = Arc::new(router.clone());
        let mounted = Mounted::new(&spec, TransportConfig::default(), intake, || ()).unwrap();
        Some(TestMount {
            dir,
            memory,
            mounted: Some(mounted),
            router,
            cores,
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Drop for TestMount {
    fn drop(&mut self) {
        let mounted = self.mounted.take().unwrap();
        mounted.unmount().unwrap();
        assert!(mounted.ended(Duration::from_secs(20)), "serving goes on after umount");
        mounted.wait().unwrap();
        self.router.shutdown();
        self.cores.drain(..).for_each(|core| core.join().unwrap());
        assert!(!is_mounted(&self.dir));
        fs::remove_dir(&self.dir).unwrap();
    }
}

fn mounted(name: &str) -> Option<TestMount> {
    TestMount::new(name, &Behaviour::default())
}

fn errno(e: std::io::Error) -> i32 {
    e.raw_os_error().unwrap_or(0)
}

fn names(dir: &Path) -> Vec<String> {
    let mut list: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    list.sort();
    list
}

#[test]
fn it_shows_as_a_glusterfs_mount() {
    let Some(m) = mounted("type") else { return };
    let table = fs::read_to_string("/proc/mounts").unwrap();
    let line = table.lines().find(|l| l.contains(m.dir.to_str().unwrap())).unwrap();
    assert_eq!(
        line,
        format!(
            "h:/type {} fuse.glusterfs rw,relatime,user_id=0,group_id=0,default_permissions,allow_other,\
             max_read=1048576 0 0",
            m.dir.display()
        )
    );
    assert!(is_mounted(&m.dir));
    let twice = crate::mount::check(&m.dir).unwrap_err().to_string();
    assert!(twice.contains("already mounted"), "{twice}");
    let df = Command::new("df")
        .arg("--output=source,size,avail")
        .arg(&m.dir)
        .output()
        .unwrap();
    let df = String::from_utf8(df.stdout).unwrap();
    let fields: Vec<_> = df.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(fields, ["h:/type", "4000", "2000"], "1000 and 500 blocks of 4 KiB");
}

#[test]
fn files_are_written_read_and_truncated() {
    let Some(m) = mounted("files") else { return };
    let path = m.path("a");
    let data: Vec<u8> = (0..3_000_001u32).map(|i| (i * 7 % 251) as u8).collect();
    fs::write(&path, &data).unwrap();
    assert_eq!(fs::read(&path).unwrap(), data);
    assert_eq!(fs::metadata(&path).unwrap().len(), data.len() as u64);

    let mut file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    file.write_all_at(b"hello", 1_000_000).unwrap();
    file.seek(SeekFrom::Start(999_999)).unwrap();
    let mut back = [0; 7];
    file.read_exact(&mut back).unwrap();
    assert_eq!(&back[1..6], b"hello");
    file.sync_data().unwrap();
    file.sync_all().unwrap();
    file.set_len(10).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 10);
    assert_eq!(fs::read(&path).unwrap(), &data[..10]);
    file.set_len(20).unwrap();
    assert_eq!(fs::read(&path).unwrap()[10..], [0; 10]);

    let mut append = OpenOptions::new().append(true).open(&path).unwrap();
    append.write_all(b"end").unwrap();
    assert_eq!(fs::read(&path).unwrap()[20..], *b"end");

    // O_TRUNC is done by the open itself.
    File::create(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0);
    let again = OpenOptions::new().write(true).create_new(true).open(&path).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    assert_eq!(errno(File::open(m.path("none")).unwrap_err()), libc::ENOENT);
    let long = "x".repeat(256);
    assert_eq!(errno(File::open(m.path(&long)).unwrap_err()), libc::ENAMETOOLONG);
    File::create(m.path(&"x".repeat(255))).unwrap();
}

#[test]
fn direct_io_is_honoured() {
    let Some(m) = mounted("direct") else { return };
    let path = m.path("d");
    fs::write(&path, [1; 8192]).unwrap();
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT)
        .open(&path)
        .unwrap();
    let mut buf = [0; 4096];
    for round in 1..4 {
        assert_eq!(file.read_at(&mut buf, 4096).unwrap(), 4096);
        assert!(m.memory.count("read") >= round, "every direct read reaches the volume");
    }
    file.write_all_at(&[2; 4096], 0).unwrap();
    assert_eq!(fs::read(&path).unwrap()[..4097], [[2; 4096].as_slice(), &[1]].concat());
}

#[test]
fn directories_list_everything_once() {
    let Some(m) = mounted("dirs") else { return };
    fs::create_dir(m.path("d")).unwrap();
    let mut wanted: Vec<String> = (0..777).map(|i| format!("file-with-a-longer-name-{i:04}")).collect();
    for name in &wanted {
        File::create(m.path("d").join(name)).unwrap();
    }
    fs::create_dir(m.path("d/sub")).unwrap();
    symlink("nowhere", m.path("d/zlink")).unwrap();
    wanted.extend(["sub".to_owned(), "zlink".to_owned()]);
    assert_eq!(names(&m.path("d")), wanted);
    // With attributes of each (this makes the kernel use READDIRPLUS).
    for entry in fs::read_dir(m.path("d")).unwrap() {
        let entry = entry.unwrap();
        let (kind, meta) = (entry.file_type().unwrap(), entry.metadata().unwrap());
        assert_eq!(kind, meta.file_type(), "{:?}", entry.file_name());
        assert_eq!(meta.is_file(), entry.file_name().to_str().unwrap().starts_with("file"));
    }
    assert_eq!(errno(fs::remove_dir(m.path("d")).unwrap_err()), libc::ENOTEMPTY);
    let dir = File::open(m.path("d")).unwrap();
    dir.sync_all().unwrap();
    for name in &wanted {
        match name.as_str() {
            "sub" => fs::remove_dir(m.path("d/sub")).unwrap(),
            name => fs::remove_file(m.path("d").join(name)).unwrap(),
        }
    }
    assert!(names(&m.path("d")).is_empty());
    fs::remove_dir(m.path("d")).unwrap();
    assert_eq!(m.memory.count("fsyncdir"), 1);
}

#[test]
fn names_move_and_multiply() {
    let Some(m) = mounted("names") else { return };
    fs::create_dir_all(m.path("x/y")).unwrap();
    fs::create_dir(m.path("z")).unwrap();
    // Enough of them for both cores to own some.
    for i in 0..32 {
        let (from, to) = (m.path(&format!("x/y/{i}")), m.path(&format!("z/{i}")));
        fs::write(&from, format!("content {i}")).unwrap();
        let ino = fs::metadata(&from).unwrap().ino();
        fs::rename(&from, &to).unwrap();
        assert_eq!(errno(fs::metadata(&from).unwrap_err()), libc::ENOENT);
        assert_eq!(fs::metadata(&to).unwrap().ino(), ino);
        fs::hard_link(&to, &from).unwrap();
        assert_eq!(fs::metadata(&to).unwrap().nlink(), 2);
        assert_eq!(fs::metadata(&from).unwrap().ino(), ino);
        fs::remove_file(&to).unwrap();
        assert_eq!(fs::read_to_string(&from).unwrap(), format!("content {i}"));
        assert_eq!(fs::metadata(&from).unwrap().nlink(), 1);
    }
    fs::write(m.path("z/old"), "old").unwrap();
    fs::rename(m.path("x/y/0"), m.path("z/old")).unwrap();
    assert_eq!(fs::read_to_string(m.path("z/old")).unwrap(), "content 0");
    fs::rename(m.path("x"), m.path("z/x")).unwrap();
    assert_eq!(fs::read_to_string(m.path("z/x/y/5")).unwrap(), "content 5");
    symlink("../z/x/y/5", m.path("z/link")).unwrap();
    assert_eq!(fs::read_link(m.path("z/link")).unwrap(), Path::new("../z/x/y/5"));
    assert_eq!(fs::read_to_string(m.path("z/link")).unwrap(), "content 5");
}

#[test]
fn attributes_can_be_set() {
    let Some(m) = mounted("attrs") else { return };
    let path = m.path("f");
    let file = File::create(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4711)).unwrap();
    std::os::unix::fs::chown(&path, Some(1234), Some(5678)).unwrap();
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1234, 5678));
    assert_eq!(meta.mode() & 0o711, 0o711);
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(file.metadata().unwrap().mode(), 0o100600);
    let times = [SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789)]
        .into_iter()
        .chain([SystemTime::UNIX_EPOCH - Duration::new(1, 500_000_000)]);
    for time in times {
        file.set_times(fs::FileTimes::new().set_modified(time).set_accessed(time))
            .unwrap();
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.modified().unwrap(), meta.accessed().unwrap()), (time, time));
    }
    let before = SystemTime::now() - Duration::from_secs(5);
    let touched = Command::new("touch").arg(&path).status().unwrap();
    assert!(touched.success() && fs::metadata(&path).unwrap().modified().unwrap() > before);
    let umask = Command::new("sh")
        .arg("-c")
        .arg("umask 027; : > g; mkdir h")
        .current_dir(&m.dir)
        .status();
    assert!(umask.unwrap().success());
    assert_eq!(fs::metadata(m.path("g")).unwrap().mode(), 0o100640);
    assert_eq!(fs::metadata(m.path("h")).unwrap().mode(), 0o040750);
}

#[test]
fn special_files_keep_their_numbers() {
    let Some(m) = mounted("special") else { return };
    let run = |args: &[&str]| {
        assert!(
            Command::new("mknod")
                .args(args)
                .current_dir(&m.dir)
                .status()
                .unwrap()
                .success()
        )
    };
    run(&["null", "c", "1", "3"]);
    run(&["disk", "b", "259", "300"]);
    run(&["pipe", "p"]);
    let null = fs::metadata(m.path("null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(null.rdev(), libc::makedev(1, 3));
    let disk = fs::metadata(m.path("disk")).unwrap();
    assert!(disk.file_type().is_block_device());
    assert_eq!(disk.rdev(), libc::makedev(259, 300));
    assert!(fs::metadata(m.path("pipe")).unwrap().file_type().is_fifo());
    std::os::unix::net::UnixListener::bind(m.path("sock")).unwrap();
    assert!(fs::metadata(m.path("sock")).unwrap().file_type().is_socket());
}

#[test]
fn an_unlinked_file_lives_until_it_is_closed() {
    let Some(m) = mounted("unlinked") else { return };
    let before = m.memory.inodes();
    for i in 0..8 {
        let path = m.path(&format!("gone-{i}"));
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        file.write_all(b"first").unwrap();
        fs::remove_file(&path).unwrap();
        assert!(fs::metadata(&path).is_err());
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        file.write_all(b" second").unwrap();
        file.set_len(8).unwrap();
        let mut all = String::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_string(&mut all).unwrap();
        assert_eq!(all, "first se");
    }
    // RELEASE comes after close(2) has returned.
    let limit = Instant::now() + Duration::from_secs(10);
    while m.memory.inodes() != before {
        assert!(Instant::now() < limit, "closed files are still held");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn another_clients_changes_are_seen_at_once() {
    let Some(m) = mounted("coherent") else { return };
    fs::write(m.path("f"), "one").unwrap();
    let file = File::open(m.path("f")).unwrap();
    let mut buf = [0; 9];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 3);
    m.memory.write_elsewhere(b"f", b"two, longer");
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 9);
    assert_eq!(&buf, b"two, long");
    assert_eq!(fs::metadata(m.path("f")).unwrap().len(), 11);
}

#[test]
fn programs_run_from_the_mount() {
    let Some(m) = mounted("exec") else { return };
    fs::copy("/bin/true", m.path("true")).unwrap();
    fs::set_permissions(m.path("true"), fs::Permissions::from_mode(0o755)).unwrap();
    assert!(Command::new(m.path("true")).status().unwrap().success());
}

#[test]
fn flock_excludes_and_waits() {
    let Some(m) = mounted("flock") else { return };
    let path = m.path("l");
    let first = File::create(&path).unwrap();
    let second = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    first.lock().unwrap();
    assert!(matches!(second.try_lock(), Err(fs::TryLockError::WouldBlock)));
    let waiter = std::thread::spawn(move || {
        second.lock().unwrap();
        second
    });
    std::thread::sleep(Duration::from_millis(100));
    assert!(!waiter.is_finished());
    // A waiting lock holds up nothing else.
    fs::write(m.path("other"), "x").unwrap();
    assert_eq!(fs::read(m.path("other")).unwrap(), b"x");
    first.unlock().unwrap();
    let second = waiter.join().unwrap();
    second.unlock().unwrap();
    first.lock_shared().unwrap();
    second.lock_shared().unwrap();
    // Closing gives the lock back.
    drop(second);
    drop(first);
    let third = File::open(&path).unwrap();
    third.lock().unwrap();
}

#[test]
fn what_is_not_there_is_refused_cleanly() {
    let Some(m) = mounted("refused") else { return };
    let tmpfile = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(&m.dir)
        .unwrap_err();
    assert_eq!(errno(tmpfile), libc::EOPNOTSUPP);
    // copy_file_range falls back to reading and writing.
    fs::write(m.path("from"), vec![7; 100_000]).unwrap();
    assert_eq!(fs::copy(m.path("from"), m.path("to")).unwrap(), 100_000);
    assert_eq!(fs::read(m.path("to")).unwrap(), vec![7; 100_000]);
}

#[test]
fn ordinary_users_are_checked_and_lose_set_ids() {
    let Some(m) = mounted("users") else { return };
    let path = m.path("suid");
    fs::write(&path, "x").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6777)).unwrap();
    let nobody = |script: &str| {
        use std::os::unix::process::CommandExt;
        let shell = Command::new("sh")
            .arg("-c")
            .arg(script)
            .uid(65534)
            .gid(65534)
            .current_dir("/")
            .output();
        shell.unwrap().status.success()
    };
    assert!(
        !nobody(&format!("echo > {}/new", m.dir.display())),
        "the root is root's"
    );
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o6777);
    assert!(nobody(&format!("echo hi >> {}", path.display())));
    assert_eq!(
        fs::metadata(&path).unwrap().mode() & 0o7777,
        0o777,
        "a user's write takes set-ids away"
    );
    fs::set_permissions(&path, fs::Permissions::from_mode(0o4777)).unwrap();
    fs::write(&path, "y").unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().mode() & 0o7777,
        0o4777,
        "root's write does not"
    );
    assert!(nobody(&format!(": > {}", path.display())));
    assert_eq!(
        fs::metadata(&path).unwrap().mode() & 0o7777,
        0o777,
        "nor does truncation spare a user"
    );
}

#[test]
fn a_read_only_mount_changes_nothing() {
    let behaviour = Behaviour {
        read_only: true,
        ..Behaviour::default()
    };
    let Some(m) = TestMount::new("ro", &behaviour) else {
        return;
    };
    assert_eq!(errno(File::create(m.path("a")).unwrap_err()), libc::EROFS);
    assert_eq!(errno(fs::create_dir(m.path("a")).unwrap_err()), libc::EROFS);
    assert!(names(&m.dir).is_empty());
}

#[test]
fn many_threads_at_once() {
    let Some(m) = mounted("threads") else { return };
    let threads: Vec<_> = (0..8)
        .map(|t| {
            let dir = m.path(&format!("t{t}"));
            std::thread::spawn(move || {
                fs::create_dir(&dir).unwrap();
                for i in 0..50 {
                    let path = dir.join(format!("{i}"));
                    fs::write(&path, vec![i as u8; 5000 + i]).unwrap();
                    assert_eq!(fs::read(&path).unwrap(), vec![i as u8; 5000 + i]);
                    fs::rename(&path, dir.join(format!("r{i}"))).unwrap();
                }
                assert_eq!(names(&dir).len(), 50);
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
}
