//! Has anything changed? What a refresh, and a write before it is evaluated, ask of the versions.

use crate::base::{Span, StorageResult, Timestamp, TxnId};
use crate::engine::{Cf, EngineIter, IterOptions, Reader};

use super::cursor::{LockCursor, skip_key, version_of};
use super::key;
use super::lock::{self, LockRecord};
use super::value;

/// The newest committed version of `key`, tombstones included.
pub fn newest_version_ts(reader: &dyn Reader, key: &[u8]) -> StorageResult<Option<Timestamp>> {
    let lock = lock::exclusive_on(reader, key)?;
    let mut target = key::encode_key(key);
    let part = target.len();
    key::push_timestamp(Timestamp::MAX, &mut target);
    let mut data = reader.iter(Cf::Data, IterOptions { one_key: true, ..IterOptions::default() });
    data.seek(&target);
    newest_committed(&mut *data, &target[..part], lock.as_ref())
}

/// The newest committed version at or after the one on which `data` stands.
fn newest_committed(
    data: &mut dyn EngineIter,
    part: &[u8],
    lock: Option<&LockRecord>,
) -> StorageResult<Option<Timestamp>> {
    let provisional = lock.filter(|l| l.is_intent()).map(|l| l.write_ts);
    let newest = version_of(data, part)?;
    if newest.is_some() && newest == provisional {
        data.next();
        return version_of(data, part);
    }
    Ok(newest)
}

/// Something that a refresh met: the first key in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Newer {
    /// A committed version in the interval.
    Version(Timestamp),
    /// Another transaction's intent at or below the end of the interval.
    Intent(Box<LockRecord>),
}

/// Which changes matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    Any,
    Deletion,
}

impl Change {
    fn is(self, stored: &[u8]) -> StorageResult<bool> {
        Ok(self == Change::Any || value::decode(stored)?.is_none())
    }
}

/// Whether anything in `span` has changed in `(from, to]`: a committed version, or an intent of a transaction other
/// than `txn`, which may still commit there.
///
/// An intent at or below `from` counts too: it may commit at any time above its timestamp.
pub fn any_newer_in(
    reader: &dyn Reader,
    span: &Span,
    (from, to): (Timestamp, Timestamp),
    what: Change,
    txn: Option<TxnId>,
) -> StorageResult<Option<Newer>> {
    let (lower, upper) = key::bounds(span);
    let bounds = IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() };
    let mut locks = LockCursor::new(reader, bounds.clone(), false)?;
    let point = span.is_point();
    let mut data = if point {
        reader.iter(Cf::Data, IterOptions { one_key: true, ..IterOptions::default() })
    } else {
        reader.iter(Cf::Data, bounds)
    };
    if point {
        data.seek(&key::encode_version(&span.start, Timestamp::MAX));
    } else {
        data.seek_to_first();
    }
    let mut part = Vec::with_capacity(64);
    let only = point.then(|| key::encode_key(&span.start));
    while data.valid() {
        part.clear();
        part.extend_from_slice(key::split_version(data.key())?.0);
        if only.as_ref().is_some_and(|only| *only != part) {
            break;
        }
        if let Some(newer) = newer_on_key(&mut *data, &part, locks.on(&part)?, (from, to), what, txn)? {
            return Ok(Some(newer));
        }
        skip_key(&mut *data, &part);
    }
    data.status()?;
    Ok(None)
}

/// Whether there is an intent in `span`, at or below `to`, of a transaction other than `txn`.
pub fn any_intent_in(
    reader: &dyn Reader,
    span: &Span,
    to: Timestamp,
    txn: Option<TxnId>,
) -> StorageResult<Option<Newer>> {
    if reader.knows_no_locks() {
        return Ok(None);
    }
    let (lower, upper) = key::bounds(span);
    let bounds = IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() };
    let mut locks = reader.iter(Cf::Lock, bounds);
    locks.seek_to_first();
    while locks.valid() {
        let record = LockRecord::decode(locks.value())?;
        if record.is_intent() && Some(record.txn) != txn && record.write_ts <= to {
            return Ok(Some(Newer::Intent(Box::new(record))));
        }
        locks.next();
    }
    locks.status()?;
    Ok(None)
}

fn newer_on_key(
    data: &mut dyn EngineIter,
    part: &[u8],
    lock: Option<LockRecord>,
    (from, to): (Timestamp, Timestamp),
    what: Change,
    txn: Option<TxnId>,
) -> StorageResult<Option<Newer>> {
    let provisional = lock.as_ref().filter(|l| l.is_intent()).map(|l| l.write_ts);
    let floor = match provisional {
        Some(at) if what == Change::Deletion => from.min(at.prev()),
        _ => from,
    };
    let mut intended = what == Change::Any;
    while let Some(version) = version_of(data, part)?.filter(|version| *version > floor) {
        let counts = what.is(data.value())?;
        if Some(version) == provisional {
            intended |= counts;
        } else if counts && version > from && version <= to {
            return Ok(Some(Newer::Version(version)));
        }
        data.next();
    }
    let in_the_way = |l: &LockRecord| l.is_intent() && Some(l.txn) != txn && l.write_ts <= to;
    Ok(lock.filter(in_the_way).filter(|_| intended).map(|l| Newer::Intent(Box::new(l))))
}
