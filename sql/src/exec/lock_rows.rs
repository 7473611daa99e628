//! Locks the stored rows behind the input's rows, where a scan could not lock them itself (joins, sorts in between).
//!
//! Each row is read again with the lock. If it is as it was, it passes; if it is gone, it does not. If it has changed
//! since - possible under READ COMMITTED only, the other levels fail in the locking read - whether the new version would
//! still be part of the result cannot be told from here: the statement fails with 40001, and the session runs it again
//! on a new snapshot.

use std::collections::VecDeque;
use std::sync::Arc;

use meridian_storage::base::{BoxFuture, Key};
use rustc_hash::FxHashMap;

use super::scan::{get_pairs, lock_of};
use super::sort::row_count;
use super::write::public_columns;
use super::{ExecContext, Operator, build, vector};
use crate::error::{SqlError, SqlResult, state};
use crate::plan::physical::LockRowsNode;
use crate::row::{RowSource, ValueRef};
use crate::types::{Batch, Column};

pub struct LockRows {
    plan: Arc<LockRowsNode>,
    input: Box<dyn Operator>,
    ctx: ExecContext,
    /// For each public column of the table: where it stands in the input row, if it is there.
    places: Vec<Option<usize>>,
    /// Rows that are still wanted; not known before the first row.
    remaining: Option<u64>,
    waiting: VecDeque<Batch>,
}

/// A row of the table, as far as it is in the input row.
struct Stored<'a> {
    columns: &'a [Arc<Column>],
    places: &'a [Option<usize>],
    row: usize,
}

impl RowSource for Stored<'_> {
    fn value(&self, position: usize) -> ValueRef<'_> {
        match self.places[position] {
            Some(place) => ValueRef::of_column(&self.columns[place], self.row),
            None => ValueRef::Null,
        }
    }
}

impl LockRows {
    pub fn new(plan: &Arc<LockRowsNode>, ctx: &ExecContext) -> Self {
        let place = |id| plan.columns.iter().position(|c| *c == id).map(|n| plan.positions[n]);
        LockRows {
            input: build(&plan.input, ctx),
            places: public_columns(&plan.table).map(|c| place(c.id)).collect(),
            plan: plan.clone(),
            ctx: ctx.clone(),
            remaining: None,
            waiting: VecDeque::new(),
        }
    }

    fn wanted(&self) -> SqlResult<u64> {
        let (limit, offset) = (self.plan.limit.as_ref(), self.plan.offset.as_ref());
        let limit = row_count(limit, state::INVALID_ROW_COUNT_IN_LIMIT, "LIMIT", &self.ctx)?;
        let offset = row_count(offset, state::INVALID_ROW_COUNT_IN_OFFSET, "OFFSET", &self.ctx)?;
        Ok(limit.map_or(u64::MAX, |l| l.saturating_add(offset.unwrap_or(0))))
    }

    /// The rows of the batch that are locked now and are as they were.
    async fn lock(&mut self, batch: &Batch) -> SqlResult<Vec<u32>> {
        let plan = self.plan.clone();
        let mut keys = Vec::with_capacity(batch.rows);
        for row in 0..batch.rows {
            let stored = Stored { columns: &batch.columns, places: &self.places, row };
            keys.push(plan.primary.encode_key(&stored)?);
        }
        let mut distinct = keys.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let pairs = get_pairs(&distinct, Some(lock_of(plan.lock)), &self.ctx).await?;
        let place: FxHashMap<&Key, usize> = pairs.iter().enumerate().map(|(i, (key, _))| (key, i)).collect();
        let mut columns = plan.decoder.columns();
        for (key, value) in &pairs {
            plan.decoder.decode_row(key, value, &mut columns)?;
        }
        let mut passed = Vec::with_capacity(batch.rows);
        for (row, key) in keys.iter().enumerate() {
            let Some(&now) = place.get(key) else { continue };
            let old = plan.positions.iter().map(|p| batch.columns[*p].datum(row));
            if columns.iter().zip(old).any(|(new, old)| !vector::identical(&new.datum(now), &old)) {
                return Err(SqlError::new(
                    state::SERIALIZATION_FAILURE,
                    "could not serialize access due to concurrent update",
                ));
            }
            passed.push(row as u32);
        }
        Ok(passed)
    }

    async fn step(&mut self) -> SqlResult<Option<Batch>> {
        let mut remaining = match self.remaining {
            Some(remaining) => remaining,
            None => self.wanted()?,
        };
        while remaining > 0 {
            self.ctx.check_cancel()?;
            let Some(batch) = (match self.waiting.pop_front() {
                Some(batch) => Some(batch),
                None => self.input.next().await?,
            }) else {
                break;
            };
            // No more is locked than is wanted.
            let now = batch.rows.min(usize::try_from(remaining).unwrap_or(usize::MAX));
            if now < batch.rows {
                self.waiting.push_front(vector::slice(&batch, now, batch.rows));
            }
            let batch = vector::slice(&batch, 0, now);
            let passed = self.lock(&batch).await?;
            if !passed.is_empty() {
                remaining -= if remaining == u64::MAX { 0 } else { passed.len() as u64 };
                self.remaining = Some(remaining);
                return Ok(Some(vector::take_batch(&batch, &passed)));
            }
        }
        self.remaining = Some(0);
        Ok(None)
    }
}

impl Operator for LockRows {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(self.step())
    }
}
