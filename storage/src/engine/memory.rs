//! The in-memory engine: ordered, multi-version, with the crash semantics of the disk.
//!
//! Every write is an entry `(key, sequence number)`, newest first, in one skip list per column family; a batch has
//! one sequence number and becomes visible when that number is published. From this everything else follows:
//! - a reader pins a sequence number and sees nothing above it, so it sees one moment and no half of a batch;
//! - a flush moves the durable sequence number up to the published one;
//! - a crash removes every entry above the durable one. What remains is a prefix of the batches, in order.
//!
//! What must stay true: an entry is pruned only when a newer one of the same key is at or below the *floor*, the
//! least of the durable number and all pinned ones. So neither a crash nor a reader can miss a pruned entry.
//!
//! A range deletion writes one tombstone for each live key in the range: there is no cheaper form in memory.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use bytes::Bytes;
use crossbeam_skiplist::SkipMap;
use crossbeam_skiplist::map::Entry;
use parking_lot::Mutex;

use super::{BatchOp, Cf, Engine, EngineIter, IterOptions, Reader, RowCache, Snapshot, WriteBatch};
use crate::base::StorageResult;

/// `None` is a tombstone.
type Versions = SkipMap<VersionKey, Option<Bytes>>;
type VersionEntry<'a> = Entry<'a, VersionKey, Option<Bytes>>;

/// Entries are ordered by key, then from the newest to the oldest.
#[derive(Debug)]
struct VersionKey {
    key: Bytes,
    seq: u64,
}

/// The borrowed form of [`VersionKey`], so that a lookup allocates nothing.
trait AsVersion {
    fn parts(&self) -> (&[u8], u64);
}

impl AsVersion for VersionKey {
    fn parts(&self) -> (&[u8], u64) {
        (&self.key, self.seq)
    }
}

impl AsVersion for (&[u8], u64) {
    fn parts(&self) -> (&[u8], u64) {
        *self
    }
}

impl<'a> Borrow<dyn AsVersion + 'a> for VersionKey {
    fn borrow(&self) -> &(dyn AsVersion + 'a) {
        self
    }
}

impl Ord for dyn AsVersion + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        let ((a, a_seq), (b, b_seq)) = (self.parts(), other.parts());
        a.cmp(b).then(b_seq.cmp(&a_seq))
    }
}

impl PartialOrd for dyn AsVersion + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn AsVersion + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn AsVersion + '_ {}

impl Ord for VersionKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then(other.seq.cmp(&self.seq))
    }
}

impl PartialOrd for VersionKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for VersionKey {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for VersionKey {}

/// The first entry at or after `(key, seq)` in the order of the list.
fn at_or_after<'a>(list: &'a Versions, key: &[u8], seq: u64) -> Option<VersionEntry<'a>> {
    list.lower_bound::<dyn AsVersion + '_>(Bound::Included(&(key, seq)))
}

/// What `key` is at `seq`: the newest entry at or below it, which may be a tombstone.
fn version_at<'a>(list: &'a Versions, key: &[u8], seq: u64) -> Option<VersionEntry<'a>> {
    at_or_after(list, key, seq).filter(|e| *e.key().key == *key)
}

/// Small, so that tests see rows come and go.
const ROW_CACHE_BYTES: usize = 1 << 20;

/// See the module's documentation.
pub struct MemEngine {
    rows: RowCache,
    lists: [Versions; 4],
    /// One writer at a time.
    writing: Mutex<()>,
    /// The last batch that readers may see.
    published: AtomicU64,
    /// The last batch that survives a crash. `durable <= published`.
    durable: AtomicU64,
    /// Sequence numbers in use by readers, with their counts.
    pins: Mutex<BTreeMap<u64, usize>>,
    unflushed_bytes: AtomicU64,
}

impl MemEngine {
    pub fn new() -> Self {
        MemEngine {
            rows: RowCache::new(ROW_CACHE_BYTES),
            lists: Default::default(),
            writing: Mutex::default(),
            published: AtomicU64::default(),
            durable: AtomicU64::default(),
            pins: Mutex::default(),
            unflushed_bytes: AtomicU64::default(),
        }
    }

    /// Loses everything that was not flushed, as a crash of the machine would.
    ///
    /// No reader may be alive, and nothing may be written meanwhile.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// As [`MemEngine::crash`], but the first `batches` of the batches that were not flushed survive: a disk engine
    /// may have flushed on its own.
    pub fn crash_keeping(&self, batches: u64) {
        let _writing = self.writing.lock();
        assert!(self.pins.lock().is_empty(), "a reader outlives the crash of its engine");
        let keep = self.published.load(SeqCst).min(self.durable.load(SeqCst).saturating_add(batches));
        for list in &self.lists {
            list.iter().filter(|e| e.key().seq > keep).for_each(|e| {
                e.remove();
            });
        }
        self.published.store(keep, SeqCst);
        self.durable.store(keep, SeqCst);
        self.unflushed_bytes.store(0, SeqCst);
        self.rows.clear();
    }

    fn list(&self, cf: Cf) -> &Versions {
        &self.lists[cf as usize]
    }

    /// Pins a sequence number; it is chosen under the lock under which the floor is computed.
    fn pin(&self, seq: &AtomicU64) -> Pin<'_> {
        let mut pins = self.pins.lock();
        let seq = seq.load(SeqCst);
        *pins.entry(seq).or_insert(0) += 1;
        Pin { engine: self, seq }
    }

    fn get_at(&self, cf: Cf, key: &[u8], seq: u64) -> Option<Bytes> {
        version_at(self.list(cf), key, seq).and_then(|e| e.value().clone())
    }

    fn put_version(&self, cf: Cf, key: &[u8], seq: u64, floor: u64, value: Option<Bytes>) {
        let list = self.list(cf);
        list.insert(VersionKey { key: Bytes::copy_from_slice(key), seq }, value);
        prune(list, key, floor);
    }

    fn delete_range(&self, cf: Cf, start: &[u8], end: &[u8], seq: u64, floor: u64) {
        let mut live = Vec::new();
        let mut at = at_or_after(self.list(cf), start, u64::MAX);
        while let Some(entry) = at.filter(|e| *e.key().key < *end) {
            if live.last() != Some(&entry.key().key) {
                live.push(entry.key().key.clone());
            }
            at = entry.next();
        }
        for key in live {
            if version_at(self.list(cf), &key, seq).is_some_and(|e| e.value().is_some()) {
                self.put_version(cf, &key, seq, floor, None);
            }
        }
    }
}

/// Removes the entries of `key` that neither a reader nor a crash can need again.
fn prune(list: &Versions, key: &[u8], floor: u64) {
    let Some(kept) = version_at(list, key, floor) else { return };
    let mut at = kept.next();
    while let Some(old) = at.filter(|e| *e.key().key == *key) {
        at = old.next();
        old.remove();
    }
    // A tombstone with nothing beneath it says nothing.
    if kept.value().is_none() {
        kept.remove();
    }
}

/// Keeps the versions of one sequence number alive.
struct Pin<'a> {
    engine: &'a MemEngine,
    seq: u64,
}

impl Clone for Pin<'_> {
    fn clone(&self) -> Self {
        *self.engine.pins.lock().entry(self.seq).or_insert(0) += 1;
        Pin { engine: self.engine, seq: self.seq }
    }
}

impl Drop for Pin<'_> {
    fn drop(&mut self) {
        let mut pins = self.engine.pins.lock();
        if let Some(count) = pins.get_mut(&self.seq) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.seq);
            }
        }
    }
}

impl Reader for MemEngine {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        let pin = self.pin(&self.published);
        Ok(self.get_at(cf, key, pin.seq))
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIter + '_> {
        Box::new(MemIter::new(self.list(cf), self.pin(&self.published), options))
    }

    fn rows(&self) -> Option<&RowCache> {
        Some(&self.rows)
    }
}

impl Default for MemEngine {
    fn default() -> Self {
        Self::new()
    }
}

impl Engine for MemEngine {
    fn snapshot(&self) -> Box<dyn Snapshot + '_> {
        Box::new(MemSnapshot { pin: self.pin(&self.published) })
    }

    fn write(&self, batch: &WriteBatch) -> StorageResult<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let _writing = self.writing.lock();
        let taken = self.rows.begin(batch);
        let seq = self.published.load(SeqCst) + 1;
        // Readers that come later pin at least `published`, which the floor never exceeds.
        let floor = {
            let pins = self.pins.lock();
            let durable = self.durable.load(SeqCst);
            pins.keys().next().map_or(durable, |&least| least.min(durable))
        };
        for op in batch.ops() {
            match op {
                BatchOp::Put { cf, key, value } => {
                    self.put_version(cf, key, seq, floor, Some(Bytes::copy_from_slice(value)));
                }
                BatchOp::Delete { cf, key } => self.put_version(cf, key, seq, floor, None),
                BatchOp::DeleteRange { cf, start, end } => self.delete_range(cf, start, end, seq, floor),
            }
        }
        self.unflushed_bytes.fetch_add(batch.as_bytes().len() as u64, SeqCst);
        self.published.store(seq, SeqCst);
        self.rows.end(batch, taken, true);
        Ok(())
    }

    fn get_durable(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        let pin = self.pin(&self.durable);
        Ok(self.get_at(cf, key, pin.seq))
    }

    fn flush(&self) -> StorageResult<()> {
        let _writing = self.writing.lock();
        self.durable.store(self.published.load(SeqCst), SeqCst);
        self.unflushed_bytes.store(0, SeqCst);
        Ok(())
    }

    fn unflushed_bytes(&self) -> u64 {
        self.unflushed_bytes.load(SeqCst)
    }

    fn approximate_size(&self, cf: Cf, start: &[u8], end: &[u8]) -> StorageResult<u64> {
        let options = IterOptions {
            lower: Some(Bytes::copy_from_slice(start)),
            upper: Some(Bytes::copy_from_slice(end)),
            ..IterOptions::default()
        };
        let mut iter = self.iter(cf, options);
        let mut size = 0;
        iter.seek_to_first();
        while iter.valid() {
            size += (iter.key().len() + iter.value().len()) as u64;
            iter.next();
        }
        Ok(size)
    }

    fn metrics(&self) -> Vec<(&'static str, f64)> {
        vec![
            ("engine_entries", self.lists.iter().map(|l| l.len()).sum::<usize>() as f64),
            ("engine_unflushed_bytes", self.unflushed_bytes() as f64),
        ]
    }
}

struct MemSnapshot<'a> {
    pin: Pin<'a>,
}

impl Reader for MemSnapshot<'_> {
    fn get(&self, cf: Cf, key: &[u8]) -> StorageResult<Option<Bytes>> {
        Ok(self.pin.engine.get_at(cf, key, self.pin.seq))
    }

    fn iter(&self, cf: Cf, options: IterOptions) -> Box<dyn EngineIter + '_> {
        Box::new(MemIter::new(self.pin.engine.list(cf), self.pin.clone(), options))
    }
}

impl Snapshot for MemSnapshot<'_> {}

/// Stands on the entry that is visible at the pinned sequence number; never on a tombstone.
struct MemIter<'a> {
    list: &'a Versions,
    at: Option<VersionEntry<'a>>,
    pin: Pin<'a>,
    options: IterOptions,
}

impl<'a> MemIter<'a> {
    fn new(list: &'a Versions, pin: Pin<'a>, options: IterOptions) -> Self {
        MemIter { list, at: None, pin, options }
    }

    /// Moves forward from `entry` to the first visible one.
    fn settle_forward(&mut self, mut entry: Option<VersionEntry<'a>>) {
        self.at = loop {
            let Some(e) = entry else { break None };
            if self.options.upper.as_ref().is_some_and(|upper| e.key().key >= *upper) {
                break None;
            }
            if e.key().seq > self.pin.seq {
                entry = e.next();
            } else if e.value().is_none() {
                entry = skip_key(e);
            } else {
                break Some(e);
            }
        }
    }

    /// Moves to the last visible entry whose key lies before the bound.
    fn settle_backward(&mut self, before: Bound<&[u8]>) {
        let mut entry = match before {
            Bound::Unbounded => self.list.back(),
            // All versions of `key` lie between `(key, MAX)` and `(key, 0)`.
            Bound::Excluded(key) => {
                self.list.upper_bound::<dyn AsVersion + '_>(Bound::Excluded(&(key, u64::MAX)))
            }
            Bound::Included(key) => self.list.upper_bound::<dyn AsVersion + '_>(Bound::Included(&(key, 0))),
        };
        self.at = loop {
            let Some(e) = entry else { break None };
            let key = e.key().key.clone();
            if self.options.lower.as_ref().is_some_and(|lower| key < *lower) {
                break None;
            }
            match version_at(self.list, &key, self.pin.seq).filter(|e| e.value().is_some()) {
                Some(visible) => break Some(visible),
                None => {
                    let before = (&key[..], u64::MAX);
                    entry = self.list.upper_bound::<dyn AsVersion + '_>(Bound::Excluded(&before));
                }
            }
        }
    }

    fn current(&self) -> &VersionEntry<'a> {
        self.at.as_ref().expect("the iterator is valid")
    }
}

/// The first entry of the next key.
fn skip_key(entry: VersionEntry<'_>) -> Option<VersionEntry<'_>> {
    let mut next = entry.next();
    while let Some(e) = next {
        if e.key().key != entry.key().key {
            return Some(e);
        }
        next = e.next();
    }
    None
}

impl EngineIter for MemIter<'_> {
    fn seek(&mut self, key: &[u8]) {
        let lower = self.options.lower.as_deref().unwrap_or(&[]);
        let entry = at_or_after(self.list, key.max(lower), u64::MAX);
        self.settle_forward(entry);
    }

    fn seek_for_prev(&mut self, key: &[u8]) {
        match self.options.upper.clone() {
            Some(upper) if *key >= *upper => self.settle_backward(Bound::Excluded(&upper)),
            _ => self.settle_backward(Bound::Included(key)),
        }
    }

    fn seek_to_first(&mut self) {
        self.seek(&[]);
    }

    fn seek_to_last(&mut self) {
        match self.options.upper.clone() {
            Some(upper) => self.settle_backward(Bound::Excluded(&upper)),
            None => self.settle_backward(Bound::Unbounded),
        }
    }

    fn next(&mut self) {
        let entry = self.at.take().and_then(skip_key);
        self.settle_forward(entry);
    }

    fn prev(&mut self) {
        let key = self.current().key().key.clone();
        self.settle_backward(Bound::Excluded(&key));
    }

    fn valid(&self) -> bool {
        self.at.is_some()
    }

    fn key(&self) -> &[u8] {
        &self.current().key().key
    }

    fn value(&self) -> &[u8] {
        self.current().value().as_deref().expect("an iterator never stands on a tombstone")
    }

    fn status(&self) -> StorageResult<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::conformance::{Crashable, conformance};

    impl Crashable for MemEngine {
        fn engine(&self) -> &dyn Engine {
            self
        }

        fn crash(self) -> Self {
            MemEngine::crash(&self);
            self
        }
    }

    conformance!(MemEngine::new());

    fn put(e: &MemEngine, value: &[u8]) {
        let mut b = WriteBatch::new();
        b.put(Cf::Data, b"k", value);
        e.write(&b).expect("write");
    }

    #[test]
    fn a_crash_may_keep_a_prefix() {
        let e = MemEngine::new();
        (1..=4).for_each(|n| put(&e, &[n]));
        e.crash_keeping(2);
        assert_eq!(e.get(Cf::Data, b"k").expect("get").as_deref(), Some(&[2][..]));
    }

    #[test]
    fn old_versions_go_when_nobody_needs_them() {
        let e = MemEngine::new();
        for n in 0..100 {
            put(&e, &[n]);
            e.flush().expect("flush");
        }
        assert!(e.lists[0].len() <= 2, "{} versions", e.lists[0].len());
        let old = e.snapshot();
        for n in 0..100 {
            put(&e, &[n]);
            e.flush().expect("flush");
        }
        assert_eq!(old.get(Cf::Data, b"k").expect("get").as_deref(), Some(&[99][..]));
    }
}
