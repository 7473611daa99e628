//! What a schema change has around it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use meridian_storage::base::{Span, keys};
use meridian_txn::{Db, Isolation, Txn, TxnOptions};

use crate::bind::BindContext;
use crate::cancel::Guard;
use crate::catalog::store::{self, Change, NameSpace};
use crate::catalog::{
    Catalog, DatabaseId, SchemaId, SessionCatalog, TableDescriptor, TableId, virtual_tables,
};
use crate::error::{SqlError, SqlResult, state};
use crate::exec::Surroundings;
use crate::registry::EvalContext;
use crate::types::Oid;

pub struct SchemaContext<'a> {
    pub db: &'a Db,
    pub txn: &'a Txn,
    pub catalog: &'a mut SessionCatalog,
    pub database: DatabaseId,
    /// The existing schemas of the search path.
    pub search_path: &'a [SchemaId],
    pub user: &'a str,
    pub session: Arc<dyn Surroundings>,
    /// In a transaction block: other statements may have run before this one, and may follow.
    pub in_block: bool,
    pub cancel: Arc<AtomicBool>,
    /// For what waits, where nothing is lost if it is dropped.
    pub guard: &'a Guard,
    /// For the client, in order.
    pub notices: &'a mut Vec<SqlError>,
}

/// Microseconds between the Unix epoch and PostgreSQL's.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

impl SchemaContext<'_> {
    pub fn notice(&mut self, code: &'static str, message: impl Into<String>) {
        self.notices.push(SqlError::new(code, message));
    }

    /// The catalog with the transaction's changes.
    pub fn snapshot(&self) -> Arc<Catalog> {
        self.catalog.snapshot()
    }

    pub fn check_cancel(&self) -> SqlResult<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(SqlError::new(state::QUERY_CANCELED, "canceling statement due to user request"));
        }
        Ok(())
    }

    /// The surroundings of expressions: defaults, checks, USING.
    pub fn eval(&self) -> EvalContext<'_> {
        let now = (self.txn.read_timestamp().wall / 1000) as i64 - POSTGRES_EPOCH_MICROS;
        EvalContext {
            transaction_time: now,
            statement_time: now,
            params: &[],
            format: self.session.format(),
            session: self.session.functions(),
            outer: &[],
        }
    }

    pub fn bind<'c>(&'c self, catalog: &'c Catalog, eval: &'c EvalContext<'c>) -> BindContext<'c> {
        BindContext {
            catalog,
            database: self.database,
            search_path: self.search_path,
            virtual_tables: virtual_tables::lookup,
            eval,
        }
    }

    pub async fn new_oid(&self) -> SqlResult<Oid> {
        self.catalog.cache().new_oid().await
    }

    /// Keeps everybody else from the table until the transaction ends, and answers its newest descriptor.
    pub async fn close(&mut self, id: TableId) -> SqlResult<TableDescriptor> {
        self.guard.run(self.catalog.close_table(id)).await?;
        let snapshot = self.snapshot();
        let table = snapshot.tables.get(&id);
        table.map(|t| TableDescriptor::clone(t)).ok_or_else(|| {
            SqlError::new(state::UNDEFINED_TABLE, format!("could not open relation with OID {}", id.0))
        })
    }

    /// A transaction that reads the newest rows of a closed table, those that this transaction has written included.
    pub async fn reader(&self, table: TableId) -> SqlResult<Txn> {
        if !self.in_block {
            return Ok(self.db.begin(TxnOptions::default()));
        }
        self.settle(table).await?;
        Ok(self.txn.clone())
    }

    /// Sees to it that what the transaction reads of a closed table is the newest when it commits, though its snapshot may be
    /// older than the last change by another.
    ///
    /// Under SERIALIZABLE, a read of the descriptor's key by somebody else now forces the commit above this moment, and
    /// with it the proof that nothing read has changed since the snapshot.
    pub async fn settle(&self, table: TableId) -> SqlResult<()> {
        let created_here = !self.catalog.cache().current().tables.contains_key(&table);
        match self.txn.isolation() {
            _ if created_here => Ok(()),
            Isolation::Serializable => {
                let now = self.db.begin(TxnOptions { read_only: true, ..Default::default() });
                now.get(&store::table_key(table)).await?;
                Ok(())
            }
            Isolation::ReadCommitted => {
                self.txn.begin_statement();
                Ok(())
            }
            Isolation::Snapshot => Err(SqlError::unsupported(
                "changing an existing table in a transaction with isolation level REPEATABLE READ",
            )),
        }
    }

    /// The table's indexes are new: nobody finds them before this transaction has committed.
    pub fn note_new_storage(&self, table: &TableDescriptor) {
        for index in table.all_indexes() {
            self.txn.note_private(Span::prefix(keys::index_prefix(table.id.0, index.id.0)));
        }
    }

    /// Stores a new or changed descriptor.
    pub fn put_table(&mut self, mut table: TableDescriptor) {
        table.version += 1;
        self.catalog.change(self.txn, Change::Table(table.id, Some(Arc::new(table))));
    }

    pub fn change(&mut self, change: Change) {
        self.catalog.change(self.txn, change);
    }

    /// Takes a name for a relation or index; 42P07 if it is taken.
    pub async fn take_relation_name(&self, schema: SchemaId, name: &str, id: u32) -> SqlResult<()> {
        let taken = self.snapshot().name_taken(schema, name);
        if taken || !store::take_name(self.txn, NameSpace::Relation(schema), name, id).await? {
            return Err(relation_exists(name));
        }
        Ok(())
    }

    pub fn give_relation_name_back(&self, schema: SchemaId, name: &str) {
        store::give_name_back(self.txn, NameSpace::Relation(schema), name);
    }
}

pub fn relation_exists(name: &str) -> SqlError {
    SqlError::new(state::DUPLICATE_TABLE, format!("relation \"{name}\" already exists"))
}
