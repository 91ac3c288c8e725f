//! The simulated driver: virtual time, an in-memory network and faults, all by seed.

/// A socket of the simulated network.
#[derive(Debug)]
pub struct SimSocket {
    /// Number of the socket.
    #[allow(dead_code, reason = "read by the simulated network")]
    pub(crate) id: u64,
}
