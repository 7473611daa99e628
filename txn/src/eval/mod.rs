//! Evaluation: from a command to its effects, one file per command.
//!
//! A command declares what it touches (`latches`), and is then evaluated by a function of the engine's state, the request
//! and a [`Context`] to [`Effects`]: the bytes to be replicated, and what is to be done in memory once they are. Nothing
//! here waits, locks, or changes anything.
//!
//! What must stay true:
//! - Evaluation happens under the latches that were declared, or, for plain reads, after the timestamp cache was raised.
//! - The requests of a batch do not see one another's writes.
//! - Everything that is random, or the time of day, is decided here, once, and replicated as bytes.

mod get;
mod scan;
mod commit_one_phase;
mod put_intents;
mod refresh;
mod end_txn;
mod heartbeat_txn;
mod push_txn;
mod query_intent;
mod recover_txn;
mod record;
mod resolve_intents;
mod clear_range;
mod admin_split;
mod range_stats;
mod old_locks;
pub mod conflict;
pub mod spans;

use meridian_storage::base::{Key, Span, Timestamp, TxnId};
use meridian_storage::engine::{Engine, WriteBatch};
use meridian_storage::replica::{RangeDescriptor, Trigger};
use smallvec::SmallVec;

use crate::record::{Standing, TxnRecord, expired};
use crate::rpc::{Header, Isolation, KvError, LockStrength, Request, Response, TxnMeta, WaitPolicy};

pub use conflict::{Blocker, Conflict, Stop, Want, holder_of};
pub use record::synthesized;
pub use spans::{Access, LatchSpan};

pub type Evaluated<T> = Result<T, Stop>;

/// What is remembered of a transaction that has no record (any more).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Committed(Timestamp),
    Aborted,
}

/// What evaluation may ask of the range's memory: the lock table and the timestamp caches.
pub trait Memory {
    /// What stands between the request and the key, among locks held in memory.
    fn conflict(&self, key: &Key, want: Want) -> Option<Conflict>;
    /// The request's own lock in memory.
    fn held(&self, key: &Key) -> Option<LockStrength>;
    /// Since when that has been held.
    fn held_since(&self, key: &Key) -> Option<Timestamp>;
    /// Whether somebody else holds a lock in memory that excludes one of this strength.
    fn excludes(&self, key: &Key, strength: LockStrength) -> bool;
    /// The lowest timestamp at or above `at` at which the request's transaction may write `key`.
    fn writable(&self, key: &[u8], at: Timestamp) -> Timestamp;
    /// Takes note of a read before it is made. `own`: it must not push the reading transaction's own writes.
    fn raise(&self, span: &Span, at: Timestamp, own: bool);
    /// How a transaction without a record ended, if that is remembered.
    fn outcome(&self, txn: TxnId) -> Option<Outcome>;
    /// Whether everything about a transaction that began at `min_ts` would be remembered.
    fn remembers(&self, txn: TxnId, min_ts: Timestamp) -> bool;
    /// The keys in `span` that may have a version above `from`; `None` if that is not known.
    fn written_since(&self, span: &Span, from: Timestamp) -> Option<Vec<Key>>;
    /// What is believed of the node that coordinates a transaction begun at `min_ts`.
    fn coordinator(&self, txn: TxnId, min_ts: Timestamp) -> Standing;
    /// The time above which a transaction without a record was told to commit.
    fn pushed(&self, txn: TxnId) -> Timestamp;
}

pub struct Context<'a> {
    pub engine: &'a dyn Engine,
    pub header: &'a Header,
    pub descriptor: &'a RangeDescriptor,
    pub memory: &'a dyn Memory,
    /// Where reads are made; moves up from the header's when the batch is evaluated again at a later time.
    pub read_ts: Timestamp,
    /// This node's clock.
    pub now: Timestamp,
    /// The reads to be refreshed are latched too ([`Stop::LatchReads`]).
    pub reads_latched: bool,
    /// Reading of limited scans is bounded to what was announced to the timestamp cache.
    pub rows_left: u64,
    pub bytes_left: u64,
    /// Transactions in the way that have been asked about already, and are not gone.
    pub asked: &'a [TxnId],
}

impl Context<'_> {
    pub fn txn(&self) -> Evaluated<&TxnMeta> {
        self.header
            .txn
            .as_ref()
            .ok_or_else(|| Stop::Fail(KvError::internal("the request needs a transaction")))
    }

    fn txn_id(&self) -> Option<TxnId> {
        conflict::id_of(self.header.txn.as_ref())
    }

    /// What a plain read minds: intents that may have been written before it began.
    fn wants_to_read(&self) -> Want {
        Want::Read(self.read_ts.max(self.header.uncertainty_limit))
    }

    fn isolation(&self) -> Isolation {
        self.header.isolation()
    }

    /// Decides about a key that a locking request cannot have: `Ok` if its row is to be left out.
    fn blocked(&self, conflict: Conflict) -> Evaluated<()> {
        match self.header.wait {
            WaitPolicy::Block => Err(Stop::Conflict(conflict)),
            _ if conflict.blockers.iter().all(|b| self.may_be_gone(b)) => Err(Stop::Conflict(conflict)),
            WaitPolicy::Skip => Ok(()),
            WaitPolicy::NoWait => Err(Stop::Fail(KvError::LockNotAvailable { key: conflict.key })),
        }
    }

    /// Whether it is worth asking if a holder has ended: of an intent nothing else is known, and who holds a lock may be
    /// dead, which those that do not wait would never find out.
    fn may_be_gone(&self, blocker: &Blocker) -> bool {
        if blocker.waits_itself || self.asked.contains(&blocker.txn.id) {
            return false;
        }
        let standing = || self.memory.coordinator(blocker.txn.id, blocker.txn.min_ts);
        blocker.intent.is_some() || expired(blocker.active, self.now, standing())
    }
}

/// What is to be done in memory once the batch has been applied.
#[derive(Clone, Debug)]
pub enum Afterwards {
    /// The transaction has ended: its locks in this range are gone.
    Finished { txn: TxnId, min_ts: Timestamp, outcome: Outcome },
    /// The intent of `txn` on the key was resolved.
    IntentGone { key: Key, txn: TxnId },
    /// The intents of `txn` in the span were resolved, or moved up.
    IntentsGone { span: Span, txn: TxnId },
    /// The intent of `txn` on the key was moved up, the transaction lives.
    IntentMoved { key: Key, txn: TxnId },
    /// Gives up locks whose transaction may go on.
    Release { txn: TxnId, spans: Vec<Span> },
    /// A transaction without a record must commit above this time.
    Pushed { txn: TxnId, min_ts: Timestamp, above: Timestamp },
    /// There was too much for one command: evaluate the batch again, to resolve what is in these spans.
    Repeat { spans: Vec<Span> },
}

/// What a batch does.
#[derive(Default)]
pub struct Effects {
    pub batch: WriteBatch,
    pub trigger: Option<Trigger>,
    /// Locks to be taken in memory, also if the batch fails with `Newer`.
    pub locks: Vec<(Key, LockStrength)>,
    pub afterwards: Vec<Afterwards>,
    pub responses: Vec<Response>,
    /// Where writes stand, if there were any.
    pub wrote_at: Option<Timestamp>,
    /// Keys on which the batch puts intents, in order.
    pub intents: Vec<Key>,
}

impl Effects {
    /// Whether anything must be replicated.
    pub fn is_replicated(&self) -> bool {
        !self.batch.is_empty() || self.trigger.is_some()
    }
}

/// A batch of nothing but these needs no latches (see the order of a read in `participant`).
pub fn is_plain_read(request: &Request) -> bool {
    matches!(
        request,
        Request::Get { lock: None, .. }
            | Request::Scan { lock: None, .. }
            | Request::Refresh { .. }
            | Request::QueryIntent { .. }
    )
}

/// The latches that a request needs. `reads`: also on what a one-phase commit refreshes.
pub fn latches(header: &Header, request: &Request, reads: bool, out: &mut SmallVec<[LatchSpan; 2]>) {
    match request {
        Request::Get { key, lock } => get::latches(key, *lock, out),
        Request::Scan { span, lock, .. } => scan::latches(span, *lock, out),
        Request::CommitOnePhase { writes, refresh, .. } | Request::PutIntents { writes, refresh } => {
            refresh::latches(writes, refresh, reads, out);
        }
        Request::RemoveIntents { keys } => out.extend(keys.iter().cloned().map(LatchSpan::write_key)),
        Request::Refresh { spans, .. } => out.extend(spans.iter().map(|s| LatchSpan::read(&s.span))),
        Request::EndTxn { how, intents, .. } => end_txn::latches(header, *how, intents, out),
        Request::HeartbeatTxn { .. } => out.extend(header.txn.iter().map(|t| LatchSpan::record(t.id))),
        Request::PushTxn { pushee: txn, .. }
        | Request::QueryTxn { txn }
        | Request::RecoverTxn { txn, .. } => out.push(LatchSpan::record(txn.id)),
        Request::RemoveRecord { txn, .. } => out.push(LatchSpan::record(*txn)),
        Request::QueryIntent { key, .. } => out.push(LatchSpan::read_key(key.clone())),
        Request::ResolveIntents { keys, spans, .. } => resolve_intents::latches(keys, spans, out),
        Request::ClearRange { span } => out.push(LatchSpan::write(span)),
        Request::AdminSplit { .. } => out.push(LatchSpan::everything()),
        Request::ReleaseLocks { .. }
        | Request::Gc { .. }
        | Request::AdminMerge { .. }
        | Request::RangeStats
        | Request::OldLocks { .. } => {}
    }
}

/// Evaluates one request of a batch into `out`.
pub fn evaluate(cx: &mut Context<'_>, request: &Request, out: &mut Effects) -> Evaluated<()> {
    let response = match request {
        Request::Get { key, lock } => get::evaluate(cx, key, *lock, out)?,
        Request::Scan { span, reverse, lock } => scan::evaluate(cx, span, *reverse, *lock, out)?,
        Request::CommitOnePhase { writes, refresh, refresh_complete } => {
            commit_one_phase::evaluate(cx, writes, refresh, *refresh_complete, out)?
        }
        Request::PutIntents { writes, refresh } => put_intents::evaluate(cx, writes, refresh, out)?,
        Request::RemoveIntents { keys } => put_intents::remove(cx, keys, out)?,
        Request::Refresh { spans, to } => refresh::evaluate(cx, spans, *to)?,
        Request::ReleaseLocks { txn, spans } => {
            out.afterwards.push(Afterwards::Release { txn: *txn, spans: spans.clone() });
            Response::Done
        }
        Request::EndTxn { how, intents, spans, in_flight, pinned } => {
            end_txn::evaluate(cx, (*how, *pinned), (intents, spans), in_flight, out)?
        }
        Request::HeartbeatTxn { now, pinned } => heartbeat_txn::evaluate(cx, *now, *pinned, out)?,
        Request::PushTxn { pushee, pusher, kind, active, .. } => {
            push_txn::evaluate(cx, pushee, pusher.as_ref(), *kind, *active, out)?
        }
        Request::QueryTxn { txn } => {
            let record = record::load_or_synthesize(cx, txn)?;
            Response::Record { record: record.map(Box::new), waiters: Vec::new() }
        }
        Request::QueryIntent { key, txn } => query_intent::evaluate(cx, key, txn)?,
        Request::RecoverTxn { txn, all_found } => recover_txn::evaluate(cx, txn, *all_found, out)?,
        Request::RemoveRecord { txn, anchor } => record::remove(cx, *txn, anchor, out)?,
        Request::ResolveIntents { txn, epoch, to, keys, spans } => {
            resolve_intents::evaluate(cx, *txn, *epoch, *to, (keys, spans), out)?
        }
        Request::ClearRange { span } => clear_range::evaluate(span, out),
        // Driven by the participant: it takes several commands.
        Request::Gc { .. } => Response::Done,
        Request::AdminMerge { .. } => {
            return Err(Stop::Fail(KvError::internal("a merge is alone in its batch")));
        }
        Request::AdminSplit { key, right } => admin_split::evaluate(cx, key, *right, out)?,
        Request::RangeStats => range_stats::evaluate(cx)?,
        Request::OldLocks { before, from } => old_locks::evaluate(cx, *before, from)?,
    };
    out.responses.push(response);
    Ok(())
}

/// A record as a response.
fn answer(record: TxnRecord) -> Response {
    Response::Record { record: Some(Box::new(record)), waiters: Vec::new() }
}
