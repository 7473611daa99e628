//! What `pg_get_indexdef`, `pg_get_constraintdef`, `pg_get_viewdef`, `obj_description` and their kin answer.

use super::text;
use crate::catalog::{Catalog, ColumnId, DatabaseId, TableDescriptor, TableId, TableKind};
use crate::error::SqlResult;
use crate::registry::context::DefinitionKind;
use crate::types::Oid;

/// The text of an object; `None` if there is none.
pub fn definition(
    catalog: &Catalog,
    _database: DatabaseId,
    kind: DefinitionKind,
    oid: Oid,
    column: i32,
) -> SqlResult<Option<String>> {
    Ok(match kind {
        DefinitionKind::Index => index(catalog, oid, column),
        DefinitionKind::Constraint => constraint(catalog, oid),
        DefinitionKind::View => match catalog.tables.get(&TableId(oid.0)).map(|t| &t.kind) {
            Some(TableKind::View { query }) => Some(format!(" {query};")),
            _ => None,
        },
        DefinitionKind::Default => default_of(catalog, oid),
        DefinitionKind::Comment => {
            let found = catalog.comments.iter().find(|((_, object, at), _)| *object == oid && *at == column);
            found.map(|(_, text)| text.to_string())
        }
    })
}

fn index(catalog: &Catalog, oid: Oid, column: i32) -> Option<String> {
    let (table, index) = catalog.index_by_oid(oid).filter(|(_, i)| i.has_name())?;
    Some(match column {
        0 => text::index(catalog, table, index),
        n => {
            let n = usize::try_from(n - 1).ok().filter(|n| *n < index.key.len() + index.include.len());
            n.map_or_else(String::new, |n| text::index_column(table, index, n, false))
        }
    })
}

fn constraint(catalog: &Catalog, oid: Oid) -> Option<String> {
    for table in catalog.tables.values() {
        if let Some(index) = table.all_indexes().find(|i| i.constraint && constraint_oid(i.oid) == oid) {
            return Some(text::key_constraint(table, index));
        }
        if let Some(check) = table.checks.iter().find(|c| c.oid == oid) {
            return Some(text::check_constraint(check));
        }
        if let Some(key) = table.foreign_keys.iter().find(|k| k.oid == oid) {
            return Some(text::foreign_key(catalog, table, key));
        }
    }
    None
}

/// A key constraint and its index are one object here; pg_constraint and pg_class may use one OID, as they are
/// different catalogs.
pub fn constraint_oid(index: Oid) -> Oid {
    index
}

/// The OID in pg_attrdef of a column's default: the column's place among its table's, in a range of its own.
pub fn default_oid(table: TableId, column: ColumnId) -> Oid {
    Oid(0x8000_0000 | (table.0 & 0x000f_ffff) << 11 | (column.0 & 0x7ff))
}

fn default_of(catalog: &Catalog, oid: Oid) -> Option<String> {
    let of = |t: &TableDescriptor| {
        let column = t.columns.iter().find(|c| default_oid(t.id, c.id) == oid)?;
        column.default.is_some().then(|| text::default(column))
    };
    catalog.tables.values().find_map(|t| of(t))
}
