//! `cargo sandbox [MOUNTPOINT]`: a replicated volume on this machine in one command.
//!
//! Six bricks, our management daemon on private paths and a private port, volume 0001 mounted, a short story that
//! shows a brick dying under I/O and being healed; then it stays up until Ctrl-C, which takes all of it down.

use ::tests::lab::disk::{BrickDisk, make_bricks};
use ::tests::lab::error::{Context, Result, fail};
use ::tests::lab::record::{Item, base_directory};
use ::tests::lab::signals::Interrupt;
use ::tests::lab::{Cluster, Flavor, Lab, Mount, build, cleanup_leftovers, disk, mounts};
use ::tests::story;
use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

const BRICKS: usize = 6;

/// Six bricks on this machine, mounted, one killed and healed under I/O.
#[derive(Debug, Parser)]
#[command(name = "sandbox")]
struct Options {
    /// Where to mount the volume; made when it does not exist.
    #[arg(default_value = "/mnt/ringluster")]
    mountpoint: PathBuf,
    /// Where bricks, state and logs are kept while it runs; the file system must have trusted.* attributes.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Ends after the story instead of staying up.
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sandbox: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let interrupt = Interrupt::install()?;
    let state = options.state.clone().unwrap_or_else(base_directory);
    check_machine(&state, &options.mountpoint)?;
    cleanup_leftovers()?;
    build::programs()?;
    println!("starting: six bricks, the management daemon, volume 0001");
    let lab = Lab::local_in(&state)?;
    let bricks = make_bricks(&lab, &lab.this_machine(), BrickDisk::Directory, BRICKS)?;
    let cluster = Cluster::start(&lab, &lab.this_machine(), Flavor::Ringluster, &bricks)?;
    let mount = mount(&lab, &cluster, &options.mountpoint)?;
    println!(
        "volume {} is mounted at {}",
        cluster.volume(),
        options.mountpoint.display()
    );
    let told = story::tell(&cluster, &mount, Some(&interrupt));
    let ended = match told {
        Ok(_) if options.once => Ok(()),
        Ok(_) => stay(&cluster, &options.mountpoint, &interrupt),
        Err(_) if interrupt.asked() => Ok(()),
        Err(error) => Err(error),
    };
    println!("taking everything down");
    drop(mount);
    lab.remove()?;
    println!("nothing is left: no process, no mount, no file");
    ended
}

/// Says exactly what is missing, all at once.
fn check_machine(state: &Path, mountpoint: &Path) -> Result<()> {
    let mut missing = Vec::new();
    let root = nix::unistd::geteuid().is_root();
    if !root {
        missing.push("root: mounting and trusted.* extended attributes need it (try: sudo -E cargo sandbox)".into());
    }
    if let Err(error) = fs::File::options().read(true).write(true).open("/dev/fuse") {
        missing.push(format!(
            "/dev/fuse: {error} (kernel module fuse, or a container started without the device)"
        ));
    }
    if root {
        let made = fs::create_dir_all(state).context(state.display());
        if let Err(error) = made.and_then(|()| disk::check_xattrs(state)) {
            missing.push(format!(
                "{error}; --state DIR names another place (ext4, XFS and Btrfs are fine)"
            ));
        }
    }
    if let Some(problem) = mountpoint_problem(mountpoint) {
        missing.push(problem);
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(fail(format!("this machine lacks:\n  - {}", missing.join("\n  - "))))
}

fn mountpoint_problem(at: &Path) -> Option<String> {
    if !at.is_absolute() {
        return Some(format!("mount point {}: an absolute path is needed", at.display()));
    }
    if mounts::table().iter().any(|line| line.point == at) {
        return Some(format!(
            "mount point {}: something is mounted there already",
            at.display()
        ));
    }
    match fs::read_dir(at) {
        Ok(entries) => (entries.count() > 0).then(|| format!("mount point {}: is not empty", at.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => Some(format!("mount point {}: {error}", at.display())),
    }
}

/// Written down before it is made, so that even a killed sandbox is taken down by the next.
fn mount(lab: &Lab, cluster: &Cluster, at: &Path) -> Result<Mount> {
    let item = if at.exists() {
        Item::Mount(at.into())
    } else {
        Item::Outside(at.into())
    };
    lab.record().add(&item)?;
    cluster.client(Flavor::Ringluster).mount(&lab.this_machine(), at)
}

fn stay(cluster: &Cluster, at: &Path, interrupt: &Interrupt) -> Result<()> {
    let gluster = cluster.gluster_words()?.join(" ");
    let volume = cluster.volume();
    println!();
    println!("It stays up for you. The volume is at {}", at.display());
    println!("Look at it:");
    println!("  mount | grep gluster");
    println!("  df -h {}", at.display());
    for command in [
        "info",
        "status",
        &format!("heal {volume} info"),
        &format!("start {volume} force"),
    ] {
        let note = if command.starts_with("start") {
            "   # brings killed bricks back"
        } else {
            ""
        };
        println!("  {gluster} volume {command}{note}");
    }
    println!(
        "Bricks: {}",
        cluster
            .bricks()
            .iter()
            .map(|brick| brick.display().to_string())
            .collect::<Vec<_>>()
            .join(" ")
    );
    println!("Logs:   {}", cluster.logdir().display());
    println!("Ctrl-C takes everything down.");
    while !interrupt.asked() {
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}
