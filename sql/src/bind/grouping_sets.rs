//! GROUPING SETS, ROLLUP and CUBE: one aggregation for each set, their rows put together.
//!
//! Every aggregation is projected to one layout: all group expressions (NULL where the set has none), the aggregates,
//! then the values of the GROUPING calls, which are constants for each set.

use std::sync::Arc;

use sqlparser::ast;

use super::Binder;
use super::group::same_expr;
use super::query::{Operation, combined};
use super::scope::{Scope, computed};
use super::select::Item;
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::{AggregateCall, Field, LogicalPlan};
use crate::types::{Datum, Oid, SqlType};

/// PostgreSQL's limit.
const SETS_MAX: usize = 4096;
const CUBE_COLUMNS_MAX: usize = 12;

/// The bound GROUP BY: all expressions, and which of them each set has (`None`: one set of all).
pub struct Groups {
    pub exprs: Vec<Expr>,
    pub sets: Option<Vec<Vec<usize>>>,
}

impl Binder<'_> {
    /// The sets that one item of GROUP BY stands for.
    pub fn bind_group_item(
        &mut self,
        item: &ast::Expr,
        scope: &Scope<'_>,
        items: &[Item],
        exprs: &mut Vec<Expr>,
    ) -> SqlResult<Vec<Vec<usize>>> {
        match item {
            ast::Expr::GroupingSets(lists) => {
                lists.iter().map(|list| self.bind_set(list, scope, items, exprs)).collect()
            }
            ast::Expr::Rollup(lists) => {
                let parts = self.bind_parts(lists, scope, items, exprs)?;
                Ok((0..=parts.len()).rev().map(|n| parts[..n].concat()).collect())
            }
            ast::Expr::Cube(lists) => {
                let parts = self.bind_parts(lists, scope, items, exprs)?;
                if parts.len() > CUBE_COLUMNS_MAX {
                    return Err(SqlError::new(
                        "54011",
                        format!("CUBE is limited to {CUBE_COLUMNS_MAX} elements"),
                    ));
                }
                let chosen = |mask: usize| {
                    let kept =
                        parts.iter().enumerate().filter(|(i, _)| mask >> (parts.len() - 1 - i) & 1 == 1);
                    kept.flat_map(|(_, p)| p.iter().copied()).collect()
                };
                Ok((0..1usize << parts.len()).rev().map(chosen).collect())
            }
            ast::Expr::Tuple(fields) => Ok(vec![self.bind_set(fields, scope, items, exprs)?]),
            other => Ok(vec![self.bind_set(std::slice::from_ref(other), scope, items, exprs)?]),
        }
    }

    fn bind_parts(
        &mut self,
        lists: &[Vec<ast::Expr>],
        scope: &Scope<'_>,
        items: &[Item],
        exprs: &mut Vec<Expr>,
    ) -> SqlResult<Vec<Vec<usize>>> {
        lists.iter().map(|list| self.bind_set(list, scope, items, exprs)).collect()
    }

    fn bind_set(
        &mut self,
        list: &[ast::Expr],
        scope: &Scope<'_>,
        items: &[Item],
        exprs: &mut Vec<Expr>,
    ) -> SqlResult<Vec<usize>> {
        let mut set = Vec::with_capacity(list.len());
        for e in list {
            let bound = self.bind_group(e, scope, items)?;
            let known = exprs.iter().position(|g| same_expr(g, &bound));
            set.push(known.unwrap_or_else(|| {
                exprs.push(bound);
                exprs.len() - 1
            }));
        }
        Ok(set)
    }

    /// `GROUPING(a, b)`: one bit for each argument, set where the row's set lacks it.
    pub fn check_groupings(&self, groupings: &[Vec<Expr>], groups: &[Expr]) -> SqlResult<()> {
        let known = |e: &Expr| groups.iter().any(|g| same_expr(g, e));
        if groupings.iter().flatten().all(known) {
            return Ok(());
        }
        Err(SqlError::new(
            state::GROUPING_ERROR,
            "arguments to GROUPING must be grouping expressions of the associated query level",
        ))
    }
}

/// The sets of a whole GROUP BY: every combination of one set of each item.
pub fn combine(items: Vec<Vec<Vec<usize>>>) -> SqlResult<Vec<Vec<usize>>> {
    let mut all: Vec<Vec<usize>> = vec![Vec::new()];
    for sets in items {
        if all.len() * sets.len() > SETS_MAX {
            return Err(SqlError::new(
                state::STATEMENT_TOO_COMPLEX,
                format!("too many grouping sets present (maximum {SETS_MAX})"),
            ));
        }
        all = all.iter().flat_map(|a| sets.iter().map(move |s| [a.as_slice(), s].concat())).collect();
    }
    for set in &mut all {
        let mut seen = Vec::new();
        set.retain(|i| {
            !seen.contains(i) && {
                seen.push(*i);
                true
            }
        });
    }
    Ok(all)
}

/// The aggregation over `input`, in the layout of the module's text.
pub fn aggregate(
    input: LogicalPlan,
    groups: Groups,
    aggregates: Vec<AggregateCall>,
    groupings: &[Vec<Expr>],
    fields: Vec<Field>,
) -> LogicalPlan {
    let Some(sets) = groups.sets else {
        let exprs = groups.exprs;
        if groupings.is_empty() {
            let schema = Arc::new(fields);
            return LogicalPlan::Aggregate { input: Box::new(input), groups: exprs, aggregates, schema };
        }
        let all = (0..exprs.len()).collect();
        return branch(input, &exprs, all, aggregates, groupings, &fields);
    };
    let one = |set| branch(input.clone(), &groups.exprs, set, aggregates.clone(), groupings, &fields);
    let branches = sets.into_iter().map(one).collect();
    combined(branches, Operation::UNION_ALL, &Arc::new(layout(&fields, groupings.len())))
}

fn layout(fields: &[Field], groupings: usize) -> Vec<Field> {
    let mut all = fields.to_vec();
    all.extend((0..groupings).map(|_| computed("grouping", SqlType::new(Oid::INT4))));
    all
}

fn branch(
    input: LogicalPlan,
    exprs: &[Expr],
    set: Vec<usize>,
    aggregates: Vec<AggregateCall>,
    groupings: &[Vec<Expr>],
    fields: &[Field],
) -> LogicalPlan {
    let mut own: Vec<Field> = set.iter().map(|i| fields[*i].clone()).collect();
    own.extend_from_slice(&fields[exprs.len()..]);
    let mut output: Vec<Expr> = Vec::with_capacity(fields.len() + groupings.len());
    for (i, e) in exprs.iter().enumerate() {
        output.push(match set.iter().position(|s| *s == i) {
            Some(index) => Expr::Column { index, ty: e.ty() },
            None => Expr::Const(Datum::Null, e.ty()),
        });
    }
    for (i, a) in aggregates.iter().enumerate() {
        output.push(Expr::Column { index: set.len() + i, ty: a.ty });
    }
    for args in groupings {
        let lacks = |arg: &Expr| !set.iter().any(|i| same_expr(&exprs[*i], arg));
        let mask = args.iter().fold(0i32, |mask, arg| mask << 1 | i32::from(lacks(arg)));
        output.push(Expr::Const(Datum::Int4(mask), SqlType::new(Oid::INT4)));
    }
    let groups = set.iter().map(|i| exprs[*i].clone()).collect();
    let aggregation =
        LogicalPlan::Aggregate { input: Box::new(input), groups, aggregates, schema: Arc::new(own) };
    LogicalPlan::Project {
        input: Box::new(aggregation),
        exprs: output,
        schema: Arc::new(layout(fields, groupings.len())),
    }
}
