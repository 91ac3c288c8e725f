//! Tests of the wire codec against traffic of real GlusterFS 10.3 (`tests/captures`).

mod capture;
mod corpus;
mod fuzz;
mod golden;
mod witness;
