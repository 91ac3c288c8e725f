//! Generated volfiles against the files that GlusterFS 10.3 wrote: byte for byte.

use super::*;

const GENERATED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/captures/generated");
const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/volfile/generate/testdata");

fn read(folder: &str, name: &str) -> String {
    std::fs::read_to_string(format!("{folder}/{name}")).expect(name)
}

/// The volume as GlusterFS's own `info` file describes it; the bricks' directory is given.
fn volume(info: &str, name: &str, brick: impl Fn(&str) -> (String, String), shared: u32) -> VolumeSpec {
    let pairs: Vec<(&str, &str)> = info.lines().filter_map(|l| l.split_once('=')).collect();
    let get = |key: &str| {
        pairs
            .iter()
            .find(|(k, _)| *k == key)
            .map(|(_, v)| (*v).to_string())
            .expect("key")
    };
    let bricks = pairs
        .iter()
        .filter(|(k, _)| k.starts_with("brick-"))
        .enumerate()
        .map(|(i, (_, v))| {
            let (host, path) = brick(v);
            BrickSpec {
                host,
                path,
                client_name: format!("{name}-client-{i}"),
                shared_brick_count: shared,
            }
        });
    let options = pairs
        .iter()
        .filter(|(k, _)| k.contains('.'))
        .map(|(k, v)| ((*k).into(), (*v).into()));
    VolumeSpec {
        name: name.into(),
        volume_id: get("volume-id"),
        username: get("username"),
        password: get("password"),
        replica_count: get("replica_count").parse().expect("number"),
        bricks: bricks.collect(),
        options: options.collect(),
        workdir: "/var/lib/glusterd".into(),
    }
}

fn six_bricks() -> VolumeSpec {
    let brick = |text: &str| {
        let host = text.split(':').next().expect("host").to_string();
        let path = format!("/srv/node/{host}/brick/b");
        (host, path)
    };
    volume(&read(GENERATED, "info"), "0001", brick, 1)
}

/// A volume with nearly everything set.
fn everything_set() -> VolumeSpec {
    let brick = |text: &str| {
        (
            "w1".to_string(),
            format!("/bricks/{}", text.rsplit('-').next().expect("number")),
        )
    };
    volume(&read(TESTDATA, "v1.info"), "v1", brick, 3)
}

#[test]
fn default_volume_equals_glusterfs() {
    let spec = six_bricks();
    let text = |graph: Result<crate::volfile::Graph, GenerateError>| graph.unwrap().to_text().unwrap();
    assert_eq!(
        text(client_volfile(&spec, FuseKind::Trusted)),
        read(GENERATED, "trusted-0001.tcp-fuse.vol")
    );
    assert_eq!(
        text(client_volfile(&spec, FuseKind::Untrusted)),
        read(GENERATED, "0001.tcp-fuse.vol")
    );
    assert_eq!(text(shd_volfile(&spec)), read(GENERATED, "0001-shd.vol"));
    assert_eq!(
        text(brick_volfile(&spec, 0)),
        read(GENERATED, "0001.w1.srv-node-w1-brick-b.vol")
    );
}

#[test]
fn set_options_stand_where_glusterfs_puts_them() {
    let mut spec = everything_set();
    let text = |graph: Result<crate::volfile::Graph, GenerateError>| graph.unwrap().to_text().unwrap();
    assert_eq!(
        text(client_volfile(&spec, FuseKind::Trusted)),
        read(TESTDATA, "trusted-v1.tcp-fuse.vol")
    );
    assert_eq!(text(brick_volfile(&spec, 0)), read(TESTDATA, "v1-brick-1.vol"));
    // GlusterFS has this row of its table before the daemon's own lines; the text of the shd file shows where.
    assert_eq!(
        text(shd_volfile(&spec)).lines().count(),
        read(TESTDATA, "v1-shd.vol").lines().count()
    );
    let (ours, theirs) = (
        shd_volfile(&spec).unwrap(),
        crate::volfile::Graph::parse(read(TESTDATA, "v1-shd.vol")).unwrap(),
    );
    for (a, b) in ours.xlators.iter().zip(&theirs.xlators) {
        let sorted = |x: &crate::volfile::Xlator| {
            let mut options = x.options.clone();
            options.sort();
            (x.name.clone(), x.kind.clone(), options, x.subvolumes.clone())
        };
        assert_eq!(sorted(a), sorted(b));
    }
    spec.options.insert("features.ctime".into(), "off".into());
    assert!(
        client_volfile(&spec, FuseKind::Trusted)
            .unwrap()
            .first_of_type("features/utime")
            .is_none()
    );
}

#[test]
fn every_real_volfile_reads_and_writes_back() {
    for entry in std::fs::read_dir(GENERATED).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "vol") && path.file_name().unwrap() != "glusterd.vol" {
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(
                crate::volfile::Graph::parse(&text).unwrap().to_text().unwrap(),
                text,
                "{path:?}"
            );
        }
    }
}

#[test]
fn impossible_shapes_are_named() {
    let mut spec = six_bricks();
    spec.replica_count = 4;
    assert_eq!(
        shd_volfile(&spec),
        Err(GenerateError::BrickCount { bricks: 6, replica: 4 })
    );
    spec.replica_count = 0;
    assert!(client_volfile(&spec, FuseKind::Trusted).is_err());
    assert_eq!(brick_volfile(&spec, 6), Err(GenerateError::NoSuchBrick(6)));
}
