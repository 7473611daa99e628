//! Descriptors in the key space, and small transactions of the system's own.
//!
//! | key under `system/` | value |
//! | --- | --- |
//! | `catalog/d<id>`, `s<id>`, `t<id>`, `r<oid>` | database, schema, table, role |
//! | `catalog/a<table>` | statistics |
//! | `catalog/c<catalog oid><oid><column>` | comment |
//! | `catalog_version/` | changes whenever anything above does: all that a node has to look at |
//! | `catalog_name/<kind><parent><name>` | the id of what has the name: two transactions that take one name meet here |
//! | `counter/<name>` | the next free number |

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::{Key, Span, keys};
use meridian_txn::{Db, LockStrength, ScanOptions, Txn, TxnErrorKind, TxnOptions, WaitPolicy};

use super::codec::{self, Stored};
use super::*;
use crate::error::{SqlError, SqlResult, state};
use crate::types::Oid;

pub fn version_key() -> Key {
    keys::system_key("catalog_version", b"")
}

fn key(tag: u8, parts: &[u32]) -> Key {
    let mut suffix = vec![tag];
    parts.iter().for_each(|part| suffix.extend_from_slice(&part.to_be_bytes()));
    keys::system_key("catalog", &suffix)
}

/// Where a table's descriptor is.
pub fn table_key(id: TableId) -> Key {
    key(b't', &[id.0])
}

/// One stored change of the catalog. `None`: the object is gone.
#[derive(Clone, Debug)]
pub enum Change {
    Database(DatabaseId, Option<Arc<DatabaseDescriptor>>),
    Schema(SchemaId, Option<Arc<SchemaDescriptor>>),
    Table(TableId, Option<Arc<TableDescriptor>>),
    Role(Oid, Option<Arc<RoleDescriptor>>),
    Statistics(TableId, Option<Arc<TableStatistics>>),
    Comment((Oid, Oid, i32), Option<Arc<str>>),
}

impl Change {
    pub fn write(&self, txn: &Txn) {
        match self {
            Change::Database(id, v) => put(txn, key(b'd', &[id.0]), v.as_deref()),
            Change::Schema(id, v) => put(txn, key(b's', &[id.0]), v.as_deref()),
            Change::Table(id, v) => put(txn, key(b't', &[id.0]), v.as_deref()),
            Change::Role(oid, v) => put(txn, key(b'r', &[oid.0]), v.as_deref()),
            Change::Statistics(id, v) => put(txn, key(b'a', &[id.0]), v.as_deref()),
            Change::Comment((class, oid, column), v) => {
                let key = key(b'c', &[class.0, oid.0, *column as u32]);
                put(txn, key, v.as_ref().map(|v| v.to_string()).as_ref());
            }
        }
    }

    pub fn apply(&self, catalog: &mut Catalog) {
        match self.clone() {
            Change::Database(id, v) => set(&mut catalog.databases, id, v),
            Change::Schema(id, v) => set(&mut catalog.schemas, id, v),
            Change::Table(id, None) => {
                catalog.remove_table(id);
            }
            Change::Table(_, Some(v)) => catalog.insert_table_arc(v),
            Change::Role(oid, v) => set(&mut catalog.roles, oid, v),
            Change::Statistics(id, v) => set(&mut catalog.statistics, id, v),
            Change::Comment(at, v) => set(&mut catalog.comments, at, v),
        }
    }
}

fn put<T: Stored>(txn: &Txn, key: Key, value: Option<&T>) {
    match value {
        Some(value) => txn.put(key, codec::encode(value).into()),
        None => txn.delete(key),
    }
}

fn set<K: Ord, V>(map: &mut std::collections::BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => {
            map.insert(key, value);
        }
        None => {
            map.remove(&key);
        }
    }
}

/// Everything, as the transaction sees it.
pub async fn load(txn: &Txn) -> SqlResult<Catalog> {
    let prefix = keys::system_key("catalog", b"");
    let mut catalog = Catalog::default();
    let mut scanner = txn.scan(Span::prefix(prefix.clone()), ScanOptions::default());
    while let Some(block) = scanner.next_block().await? {
        for (key, value) in block.iter() {
            read_entry(&mut catalog, &key[prefix.len()..], value)?;
        }
    }
    Ok(catalog)
}

fn read_entry(catalog: &mut Catalog, key: &[u8], value: &[u8]) -> SqlResult<()> {
    let id = |n: usize| -> SqlResult<u32> {
        let bytes = key.get(1 + 4 * n..5 + 4 * n).and_then(|b| b.try_into().ok());
        bytes
            .map(u32::from_be_bytes)
            .ok_or_else(|| SqlError::new(state::DATA_CORRUPTED, "invalid catalog key"))
    };
    match key.first() {
        Some(b'd') => {
            catalog.databases.insert(DatabaseId(id(0)?), Arc::new(codec::decode(value)?));
        }
        Some(b's') => {
            catalog.schemas.insert(SchemaId(id(0)?), Arc::new(codec::decode(value)?));
        }
        Some(b't') => catalog.insert_table_arc(Arc::new(codec::decode(value)?)),
        Some(b'r') => {
            catalog.roles.insert(Oid(id(0)?), Arc::new(codec::decode(value)?));
        }
        Some(b'a') => {
            catalog.statistics.insert(TableId(id(0)?), Arc::new(codec::decode(value)?));
        }
        Some(b'c') => {
            let text: String = codec::decode(value)?;
            catalog.comments.insert((Oid(id(0)?), Oid(id(1)?), id(2)? as i32), text.into());
        }
        _ => return Err(SqlError::new(state::DATA_CORRUPTED, "unknown entry in the catalog")),
    }
    Ok(())
}

/// The name spaces of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameSpace {
    Database,
    Role,
    /// Of a database.
    Schema(DatabaseId),
    /// Tables, views, sequences and indexes of a schema.
    Relation(SchemaId),
}

fn name_key(space: NameSpace, name: &str) -> Key {
    let (kind, parent) = match space {
        NameSpace::Database => (b'd', 0),
        NameSpace::Role => (b'r', 0),
        NameSpace::Schema(database) => (b's', database.0),
        NameSpace::Relation(schema) => (b'n', schema.0),
    };
    let mut suffix = vec![kind];
    suffix.extend_from_slice(&parent.to_be_bytes());
    suffix.extend_from_slice(name.as_bytes());
    keys::system_key("catalog_name", &suffix)
}

/// Takes a name for `id`. False if another object has it.
pub async fn take_name(txn: &Txn, space: NameSpace, name: &str, id: u32) -> SqlResult<bool> {
    let key = name_key(space, name);
    // Locked, so that of two transactions that take a name at once the second waits and then sees it taken.
    let held = txn.get_locked(&key, LockStrength::Update, WaitPolicy::Block).await?;
    if held.is_some() {
        return Ok(false);
    }
    txn.put(key, Bytes::copy_from_slice(&id.to_be_bytes()));
    Ok(true)
}

pub fn give_name_back(txn: &Txn, space: NameSpace, name: &str) {
    txn.delete(name_key(space, name));
}

/// Whether anything in the name space has a name.
pub async fn has_names(txn: &Txn, space: NameSpace) -> SqlResult<bool> {
    let span = Span::prefix(name_key(space, ""));
    let mut scanner = txn.scan(span, ScanOptions { limit: 1, ..Default::default() });
    Ok(scanner.next_block().await?.is_some_and(|block| !block.is_empty()))
}

/// Runs `body` in a transaction of its own and commits it, again and again while others are in the way.
pub async fn transact<T, F, B>(db: &Db, body: B) -> SqlResult<T>
where
    F: Future<Output = SqlResult<T>> + Send,
    B: Fn(Txn) -> F + Send,
{
    loop {
        let txn = db.begin(TxnOptions::default());
        let error = match body(txn.clone()).await {
            Ok(value) => match txn.commit().await {
                Ok(_) => return Ok(value),
                Err(e) => e.into(),
            },
            Err(e) => {
                txn.rollback().await;
                e
            }
        };
        if !is_retryable(&error) {
            return Err(error);
        }
        db.runtime().sleep(std::time::Duration::from_millis(db.runtime().random() % 10)).await;
    }
}

pub fn is_retryable(error: &SqlError) -> bool {
    // A snapshot of our own that has become too old may be taken anew, too.
    [TxnErrorKind::Retry, TxnErrorKind::Deadlock, TxnErrorKind::SnapshotTooOld]
        .iter()
        .any(|kind| kind.sqlstate() == error.code())
}

/// Takes `count` numbers off a counter; the first ever is `first`.
pub async fn take_numbers(db: &Db, counter: &str, first: u64, count: u64) -> SqlResult<Range<u64>> {
    let key = keys::system_key("counter", counter.as_bytes());
    transact(db, |txn| {
        let key = key.clone();
        async move {
            let stored = txn.get_locked(&key, LockStrength::Update, WaitPolicy::Block).await?;
            let next = match stored {
                Some(bytes) => u64::from_be_bytes(
                    (&*bytes)
                        .try_into()
                        .map_err(|_| SqlError::new(state::DATA_CORRUPTED, "invalid counter"))?,
                ),
                None => first,
            };
            txn.put(key, Bytes::copy_from_slice(&(next + count).to_be_bytes()));
            Ok(next..next + count)
        }
    })
    .await
}

/// Writes what a new cluster begins with, unless it is there.
pub async fn bootstrap(db: &Db) -> SqlResult<()> {
    transact(db, |txn| async move {
        if txn.get(&version_key()).await?.is_some() {
            return Ok(());
        }
        for database in bootstrap::databases() {
            take_name(&txn, NameSpace::Database, &database.name, database.id.0).await?;
            Change::Database(database.id, Some(Arc::new(database))).write(&txn);
        }
        for schema in bootstrap::schemas() {
            take_name(&txn, NameSpace::Schema(schema.database), &schema.name, schema.id.0).await?;
            Change::Schema(schema.id, Some(Arc::new(schema))).write(&txn);
        }
        for role in bootstrap::roles() {
            take_name(&txn, NameSpace::Role, &role.name, role.oid.0).await?;
            Change::Role(role.oid, Some(Arc::new(role))).write(&txn);
        }
        touch_version(&txn);
        Ok(())
    })
    .await
}

/// Makes every node look again.
pub fn touch_version(txn: &Txn) {
    txn.put(version_key(), Bytes::copy_from_slice(&txn.id().0.to_be_bytes()));
}
