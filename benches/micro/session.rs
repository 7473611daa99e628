//! A session over a database in memory, without replication and without a network: where SQL is measured.

use std::sync::Arc;

use bytes::Bytes;
use meridian_sql::catalog::bootstrap::PUBLIC;
use meridian_sql::catalog::{CatalogCache, TableDescriptor};
use meridian_sql::error::{SqlError, SqlResult};
use meridian_sql::plan::Field;
use meridian_sql::session::{Client, Format, Session, Severity, SqlNode};
use meridian_sql::testing::connect;
use meridian_sql::types::Batch;
use meridian_sql::types::text::TextContext;
use meridian_storage::base::BoxFuture;
use meridian_txn::testing::{SimRuntime, local_db};

/// A node in this thread with one client. Time passes only while it waits.
pub struct Database {
    pub session: Session,
    catalog: Arc<CatalogCache>,
    runtime: SimRuntime,
}

impl Database {
    /// A new database in which `statements` have been run.
    pub fn with(statements: &str) -> Self {
        let runtime = SimRuntime::new(1);
        let (db, _) = local_db(&runtime);
        let (session, catalog) = runtime.block_on(async {
            let catalog = CatalogCache::open(db.clone()).await.expect("an empty cluster");
            let node = SqlNode::new(db, catalog.clone());
            let mut session = connect(Arc::new(node)).await.expect("the superuser");
            session.simple_query(statements, &mut Deaf).await.expect("a schema");
            (session, catalog)
        });
        Database { session, catalog, runtime }
    }

    /// A table of the schema `public`, with all its indexes.
    pub fn table(&self, name: &str) -> Arc<TableDescriptor> {
        self.catalog.current().relation(PUBLIC, name).expect("a table that was created").clone()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        self.runtime.shut_down();
    }
}

/// A client that does not listen.
struct Deaf;

impl Client for Deaf {
    fn describe_rows(&mut self, _: &[Field], _: &[Format]) {}

    fn rows(&mut self, _: &Batch, _: &[Field], _: &[Format], _: &TextContext<'_>) -> SqlResult<()> {
        Ok(())
    }

    fn complete(&mut self, _: &str) {}
    fn empty_query(&mut self) {}
    fn portal_suspended(&mut self) {}
    fn notice(&mut self, _: Severity, _: &SqlError) {}
    fn parameter_status(&mut self, _: &str, _: &str) {}

    fn pending(&self) -> usize {
        0
    }

    fn mark(&self) -> (u64, usize) {
        (0, 0)
    }

    fn rewind(&mut self, _: (u64, usize)) -> bool {
        true
    }

    fn flush(&mut self) -> BoxFuture<'_, SqlResult<()>> {
        Box::pin(async { Ok(()) })
    }

    fn copy_in_begin(&mut self, _: Format, _: usize) {}

    fn copy_in_next(&mut self) -> BoxFuture<'_, SqlResult<Option<Bytes>>> {
        Box::pin(async { Ok(None) })
    }

    fn copy_out_begin(&mut self, _: Format, _: usize) {}
    fn copy_out_data(&mut self, _: &[u8]) {}
    fn copy_out_end(&mut self) {}
}
