//! Rows and keys as error messages show them.

use super::ExecContext;
use super::write::public_columns;
use crate::catalog::TableDescriptor;
use crate::types::{Batch, Datum, Oid};

/// Longer values are cut in messages, as PostgreSQL cuts them.
const SHOWN_BYTES: usize = 64;

/// `Failing row contains (1, null).`
pub fn failing_row(table: &TableDescriptor, rows: &Batch, row: usize, ctx: &ExecContext) -> String {
    let shown = public_columns(table).enumerate().filter(|(_, c)| !c.hidden);
    let values: Vec<String> = shown
        .map(|(i, c)| {
            let mut text = value(&rows.columns[i].datum(row), c.ty.oid, ctx);
            if text.len() > SHOWN_BYTES {
                let end = (0..=SHOWN_BYTES).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
                text.truncate(end);
                text.push_str("...");
            }
            text
        })
        .collect();
    format!("Failing row contains ({}).", values.join(", "))
}

/// `(a, b)=(1, 2)`
pub fn key(
    table: &TableDescriptor,
    positions: &[usize],
    rows: &Batch,
    row: usize,
    ctx: &ExecContext,
) -> String {
    let columns: Vec<_> = public_columns(table).collect();
    let names: Vec<&str> = positions.iter().map(|&p| columns[p].name.as_str()).collect();
    let values: Vec<String> =
        positions.iter().map(|&p| value(&rows.columns[p].datum(row), columns[p].ty.oid, ctx)).collect();
    format!("({})=({})", names.join(", "), values.join(", "))
}

pub fn value(value: &Datum, ty: Oid, ctx: &ExecContext) -> String {
    if value.is_null() {
        return "null".into();
    }
    crate::types::text::output(ty, value, &ctx.eval().text())
}

/// The name of a table's schema.
pub fn schema_name<'c>(table: &TableDescriptor, ctx: &'c ExecContext) -> &'c str {
    ctx.statement.catalog.schemas.get(&table.schema).map_or("", |s| s.name.as_str())
}
