//! INSERT: rows of the input become stored rows; see [`super::conflict`] for ON CONFLICT.

use std::collections::VecDeque;
use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::conflict::Conflicts;
use super::foreign_key::Pending;
use super::returned::Returned;
use super::{ExecContext, Operator, build, drain, eval, write};
use crate::catalog::TableDescriptor;
use crate::error::{SqlError, SqlResult};
use crate::plan::physical::InsertNode;
use crate::types::{Batch, Column, ColumnData};

pub struct Insert {
    plan: Arc<InsertNode>,
    input: Option<Box<dyn Operator>>,
    ctx: ExecContext,
    affected: u64,
    returned: Returned,
}

impl Insert {
    pub fn new(plan: &Arc<InsertNode>, ctx: &ExecContext) -> Self {
        Insert {
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
        let mut pending = Pending::default();
        let mut memory = self.ctx.reserve();
        let mut conflicts = plan.on_conflict.as_ref().map(|c| Conflicts::new(target, c));
        let mut read = VecDeque::new();
        if plan.read_first {
            read.extend(drain(&mut *input, &mut memory).await?);
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
            let mut rows =
                Batch { columns: eval::columns(&plan.values, &batch, &self.ctx)?, rows: batch.rows };
            number_rows(&target.table, &mut rows, &self.ctx).await?;
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
                let returned =
                    Batch { columns: eval::columns(exprs, &stored, &self.ctx)?, rows: stored.rows };
                self.returned.push(returned)?;
            }
        }
        pending.finish(&plan.targets, target, &self.ctx).await
    }
}

/// Gives the rows of a table without a primary key their hidden ids.
pub async fn number_rows(table: &TableDescriptor, rows: &mut Batch, ctx: &ExecContext) -> SqlResult<()> {
    if table.primary.is_primary_key {
        return Ok(());
    }
    let hidden = write::public_columns(table).position(|c| c.hidden);
    let hidden = hidden.ok_or_else(|| SqlError::internal("a table without a primary key has row ids"))?;
    let ids = ctx.statement.session.row_ids(table.id, rows.rows as u64).await?;
    rows.columns[hidden] = Arc::new(Column { data: ColumnData::Int8(ids.collect()), validity: None });
    Ok(())
}

impl Operator for Insert {
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
