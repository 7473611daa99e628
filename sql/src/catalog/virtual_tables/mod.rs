//! Tables that are computed: pg_catalog and information_schema, as PostgreSQL 15 has them.
//!
//! Their columns stand in `columns.txt`, all of them, so that clients find what they expect. A relation has a fill
//! function if there is something to show ([`FILLS`]); the others are empty, because we have no such objects.

mod activity;
mod builtin;
mod constraints;
pub mod definition;
mod information_schema;
mod objects;
mod relations;
mod rows;
mod text;

use std::sync::{Arc, LazyLock};

use meridian_txn::Txn;
use rustc_hash::FxHashMap;

pub use definition::definition;
pub use rows::Rows;

use super::{Catalog, CatalogCache, DatabaseId};
use crate::error::{SqlError, SqlResult, state};
use crate::plan::{Field, Schema};
use crate::types::{Batch, Oid, SqlType};

/// What the rows are computed from.
pub struct Source<'a> {
    pub catalog: &'a Catalog,
    pub cache: &'a CatalogCache,
    pub database: DatabaseId,
    pub txn: &'a Txn,
    /// The node's sessions and the session's settings.
    pub node: &'a dyn NodeState,
}

/// What the catalog does not know by itself.
pub trait NodeState: Send + Sync {
    /// The sessions of this node.
    fn sessions(&self) -> Vec<SessionInfo>;
    fn settings(&self) -> Vec<SettingInfo>;
}

/// A row of pg_stat_activity.
#[derive(Clone, Debug, Default)]
pub struct SessionInfo {
    pub pid: i32,
    pub user: String,
    pub database: String,
    pub application: String,
    pub state: &'static str,
    pub query: String,
    /// Microseconds since 2000-01-01 UTC.
    pub started: i64,
    pub query_started: Option<i64>,
    pub transaction_started: Option<i64>,
}

/// A row of pg_settings.
#[derive(Clone, Debug, Default)]
pub struct SettingInfo {
    pub name: String,
    pub value: String,
    pub default: String,
    pub description: String,
    /// bool, integer, real, enum or string.
    pub kind: &'static str,
    pub read_only: bool,
}

/// A relation of `columns.txt`.
pub struct VirtualTable {
    pub schema: &'static str,
    pub name: &'static str,
    pub oid: Oid,
    /// pg_class.relkind
    pub kind: char,
    pub columns: Schema,
}

static TABLES: LazyLock<Vec<VirtualTable>> = LazyLock::new(|| {
    let lines = include_str!("columns.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| parse(line).expect("columns.txt is well formed")).collect()
});

static BY_NAME: LazyLock<FxHashMap<(&'static str, &'static str), usize>> =
    LazyLock::new(|| TABLES.iter().enumerate().map(|(n, t)| ((t.schema, t.name), n)).collect());

fn parse(line: &'static str) -> Option<VirtualTable> {
    let mut words = line.split_ascii_whitespace();
    let (schema, name) = words.next()?.split_once('.')?;
    let oid = Oid(words.next()?.parse().ok()?);
    let kind = words.next()?.chars().next()?;
    let mut columns = Vec::new();
    for (n, column) in words.enumerate() {
        let (name, ty) = column.split_once(':')?;
        columns.push(Field {
            name: name.to_owned(),
            ty: SqlType::new(Oid(ty.parse().ok()?)),
            origin: Some((oid.0, n as i16 + 1)),
        });
    }
    Some(VirtualTable { schema, name, oid, kind, columns: Arc::new(columns) })
}

/// All of them, by schema and name.
pub fn all() -> &'static [VirtualTable] {
    &TABLES
}

fn find(schema: &str, name: &str) -> Option<&'static VirtualTable> {
    // The map's keys live as long as the program; a lookup's key need not.
    TABLES.get(*BY_NAME.get(&(schema, name) as &(&str, &str))?)
}

/// The columns of a computed relation.
pub fn lookup(schema: &str, name: &str) -> Option<Schema> {
    find(schema, name).map(|t| t.columns.clone())
}

/// (schema, name) of a computed relation.
pub fn name_of(oid: Oid) -> Option<(&'static str, &'static str)> {
    TABLES.iter().find(|t| t.oid == oid).map(|t| (t.schema, t.name))
}

pub fn oid_of(schema: &str, name: &str) -> Option<Oid> {
    find(schema, name).map(|t| t.oid)
}

/// An identifier as SQL text, quoted if it has to be.
pub fn quote_ident(name: &str) -> String {
    crate::registry::functions::string::quote_identifier(name)
}

type Fill = fn(&Source<'_>, &mut Rows) -> SqlResult<()>;

/// What has rows.
const FILLS: &[(&str, Fill)] = &[
    ("pg_catalog.pg_class", relations::pg_class),
    ("pg_catalog.pg_attribute", relations::pg_attribute),
    ("pg_catalog.pg_attrdef", relations::pg_attrdef),
    ("pg_catalog.pg_index", relations::pg_index),
    ("pg_catalog.pg_sequence", relations::pg_sequence),
    ("pg_catalog.pg_tables", relations::pg_tables),
    ("pg_catalog.pg_views", relations::pg_views),
    ("pg_catalog.pg_indexes", relations::pg_indexes),
    ("pg_catalog.pg_stat_user_tables", relations::pg_stat_tables),
    ("pg_catalog.pg_stat_all_tables", relations::pg_stat_tables),
    ("pg_catalog.pg_constraint", constraints::pg_constraint),
    ("pg_catalog.pg_depend", constraints::pg_depend),
    ("pg_catalog.pg_namespace", objects::pg_namespace),
    ("pg_catalog.pg_database", objects::pg_database),
    ("pg_catalog.pg_roles", objects::pg_roles),
    ("pg_catalog.pg_authid", objects::pg_authid),
    ("pg_catalog.pg_user", objects::pg_user),
    ("pg_catalog.pg_description", objects::pg_description),
    ("pg_catalog.pg_shdescription", objects::pg_shdescription),
    ("pg_catalog.pg_tablespace", objects::pg_tablespace),
    ("pg_catalog.pg_am", objects::pg_am),
    ("pg_catalog.pg_collation", objects::pg_collation),
    ("pg_catalog.pg_language", objects::pg_language),
    ("pg_catalog.pg_type", builtin::pg_type),
    ("pg_catalog.pg_proc", builtin::pg_proc),
    ("pg_catalog.pg_operator", builtin::pg_operator),
    ("pg_catalog.pg_cast", builtin::pg_cast),
    ("pg_catalog.pg_aggregate", builtin::pg_aggregate),
    ("pg_catalog.pg_settings", activity::pg_settings),
    ("pg_catalog.pg_stat_activity", activity::pg_stat_activity),
    ("information_schema.schemata", information_schema::schemata),
    ("information_schema.tables", information_schema::tables),
    ("information_schema.columns", information_schema::columns),
    ("information_schema.views", information_schema::views),
    ("information_schema.sequences", information_schema::sequences),
    ("information_schema.table_constraints", information_schema::table_constraints),
    ("information_schema.key_column_usage", information_schema::key_column_usage),
    ("information_schema.referential_constraints", information_schema::referential_constraints),
    ("information_schema.constraint_column_usage", information_schema::constraint_column_usage),
    ("information_schema.check_constraints", information_schema::check_constraints),
];

/// All rows of a computed relation, by `schema.name`.
pub async fn rows(source: &Source<'_>, name: &str) -> SqlResult<Vec<Batch>> {
    let table = name.split_once('.').and_then(|(schema, name)| find(schema, name)).ok_or_else(|| {
        SqlError::new(state::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
    })?;
    let mut rows = Rows::new(&table.columns);
    if name == "pg_catalog.pg_sequences" {
        relations::pg_sequences(source, &mut rows).await?;
    } else if let Some((_, fill)) = FILLS.iter().find(|(n, _)| *n == name) {
        fill(source, &mut rows)?;
    }
    Ok(rows.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fill_is_of_a_relation_that_there_is() {
        for (name, _) in FILLS {
            let (schema, table) = name.split_once('.').unwrap();
            assert!(lookup(schema, table).is_some(), "{name}");
        }
        assert_eq!(lookup("pg_catalog", "pg_class").unwrap()[1].name, "relname");
        assert_eq!(oid_of("pg_catalog", "pg_class"), Some(Oid(1259)));
        assert_eq!(name_of(Oid(1259)), Some(("pg_catalog", "pg_class")));
    }
}
