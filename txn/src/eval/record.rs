//! Reading and writing transaction records, and what is to be said of a transaction that has none.

use bytes::Bytes;
use meridian_storage::base::{Key, StorageError, TxnId};
use meridian_storage::engine::Cf;

use super::{Afterwards, Context, Effects, Evaluated, Outcome};
use crate::record::{TxnRecord, TxnStatus, record_key};
use crate::rpc::{Response, TxnMeta};

pub(super) fn load(cx: &Context<'_>, anchor: &Key, txn: TxnId) -> Evaluated<Option<TxnRecord>> {
    let Some(bytes) = cx.engine.get(Cf::Record, &record_key(anchor, txn))? else { return Ok(None) };
    let damaged = |_| StorageError::Corruption(format!("the record of transaction {txn:?} is malformed"));
    Ok(Some(TxnRecord::decode(bytes).map_err(damaged)?))
}

pub(super) fn store(out: &mut Effects, record: &TxnRecord) {
    let encoded: Bytes = record.encode();
    out.batch.put(Cf::Record, &record_key(&record.meta.anchor, record.meta.id), &encoded);
}

pub(super) fn erase(out: &mut Effects, meta: &TxnMeta) {
    out.batch.delete(Cf::Record, &record_key(&meta.anchor, meta.id));
}

/// Whether a record may still be made for the transaction: it must not have ended already, and that would have to be
/// remembered. Otherwise it counts as aborted.
pub(super) fn may_create(cx: &Context<'_>, txn: &TxnMeta) -> bool {
    cx.memory.outcome(txn.id).is_none() && cx.memory.remembers(txn.id, txn.min_ts)
}

/// A record that is not written anywhere.
pub fn synthesized(txn: &TxnMeta, status: TxnStatus) -> TxnRecord {
    TxnRecord {
        meta: txn.clone(),
        status,
        heartbeat: txn.min_ts,
        intents: Vec::new(),
        spans: Vec::new(),
        in_flight: Vec::new(),
        pinned: false,
    }
}

/// The record; for a transaction that ended without one, what it would say; `None` if it may still get one.
pub(super) fn load_or_synthesize(cx: &Context<'_>, txn: &TxnMeta) -> Evaluated<Option<TxnRecord>> {
    if let Some(found) = load(cx, &txn.anchor, txn.id)? {
        return Ok(Some(found));
    }
    if may_create(cx, txn) {
        return Ok(None);
    }
    Ok(Some(match cx.memory.outcome(txn.id) {
        Some(Outcome::Committed(ts)) => {
            let mut record = synthesized(txn, TxnStatus::Committed);
            record.meta.write_ts = ts;
            record
        }
        Some(Outcome::Aborted) | None => synthesized(txn, TxnStatus::Aborted),
    }))
}

/// `RemoveRecord`: a finished transaction without intents needs no record. It cannot come back: that is remembered.
pub(super) fn remove(cx: &Context<'_>, txn: TxnId, anchor: &Key, out: &mut Effects) -> Evaluated<Response> {
    if let Some(record) = load(cx, anchor, txn)?
        && record.status.is_final()
    {
        erase(out, &record.meta);
        out.afterwards.push(finished(&record));
    }
    Ok(Response::Done)
}

/// What is remembered once the record says that the transaction is over.
pub(super) fn finished(record: &TxnRecord) -> Afterwards {
    let outcome = match record.status {
        TxnStatus::Committed => Outcome::Committed(record.meta.write_ts),
        _ => Outcome::Aborted,
    };
    Afterwards::Finished { txn: record.meta.id, min_ts: record.meta.min_ts, outcome }
}
