//! What a range answers, one response for each request, in order.

use bytes::Bytes;
use meridian_storage::base::{Key, Timestamp, TxnId};
use meridian_storage::replica::RangeDescriptor;

use super::block::KvBlock;
use super::request::WaitEdge;
use super::wire::{wire_enum, wire_struct};
use crate::record::TxnRecord;

#[derive(Clone, PartialEq, Debug)]
pub struct BatchResponse {
    /// The time at which the batch was evaluated: reads saw everything up to it, writes stand at it.
    pub ts: Timestamp,
    /// The clock of the node that answers.
    pub now: Timestamp,
    pub responses: Vec<Response>,
}

wire_struct!(BatchResponse { ts, now, responses });

#[derive(Clone, PartialEq, Debug)]
pub enum Response {
    /// Nothing but success.
    Done,
    /// `value` is `None` if the key does not exist at that time.
    /// `skipped`: it is locked by another transaction, and the wait policy was to skip.
    Get {
        value: Option<Bytes>,
        skipped: bool,
    },
    Scan {
        rows: KvBlock,
        /// Where to go on if a limit ended the scan: the first key not yet looked at; for a reverse scan, the end
        /// (excluded) of what is left.
        resume: Option<Key>,
    },
    /// The answer to `CommitOnePhase` and to `EndTxn { Commit }`; for `Stage`, the time that was staged.
    Commit {
        ts: Timestamp,
    },
    /// What the record says; `None` if there is none. A transaction that never had a record and cannot get one any more
    /// is answered as aborted. `waiters`: who waits for it, directly or through others, as far as is known here.
    Record {
        record: Option<Box<TxnRecord>>,
        waiters: Vec<WaitEdge>,
    },
    /// The answer to `QueryIntent`.
    Found {
        found: bool,
    },
    Split {
        left: RangeDescriptor,
        right: RangeDescriptor,
    },
    Merged {
        descriptor: RangeDescriptor,
    },
    Stats {
        descriptor: RangeDescriptor,
        stats: RangeStats,
    },
    /// The answer to `OldLocks`. `resume`: where to go on; the range's end if it has no more.
    Locks {
        locks: Vec<OldLock>,
        resume: Key,
    },
}

wire_enum!(Response {
    1 => Done,
    2 => Get { value, skipped },
    3 => Scan { rows, resume },
    4 => Commit { ts },
    5 => Record { record, waiters },
    6 => Found { found },
    7 => Split { left, right },
    8 => Stats { descriptor, stats },
    9 => Locks { locks, resume },
    10 => Merged { descriptor },
});

/// A lock that stands in the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OldLock {
    pub key: Key,
    pub txn: TxnId,
    /// Where the transaction's record is, if it has one.
    pub anchor: Key,
    pub epoch: u32,
    pub write_ts: Timestamp,
}

wire_struct!(OldLock { key, txn, anchor, epoch, write_ts });

/// Figures for placement and for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RangeStats {
    /// Approximate, versions and all.
    pub bytes: u64,
    /// Requests per second, averaged over the last minutes.
    pub reads_per_s: u64,
    pub writes_per_s: u64,
    pub locks_held: u64,
    pub requests_waiting: u64,
}

wire_struct!(RangeStats { bytes, reads_per_s, writes_per_s, locks_held, requests_waiting });
