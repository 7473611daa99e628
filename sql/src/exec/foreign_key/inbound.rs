//! The referenced side: what the rows that refer to a lost key are in for.
//!
//! They are looked for by locking reads. CASCADE, SET NULL and SET DEFAULT change them here, and queue what that asks for.

use meridian_storage::base::{Key, Span};
use meridian_txn::{LockStrength, ScanOptions, WaitPolicy};

use super::keys::KeyEncoder;
use super::write::{self, Touched, public_columns};
use super::{
    Pending, Work, describe, differs, encoder_of, eval, fit, positions, referenced_key, vector, violation,
};
use crate::catalog::{ColumnId, ElementState, FkAction, ForeignKey, TableDescriptor};
use crate::error::{SqlError, SqlResult, state};
use crate::exec::{ExecContext, scan};
use crate::plan::physical::{InboundKey, TargetTable, Targets};
use crate::row::ValueRef;
use crate::row::decode::PrimaryKeyFinder;
use crate::types::{Batch, Column, Datum, Oid};

impl<'a> Work<'a> {
    /// Looks at one constraint for rows of the table that it refers to.
    pub(super) async fn referenced_changed(
        &mut self,
        target: &TargetTable,
        inbound: &InboundKey,
        old: &Batch,
        new: Option<&Batch>,
    ) -> SqlResult<()> {
        let fk = &inbound.referencing.foreign_keys[inbound.constraint];
        let at = positions(&target.table, &fk.referenced_columns);
        let has_null = |row: usize| at.iter().any(|&p| old.columns[p].is_null(row));
        let gone: Vec<u32> = (0..old.rows)
            .filter(|&row| !has_null(row) && new.is_none_or(|new| differs(old, new, &at, row)))
            .map(|row| row as u32)
            .collect();
        if gone.is_empty() {
            return Ok(());
        }
        let keys = GoneKeys::new(vector::take_batch(old, &gone), at);
        let action = if new.is_some() { fk.on_update } else { fk.on_delete };
        match action {
            FkAction::NoAction | FkAction::Restrict => {
                refuse_references(self.targets, target, inbound, &keys, action, self.ctx).await
            }
            FkAction::Cascade if new.is_none() => self.delete_referencing(inbound, &keys).await,
            FkAction::Cascade | FkAction::SetNull => {
                let new = new.map(|new| vector::take_batch(new, &gone));
                self.update_referencing(inbound, &keys, action, new.as_ref()).await
            }
            FkAction::SetDefault => {
                self.update_referencing(inbound, &keys, action, None).await?;
                // Rows that refer to the lost key by default have not changed: nobody else looks at them.
                refuse_references(self.targets, target, inbound, &keys, FkAction::NoAction, self.ctx).await
            }
        }
    }

    /// The rows that refer to the keys, locked, if there are any.
    async fn referencing(
        &self,
        inbound: &InboundKey,
        keys: &GoneKeys,
    ) -> SqlResult<Option<(&'a TargetTable, Referencing)>> {
        let (targets, ctx) = (self.targets, self.ctx);
        let found =
            referencing_rows(targets, inbound, &keys.columns, LockStrength::Update, false, ctx).await?;
        if found.keys.is_empty() { Ok(None) } else { Ok(Some((child_of(targets, inbound)?, found))) }
    }

    async fn delete_referencing(&mut self, inbound: &InboundKey, keys: &GoneKeys) -> SqlResult<()> {
        let ctx = self.ctx;
        let Some((child, found)) = self.referencing(inbound, keys).await? else { return Ok(()) };
        write::delete_rows(child, &found.rows, ctx).await?;
        let mut pending = Pending::default();
        pending.deleted(child, &found.rows);
        self.push(child, pending);
        Ok(())
    }

    /// Gives the referring rows the `new` keys (CASCADE), their defaults or NULLs.
    async fn update_referencing(
        &mut self,
        inbound: &InboundKey,
        keys: &GoneKeys,
        action: FkAction,
        new: Option<&Batch>,
    ) -> SqlResult<()> {
        let ctx = self.ctx;
        let Some((child, found)) = self.referencing(inbound, keys).await? else { return Ok(()) };
        let fk = &inbound.referencing.foreign_keys[inbound.constraint];
        let values = |n: usize| -> SqlResult<Column> {
            let ty = public_columns(&child.table).find(|c| c.id == fk.columns[n]).map(|c| c.ty.oid);
            let ty = ty.unwrap_or(Oid::INVALID);
            let mut column = Column::for_type(ty);
            for key in &found.keys {
                column.push(&match (action, new) {
                    (FkAction::Cascade, Some(new)) => {
                        fit(new.columns[keys.at[n]].datum(*key as usize), ty)
                            .ok_or_else(|| out_of_range(&child.table, fk.columns[n]))?
                    }
                    (FkAction::SetDefault, _) => eval::constant(&inbound.defaults[n], ctx)?,
                    _ => Datum::Null,
                });
            }
            Ok(column)
        };
        let columns = (0..fk.columns.len()).map(values).collect::<SqlResult<Vec<_>>>()?;
        let old = found.rows;
        let mut new = old.clone();
        for (position, column) in positions(&child.table, &fk.columns).into_iter().zip(columns) {
            new.columns[position] = column.into();
        }
        write::validate(child, &new, ctx)?;
        write::update_rows(child, &old, &new, &Touched::by(child, &fk.columns), ctx).await?;
        self.push_updated(child, &old, &new)
    }
}

/// Rows that have lost their keys, as they were.
struct GoneKeys {
    rows: Batch,
    /// Where the constraint's columns are in them.
    at: Vec<usize>,
    /// Only those columns.
    columns: Batch,
}

impl GoneKeys {
    fn new(rows: Batch, at: Vec<usize>) -> Self {
        let columns =
            Batch { columns: at.iter().map(|&p| rows.columns[p].clone()).collect(), rows: rows.rows };
        GoneKeys { rows, at, columns }
    }
}

/// Fails if a row refers to one of the keys. NO ACTION minds only keys that are not there again.
async fn refuse_references(
    targets: &Targets,
    target: &TargetTable,
    inbound: &InboundKey,
    keys: &GoneKeys,
    action: FkAction,
    ctx: &ExecContext,
) -> SqlResult<()> {
    let lost = match action {
        FkAction::NoAction => lost_keys(target, inbound, &keys.columns, ctx).await?,
        _ => (0..keys.rows.rows as u32).collect(),
    };
    let columns = vector::take_batch(&keys.columns, &lost);
    let found = referencing_rows(targets, inbound, &columns, LockStrength::KeyShare, true, ctx).await?;
    match found.keys.first() {
        None => Ok(()),
        Some(key) => {
            let row = lost[*key as usize] as usize;
            Err(still_referenced(target, inbound, &keys.at, &keys.rows, row, ctx))
        }
    }
}

fn out_of_range(table: &TableDescriptor, column: ColumnId) -> SqlError {
    let name = table.columns.iter().find(|c| c.id == column).map_or("", |c| c.name.as_str());
    SqlError::new(state::NUMERIC_VALUE_OUT_OF_RANGE, format!("value is out of range for column \"{name}\""))
}

fn child_of<'a>(targets: &'a Targets, inbound: &InboundKey) -> SqlResult<&'a TargetTable> {
    targets
        .of(inbound.referencing.id)
        .ok_or_else(|| SqlError::internal("a cascade reaches an unplanned table"))
}

fn still_referenced(
    target: &TargetTable,
    inbound: &InboundKey,
    at: &[usize],
    keys: &Batch,
    row: usize,
    ctx: &ExecContext,
) -> SqlError {
    let fk = &inbound.referencing.foreign_keys[inbound.constraint];
    let message = format!(
        "update or delete on table \"{}\" violates foreign key constraint \"{}\" on table \"{}\"",
        target.table.name, fk.name, inbound.referencing.name
    );
    let key = describe::key(&target.table, at, keys, row, ctx);
    let detail = format!("Key {key} is still referenced from table \"{}\".", inbound.referencing.name);
    violation(message, &inbound.referencing, fk, ctx).with_detail(detail)
}

/// Those of the keys that no row of the referenced table has taken over within the statement. Only this transaction can
/// have stored them again, since it holds their locks: what it has written tells.
async fn lost_keys(
    target: &TargetTable,
    inbound: &InboundKey,
    keys: &Batch,
    ctx: &ExecContext,
) -> SqlResult<Vec<u32>> {
    let fk = &inbound.referencing.foreign_keys[inbound.constraint];
    let index = target.table.all_indexes().find(|index| {
        index.unique
            && index.predicate.is_none()
            && index.state == ElementState::Public
            && index.key.len() == fk.referenced_columns.len()
            && index.key.iter().all(|part| fk.referenced_columns.contains(&part.column))
    });
    let index = index.ok_or_else(|| SqlError::internal("a referenced key without a unique index"))?;
    let encoder = encoder_of(&target.table, index.id)?;
    let mut wanted = Vec::with_capacity(keys.rows);
    for row in 0..keys.rows {
        let values = keys.columns.iter().map(|c| c.datum(row)).collect();
        let key = referenced_key(&encoder, fk, values)?;
        wanted.push(key.ok_or_else(|| SqlError::internal("a stored key does not fit its column"))?);
    }
    let found = ctx.txn().get_many(&wanted, None).await?;
    Ok((0..keys.rows as u32).filter(|&row| found[row as usize].is_none()).collect())
}

/// Rows that refer to some keys.
struct Referencing {
    rows: Batch,
    /// Which key each of them refers to.
    keys: Vec<u32>,
}

impl Referencing {
    fn add(&mut self, more: Referencing) {
        for (to, from) in self.rows.columns.iter_mut().zip(&more.rows.columns) {
            vector::append(std::sync::Arc::make_mut(to), from);
        }
        self.rows.rows += more.rows.rows;
        self.keys.extend(more.keys);
    }
}

/// The rows of the referencing table that refer to one of `keys` (columns in the order of the constraint).
async fn referencing_rows(
    targets: &Targets,
    inbound: &InboundKey,
    keys: &Batch,
    lock: LockStrength,
    first_only: bool,
    ctx: &ExecContext,
) -> SqlResult<Referencing> {
    let child = child_of(targets, inbound)?;
    let fk = &inbound.referencing.foreign_keys[inbound.constraint];
    let from = positions(&child.table, &fk.columns);
    // Compared as bytes of the referencing columns' types, so that integer widths do not matter.
    let types: Vec<Oid> = public_columns(&child.table).map(|c| c.ty.oid).collect();
    let encoder = KeyEncoder::equality(from.iter().map(|&p| types[p]));
    let mut wanted = rustc_hash::FxHashMap::default();
    let mut values = Vec::with_capacity(keys.rows);
    for row in 0..keys.rows {
        let fitted = from.iter().enumerate().map(|(n, &p)| fit(keys.columns[n].datum(row), types[p]));
        if let Some(key) = fitted.collect::<Option<Vec<Datum>>>() {
            let mut bytes = Vec::new();
            encoder.encode_row(&mut bytes, &key)?;
            wanted.insert(bytes, row as u32);
            values.push(key);
        }
    }
    let references = References { child, from, encoder, wanted };
    let mut out = Referencing { rows: write::decode_rows(child, &[])?, keys: Vec::new() };
    let spans = spans_of(child, inbound, fk, &values)?;
    for span in spans {
        let pairs = referencing_pairs(child, inbound, span, lock, ctx).await?;
        for chunk in pairs.chunks(crate::types::column::BATCH_ROWS) {
            let (mut places, mut found) = references.among(chunk)?;
            // Whoever only refuses has no use for a lock.
            if inbound.index.is_none() && !first_only && !places.is_empty() {
                // What was found without locks may be changed, or gone, by the time that it is locked.
                let keys: Vec<Key> = places.iter().map(|place| chunk[*place as usize].0.clone()).collect();
                let locked = scan::lock_pairs(&keys, (lock, WaitPolicy::Block), ctx).await?;
                (places, found) = references.among(&locked)?;
            }
            if places.is_empty() {
                continue;
            }
            out.add(found);
            if first_only {
                return Ok(out);
            }
        }
    }
    Ok(out)
}

/// Which keys are looked for, and in which columns of the referencing table.
struct References<'a> {
    child: &'a TargetTable,
    from: Vec<usize>,
    encoder: KeyEncoder,
    wanted: rustc_hash::FxHashMap<Vec<u8>, u32>,
}

impl References<'_> {
    /// Those of the rows that refer to one of the keys, and their places.
    fn among(&self, pairs: &[(Key, bytes::Bytes)]) -> SqlResult<(Vec<u32>, Referencing)> {
        let batch = write::decode_rows(self.child, pairs)?;
        let columns: Vec<_> = self.from.iter().map(|&p| batch.columns[p].clone()).collect();
        let (mut places, mut keys) = (Vec::new(), Vec::new());
        for row in 0..batch.rows {
            if columns.iter().any(|c| c.is_null(row)) {
                continue;
            }
            let mut bytes = Vec::new();
            self.encoder.encode(&mut bytes, &columns, row)?;
            if let Some(key) = self.wanted.get(&bytes) {
                places.push(row as u32);
                keys.push(*key);
            }
        }
        let rows = vector::take_batch(&batch, &places);
        Ok((places, Referencing { rows, keys }))
    }
}

/// Where rows with these values of the constraint's columns can stand: in an index that begins with the columns,
/// else anywhere in the table.
fn spans_of(
    child: &TargetTable,
    inbound: &InboundKey,
    fk: &ForeignKey,
    values: &[Vec<Datum>],
) -> SqlResult<Vec<Span>> {
    if values.is_empty() {
        return Ok(Vec::new());
    }
    let Some(index) = inbound.index else { return Ok(vec![child.codec.primary.span()]) };
    let encoder = encoder_of(&child.table, index)?;
    let order: Option<Vec<usize>> = encoder.key[..fk.columns.len()]
        .iter()
        .map(|k| fk.columns.iter().position(|c| *c == k.column))
        .collect();
    let order = order.ok_or_else(|| SqlError::internal("a foreign key's index has other columns"))?;
    let span = |key: &Vec<Datum>| {
        let refs: Vec<ValueRef<'_>> = order.iter().map(|&n| ValueRef::from(&key[n])).collect();
        Ok(Span::prefix(encoder.key_prefix(&refs)?.into()))
    };
    values.iter().map(span).collect()
}

/// The rows behind a span of the index, locked; or those of the table itself, as they are now.
async fn referencing_pairs(
    child: &TargetTable,
    inbound: &InboundKey,
    span: Span,
    lock: LockStrength,
    ctx: &ExecContext,
) -> SqlResult<Vec<(Key, bytes::Bytes)>> {
    let by_index = inbound.index.filter(|id| *id != child.table.primary.id);
    let finder = match by_index {
        None => None,
        Some(id) => {
            let index = child.table.indexes.iter().find(|i| i.id == id);
            let index = index.ok_or_else(|| SqlError::internal("no such index"))?;
            Some(PrimaryKeyFinder::new(&child.table, index)?)
        }
    };
    // A scan of the whole table would lock it: what refers to the keys is locked once it is found.
    let whole_table = inbound.index.is_none();
    let lock_too = (!whole_table).then_some((lock, WaitPolicy::Block));
    // The referenced row is locked, so no new reference can come; one that has come since the snapshot must be seen.
    let options = ScanOptions { lock: lock_too, newest: true, ..ScanOptions::default() };
    let mut scanner = ctx.txn().scan(span, options);
    let mut out = Vec::new();
    while let Some(block) = scanner.next_block().await? {
        ctx.check_cancel()?;
        match &finder {
            None => {
                out.extend((0..block.len()).map(|i| (Key::new(block.key_bytes(i)), block.value_bytes(i))))
            }
            Some(finder) => {
                let mut keys = Vec::with_capacity(block.len());
                for i in 0..block.len() {
                    keys.push(finder.primary_key(block.key(i), block.value(i))?);
                }
                out.extend(scan::lock_pairs(&keys, (lock, WaitPolicy::Block), ctx).await?);
            }
        }
    }
    Ok(out)
}
