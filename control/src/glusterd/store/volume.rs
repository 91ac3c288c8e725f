//! The directory of one volume: `info`, `cksum`, `node_state.info`, `snapd.info`, `bricks/*` and the volfiles.

use std::io::ErrorKind;
use std::path::Path;

use super::super::model::{Brick, TYPE_REPLICATE, Volume, VolumeStatus};
use super::super::paths::brick_file_name;
use super::checksum::volume_checksum;
use super::file::{KeyValues, key_value_text, write_atomically};
use super::{Store, StoreError};

const NODE_STATE: &str = "rebalance_status=0\nstatus=0\nrebalance_op=0\n\
    rebalance-id=00000000-0000-0000-0000-000000000000\nrebalanced-files=0\nsize=0\nscanned=0\nfailures=0\nskipped=0\n\
    run-time=0.000000\n";
const SNAPD: &str = "snapd-port=0\n";

/// Keys of `info` that [`Volume`] has fields for, or that always have one value here.
const INFO_KEYS: [&str; 20] = [
    "type",
    "count",
    "status",
    "sub_count",
    "replica_count",
    "disperse_count",
    "redundancy_count",
    "arbiter_count",
    "thin_arbiter_count",
    "stripe_count",
    "version",
    "transport-type",
    "volume-id",
    "username",
    "password",
    "op-version",
    "client-op-version",
    "quota-version",
    "tier-enabled",
    "caps",
];
/// Keys without a meaning here that every new volume has all the same.
pub(in crate::glusterd) const NEW_VOLUME_EXTRA: [(&str, &str); 3] = [
    ("parent_volname", "N/A"),
    ("restored_from_snap", "00000000-0000-0000-0000-000000000000"),
    ("snap-max-hard-limit", "256"),
];
/// Keys of a brick's file that [`Brick`] has fields for.
const BRICK_KEYS: [&str; 11] = [
    "uuid",
    "hostname",
    "path",
    "real_path",
    "listen-port",
    "rdma.listen-port",
    "decommissioned",
    "brick-id",
    "mount_dir",
    "snap-status",
    "brick-fsid",
];

impl Store {
    /// Names of the volumes that have a directory, sorted. A directory without `info` is the rest of an interrupted
    /// create or delete: it is removed.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn volume_names(&self) -> Result<Vec<String>, StoreError> {
        let vols = self.paths.workdir.join("vols");
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&vols).map_err(|e| StoreError::io(&vols, e))? {
            let entry = entry.map_err(|e| StoreError::io(&vols, e))?;
            let path = entry.path();
            if !path.is_dir() {
                continue;
            }
            if path.join("info").exists() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            } else {
                tracing::warn!("removing {}, left by an interrupted create or delete", path.display());
                std::fs::remove_dir_all(&path).map_err(|e| StoreError::io(&path, e))?;
            }
        }
        names.sort();
        Ok(names)
    }

    /// Reads a volume.
    ///
    /// # Errors
    /// [`StoreError`]; a volume of another kind than replicate with one replica set is [`StoreError::Unsupported`].
    pub fn load_volume(&self, name: &str) -> Result<Volume, StoreError> {
        let directory = self.paths.volume(name);
        let path = directory.join("info");
        let info = KeyValues::read(&path)?;
        let count: usize = info.parse("count")?;
        let replica_count: usize = info.parse("replica_count")?;
        check_kind(&path, &info, count, replica_count)?;
        let status: i32 = info.parse("status")?;
        let status = VolumeStatus::from_number(status).ok_or_else(|| info.bad("status", &status.to_string()))?;
        let bricks = (0..count)
            .map(|i| load_brick(&directory, &info, name, i))
            .collect::<Result<_, _>>()?;
        let other = |(key, _): &&(String, String)| {
            !INFO_KEYS.contains(&key.as_str()) && !is_brick_key(key) && !key.contains('.')
        };
        Ok(Volume {
            name: name.to_string(),
            id: info.parse("volume-id")?,
            status,
            replica_count,
            version: info.parse("version")?,
            username: info.need("username")?.to_string(),
            password: info.need("password")?.to_string(),
            bricks,
            options: info
                .pairs()
                .iter()
                .filter(|(key, _)| key.contains('.'))
                .cloned()
                .collect(),
            extra: info.pairs().iter().filter(other).cloned().collect(),
        })
    }

    /// Stores a volume: bricks first and `info` last, because `info` is what makes a directory a volume.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn save_volume(&self, volume: &Volume) -> Result<(), StoreError> {
        let directory = self.paths.volume(&volume.name);
        let bricks = directory.join("bricks");
        std::fs::create_dir_all(&bricks).map_err(|e| StoreError::io(&bricks, e))?;
        for brick in &volume.bricks {
            write_atomically(&bricks.join(brick_file_name(brick)), brick_text(brick).as_bytes())?;
        }
        for (name, content) in [("node_state.info", NODE_STATE), ("snapd.info", SNAPD)] {
            let path = directory.join(name);
            if !path.exists() {
                write_atomically(&path, content.as_bytes())?;
            }
        }
        let info = info_text(volume);
        let (stored, _) = volume_checksum(&info);
        write_atomically(&directory.join("cksum"), format!("info={stored}\n").as_bytes())?;
        write_atomically(&directory.join("info"), info.as_bytes())
    }

    /// Stores one brick of a volume that is there already.
    ///
    /// # Errors
    /// [`StoreError::Io`], also if the volume has been deleted meanwhile.
    pub fn save_brick(&self, volume: &str, brick: &Brick) -> Result<(), StoreError> {
        let path = self.paths.volume(volume).join("bricks").join(brick_file_name(brick));
        write_atomically(&path, brick_text(brick).as_bytes())
    }

    /// Stores one volfile of a volume; does nothing if it is there with this content. Answers whether it changed.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn save_volfile(&self, volume: &str, file_name: &str, text: &str) -> Result<bool, StoreError> {
        let path = self.paths.volume(volume).join(file_name);
        if std::fs::read(&path).is_ok_and(|old| old == text.as_bytes()) {
            return Ok(false);
        }
        write_atomically(&path, text.as_bytes())?;
        Ok(true)
    }

    /// Reads a volfile of a volume; None if there is no such file.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn load_volfile(&self, volume: &str, file_name: &str) -> Result<Option<String>, StoreError> {
        let path = self.paths.volume(volume).join(file_name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io(&path, error)),
        }
    }

    /// Removes one file below the volume's directory, if it is there.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn remove_volume_file(&self, volume: &str, name: &str) -> Result<(), StoreError> {
        let path = self.paths.volume(volume).join(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::io(&path, error)),
            _ => Ok(()),
        }
    }

    /// Forgets a volume. `info` goes first, so that an interruption leaves no half volume.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn delete_volume(&self, name: &str) -> Result<(), StoreError> {
        let directory = self.paths.volume(name);
        let info = directory.join("info");
        // What an interrupted removal has already removed is not missed.
        let gone = |result: std::io::Result<()>, path: &Path| match result {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(StoreError::io(path, error)),
            _ => Ok(()),
        };
        gone(std::fs::remove_file(&info), &info)?;
        gone(std::fs::remove_dir_all(&directory), &directory)
    }
}

fn is_brick_key(key: &str) -> bool {
    key.strip_prefix("brick-")
        .is_some_and(|rest| rest.parse::<usize>().is_ok())
}

fn check_kind(path: &Path, info: &KeyValues, count: usize, replica: usize) -> Result<(), StoreError> {
    let unsupported = |what: String| {
        Err(StoreError::Unsupported {
            path: path.to_owned(),
            what,
        })
    };
    let kind: i32 = info.parse("type")?;
    if kind != TYPE_REPLICATE {
        return unsupported(format!(
            "a volume of type {kind} (only replicate, type {TYPE_REPLICATE}, is)"
        ));
    }
    if count != replica || replica == 0 {
        return unsupported(format!(
            "a replicate volume of {count} bricks with replica count {replica}"
        ));
    }
    for key in ["arbiter_count", "thin_arbiter_count"] {
        let number: u32 = info.parse_or(key, 0)?;
        if number != 0 {
            return unsupported(format!("{key} {number}"));
        }
    }
    Ok(())
}

/// Reads the brick with that index: `info` names its file as HOST:PATH-IN-DASHES.
fn load_brick(directory: &Path, info: &KeyValues, volume: &str, index: usize) -> Result<Brick, StoreError> {
    let file_name = info.need(&format!("brick-{index}"))?;
    if file_name.contains('/') {
        return Err(info.bad(&format!("brick-{index}"), file_name));
    }
    let file = KeyValues::read(&directory.join("bricks").join(file_name))?;
    let path = file.need("path")?.to_string();
    Ok(Brick {
        node: file.parse("uuid")?,
        host: file.need("hostname")?.to_string(),
        real_path: file.get("real_path").unwrap_or(&path).to_string(),
        port: file.parse_or("listen-port", 0)?,
        brick_id: file
            .get("brick-id")
            .map_or_else(|| format!("{volume}-client-{index}"), str::to_string),
        mount_dir: file.get("mount_dir").unwrap_or_default().to_string(),
        fsid: file.parse_or("brick-fsid", 0)?,
        extra: file
            .pairs()
            .iter()
            .filter(|(key, _)| !BRICK_KEYS.contains(&key.as_str()))
            .cloned()
            .collect(),
        path,
    })
}

fn brick_text(brick: &Brick) -> String {
    let known = [
        ("uuid", brick.node.to_string()),
        ("hostname", brick.host.clone()),
        ("path", brick.path.clone()),
        ("real_path", brick.real_path.clone()),
        ("listen-port", brick.port.to_string()),
        ("rdma.listen-port", "0".into()),
        ("decommissioned", "0".into()),
        ("brick-id", brick.brick_id.clone()),
        ("mount_dir", brick.mount_dir.clone()),
        ("snap-status", "0".into()),
        ("brick-fsid", brick.fsid.to_string()),
    ];
    key_value_text(
        known
            .into_iter()
            .chain(brick.extra.iter().map(|(k, v)| (k.as_str(), v.clone()))),
    )
}

fn info_text(volume: &Volume) -> String {
    let (op_version, client_op_version) = volume.op_versions();
    let zero = || "0".to_string();
    let known = [
        ("type", TYPE_REPLICATE.to_string()),
        ("count", volume.bricks.len().to_string()),
        ("status", volume.status.number().to_string()),
        ("sub_count", volume.replica_count.to_string()),
        ("replica_count", volume.replica_count.to_string()),
        ("disperse_count", zero()),
        ("redundancy_count", zero()),
        ("version", volume.version.to_string()),
        ("transport-type", zero()),
        ("volume-id", volume.id.to_string()),
        ("username", volume.username.clone()),
        ("password", volume.password.clone()),
        ("op-version", op_version.to_string()),
        ("client-op-version", client_op_version.to_string()),
        ("quota-version", zero()),
        ("tier-enabled", zero()),
    ];
    let mut text = key_value_text(known);
    for (key, value) in volume.extra.iter().chain(&volume.options) {
        text.push_str(&format!("{key}={value}\n"));
    }
    for (index, brick) in volume.bricks.iter().enumerate() {
        text.push_str(&format!("brick-{index}={}\n", brick_file_name(brick)));
    }
    text
}
