//! `CommitOnePhase`: a transaction whose writes are all in this range commits in one step.
//!
//! The range chooses the commit timestamp, validates what was read up to it, and writes committed versions. There is no
//! record and no intent, hence nothing to clean up.
//!
//! **Never twice.** A commit whose answer was lost is sent again. What must stay true: it is then neither applied again
//! nor reported as failed.
//! - The leaseholder remembers how recent transactions ended, and answers again what it answered.
//! - If its memory does not reach back to the transaction's beginning (the lease moved, or it is long ago), the data are
//!   asked: were the commit applied, every key would have a version with this very value, all at one time. If they have not,
//!   it was not. If they have, it may have been (or somebody else wrote the same): the outcome is `Ambiguous`
//!   for a repeated request, and `WriteTooOld` for a first one. It is never written again.

use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{Key, Timestamp};
use meridian_storage::engine::{Cf, IterOptions};
use meridian_storage::mvcc;
use meridian_storage::mvcc::{key as version_key, value};

use super::put_intents::{choose_timestamp, untouched};
use super::{Afterwards, Context, Effects, Evaluated, Outcome, Stop, refresh};
use crate::rpc::{AbortReason, Isolation, KvError, RefreshSpan, Response, TxnMeta, Write};

pub fn evaluate(
    cx: &mut Context<'_>,
    writes: &[Write],
    refresh: &[RefreshSpan],
    refresh_complete: bool,
    out: &mut Effects,
) -> Evaluated<Response> {
    let txn = cx.txn()?.clone();
    match cx.memory.outcome(txn.id) {
        Some(Outcome::Committed(ts)) => {
            out.wrote_at = Some(ts);
            return Ok(Response::Commit { ts });
        }
        Some(Outcome::Aborted) => return Err(KvError::TxnAborted { reason: AbortReason::Pushed }.into()),
        None if !cx.memory.remembers(txn.id, txn.min_ts) => refuse_if_applied(cx, &txn, writes)?,
        None => {}
    }
    let new = untouched(cx, writes)?;
    let mut at = choose_timestamp(cx, &txn, writes, &new)?;
    if planted::is(Planted::OnePhaseOverReads) {
        at = above_versions(cx, &txn, writes)?;
    }
    let proved = if txn.isolation == Isolation::Serializable { txn.read_ts } else { txn.write_ts };
    if at > proved && !refresh_complete {
        return Err(KvError::RefreshNeeded { ts: at }.into());
    }
    refresh::validate(cx, writes, refresh, at)?;
    for (key, value) in writes {
        match value {
            Some(value) => mvcc::put(&mut out.batch, key, at, value),
            None => mvcc::delete(&mut out.batch, key, at),
        };
    }
    out.wrote_at = Some(at);
    let outcome = Outcome::Committed(at);
    out.afterwards.push(Afterwards::Finished { txn: txn.id, min_ts: txn.min_ts, outcome });
    Ok(Response::Commit { ts: at })
}

/// As [`choose_timestamp`], but as if nobody had read anything.
fn above_versions(cx: &Context<'_>, txn: &TxnMeta, writes: &[Write]) -> Evaluated<Timestamp> {
    let mut at = txn.write_ts;
    for (key, _) in writes {
        if let Some(newest) = mvcc::newest_version_ts(cx.engine, key)? {
            at.forward(newest.next());
        }
    }
    Ok(at)
}

/// See the module's documentation.
fn refuse_if_applied(cx: &Context<'_>, txn: &TxnMeta, writes: &[Write]) -> Evaluated<()> {
    let Some((key, value)) = writes.first() else { return Ok(()) };
    for ts in versions_with(cx, key, value.as_deref(), txn.min_ts)? {
        let mut everywhere = true;
        for (key, value) in &writes[1..] {
            let stored = cx.engine.get(Cf::Data, &version_key::encode_version(key, ts))?;
            let same = match &stored {
                Some(stored) => value::decode(stored)? == value.as_deref(),
                None => false,
            };
            if !same {
                everywhere = false;
                break;
            }
        }
        if everywhere {
            return Err(Stop::Fail(if cx.header.maybe_applied {
                let reason = "the range moved while the transaction committed".into();
                KvError::Ambiguous { reason }
            } else {
                KvError::WriteTooOld { key: key.clone(), ts }
            }));
        }
    }
    Ok(())
}

/// When `key` got this value, at or after `from`.
fn versions_with(
    cx: &Context<'_>,
    key: &Key,
    value: Option<&[u8]>,
    from: Timestamp,
) -> Evaluated<Vec<Timestamp>> {
    let mut found = Vec::new();
    let part = version_key::encode_key(key);
    let mut it = cx.engine.iter(Cf::Data, IterOptions { one_key: true, ..IterOptions::default() });
    it.seek(&version_key::encode_version(key, Timestamp::MAX));
    while it.valid() && it.key().starts_with(&part) {
        let (_, ts) = version_key::split_version(it.key())?;
        if ts < from {
            break;
        }
        if value::decode(it.value())? == value {
            found.push(ts);
        }
        it.next();
    }
    it.status()?;
    Ok(found)
}
