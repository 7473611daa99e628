//! Computes expressions over each row.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::{ExecContext, Operator, build, eval};
use crate::error::SqlResult;
use crate::plan::physical::ProjectNode;
use crate::types::Batch;

pub struct Project {
    plan: Arc<ProjectNode>,
    input: Box<dyn Operator>,
    ctx: ExecContext,
}

impl Project {
    pub fn new(plan: &Arc<ProjectNode>, ctx: &ExecContext) -> Self {
        Project { plan: plan.clone(), input: build(&plan.input, ctx), ctx: ctx.clone() }
    }
}

impl Operator for Project {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            let Some(batch) = self.input.next().await? else { return Ok(None) };
            let columns = eval::columns(&self.plan.exprs, &batch, &self.ctx)?;
            Ok(Some(Batch { columns, rows: batch.rows }))
        })
    }
}
