//! What ANALYZE is about, and where its findings go.

use std::sync::Arc;

use meridian_txn::Txn;

use crate::bind::{fold, object_name_parts};
use crate::catalog::store::Change;
use crate::catalog::{
    Catalog, DatabaseId, SchemaId, SessionCatalog, TableDescriptor, TableId, TableStatistics,
};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::VacuumTable;
use crate::parse::ast::Ident;

/// The tables that VACUUM or ANALYZE is about: those named, or all of the database.
pub fn analyze_targets(
    catalog: &Catalog,
    database: DatabaseId,
    search_path: &[SchemaId],
    named: &[VacuumTable],
) -> SqlResult<Vec<TableId>> {
    if named.is_empty() {
        let tables = catalog.tables.values().filter(|t| t.database == database && t.is_table());
        return Ok(tables.map(|t| t.id).collect());
    }
    named.iter().map(|target| Ok(find(catalog, database, search_path, target)?.id)).collect()
}

fn find<'c>(
    catalog: &'c Catalog,
    database: DatabaseId,
    search_path: &[SchemaId],
    target: &VacuumTable,
) -> SqlResult<&'c Arc<TableDescriptor>> {
    let parts: Vec<&Ident> = object_name_parts(&target.name)?;
    let found = match parts[..] {
        [name] => search_path.iter().find_map(|s| catalog.relation(*s, &fold(name))),
        [.., schema, name] => {
            catalog.schema_named(database, &fold(schema)).and_then(|s| catalog.relation(s.id, &fold(name)))
        }
        [] => None,
    };
    let found = found.ok_or_else(|| {
        SqlError::new(state::UNDEFINED_TABLE, format!("relation \"{}\" does not exist", target.name))
    })?;
    if !found.is_table() {
        return Err(SqlError::new(state::WRONG_OBJECT_TYPE, format!("\"{}\" is not a table", found.name)));
    }
    Ok(found)
}

/// Keeps the statistics of a table, as a part of the transaction.
pub fn store_statistics(
    txn: &Txn,
    catalog: &mut SessionCatalog,
    table: TableId,
    statistics: TableStatistics,
) -> SqlResult<()> {
    catalog.change(txn, Change::Statistics(table, Some(Arc::new(statistics))));
    Ok(())
}
