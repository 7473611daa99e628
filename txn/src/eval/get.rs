//! `Get`: one key, at the batch's time; with a lock, the newest version.

use meridian_storage::base::{Key, Timestamp};
use meridian_storage::mvcc::{self, GetOptions, Seen};
use smallvec::SmallVec;

use super::{Conflict, Context, Effects, Evaluated, LatchSpan, Stop, Want};
use crate::rpc::{LockStrength, Response};

pub fn latches(key: &Key, lock: Option<LockStrength>, out: &mut SmallVec<[LatchSpan; 2]>) {
    out.push(match lock {
        Some(_) => LatchSpan::write_key(key.clone()),
        None => LatchSpan::read_key(key.clone()),
    });
}

/// How a request reads: as its transaction, and with which uncertainty.
pub(super) fn options(cx: &Context<'_>, lock: Option<LockStrength>) -> GetOptions {
    GetOptions {
        txn: cx.txn_id(),
        epoch: cx.header.txn.as_ref().map_or(0, |t| t.epoch),
        // A locking read cares about every newer version, however far above.
        uncertainty_limit: if lock.is_some() { Timestamp::ZERO } else { cx.header.uncertainty_limit },
        newest: lock.is_some(),
    }
}

pub fn evaluate(
    cx: &mut Context<'_>,
    key: &Key,
    lock: Option<LockStrength>,
    out: &mut Effects,
) -> Evaluated<Response> {
    const SKIPPED: Response = Response::Get { value: None, skipped: true };
    let want = lock.map_or_else(|| cx.wants_to_read(), Want::Lock);
    if lock.is_some()
        && let Some(conflict) = cx.memory.conflict(key, want)
    {
        return cx.blocked(conflict).map(|()| SKIPPED);
    }
    let found = mvcc::get(cx.engine, key, cx.read_ts, options(cx, lock))?;
    let value = match found.seen {
        Seen::Locked(record) => {
            let conflict = Conflict::with_intent(key, want, &record);
            return match lock {
                Some(_) => cx.blocked(conflict).map(|()| SKIPPED),
                None => Err(Stop::Conflict(conflict)),
            };
        }
        Seen::Uncertain(ts) => return Err(Stop::Newer { key: key.clone(), ts, uncertain: true }),
        Seen::Value(value, _) => Some(value),
        Seen::Nothing => None,
    };
    if let Some(strength) = lock {
        out.locks.push((key.clone(), strength));
        if let Some(ts) = found.newest_above {
            return Err(Stop::Newer { key: key.clone(), ts, uncertain: false });
        }
    }
    Ok(Response::Get { value, skipped: false })
}
