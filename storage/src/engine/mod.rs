//! The seam between replicated state and the disk: an ordered key-value store with column families, atomic batches
//! and snapshots.
//!
//! Two implementations pass one conformance suite: RocksDB on disk, and an ordered in-memory engine with the same
//! crash semantics.
//!
//! What must stay true:
//! - A batch is applied wholly or not at all, in memory and on disk, over all column families.
//! - **The engine has no write-ahead log.** What was written but not yet flushed is lost in a crash; the Raft log
//!   replays it. After a crash the engine is a prefix of the batches that were written, in order.
//! - An iterator or snapshot sees one moment, whatever is written later.

pub mod batch;
pub mod memory;
pub mod rocks;
pub mod rows;
#[cfg(test)]
mod conformance;

use bytes::Bytes;

use crate::base::{StorageError, StorageResult, Timestamp};

pub use batch::{BatchOp, WriteBatch};
pub use memory::MemEngine;
pub use rocks::{RocksEngine, RocksOptions};
pub use rows::RowCache;

/// Column families. The numbers are stored in the Raft log: never reuse one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Cf {
    /// Versions: `escaped key ++ inverted timestamp` → value (see [`crate::mvcc`]).
    Data = 0,
    /// Intents and replicated locks: key → lock record. Normally empty.
    Lock = 1,
    /// Transaction records: `anchor key ++ transaction id` → record. Moves with the range that holds the anchor.
    Record = 2,
    /// Per-replica state: range id ++ name → descriptor, applied state, abort marks; and the store's identity.
    State = 3,
}

impl Cf {
    pub const ALL: [Cf; 4] = [Cf::Data, Cf::Lock, Cf::Record, Cf::State];

    pub fn from_u8(n: u8) -> Option<Cf> {
        Cf::ALL.into_iter().find(|cf| *cf as u8 == n)
    }

    pub fn name(self) -> &'static str {
        match self {
            Cf::Data => "data",
            Cf::Lock => "lock",
            Cf::Record => "record",
            Cf::State => "state",
        }
    }
}

/// Bytes of the timestamp at the end of a key of [`Cf::Data`].
pub const VERSION_SUFFIX_LEN: usize = 12;
/// Stands between the escaped user key and the timestamp, and nowhere else in a key of [`Cf::Data`].
pub const KEY_TERMINATOR: [u8; 2] = [0, 1];

/// What an engine knows of the keys in [`Cf::Data`]: the part that all versions of one user key share, terminator
/// included. `None` if `raw` is not the key of a version, for example a bound.
pub fn key_part(raw: &[u8]) -> Option<&[u8]> {
    let (part, _) = raw.split_last_chunk::<VERSION_SUFFIX_LEN>()?;
    part.ends_with(&KEY_TERMINATOR).then_some(part)
}

/// A version key's key part and timestamp. `None` as for [`key_part`].
pub fn split_timestamp(raw: &[u8]) -> Option<(&[u8], Timestamp)> {
    let part = key_part(raw)?;
    let [w0, w1, w2, w3, w4, w5, w6, w7, logical @ ..] = *raw.last_chunk::<VERSION_SUFFIX_LEN>()?;
    let wall = u64::from_be_bytes([w0, w1, w2, w3, w4, w5, w6, w7]);
    Some((part, Timestamp::new(!wall, !u32::from_be_bytes(logical))))
}

/// Decides, while files of [`Cf::Data`] are compacted, which versions are not needed any more.
pub trait VersionFilter: Send + Sync + 'static {
    /// Called at the beginning of each compaction.
    fn begin(&self) -> Box<dyn VersionSweep>;
}

/// Sees some of the entries of [`Cf::Data`], in order; it must not conclude anything from what it does not see.
pub trait VersionSweep: Send {
    /// Whether the entry may be dropped.
    fn drops(&mut self, key: &[u8], value: &[u8]) -> bool;
}

/// Bounds and hints of an iterator. Bounds are in the column family's own (encoded) keys.
#[derive(Clone, Debug, Default)]
pub struct IterOptions {
    /// Included.
    pub lower: Option<Bytes>,
    /// Excluded.
    pub upper: Option<Bytes>,
    /// Only for [`Cf::Data`]: every seek is forward, to a whole version key, and only the versions of that same key
    /// matter. Entries of other keys may be missed, so that files without the key need not be looked at.
    pub one_key: bool,
}

/// A consistent view: an engine at this moment, or a snapshot of it.
pub trait Reader: Send + Sync {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>>;
    /// An iterator over the view as of this call.
    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIter + '_>;
    /// What is remembered of rows that were read. Only if the view is of the present.
    fn rows(&self) -> Option<&RowCache> {
        None
    }
    /// Whether [`Cf::Lock`] is known to be empty at this moment. `false` says nothing.
    fn knows_no_locks(&self) -> bool {
        false
    }
}

/// A cursor. After any move, `valid` says whether it stands on an entry; an I/O error shows in `status`, and
/// `valid` is then false. `key` and `value` may be called only while valid.
pub trait EngineIter: Send {
    fn seek(&mut self, key: &[u8]);
    /// To the last entry at or below `key`.
    fn seek_for_prev(&mut self, key: &[u8]);
    fn seek_to_first(&mut self);
    fn seek_to_last(&mut self);
    fn next(&mut self);
    fn prev(&mut self);
    fn valid(&self) -> bool;
    fn key(&self) -> &[u8];
    fn value(&self) -> &[u8];
    fn status(&self) -> StorageResult<()>;
}

pub trait Snapshot: Reader {}

pub trait Engine: Reader + 'static {
    fn snapshot(&self) -> Box<dyn Snapshot + '_>;
    /// Applies the batch atomically; readable when this returns, durable after the next flush.
    fn write(&self, batch: &WriteBatch) -> StorageResult<()>;
    /// As [`Reader::get`], but sees only what would survive a crash right now.
    fn get_durable(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>>;
    /// Makes everything written so far durable, over all column families at once.
    fn flush(&self) -> StorageResult<()>;
    /// Whether a flush would make reads faster, whatever the memory held.
    fn wants_flush(&self) -> bool {
        false
    }
    /// Bytes held in memory that a flush would write; the store flushes when the Raft log grows because of them.
    fn unflushed_bytes(&self) -> u64;
    /// Approximate bytes of keys and values, not compressed, of all that was flushed in `[start, end)` of `cf`'s encoded keys.
    fn approximate_size(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<u64>;
    /// The first error of this engine's own files since it was opened, whoever met it: a [`StorageError::Corruption`] or a
    /// [`StorageError::Io`].
    fn fault(&self) -> Option<StorageError> {
        None
    }
    /// Named numbers for the metrics page.
    fn metrics(&self) -> Vec<(&'static str, f64)>;
}
