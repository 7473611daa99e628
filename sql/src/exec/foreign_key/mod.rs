//! Foreign keys, on both sides.
//!
//! On the referencing side, every new key must exist: it is read with a KEY SHARE lock on the referenced row, many in one
//! request, so that the row cannot go away before the transaction ends. On the referenced side, a key that goes away
//! finds the rows that refer to it and refuses, or changes them in turn: what those changes ask for is queued behind what
//! is asked for already, so a cascade cascades, as far as the data goes, and never on the stack.
//!
//! The queue's order is PostgreSQL's: its triggers, too, wait behind those of the rows that were changed before. So a
//! NO ACTION constraint between two tables that both lose rows to one cascade is looked at after both have lost them.
//!
//! Both are looked at after the statement has written, as PostgreSQL's triggers are: a statement may insert a row and what it refers
//! to, in any order. Rows are looked for by locking reads, which see the newest version under READ COMMITTED: a
//! snapshot would miss what was committed while the statement waited for its locks.

mod inbound;
mod outbound;

use std::collections::VecDeque;

use meridian_storage::base::Key;
use rustc_hash::FxHashSet;

use super::{ExecContext, describe, eval, keys, vector, write};
use crate::catalog::{ColumnId, ForeignKey, IndexId, TableDescriptor, TableId};
use crate::error::{SqlError, SqlResult, state};
use crate::plan::physical::{OutboundKey, TargetTable, Targets};
use crate::row::{BatchRow, IndexEncoder, ValueRef};
use crate::types::{Batch, Datum, Oid};

/// What a statement has done to one table's rows, to be looked at in the end.
#[derive(Default)]
pub struct Pending {
    /// Stored rows whose references must exist.
    stored: Vec<Stored>,
    /// Rows before and (for an update) after; of deleted rows there is no after.
    changed: Vec<(Batch, Option<Batch>)>,
}

impl Pending {
    pub fn inserted(&mut self, target: &TargetTable, rows: &Batch) {
        if !target.outbound.is_empty() {
            self.stored.push(Stored { rows: rows.clone(), key: None });
        }
    }

    pub fn updated(&mut self, target: &TargetTable, old: &Batch, new: &Batch) {
        if !target.inbound.is_empty() {
            self.changed.push((old.clone(), Some(new.clone())));
        }
        for (n, outbound) in target.outbound.iter().enumerate() {
            let at = positions(&target.table, &target.table.foreign_keys[outbound.constraint].columns);
            let changed = differing(old, new, &at);
            if !changed.is_empty() {
                self.stored.push(Stored { rows: vector::take_batch(new, &changed), key: Some(n) });
            }
        }
    }

    pub fn deleted(&mut self, target: &TargetTable, rows: &Batch) {
        if !target.inbound.is_empty() {
            self.changed.push((rows.clone(), None));
        }
    }

    fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.changed.is_empty()
    }

    /// Carries out what the constraints ask for.
    pub async fn finish(self, targets: &Targets, target: &TargetTable, ctx: &ExecContext) -> SqlResult<()> {
        let mut work = Work { targets, ctx, queue: VecDeque::new(), checks: None };
        work.push(target, self);
        while let Some((target, pending)) = work.queue.pop_front() {
            ctx.check_cancel()?;
            work.checks = Some((target.table.id, pending.stored));
            for (old, new) in &pending.changed {
                for inbound in &target.inbound {
                    work.referenced_changed(target, inbound, old, new.as_ref()).await?;
                }
            }
            for stored in work.checks.take().map_or(Vec::new(), |(_, stored)| stored) {
                for outbound in stored.keys(target) {
                    outbound::check(target, outbound, &stored.rows, ctx).await?;
                }
            }
        }
        Ok(())
    }
}

/// Rows with new keys. A key that an update leaves alone is not looked at: what it refers to may be gone by the cascade
/// that is about to take the row, too.
struct Stored {
    rows: Batch,
    /// The constraint whose key is new, by its place in the target's list; `None`: all are.
    key: Option<usize>,
}

impl Stored {
    fn keys<'t>(&self, target: &'t TargetTable) -> &'t [OutboundKey] {
        match self.key {
            Some(n) => std::slice::from_ref(&target.outbound[n]),
            None => &target.outbound,
        }
    }
}

/// Changes whose consequences have not been looked at, oldest first. Each is one batch of one table's rows.
struct Work<'a> {
    targets: &'a Targets,
    ctx: &'a ExecContext,
    queue: VecDeque<(&'a TargetTable, Pending)>,
    /// The table's rows that are to be checked after the cascades that are under way.
    checks: Option<(TableId, Vec<Stored>)>,
}

impl<'a> Work<'a> {
    fn push(&mut self, target: &'a TargetTable, pending: Pending) {
        if !pending.is_empty() {
            self.queue.push_back((target, pending));
        }
    }

    /// What a cascade's update asks for.
    fn push_updated(&mut self, target: &'a TargetTable, old: &Batch, new: &Batch) -> SqlResult<()> {
        let mut pending = Pending::default();
        pending.updated(target, old, new);
        pending.stored.extend(self.moved_unchecked(target, old, new)?);
        self.push(target, pending);
        Ok(())
    }

    /// The rows whose primary keys change while they wait to be checked. Their check will not find them under the keys
    /// that they had, and takes them for deleted: they are to be checked where they are now.
    fn moved_unchecked(&self, target: &TargetTable, old: &Batch, new: &Batch) -> SqlResult<Option<Stored>> {
        let primary = &target.codec.primary;
        let at: Vec<usize> = primary.key.iter().map(|k| k.position).collect();
        let moved = differing(old, new, &at);
        if moved.is_empty() {
            return Ok(None);
        }
        let id = target.table.id;
        let queued = self.queue.iter().filter(|(t, _)| t.table.id == id).flat_map(|(_, p)| &p.stored);
        let now = self.checks.iter().filter(|(table, _)| *table == id).flat_map(|(_, stored)| stored);
        let mut waiting = FxHashSet::default();
        for stored in queued.chain(now) {
            for row in 0..stored.rows.rows {
                waiting.insert(primary.encode_key(&BatchRow { batch: &stored.rows, row })?);
            }
        }
        let mut unchecked = Vec::new();
        for row in moved {
            if waiting.contains(&primary.encode_key(&BatchRow { batch: old, row: row as usize })?) {
                unchecked.push(row);
            }
        }
        let stored = Stored { rows: vector::take_batch(new, &unchecked), key: None };
        Ok((!unchecked.is_empty()).then_some(stored))
    }
}

fn positions(table: &TableDescriptor, columns: &[ColumnId]) -> Vec<usize> {
    let find = |id: &ColumnId| write::public_columns(table).position(|c| c.id == *id);
    columns.iter().map(|id| find(id).expect("a constraint's column is public")).collect()
}

fn differs(old: &Batch, new: &Batch, positions: &[usize], row: usize) -> bool {
    positions.iter().any(|&p| old.columns[p].datum(row) != new.columns[p].datum(row))
}

/// The rows whose values in these columns have changed.
fn differing(old: &Batch, new: &Batch, positions: &[usize]) -> Vec<u32> {
    (0..new.rows).filter(|&row| differs(old, new, positions, row)).map(|row| row as u32).collect()
}

/// A value as one of another integer type; `None` if there is no such value.
fn fit(value: Datum, ty: Oid) -> Option<Datum> {
    let integer = match &value {
        Datum::Int2(v) => i64::from(*v),
        Datum::Int4(v) => i64::from(*v),
        Datum::Int8(v) => *v,
        _ => return Some(value),
    };
    Some(match ty {
        Oid::INT2 => Datum::Int2(i16::try_from(integer).ok()?),
        Oid::INT4 => Datum::Int4(i32::try_from(integer).ok()?),
        Oid::INT8 => Datum::Int8(integer),
        _ => value,
    })
}

fn encoder_of(table: &TableDescriptor, index: IndexId) -> SqlResult<IndexEncoder> {
    if table.primary.id == index {
        return IndexEncoder::primary(table);
    }
    let found = table.indexes.iter().find(|i| i.id == index);
    IndexEncoder::secondary(table, found.ok_or_else(|| SqlError::internal("no such index"))?)
}

/// The key of the referenced row; `None` if a value is outside the referenced column's type.
fn referenced_key(encoder: &IndexEncoder, fk: &ForeignKey, values: Vec<Datum>) -> SqlResult<Option<Key>> {
    let mut ordered = Vec::with_capacity(values.len());
    for part in &encoder.key {
        let at = fk.referenced_columns.iter().position(|c| *c == part.column);
        let at = at.ok_or_else(|| SqlError::internal("a foreign key's index has other columns"))?;
        match fit(values[at].clone(), part.ty) {
            Some(value) => ordered.push(value),
            None => return Ok(None),
        }
    }
    let refs: Vec<ValueRef<'_>> = ordered.iter().map(ValueRef::from).collect();
    Ok(Some(encoder.key_prefix(&refs)?.into()))
}

fn violation(message: String, table: &TableDescriptor, fk: &ForeignKey, ctx: &ExecContext) -> SqlError {
    SqlError::new(state::FOREIGN_KEY_VIOLATION, message).with_constraint(
        describe::schema_name(table, ctx),
        &table.name,
        &fk.name,
    )
}
