//! Subqueries become joins where that is sound.
//!
//! - A conjunct `EXISTS (q)` becomes a semi join with `q`, `NOT EXISTS (q)` an anti join. Conditions in `q` that refer to
//!   the row around it become the join's condition.
//! - A conjunct `x = ANY (q)` (IN) becomes a semi join on `x = column of q`.
//! - A conjunct `x <> ALL (q)` (NOT IN) becomes an anti join, where neither side can be NULL; otherwise also conditions, computed once,
//!   that no value of `q` is NULL, and that `x` is not NULL unless `q` is empty.
//! - `(SELECT aggregate … WHERE inner = outer)` in a condition or a projection becomes a left join with the aggregate grouped by the
//!   inner expressions, unless an index finds each group anyway: then it is better to look for each row.
//! - What is left stays in the expression: see [`super::subquery`].
//!
//! A subquery whose references to the outer row stand below an aggregate, a limit or a join that could drop rows is
//! left alone: moving the condition would change its result.

use std::sync::Arc;

use super::conjuncts::{self, Comparison, comparison_of, has_subquery, is_volatile};
use crate::expr::{Expr, Subquery, SubqueryKind};
use crate::plan::{JoinKind, LogicalPlan};
use crate::registry::Function;
use crate::types::SqlType;

/// So many subqueries of one operator become joins, which stand on top of each other.
pub(super) const MAX_JOINS: usize = 100;

/// The size of a subquery up to which NOT IN is taken apart: that copies it, and what is in it may be a copy already.
const MAX_COPIED: usize = 1_000;

pub fn unnest(mut plan: LogicalPlan) -> LogicalPlan {
    plan.for_each_input_mut(&mut |input, _| {
        let taken = std::mem::replace(input, nothing());
        *input = unnest(taken);
    });
    plan.for_each_expr_mut(&mut |e| {
        e.rewrite(&mut |e| {
            if let Expr::Subquery(s) = e {
                let taken = std::mem::replace(&mut s.plan, nothing());
                s.plan = unnest(taken);
            }
        });
    });
    let (mut input, predicate) = match plan {
        LogicalPlan::Filter { input, predicate } => (input, predicate),
        LogicalPlan::Project { input, mut exprs, schema } => {
            let mut exprs_mut: Vec<&mut Expr> = exprs.iter_mut().collect();
            let input = Box::new(super::scalar_aggregate::to_joins(*input, &mut exprs_mut));
            return LogicalPlan::Project { input, exprs, schema };
        }
        plan => return plan,
    };
    let mut all = Vec::new();
    conjuncts::split(predicate, &mut all);
    let (mut extra, mut left_over) = (Vec::new(), Vec::new());
    let mut joins = 0;
    for conjunct in all {
        let possible = joins < MAX_JOINS;
        match possible.then(|| as_join(&conjunct, &input)).flatten() {
            Some((kind, right, on)) => {
                joins += 1;
                not_in_conditions(&conjunct, &input, &mut extra);
                let schema = input.schema();
                input = Box::new(LogicalPlan::Join {
                    kind,
                    left: input,
                    right: Box::new(right),
                    on,
                    lateral: false,
                    schema,
                });
            }
            None => left_over.push(conjunct),
        }
    }
    left_over.extend(extra);
    let schema = input.schema();
    let mut exprs: Vec<&mut Expr> = left_over.iter_mut().collect();
    let input = super::scalar_aggregate::to_joins(*input, &mut exprs);
    let wider = input.schema().len() > schema.len();
    let plan = match conjuncts::join(left_over) {
        None => input,
        Some(predicate) => LogicalPlan::Filter { input: Box::new(input), predicate },
    };
    if !wider {
        return plan;
    }
    let exprs = schema.iter().enumerate().map(|(index, f)| Expr::Column { index, ty: f.ty }).collect();
    LogicalPlan::Project { input: Box::new(plan), exprs, schema }
}

/// The subquery of `x <> ALL (q)` over one column, where it can become an anti join.
fn not_in(conjunct: &Expr) -> Option<(&Subquery, &Expr, &'static Function)> {
    let (subquery, negated) = match conjunct {
        Expr::Subquery(s) => (s, false),
        Expr::Not(inner) => match &**inner {
            Expr::Subquery(s) => (s, true),
            _ => return None,
        },
        _ => return None,
    };
    let SubqueryKind::Compare { left, ops, all } = &subquery.kind else { return None };
    let ([x], [op]) = (left.as_slice(), ops.as_slice()) else { return None };
    let equal = match (comparison_of(op)?, negated, all) {
        (Comparison::Equal, true, false) => *op,
        (Comparison::NotEqual, false, true) => crate::registry::negator(op)?,
        _ => return None,
    };
    if subquery.plan.clone().size() > MAX_COPIED {
        return None;
    }
    let plain = !is_volatile(x) && !has_subquery(x) && !subquery.plan.is_correlated();
    let mut volatile = false;
    subquery.plan.clone().visit_exprs_mut(0, &mut |e, _| volatile |= is_volatile(e));
    (plain && !volatile).then_some((&**subquery, x, equal))
}

/// What must hold besides the anti join that [`as_join`] makes of NOT IN.
fn not_in_conditions(conjunct: &Expr, outer: &LogicalPlan, out: &mut Vec<Expr>) {
    let Some((subquery, x, _)) = not_in(conjunct) else { return };
    let boolean = SqlType::new(crate::types::Oid::BOOL);
    let exists = |plan: LogicalPlan| {
        let subquery = Subquery { kind: SubqueryKind::Exists, plan, ty: boolean };
        Expr::Not(Box::new(Expr::Subquery(Box::new(subquery))))
    };
    if can_be_null_column(&subquery.plan, 0) {
        let ty = subquery.plan.schema()[0].ty;
        let column = Box::new(Expr::Column { index: 0, ty });
        let predicate = Expr::IsNull { arg: column, negated: false };
        out.push(exists(LogicalPlan::Filter { input: Box::new(subquery.plan.clone()), predicate }));
    }
    if can_be_null(x, outer) {
        let present = Expr::IsNull { arg: Box::new(x.clone()), negated: true };
        out.push(Expr::Or(vec![present, exists(subquery.plan.clone())]));
    }
}

fn can_be_null(e: &Expr, input: &LogicalPlan) -> bool {
    match e {
        Expr::Const(value, _) => value.is_null(),
        Expr::Column { index, .. } => can_be_null_column(input, *index),
        _ => true,
    }
}

/// Whether a column of the plan's result can be NULL; `true` if that is not known.
pub(super) fn can_be_null_column(plan: &LogicalPlan, i: usize) -> bool {
    match plan {
        LogicalPlan::Scan(scan) => !scan.table.columns.iter().any(|c| c.id == scan.columns[i] && c.not_null),
        LogicalPlan::Filter { input, predicate } => {
            let mut all = Vec::new();
            conjuncts::split(predicate.clone(), &mut all);
            let present = |c: &Expr| {
                matches!(conjuncts::restriction(c), Some((column, said))
                    if column == i && !matches!(said, conjuncts::Restriction::IsNull))
            };
            !all.iter().any(present) && can_be_null_column(input, i)
        }
        LogicalPlan::Project { input, exprs, .. } => can_be_null(&exprs[i], input),
        LogicalPlan::Sort { input, .. }
        | LogicalPlan::Limit { input, .. }
        | LogicalPlan::Distinct { input, .. } => can_be_null_column(input, i),
        LogicalPlan::Join { kind: JoinKind::Semi | JoinKind::Anti, left, .. } => can_be_null_column(left, i),
        LogicalPlan::Join { kind: JoinKind::Inner | JoinKind::Cross, left, right, .. } => {
            match i.checked_sub(left.schema().len()) {
                None => can_be_null_column(left, i),
                Some(i) => can_be_null_column(right, i),
            }
        }
        _ => true,
    }
}

fn nothing() -> LogicalPlan {
    LogicalPlan::Values { rows: Vec::new(), schema: Arc::new(Vec::new()) }
}

fn as_join(conjunct: &Expr, outer: &LogicalPlan) -> Option<(JoinKind, LogicalPlan, Option<Expr>)> {
    if let Some((subquery, x, equal)) = not_in(conjunct) {
        let index = outer.schema().len();
        let right = subquery.plan.clone();
        let column = Expr::Column { index, ty: right.schema()[0].ty };
        let ty = SqlType::new(crate::types::Oid::BOOL);
        let on = Expr::Call { function: equal, args: vec![x.clone(), column], ty };
        return Some((JoinKind::Anti, right, Some(on)));
    }
    let (subquery, negated) = match conjunct {
        Expr::Subquery(s) => (s, false),
        Expr::Not(inner) => match &**inner {
            Expr::Subquery(s) => (s, true),
            _ => return None,
        },
        _ => return None,
    };
    let width = outer.schema().len();
    let Subquery { kind, plan, .. } = &**subquery;
    match kind {
        SubqueryKind::Exists => {
            let (right, on) = pulled_up(exists_source(plan.clone()), width)?;
            let kind = if negated { JoinKind::Anti } else { JoinKind::Semi };
            Some((kind, right, conjuncts::join(on)))
        }
        SubqueryKind::Compare { left, ops, all: false } if !negated => {
            // Any operator will do for a semi join: NULL is not a match, and neither true nor false is asked for.
            if left.iter().any(|l| is_volatile(l) || has_subquery(l)) {
                return None;
            }
            let (right, mut on) = pulled_up(plan.clone(), width)?;
            let schema = right.schema();
            for (n, (l, op)) in left.iter().zip(ops).enumerate() {
                let column = Expr::Column { index: width + n, ty: schema[n].ty };
                on.push(Expr::Call {
                    function: op,
                    args: vec![l.clone(), column],
                    ty: SqlType::new(crate::types::Oid::BOOL),
                });
            }
            Some((JoinKind::Semi, right, conjuncts::join(on)))
        }
        _ => None,
    }
}

/// What matters of a plan of which only the existence of rows is asked.
fn exists_source(plan: LogicalPlan) -> LogicalPlan {
    match plan {
        LogicalPlan::Project { input, exprs, schema } => {
            if exprs.iter().any(|e| conjuncts::returns_set(e) || is_volatile(e)) {
                return LogicalPlan::Project { input, exprs, schema };
            }
            exists_source(*input)
        }
        LogicalPlan::Sort { input, .. } | LogicalPlan::Distinct { input, on: None } => exists_source(*input),
        other => other,
    }
}

/// The plan without references to the row around it, and the conditions that held them, over outer row ++ the plan's
/// row. `None` if it cannot be done.
fn pulled_up(plan: LogicalPlan, width: usize) -> Option<(LogicalPlan, Vec<Expr>)> {
    if !refers_to_row(&plan) {
        // It may refer to rows further out; those stay one level nearer now.
        return Some((nearer(plan)?, Vec::new()));
    }
    let mut on = Vec::new();
    let plan = strip(plan, width, &mut on)?;
    if refers_to_row(&plan) {
        return None;
    }
    Some((nearer(plan)?, on))
}

pub(super) fn refers_to_row(plan: &LogicalPlan) -> bool {
    let mut found = false;
    plan.clone().visit_outer_mut(1, &mut |_| found = true);
    found
}

/// The plan as part of the query around it: references further out count one level less.
pub(super) fn nearer(mut plan: LogicalPlan) -> Option<LogicalPlan> {
    plan.visit_exprs_mut(0, &mut |e, inner| {
        if let Expr::Outer { depth, .. } = e
            && *depth > inner
        {
            debug_assert!(*depth > inner + 1, "references to the row itself are gone");
            *depth -= 1;
        }
    });
    Some(plan)
}

/// Takes the correlated conditions out of filters that stand directly over what they filter. Conditions come back over
/// outer row ++ the row of the returned plan.
pub(super) fn strip(plan: LogicalPlan, width: usize, on: &mut Vec<Expr>) -> Option<LogicalPlan> {
    match plan {
        LogicalPlan::Filter { input, predicate } => {
            let input = strip(*input, width, on)?;
            let mut stay = Vec::new();
            let mut all = Vec::new();
            conjuncts::split(predicate, &mut all);
            for conjunct in all {
                if !mentions_row(&conjunct) {
                    stay.push(conjunct);
                } else if has_subquery(&conjunct) || is_volatile(&conjunct) {
                    return None;
                } else {
                    on.push(joined(conjunct, width));
                }
            }
            Some(match conjuncts::join(stay) {
                None => input,
                Some(predicate) => LogicalPlan::Filter { input: Box::new(input), predicate },
            })
        }
        LogicalPlan::Project { input, exprs, schema } => {
            if exprs.iter().any(|e| conjuncts::returns_set(e) || is_volatile(e) || mentions_row(e)) {
                return None;
            }
            let mut inner = Vec::new();
            let input = strip(*input, width, &mut inner)?;
            // What the conditions read is projected too, behind the rest.
            let (mut exprs, mut fields) = (exprs, schema.to_vec());
            let below = input.schema();
            for mut condition in inner {
                condition.map_columns(&mut |i| {
                    if i < width {
                        return i;
                    }
                    let ty = below[i - width].ty;
                    let known = exprs
                        .iter()
                        .position(|e| matches!(e, Expr::Column { index, .. } if *index == i - width));
                    width
                        + known.unwrap_or_else(|| {
                            exprs.push(Expr::Column { index: i - width, ty });
                            fields.push(below[i - width].clone());
                            exprs.len() - 1
                        })
                });
                on.push(condition);
            }
            Some(LogicalPlan::Project { input: Box::new(input), exprs, schema: Arc::new(fields) })
        }
        LogicalPlan::Join {
            kind: JoinKind::Inner | JoinKind::Cross,
            left,
            right,
            on: condition,
            lateral: false,
            ..
        } => {
            let mut of_left = Vec::new();
            let mut of_right = Vec::new();
            let left = strip(*left, width, &mut of_left)?;
            let right = strip(*right, width, &mut of_right)?;
            let left_width = left.schema().len();
            for mut c in of_right {
                c.map_columns(&mut |i| if i < width { i } else { i + left_width });
                on.push(c);
            }
            on.extend(of_left);
            let mut stay = Vec::new();
            let mut all = Vec::new();
            condition.into_iter().for_each(|c| conjuncts::split(c, &mut all));
            for c in all {
                match mentions_row(&c) {
                    true if has_subquery(&c) || is_volatile(&c) => return None,
                    true => on.push(joined(c, width)),
                    false => stay.push(c),
                }
            }
            let fields = left.schema().iter().chain(right.schema().iter()).cloned().collect();
            let condition = conjuncts::join(stay);
            Some(LogicalPlan::Join {
                kind: if condition.is_some() { JoinKind::Inner } else { JoinKind::Cross },
                left: Box::new(left),
                right: Box::new(right),
                on: condition,
                lateral: false,
                schema: Arc::new(fields),
            })
        }
        // Whatever else refers to the row keeps the subquery a subquery; see the check after this.
        other => Some(other),
    }
}

fn mentions_row(e: &Expr) -> bool {
    let mut copy = e.clone();
    let mut found = false;
    crate::plan::walk::visit_expr(&mut copy, 0, &mut |e, level| {
        found |= matches!(e, Expr::Outer { depth, .. } if *depth == level + 1);
    });
    found
}

/// A condition of the subquery as one over outer row ++ inner row.
fn joined(mut c: Expr, width: usize) -> Expr {
    c.rewrite(&mut |e| match e {
        Expr::Column { index, .. } => *index += width,
        Expr::Outer { depth: 1, index, ty } => *e = Expr::Column { index: *index, ty: *ty },
        Expr::Outer { depth, .. } => *depth -= 1,
        _ => {}
    });
    c
}
