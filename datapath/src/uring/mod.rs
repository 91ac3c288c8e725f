//! The io_uring driver: ring, in-flight slab and registered buffers.
