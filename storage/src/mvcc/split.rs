//! How much a span holds, and where to cut it.

use crate::base::{Key, Span, StorageResult};
use crate::engine::{Cf, IterOptions, Reader};

use super::{key, value};

/// What a span holds, counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct MvccStats {
    /// Encoded bytes of versions.
    pub bytes: u64,
    pub keys: u64,
    pub versions: u64,
    /// Keys whose newest version is not a tombstone.
    pub rows: u64,
    /// Entries of the lock family.
    pub locks: u64,
}

fn bounded(span: &Span) -> IterOptions {
    let (lower, upper) = key::bounds(span);
    IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() }
}

/// Counts everything in `span`: reads all of it.
pub fn compute_stats(reader: &dyn Reader, span: &Span) -> StorageResult<MvccStats> {
    let mut stats = MvccStats::default();
    let mut part = Vec::new();
    let mut data = reader.iter(Cf::Data, bounded(span));
    data.seek_to_first();
    while data.valid() {
        stats.versions += 1;
        stats.bytes += (data.key().len() + data.value().len()) as u64;
        let (this, _) = key::split_version(data.key())?;
        if part != this {
            part.clear();
            part.extend_from_slice(this);
            stats.keys += 1;
            stats.rows += u64::from(value::decode(data.value())?.is_some());
        }
        data.next();
    }
    data.status()?;
    let mut locks = reader.iter(Cf::Lock, bounded(span));
    locks.seek_to_first();
    while locks.valid() {
        stats.locks += 1;
        locks.next();
    }
    locks.status()?;
    Ok(stats)
}

/// The first key at or after which `target` bytes of `span` lie to the left, so that a split there leaves about that
/// much on the left. `None` if there is no such key above the span's start.
pub fn find_split_key(reader: &dyn Reader, span: &Span, target: u64) -> StorageResult<Option<Key>> {
    let mut data = reader.iter(Cf::Data, bounded(span));
    let start = key::encode_key(&span.start);
    let mut bytes = 0;
    let mut part = Vec::new();
    data.seek_to_first();
    while data.valid() {
        let (this, _) = key::split_version(data.key())?;
        if part != this {
            part.clear();
            part.extend_from_slice(this);
            // All versions of a key stay on one side.
            if bytes >= target && part > start && bytes > 0 {
                let mut found = Vec::new();
                key::decode_key(&part, &mut found)?;
                return Ok(Some(found.into()));
            }
        }
        bytes += (data.key().len() + data.value().len()) as u64;
        data.next();
    }
    data.status()?;
    Ok(None)
}
