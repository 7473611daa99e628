//! What ANALYZE is about, and where its findings go.

use std::sync::Arc;

use meridian_txn::Txn;

use super::names::undefined_schema;
use crate::bind::{fold, object_name_parts};
use crate::catalog::store::Change;
use crate::catalog::virtual_tables::VirtualTable;
use crate::catalog::{
    Catalog, DatabaseId, SchemaId, SessionCatalog, TableDescriptor, TableId, TableStatistics, virtual_tables,
};
use crate::error::{SqlError, SqlResult, state};
use crate::parse::VacuumTable;
use crate::parse::ast::{Ident, ObjectName};

/// What VACUUM or ANALYZE is about.
#[derive(Default)]
pub struct AnalyzeTargets {
    pub tables: Vec<TableId>,
    /// Names of relations that have nothing to be vacuumed or analyzed.
    pub skipped: Vec<String>,
}

/// What a name in a statement like VACUUM or REINDEX means.
pub enum Target<'c> {
    Table(&'c Arc<TableDescriptor>),
    /// Computed when it is asked for.
    System(&'static VirtualTable),
    /// An index, with its name.
    Index(&'c str),
    /// A view or a sequence, with its name.
    Other(&'c str),
}

/// The tables named, or all of the database.
pub fn analyze_targets(
    catalog: &Catalog,
    database: DatabaseId,
    search_path: &[SchemaId],
    named: &[VacuumTable],
) -> SqlResult<AnalyzeTargets> {
    let mut targets = AnalyzeTargets::default();
    if named.is_empty() {
        let tables = catalog.tables.values().filter(|t| t.database == database && t.is_table());
        targets.tables = tables.map(|t| t.id).collect();
    }
    for target in named {
        match find_target(catalog, database, search_path, &target.name)? {
            Target::Table(table) => {
                let known = |column: &str| table.column_named(column).is_some();
                check_columns(&table.name, &target.columns, known)?;
                targets.tables.push(table.id);
            }
            Target::System(table) => {
                let known = |column: &str| table.columns.iter().any(|f| f.name == column);
                check_columns(table.name, &target.columns, known)?;
            }
            Target::Index(name) | Target::Other(name) => targets.skipped.push(name.into()),
        }
    }
    Ok(targets)
}

/// Statistics are always of all columns; those named have to exist.
fn check_columns(table: &str, columns: &[Ident], known: impl Fn(&str) -> bool) -> SqlResult<()> {
    let names: Vec<_> = columns.iter().map(fold).collect();
    for (n, name) in names.iter().enumerate() {
        let (code, what) = match known(name) {
            false => (state::UNDEFINED_COLUMN, "does not exist"),
            true if names[..n].contains(name) => (state::DUPLICATE_COLUMN, "appears more than once"),
            true => continue,
        };
        return Err(SqlError::new(code, format!("column \"{name}\" of relation \"{table}\" {what}")));
    }
    Ok(())
}

/// The relation or index of that name.
pub fn find_target<'c>(
    catalog: &'c Catalog,
    database: DatabaseId,
    search_path: &[SchemaId],
    target: &ObjectName,
) -> SqlResult<Target<'c>> {
    let parts: Vec<&Ident> = object_name_parts(target)?;
    let in_schema = |schema: SchemaId, name: &str| match catalog.relation(schema, name) {
        Some(table) if table.is_table() => Some(Target::Table(table)),
        Some(other) => Some(Target::Other(&other.name)),
        None => catalog.index_named(schema, name).map(|(_, index)| Target::Index(&index.name)),
    };
    let computed = |schema: &str, name: &str| {
        let table = virtual_tables::all().iter().find(|t| t.schema == schema && t.name == name)?;
        Some(if table.kind == 'r' { Target::System(table) } else { Target::Other(table.name) })
    };
    let found = match parts[..] {
        [name] => {
            let name = fold(name);
            let found = search_path.iter().find_map(|s| in_schema(*s, &name));
            found.or_else(|| computed("pg_catalog", &name))
        }
        [.., schema, name] => {
            let (schema, name) = (fold(schema), fold(name));
            let Some(within) = catalog.schema_named(database, &schema) else {
                return Err(undefined_schema(&schema));
            };
            in_schema(within.id, &name).or_else(|| computed(&schema, &name))
        }
        [] => None,
    };
    found
        .ok_or_else(|| SqlError::new(state::UNDEFINED_TABLE, format!("relation \"{target}\" does not exist")))
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
