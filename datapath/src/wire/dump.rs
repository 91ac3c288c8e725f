//! GF-DUMP: which programs a server has, and the ping (wire-protocol.md 2.1 and 1.7).

use bytes::Bytes;

use super::define::{xdr_procs, xdr_structs};
use super::program::Program;
use super::xdr::ListItem;

/// gfs_id a client translator puts into DUMP; nobody checks it.
pub const CLIENT_GFS_ID: u64 = 0xcaed;
/// gfs_id one glusterd sends another.
pub const PEER_GFS_ID: u64 = 0xcafe;

xdr_procs! {
    /// Procedures of GF-DUMP. Number 0 is answered with PROC_UNAVAIL.
    Proc in "dump" {
        Dump = 1, "DUMP": DumpReq => DumpRsp;
        Ping = 2, "PING": () => GfCommonRsp;
    }
}

xdr_structs! { "dump";
    /// gf_dump_req.
    DumpReq {
        /// [`CLIENT_GFS_ID`] or [`PEER_GFS_ID`].
        gfs_id: u64,
    }

    /// gf_dump_rsp.
    DumpRsp {
        gfs_id: u64,
        op_ret: i32,
        op_errno: i32,
        progs: Vec<ProgramInfo>,
    }

    /// One program of a [`DumpRsp`]. Clients go by number and version.
    ProgramInfo {
        progname: Bytes,
        prognum: u64,
        progver: u64,
    }

    /// gf_common_rsp: the answer to pings.
    GfCommonRsp {
        op_ret: i32,
        op_errno: i32,
        /// An old dictionary, always empty.
        xdata: Bytes,
    }
}

impl ListItem for ProgramInfo {}

impl DumpRsp {
    /// The answer of a server that has these programs.
    pub fn listing(programs: &[Program]) -> DumpRsp {
        let info = |p: &Program| ProgramInfo {
            progname: Bytes::from_static(p.name.as_bytes()),
            prognum: p.number.into(),
            progver: p.version.into(),
        };
        DumpRsp {
            progs: programs.iter().map(info).collect(),
            ..DumpRsp::default()
        }
    }

    /// Whether the server has `program` in exactly this version.
    pub fn has(&self, program: Program) -> bool {
        let wanted = (u64::from(program.number), u64::from(program.version));
        self.progs.iter().any(|p| (p.prognum, p.progver) == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::program;

    #[test]
    fn programs_are_found_by_number_and_version() {
        let rsp = DumpRsp::listing(&[program::DUMP, program::FOP]);
        assert!(rsp.has(program::FOP));
        assert!(!rsp.has(program::FOP_330));
    }
}
