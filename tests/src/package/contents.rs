//! Which file goes where in the package, and with which mode.

use super::{NAME, Stage, VERSION, manual, sources};
use crate::lab::Cmd;
use crate::lab::error::{Context, Result, fail};
use std::fs;
use std::path::{Path, PathBuf};

/// Our programs by the name cargo gives them, and where they are installed. The helper's path is the one Debian's C
/// package uses: were it written `/usr/sbin`, the removal of that package would take the file along.
const PROGRAMS: [(&str, &str); 5] = [
    ("glusterd", "usr/sbin/glusterd"),
    ("gluster", "usr/sbin/gluster"),
    ("glusterfs", "usr/sbin/glusterfs"),
    ("glusterfsd", "usr/sbin/glusterfsd"),
    ("mount-glusterfs", "sbin/mount.glusterfs"),
];

/// Files of `control/packaging`, where they are installed, and their modes.
const FILES: [(&str, &str, u32); 11] = [
    ("systemd/glusterd.service", "lib/systemd/system/glusterd.service", 0o644),
    (
        "systemd/glusterfsd.service",
        "lib/systemd/system/glusterfsd.service",
        0o644,
    ),
    (
        "scripts/stop-all-gluster-processes.sh",
        "usr/share/glusterfs/scripts/stop-all-gluster-processes.sh",
        0o755,
    ),
    ("etc/glusterd.vol", "etc/glusterfs/glusterd.vol", 0o644),
    ("etc/default-glusterd", "etc/default/glusterd", 0o644),
    ("etc/logrotate", "etc/logrotate.d/glusterfs-common", 0o644),
    (
        "bash-completion/gluster",
        "usr/share/bash-completion/completions/gluster",
        0o644,
    ),
    (
        "debian/lintian-overrides",
        "usr/share/lintian/overrides/ringluster",
        0o644,
    ),
    ("debian/postinst", "DEBIAN/postinst", 0o755),
    ("debian/prerm", "DEBIAN/prerm", 0o755),
    ("debian/postrm", "DEBIAN/postrm", 0o755),
];

/// Directories that are there before the first start.
const DIRECTORIES: [&str; 2] = ["var/lib/glusterd", "var/log/glusterfs/bricks"];

/// Puts every file in place and answers the installed programs.
pub fn lay_out(stage: &Stage, programs: &Path) -> Result<Vec<PathBuf>> {
    let mut installed = Vec::new();
    for (name, path) in PROGRAMS {
        installed.push(program(stage, &programs.join(name), path)?);
    }
    for (source, path, mode) in FILES {
        let file = sources().join(source);
        stage.write(path, mode, &fs::read(&file).context(file.display())?)?;
    }
    for directory in DIRECTORIES {
        stage.directory(directory)?;
    }
    for page in manual::pages(stage.date)? {
        stage.write_compressed(&format!("usr/share/man/man8/{}", page.file), &page.text)?;
    }
    documents(stage)?;
    let configuration = FILES.iter().filter(|(_, path, _)| path.starts_with("etc/"));
    let list: String = configuration.map(|(_, path, _)| format!("/{path}\n")).collect();
    stage.write("DEBIAN/conffiles", 0o644, list.as_bytes())?;
    Ok(installed)
}

/// A program without the line tables of its debug information; the names stay, for backtraces.
fn program(stage: &Stage, built: &Path, path: &str) -> Result<PathBuf> {
    let missing = |error| fail(format!("{}: {error}: build the programs first", built.display()));
    let file = stage.write(path, 0o755, &fs::read(built).map_err(missing)?)?;
    Cmd::words("strip --strip-debug --remove-section=.comment")
        .arg(&file)
        .run()?;
    Ok(file)
}

fn documents(stage: &Stage) -> Result<()> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let date = Cmd::words("date -u -R -d").arg(format!("@{}", stage.date)).run()?;
    let changelog = format!(
        "{NAME} ({VERSION}) unstable; urgency=medium\n\n  * Built from the sources of this date.\n\n -- Ringluster \
         maintainers <maintainers@ringluster.invalid>  {date}"
    );
    let at = format!("usr/share/doc/{NAME}");
    stage.write_compressed(&format!("{at}/changelog.Debian"), &changelog)?;
    let readme = top.join("README.md");
    stage.write_compressed(
        &format!("{at}/README.md"),
        &fs::read_to_string(&readme).context(readme.display())?,
    )?;
    let copyright = "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
                     Upstream-Name: Ringluster\n\nFiles: *\nCopyright: 2026 the Ringluster authors\nLicense: Apache-2.0\n \
                     On Debian systems the full text of the Apache License, Version 2.0 is in\n \
                     /usr/share/common-licenses/Apache-2.0.\n";
    stage
        .write(&format!("{at}/copyright"), 0o644, copyright.as_bytes())
        .map(drop)
}
