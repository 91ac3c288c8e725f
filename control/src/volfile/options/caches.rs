//! The options `performance.quick-read-cache-timeout` to `performance.stat-prefetch`, in GlusterFS's order.
//! Data only: what the columns mean is said in the parent module.

use super::DefaultValue::*;
use super::ValueKind::*;
use super::{OptionSpec, rows};

rows! {
    "performance.quick-read-cache-timeout" Own("1") Int(i64::MIN, i64::MAX) [Client QuickRead "cache-timeout"] 80000 80000
        "Seconds that the content of a small file is trusted";
    "performance.qr-cache-timeout" Own("1") Int(i64::MIN, i64::MAX) [Client QuickRead "cache-timeout"] 1 1
        "Seconds that the content of a small file is trusted";
    "performance.quick-read-cache-invalidation" Own("false") Bool [Client QuickRead "quick-read-cache-invalidation"] 1 40000
        "Small-file cache of the client";
    "performance.ctime-invalidation" Own("false") Bool [Client QuickRead "ctime-invalidation"] 50000 50000
        "Small-file cache of the client";
    "performance.flush-behind" Own("on") Bool [Client WriteBehind "flush-behind"] 1 1
        "close returns before its flush has reached the bricks";
    "performance.nfs.flush-behind" Own("on") Bool [] 1 1
        "Accepted; there is no NFS server";
    "performance.write-behind-window-size" Own("1MB") Size(524288, 1073741824) [Client WriteBehind "cache-size"] 1 1
        "Bytes per file that may be waiting to be written";
    "performance.resync-failed-syncs-after-fsync" Own("off") Bool [Client WriteBehind "resync-failed-syncs-after-fsync"] 1 1
        "Retry failed background writes after fsync has reported them";
    "performance.nfs.write-behind-window-size" Own("1MB") Size(524288, 1073741824) [] 1 1
        "Accepted; there is no NFS server";
    "performance.strict-o-direct" Own("off") Bool [Client WriteBehind "strict-O_DIRECT"] 1 1
        "Do not cache writes of files opened with O_DIRECT";
    "performance.nfs.strict-o-direct" Own("off") Bool [] 1 1
        "Accepted; there is no NFS server";
    "performance.strict-write-ordering" Own("off") Bool [Client WriteBehind "strict-write-ordering"] 1 1
        "Never reorder writes, not even to different ranges";
    "performance.nfs.strict-write-ordering" Own("off") Bool [] 1 1
        "Accepted; there is no NFS server";
    "performance.write-behind-trickling-writes" Own("on") Bool [Client WriteBehind "trickling-writes"] 1 31301
        "Send a lone small write at once when nothing is outstanding";
    "performance.aggregate-size" Own("128KB") Size(0, i64::MAX) [Client WriteBehind "aggregate-size"] 1 1
        "Bytes up to which small writes are merged";
    "performance.nfs.write-behind-trickling-writes" Own("on") Bool [] 1 31301
        "Accepted; there is no NFS server";
    "performance.lazy-open" Own("yes") Bool [Client OpenBehind "lazy-open"] 1 1
        "Send an open only when the file is first used";
    "performance.read-after-open" Own("yes") Bool [Client OpenBehind "read-after-open"] 1 1
        "Read through the opened file and not through an anonymous one";
    "performance.open-behind-pass-through" Own("false") Bool [Client OpenBehind "pass-through"] 40100 1
        "Deferred open of the client";
    "performance.read-ahead-page-count" Own("4") Int(1, 16) [Client ReadAhead "page-count"] 1 1
        "Pages that are read ahead";
    "performance.read-ahead-pass-through" Own("false") Bool [Client ReadAhead "pass-through"] 40100 1
        "Read-ahead of the client";
    "performance.readdir-ahead-pass-through" Own("false") Bool [Client ReaddirAhead "pass-through"] 40100 1
        "Directory read-ahead of the client";
    "performance.md-cache-pass-through" Own("false") Bool [Client MdCache "pass-through"] 40100 1
        "Attribute cache of the client";
    "performance.write-behind-pass-through" Own("false") Bool [Client WriteBehind "pass-through"] 90000 1
        "Write buffering of the client";
    "performance.md-cache-timeout" Own("1") Int(0, 600) [Client MdCache "md-cache-timeout"] 1 1
        "Seconds that cached attributes are trusted";
    "performance.cache-swift-metadata" Own("false") Bool [Client MdCache "cache-swift-metadata"] 1 1
        "Attribute cache of the client";
    "performance.cache-samba-metadata" Own("false") Bool [Client MdCache "cache-samba-metadata"] 1 30900
        "Attribute cache of the client";
    "performance.cache-capability-xattrs" Own("true") Bool [Client MdCache "cache-capability-xattrs"] 1 31000
        "Attribute cache of the client";
    "performance.cache-ima-xattrs" Own("true") Bool [Client MdCache "cache-ima-xattrs"] 1 31000
        "Attribute cache of the client";
    "performance.md-cache-statfs" Own("off") Bool [Client MdCache "md-cache-statfs"] 1 40000
        "Cache the size of the file system too";
    "performance.xattr-cache-list" Own("") Text [Client MdCache "xattr-cache-list"] 1 40000
        "Extended attributes that are cached, comma-separated";
    "performance.nl-cache-pass-through" Own("false") Bool [Client NlCache "pass-through"] 40100 1
        "Cache of missing names";
    "network.frame-timeout" Own("1800") Time(0, 86400) [Client Client "frame-timeout", Shd Client "frame-timeout"] 1 1
        "Seconds after which an unanswered call fails, 0 for never";
    "network.ping-timeout" Own("42") Time(0, 1013) [Client Client "ping-timeout", Shd Client "ping-timeout"] 1 1
        "Seconds without an answer after which a brick counts as disconnected, 0 for never";
    "network.tcp-window-size" Unset Size(0, 1048576) [Client Client "tcp-window-size", Brick Server "tcp-window-size", Shd Client "tcp-window-size"] 1 1
        "Size of the sockets' buffers";
    "client.ssl" Written("off") Fixed [Client Client "transport.socket.ssl-enabled", Shd Client "transport.socket.ssl-enabled"] 1 1
        "Not available; only the default is accepted";
    "network.remote-dio" Own("disable") Bool [Client Client "filter-O_DIRECT", Shd Client "filter-O_DIRECT"] 1 1
        "Take O_DIRECT off before the bricks see it";
    "client.event-threads" Own("2") Int(1, 32) [Client Client "event-threads", Shd Client "event-threads"] 1 1
        "Threads (data-path cores) of a client";
    "client.tcp-user-timeout" Written("0") Int(0, 1013) [Client Client "transport.tcp-user-timeout", Shd Client "transport.tcp-user-timeout"] 1 31002
        "TCP_USER_TIMEOUT of a client's connections, 0 for the kernel's";
    "client.keepalive-time" Written("20") Int(0, 32767) [Client Client "transport.socket.keepalive-time", Shd Client "transport.socket.keepalive-time"] 1 31002
        "Idle seconds before a client's TCP keep-alive starts";
    "client.keepalive-interval" Written("2") Int(0, 32767) [Client Client "transport.socket.keepalive-interval", Shd Client "transport.socket.keepalive-interval"] 1 31002
        "Seconds between two TCP keep-alive probes of a client";
    "client.keepalive-count" Written("9") Int(0, 127) [Client Client "transport.socket.keepalive-count", Shd Client "transport.socket.keepalive-count"] 1 31002
        "Unanswered TCP keep-alive probes that end a client's connection";
    "client.strict-locks" Written("off") DaemonBool [Client Client "strict-locks", Shd Client "strict-locks"] 80000 1
        "Fail files whose locks could not be kept over a reconnect";
    "network.inode-lru-limit" Own("16384") Int(0, 1048576) [Brick Server "inode-lru-limit"] 1 1
        "Inodes without users that a brick keeps in memory";
    "auth.allow" Written("*") AddressList [Brick Server "auth.addr.{brick}.allow"] 1 1
        "Addresses that may mount, comma-separated patterns";
    "auth.reject" Unset AddressList [Brick Server "auth.addr.{brick}.reject"] 1 1
        "Addresses that may not mount, comma-separated patterns";
    "transport.keepalive" Written("1") Bool [Brick Server "transport.socket.keepalive"] 1 1
        "Use TCP keep-alive on the bricks";
    "server.allow-insecure" Own("on") Bool [Brick Server "rpc-auth-allow-insecure"] 1 1
        "Accept clients that connect from ports above 1023";
    "server.root-squash" Own("off") Bool [Brick Server "root-squash"] 1 1
        "Treat root of untrusted clients as anonuid";
    "server.all-squash" Own("off") Bool [Brick Server "all-squash"] 60000 1
        "Treat everybody on untrusted clients as anonuid";
    "server.anonuid" Own("65534") Int(0, 4294967295) [Brick Server "anonuid"] 1 1
        "User that squashed callers become";
    "server.anongid" Own("65534") Int(0, 4294967295) [Brick Server "anongid"] 1 1
        "Group that squashed callers become";
    "server.statedump-path" Own("/var/run/gluster") Path [Brick Server "statedump-path"] 1 1
        "Directory for the statedumps of the bricks";
    "server.outstanding-rpc-limit" Own("64") Int(0, 65536) [Brick Server "rpc.outstanding-rpc-limit"] 1 1
        "Open calls of one connection at which a brick stops reading it, 0 for no limit";
    "server.ssl" Written("off") Fixed [Brick Server "transport.socket.ssl-enabled"] 1 1
        "Not available; only the default is accepted";
    "auth.ssl-allow" Daemon("*") Fixed [] 1 1
        "Not available; only the default is accepted";
    "server.manage-gids" Own("off") Bool [Brick Server "manage-gids"] 1 1
        "Take the groups of a user from the server's own database";
    "server.dynamic-auth" Own("on") Bool [Brick Server "dynamic-auth"] 1 1
        "Drop connected clients that auth.allow no longer admits";
    "client.send-gids" Own("on") Bool [Shd Client "send-gids"] 1 1
        "Send the supplementary groups with every call";
    "server.gid-timeout" Own("300") Int(i64::MIN, i64::MAX) [Brick Server "gid-timeout"] 1 1
        "Seconds that the groups of a user are remembered";
    "server.own-thread" Unset Bool [Brick Server "transport.socket.own-thread"] 1 1
        "Connections of the bricks";
    "server.event-threads" Own("2") Int(1, 1024) [Brick Server "event-threads"] 1 1
        "Threads (data-path cores) of a brick";
    "server.tcp-user-timeout" Own("42") Time(0, 1013) [Brick Server "transport.tcp-user-timeout"] 1 1
        "TCP_USER_TIMEOUT of a brick's connections; how fast the locks of a lost client are freed";
    "server.keepalive-time" Written("20") Int(0, 32767) [Brick Server "transport.socket.keepalive-time"] 1 1
        "Idle seconds before a brick's TCP keep-alive starts";
    "server.keepalive-interval" Written("2") Int(0, 32767) [Brick Server "transport.socket.keepalive-interval"] 1 1
        "Seconds between two TCP keep-alive probes of a brick";
    "server.keepalive-count" Written("9") Int(0, 127) [Brick Server "transport.socket.keepalive-count"] 1 1
        "Unanswered TCP keep-alive probes that end a brick's connection";
    "transport.listen-backlog" Written("1024") PositiveInt [Brick Server "transport.listen-backlog"] 1 1
        "Connections that may wait to be accepted by a brick";
    "ssl.own-cert" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "ssl.private-key" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "ssl.ca-list" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "ssl.crl-path" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "ssl.certificate-depth" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "ssl.cipher-list" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "ssl.dh-param" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "ssl.ec-curve" Unset Fixed [] 1 1
        "Not available; only the default is accepted";
    "transport.address-family" Daemon("inet") Choice(&["inet", "inet6"]) [Client Client "transport.address-family", Brick Server "transport.address-family", Shd Client "transport.address-family"] 1 1
        "inet or inet6";
    "performance.write-behind" Daemon("on") Switch [] 1 1
        "Acknowledge writes before the bricks have them";
    "performance.read-ahead" Daemon("off") Switch [] 1 1
        "Read ahead in sequentially read files";
    "performance.readdir-ahead" Daemon("off") Switch [] 1 1
        "Read ahead in directories";
    "performance.io-cache" Daemon("off") Switch [] 1 1
        "Cache file contents on the client";
    "performance.open-behind" Daemon("on") Switch [] 1 1
        "Acknowledge opens before the bricks have them";
    "performance.quick-read" Daemon("on") Switch [] 1 1
        "Fetch the content of small files with their look-up";
    "performance.nl-cache" Daemon("off") Switch [] 1 31100
        "Remember names that do not exist";
    "performance.stat-prefetch" Daemon("on") Switch [] 1 1
        "Cache attributes (md-cache)";
}
