//! The keys that were written lately, and when: so that a refresh asks only for those, and reads no rows again.
//!
//! A transaction that has read some hundred rows and commits at a later time must show that none of them has changed. In
//! the engine that is a second scan of all of them, with all their versions; here it is a look into a small ordered map.
//!
//! What must stay true: every version above the floor that a command of this node has written, or may have,
//! is here: a command is noted *before* it is proposed, whatever becomes of it. (So a key that is found here need not have been
//! written: the engine is asked about it.) What other leaseholders have written in a range lies below the beginning of its
//! lease, which is for the caller to mind. Memory is bounded: what is forgotten raises the floor.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use meridian_storage::base::{Key, Span, Timestamp};
use meridian_storage::engine::{BatchOp, Cf, WriteBatch, split_timestamp};
use meridian_storage::mvcc::key;
use parking_lot::RwLock;

/// A command that writes more keys is not remembered by its keys: nobody profits from a copy of a bulk load.
const LARGEST: usize = 256;

#[derive(Default)]
pub struct RecentWrites {
    inner: RwLock<Inner>,
    keep: usize,
}

#[derive(Default)]
struct Inner {
    floor: Timestamp,
    /// By key part.
    newest: BTreeMap<Bytes, Timestamp>,
    order: VecDeque<(Bytes, Timestamp)>,
}

impl RecentWrites {
    /// Remembers the last `keep` versions.
    pub fn new(keep: usize) -> Self {
        RecentWrites { inner: RwLock::default(), keep }
    }

    /// To be called before a command is proposed.
    pub fn note(&self, batch: &WriteBatch) {
        let versions = || {
            batch.ops().filter_map(|op| match op {
                BatchOp::Put { cf: Cf::Data, key, .. } => split_timestamp(key),
                _ => None,
            })
        };
        if versions().next().is_none() {
            return;
        }
        let mut inner = self.inner.write();
        if versions().count() > LARGEST.min(self.keep) {
            let latest = versions().map(|v| v.1).max().unwrap_or_default();
            inner.floor.forward(latest);
            return;
        }
        for (part, at) in versions() {
            let part = Bytes::copy_from_slice(part);
            inner.newest.entry(part.clone()).or_default().forward(at);
            inner.order.push_back((part, at));
        }
        while inner.order.len() > self.keep {
            inner.forget_oldest();
        }
    }

    /// The keys in `span` that may have a version above `from`; `None` if that is not known.
    ///
    /// Of what is under way when this is called, the caller knows by latches and marks that it comes above what is asked.
    pub fn since(&self, span: &Span, from: Timestamp) -> Option<Vec<Key>> {
        let (lower, upper) = key::bounds(span);
        let inner = self.inner.read();
        if from < inner.floor {
            return None;
        }
        let bounds = (Bound::Included(&*lower), Bound::Excluded(&*upper));
        let written = inner.newest.range::<[u8], _>(bounds).filter(|(_, at)| **at > from);
        let keys = written.map(|(part, _)| {
            let mut key = Vec::with_capacity(part.len());
            key::decode_key(part, &mut key).ok().map(|()| Key::from(key))
        });
        keys.collect()
    }
}

impl Inner {
    fn forget_oldest(&mut self) {
        let Some((part, at)) = self.order.pop_front() else { return };
        self.floor.forward(at);
        if self.newest.get(&part) == Some(&at) {
            self.newest.remove(&part);
        }
    }
}

#[cfg(test)]
mod tests {
    use meridian_storage::mvcc;

    use super::*;

    fn at(wall: u64) -> Timestamp {
        Timestamp::new(wall, 0)
    }

    fn write(recent: &RecentWrites, keys: &[&str], wall: u64) {
        let mut batch = WriteBatch::new();
        for key in keys {
            mvcc::put(&mut batch, key.as_bytes(), at(wall), b"v");
        }
        recent.note(&batch);
    }

    fn since(recent: &RecentWrites, start: &str, end: &str, wall: u64) -> Option<Vec<Key>> {
        recent.since(&Span::new(start.into(), end.into()), at(wall))
    }

    #[test]
    fn a_span_knows_its_keys() {
        let recent = RecentWrites::new(100);
        write(&recent, &["b", "d"], 5);
        write(&recent, &["c"], 7);
        assert_eq!(since(&recent, "a", "d", 4), Some(vec!["b".into(), "c".into()]));
        assert_eq!(since(&recent, "a", "z", 5), Some(vec!["c".into()]));
        assert_eq!(since(&recent, "a", "z", 7), Some(vec![]));
        assert_eq!(recent.since(&Span::point("d".into()), at(4)), Some(vec!["d".into()]));
        assert_eq!(recent.since(&Span::point("dd".into()), at(4)), Some(vec![]));
    }

    #[test]
    fn what_is_forgotten_is_not_denied() {
        let recent = RecentWrites::new(2);
        write(&recent, &["a"], 9);
        write(&recent, &["b"], 5);
        write(&recent, &["a"], 6);
        assert_eq!(since(&recent, "a", "z", 8), None, "a was written at 9");
        assert_eq!(since(&recent, "a", "z", 9), Some(vec![]));
        write(&recent, &["c", "d", "e"], 12);
        assert_eq!(since(&recent, "a", "b", 11), None, "too large a command");
        assert_eq!(since(&recent, "a", "b", 12), Some(vec![]));
    }
}
