//! Ending all intents that one transaction has in a span: after a bulk load, or for a reader that meets many.
//!
//! One walk over the lock family. Locks that stand beside each other go by one range deletion, and a commit at the time at
//! which its intents stand changes nothing else: ending a million of them is a few hundred bytes in the log.

use crate::base::{Key, Span, StorageResult, TxnId};
use crate::engine::{Cf, IterOptions, Reader, WriteBatch};

use super::key;
use super::lock::LockRecord;
use super::value::Origin;
use super::write::{Resolution, move_version, remove_version, resolve_intent};

/// How much one command may do.
#[derive(Clone, Copy, Debug)]
pub struct ResolveLimits {
    pub intents: usize,
    /// Of operations in the batch.
    pub bytes: usize,
}

/// Resolves the intents of `txn` in `span`, as [`resolve_intent`] does one. Answers where to go on if a limit was reached.
///
/// Under a writing latch on the span: no lock may come between those that go together.
pub fn resolve_span(
    reader: &dyn Reader,
    batch: &mut WriteBatch,
    span: &Span,
    txn: TxnId,
    resolution: Resolution,
    limits: ResolveLimits,
) -> StorageResult<Option<Key>> {
    let (lower, upper) = key::bounds(span);
    let bounds = IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() };
    let mut it = reader.iter(Cf::Lock, bounds);
    let mut run = Run::default();
    let (mut seen, mut resume) = (0, None);
    it.seek_to_first();
    while it.valid() {
        let record = LockRecord::decode(it.value())?;
        if record.txn != txn || !record.is_intent() {
            run.end(batch);
            it.next();
            continue;
        }
        if seen >= limits.intents || batch.as_bytes().len() >= limits.bytes {
            resume = Some(decode(it.key())?);
            break;
        }
        seen += 1;
        match resolution {
            Resolution::Commit { at, epoch } if record.epoch == epoch => {
                if record.write_ts != at {
                    let moved = (record.write_ts, at);
                    move_version(reader, batch, &decode(it.key())?, moved, Origin::Committed)?;
                }
                run.add(it.key());
            }
            Resolution::CommitInPlace { epoch } if record.epoch == epoch => run.add(it.key()),
            Resolution::Commit { .. } | Resolution::CommitInPlace { .. } | Resolution::Abort => {
                remove_version(reader, batch, &decode(it.key())?, record.write_ts)?;
                run.add(it.key());
            }
            Resolution::Push { .. } => {
                resolve_intent(reader, batch, &decode(it.key())?, txn, resolution)?;
            }
        }
        it.next();
    }
    it.status()?;
    run.end(batch);
    Ok(resume)
}

/// The end of the intents of `txn` that stand side by side from `key` on, at most `limit`: the last one's key.
/// `None` if there is none on `key`.
pub fn last_of_run(
    reader: &dyn Reader,
    key: &Key,
    end: &Key,
    txn: TxnId,
    limit: usize,
) -> StorageResult<Option<Key>> {
    if key >= end {
        return Ok(None);
    }
    let (lower, upper) = key::bounds(&Span::new(key.clone(), end.clone()));
    let bounds = IterOptions { lower: Some(lower), upper: Some(upper), ..IterOptions::default() };
    let mut it = reader.iter(Cf::Lock, bounds);
    let mut last = Vec::new();
    it.seek_to_first();
    for n in 0..limit {
        if !it.valid() || n == 0 && it.key() != key::encode_key(key) {
            break;
        }
        let record = LockRecord::decode(it.value())?;
        if record.txn != txn || !record.is_intent() {
            break;
        }
        last.clear();
        last.extend_from_slice(it.key());
        it.next();
    }
    it.status()?;
    if last.is_empty() { Ok(None) } else { decode(&last).map(Some) }
}

fn decode(part: &[u8]) -> StorageResult<Key> {
    let mut key = Vec::with_capacity(part.len());
    key::decode_key(part, &mut key)?;
    Ok(key.into())
}

/// Fewer are deleted one by one: range deletions are dear to keep.
const LONG: usize = 16;

/// Locks that stand side by side and go together.
#[derive(Default)]
struct Run {
    few: Vec<Vec<u8>>,
    last: Vec<u8>,
    len: usize,
}

impl Run {
    fn add(&mut self, lock: &[u8]) {
        self.len += 1;
        if self.len < LONG {
            self.few.push(lock.to_vec());
        } else {
            self.last.clear();
            self.last.extend_from_slice(lock);
        }
    }

    fn end(&mut self, batch: &mut WriteBatch) {
        if self.len < LONG {
            for lock in self.few.drain(..) {
                batch.delete(Cf::Lock, &lock);
            }
        } else if let Some(first) = self.few.first() {
            self.last.push(0);
            batch.delete_range(Cf::Lock, first, &self.last);
        }
        self.few.clear();
        self.len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Timestamp;
    use crate::engine::{BatchOp, Engine, MemEngine};
    use crate::mvcc::{GetOptions, LockStrength, Seen, get, put_intent};

    const ALL: ResolveLimits = ResolveLimits { intents: usize::MAX, bytes: usize::MAX };

    fn key(n: u32) -> Key {
        Key::copy_from(format!("k{n:06}").as_bytes())
    }

    fn span() -> Span {
        Span::new(key(0), key(1000))
    }

    fn ts(wall: u64) -> Timestamp {
        Timestamp::new(wall, 0)
    }

    fn intend(engine: &MemEngine, txn: u128, at: u64, keys: impl Iterator<Item = u32>) {
        let mut batch = WriteBatch::new();
        for n in keys {
            let record = LockRecord {
                txn: TxnId(txn),
                anchor: key(0),
                epoch: 0,
                write_ts: ts(at),
                strength: LockStrength::Intent,
                seq: 1,
            };
            put_intent(engine, &mut batch, &key(n), Some(b"v"), &record).expect("written");
        }
        engine.write(&batch).expect("applied");
    }

    fn holders(engine: &MemEngine) -> Vec<u128> {
        let mut it = engine.iter(Cf::Lock, IterOptions::default());
        let mut found = Vec::new();
        it.seek_to_first();
        while it.valid() {
            found.push(LockRecord::decode(it.value()).expect("a lock").txn.0);
            it.next();
        }
        found
    }

    fn value(engine: &MemEngine, n: u32, at: u64) -> Seen {
        get(engine, &key(n), ts(at), GetOptions::default()).expect("read").seen
    }

    #[test]
    fn neighbours_go_by_one_deletion_and_others_stay() {
        let engine = MemEngine::new();
        intend(&engine, 1, 5, (0..300).filter(|n| *n != 100));
        intend(&engine, 2, 5, 100..101);
        // Moved up since: this one is not where the transaction commits.
        intend(&engine, 1, 4, 400..401);
        let mut batch = WriteBatch::new();
        let commit = Resolution::Commit { at: ts(5), epoch: 0 };
        let rest = resolve_span(&engine, &mut batch, &span(), TxnId(1), commit, ALL).expect("resolved");
        assert_eq!(rest, None);
        let ranges = batch.ops().filter(|op| matches!(op, BatchOp::DeleteRange { .. })).count();
        assert_eq!((ranges, batch.len()), (2, 4), "two runs, and a version that moves");
        engine.write(&batch).expect("applied");
        assert_eq!(holders(&engine), [2]);
        for n in [0, 99, 101, 299, 400] {
            assert!(matches!(value(&engine, n, 5), Seen::Value(_, at) if at == ts(5)), "{n}");
        }
        assert!(matches!(value(&engine, 100, 5), Seen::Locked(_)));
    }

    #[test]
    fn a_limit_says_where_to_go_on() {
        let engine = MemEngine::new();
        intend(&engine, 1, 5, 0..100);
        let mut rest = Some(key(0));
        let mut commands = 0;
        while let Some(from) = rest {
            let mut batch = WriteBatch::new();
            let left = Span::new(from, key(1000));
            let limits = ResolveLimits { intents: 30, bytes: usize::MAX };
            rest = resolve_span(&engine, &mut batch, &left, TxnId(1), Resolution::Abort, limits)
                .expect("resolved");
            engine.write(&batch).expect("applied");
            commands += 1;
        }
        assert_eq!((commands, holders(&engine).len()), (4, 0));
        assert_eq!(value(&engine, 50, 9), Seen::Nothing);
    }

    #[test]
    fn a_run_ends_where_another_transaction_holds_a_key() {
        let engine = MemEngine::new();
        intend(&engine, 1, 5, (0..20).filter(|n| *n != 10));
        intend(&engine, 2, 5, 10..11);
        let last = |from: u32, limit| last_of_run(&engine, &key(from), &key(1000), TxnId(1), limit);
        assert_eq!(last(3, 100).expect("read"), Some(key(9)));
        assert_eq!(last(3, 4).expect("read"), Some(key(6)));
        assert_eq!(last(10, 100).expect("read"), None);
        assert_eq!(last(11, 100).expect("read"), Some(key(19)));
        assert_eq!(last(30, 100).expect("read"), None);
    }
}
