//! Dropping covered versions while files are compacted.
//!
//! A compaction sees some of a key's versions, never surely all, and it sees files: what was deleted since may still be
//! in them, and what is in them may, after a crash, come alive again and be overtaken by the log. So the rule must hold
//! whatever else there is: **a version is dropped only if a newer one of the same key, at or below the threshold and
//! committed when it was written, is in the same compaction.**
//!
//! - That newer version is never deleted while it is needed: only a collection or the removal of the whole range
//!   deletes committed versions, and they delete what is beneath it too.
//! - A version that was written as an intent does not count: its abort, or its move to another time, may be a deletion in
//!   a file that is not part of the compaction, and would bring up what is beneath it.
//! - The covering version itself stays, even a tombstone: older versions may be in other files. Tombstones go in a
//!   [collection](super::gc).

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use super::{key, value};
use crate::base::{RangeId, Span, Timestamp};
use crate::engine::{VersionFilter, VersionSweep};

/// The GC thresholds of the ranges of a store, as applied; given to the engine when it is opened.
#[derive(Default)]
pub struct GcThresholds {
    ranges: RwLock<BTreeMap<RangeId, Threshold>>,
}

/// In key parts: from `start` (included) to `end` (excluded).
#[derive(Clone, PartialEq, Eq, Debug)]
struct Threshold {
    start: Vec<u8>,
    end: Vec<u8>,
    at: Timestamp,
}

impl GcThresholds {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Called when a threshold has been applied, and when the range's bounds have changed.
    pub fn set(&self, range: RangeId, span: &Span, at: Timestamp) {
        let (start, end) = (key::encode_key(&span.start), key::encode_key(&span.end));
        self.ranges.write().insert(range, Threshold { start, end, at });
    }

    /// Called before the range's data can become anybody else's.
    pub fn remove(&self, range: RangeId) {
        self.ranges.write().remove(&range);
    }

    /// Forgets the ranges that are not here any more: what was merged into another range would be in its way for ever.
    pub fn retain(&self, mut is_here: impl FnMut(RangeId) -> bool) {
        self.ranges.write().retain(|range, _| is_here(*range));
    }

    /// Disjoint and in order. Where two ranges overlap, as in the middle of a split, nothing may be dropped.
    fn disjoint(&self) -> Vec<Threshold> {
        let mut all: Vec<Threshold> = self.ranges.read().values().cloned().collect();
        all.sort_by(|a, b| a.start.cmp(&b.start));
        let mut out: Vec<Threshold> = Vec::with_capacity(all.len());
        // Up to here, everything belongs to some earlier range.
        let mut taken = Vec::new();
        for mut this in all {
            if let Some(before) = out.last_mut().filter(|before| before.end > this.start) {
                before.end.clone_from(&this.start);
            }
            let end = this.end.clone();
            this.start = this.start.max(taken.clone());
            taken = taken.max(end);
            out.push(this);
        }
        out.retain(|t| t.start < t.end);
        out
    }
}

impl VersionFilter for GcThresholds {
    fn begin(&self) -> Box<dyn VersionSweep> {
        Box::new(Sweep { thresholds: self.disjoint(), ..Sweep::default() })
    }
}

#[derive(Default)]
struct Sweep {
    thresholds: Vec<Threshold>,
    /// The key part of the entries that are passing, its threshold, and whether its covering version has passed.
    part: Vec<u8>,
    at: Option<Timestamp>,
    covered: bool,
}

impl Sweep {
    fn threshold_of(&self, part: &[u8]) -> Option<Timestamp> {
        let before = self.thresholds.partition_point(|t| *t.start <= *part);
        let candidate = self.thresholds[..before].last()?;
        (*part < *candidate.end).then_some(candidate.at)
    }
}

impl VersionSweep for Sweep {
    fn drops(&mut self, key: &[u8], value: &[u8]) -> bool {
        // What is not a version is left for a reader to complain of.
        let Ok((part, version)) = key::split_version(key) else { return false };
        if part != self.part {
            self.part.clear();
            self.part.extend_from_slice(part);
            self.at = self.threshold_of(part);
            self.covered = false;
        }
        if self.at.is_none_or(|at| version > at) {
            return false;
        }
        let covered = self.covered;
        self.covered |= value::is_committed_at_once(value);
        covered
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{Key, TxnId};
    use crate::engine::{Cf, Engine, Reader, RocksEngine, RocksOptions, WriteBatch};
    use crate::mvcc::*;

    fn ts(wall: u64) -> Timestamp {
        Timestamp::new(wall, 0)
    }

    fn span(start: &str, end: &str) -> Span {
        Span::new(Key::from(start), Key::from(end))
    }

    /// What remains of versions given as `key timestamp kind`, newest first: `c`ommitted value, `t`ombstone, `p`rovisional.
    fn swept(thresholds: &GcThresholds, versions: &str) -> String {
        let mut sweep = thresholds.begin();
        let stays = |line: &&str| {
            let [key, at, kind] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let raw = key::encode_version(key.as_bytes(), ts(at.parse().expect("a time")));
            let stored: &[u8] = match kind {
                "c" => &[1, 7],
                "t" => &[0],
                _ => &[3, 7],
            };
            !sweep.drops(&raw, stored)
        };
        versions.split(", ").filter(stays).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn only_what_is_covered_below_the_threshold_goes() {
        let t = GcThresholds::new();
        t.set(RangeId(1), &span("a", "m"), ts(5));
        for (versions, left) in [
            ("a 9 c, a 6 c, a 5 c, a 4 c, a 1 t", "a 9 c, a 6 c, a 5 c"),
            ("a 9 c, a 6 c", "a 9 c, a 6 c"),
            // A tombstone covers, and stays.
            ("a 3 t, a 2 c", "a 3 t"),
            // An intent may be aborted by a deletion that is not seen here: it covers nothing.
            ("a 4 p, a 3 c, a 2 c", "a 4 p, a 3 c"),
            ("a 4 c, a 3 p, a 2 c", "a 4 c"),
            // Each key for itself, also where one is the beginning of the other.
            ("a 3 c, a\0 2 c, ab 2 c, ab 1 c", "a 3 c, a\0 2 c, ab 2 c"),
            // Other ranges have other thresholds, or none.
            ("l 3 c, l 2 c, m 3 c, m 2 c", "l 3 c, m 3 c, m 2 c"),
        ] {
            assert_eq!(swept(&t, versions), left);
        }
    }

    #[test]
    fn nothing_is_dropped_where_ranges_overlap() {
        let t = GcThresholds::new();
        t.set(RangeId(1), &span("a", "m"), ts(9));
        t.set(RangeId(2), &span("f", "z"), ts(9));
        t.set(RangeId(3), &span("p", "q"), ts(9));
        let versions = "b 2 c, b 1 c, g 2 c, g 1 c, n 2 c, n 1 c, p 2 c, p 1 c, r 2 c, r 1 c";
        assert_eq!(swept(&t, versions), "b 2 c, g 2 c, g 1 c, n 2 c, p 2 c, p 1 c, r 2 c, r 1 c");
        t.remove(RangeId(1));
        t.remove(RangeId(3));
        assert_eq!(swept(&t, versions), "b 2 c, b 1 c, g 2 c, n 2 c, p 2 c, r 2 c");
    }

    /// Through RocksDB: reads at or above the threshold stay the same, and an abort uncovers what it should.
    #[test]
    fn compaction_drops_what_no_read_can_see() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let thresholds = GcThresholds::new();
        let options = RocksOptions {
            cache_bytes: 1 << 20,
            filter: Some(thresholds.clone()),
            ..RocksOptions::default()
        };
        let engine = RocksEngine::open(folder.path(), options).expect("opened");
        for wall in 1..=20 {
            let mut batch = WriteBatch::new();
            (0..10u8).for_each(|n| {
                put(&mut batch, &[b'k', n], ts(wall), &[wall as u8]);
            });
            engine.write(&batch).expect("written");
            if wall % 5 == 0 {
                engine.flush().expect("flushed");
            }
        }
        intent_and_abort(&engine);
        let all = span("k", "l");
        thresholds.set(RangeId(1), &all, ts(15));
        let read = |at| scan(&engine, &all, ts(at), ScanOptions::default()).expect("read").block;
        let before: Vec<KvBlock> = (15..22).map(read).collect();
        engine.compact(Cf::Data);
        let after: Vec<KvBlock> = (15..22).map(read).collect();
        assert_eq!(before, after);
        let stats = compute_stats(&engine, &all).expect("counted");
        // Of each key, the versions 15 to 20.
        assert_eq!((stats.keys, stats.versions), (11, 10 * 6 + 1));
    }

    fn intent_and_abort(engine: &RocksEngine) {
        let (key, txn) = (b"k-aborted", TxnId(1));
        let mut batch = WriteBatch::new();
        put(&mut batch, key, ts(3), b"before");
        engine.write(&batch).expect("written");
        let record = LockRecord {
            txn,
            anchor: Key::copy_from(key),
            epoch: 0,
            write_ts: ts(12),
            strength: LockStrength::Intent,
            seq: 0,
        };
        let mut batch = WriteBatch::new();
        put_intent(engine, &mut batch, key, Some(b"never"), &record).expect("written");
        engine.write(&batch).expect("written");
        engine.flush().expect("flushed");
        let mut batch = WriteBatch::new();
        resolve_intent(engine, &mut batch, key, txn, Resolution::Abort).expect("resolved");
        engine.write(&batch).expect("written");
        assert_eq!(engine.get(Cf::Lock, &key::encode_key(key)).expect("read"), None);
    }
}
