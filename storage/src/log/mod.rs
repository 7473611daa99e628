//! The Raft log of all ranges of a node: the only write-ahead log there is.
//!
//! What must stay true:
//! - A [`LogBatch`] - whatever all ranges of one turn of the store produced - is written atomically and, with
//!   `sync`, is durable when [`LogStore::write`] returns: one sync for all of them.
//! - After a crash the log holds every synced batch, and of the unsynced ones a prefix.
//! - A damaged record that is not a torn tail stops the node: it is reported as corruption, never skipped. So does a
//!   log of which files are missing, and one that is another store's.

pub mod disk;
mod manifest;
mod index;
mod segment;
mod codec;
pub mod memory;
mod check;
#[cfg(test)]
mod conformance;

use std::time::Duration;

use bytes::Bytes;

use crate::base::{NodeId, RangeId, StorageResult};

pub use disk::{DiskLog, DiskLogOptions};
pub use memory::MemLog;

/// The store that a log belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogOwner {
    pub cluster: u128,
    pub node: NodeId,
}

impl std::fmt::Display for LogOwner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "node {} of cluster {:032x}", self.node.0, self.cluster)
    }
}

/// Raft's durable state beside the entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct HardState {
    pub term: u64,
    /// The replica voted for in `term`; 0 for none.
    pub vote: u64,
    pub commit: u64,
}

/// One log entry. `data` is opaque here (an encoded raft-rs entry payload, or a configuration change).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LogEntry {
    pub index: u64,
    pub term: u64,
    /// raft-rs's entry type: 0 normal, 1 ConfChange, 2 ConfChangeV2.
    pub kind: u8,
    pub data: Bytes,
    pub context: Bytes,
}

/// What one turn of the store writes, for any number of ranges.
#[derive(Clone, Debug, Default)]
pub struct LogBatch {
    pub ops: Vec<(RangeId, LogOp)>,
}

#[derive(Clone, Debug)]
pub enum LogOp {
    /// Appends entries with consecutive indexes; entries at or above the first are replaced.
    Append(Vec<LogEntry>),
    SetHardState(HardState),
    /// Forgets entries below `first`, whose predecessor had `(first - 1, prev_term)`.
    Truncate {
        first: u64,
        prev_term: u64,
    },
    /// Forgets all entries and begins again after a snapshot at `(index, term)`.
    Reset {
        index: u64,
        term: u64,
    },
    /// Forgets the range.
    Destroy,
}

/// The log of one range, as found at start.
#[derive(Clone, Debug, Default)]
pub struct LogState {
    pub hard_state: HardState,
    /// Index and term of the entry before the first that is stored (0, 0 for a log from the beginning).
    pub truncated: (u64, u64),
    /// The last index stored; equals `truncated.0` when there are no entries.
    pub last_index: u64,
}

impl LogState {
    /// In a log that begins anew: no vote is forgotten that was given `before`.
    pub fn keep_vote(&mut self, before: &LogState) {
        if before.hard_state.term >= self.hard_state.term {
            (self.hard_state.term, self.hard_state.vote) = (before.hard_state.term, before.hard_state.vote);
        }
    }
}

pub trait LogStore: Send + Sync + 'static {
    /// Writes the batch; with `sync`, it is durable on return.
    fn write(&self, batch: &LogBatch, sync: bool) -> StorageResult<()>;
    /// Every range with anything stored.
    fn ranges(&self) -> Vec<RangeId>;
    /// `None` if nothing is stored for the range.
    fn state(&self, range: RangeId) -> StorageResult<Option<LogState>>;
    /// Entries with indexes in `[low, high)`, at least one if there is one, then as many as fit in `max_bytes`.
    fn entries(&self, range: RangeId, low: u64, high: u64, max_bytes: u64) -> StorageResult<Vec<LogEntry>>;
    /// The term of an entry, or of the last truncated one; `None` if it is not stored.
    fn term(&self, range: RangeId, index: u64) -> StorageResult<Option<u64>>;
    /// Gives back disk space below the truncation points; called in the background.
    fn purge(&self) -> StorageResult<()>;
    /// Bytes on disk.
    fn size(&self) -> u64;
    /// After how long it may be asked again whether the disk has done what was asked of it. `None`: it has, and what was to
    /// be synced is durable; disks that make the thread wait always say so.
    fn busy_for(&self) -> Option<Duration> {
        None
    }
}

/// What an entry counts for in limits on bytes.
pub(crate) fn size_of(entry: &LogEntry) -> u64 {
    (entry.data.len() + entry.context.len() + 32) as u64
}
