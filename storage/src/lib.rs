//! Replicated, ordered, versioned bytes. This layer decides no transaction's outcome.
//!
//! Read top-down: a store drives replicas; a replica proposes through its Raft group; the group writes its log; what is
//! committed is applied to an engine, in which versions and locks are laid out by `mvcc`. A module uses only those
//! declared below it.

pub mod placement;
pub mod store;
pub mod group;
pub mod apply;
pub mod replica;
pub mod log;
pub mod files;
pub mod mvcc;
pub mod engine;
pub mod base;
