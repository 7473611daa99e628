//! Dropping versions that no read can see any more.
//!
//! Below a range's *GC threshold* nothing is read: of each key, only the newest version at or below it is still needed,
//! and not even that one if it is a tombstone. [`collect`] finds and deletes the rest explicitly, evaluated at the
//! leaseholder and replicated like any write; it is the only one that drops tombstones which are a key's newest
//! version. Covered versions are mostly dropped before that, in compaction, by each node on its own: that
//! changes nothing that a read could see.
//!
//! What must stay true: the threshold is raised, and applied, before anything below it is dropped; provisional
//! versions and what an abort would uncover are never dropped.

use crate::base::{Key, Span, StorageResult, Timestamp};
use crate::engine::{Cf, EngineIter, IterOptions, Reader, WriteBatch};

use super::cursor::{LockCursor, version_of};
use super::write::Delta;
use super::{key, value};

/// How far a collection came.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Collected {
    pub delta: Delta,
    /// Where to go on, if the batch was full.
    pub resume: Option<Key>,
}

/// A collection looks at so many versions at a time, so that it keeps nobody waiting for long.
const MAX_EXAMINED: usize = 4096;

/// Deletes what reads at or above `threshold` cannot see, until the batch holds `max_bytes` or enough has been looked at.
pub fn collect(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    span: &Span,
    threshold: Timestamp,
    max_bytes: usize,
) -> StorageResult<Collected> {
    let (lower, upper) = key::bounds(span);
    let bounds = IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() };
    let mut locks = LockCursor::new(reader, bounds.clone(), false)?;
    let mut data = reader.iter(Cf::Data, bounds);
    let mut out = Collected::default();
    let mut part = Vec::new();
    let mut examined = 0;
    data.seek_to_first();
    while data.valid() {
        part.clear();
        part.extend_from_slice(key::split_version(data.key())?.0);
        if batch.as_bytes().len() >= max_bytes || examined >= MAX_EXAMINED {
            let mut next = Vec::new();
            key::decode_key(&part, &mut next)?;
            out.resume = Some(next.into());
            return Ok(out);
        }
        let provisional = locks.on(&part)?.filter(|l| l.is_intent()).map(|l| l.write_ts);
        examined += collect_key(&mut *data, batch, &part, threshold, provisional, &mut out.delta)?;
    }
    data.status()?;
    Ok(out)
}

/// Leaves the iterator on the next key. Answers how many versions it met.
fn collect_key(
    data: &mut dyn EngineIter,
    batch: &mut WriteBatch,
    part: &[u8],
    threshold: Timestamp,
    provisional: Option<Timestamp>,
    delta: &mut Delta,
) -> StorageResult<usize> {
    let mut covered = false;
    let mut met = 0;
    while let Some(version) = version_of(data, part)? {
        let stays = if version > threshold || Some(version) == provisional {
            true
        } else if covered {
            false
        } else {
            covered = true;
            // Beneath an intent, a tombstone is what an abort would uncover: the same as nothing.
            value::decode(data.value())?.is_some()
        };
        if !stays {
            batch.delete(Cf::Data, data.key());
            delta.versions -= 1;
            delta.bytes -= (data.key().len() + data.value().len()) as i64;
        }
        met += 1;
        data.next();
    }
    Ok(met)
}
