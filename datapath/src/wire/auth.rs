//! The credential of a call: who asks (wire-protocol.md 1.5).
//!
//! Encoding and its limits only; what a uid may do is decided elsewhere.

use bytes::Bytes;

use super::define::xdr_fields;
use super::xdr::{DecodeError, Decoder, Encoder, Why, Xdr};

/// AUTH_NULL: callbacks.
pub const AUTH_NULL: u32 = 0;
/// AUTH_UNIX.
pub const AUTH_UNIX: u32 = 1;
/// AUTH_GLUSTERFS of clients up to 3.0.
pub const AUTH_LEGACY: u32 = 5;
/// AUTH_GLUSTERFS_v2: management, and a brick connection until program 400 was seen.
pub const AUTH_V2: u32 = 390_039;
/// AUTH_GLUSTERFS_v3: SETVOLUME and every fop.
pub const AUTH_V3: u32 = 390_040;

/// The longest credential body in bytes.
pub const MAX_BODY_LEN: usize = 400;
/// lk_owner length plus number of groups may not exceed this in a v2 credential (bytes plus a count, as upstream).
pub const V2_OWNER_AND_GROUPS: usize = 95;
/// The same for v3.
pub const V3_OWNER_AND_GROUPS: usize = 91;
/// Groups a legacy credential always carries room for.
pub const LEGACY_GROUPS: usize = 16;
/// The most groups AUTH_UNIX may name.
pub const UNIX_GROUPS: usize = 16;
/// The longest machine name of AUTH_UNIX.
const UNIX_MACHINE: usize = 255;

/// Bits of [`GlusterfsCred::flags`]: which times the fop updates.
pub mod utime {
    /// ctime of the inode.
    pub const CTIME: u32 = 1;
    /// mtime of the inode.
    pub const MTIME: u32 = 2;
    /// atime of the inode.
    pub const ATIME: u32 = 4;
    /// ctime of the parent.
    pub const PARENT_CTIME: u32 = 8;
    /// mtime of the parent.
    pub const PARENT_MTIME: u32 = 16;
    /// atime of the parent.
    pub const PARENT_ATIME: u32 = 32;
}

/// Who asks, and when the client made the request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GlusterfsCred {
    /// Process id of the application; negative for GlusterFS's own clients, 0 for a client's own business.
    pub pid: i32,
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups; both directions cut the list to what the limit leaves beside the lock owner.
    pub groups: Vec<u32>,
    /// The lock owner, compared as bytes.
    pub lk_owner: Bytes,
    /// Bits of [`utime`]. Version 3 only.
    pub flags: u32,
    /// The time to store, seconds since the epoch. Version 3 only.
    pub ctime_sec: u64,
    /// Nanoseconds of that time. Version 3 only.
    pub ctime_nsec: u32,
}

/// The lock owner does not fit into the credential; such a call fails with E2BIG before it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerTooLong {
    /// Bytes of the owner.
    pub len: usize,
    /// Bytes allowed.
    pub limit: usize,
}

impl std::fmt::Display for OwnerTooLong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "lock owner of {} bytes, a credential holds {}", self.len, self.limit)
    }
}

impl std::error::Error for OwnerTooLong {}

/// AUTH_UNIX's body.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UnixCred {
    /// Arbitrary number of the sender.
    pub stamp: u32,
    /// Name of the sender's machine.
    pub machine: Bytes,
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// At most [`UNIX_GROUPS`] supplementary groups.
    pub groups: Vec<u32>,
}

/// The legacy body, as it lies on the wire.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LegacyCred {
    /// The lock owner.
    pub lk_owner: u64,
    /// Process id.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// How many of `groups` count; at most [`LEGACY_GROUPS`].
    pub ngroups: u32,
    /// All sixteen words.
    pub groups: [u32; LEGACY_GROUPS],
}

/// A credential by flavor.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Credential {
    /// Nobody in particular: root without groups.
    #[default]
    Null,
    /// AUTH_UNIX.
    Unix(UnixCred),
    /// Clients up to 3.0.
    Legacy(LegacyCred),
    /// Version 2; the version 3 fields are not sent and read as zero.
    V2(GlusterfsCred),
    /// Version 3.
    V3(GlusterfsCred),
    /// Another flavor; a server treats it as [`Credential::Null`].
    Other {
        /// The flavor's number.
        flavor: u32,
        /// Its body.
        body: Bytes,
    },
}

impl Credential {
    /// Who asks, whatever the flavor: null and unknown flavors are root without groups.
    pub fn identity(&self) -> GlusterfsCred {
        match self {
            Credential::V2(c) | Credential::V3(c) => c.clone(),
            Credential::Unix(c) => GlusterfsCred {
                uid: c.uid,
                gid: c.gid,
                groups: c.groups.clone(),
                ..GlusterfsCred::default()
            },
            Credential::Legacy(c) => GlusterfsCred {
                pid: c.pid as i32,
                uid: c.uid,
                gid: c.gid,
                groups: c.groups.iter().copied().take(c.ngroups as usize).collect(),
                lk_owner: Bytes::copy_from_slice(&c.lk_owner.to_le_bytes()),
                ..GlusterfsCred::default()
            },
            Credential::Null | Credential::Other { .. } => GlusterfsCred::default(),
        }
    }

    /// Whether the lock owner fits. Whoever takes an owner from outside asks before encoding, because an encoder
    /// cannot refuse.
    ///
    /// # Errors
    /// [`OwnerTooLong`].
    pub fn check_owner(&self) -> Result<(), OwnerTooLong> {
        let (cred, limit) = match self {
            Credential::V2(c) => (c, V2_OWNER_AND_GROUPS),
            Credential::V3(c) => (c, V3_OWNER_AND_GROUPS),
            _ => return Ok(()),
        };
        let len = cred.lk_owner.len();
        if len > limit {
            Err(OwnerTooLong { len, limit })
        } else {
            Ok(())
        }
    }

    /// The flavor's number.
    pub fn flavor(&self) -> u32 {
        match self {
            Credential::Null => AUTH_NULL,
            Credential::Unix(_) => AUTH_UNIX,
            Credential::Legacy(_) => AUTH_LEGACY,
            Credential::V2(_) => AUTH_V2,
            Credential::V3(_) => AUTH_V3,
            Credential::Other { flavor, .. } => *flavor,
        }
    }

    fn encode_body(&self, e: &mut Encoder) {
        match self {
            Credential::Null => {}
            Credential::Unix(c) => c.encode(e),
            Credential::Legacy(c) => c.encode(e),
            Credential::V2(c) => {
                c.pid.encode(e);
                c.uid.encode(e);
                c.gid.encode(e);
                encode_groups(&c.groups, &c.lk_owner, V2_OWNER_AND_GROUPS, e);
            }
            Credential::V3(c) => {
                c.pid.encode(e);
                c.uid.encode(e);
                c.gid.encode(e);
                c.flags.encode(e);
                c.ctime_nsec.encode(e);
                c.ctime_sec.encode(e);
                encode_groups(&c.groups, &c.lk_owner, V3_OWNER_AND_GROUPS, e);
            }
            Credential::Other { body, .. } => e.put_raw(body),
        }
    }

    fn decode_body(flavor: u32, body: &Bytes) -> Result<Credential, DecodeError> {
        let mut d = Decoder::new(body);
        let cred = match flavor {
            AUTH_UNIX => Credential::Unix(Xdr::decode(&mut d)?),
            AUTH_LEGACY => Credential::Legacy(Xdr::decode(&mut d)?),
            AUTH_V2 => {
                let (pid, uid, gid) = (i32::decode(&mut d)?, d.u32()?, d.u32()?);
                let (groups, lk_owner) = decode_groups(V2_OWNER_AND_GROUPS, &mut d)?;
                Credential::V2(GlusterfsCred {
                    pid,
                    uid,
                    gid,
                    groups,
                    lk_owner,
                    ..GlusterfsCred::default()
                })
            }
            AUTH_V3 => {
                let (pid, uid, gid, flags) = (i32::decode(&mut d)?, d.u32()?, d.u32()?, d.u32()?);
                let (ctime_nsec, ctime_sec) = (d.u32()?, d.u64()?);
                let (groups, lk_owner) = decode_groups(V3_OWNER_AND_GROUPS, &mut d)?;
                Credential::V3(GlusterfsCred {
                    pid,
                    uid,
                    gid,
                    groups,
                    lk_owner,
                    flags,
                    ctime_sec,
                    ctime_nsec,
                })
            }
            AUTH_NULL if body.is_empty() => Credential::Null,
            _ => {
                return Ok(Credential::Other {
                    flavor,
                    body: body.clone(),
                });
            }
        };
        d.finish()?;
        Ok(cred)
    }
}

/// Groups, cut to what the limit leaves, then the owner.
fn encode_groups(groups: &[u32], owner: &Bytes, limit: usize, e: &mut Encoder) {
    let room = limit.saturating_sub(owner.len());
    let groups = groups.get(..room).unwrap_or(groups);
    e.put_len(groups.len());
    for gid in groups {
        e.put_u32(*gid);
    }
    owner.encode(e);
}

fn decode_groups(limit: usize, d: &mut Decoder<'_>) -> Result<(Vec<u32>, Bytes), DecodeError> {
    let mut groups = decode_gids(usize::MAX, d)?;
    let owner = d.opaque_max(limit).map_err(|e| e.within("Credential.lk_owner"))?;
    groups.truncate(limit - owner.len());
    Ok((groups, owner))
}

fn decode_gids(limit: usize, d: &mut Decoder<'_>) -> Result<Vec<u32>, DecodeError> {
    let at = d.position();
    let len = d.count(4).map_err(|e| e.within("Credential.groups"))?;
    if len > limit {
        return Err(d.error_at(at, Why::TooLong { len, limit }).within("Credential.groups"));
    }
    (0..len).map(|_| d.u32()).collect()
}

impl Xdr for UnixCred {
    fn encode(&self, e: &mut Encoder) {
        self.stamp.encode(e);
        self.machine.encode(e);
        self.uid.encode(e);
        self.gid.encode(e);
        let groups = self.groups.get(..UNIX_GROUPS).unwrap_or(&self.groups);
        e.put_len(groups.len());
        for gid in groups {
            e.put_u32(*gid);
        }
    }

    fn decode(d: &mut Decoder<'_>) -> Result<UnixCred, DecodeError> {
        Ok(UnixCred {
            stamp: d.u32()?,
            machine: d.opaque_max(UNIX_MACHINE).map_err(|e| e.within("UnixCred.machine"))?,
            uid: d.u32()?,
            gid: d.u32()?,
            groups: decode_gids(UNIX_GROUPS, d)?,
        })
    }
}

xdr_fields!(LegacyCred {
    lk_owner,
    pid,
    uid,
    gid,
    ngroups,
    groups
});

/// The sixteen words of [`LegacyCred::groups`].
impl Xdr for [u32; LEGACY_GROUPS] {
    fn encode(&self, e: &mut Encoder) {
        for gid in self {
            e.put_u32(*gid);
        }
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Self, DecodeError> {
        let mut groups = [0; LEGACY_GROUPS];
        for gid in &mut groups {
            *gid = d.u32()?;
        }
        Ok(groups)
    }
}

/// Flavor, length and body.
impl Xdr for Credential {
    fn encode(&self, e: &mut Encoder) {
        self.flavor().encode(e);
        let at = e.len();
        e.put_u32(0);
        self.encode_body(e);
        let len = e.len() - at - 4;
        e.patch_u32(at, len as u32);
        e.pad(len);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<Credential, DecodeError> {
        let flavor = d.u32()?;
        let at = d.position() + 4;
        let body = d.opaque_max(MAX_BODY_LEN).map_err(|e| e.within("Credential.body"))?;
        Credential::decode_body(flavor, &body).map_err(|e| DecodeError { at: at + e.at, ..e }.within("Credential.body"))
    }
}

#[cfg(test)]
mod sampling {
    use super::*;
    use crate::wire::sample::{Entropy, Sample};

    impl Sample for GlusterfsCred {
        fn sample(s: &mut Entropy<'_>) -> GlusterfsCred {
            GlusterfsCred {
                pid: Sample::sample(s),
                uid: Sample::sample(s),
                gid: Sample::sample(s),
                groups: (0..s.below(50)).map(|_| u32::from(s.byte())).collect(),
                lk_owner: Sample::sample(s),
                flags: Sample::sample(s),
                ctime_sec: Sample::sample(s),
                ctime_nsec: Sample::sample(s),
            }
        }
    }

    impl Sample for [u32; LEGACY_GROUPS] {
        fn sample(s: &mut Entropy<'_>) -> Self {
            std::array::from_fn(|_| Sample::sample(s))
        }
    }

    impl Sample for Credential {
        fn sample(s: &mut Entropy<'_>) -> Credential {
            match s.below(6) {
                0 => Credential::Null,
                1 => Credential::Unix(UnixCred {
                    stamp: Sample::sample(s),
                    machine: Sample::sample(s),
                    uid: Sample::sample(s),
                    gid: Sample::sample(s),
                    groups: (0..s.below(UNIX_GROUPS + 1)).map(|_| Sample::sample(s)).collect(),
                }),
                2 => Credential::Legacy(Sample::sample(s)),
                3 => Credential::V2(GlusterfsCred {
                    flags: 0,
                    ctime_sec: 0,
                    ctime_nsec: 0,
                    ..Sample::sample(s)
                }),
                4 => Credential::V3(Sample::sample(s)),
                _ => Credential::Other {
                    flavor: 6,
                    body: Sample::sample(s),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v3(owner: usize, groups: usize) -> Credential {
        Credential::V3(GlusterfsCred {
            groups: vec![7; groups],
            lk_owner: vec![1; owner].into(),
            ..GlusterfsCred::default()
        })
    }

    #[test]
    fn known_sizes() {
        // wire-protocol.md 1.5 "sizes", plus flavor and length words.
        let owner = Bytes::from_static(&[0; 4]);
        let v2 = Credential::V2(GlusterfsCred {
            lk_owner: owner,
            ..GlusterfsCred::default()
        });
        assert_eq!(v2.to_bytes().len(), 8 + 24);
        assert_eq!(v3(4, 0).to_bytes().len(), 8 + 40);
        assert_eq!(v3(8, 0).to_bytes().len(), 8 + 44);
    }

    #[test]
    fn nanoseconds_precede_seconds_in_v3() {
        let cred = Credential::V3(GlusterfsCred {
            ctime_sec: 2,
            ctime_nsec: 3,
            ..GlusterfsCred::default()
        });
        let bytes = cred.to_bytes();
        assert_eq!(bytes[8 + 16..8 + 28], [0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn groups_are_cut_to_the_limit() {
        let bytes = v3(8, 200).to_bytes();
        assert!(bytes.len() <= 8 + MAX_BODY_LEN);
        assert_eq!(Credential::from_bytes(&bytes).unwrap(), v3(8, 83));
    }

    #[test]
    fn a_long_owner_is_refused() {
        assert_eq!(v3(91, 0).check_owner(), Ok(()));
        assert_eq!(v3(92, 0).check_owner(), Err(OwnerTooLong { len: 92, limit: 91 }));
        let err = Credential::from_bytes(&v3(92, 0).to_bytes()).unwrap_err();
        assert_eq!(err.why, Why::TooLong { len: 92, limit: 91 });
    }

    #[test]
    fn an_unknown_flavor_is_nobody_in_particular() {
        let cred = Credential::Other {
            flavor: 6,
            body: Bytes::from_static(b"xyz"),
        };
        let back = Credential::from_bytes(&cred.to_bytes()).unwrap();
        assert_eq!(back, cred);
        assert_eq!(back.identity(), GlusterfsCred::default());
    }

    #[test]
    fn a_body_above_400_bytes_is_refused() {
        let cred = Credential::Other {
            flavor: 6,
            body: vec![0; 401].into(),
        };
        let err = Credential::from_bytes(&cred.to_bytes()).unwrap_err();
        assert_eq!(err.why, Why::TooLong { len: 401, limit: 400 });
    }
}
