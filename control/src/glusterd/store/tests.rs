//! The store against files that GlusterFS 10.3 wrote, and against interruptions.

use std::path::{Path, PathBuf};

use super::*;
use crate::glusterd::model::{Volume, VolumeStatus};

const GENERATED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/generated");

/// A directory that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("glusterd-store-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn store(&self) -> Store {
        let paths = Paths {
            workdir: self.0.join("lib"),
            rundir: self.0.join("run"),
            logdir: self.0.join("log"),
        };
        Store::open(paths).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn generated(name: &str) -> String {
    std::fs::read_to_string(Path::new(GENERATED).join(name)).unwrap()
}

/// The volume directory as GlusterFS left it on node w1.
fn plant_glusterfs_volume(store: &Store) {
    let directory = store.paths().volume("0001");
    std::fs::create_dir_all(directory.join("bricks")).unwrap();
    for name in ["info", "cksum", "node_state.info", "snapd.info"] {
        std::fs::write(directory.join(name), generated(name)).unwrap();
    }
    std::fs::write(
        directory.join("bricks/w1:-srv-node-w1-brick-b"),
        generated("brick-w1.info"),
    )
    .unwrap();
    for i in 2..=6 {
        let uuid = "a1decd38-e1f9-4131-9dc8-8c93ef4cf9ea";
        let text = generated("brick-w2.info").replace("w2", &format!("w{i}"));
        let text = text
            .replace("client-1", &format!("client-{}", i - 1))
            .replace(uuid, &format!("{uuid:0>36}"));
        std::fs::write(directory.join(format!("bricks/w{i}:-srv-node-w{i}-brick-b")), text).unwrap();
    }
}

fn volume(store: &Store) -> Volume {
    plant_glusterfs_volume(store);
    store.load_volume("0001").unwrap()
}

#[test]
fn reads_what_glusterfs_wrote_and_writes_it_back_unchanged() {
    let scratch = Scratch::new("roundtrip");
    let store = scratch.store();
    let volume = volume(&store);
    assert_eq!(
        (volume.status, volume.bricks.len(), volume.replica_count),
        (VolumeStatus::Started, 6, 6)
    );
    assert_eq!(volume.bricks[0].port, 50159);
    assert_eq!(volume.option("cluster.granular-entry-heal"), Some("on"));
    std::fs::remove_dir_all(store.paths().volume("0001")).unwrap();
    store.save_volume(&volume).unwrap();
    let directory = store.paths().volume("0001");
    let read = |name: &str| std::fs::read_to_string(directory.join(name)).unwrap();
    for name in ["info", "cksum", "node_state.info", "snapd.info"] {
        assert_eq!(read(name), generated(name), "{name}");
    }
    assert_eq!(read("bricks/w1:-srv-node-w1-brick-b"), generated("brick-w1.info"));
    assert_eq!(read("bricks/w2:-srv-node-w2-brick-b"), generated("brick-w2.info"));
}

#[test]
fn the_node_keeps_its_uuid() {
    let scratch = Scratch::new("node");
    let store = scratch.store();
    let first = store.node_info().unwrap();
    assert_eq!(store.node_info().unwrap(), first);
    let read = |name: &str| std::fs::read_to_string(store.paths().workdir.join(name)).unwrap();
    assert_eq!(
        read("glusterd.info"),
        format!("UUID={}\noperating-version=100000\n", first.uuid)
    );
    assert_eq!(read("glusterd.upgrade"), generated("glusterd.upgrade"));
    // A damaged file must not make the node another one.
    std::fs::write(
        store.paths().workdir.join("glusterd.info"),
        "operating-version=100000\n",
    )
    .unwrap();
    assert!(matches!(store.node_info(), Err(StoreError::MissingKey { key, .. }) if key == "UUID"));
}

#[test]
fn cluster_options_start_empty_and_survive() {
    let scratch = Scratch::new("options");
    let store = scratch.store();
    assert_eq!(store.cluster_options().unwrap(), (0, vec![]));
    assert_eq!(
        std::fs::read_to_string(store.paths().workdir.join("options")).unwrap(),
        generated("options")
    );
    let set = vec![("cluster.server-quorum-ratio".to_string(), "60".to_string())];
    store.save_cluster_options(1, &set).unwrap();
    assert_eq!(store.cluster_options().unwrap(), (1, set));
}

#[test]
fn an_interrupted_write_leaves_the_old_file() {
    let scratch = Scratch::new("crash");
    let store = scratch.store();
    let before = volume(&store);
    let info = store.paths().volume("0001").join("info");
    // The state of a crash between writing beside and renaming.
    let leftover = store.paths().volume("0001").join("info.tmp");
    std::fs::write(&leftover, "type=2\ncount=").unwrap();
    let store = scratch.store();
    assert_eq!(store.load_volume("0001").unwrap(), before);
    assert!(!leftover.exists() && info.exists());
}

#[test]
fn half_a_volume_is_no_volume() {
    let scratch = Scratch::new("half");
    let store = scratch.store();
    plant_glusterfs_volume(&store);
    let half = store.paths().volume("half");
    std::fs::create_dir_all(half.join("bricks")).unwrap();
    std::fs::write(half.join("bricks/w1:-b"), "uuid=").unwrap();
    assert_eq!(store.volume_names().unwrap(), ["0001"]);
    assert!(!half.exists());
    store.delete_volume("0001").unwrap();
    assert!(store.volume_names().unwrap().is_empty());
}

#[test]
fn damage_is_named() {
    let scratch = Scratch::new("damage");
    let store = scratch.store();
    plant_glusterfs_volume(&store);
    let path = store.paths().volume("0001").join("info");
    let good = generated("info");
    let message = |text: String| {
        std::fs::write(&path, text).unwrap();
        let text = store.load_volume("0001").unwrap_err().to_string();
        text.replace(&path.display().to_string(), "INFO")
    };
    assert_eq!(
        message(good.replace("count=6\nstatus", "count=x\nstatus")),
        "INFO: 'x' is no valid value of 'count'"
    );
    assert_eq!(
        message(good.replace("volume-id=", "volume-ie=")),
        "INFO: the key 'volume-id' is missing"
    );
    assert_eq!(
        message(good.replace("version=2\n", "version\n")),
        "INFO: line 8 is not KEY=VALUE"
    );
    assert!(message(good.replace("type=2", "type=4")).ends_with("(only replicate, type 2, is) is not supported"));
    assert!(message(good.replace("replica_count=6", "replica_count=3")).contains("6 bricks with replica count 3"));
    let outside = message(good.replace("brick-0=w1:", "brick-0=../w1:"));
    assert!(outside.ends_with("is no valid value of 'brick-0'"), "{outside}");
    // Any prefix of the file is refused or read, and nothing panics.
    for cut in 0..good.len() {
        std::fs::write(&path, &good[..cut]).unwrap();
        let _ = store.load_volume("0001");
    }
}

#[test]
fn volfiles_are_written_only_when_they_change() {
    let scratch = Scratch::new("volfile");
    let store = scratch.store();
    plant_glusterfs_volume(&store);
    assert!(store.save_volfile("0001", "0001.tcp-fuse.vol", "volume a").unwrap());
    assert!(!store.save_volfile("0001", "0001.tcp-fuse.vol", "volume a").unwrap());
    assert_eq!(
        store.load_volfile("0001", "0001.tcp-fuse.vol").unwrap().as_deref(),
        Some("volume a")
    );
    assert_eq!(store.load_volfile("0001", "none.vol").unwrap(), None);
}
