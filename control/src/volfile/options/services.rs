//! The options `features.trash-internal-op` to `rebalance.ensure-durability`, in GlusterFS's order.
//! Data only: what the columns mean is said in the parent module.

use super::DefaultValue::*;
use super::ValueKind::*;
use super::{OptionSpec, rows};

rows! {
    "features.trash-internal-op" Own("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "cluster.enable-shared-storage" Daemon("disable") Fixed [] 1 1
        "Not available; only the default is accepted";
    "locks.trace" Own("off") Bool [Brick Locks "trace"] 1 1
        "Log every lock request";
    "locks.mandatory-locking" Own("off") Mandatory [Brick Locks "mandatory-locking"] 1 1
        "Enforce POSIX locks on reads and writes: off, file, forced or optimal";
    "cluster.disperse-self-heal-daemon" Own("enable") Fixed [] 1 1
        "Not available; only the default is accepted";
    "cluster.quorum-reads" Own("no") Bool [Client Replicate "quorum-reads", Shd Replicate "quorum-reads"] 1 1
        "Accepted; reads never need a quorum";
    "client.bind-insecure" Unset Bool [Client Client "client-bind-insecure", Shd Client "client-bind-insecure"] 1 1
        "Connect from ports above 1023";
    "features.timeout" Own("45") Fixed [] 1 40000
        "Not available; only the default is accepted";
    "features.failover-hosts" Unset Fixed [] 1 40000
        "Not available; only the default is accepted";
    "features.shard" Daemon("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.shard-block-size" Own("64MB") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.shard-lru-limit" Own("16384") Fixed [] 50000 50000
        "Not available; only the default is accepted";
    "features.shard-deletion-rate" Own("100") Fixed [] 50000 50000
        "Not available; only the default is accepted";
    "features.scrub-throttle" Daemon("lazy") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.scrub-freq" Daemon("biweekly") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.scrub" Own("false") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.expiry-time" Daemon("120") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.signer-threads" Daemon("4") Fixed [] 80000 1
        "Not available; only the default is accepted";
    "features.cache-invalidation" Written("off") Bool [Brick Upcall "cache-invalidation"] 1 1
        "Bricks tell clients about changes of what they have cached";
    "features.cache-invalidation-timeout" Own("60") Int(i64::MIN, i64::MAX) [Brick Upcall "cache-invalidation-timeout"] 1 1
        "Seconds that a brick remembers who has cached what";
    "ganesha.enable" Daemon("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.leases" Written("off") Fixed [Brick Leases "leases"] 1 1
        "Not available; only the default is accepted";
    "features.lease-lock-recall-timeout" Own("60") Fixed [] 1 1
        "Not available; only the default is accepted";
    "disperse.background-heals" Own("8") Fixed [] 1 1
        "Not available; only the default is accepted";
    "disperse.heal-wait-qlength" Own("128") Fixed [] 1 1
        "Not available; only the default is accepted";
    "dht.force-readdirp" Own("on") Bool [Client Distribute "use-readdirp"] 1 1
        "Read attributes with every directory";
    "disperse.read-policy" Own("gfid-hash") Fixed [] 1 1
        "Not available; only the default is accepted";
    "cluster.shd-max-threads" Own("1") Int(1, 64) [Client Replicate "shd-max-threads", Shd Replicate "shd-max-threads"] 1 1
        "Files of one brick that the self-heal daemon heals at once";
    "cluster.shd-wait-qlength" Own("1024") Int(1, 655536) [Client Replicate "shd-wait-qlength", Shd Replicate "shd-wait-qlength"] 1 1
        "Heals that may wait in the self-heal daemon";
    "cluster.locking-scheme" Own("full") Choice(&["full", "granular"]) [Client Replicate "locking-scheme", Shd Replicate "locking-scheme"] 1 1
        "Accepted; has no effect";
    "cluster.granular-entry-heal" Own("no") Bool [Client Replicate "granular-entry-heal", Shd Replicate "granular-entry-heal"] 1 2
        "Record the names that an entry heal must look at";
    "features.locks-revocation-secs" Own("0") Int(0, 2147483647) [Brick Locks "revocation-secs"] 1 1
        "Seconds after which a held lock is revoked when others wait, 0 for never";
    "features.locks-revocation-clear-all" Own("false") Bool [Brick Locks "revocation-clear-all"] 1 1
        "A revocation frees the waiting locks too";
    "features.locks-revocation-max-blocked" Own("0") Int(0, 2147483647) [Brick Locks "revocation-max-blocked"] 1 1
        "Waiting locks that cause a revocation, 0 for never";
    "features.locks-monkey-unlocking" Own("false") Bool [Brick Locks "monkey-unlocking"] 1 1
        "Lose unlock requests at random, to test revocation";
    "features.locks-notify-contention" Own("yes") Bool [Brick Locks "notify-contention"] 1 1
        "Tell the holder of a lock that somebody waits for it";
    "features.locks-notify-contention-delay" Own("5") Int(0, 60) [Brick Locks "notify-contention-delay"] 1 1
        "Least seconds between two such notices for one lock";
    "disperse.shd-max-threads" Own("1") Fixed [] 1 1
        "Not available; only the default is accepted";
    "disperse.shd-wait-qlength" Own("1024") Fixed [] 1 30900
        "Not available; only the default is accepted";
    "disperse.cpu-extensions" Own("auto") Fixed [] 1 30900
        "Not available; only the default is accepted";
    "disperse.self-heal-window-size" Own("32") Fixed [] 1 31100
        "Not available; only the default is accepted";
    "cluster.use-compound-fops" Written("off") Bool [Client Replicate "use-compound-fops", Shd Replicate "use-compound-fops"] 1 30804
        "Accepted; has no effect";
    "performance.parallel-readdir" Written("off") Fixed [Client ReaddirAhead "parallel-readdir"] 1 1
        "Not available; only the default is accepted";
    "performance.rda-request-size" Written("131072") Size(4096, 131072) [Client ReaddirAhead "rda-request-size"] 1 30901
        "Directory read-ahead of the client";
    "performance.rda-low-wmark" Own("4096") Size(0, 10485760) [Client ReaddirAhead "rda-low-wmark"] 1 30901
        "Directory read-ahead of the client";
    "performance.rda-high-wmark" Own("128KB") Size(0, 104857600) [Client ReaddirAhead "rda-high-wmark"] 1 30901
        "Directory read-ahead of the client";
    "performance.rda-cache-limit" Written("10MB") Size(0, i64::MAX) [Client ReaddirAhead "rda-cache-limit"] 1 30901
        "Directory read-ahead of the client";
    "performance.nl-cache-positive-entry" Own("false") Bool [Client NlCache "nl-cache-positive-entry"] 1 31100
        "Cache of missing names";
    "performance.nl-cache-limit" Written("10MB") Size(0, 104857600) [Client NlCache "nl-cache-limit"] 1 31100
        "Cache of missing names";
    "performance.nl-cache-timeout" Own("60") Time(1, 3600) [Client NlCache "nl-cache-timeout"] 1 31100
        "Cache of missing names";
    "cluster.brick-multiplex" Daemon("disable") Fixed [] 1 1
        "Not available; only the default is accepted";
    "cluster.brick-graceful-cleanup" Daemon("disable") ClusterBool [] 1 1
        "Passed to the volume as brick-graceful-cleanup";
    "glusterd.vol_count_per_thread" Daemon("100") Fixed [] 1 1
        "Not available; only the default is accepted";
    "cluster.max-bricks-per-process" Daemon("250") Fixed [] 1 1
        "Not available; only the default is accepted";
    "disperse.optimistic-change-log" Own("on") Fixed [] 1 31001
        "Not available; only the default is accepted";
    "disperse.stripe-cache" Own("4") Fixed [] 1 40000
        "Not available; only the default is accepted";
    "cluster.halo-enabled" Own("False") Fixed [] 1 31100
        "Not available; only the default is accepted";
    "cluster.halo-shd-max-latency" Own("99999") Int(1, 99999) [Client Replicate "halo-shd-max-latency", Shd Replicate "halo-shd-max-latency"] 1 31100
        "Accepted; halo is not available";
    "cluster.halo-nfsd-max-latency" Own("5") Int(1, 99999) [Client Replicate "halo-nfsd-max-latency", Shd Replicate "halo-nfsd-max-latency"] 1 31100
        "Accepted; halo is not available";
    "cluster.halo-max-latency" Own("5") Int(1, 99999) [Client Replicate "halo-max-latency", Shd Replicate "halo-max-latency"] 1 31100
        "Accepted; halo is not available";
    "cluster.halo-max-replicas" Own("99999") Int(1, 99999) [Client Replicate "halo-max-replicas", Shd Replicate "halo-max-replicas"] 1 31100
        "Accepted; halo is not available";
    "cluster.halo-min-replicas" Own("2") Int(1, 99999) [Client Replicate "halo-min-replicas", Shd Replicate "halo-min-replicas"] 1 31100
        "Accepted; halo is not available";
    "features.selinux" Written("on") Bool [Brick Selinux "selinux"] 1 1
        "Keep SELinux labels";
    "cluster.daemon-log-level" Daemon("INFO") ClusterChoice(&["DEBUG", "WARNING", "ERROR", "INFO", "CRITICAL", "NONE", "TRACE"]) [] 1 1
        "Least severity that the daemons of a node log";
    "debug.delay-gen" Daemon("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "delay-gen.delay-percentage" Own("10%") Fixed [] 1 1
        "Not available; only the default is accepted";
    "delay-gen.delay-duration" Own("100000") Fixed [] 1 1
        "Not available; only the default is accepted";
    "delay-gen.enable" Own("") Fixed [] 1 1
        "Not available; only the default is accepted";
    "disperse.parallel-writes" Own("on") Fixed [] 1 31300
        "Not available; only the default is accepted";
    "disperse.quorum-count" Own("0") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.sdfs" Daemon("off") Fixed [] 1 1
        "Not available; only the default is accepted";
    "features.cloudsync" Daemon("off") Fixed [] 40100 40100
        "Not available; only the default is accepted";
    "ctime.noatime" Written("on") DaemonBool [Client Utime "noatime"] 50000 50000
        "Do not update access times";
    "features.cloudsync-storetype" Unset Fixed [] 50000 50000
        "Not available; only the default is accepted";
    "features.enforce-mandatory-lock" Written("off") DaemonBool [Brick Locks "enforce-mandatory-lock"] 60000 1
        "Refuse what a mandatory lock forbids";
    "config.global-threading" Written("off") Fixed [Client IoStats "global-threading", Brick IoStats "global-threading"] 60000 1
        "Not available; only the default is accepted";
    "config.client-threads" Daemon("16") Int(i64::MIN, i64::MAX) [Client IoStats "threads", Shd IoStats "threads"] 60000 1
        "Threads of a client when global threading is on";
    "config.brick-threads" Daemon("16") Int(i64::MIN, i64::MAX) [Brick IoStats "threads"] 60000 1
        "Threads of a brick when global threading is on";
    "features.cloudsync-remote-read" Daemon("off") Fixed [] 70000 70000
        "Not available; only the default is accepted";
    "features.cloudsync-store-id" Unset Fixed [] 70000 70000
        "Not available; only the default is accepted";
    "features.cloudsync-product-id" Unset Fixed [] 70000 70000
        "Not available; only the default is accepted";
    "features.acl" Daemon("enable") Fixed [] 80000 1
        "Not available; only the default is accepted";
    "cluster.use-anonymous-inode" Written("yes") Bool [Client Replicate "use-anonymous-inode", Shd Replicate "use-anonymous-inode"] 90000 90000
        "Keep directories under repair in an anonymous directory";
    "rebalance.ensure-durability" Own("on") Bool [Client Distribute "ensure-durability"] 100000 100000
        "fsync files that a rebalance has moved";
    "network.probe-timeout" Own("500") Int(10, 60000) [Client Client "probe-timeout", Shd Client "probe-timeout"] 1 1
        "Milliseconds of silence, with something outstanding, after which a brick is suspect; Ringluster only";
}
