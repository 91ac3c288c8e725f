//! `mount.glusterfs`: what mount(8) runs for `mount -t glusterfs` and fstab lines (wire-protocol.md chapter 7).
//!
//! It checks, turns options into the arguments of `glusterfs`, runs that, and looks whether the mount is there.
//! [`device`] takes the device apart, [`mount_options`] the options. No GlusterFS protocol here.

pub mod device;
pub mod mount_options;
pub mod usage;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use datapath::errno::Errno;
use datapath::sys;

use self::device::Device;
use self::mount_options::Passed;
use crate::{mount, options};

/// Why a mount was refused: one line, and the helper's exit code for it (wire-protocol.md 7.3).
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 1 usage and failure, 2 an unsuitable mount point, 32 already mounted.
    pub code: u8,
    /// What is wrong; empty when another program has already said it.
    pub text: String,
}

impl Refusal {
    pub(crate) fn new(code: u8, text: impl Into<String>) -> Refusal {
        Refusal {
            code,
            text: text.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The helper's command line.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    /// First argument: `HOST:/VOLUME`.
    pub device: OsString,
    /// Second argument: the mount point.
    pub target: PathBuf,
    /// Contents of all `-o`.
    pub options: Vec<String>,
    /// `-f`: check only.
    pub fake: bool,
    /// `-V`.
    pub version: bool,
    /// `-h`, and flags nobody knows (which GlusterFS answers by its usage, too).
    pub help: bool,
}

/// Takes the command line (without program name) apart.
pub fn parse<I: IntoIterator<Item = OsString>>(args: I) -> Result<Invocation, Refusal> {
    let mut parsed = Invocation::default();
    let mut places: Vec<OsString> = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("-o") => {
                let list = args.next().ok_or_else(|| Refusal::new(1, "-o needs options"))?;
                parsed.options.push(text(&list)?);
            }
            // "mount -t glusterfs" hands its type on.
            Some("-t") => drop(args.next()),
            Some("-V" | "--version") => parsed.version = true,
            Some("-h" | "--help") => parsed.help = true,
            Some(flags) if flags.len() > 1 && flags.starts_with('-') => {
                if let Some(list) = flags.strip_prefix("-o") {
                    parsed.options.push(list.to_owned());
                } else if flags.chars().skip(1).all(|c| "sfnv".contains(c)) {
                    parsed.fake |= flags.contains('f');
                } else {
                    parsed.help = true;
                }
            }
            _ => places.push(arg),
        }
    }
    if parsed.version || parsed.help {
        return Ok(parsed);
    }
    let mut places = places.into_iter();
    match (places.next(), places.next(), places.next()) {
        (Some(device), Some(target), None) => {
            parsed.device = device;
            parsed.target = PathBuf::from(target);
            Ok(parsed)
        }
        (_, None, _) => Err(Refusal::new(
            1,
            "device and mount point are needed: mount.glusterfs HOST:/VOLUME DIR",
        )),
        (_, _, Some(more)) => Err(Refusal::new(1, format!("unexpected argument \"{}\"", more.display()))),
        (None, Some(_), None) => Err(Refusal::new(1, "device and mount point are needed")),
    }
}

fn text(arg: &OsStr) -> Result<String, Refusal> {
    arg.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Refusal::new(1, format!("{} is not valid text", arg.display())))
}

/// The arguments of `glusterfs` for a mount.
pub fn client_arguments(invocation: &Invocation) -> Result<Vec<OsString>, Refusal> {
    let device = Device::parse(&text(&invocation.device)?)?;
    let Passed {
        before,
        servers,
        transport,
        port,
        mount_options,
    } = Passed::parse(&invocation.options)?;
    let mut args: Vec<OsString> = before.into_iter().map(OsString::from).collect();
    if device.is_snapshot() && !args.iter().any(|a| a == "--read-only") {
        args.push("--read-only".into());
    }
    for server in device.servers.iter().chain(&servers) {
        let arg = OsString::from(format!("--volfile-server={server}"));
        if !args.contains(&arg) {
            args.push(arg);
        }
    }
    if let Some(port) = port {
        args.push(format!("--volfile-server-port={port}").into());
    }
    let mut id = device.volfile_id;
    if let Some(transport) = transport {
        args.push(format!("--volfile-server-transport={transport}").into());
        id = format!("{id}.{transport}");
    }
    args.push(format!("--volfile-id={id}").into());
    if let Some(path) = device.subdir {
        args.push(format!("--subdir-mount={path}").into());
    }
    if !mount_options.is_empty() {
        args.push(format!("--fuse-mountopts={}", mount_options.join(",")).into());
    }
    args.push(invocation.target.clone().into());
    Ok(args)
}

/// The checks of the mount point, in GlusterFS's order and with its exit codes.
pub fn check_target(target: &Path) -> Result<(), Refusal> {
    let shown = target.display();
    match std::fs::metadata(target) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return Err(Refusal::new(1, format!("mount point {shown} is not a directory"))),
        // The mount of a client that has ended; the new client takes it away and says so.
        Err(e) if e.raw_os_error() == Some(libc::ENOTCONN) && mount::is_mounted(target) => return Ok(()),
        Err(e) => {
            let why = Errno::from(e);
            return Err(Refusal::new(1, format!("mount point {shown}: {why}")));
        }
    }
    if mount::is_mounted(target) {
        return Err(Refusal::new(
            32,
            format!("a GlusterFS volume is already mounted on {shown}"),
        ));
    }
    let real = std::fs::canonicalize(target).unwrap_or_else(|_| target.to_owned());
    if real == Path::new("/") || real == Path::new("/tmp") {
        return Err(Refusal::new(
            2,
            format!("mounting a volume on {shown} would hide the system"),
        ));
    }
    check_not_brick(&real)
}

/// A brick below a client's mount would be hidden by it, and a mount inside a brick would be taken for its content.
fn check_not_brick(target: &Path) -> Result<(), Refusal> {
    let shown = target.display();
    let dir = File::open(target).map_err(|e| Refusal::new(1, format!("mount point {shown}: {}", Errno::from(e))))?;
    if sys::xattr::fget(&dir, b"trusted.gfid").is_ok() {
        return Err(Refusal::new(2, format!("mount point {shown} is inside a brick")));
    }
    for brick in local_bricks(Path::new("/var/lib/glusterd/vols")) {
        if brick.starts_with(target) {
            let text = format!(
                "mount point {shown} is a parent of the brick {} on this machine",
                brick.display()
            );
            return Err(Refusal::new(2, text));
        }
    }
    Ok(())
}

/// Paths of the bricks that the local management daemon's store says are on this machine. Bricks of other machines
/// have files there, too, but nobody's directory of that path here.
fn local_bricks(vols: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let volumes = std::fs::read_dir(vols).into_iter().flatten().flatten();
    for brick_file in volumes
        .flat_map(|v| std::fs::read_dir(v.path().join("bricks")))
        .flatten()
        .flatten()
    {
        let text = std::fs::read_to_string(brick_file.path()).unwrap_or_default();
        let path = text.lines().find_map(|l| l.strip_prefix("path=")).map(PathBuf::from);
        let is_brick =
            |p: &PathBuf| File::open(p).is_ok_and(|dir| sys::xattr::fget(&dir, b"trusted.glusterfs.volume-id").is_ok());
        found.extend(path.filter(is_brick));
    }
    found
}

/// The client program: beside this one, else where systems keep it, else in PATH.
pub fn find_client() -> PathBuf {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|me| Some(me.parent()?.join("glusterfs")));
    let usual = ["/usr/local/sbin/glusterfs", "/usr/sbin/glusterfs", "/sbin/glusterfs"].map(PathBuf::from);
    let found = beside.into_iter().chain(usual).find(|p| p.is_file());
    found.unwrap_or_else(|| PathBuf::from("glusterfs"))
}

/// Everything the helper does; returns its exit code. Messages go to stderr.
pub fn run<I: IntoIterator<Item = OsString>>(args: I) -> u8 {
    match mount_volume(args) {
        Ok(()) => 0,
        Err(refusal) => {
            if !refusal.text.is_empty() {
                eprintln!("mount.glusterfs: {refusal}");
            }
            refusal.code
        }
    }
}

fn mount_volume<I: IntoIterator<Item = OsString>>(args: I) -> Result<(), Refusal> {
    let invocation = parse(args)?;
    if invocation.version {
        println!("{}", options::VERSION);
        return Ok(());
    }
    if invocation.help {
        print!("{}", usage::text());
        return Ok(());
    }
    let target = &invocation.target;
    if is_remount(&invocation) {
        return remount(&invocation);
    }
    let args = client_arguments(&invocation)?;
    check_target(target)?;
    if invocation.fake {
        return Ok(());
    }
    let client = find_client();
    let status = Command::new(&client).args(&args).status();
    let status = status.map_err(|e| Refusal::new(1, format!("starting {}: {}", client.display(), Errno::from(e))))?;
    let shown = target.display();
    if !status.success() {
        // The client has said why on the same stderr; a second line would say nothing. Unless it died.
        let text = match status.code() {
            Some(_) => String::new(),
            None => format!("mounting on {shown} failed: {} was killed ({status})", client.display()),
        };
        return Err(Refusal::new(1, text));
    }
    if let Err(e) = std::fs::metadata(target) {
        // Nothing more can be done about a mount that neither answers nor goes.
        mount::unmount(target).ok();
        let text = format!(
            "Mount failed. Check the log file for more details. ({shown}: {})",
            Errno::from(e)
        );
        return Err(Refusal::new(1, text));
    }
    Ok(())
}

fn is_remount(invocation: &Invocation) -> bool {
    let words = invocation.options.iter().flat_map(|list| list.split(','));
    words.into_iter().any(|word| word == "remount")
}

/// `-o remount`: the kernel's own flags of a mount change while it is used (read-only or not, noatime, ...). Everything
/// else belongs to the client, which reads it when it starts: as with other file systems, options that cannot be changed
/// are accepted, because mount(8) repeats those of fstab.
fn remount(invocation: &Invocation) -> Result<(), Refusal> {
    let target = &invocation.target;
    let shown = target.display();
    let others = invocation
        .options
        .iter()
        .flat_map(|list| list.split(','))
        .filter(|word| *word != "remount");
    let list = others.collect::<Vec<_>>().join(",");
    let passed = Passed::parse(&[list])?;
    if !mount::is_mounted(target) {
        return Err(Refusal::new(1, format!("{shown} is not mounted")));
    }
    let read_only = passed.before.iter().any(|arg| arg == "--read-only");
    let (flags, _) =
        options::kernel_mount_options(&passed.mount_options, read_only).map_err(|why| Refusal::new(1, why))?;
    if invocation.fake {
        return Ok(());
    }
    let done = sys::mount::mount("none", target, mount::FS_TYPE, flags | libc::MS_REMOUNT, "");
    done.map_err(|e| Refusal::new(1, format!("{shown} cannot be remounted: {}", Errno::from(e))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<Invocation, Refusal> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn arguments(line: &str) -> String {
        match parse_words(line).and_then(|i| client_arguments(&i)) {
            Ok(args) => args.join(OsStr::new(" ")).into_string().unwrap(),
            Err(refusal) => format!("exit {}: {refusal}", refusal.code),
        }
    }

    #[test]
    fn an_fstab_line_becomes_arguments() {
        assert_eq!(
            arguments("localhost:0001 /mnt/d -o rw,_netdev,backupvolfile-server=worker2:worker3"),
            "--process-name=fuse --volfile-server=localhost --volfile-server=worker2 --volfile-server=worker3 \
             --volfile-id=0001 /mnt/d"
        );
        assert_eq!(
            arguments("-sn h1,h2:/vol /mnt -o ro,backup-volfile-servers=h3:[fd00::1],log-level=DEBUG,noatime,acl"),
            "--process-name=fuse --read-only --log-level=DEBUG --acl --volfile-server=h1 --volfile-server=h2 \
             --volfile-server=h3 --volfile-server=fd00::1 --volfile-id=/vol --fuse-mountopts=noatime /mnt"
        );
        assert_eq!(
            arguments("h:/vol/sub/dir /mnt -o server-port=24107 -o transport=tcp"),
            "--process-name=fuse --volfile-server=h --volfile-server-port=24107 --volfile-server-transport=tcp \
             --volfile-id=/vol.tcp --subdir-mount=/sub/dir /mnt"
        );
    }

    #[test]
    fn wrong_command_lines_are_refused() {
        assert_eq!(
            arguments("h:/v"),
            "exit 1: device and mount point are needed: mount.glusterfs HOST:/VOLUME DIR"
        );
        assert_eq!(arguments("h:/v /m x"), "exit 1: unexpected argument \"x\"");
        assert_eq!(
            arguments("h:/v /m -o nosuchoption"),
            "exit 1: Invalid option: nosuchoption"
        );
        assert_eq!(
            arguments("novolume /m"),
            "exit 1: device \"novolume\" is not of the form HOST:/VOLUME"
        );
        assert!(parse_words("-V").unwrap().version && parse_words("-x h:/v /m").unwrap().help);
        assert!(parse_words("h:/v /m -f").unwrap().fake);
    }

    #[test]
    fn unsuitable_mount_points_have_their_own_codes() {
        assert_eq!(check_target(Path::new("/nonexistent")).unwrap_err().code, 1);
        assert_eq!(check_target(Path::new("/etc/hostname")).unwrap_err().code, 1);
        assert_eq!(check_target(Path::new("/")).unwrap_err().code, 2);
        assert_eq!(check_target(Path::new("/tmp")).unwrap_err().code, 2);
    }
}
