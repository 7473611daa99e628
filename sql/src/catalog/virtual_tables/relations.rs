//! pg_class and what hangs on it: columns, defaults, indexes, sequences; and the views for people over them.

use super::definition::default_oid;
use super::{Rows, Source, VirtualTable, all, text};
use crate::catalog::bootstrap::SUPERUSER;
use crate::catalog::{
    CATALOG_SCHEMA, ColumnDescriptor, ElementState, INFORMATION_SCHEMA, Identity, IndexDescriptor, SchemaId,
    TableDescriptor, TableKind,
};
use crate::error::SqlResult;
use crate::registry::{element_of, format_type, type_info};
use crate::types::{Oid, SqlType};

/// pg_am: heap and btree.
pub const HEAP: Oid = Oid(2);
pub const BTREE: Oid = Oid(403);
/// pg_collation: default.
const DEFAULT_COLLATION: Oid = Oid(100);

/// The relations of the database.
pub fn tables<'a>(source: &'a Source<'_>) -> impl Iterator<Item = &'a TableDescriptor> {
    source.catalog.tables.values().map(|t| &**t).filter(|t| t.database == source.database)
}

/// Tables with their indexes, those over the hidden row id left out.
pub fn indexes<'a>(
    source: &'a Source<'_>,
) -> impl Iterator<Item = (&'a TableDescriptor, &'a IndexDescriptor)> {
    tables(source)
        .filter(|t| t.is_table())
        .flat_map(|t| t.all_indexes().filter(|i| i.has_name()).map(move |i| (t, i)))
}

pub fn relkind(table: &TableDescriptor) -> char {
    match table.kind {
        TableKind::Table => 'r',
        TableKind::View { .. } => 'v',
        TableKind::Sequence(_) => 'S',
    }
}

pub fn schema_of(table: &VirtualTable) -> SchemaId {
    if table.schema == "pg_catalog" { CATALOG_SCHEMA } else { INFORMATION_SCHEMA }
}

/// The numbers of PostgreSQL's columns that we have nothing to say about.
fn class_defaults(rows: &mut Rows) -> &mut Rows {
    rows.set_all(&["reltype", "reloftype", "reltablespace", "reltoastrelid", "relrewrite"], 0)
        .set_all(&["relallvisible", "relchecks", "relfrozenxid", "relminmxid"], 0)
        .set_all(&["relisshared", "relhasrules", "relhastriggers", "relhassubclass"], false)
        .set_all(&["relrowsecurity", "relforcerowsecurity", "relispartition", "relhasindex"], false)
        .set("relispopulated", true)
        .set("relowner", SUPERUSER)
        .set("relpersistence", 'p')
        .set("relreplident", 'n')
        .set("relpages", 0)
        .set("reltuples", -1)
}

/// In PostgreSQL foreign keys are triggers, on both sides: psql looks for them only where there are any.
fn has_triggers(source: &Source<'_>, table: &TableDescriptor) -> bool {
    !table.foreign_keys.is_empty() || source.catalog.inbound.contains_key(&table.id)
}

pub fn pg_class(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in tables(source) {
        let statistics = source.catalog.statistics.get(&table.id);
        let storage = if table.is_table() { table.id.0 } else { 0 };
        class_defaults(rows)
            .set("oid", table.id.0)
            .set("relname", &table.name)
            .set("relnamespace", table.schema.0)
            .set("relam", if table.is_table() { HEAP.0 } else { 0 })
            .set("relfilenode", storage)
            .set("relhasindex", table.has_primary_key() || !table.indexes.is_empty())
            .set("relkind", relkind(table))
            .set("relnatts", table.visible_columns().count() as i32)
            .set("relchecks", table.checks.len() as i32)
            .set("relhastriggers", has_triggers(source, table))
            .set("relhasrules", matches!(table.kind, TableKind::View { .. }))
            .set("relreplident", if table.is_table() { 'd' } else { 'n' });
        if let Some(statistics) = statistics {
            rows.set("reltuples", statistics.rows).set("relpages", (statistics.rows / 60.0) as i32);
        }
        rows.push();
    }
    for (table, index) in indexes(source) {
        class_defaults(rows)
            .set("oid", index.oid)
            .set("relname", &index.name)
            .set("relnamespace", table.schema.0)
            .set("relam", BTREE)
            .set("relfilenode", index.oid)
            .set("relkind", 'i')
            .set("reltuples", source.catalog.statistics.get(&table.id).map_or(-1.0, |s| s.rows))
            .set("relnatts", (index.key.len() + index.include.len()) as i32)
            .push();
    }
    for table in all() {
        class_defaults(rows)
            .set("oid", table.oid)
            .set("relname", table.name)
            .set("relnamespace", schema_of(table).0)
            .set("relam", if table.kind == 'r' { HEAP.0 } else { 0 })
            .set("relfilenode", 0)
            .set("relkind", table.kind)
            .set("relnatts", table.columns.len() as i32)
            .push();
    }
    Ok(())
}

/// What a column's type says about it.
fn set_type(rows: &mut Rows, ty: SqlType) -> &mut Rows {
    let info = type_info(ty.oid);
    let len = info.map_or(-1, |t| t.len);
    let by_value = matches!(len, 1 | 2 | 4 | 8);
    let align = match len {
        1 => 'c',
        2 => 's',
        8 => 'd',
        _ => 'i',
    };
    let varying = len == -1;
    let text = info.is_some_and(|t| t.category == b'S');
    let dimensions = i32::from(element_of(ty.oid).is_some());
    rows.set("atttypid", ty.oid)
        .set("atttypmod", ty.typmod)
        .set("attlen", i32::from(len))
        .set("attbyval", by_value)
        .set("attalign", align)
        .set("attstorage", if varying { 'x' } else { 'p' })
        .set("attndims", dimensions)
        .set("attcollation", if text { DEFAULT_COLLATION.0 } else { 0 })
}

fn attribute_defaults(rows: &mut Rows) -> &mut Rows {
    rows.set_all(&["attnotnull", "atthasdef", "atthasmissing", "attisdropped"], false)
        .set_all(&["attidentity", "attgenerated", "attcompression"], "")
        .set("attstattarget", -1)
        .set("attcacheoff", -1)
        .set("attislocal", true)
        .set("attinhcount", 0)
}

pub fn pg_attribute(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in tables(source) {
        for column in table.visible_columns() {
            set_type(attribute_defaults(rows), column.ty)
                .set("attrelid", table.id.0)
                .set("attname", &column.name)
                .set("attnum", column.id.0)
                .set("attnotnull", column.not_null)
                .set("atthasdef", has_default(column))
                .set("atthasmissing", column.missing_value.is_some())
                .set("attidentity", identity(column))
                .push();
        }
        if table.sequence().is_some() {
            sequence_columns(table, rows);
        }
    }
    for (table, index) in indexes(source) {
        let columns = index.key.iter().map(|k| k.column).chain(index.include.iter().copied());
        for (n, column) in columns.enumerate() {
            let Some(column) = table.column(column) else { continue };
            set_type(attribute_defaults(rows), column.ty)
                .set("attrelid", index.oid)
                .set("attname", &column.name)
                .set("attnum", n as i32 + 1)
                .push();
        }
    }
    for table in all() {
        for (n, column) in table.columns.iter().enumerate() {
            set_type(attribute_defaults(rows), column.ty)
                .set("attrelid", table.oid)
                .set("attname", &column.name)
                .set("attnum", n as i32 + 1)
                .push();
        }
    }
    Ok(())
}

fn sequence_columns(sequence: &TableDescriptor, rows: &mut Rows) {
    let columns = [("last_value", Oid::INT8), ("log_cnt", Oid::INT8), ("is_called", Oid::BOOL)];
    for (n, (name, ty)) in columns.into_iter().enumerate() {
        set_type(attribute_defaults(rows), SqlType::new(ty))
            .set("attrelid", sequence.id.0)
            .set("attname", name)
            .set("attnum", n as i32 + 1)
            .set("attnotnull", true)
            .push();
    }
}

pub fn has_default(column: &ColumnDescriptor) -> bool {
    column.default.is_some() && column.identity.is_none()
}

fn identity(column: &ColumnDescriptor) -> &'static str {
    match column.identity {
        None => "",
        Some(Identity::Always) => "a",
        Some(Identity::ByDefault) => "d",
    }
}

pub fn pg_attrdef(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in tables(source) {
        for column in table.visible_columns().filter(|c| has_default(c)) {
            rows.set("oid", default_oid(table.id, column.id))
                .set("adrelid", table.id.0)
                .set("adnum", column.id.0)
                .set("adbin", text::default(column))
                .push();
        }
    }
    Ok(())
}

pub fn pg_index(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for (table, index) in indexes(source) {
        let columns: Vec<i32> = index
            .key
            .iter()
            .map(|k| k.column)
            .chain(index.include.iter().copied())
            .map(|c| table.attribute_number(c).into())
            .collect();
        let collation = |n: &i32| {
            let column = table.visible_columns().find(|c| c.id.0 as i32 == *n);
            let text = column.and_then(|c| type_info(c.ty.oid)).is_some_and(|t| t.category == b'S');
            if text { DEFAULT_COLLATION } else { Oid::INVALID }
        };
        let keys = &columns[..index.key.len()];
        // Bit 0: descending, bit 1: NULLs first.
        let options: Vec<i32> =
            index.key.iter().map(|k| i32::from(k.descending) | i32::from(k.nulls_first) << 1).collect();
        rows.set("indexrelid", index.oid)
            .set("indrelid", table.id.0)
            .set("indnatts", columns.len() as i32)
            .set("indnkeyatts", keys.len() as i32)
            .set("indisunique", index.unique)
            .set("indisprimary", index.is_primary_key)
            .set("indimmediate", true)
            .set_all(&["indnullsnotdistinct", "indisexclusion", "indisclustered"], false)
            .set_all(&["indcheckxmin", "indisreplident"], false)
            .set("indisvalid", index.state == ElementState::Public)
            .set_all(&["indisready", "indislive"], true)
            .set("indcollation", keys.iter().map(collation).collect::<Vec<_>>())
            .set("indclass", keys.iter().map(|_| Oid(1978)).collect::<Vec<_>>())
            .set("indoption", options)
            .set("indkey", columns)
            .set("indpred", index.predicate.as_ref())
            .push();
    }
    Ok(())
}

pub fn pg_sequence(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in tables(source) {
        let Some(s) = table.sequence() else { continue };
        rows.set("seqrelid", table.id.0)
            .set("seqtypid", s.ty)
            .set("seqstart", s.start)
            .set("seqincrement", s.increment)
            .set("seqmax", s.max)
            .set("seqmin", s.min)
            .set("seqcache", s.cache)
            .set("seqcycle", s.cycle)
            .push();
    }
    Ok(())
}

pub async fn pg_sequences(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in tables(source) {
        let Some(s) = table.sequence() else { continue };
        let sequences = source.cache.sequences();
        let state = match source.txn.reads_the_past() {
            true => sequences.peek_past(source.txn, table).await?,
            false => sequences.peek(table).await?,
        };
        rows.set("schemaname", source.catalog.schema_name(table.schema))
            .set("sequencename", &table.name)
            .set("sequenceowner", "postgres")
            .set("data_type", s.ty)
            .set("start_value", s.start)
            .set("min_value", s.min)
            .set("max_value", s.max)
            .set("increment_by", s.increment)
            .set("cycle", s.cycle)
            .set("cache_size", s.cache)
            .set("last_value", state.called.then_some(state.last))
            .push();
    }
    Ok(())
}

pub fn pg_tables(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in tables(source).filter(|t| t.is_table()) {
        rows.set("schemaname", source.catalog.schema_name(table.schema))
            .set("tablename", &table.name)
            .set("tableowner", "postgres")
            .set("hasindexes", table.has_primary_key() || !table.indexes.is_empty())
            .set("hastriggers", has_triggers(source, table))
            .set_all(&["hasrules", "rowsecurity"], false)
            .push();
    }
    for table in all().iter().filter(|t| t.kind == 'r') {
        rows.set("schemaname", table.schema)
            .set("tablename", table.name)
            .set("tableowner", "postgres")
            .set_all(&["hasindexes", "hastriggers", "hasrules", "rowsecurity"], false)
            .push();
    }
    Ok(())
}

pub fn pg_views(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in tables(source) {
        let TableKind::View { query } = &table.kind else { continue };
        rows.set("schemaname", source.catalog.schema_name(table.schema))
            .set("viewname", &table.name)
            .set("viewowner", "postgres")
            .set("definition", format!(" {query};"))
            .push();
    }
    Ok(())
}

pub fn pg_indexes(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for (table, index) in indexes(source) {
        rows.set("schemaname", source.catalog.schema_name(table.schema))
            .set("tablename", &table.name)
            .set("indexname", &index.name)
            .set("indexdef", text::index(source.catalog, table, index))
            .push();
    }
    Ok(())
}

/// pg_stat_user_tables and pg_stat_all_tables: what ANALYZE found; there are no counters of accesses.
pub fn pg_stat_tables(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in tables(source).filter(|t| t.is_table()) {
        let live = source.catalog.statistics.get(&table.id).map_or(0, |s| s.rows as i64);
        rows.set("relid", table.id.0)
            .set("schemaname", source.catalog.schema_name(table.schema))
            .set("relname", &table.name)
            .set("n_live_tup", live)
            .set("n_dead_tup", 0)
            .push();
    }
    Ok(())
}

/// A type as information_schema names it.
pub fn type_words(ty: SqlType) -> String {
    if element_of(ty.oid).is_some() { "ARRAY".into() } else { format_type(SqlType::new(ty.oid)) }
}
