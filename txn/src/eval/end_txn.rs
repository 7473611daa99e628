//! `EndTxn`: commits, stages or aborts a transaction by its record.
//!
//! Intents in the record's own range are resolved in the same command; only those elsewhere are kept in the record until
//! they are resolved; as are spans, whose intents are too many for one command. The record of a commit stays until the coordinator, who has then told its client, removes it: it is
//! what a repeated request is answered from. A transaction that is aborted needs none: without a record it counts as
//! aborted, once that it has ended is remembered (or forgotten).

use meridian_storage::base::{Key, Timestamp};
use meridian_storage::mvcc;
use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::{Afterwards, Context, Effects, Evaluated, LatchSpan, Stop, record};
use crate::record::{TxnRecord, TxnStatus};
use crate::rpc::{AbortReason, EndKind, Header, IntentSpan, Isolation, KvError, Response, TxnMeta};

pub fn latches(header: &Header, how: EndKind, intents: &[Key], out: &mut SmallVec<[LatchSpan; 2]>) {
    out.extend(header.txn.iter().map(|t| LatchSpan::record(t.id)));
    // A stage resolves none. Those of other ranges are in nobody's way.
    if how != EndKind::Stage {
        out.extend(intents.iter().cloned().map(LatchSpan::write_key));
    }
}

pub fn evaluate(
    cx: &mut Context<'_>,
    (how, pinned): (EndKind, bool),
    (intents, spans): (&[Key], &[IntentSpan]),
    in_flight: &[Key],
    out: &mut Effects,
) -> Evaluated<Response> {
    let txn = cx.txn()?.clone();
    let found = record::load_or_synthesize(cx, &txn)?;
    if let Some(ended) = found.as_ref().filter(|r| r.status.is_final()) {
        return repeat(how, ended, out);
    }
    if let Some(later) = found.as_ref().filter(|r| r.meta.epoch > txn.epoch) {
        return Err(
            KvError::internal(format!("the transaction is in epoch {} already", later.meta.epoch)).into()
        );
    }
    if how == EndKind::Abort {
        return finish(cx, &txn, TxnStatus::Aborted, (intents, spans), found.is_some(), out);
    }
    let mut ending = txn.clone();
    ending.write_ts = commit_timestamp(cx, &txn, pinned, found.as_ref(), out)?;
    if how == EndKind::Commit {
        return finish(cx, &ending, TxnStatus::Committed, (intents, spans), found.is_some(), out);
    }
    let ts = ending.write_ts;
    record::store(
        out,
        &TxnRecord {
            meta: ending,
            status: TxnStatus::Staging,
            heartbeat: cx.now,
            intents: intents.to_vec(),
            spans: spans.to_vec(),
            in_flight: in_flight.to_vec(),
            pinned,
        },
    );
    out.wrote_at = Some(ts);
    Ok(Response::Commit { ts })
}

/// Not below what pushers have asked for; and what must have been proved up to there must have been.
fn commit_timestamp(
    cx: &Context<'_>,
    txn: &TxnMeta,
    pinned: bool,
    found: Option<&TxnRecord>,
    out: &Effects,
) -> Evaluated<Timestamp> {
    // Intents of the same batch are not queried when it is decided whether a stage has succeeded.
    let mut ts = txn.write_ts.max(out.wrote_at.unwrap_or_default());
    match found {
        Some(record) => ts.forward(record.meta.write_ts),
        None => ts.forward(cx.memory.pushed(txn.id)),
    };
    let serializable = txn.isolation == Isolation::Serializable;
    if serializable && ts > txn.read_ts || pinned && ts > txn.write_ts {
        return Err(KvError::RefreshNeeded { ts }.into());
    }
    Ok(ts)
}

/// The transaction has ended before: by an earlier attempt of this request, by recovery, or by a pusher.
fn repeat(how: EndKind, ended: &TxnRecord, out: &mut Effects) -> Evaluated<Response> {
    match (ended.status, how) {
        (TxnStatus::Committed, _) => {
            out.wrote_at = Some(ended.meta.write_ts);
            Ok(Response::Commit { ts: ended.meta.write_ts })
        }
        (_, EndKind::Abort) => {
            record::erase(out, &ended.meta);
            out.afterwards.push(record::finished(ended));
            Ok(Response::Done)
        }
        _ => Err(Stop::Fail(KvError::TxnAborted { reason: AbortReason::Pushed })),
    }
}

fn finish(
    cx: &Context<'_>,
    txn: &TxnMeta,
    status: TxnStatus,
    (intents, spans): (&[Key], &[IntentSpan]),
    recorded: bool,
    out: &mut Effects,
) -> Evaluated<Response> {
    let (resolution, response) = match status {
        TxnStatus::Committed => {
            let commit = mvcc::Resolution::Commit { at: txn.write_ts, epoch: txn.epoch };
            (commit, Response::Commit { ts: txn.write_ts })
        }
        _ => (mvcc::Resolution::Abort, Response::Done),
    };
    // What the same batch writes cannot be read yet.
    let unread: FxHashSet<&Key> = out.intents.iter().collect();
    let here = |key: &&Key| cx.descriptor.contains(key) && !unread.contains(key);
    let (here, elsewhere): (Vec<&Key>, Vec<&Key>) = intents.iter().partition(here);
    for key in here {
        if mvcc::resolve_intent(cx.engine, &mut out.batch, key, txn.id, resolution)?.is_some() {
            out.afterwards.push(Afterwards::IntentGone { key: key.clone(), txn: txn.id });
        }
    }
    let ended = TxnRecord {
        meta: txn.clone(),
        status,
        heartbeat: cx.now,
        intents: elsewhere.into_iter().cloned().collect(),
        spans: spans.to_vec(),
        in_flight: Vec::new(),
        pinned: false,
    };
    if status == TxnStatus::Committed {
        record::store(out, &ended);
    } else if recorded {
        record::erase(out, txn);
    }
    if status == TxnStatus::Committed {
        out.wrote_at = Some(txn.write_ts);
    }
    out.afterwards.push(record::finished(&ended));
    Ok(response)
}
