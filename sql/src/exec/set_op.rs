//! UNION ALL, INTERSECT and EXCEPT.
//!
//! INTERSECT and EXCEPT count the right side's rows by key, then let left rows through: without ALL each distinct row once,
//! with ALL as often as the counts say.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;
use rustc_hash::FxHashMap;

use super::context::Reservation;
use super::keys::KeyEncoder;
use super::{ExecContext, Operator, build, vector};
use crate::error::SqlResult;
use crate::plan::SetOp;
use crate::plan::physical::{AppendNode, SetOpNode};
use crate::types::Batch;

pub struct Append {
    plan: Arc<AppendNode>,
    ctx: ExecContext,
    at: usize,
    current: Option<Box<dyn Operator>>,
}

impl Append {
    pub fn new(plan: &Arc<AppendNode>, ctx: &ExecContext) -> Self {
        Append { plan: plan.clone(), ctx: ctx.clone(), at: 0, current: None }
    }
}

impl Operator for Append {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            loop {
                let Some(current) = &mut self.current else {
                    let Some(node) = self.plan.inputs.get(self.at) else { return Ok(None) };
                    self.at += 1;
                    self.current = Some(build(node, &self.ctx));
                    continue;
                };
                match current.next().await? {
                    Some(batch) => return Ok(Some(batch)),
                    None => self.current = None,
                }
            }
        })
    }
}

pub struct SetOperation {
    plan: Arc<SetOpNode>,
    left: Box<dyn Operator>,
    right: Option<Box<dyn Operator>>,
    encoder: KeyEncoder,
    /// Rows of the right side that are not used up; and without ALL, whether the row was yielded.
    counts: FxHashMap<Vec<u8>, Count>,
    memory: Reservation,
    ctx: ExecContext,
}

#[derive(Default)]
struct Count {
    right: u64,
    yielded: bool,
}

impl SetOperation {
    pub fn new(plan: &Arc<SetOpNode>, ctx: &ExecContext) -> Self {
        SetOperation {
            left: build(&plan.left, ctx),
            right: Some(build(&plan.right, ctx)),
            encoder: KeyEncoder::equality(plan.left.types()),
            counts: FxHashMap::default(),
            memory: ctx.reserve(),
            plan: plan.clone(),
            ctx: ctx.clone(),
        }
    }

    fn count(&mut self, batch: &Batch, row: usize) -> SqlResult<&mut Count> {
        let mut key = Vec::new();
        self.encoder.encode_batch_row(&mut key, batch, row)?;
        if !self.counts.contains_key(&key) {
            self.memory.grow(key.len() + 64)?;
        }
        Ok(self.counts.entry(key).or_default())
    }

    /// Whether a left row is in the result.
    fn passes(&mut self, batch: &Batch, row: usize) -> SqlResult<bool> {
        let (op, all) = (self.plan.op, self.plan.all);
        let count = self.count(batch, row)?;
        let in_right = count.right > 0;
        let passes = match op {
            SetOp::Union => true,
            SetOp::Intersect => in_right,
            SetOp::Except => !in_right,
        };
        if all {
            count.right -= in_right as u64;
            return Ok(passes);
        }
        Ok(passes && !std::mem::replace(&mut count.yielded, true))
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        if let Some(mut right) = self.right.take() {
            while let Some(batch) = right.next().await? {
                self.ctx.check_cancel()?;
                for row in 0..batch.rows {
                    self.count(&batch, row)?.right += 1;
                }
            }
        }
        while let Some(batch) = self.left.next().await? {
            self.ctx.check_cancel()?;
            let mut rows = Vec::new();
            for row in 0..batch.rows {
                if self.passes(&batch, row)? {
                    rows.push(row as u32);
                }
            }
            if !rows.is_empty() {
                return Ok(Some(vector::take_batch(&batch, &rows)));
            }
        }
        Ok(None)
    }
}

impl Operator for SetOperation {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}
