//! DELETE: the input yields each row, with what USING gives beside it; the rows are locked already.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;
use rustc_hash::FxHashSet;

use super::foreign_key::Pending;
use super::returned::Returned;
use super::update::first_of_each;
use super::{ExecContext, Operator, build, drain, eval, write};
use crate::error::SqlResult;
use crate::plan::physical::DeleteNode;
use crate::types::Batch;

pub struct Delete {
    plan: Arc<DeleteNode>,
    input: Option<Box<dyn Operator>>,
    ctx: ExecContext,
    affected: u64,
    returned: Returned,
}

impl Delete {
    pub fn new(plan: &Arc<DeleteNode>, ctx: &ExecContext) -> Self {
        Delete {
            input: Some(build(&plan.input, ctx)),
            plan: plan.clone(),
            ctx: ctx.clone(),
            affected: 0,
            returned: Returned::new(ctx),
        }
    }

    async fn run(&mut self, mut input: Box<dyn Operator>) -> SqlResult<()> {
        let plan = self.plan.clone();
        let mut pending = Pending::default();
        let mut memory = self.ctx.reserve();
        let mut seen = FxHashSet::default();
        if plan.read_first {
            for batch in drain(&mut *input, &mut memory).await? {
                self.remove(batch, &mut seen, &mut pending).await?;
            }
        } else {
            while let Some(batch) = input.next().await? {
                self.remove(batch, &mut seen, &mut pending).await?;
            }
        }
        pending.finish(&plan.targets, plan.targets.first(), &self.ctx).await
    }

    async fn remove(
        &mut self,
        mut batch: Batch,
        seen: &mut FxHashSet<Vec<u8>>,
        pending: &mut Pending,
    ) -> SqlResult<()> {
        self.ctx.check_cancel()?;
        let target = self.plan.targets.first();
        if self.plan.may_repeat {
            batch = first_of_each(target, batch, seen)?;
        }
        if batch.rows == 0 {
            return Ok(());
        }
        let width = write::public_columns(&target.table).count();
        let old = write::left_columns(&batch, width);
        write::delete_rows(target, &old, &self.ctx).await?;
        pending.deleted(target, &old);
        self.affected += batch.rows as u64;
        if let Some(exprs) = &self.plan.returning {
            let returned = Batch { columns: eval::columns(exprs, &batch, &self.ctx)?, rows: batch.rows };
            self.returned.push(returned)?;
        }
        Ok(())
    }
}

impl Operator for Delete {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            if let Some(input) = self.input.take() {
                self.run(input).await?;
            }
            Ok(self.returned.pop())
        })
    }

    fn affected(&self) -> Option<u64> {
        Some(self.affected)
    }
}
