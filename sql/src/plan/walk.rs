//! Walking logical plans: the inputs and the expressions of a node, and references to enclosing rows.
//!
//! A *level* is a row scope: one is entered with a subquery's plan and with the right side of a lateral join.
//! `Expr::Outer { depth }` counts levels outwards from where it stands.

use rustc_hash::FxHashMap;

use super::{ConflictAction, LogicalPlan};
use crate::expr::{Expr, SubqueryKind};

impl LogicalPlan {
    /// The direct inputs, left to right, and whether each opens a new level.
    pub fn for_each_input_mut(&mut self, f: &mut dyn FnMut(&mut LogicalPlan, bool)) {
        match self {
            LogicalPlan::Values { .. }
            | LogicalPlan::Scan(_)
            | LogicalPlan::VirtualScan { .. }
            | LogicalPlan::FunctionScan { .. }
            | LogicalPlan::CteScan { .. } => {}
            LogicalPlan::Filter { input, .. }
            | LogicalPlan::Project { input, .. }
            | LogicalPlan::Aggregate { input, .. }
            | LogicalPlan::Window { input, .. }
            | LogicalPlan::Sort { input, .. }
            | LogicalPlan::Limit { input, .. }
            | LogicalPlan::Distinct { input, .. } => f(input, false),
            LogicalPlan::Join { left, right, lateral, .. } => {
                f(left, false);
                f(right, *lateral);
            }
            LogicalPlan::SetOp { left, right, .. } => {
                f(left, false);
                f(right, false);
            }
            LogicalPlan::With { definition, body, .. } => {
                f(definition, false);
                f(body, false);
            }
            LogicalPlan::RecursiveUnion { base, step, .. } => {
                f(base, false);
                f(step, false);
            }
            LogicalPlan::Insert(i) => f(&mut i.input, false),
            LogicalPlan::Update(u) => f(&mut u.input, false),
            LogicalPlan::Delete(d) => f(&mut d.input, false),
        }
    }

    /// As [`for_each_input_mut`](Self::for_each_input_mut), only looking.
    pub fn for_each_input<'a>(&'a self, f: &mut dyn FnMut(&'a LogicalPlan, bool)) {
        match self {
            LogicalPlan::Values { .. }
            | LogicalPlan::Scan(_)
            | LogicalPlan::VirtualScan { .. }
            | LogicalPlan::FunctionScan { .. }
            | LogicalPlan::CteScan { .. } => {}
            LogicalPlan::Filter { input, .. }
            | LogicalPlan::Project { input, .. }
            | LogicalPlan::Aggregate { input, .. }
            | LogicalPlan::Window { input, .. }
            | LogicalPlan::Sort { input, .. }
            | LogicalPlan::Limit { input, .. }
            | LogicalPlan::Distinct { input, .. } => f(input, false),
            LogicalPlan::Join { left, right, lateral, .. } => {
                f(left, false);
                f(right, *lateral);
            }
            LogicalPlan::SetOp { left, right, .. } => {
                f(left, false);
                f(right, false);
            }
            LogicalPlan::With { definition, body, .. } => {
                f(definition, false);
                f(body, false);
            }
            LogicalPlan::RecursiveUnion { base, step, .. } => {
                f(base, false);
                f(step, false);
            }
            LogicalPlan::Insert(i) => f(&i.input, false),
            LogicalPlan::Update(u) => f(&u.input, false),
            LogicalPlan::Delete(d) => f(&d.input, false),
        }
    }

    /// How deep the plan is, its expressions included. Where an expression takes the place of a column in one above it,
    /// the sum stays; a read of a CTE counts as what it can become, or asks when it runs: the CTE's definition. So neither
    /// makes the plan deeper than this.
    pub fn depth(&mut self) -> usize {
        self.depth_within(&mut FxHashMap::default())
    }

    /// `ctes`: how deep the definitions are that can be read here.
    fn depth_within(&mut self, ctes: &mut FxHashMap<usize, usize>) -> usize {
        match self {
            LogicalPlan::With { id, definition, body, .. } => {
                let definition = definition.depth_within(ctes);
                ctes.insert(*id, definition);
                return 1 + definition.max(body.depth_within(ctes));
            }
            LogicalPlan::CteScan { id, .. } => return 1 + ctes.get(id).copied().unwrap_or_default(),
            _ => {}
        }
        let (mut own, mut inputs) = (0, 0);
        self.for_each_expr_mut(&mut |e| own = own.max(depth_of(e, ctes)));
        self.for_each_input_mut(&mut |input, _| inputs = inputs.max(input.depth_within(ctes)));
        1 + own + inputs
    }

    /// The operators and expressions of the plan, those of subqueries included.
    pub fn size(&mut self) -> usize {
        let mut size = 1;
        self.for_each_expr_mut(&mut |e| size += e.size());
        self.for_each_input_mut(&mut |input, _| size += input.size());
        size
    }

    /// The expressions of this node itself (not of its inputs).
    pub fn for_each_expr_mut(&mut self, f: &mut dyn FnMut(&mut Expr)) {
        match self {
            LogicalPlan::Values { rows, .. } => rows.iter_mut().flatten().for_each(f),
            LogicalPlan::Scan(_)
            | LogicalPlan::VirtualScan { .. }
            | LogicalPlan::CteScan { .. }
            | LogicalPlan::SetOp { .. }
            | LogicalPlan::With { .. }
            | LogicalPlan::RecursiveUnion { .. } => {}
            LogicalPlan::FunctionScan { calls, .. } => {
                calls.iter_mut().flat_map(|(_, args)| args).for_each(f)
            }
            LogicalPlan::Filter { predicate, .. } => f(predicate),
            LogicalPlan::Project { exprs, .. } => exprs.iter_mut().for_each(f),
            LogicalPlan::Join { on, .. } => on.iter_mut().for_each(f),
            LogicalPlan::Aggregate { groups, aggregates, .. } => {
                groups.iter_mut().for_each(&mut *f);
                for call in aggregates {
                    call.args.iter_mut().for_each(&mut *f);
                    call.order_by.iter_mut().for_each(|k| f(&mut k.expr));
                    call.filter.iter_mut().for_each(&mut *f);
                }
            }
            LogicalPlan::Window { calls, .. } => {
                for call in calls {
                    call.args.iter_mut().for_each(&mut *f);
                    call.partition_by.iter_mut().for_each(&mut *f);
                    call.order_by.iter_mut().for_each(|k| f(&mut k.expr));
                    call.filter.iter_mut().for_each(&mut *f);
                    if let Some(frame) = &mut call.frame {
                        for bound in [&mut frame.start, &mut frame.end] {
                            if let super::FrameBound::Preceding(e) | super::FrameBound::Following(e) = bound {
                                f(e);
                            }
                        }
                    }
                }
            }
            LogicalPlan::Sort { keys, .. } => keys.iter_mut().for_each(|k| f(&mut k.expr)),
            LogicalPlan::Limit { limit, offset, with_ties, .. } => {
                limit.iter_mut().for_each(&mut *f);
                offset.iter_mut().for_each(&mut *f);
                with_ties.iter_mut().flatten().for_each(|k| f(&mut k.expr));
            }
            LogicalPlan::Distinct { on, .. } => on.iter_mut().flatten().for_each(f),
            LogicalPlan::Insert(i) => {
                i.values.iter_mut().for_each(&mut *f);
                i.checks.iter_mut().for_each(|(_, e)| f(e));
                i.returning.iter_mut().flat_map(|(e, _)| e).for_each(&mut *f);
                if let Some(c) = &mut i.on_conflict
                    && let ConflictAction::Update { assignments, filter } = &mut c.action
                {
                    assignments.iter_mut().for_each(|(_, e)| f(e));
                    filter.iter_mut().for_each(&mut *f);
                }
            }
            LogicalPlan::Update(u) => {
                u.assignments.iter_mut().for_each(|(_, e)| f(e));
                u.checks.iter_mut().for_each(|(_, e)| f(e));
                u.returning.iter_mut().flat_map(|(e, _)| e).for_each(f);
            }
            LogicalPlan::Delete(d) => d.returning.iter_mut().flat_map(|(e, _)| e).for_each(f),
        }
    }

    /// Calls `f` on every expression in the plan, outermost first, subqueries' plans included; `f` gets the level of
    /// the row that the expression stands on: 0 is the row of this plan's own operators.
    pub fn visit_exprs_mut(&mut self, level: usize, f: &mut dyn FnMut(&mut Expr, usize)) {
        self.for_each_expr_mut(&mut |e| visit_expr(e, level, f));
        self.for_each_input_mut(&mut |input, deeper| input.visit_exprs_mut(level + deeper as usize, f));
    }

    /// Calls `f` on each reference to the row `level` levels out of this plan (1 = the next), wherever it stands.
    pub fn visit_outer_mut(&mut self, level: usize, f: &mut dyn FnMut(&mut Expr)) {
        self.visit_exprs_mut(0, &mut |e, inner| {
            if matches!(e, Expr::Outer { depth, .. } if *depth == level + inner) {
                f(e);
            }
        });
    }

    /// Whether the plan refers to any row outside itself.
    pub fn is_correlated(&self) -> bool {
        // Looking needs no change; the mutable walk on a copy keeps one traversal to maintain.
        let mut found = false;
        self.clone().visit_exprs_mut(0, &mut |e, inner| {
            found |= matches!(e, Expr::Outer { depth, .. } if *depth > inner);
        });
        found
    }
}

fn depth_of(e: &mut Expr, ctes: &mut FxHashMap<usize, usize>) -> usize {
    let mut deepest = 0;
    if let Expr::Subquery(s) = e {
        if let SubqueryKind::Compare { left, .. } = &mut s.kind {
            left.iter_mut().for_each(|l| deepest = deepest.max(depth_of(l, ctes)));
        }
        deepest += s.plan.depth_within(ctes);
    } else {
        e.for_each_child_mut(&mut |child| deepest = deepest.max(depth_of(child, ctes)));
    }
    1 + deepest
}

/// Calls `f` on the expression, what is in it, and the expressions of subqueries in it.
pub fn visit_expr(e: &mut Expr, level: usize, f: &mut dyn FnMut(&mut Expr, usize)) {
    f(e, level);
    if let Expr::Subquery(s) = e {
        if let SubqueryKind::Compare { left, .. } = &mut s.kind {
            left.iter_mut().for_each(|l| visit_expr(l, level, f));
        }
        s.plan.visit_exprs_mut(level + 1, f);
    } else {
        e.for_each_child_mut(&mut |child| visit_expr(child, level, f));
    }
}

impl Expr {
    /// The expressions and operators that this one consists of, those of subqueries included.
    pub fn size(&mut self) -> usize {
        let mut size = 1;
        if let Expr::Subquery(s) = self {
            if let SubqueryKind::Compare { left, .. } = &mut s.kind {
                left.iter_mut().for_each(|l| size += l.size());
            }
            size += s.plan.size();
        } else {
            self.for_each_child_mut(&mut |child| size += child.size());
        }
        size
    }

    /// Replaces each reference to a column of this expression's own input row, subqueries included, by `f` of its
    /// position. Replacements inside subqueries must again be columns.
    pub fn map_columns(&mut self, f: &mut dyn FnMut(usize) -> usize) {
        visit_expr(self, 0, &mut |e, level| match e {
            Expr::Column { index, .. } if level == 0 => *index = f(*index),
            Expr::Outer { depth, index, .. } if *depth == level && level > 0 => *index = f(*index),
            _ => {}
        });
    }

    /// The positions of the input row's columns that the expression reads, subqueries included.
    pub fn columns_used(&self, used: &mut dyn FnMut(usize)) {
        match self {
            Expr::Column { index, .. } => used(*index),
            Expr::Subquery(_) => {
                let mut copy = self.clone();
                copy.map_columns(&mut |i| {
                    used(i);
                    i
                });
            }
            other => other.for_each_child(&mut |child| child.columns_used(used)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// So many operators over the input.
    fn above(input: LogicalPlan, n: usize) -> LogicalPlan {
        (0..n).fold(input, |input, _| LogicalPlan::Distinct { input: Box::new(input), on: None })
    }

    fn read(id: usize) -> LogicalPlan {
        LogicalPlan::CteScan { id, schema: Arc::default() }
    }

    fn with(id: usize, definition: LogicalPlan, body: LogicalPlan) -> LogicalPlan {
        let (definition, body) = (Box::new(definition), Box::new(body));
        LogicalPlan::With { id, name: String::new(), definition, body }
    }

    #[test]
    fn a_plan_is_deep_by_the_ctes_that_are_read_one_from_the_other() {
        let values = || LogicalPlan::Values { rows: vec![Vec::new()], schema: Arc::default() };
        let beside = |second| with(1, above(values(), 100), with(2, above(second, 200), above(read(2), 10)));
        // Two WITHs, the operators above the read, the read, the definition, its leaf.
        assert_eq!(beside(values()).depth(), 2 + 10 + 1 + 200 + 1);
        assert_eq!(beside(read(1)).depth(), 2 + 10 + 1 + 200 + 1 + 100 + 1);
        assert_eq!(with(1, above(values(), 100), values()).depth(), 1 + 100 + 1, "what nobody reads");
    }
}
