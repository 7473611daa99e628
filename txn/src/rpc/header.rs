//! What every batch says about itself: which range it is for, on whose behalf, at which time, and how to wait.

use std::time::Duration;

use meridian_storage::base::{Key, NodeId, RangeId, Timestamp, TxnId};

use super::wire::{wire_enum, wire_struct};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default, Hash)]
pub enum Isolation {
    /// A snapshot for each statement; locking reads see the newest version.
    ReadCommitted,
    /// One snapshot; a write over a version newer than the snapshot fails. PostgreSQL's REPEATABLE READ.
    Snapshot,
    #[default]
    Serializable,
}

wire_enum!(Isolation { 1 => ReadCommitted, 2 => Snapshot, 3 => Serializable });

/// PostgreSQL's four row locks, weakest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum LockStrength {
    KeyShare,
    Share,
    NoKeyUpdate,
    Update,
}

wire_enum!(LockStrength { 1 => KeyShare, 2 => Share, 3 => NoKeyUpdate, 4 => Update });

impl LockStrength {
    /// Whether two transactions may not hold the two on one key at once.
    pub fn conflicts(self, other: LockStrength) -> bool {
        use LockStrength::*;
        match self.max(other) {
            KeyShare => false,
            Share => false,
            NoKeyUpdate => self.min(other) >= Share,
            Update => true,
        }
    }
}

/// What to do about a conflicting lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum WaitPolicy {
    #[default]
    Block,
    /// Fail at once with [`KvError::LockNotAvailable`](super::KvError::LockNotAvailable).
    NoWait,
    /// Leave the row out of the answer.
    Skip,
}

wire_enum!(WaitPolicy { 1 => Block, 2 => NoWait, 3 => Skip });

/// A transaction as it travels with its requests and stands in its locks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TxnMeta {
    pub id: TxnId,
    /// Where the record is (or would be): the first key that the transaction locked or wrote. Empty while it has done
    /// neither. Never changes once set.
    pub anchor: Key,
    /// Grows with each restart; intents of earlier epochs are void.
    pub epoch: u32,
    /// Grows with each flush of the write buffer: an intent is never replaced by one of a lower (epoch, sequence), so
    /// that a delayed duplicate cannot undo a later write.
    pub sequence: u32,
    pub priority: u32,
    pub isolation: Isolation,
    /// When it began: its age, for choosing deadlock victims and for noticing that no record was ever written.
    pub min_ts: Timestamp,
    /// The snapshot. Under READ COMMITTED that of the statement.
    pub read_ts: Timestamp,
    /// The provisional commit timestamp; never below `read_ts`.
    pub write_ts: Timestamp,
}

wire_struct!(TxnMeta { id, anchor, epoch, sequence, priority, isolation, min_ts, read_ts, write_ts });

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Header {
    // --- filled in by the router ---
    pub range: RangeId,
    /// The generation of the descriptor that the router believed in.
    pub generation: u64,
    /// The sender's clock: the receiver's clock goes above it before the batch is evaluated.
    pub now: Timestamp,
    // --- filled in by the sender ---
    /// The node of the coordinator.
    pub gateway: NodeId,
    pub txn: Option<TxnMeta>,
    /// Reads are at this time. With a transaction it equals `txn.read_ts`.
    pub read_ts: Timestamp,
    /// A version in `(read_ts, uncertainty_limit]` may have been written before the read began:
    /// [`ReadWithinUncertainty`](super::KvError::ReadWithinUncertainty). Not above `read_ts` if nothing is uncertain.
    pub uncertainty_limit: Timestamp,
    /// The transaction has read nothing yet: instead of failing with `WriteTooOld` or `ReadWithinUncertainty`, the
    /// range may evaluate the batch at a later time and says so in [`BatchResponse::ts`](super::BatchResponse::ts).
    pub can_forward_read: bool,
    /// This very batch was sent before and its answer was lost: it may have been applied. A commit in one phase that
    /// cannot be told from its first attempt is then answered with `Ambiguous` instead of `WriteTooOld`.
    pub maybe_applied: bool,
    pub wait: WaitPolicy,
    pub lock_timeout: Option<Duration>,
    /// Scans stop after so many rows; 0 for no limit.
    pub max_rows: u64,
    /// Scans stop after the first row that reaches so many bytes; 0 for no limit.
    pub max_bytes: u64,
}

wire_struct!(Header {
    range,
    generation,
    now,
    gateway,
    txn,
    read_ts,
    uncertainty_limit,
    can_forward_read,
    maybe_applied,
    wait,
    lock_timeout,
    max_rows,
    max_bytes,
});

impl Header {
    /// What is not done for a transaction is a lone statement: it is as strict as any.
    pub fn isolation(&self) -> Isolation {
        self.txn.as_ref().map_or(Isolation::Serializable, |t| t.isolation)
    }
}

#[cfg(test)]
mod tests {
    use super::LockStrength::*;

    /// The table in PostgreSQL's manual, section 13.3.2.
    #[test]
    fn row_locks_conflict_as_in_postgresql() {
        let all = [KeyShare, Share, NoKeyUpdate, Update];
        let table = [
            [false, false, false, true],
            [false, false, true, true],
            [false, true, true, true],
            [true, true, true, true],
        ];
        for (i, a) in all.into_iter().enumerate() {
            for (j, b) in all.into_iter().enumerate() {
                assert_eq!(a.conflicts(b), table[i][j], "{a:?} {b:?}");
            }
        }
    }
}
