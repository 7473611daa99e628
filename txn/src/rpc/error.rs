//! Why a batch failed, classed by who must do what about it.

use meridian_storage::base::{Key, NodeId, RangeId, StorageError, Timestamp, TxnId, Unsound};
use meridian_storage::replica::RangeDescriptor;

use super::wire::{wire_enum, wire_struct};

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KvError {
    // ----- the router looks elsewhere; nothing has happened -----
    #[error("{range} is not led from here")]
    NotLeaseholder { range: RangeId, leaseholder: Option<NodeId>, descriptor: Option<Box<RangeDescriptor>> },
    #[error("{range} is not on this node")]
    RangeNotFound { range: RangeId },
    /// The request reaches beyond the range: what the node knows of the ranges that hold its keys.
    #[error("the range does not hold all the keys of the request")]
    RangeMismatch { descriptors: Vec<RangeDescriptor> },
    #[error("{range} is overloaded")]
    Overloaded { range: RangeId },

    // ----- the coordinator moves the transaction's timestamp and tries again; nothing has happened, but locks stay -----
    /// There is a version at `ts`, above the time of the read that locks the key or of the write.
    #[error("key {key:?} was written at {ts}")]
    WriteTooOld { key: Key, ts: Timestamp },
    /// A version at `ts` may or may not have been there when the read began.
    #[error("key {key:?} has an uncertain version at {ts}")]
    ReadWithinUncertainty { key: Key, ts: Timestamp },
    /// The transaction can commit only at `ts`, or above: its reads must be proven still true there.
    #[error("the transaction must move to {ts}")]
    RefreshNeeded { ts: Timestamp },

    // ----- the transaction cannot go on -----
    /// What the transaction read was changed (at `ts`) before it could commit.
    #[error("key {key:?} changed at {ts}")]
    RefreshFailed { key: Key, ts: Timestamp },
    #[error("the transaction was aborted: {reason}")]
    TxnAborted { reason: AbortReason },
    #[error("could not obtain lock on {key:?}")]
    LockNotAvailable { key: Key },
    #[error("lock timeout on {key:?}")]
    LockTimeout { key: Key },
    /// `cycle`: who waits for whom, ending with whom the first waits for.
    #[error("deadlock detected")]
    Deadlock { cycle: Vec<TxnId> },
    /// The read is so old that its versions may be gone.
    #[error("the read timestamp is below the garbage collection threshold {threshold}")]
    SnapshotTooOld { threshold: Timestamp },

    // ----- nobody knows whether it happened -----
    #[error("the outcome is unknown: {reason}")]
    Ambiguous { reason: String },

    // ----- nobody can do anything at once -----
    #[error("unavailable: {reason}")]
    Unavailable { reason: String },
    #[error("{reason}")]
    Unsupported { reason: String },
    /// A bug.
    #[error("{reason}")]
    Internal { reason: String },
    /// What is stored is not what was written.
    #[error("{reason}")]
    Corruption { reason: String },
    /// A disk fails.
    #[error("{reason}")]
    Io { reason: String },

    // ----- this node begins nothing; another one may -----
    /// The clock of the node that was asked cannot be relied upon. Nothing was sent.
    #[error("{node} serves nothing at the moment: {reason}")]
    Fenced { node: NodeId, reason: String },
}

wire_enum!(KvError {
    1 => NotLeaseholder { range, leaseholder, descriptor },
    2 => RangeNotFound { range },
    3 => RangeMismatch { descriptors },
    4 => Overloaded { range },
    5 => WriteTooOld { key, ts },
    6 => ReadWithinUncertainty { key, ts },
    7 => RefreshNeeded { ts },
    8 => RefreshFailed { key, ts },
    9 => TxnAborted { reason },
    10 => LockNotAvailable { key },
    11 => LockTimeout { key },
    12 => Deadlock { cycle },
    13 => SnapshotTooOld { threshold },
    14 => Ambiguous { reason },
    15 => Unavailable { reason },
    16 => Unsupported { reason },
    17 => Internal { reason },
    18 => Corruption { reason },
    19 => Io { reason },
    20 => Fenced { node, reason },
});

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AbortReason {
    /// The record says so: another transaction needed the way free, or the coordinator seemed dead.
    Pushed,
    /// An intent that the transaction had written is gone.
    IntentMissing,
    /// Locks that protected its reads were lost, for example because the range moved.
    LocksLost,
}

wire_enum!(AbortReason { 1 => Pushed, 2 => IntentMissing, 3 => LocksLost });

impl std::fmt::Display for AbortReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AbortReason::Pushed => "it gave way to another transaction",
            AbortReason::IntentMissing => "one of its writes was removed",
            AbortReason::LocksLost => "its locks were lost",
        })
    }
}

impl KvError {
    /// Whether the router may send the request again, perhaps elsewhere, without asking anybody.
    pub fn is_routing(&self) -> bool {
        matches!(
            self,
            KvError::NotLeaseholder { .. }
                | KvError::RangeNotFound { .. }
                | KvError::RangeMismatch { .. }
                | KvError::Overloaded { .. }
        )
    }

    /// The clock of `node` cannot be relied upon.
    pub fn fenced(node: NodeId, reason: Unsound) -> Self {
        KvError::Fenced { node, reason: reason.to_string() }
    }

    pub fn internal(reason: impl Into<String>) -> Self {
        KvError::Internal { reason: reason.into() }
    }
}

impl From<StorageError> for KvError {
    fn from(e: StorageError) -> Self {
        match e {
            StorageError::NotLeaseholder { range, leader } => {
                KvError::NotLeaseholder { range, leaseholder: leader, descriptor: None }
            }
            StorageError::RangeNotFound { range } => KvError::RangeNotFound { range },
            StorageError::RangeMismatch { .. } => KvError::RangeMismatch { descriptors: Vec::new() },
            StorageError::Ambiguous { reason } => KvError::Ambiguous { reason },
            StorageError::Overloaded { range } => KvError::Overloaded { range },
            e @ (StorageError::Shutdown
            | StorageError::Unreachable { .. }
            | StorageError::ClockOffset { .. }) => KvError::Unavailable { reason: e.to_string() },
            e @ StorageError::Corruption(_) => KvError::Corruption { reason: e.to_string() },
            e @ StorageError::Io(_) => KvError::Io { reason: e.to_string() },
            e @ StorageError::Config(_) => KvError::internal(e.to_string()),
        }
    }
}

/// Why a message got no answer.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TransportError {
    /// It surely never left: trying again is harmless.
    #[error("node is unreachable: {0}")]
    NotSent(String),
    /// It may have arrived, and may have taken effect.
    #[error("connection lost: {0}")]
    Lost(String),
}

/// What travels back.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Reply {
    pub ok: Option<super::BatchResponse>,
    pub err: Option<KvError>,
}

wire_struct!(Reply { ok, err });
