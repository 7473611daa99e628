//! Storing, changing and removing rows, with their index entries: the one place where a table's bytes are written.
//!
//! Rows come as batches of all public columns in descriptor order. What must stay true:
//! - Every index gets the entries that its state asks for: `Public` and `WriteOnly` ones gain and lose entries,
//!   `DeleteOnly` and `Dropping` ones only lose them. A partial index has entries for the rows that its predicate
//!   accepts.
//! - A unique key is written only after a locking read has found nothing there. The reads of a whole batch are one
//!   request. Nothing is read where nothing can collide (hidden row ids without unique indexes).
//! - Within a batch everything is removed before anything is added, so that a statement may exchange unique values
//!   between rows.

use bytes::Bytes;
use meridian_storage::base::Key;
use meridian_storage::base::planted::{self, Planted};
use meridian_txn::{LockStrength, WaitPolicy};
use rustc_hash::FxHashSet;

use super::{ExecContext, describe, eval, vector};
use crate::catalog::{ColumnDescriptor, ElementState, IndexDescriptor, IndexId, TableDescriptor};
use crate::error::{SqlError, SqlResult, state};
use crate::plan::physical::TargetTable;
use crate::row::{BatchRow, IndexEncoder, RowBuf, RowSource};
use crate::types::{Batch, Column, ColumnData, Datum, Oid};

/// The public columns, in the order of rows.
pub fn public_columns(table: &TableDescriptor) -> impl Iterator<Item = &ColumnDescriptor> {
    table.columns.iter().filter(|c| c.state == ElementState::Public)
}

/// Their types.
pub fn public_types(table: &TableDescriptor) -> Vec<Oid> {
    public_columns(table).map(|c| c.ty.oid).collect()
}

/// NOT NULL and CHECK constraints of rows to be stored.
pub fn validate(target: &TargetTable, rows: &Batch, ctx: &ExecContext) -> SqlResult<()> {
    let table = &target.table;
    for (position, column) in public_columns(table).enumerate() {
        if !column.not_null {
            continue;
        }
        let values = &rows.columns[position];
        if values.validity.is_none() && !matches!(values.data, ColumnData::Datum(_)) {
            continue;
        }
        if let Some(row) = (0..rows.rows).find(|&row| values.is_null(row)) {
            return Err(not_null_violation(table, column, rows, row, ctx));
        }
    }
    for (name, check) in &target.checks {
        let passed = eval::column(check, rows, ctx)?;
        // NULL passes.
        let failed = |&row: &usize| matches!(passed.datum(row), Datum::Bool(false));
        if let Some(row) = (0..rows.rows).find(failed) {
            let message =
                format!("new row for relation \"{}\" violates check constraint \"{name}\"", table.name);
            return Err(SqlError::new(state::CHECK_VIOLATION, message)
                .with_detail(describe::failing_row(table, rows, row, ctx))
                .with_constraint(describe::schema_name(table, ctx), &table.name, name));
        }
    }
    Ok(())
}

fn not_null_violation(
    table: &TableDescriptor,
    column: &ColumnDescriptor,
    rows: &Batch,
    row: usize,
    ctx: &ExecContext,
) -> SqlError {
    let message = format!(
        "null value in column \"{}\" of relation \"{}\" violates not-null constraint",
        column.name, table.name
    );
    SqlError::new(state::NOT_NULL_VIOLATION, message)
        .with_detail(describe::failing_row(table, rows, row, ctx))
        .with_column(describe::schema_name(table, ctx), &table.name, &column.name)
}

/// What is to be done to the store for a batch.
#[derive(Default)]
struct Changes {
    deletes: Vec<Key>,
    puts: Vec<(Key, Bytes)>,
    /// Keys that must not exist: with the index (0: primary) and the row, for the error.
    absent: Vec<(Key, usize, u32)>,
}

/// The largest row that is stored. It is replicated in one piece, so it takes several times its size in memory on every
/// node that holds it.
pub const ROW_BYTES_MAX: usize = 65 << 20;

/// Stores new rows. Uniqueness of the indexes in `checked` has been looked after by the caller.
pub async fn insert_rows(
    target: &TargetTable,
    rows: &Batch,
    checked: &[IndexId],
    ctx: &ExecContext,
) -> SqlResult<()> {
    let mut changes = Changes::default();
    let mut buf = RowBuf::default();
    let primary = &target.codec.primary;
    let check_primary = target.table.primary.is_primary_key && !checked.contains(&primary.id);
    for row in 0..rows.rows {
        let source = BatchRow { batch: rows, row };
        let key = primary.encode_key(&source)?;
        if check_primary {
            changes.absent.push((key.clone(), 0, row as u32));
        }
        changes.puts.push((key, primary.encode_value(&source, &mut buf)?));
    }
    for (n, (encoder, state)) in target.codec.secondary.iter().enumerate() {
        if !is_written(*state) {
            continue;
        }
        let check = encoder.unique && !checked.contains(&encoder.id);
        for row in accepted(target, n, rows, ctx)? {
            let source = BatchRow { batch: rows, row: row as usize };
            let key = encoder.encode_key(&source)?;
            if check && !has_null_key(encoder, &source) {
                changes.absent.push((key.clone(), n + 1, row));
            }
            changes.puts.push((key, encoder.encode_value(&source, &mut buf)?));
        }
    }
    apply(target, changes, rows, ctx).await
}

/// Replaces rows. `touched` says which secondary indexes can have changed.
pub async fn update_rows(
    target: &TargetTable,
    old: &Batch,
    new: &Batch,
    touched: &Touched,
    ctx: &ExecContext,
) -> SqlResult<()> {
    let mut changes = Changes::default();
    let mut buf = RowBuf::default();
    let primary = &target.codec.primary;
    for row in 0..new.rows {
        let (before, after) = (BatchRow { batch: old, row }, BatchRow { batch: new, row });
        let key = primary.encode_key(&after)?;
        if touched.primary_key {
            let previous = primary.encode_key(&before)?;
            if previous != key {
                changes.absent.push((key.clone(), 0, row as u32));
                changes.deletes.push(previous);
            }
        }
        changes.puts.push((key, primary.encode_value(&after, &mut buf)?));
    }
    for (n, (encoder, state)) in target.codec.secondary.iter().enumerate() {
        if !touched.indexes[n] {
            continue;
        }
        let before = entries(target, n, old, &mut buf, ctx)?;
        let after =
            if is_written(*state) { entries(target, n, new, &mut buf, ctx)? } else { vec![None; new.rows] };
        for (row, (before, after)) in before.into_iter().zip(after).enumerate() {
            if before == after {
                continue;
            }
            let moved = before.as_ref().map(|b| &b.0) != after.as_ref().map(|a| &a.0);
            if let (Some((key, _)), true) = (before, moved) {
                changes.deletes.push(key);
            }
            if let Some((key, value)) = after {
                let source = BatchRow { batch: new, row };
                if moved && encoder.unique && !has_null_key(encoder, &source) {
                    changes.absent.push((key.clone(), n + 1, row as u32));
                }
                changes.puts.push((key, value));
            }
        }
    }
    apply(target, changes, new, ctx).await
}

/// Removes rows.
pub async fn delete_rows(target: &TargetTable, rows: &Batch, ctx: &ExecContext) -> SqlResult<()> {
    for row in 0..rows.rows {
        ctx.txn().delete(target.codec.primary.encode_key(&BatchRow { batch: rows, row })?);
    }
    for (n, (encoder, _)) in target.codec.secondary.iter().enumerate() {
        for row in accepted(target, n, rows, ctx)? {
            ctx.txn().delete(encoder.encode_key(&BatchRow { batch: rows, row: row as usize })?);
        }
    }
    Ok(ctx.txn().flush_if_large().await?)
}

/// Which indexes an update can change.
pub struct Touched {
    pub primary_key: bool,
    pub indexes: Vec<bool>,
}

impl Touched {
    /// By the columns that are assigned.
    pub fn by(target: &TargetTable, assigned: &[crate::catalog::ColumnId]) -> Self {
        let table = &target.table;
        let in_key = |index: &IndexDescriptor| index.key.iter().any(|k| assigned.contains(&k.column));
        let primary_key = in_key(&table.primary);
        let public: Vec<_> = public_columns(table).map(|c| c.id).collect();
        let indexes = table.indexes.iter().enumerate().map(|(n, index)| {
            let mut in_predicate = false;
            if let Some(Some(predicate)) = target.predicates.get(n) {
                predicate.columns_used(&mut |i| in_predicate |= assigned.contains(&public[i]));
            }
            primary_key || in_predicate || in_key(index) || index.include.iter().any(|c| assigned.contains(c))
        });
        Touched { primary_key, indexes: indexes.collect() }
    }
}

async fn apply(target: &TargetTable, changes: Changes, rows: &Batch, ctx: &ExecContext) -> SqlResult<()> {
    if let Some(bytes) = changes.puts.iter().map(|(_, value)| value.len()).find(|n| *n > ROW_BYTES_MAX) {
        return Err(SqlError::new(
            state::PROGRAM_LIMIT_EXCEEDED,
            format!("row is too big: size {bytes}, maximum size {ROW_BYTES_MAX}"),
        ));
    }
    let txn = ctx.txn();
    changes.deletes.into_iter().for_each(|key| txn.delete(key));
    check_absent(target, &changes.absent, rows, ctx).await?;
    changes.puts.into_iter().for_each(|(key, value)| txn.put(key, value));
    Ok(txn.flush_if_large().await?)
}

/// Locks the keys and fails if one of them exists, or is there twice.
async fn check_absent(
    target: &TargetTable,
    keys: &[(Key, usize, u32)],
    rows: &Batch,
    ctx: &ExecContext,
) -> SqlResult<()> {
    let violation =
        |(_, index, row): &(Key, usize, u32)| unique_violation(target, *index, rows, *row as usize, ctx);
    let lock = Some((LockStrength::Update, WaitPolicy::Block));
    let lock = lock.filter(|_| !planted::is(Planted::UniqueWithoutLock));
    if let ([only], Some((strength, wait))) = (keys, lock) {
        return match ctx.txn().get_locked(&only.0, strength, wait).await? {
            None => Ok(()),
            Some(_) => Err(violation(only)),
        };
    }
    let mut seen = FxHashSet::default();
    if let Some(twice) = keys.iter().find(|k| !seen.insert(&k.0)) {
        return Err(violation(twice));
    }
    if keys.is_empty() {
        return Ok(());
    }
    let wanted: Vec<Key> = keys.iter().map(|k| k.0.clone()).collect();
    let found = ctx.txn().get_many(&wanted, lock).await?;
    match keys.iter().zip(found).find(|(_, value)| value.is_some()) {
        None => Ok(()),
        Some((key, _)) => Err(violation(key)),
    }
}

/// 23505. `index` 0 is the primary one.
pub fn unique_violation(
    target: &TargetTable,
    index: usize,
    rows: &Batch,
    row: usize,
    ctx: &ExecContext,
) -> SqlError {
    let table = &target.table;
    let (index, encoder) = match index {
        0 => (&table.primary, &target.codec.primary),
        n => (&table.indexes[n - 1], &target.codec.secondary[n - 1].0),
    };
    let positions: Vec<usize> = encoder.key.iter().map(|k| k.position).collect();
    let message = format!("duplicate key value violates unique constraint \"{}\"", index.name);
    let key = describe::key(table, &positions, rows, row, ctx);
    SqlError::new(state::UNIQUE_VIOLATION, message)
        .with_detail(format!("Key {key} already exists."))
        .with_constraint(describe::schema_name(table, ctx), &table.name, &index.name)
}

fn is_written(state: ElementState) -> bool {
    matches!(state, ElementState::Public | ElementState::WriteOnly)
}

pub fn has_null_key<R: RowSource + ?Sized>(encoder: &IndexEncoder, row: &R) -> bool {
    encoder.key.iter().any(|part| row.value(part.position).is_null())
}

/// The rows that have an entry in the `n`th secondary index.
pub fn accepted(target: &TargetTable, n: usize, rows: &Batch, ctx: &ExecContext) -> SqlResult<Vec<u32>> {
    match &target.predicates[n] {
        Some(predicate) => eval::selection(predicate, rows, ctx),
        None => Ok((0..rows.rows as u32).collect()),
    }
}

/// Each row's entry in the `n`th secondary index.
fn entries(
    target: &TargetTable,
    n: usize,
    rows: &Batch,
    buf: &mut RowBuf,
    ctx: &ExecContext,
) -> SqlResult<Vec<Option<(Key, Bytes)>>> {
    let encoder = &target.codec.secondary[n].0;
    let mut out = vec![None; rows.rows];
    for row in accepted(target, n, rows, ctx)? {
        let source = BatchRow { batch: rows, row: row as usize };
        out[row as usize] = Some((encoder.encode_key(&source)?, encoder.encode_value(&source, buf)?));
    }
    Ok(out)
}

/// Stored rows as batches of all public columns.
pub fn decode_rows(target: &TargetTable, pairs: &[(Key, Bytes)]) -> SqlResult<Batch> {
    let mut columns: Vec<Column> = target.decoder.columns();
    for (key, value) in pairs {
        target.decoder.decode_row(key, value, &mut columns)?;
    }
    Ok(Batch { columns: columns.into_iter().map(Into::into).collect(), rows: pairs.len() })
}

/// The new rows of an update: the old ones with some columns computed over `input`.
pub fn assign(
    target: &TargetTable,
    old: &Batch,
    input: &Batch,
    assignments: &[(crate::catalog::ColumnId, crate::expr::Expr)],
    ctx: &ExecContext,
) -> SqlResult<Batch> {
    let mut new = old.clone();
    for (id, value) in assignments {
        let position = public_columns(&target.table)
            .position(|c| c.id == *id)
            .ok_or_else(|| SqlError::internal(format!("no column {id:?} to assign")))?;
        new.columns[position] = eval::column(value, input, ctx)?;
    }
    Ok(new)
}

/// The first `width` columns of a batch.
pub fn left_columns(batch: &Batch, width: usize) -> Batch {
    Batch { columns: batch.columns[..width].to_vec(), rows: batch.rows }
}

/// The columns from `width` on.
pub fn right_columns(batch: &Batch, width: usize) -> Batch {
    Batch { columns: batch.columns[width..].to_vec(), rows: batch.rows }
}

/// RETURNING over new rows and what stood beside them in the input.
pub fn returning(
    exprs: &[crate::expr::Expr],
    rows: &Batch,
    beside: &Batch,
    ctx: &ExecContext,
) -> SqlResult<Batch> {
    let joined = vector::zip(rows, beside);
    Ok(Batch { columns: eval::columns(exprs, &joined, ctx)?, rows: rows.rows })
}
