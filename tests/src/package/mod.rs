//! The Debian package: our programs under GlusterFS's names, units, configuration, manual pages and maintainer scripts
//! in one `.deb` that takes the place of the C packages.
//!
//! The files come from `control/packaging` and are laid out as [`contents`] says; `dpkg-deb` packs them. The same
//! sources and programs give the same bytes (every date is `SOURCE_DATE_EPOCH`, or that of the last commit). Nothing is
//! compiled here.

mod contents;
mod dependencies;
pub mod manual;

use crate::lab::Cmd;
use crate::lab::error::{Context, Result, ensure, fail};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The package's name.
pub const NAME: &str = "ringluster";
/// Version: the workspace's, and the revision of the packaging.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "-1");
/// The packages of the C implementation whose files have the same names.
pub const REPLACED: [&str; 4] = [
    "glusterfs-server",
    "glusterfs-client",
    "glusterfs-common",
    "glusterfs-cli",
];
/// The release of GlusterFS that dependencies on those packages get.
const PROVIDED: &str = "10.3";
/// Compressing takes the longest.
const PACK_LIMIT: Duration = Duration::from_secs(600);

/// Directory of the files that are packed as they are.
#[must_use]
pub fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../control/packaging")
}

/// Builds the package from the programs in `programs` and leaves it in the directory `output`.
///
/// # Errors
/// What is missing, or what a tool said.
pub fn build(programs: &Path, output: &Path) -> Result<PathBuf> {
    fs::create_dir_all(output).context(output.display())?;
    let stage = output.join(format!("{NAME}-{}.stage", std::process::id()));
    if stage.exists() {
        fs::remove_dir_all(&stage).context(stage.display())?;
    }
    let built = pack(programs, output, &stage);
    fs::remove_dir_all(&stage).context(stage.display())?;
    built
}

fn pack(programs: &Path, output: &Path, stage: &Path) -> Result<PathBuf> {
    let epoch = source_date_epoch()?;
    let staged = Stage {
        root: stage.to_path_buf(),
        date: epoch,
    };
    let installed = contents::lay_out(&staged, programs)?;
    let architecture = Cmd::words("dpkg --print-architecture").run()?.trim().to_string();
    let depends = dependencies::of(&installed)?;
    let size_kib = staged.size_kib()?;
    staged.write(
        "DEBIAN/control",
        0o644,
        control_file(&architecture, &depends, size_kib).as_bytes(),
    )?;
    staged.write("DEBIAN/md5sums", 0o644, staged.checksums()?.as_bytes())?;
    let package = output.join(format!("{NAME}_{VERSION}_{architecture}.deb"));
    // One thread: how many there are may change how blocks are cut. xz would take twenty times the time for a tenth.
    Cmd::words("dpkg-deb --root-owner-group --threads-max=1 -Zzstd -z9 --build")
        .arg(stage)
        .arg(&package)
        .env("SOURCE_DATE_EPOCH", epoch.to_string())
        .limit(PACK_LIMIT)
        .run()?;
    Ok(package)
}

fn control_file(architecture: &str, depends: &str, size_kib: u64) -> String {
    let names = REPLACED.join(", ");
    let provides = REPLACED.map(|name| format!("{name} (= {PROVIDED})")).join(", ");
    format!(
        "Package: {NAME}\nVersion: {VERSION}\nArchitecture: {architecture}\nMaintainer: Ringluster maintainers \
         <maintainers@ringluster.invalid>\nInstalled-Size: {size_kib}\nDepends: {depends}, init-system-helpers (>= 1.54), \
         mount\nRecommends: logrotate\nSuggests: attr, xfsprogs\nProvides: {provides}\nConflicts: {names}\nReplaces: \
         {names}\nSection: admin\nPriority: optional\nDescription: clustered file system, GlusterFS in Rust on io_uring\n \
         Ringluster is GlusterFS's replicated file system, built again: the same\n commands, mount options, volume files, \
         wire protocol and brick directories,\n with a faster data path and no stall when a brick dies.\n .\n This package \
         holds the management daemon glusterd, the gluster command, the\n brick process glusterfsd, the FUSE client \
         glusterfs and its mount helper.\n It takes the place of the packages of the C implementation.\n"
    )
}

/// The moment every date in the package stands for, in seconds since 1970.
fn source_date_epoch() -> Result<u64> {
    if let Ok(text) = std::env::var("SOURCE_DATE_EPOCH") {
        return text
            .trim()
            .parse()
            .context(format!("SOURCE_DATE_EPOCH \"{text}\" is no number of seconds"));
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let commit = Cmd::words("git log -1 --format=%ct").dir(here).run();
    let seconds = commit.context("SOURCE_DATE_EPOCH is not set and the date of the last commit is unknown")?;
    seconds.trim().parse().context("date of the last commit")
}

/// The directory that becomes the package.
#[derive(Debug)]
struct Stage {
    root: PathBuf,
    /// Seconds since 1970.
    date: u64,
}

impl Stage {
    /// Makes a directory and those above it.
    fn directory(&self, path: &str) -> Result<PathBuf> {
        let mut made = self.root.clone();
        for part in std::iter::once("").chain(path.split('/')) {
            made.push(part);
            if !made.is_dir() {
                fs::create_dir(&made).context(made.display())?;
                fs::set_permissions(&made, fs::Permissions::from_mode(0o755)).context(made.display())?;
            }
        }
        Ok(made)
    }

    /// Writes a file; its path is without the leading slash.
    fn write(&self, path: &str, mode: u32, content: &[u8]) -> Result<PathBuf> {
        let (directory, name) = path
            .rsplit_once('/')
            .ok_or_else(|| fail(format!("{path} has no directory")))?;
        let file = self.directory(directory)?.join(name);
        ensure(!file.exists(), format!("{path} is put into the package twice"))?;
        fs::write(&file, content).context(file.display())?;
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).context(file.display())?;
        Ok(file)
    }

    /// Writes a file compressed, without name and date, under its name with `.gz`.
    fn write_compressed(&self, path: &str, content: &str) -> Result<()> {
        let plain = self.write(path, 0o644, content.as_bytes())?;
        Cmd::words("gzip -n -9").arg(&plain).run().map(drop)
    }

    /// Regular files outside `DEBIAN/`, by path without the leading slash, sorted.
    fn files(&self) -> Result<Vec<String>> {
        let text = Cmd::words("find . -path ./DEBIAN -prune -o -type f -print")
            .dir(&self.root)
            .run()?;
        let mut files: Vec<String> = text
            .lines()
            .filter_map(|line| line.strip_prefix("./"))
            .map(str::to_string)
            .collect();
        files.sort();
        Ok(files)
    }

    fn checksums(&self) -> Result<String> {
        Cmd::new("md5sum").args(self.files()?).dir(&self.root).run()
    }

    /// As Debian counts it: each file in whole KiB, and one for everything else.
    fn size_kib(&self) -> Result<u64> {
        let mut kib = 0;
        for file in self.files()? {
            kib += fs::metadata(self.root.join(&file)).context(&file)?.len().div_ceil(1024);
        }
        Ok(kib + 1)
    }
}
