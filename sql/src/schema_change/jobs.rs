//! Work that goes on after a transaction, or without anybody who waits for it.
//!
//! A job is a row under `system/jobs/`, written by the transaction that makes it necessary. Every node looks for jobs that
//! are due; who takes one puts its due time off first, so that normally one node does it, and if that node dies
//! another takes it later. Doing a job twice is harmless.
//!
//! There is one kind: [`Sweep`] removes the rows of indexes that no descriptor has (any more), be it because they
//! were dropped, replaced, or never finished.

use std::sync::Arc;
use std::time::Duration;

use meridian_storage::base::{Key, Span, keys};
use meridian_storage::probe;
use meridian_txn::{Db, ScanOptions, Txn, TxnOptions};

use crate::catalog::cluster::PERIOD;
use crate::catalog::codec::{self, Stored};
use crate::catalog::{CatalogCache, ElementState, IndexId, TableId, store};
use crate::error::SqlResult;

/// How often a node looks for jobs.
const JOBS_EVERY: Duration = Duration::from_millis(1200);
/// How long others leave a job alone that somebody has taken.
const TAKEN: Duration = Duration::from_secs(60);
/// How long the indexes that a statement is filling are left alone without a sign of life.
pub const BUILD_PATIENCE: Duration = Duration::from_secs(600);

/// Remove the rows of these indexes that the table's descriptor does not have; of all its indexes if the list is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    pub table: TableId,
    pub indexes: Vec<IndexId>,
    /// Not before this time, nanoseconds since the Unix epoch.
    pub due: u64,
}

impl Stored for Sweep {
    fn put(&self, out: &mut Vec<u8>) {
        self.table.put(out);
        self.indexes.put(out);
        self.due.put(out);
    }

    fn take(input: &mut &[u8]) -> SqlResult<Self> {
        Ok(Sweep { table: Stored::take(input)?, indexes: Stored::take(input)?, due: Stored::take(input)? })
    }
}

/// A job's key: its table, and a number that makes it unique.
fn key(table: TableId, number: u64) -> Key {
    let mut suffix = table.0.to_be_bytes().to_vec();
    suffix.extend_from_slice(&number.to_be_bytes());
    keys::system_key("jobs", &suffix)
}

/// Has the rows removed as soon as the transaction has committed.
pub fn sweep_after(db: &Db, txn: &Txn, table: TableId, indexes: Vec<IndexId>) {
    let job = Sweep { table, indexes, due: 0 };
    txn.put(key(table, db.runtime().random()), codec::encode(&job).into());
}

/// Before indexes are filled outside of a transaction: has what is there removed, should the statement not finish.
pub async fn begin_build(db: &Db, table: TableId, indexes: Vec<IndexId>) -> SqlResult<Build> {
    let key = key(table, db.runtime().random());
    let mut build = Build { key, job: Sweep { table, indexes, due: 0 } };
    build.sign_of_life(db).await?;
    Ok(build)
}

/// The indexes that a statement is filling, and the job that removes them if it stops.
pub struct Build {
    key: Key,
    job: Sweep,
}

impl Build {
    /// To be called now and then while the work goes on.
    pub async fn sign_of_life(&mut self, db: &Db) -> SqlResult<()> {
        let due = db.clock().wall_ns() + BUILD_PATIENCE.as_nanos() as u64;
        if due - self.job.due < BUILD_PATIENCE.as_nanos() as u64 / 4 {
            return Ok(());
        }
        self.job.due = due;
        self.write(db).await
    }

    /// Has what is there removed as soon as somebody looks for jobs.
    pub async fn give_up(&mut self, db: &Db) -> SqlResult<()> {
        self.job.due = 0;
        self.write(db).await
    }

    async fn write(&self, db: &Db) -> SqlResult<()> {
        let (key, job) = (self.key.clone(), codec::encode(&self.job));
        store::transact(db, |txn| {
            txn.put(key.clone(), job.clone().into());
            async { Ok(()) }
        })
        .await
    }
}

/// Looks for others' schema changes and for jobs, for as long as the node lives.
///
/// What must stay true: no job holds up the looking. A job may wait for other nodes to give up a table, and they for this one.
pub async fn run_loop(catalog: Arc<CatalogCache>) {
    futures::join!(keep_up(&catalog), run_jobs(&catalog));
}

async fn keep_up(catalog: &CatalogCache) {
    loop {
        catalog.db().runtime().sleep(PERIOD).await;
        if let Err(error) = catalog.keep_up().await {
            tracing::warn!(%error, "cannot look for schema changes");
        }
    }
}

async fn run_jobs(catalog: &Arc<CatalogCache>) {
    loop {
        catalog.db().runtime().sleep(JOBS_EVERY).await;
        if let Err(error) = run_due(catalog).await {
            tracing::warn!(%error, "a background job failed and will be tried again");
        }
    }
}

/// Runs what is due.
pub async fn run_due(catalog: &Arc<CatalogCache>) -> SqlResult<()> {
    let db = catalog.db();
    for (key, job) in list(db).await? {
        if job.due <= db.clock().wall_ns() && take(db, &key, &job).await? {
            run(catalog, &job).await?;
            store::transact(db, |txn| {
                txn.delete(key.clone());
                async { Ok(()) }
            })
            .await?;
        }
    }
    Ok(())
}

async fn list(db: &Db) -> SqlResult<Vec<(Key, Sweep)>> {
    let txn = db.begin(TxnOptions { read_only: true, ..Default::default() });
    let mut scanner = txn.scan(Span::prefix(keys::system_key("jobs", b"")), ScanOptions::default());
    let mut jobs = Vec::new();
    while let Some(block) = scanner.next_block().await? {
        for (key, value) in block.iter() {
            jobs.push((Key::copy_from(key), codec::decode(value)?));
        }
    }
    Ok(jobs)
}

/// Puts a job off for others; false if another node was first.
async fn take(db: &Db, key: &Key, job: &Sweep) -> SqlResult<bool> {
    let taken = Sweep { due: db.clock().wall_ns() + TAKEN.as_nanos() as u64, ..job.clone() };
    store::transact(db, |txn| {
        let (key, taken) = (key.clone(), codec::encode(&taken));
        let before = codec::encode(job);
        async move {
            if txn.get(&key).await?.is_none_or(|now| *now != *before) {
                return Ok(false);
            }
            txn.put(key, taken.into());
            Ok(true)
        }
    })
    .await
}

async fn run(catalog: &Arc<CatalogCache>, job: &Sweep) -> SqlResult<()> {
    drop_half_built(catalog, job).await?;
    let newest = catalog.refresh().await?;
    let table = newest.tables.get(&job.table);
    if job.indexes.is_empty() {
        if table.is_none() {
            probe!("table: keys cleared");
            catalog.db().clear_range(Span::prefix(keys::table_prefix(job.table.0))).await?;
        }
        return Ok(());
    }
    for index in &job.indexes {
        if table.is_none_or(|t| t.index(*index).is_none()) {
            probe!("index: keys cleared");
            catalog.db().clear_range(Span::prefix(keys::index_prefix(job.table.0, index.0))).await?;
        }
    }
    Ok(())
}

/// An index that was published as write-only and whose builder is gone: nobody will finish it.
async fn drop_half_built(catalog: &Arc<CatalogCache>, job: &Sweep) -> SqlResult<()> {
    let newest = catalog.refresh().await?;
    let half_built = |index: IndexId| {
        let table = newest.tables.get(&job.table)?;
        table.index(index).filter(|i| i.state != ElementState::Public).map(|i| i.id)
    };
    for index in job.indexes.iter().filter_map(|i| half_built(*i)) {
        probe!("index: half-built and abandoned");
        super::create_index::abandon(catalog, job.table, index).await?;
    }
    Ok(())
}
