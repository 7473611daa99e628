//! INSERT: rows of the input become stored rows; see [`super::conflict`] for ON CONFLICT.

use std::collections::VecDeque;
use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::conflict::Conflicts;
use super::foreign_key::Pending;
use super::{ExecContext, Operator, build, drain, eval, write};
use crate::error::SqlResult;
use crate::plan::physical::InsertNode;
use crate::types::Batch;

pub struct Insert {
    plan: Arc<InsertNode>,
    input: Option<Box<dyn Operator>>,
    ctx: ExecContext,
    affected: u64,
    output: VecDeque<Batch>,
}

impl Insert {
    pub fn new(plan: &Arc<InsertNode>, ctx: &ExecContext) -> Self {
        Insert {
            input: Some(build(&plan.input, ctx)),
            plan: plan.clone(),
            ctx: ctx.clone(),
            affected: 0,
            output: VecDeque::new(),
        }
    }

    async fn run(&mut self, mut input: Box<dyn Operator>) -> SqlResult<()> {
        let plan = self.plan.clone();
        let target = plan.targets.first();
        let mut pending = Pending::default();
        let mut conflicts = plan.on_conflict.as_ref().map(|c| Conflicts::new(target, c));
        let mut read = VecDeque::new();
        if plan.read_first {
            read.extend(drain(&mut *input, &self.ctx).await?);
        }
        loop {
            let batch = match read.pop_front() {
                Some(batch) => batch,
                None if plan.read_first => break,
                None => match input.next().await? {
                    Some(batch) => batch,
                    None => break,
                },
            };
            self.ctx.check_cancel()?;
            let rows = Batch { columns: eval::columns(&plan.values, &batch, &self.ctx)?, rows: batch.rows };
            let stored = match &mut conflicts {
                None => {
                    write::validate(target, &rows, &self.ctx)?;
                    write::insert_rows(target, &rows, &[], &self.ctx).await?;
                    pending.inserted(target, &rows);
                    rows
                }
                Some(conflicts) => conflicts.store(rows, &mut pending, &self.ctx).await?,
            };
            self.affected += stored.rows as u64;
            if let (Some(exprs), true) = (&plan.returning, stored.rows > 0) {
                let columns = eval::columns(exprs, &stored, &self.ctx)?;
                self.output.push_back(Batch { columns, rows: stored.rows });
            }
        }
        pending.finish(&plan.targets, target, &self.ctx).await
    }
}

impl Operator for Insert {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            if let Some(input) = self.input.take() {
                self.run(input).await?;
            }
            Ok(self.output.pop_front())
        })
    }

    fn affected(&self) -> Option<u64> {
        Some(self.affected)
    }
}
