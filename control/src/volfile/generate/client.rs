//! The graphs with protocol/client at the bottom: FUSE clients and the self-heal daemon.

use super::super::graph::{Graph, Xlator};
use super::super::options::{GraphKind, XlatorKind};
use super::xlator::Builder;
use super::{BrickSpec, GenerateError, VolumeSpec};

/// For whom a client volfile is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FuseKind {
    /// Processes on the servers: with user name and password.
    Trusted,
    /// All other clients: without them.
    Untrusted,
}

/// The volfile of a client.
///
/// # Errors
/// [`GenerateError::BrickCount`] if the bricks do not fill whole replica sets.
pub fn client_volfile(spec: &VolumeSpec, kind: FuseKind) -> Result<Graph, GenerateError> {
    let mut graph = clients(spec, kind, GraphKind::Client);
    let sets = replicate_sets(spec, GraphKind::Client)?;
    let names: Vec<String> = sets.iter().map(|x| x.name.clone()).collect();
    graph.xlators.extend(sets);
    graph.xlators.push(distribute(spec, &names));
    if spec.is_on("features.ctime") {
        push(
            &mut graph,
            Builder::new(spec, XlatorKind::Utime).table(spec, GraphKind::Client, ""),
        );
    }
    for (option, kind) in PERFORMANCE {
        if spec.is_on(option) {
            push(&mut graph, performance(spec, kind));
        }
    }
    push(&mut graph, io_stats(spec, GraphKind::Client));
    Ok(graph)
}

/// The volfile of the self-heal daemon.
///
/// # Errors
/// [`GenerateError::BrickCount`] if the bricks do not fill whole replica sets.
pub fn shd_volfile(spec: &VolumeSpec) -> Result<Graph, GenerateError> {
    let mut graph = clients(spec, FuseKind::Trusted, GraphKind::Shd);
    let sets = replicate_sets(spec, GraphKind::Shd)?;
    let names: Vec<String> = sets.iter().map(|x| x.name.clone()).collect();
    graph.xlators.extend(sets);
    let top = io_stats(spec, GraphKind::Shd);
    graph.xlators.push(top.over(names.iter().map(String::as_str)));
    Ok(graph)
}

/// Performance xlators bottom-up, with the switch of each.
const PERFORMANCE: [(&str, XlatorKind); 9] = [
    ("performance.write-behind", XlatorKind::WriteBehind),
    ("performance.read-ahead", XlatorKind::ReadAhead),
    ("performance.readdir-ahead", XlatorKind::ReaddirAhead),
    ("performance.io-cache", XlatorKind::IoCache),
    ("performance.open-behind", XlatorKind::OpenBehind),
    ("performance.quick-read", XlatorKind::QuickRead),
    ("performance.nl-cache", XlatorKind::NlCache),
    ("performance.stat-prefetch", XlatorKind::MdCache),
    ("performance.client-io-threads", XlatorKind::IoThreads),
];

fn performance(spec: &VolumeSpec, kind: XlatorKind) -> Builder {
    let builder = Builder::new(spec, kind).table(spec, GraphKind::Client, "");
    // A squashed root must not read through an fd that was opened as somebody else.
    if kind == XlatorKind::OpenBehind && spec.is_on("server.root-squash") {
        return builder.set("read-after-open", "yes");
    }
    builder
}

/// Puts an xlator on top of the graph.
fn push(graph: &mut Graph, builder: Builder) {
    let below = graph.top().map(|x| x.name.clone());
    graph.xlators.push(builder.over(below.as_deref()));
}

fn clients(spec: &VolumeSpec, kind: FuseKind, graph: GraphKind) -> Graph {
    Graph {
        xlators: spec.bricks.iter().map(|b| client(spec, b, kind, graph)).collect(),
    }
}

fn client(spec: &VolumeSpec, brick: &BrickSpec, kind: FuseKind, graph: GraphKind) -> Xlator {
    let builder = Builder::named(&brick.client_name, XlatorKind::Client)
        .set("ping-timeout", spec.option("network.ping-timeout").unwrap_or("42"))
        .set("remote-host", &brick.host)
        .set("remote-subvolume", &brick.path);
    connection(builder, spec, kind, graph).over([])
}

/// What all protocol/client blocks have in common.
fn connection(builder: Builder, spec: &VolumeSpec, kind: FuseKind, graph: GraphKind) -> Builder {
    let mut builder =
        builder
            .set("transport-type", "tcp")
            .set_if_given(spec, "transport.address-family", "transport.address-family");
    if kind == FuseKind::Trusted {
        builder = builder.set("username", &spec.username).set("password", &spec.password);
    }
    builder = builder.table(spec, graph, "");
    if graph == GraphKind::Client {
        builder.set("send-gids", send_gids(spec))
    } else {
        builder
    }
}

/// Groups that the servers look up themselves need not be sent.
fn send_gids(spec: &VolumeSpec) -> &str {
    match spec.options.get("client.send-gids") {
        _ if spec.is_on("server.manage-gids") => "false",
        Some(value) => value,
        None => "true",
    }
}

fn replicate_sets(spec: &VolumeSpec, graph: GraphKind) -> Result<Vec<Xlator>, GenerateError> {
    let replica = spec.replica_count;
    if replica == 0 || spec.bricks.is_empty() || !spec.bricks.len().is_multiple_of(replica) {
        return Err(GenerateError::BrickCount {
            bricks: spec.bricks.len(),
            replica,
        });
    }
    let sets = spec.bricks.chunks(replica).enumerate();
    Ok(sets
        .map(|(index, bricks)| replicate(spec, index, bricks, graph))
        .collect())
}

fn replicate(spec: &VolumeSpec, index: usize, bricks: &[BrickSpec], graph: GraphKind) -> Xlator {
    let children: Vec<&str> = bricks.iter().map(|b| b.client_name.as_str()).collect();
    let mut builder = Builder::named(format!("{}-replicate-{index}", spec.name), XlatorKind::Replicate)
        .set("afr-pending-xattr", children.join(","))
        .set("volume-id", &spec.volume_id);
    if graph == GraphKind::Shd {
        // The daemon heals everything, and itself: nothing is left to background heals.
        builder = builder
            .set_if_given(spec, "cluster.read-subvolume", "read-subvolume")
            .set("background-self-heal-count", "0")
            .set("metadata-self-heal", "on")
            .set("data-self-heal", "on")
            .set("entry-self-heal", "on")
            .set("self-heal-daemon", "enable");
    }
    builder = builder.table(spec, graph, "");
    if graph == GraphKind::Shd {
        builder = builder.set("iam-self-heal-daemon", "yes");
    }
    builder.over(children)
}

fn distribute(spec: &VolumeSpec, subvolumes: &[String]) -> Xlator {
    let builder = Builder::named(format!("{}-dht", spec.name), XlatorKind::Distribute);
    builder
        .table(spec, GraphKind::Client, "")
        .over(subvolumes.iter().map(String::as_str))
}

/// The top of a graph, named like the volume.
fn io_stats(spec: &VolumeSpec, graph: GraphKind) -> Builder {
    Builder::named(&spec.name, XlatorKind::IoStats)
        .set(
            "log-level",
            spec.option("diagnostics.client-log-level").unwrap_or("INFO"),
        )
        .set("threads", spec.option("config.client-threads").unwrap_or("16"))
        .table(spec, graph, "")
}
