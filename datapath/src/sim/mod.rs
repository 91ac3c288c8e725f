//! The simulated driver: virtual time, an in-memory network and faults, all by seed.
