//! The logical plan as text, for golden tests and for looking at what the binder made of a statement.
//!
//! Columns of the input row are `#position`, those of enclosing rows `^level#position`, casts that the statement wrote
//! are `CAST(… AS type)`, casts that the binder added `…::type`.

use std::fmt::{self, Display, Formatter, Write};

use super::*;
use crate::catalog::ColumnId;
use crate::expr::{Expr, SubqueryKind};
use crate::registry::format_type;
use crate::types::Datum;
use crate::types::text::{TextContext, output};

impl LogicalPlan {
    /// One line for each node, inputs indented below it.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        print(self, 0, &mut text).expect("writing to a string");
        text
    }
}

type W<'a> = &'a mut String;

fn print(plan: &LogicalPlan, depth: usize, out: W<'_>) -> fmt::Result {
    write!(out, "{:1$}", "", depth * 2)?;
    node(plan, out)?;
    out.push('\n');
    subplans(plan, depth, out)?;
    let mut result = Ok(());
    plan.for_each_input(&mut |input, _| {
        if result.is_ok() {
            result = print(input, depth + 1, out);
        }
    });
    result
}

/// The plans of subqueries in a node's own expressions.
fn subplans(plan: &LogicalPlan, depth: usize, out: W<'_>) -> fmt::Result {
    let mut result = Ok(());
    let mut copy = plan.clone();
    copy.for_each_expr_mut(&mut |e| {
        if result.is_ok() {
            result = expr_subplans(e, depth, out);
        }
    });
    result
}

fn expr_subplans(e: &Expr, depth: usize, out: W<'_>) -> fmt::Result {
    if let Expr::Subquery(s) = e {
        writeln!(out, "{:1$}subquery", "", depth * 2 + 2)?;
        return print(&s.plan, depth + 2, out);
    }
    let mut result = Ok(());
    e.for_each_child(&mut |child| {
        if result.is_ok() {
            result = expr_subplans(child, depth, out);
        }
    });
    result
}

fn node(plan: &LogicalPlan, out: W<'_>) -> fmt::Result {
    match plan {
        LogicalPlan::Values { rows, .. } => {
            write!(out, "Values")?;
            for row in rows {
                write!(out, " ({})", List(row))?;
            }
            Ok(())
        }
        LogicalPlan::Scan(scan) => {
            write!(out, "Scan {}", scan.table.name)?;
            if scan.alias != scan.table.name {
                write!(out, " as {}", scan.alias)?;
            }
            match scan.lock {
                Some(lock) => write!(out, " lock {:?} {:?}", lock.strength, lock.wait),
                None => Ok(()),
            }
        }
        LogicalPlan::VirtualScan { name, .. } => write!(out, "VirtualScan {name}"),
        LogicalPlan::FunctionScan { calls, ordinality, .. } => {
            write!(out, "FunctionScan")?;
            for (function, args) in calls {
                write!(out, " {}({})", function.name, List(args))?;
            }
            write!(out, "{}", if *ordinality { " with ordinality" } else { "" })
        }
        LogicalPlan::Filter { predicate, .. } => write!(out, "Filter {predicate}"),
        LogicalPlan::Project { exprs, schema, .. } => {
            write!(out, "Project")?;
            for (i, (e, field)) in exprs.iter().zip(schema.iter()).enumerate() {
                write!(out, "{} {} := {e}", if i > 0 { "," } else { "" }, field.name)?;
            }
            Ok(())
        }
        LogicalPlan::Join { kind, on, lateral, .. } => {
            write!(out, "Join {kind:?}{}", if *lateral { " lateral" } else { "" })?;
            on.iter().try_for_each(|on| write!(out, " on {on}"))
        }
        LogicalPlan::Aggregate { groups, aggregates, .. } => {
            write!(out, "Aggregate by [{}]", List(groups))?;
            aggregates.iter().try_for_each(|a| write!(out, " {}", Aggregate(a)))
        }
        LogicalPlan::Window { calls, .. } => {
            write!(out, "Window")?;
            calls.iter().try_for_each(|c| write!(out, " {}", Over(c)))
        }
        LogicalPlan::Sort { keys, .. } => write!(out, "Sort {}", Keys(keys)),
        LogicalPlan::Limit { limit, offset, with_ties, .. } => {
            write!(out, "Limit")?;
            limit.iter().try_for_each(|e| write!(out, " {e}"))?;
            offset.iter().try_for_each(|e| write!(out, " offset {e}"))?;
            with_ties.iter().try_for_each(|k| write!(out, " ties {}", Keys(k)))
        }
        LogicalPlan::Distinct { on, .. } => {
            write!(out, "Distinct")?;
            on.iter().try_for_each(|on| write!(out, " on [{}]", List(on)))
        }
        LogicalPlan::SetOp { op, all, .. } => write!(out, "{op:?}{}", if *all { " all" } else { "" }),
        LogicalPlan::With { id, name, .. } => write!(out, "With {name} = {id}"),
        LogicalPlan::CteScan { id, .. } => write!(out, "CteScan {id}"),
        LogicalPlan::RecursiveUnion { id, all, .. } => {
            write!(out, "RecursiveUnion {id}{}", if *all { " all" } else { "" })
        }
        LogicalPlan::Insert(insert) => {
            write!(out, "Insert {} ({})", insert.table.name, List(&insert.values))?;
            conflict(insert.on_conflict.as_ref(), out)?;
            changes(&insert.checks, insert.returning.as_ref(), out)
        }
        LogicalPlan::Update(update) => {
            write!(out, "Update {} set {}", update.table.name, Assignments(&update.assignments))?;
            changes(&update.checks, update.returning.as_ref(), out)
        }
        LogicalPlan::Delete(delete) => {
            write!(out, "Delete {}", delete.table.name)?;
            changes(&[], delete.returning.as_ref(), out)
        }
    }
}

fn conflict(conflict: Option<&OnConflict>, out: W<'_>) -> fmt::Result {
    let Some(conflict) = conflict else { return Ok(()) };
    write!(out, " on conflict")?;
    if let Some(arbiter) = &conflict.arbiter {
        let ids: Vec<String> = arbiter.iter().map(|i| i.0.to_string()).collect();
        write!(out, " index {}", ids.join(","))?;
    }
    match &conflict.action {
        ConflictAction::Nothing => write!(out, " nothing"),
        ConflictAction::Update { assignments, filter } => {
            write!(out, " set {}", Assignments(assignments))?;
            filter.iter().try_for_each(|f| write!(out, " where {f}"))
        }
    }
}

fn changes(checks: &[(String, Expr)], returning: Option<&(Vec<Expr>, Schema)>, out: W<'_>) -> fmt::Result {
    checks.iter().try_for_each(|(name, e)| write!(out, " check {name} {e}"))?;
    returning.iter().try_for_each(|(exprs, _)| write!(out, " returning {}", List(exprs)))
}

struct List<'a>(&'a [Expr]);

impl Display for List<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, e) in self.0.iter().enumerate() {
            write!(f, "{}{e}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

struct Assignments<'a>(&'a [(ColumnId, Expr)]);

impl Display for Assignments<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, (id, e)) in self.0.iter().enumerate() {
            write!(f, "{}@{} = {e}", if i > 0 { ", " } else { "" }, id.0)?;
        }
        Ok(())
    }
}

struct Keys<'a>(&'a [SortKey]);

impl Display for Keys<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, k) in self.0.iter().enumerate() {
            write!(f, "{}{}", if i > 0 { ", " } else { "" }, k.expr)?;
            if k.descending {
                write!(f, " desc")?;
            }
            if k.nulls_first != k.descending {
                write!(f, " nulls {}", if k.nulls_first { "first" } else { "last" })?;
            }
        }
        Ok(())
    }
}

struct Aggregate<'a>(&'a AggregateCall);

impl Display for Aggregate<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let a = self.0;
        write!(f, "{}({}{}", a.function.name, if a.distinct { "distinct " } else { "" }, List(&a.args))?;
        if !a.order_by.is_empty() {
            write!(f, " order by {}", Keys(&a.order_by))?;
        }
        write!(f, ")")?;
        a.filter.iter().try_for_each(|e| write!(f, " filter {e}"))
    }
}

struct Over<'a>(&'a WindowCall);

impl Display for Over<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let w = self.0;
        write!(f, "{}({}) over (", w.function.name, List(&w.args))?;
        if !w.partition_by.is_empty() {
            write!(f, "partition by {} ", List(&w.partition_by))?;
        }
        if !w.order_by.is_empty() {
            write!(f, "order by {} ", Keys(&w.order_by))?;
        }
        if let Some(frame) = &w.frame {
            write!(f, "{:?} {} to {}", frame.unit, Bound(&frame.start), Bound(&frame.end))?;
        }
        write!(f, ")")?;
        w.filter.iter().try_for_each(|e| write!(f, " filter {e}"))
    }
}

struct Bound<'a>(&'a FrameBound);

impl Display for Bound<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            FrameBound::UnboundedPreceding => write!(f, "start"),
            FrameBound::Preceding(e) => write!(f, "{e} preceding"),
            FrameBound::CurrentRow => write!(f, "current"),
            FrameBound::Following(e) => write!(f, "{e} following"),
            FrameBound::UnboundedFollowing => write!(f, "end"),
        }
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let not = |negated: bool| if negated { "not " } else { "" };
        match self {
            Expr::Const(Datum::Null, ty) => write!(f, "NULL::{}", format_type(*ty)),
            Expr::Const(value, ty) => {
                let text = output(ty.oid, value, &TextContext::detached());
                match value {
                    Datum::Int4(_) => write!(f, "{text}"),
                    Datum::Bool(b) => write!(f, "{b}"),
                    _ => write!(f, "'{text}'::{}", format_type(*ty)),
                }
            }
            Expr::Column { index, .. } => write!(f, "#{index}"),
            Expr::Outer { depth, index, .. } => write!(f, "^{depth}#{index}"),
            Expr::Param { index, .. } => write!(f, "${}", index + 1),
            Expr::Call { function, args, .. } => write!(f, "{}({})", function.name, List(args)),
            Expr::Cast { arg, to, explicit: true, .. } => write!(f, "CAST({arg} AS {})", format_type(*to)),
            Expr::Cast { arg, to, .. } => write!(f, "{arg}::{}", format_type(*to)),
            Expr::And(args) => write!(f, "and({})", List(args)),
            Expr::Or(args) => write!(f, "or({})", List(args)),
            Expr::Not(arg) => write!(f, "not({arg})"),
            Expr::IsNull { arg, negated } => write!(f, "({arg} is {}null)", not(*negated)),
            Expr::IsTruth { arg, value, negated } => {
                let value = value.map_or("unknown".into(), |v| v.to_string());
                write!(f, "({arg} is {}{value})", not(*negated))
            }
            Expr::IsDistinct { left, right, negated, .. } => {
                write!(f, "({left} is {}distinct from {right})", not(*negated))
            }
            Expr::Case { arms, otherwise, .. } => {
                write!(f, "case")?;
                arms.iter().try_for_each(|(test, value)| write!(f, " when {test} then {value}"))?;
                write!(f, " else {otherwise} end")
            }
            Expr::Coalesce { args, .. } => write!(f, "coalesce({})", List(args)),
            Expr::MinMax { args, greatest, .. } => {
                write!(f, "{}({})", if *greatest { "greatest" } else { "least" }, List(args))
            }
            Expr::ArrayCompare { left, op, array, all } => {
                write!(f, "({left} {} {}({array}))", op.name, if *all { "all" } else { "any" })
            }
            Expr::Array { elements, ty } => write!(f, "array[{}]::{}", List(elements), format_type(*ty)),
            Expr::Row { fields, .. } => write!(f, "row({})", List(fields)),
            Expr::Subscript { array, index, .. } => write!(f, "{array}[{index}]"),
            Expr::Field { record, index, .. } => write!(f, "{record}.{index}"),
            Expr::Subquery(s) => match &s.kind {
                SubqueryKind::Scalar => write!(f, "(subquery)"),
                SubqueryKind::Exists => write!(f, "exists(subquery)"),
                SubqueryKind::Array => write!(f, "array(subquery)"),
                SubqueryKind::Compare { left, ops, all } => {
                    let op = ops.first().map_or("", |o| o.name);
                    write!(f, "(({}) {op} {}(subquery))", List(left), if *all { "all" } else { "any" })
                }
            },
        }
    }
}
