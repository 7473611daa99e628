//! pg_constraint and pg_depend.

use super::definition::constraint_oid;
use super::relations::tables;
use super::{Rows, Source};
use crate::catalog::{FkAction, TableDescriptor};
use crate::error::SqlResult;
use crate::types::Oid;

const PG_CLASS: Oid = Oid(1259);

pub fn pg_constraint(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in tables(source).filter(|t| t.is_table()) {
        for index in table.all_indexes().filter(|i| i.constraint) {
            common(rows, table)
                .set("oid", constraint_oid(index.oid))
                .set("conname", &index.name)
                .set("contype", if index.is_primary_key { 'p' } else { 'u' })
                .set("conindid", index.oid)
                .set(
                    "conkey",
                    index.key.iter().map(|k| i32::from(table.attribute_number(k.column))).collect::<Vec<_>>(),
                )
                .push();
        }
        for check in &table.checks {
            let columns = table.visible_columns().filter(|c| mentions(&check.expr, &c.name));
            let columns: Vec<i32> = columns.map(|c| c.id.0 as i32).collect();
            common(rows, table)
                .set("oid", check.oid)
                .set("conname", &check.name)
                .set("contype", 'c')
                .set("convalidated", check.validated)
                .set("connoinherit", false)
                .set("conkey", columns)
                .set("conbin", &check.expr)
                .push();
        }
        foreign_keys(source, table, rows);
    }
    Ok(())
}

/// Whether a word of the expression is the column's name: for conkey, which is for display.
fn mentions(expr: &str, column: &str) -> bool {
    expr.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == column)
}

fn common<'r>(rows: &'r mut Rows, table: &TableDescriptor) -> &'r mut Rows {
    rows.set("connamespace", table.schema.0)
        .set("conrelid", table.id.0)
        .set_all(&["contypid", "conindid", "conparentid", "confrelid", "coninhcount"], 0)
        .set_all(&["condeferrable", "condeferred"], false)
        .set_all(&["convalidated", "conislocal", "connoinherit"], true)
        .set_all(&["confupdtype", "confdeltype", "confmatchtype"], ' ')
}

fn action(action: FkAction) -> char {
    match action {
        FkAction::NoAction => 'a',
        FkAction::Restrict => 'r',
        FkAction::Cascade => 'c',
        FkAction::SetNull => 'n',
        FkAction::SetDefault => 'd',
    }
}

fn foreign_keys(source: &Source<'_>, table: &TableDescriptor, rows: &mut Rows) {
    for key in &table.foreign_keys {
        let Some(target) = source.catalog.tables.get(&key.references) else { continue };
        let index = target.all_indexes().find(|i| {
            i.unique
                && i.key.len() == key.referenced_columns.len()
                && i.key.iter().all(|k| key.referenced_columns.contains(&k.column))
        });
        common(rows, table)
            .set("oid", key.oid)
            .set("conname", &key.name)
            .set("contype", 'f')
            .set("convalidated", key.validated)
            .set("conindid", index.map_or(0, |i| i.oid.0))
            .set("confrelid", key.references.0)
            .set("confupdtype", action(key.on_update))
            .set("confdeltype", action(key.on_delete))
            .set("confmatchtype", if key.match_full { 'f' } else { 's' })
            .set("conkey", key.columns.iter().map(|c| c.0 as i32).collect::<Vec<_>>())
            .set("confkey", key.referenced_columns.iter().map(|c| c.0 as i32).collect::<Vec<_>>())
            .push();
    }
}

/// The sequences of serial and identity columns: what clients look for in pg_depend.
pub fn pg_depend(source: &Source<'_>, rows: &mut Rows) -> SqlResult<()> {
    for table in tables(source) {
        for column in table.visible_columns() {
            let Some(sequence) = column.owned_sequence else { continue };
            rows.set("classid", PG_CLASS)
                .set("objid", sequence.0)
                .set("objsubid", 0)
                .set("refclassid", PG_CLASS)
                .set("refobjid", table.id.0)
                .set("refobjsubid", column.id.0)
                .set("deptype", if column.identity.is_some() { 'i' } else { 'a' })
                .push();
        }
    }
    Ok(())
}
