//! DISTINCT and DISTINCT ON: the first row of each in input order.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;
use rustc_hash::FxHashSet;

use super::context::Reservation;
use super::keys::KeyEncoder;
use super::{ExecContext, Operator, build, eval, vector};
use crate::error::SqlResult;
use crate::plan::physical::DistinctNode;
use crate::types::Batch;

pub struct Distinct {
    plan: Arc<DistinctNode>,
    input: Box<dyn Operator>,
    encoder: KeyEncoder,
    seen: FxHashSet<Vec<u8>>,
    memory: Reservation,
    ctx: ExecContext,
}

impl Distinct {
    pub fn new(plan: &Arc<DistinctNode>, ctx: &ExecContext) -> Self {
        let encoder = match &plan.on {
            Some(exprs) => KeyEncoder::equality(exprs.iter().map(|e| e.ty().oid)),
            None => KeyEncoder::equality(plan.input.types()),
        };
        let input = build(&plan.input, ctx);
        let (plan, memory, ctx) = (plan.clone(), ctx.reserve(), ctx.clone());
        Distinct { plan, input, encoder, seen: FxHashSet::default(), memory, ctx }
    }

    /// The rows of the batch that were not there before.
    fn fresh(&mut self, batch: &Batch) -> SqlResult<Vec<u32>> {
        let columns = match &self.plan.on {
            Some(exprs) => eval::columns(exprs, batch, &self.ctx)?,
            None => batch.columns.clone(),
        };
        let mut out = Vec::new();
        let mut key = Vec::new();
        for row in 0..batch.rows {
            key.clear();
            self.encoder.encode(&mut key, &columns, row)?;
            if !self.seen.contains(&key) {
                self.memory.grow(key.len() + 48)?;
                self.seen.insert(key.clone());
                out.push(row as u32);
            }
        }
        Ok(out)
    }
}

impl Operator for Distinct {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            while let Some(batch) = self.input.next().await? {
                self.ctx.check_cancel()?;
                let rows = self.fresh(&batch)?;
                if !rows.is_empty() {
                    return Ok(Some(vector::take_batch(&batch, &rows)));
                }
            }
            Ok(None)
        })
    }
}
