//! Literal rows.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::{ExecContext, Operator, eval, vector};
use crate::error::SqlResult;
use crate::plan::physical::ValuesNode;
use crate::types::column::BATCH_ROWS;
use crate::types::{Batch, Oid};

pub struct Values {
    plan: Arc<ValuesNode>,
    types: Vec<Oid>,
    ctx: ExecContext,
    done: usize,
}

impl Values {
    pub fn new(plan: &Arc<ValuesNode>, types: Vec<Oid>, ctx: &ExecContext) -> Self {
        Values { plan: plan.clone(), types, ctx: ctx.clone(), done: 0 }
    }

    fn step(&mut self) -> SqlResult<Option<Batch>> {
        let rows = &self.plan.rows[self.done..];
        let rows = &rows[..rows.len().min(BATCH_ROWS)];
        if rows.is_empty() {
            return Ok(None);
        }
        self.done += rows.len();
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            values.push(row.iter().map(|e| eval::constant(e, &self.ctx)).collect::<SqlResult<Vec<_>>>()?);
        }
        Ok(Some(vector::from_rows(&values, &self.types)))
    }
}

impl Operator for Values {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async { self.step() })
    }
}
