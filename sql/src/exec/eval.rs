//! Expressions over batches, with the surroundings of an operator.

use std::sync::Arc;

use super::ExecContext;
use crate::error::SqlResult;
use crate::expr::Expr;
use crate::expr::eval::eval_row;
use crate::expr::eval_batch::{eval_batch, eval_filter};
use crate::types::{Batch, Column, Datum};

/// One value for each row.
pub fn column(expr: &Expr, batch: &Batch, ctx: &ExecContext) -> SqlResult<Arc<Column>> {
    match expr {
        Expr::Column { index, .. } => Ok(batch.columns[*index].clone()),
        _ => eval_batch(expr, batch, &ctx.eval()),
    }
}

pub fn columns<'e>(
    exprs: impl IntoIterator<Item = &'e Expr>,
    batch: &Batch,
    ctx: &ExecContext,
) -> SqlResult<Vec<Arc<Column>>> {
    exprs.into_iter().map(|e| column(e, batch, ctx)).collect()
}

/// The value of an expression over one row.
pub fn value(expr: &Expr, row: &[Datum], ctx: &ExecContext) -> SqlResult<Datum> {
    match expr {
        Expr::Const(value, _) => Ok(value.clone()),
        Expr::Param { index, .. } => Ok(ctx.params[*index].clone()),
        Expr::Column { index, .. } => Ok(row[*index].clone()),
        _ => eval_row(expr, row, &ctx.eval()),
    }
}

/// The value of an expression that reads no row.
pub fn constant(expr: &Expr, ctx: &ExecContext) -> SqlResult<Datum> {
    value(expr, &[], ctx)
}

/// The rows for which the predicate is true.
pub fn selection(predicate: &Expr, batch: &Batch, ctx: &ExecContext) -> SqlResult<Vec<u32>> {
    eval_filter(predicate, batch, &ctx.eval())
}
