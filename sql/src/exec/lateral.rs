//! Lateral join: the right side is computed for each left row, with the row's columns in slots.

use std::sync::Arc;

use meridian_storage::base::BoxFuture;

use super::join_output::{matching, pairs};
use super::vector::{self, NO_ROW};
use super::{ExecContext, Operator, build};
use crate::error::SqlResult;
use crate::plan::JoinKind;
use crate::plan::physical::Lateral;
use crate::types::{Batch, Oid};

pub struct LateralJoin {
    plan: Arc<Lateral>,
    left: Box<dyn Operator>,
    left_types: Vec<Oid>,
    right_types: Vec<Oid>,
    ctx: ExecContext,
    outer: Option<(Batch, usize)>,
    inner: Option<(Box<dyn Operator>, bool)>,
}

impl LateralJoin {
    pub fn new(plan: &Arc<Lateral>, ctx: &ExecContext) -> Self {
        LateralJoin {
            left: build(&plan.left, ctx),
            left_types: plan.left.types(),
            right_types: plan.right.types(),
            plan: plan.clone(),
            ctx: ctx.clone(),
            outer: None,
            inner: None,
        }
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        loop {
            self.ctx.check_cancel()?;
            let Some((batch, row)) = &mut self.outer else {
                match self.left.next().await? {
                    Some(batch) => self.outer = Some((batch, 0)),
                    None => return Ok(None),
                }
                continue;
            };
            if *row == batch.rows {
                self.outer = None;
                continue;
            }
            let (inner, matched) = self.inner.get_or_insert_with(|| {
                let slots = self.plan.bindings.iter().map(|(slot, c)| (*slot, batch.columns[*c].datum(*row)));
                (build(&self.plan.right, &self.ctx.with_slots(slots)), false)
            });
            let Some(right) = inner.next().await? else {
                let padded = !*matched && matches!(self.plan.kind, JoinKind::Left | JoinKind::Anti);
                let current = *row as u32;
                *row += 1;
                self.inner = None;
                if padded {
                    return Ok(Some(self.padded(current)));
                }
                continue;
            };
            let mut left_rows = vec![*row as u32; right.rows];
            let mut right_rows: Vec<u32> = (0..right.rows as u32).collect();
            matching(self.plan.on.as_ref(), batch, &right, &mut left_rows, &mut right_rows, &self.ctx)?;
            if left_rows.is_empty() {
                continue;
            }
            *matched = true;
            match self.plan.kind {
                JoinKind::Semi | JoinKind::Anti => {
                    let current = *row as u32;
                    let semi = self.plan.kind == JoinKind::Semi;
                    let out = semi.then(|| vector::take_batch(batch, &[current]));
                    *row += 1;
                    self.inner = None;
                    if let Some(out) = out {
                        return Ok(Some(out));
                    }
                }
                _ => {
                    return Ok(Some(pairs(
                        batch,
                        &self.left_types,
                        &left_rows,
                        &right,
                        &self.right_types,
                        &right_rows,
                    )));
                }
            }
        }
    }

    /// A left row without a partner.
    fn padded(&self, row: u32) -> Batch {
        let Some((batch, _)) = &self.outer else { return Batch::default() };
        if self.plan.kind == JoinKind::Anti {
            return vector::take_batch(batch, &[row]);
        }
        let nothing = vector::from_rows::<Vec<_>>(&[], &self.right_types);
        pairs(batch, &self.left_types, &[row], &nothing, &self.right_types, &[NO_ROW])
    }
}

impl Operator for LateralJoin {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}
