//! `(SELECT aggregate FROM … WHERE inner = outer)` as a left join with the aggregate grouped by the inner expressions.
//!
//! An outer row without a group gets NULLs from the join, which is what most aggregates give for no rows; `count` gives
//! zero, so its column is read through COALESCE. What the subquery computes from its aggregates is computed above the join.

use std::sync::Arc;

use super::conjuncts::{self, Comparison, comparison_of, has_subquery, is_volatile};
use super::unnest::{MAX_JOINS, nearer, refers_to_row, strip};
use crate::expr::{Expr, SubqueryKind};
use crate::plan::{AggregateCall, Field, JoinKind, LogicalPlan};
use crate::types::{Datum, Oid, SqlType};

/// The input joined with the groups of those scalar subqueries in `exprs` for which it pays; the expressions read the
/// groups' columns, which stand behind the input's.
pub fn to_joins(mut input: LogicalPlan, exprs: &mut [&mut Expr]) -> LogicalPlan {
    let mut joins = 0;
    for e in exprs.iter_mut() {
        e.rewrite(&mut |e| {
            let Expr::Subquery(s) = e else { return };
            if !matches!(s.kind, SubqueryKind::Scalar) || joins == MAX_JOINS {
                return;
            }
            let width = input.schema().len();
            let Some((groups, on, value)) = grouped(s.plan.clone(), width) else { return };
            joins += 1;
            let fields = input.schema().iter().chain(groups.schema().iter()).cloned().collect();
            let nothing = LogicalPlan::Values { rows: Vec::new(), schema: Arc::new(Vec::new()) };
            input = LogicalPlan::Join {
                kind: JoinKind::Left,
                left: Box::new(std::mem::replace(&mut input, nothing)),
                right: Box::new(groups),
                on: Some(on),
                lateral: false,
                schema: Arc::new(fields),
            };
            *e = value;
        });
    }
    input
}

/// The groups, the join's condition (over outer row ++ groups), and the subquery's value over that row.
fn grouped(plan: LogicalPlan, width: usize) -> Option<(LogicalPlan, Expr, Expr)> {
    let LogicalPlan::Project { input, mut exprs, .. } = plan else { return None };
    let LogicalPlan::Aggregate { input, groups, aggregates, schema } = *input else { return None };
    if !groups.is_empty() || exprs.len() != 1 {
        return None;
    }
    let value = exprs.swap_remove(0);
    let opaque = |e: &Expr| is_volatile(e) || has_subquery(e) || mentions_outer(e);
    let of_call = |c: &AggregateCall| {
        c.args.iter().chain(&c.filter).chain(c.order_by.iter().map(|k| &k.expr)).any(opaque)
    };
    if opaque(&value) || aggregates.iter().any(of_call) || !refers_to_row(&input) {
        return None;
    }
    let mut conditions = Vec::new();
    let source = strip(*input, width, &mut conditions)?;
    if refers_to_row(&source) || finds_by_index(&source, &conditions, width) {
        return None;
    }
    let source = nearer(source)?;
    // Every condition must be an equality between the outer row and the source.
    let mut keys = Vec::new();
    let mut outer = Vec::new();
    for condition in conditions {
        let Expr::Call { function, mut args, ty } = condition else { return None };
        if comparison_of(function)? != Comparison::Equal {
            return None;
        }
        let right = args.pop()?;
        let left = args.pop()?;
        let (inner, other, inner_left) = match (side(&left, width)?, side(&right, width)?) {
            (false, true) => (right, left, false),
            (true, false) => (left, right, true),
            _ => return None,
        };
        keys.push(inner);
        outer.push((function, other, inner_left, ty));
    }
    let mut fields: Vec<Field> = Vec::new();
    for key in &mut keys {
        key.map_columns(&mut |i| i - width);
        fields.push(Field { name: "key".into(), ty: key.ty(), origin: None });
    }
    let count = keys.len();
    fields.extend(schema.iter().cloned());
    let on = outer
        .into_iter()
        .enumerate()
        .map(|(n, (function, other, inner_left, ty))| {
            let key = Expr::Column { index: width + n, ty: keys[n].ty() };
            let args = if inner_left { vec![key, other] } else { vec![other, key] };
            Expr::Call { function, args, ty }
        })
        .collect();
    let value = over_groups(value, &aggregates, width + count);
    let groups = LogicalPlan::Aggregate {
        input: Box::new(source),
        groups: keys,
        aggregates,
        schema: Arc::new(fields),
    };
    Some((groups, conjuncts::join(on)?, value))
}

/// The subquery's value over the joined row; the aggregates stand from `first` on.
fn over_groups(mut value: Expr, aggregates: &[AggregateCall], first: usize) -> Expr {
    value.rewrite(&mut |e| {
        let Expr::Column { index, ty } = e else { return };
        let (call, ty) = (&aggregates[*index], *ty);
        let column = Expr::Column { index: first + *index, ty };
        *e = if matches!(call.function.name, "count" | "regr_count") {
            let zero = Expr::Const(Datum::Int8(0), SqlType::new(Oid::INT8));
            Expr::Coalesce { args: vec![column, zero], ty }
        } else {
            column
        };
    });
    value
}

fn mentions_outer(e: &Expr) -> bool {
    e.any(&mut |e| matches!(e, Expr::Outer { .. }))
}

/// `Some(true)`: reads only what is behind the outer row; `Some(false)`: only the outer row; `None`: both or neither.
fn side(e: &Expr, width: usize) -> Option<bool> {
    let (mut outer, mut inner) = (false, false);
    e.columns_used(&mut |i| if i < width { outer = true } else { inner = true });
    (outer != inner).then_some(inner)
}

/// Whether an index of a stored table leads with one of the compared columns.
fn finds_by_index(source: &LogicalPlan, conditions: &[Expr], width: usize) -> bool {
    let mut plan = source;
    while let LogicalPlan::Filter { input, .. } = plan {
        plan = input;
    }
    let LogicalPlan::Scan(scan) = plan else { return false };
    let leads = |i: usize| {
        let id = scan.columns[i];
        let mut indexes = std::iter::once(&scan.table.primary).chain(&scan.table.indexes);
        indexes.any(|index| index.key.first().is_some_and(|k| k.column == id))
    };
    conditions.iter().any(|c| {
        let mut found = false;
        c.columns_used(&mut |i| found |= i >= width && leads(i - width));
        found
    })
}
