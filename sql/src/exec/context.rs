//! What an execution has around it: the transaction, the parameters, the session, budgets, cancellation.
//!
//! An [`ExecContext`] is two or three pointers, cloned into every operator. What differs from one part of a running
//! plan to another - the values of slots, the visible CTEs - is in the context itself; what is the same for the
//! whole statement is in the shared [`Statement`].

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::{BoxFuture, Key, Span, Timestamp};
use meridian_txn::{Moment, ScanOptions, Scanner, Txn};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use super::cte::{CteScope, Snapshots};
use super::instrument::NodeStatistics;
use crate::catalog::{Catalog, TableId};
use crate::error::{SqlError, SqlResult, state};
use crate::registry::{EvalContext, SessionFunctions};
use crate::types::text::FormatSettings;
use crate::types::{Batch, Datum, Oid};

/// What the executor asks of the session beyond what functions may ask.
pub trait Surroundings: SessionFunctions + Send {
    /// As functions see it.
    fn functions(&self) -> &dyn SessionFunctions;
    fn format(&self) -> &FormatSettings;
    /// Time since some fixed point, for EXPLAIN ANALYZE and timeouts.
    fn monotonic(&self) -> Duration;
    fn next_value(&self, sequence: Oid) -> BoxFuture<'_, SqlResult<i64>>;
    fn set_value(&self, sequence: Oid, value: i64, called: bool) -> BoxFuture<'_, SqlResult<()>>;
    /// New row ids for a table without a primary key.
    fn row_ids(&self, table: TableId, count: u64) -> BoxFuture<'_, SqlResult<Range<i64>>>;
    fn sleep(&self, time: Duration) -> BoxFuture<'_, ()>;
    /// All rows of a table of pg_catalog or information_schema, by `schema.table`.
    fn virtual_table<'a>(&'a self, txn: &'a Txn, name: &'a str) -> BoxFuture<'a, SqlResult<Vec<Batch>>>;
}

/// What is the same for the whole statement.
pub struct Statement {
    pub txn: Txn,
    /// What it reads is that of this moment, if it goes on while the transaction does: a cursor's.
    moment: Option<Arc<Moment>>,
    pub catalog: Arc<Catalog>,
    pub session: Arc<dyn Surroundings>,
    /// Microseconds since 2000-01-01 UTC.
    pub transaction_time: i64,
    pub statement_time: i64,
    pub memory: MemoryBudget,
    pub cancel: Arc<AtomicBool>,
    /// Results of constant subqueries, by slot.
    pub(super) constants: Mutex<FxHashMap<usize, Datum>>,
    /// Filled when the statement is EXPLAIN ANALYZE.
    pub(super) statistics: Option<NodeStatistics>,
}

impl Statement {
    pub fn new(
        txn: Txn,
        catalog: Arc<Catalog>,
        session: Arc<dyn Surroundings>,
        cancel: Arc<AtomicBool>,
        transaction_time: i64,
        statement_time: i64,
    ) -> Self {
        Statement {
            txn,
            moment: None,
            catalog,
            session,
            transaction_time,
            statement_time,
            memory: MemoryBudget::new(MemoryBudget::DEFAULT),
            cancel,
            constants: Mutex::default(),
            statistics: None,
        }
    }

    /// The time of the snapshot that it sees, which does not move from now on.
    pub fn tell_time(&self) -> Timestamp {
        self.txn.tell_time(self.moment.as_deref())
    }

    /// Limits what the statement's operators may hold, in bytes.
    #[must_use]
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.memory = MemoryBudget::new(bytes);
        self
    }

    /// Whenever it reads, it sees what the transaction sees now. (What it locks, it reads as it is then.)
    #[must_use]
    pub fn as_of_now(mut self) -> Self {
        self.moment = Some(Arc::new(self.txn.moment()));
        self
    }

    /// After a serialization failure: the same statement once more, if it met what may have been committed before its moment
    /// and can be run on that. No row of it may have been seen.
    pub fn moved(&self) -> Option<Self> {
        let moment = self.moment.clone()?;
        self.txn.move_moment(&moment).then(|| Statement {
            txn: self.txn.clone(),
            moment: Some(moment),
            catalog: self.catalog.clone(),
            session: self.session.clone(),
            transaction_time: self.transaction_time,
            statement_time: self.statement_time,
            memory: MemoryBudget::new(self.memory.limit),
            cancel: self.cancel.clone(),
            constants: Mutex::default(),
            statistics: None,
        })
    }

    /// Counts rows and time by node, for a plan of so many nodes.
    #[must_use]
    pub fn with_statistics(mut self, nodes: usize) -> Self {
        self.statistics = Some(NodeStatistics::new(nodes));
        self
    }
}

/// The surroundings of one operator.
#[derive(Clone)]
pub struct ExecContext {
    pub statement: Arc<Statement>,
    /// The client's parameters, then the slots.
    pub params: Arc<[Datum]>,
    pub(super) ctes: CteScope,
    pub(super) snapshots: Snapshots,
}

impl ExecContext {
    /// `params`: the client's, of the types that the plan was made for.
    pub fn new(statement: Arc<Statement>, params: Arc<[Datum]>) -> Self {
        ExecContext { statement, params, ctes: CteScope::default(), snapshots: Snapshots::default() }
    }

    /// With room for the plan's slots.
    pub(super) fn with_room(mut self, slots: usize) -> Self {
        if self.params.len() < slots {
            let mut all = self.params.to_vec();
            all.resize(slots, Datum::Null);
            self.params = all.into();
        }
        self
    }

    /// The same with some slots filled.
    pub(super) fn with_slots(&self, values: impl IntoIterator<Item = (usize, Datum)>) -> Self {
        let mut params = self.params.to_vec();
        for (slot, value) in values {
            params[slot] = value;
        }
        ExecContext { params: params.into(), ..self.clone() }
    }

    pub fn txn(&self) -> &Txn {
        &self.statement.txn
    }

    /// A scan, of the statement's moment where it has one; but what is to be locked is what there is now, and the caller is
    /// to ask whether it [`stands`](Self::stands).
    pub(super) fn scan(&self, span: Span, options: ScanOptions) -> Scanner {
        match &self.statement.moment {
            Some(moment) if options.lock.is_none() => self.txn().scan_at(moment, span, options),
            _ => self.txn().scan(span, options),
        }
    }

    pub(super) async fn get(&self, key: &Key) -> SqlResult<Option<Bytes>> {
        match &self.statement.moment {
            Some(moment) => {
                let mut values = self.txn().get_at(moment, std::slice::from_ref(key)).await?;
                Ok(values.pop().flatten())
            }
            None => Ok(self.txn().get(key).await?),
        }
    }

    /// Whether a row that was read as it is now, to be locked, is there for the statement: it is not if the transaction itself
    /// has written it since the statement's moment.
    pub(super) fn stands(&self, key: &Key, value: &[u8]) -> SqlResult<bool> {
        match &self.statement.moment {
            Some(moment) => Ok(self.txn().stands_since(moment, key, value)?),
            None => Ok(true),
        }
    }

    pub(super) fn has_moment(&self) -> bool {
        self.statement.moment.is_some()
    }

    /// Values in the order of the keys.
    pub(super) async fn get_many(&self, keys: &[Key]) -> SqlResult<Vec<Option<Bytes>>> {
        match &self.statement.moment {
            Some(moment) => Ok(self.txn().get_at(moment, keys).await?),
            None => Ok(self.txn().get_many(keys, None).await?),
        }
    }

    pub fn eval(&self) -> EvalContext<'_> {
        EvalContext {
            transaction_time: self.statement.transaction_time,
            statement_time: self.statement.statement_time,
            params: &self.params,
            format: self.statement.session.format(),
            session: self.statement.session.functions(),
            outer: &[],
        }
    }

    /// To be asked once per batch.
    pub fn check_cancel(&self) -> SqlResult<()> {
        if self.statement.cancel.load(Ordering::Relaxed) {
            return Err(SqlError::new(state::QUERY_CANCELED, "canceling statement due to user request"));
        }
        Ok(())
    }

    /// An empty reservation in the statement's budget.
    pub(super) fn reserve(&self) -> Reservation {
        Reservation { statement: self.statement.clone(), bytes: 0 }
    }
}

/// Bytes that a statement's operators may hold at once.
pub struct MemoryBudget {
    limit: usize,
    used: AtomicUsize,
}

impl MemoryBudget {
    pub const DEFAULT: usize = 256 << 20;

    pub fn new(limit: usize) -> Self {
        MemoryBudget { limit, used: AtomicUsize::new(0) }
    }

    fn take(&self, bytes: usize) -> SqlResult<()> {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used > self.limit {
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            return Err(SqlError::new(state::OUT_OF_MEMORY, "out of memory")
                .with_detail(format!("The statement needs more than its {} bytes.", self.limit))
                .with_hint("Raise work_mem, or have the statement sort, group or join fewer rows at once."));
        }
        Ok(())
    }
}

/// A part of the budget, given back when it is dropped.
pub struct Reservation {
    statement: Arc<Statement>,
    bytes: usize,
}

impl Reservation {
    pub fn grow(&mut self, bytes: usize) -> SqlResult<()> {
        self.statement.memory.take(bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Gives a part of it back.
    pub fn shrink(&mut self, bytes: usize) {
        self.statement.memory.used.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
    }

    pub fn release_all(&mut self) {
        self.statement.memory.used.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = 0;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.release_all();
    }
}
