//! Joins: which method, and - for lookup joins - through which index.
//!
//! Conditions that compare an expression of the left with one of the right side for equality are the *keys*; with keys
//! a join is a hash join, or a lookup join if the right side is a stored table with a fitting index and few enough left
//! rows; without keys it is a nested loop over the right side kept in memory. A lateral right side that still depends on
//! the left row is computed for each of them.

use std::sync::Arc;

use super::build::{Builder, Ordering, Want};
use super::conjuncts::{self, Comparison, comparison_of};
use super::cost;
use super::statistics::blind_selectivity;
use super::subquery::Scope;
use crate::error::{SqlError, SqlResult};
use crate::expr::Expr;
use crate::plan::physical::*;
use crate::plan::{JoinKind, LogicalPlan, Schema};
use crate::registry::{CastContext, find_cast};
use crate::types::{Oid, SqlType};

/// A join whose condition is taken apart.
pub struct JoinParts {
    pub kind: JoinKind,
    pub schema: Schema,
    /// Columns of the left side.
    pub width: usize,
    /// Pairs of equal expressions: over the left, over the right row.
    pub keys: Vec<(Expr, Expr)>,
    /// Over left ++ right.
    pub rest: Vec<Expr>,
}

impl Builder<'_> {
    /// A join with conditions above it (`above`, over its result).
    pub fn join(&mut self, plan: LogicalPlan, above: Vec<Expr>, want: &Want) -> SqlResult<(Node, Ordering)> {
        let LogicalPlan::Join { kind, left, right, on, lateral, schema } = plan else {
            return Err(SqlError::internal("not a join"));
        };
        let width = left.schema().len();
        let mut all = Vec::new();
        on.into_iter().for_each(|e| conjuncts::split(e, &mut all));
        let mut late = above;
        if matches!(kind, JoinKind::Inner | JoinKind::Cross) {
            // Subqueries over the joined row are computed above the join.
            let (with, without): (Vec<Expr>, Vec<Expr>) = all.into_iter().partition(conjuncts::has_subquery);
            all = without;
            late.splice(0..0, with);
        }
        for e in &mut all {
            self.convert(e)?;
        }
        let keeps_left = matches!(
            kind,
            JoinKind::Inner | JoinKind::Cross | JoinKind::Left | JoinKind::Semi | JoinKind::Anti
        );
        let mut right = right;
        if kind == JoinKind::Semi && !lateral && stored(&left).is_some() {
            match self.reversed_semi(&left, *right, &all)? {
                Ok(node) => return Ok((self.filter_over(node, late)?, Ordering::Unknown)),
                Err(unchanged) => *right = unchanged,
            }
        }
        let (left, ordering) = self.build_for(*left, &left_want(want, width, keeps_left))?;
        let kind = if kind == JoinKind::Cross { JoinKind::Inner } else { kind };
        let node = if lateral {
            self.lateral(kind, left, *right, all, schema)?
        } else {
            let (keys, rest) = equi_keys(all, width)?;
            let parts = JoinParts { kind, schema, width, keys, rest };
            match self.lookup_join(left, *right, parts)? {
                Ok(node) => node,
                Err((left, right, parts)) => self.plain_join(left, right, parts)?,
            }
        };
        let ordered = keeps_left && ordering == Ordering::AsWanted && keeps_order(&node);
        let ordered = ordered && want.order.iter().all(|o| o.column < width);
        let node = self.filter_over(node, late)?;
        Ok((node, if ordered { Ordering::AsWanted } else { Ordering::Unknown }))
    }

    /// A semi join whose right side is small, as an inner join: the distinct keys of the right side are looked up in the stored
    /// table on the left. `Err`: the right side back, because that is not better.
    fn reversed_semi(
        &mut self,
        left: &LogicalPlan,
        right: LogicalPlan,
        all: &[Expr],
    ) -> SqlResult<Result<Node, LogicalPlan>> {
        let schema = left.schema();
        let (keys, rest) = equi_keys(all.to_vec(), schema.len())?;
        let columns: Option<Vec<usize>> = keys.iter().map(|(l, _)| conjuncts::as_column(l)).collect();
        let Some((scan, conjuncts)) = stored(left) else { return Ok(Err(right)) };
        let Some(columns) = columns.filter(|c| !c.is_empty() && rest.is_empty()) else {
            return Ok(Err(right));
        };
        if conjuncts.iter().any(conjuncts::has_subquery) {
            return Ok(Err(right));
        }
        let many = super::join_order::estimate(self, &right);
        let few = super::join_order::estimate(self, left);
        if many * 4.0 > few {
            return Ok(Err(right));
        }
        let mut plain = Vec::new();
        for mut c in conjuncts {
            self.convert(&mut c)?;
            plain.push(c);
        }
        let column = |(i, (_, r)): (usize, &(Expr, Expr))| Expr::Column { index: i, ty: r.ty() };
        let over: Vec<(usize, Expr)> =
            columns.iter().copied().zip(keys.iter().enumerate().map(column)).collect();
        let Some((access, per_row, used)) = self.lookup_access(&scan, &over, plain)? else {
            return Ok(Err(right));
        };
        if used.len() < keys.len() {
            return Ok(Err(right));
        }
        let right = self.block(right)?;
        let fields: Vec<crate::plan::Field> = keys
            .iter()
            .map(|(_, r)| crate::plan::Field { name: "key".into(), ty: r.ty(), origin: None })
            .collect();
        let fields: Schema = Arc::new(fields);
        let mut exprs: Vec<Expr> = keys.into_iter().map(|(_, r)| r).collect();
        let projected = self.project_over(right, &mut exprs, fields.clone())?;
        let e = projected.estimate;
        let distinct = DistinctNode { input: projected, on: None };
        let distinct = self.node(NodeKind::Distinct(Arc::new(distinct)), fields.clone(), e);
        let total = e.total + cost::REQUEST + e.rows * (per_row + cost::FETCH);
        let estimate = Estimate { rows: e.rows, startup: e.startup, total, width: e.width };
        let id = self
            .node(NodeKind::Values(Arc::new(ValuesNode { rows: Vec::new() })), schema.clone(), estimate)
            .id;
        let joined: Schema = Arc::new(fields.iter().chain(schema.iter()).cloned().collect());
        let node = LookupJoin {
            kind: JoinKind::Inner,
            left: distinct,
            inner_schema: schema.clone(),
            inner_estimate: estimate,
            inner_id: id,
            access,
            on: None,
        };
        let node = self.node(NodeKind::LookupJoin(Arc::new(node)), joined, estimate);
        let behind =
            |(i, f): (usize, &crate::plan::Field)| Expr::Column { index: fields.len() + i, ty: f.ty };
        let exprs = schema.iter().enumerate().map(behind).collect();
        let project = ProjectNode { input: node, exprs };
        Ok(Ok(self.node(NodeKind::Project(Arc::new(project)), schema, estimate)))
    }

    fn lateral(
        &mut self,
        kind: JoinKind,
        left: Node,
        right: LogicalPlan,
        on: Vec<Expr>,
        schema: Schema,
    ) -> SqlResult<Node> {
        if matches!(kind, JoinKind::Right | JoinKind::Full) {
            return Err(SqlError::new(
                crate::error::state::INVALID_COLUMN_REFERENCE,
                "The combining JOIN type must be INNER or LEFT for a LATERAL reference.",
            ));
        }
        self.scopes.push(Scope::default());
        let right = self.block(right);
        let bindings = self.scopes.pop().expect("the scope just pushed").into_bindings();
        let right = right?;
        let (l, r) = (left.estimate, right.estimate);
        if bindings.is_empty() {
            let width = left.schema.len();
            let (keys, rest) = equi_keys(on, width)?;
            return self.plain_join(left, right, JoinParts { kind, schema, width, keys, rest });
        }
        let rows = (l.rows * r.rows * on.iter().map(blind_selectivity).product::<f64>()).max(1.0);
        let estimate = Estimate {
            rows,
            startup: l.startup,
            total: l.total + l.rows * r.total,
            width: l.width + r.width,
        };
        let node = Lateral { kind, left, right, bindings, on: conjuncts::join(on) };
        Ok(self.node(NodeKind::Lateral(Arc::new(node)), schema, estimate))
    }

    /// A hash join, or a nested loop if there are no keys.
    fn plain_join(&mut self, left: Node, right: Node, parts: JoinParts) -> SqlResult<Node> {
        let JoinParts { kind, schema, keys, rest, .. } = parts;
        let (l, r) = (left.estimate, right.estimate);
        let rows = join_rows(kind, l.rows, r.rows, keys.len(), &rest);
        let width = l.width + r.width;
        if keys.is_empty() {
            let total = l.total + r.total + l.rows * r.rows * cost::CALL * (1 + rest.len()) as f64;
            let estimate = Estimate { rows, startup: l.startup + r.total, total, width };
            let node = NestedLoop { kind, left, right, on: conjuncts::join(rest) };
            return Ok(self.node(NodeKind::NestedLoop(Arc::new(node)), schema, estimate));
        }
        let total = l.total + r.total + (l.rows + 1.5 * r.rows) * 2.0 * cost::CALL + rows * cost::ROW;
        let estimate = Estimate { rows, startup: r.total + l.startup, total, width };
        let (left_keys, right_keys) = keys.into_iter().unzip();
        let on = conjuncts::join(rest);
        let node = HashJoin { kind, left, right, left_keys, right_keys, on, null_aware: false };
        Ok(self.node(NodeKind::HashJoin(Arc::new(node)), schema, estimate))
    }

    /// A lookup join, or everything back with the right side built.
    #[allow(clippy::type_complexity)]
    fn lookup_join(
        &mut self,
        left: Node,
        right: LogicalPlan,
        parts: JoinParts,
    ) -> SqlResult<Result<Node, (Node, Node, JoinParts)>> {
        let fits = matches!(parts.kind, JoinKind::Inner | JoinKind::Left | JoinKind::Semi | JoinKind::Anti);
        let Some((scan, conjuncts)) = (if fits && !parts.keys.is_empty() { stored(&right) } else { None })
        else {
            return Ok(Err((left, self.build(right)?, parts)));
        };
        if conjuncts.iter().any(conjuncts::has_subquery) {
            return Ok(Err((left, self.build(right)?, parts)));
        }
        let mut plain = Vec::new();
        for conjunct in conjuncts {
            match self.without_row_subqueries(conjunct)? {
                Ok(c) => plain.push(c),
                Err(_) => return Ok(Err((left, self.build(right)?, parts))),
            }
        }
        let mut columns: Vec<(usize, Expr)> = Vec::new();
        let mut places = Vec::new();
        for (n, (l, r)) in parts.keys.iter().enumerate() {
            if let Some(column) = conjuncts::as_column(r) {
                columns.push((column, l.clone()));
                places.push(n);
            }
        }
        let found = self.lookup_access(&scan, &columns, plain)?;
        let full = self.build(right)?;
        let Some((access, per_row, used)) = found else { return Ok(Err((left, full, parts))) };
        let l = left.estimate;
        let lookup_cost = cost::REQUEST + l.rows * (per_row + cost::FETCH);
        let hash_cost = full.estimate.total + (l.rows + 1.5 * full.estimate.rows) * 2.0 * cost::CALL;
        if lookup_cost >= hash_cost {
            return Ok(Err((left, full, parts)));
        }
        let rows = join_rows(parts.kind, l.rows, full.estimate.rows, parts.keys.len(), &parts.rest);
        let estimate = Estimate {
            rows,
            startup: l.startup,
            total: l.total + lookup_cost + rows * cost::ROW,
            width: l.width + full.estimate.width,
        };
        // Keys that the index does not have are compared afterwards.
        let used: Vec<usize> = used.into_iter().map(|u| places[u]).collect();
        let mut rest = parts.rest;
        let width = parts.width;
        for (n, (l, mut r)) in parts.keys.into_iter().enumerate() {
            if !used.contains(&n) {
                r.map_columns(&mut |c| c + width);
                rest.push(equal(l, r)?);
            }
        }
        let node = LookupJoin {
            kind: parts.kind,
            left,
            inner_schema: full.schema.clone(),
            inner_estimate: full.estimate,
            inner_id: full.id,
            access,
            on: conjuncts::join(rest),
        };
        Ok(Ok(self.node(NodeKind::LookupJoin(Arc::new(node)), parts.schema, estimate)))
    }
}

/// A wish of the join's parent, as one of its left side.
fn left_want(want: &Want, width: usize, keeps_left: bool) -> Want {
    if keeps_left && !want.order.is_empty() && want.order.iter().all(|o| o.column < width) {
        return Want { order: want.order.clone(), rows: want.rows, ..Want::default() };
    }
    Want::default()
}

fn keeps_order(node: &Node) -> bool {
    match &node.kind {
        NodeKind::HashJoin(j) => !matches!(j.kind, JoinKind::Right | JoinKind::Full),
        NodeKind::NestedLoop(j) => !matches!(j.kind, JoinKind::Right | JoinKind::Full),
        NodeKind::LookupJoin(_) | NodeKind::Lateral(_) => true,
        _ => false,
    }
}

/// The stored table that a plan reads without doing anything else but filtering.
fn stored(plan: &LogicalPlan) -> Option<(crate::plan::TableScan, Vec<Expr>)> {
    match plan {
        LogicalPlan::Scan(scan) if scan.lock.is_none() => Some(((**scan).clone(), Vec::new())),
        LogicalPlan::Filter { input, predicate } => {
            let (scan, mut all) = stored(input)?;
            conjuncts::split(predicate.clone(), &mut all);
            Some((scan, all))
        }
        _ => None,
    }
}

pub fn join_rows(kind: JoinKind, left: f64, right: f64, keys: usize, rest: &[Expr]) -> f64 {
    let residual: f64 = rest.iter().map(blind_selectivity).product();
    // The larger side is taken to have distinct keys that the smaller refers to.
    let matched = match keys {
        0 => left * right,
        _ => left * right / left.max(right).max(1.0),
    };
    let inner = (matched * residual).max(1.0);
    match kind {
        JoinKind::Inner | JoinKind::Cross => inner,
        JoinKind::Left => inner.max(left),
        JoinKind::Right => inner.max(right),
        JoinKind::Full => inner.max(left).max(right),
        JoinKind::Semi => (left / 2.0).max(1.0),
        JoinKind::Anti => (left / 2.0).max(1.0),
    }
}

/// Which side of a join an expression reads.
#[derive(PartialEq)]
enum Side {
    Neither,
    Left,
    Right,
    Both,
}

fn side(e: &Expr, width: usize) -> Side {
    let (mut left, mut right) = (false, false);
    e.columns_used(&mut |c| if c < width { left = true } else { right = true });
    match (left, right) {
        (false, false) => Side::Neither,
        (true, false) => Side::Left,
        (false, true) => Side::Right,
        (true, true) => Side::Both,
    }
}

/// The equalities between the sides, brought to common types; and the other conditions.
#[allow(clippy::type_complexity)]
fn equi_keys(all: Vec<Expr>, width: usize) -> SqlResult<(Vec<(Expr, Expr)>, Vec<Expr>)> {
    let mut keys = Vec::new();
    let mut rest = Vec::new();
    for e in all {
        let pair = match &e {
            Expr::Call { function, args, .. } if comparison_of(function) == Some(Comparison::Equal) => {
                match (side(&args[0], width), side(&args[1], width)) {
                    (Side::Left, Side::Right) => Some((args[0].clone(), args[1].clone())),
                    (Side::Right, Side::Left) => Some((args[1].clone(), args[0].clone())),
                    _ => None,
                }
            }
            _ => None,
        };
        match pair.and_then(|(l, r)| common_type(l, r)) {
            Some((l, mut r)) => {
                r.map_columns(&mut |c| c - width);
                keys.push((l, r));
            }
            None => rest.push(e),
        }
    }
    Ok((keys, rest))
}

/// Both expressions in a type in which equal values have equal bytes; `None` if there is no such type.
fn common_type(l: Expr, r: Expr) -> Option<(Expr, Expr)> {
    let (a, b) = (l.ty().oid, r.ty().oid);
    if a == b {
        return Some((l, r));
    }
    let rank = |t: Oid| match t {
        Oid::INT2 => Some(1),
        Oid::INT4 => Some(2),
        Oid::INT8 => Some(3),
        _ => None,
    };
    let text = |t: Oid| matches!(t, Oid::TEXT | Oid::VARCHAR | Oid::NAME);
    if text(a) && text(b) {
        return Some((l, r));
    }
    match (rank(a)?, rank(b)?) {
        (x, y) if x < y => Some((widened(l, b)?, r)),
        _ => Some((l, widened(r, a)?)),
    }
}

fn widened(e: Expr, to: Oid) -> Option<Expr> {
    let method = find_cast(e.ty().oid, to, CastContext::Implicit)?;
    Some(Expr::Cast { arg: Box::new(e), method, to: SqlType::new(to), explicit: false })
}

/// `l = r` for two expressions of one type (or kinds of text).
fn equal(l: Expr, r: Expr) -> SqlResult<Expr> {
    super::explainable::equality(l, r)
}
