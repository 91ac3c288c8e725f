//! RPC over the control runtime: server and client side.
