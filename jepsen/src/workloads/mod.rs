//! What clients do. A workload makes tables, runs clients that write history, and reads the final state for its checker.

pub mod bank;
pub mod pgbench;
