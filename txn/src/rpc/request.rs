//! What can be asked of a range.
//!
//! The requests of one batch are evaluated in order under one set of latches, and what they write is one replicated
//! command: a batch takes effect wholly or not at all.

use bytes::Bytes;
use meridian_storage::base::{Key, RangeId, Span, Timestamp, TxnId};

use super::header::{Header, LockStrength, TxnMeta};
use super::wire::{wire_enum, wire_struct};

/// A batch for one range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BatchRequest {
    pub header: Header,
    pub requests: Vec<Request>,
}

wire_struct!(BatchRequest { header, requests });

/// A key and its new value; `None` deletes.
pub type Write = (Key, Option<Bytes>);

/// Something that was read, and the time up to which it is known not to have changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefreshSpan {
    pub span: Span,
    pub from: Timestamp,
    /// Only whether keys are there: a newer version is no change unless it is a deletion. What a KEY SHARE lock holds.
    pub presence: bool,
    /// Unless zero: the lock on it must have been held since then.
    pub locked: Timestamp,
}

wire_struct!(RefreshSpan { span, from, presence, locked });

impl RefreshSpan {
    pub fn new(span: Span, from: Timestamp) -> Self {
        RefreshSpan { span, from, presence: false, locked: Timestamp::ZERO }
    }

    /// A key of which only the lock matters.
    pub fn locked(key: Key, since: Timestamp) -> Self {
        RefreshSpan { locked: since, ..RefreshSpan::new(Span::point(key), Timestamp::MAX) }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    // ----- reads -----
    /// The value at the read timestamp. With `lock`, takes the lock first, whether the key exists or not, then:
    /// under READ COMMITTED reads the newest version ([`BatchResponse::ts`](super::BatchResponse::ts) says as of
    /// when), else fails with `WriteTooOld` if there is a version above the read timestamp, keeping the lock.
    Get {
        key: Key,
        lock: Option<LockStrength>,
    },
    /// The rows of a span in order, up to the header's limits. With `lock`, as for `Get`, on each row that is returned.
    Scan {
        span: Span,
        reverse: bool,
        lock: Option<LockStrength>,
    },

    // ----- writes of a transaction -----
    /// Validates and writes committed versions in one step, at a time that the range chooses: at least
    /// `txn.write_ts`, above every read of the keys by others, above their newest versions. Then releases all the
    /// transaction's locks on this range.
    ///
    /// Before it writes, nothing in `refresh` may have changed between its `from` and the chosen time
    /// (`RefreshFailed`). If the chosen time is above `txn.read_ts` (below SERIALIZABLE: `txn.write_ts`) and
    /// `refresh_complete` is false, then it fails with `RefreshNeeded` and writes nothing. Under [`Isolation::Snapshot`](super::Isolation) a version above
    /// `txn.read_ts` on a written key is `WriteTooOld`; under SERIALIZABLE and READ COMMITTED the write goes above it.
    CommitOnePhase {
        writes: Vec<Write>,
        refresh: Vec<RefreshSpan>,
        /// `refresh` is all that matters of what the transaction has read, up to a later time.
        refresh_complete: bool,
    },
    /// Writes replicated intents at `txn.write_ts` or above (`BatchResponse::ts` says where): above every read by
    /// others and above the newest versions. The transaction's intent on a key is replaced.
    /// Under [`Isolation::Snapshot`](super::Isolation) a version above `txn.read_ts` is `WriteTooOld`.
    /// As with `CommitOnePhase`, nothing in `refresh` may have changed between its `from` and the chosen time.
    PutIntents {
        writes: Vec<Write>,
        refresh: Vec<RefreshSpan>,
    },
    /// Removes the transaction's intents on these keys, as if never written (rollback to a savepoint). The keys stay
    /// locked in memory.
    RemoveIntents {
        keys: Vec<Key>,
    },
    /// Nothing in the spans has a version or another transaction's intent in `(from, to]` (of the kind that matters), nor
    /// will it get one: the timestamp cache is raised to `to`. `RefreshFailed` otherwise.
    Refresh {
        spans: Vec<RefreshSpan>,
        to: Timestamp,
    },
    /// Gives up the transaction's unreplicated locks in `spans` (if there are none: in this range), whatever its fate. Waiters go on.
    ReleaseLocks {
        txn: TxnId,
        spans: Vec<Span>,
    },

    // ----- the record; addressed to the range of `txn.anchor` -----
    /// Decides the transaction `header.txn`.
    EndTxn {
        how: EndKind,
        /// Every key that may hold an intent: kept in the record until they are resolved. Those in the record's own
        /// range are resolved with it.
        intents: Vec<Key>,
        /// Where further intents may be, of a transaction with too many to name: kept in the record, too.
        spans: Vec<IntentSpan>,
        /// For `Stage`: the writes that are not yet known to have succeeded. The transaction is committed as soon as
        /// there is an intent at or below the staged timestamp on each.
        in_flight: Vec<Key>,
        /// What the transaction holds was validated up to `txn.write_ts`: if it has to end later, `RefreshNeeded`.
        pinned: bool,
    },
    /// Says that the coordinator lives; creates the record if there is none. `pinned`: from now on readers do not push its time.
    HeartbeatTxn {
        now: Timestamp,
        pinned: bool,
    },
    /// Asks the record of `pushee` to give way to `pusher`. Answers what the record says afterwards.
    ///
    /// `active`: when the pusher's side last knew the pushee to be alive (it took a lock then). `edges`: who waits for
    /// the pusher, and for those. If the pusher is the right one to die in a cycle, the answer is `Deadlock`.
    PushTxn {
        pushee: TxnMeta,
        pusher: Option<TxnMeta>,
        kind: PushKind,
        now: Timestamp,
        active: Timestamp,
        edges: Vec<WaitEdge>,
    },
    /// What the record says, and who waits for the transaction here: for following wait chains.
    QueryTxn {
        txn: TxnMeta,
    },
    /// Whether `txn` has an intent on `key` at or below `txn.write_ts`, in `txn.epoch`. If it has not, it cannot get
    /// one any more.
    QueryIntent {
        key: Key,
        txn: TxnMeta,
    },
    /// Ends a staging transaction after all its in-flight writes were queried: committed if `all_found`, else
    /// aborted. If the record has moved on (epoch, timestamp, status), answers what it says instead.
    RecoverTxn {
        txn: TxnMeta,
        all_found: bool,
    },
    /// Forgets a finished record, once all its intents are resolved.
    RemoveRecord {
        txn: TxnId,
        anchor: Key,
    },

    // ----- cleaning -----
    /// Makes the intents of a finished transaction committed versions, removes them, or moves them up.
    /// What is not there, or is of another transaction, is left alone.
    ResolveIntents {
        txn: TxnId,
        epoch: u32,
        to: Resolution,
        keys: Vec<Key>,
        spans: Vec<Span>,
    },
    /// Removes everything in the span physically, history and all: for dropped tables and indexes. Not transactional.
    ClearRange {
        span: Span,
    },
    /// Versions that no read at or after `threshold` can see may be dropped; reads below it are refused.
    Gc {
        threshold: Timestamp,
    },

    // ----- administration -----
    /// Divides the range at `key`; the right half becomes range `right`, an id that was never used.
    AdminSplit {
        key: Key,
        right: RangeId,
    },
    /// The range takes in its right neighbour, which begins at `at`; alone in its batch.
    AdminMerge {
        at: Key,
    },
    RangeStats,
    /// Some of the locks that stand in the engine, intents among them, and have not moved since `before`; from `from` on.
    OldLocks {
        before: Timestamp,
        from: Key,
    },
}

wire_enum!(Request {
    1 => Get { key, lock },
    2 => Scan { span, reverse, lock },
    3 => CommitOnePhase { writes, refresh, refresh_complete },
    4 => PutIntents { writes, refresh },
    5 => RemoveIntents { keys },
    6 => Refresh { spans, to },
    7 => ReleaseLocks { txn, spans },
    8 => EndTxn { how, intents, spans, in_flight, pinned },
    9 => HeartbeatTxn { now, pinned },
    10 => PushTxn { pushee, pusher, kind, now, active, edges },
    11 => QueryTxn { txn },
    12 => QueryIntent { key, txn },
    13 => RecoverTxn { txn, all_found },
    14 => RemoveRecord { txn, anchor },
    15 => ResolveIntents { txn, epoch, to, keys, spans },
    16 => ClearRange { span },
    17 => Gc { threshold },
    18 => AdminSplit { key, right },
    19 => RangeStats,
    20 => OldLocks { before, from },
    21 => AdminMerge { at },
});

/// Where a transaction may have intents.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IntentSpan {
    pub span: Span,
    /// Only the transaction could read or write here before it committed ([`Resolution::CommittedInPlace`]).
    pub private: bool,
}

wire_struct!(IntentSpan { span, private });

/// One transaction waits for another. The rest says how dear the waiter is when a cycle must be broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WaitEdge {
    pub waiter: TxnId,
    pub on: TxnId,
    pub priority: u32,
    pub min_ts: Timestamp,
}

wire_struct!(WaitEdge { waiter, on, priority, min_ts });

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EndKind {
    Commit,
    Stage,
    Abort,
}

wire_enum!(EndKind { 1 => Commit, 2 => Stage, 3 => Abort });

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushKind {
    /// The pusher wants to write: the pushee must end.
    Abort,
    /// The pusher wants to read at this time: the pushee must commit above it.
    Timestamp(Timestamp),
    /// Ends the pushee only if its coordinator is silent; otherwise only answers what the record says.
    Touch,
}

wire_enum!(PushKind { 1 => Abort, 2 => Timestamp(to), 3 => Touch });

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    Committed(Timestamp),
    /// As `Committed`, where nobody else could read or write before: versions stay where the intents stood.
    CommittedInPlace,
    Aborted,
    /// Still pending, but will commit above this time.
    Pushed(Timestamp),
}

wire_enum!(Resolution { 1 => Committed(at), 2 => Aborted, 3 => Pushed(above), 4 => CommittedInPlace });
