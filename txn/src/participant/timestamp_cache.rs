//! The timestamp cache: how high each key has been read on this node, so that no write goes below a read.
//!
//! What must stay true: after [`TimestampCache::raise`] over a key at `ts`, every later [`TimestampCache::mark`] of that
//! key answers at least `ts`, for ever. Memory is bounded all the same, because answering *too high* is always safe (a
//! write moves up further than it had to): what is forgotten is folded into a floor.
//!
//! A mark remembers its transaction while only one stands at that timestamp: a transaction's own read must not push
//! its own write. Forgetting a lower mark of somebody else in its favour is safe, since a transaction is never let write
//! below its own marks. (It may try to: a commit marks what it refreshes at the time that it chose; if the command is
//! lost, the next attempt begins lower.)
//!
//! - Single keys live in hashed shards, each with a current and a previous page; when the current page is full, the
//!   previous one is dropped and the floor of the shard rises to the highest mark that was in it. A key is remembered by its
//!   64-bit hash: keys that collide share the higher mark.
//! - Spans live in an ordered map of disjoint segments, in two pages likewise.
//!
//! One cache serves all ranges of a node: a split moves no keys between nodes, so it needs nothing; a new lease is covered
//! by the range's own low-water mark (its lease's start). Alternatives considered: a lock-free skip list would let writers
//! read while readers raise; but an insertion into one costs microseconds where a shard's lock and a hash table cost
//! a tenth of one.

use std::collections::BTreeMap;
use std::hash::Hasher;

use meridian_storage::base::{Key, Timestamp, TxnId};
use parking_lot::{Mutex, RwLock};
use rustc_hash::{FxHashMap, FxHasher};

const SHARDS: usize = 64;

/// The highest read of a key, and by whom if by one transaction alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub at: Timestamp,
    pub txn: Option<TxnId>,
}

impl Mark {
    pub const NONE: Mark = Mark { at: Timestamp::ZERO, txn: None };

    fn merge(&mut self, other: Mark) {
        if other.at > self.at {
            *self = other;
        } else if other.at == self.at && other.txn != self.txn {
            self.txn = None;
        }
    }

    /// The lowest timestamp at or above `at` at which `txn` may write under this mark.
    pub fn writable(&self, txn: Option<TxnId>, at: Timestamp) -> Timestamp {
        if self.at < at {
            at
        } else if txn.is_some() && self.txn == txn {
            // Not below it: lower marks of others were forgotten in its favour.
            self.at
        } else {
            self.at.next()
        }
    }
}

pub struct TimestampCache {
    points: Vec<Mutex<PointShard>>,
    spans: RwLock<SpanPages>,
    points_per_page: usize,
    segments_per_page: usize,
}

struct PointShard {
    floor: Timestamp,
    current: FxHashMap<u64, Mark>,
    previous: FxHashMap<u64, Mark>,
    /// The highest mark in each page.
    current_max: Timestamp,
    previous_max: Timestamp,
}

/// Disjoint segments: start → (end, mark).
type Segments = BTreeMap<Key, (Key, Mark)>;

struct SpanPages {
    floor: Timestamp,
    current: Segments,
    previous: Segments,
    current_max: Timestamp,
    previous_max: Timestamp,
}

impl TimestampCache {
    /// Remembers at least `keys` single keys and `segments` spans before it begins to forget; answers at least `floor`.
    pub fn new(keys: usize, segments: usize, floor: Timestamp) -> Self {
        let shard = || {
            Mutex::new(PointShard {
                floor,
                current: FxHashMap::default(),
                previous: FxHashMap::default(),
                current_max: Timestamp::ZERO,
                previous_max: Timestamp::ZERO,
            })
        };
        TimestampCache {
            points: (0..SHARDS).map(|_| shard()).collect(),
            spans: RwLock::new(SpanPages {
                floor,
                current: Segments::new(),
                previous: Segments::new(),
                current_max: Timestamp::ZERO,
                previous_max: Timestamp::ZERO,
            }),
            points_per_page: (keys / SHARDS).max(1),
            segments_per_page: segments.max(1),
        }
    }

    /// Takes note of a read of `start` (`end` is `None`), or of `[start, end)`, at `at`.
    pub fn raise(&self, start: &Key, end: Option<&Key>, at: Timestamp, txn: Option<TxnId>) {
        match end {
            None => self.raise_key(start, at, txn),
            Some(end) => self.raise_span(start, end, at, txn),
        }
    }

    /// As [`raise`](Self::raise) for a single key: the path of a point read.
    pub fn raise_key(&self, key: &[u8], at: Timestamp, txn: Option<TxnId>) {
        let hash = hash(key);
        let mut shard = self.points[hash as usize % SHARDS].lock();
        if at <= shard.floor {
            return;
        }
        if let Some(mark) = shard.current.get_mut(&hash) {
            mark.merge(Mark { at, txn });
        } else {
            if shard.current.len() >= self.points_per_page {
                shard.rotate();
            }
            shard.current.insert(hash, Mark { at, txn });
        }
        shard.current_max.forward(at);
    }

    pub fn raise_span(&self, start: &Key, end: &Key, at: Timestamp, txn: Option<TxnId>) {
        let mut pages = self.spans.write();
        if at <= pages.floor || start >= end {
            return;
        }
        if pages.current.len() >= self.segments_per_page {
            pages.rotate();
        }
        overlay(&mut pages.current, start, end, Mark { at, txn });
        pages.current_max.forward(at);
    }

    /// The highest read of `key`.
    pub fn mark(&self, key: &[u8]) -> Mark {
        let mut found = self.point_mark(key);
        let pages = self.spans.read();
        found.merge(Mark { at: pages.floor, txn: None });
        for page in [&pages.current, &pages.previous] {
            let below = (std::ops::Bound::Unbounded, std::ops::Bound::Included(key));
            if let Some((_, (end, mark))) = page.range::<[u8], _>(below).next_back()
                && key < end.as_bytes()
            {
                found.merge(*mark);
            }
        }
        found
    }

    /// The lowest timestamp at or above `at` at which `txn` may write `key`.
    pub fn writable(&self, key: &[u8], txn: Option<TxnId>, at: Timestamp) -> Timestamp {
        self.mark(key).writable(txn, at)
    }

    fn point_mark(&self, key: &[u8]) -> Mark {
        let hash = hash(key);
        let shard = self.points[hash as usize % SHARDS].lock();
        let mut found = Mark { at: shard.floor, txn: None };
        for page in [&shard.current, &shard.previous] {
            if let Some(mark) = page.get(&hash) {
                found.merge(*mark);
            }
        }
        found
    }
}

impl PointShard {
    fn rotate(&mut self) {
        self.floor.forward(self.previous_max);
        std::mem::swap(&mut self.current, &mut self.previous);
        self.previous_max = std::mem::take(&mut self.current_max);
        self.current.clear();
    }
}

impl SpanPages {
    fn rotate(&mut self) {
        self.floor.forward(self.previous_max);
        self.previous = std::mem::take(&mut self.current);
        self.previous_max = std::mem::take(&mut self.current_max);
    }
}

/// Lays `mark` over `[start, end)`: where a segment stands already, the higher one wins.
fn overlay(segments: &mut Segments, start: &Key, end: &Key, mark: Mark) {
    split_at(segments, start);
    split_at(segments, end);
    let inside: Vec<Key> = segments.range(start.clone()..end.clone()).map(|(k, _)| k.clone()).collect();
    let mut gap_start = start.clone();
    let mut pieces: Vec<(Key, Key, Mark)> = Vec::new();
    for from in inside {
        let Some((to, mut found)) = segments.remove(&from) else { continue };
        if gap_start < from {
            pieces.push((gap_start, from.clone(), mark));
        }
        found.merge(mark);
        gap_start = to.clone();
        pieces.push((from, to, found));
    }
    if gap_start < *end {
        pieces.push((gap_start, end.clone(), mark));
    }
    // Neighbours with one mark become one segment, so that repeated scans of a table do not shatter it.
    let mut run: Option<(Key, Key, Mark)> = None;
    for (from, to, m) in pieces {
        match &mut run {
            Some((_, run_end, run_mark)) if *run_mark == m => *run_end = to,
            _ => {
                if let Some((f, t, m)) = run.replace((from, to, m)) {
                    segments.insert(f, (t, m));
                }
            }
        }
    }
    if let Some((f, t, m)) = run {
        segments.insert(f, (t, m));
    }
}

/// Cuts the segment that has `at` strictly inside it.
fn split_at(segments: &mut Segments, at: &Key) {
    let Some((_, (end, mark))) = segments.range_mut(..at.clone()).next_back() else { return };
    if *at < *end {
        let (right_end, mark) = (std::mem::replace(end, at.clone()), *mark);
        segments.insert(at.clone(), (right_end, mark));
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = FxHasher::default();
    hasher.write(key);
    // FxHasher leaves its entropy in the high bits; the shard is taken from the low ones.
    hasher.finish().rotate_left(26)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ts(wall: u64) -> Timestamp {
        Timestamp::new(wall, 0)
    }

    #[test]
    fn own_reads_do_not_push_own_writes() {
        let cache = TimestampCache::new(1000, 1000, ts(1));
        let (me, other) = (Some(TxnId(1)), Some(TxnId(2)));
        cache.raise_key(b"k", ts(5), me);
        assert_eq!(cache.writable(b"k", me, ts(5)), ts(5));
        assert_eq!(cache.writable(b"k", me, ts(3)), ts(5));
        assert_eq!(cache.writable(b"k", other, ts(5)), ts(5).next());
        assert_eq!(cache.writable(b"k", other, ts(6)), ts(6));
        cache.raise_key(b"k", ts(5), other);
        assert_eq!(cache.writable(b"k", me, ts(5)), ts(5).next());
        assert_eq!(cache.writable(b"unread", me, ts(1)), ts(1).next());
    }

    #[test]
    fn what_is_forgotten_stays_forbidden() {
        let cache = TimestampCache::new(SHARDS, 2, ts(0));
        for n in 0..1000u64 {
            cache.raise_key(&n.to_be_bytes(), ts(n + 1), None);
        }
        let size = |shard: &Mutex<PointShard>| {
            let shard = shard.lock();
            shard.current.len() + shard.previous.len()
        };
        let held: usize = cache.points.iter().map(size).sum();
        assert!(held <= 2 * SHARDS, "{held}");
        for n in 0..1000u64 {
            assert!(cache.mark(&n.to_be_bytes()).at >= ts(n + 1));
        }
    }

    proptest! {
        /// The cache never answers below what was read, and exactly that while nothing has been forgotten.
        #[test]
        fn never_below_the_reads(
            reads in prop::collection::vec((0u8..20, 1u8..6, 1u64..50, 0u128..3), 1..40),
            small in any::<bool>(),
        ) {
            let cache = TimestampCache::new(10_000, if small { 3 } else { 10_000 }, Timestamp::ZERO);
            let mut model = [Timestamp::ZERO; 32];
            for (start, len, at, txn) in reads {
                let txn = (txn > 0).then_some(TxnId(txn));
                let key = |n: u8| Key::from(&[n][..]);
                if len == 1 {
                    cache.raise(&key(start), None, ts(at), txn);
                } else {
                    cache.raise(&key(start), Some(&key(start + len)), ts(at), txn);
                }
                for m in &mut model[start as usize..(start + len) as usize] {
                    m.forward(ts(at));
                }
                for (n, m) in model.iter().enumerate() {
                    let found = cache.mark(&[n as u8]).at;
                    prop_assert!(found >= *m);
                    prop_assert!(small || found == *m);
                }
            }
        }
    }
}
