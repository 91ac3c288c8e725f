//! The RPC programs, their versions and names (wire-protocol.md 2.1). Procedures stand
//! with their structures.

/// A program and its version, as a call header carries them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Program {
    /// RPC program number.
    pub number: u32,
    /// RPC program version.
    pub version: u32,
    /// The name DUMP gives it.
    pub name: &'static str,
}

impl Program {
    /// Number and version, by which a program is found.
    pub const fn key(self) -> (u32, u32) {
        (self.number, self.version)
    }
}

const fn program(number: u32, version: u32, name: &'static str) -> Program {
    Program { number, version, name }
}

/// Everyone serves it: DUMP and PING.
pub const DUMP: Program = program(123_451_501, 1, "GF-DUMP");
/// File operations, the only version spoken here.
pub const FOP: Program = program(1_298_437, 400, "GlusterFS 4.x v1");
/// File operations of versions up to 10, not spoken here; a brick's DUMP of 10.3 lists it.
pub const FOP_330: Program = program(1_298_437, 330, "GlusterFS 3.3");
/// Handshake of a brick: SETVOLUME.
pub const HANDSHAKE_BRICK: Program = program(14_398_633, 2, "GlusterFS Handshake");
/// Handshake of glusterd: GETSPEC. Number and version are [`HANDSHAKE_BRICK`]'s.
pub const HANDSHAKE_MGMT: Program = program(14_398_633, 2, "Gluster Handshake");
/// glusterd's port registry.
pub const PORTMAP: Program = program(34_123_456, 1, "Gluster Portmap");
/// Calls from server to client, never answered.
pub const CALLBACK: Program = program(52_743_234, 1, "GlusterFS Callback");
/// The CLI, all procedures; on glusterd's unix socket only.
pub const CLI: Program = program(1_238_463, 2, "GlusterD svc cli");
/// The CLI's read-only procedures, on TCP. Number and version are [`CLI`]'s.
pub const CLI_READ_ONLY: Program = program(1_238_463, 2, "GlusterD svc cli read-only");
/// glusterd to glusterd: membership.
pub const PEER: Program = program(1_238_437, 2, "GlusterD svc peer");
/// glusterd to glusterd: transactions of version 2.
pub const MGMT: Program = program(1_238_433, 2, "GlusterD svc mgmt");
/// glusterd to glusterd: transactions of version 3.
pub const MGMT_V3: Program = program(1_238_433, 3, "GlusterD svc mgmt v3");
/// glusterd to glusterd: op-version agreement.
pub const MGMT_HANDSHAKE: Program = program(1_239_873, 1, "Gluster MGMT Handshake");
/// glusterd to brick or daemon, on the unix socket.
pub const BRICK_OP: Program = program(4_867_634, 2, "brick operations");
