//! The rows of RETURNING: they wait here until the whole statement has run, within its memory.

use std::collections::VecDeque;

use super::context::Reservation;
use super::{ExecContext, vector};
use crate::error::SqlResult;
use crate::types::Batch;

pub struct Returned {
    batches: VecDeque<Batch>,
    memory: Reservation,
}

impl Returned {
    pub fn new(ctx: &ExecContext) -> Self {
        Returned { batches: VecDeque::new(), memory: ctx.reserve() }
    }

    pub fn push(&mut self, batch: Batch) -> SqlResult<()> {
        self.memory.grow(vector::size(&batch))?;
        self.batches.push_back(batch);
        Ok(())
    }

    /// The first of those that are left. Who takes it answers for its memory.
    pub fn pop(&mut self) -> Option<Batch> {
        let batch = self.batches.pop_front()?;
        self.memory.shrink(vector::size(&batch));
        Some(batch)
    }
}
