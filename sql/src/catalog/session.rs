//! A session's view of the catalog.
//!
//! Between transactions and in most of them this is the node's current version. A transaction that changes the schema sees its
//! own changes on top; they are written through its [`Txn`], so they commit, roll back and go back to savepoints with it. One that
//! reads the past sees the catalog of its time ([`super::past`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use meridian_txn::Txn;

use super::cluster::{ClosureId, open_when_settled, remove_closure_later};
use super::gate::{Gates, Slot};
use super::past::check_readable;
use super::store::{self, Change};
use super::{Catalog, CatalogCache, TableDescriptor, TableId};
use crate::error::{SqlError, SqlResult, state};

pub struct SessionCatalog {
    cache: Arc<CatalogCache>,
    slot: Arc<Slot>,
    /// The node's version with `changes` on top, while there are any.
    overlay: Option<Arc<Catalog>>,
    /// What the transaction sees instead, which reads the past.
    past: Option<Arc<Catalog>>,
    generation: u64,
    changes: Vec<Change>,
    /// Gates that the transaction has closed, here and on the other nodes.
    closed: Vec<(TableId, ClosureId)>,
    /// A change of a closed table has been begun, beside the transaction, and has not been seen to end.
    publishing: AtomicBool,
    /// Whether the transaction has pinned anything.
    pinned: bool,
    /// How long the statement waits for others at a table; `None`: for ever.
    lock_timeout: Option<Duration>,
}

/// How a transaction has ended, as far as the tables are concerned that it has closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// With its changes, which this node knows.
    Committed,
    /// Nothing was changed.
    RolledBack,
    /// A change may yet be committed, or not be known here.
    Unsettled,
}

/// A point to go back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CatalogSavepoint(usize);

impl SessionCatalog {
    pub fn new(cache: Arc<CatalogCache>) -> Self {
        let slot = cache.gates.add_slot();
        SessionCatalog {
            cache,
            slot,
            overlay: None,
            past: None,
            generation: 0,
            changes: Vec::new(),
            closed: Vec::new(),
            publishing: AtomicBool::new(false),
            pinned: false,
            lock_timeout: None,
        }
    }

    pub fn cache(&self) -> &Arc<CatalogCache> {
        &self.cache
    }

    /// What names mean now: the newest version that the node knows, with the transaction's own changes.
    pub fn snapshot(&self) -> Arc<Catalog> {
        match self.past.as_ref().or(self.overlay.as_ref()) {
            Some(own) => own.clone(),
            None => self.cache.current(),
        }
    }

    /// From now to the end of the transaction names mean what they meant in this catalog of the past.
    pub fn go_back(&mut self, past: Arc<Catalog>) {
        self.past = Some(past);
    }

    pub fn return_to_now(&mut self) {
        self.past = None;
    }

    pub fn is_past(&self) -> bool {
        self.past.is_some()
    }

    /// Differs for any two states of the transaction's own changes; 0 while there are none. Plans made over changes
    /// are for that state alone.
    pub fn overlay_generation(&self) -> u64 {
        if self.past.is_none() && self.overlay.is_some() { self.generation } else { 0 }
    }

    /// To be called before a plan over these tables runs: from now to the end of the transaction, their descriptors do not
    /// change under it. A retryable error if they have changed since the plan was made, or the transaction's snapshot
    /// is older than they are.
    ///
    /// May be dropped while it waits. A transaction that has nothing yet keeps no table from others meanwhile, so that
    /// nobody can be waiting for it.
    pub async fn use_tables(&mut self, txn: &Txn, tables: &[Arc<TableDescriptor>]) -> SqlResult<()> {
        self.cache.ensure_lease().await?;
        let gates = &self.cache.gates;
        let holds = self.pinned || !self.closed.is_empty() || !self.changes.is_empty();
        self.pinned |= !tables.is_empty();
        while let Some(refused) = tables.iter().find(|t| !gates.try_pin(&self.slot, t.id)) {
            if !holds {
                gates.unpin_all(&self.slot);
            }
            let runtime = &**self.cache.db().runtime();
            gates.pin(runtime, &self.slot, refused.id, self.lock_timeout, holds).await?;
        }
        tables.iter().try_for_each(|table| self.check_current(txn, table))
    }

    /// As [`use_tables`](Self::use_tables), if nothing has to be waited for; false if something has.
    pub fn use_tables_at_once(&mut self, txn: &Txn, tables: &[Arc<TableDescriptor>]) -> SqlResult<bool> {
        let gates = &self.cache.gates;
        if !self.cache.lease_holds() || !tables.iter().all(|t| gates.try_pin(&self.slot, t.id)) {
            if !self.pinned {
                gates.unpin_all(&self.slot);
            }
            return Ok(false);
        }
        self.pinned |= !tables.is_empty();
        tables.iter().try_for_each(|table| self.check_current(txn, table))?;
        Ok(true)
    }

    pub fn set_lock_timeout(&mut self, limit: Option<Duration>) {
        self.lock_timeout = limit;
    }

    fn check_current(&self, txn: &Txn, table: &TableDescriptor) -> SqlResult<()> {
        if self.past.is_some() {
            return check_readable(table, &self.cache.current());
        }
        let catalog = self.snapshot();
        if catalog.tables.get(&table.id).map(|t| t.version) != Some(table.version) {
            return Err(changed());
        }
        let own = self.changes.iter().any(|c| matches!(c, Change::Table(id, _) if *id == table.id));
        match catalog.since.get(&table.id) {
            Some(since) if !own && *since > txn.read_timestamp() => Err(changed()),
            _ => Ok(()),
        }
    }

    /// Before a change of a table's descriptor: waits until no other transaction uses the table, keeps others from it until
    /// this transaction ends, and makes sure that the newest descriptor is known. If it is dropped while it waits, others
    /// are let at the table again.
    pub async fn close_table(&mut self, table: TableId) -> SqlResult<()> {
        if !self.closed.iter().any(|(closed, _)| *closed == table) {
            let mut closing = ClosingGate { gates: &self.cache.gates, slot: &self.slot, table: Some(table) };
            let runtime = &**self.cache.db().runtime();
            self.cache.gates.close(runtime, &self.slot, table, self.lock_timeout).await?;
            let id = self.cache.close_elsewhere(table, self.lock_timeout).await?;
            closing.table = None;
            self.closed.push((table, id));
        }
        self.refresh().await
    }

    /// Lets others at a table again that this transaction has closed, without having changed it itself.
    pub async fn open_table(&mut self, table: TableId) -> SqlResult<()> {
        let Some(at) = self.closed.iter().position(|(closed, _)| *closed == table) else { return Ok(()) };
        let (table, id) = self.closed[at];
        self.cache.remove_closure(table, id).await?;
        self.closed.remove(at);
        self.cache.gates.open(&self.slot, table);
        Ok(())
    }

    /// Within a transaction that changes closed tables on its own: false if another node has opened them, because it took
    /// this one for dead.
    pub async fn still_closed(&self, txn: &Txn) -> SqlResult<bool> {
        for (table, id) in &self.closed {
            if !self.cache.holds_closure(txn, *table, *id).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Changes closed tables in a transaction of its own; `change` answers whether it did. Known here when this returns.
    pub async fn publish(&self, change: impl Future<Output = SqlResult<bool>>) -> SqlResult<()> {
        self.publishing.store(true, Ordering::Relaxed);
        if !change.await? {
            self.publishing.store(false, Ordering::Relaxed);
            return Err(changed());
        }
        // It has happened: who is told of a conflict now would do it again.
        loop {
            match self.cache.refresh().await {
                Err(e) if store::is_retryable(&e) => {}
                done => break done.map(drop)?,
            }
        }
        self.publishing.store(false, Ordering::Relaxed);
        Ok(())
    }

    /// Within a transaction that changes closed tables on its own, and opens them: false if another node has opened one.
    /// When it has committed, see [`SessionCatalog::opened`].
    pub async fn end_closures(&self, txn: &Txn) -> SqlResult<bool> {
        if !self.still_closed(txn).await? {
            return Ok(false);
        }
        self.closed.iter().for_each(|(table, _)| self.cache.delete_closure(txn, *table));
        Ok(true)
    }

    /// To be called when a transaction has committed that has ended all closures.
    pub async fn opened(&mut self) {
        for (table, _) in std::mem::take(&mut self.closed) {
            self.cache.gates.open(&self.slot, table);
        }
        if let Err(error) = self.cache.wait_until_known().await {
            tracing::debug!(%error, "other nodes learn of the change by themselves");
        }
    }

    /// Makes sure that the newest version is known: before looking anything up that the statement is to change.
    pub async fn refresh(&mut self) -> SqlResult<()> {
        let base = self.cache.refresh().await?;
        self.rebuild(base);
        Ok(())
    }

    fn rebuild(&mut self, base: Arc<Catalog>) {
        self.generation += 1;
        self.overlay = (!self.changes.is_empty()).then(|| {
            let mut catalog = Catalog::clone(&base);
            self.changes.iter().for_each(|change| change.apply(&mut catalog));
            Arc::new(catalog)
        });
    }

    /// Makes a change in the transaction.
    pub fn change(&mut self, txn: &Txn, change: Change) {
        change.write(txn);
        self.generation += 1;
        let cache = &self.cache;
        change.apply(Arc::make_mut(self.overlay.get_or_insert_with(|| cache.current())));
        self.changes.push(change);
    }

    pub fn savepoint(&self) -> CatalogSavepoint {
        CatalogSavepoint(self.changes.len())
    }

    /// Undoes the changes since; the transaction's writes are undone by [`Txn::rollback_to`].
    pub fn rollback_to(&mut self, savepoint: CatalogSavepoint) {
        if savepoint.0 < self.changes.len() {
            self.changes.truncate(savepoint.0);
            self.rebuild(self.cache.current());
        }
    }

    /// To be called before the transaction commits.
    pub async fn before_commit(&mut self, txn: &Txn) -> SqlResult<()> {
        if self.pinned && !self.cache.lease_holds() {
            self.cache.keep_up().await?;
            return Err(changed());
        }
        if !self.changes.is_empty() {
            store::touch_version(txn);
        }
        for (table, id) in &self.closed {
            self.cache.end_closure(txn, *table, *id).await?;
        }
        Ok(())
    }

    /// To be called after the transaction has committed.
    pub async fn after_commit(&mut self) -> SqlResult<()> {
        if self.changes.is_empty() && self.closed.is_empty() {
            self.finish(End::Committed);
            return Ok(());
        }
        let loaded = self.cache.refresh().await;
        let known = match &loaded {
            Ok(_) => self.cache.wait_until_known().await,
            Err(_) => Ok(()),
        };
        self.finish(if loaded.is_ok() { End::Committed } else { End::Unsettled });
        loaded.and(known)
    }

    /// To be called after the transaction has rolled back, or before it begins again.
    pub fn rollback(&mut self) {
        let unsettled = *self.publishing.get_mut();
        self.finish(if unsettled { End::Unsettled } else { End::RolledBack });
    }

    /// To be called when it is not known whether the transaction has committed.
    pub fn give_up(&mut self) {
        self.finish(End::Unsettled);
    }

    fn finish(&mut self, end: End) {
        if self.pinned {
            self.cache.gates.unpin_all(&self.slot);
            self.pinned = false;
        }
        for (table, id) in std::mem::take(&mut self.closed) {
            let gates = &self.cache.gates;
            match end {
                End::Committed => gates.open(&self.slot, table),
                End::RolledBack => {
                    gates.open(&self.slot, table);
                    remove_closure_later(self.cache.db(), table, id);
                }
                End::Unsettled => {
                    open_when_settled(&self.cache, gates.hand_over(&self.slot, table), table, id);
                }
            }
        }
        self.changes.clear();
        self.overlay = None;
        self.past = None;
        *self.publishing.get_mut() = false;
    }
}

impl Drop for SessionCatalog {
    fn drop(&mut self) {
        self.finish(End::Unsettled);
        self.cache.gates.remove_slot(&self.slot);
    }
}

/// A gate of this node that is being closed: opened again if nothing comes of it.
struct ClosingGate<'a> {
    gates: &'a Gates,
    slot: &'a Slot,
    table: Option<TableId>,
}

impl Drop for ClosingGate<'_> {
    fn drop(&mut self) {
        if let Some(table) = self.table {
            self.gates.open(self.slot, table);
        }
    }
}

pub fn changed() -> SqlError {
    SqlError::new(
        state::SERIALIZATION_FAILURE,
        "could not serialize access due to a concurrent schema change",
    )
    .with_hint("The transaction might succeed if retried.")
}
