//! Locks the stored rows behind the input's rows, where a scan could not lock them itself (joins, sorts in between).
//!
//! Each row is read again with the lock. If it is as it was, it passes; if it is gone, it does not. If it has changed
//! since - possible under READ COMMITTED only, the other levels fail in the locking read - whether the new version would
//! still be part of the result cannot be told from here: the statement fails with 40001, and the session runs it again
//! on a new snapshot.

use std::sync::Arc;

use meridian_storage::base::{BoxFuture, Key};
use rustc_hash::FxHashMap;

use super::scan::{get_pairs, lock_of};
use super::write::public_columns;
use super::{ExecContext, Operator, build, vector};
use crate::error::{SqlError, SqlResult, state};
use crate::plan::physical::LockRowsNode;
use crate::row::BatchRow;
use crate::types::Batch;

pub struct LockRows {
    plan: Arc<LockRowsNode>,
    input: Box<dyn Operator>,
    ctx: ExecContext,
}

impl LockRows {
    pub fn new(plan: &Arc<LockRowsNode>, ctx: &ExecContext) -> Self {
        LockRows { input: build(&plan.input, ctx), plan: plan.clone(), ctx: ctx.clone() }
    }

    async fn lock(&mut self, batch: &Batch) -> SqlResult<Vec<u32>> {
        let width = public_columns(&self.plan.table).count();
        let first = self.plan.first;
        let rows = Batch { columns: batch.columns[first..first + width].to_vec(), rows: batch.rows };
        let mut keys = Vec::with_capacity(rows.rows);
        for row in 0..rows.rows {
            keys.push(self.plan.primary.encode_key(&BatchRow { batch: &rows, row })?);
        }
        let mut distinct = keys.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let pairs = get_pairs(&distinct, Some(lock_of(self.plan.lock)), &self.ctx).await?;
        let place: FxHashMap<&Key, usize> = pairs.iter().enumerate().map(|(i, (key, _))| (key, i)).collect();
        let mut columns = self.plan.decoder.columns();
        for (key, value) in &pairs {
            self.plan.decoder.decode_row(key, value, &mut columns)?;
        }
        let mut passed = Vec::with_capacity(rows.rows);
        for (row, key) in keys.iter().enumerate() {
            let Some(&now) = place.get(key) else { continue };
            if columns.iter().zip(&rows.columns).any(|(new, old)| new.datum(now) != old.datum(row)) {
                return Err(SqlError::new(
                    state::SERIALIZATION_FAILURE,
                    "could not serialize access due to concurrent update",
                ));
            }
            passed.push(row as u32);
        }
        Ok(passed)
    }
}

impl Operator for LockRows {
    fn next(&mut self) -> BoxFuture<'_, SqlResult<Option<Batch>>> {
        Box::pin(async {
            while let Some(batch) = self.input.next().await? {
                let passed = self.lock(&batch).await?;
                if !passed.is_empty() {
                    return Ok(Some(vector::take_batch(&batch, &passed)));
                }
            }
            Ok(None)
        })
    }
}
