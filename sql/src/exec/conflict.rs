//! ON CONFLICT: what to do with rows whose unique keys are taken.
//!
//! The arbiters' keys of a whole batch are locked and read by one request. Then the rows are decided in order: one
//! whose keys are free is inserted, and takes its keys for the rest of the statement; one that meets a stored row
//! is skipped or updates it. A row that the statement itself has stored or updated cannot be updated again (21000). Violations
//! of other unique indexes are ordinary errors.

use bytes::Bytes;
use meridian_storage::base::Key;
use meridian_txn::{LockStrength, WaitPolicy};
use rustc_hash::{FxHashMap, FxHashSet};

use super::foreign_key::Pending;
use super::write::{self, Touched};
use super::{ExecContext, eval, vector};
use crate::catalog::{ColumnId, ElementState, IndexId};
use crate::error::{SqlError, SqlResult, state};
use crate::expr::Expr;
use crate::plan::physical::TargetTable;
use crate::plan::{ConflictAction, OnConflict};
use crate::row::BatchRow;
use crate::row::decode::PrimaryKeyFinder;
use crate::types::Batch;

const LOCK: (LockStrength, WaitPolicy) = (LockStrength::Update, WaitPolicy::Block);

pub struct Conflicts<'p> {
    target: &'p TargetTable,
    action: &'p ConflictAction,
    /// 0: the primary index; n: the (n - 1)th secondary one.
    arbiters: Vec<usize>,
    /// Unique keys of rows that the statement has stored.
    taken: FxHashSet<Key>,
    /// Primary keys of rows that the statement has updated.
    updated: FxHashSet<Key>,
}

/// What becomes of one proposed row.
enum Fate {
    Insert,
    Skip,
    /// Meets the stored row of this primary key.
    Update(Key),
}

impl<'p> Conflicts<'p> {
    pub fn new(target: &'p TargetTable, on: &'p OnConflict) -> Self {
        let wanted = |id: IndexId| on.arbiter.as_ref().is_none_or(|list| list.contains(&id));
        let mut arbiters = Vec::new();
        if target.table.primary.is_primary_key && wanted(target.table.primary.id) {
            arbiters.push(0);
        }
        for (n, (encoder, state)) in target.codec.secondary.iter().enumerate() {
            if encoder.unique && *state == ElementState::Public && wanted(encoder.id) {
                arbiters.push(n + 1);
            }
        }
        let (taken, updated) = Default::default();
        Conflicts { target, action: &on.action, arbiters, taken, updated }
    }

    /// Inserts, skips and updates; yields the stored rows in the order of the proposed ones.
    pub async fn store(&mut self, rows: Batch, pending: &mut Pending, ctx: &ExecContext) -> SqlResult<Batch> {
        let keys = self.unique_keys(&rows, ctx)?;
        let found = self.look_up(&keys, ctx).await?;
        let mut inserts: Vec<u32> = Vec::new();
        let mut updates: Vec<(u32, Key)> = Vec::new();
        for (row, keys) in keys.iter().enumerate() {
            match self.fate(keys, &found)? {
                Fate::Skip => {}
                Fate::Insert => {
                    self.taken.extend(keys.iter().map(|(_, key)| key.clone()));
                    inserts.push(row as u32);
                }
                Fate::Update(key) => {
                    if !self.updated.insert(key.clone()) {
                        return Err(twice());
                    }
                    updates.push((row as u32, key));
                }
            }
        }
        let inserted = vector::take_batch(&rows, &inserts);
        if inserted.rows > 0 {
            write::validate(self.target, &inserted, ctx)?;
            write::insert_rows(self.target, &inserted, &self.checked(), ctx).await?;
            pending.inserted(self.target, &inserted);
        }
        if updates.is_empty() {
            return Ok(inserted);
        }
        let (from, updated) = self.update(&rows, updates, pending, ctx).await?;
        Ok(in_order(&inserted, &inserts, &updated, &from, &write::public_types(&self.target.table)))
    }

    fn checked(&self) -> Vec<IndexId> {
        let id = |n: &usize| match n {
            0 => self.target.codec.primary.id,
            n => self.target.codec.secondary[n - 1].0.id,
        };
        self.arbiters.iter().map(id).collect()
    }

    /// For each row, the keys that it would take in the arbiters.
    fn unique_keys(&self, rows: &Batch, ctx: &ExecContext) -> SqlResult<Vec<Vec<(usize, Key)>>> {
        let mut out = vec![Vec::new(); rows.rows];
        for &arbiter in &self.arbiters {
            let (encoder, accepted) = match arbiter {
                0 => (&self.target.codec.primary, (0..rows.rows as u32).collect()),
                n => (&self.target.codec.secondary[n - 1].0, write::accepted(self.target, n - 1, rows, ctx)?),
            };
            for row in accepted {
                let source = BatchRow { batch: rows, row: row as usize };
                if !write::has_null_key(encoder, &source) {
                    out[row as usize].push((arbiter, encoder.encode_key(&source)?));
                }
            }
        }
        Ok(out)
    }

    /// The stored values of those keys that exist.
    async fn look_up(
        &self,
        keys: &[Vec<(usize, Key)>],
        ctx: &ExecContext,
    ) -> SqlResult<FxHashMap<Key, Bytes>> {
        let mut wanted: Vec<Key> = keys.iter().flatten().map(|(_, key)| key.clone()).collect();
        wanted.sort_unstable();
        wanted.dedup();
        Ok(super::scan::lock_pairs(&wanted, LOCK, ctx).await?.into_iter().collect())
    }

    fn fate(&self, keys: &[(usize, Key)], found: &FxHashMap<Key, Bytes>) -> SqlResult<Fate> {
        let nothing = matches!(self.action, ConflictAction::Nothing);
        for (arbiter, key) in keys {
            if self.taken.contains(key) {
                return if nothing { Ok(Fate::Skip) } else { Err(twice()) };
            }
            let Some(value) = found.get(key) else { continue };
            if nothing {
                return Ok(Fate::Skip);
            }
            let primary = match arbiter {
                0 => key.clone(),
                n => {
                    let finder =
                        PrimaryKeyFinder::new(&self.target.table, &self.target.table.indexes[n - 1])?;
                    finder.primary_key(key, value)?
                }
            };
            return Ok(Fate::Update(primary));
        }
        Ok(Fate::Insert)
    }

    /// Updates stored rows; yields which proposed rows they met, and the rows as they are now.
    async fn update(
        &self,
        rows: &Batch,
        updates: Vec<(u32, Key)>,
        pending: &mut Pending,
        ctx: &ExecContext,
    ) -> SqlResult<(Vec<u32>, Batch)> {
        let ConflictAction::Update { assignments, filter } = self.action else {
            return Err(SqlError::internal("an update without assignments"));
        };
        let keys: Vec<Key> = updates.iter().map(|u| u.1.clone()).collect();
        let pairs = super::scan::lock_pairs(&keys, LOCK, ctx).await?;
        if pairs.len() != keys.len() {
            return Err(SqlError::new(state::DATA_CORRUPTED, "a unique index entry points to no row"));
        }
        let mut from: Vec<u32> = updates.iter().map(|u| u.0).collect();
        let mut old = write::decode_rows(self.target, &pairs)?;
        let mut joined = vector::zip(&old, &vector::take_batch(rows, &from));
        if let Some(filter) = filter {
            let passed = eval::selection(filter, &joined, ctx)?;
            old = vector::take_batch(&old, &passed);
            joined = vector::take_batch(&joined, &passed);
            from = passed.iter().map(|&p| from[p as usize]).collect();
        }
        let new = self.assign(&old, &joined, assignments, ctx)?;
        if new.rows > 0 {
            let assigned: Vec<ColumnId> = assignments.iter().map(|a| a.0).collect();
            write::validate(self.target, &new, ctx)?;
            write::update_rows(self.target, &old, &new, &Touched::by(self.target, &assigned), ctx).await?;
            pending.updated(self.target, &old, &new);
        }
        Ok((from, new))
    }

    fn assign(
        &self,
        old: &Batch,
        joined: &Batch,
        assignments: &[(ColumnId, Expr)],
        ctx: &ExecContext,
    ) -> SqlResult<Batch> {
        if old.rows == 0 {
            return Ok(old.clone());
        }
        write::assign(self.target, old, joined, assignments, ctx)
    }
}

/// Inserted and updated rows, merged in the order of the rows that were proposed.
fn in_order(
    inserted: &Batch,
    inserts: &[u32],
    updated: &Batch,
    updates: &[u32],
    types: &[crate::types::Oid],
) -> Batch {
    let all = vector::concat(&[inserted.clone(), updated.clone()], types);
    let proposed: Vec<u32> = inserts.iter().chain(updates).copied().collect();
    let mut order: Vec<u32> = (0..all.rows as u32).collect();
    order.sort_by_key(|&i| proposed[i as usize]);
    vector::take_batch(&all, &order)
}

fn twice() -> SqlError {
    SqlError::new(
        state::CARDINALITY_VIOLATION,
        "ON CONFLICT DO UPDATE command cannot affect row a second time",
    )
    .with_hint("Ensure that no rows proposed for insertion within the same command have duplicate constrained values.")
}
