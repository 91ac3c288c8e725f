//! Benchmarks of a mount, ours beside the C implementation.
fn main() {}
