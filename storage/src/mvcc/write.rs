//! Writing versions, intents and their ends, as operations in a batch.
//!
//! These functions read through a [`Reader`] and write into a [`WriteBatch`]; they do not see what the batch already
//! holds, so a batch must touch a key's lock once.

use crate::base::planted::{self, Planted};
use crate::base::{StorageError, StorageResult, Timestamp, TxnId};
use crate::engine::{Cf, Reader, WriteBatch};

use super::lock::{self, LockRecord, LockStrength};
use super::refresh::newest_version_ts;
use super::value::Origin;
use super::{key, value};

/// What a write changes about the size of a range.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Delta {
    /// Encoded bytes in all families.
    pub bytes: i64,
    pub versions: i64,
    pub intents: i64,
}

impl std::ops::AddAssign for Delta {
    fn add_assign(&mut self, other: Delta) {
        self.bytes += other.bytes;
        self.versions += other.versions;
        self.intents += other.intents;
    }
}

/// Writes a committed version.
///
/// The caller has made sure that it is newer than every other version, and that no other transaction's lock is on
/// the key.
pub fn put(batch: &mut WriteBatch, key: &[u8], ts: Timestamp, value: &[u8]) -> Delta {
    put_version(batch, key, ts, Some(value), Origin::Committed)
}

/// Writes a committed tombstone; as [`put`].
pub fn delete(batch: &mut WriteBatch, key: &[u8], ts: Timestamp) -> Delta {
    put_version(batch, key, ts, None, Origin::Committed)
}

fn put_version(
    batch: &mut WriteBatch,
    key: &[u8],
    ts: Timestamp,
    value: Option<&[u8]>,
    origin: Origin,
) -> Delta {
    let raw = key::encode_version(key, ts);
    let (header, value) = value::parts(value, origin);
    batch.put_concat(Cf::Data, &raw, &header, value);
    Delta { bytes: (raw.len() + header.len() + value.len()) as i64, versions: 1, intents: 0 }
}

/// What became of an attempt to write an intent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IntentWrite {
    Written(Delta),
    /// Another transaction holds the key exclusively. Nothing was written.
    Locked(Box<LockRecord>),
    /// There is a committed version at or above the intent's timestamp: this one. Nothing was written.
    TooOld(Timestamp),
}

/// Writes a provisional version at `record.write_ts` and its lock; replaces an earlier intent of the same
/// transaction.
pub fn put_intent(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &[u8],
    value: Option<&[u8]>,
    record: &LockRecord,
) -> StorageResult<IntentWrite> {
    assert!(record.is_intent(), "a provisional version needs an intent");
    let before = lock::exclusive_on(reader, key)?;
    if let Some(other) = before.as_ref().filter(|l| l.txn != record.txn)
        && !planted::is(Planted::WriteOverLocks)
    {
        return Ok(IntentWrite::Locked(Box::new(other.clone())));
    }
    if let Some(newest) = newest_version_ts(reader, key)?.filter(|ts| *ts >= record.write_ts) {
        return Ok(IntentWrite::TooOld(newest));
    }
    let mut delta = Delta::default();
    if let Some(own) = before {
        delta += remove_lock(batch, key, &own);
        if own.is_intent() {
            delta += remove_version(reader, batch, key, own.write_ts)?;
        }
    }
    delta += put_version(batch, key, record.write_ts, value, Origin::Provisional);
    delta += put_lock(batch, key, record);
    Ok(IntentWrite::Written(delta))
}

/// Writes many intents of one statement on keys that have neither lock nor version, without looking.
pub struct NewIntents {
    ts: Timestamp,
    lock: Vec<u8>,
    raw: Vec<u8>,
}

impl NewIntents {
    pub fn new(record: &LockRecord) -> Self {
        assert!(record.is_intent(), "a provisional version needs an intent");
        NewIntents { ts: record.write_ts, lock: record.encode(), raw: Vec::new() }
    }

    /// The caller has made sure that nothing stands on the key.
    pub fn put(&mut self, batch: &mut WriteBatch, key: &[u8], value: Option<&[u8]>) {
        self.raw.clear();
        key::push_key(key, &mut self.raw);
        batch.put(Cf::Lock, &self.raw, &self.lock);
        key::push_timestamp(self.ts, &mut self.raw);
        let (header, value) = value::parts(value, Origin::Provisional);
        batch.put_concat(Cf::Data, &self.raw, &header, value);
    }
}

/// Writes a lock without a value, or the lock of an intent whose version is written beside it.
///
/// The caller has made sure that no other transaction's lock stands against it.
pub fn put_lock(batch: &mut WriteBatch, key: &[u8], record: &LockRecord) -> Delta {
    let at = lock::lock_key(key, record.strength, record.txn);
    let encoded = record.encode();
    batch.put(Cf::Lock, &at, &encoded);
    Delta { bytes: (at.len() + encoded.len()) as i64, versions: 0, intents: i64::from(record.is_intent()) }
}

/// Releases a lock without a value.
pub fn remove_lock(batch: &mut WriteBatch, key: &[u8], record: &LockRecord) -> Delta {
    let at = lock::lock_key(key, record.strength, record.txn);
    batch.delete(Cf::Lock, &at);
    let bytes = at.len() + record.encode().len();
    Delta { bytes: -(bytes as i64), versions: 0, intents: -i64::from(record.is_intent()) }
}

pub(super) fn remove_version(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &[u8],
    ts: Timestamp,
) -> StorageResult<Delta> {
    let raw = key::encode_version(key, ts);
    let Some(stored) = reader.get(Cf::Data, &raw)? else { return Ok(Delta::default()) };
    batch.delete(Cf::Data, &raw);
    Ok(Delta { bytes: -((raw.len() + stored.len()) as i64), versions: -1, intents: 0 })
}

/// What becomes of a transaction's intent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resolution {
    /// The transaction committed at this time, in this epoch: intents of other epochs are void.
    Commit {
        at: Timestamp,
        epoch: u32,
    },
    /// As `Commit`, but versions stay at their intents' times, below that of the commit: nobody can have read there.
    CommitInPlace {
        epoch: u32,
    },
    Abort,
    /// The transaction is still open and can commit only at or above this time: its intent moves out of the way
    /// of readers below.
    Push {
        to: Timestamp,
    },
}

/// Ends, or moves, the intent or lock that `txn` holds on `key`. `None` if it holds none: resolving twice is harmless.
pub fn resolve_intent(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &[u8],
    txn: TxnId,
    resolution: Resolution,
) -> StorageResult<Option<Delta>> {
    let mut delta = None;
    let shared = lock::lock_key(key, LockStrength::Shared, txn);
    if !matches!(resolution, Resolution::Push { .. })
        && let Some(found) = reader.get(Cf::Lock, &shared)?
    {
        delta = Some(remove_lock(batch, key, &LockRecord::decode(&found)?));
    }
    let Some(own) = lock::exclusive_on(reader, key)?.filter(|l| l.txn == txn) else { return Ok(delta) };
    let mut delta = delta.unwrap_or_default();
    delta += match resolution {
        Resolution::Commit { at, epoch } if own.is_intent() && own.epoch == epoch => {
            commit(reader, batch, key, &own, at)?
        }
        Resolution::CommitInPlace { epoch } if own.is_intent() && own.epoch == epoch => {
            remove_lock(batch, key, &own)
        }
        Resolution::Push { to } if to <= own.write_ts => Delta::default(),
        Resolution::Push { to } => push(reader, batch, key, &own, to)?,
        Resolution::Commit { .. } | Resolution::CommitInPlace { .. } | Resolution::Abort => {
            let mut delta = remove_lock(batch, key, &own);
            if own.is_intent() {
                delta += remove_version(reader, batch, key, own.write_ts)?;
            }
            delta
        }
    };
    Ok(Some(delta))
}

fn commit(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &[u8],
    own: &LockRecord,
    at: Timestamp,
) -> StorageResult<Delta> {
    let mut delta = remove_lock(batch, key, own);
    if at < own.write_ts && reader.get(Cf::Data, &key::encode_version(key, at))?.is_some() {
        // What was committed is there already: this was written by a late copy of the request.
        delta += remove_version(reader, batch, key, own.write_ts)?;
    } else if at != own.write_ts {
        delta += move_version(reader, batch, key, (own.write_ts, at), Origin::Committed)?;
    }
    Ok(delta)
}

fn push(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &[u8],
    own: &LockRecord,
    to: Timestamp,
) -> StorageResult<Delta> {
    let mut delta = Delta::default();
    if own.is_intent() {
        delta += move_version(reader, batch, key, (own.write_ts, to), Origin::Provisional)?;
    }
    put_lock(batch, key, &LockRecord { write_ts: to, ..own.clone() });
    Ok(delta)
}

pub(super) fn move_version(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    key: &[u8],
    (from, to): (Timestamp, Timestamp),
    origin: Origin,
) -> StorageResult<Delta> {
    if to < from {
        // It would go beneath reads that have already been answered.
        return Err(StorageError::Corruption(format!(
            "a transaction committed at {to}, below its intent at {from} on \"{}\"",
            key.escape_ascii()
        )));
    }
    let raw = key::encode_version(key, from);
    let Some(stored) = reader.get(Cf::Data, &raw)? else {
        return Err(StorageError::Corruption(format!(
            "the intent at {from} on \"{}\" has no version",
            key.escape_ascii()
        )));
    };
    batch.delete(Cf::Data, &raw);
    put_version(batch, key, to, value::decode(&stored)?, origin);
    Ok(Delta::default())
}
