//! Nested loop: every left row against every right row; the right side is kept in memory.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::context::Reservation;
use super::join_output::{matching, pad_left, pairs};
use super::vector::{self, NO_ROW};
use super::{ExecContext, Operator, build, drain};
use crate::error::SqlResult;
use crate::plan::JoinKind;
use crate::plan::physical::NestedLoop;
use crate::types::column::BATCH_ROWS;
use crate::types::{Batch, Oid};

pub struct NestedLoopJoin {
    plan: Arc<NestedLoop>,
    left: Box<dyn Operator>,
    right: Option<Box<dyn Operator>>,
    left_types: Vec<Oid>,
    right_types: Vec<Oid>,
    ctx: ExecContext,
    memory: Reservation,
    inner: Batch,
    inner_matched: Vec<bool>,
    outer: Option<Outer>,
    left_done: bool,
    padded: bool,
}

/// The left batch under way, and the next pair of it: pairs are counted left row by left row.
struct Outer {
    batch: Batch,
    next: usize,
    /// Left rows below this are through.
    padded: usize,
    matched: Vec<bool>,
}

impl NestedLoopJoin {
    pub fn new(plan: &Arc<NestedLoop>, ctx: &ExecContext) -> Self {
        NestedLoopJoin {
            left: build(&plan.left, ctx),
            right: Some(build(&plan.right, ctx)),
            left_types: plan.left.types(),
            right_types: plan.right.types(),
            plan: plan.clone(),
            ctx: ctx.clone(),
            memory: ctx.reserve(),
            inner: Batch::default(),
            inner_matched: Vec::new(),
            outer: None,
            left_done: false,
            padded: false,
        }
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        if let Some(mut right) = self.right.take() {
            let batches = drain(&mut *right, &mut self.memory).await?;
            self.inner = vector::concat(&batches, &self.right_types);
            self.inner_matched = vec![false; self.inner.rows];
        }
        loop {
            self.ctx.check_cancel()?;
            if let Some(mut outer) = self.outer.take() {
                let (out, finished) = self.advance(&mut outer)?;
                if !finished {
                    self.outer = Some(outer);
                }
                match out {
                    Some(out) => return Ok(Some(out)),
                    None => continue,
                }
            }
            if self.left_done {
                return Ok(self.unmatched_right());
            }
            match self.left.next().await? {
                Some(batch) => {
                    let matched = vec![false; batch.rows];
                    self.outer = Some(Outer { batch, next: 0, padded: 0, matched });
                }
                None => self.left_done = true,
            }
        }
    }

    fn advance(&mut self, outer: &mut Outer) -> SqlResult<(Option<Batch>, bool)> {
        let total = outer.batch.rows * self.inner.rows;
        let to = total.min(outer.next + BATCH_ROWS);
        let mut left = Vec::with_capacity(to - outer.next);
        let mut right = Vec::with_capacity(to - outer.next);
        for pair in outer.next..to {
            left.push((pair / self.inner.rows) as u32);
            right.push((pair % self.inner.rows) as u32);
        }
        outer.next = to;
        matching(self.plan.on.as_ref(), &outer.batch, &self.inner, &mut left, &mut right, &self.ctx)?;
        left.iter().for_each(|l| outer.matched[*l as usize] = true);
        right.iter().for_each(|r| self.inner_matched[*r as usize] = true);
        let finished = to == total;
        match self.plan.kind {
            JoinKind::Semi | JoinKind::Anti => {
                if !finished {
                    return Ok((None, false));
                }
                let semi = self.plan.kind == JoinKind::Semi;
                let rows: Vec<u32> =
                    (0..outer.batch.rows as u32).filter(|&l| outer.matched[l as usize] == semi).collect();
                return Ok(((!rows.is_empty()).then(|| vector::take_batch(&outer.batch, &rows)), true));
            }
            JoinKind::Left | JoinKind::Full => {
                let complete = if finished { outer.batch.rows } else { to / self.inner.rows };
                pad_left(&mut left, &mut right, &outer.matched, outer.padded..complete);
                outer.padded = complete;
            }
            _ => {}
        }
        if left.is_empty() {
            return Ok((None, finished));
        }
        let out = pairs(&outer.batch, &self.left_types, &left, &self.inner, &self.right_types, &right);
        Ok((Some(out), finished))
    }

    fn unmatched_right(&mut self) -> Option<Batch> {
        if !matches!(self.plan.kind, JoinKind::Right | JoinKind::Full)
            || std::mem::replace(&mut self.padded, true)
        {
            return None;
        }
        let rows: Vec<u32> =
            (0..self.inner.rows as u32).filter(|&r| !self.inner_matched[r as usize]).collect();
        if rows.is_empty() {
            return None;
        }
        let nothing = vector::from_rows::<Vec<_>>(&[], &self.left_types);
        let none = vec![NO_ROW; rows.len()];
        Some(pairs(&nothing, &self.left_types, &none, &self.inner, &self.right_types, &rows))
    }
}

impl Operator for NestedLoopJoin {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}
