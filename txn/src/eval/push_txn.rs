//! `PushTxn`: asks a transaction in whose way another stands to give way.
//!
//! - One that has ended, says how.
//! - One whose coordinator is silent is aborted, unless it is staging: then the pusher must recover it.
//! - One that lives is aborted only by a pusher of higher priority. It commits above a reader's time if that costs it
//!   nothing (it is not serializable), or again if the reader's priority is higher.
//! - Otherwise the answer is its record as it is, and the pusher waits on.
//!
//! A transaction without a record is presumed alive until [`EXPIRY`](crate::record::EXPIRY) after it was last known to be,
//! or less if the node that runs it is silent or was restarted.
//! What a push decides about it is kept in memory: if that is lost with the lease, nobody can make a record for it
//! any more, since it began before the new lease.

use meridian_storage::base::Timestamp;

use super::{Afterwards, Context, Effects, Evaluated, Outcome, answer, record};
use crate::record::{TxnStatus, expired};
use crate::rpc::{Isolation, PushKind, Response, TxnMeta};

pub fn evaluate(
    cx: &mut Context<'_>,
    pushee: &TxnMeta,
    pusher: Option<&TxnMeta>,
    kind: PushKind,
    active: Timestamp,
    out: &mut Effects,
) -> Evaluated<Response> {
    let stored = record::load(cx, &pushee.anchor, pushee.id)?;
    let recorded = stored.is_some();
    let mut found = match stored {
        Some(found) => found,
        None => match record::load_or_synthesize(cx, pushee)? {
            Some(ended) => return Ok(answer(ended)),
            None => {
                let mut pending = record::synthesized(pushee, TxnStatus::Pending);
                pending.meta.write_ts.forward(cx.memory.pushed(pushee.id));
                pending
            }
        },
    };
    if found.status != TxnStatus::Pending {
        return Ok(answer(found));
    }
    // A record says itself when it was last heard of: what others make of an intent, such as the time up to which they have
    // pushed it, is no sign of life.
    if !recorded {
        found.heartbeat.forward(active);
    }
    let outranked = pusher.map_or(0, |p| p.priority) > found.meta.priority;
    let yields = match kind {
        PushKind::Abort => outranked,
        PushKind::Timestamp(_) | PushKind::Touch => false,
    };
    let coordinator = cx.memory.coordinator(pushee.id, pushee.min_ts);
    if yields || expired(found.heartbeat, cx.now, coordinator) {
        found.status = TxnStatus::Aborted;
        if recorded {
            record::store(out, &found);
        } else {
            let (txn, min_ts) = (pushee.id, pushee.min_ts);
            out.afterwards.push(Afterwards::Finished { txn, min_ts, outcome: Outcome::Aborted });
        }
    } else if let PushKind::Timestamp(at) = kind
        && found.meta.write_ts <= at
        && (outranked || recorded && found.meta.isolation != Isolation::Serializable && !found.pinned)
    {
        found.meta.write_ts = at.next();
        if recorded {
            record::store(out, &found);
        } else {
            let (txn, min_ts) = (pushee.id, pushee.min_ts);
            out.afterwards.push(Afterwards::Pushed { txn, min_ts, above: found.meta.write_ts });
        }
    }
    Ok(answer(found))
}
