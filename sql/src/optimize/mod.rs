//! Logical plans to physical ones.
//!
//! First the plan is rewritten as algebra, one rule per file, in a fixed order: [`simplify`] (constants, truth values),
//! [`inline`] (CTEs that are read once), [`unnest`] (subqueries to joins), [`push_down`] (conditions to where they can be
//! decided first, outer joins to inner ones), [`prune`] (columns that nobody reads). Then [`build`] walks it once and
//! chooses: how each table is read ([`access`]), in which order and by which method tables are joined ([`join`]), what
//! is sorted and what comes sorted already. Choices compare estimated costs ([`cost`], [`statistics`]).
//!
//! What must stay true:
//! - A plan is valid for all values of its parameters: nothing is decided by looking at a value.
//! - Every rewrite keeps the result, errors included where PostgreSQL promises them: volatile functions and
//!   set-returning ones are neither duplicated, dropped nor moved past what changes how often they run.
//! - No rewrite makes a plan much deeper or larger than what was asked for: what copies expressions or plans has a
//!   bound, and leaves things where they stand beyond it.
//! - A statement that names one row by its primary key is planned without any of this cost: there is one candidate
//!   worth looking at.

mod targets;
mod dml;
mod locking;
mod explainable;
mod join_order;
mod join;
mod subquery;
mod access;
mod candidate;
mod build;
mod build_groups;
mod prune;
mod push_down;
mod unnest;
mod scalar_aggregate;
mod inline;
mod simplify;
mod cost;
mod statistics;
mod conjuncts;

use std::sync::Arc;

use crate::catalog::{Catalog, TableDescriptor};
use crate::error::{SqlError, SqlResult};
use crate::expr::Expr;
use crate::plan::LogicalPlan;
use crate::plan::physical::PhysicalPlan;

/// Binds the SQL texts that descriptors hold: the binder, seen from below.
pub trait TableExprs {
    /// An expression over the table's public columns in descriptor order (CHECK, the predicate of a partial index).
    fn table_expr(&self, table: &Arc<TableDescriptor>, text: &str) -> SqlResult<Expr>;
    /// The default of a column (by position among the public ones), of the column's type.
    fn default_expr(&self, table: &Arc<TableDescriptor>, position: usize) -> SqlResult<Expr>;
}

/// How deep a plan may be, by [`LogicalPlan::depth`]: every walk over it, and every operator that asks its input,
/// recurses so deep, on a stack of [`STACK_BYTES`](crate::STACK_BYTES).
const MAX_DEPTH: usize = 10_000;

/// Plans a statement with so many parameters.
pub fn optimize(
    mut plan: LogicalPlan,
    catalog: &Catalog,
    params: usize,
    exprs: &dyn TableExprs,
) -> SqlResult<PhysicalPlan> {
    check_depth(&mut plan)?;
    let plan = rewrite(plan)?;
    build::Builder::new(catalog, params, exprs).finish(plan)
}

fn check_depth(plan: &mut LogicalPlan) -> SqlResult<()> {
    if plan.depth() > MAX_DEPTH {
        return Err(SqlError::too_complex());
    }
    Ok(())
}

/// The algebraic rewrites.
fn rewrite(mut plan: LogicalPlan) -> SqlResult<LogicalPlan> {
    simplify::simplify(&mut plan);
    inline::inline(&mut plan);
    let mut plan = unnest::unnest(plan);
    // The joins that subqueries became stand on top of each other.
    check_depth(&mut plan)?;
    plan = push_down::push_down(plan);
    prune::prune(&mut plan);
    Ok(plan)
}
