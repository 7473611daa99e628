//! Concurrency control at the leaseholder.

pub mod latch;
pub mod lock_table;
pub mod signal;
pub mod timestamp_cache;
