//! RPC records over a stream: reading, coalesced sending, and matching replies to calls.
