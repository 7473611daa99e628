//! WITH RECURSIVE: the rows of the base, then again and again those of the step over the rows of the round before.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;
use rustc_hash::FxHashSet;

use super::context::Reservation;
use super::cte::CteTable;
use super::keys::KeyEncoder;
use super::{ExecContext, Operator, build, vector};
use crate::error::SqlResult;
use crate::plan::physical::RecursiveUnionNode;
use crate::types::Batch;

pub struct RecursiveUnion {
    plan: Arc<RecursiveUnionNode>,
    ctx: ExecContext,
    current: Box<dyn Operator>,
    /// Rows of this round, for the next one.
    round: Vec<Batch>,
    /// UNION without ALL: rows that were there already.
    seen: Option<FxHashSet<Vec<u8>>>,
    encoder: KeyEncoder,
    memory: Reservation,
}

impl RecursiveUnion {
    pub fn new(plan: &Arc<RecursiveUnionNode>, ctx: &ExecContext) -> Self {
        RecursiveUnion {
            current: build(&plan.base, ctx),
            plan: plan.clone(),
            ctx: ctx.clone(),
            round: Vec::new(),
            seen: (!plan.all).then(FxHashSet::default),
            encoder: KeyEncoder::equality(plan.base.types()),
            memory: ctx.reserve(),
        }
    }

    fn fresh(&mut self, batch: Batch) -> SqlResult<Option<Batch>> {
        let Some(seen) = &mut self.seen else { return Ok(Some(batch)) };
        let mut rows = Vec::new();
        for row in 0..batch.rows {
            let mut key = Vec::new();
            self.encoder.encode_batch_row(&mut key, &batch, row)?;
            if !seen.contains(&key) {
                self.memory.grow(key.len() + 48)?;
                seen.insert(key);
                rows.push(row as u32);
            }
        }
        Ok((!rows.is_empty()).then(|| vector::take_batch(&batch, &rows)))
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        loop {
            self.ctx.check_cancel()?;
            if let Some(batch) = self.current.next().await? {
                if let Some(batch) = self.fresh(batch)? {
                    self.round.push(batch.clone());
                    return Ok(Some(batch));
                }
                continue;
            }
            if self.round.is_empty() {
                return Ok(None);
            }
            let table = CteTable::of(std::mem::take(&mut self.round), &self.ctx);
            let ctx = ExecContext { ctes: self.ctx.ctes.with(self.plan.cte, table), ..self.ctx.clone() };
            self.current = build(&self.plan.step, &ctx);
        }
    }
}

impl Operator for RecursiveUnion {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}
