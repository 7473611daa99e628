//! Descriptors: the schema objects as they are stored under `system/catalog/` and cached in every node.
//!
//! What must stay true: a column, index or constraint id is never reused within its table; a stored row names its
//! columns by id, so that adding and dropping columns touches no row; an element's [`ElementState`] says which
//! statements maintain and see it, in the order in which online schema changes advance (Rae et al., "Online,
//! Asynchronous Schema Change in F1", 2013).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::Timestamp;

use crate::types::{Oid, SqlType};

/// Also the table's OID in pg_class.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TableId(pub u32);
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ColumnId(pub u32);
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IndexId(pub u32);
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SchemaId(pub u32);
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DatabaseId(pub u32);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElementState {
    /// Deletes maintain it; nothing else knows it.
    DeleteOnly,
    /// All writes maintain it; reads do not see it. The backfill runs in this state.
    WriteOnly,
    Public,
    /// On its way out; like `DeleteOnly` after one step.
    Dropping,
}

#[derive(Clone, Debug)]
pub struct TableDescriptor {
    pub id: TableId,
    pub database: DatabaseId,
    pub schema: SchemaId,
    pub name: String,
    /// Grows by one with every change.
    pub version: u64,
    pub kind: TableKind,
    /// In order of creation; dropped columns are gone, their ids are not reused.
    pub columns: Vec<ColumnDescriptor>,
    pub next_column: u32,
    /// The row store: key columns are the primary key (or the hidden `rowid`), all other columns are in the value.
    pub primary: IndexDescriptor,
    pub indexes: Vec<IndexDescriptor>,
    pub next_index: u32,
    pub checks: Vec<CheckConstraint>,
    pub foreign_keys: Vec<ForeignKey>,
    pub next_constraint: u32,
}

#[derive(Clone, Debug)]
pub enum TableKind {
    Table,
    /// The query's text, re-bound at use, and its column names.
    View {
        query: String,
    },
    Sequence(SequenceOptions),
}

#[derive(Clone, Debug)]
pub struct ColumnDescriptor {
    pub id: ColumnId,
    pub name: String,
    pub ty: SqlType,
    pub not_null: bool,
    /// SQL text, re-bound at use.
    pub default: Option<String>,
    /// For GENERATED AS IDENTITY and serial: the sequence that belongs to the column.
    pub owned_sequence: Option<TableId>,
    pub identity: Option<Identity>,
    /// Not shown by `SELECT *` and not nameable by INSERT without a column list: the row id of a table without a primary key.
    pub hidden: bool,
    pub state: ElementState,
    /// What rows that were stored before the column was added hold for it, encoded as in a row's value.
    pub missing_value: Option<Arc<[u8]>>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Identity {
    Always,
    ByDefault,
}

#[derive(Clone, Debug)]
pub struct IndexDescriptor {
    pub id: IndexId,
    /// Also the constraint's name if it stands for one.
    pub name: String,
    /// Its own OID in pg_class.
    pub oid: Oid,
    pub unique: bool,
    /// Stands for a PRIMARY KEY or UNIQUE constraint rather than a bare index.
    pub constraint: bool,
    /// False for the hidden primary index over `rowid`.
    pub is_primary_key: bool,
    pub key: Vec<IndexColumn>,
    /// Stored beside the key, for index-only reads.
    pub include: Vec<ColumnId>,
    /// WHERE clause of a partial index (SQL text).
    pub predicate: Option<String>,
    pub state: ElementState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexColumn {
    pub column: ColumnId,
    pub descending: bool,
    /// PostgreSQL's default: NULLs last when ascending, first when descending.
    pub nulls_first: bool,
}

#[derive(Clone, Debug)]
pub struct CheckConstraint {
    pub oid: Oid,
    pub name: String,
    /// SQL text over the table's columns.
    pub expr: String,
    /// False while existing rows have not been checked (new writes are).
    pub validated: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FkAction {
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

#[derive(Clone, Debug)]
pub struct ForeignKey {
    pub oid: Oid,
    pub name: String,
    pub columns: Vec<ColumnId>,
    pub references: TableId,
    pub referenced_columns: Vec<ColumnId>,
    pub on_delete: FkAction,
    pub on_update: FkAction,
    /// MATCH FULL; otherwise SIMPLE.
    pub match_full: bool,
    pub validated: bool,
}

#[derive(Clone, Debug)]
pub struct SequenceOptions {
    pub ty: Oid,
    pub start: i64,
    pub increment: i64,
    pub min: i64,
    pub max: i64,
    pub cycle: bool,
    pub cache: i64,
}

#[derive(Clone, Debug)]
pub struct SchemaDescriptor {
    pub id: SchemaId,
    pub database: DatabaseId,
    pub name: String,
}

#[derive(Clone, Debug)]
pub struct DatabaseDescriptor {
    pub id: DatabaseId,
    pub name: String,
}

/// Everything that exists, at one version: immutable, shared by all sessions of a node. A transaction that changes the
/// schema works on its own modified copy until it commits.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// Grows by one with every committed schema change in the cluster.
    pub version: u64,
    /// The stored version mark that it belongs to: two catalogs of the same mark hold the same.
    pub mark: Option<Bytes>,
    pub databases: BTreeMap<DatabaseId, Arc<DatabaseDescriptor>>,
    pub schemas: BTreeMap<SchemaId, Arc<SchemaDescriptor>>,
    /// Tables, views and sequences.
    pub tables: BTreeMap<TableId, Arc<TableDescriptor>>,
    /// (schema, name) of every table, view and sequence.
    pub names: BTreeMap<(SchemaId, String), TableId>,
    /// (schema, name) of every secondary index and of every primary key; they share the relations' name space.
    pub index_names: BTreeMap<(SchemaId, String), (TableId, IndexId)>,
    /// Foreign keys by the table that they reference: (referencing table, position in its list).
    pub inbound: BTreeMap<TableId, Vec<(TableId, usize)>>,
    /// Row counts and distinct counts, by table.
    pub statistics: BTreeMap<TableId, Arc<TableStatistics>>,
    /// By the OIDs of the catalog and of the object in it, and the column's number (0: the object itself).
    pub comments: BTreeMap<(Oid, Oid, i32), Arc<str>>,
    pub roles: BTreeMap<Oid, Arc<RoleDescriptor>>,
    /// From when on each table's descriptor is known to be the newest: a transaction with an older snapshot must not
    /// read the table through it. Tables that are not listed have not changed since the node started.
    pub since: BTreeMap<TableId, Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleDescriptor {
    pub oid: Oid,
    pub name: String,
    pub superuser: bool,
    pub can_login: bool,
    /// As given, or SCRAM-SHA-256's verifier.
    pub password: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct TableStatistics {
    pub rows: f64,
    /// Distinct values and share of NULLs, by column.
    pub columns: BTreeMap<ColumnId, ColumnStatistics>,
}

#[derive(Clone, Debug, Default)]
pub struct ColumnStatistics {
    pub distinct: f64,
    pub null_fraction: f64,
    /// Average bytes.
    pub width: f64,
}
