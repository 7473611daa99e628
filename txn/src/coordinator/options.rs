//! What the SQL layer chooses when it begins a transaction or a scan.

use meridian_storage::base::Timestamp;

use crate::rpc::{Isolation, LockStrength, WaitPolicy};

#[derive(Clone, Debug, Default)]
pub struct TxnOptions {
    pub isolation: Isolation,
    pub read_only: bool,
    /// Only of consequence with SERIALIZABLE and read only; every read-only transaction here is safe already.
    pub deferrable: bool,
    /// Of two transactions in each other's way, the one with the higher priority goes first.
    pub priority: u32,
    /// Reads the past: implies read only.
    pub as_of: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScanOptions {
    pub reverse: bool,
    /// Stop after so many rows; 0 for no limit.
    pub limit: u64,
    /// The size aimed at for one block; 0 for the default.
    pub batch_bytes: u64,
    pub lock: Option<(LockStrength, WaitPolicy)>,
    /// Below SERIALIZABLE: what is committed now, not what the snapshot has. For the checks of constraints, which a snapshot
    /// would let miss what was committed since.
    pub newest: bool,
}

/// How a commit went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitOutcome {
    pub timestamp: Timestamp,
}
