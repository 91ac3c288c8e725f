//! The graph of a brick process: storage/posix at the bottom, protocol/server on top.

use super::super::graph::Graph;
use super::super::options::{GraphKind, XlatorKind};
use super::xlator::Builder;
use super::{BrickSpec, GenerateError, VolumeSpec};

/// The volfile of the brick with that index (from 0, in volume order).
///
/// # Errors
/// [`GenerateError::NoSuchBrick`].
pub fn brick_volfile(spec: &VolumeSpec, index: usize) -> Result<Graph, GenerateError> {
    let brick = spec.bricks.get(index).ok_or(GenerateError::NoSuchBrick(index))?;
    let mut stack = Stack {
        spec,
        brick,
        graph: Graph::default(),
    };
    stack.storage();
    stack.features();
    stack.services();
    stack.top();
    Ok(stack.graph)
}

struct Stack<'a> {
    spec: &'a VolumeSpec,
    brick: &'a BrickSpec,
    graph: Graph,
}

impl Stack<'_> {
    fn new_xlator(&self, kind: XlatorKind) -> Builder {
        Builder::new(self.spec, kind)
    }

    /// Adds the table's options and puts the xlator on top.
    fn push(&mut self, builder: Builder) {
        let below = self.graph.top().map(|x| x.name.clone());
        let builder = builder.table(self.spec, GraphKind::Brick, &self.brick.path);
        self.graph.xlators.push(builder.over(below.as_deref()));
    }

    fn push_plain(&mut self, kind: XlatorKind) {
        self.push(self.new_xlator(kind));
    }

    fn storage(&mut self) {
        let posix = self
            .new_xlator(XlatorKind::Posix)
            .set("directory", &self.brick.path)
            .set("volume-id", &self.spec.volume_id)
            .set_if_given(self.spec, "storage.fips-mode-rchecksum", "fips-mode-rchecksum")
            .set("shared-brick-count", self.brick.shared_brick_count.to_string());
        self.push(posix);
        let trash = self
            .new_xlator(XlatorKind::Trash)
            .set("trash-dir", ".trashcan")
            .set("brick-path", &self.brick.path)
            .set("trash-internal-op", "off");
        self.push(trash);
        let changelog = self
            .new_xlator(XlatorKind::Changelog)
            .set("changelog-brick", &self.brick.path)
            .set("changelog-dir", format!("{}/.glusterfs/changelogs", self.brick.path))
            .set("changelog-notification", "off");
        self.push(changelog);
        self.push(self.new_xlator(XlatorKind::BitrotStub).set("export", &self.brick.path));
    }

    fn features(&mut self) {
        self.push_plain(XlatorKind::AccessControl);
        self.push_plain(XlatorKind::Locks);
        self.push_plain(XlatorKind::Worm);
        self.push_plain(XlatorKind::ReadOnly);
        self.push_plain(XlatorKind::Leases);
        self.push_plain(XlatorKind::Upcall);
        self.push_plain(XlatorKind::IoThreads);
        self.push_plain(XlatorKind::Selinux);
    }

    fn services(&mut self) {
        let marker = self
            .new_xlator(XlatorKind::Marker)
            .set("volume-uuid", &self.spec.volume_id)
            .set(
                "timestamp-file",
                format!("{}/vols/{}/marker.tstamp", self.spec.workdir, self.spec.name),
            )
            .set("quota-version", "0");
        self.push(marker);
        self.push_plain(XlatorKind::Barrier);
        let index = self
            .new_xlator(XlatorKind::Index)
            .set("index-base", format!("{}/.glusterfs/indices", self.brick.path))
            .set("xattrop-dirty-watchlist", "trusted.afr.dirty")
            .set("xattrop-pending-watchlist", format!("trusted.afr.{}-", self.spec.name));
        self.push(index);
        let quota = self
            .new_xlator(XlatorKind::Quota)
            .set("volume-uuid", &self.spec.name)
            .set("server-quota", "off")
            .set("deem-statfs", "off");
        self.push(quota);
    }

    fn top(&mut self) {
        let (spec, brick) = (self.spec, self.brick);
        let stats = Builder::named(&brick.path, XlatorKind::IoStats)
            .set("unique-id", &brick.path)
            .set("volume-id", &spec.volume_id)
            .set(
                "log-level",
                spec.option("diagnostics.brick-log-level").unwrap_or("INFO"),
            )
            .set("threads", spec.option("config.brick-threads").unwrap_or("16"));
        self.push(stats);
        let server = self
            .new_xlator(XlatorKind::Server)
            .set("transport-type", "tcp")
            .set_if_given(spec, "transport.address-family", "transport.address-family")
            .set(format!("auth.login.{}.allow", brick.path), &spec.username)
            .set(format!("auth.login.{}.password", spec.username), &spec.password)
            .set("auth-path", &brick.path);
        self.push(server);
    }
}
