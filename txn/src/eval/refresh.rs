//! `Refresh`: what was read has not changed up to a later time, and will not. Also what commits validate of it.

use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{Key, Span, Timestamp};
use meridian_storage::mvcc::{self, Change, refresh::Newer};
use meridian_storage::probe;

use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use super::{Context, Evaluated, LatchSpan, Stop};
use crate::rpc::{Isolation, KvError, LockStrength, RefreshSpan, Response, Write};

/// For writes that validate reads. What is only read need not be latched as long as it need not be validated.
pub(super) fn latches(
    writes: &[Write],
    spans: &[RefreshSpan],
    reads: bool,
    out: &mut SmallVec<[LatchSpan; 2]>,
) {
    out.extend(writes.iter().map(|(key, _)| LatchSpan::write_key(key.clone())));
    if reads {
        out.extend(spans.iter().map(|r| LatchSpan::read(&r.span)));
    }
}

/// Proves that what was read still holds at `at`, where `writes` are about to be made.
///
/// A writer may not wait for others while it holds latches, so the spans must be latched with the writes. Keys that are
/// written are latched already.
pub(super) fn validate(
    cx: &Context<'_>,
    writes: &[Write],
    spans: &[RefreshSpan],
    at: Timestamp,
) -> Evaluated<()> {
    // What was locked at `at` needs no look at who has come since: whoever locks it later looks later for what relies on it,
    // and this commit's writes then go above that.
    let stale = || spans.iter().filter(|r| r.from < at || r.locked > Timestamp::ZERO);
    if stale().next().is_none() {
        return Ok(());
    }
    let written: FxHashSet<&Key> = writes.iter().map(|(key, _)| key).collect();
    let writes_key = |k: &Key| written.contains(k);
    let is_written = |r: &RefreshSpan| r.span.is_point() && writes_key(&r.span.start);
    if !cx.reads_latched && stale().any(|r| !is_written(r)) {
        return Err(Stop::LatchReads);
    }
    for refresh in stale() {
        cx.memory.raise(&refresh.span, at, true);
        check(cx, refresh, at)?;
    }
    Ok(())
}

pub fn evaluate(cx: &Context<'_>, spans: &[RefreshSpan], to: Timestamp) -> Evaluated<Response> {
    for refresh in spans {
        check(cx, refresh, to)?;
    }
    Ok(Response::Done)
}

/// The timestamp cache was raised before: what is not there now cannot come any more.
pub(super) fn check(cx: &Context<'_>, refresh: &RefreshSpan, to: Timestamp) -> Evaluated<()> {
    if refresh.locked > Timestamp::ZERO {
        check_lock(cx, refresh)?;
    }
    // Under KEY SHARE nobody else can have locked the key to delete it, nor have deleted it, at whatever time. If somebody
    // has, this lock was lost, and the other one may have been taken to find out that nobody relies on the key. First the
    // lock, then the deletion: a deletion is there before its lock is released.
    if refresh.presence && cx.memory.excludes(&refresh.span.start, LockStrength::KeyShare) {
        return Err(failed(refresh, to));
    }
    let to = if refresh.presence { Timestamp::MAX } else { to };
    if refresh.from >= to {
        return Ok(());
    }
    if planted::is(Planted::SkipRefresh) && cx.isolation() == Isolation::Serializable {
        return Ok(());
    }
    let newer = match cx.memory.written_since(&refresh.span, refresh.from) {
        Some(keys) => newer_among(cx, &keys, refresh, to)?,
        None => newer_in(cx, &refresh.span, refresh, to)?,
    };
    let ts = match newer {
        None => return Ok(()),
        Some(Newer::Version(ts)) => ts,
        Some(Newer::Intent(record)) => record.write_ts,
    };
    probe!("refresh: failed");
    Err(failed(refresh, ts))
}

fn failed(refresh: &RefreshSpan, ts: Timestamp) -> Stop {
    Stop::Fail(KvError::RefreshFailed { key: refresh.span.start.clone(), ts })
}

/// A lock on which something rests that nothing else validates must never have been lost.
fn check_lock(cx: &Context<'_>, refresh: &RefreshSpan) -> Evaluated<()> {
    let since = cx.memory.held_since(&refresh.span.start);
    if since.is_some_and(|since| since <= refresh.locked) {
        return Ok(());
    }
    probe!("refresh: a lock was lost");
    Err(failed(refresh, refresh.locked))
}

/// As [`mvcc::any_newer_in`], where only `keys` can have newer versions.
fn newer_among(
    cx: &Context<'_>,
    keys: &[Key],
    refresh: &RefreshSpan,
    to: Timestamp,
) -> Evaluated<Option<Newer>> {
    for key in keys {
        let span = Span::point(key.clone());
        let newer = newer_in(cx, &span, refresh, to)?;
        if newer.is_some() {
            return Ok(newer);
        }
    }
    let intent = mvcc::any_intent_in(cx.engine, &refresh.span, to, cx.txn_id())?;
    if intent.is_some() && refresh.presence {
        return newer_in(cx, &refresh.span, refresh, to);
    }
    Ok(intent)
}

fn newer_in(cx: &Context<'_>, span: &Span, refresh: &RefreshSpan, to: Timestamp) -> Evaluated<Option<Newer>> {
    let what = if refresh.presence { Change::Deletion } else { Change::Any };
    Ok(mvcc::any_newer_in(cx.engine, span, (refresh.from, to), what, cx.txn_id())?)
}
