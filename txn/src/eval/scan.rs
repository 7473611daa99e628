//! `Scan`: the rows of a span, up to the header's limits; with a lock, each row that is returned is locked.

use meridian_storage::base::{Key, Span};
use meridian_storage::mvcc::{self, ScanOptions, ScanResult};
use smallvec::SmallVec;

use super::{Conflict, Context, Effects, Evaluated, LatchSpan, Stop, Want, get};
use crate::rpc::{Isolation, KvBlock, KvBlockBuilder, LockStrength, Response};

pub fn latches(span: &Span, lock: Option<LockStrength>, out: &mut SmallVec<[LatchSpan; 2]>) {
    out.push(if lock.is_some() { LatchSpan::write(span) } else { LatchSpan::read(span) });
}

pub fn evaluate(
    cx: &mut Context<'_>,
    span: &Span,
    reverse: bool,
    lock: Option<LockStrength>,
    out: &mut Effects,
) -> Evaluated<Response> {
    let Some(strength) = lock else {
        let found = read(cx, span, reverse, None)?;
        return respond(cx, found.block.into(), resume_key(found.resume, reverse));
    };
    // Rows may be left out (SKIP LOCKED), so that one pass over the engine need not be enough.
    let mut rows = KvBlockBuilder::new();
    let mut rest = Some(span.clone());
    while let Some(part) = rest.take() {
        let found = read(cx, &part, reverse, Some(strength))?;
        let keys = lock_rows(cx, &found, strength, &mut rows)?;
        out.locks.extend(keys.into_iter().map(|key| (key, strength)));
        if let Some(newer) = newer_row(cx, &found, span)? {
            return Err(newer);
        }
        rest = found.resume;
        if is_full(cx, rows.len(), rows.bytes()) {
            break;
        }
    }
    respond(cx, rows.build(), resume_key(rest, reverse))
}

fn read(cx: &Context<'_>, span: &Span, reverse: bool, lock: Option<LockStrength>) -> Evaluated<ScanResult> {
    let options = ScanOptions {
        get: get::options(cx, lock),
        reverse,
        max_rows: cx.rows_left as usize,
        max_bytes: cx.bytes_left as usize,
        max_conflicts: 0,
    };
    let found = mvcc::scan(cx.engine, span, cx.read_ts, options)?;
    if lock.is_none() {
        if let Some((key, record)) = found.conflicts.first() {
            return Err(Stop::Conflict(Conflict::with_intent(key, cx.wants_to_read(), record)));
        }
        if let Some(ts) = found.uncertain {
            return Err(Stop::Newer { key: span.start.clone(), ts, uncertain: true });
        }
    }
    Ok(found)
}

/// Checks the rows against all locks; returns the keys to be locked.
fn lock_rows(
    cx: &Context<'_>,
    found: &ScanResult,
    strength: LockStrength,
    rows: &mut KvBlockBuilder,
) -> Evaluated<Vec<Key>> {
    let want = Want::Lock(strength);
    for (key, record) in &found.conflicts {
        cx.blocked(Conflict::with_intent(key, want, record))?;
    }
    let mut keys = Vec::with_capacity(found.block.len());
    for (key, value) in found.block.iter() {
        let key = Key::copy_from(key);
        if let Some(conflict) = cx.memory.conflict(&key, want) {
            cx.blocked(conflict)?;
            continue;
        }
        rows.push(&key, value);
        keys.push(key);
        if is_full(cx, rows.len(), rows.bytes()) {
            break;
        }
    }
    Ok(keys)
}

/// Whether a row is not the newest of its key, in which case it must not be locked and used as it is.
///
/// A snapshot minds only the rows that it sees; else any newer version in the span will do, and is cheaper.
fn newer_row(cx: &Context<'_>, found: &ScanResult, span: &Span) -> Evaluated<Option<Stop>> {
    let Some(newest) = found.newest_above else { return Ok(None) };
    if cx.isolation() != Isolation::Snapshot {
        return Ok(Some(Stop::Newer { key: span.start.clone(), ts: newest, uncertain: false }));
    }
    for (key, _) in found.block.iter() {
        if let Some(ts) = mvcc::newest_version_ts(cx.engine, key)?.filter(|ts| *ts > cx.read_ts) {
            return Ok(Some(Stop::Newer { key: Key::copy_from(key), ts, uncertain: false }));
        }
    }
    Ok(None)
}

fn is_full(cx: &Context<'_>, rows: usize, bytes: usize) -> bool {
    let reached = |n: usize, limit: u64| limit > 0 && n as u64 >= limit;
    reached(rows, cx.rows_left) || reached(bytes, cx.bytes_left)
}

/// The header's limits are for the whole batch. (A scan that is not asked for any more rows ends at its first.)
fn respond(cx: &mut Context<'_>, rows: KvBlock, resume: Option<Key>) -> Evaluated<Response> {
    if cx.rows_left > 0 {
        cx.rows_left = cx.rows_left.saturating_sub(rows.len() as u64).max(1);
    }
    if cx.bytes_left > 0 {
        cx.bytes_left = cx.bytes_left.saturating_sub(rows.bytes() as u64).max(1);
    }
    Ok(Response::Scan { rows, resume })
}

fn resume_key(rest: Option<Span>, reverse: bool) -> Option<Key> {
    rest.map(|span| if reverse { span.end } else { span.start })
}
