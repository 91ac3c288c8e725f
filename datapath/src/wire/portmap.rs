//! Program 34123456: which port a brick listens on (wire-protocol.md 2.4 and 4.4).

use bytes::Bytes;

use super::define::{xdr_procs, xdr_structs};

xdr_procs! {
    /// Procedures of the portmapper. Number 3 is reserved.
    Proc in "portmap" {
        PortByBrick = 1, "PORTBYBRICK": PortByBrickReq => PortByBrickRsp;
        /// Never answered by 10.3: do not use.
        BrickByPort = 2, "BRICKBYPORT": BrickByPortReq => BrickByPortRsp;
        SignIn = 4, "SIGNIN": SignInReq => SignInRsp;
        SignOut = 5, "SIGNOUT": SignOutReq => SignOutRsp;
    }
}

xdr_structs! { "portmap";
    /// pmap_port_by_brick_req.
    PortByBrickReq {
        /// The brick's path, exactly as in remote-subvolume.
        brick: Bytes,
    }

    /// pmap_port_by_brick_rsp. An unknown brick is op_ret -1, op_errno 0, port 0.
    PortByBrickRsp {
        op_ret: i32,
        op_errno: i32,
        status: i32,
        port: i32,
    }

    /// pmap_brick_by_port_req.
    BrickByPortReq {
        port: i32,
    }

    /// pmap_brick_by_port_rsp.
    BrickByPortRsp {
        op_ret: i32,
        op_errno: i32,
        status: i32,
        brick: Bytes,
    }

    /// pmap_signin_req: a brick listens.
    SignInReq {
        brick: Bytes,
        port: i32,
        pid: i32,
    }

    /// pmap_signin_rsp.
    SignInRsp {
        op_ret: i32,
        op_errno: i32,
    }

    /// pmap_signout_req: a brick ends.
    SignOutReq {
        brick: Bytes,
        port: i32,
        /// 0.
        rdma_port: i32,
    }

    /// pmap_signout_rsp.
    SignOutRsp {
        op_ret: i32,
        op_errno: i32,
    }
}
