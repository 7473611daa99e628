//! A session's view of the catalog.
//!
//! Between transactions and in most of them this is the node's current version. A transaction that changes the schema sees its
//! own changes on top; they are written through its [`Txn`], so they commit, roll back and go back to savepoints with it.

use std::sync::Arc;

use meridian_txn::Txn;

use super::gate::Slot;
use super::store::{self, Change};
use super::{Catalog, CatalogCache, DatabaseId, TableId};
use crate::error::{SqlError, SqlResult, state};

pub struct SessionCatalog {
    cache: Arc<CatalogCache>,
    database: DatabaseId,
    slot: Arc<Slot>,
    /// What the transaction looks things up in: the node's version, with `changes` on top.
    snapshot: Arc<Catalog>,
    changes: Vec<Change>,
    /// Gates that the transaction has closed.
    closed: Vec<TableId>,
    /// Whether the transaction has pinned anything.
    pinned: bool,
}

/// A point to go back to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CatalogSavepoint(usize);

impl SessionCatalog {
    pub fn new(cache: Arc<CatalogCache>, database: DatabaseId) -> Self {
        let slot = cache.gates.add_slot();
        let snapshot = cache.current();
        SessionCatalog {
            cache,
            database,
            slot,
            snapshot,
            changes: Vec::new(),
            closed: Vec::new(),
            pinned: false,
        }
    }

    pub fn cache(&self) -> &Arc<CatalogCache> {
        &self.cache
    }

    pub fn database(&self) -> DatabaseId {
        self.database
    }

    /// What names mean now. Stable once the transaction has used a table; before that, it follows the node.
    pub fn snapshot(&mut self) -> &Arc<Catalog> {
        if !self.pinned && self.changes.is_empty() && self.snapshot.version != self.cache.version() {
            self.snapshot = self.cache.current();
        }
        &self.snapshot
    }

    /// As [`snapshot`](Self::snapshot), also following the node within a transaction: for each statement under READ
    /// COMMITTED. Pinned tables have not changed.
    pub fn statement_snapshot(&mut self) -> &Arc<Catalog> {
        if self.snapshot.version != self.cache.version() && self.changes.is_empty() {
            self.snapshot = self.cache.current();
        }
        &self.snapshot
    }

    /// Whether the transaction has changed the schema: plans made from its snapshot are for it alone.
    pub fn is_changed(&self) -> bool {
        !self.changes.is_empty()
    }

    /// To be called before a plan over these tables runs: from now to its end, their descriptors do not change under
    /// the transaction. A retryable error if they have changed since the plan was made, or the transaction's
    /// snapshot is older than they are.
    pub async fn use_tables(
        &mut self,
        txn: &Txn,
        tables: impl IntoIterator<Item = TableId>,
    ) -> SqlResult<()> {
        for table in tables {
            if !self.cache.gates.try_pin(&self.slot, table) {
                self.cache.gates.pin(&self.slot, table).await;
            }
            self.pinned = true;
            self.check_current(txn, table)?;
        }
        Ok(())
    }

    fn check_current(&self, txn: &Txn, table: TableId) -> SqlResult<()> {
        if self.changes.iter().any(|c| matches!(c, Change::Table(id, _) if *id == table)) {
            return Ok(());
        }
        if self.snapshot.version != self.cache.version() {
            let current = self.cache.current();
            let (mine, newest) = (self.snapshot.tables.get(&table), current.tables.get(&table));
            if mine.map(|t| t.version) != newest.map(|t| t.version) {
                return Err(changed());
            }
        }
        match self.snapshot.since.get(&table) {
            Some(since) if *since > txn.read_timestamp() => Err(changed()),
            _ => Ok(()),
        }
    }

    /// Before a change of a table's descriptor: waits until no other transaction uses the table, keeps others from it until
    /// this transaction ends, and makes sure that the newest descriptor is known.
    pub async fn close_table(&mut self, table: TableId) -> SqlResult<()> {
        if !self.closed.contains(&table) {
            let runtime = self.cache.db().runtime().clone();
            self.cache.gates.close(&*runtime, &self.slot, table).await?;
            self.closed.push(table);
        }
        self.refresh().await
    }

    /// Makes sure that the newest version is known: before looking anything up that the statement is to change.
    pub async fn refresh(&mut self) -> SqlResult<()> {
        let base = self.cache.refresh().await?;
        self.rebuild(base);
        Ok(())
    }

    fn rebuild(&mut self, base: Arc<Catalog>) {
        if self.changes.is_empty() {
            self.snapshot = base;
            return;
        }
        let mut catalog = Catalog::clone(&base);
        self.changes.iter().for_each(|change| change.apply(&mut catalog));
        self.snapshot = Arc::new(catalog);
    }

    /// Makes a change in the transaction.
    pub fn change(&mut self, txn: &Txn, change: Change) {
        change.write(txn);
        change.apply(Arc::make_mut(&mut self.snapshot));
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
    pub fn before_commit(&mut self, txn: &Txn) {
        if !self.changes.is_empty() {
            store::touch_version(txn);
        }
    }

    /// To be called after the transaction has committed, or may have (an ambiguous error).
    pub async fn after_commit(&mut self) -> SqlResult<()> {
        let mut result = Ok(());
        if !self.changes.is_empty() {
            result = self.cache.refresh().await.map(|_| ());
        }
        self.finish();
        result
    }

    /// To be called after the transaction has rolled back, or before it begins again.
    pub fn after_rollback(&mut self) {
        self.finish();
    }

    fn finish(&mut self) {
        if self.pinned {
            self.cache.gates.unpin_all(&self.slot);
            self.pinned = false;
        }
        for table in self.closed.drain(..) {
            self.cache.gates.open(&self.slot, table);
        }
        if !self.changes.is_empty() {
            self.changes.clear();
            self.snapshot = self.cache.current();
        }
    }
}

impl Drop for SessionCatalog {
    fn drop(&mut self) {
        self.finish();
        self.cache.gates.remove_slot(&self.slot);
    }
}

fn changed() -> SqlError {
    SqlError::new(
        state::SERIALIZATION_FAILURE,
        "could not serialize access due to a concurrent schema change",
    )
    .with_hint("The transaction might succeed if retried.")
}
