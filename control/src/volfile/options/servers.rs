//! The options `performance.client-io-threads` to `features.trash-max-filesize`, in GlusterFS's order.
//! Data only: what the columns mean is said in the parent module.

use super::DefaultValue::*;
use super::ValueKind::*;
use super::{OptionSpec, rows};

rows! {
    "performance.client-io-threads" Daemon("on") Switch [] 1 1
        "Carry out operations of the client on several threads";
    "performance.nfs.write-behind" Daemon("on") Text [] 1 1
        "Accepted; there is no NFS server";
    "performance.nfs.read-ahead" Daemon("off") Text [] 1 1
        "Accepted; there is no NFS server";
    "performance.nfs.io-cache" Daemon("off") Text [] 1 1
        "Accepted; there is no NFS server";
    "performance.nfs.quick-read" Daemon("off") Text [] 1 1
        "Accepted; there is no NFS server";
    "performance.nfs.stat-prefetch" Daemon("off") Text [] 1 1
        "Accepted; there is no NFS server";
    "performance.nfs.io-threads" Daemon("off") Text [] 1 1
        "Accepted; there is no NFS server";
    "performance.force-readdirp" Own("true") Bool [Client MdCache "force-readdirp"] 1 1
        "Read attributes with every directory";
    "performance.cache-invalidation" Own("false") Bool [Client MdCache "cache-invalidation"] 1 30900
        "Drop cached attributes when a brick reports a change";
    "performance.global-cache-invalidation" Own("true") Bool [Client MdCache "global-cache-invalidation"] 60000 60000
        "Drop the whole attribute cache when a brick reports a lost notification";
    "features.uss" Daemon("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.snapshot-directory" Daemon(".snaps") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.show-snapshot-directory" Daemon("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.tag-namespaces" Daemon("off") Fixed [] 40100 1
        "Not available; only the default is accepted";
    "network.compression" Daemon("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "network.compression.window-size" Own("-15") Fixed [] 1 1
        "Not available; only the default is accepted";
    "network.compression.mem-level" Own("8") Fixed [] 1 1
        "Not available; only the default is accepted";
    "network.compression.min-size" Own("0") Fixed [] 1 1
        "Not available; only the default is accepted";
    "network.compression.compression-level" Own("-1") Fixed [] 1 1
        "Not available; only the default is accepted";
    "network.compression.debug" Own("false") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.default-soft-limit" Own("80%") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.soft-timeout" Own("60") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.hard-timeout" Own("5") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.alert-time" Own("86400") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.quota-deem-statfs" Daemon("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "geo-replication.indexing" Written("off") Fixed [Brick Marker "xtime"] 1 1
        "Not available; only the default is accepted";
    "geo-replication.ignore-pid-check" Written("off") Fixed [Brick Marker "gsync-force-xtime"] 1 1
        "Not available; only the default is accepted";
    "features.quota" Written("off") Fixed [Brick Marker "quota"] 1 1
        "Not available; only the default is accepted";
    "features.inode-quota" Written("off") Fixed [Brick Marker "inode-quota"] 1 1
        "Not available; only the default is accepted";
    "features.bitrot" Written("disable") Fixed [Brick BitrotStub "bitrot"] 1 1
        "Not available; only the default is accepted";
    "debug.trace" Daemon("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "debug.log-history" Own("no") Fixed [] 1 1
        "Not available; only the default is accepted";
    "debug.log-file" Own("no") Fixed [] 1 1
        "Not available; only the default is accepted";
    "debug.exclude-ops" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "debug.include-ops" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "debug.error-gen" Daemon("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "debug.error-failure" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "debug.error-number" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "debug.random-failure" Own("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "debug.error-fops" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "nfs.disable" Daemon("on") Text [] 1 1
        "There is no NFS server; on is the only state";
    "features.read-only" Written("off") Bool [Brick ReadOnly "read-only"] 1 1
        "Refuse every modification with EROFS";
    "features.worm" Written("off") Fixed [Brick Worm "worm"] 1 1
        "Not available; only the default is accepted";
    "features.worm-file-level" Written("off") Fixed [Brick Worm "worm-file-level"] 1 1
        "Not available; only the default is accepted";
    "features.worm-files-deletable" Written("on") Fixed [Brick Worm "worm-files-deletable"] 1 31300
        "Not available; only the default is accepted";
    "features.default-retention-period" Own("120") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.retention-mode" Own("relax") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.auto-commit-period" Own("180") Fixed [] 1 1
        "Not available; only the default is accepted";
    "storage.linux-aio" Own("off") Bool [Brick Posix "linux-aio"] 1 1
        "Accepted; bricks use io_uring";
    "storage.linux-io_uring" Own("off") Bool [Brick Posix "linux-io_uring"] 90000 1
        "Accepted; bricks use io_uring";
    "storage.batch-fsync-mode" Own("reverse-fsync") Choice(&["none", "syncfs", "syncfs-single-fsync", "syncfs-reverse-fsync", "reverse-fsync"]) [Brick Posix "batch-fsync-mode"] 1 1
        "How a brick groups fsyncs";
    "storage.batch-fsync-delay-usec" Own("0") Int(i64::MIN, i64::MAX) [Brick Posix "batch-fsync-delay-usec"] 1 1
        "Microseconds that a brick waits for more fsyncs to group";
    "storage.owner-uid" Own("-1") Int(-1, i64::MAX) [Brick Posix "brick-uid"] 1 1
        "Owner of the brick's root, -1 to leave it";
    "storage.owner-gid" Own("-1") Int(-1, i64::MAX) [Brick Posix "brick-gid"] 1 1
        "Group of the brick's root, -1 to leave it";
    "storage.node-uuid-pathinfo" Own("off") Bool [Brick Posix "node-uuid-pathinfo"] 1 1
        "Show the node's uuid and not its host name in pathinfo";
    "storage.health-check-interval" Own("30") Int(0, i64::MAX) [Brick Posix "health-check-interval"] 1 1
        "Seconds between two checks of a brick's disk, 0 for none";
    "storage.build-pgfid" Own("off") Bool [Brick Posix "update-link-count-parent"] 1 1
        "Keep the gfid of the parents in xattrs";
    "storage.gfid2path" Own("on") Bool [Brick Posix "gfid2path"] 1 1
        "Keep the names of a gfid in xattrs";
    "storage.gfid2path-separator" Own(":") Text [Brick Posix "gfid2path-separator"] 1 1
        "What separates several names of one gfid";
    "storage.reserve" Own("1") PercentOrSize [Brick Posix "reserve"] 1 1
        "Free space that only heals may use: percent below 100, else bytes, 0 for none";
    "storage.health-check-timeout" Own("20") Int(0, i64::MAX) [Brick Posix "health-check-timeout"] 1 1
        "Seconds after which a check of a brick's disk has failed";
    "storage.fips-mode-rchecksum" Own("off") Bool [Brick Posix "fips-mode-rchecksum"] 30800 1
        "Use SHA-256 and not MD5 to compare data in heals";
    "storage.force-create-mode" Own("0000") Int(0, 511) [Brick Posix "force-create-mode"] 1 1
        "Mode bits that new files always get";
    "storage.force-directory-mode" Own("0000") Int(0, 511) [Brick Posix "force-directory-mode"] 1 1
        "Mode bits that new directories always get";
    "storage.create-mask" Own("0777") Int(0, 511) [Brick Posix "create-mask"] 1 1
        "Mode bits that new files may have";
    "storage.create-directory-mask" Own("0777") Int(0, 511) [Brick Posix "create-directory-mask"] 1 1
        "Mode bits that new directories may have";
    "storage.max-hardlinks" Own("100") Int(0, i64::MAX) [Brick Posix "max-hardlinks"] 1 1
        "Hard links of one file, 0 for no limit";
    "features.ctime" Daemon("on") DaemonBool [Brick Posix "ctime"] 40100 1
        "Keep times that are equal on all bricks";
    "config.gfproxyd" Daemon("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "cluster.server-quorum-type" Daemon("off") Choice(&["none", "server"]) [] 1 1
        "server: stop the bricks when the trusted pool has lost its quorum";
    "cluster.server-quorum-ratio" Daemon("51") ClusterPercent [] 1 1
        "Percent of the trusted pool that makes its quorum";
    "changelog.changelog" Own("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "changelog.changelog-dir" Own("{{ brick.path }}/.glusterfs/changelogs") Fixed [] 1 1
        "Not available; only the default is accepted";
    "changelog.encoding" Own("ascii") Fixed [] 1 1
        "Not available; only the default is accepted";
    "changelog.rollover-time" Own("15") Fixed [] 1 1
        "Not available; only the default is accepted";
    "changelog.fsync-interval" Own("5") Fixed [] 1 1
        "Not available; only the default is accepted";
    "changelog.changelog-barrier-timeout" Written("120") Time(0, i64::MAX) [Brick Changelog "changelog-barrier-timeout"] 1 1
        "Seconds after which the barrier of the change log opens by itself";
    "changelog.capture-del-path" Own("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.barrier" Written("disable") Bool [Brick Barrier "barrier"] 1 1
        "Hold back acknowledgements while a snapshot is taken";
    "features.barrier-timeout" Written("120") Time(0, i64::MAX) [Brick Barrier "barrier-timeout"] 1 1
        "Seconds after which a barrier opens by itself";
    "features.trash" Own("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.trash-dir" Own(".trashcan") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.trash-eliminate-path" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.trash-max-filesize" Own("5MB") Fixed [] 1 1
        "Not available; only the default is accepted";
}
