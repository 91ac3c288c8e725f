//! The volume options: name, default, what values are valid, and where an option stands in the volfiles.
//!
//! One row per option, in the order in which GlusterFS lists them: the order decides the order of lines in a
//! generated volfile (wire-protocol.md 5.3, brick-and-replicate.md F). Which volume has which option set, and what
//! else has to happen when one changes, is not known here.

mod caches;
mod replication;
mod servers;
mod services;
mod suggest;
mod validate;

pub use suggest::did_you_mean;
pub use validate::ValidationContext;

/// In which generated file a row of the table writes its option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphKind {
    /// The volfile of clients.
    Client,
    /// The volfile of the self-heal daemon.
    Shd,
    /// The volfile of a brick.
    Brick,
}

/// The xlators that generated graphs consist of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "each variant is the xlator of that name")]
pub enum XlatorKind {
    Client,
    Replicate,
    Distribute,
    Utime,
    WriteBehind,
    ReadAhead,
    ReaddirAhead,
    IoCache,
    OpenBehind,
    QuickRead,
    NlCache,
    MdCache,
    IoThreads,
    IoStats,
    Posix,
    Trash,
    Changelog,
    BitrotStub,
    AccessControl,
    Locks,
    Worm,
    ReadOnly,
    Leases,
    Upcall,
    Selinux,
    Marker,
    Barrier,
    Index,
    Quota,
    Server,
}

impl XlatorKind {
    /// The type as it stands in a volfile, e.g. `protocol/client`.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Client => "protocol/client",
            Self::Replicate => "cluster/replicate",
            Self::Distribute => "cluster/distribute",
            Self::Utime => "features/utime",
            Self::WriteBehind => "performance/write-behind",
            Self::ReadAhead => "performance/read-ahead",
            Self::ReaddirAhead => "performance/readdir-ahead",
            Self::IoCache => "performance/io-cache",
            Self::OpenBehind => "performance/open-behind",
            Self::QuickRead => "performance/quick-read",
            Self::NlCache => "performance/nl-cache",
            Self::MdCache => "performance/md-cache",
            Self::IoThreads => "performance/io-threads",
            Self::IoStats => "debug/io-stats",
            Self::Posix => "storage/posix",
            Self::Trash => "features/trash",
            Self::Changelog => "features/changelog",
            Self::BitrotStub => "features/bitrot-stub",
            Self::AccessControl => "features/access-control",
            Self::Locks => "features/locks",
            Self::Worm => "features/worm",
            Self::ReadOnly => "features/read-only",
            Self::Leases => "features/leases",
            Self::Upcall => "features/upcall",
            Self::Selinux => "features/selinux",
            Self::Marker => "features/marker",
            Self::Barrier => "features/barrier",
            Self::Index => "features/index",
            Self::Quota => "features/quota",
            Self::Server => "protocol/server",
        }
    }

    /// The part of the type after the slash: the last part of an xlator's generated name.
    pub fn short_name(self) -> &'static str {
        self.type_name().split_once('/').map_or("", |(_, name)| name)
    }
}

/// A place in a generated volfile: an option line of an xlator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The kind of file.
    pub graph: GraphKind,
    /// The xlator.
    pub xlator: XlatorKind,
    /// The option's key in the volfile; `{brick}` stands for the path of the brick.
    pub option: &'static str,
}

/// What applies when a volume does not have the option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// The management daemon writes this value into the volfiles.
    Written(&'static str),
    /// The management daemon knows the value and acts on it, but no volfile has it.
    Daemon(&'static str),
    /// The xlator's own default; `volume get` marks it "(DEFAULT)".
    Own(&'static str),
    /// No value at all; `volume get` shows "(null)".
    Unset,
}

impl DefaultValue {
    /// The value, if there is one.
    pub fn value(self) -> Option<&'static str> {
        match self {
            Self::Written(v) | Self::Daemon(v) | Self::Own(v) => Some(v),
            Self::Unset => None,
        }
    }
}

/// Which values an option takes. The limits are those of GlusterFS 10.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// on/yes/true/enable/1 or off/no/false/disable/0, checked by the xlator.
    Bool,
    /// The same, checked by the management daemon (another error text).
    DaemonBool,
    /// The same, for an option that decides whether an xlator is there at all.
    Switch,
    /// A number, least and greatest value.
    Int(i64, i64),
    /// Bytes with an optional unit KB to PB, least and greatest value.
    Size(i64, i64),
    /// Seconds with an optional unit, least and greatest value.
    Time(i64, i64),
    /// 0 to 100, with or without the percent sign.
    Percent,
    /// A percentage or bytes.
    PercentOrSize,
    /// A number without sign.
    Unsigned,
    /// A number above zero.
    PositiveInt,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// off, file, forced or optimal.
    Mandatory,
    /// 1 up to the replica count.
    ReplicaCount,
    /// An absolute path of a directory.
    Path,
    /// Comma-separated address patterns.
    AddressList,
    /// Anything.
    Text,
    /// Only the default, because what the option would switch on does not exist.
    Fixed,
    /// A boolean of the whole cluster (`volume set all`).
    ClusterBool,
    /// A percentage of the whole cluster.
    ClusterPercent,
    /// One of these words, for the whole cluster.
    ClusterChoice(&'static [&'static str]),
    /// A setting of the whole cluster that only has its default.
    ClusterWide,
}

impl ValueKind {
    /// Whether the option belongs to the cluster and not to a volume.
    pub fn is_cluster_wide(self) -> bool {
        matches!(
            self,
            Self::ClusterBool | Self::ClusterPercent | Self::ClusterChoice(_) | Self::ClusterWide
        )
    }
}

/// One option of a volume or of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// The full name, e.g. `cluster.eager-lock`.
    pub key: &'static str,
    /// What applies when it is not set.
    pub default: DefaultValue,
    /// Which values it takes.
    pub kind: ValueKind,
    /// Where it stands in the generated volfiles.
    pub targets: &'static [Target],
    /// Least op-version of servers of a volume that has it set.
    pub op_version: u32,
    /// Least op-version of clients of a volume that has it set.
    pub client_op_version: u32,
    /// One sentence for `volume set help`.
    pub about: &'static str,
}

/// Rows of `key default kind [graph xlator "option", …] op-version client-op-version "about";`.
macro_rules! rows {
    ($($key:literal $default:ident $(($value:literal))? $kind:ident $(($($limit:expr),*))?
       [$($graph:ident $xlator:ident $option:literal),*] $op:literal $client_op:literal $about:literal;)*) => {
        pub(super) const ROWS: &[OptionSpec] = &[$(OptionSpec {
            key: $key,
            default: $default $(($value))?,
            kind: $kind $(($($limit),*))?,
            targets: &[$(super::Target {
                graph: super::GraphKind::$graph,
                xlator: super::XlatorKind::$xlator,
                option: $option,
            }),*],
            op_version: $op,
            client_op_version: $client_op,
            about: $about,
        }),*];
    };
}
use rows;

/// All options, in GlusterFS's order.
pub fn table() -> impl Iterator<Item = &'static OptionSpec> + Clone {
    let parts = [replication::ROWS, caches::ROWS, servers::ROWS, services::ROWS];
    parts.into_iter().flatten()
}

/// The option of that full name.
pub fn find(key: &str) -> Option<&'static OptionSpec> {
    table().find(|o| o.key == key)
}

/// The option that a name without its part before the first dot means (`eager-lock` for `cluster.eager-lock`): the
/// first in table order, as GlusterFS takes it.
pub fn find_short(name: &str) -> Option<&'static OptionSpec> {
    table().find(|o| o.key.split_once('.').is_some_and(|(_, rest)| rest == name))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique() {
        let names: HashSet<_> = table().map(|o| o.key).collect();
        assert_eq!(names.len(), table().count());
    }

    #[test]
    fn every_default_is_a_valid_value() {
        let context = ValidationContext {
            volume: "v",
            replica_count: 3,
            brick: "/b",
        };
        for option in table() {
            let Some(value) = option.default.value() else { continue };
            // GlusterFS itself shows some defaults that it would not accept.
            if value.is_empty() || option.kind == ValueKind::Path || option.key == "cluster.server-quorum-type" {
                continue;
            }
            assert_eq!(option.validate(value, &context), Ok(()), "{} = {value}", option.key);
        }
    }

    #[test]
    fn short_names_find_the_first_option() {
        assert_eq!(find_short("eager-lock").unwrap().key, "cluster.eager-lock");
        assert_eq!(find_short("ping-timeout").unwrap().key, "network.ping-timeout");
        assert!(find_short("nonsense").is_none());
    }
}
