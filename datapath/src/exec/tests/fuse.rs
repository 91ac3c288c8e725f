//! FUSE over the core's ring, against the kernel: a file system of one file.

use std::cell::RefCell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::core;
use crate::exec::fuse::{FuseEntry, commit, register};
use crate::exec::{self, buf};
use crate::sys::mount::{mount, unmount};

const PARAMETER: &str = "/sys/module/fuse/parameters/enable_uring";
const MAX_WRITE: usize = 128 << 10;
const FILE_INODE: u64 = 2;

/// A mounted file system; unmounted and removed whatever happens.
struct Mounted {
    dir: PathBuf,
    fd: Arc<OwnedFd>,
    /// The parameter was off before.
    was_off: bool,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = unmount(&self.dir, true);
        let _ = std::fs::remove_dir(&self.dir);
        if self.was_off {
            let _ = std::fs::write(PARAMETER, "N");
        }
    }
}

/// Mounts and answers INIT. None where this is not possible: not root, no FUSE, no FUSE over io_uring.
fn mounted() -> Option<Mounted> {
    let was_off = !std::fs::read_to_string(PARAMETER).ok()?.starts_with('Y');
    if was_off {
        std::fs::write(PARAMETER, "Y").ok()?;
    }
    let fd: OwnedFd = File::options().read(true).write(true).open("/dev/fuse").ok()?.into();
    let dir = std::env::temp_dir().join(format!("ringluster-fuse-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mounted = Mounted {
        dir,
        fd: Arc::new(fd),
        was_off,
    };
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", mounted.fd.as_raw_fd());
    mount("ringluster-test", &mounted.dir, "fuse", 0, &data).ok()?;
    let mut device = File::from(mounted.fd.try_clone().unwrap());
    let mut request = vec![0; 256 << 10];
    let len = device.read(&mut request).unwrap();
    assert_eq!((len, u32_at(&request, 4)), (104, 26), "FUSE_INIT");
    let flags2 = u32_at(&request, 40 + 16);
    if flags2 & 1 << 9 == 0 {
        return None;
    }
    let mut reply = vec![0u8; 16 + 64];
    reply[..4].copy_from_slice(&80u32.to_ne_bytes());
    reply[8..16].copy_from_slice(&request[8..16]);
    let init = &mut reply[16..];
    init[..4].copy_from_slice(&7u32.to_ne_bytes());
    init[4..8].copy_from_slice(&request[44..48]);
    // FUSE_BIG_WRITES, FUSE_MAX_PAGES, FUSE_INIT_EXT; then FUSE_OVER_IO_URING in the upper half.
    init[12..16].copy_from_slice(&(1u32 << 5 | 1 << 22 | 1 << 30).to_ne_bytes());
    init[16..18].copy_from_slice(&16u16.to_ne_bytes());
    init[18..20].copy_from_slice(&12u16.to_ne_bytes());
    init[20..24].copy_from_slice(&(MAX_WRITE as u32).to_ne_bytes());
    init[28..30].copy_from_slice(&((MAX_WRITE / 4096) as u16).to_ne_bytes());
    init[32..36].copy_from_slice(&(1u32 << 9).to_ne_bytes());
    assert_eq!(device.write(&reply).unwrap(), reply.len());
    Some(mounted)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn attributes(inode: u64, size: usize) -> [u8; 88] {
    let mut attr = [0; 88];
    attr[..8].copy_from_slice(&inode.to_ne_bytes());
    attr[8..16].copy_from_slice(&(size as u64).to_ne_bytes());
    let mode: u32 = if inode == FILE_INODE { 0o100644 } else { 0o40755 };
    attr[60..64].copy_from_slice(&mode.to_ne_bytes());
    attr[64..68].copy_from_slice(&1u32.to_ne_bytes());
    attr
}

/// Answers one request: errno and the length of the reply's data.
fn answer(entry: &mut FuseEntry, file: &RefCell<Vec<u8>>) -> (i32, usize) {
    let opcode = u32_at(entry.in_header(), 4);
    let inode = u64_at(entry.in_header(), 16);
    let arguments = *entry.op_header();
    let size = file.borrow().len();
    let mut reply = Vec::new();
    match opcode {
        1 if entry.payload() != b"file\0" => return (libc::ENOENT, 0),
        1 => {
            reply.extend([FILE_INODE, 1, 0, 0, 0].map(u64::to_ne_bytes).as_flattened());
            reply.extend(attributes(FILE_INODE, size));
        }
        3 => {
            reply.extend([0; 16]);
            reply.extend(attributes(inode, size));
        }
        14 | 27 => reply.resize(16, 0),
        15 => {
            let (offset, len) = (u64_at(&arguments, 8) as usize, u32_at(&arguments, 16) as usize);
            let file = file.borrow();
            reply.extend(&file[offset.min(file.len())..(offset + len).min(file.len())]);
        }
        16 => {
            let (offset, len) = (u64_at(&arguments, 8) as usize, u32_at(&arguments, 16) as usize);
            let data = entry.lend(0..len).expect("the data is all there");
            assert!(entry.is_lent() && entry.payload_mut().is_none());
            let mut file = file.borrow_mut();
            let end = (offset + len).max(file.len());
            file.resize(end, 0);
            file[offset..offset + len].copy_from_slice(&data);
            reply.extend((len as u64).to_ne_bytes());
        }
        _ => return (libc::ENOSYS, 0),
    }
    entry.payload_mut().unwrap()[..reply.len()].copy_from_slice(&reply);
    (0, reply.len())
}

async fn serve(fd: Arc<OwnedFd>, queue: u16, file: Rc<RefCell<Vec<u8>>>) -> u64 {
    let mut served = 0;
    let (mut result, mut entry) = register(&fd, FuseEntry::new(queue, buf::alloc(MAX_WRITE))).await;
    loop {
        let mut held = entry.expect("the ring gives entries back");
        match result {
            Ok(()) => assert!(held.has_request()),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::ENOTCONN));
                assert_eq!(
                    commit(&fd, held).await.0.unwrap_err().raw_os_error(),
                    Some(libc::EINVAL)
                );
                return served;
            }
        }
        let (errno, len) = answer(&mut held, &file);
        held.set_reply(errno, len);
        served += 1;
        (result, entry) = commit(&fd, held).await;
    }
}

fn use_file(dir: &Path) {
    assert!(std::fs::metadata(dir).unwrap().is_dir());
    assert!(std::fs::metadata(dir.join("other")).is_err());
    assert_eq!(std::fs::read(dir.join("file")).unwrap(), b"hello");
    let mut file = File::options().write(true).open(dir.join("file")).unwrap();
    let data: Vec<u8> = (0..300_000u32).map(|i| (i % 249) as u8).collect();
    file.write_all(&data).unwrap();
    drop(file);
    assert!(std::fs::read(dir.join("file")).unwrap() == data);
}

#[test]
fn a_file_system_on_the_ring() {
    let Some(mounted) = mounted() else {
        eprintln!("skipped: needs root and a kernel with FUSE over io_uring");
        return;
    };
    let file = Rc::new(RefCell::new(b"hello".to_vec()));
    let possible = std::fs::read_dir("/sys/devices/system/cpu").unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name.strip_prefix("cpu")
            .is_some_and(|number| number.parse::<u16>().is_ok())
    });
    let cpus = possible.count() as u16;
    let served = core(|| async {
        let (fd, dir) = (Arc::clone(&mounted.fd), mounted.dir.clone());
        // Every queue needs an entry, or the kernel does not start to use the rings.
        let tasks: Vec<_> = (0..cpus * 2)
            .map(|n| exec::spawn(serve(Arc::clone(&fd), n % cpus, Rc::clone(&file))))
            .collect();
        let (tell, mut told) = exec::mailbox::channel(1);
        let user = std::thread::spawn(move || {
            let result = std::panic::catch_unwind(|| use_file(&dir));
            tell.send(result.is_ok()).unwrap();
        });
        let used = exec::timeout(Duration::from_secs(30), told.recv()).await;
        // Ends the connection, and with it whoever still waits for an answer.
        unmount(&mounted.dir, true).unwrap();
        user.join().unwrap();
        assert_eq!(used, Ok(Some(true)), "the file system works");
        let mut served = 0;
        for task in tasks {
            served += exec::timeout(Duration::from_secs(10), task)
                .await
                .expect("entries end with the mount")
                .unwrap();
        }
        served
    });
    assert!(served >= 10, "requests came by the ring: {served}");
    assert_eq!(file.borrow().len(), 300_000);
}
