//! The lab: clusters of real processes on this machine, for the tests, the sandbox and the benchmarks.
