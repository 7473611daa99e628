//! Proving that the rows that a table has satisfy a new constraint. Runs in the session's transaction, over a closed table.

use std::sync::Arc;

use meridian_txn::ScanOptions;

use super::SchemaContext;
use super::backfill::all_columns;
use super::references::{Reference, References};
use crate::bind::{Clause, bind_scalar};
use crate::catalog::{ColumnId, ForeignKey, TableDescriptor};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::expr::eval::{BatchRow, eval};
use crate::row::{IndexEncoder, RowDecoder};
use crate::types::{Batch, Datum};

/// A CHECK or the WHERE of an index over the table's public columns.
pub fn bind_condition(
    ctx: &SchemaContext<'_>,
    table: &TableDescriptor,
    text: &str,
    predicate: bool,
) -> SqlResult<Expr> {
    let snapshot = ctx.snapshot();
    let eval = ctx.eval();
    let clause = if predicate { Clause::IndexPredicate } else { Clause::Check };
    bind_scalar(ctx.bind(&snapshot, &eval), text, &Arc::new(table.clone()), clause)
}

/// Calls `check` with all rows of the table, all its public columns.
async fn each_batch(
    ctx: &SchemaContext<'_>,
    table: &TableDescriptor,
    mut check: impl FnMut(&Batch) -> SqlResult<()>,
) -> SqlResult<()> {
    let decoder = RowDecoder::primary(table, &all_columns(table))?;
    let txn = ctx.reader(table.id).await?;
    let mut scanner = txn.scan(IndexEncoder::primary(table)?.span(), ScanOptions::default());
    while let Some(block) = scanner.next_block().await? {
        ctx.check_cancel()?;
        check(&decoder.decode_block(&block)?)?;
    }
    Ok(())
}

pub async fn check(
    ctx: &SchemaContext<'_>,
    table: &TableDescriptor,
    name: &str,
    text: &str,
) -> SqlResult<()> {
    let condition = bind_condition(ctx, table, text, false)?;
    let context = ctx.eval();
    each_batch(ctx, table, |batch| {
        for row in 0..batch.rows {
            if eval(&condition, &BatchRow { batch, row }, &context)? == Datum::Bool(false) {
                return Err(SqlError::new(
                    state::CHECK_VIOLATION,
                    format!(
                        "check constraint \"{name}\" of relation \"{}\" is violated by some row",
                        table.name
                    ),
                )
                .with_constraint(ctx.snapshot().schema_name(table.schema), &table.name, name));
            }
        }
        Ok(())
    })
    .await
}

pub async fn not_null(
    ctx: &SchemaContext<'_>,
    table: &TableDescriptor,
    columns: &[ColumnId],
) -> SqlResult<()> {
    let positions: Vec<(usize, &str)> = table
        .public_columns()
        .enumerate()
        .filter(|(_, c)| columns.contains(&c.id))
        .map(|(position, c)| (position, c.name.as_str()))
        .collect();
    each_batch(ctx, table, |batch| {
        for (position, name) in &positions {
            let column = &batch.columns[*position];
            if (0..batch.rows).any(|row| column.is_null(row)) {
                return Err(SqlError::new(
                    state::NOT_NULL_VIOLATION,
                    format!("column \"{name}\" of relation \"{}\" contains null values", table.name),
                )
                .with_column(ctx.snapshot().schema_name(table.schema), &table.name, name));
            }
        }
        Ok(())
    })
    .await
}

/// Every row of the table that has no NULL in the key's columns has its row in the referenced table.
pub async fn foreign_key(
    ctx: &SchemaContext<'_>,
    table: &TableDescriptor,
    key: &ForeignKey,
) -> SqlResult<()> {
    let snapshot = ctx.snapshot();
    let target = if key.references == table.id {
        Some(table)
    } else {
        snapshot.tables.get(&key.references).map(|t| &**t)
    };
    let target = target.ok_or_else(|| SqlError::internal("a foreign key to a table that is gone"))?;
    let references = References::new(table, target, key)?;
    let decoder = RowDecoder::primary(table, &all_columns(table))?;
    let txn = ctx.reader(table.id).await?;
    let mut scanner = txn.scan(IndexEncoder::primary(table)?.span(), ScanOptions::default());
    while let Some(block) = scanner.next_block().await? {
        ctx.check_cancel()?;
        let batch = decoder.decode_block(&block)?;
        let mut keys = Vec::new();
        let mut rows = Vec::new();
        for row in 0..batch.rows {
            match references.of(&batch, row)? {
                Reference::None => {}
                Reference::Mixed => {
                    return Err(violated(ctx, table, key)
                        .with_detail("MATCH FULL does not allow mixing of null and nonnull key values."));
                }
                Reference::To(key) => {
                    keys.push(key);
                    rows.push(row);
                }
            }
        }
        let found = txn.get_many(&keys, None).await?;
        if let Some(missing) = found.iter().position(Option::is_none) {
            return Err(missing_row(ctx, table, target, key, &batch, rows[missing]));
        }
    }
    Ok(())
}

fn violated(ctx: &SchemaContext<'_>, table: &TableDescriptor, key: &ForeignKey) -> SqlError {
    SqlError::new(
        state::FOREIGN_KEY_VIOLATION,
        format!(
            "insert or update on table \"{}\" violates foreign key constraint \"{}\"",
            table.name, key.name
        ),
    )
    .with_constraint(ctx.snapshot().schema_name(table.schema), &table.name, &key.name)
}

fn missing_row(
    ctx: &SchemaContext<'_>,
    table: &TableDescriptor,
    target: &TableDescriptor,
    key: &ForeignKey,
    batch: &Batch,
    row: usize,
) -> SqlError {
    let context = ctx.eval();
    let text = context.text();
    let columns = key.columns.iter().filter_map(|id| {
        let (position, column) = table.public_columns().enumerate().find(|(_, c)| c.id == *id)?;
        let value = batch.columns[position].datum(row);
        Some((column.name.clone(), crate::types::text::output(column.ty.oid, &value, &text)))
    });
    let (names, values): (Vec<String>, Vec<String>) = columns.unzip();
    violated(ctx, table, key).with_detail(format!(
        "Key ({})=({}) is not present in table \"{}\".",
        names.join(", "),
        values.join(", "),
        target.name
    ))
}
