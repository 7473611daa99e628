//! Physical plans to rows.
//!
//! An [`Operator`] yields batches of columns when it is asked ([`Operator::next`]), and asks its inputs in turn: nothing
//! runs ahead, so a client that stops reading stops the work. [`build`] turns a plan node into its operator; each
//! operator is one file, and shares its node's part of the immutable plan.
//!
//! What must stay true:
//! - A batch is never empty (`rows > 0`); `None` is the end, and stays the end.
//! - Rows are compared - sorted, grouped, hashed, deduplicated - by the bytes of [`keys`], the same encoding as in the
//!   indexes. So there is one notion of order and equality, and the optimizer may take one for the other.
//! - Whatever grows with the data is reserved in the statement's memory budget first, and fails with 53200 when that is
//!   used up. Nothing spills to disk yet.
//! - Rows that are written are checked and indexed in one place, [`mod@write`]. An operator that writes reads its input to
//!   the end first wherever it could otherwise meet its own writes.
//! - Cancellation is looked at once per batch, in every operator that can loop without yielding.
//!
//! The one-row statements by primary key, which are most of what a busy server runs, do not come through here: [`point`]
//! runs them without operators.

pub mod explain;
mod explain_expr;
pub mod analyze;
pub mod point;
mod delete;
mod update;
mod insert;
mod conflict;
mod foreign_key;
mod write;
mod returned;
mod lock_rows;
mod recursive;
mod cte;
mod set_op;
mod window;
mod apply;
mod lateral;
mod lookup_join;
mod hash_join;
mod nested_loop;
mod join_output;
mod aggregate;
mod distinct;
mod limit;
mod sort;
mod calls;
mod project_set;
mod project;
mod filter;
mod function_scan;
mod virtual_scan;
mod values;
mod scan;
mod bounds;
mod instrument;
mod describe;
mod eval;
mod keys;
mod vector;
mod context;

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

pub use context::{ExecContext, MemoryBudget, Statement, Surroundings};
pub use explain::{ExplainOptions, describe_plan, explain};
pub use instrument::NodeCounts;
pub use vector::slice;
pub use write::ROW_BYTES_MAX;

use crate::error::SqlResult;
use crate::plan::physical::{Node, NodeKind, PhysicalPlan};
use crate::types::Batch;

/// A running part of a plan.
pub trait Operator: Send {
    /// The next rows, at least one; `None` at the end.
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>>;

    /// How many rows a statement that writes has written so far. Asked of the root, after its end.
    fn affected(&self) -> Option<u64> {
        None
    }
}

/// Starts a plan. Nothing is read or written before the first [`Operator::next`].
pub fn execute(plan: &Arc<PhysicalPlan>, ctx: ExecContext) -> Box<dyn Operator> {
    let ctx = ctx.with_room(plan.slots);
    if plan.point
        && ctx.statement.statistics.is_none()
        && let Some(read) = point::PointRead::new(&plan.root, &ctx)
    {
        return Box::new(read);
    }
    build(&plan.root, &ctx)
}

/// The operator of a node, its inputs included.
fn build(node: &Node, ctx: &ExecContext) -> Box<dyn Operator> {
    let operator = build_plain(node, ctx);
    if ctx.statement.statistics.is_some() {
        return Box::new(instrument::Instrumented::new(operator, node.id, ctx));
    }
    operator
}

fn build_plain(node: &Node, ctx: &ExecContext) -> Box<dyn Operator> {
    match &node.kind {
        NodeKind::Values(plan) => Box::new(values::Values::new(plan, node.types(), ctx)),
        NodeKind::Scan(plan) => match ctx.snapshots.reader(node.id) {
            Some(read) => read,
            None => Box::new(scan::Scan::new(plan, ctx)),
        },
        NodeKind::VirtualScan(plan) => Box::new(virtual_scan::VirtualScan::new(plan, ctx)),
        NodeKind::FunctionScan(plan) => Box::new(function_scan::FunctionScan::new(plan, node.types(), ctx)),
        NodeKind::Filter(plan) => Box::new(filter::Filter::new(plan, ctx)),
        NodeKind::Project(plan) => Box::new(project::Project::new(plan, ctx)),
        NodeKind::ProjectSet(plan) => Box::new(project_set::ProjectSet::new(plan, node.types(), ctx)),
        NodeKind::Calls(plan) => Box::new(calls::Calls::new(plan, ctx)),
        NodeKind::NestedLoop(plan) => Box::new(nested_loop::NestedLoopJoin::new(plan, ctx)),
        NodeKind::HashJoin(plan) => Box::new(hash_join::HashJoinOperator::new(plan, ctx)),
        NodeKind::LookupJoin(plan) => Box::new(lookup_join::LookupJoinOperator::new(plan, ctx)),
        NodeKind::Lateral(plan) => Box::new(lateral::LateralJoin::new(plan, ctx)),
        NodeKind::Apply(plan) => Box::new(apply::Apply::new(plan, ctx)),
        NodeKind::InitPlans(plan) => Box::new(apply::InitPlans::new(plan, ctx)),
        NodeKind::Aggregate(plan) => Box::new(aggregate::Aggregate::new(plan, node.types(), ctx)),
        NodeKind::Window(plan) => Box::new(window::Window::new(plan, ctx)),
        NodeKind::LockRows(plan) => Box::new(lock_rows::LockRows::new(plan, ctx)),
        NodeKind::Sort(plan) => Box::new(sort::Sort::new(plan, ctx)),
        NodeKind::Limit(plan) => Box::new(limit::Limit::new(plan, ctx)),
        NodeKind::Distinct(plan) => Box::new(distinct::Distinct::new(plan, ctx)),
        NodeKind::SetOp(plan) => Box::new(set_op::SetOperation::new(plan, ctx)),
        NodeKind::Append(plan) => Box::new(set_op::Append::new(plan, ctx)),
        NodeKind::With(plan) => Box::new(cte::With::new(plan, ctx)),
        NodeKind::CteScan(plan) => Box::new(cte::CteScan::new(plan, ctx)),
        NodeKind::RecursiveUnion(plan) => Box::new(recursive::RecursiveUnion::new(plan, ctx)),
        NodeKind::Insert(plan) => Box::new(insert::Insert::new(plan, ctx)),
        NodeKind::Update(plan) => Box::new(update::Update::new(plan, ctx)),
        NodeKind::Delete(plan) => Box::new(delete::Delete::new(plan, ctx)),
    }
}

/// All batches of an operator; `memory` answers for them.
async fn drain(operator: &mut dyn Operator, memory: &mut context::Reservation) -> SqlResult<Vec<Batch>> {
    let mut out = Vec::new();
    while let Some(batch) = operator.next().await? {
        memory.grow(vector::size(&batch))?;
        out.push(batch);
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
