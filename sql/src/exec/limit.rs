//! LIMIT, OFFSET and WITH TIES.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::sort::{SortEncoder, row_count};
use super::{ExecContext, Operator, build, vector};
use crate::error::{SqlResult, state};
use crate::plan::physical::LimitNode;
use crate::types::Batch;

pub struct Limit {
    plan: Arc<LimitNode>,
    input: Box<dyn Operator>,
    ctx: ExecContext,
    bounds: Option<Remaining>,
    /// WITH TIES: the sort key of the last row within the limit, once that was passed.
    last: Option<Vec<u8>>,
    done: bool,
}

struct Remaining {
    skip: u64,
    /// `None`: no limit.
    take: Option<u64>,
}

impl Limit {
    pub fn new(plan: &Arc<LimitNode>, ctx: &ExecContext) -> Self {
        let input = build(&plan.input, ctx);
        Limit { plan: plan.clone(), input, ctx: ctx.clone(), bounds: None, last: None, done: false }
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        if self.bounds.is_none() {
            let take =
                row_count(self.plan.limit.as_ref(), state::INVALID_ROW_COUNT_IN_LIMIT, "LIMIT", &self.ctx)?;
            let skip = row_count(
                self.plan.offset.as_ref(),
                state::INVALID_ROW_COUNT_IN_OFFSET,
                "OFFSET",
                &self.ctx,
            )?;
            self.bounds = Some(Remaining { skip: skip.unwrap_or(0), take });
            self.done = take == Some(0);
        }
        while !self.done {
            let Some(batch) = self.input.next().await? else { break };
            self.ctx.check_cancel()?;
            if let Some(out) = self.cut(batch)? {
                return Ok(Some(out));
            }
        }
        self.done = true;
        Ok(None)
    }

    /// What of the batch is within the bounds.
    fn cut(&mut self, batch: Batch) -> SqlResult<Option<Batch>> {
        let Some(remaining) = &mut self.bounds else { return Ok(Some(batch)) };
        let from = remaining.skip.min(batch.rows as u64) as usize;
        remaining.skip -= from as u64;
        let left = batch.rows - from;
        let within = remaining.take.map_or(left, |take| take.min(left as u64) as usize);
        if let Some(take) = &mut remaining.take {
            *take -= within as u64;
            if *take == 0 {
                return self.finish(batch, from, within);
            }
        }
        Ok((within > 0).then(|| vector::slice(&batch, from, from + within)))
    }

    /// The limit is reached within this batch, after `within` rows from `from`.
    fn finish(&mut self, batch: Batch, from: usize, within: usize) -> SqlResult<Option<Batch>> {
        let mut to = from + within;
        match &self.plan.with_ties {
            None => self.done = true,
            Some(keys) => {
                let encoder = SortEncoder::new(keys);
                let keys = encoder.keys(&batch, &self.ctx)?;
                if self.last.is_none() && within > 0 {
                    self.last = Some(keys[to - 1].to_vec());
                }
                while to < batch.rows && self.last.as_deref() == Some(&keys[to]) {
                    to += 1;
                }
                self.done = to < batch.rows;
            }
        }
        Ok((to > from).then(|| vector::slice(&batch, from, to)))
    }
}

impl Operator for Limit {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}
