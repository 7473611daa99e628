//! Pure functions from a history (and what the database held in the end) to what was broken.

pub mod bank;
pub mod gaps;
pub mod pgbench;
