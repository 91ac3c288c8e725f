//! Program 4867634: what glusterd asks of bricks and daemons on their unix socket (wire-protocol.md 2.6).

use bytes::Bytes;

use super::OldDict;
use super::define::{xdr_procs, xdr_structs};
use super::xdr::DecodeError;

xdr_procs! {
    /// Procedures of the brick-op program; `op` of the request repeats the number.
    Proc in "brickop" {
        Terminate = 1, "TERMINATE": BrickOpReq => BrickOpRsp;
        /// Profile and top.
        XlatorInfo = 2, "XLATOR_INFO": BrickOpReq => BrickOpRsp;
        /// Heal.
        XlatorOp = 3, "XLATOR_OP": BrickOpReq => BrickOpRsp;
        Status = 4, "STATUS": BrickOpReq => BrickOpRsp;
        /// Not implemented by anyone.
        Op = 5, "OP": BrickOpReq => BrickOpRsp;
        XlatorDefrag = 6, "XLATOR_DEFRAG": BrickOpReq => BrickOpRsp;
        NodeProfile = 7, "NODE_PROFILE": BrickOpReq => BrickOpRsp;
        NodeStatus = 8, "NODE_STATUS": BrickOpReq => BrickOpRsp;
        VolumeBarrierOp = 9, "VOLUME_BARRIER_OP": BrickOpReq => BrickOpRsp;
        Barrier = 10, "BARRIER": BrickOpReq => BrickOpRsp;
        NodeBitrot = 11, "NODE_BITROT": BrickOpReq => BrickOpRsp;
        Attach = 12, "ATTACH": BrickOpReq => BrickOpRsp;
        DumpMetrics = 13, "DUMP_METRICS": BrickOpReq => BrickOpRsp;
        /// `input` is a volfile's text.
        SvcAttach = 14, "SVC_ATTACH": BrickOpReq => BrickOpRsp;
        /// `input` is a volfile's text.
        SvcDetach = 15, "SVC_DETACH": BrickOpReq => BrickOpRsp;
    }
}

xdr_structs! { "brickop";
    /// gd1_mgmt_brick_op_req of 10.3 (7.x had no `dict`).
    BrickOpReq {
        name: Bytes,
        op: i32,
        /// A serialized old dictionary, except for SVC_ATTACH and SVC_DETACH.
        input: Bytes,
        dict: OldDict,
    }

    /// gd1_mgmt_brick_op_rsp.
    BrickOpRsp {
        op_ret: i32,
        op_errno: i32,
        /// A serialized old dictionary, or nothing.
        output: Bytes,
        op_errstr: Bytes,
    }
}

impl BrickOpReq {
    /// The dictionary in `input`.
    ///
    /// # Errors
    /// When `input` is something else.
    pub fn input_dict(&self) -> Result<OldDict, DecodeError> {
        OldDict::deserialize(&self.input).map_err(|e| e.within("BrickOpReq.input"))
    }
}

impl BrickOpRsp {
    /// A success that returns `output`.
    pub fn success(output: &OldDict) -> BrickOpRsp {
        BrickOpRsp {
            output: output.serialize(),
            ..BrickOpRsp::default()
        }
    }

    /// A failure: the text goes to whoever typed the command.
    pub fn failure(op_errno: i32, op_errstr: impl Into<Bytes>) -> BrickOpRsp {
        BrickOpRsp {
            op_ret: -1,
            op_errno,
            op_errstr: op_errstr.into(),
            ..BrickOpRsp::default()
        }
    }

    /// The dictionary in `output`.
    ///
    /// # Errors
    /// When `output` is something else.
    pub fn output_dict(&self) -> Result<OldDict, DecodeError> {
        OldDict::deserialize(&self.output).map_err(|e| e.within("BrickOpRsp.output"))
    }
}
