//! `OldLocks`: what stands in the lock family for longer than it should, for those who look whether all is well.
//!
//! The locks of shared holders stand behind the key's own, and are told like any other.

use meridian_storage::base::{Key, Timestamp};
use meridian_storage::engine::{Cf, IterOptions, KEY_TERMINATOR};
use meridian_storage::mvcc::LockRecord;
use meridian_storage::mvcc::key as version_key;

use super::{Context, Evaluated};
use crate::rpc::{OldLock, Response};

/// Locks in one answer.
const LOCKS_AT_A_TIME: usize = 1000;

pub fn evaluate(cx: &Context<'_>, before: Timestamp, from: &Key) -> Evaluated<Response> {
    let (_, upper) = version_key::bounds(&cx.descriptor.span());
    let lower = version_key::encode_key(from.clone().max(cx.descriptor.start.clone()).as_bytes());
    let bounds = IterOptions { lower: Some(lower.into()), upper: Some(upper), ..IterOptions::default() };
    let mut iter = cx.engine.iter(Cf::Lock, bounds);
    let (mut locks, mut resume) = (Vec::new(), cx.descriptor.end.clone());
    iter.seek_to_first();
    while iter.valid() {
        let key = key_of(iter.key())?;
        if locks.len() >= LOCKS_AT_A_TIME && locks.last().is_some_and(|last: &OldLock| last.key != key) {
            resume = key;
            break;
        }
        let record = LockRecord::decode(iter.value())?;
        if record.write_ts < before {
            locks.push(OldLock {
                key,
                txn: record.txn,
                anchor: record.anchor,
                epoch: record.epoch,
                write_ts: record.write_ts,
            });
        }
        iter.next();
    }
    iter.status()?;
    Ok(Response::Locks { locks, resume })
}

/// The key of a lock: what stands behind its terminator is a shared holder's id.
fn key_of(raw: &[u8]) -> Evaluated<Key> {
    let terminator = raw.windows(2).position(|pair| pair == KEY_TERMINATOR);
    let part = &raw[..terminator.map_or(raw.len(), |at| at + KEY_TERMINATOR.len())];
    let mut key = Vec::with_capacity(part.len());
    version_key::decode_key(part, &mut key)?;
    Ok(key.into())
}
