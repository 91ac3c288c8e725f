//! The options `cluster.lookup-unhashed` to `performance.quick-read-cache-size`, in GlusterFS's order.
//! Data only: what the columns mean is said in the parent module.

use super::DefaultValue::*;
use super::ValueKind::*;
use super::{OptionSpec, rows};

rows! {
    "cluster.lookup-unhashed" Own("on") Choice(&["auto", "yes", "no", "enable", "disable", "1", "0", "on", "off"]) [Client Distribute "lookup-unhashed"] 1 1
        "Whether a name missing on its hashed subvolume is looked up everywhere";
    "cluster.lookup-optimize" Own("on") Bool [Client Distribute "lookup-optimize"] 1 1
        "Trust the layout of a directory when a name is not on its hashed subvolume";
    "cluster.min-free-disk" Own("10%") PercentOrSize [Client Distribute "min-free-disk"] 1 1
        "Free space below which new files go to another subvolume";
    "cluster.min-free-inodes" Own("5%") Percent [Client Distribute "min-free-inodes"] 1 1
        "Free inodes below which new files go to another subvolume";
    "cluster.rebalance-stats" Own("off") Bool [Client Distribute "rebalance-stats"] 1 1
        "Placement of files over several replica sets";
    "cluster.subvols-per-directory" Unset Int(1, i64::MAX) [Client Distribute "directory-layout-spread"] 1 1
        "Placement of files over several replica sets";
    "cluster.readdir-optimize" Own("off") Bool [Client Distribute "readdir-optimize"] 1 1
        "Placement of files over several replica sets";
    "cluster.rsync-hash-regex" Unset Text [Client Distribute "rsync-hash-regex"] 1 1
        "Placement of files over several replica sets";
    "cluster.extra-hash-regex" Unset Text [Client Distribute "extra-hash-regex"] 1 1
        "Placement of files over several replica sets";
    "cluster.dht-xattr-name" Own("trusted.glusterfs.dht") Text [Client Distribute "xattr-name"] 1 1
        "Placement of files over several replica sets";
    "cluster.randomize-hash-range-by-gfid" Own("off") Bool [Client Distribute "randomize-hash-range-by-gfid"] 1 1
        "Placement of files over several replica sets";
    "cluster.rebal-throttle" Own("normal") Fixed [] 1 1
        "Not available; only the default is accepted";
    "cluster.lock-migration" Written("off") Fixed [Client Distribute "lock-migration"] 1 1
        "Not available; only the default is accepted";
    "cluster.force-migration" Written("off") Bool [Client Distribute "force-migration"] 1 40000
        "Placement of files over several replica sets";
    "cluster.local-volume-name" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "cluster.weighted-rebalance" Own("on") Bool [Client Distribute "weighted-rebalance"] 1 1
        "Placement of files over several replica sets";
    "cluster.switch-pattern" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "cluster.entry-change-log" Own("on") Bool [Client Replicate "entry-change-log", Shd Replicate "entry-change-log"] 1 1
        "Accepted; the entry change log is always kept";
    "cluster.read-subvolume" Unset Text [Client Replicate "read-subvolume", Shd Replicate "read-subvolume"] 1 1
        "Name of the subvolume that reads are sent to";
    "cluster.read-subvolume-index" Own("-1") Int(i64::MIN, i64::MAX) [Client Replicate "read-subvolume-index", Shd Replicate "read-subvolume-index"] 1 1
        "Index of the subvolume that reads are sent to";
    "cluster.read-hash-mode" Own("1") Int(0, 5) [Client Replicate "read-hash-mode", Shd Replicate "read-hash-mode"] 1 1
        "How the brick that serves reads is chosen: 0 first readable, 1 by gfid, 2 by gfid and pid, 3 fewest reads outstanding, 4 lowest ping time, 5 both";
    "cluster.background-self-heal-count" Own("8") Int(0, i64::MAX) [Client Replicate "background-self-heal-count"] 1 1
        "Heals that a client runs at once in the background";
    "cluster.metadata-self-heal" Own("off") Bool [Client Replicate "metadata-self-heal"] 1 1
        "Client heals the metadata of files it looks up";
    "cluster.data-self-heal" Own("off") Choice(&["1", "on", "yes", "true", "enable", "0", "off", "no", "false", "disable", "open"]) [Client Replicate "data-self-heal"] 1 1
        "Client heals the data of files it opens";
    "cluster.entry-self-heal" Own("off") Bool [Client Replicate "entry-self-heal"] 1 1
        "Client heals the entries of directories it looks up";
    "cluster.self-heal-daemon" Own("on") Bool [Shd Replicate "self-heal-daemon"] 1 1
        "Whether the self-heal daemon heals this volume";
    "cluster.heal-timeout" Own("600") Int(5, 2147483647) [Shd Replicate "heal-timeout"] 1 1
        "Seconds between two sweeps of the heal index";
    "cluster.self-heal-window-size" Own("8") Size(1, 1024) [Client Replicate "data-self-heal-window-size", Shd Replicate "data-self-heal-window-size"] 1 1
        "Blocks of 128 KiB that a data heal has in flight";
    "cluster.data-change-log" Own("on") Bool [Client Replicate "data-change-log", Shd Replicate "data-change-log"] 1 1
        "Accepted; the data change log is always kept";
    "cluster.metadata-change-log" Own("on") Bool [Client Replicate "metadata-change-log", Shd Replicate "metadata-change-log"] 1 1
        "Accepted; the metadata change log is always kept";
    "cluster.data-self-heal-algorithm" Unset Choice(&["diff", "full"]) [Client Replicate "data-self-heal-algorithm", Shd Replicate "data-self-heal-algorithm"] 1 1
        "full copies whole files, diff only blocks whose checksums differ";
    "cluster.eager-lock" Own("on") Bool [Client Replicate "eager-lock", Shd Replicate "eager-lock"] 1 1
        "Keep the lock of a file over consecutive writes";
    "disperse.eager-lock" Own("on") Fixed [] 1 1
        "Not available; only the default is accepted";
    "disperse.other-eager-lock" Own("on") Fixed [] 1 31300
        "Not available; only the default is accepted";
    "disperse.eager-lock-timeout" Own("1") Fixed [] 1 40000
        "Not available; only the default is accepted";
    "disperse.other-eager-lock-timeout" Own("1") Fixed [] 1 40000
        "Not available; only the default is accepted";
    "cluster.quorum-type" Own("none") Choice(&["none", "auto", "fixed"]) [Client Replicate "quorum-type", Shd Replicate "quorum-type"] 1 1
        "Bricks that must be up for writes: none, auto (more than half) or fixed (quorum-count)";
    "cluster.quorum-count" Unset ReplicaCount [Client Replicate "quorum-count", Shd Replicate "quorum-count"] 1 1
        "Bricks that must be up for writes when quorum-type is fixed";
    "cluster.choose-local" Own("true") Bool [Client Replicate "choose-local", Shd Replicate "choose-local"] 1 1
        "Read from the brick on this node if it has a good copy";
    "cluster.self-heal-readdir-size" Own("1KB") Size(1024, 131072) [Client Replicate "self-heal-readdir-size", Shd Replicate "self-heal-readdir-size"] 1 1
        "Size of a directory read during an entry heal";
    "cluster.post-op-delay-secs" Own("1") Int(0, 2147483647) [Client Replicate "post-op-delay-secs", Shd Replicate "post-op-delay-secs"] 1 1
        "Seconds that the change log of a file stays dirty after its last write";
    "cluster.ensure-durability" Own("on") Bool [Client Replicate "ensure-durability", Shd Replicate "ensure-durability"] 1 1
        "Write the change log in an order that survives a crash of the bricks";
    "cluster.consistent-metadata" Own("no") Bool [Client Replicate "consistent-metadata", Shd Replicate "consistent-metadata"] 1 1
        "Answer attribute reads from a good copy even right after a write";
    "cluster.heal-wait-queue-length" Own("128") Int(0, i64::MAX) [Client Replicate "heal-wait-queue-length", Shd Replicate "heal-wait-queue-length"] 1 1
        "Heals that may wait on a client for a free slot";
    "cluster.favorite-child-policy" Own("none") Choice(&["none", "size", "ctime", "mtime", "majority"]) [Client Replicate "favorite-child-policy", Shd Replicate "favorite-child-policy"] 1 1
        "How a split-brain is resolved by itself: by size, ctime, mtime, majority, or not at all";
    "cluster.full-lock" Own("yes") Bool [Client Replicate "full-lock", Shd Replicate "full-lock"] 1 31302
        "Data locks cover the whole file";
    "cluster.optimistic-change-log" Own("on") Bool [Client Replicate "optimistic-change-log", Shd Replicate "optimistic-change-log"] 70200 70200
        "Leave out the change-log round trip when all bricks are up";
    "diagnostics.latency-measurement" Written("off") Bool [Client IoStats "latency-measurement", Brick IoStats "latency-measurement"] 1 1
        "Measure the latency of every operation";
    "diagnostics.dump-fd-stats" Own("off") Bool [Client IoStats "dump-fd-stats", Brick IoStats "dump-fd-stats"] 1 1
        "Keep statistics per open file";
    "diagnostics.count-fop-hits" Written("off") Bool [Client IoStats "count-fop-hits", Brick IoStats "count-fop-hits"] 1 1
        "Count operations";
    "diagnostics.brick-log-level" Daemon("INFO") Choice(&["DEBUG", "WARNING", "ERROR", "INFO", "CRITICAL", "NONE", "TRACE"]) [Brick IoStats "log-level"] 1 1
        "Least severity that bricks log";
    "diagnostics.client-log-level" Daemon("INFO") Choice(&["DEBUG", "WARNING", "ERROR", "INFO", "CRITICAL", "NONE", "TRACE"]) [Client IoStats "log-level", Shd IoStats "log-level"] 1 1
        "Least severity that clients log";
    "diagnostics.brick-sys-log-level" Own("CRITICAL") Choice(&["WARNING", "ERROR", "INFO", "CRITICAL"]) [Brick IoStats "sys-log-level"] 1 1
        "Least severity that bricks send to syslog";
    "diagnostics.client-sys-log-level" Own("CRITICAL") Choice(&["WARNING", "ERROR", "INFO", "CRITICAL"]) [Client IoStats "sys-log-level", Shd IoStats "sys-log-level"] 1 1
        "Least severity that clients send to syslog";
    "diagnostics.brick-logger" Unset Choice(&["gluster-log", "syslog"]) [Brick IoStats "logger"] 1 1
        "Where bricks log: gluster-log or syslog";
    "diagnostics.client-logger" Unset Choice(&["gluster-log", "syslog"]) [Client IoStats "logger", Shd IoStats "logger"] 1 1
        "Where clients log: gluster-log or syslog";
    "diagnostics.brick-log-format" Unset Choice(&["no-msg-id", "with-msg-id"]) [Brick IoStats "log-format"] 1 1
        "Whether brick log lines carry a message id";
    "diagnostics.client-log-format" Unset Choice(&["no-msg-id", "with-msg-id"]) [Client IoStats "log-format", Shd IoStats "log-format"] 1 1
        "Whether client log lines carry a message id";
    "diagnostics.brick-log-buf-size" Own("5") Size(0, 20) [Brick IoStats "log-buf-size"] 1 1
        "Equal log lines that a brick holds back to fold them";
    "diagnostics.client-log-buf-size" Own("5") Size(0, 20) [Client IoStats "log-buf-size", Shd IoStats "log-buf-size"] 1 1
        "Equal log lines that a client holds back to fold them";
    "diagnostics.brick-log-flush-timeout" Own("120") Time(30, 300) [Brick IoStats "log-flush-timeout"] 1 1
        "Seconds after which a brick writes folded log lines";
    "diagnostics.client-log-flush-timeout" Own("120") Time(30, 300) [Client IoStats "log-flush-timeout", Shd IoStats "log-flush-timeout"] 1 1
        "Seconds after which a client writes folded log lines";
    "diagnostics.stats-dump-interval" Own("0") Int(0, 3600) [Client IoStats "ios-dump-interval", Brick IoStats "ios-dump-interval"] 1 1
        "Seconds between two dumps of the io statistics, 0 for none";
    "diagnostics.fop-sample-interval" Own("0") Int(0, 65535) [Client IoStats "ios-sample-interval", Brick IoStats "ios-sample-interval"] 1 1
        "Statistics of the io-stats xlator";
    "diagnostics.stats-dump-format" Own("json") Choice(&["text", "json", "dict", "samples"]) [Client IoStats "ios-dump-format", Brick IoStats "ios-dump-format"] 1 1
        "Statistics of the io-stats xlator";
    "diagnostics.fop-sample-buf-size" Own("65535") Size(1024, 1048576) [Client IoStats "ios-sample-buf-size", Brick IoStats "ios-sample-buf-size"] 1 1
        "Statistics of the io-stats xlator";
    "diagnostics.stats-dnscache-ttl-sec" Own("86400") Int(1, 259200) [Client IoStats "ios-dnscache-ttl-sec", Brick IoStats "ios-dnscache-ttl-sec"] 1 1
        "Statistics of the io-stats xlator";
    "performance.cache-max-file-size" Own("0") Size(0, i64::MAX) [Client IoCache "max-file-size"] 1 1
        "Content cache of the client";
    "performance.cache-min-file-size" Own("0") Size(0, i64::MAX) [Client IoCache "min-file-size"] 1 1
        "Content cache of the client";
    "performance.cache-refresh-timeout" Own("1") Int(0, 60) [Client IoCache "cache-timeout"] 1 1
        "Content cache of the client";
    "performance.cache-priority" Own("") Text [Client IoCache "priority"] 1 1
        "Content cache of the client";
    "performance.io-cache-size" Own("32MB") Size(4194304, 34359738368) [Client IoCache "cache-size"] 80000 80000
        "Memory for cached file contents";
    "performance.cache-size" Own("128MB") Size(0, i64::MAX) [Client QuickRead "cache-size"] 1 1
        "Memory for the contents of small files";
    "performance.io-thread-count" Own("16") Int(1, 64) [Client IoThreads "thread-count", Brick IoThreads "thread-count"] 1 1
        "Threads that carry out operations";
    "performance.high-prio-threads" Own("16") Int(1, 64) [Client IoThreads "high-prio-threads", Brick IoThreads "high-prio-threads"] 1 1
        "Scheduling of the io-threads xlator; bricks and clients of Ringluster accept it";
    "performance.normal-prio-threads" Own("16") Int(1, 64) [Client IoThreads "normal-prio-threads", Brick IoThreads "normal-prio-threads"] 1 1
        "Scheduling of the io-threads xlator; bricks and clients of Ringluster accept it";
    "performance.low-prio-threads" Own("16") Int(1, 64) [Client IoThreads "low-prio-threads", Brick IoThreads "low-prio-threads"] 1 1
        "Scheduling of the io-threads xlator; bricks and clients of Ringluster accept it";
    "performance.least-prio-threads" Own("1") Int(1, 64) [Client IoThreads "least-prio-threads", Brick IoThreads "least-prio-threads"] 1 1
        "Scheduling of the io-threads xlator; bricks and clients of Ringluster accept it";
    "performance.enable-least-priority" Own("on") Bool [Client IoThreads "enable-least-priority", Brick IoThreads "enable-least-priority"] 1 1
        "Scheduling of the io-threads xlator; bricks and clients of Ringluster accept it";
    "performance.iot-watchdog-secs" Unset Int(i64::MIN, i64::MAX) [Client IoThreads "watchdog-secs", Brick IoThreads "watchdog-secs"] 40100 1
        "Scheduling of the io-threads xlator; bricks and clients of Ringluster accept it";
    "performance.iot-cleanup-disconnected-reqs" Own("off") Bool [Client IoThreads "cleanup-disconnected-reqs", Brick IoThreads "cleanup-disconnected-reqs"] 40100 1
        "Scheduling of the io-threads xlator; bricks and clients of Ringluster accept it";
    "performance.iot-pass-through" Own("false") Bool [Client IoThreads "pass-through", Brick IoThreads "pass-through"] 40100 1
        "Scheduling of the io-threads xlator; bricks and clients of Ringluster accept it";
    "performance.io-cache-pass-through" Own("false") Bool [Client IoCache "pass-through"] 40100 1
        "Content cache of the client";
    "performance.quick-read-cache-size" Own("128MB") Size(0, i64::MAX) [Client QuickRead "cache-size"] 80000 80000
        "Memory for the contents of small files";
}
