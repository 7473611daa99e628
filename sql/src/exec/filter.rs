//! Passes the rows for which a predicate is true.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::{ExecContext, Operator, build, eval, vector};
use crate::error::SqlResult;
use crate::plan::physical::FilterNode;
use crate::types::Batch;

pub struct Filter {
    plan: Arc<FilterNode>,
    input: Box<dyn Operator>,
    ctx: ExecContext,
}

impl Filter {
    pub fn new(plan: &Arc<FilterNode>, ctx: &ExecContext) -> Self {
        Filter { plan: plan.clone(), input: build(&plan.input, ctx), ctx: ctx.clone() }
    }
}

impl Operator for Filter {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            while let Some(batch) = self.input.next().await? {
                self.ctx.check_cancel()?;
                let rows = eval::selection(&self.plan.predicate, &batch, &self.ctx)?;
                if rows.len() == batch.rows {
                    return Ok(Some(batch));
                }
                if !rows.is_empty() {
                    return Ok(Some(vector::take_batch(&batch, &rows)));
                }
            }
            Ok(None)
        })
    }
}
