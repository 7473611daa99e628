//! CTEs that are read once become part of the query that reads them, as in PostgreSQL 12 and later.
//!
//! Not those that modify data, are recursive, call volatile functions, or are read in a deeper level than they are
//! defined in while they look at enclosing rows themselves.

use super::conjuncts::is_volatile;
use crate::plan::LogicalPlan;

/// Whether the plan, or a part of it, modifies data.
pub fn writes(plan: &LogicalPlan) -> bool {
    if matches!(plan, LogicalPlan::Insert(_) | LogicalPlan::Update(_) | LogicalPlan::Delete(_)) {
        return true;
    }
    let mut found = false;
    plan.for_each_input(&mut |input, _| found |= writes(input));
    found
}

pub fn inline(plan: &mut LogicalPlan) {
    plan.for_each_input_mut(&mut |input, _| inline(input));
    plan.for_each_expr_mut(&mut |e| {
        e.rewrite(&mut |e| {
            if let crate::expr::Expr::Subquery(s) = e {
                inline(&mut s.plan);
            }
        });
    });
    let LogicalPlan::With { id, definition, body, .. } = plan else { return };
    if !may_inline(definition) {
        return;
    }
    let mut reads = Vec::new();
    count_reads(body, *id, 0, &mut reads);
    let [level] = reads.as_slice() else { return };
    if *level > 0 && definition.is_correlated() {
        return;
    }
    let empty = || LogicalPlan::Values { rows: Vec::new(), schema: std::sync::Arc::new(Vec::new()) };
    let mut definition = Some(std::mem::replace(&mut **definition, empty()));
    let mut body = std::mem::replace(&mut **body, empty());
    substitute(&mut body, *id, &mut definition);
    *plan = body;
}

fn may_inline(definition: &LogicalPlan) -> bool {
    if writes(definition) || matches!(definition, LogicalPlan::RecursiveUnion { .. }) || locks(definition) {
        return false;
    }
    let mut volatile = false;
    definition.clone().visit_exprs_mut(0, &mut |e, _| volatile |= is_volatile(e));
    !volatile
}

fn locks(plan: &LogicalPlan) -> bool {
    let mut found = matches!(plan, LogicalPlan::Scan(s) if s.lock.is_some());
    plan.for_each_input(&mut |input, _| found |= locks(input));
    found
}

/// The level of each read of the CTE.
fn count_reads(plan: &mut LogicalPlan, id: usize, level: usize, out: &mut Vec<usize>) {
    if matches!(plan, LogicalPlan::CteScan { id: read, .. } if *read == id) {
        out.push(level);
    }
    // A recursive step runs more than once.
    let repeat = matches!(plan, LogicalPlan::RecursiveUnion { .. });
    plan.for_each_input_mut(&mut |input, deeper| {
        let before = out.len();
        count_reads(input, id, level + deeper as usize, out);
        if repeat && out.len() > before {
            out.push(level);
        }
    });
    plan.for_each_expr_mut(&mut |e| {
        e.rewrite(&mut |e| {
            if let crate::expr::Expr::Subquery(s) = e {
                count_reads(&mut s.plan, id, level + 1, out);
            }
        });
    });
}

fn substitute(plan: &mut LogicalPlan, id: usize, definition: &mut Option<LogicalPlan>) {
    if matches!(plan, LogicalPlan::CteScan { id: read, .. } if *read == id)
        && let Some(definition) = definition.take()
    {
        *plan = definition;
        return;
    }
    plan.for_each_input_mut(&mut |input, _| substitute(input, id, definition));
    plan.for_each_expr_mut(&mut |e| {
        e.rewrite(&mut |e| {
            if let crate::expr::Expr::Subquery(s) = e {
                substitute(&mut s.plan, id, definition);
            }
        });
    });
}
