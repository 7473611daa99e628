//! UPDATE: the input yields each row as it is, with what FROM gives beside it; the rows are locked already.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;
use rustc_hash::FxHashSet;

use super::foreign_key::Pending;
use super::returned::Returned;
use super::write::{self, Touched};
use super::{ExecContext, Operator, build, drain, vector};
use crate::catalog::ColumnId;
use crate::error::SqlResult;
use crate::plan::physical::{TargetTable, UpdateNode};
use crate::row::BatchRow;
use crate::types::Batch;

pub struct Update {
    plan: Arc<UpdateNode>,
    input: Option<Box<dyn Operator>>,
    ctx: ExecContext,
    affected: u64,
    returned: Returned,
}

impl Update {
    pub fn new(plan: &Arc<UpdateNode>, ctx: &ExecContext) -> Self {
        Update {
            input: Some(build(&plan.input, ctx)),
            plan: plan.clone(),
            ctx: ctx.clone(),
            affected: 0,
            returned: Returned::new(ctx),
        }
    }

    async fn run(&mut self, mut input: Box<dyn Operator>) -> SqlResult<()> {
        let plan = self.plan.clone();
        let target = plan.targets.first();
        let assigned: Vec<ColumnId> = plan.assignments.iter().map(|a| a.0).collect();
        let touched = Touched::by(target, &assigned);
        let mut pending = Pending::default();
        let mut memory = self.ctx.reserve();
        let mut seen = FxHashSet::default();
        if plan.read_first {
            let all = drain(&mut *input, &mut memory).await?;
            for batch in all {
                self.change(batch, &touched, &mut seen, &mut pending).await?;
            }
        } else {
            while let Some(batch) = input.next().await? {
                self.change(batch, &touched, &mut seen, &mut pending).await?;
            }
        }
        pending.finish(&plan.targets, target, &self.ctx).await
    }

    async fn change(
        &mut self,
        mut batch: Batch,
        touched: &Touched,
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
        let new = write::assign(target, &old, &batch, &self.plan.assignments, &self.ctx)?;
        write::validate(target, &new, &self.ctx)?;
        write::update_rows(target, &old, &new, touched, &self.ctx).await?;
        pending.updated(target, &old, &new);
        self.affected += new.rows as u64;
        if let Some(exprs) = &self.plan.returning {
            let beside = write::right_columns(&batch, width);
            let returned = write::returning(exprs, &new, &beside, &self.ctx)?;
            self.returned.push(returned)?;
        }
        Ok(())
    }
}

/// The rows of the batch whose stored row has not come up before.
pub fn first_of_each(target: &TargetTable, batch: Batch, seen: &mut FxHashSet<Vec<u8>>) -> SqlResult<Batch> {
    let mut fresh = Vec::with_capacity(batch.rows);
    for row in 0..batch.rows {
        let key = target.codec.primary.encode_key(&BatchRow { batch: &batch, row })?;
        if seen.insert(key.to_vec()) {
            fresh.push(row as u32);
        }
    }
    Ok(if fresh.len() == batch.rows { batch } else { vector::take_batch(&batch, &fresh) })
}

impl Operator for Update {
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
