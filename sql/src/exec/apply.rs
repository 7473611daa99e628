//! Subqueries that are not joins: computed once into slots, or for each row.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::{ExecContext, Operator, build, eval, vector};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::eval::call2;
use crate::plan::physical::{ApplyNode, InitPlansNode, SubPlan, SubPlanKind};
use crate::types::datum::Array;
use crate::types::{Batch, Column, Datum};

/// Computes a subplan. `row`: the row that its left-hand expressions read.
async fn compute(plan: &SubPlan, row: &[Datum], outer: &ExecContext, ctx: &ExecContext) -> SqlResult<Datum> {
    let mut operator = build(&plan.plan, ctx);
    match &plan.kind {
        SubPlanKind::Exists => Ok(Datum::Bool(operator.next().await?.is_some())),
        SubPlanKind::Scalar => {
            let Some(batch) = operator.next().await? else { return Ok(Datum::Null) };
            if batch.rows > 1 || operator.next().await?.is_some() {
                return Err(SqlError::new(
                    state::CARDINALITY_VIOLATION,
                    "more than one row returned by a subquery used as an expression",
                ));
            }
            Ok(batch.columns[0].datum(0))
        }
        SubPlanKind::Array(element) => {
            let mut elements = Vec::new();
            let mut memory = ctx.reserve();
            while let Some(batch) = operator.next().await? {
                memory.grow(vector::size(&batch))?;
                elements.extend((0..batch.rows).map(|r| batch.columns[0].datum(r)));
            }
            Ok(Datum::Array(Arc::new(Array::from_elements(*element, elements))))
        }
        SubPlanKind::Compare { left, ops, all } => {
            let left = left.iter().map(|e| eval::value(e, row, outer)).collect::<SqlResult<Vec<_>>>()?;
            // ANY: true if one is true; ALL: false if one is false; NULL if one is unknown.
            let mut unknown = false;
            while let Some(batch) = operator.next().await? {
                for r in 0..batch.rows {
                    match compare_row(&left, ops, &batch, r, ctx)? {
                        Some(holds) if holds != *all => return Ok(Datum::Bool(holds)),
                        Some(_) => {}
                        None => unknown = true,
                    }
                }
            }
            Ok(if unknown { Datum::Null } else { Datum::Bool(*all) })
        }
    }
}

/// The conjunction of the columns' comparisons, in three-valued logic.
fn compare_row(
    left: &[Datum],
    ops: &[&'static crate::registry::Function],
    batch: &Batch,
    row: usize,
    ctx: &ExecContext,
) -> SqlResult<Option<bool>> {
    let mut unknown = false;
    for ((l, op), column) in left.iter().zip(ops).zip(&batch.columns) {
        match call2(op, l.clone(), column.datum(row), &ctx.eval())? {
            Datum::Bool(false) => return Ok(Some(false)),
            Datum::Null => unknown = true,
            _ => {}
        }
    }
    Ok(if unknown { None } else { Some(true) })
}

pub struct Apply {
    plan: Arc<ApplyNode>,
    input: Box<dyn Operator>,
    ctx: ExecContext,
}

impl Apply {
    pub fn new(plan: &Arc<ApplyNode>, ctx: &ExecContext) -> Self {
        Apply { input: build(&plan.input, ctx), plan: plan.clone(), ctx: ctx.clone() }
    }

    async fn extend(&mut self, mut batch: Batch) -> SqlResult<Batch> {
        for subplan in &self.plan.subplans {
            let mut column = Column::for_type(subplan.ty);
            for row in 0..batch.rows {
                self.ctx.check_cancel()?;
                let slots = subplan.bindings.iter().map(|(slot, c)| (*slot, batch.columns[*c].datum(row)));
                let inner = self.ctx.with_slots(slots);
                let values = match subplan.kind {
                    SubPlanKind::Compare { .. } => vector::row(&batch, row),
                    _ => Vec::new(),
                };
                column.push(&compute(subplan, &values, &self.ctx, &inner).await?);
            }
            batch.columns.push(Arc::new(column));
        }
        Ok(batch)
    }
}

impl Operator for Apply {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            match self.input.next().await? {
                Some(batch) => self.extend(batch).await.map(Some),
                None => Ok(None),
            }
        })
    }
}

/// Fills slots, then is its input.
pub struct InitPlans {
    plan: Arc<InitPlansNode>,
    ctx: ExecContext,
    input: Option<Box<dyn Operator>>,
}

impl InitPlans {
    pub fn new(plan: &Arc<InitPlansNode>, ctx: &ExecContext) -> Self {
        InitPlans { plan: plan.clone(), ctx: ctx.clone(), input: None }
    }

    async fn start(&mut self) -> SqlResult<Box<dyn Operator>> {
        let mut ctx = self.ctx.clone();
        for init in &self.plan.plans {
            let known =
                if init.constant { ctx.statement.constants.lock().get(&init.slot).cloned() } else { None };
            let value = match known {
                Some(value) => value,
                None => {
                    let value = compute(&init.plan, &[], &ctx, &ctx).await?;
                    if init.constant {
                        ctx.statement.constants.lock().insert(init.slot, value.clone());
                    }
                    value
                }
            };
            ctx = ctx.with_slots([(init.slot, value)]);
        }
        Ok(build(&self.plan.input, &ctx))
    }
}

impl Operator for InitPlans {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            if self.input.is_none() {
                self.input = Some(self.start().await?);
            }
            match &mut self.input {
                Some(input) => input.next().await,
                None => Ok(None),
            }
        })
    }

    fn affected(&self) -> Option<u64> {
        self.input.as_ref()?.affected()
    }
}
