//! One transaction, as the SQL layer holds it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::{Key, Span, Timestamp, TxnId};
use parking_lot::{Mutex, MutexGuard};

use super::buffer::{Savepoint, WriteBuffer};
use super::finish::Traces;
use super::held::Held;
use super::reads::SpanSet;
use super::state::{Phase, State};
use super::{Db, Moment, ScanOptions, Scanner, TxnOptions};
use crate::Limits;
use crate::route::Router;
use crate::rpc::{Isolation, KvError, TxnMeta};

/// A handle: clones are the same transaction. When the last one is dropped, an unfinished transaction is rolled back.
#[derive(Clone)]
pub struct Txn {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub db: Db,
    pub state: Mutex<State>,
    /// One refresh at a time.
    pub refreshing: futures::lock::Mutex<()>,
}

impl Txn {
    pub(super) fn new(db: Db, options: TxnOptions) -> Self {
        let (now, phase) = begin(&db);
        let read_ts = options.as_of.unwrap_or(now);
        let meta = TxnMeta {
            id: new_id(&db),
            anchor: Key::MIN,
            epoch: 0,
            sequence: 0,
            priority: options.priority,
            isolation: options.isolation,
            min_ts: now,
            read_ts,
            write_ts: read_ts,
        };
        let fixed = options.as_of.is_some();
        let read_spans = db.limits().read_spans;
        let state = State {
            meta,
            phase,
            fixed,
            told: false,
            read_only: options.read_only || fixed,
            uncertainty_limit: if fixed { read_ts } else { db.clocks().uncertainty_limit(read_ts) },
            lock_timeout: None,
            statement: 0,
            results_sent: false,
            buffer: WriteBuffer::default(),
            reads: SpanSet::new(read_spans),
            held: Held::default(),
            private: Vec::new(),
            locks: SpanSet::new(read_spans),
            has_record: false,
            registered: false,
            staged: false,
        };
        let inner = Inner { db, state: Mutex::new(state), refreshing: futures::lock::Mutex::new(()) };
        Txn { inner: Arc::new(inner) }
    }

    pub(super) fn lock_state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock()
    }

    pub(super) fn router(&self) -> &Arc<Router> {
        self.inner.db.router()
    }

    pub(super) fn limits(&self) -> &Limits {
        self.inner.db.limits()
    }

    pub fn db(&self) -> &Db {
        &self.inner.db
    }

    pub fn id(&self) -> TxnId {
        self.lock_state().meta.id
    }

    /// The snapshot that reads see; under READ COMMITTED that of the current statement.
    pub fn read_timestamp(&self) -> Timestamp {
        self.lock_state().meta.read_ts
    }

    /// The time of the snapshot that reads see: with a moment, those at the moment. It is a promise: the snapshot stays where
    /// it is until the transaction takes another, and a SERIALIZABLE transaction commits at that time or not at all.
    /// What would have to move fails with a retryable error.
    pub fn tell_time(&self, moment: Option<&Moment>) -> Timestamp {
        let mut state = self.lock_state();
        match moment.and_then(|moment| moment.time_of_its_own(&state)) {
            Some(time) => time,
            None => {
                state.told = true;
                state.meta.read_ts
            }
        }
    }

    /// Whether it reads the past: it was begun with [`TxnOptions::as_of`].
    pub fn reads_the_past(&self) -> bool {
        self.lock_state().fixed
    }

    pub fn isolation(&self) -> Isolation {
        self.lock_state().meta.isolation
    }

    pub fn is_read_only(&self) -> bool {
        self.lock_state().read_only
    }

    pub fn scan(&self, span: Span, options: ScanOptions) -> Scanner {
        Scanner::new(self.clone(), span, options)
    }

    /// Buffered here until the commit (or until the buffer is large). No lock is taken: a statement that updates a row
    /// has read it with [`get_locked`](Self::get_locked) before.
    pub fn put(&self, key: Key, value: Bytes) {
        self.lock_state().buffer.put(key, Some(value));
    }

    pub fn delete(&self, key: Key) {
        self.lock_state().buffer.put(key, None);
    }

    /// Nobody else can read or write in the span before this transaction has committed: it is made known only by what the
    /// transaction writes elsewhere. (A table's storage, created by the same transaction.)
    pub fn note_private(&self, span: Span) {
        self.lock_state().private.push(span);
    }

    /// Whether the transaction has written anything.
    pub fn has_writes(&self) -> bool {
        !self.lock_state().buffer.is_empty()
    }

    pub fn savepoint(&self) -> Savepoint {
        self.lock_state().buffer.savepoint()
    }

    /// Undoes all writes since; the savepoint stays. Locks are kept.
    pub fn rollback_to(&self, savepoint: Savepoint) {
        let mut state = self.lock_state();
        let State { buffer, held, .. } = &mut *state;
        buffer.rollback_to(savepoint);
        held.note_undone(buffer.void());
    }

    /// Forgets the savepoint and all later ones, keeping the writes.
    pub fn release(&self, savepoint: Savepoint) {
        let mut state = self.lock_state();
        state.buffer.release(savepoint);
        if !state.buffer.has_savepoints() {
            state.held.note_final();
        }
    }

    /// Whether what is overwritten is kept, to be gone back to.
    pub fn has_savepoints(&self) -> bool {
        self.lock_state().buffer.has_savepoints()
    }

    /// To be called before each statement. READ COMMITTED: takes a new snapshot.
    pub fn begin_statement(&self) {
        let renew = {
            let mut state = self.lock_state();
            state.statement += 1;
            state.meta.isolation == Isolation::ReadCommitted
        };
        if renew {
            self.take_snapshot();
        }
    }

    /// Takes the snapshot anew, unless the transaction reads the past. At REPEATABLE READ and SERIALIZABLE, to be called
    /// before the first statement and never again: what was committed since BEGIN is to be seen.
    pub fn take_snapshot(&self) {
        let mut state = self.lock_state();
        if state.fixed {
            return;
        }
        // What earlier statements have read is of no consequence any more.
        state.reads.clear();
        state.told = false;
        let (now, phase) = begin(&self.inner.db);
        if state.phase == Phase::Active {
            state.phase = phase;
        }
        state.meta.read_ts = now;
        state.meta.write_ts.forward(now);
        state.uncertainty_limit = self.inner.db.clocks().uncertainty_limit(now);
    }

    /// Rows have gone to the client: an unseen restart is no longer possible.
    pub fn note_result_sent(&self) {
        self.lock_state().results_sent = true;
    }

    /// Whether it is known to have been committed.
    pub fn is_committed(&self) -> bool {
        matches!(self.lock_state().phase, Phase::Committed(_))
    }

    /// Whether it can only be rolled back, or begin again.
    pub fn has_failed(&self) -> bool {
        matches!(self.lock_state().phase, Phase::Failed(_))
    }

    /// Whether its outcome is not known.
    pub fn is_unknown(&self) -> bool {
        matches!(self.lock_state().phase, Phase::Unknown)
    }

    /// Whether [`restart`](Self::restart) would be invisible to the client.
    pub fn can_restart(&self) -> bool {
        let state = self.lock_state();
        !state.results_sent && !state.fixed && matches!(state.phase, Phase::Active | Phase::Failed(_))
    }

    /// Begins again after a retryable error: a new attempt with a new snapshot, empty of writes. Locks are kept,
    /// unless the transaction was aborted by another: then it begins again as a new one. The caller repeats all its
    /// statements.
    pub fn restart(&self) {
        let db = &self.inner.db;
        let (now, phase) = begin(db);
        let mut state = self.lock_state();
        state.reads.clear();
        state.held.clear();
        state.private.clear();
        state.told = false;
        state.statement += 1;
        if let Phase::Failed(_) = state.phase {
            let traces = Traces::take(&mut state);
            self.abandon(traces);
            state.meta.id = new_id(db);
            state.meta.anchor = Key::MIN;
            state.meta.epoch = 0;
            state.meta.sequence = 0;
            state.meta.min_ts = now;
            state.buffer = WriteBuffer::default();
            state.registered = false;
            state.staged = false;
        } else {
            state.meta.epoch += 1;
            state.meta.sequence = 0;
            state.buffer.restart();
        }
        state.phase = phase;
        let now = now.max(state.meta.write_ts);
        state.meta.read_ts = now;
        state.meta.write_ts = now;
        state.uncertainty_limit = db.clocks().uncertainty_limit(now);
    }

    pub fn set_lock_timeout(&self, timeout: Option<Duration>) {
        self.lock_state().lock_timeout = timeout.filter(|d| !d.is_zero());
    }
}

/// A time to read at. There is none while the node's clock cannot be relied upon: then the transaction has failed.
fn begin(db: &Db) -> (Timestamp, Phase) {
    match db.clock().begin() {
        Ok(now) => (now, Phase::Active),
        Err(reason) => (db.clock().now(), Phase::Failed(KvError::fenced(db.node(), reason).into())),
    }
}

fn new_id(db: &Db) -> TxnId {
    let rt = db.runtime();
    let random = (u128::from(rt.random() >> 32) << 64) | u128::from(rt.random());
    TxnId::new(random, db.node())
}
