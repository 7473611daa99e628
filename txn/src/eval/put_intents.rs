//! `PutIntents` and `RemoveIntents`: provisional versions of a transaction that is still open.

use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{Key, Timestamp};
use meridian_storage::mvcc::{
    self, GetOptions, IntentWrite, LockRecord, NewIntents, PointReader, Resolution, Seen, lock,
};

use super::{Afterwards, Conflict, Context, Effects, Evaluated, Stop, Want, refresh};
use crate::rpc::{AbortReason, Isolation, KvError, LockStrength, RefreshSpan, Response, TxnMeta, Write};

pub fn evaluate(
    cx: &mut Context<'_>,
    writes: &[Write],
    refresh: &[RefreshSpan],
    out: &mut Effects,
) -> Evaluated<Response> {
    let txn = cx.txn()?.clone();
    // A delayed duplicate: nobody would ever clean up after it.
    if cx.memory.outcome(txn.id).is_some() {
        return Err(KvError::TxnAborted { reason: AbortReason::Pushed }.into());
    }
    if let Some(at) = written_before(cx, writes, &txn)? {
        out.wrote_at = out.wrote_at.max(Some(at));
        return Ok(Response::Done);
    }
    let new = untouched(cx, writes)?;
    let at = choose_timestamp(cx, &txn, writes, &new)?;
    refresh::validate(cx, writes, refresh, at)?;
    let record = LockRecord {
        txn: txn.id,
        anchor: txn.anchor.clone(),
        epoch: txn.epoch,
        write_ts: at,
        strength: mvcc::LockStrength::Intent,
        seq: txn.sequence,
    };
    let mut intents = NewIntents::new(&record);
    for (n, (key, value)) in writes.iter().enumerate() {
        if new[n] {
            intents.put(&mut out.batch, key, value.as_deref());
            out.intents.push(key.clone());
            continue;
        }
        if is_outdated(cx, key, &txn)? {
            continue;
        }
        match mvcc::put_intent(cx.engine, &mut out.batch, key, value.as_deref(), &record)? {
            IntentWrite::Written(_) => out.intents.push(key.clone()),
            IntentWrite::Locked(other) => {
                let want = Want::Lock(strength_of(cx, key, value.is_none()));
                return Err(Stop::Conflict(Conflict::with_intent(key, want, &other)));
            }
            IntentWrite::TooOld(ts) => return Err(KvError::WriteTooOld { key: key.clone(), ts }.into()),
        }
    }
    out.wrote_at = out.wrote_at.max(Some(at));
    Ok(Response::Done)
}

/// When all the intents stand already: a repeated request must not move them. The transaction may have committed by what
/// the first one was answered.
fn written_before(cx: &Context<'_>, writes: &[Write], txn: &TxnMeta) -> Evaluated<Option<Timestamp>> {
    let mut highest = None;
    for (key, _) in writes {
        let Some(own) = lock::exclusive_on(cx.engine, key)? else { return Ok(None) };
        if own.txn != txn.id || !own.is_intent() || (own.epoch, own.seq) < (txn.epoch, txn.sequence) {
            return Ok(None);
        }
        highest = highest.max(Some(own.write_ts));
    }
    Ok(highest)
}

/// Fewer keys are looked up one by one.
const BULK: usize = 16;

/// For each write, whether its key surely has neither lock nor version in the engine: nothing need be read about it.
pub(super) fn untouched(cx: &Context<'_>, writes: &[Write]) -> Evaluated<Vec<bool>> {
    if writes.len() < BULK || !writes.is_sorted_by(|(a, _), (b, _)| a < b) {
        return Ok(vec![false; writes.len()]);
    }
    Ok(mvcc::untouched(cx.engine, writes.iter().map(|(key, _)| key))?)
}

/// A write locks as strongly as the transaction holds the key, and at least as an update or a deletion would.
pub(super) fn strength_of(cx: &Context<'_>, key: &Key, deletes: bool) -> LockStrength {
    let least = if deletes { LockStrength::Update } else { LockStrength::NoKeyUpdate };
    cx.memory.held(key).map_or(least, |held| held.max(least))
}

/// The earliest time at or above `txn.write_ts` at which all the keys can be written: above the reads of others and
/// above the newest versions. Meets all conflicts on the way. `new`: see [`untouched`].
pub(super) fn choose_timestamp(
    cx: &Context<'_>,
    txn: &TxnMeta,
    writes: &[Write],
    new: &[bool],
) -> Evaluated<Timestamp> {
    let mut at = txn.write_ts;
    // Versions below the provisional timestamp do not matter: a reader just beneath it reports those above.
    let beneath = txn.write_ts.prev();
    let options =
        GetOptions { txn: Some(txn.id), epoch: txn.epoch, uncertainty_limit: Timestamp::ZERO, newest: true };
    let mut reader = PointReader::new(cx.engine, beneath, options);
    for ((key, value), new) in writes.iter().zip(new) {
        let want = Want::Lock(strength_of(cx, key, value.is_none()));
        if let Some(conflict) = cx.memory.conflict(key, want) {
            return Err(Stop::Conflict(conflict));
        }
        if *new {
            at = cx.memory.writable(key, at);
            continue;
        }
        let found = reader.get(key)?;
        if let Seen::Locked(record) = found.seen
            && !planted::is(Planted::WriteOverLocks)
        {
            return Err(Stop::Conflict(Conflict::with_intent(key, want, &record)));
        }
        if let Some(newest) = found.newest_above {
            at.forward(newest.next());
        }
        if txn.isolation == Isolation::Snapshot && txn.read_ts < txn.write_ts || found.newest_above.is_some()
        {
            refuse_newer_than_snapshot(cx, txn, key)?;
        }
        at = cx.memory.writable(key, at);
    }
    Ok(at)
}

/// First updater wins: a snapshot may not write over what it does not see.
fn refuse_newer_than_snapshot(cx: &Context<'_>, txn: &TxnMeta, key: &Key) -> Evaluated<()> {
    if txn.isolation != Isolation::Snapshot {
        return Ok(());
    }
    match mvcc::newest_version_ts(cx.engine, key)?.filter(|ts| *ts > txn.read_ts) {
        Some(ts) => Err(KvError::WriteTooOld { key: key.clone(), ts }.into()),
        None => Ok(()),
    }
}

/// Whether the transaction has already written a later value: a delayed duplicate must not undo it.
fn is_outdated(cx: &Context<'_>, key: &Key, txn: &TxnMeta) -> Evaluated<bool> {
    let own = lock::exclusive_on(cx.engine, key)?.filter(|l| l.txn == txn.id);
    Ok(own.is_some_and(|l| (l.epoch, l.seq) > (txn.epoch, txn.sequence)))
}

pub fn remove(cx: &mut Context<'_>, keys: &[Key], out: &mut Effects) -> Evaluated<Response> {
    let txn = cx.txn()?.clone();
    for key in keys {
        if is_outdated(cx, key, &txn)? {
            continue;
        }
        if mvcc::resolve_intent(cx.engine, &mut out.batch, key, txn.id, Resolution::Abort)?.is_some() {
            out.locks.push((key.clone(), strength_of(cx, key, false)));
            out.afterwards.push(Afterwards::IntentGone { key: key.clone(), txn: txn.id });
        }
    }
    Ok(Response::Done)
}
