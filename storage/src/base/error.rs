//! The errors of the storage layer, classed by what they make the caller do.

use std::time::Duration;

use super::{Key, NodeId, RangeId};

pub type StorageResult<T> = Result<T, StorageError>;

#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    // --- the caller looks elsewhere ---
    /// This replica may not serve. `leader`: who probably may.
    #[error("{range} is not led from this node")]
    NotLeaseholder { range: RangeId, leader: Option<NodeId> },
    #[error("{range} is not on this node")]
    RangeNotFound { range: RangeId },
    /// The range's bounds are not what the caller believes, for example after a split.
    #[error("key {key:?} is outside {range}")]
    RangeMismatch { range: RangeId, key: Key },
    // --- the caller cannot know whether it happened ---
    #[error("the outcome is unknown: {reason}")]
    Ambiguous { reason: String },
    // --- the caller waits and tries again ---
    #[error("{range} is overloaded")]
    Overloaded { range: RangeId },
    #[error("{node} does not answer")]
    Unreachable { node: NodeId },
    #[error("the node is shutting down")]
    Shutdown,
    // --- the operator must act ---
    #[error("a clock is {ahead:?} ahead of this node's, beyond the allowed {bound:?}")]
    ClockOffset { ahead: Duration, bound: Duration },
    #[error("disk: {0}")]
    Io(String),
    /// What is stored is not what was written. Never served, never repaired silently.
    #[error("corruption: {0}")]
    Corruption(String),
    #[error("{0}")]
    Config(String),
}
