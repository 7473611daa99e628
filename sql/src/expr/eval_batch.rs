//! Computes expressions over batches.
//!
//! Where every node of an expression has a vector form, whole columns are computed at once. An operand that could fail
//! (arithmetic, casts) must not be computed for rows that CASE, COALESCE, AND or OR would have passed over: those
//! fall back to one row at a time unless all their operands are infallible.

use std::sync::Arc;

use super::Expr;
use super::eval::{BatchRow, eval};
use crate::error::SqlResult;
use crate::registry::{Body, EvalContext, Function, Operand};
use crate::types::{Batch, Bitmap, Column, ColumnData, Datum};

/// Below this many rows the walk per row is cheaper than columns.
const VECTOR_ROWS: usize = 4;

/// The values of `expr` for every row of a batch.
pub fn eval_batch(expr: &Expr, batch: &Batch, ctx: &EvalContext<'_>) -> SqlResult<Arc<Column>> {
    if let Expr::Column { index, .. } = expr {
        return Ok(batch.columns[*index].clone());
    }
    if batch.rows >= VECTOR_ROWS {
        match eval_vector(expr, batch, ctx)? {
            Some(Vector::Column(column)) => return Ok(column),
            Some(Vector::Const(value)) => return Ok(Arc::new(repeat(expr, &value, batch.rows))),
            None => {}
        }
    }
    let mut out = Column::for_type(expr.ty().oid);
    for row in 0..batch.rows {
        out.push(&eval(expr, &BatchRow { batch, row }, ctx)?);
    }
    Ok(Arc::new(out))
}

/// The rows for which a predicate is true, ascending.
pub fn eval_filter(expr: &Expr, batch: &Batch, ctx: &EvalContext<'_>) -> SqlResult<Vec<u32>> {
    let mut rows: Vec<u32> = (0..batch.rows as u32).collect();
    // The conjuncts one after the other, each over the rows that the ones before have left.
    let conjuncts = match expr {
        Expr::And(args) => args.as_slice(),
        other => std::slice::from_ref(other),
    };
    for conjunct in conjuncts {
        if rows.is_empty() {
            break;
        }
        let whole = rows.len() == batch.rows || is_infallible(conjunct);
        let vector =
            if whole && batch.rows >= VECTOR_ROWS { eval_vector(conjunct, batch, ctx)? } else { None };
        match vector {
            Some(Vector::Column(column)) => rows.retain(|row| is_true(&column, *row as usize)),
            Some(Vector::Const(value)) => {
                if value != Datum::Bool(true) {
                    rows.clear();
                }
            }
            None => {
                let mut kept = Vec::with_capacity(rows.len());
                for row in rows {
                    let value = eval(conjunct, &BatchRow { batch, row: row as usize }, ctx)?;
                    if value == Datum::Bool(true) {
                        kept.push(row);
                    }
                }
                rows = kept;
            }
        }
    }
    Ok(rows)
}

fn is_true(column: &Column, row: usize) -> bool {
    match (&column.data, &column.validity) {
        (ColumnData::Bool(v), None) => v[row],
        (ColumnData::Bool(v), Some(valid)) => v[row] && valid.get(row),
        _ => false,
    }
}

/// A value for each row, or one for all.
enum Vector {
    Column(Arc<Column>),
    Const(Datum),
}

impl Vector {
    fn operand(&self) -> Operand<'_> {
        match self {
            Vector::Column(column) => Operand::Column(column),
            Vector::Const(value) => Operand::Const(value),
        }
    }
}

fn repeat(expr: &Expr, value: &Datum, rows: usize) -> Column {
    let mut column = Column::for_type(expr.ty().oid);
    for _ in 0..rows {
        column.push(value);
    }
    column
}

/// Column-wise evaluation; `None` if some part of the expression has no vector form.
fn eval_vector(expr: &Expr, batch: &Batch, ctx: &EvalContext<'_>) -> SqlResult<Option<Vector>> {
    match expr {
        Expr::Column { index, .. } => Ok(Some(Vector::Column(batch.columns[*index].clone()))),
        Expr::Const(..) | Expr::Param { .. } | Expr::Outer { .. } => {
            let no_columns: &[Datum] = &[];
            eval(expr, no_columns, ctx).map(|value| Some(Vector::Const(value)))
        }
        Expr::Call { function, args, .. } => {
            let Function { body: Body::Scalar { vector: Some(vector), .. }, .. } = function else {
                return Ok(None);
            };
            let mut operands = smallvec::SmallVec::<[Vector; 3]>::new();
            for arg in args {
                match eval_vector(arg, batch, ctx)? {
                    Some(operand) => operands.push(operand),
                    None => return Ok(None),
                }
            }
            let operands: smallvec::SmallVec<[Operand<'_>; 3]> =
                operands.iter().map(Vector::operand).collect();
            if operands.iter().all(|o| matches!(o, Operand::Const(_))) {
                return Ok(None);
            }
            let column = vector(ctx, &operands, batch.rows)?;
            Ok(Some(Vector::Column(Arc::new(column))))
        }
        Expr::Not(arg) => Ok(eval_vector(arg, batch, ctx)?.and_then(not)),
        Expr::IsNull { arg, negated } => Ok(match eval_vector(arg, batch, ctx)? {
            Some(Vector::Column(column)) if arg.ty().oid != crate::types::Oid::RECORD => {
                let values = (0..batch.rows).map(|row| column.is_null(row) != *negated).collect();
                Some(Vector::Column(Arc::new(Column { data: ColumnData::Bool(values), validity: None })))
            }
            _ => None,
        }),
        Expr::And(args) if args.iter().all(is_infallible) => logic(args, false, batch, ctx),
        Expr::Or(args) if args.iter().all(is_infallible) => logic(args, true, batch, ctx),
        _ => Ok(None),
    }
}

fn not(arg: Vector) -> Option<Vector> {
    match arg {
        Vector::Column(column) => match &column.data {
            ColumnData::Bool(v) => {
                let data = ColumnData::Bool(v.iter().map(|b| !b).collect());
                Some(Vector::Column(Arc::new(Column { data, validity: column.validity.clone() })))
            }
            _ => None,
        },
        Vector::Const(Datum::Bool(v)) => Some(Vector::Const(Datum::Bool(!v))),
        other => Some(other),
    }
}

fn logic(args: &[Expr], decisive: bool, batch: &Batch, ctx: &EvalContext<'_>) -> SqlResult<Option<Vector>> {
    let mut decided = vec![false; batch.rows];
    let mut unknown = vec![false; batch.rows];
    for arg in args {
        match eval_vector(arg, batch, ctx)? {
            None => return Ok(None),
            Some(Vector::Const(Datum::Bool(v))) => {
                if v == decisive {
                    decided.fill(true);
                }
            }
            Some(Vector::Const(_)) => unknown.fill(true),
            Some(Vector::Column(column)) => {
                let ColumnData::Bool(values) = &column.data else { return Ok(None) };
                match &column.validity {
                    None => decided.iter_mut().zip(values).for_each(|(d, v)| *d |= *v == decisive),
                    Some(valid) => {
                        for row in 0..batch.rows {
                            let known = valid.get(row);
                            decided[row] |= known && values[row] == decisive;
                            unknown[row] |= !known;
                        }
                    }
                }
            }
        }
    }
    let mut validity = None;
    if unknown.iter().any(|u| *u) {
        let mut bits = Bitmap::default();
        decided.iter().zip(&unknown).for_each(|(d, u)| bits.push(*d || !*u));
        validity = Some(bits);
    }
    let data = ColumnData::Bool(decided.into_iter().map(|d| d == decisive).collect());
    Ok(Some(Vector::Column(Arc::new(Column { data, validity }))))
}

/// Whether evaluation cannot fail for any row: comparisons and logic over columns and constants.
pub fn is_infallible(expr: &Expr) -> bool {
    match expr {
        Expr::Const(..) | Expr::Column { .. } | Expr::Param { .. } | Expr::Outer { .. } => true,
        Expr::Call { function, args, .. } => {
            function.args.len() == 2
                && crate::registry::functions::comparison::is_comparison(function)
                && args.iter().all(is_infallible)
        }
        Expr::And(args) | Expr::Or(args) => args.iter().all(is_infallible),
        Expr::Not(arg) | Expr::IsNull { arg, .. } | Expr::IsTruth { arg, .. } => is_infallible(arg),
        _ => false,
    }
}
