//! Conditions move to where they can be decided first: through projections, joins, aggregates and set operations to
//! the tables. On the way an outer join whose padded rows would not survive the conditions becomes an inner one, and an
//! equality with a constant is carried over to what the column is joined with.

use std::sync::Arc;

use rustc_hash::FxHashSet;

use super::conjuncts::{self, Comparison, comparison_of, has_subquery, returns_set};
use crate::expr::Expr;
use crate::plan::walk::visit_expr;
use crate::plan::{JoinKind, LogicalPlan};
use crate::registry::{CastMethod, Volatility};
use crate::types::Datum;

/// What conjuncts may grow by, in a whole statement, when they take the place of columns or are copied.
const ROOM: usize = 1_000_000;

/// The size up to which a conjunct may hold an expression more than once. Its copies can be copied again below, so
/// that each projection on the way may double it.
const MAX_REPEATING: usize = 1_000;

pub fn push_down(plan: LogicalPlan) -> LogicalPlan {
    push(plan, Vec::new(), &mut { ROOM })
}

fn boxed(plan: LogicalPlan, conjuncts: Vec<Expr>, room: &mut usize) -> Box<LogicalPlan> {
    Box::new(push(plan, conjuncts, room))
}

fn filtered(plan: LogicalPlan, all: Vec<Expr>) -> LogicalPlan {
    match conjuncts::join(all) {
        None => plan,
        Some(predicate) => LogicalPlan::Filter { input: Box::new(plan), predicate },
    }
}

/// The plan with the conjuncts (over its result) applied as far down as they go.
fn push(plan: LogicalPlan, mut all: Vec<Expr>, room: &mut usize) -> LogicalPlan {
    match plan {
        LogicalPlan::Filter { input, predicate } => {
            let mut own = Vec::new();
            conjuncts::split(in_subqueries(predicate, room), &mut own);
            if own.iter().any(is_volatile) {
                // What runs how often must not change: nothing passes.
                let input = push(*input, Vec::new(), room);
                return filtered(filtered(input, own), all);
            }
            own.append(&mut all);
            push(*input, own, room)
        }
        LogicalPlan::Project { input, exprs, schema } => {
            let mut exprs: Vec<Expr> = exprs.into_iter().map(|e| in_subqueries(e, room)).collect();
            let opaque = |e: &Expr| is_volatile(e) || returns_set(e) || has_subquery(e) || e.has_async();
            let sets = exprs.iter().any(returns_set);
            let (down, mut stay) = all.into_iter().partition(|c: &Expr| {
                let mut passes = !sets && !is_volatile(c);
                let subquery = has_subquery(c);
                c.columns_used(&mut |i| {
                    passes &= !opaque(&exprs[i]) && (!subquery || conjuncts::as_column(&exprs[i]).is_some())
                });
                passes
            });
            let down = substituted(down, &mut exprs, &mut stay, room);
            filtered(LogicalPlan::Project { input: boxed(*input, down, room), exprs, schema }, stay)
        }
        LogicalPlan::Join { .. } => push_join(plan, all, room),
        LogicalPlan::Aggregate { input, mut groups, aggregates, schema } => {
            let passes = |c: &Expr| {
                let mut passes = !groups.is_empty() && !is_volatile(c) && !has_subquery(c);
                c.columns_used(&mut |i| {
                    passes &= i < groups.len() && !is_volatile(&groups[i]) && !has_subquery(&groups[i])
                });
                passes
            };
            let (down, mut stay): (Vec<Expr>, Vec<Expr>) = all.into_iter().partition(passes);
            let down = substituted(down, &mut groups, &mut stay, room);
            filtered(
                LogicalPlan::Aggregate { input: boxed(*input, down, room), groups, aggregates, schema },
                stay,
            )
        }
        LogicalPlan::Sort { input, keys } => LogicalPlan::Sort { input: boxed(*input, all, room), keys },
        LogicalPlan::Distinct { input, on } => {
            let key = |i: usize| match &on {
                None => true,
                Some(exprs) => exprs.iter().any(|e| conjuncts::as_column(e) == Some(i)),
            };
            let passes = |c: &Expr| {
                let mut passes = !is_volatile(c);
                c.columns_used(&mut |i| passes &= key(i));
                passes
            };
            let (down, stay): (Vec<Expr>, Vec<Expr>) = all.into_iter().partition(passes);
            filtered(LogicalPlan::Distinct { input: boxed(*input, down, room), on }, stay)
        }
        LogicalPlan::SetOp { op, all: duplicates, left, right, schema } => {
            // The sides' types are the result's; conditions hold for both.
            let (mut down, mut stay) = (Vec::new(), Vec::new());
            for mut c in all {
                if !is_volatile(&c) && take(room, c.size()) { down.push(c) } else { stay.push(c) }
            }
            let left = boxed(*left, down.clone(), room);
            let right = boxed(*right, down, room);
            filtered(LogicalPlan::SetOp { op, all: duplicates, left, right, schema }, stay)
        }
        LogicalPlan::With { id, name, definition, body } => LogicalPlan::With {
            id,
            name,
            definition: boxed(*definition, Vec::new(), room),
            body: boxed(*body, all, room),
        },
        LogicalPlan::Window { input, calls, schema } => {
            let width = input.schema().len();
            let key = |i: usize| {
                i < width
                    && calls.iter().all(|c| c.partition_by.iter().any(|p| conjuncts::as_column(p) == Some(i)))
            };
            let passes = |c: &Expr| {
                let mut passes = !is_volatile(c) && !has_subquery(c);
                c.columns_used(&mut |i| passes &= key(i));
                passes
            };
            let (down, stay): (Vec<Expr>, Vec<Expr>) = all.into_iter().partition(passes);
            filtered(LogicalPlan::Window { input: boxed(*input, down, room), calls, schema }, stay)
        }
        mut other => {
            other.for_each_input_mut(&mut |input, _| {
                let taken = std::mem::replace(input, nothing());
                *input = push(taken, Vec::new(), room);
            });
            other.for_each_expr_mut(&mut |e| {
                let taken = std::mem::replace(e, conjuncts::boolean(true));
                *e = in_subqueries(taken, room);
            });
            filtered(other, all)
        }
    }
}

fn nothing() -> LogicalPlan {
    LogicalPlan::Values { rows: Vec::new(), schema: Arc::new(Vec::new()) }
}

/// Pushes down within the subqueries of an expression.
fn in_subqueries(mut e: Expr, room: &mut usize) -> Expr {
    e.rewrite(&mut |e| {
        if let Expr::Subquery(s) = e {
            let plan = std::mem::replace(&mut s.plan, nothing());
            s.plan = push(plan, Vec::new(), room);
        }
    });
    e
}

fn take(room: &mut usize, size: usize) -> bool {
    let enough = size <= *room;
    if enough {
        *room -= size;
    }
    enough
}

/// As [`conjuncts::is_volatile`], and also if a subquery in the expression is.
fn is_volatile(e: &Expr) -> bool {
    let mut found = conjuncts::is_volatile(e);
    if !found && has_subquery(e) {
        visit_expr(&mut e.clone(), 0, &mut |e, _| {
            found |= matches!(e, Expr::Call { function, .. } if function.volatility == Volatility::Volatile)
        });
    }
    found
}

/// The conjuncts over what `exprs` are computed from. Those that would become too large `stay`.
fn substituted(all: Vec<Expr>, exprs: &mut [Expr], stay: &mut Vec<Expr>, room: &mut usize) -> Vec<Expr> {
    if all.is_empty() {
        return all;
    }
    let sizes: Vec<usize> = exprs.iter_mut().map(Expr::size).collect();
    let mut out = Vec::new();
    for mut c in all {
        if fits(&mut c, &sizes, room) {
            conjuncts::split(substitute(c, exprs), &mut out);
        } else {
            stay.push(c);
        }
    }
    out
}

/// Whether a conjunct may have expressions of these sizes in place of its columns.
fn fits(c: &mut Expr, sizes: &[usize], room: &mut usize) -> bool {
    let mut read = FxHashSet::default();
    let (mut more, mut repeats) = (0, false);
    c.columns_used(&mut |i| {
        more += sizes[i] - 1;
        repeats |= !read.insert(i) && sizes[i] > 1;
    });
    more == 0 || (!repeats || c.size() + more <= MAX_REPEATING) && take(room, more)
}

fn substitute(mut e: Expr, exprs: &[Expr]) -> Expr {
    // Within subqueries a column stays a column.
    if has_subquery(&e) {
        e.map_columns(&mut |i| conjuncts::as_column(&exprs[i]).unwrap_or(i));
        return e;
    }
    e.rewrite(&mut |e| {
        if let Expr::Column { index, .. } = e {
            *e = exprs[*index].clone();
        }
    });
    e
}

fn push_join(plan: LogicalPlan, above: Vec<Expr>, room: &mut usize) -> LogicalPlan {
    let LogicalPlan::Join { mut kind, left, right, on, lateral, schema } = plan else { return plan };
    let width = left.schema().len();
    let mut on_all = Vec::new();
    on.into_iter().for_each(|e| conjuncts::split(in_subqueries(e, room), &mut on_all));
    if !matches!(kind, JoinKind::Semi | JoinKind::Anti) {
        kind = strengthened(kind, &above, width);
    }
    let mut parts =
        Parts { width, lateral, left: Vec::new(), right: Vec::new(), on: Vec::new(), stay: Vec::new() };
    match kind {
        JoinKind::Inner | JoinKind::Cross => {
            let mut all = on_all;
            all.extend(above);
            transfer_constants(&mut all, width);
            all.into_iter().for_each(|c| parts.place(c, true, true, true));
            if !parts.on.is_empty() {
                kind = JoinKind::Inner;
            }
        }
        JoinKind::Left | JoinKind::Semi | JoinKind::Anti => {
            let semi = kind == JoinKind::Semi;
            above.into_iter().for_each(|c| parts.place(c, true, false, false));
            on_all.into_iter().for_each(|c| parts.place(c, semi, true, true));
        }
        JoinKind::Right => {
            above.into_iter().for_each(|c| parts.place(c, false, true, false));
            on_all.into_iter().for_each(|c| parts.place(c, true, false, true));
        }
        JoinKind::Full => {
            parts.stay = above;
            parts.on = on_all;
        }
    }
    let join = LogicalPlan::Join {
        kind,
        left: boxed(*left, parts.left, room),
        right: boxed(*right, parts.right, room),
        on: conjuncts::join(parts.on),
        lateral,
        schema,
    };
    filtered(join, parts.stay)
}

/// Where the conjuncts of a join go.
struct Parts {
    width: usize,
    lateral: bool,
    left: Vec<Expr>,
    right: Vec<Expr>,
    on: Vec<Expr>,
    stay: Vec<Expr>,
}

impl Parts {
    /// To the side that the conjunct reads, if it may go there; else into the condition, or above the join.
    fn place(&mut self, mut c: Expr, to_left: bool, to_right: bool, to_on: bool) {
        let (mut reads_left, mut reads_right) = (false, false);
        c.columns_used(&mut |i| if i < self.width { reads_left = true } else { reads_right = true });
        let free = !is_volatile(&c);
        // In a lateral right side, references to enclosing rows stand one level deeper.
        let right_ok = to_right && !(self.lateral && refers_outward(&c));
        if free && to_left && !reads_right {
            self.left.push(c);
        } else if free && right_ok && reads_right && !reads_left {
            let width = self.width;
            c.map_columns(&mut |i| i - width);
            self.right.push(c);
        } else if to_on {
            self.on.push(c);
        } else {
            self.stay.push(c);
        }
    }
}

fn refers_outward(e: &Expr) -> bool {
    e.any(&mut |e| matches!(e, Expr::Outer { .. } | Expr::Subquery(_)))
}

/// The join kind when the conditions above reject rows that the join padded with NULLs.
fn strengthened(kind: JoinKind, above: &[Expr], width: usize) -> JoinKind {
    let rejects = |left: bool| above.iter().any(|c| rejects_nulls(c, &|i| (i < width) == left));
    match kind {
        JoinKind::Left if rejects(false) => JoinKind::Inner,
        JoinKind::Right if rejects(true) => JoinKind::Inner,
        JoinKind::Full => match (rejects(true), rejects(false)) {
            (true, true) => JoinKind::Inner,
            (true, false) => JoinKind::Left,
            (false, true) => JoinKind::Right,
            _ => JoinKind::Full,
        },
        other => other,
    }
}

/// Whether the condition cannot be true if all the columns of the side are NULL.
fn rejects_nulls(e: &Expr, side: &dyn Fn(usize) -> bool) -> bool {
    match e {
        Expr::And(parts) => parts.iter().any(|p| rejects_nulls(p, side)),
        Expr::Or(parts) => parts.iter().all(|p| rejects_nulls(p, side)),
        Expr::IsNull { arg, negated: true } => is_null_if(arg, side),
        Expr::IsTruth { arg, value: Some(_), negated: false } => is_null_if(arg, side),
        Expr::ArrayCompare { left, .. } => is_null_if(left, side),
        Expr::Not(arg) => is_null_if(arg, side),
        other => is_null_if(other, side),
    }
}

/// Whether the expression is NULL if all the columns of the side are.
fn is_null_if(e: &Expr, side: &dyn Fn(usize) -> bool) -> bool {
    match e {
        Expr::Column { index, .. } => side(*index),
        Expr::Const(Datum::Null, _) => true,
        Expr::Call { function, args, .. } => {
            function.strict && !function.is_set_returning() && args.iter().any(|a| is_null_if(a, side))
        }
        Expr::Cast { arg, method: CastMethod::Relabel, .. } | Expr::Not(arg) => is_null_if(arg, side),
        Expr::Cast { arg, method: CastMethod::Function(f), .. } => f.strict && is_null_if(arg, side),
        _ => false,
    }
}

/// From `a = b` and `a = constant`: also `b = constant`, so that both sides of the join can use it.
fn transfer_constants(all: &mut Vec<Expr>, width: usize) {
    let mut added = Vec::new();
    let mut implied = Vec::new();
    for (n, pair) in all.iter().enumerate() {
        let Some((l, r)) = column_pair(pair) else { continue };
        if (l.0 < width) == (r.0 < width) || l.1 != r.1 {
            continue;
        }
        for known in all.iter() {
            let Expr::Call { function, args, ty } = known else { continue };
            if comparison_of(function) != Some(Comparison::Equal)
                || !matches!(args[1], Expr::Const(..) | Expr::Param { .. })
            {
                continue;
            }
            let Expr::Column { index, ty: column_type } = &args[0] else { continue };
            let other = match *index {
                i if i == l.0 => r,
                i if i == r.0 => l,
                _ => continue,
            };
            let said = |e: &Expr| match e {
                Expr::Call { function: f, args: a, .. }
                    if f == function && conjuncts::as_column(&a[0]) == Some(other.0) =>
                {
                    conjuncts::is_row_free(&a[1]).then(|| format!("{:?}", a[1]))
                }
                _ => None,
            };
            let value = format!("{:?}", args[1]);
            let known = all.iter().chain(&added).find_map(said);
            if known.as_ref().is_none_or(|k| *k == value) {
                // Both sides are fixed to the same value: comparing them says nothing new.
                implied.push(n);
            }
            if known.is_some() {
                continue;
            }
            let column = Expr::Column { index: other.0, ty: *column_type };
            added.push(Expr::Call { function, args: vec![column, args[1].clone()], ty: *ty });
        }
    }
    let mut n = 0;
    all.retain(|_| {
        n += 1;
        !implied.contains(&(n - 1))
    });
    all.append(&mut added);
}

/// `column = column`, with their types.
fn column_pair(e: &Expr) -> Option<((usize, crate::types::Oid), (usize, crate::types::Oid))> {
    let Expr::Call { function, args, .. } = e else { return None };
    if comparison_of(function)? != Comparison::Equal {
        return None;
    }
    match (&args[0], &args[1]) {
        (Expr::Column { index: a, ty: t }, Expr::Column { index: b, ty: u }) => {
            Some(((*a, t.oid), (*b, u.oid)))
        }
        _ => None,
    }
}
