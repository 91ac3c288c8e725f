//! Program 1298437 version 400: the file operations (wire-protocol.md 2.2, 3.5 and 3.6).
//!
//! The table below is the one place that ties a procedure number to its name, request and reply.

pub(crate) mod parts;
pub mod payload;
pub(crate) mod replies;
pub(crate) mod requests;

pub use parts::{DirEntry, DirEntryPlus, EntrylkCmd, Flock, InodelkCmd, Lease, LkCmd, LockEntry, LockType, Statfs};
pub use payload::{HeaderLen, read_reply_header_len, write_call_header_len};
pub use replies::{
    CommonRsp, CreateRsp, DictRsp, FopRsp, GetactivelkRsp, Iatt1Rsp, Iatt2Rsp, Iatt3Rsp, LeaseRsp, LkRsp, OpenRsp,
    RchecksumRsp, ReadRsp, ReaddirRsp, ReaddirpRsp, ReadlinkRsp, RenameRsp, SeekRsp, StatfsRsp,
};
pub use requests::{
    AccessReq, CopyFileRangeReq, CreateReq, DiscardReq, EntrylkReq, FallocateReq, FentrylkReq, FgetxattrReq,
    FinodelkReq, FlushReq, FremovexattrReq, FsetattrReq, FsetxattrReq, FstatReq, FsyncReq, FsyncdirReq, FtruncateReq,
    FxattropReq, GetactivelkReq, GetxattrReq, IcreateReq, InodelkReq, IpcReq, LeaseReq, LinkReq, LkReq, LookupReq,
    MkdirReq, MknodReq, NamelinkReq, OpenReq, OpendirReq, PutReq, RchecksumReq, ReadReq, ReaddirReq, ReaddirpReq,
    ReadlinkReq, ReleaseReq, ReleasedirReq, RemovexattrReq, RenameReq, RmdirReq, SeekReq, SetactivelkReq, SetattrReq,
    SetxattrReq, StatReq, StatfsReq, SymlinkReq, TruncateReq, UnlinkReq, WriteReq, XattropReq, ZerofillReq,
};

use super::define::xdr_procs;
use super::dump::GfCommonRsp;
use super::xdr::{DecodeError, Decoder, Encoder, Why, Xdr};

/// The fd of a fop that shall work on the gfid alone: the server opens the file for its duration.
pub const ANONYMOUS_FD: i64 = -2;
/// No fd.
pub const NO_FD: i64 = -1;

/// A request: it knows its procedure and its reply.
pub trait Fop: Xdr {
    /// The procedure it is the argument of.
    const PROC: Proc;
    /// What a brick answers.
    type Reply: FopRsp;
}

macro_rules! fops {
    ($( $variant:ident = $num:literal, $text:literal : $req:ident => $rsp:ident ; )*) => {
        xdr_procs! {
            /// A procedure number. They are not GlusterFS's internal fop numbers.
            Proc in "fop" {
                /// Answered without looking at anything.
                Null = 0, "NULL": () => GfCommonRsp;
                $( $variant = $num, $text: $req => $rsp; )*
                /// Removed from the protocol; a server answers GARBAGE_ARGS.
                Compound = 49, "COMPOUND": () => ();
            }
        }

        $( impl Fop for $req {
            const PROC: Proc = Proc::$variant;
            type Reply = $rsp;
        } )*

        /// A decoded request of any procedure.
        #[derive(Clone, PartialEq, Debug)]
        #[allow(missing_docs, reason = "the names are the protocol's own")]
        pub enum Request {
            /// Has no arguments.
            Null,
            $( $variant($req), )*
        }

        impl Request {
            /// Reads the arguments of `proc`. What the decoder has left afterwards is a WRITE's payload; after
            /// any other request the caller ends with [`Decoder::finish`].
            ///
            /// # Errors
            /// The structure's, and [`Why::Unknown`] for COMPOUND, which no longer has one.
            pub fn decode(proc: Proc, d: &mut Decoder<'_>) -> Result<Request, DecodeError> {
                Ok(match proc {
                    Proc::Null => Request::Null,
                    $( Proc::$variant => Request::$variant(Xdr::decode(d)?), )*
                    Proc::Compound => {
                        return Err(d.error(Why::Unknown { what: "fop (COMPOUND was removed)", value: 49 }));
                    }
                })
            }

            /// Appends the arguments.
            pub fn encode(&self, e: &mut Encoder) {
                match self {
                    Request::Null => {}
                    $( Request::$variant(req) => req.encode(e), )*
                }
            }

            /// The procedure.
            pub fn proc(&self) -> Proc {
                match self {
                    Request::Null => Proc::Null,
                    $( Request::$variant(_) => Proc::$variant, )*
                }
            }
        }
    };
}

fops! {
    Stat = 1, "STAT": StatReq => Iatt1Rsp;
    Readlink = 2, "READLINK": ReadlinkReq => ReadlinkRsp;
    Mknod = 3, "MKNOD": MknodReq => Iatt3Rsp;
    Mkdir = 4, "MKDIR": MkdirReq => Iatt3Rsp;
    Unlink = 5, "UNLINK": UnlinkReq => Iatt2Rsp;
    Rmdir = 6, "RMDIR": RmdirReq => Iatt2Rsp;
    Symlink = 7, "SYMLINK": SymlinkReq => Iatt3Rsp;
    Rename = 8, "RENAME": RenameReq => RenameRsp;
    Link = 9, "LINK": LinkReq => Iatt3Rsp;
    Truncate = 10, "TRUNCATE": TruncateReq => Iatt2Rsp;
    Open = 11, "OPEN": OpenReq => OpenRsp;
    Read = 12, "READ": ReadReq => ReadRsp;
    Write = 13, "WRITE": WriteReq => Iatt2Rsp;
    Statfs = 14, "STATFS": StatfsReq => StatfsRsp;
    Flush = 15, "FLUSH": FlushReq => CommonRsp;
    Fsync = 16, "FSYNC": FsyncReq => Iatt2Rsp;
    Setxattr = 17, "SETXATTR": SetxattrReq => CommonRsp;
    Getxattr = 18, "GETXATTR": GetxattrReq => DictRsp;
    Removexattr = 19, "REMOVEXATTR": RemovexattrReq => CommonRsp;
    Opendir = 20, "OPENDIR": OpendirReq => OpenRsp;
    Fsyncdir = 21, "FSYNCDIR": FsyncdirReq => CommonRsp;
    Access = 22, "ACCESS": AccessReq => CommonRsp;
    Create = 23, "CREATE": CreateReq => CreateRsp;
    Ftruncate = 24, "FTRUNCATE": FtruncateReq => Iatt2Rsp;
    Fstat = 25, "FSTAT": FstatReq => Iatt1Rsp;
    Lk = 26, "LK": LkReq => LkRsp;
    Lookup = 27, "LOOKUP": LookupReq => Iatt2Rsp;
    Readdir = 28, "READDIR": ReaddirReq => ReaddirRsp;
    Inodelk = 29, "INODELK": InodelkReq => CommonRsp;
    Finodelk = 30, "FINODELK": FinodelkReq => CommonRsp;
    Entrylk = 31, "ENTRYLK": EntrylkReq => CommonRsp;
    Fentrylk = 32, "FENTRYLK": FentrylkReq => CommonRsp;
    Xattrop = 33, "XATTROP": XattropReq => DictRsp;
    Fxattrop = 34, "FXATTROP": FxattropReq => DictRsp;
    Fgetxattr = 35, "FGETXATTR": FgetxattrReq => DictRsp;
    Fsetxattr = 36, "FSETXATTR": FsetxattrReq => CommonRsp;
    Rchecksum = 37, "RCHECKSUM": RchecksumReq => RchecksumRsp;
    Setattr = 38, "SETATTR": SetattrReq => Iatt2Rsp;
    Fsetattr = 39, "FSETATTR": FsetattrReq => Iatt2Rsp;
    Readdirp = 40, "READDIRP": ReaddirpReq => ReaddirpRsp;
    Release = 41, "RELEASE": ReleaseReq => CommonRsp;
    Releasedir = 42, "RELEASEDIR": ReleasedirReq => CommonRsp;
    Fremovexattr = 43, "FREMOVEXATTR": FremovexattrReq => CommonRsp;
    Fallocate = 44, "FALLOCATE": FallocateReq => Iatt2Rsp;
    Discard = 45, "DISCARD": DiscardReq => Iatt2Rsp;
    Zerofill = 46, "ZEROFILL": ZerofillReq => Iatt2Rsp;
    Ipc = 47, "IPC": IpcReq => CommonRsp;
    Seek = 48, "SEEK": SeekReq => SeekRsp;
    Lease = 50, "LEASE": LeaseReq => LeaseRsp;
    Getactivelk = 51, "GETACTIVELK": GetactivelkReq => GetactivelkRsp;
    Setactivelk = 52, "SETACTIVELK": SetactivelkReq => CommonRsp;
    Icreate = 53, "ICREATE": IcreateReq => Iatt1Rsp;
    Namelink = 54, "NAMELINK": NamelinkReq => Iatt2Rsp;
    Put = 55, "PUT": PutReq => Iatt3Rsp;
    CopyFileRange = 56, "COPY_FILE_RANGE": CopyFileRangeReq => Iatt3Rsp;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Gfid;

    #[test]
    fn numbers_are_dense_and_round_trip() {
        for number in 0..=56 {
            assert_eq!(Proc::from_u32(number).map(|p| p as u32), Some(number));
        }
        assert_eq!(Proc::from_u32(57), None);
        assert_eq!(Proc::ALL.len(), 57);
    }

    #[test]
    fn a_request_decodes_by_its_number() {
        let req = StatReq {
            gfid: Gfid::ROOT,
            ..StatReq::default()
        };
        let bytes = req.to_bytes();
        let mut d = Decoder::new(&bytes);
        let back = Request::decode(Proc::Stat, &mut d).unwrap();
        d.finish().unwrap();
        assert_eq!(back.proc(), Proc::Stat);
        assert_eq!(back, Request::Stat(req));
        assert!(Request::decode(Proc::Compound, &mut Decoder::new(&bytes)).is_err());
    }
}
