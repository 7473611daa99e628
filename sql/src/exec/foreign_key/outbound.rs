//! The referencing side: every new key must exist.
//!
//! The referenced rows are locked FOR KEY SHARE, so that they stay until the transaction ends. What is missing is an
//! error only if the row that refers to it is still there and still does.

use meridian_storage::base::Key;
use meridian_storage::base::planted::{self, Planted};
use meridian_txn::{LockStrength, WaitPolicy};
use rustc_hash::FxHashSet;

use super::{describe, encoder_of, positions, referenced_key, violation, write};
use crate::catalog::{ForeignKey, TableDescriptor};
use crate::error::{SqlError, SqlResult};
use crate::exec::ExecContext;
use crate::plan::physical::{OutboundKey, TargetTable};
use crate::row::BatchRow;
use crate::row::decode::PrimaryKeyFinder;
use crate::types::{Batch, Datum};

/// Fails if a row's key does not exist; locks what the keys refer to.
pub(super) async fn check(
    target: &TargetTable,
    outbound: &OutboundKey,
    rows: &Batch,
    ctx: &ExecContext,
) -> SqlResult<()> {
    let fk = &target.table.foreign_keys[outbound.constraint];
    let from = positions(&target.table, &fk.columns);
    let encoder = encoder_of(&outbound.referenced, outbound.index)?;
    let mut keys: Vec<(Key, u32)> = Vec::new();
    let mut seen = FxHashSet::default();
    for row in 0..rows.rows {
        let values: Vec<Datum> = from.iter().map(|&p| rows.columns[p].datum(row)).collect();
        let nulls = values.iter().filter(|v| v.is_null()).count();
        if nulls > 0 {
            let mixed = fk.match_full && nulls < values.len();
            if mixed && still_refers(target, rows, &from, row, ctx).await? {
                return Err(mixed_nulls(target, fk, ctx));
            }
            continue;
        }
        let Some(key) = referenced_key(&encoder, fk, values)? else {
            refuse_missing(target, outbound, rows, &from, row, ctx).await?;
            continue;
        };
        if seen.insert(key.clone()) {
            keys.push((key, row as u32));
        }
    }
    let lock = Some((LockStrength::KeyShare, WaitPolicy::Block));
    let lock = lock.filter(|_| !planted::is(Planted::ForeignKeyWithoutLock));
    let wanted: Vec<Key> = keys.iter().map(|k| k.0.clone()).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let found = ctx.txn().get_many(&wanted, lock).await?;
    for ((_, row), _) in keys.iter().zip(&found).filter(|(_, value)| value.is_none()) {
        refuse_missing(target, outbound, rows, &from, *row as usize, ctx).await?;
    }
    if !encoder.primary {
        // The entry was found; it is the row that must stay.
        let index = outbound.referenced.indexes.iter().find(|i| i.id == outbound.index);
        let index = index.ok_or_else(|| SqlError::internal("no such index"))?;
        let finder = PrimaryKeyFinder::new(&outbound.referenced, index)?;
        let mut primary = Vec::with_capacity(wanted.len());
        for (key, value) in wanted.iter().zip(found) {
            if let Some(value) = value {
                primary.push(finder.primary_key(key, &value)?);
            }
        }
        ctx.txn().get_many(&primary, lock).await?;
    }
    Ok(())
}

/// Fails if a row still refers to what `row` refers to, which does not exist.
async fn refuse_missing(
    target: &TargetTable,
    outbound: &OutboundKey,
    rows: &Batch,
    from: &[usize],
    row: usize,
    ctx: &ExecContext,
) -> SqlResult<()> {
    let same =
        |other: usize| from.iter().all(|&p| rows.columns[p].datum(other) == rows.columns[p].datum(row));
    for row in (row..rows.rows).filter(|&other| same(other)) {
        if still_refers(target, rows, from, row, ctx).await? {
            return Err(missing_reference(target, outbound, rows, row, ctx));
        }
    }
    Ok(())
}

/// Whether a row is there with the key that was stored. The statement may have changed or deleted it since, through a
/// cascade: then what it refers to now is looked at by itself.
async fn still_refers(
    target: &TargetTable,
    rows: &Batch,
    from: &[usize],
    row: usize,
    ctx: &ExecContext,
) -> SqlResult<bool> {
    let key: Key = target.codec.primary.encode_key(&BatchRow { batch: rows, row })?;
    let Some(value) = ctx.txn().get(&key).await? else { return Ok(false) };
    let now = write::decode_rows(target, &[(key, value)])?;
    Ok(from.iter().all(|&p| now.columns[p].datum(0) == rows.columns[p].datum(row)))
}

fn insert_message(table: &TableDescriptor, fk: &ForeignKey) -> String {
    format!("insert or update on table \"{}\" violates foreign key constraint \"{}\"", table.name, fk.name)
}

fn missing_reference(
    target: &TargetTable,
    outbound: &OutboundKey,
    rows: &Batch,
    row: usize,
    ctx: &ExecContext,
) -> SqlError {
    let table = &target.table;
    let fk = &table.foreign_keys[outbound.constraint];
    let key = describe::key(table, &positions(table, &fk.columns), rows, row, ctx);
    let detail = format!("Key {key} is not present in table \"{}\".", outbound.referenced.name);
    violation(insert_message(table, fk), table, fk, ctx).with_detail(detail)
}

fn mixed_nulls(target: &TargetTable, fk: &ForeignKey, ctx: &ExecContext) -> SqlError {
    violation(insert_message(&target.table, fk), &target.table, fk, ctx)
        .with_detail("MATCH FULL does not allow mixing of null and nonnull key values.")
}
