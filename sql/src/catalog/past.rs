//! The catalog as it was: what a transaction that reads the past binds its names in.
//!
//! Descriptors have versions as rows have, so that the transaction reads them at its own time. Mostly nothing has changed since:
//! the version mark says so, and the node's catalog will do. What was loaded of the past is kept for a while.
//!
//! What must stay true: rows are read through the descriptor of their time, or not at all. What is dropped is removed with all its
//! versions (a job of the schema change's), so that an index that is gone by now is not read, though it was there then; and as
//! long as a transaction has a table pinned, none of its indexes goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use meridian_storage::probe;
use meridian_txn::Txn;
use parking_lot::Mutex;

use super::{Catalog, CatalogCache, ElementState, TableDescriptor, TableId, store};
use crate::error::{SqlError, SqlResult, state};

/// How many are kept.
const KEPT: usize = 4;
/// Versions of catalogs of the past are above this, so that they are never taken for the node's.
const FIRST_VERSION: u64 = 1 << 63;

/// Catalogs of the past, the latest used last.
#[derive(Default)]
pub(super) struct Pasts {
    kept: Mutex<Vec<Past>>,
    made: AtomicU64,
}

struct Past {
    mark: Bytes,
    /// The node's catalog of when it was made.
    made_beside: u64,
    catalog: Arc<Catalog>,
}

impl Pasts {
    fn find(&self, mark: &Bytes, beside: u64) -> Option<Arc<Catalog>> {
        let mut kept = self.kept.lock();
        let at = kept.iter().position(|p| p.mark == *mark && p.made_beside == beside)?;
        let past = kept.remove(at);
        let catalog = past.catalog.clone();
        kept.push(past);
        Some(catalog)
    }

    fn keep(&self, past: Past) {
        let mut kept = self.kept.lock();
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push(past);
    }
}

impl CatalogCache {
    /// The catalog as the transaction sees it, which reads the past.
    pub async fn as_of(&self, txn: &Txn) -> SqlResult<Arc<Catalog>> {
        let mark = txn.get(&store::version_key()).await?;
        let current = self.current();
        if mark == current.mark {
            return Ok(current);
        }
        // Before there was a cluster there was nothing.
        let Some(mark) = mark else { return Ok(Arc::default()) };
        if let Some(known) = self.pasts().find(&mark, current.version) {
            return Ok(known);
        }
        probe!("catalog: of the past");
        let mut catalog = store::load(txn).await?;
        hide_dropped(&mut catalog, &current);
        catalog.version = FIRST_VERSION + self.pasts().made.fetch_add(1, Ordering::Relaxed);
        catalog.mark = Some(mark.clone());
        let catalog = Arc::new(catalog);
        self.pasts().keep(Past { mark, made_beside: current.version, catalog: catalog.clone() });
        Ok(catalog)
    }
}

/// Indexes that are no longer there are not to be read.
fn hide_dropped(past: &mut Catalog, current: &Catalog) {
    let dropped = |table: &TableDescriptor| {
        let now = current.tables.get(&table.id);
        table.indexes.iter().any(|i| now.is_some_and(|now| now.index(i.id).is_none()))
    };
    let changed: Vec<TableId> = past.tables.values().filter(|t| dropped(t)).map(|t| t.id).collect();
    for id in changed {
        if let (Some(table), Some(now)) = (past.tables.get_mut(&id), current.tables.get(&id)) {
            for index in &mut Arc::make_mut(table).indexes {
                if now.index(index.id).is_none() {
                    index.state = ElementState::Dropping;
                }
            }
        }
    }
}

/// Whether a pinned table can be read through a descriptor of the past.
pub(super) fn check_readable(past: &TableDescriptor, current: &Catalog) -> SqlResult<()> {
    if !past.is_table() {
        return Ok(());
    }
    let now = current.tables.get(&past.id);
    if now.is_none_or(|now| now.index(past.primary.id).is_none()) {
        let how = if now.is_some() { "rewritten or truncated" } else { "dropped" };
        let message =
            format!("cannot read \"{}\" AS OF SYSTEM TIME: it has been {how} since then", past.name);
        return Err(SqlError::new(state::FEATURE_NOT_SUPPORTED, message)
            .with_detail("What it held before has been removed, with all versions."));
    }
    let mut read = past.indexes.iter().filter(|i| i.state == ElementState::Public);
    if read.any(|i| now.is_some_and(|now| now.index(i.id).is_none())) {
        // Since the plan was made. The next one goes without it.
        return Err(super::session::changed());
    }
    Ok(())
}
