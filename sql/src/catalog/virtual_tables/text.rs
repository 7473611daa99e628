//! Indexes and constraints as SQL text, in PostgreSQL's form.

use super::quote_ident;
use crate::catalog::{
    Catalog, CheckConstraint, ColumnDescriptor, ColumnId, FkAction, ForeignKey, IndexDescriptor,
    TableDescriptor,
};
use crate::registry::format_type;
use crate::types::SqlType;

pub fn qualified(catalog: &Catalog, table: &TableDescriptor) -> String {
    format!("{}.{}", quote_ident(catalog.schema_name(table.schema)), quote_ident(&table.name))
}

fn column_name(table: &TableDescriptor, id: ColumnId) -> String {
    table.column(id).map_or_else(String::new, |c| quote_ident(&c.name))
}

fn column_list(table: &TableDescriptor, ids: impl Iterator<Item = ColumnId>) -> String {
    ids.map(|id| column_name(table, id)).collect::<Vec<_>>().join(", ")
}

/// `pg_get_indexdef(oid)`
pub fn index(catalog: &Catalog, table: &TableDescriptor, index: &IndexDescriptor) -> String {
    let key: Vec<String> = (0..index.key.len()).map(|n| index_column(table, index, n, true)).collect();
    let mut text = format!(
        "CREATE {}INDEX {} ON {} USING btree ({})",
        if index.unique { "UNIQUE " } else { "" },
        quote_ident(&index.name),
        qualified(catalog, table),
        key.join(", ")
    );
    if !index.include.is_empty() {
        text += &format!(" INCLUDE ({})", column_list(table, index.include.iter().copied()));
    }
    if let Some(predicate) = &index.predicate {
        text += &format!(" WHERE ({predicate})");
    }
    text
}

/// One column of an index, with its order if it is not the default.
pub fn index_column(table: &TableDescriptor, index: &IndexDescriptor, n: usize, with_order: bool) -> String {
    let Some(part) = index.key.get(n) else {
        return index.include.get(n - index.key.len()).map_or_else(String::new, |c| column_name(table, *c));
    };
    let mut text = column_name(table, part.column);
    if with_order {
        if part.descending {
            text += " DESC";
        }
        match (part.descending, part.nulls_first) {
            (false, true) => text += " NULLS FIRST",
            (true, false) => text += " NULLS LAST",
            _ => {}
        }
    }
    text
}

/// `pg_get_constraintdef(oid)` of a key.
pub fn key_constraint(table: &TableDescriptor, index: &IndexDescriptor) -> String {
    let mut text = format!(
        "{} ({})",
        if index.is_primary_key { "PRIMARY KEY" } else { "UNIQUE" },
        column_list(table, index.key.iter().map(|k| k.column))
    );
    if !index.include.is_empty() {
        text += &format!(" INCLUDE ({})", column_list(table, index.include.iter().copied()));
    }
    text
}

pub fn check_constraint(check: &CheckConstraint) -> String {
    format!("CHECK (({})){}", check.expr, if check.validated { "" } else { " NOT VALID" })
}

pub fn foreign_key(catalog: &Catalog, table: &TableDescriptor, key: &ForeignKey) -> String {
    let Some(target) = catalog.tables.get(&key.references) else { return String::new() };
    // PostgreSQL qualifies what the search path does not find; `public` it does.
    let name = match catalog.schema_name(target.schema) {
        "public" => quote_ident(&target.name),
        _ => qualified(catalog, target),
    };
    let mut text = format!(
        "FOREIGN KEY ({}) REFERENCES {name}({})",
        column_list(table, key.columns.iter().copied()),
        column_list(target, key.referenced_columns.iter().copied())
    );
    if key.match_full {
        text += " MATCH FULL";
    }
    for (event, action) in [("UPDATE", key.on_update), ("DELETE", key.on_delete)] {
        let action = match action {
            FkAction::NoAction => continue,
            FkAction::Restrict => "RESTRICT",
            FkAction::Cascade => "CASCADE",
            FkAction::SetNull => "SET NULL",
            FkAction::SetDefault => "SET DEFAULT",
        };
        text += &format!(" ON {event} {action}");
    }
    if !key.validated {
        text += " NOT VALID";
    }
    text
}

/// A default as clients show it: sequences of `public` without their schema, string literals with their type.
pub fn default(column: &ColumnDescriptor) -> String {
    let text = column.default.as_deref().unwrap_or_default();
    let inner = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\''));
    if inner.is_some_and(|t| !t.replace("''", "").contains('\'')) {
        return format!("{text}::{}", format_type(SqlType::new(column.ty.oid)));
    }
    text.replace("nextval('public.", "nextval('")
}
