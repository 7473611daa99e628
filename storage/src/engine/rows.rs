//! The row cache: the newest versions of keys that were read lately, so that reading a row again asks no table of the
//! engine. A seek costs microseconds - memtable, filters, blocks, a merge of them all -, a lookup here a tenth of one.
//!
//! An entry says: *this* is the newest version of the key in [`Cf::Data`], and [`Cf::Lock`] holds nothing for it. It is of
//! use to every reader at or above the version's timestamp, which are nearly all.
//!
//! What must stay true: an entry never outlives what it says. A batch takes the entries of its keys away *before* it is
//! written ([`RowCache::begin`]), and again *after* ([`RowCache::end`]): what a reader finds in the engine in between may be
//! the old state or the new one, and it may enter it late. So each shard counts the batches that touch it, twice each: a
//! reader takes the count ([`Found::Unknown`]) before it looks into the engine, and what it brings is refused if the
//! count has moved. Keys that were in the cache come back with what the batch has written, so that a row which is
//! written again and again stays.
//!
//! Memory is bounded: each shard has a current and a previous page; when the current one is full, the previous one is
//! dropped. What is found in the previous page moves to the current one.

use std::hash::Hasher;
use std::mem::size_of;

use bytes::Bytes;
use parking_lot::Mutex;
use rustc_hash::{FxHashMap, FxHasher};

use super::{BatchOp, Cf, WriteBatch, key_part, split_timestamp};
use crate::base::Timestamp;

const SHARDS: usize = 128;
/// Larger values are not kept: what they cost to read is not the lookup.
const LARGEST: usize = 8 << 10;
/// What an entry occupies besides its key and value, roughly.
const OVERHEAD: usize = size_of::<(Bytes, Row)>() + 48;

/// A version as it is stored: header and value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub version: Timestamp,
    pub stored: Bytes,
}

/// What the cache knows of a key.
#[derive(Debug)]
pub enum Found {
    Newest(Row),
    /// Nothing. What is found in the engine from now on may be entered with this.
    Unknown(Ticket),
}

/// How often a shard had been touched when a reader began to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket(u64);

pub struct RowCache {
    shards: Vec<Mutex<Shard>>,
    bytes_per_page: usize,
}

#[derive(Default)]
struct Shard {
    touched: u64,
    current: FxHashMap<Bytes, Row>,
    previous: FxHashMap<Bytes, Row>,
    current_bytes: usize,
}

/// What a batch took away: between [`RowCache::begin`] and [`RowCache::end`].
#[must_use]
pub struct Taken(Vec<(Bytes, Timestamp)>);

impl RowCache {
    /// Holds at most about `bytes`.
    pub fn new(bytes: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        RowCache { shards, bytes_per_page: bytes / (2 * SHARDS) }
    }

    /// Looks a key up by its part.
    pub fn find(&self, part: &[u8]) -> Found {
        let mut shard = self.shard(part).lock();
        if let Some(row) = shard.current.get(part) {
            return Found::Newest(row.clone());
        }
        match shard.previous.remove_entry(part) {
            Some((part, row)) => {
                let found = row.clone();
                shard.insert(part, row, self.bytes_per_page);
                Found::Newest(found)
            }
            None => Found::Unknown(Ticket(shard.touched)),
        }
    }

    /// Enters what a reader has found to be the newest version of a key without a lock.
    pub fn enter(&self, part: &[u8], ticket: Ticket, version: Timestamp, stored: Bytes) {
        if stored.len() > LARGEST {
            return;
        }
        let mut shard = self.shard(part).lock();
        if Ticket(shard.touched) == ticket {
            shard.insert(Bytes::copy_from_slice(part), Row { version, stored }, self.bytes_per_page);
        }
    }

    /// To be called before a batch is written.
    pub fn begin(&self, batch: &WriteBatch) -> Taken {
        let mut taken = Vec::new();
        for op in batch.ops() {
            match part_of(&op) {
                Touches::Key(part) => {
                    let mut shard = self.shard(part).lock();
                    shard.touched += 1;
                    if let Some((part, row)) = shard.remove(part) {
                        taken.push((part, row.version));
                    }
                }
                Touches::Many => self.clear(),
                Touches::Nothing => {}
            }
        }
        Taken(taken)
    }

    /// To be called after the batch was written, or has failed to be.
    pub fn end(&self, batch: &WriteBatch, taken: Taken, written: bool) {
        let keep = if written && !taken.0.is_empty() { newest_of(batch, taken.0) } else { Vec::new() };
        for op in batch.ops() {
            match part_of(&op) {
                Touches::Key(part) => {
                    let mut shard = self.shard(part).lock();
                    shard.touched += 1;
                    shard.remove(part);
                }
                Touches::Many => self.clear(),
                Touches::Nothing => {}
            }
        }
        for (part, row) in keep {
            self.shard(&part).lock().insert(part.clone(), row, self.bytes_per_page);
        }
    }

    /// Forgets everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            let touched = shard.touched + 1;
            *shard = Shard { touched, ..Shard::default() };
        }
    }

    fn shard(&self, part: &[u8]) -> &Mutex<Shard> {
        let mut hasher = FxHasher::default();
        hasher.write(part);
        &self.shards[(hasher.finish() >> 32) as usize % SHARDS]
    }
}

impl Shard {
    fn insert(&mut self, part: Bytes, row: Row, limit: usize) {
        let bytes = size(&part, &row);
        if self.current_bytes + bytes > limit {
            self.previous = std::mem::take(&mut self.current);
            self.current_bytes = 0;
        }
        if bytes > limit {
            return;
        }
        self.current_bytes += bytes;
        let len = part.len();
        if let Some(before) = self.current.insert(part, row) {
            self.current_bytes -= len + before.stored.len() + OVERHEAD;
        }
    }

    fn remove(&mut self, part: &[u8]) -> Option<(Bytes, Row)> {
        let current = self.current.remove_entry(part);
        if let Some((part, row)) = &current {
            self.current_bytes -= size(part, row);
        }
        // It may be in both, when two readers have entered it.
        let previous = self.previous.remove_entry(part);
        current.or(previous)
    }
}

fn size(part: &[u8], row: &Row) -> usize {
    part.len() + row.stored.len() + OVERHEAD
}

enum Touches<'a> {
    Key(&'a [u8]),
    Many,
    Nothing,
}

/// The key part that an operation is about.
fn part_of<'a>(op: &BatchOp<'a>) -> Touches<'a> {
    match *op {
        BatchOp::Put { cf: Cf::Data, key, .. } | BatchOp::Delete { cf: Cf::Data, key } => {
            key_part(key).map_or(Touches::Many, Touches::Key)
        }
        BatchOp::Put { cf: Cf::Lock, key, .. } | BatchOp::Delete { cf: Cf::Lock, key } => Touches::Key(key),
        BatchOp::DeleteRange { cf: Cf::Data | Cf::Lock, .. } => Touches::Many,
        _ => Touches::Nothing,
    }
}

/// Of the keys that were in the cache, those to which the batch has done nothing but write one version above the one that
/// was the newest: now it is.
fn newest_of(batch: &WriteBatch, taken: Vec<(Bytes, Timestamp)>) -> Vec<(Bytes, Row)> {
    let mut found: FxHashMap<Bytes, (Timestamp, Option<Row>)> =
        taken.into_iter().map(|(part, version)| (part, (version, None))).collect();
    for op in batch.ops() {
        match op {
            BatchOp::Put { cf: Cf::Data, key, value } => {
                let Some((part, version)) = split_timestamp(key) else { continue };
                match found.get_mut(part) {
                    Some((before, row @ None)) if version > *before && value.len() <= LARGEST => {
                        *row = Some(Row { version, stored: Bytes::copy_from_slice(value) });
                    }
                    Some(_) => {
                        found.remove(part);
                    }
                    None => {}
                }
            }
            op => match part_of(&op) {
                Touches::Key(part) => {
                    found.remove(part);
                }
                Touches::Many => return Vec::new(),
                Touches::Nothing => {}
            },
        }
    }
    found.into_iter().filter_map(|(part, (_, row))| Some((part, row?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mvcc;

    fn at(wall: u64) -> Timestamp {
        Timestamp::new(wall, 0)
    }

    fn part(key: &[u8]) -> Vec<u8> {
        mvcc::key::encode_key(key)
    }

    fn put(key: &[u8], wall: u64) -> WriteBatch {
        let mut batch = WriteBatch::new();
        mvcc::put(&mut batch, key, at(wall), b"v");
        batch
    }

    fn unknown(cache: &RowCache, key: &[u8]) -> Ticket {
        match cache.find(&part(key)) {
            Found::Unknown(ticket) => ticket,
            Found::Newest(row) => panic!("{row:?}"),
        }
    }

    fn version(cache: &RowCache, key: &[u8]) -> Option<Timestamp> {
        match cache.find(&part(key)) {
            Found::Unknown(_) => None,
            Found::Newest(row) => Some(row.version),
        }
    }

    fn enter(cache: &RowCache, key: &[u8], ticket: Ticket, wall: u64) {
        cache.enter(&part(key), ticket, at(wall), Bytes::from_static(b"\x01v"));
    }

    #[test]
    fn what_was_read_before_or_during_a_write_is_refused() {
        let cache = RowCache::new(1 << 20);
        let before = unknown(&cache, b"k");
        let taken = cache.begin(&put(b"k", 2));
        let during = unknown(&cache, b"k");
        enter(&cache, b"k", before, 1);
        assert_eq!(version(&cache, b"k"), None);
        cache.end(&put(b"k", 2), taken, true);
        enter(&cache, b"k", during, 1);
        assert_eq!(version(&cache, b"k"), None);
        let after = unknown(&cache, b"k");
        enter(&cache, b"k", after, 2);
        assert_eq!(version(&cache, b"k"), Some(at(2)));
    }

    #[test]
    fn what_a_reader_enters_during_a_write_goes_with_its_end() {
        let cache = RowCache::new(1 << 20);
        let taken = cache.begin(&put(b"k", 2));
        let during = unknown(&cache, b"k");
        enter(&cache, b"k", during, 1);
        cache.end(&put(b"k", 2), taken, true);
        assert_eq!(version(&cache, b"k"), None);
    }

    #[test]
    fn a_row_that_is_written_stays_with_what_was_written() {
        let cache = RowCache::new(1 << 20);
        enter(&cache, b"k", unknown(&cache, b"k"), 1);
        let write = |batch: &WriteBatch, written: bool| {
            let taken = cache.begin(batch);
            assert_eq!(version(&cache, b"k"), None, "nobody sees the old one once the write has begun");
            cache.end(batch, taken, written);
        };
        write(&put(b"k", 5), true);
        assert_eq!(version(&cache, b"k"), Some(at(5)));
        // An older version does not become the newest; nor does what was not written.
        write(&put(b"k", 3), true);
        assert_eq!(version(&cache, b"k"), None);
        enter(&cache, b"k", unknown(&cache, b"k"), 5);
        write(&put(b"k", 6), false);
        assert_eq!(version(&cache, b"k"), None);
    }

    #[test]
    fn a_lock_hides_its_key() {
        let cache = RowCache::new(1 << 20);
        enter(&cache, b"k", unknown(&cache, b"k"), 1);
        let mut batch = put(b"k", 5);
        batch.put(Cf::Lock, &part(b"k"), b"a record");
        let taken = cache.begin(&batch);
        cache.end(&batch, taken, true);
        assert_eq!(version(&cache, b"k"), None);
    }

    #[test]
    fn a_deleted_range_is_forgotten() {
        let cache = RowCache::new(1 << 20);
        let early = unknown(&cache, b"b");
        enter(&cache, b"a", unknown(&cache, b"a"), 1);
        let mut batch = WriteBatch::new();
        batch.delete_range(Cf::Data, b"a", b"z");
        let taken = cache.begin(&batch);
        cache.end(&batch, taken, true);
        enter(&cache, b"b", early, 1);
        assert_eq!((version(&cache, b"a"), version(&cache, b"b")), (None, None));
    }

    #[test]
    fn memory_is_bounded_and_what_is_used_stays() {
        let cache = RowCache::new(256 << 10);
        enter(&cache, b"used", unknown(&cache, b"used"), 1);
        for n in 0..20_000u32 {
            let key = n.to_be_bytes();
            enter(&cache, &key, unknown(&cache, &key), 1);
            assert_eq!(version(&cache, b"used"), Some(at(1)));
        }
        let held = |shard: &Mutex<Shard>| {
            let shard = shard.lock();
            let real: usize = shard.current.iter().map(|(part, row)| size(part, row)).sum();
            assert_eq!(real, shard.current_bytes);
            real + shard.previous.iter().map(|(part, row)| size(part, row)).sum::<usize>()
        };
        let held: usize = cache.shards.iter().map(held).sum();
        assert!(held <= 256 << 10, "{held}");
    }
}
