//! Columns that nobody reads are not produced: scans decode less, joins carry less, indexes cover more.
//!
//! Each node is told which of its fields are needed, and answers where they are now. References from inside subqueries
//! and lateral sides count as reads of the row that they refer to, and are moved with it.

use std::sync::Arc;

use super::conjuncts::{is_volatile, returns_set};
use crate::expr::Expr;
use crate::plan::{JoinKind, LogicalPlan, Schema};

/// Where each old field is now; `None`: gone.
type Places = Vec<Option<usize>>;

/// Prunes below the root, whose own fields all stay.
pub fn prune(plan: &mut LogicalPlan) {
    let width = plan.schema().len();
    let places = narrow(plan, &vec![true; width]);
    debug_assert!(places.iter().enumerate().all(|(i, p)| *p == Some(i)), "the root keeps its fields");
}

fn identity(width: usize) -> Places {
    (0..width).map(Some).collect()
}

/// New places when exactly the marked fields stay.
fn kept(marks: &[bool]) -> Places {
    let mut next = 0;
    marks
        .iter()
        .map(|keep| {
            keep.then(|| {
                next += 1;
                next - 1
            })
        })
        .collect()
}

fn pick(schema: &Schema, places: &Places) -> Schema {
    Arc::new(schema.iter().zip(places).filter(|(_, p)| p.is_some()).map(|(f, _)| f.clone()).collect())
}

fn note(e: &Expr, needed: &mut [bool]) {
    e.columns_used(&mut |i| needed[i] = true);
}

fn moved(e: &mut Expr, places: &Places) {
    prune_subqueries(e);
    e.map_columns(&mut |i| places[i].expect("a column that is read is kept"));
}

fn prune_subqueries(e: &mut Expr) {
    e.rewrite(&mut |e| {
        if let Expr::Subquery(s) = e {
            prune(&mut s.plan);
        }
    });
}

fn narrow(plan: &mut LogicalPlan, needed: &[bool]) -> Places {
    match plan {
        LogicalPlan::Scan(scan) => {
            let places = kept(needed);
            let mut marks = needed.iter();
            scan.columns.retain(|_| marks.next().copied().unwrap_or(true));
            scan.schema = pick(&scan.schema, &places);
            places
        }
        LogicalPlan::Filter { input, predicate } => {
            let mut below = needed.to_vec();
            note(predicate, &mut below);
            let places = narrow(input, &below);
            moved(predicate, &places);
            places
        }
        LogicalPlan::Project { input, exprs, schema } => narrow_project(input, exprs, schema, needed),
        LogicalPlan::Join { .. } => narrow_join(plan, needed),
        LogicalPlan::Aggregate { input, groups, aggregates, schema } => {
            let mut marks = vec![true; groups.len()];
            marks.extend(needed[groups.len()..].iter().copied());
            let places = kept(&marks);
            let mut keep = marks[groups.len()..].iter();
            aggregates.retain(|_| keep.next().copied().unwrap_or(true));
            *schema = pick(schema, &places);
            let mut exprs: Vec<&mut Expr> = groups.iter_mut().collect();
            for call in aggregates {
                exprs.extend(call.args.iter_mut());
                exprs.extend(call.order_by.iter_mut().map(|k| &mut k.expr));
                exprs.extend(call.filter.iter_mut());
            }
            over(input, exprs, Vec::new());
            places
        }
        LogicalPlan::Sort { input, keys } => {
            let mut below = needed.to_vec();
            keys.iter().for_each(|k| note(&k.expr, &mut below));
            let places = narrow(input, &below);
            keys.iter_mut().for_each(|k| moved(&mut k.expr, &places));
            places
        }
        LogicalPlan::Limit { input, limit, offset, with_ties } => {
            let mut below = needed.to_vec();
            with_ties.iter().flatten().for_each(|k| note(&k.expr, &mut below));
            let places = narrow(input, &below);
            with_ties.iter_mut().flatten().for_each(|k| moved(&mut k.expr, &places));
            limit.iter_mut().chain(offset).for_each(prune_subqueries);
            places
        }
        LogicalPlan::Distinct { input, on: Some(exprs) } => {
            let mut below = needed.to_vec();
            exprs.iter().for_each(|e| note(e, &mut below));
            let places = narrow(input, &below);
            exprs.iter_mut().for_each(|e| moved(e, &places));
            places
        }
        LogicalPlan::Window { .. } => {
            // All results stay; the input keeps what is needed or read.
            narrow_all_inputs(plan);
            identity(needed.len())
        }
        LogicalPlan::SetOp { op: crate::plan::SetOp::Union, all: true, left, right, schema } => {
            for side in [left, right] {
                let places = narrow(side, needed);
                restrict(side, &places, needed);
            }
            let places = kept(needed);
            *schema = pick(schema, &places);
            places
        }
        LogicalPlan::With { definition, body, .. } => {
            prune(definition);
            narrow(body, needed)
        }
        other => {
            narrow_all_inputs(other);
            identity(needed.len())
        }
    }
}

/// Keeps all the inputs' fields, and prunes below them.
fn narrow_all_inputs(plan: &mut LogicalPlan) {
    plan.for_each_input_mut(&mut |input, _| prune(input));
    plan.for_each_expr_mut(&mut prune_subqueries);
}

/// Narrows an input to what `exprs` read.
fn over(input: &mut LogicalPlan, exprs: Vec<&mut Expr>, extra: Vec<usize>) {
    let mut below = vec![false; input.schema().len()];
    exprs.iter().for_each(|e| note(e, &mut below));
    extra.into_iter().for_each(|i| below[i] = true);
    let places = narrow(input, &below);
    exprs.into_iter().for_each(|e| moved(e, &places));
}

fn narrow_project(
    input: &mut LogicalPlan,
    exprs: &mut Vec<Expr>,
    schema: &mut Schema,
    needed: &[bool],
) -> Places {
    // Set-returning functions decide how many rows there are; volatile ones have effects.
    let sets = exprs.iter().any(returns_set);
    let stays = |(e, n): (&Expr, &bool)| *n || sets || is_volatile(e) || e.has_async();
    let marks: Vec<bool> = exprs.iter().zip(needed).map(stays).collect();
    let places = kept(&marks);
    let mut keep = marks.iter();
    exprs.retain(|_| keep.next().copied().unwrap_or(true));
    *schema = pick(schema, &places);
    over(input, exprs.iter_mut().collect(), Vec::new());
    places
}

/// Puts a projection on a plan that has kept more than the marked fields.
fn restrict(plan: &mut LogicalPlan, places: &Places, needed: &[bool]) {
    let schema = plan.schema();
    let wanted: Vec<usize> = places
        .iter()
        .zip(needed)
        .filter(|(_, n)| **n)
        .map(|(p, _)| p.expect("needed fields are kept"))
        .collect();
    if wanted.len() == schema.len() {
        return;
    }
    let exprs = wanted.iter().map(|&index| Expr::Column { index, ty: schema[index].ty }).collect();
    let fields: Schema = Arc::new(wanted.iter().map(|&i| schema[i].clone()).collect());
    let nothing = LogicalPlan::Values { rows: Vec::new(), schema: Arc::new(Vec::new()) };
    let input = Box::new(std::mem::replace(plan, nothing));
    *plan = LogicalPlan::Project { input, exprs, schema: fields };
}

fn narrow_join(plan: &mut LogicalPlan, needed: &[bool]) -> Places {
    let LogicalPlan::Join { kind, left, right, on, lateral, schema } = plan else {
        return identity(needed.len());
    };
    let width = left.schema().len();
    let right_width = right.schema().len();
    let only_left = matches!(kind, JoinKind::Semi | JoinKind::Anti);
    let mut below = needed.to_vec();
    below.resize(width + right_width, false);
    if let Some(on) = on {
        note(on, &mut below);
    }
    if *lateral {
        right.visit_outer_mut(1, &mut |e| {
            if let Expr::Outer { index, .. } = e {
                below[*index] = true;
            }
        });
    }
    let left_places = narrow(left, &below[..width]);
    let right_places = narrow(right, &below[width..]);
    if *lateral {
        right.visit_outer_mut(1, &mut |e| {
            if let Expr::Outer { index, .. } = e {
                *index = left_places[*index].expect("a column that is read is kept");
            }
        });
    }
    let left_width = left.schema().len();
    let mut places = left_places;
    places.extend(right_places.iter().map(|p| p.map(|p| p + left_width)));
    if let Some(on) = on {
        moved(on, &places);
    }
    if only_left {
        places.truncate(width);
        *schema = left.schema();
    } else {
        let fields = left.schema().iter().chain(right.schema().iter()).cloned().collect();
        *schema = Arc::new(fields);
    }
    places
}
