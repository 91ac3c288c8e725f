//! Structures that lie inside fop requests and replies: locks, leases, directory entries, file system numbers
//! (wire-protocol.md 3.1, 3.3, 3.9).

use bytes::Bytes;

use crate::wire::define::{wire_enum, xdr_structs};
use crate::wire::xdr::{DecodeError, Decoder, Encoder, ListItem, Xdr};
use crate::wire::{Dict, Gfid, Iatt};

xdr_structs! { "fop";
    /// gf_proto_flock: a byte range and its owner.
    Flock {
        /// `type` on the wire: a [`LockType`]; 2 also in a GETLK reply without conflict.
        kind: u32,
        /// 0 SET, 1 CUR, 2 END.
        whence: u32,
        /// First byte.
        start: u64,
        /// Bytes; 0 is to the end of the file.
        len: u64,
        pid: u32,
        /// Empty for INODELK, where the credential's owner counts.
        lk_owner: Bytes,
    }

    /// gf_proto_lease.
    Lease {
        /// 1 get, 2 set, 3 unlock.
        cmd: u32,
        /// `type` on the wire: 1 read, 2 read-write.
        kind: u32,
        lease_id: Gfid,
        /// Never filled: 0.
        flags: u32,
    }

    /// One element of gfs3_locklist.
    LockEntry {
        flock: Flock,
        client_uid: Bytes,
        lk_flags: u32,
    }

    /// gf_statfs, as statvfs has it; 88 bytes.
    Statfs {
        bsize: u64,
        frsize: u64,
        blocks: u64,
        bfree: u64,
        bavail: u64,
        files: u64,
        ffree: u64,
        favail: u64,
        fsid: u64,
        flag: u64,
        namemax: u64,
    }
}

impl ListItem for LockEntry {}

/// An entry of a READDIR reply. Its name's length also travels as `d_len`, which is written and not read.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DirEntry {
    /// Inode number in the brick's file system.
    pub d_ino: u64,
    /// Opaque cookie: the offset that continues behind this entry.
    pub d_off: u64,
    /// A `DT_*` number, 0 when unknown.
    pub d_type: u32,
    /// One path component, "." and ".." included.
    pub name: Bytes,
}

impl Xdr for DirEntry {
    fn encode(&self, e: &mut Encoder) {
        e.put_u64(self.d_ino);
        e.put_u64(self.d_off);
        e.put_len(self.name.len());
        e.put_u32(self.d_type);
        self.name.encode(e);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<DirEntry, DecodeError> {
        let (d_ino, d_off, _d_len, d_type) = (d.u64()?, d.u64()?, d.u32()?, d.u32()?);
        let name = d.opaque().map_err(|e| e.within("DirEntry.name"))?;
        Ok(DirEntry {
            d_ino,
            d_off,
            d_type,
            name,
        })
    }
}

impl ListItem for DirEntry {}

/// An entry of a READDIRP reply.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct DirEntryPlus {
    /// The entry; its `d_ino` comes from the gfid.
    pub entry: DirEntry,
    /// What the name leads to; all zero when the brick could not say.
    pub stat: Iatt,
    /// What the request's xdata asked for.
    pub dict: Dict,
}

impl Xdr for DirEntryPlus {
    fn encode(&self, e: &mut Encoder) {
        self.entry.encode(e);
        self.stat.encode(e);
        self.dict.encode(e);
    }

    fn decode(d: &mut Decoder<'_>) -> Result<DirEntryPlus, DecodeError> {
        let entry = DirEntry::decode(d)?;
        let stat = Iatt::decode(d)?;
        let dict = Dict::decode(d).map_err(|e| e.within("DirEntryPlus.dict"))?;
        Ok(DirEntryPlus { entry, stat, dict })
    }
}

impl ListItem for DirEntryPlus {}

wire_enum! {
    /// What a lock is: `type` of [`Flock`], LK, INODELK and ENTRYLK.
    LockType {
        /// Shared.
        Read = 0,
        /// Exclusive.
        Write = 1,
        /// Release.
        Unlock = 2,
    }
}

wire_enum! {
    /// `cmd` of LK.
    LkCmd {
        /// Report a conflicting lock.
        GetLk = 0,
        /// Lock or unlock; a conflict is EAGAIN.
        SetLk = 1,
        /// Lock; a conflict waits.
        SetLkW = 2,
        /// Reservation lock.
        ReslkLck = 3,
        /// Reservation lock, waiting.
        ReslkLckW = 4,
        /// Reservation unlock.
        ReslkUnlck = 5,
        /// List the locks of the fd.
        GetLkFd = 6,
    }
}

wire_enum! {
    /// `cmd` of INODELK and FINODELK.
    InodelkCmd {
        /// Never used.
        GetLk = 0,
        /// Try, or release.
        SetLk = 1,
        /// Wait.
        SetLkW = 2,
    }
}

wire_enum! {
    /// `cmd` of ENTRYLK and FENTRYLK.
    EntrylkCmd {
        /// Wait.
        Lock = 0,
        /// Release.
        Unlock = 1,
        /// Try.
        LockNb = 2,
    }
}

#[cfg(test)]
mod sampling {
    use super::*;
    use crate::wire::sample::{Entropy, Sample};

    impl Sample for DirEntry {
        fn sample(s: &mut Entropy<'_>) -> DirEntry {
            DirEntry {
                d_ino: Sample::sample(s),
                d_off: Sample::sample(s),
                d_type: Sample::sample(s),
                name: Sample::sample(s),
            }
        }
    }

    impl Sample for DirEntryPlus {
        fn sample(s: &mut Entropy<'_>) -> DirEntryPlus {
            DirEntryPlus {
                entry: Sample::sample(s),
                stat: Sample::sample(s),
                dict: Sample::sample(s),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readdir_list_is_marked_and_ended() {
        let list = vec![DirEntry {
            d_ino: 1,
            d_off: 2,
            d_type: 4,
            name: Bytes::from_static(b"ab"),
        }];
        let words = [1, 0, 1, 0, 2, 2, 4, 2, 0x6162_0000, 0u32];
        assert_eq!(
            list.to_bytes(),
            words.iter().flat_map(|w| w.to_be_bytes()).collect::<Vec<_>>()
        );
        assert_eq!(&Vec::<DirEntry>::new().to_bytes()[..], [0; 4]);
    }

    #[test]
    fn statfs_has_eleven_hypers() {
        assert_eq!(Statfs::default().to_bytes().len(), 88);
    }

    #[test]
    fn numbers_round_trip() {
        assert_eq!(LkCmd::from_wire(2), Some(LkCmd::SetLkW));
        assert_eq!(LkCmd::from_wire(7), None);
        assert_eq!(EntrylkCmd::LockNb.to_wire(), 2);
    }
}
