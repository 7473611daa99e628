//! Whether the ranges are all there, and nothing lies about in them: for those who look whether all is well.
//!
//! What must stay true: nothing here changes anything. In particular nobody is pushed, so that what is found is what was
//! left, and not what the looking has cleared away.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meridian_storage::base::keys::{META1, SYSTEM, max_key, meta_key, min_key};
use meridian_storage::base::{Key, Span, Timestamp, TxnId};
use meridian_storage::replica::RangeDescriptor;

use super::{Db, ScanOptions, TxnOptions, TxnResult};
use crate::rpc::{
    BatchRequest, Header, Isolation, KeySender, KvError, OldLock, Request, Response, TxnMeta, codec,
};

/// A transaction that has just ended resolves its locks within this time.
const UNTIL_A_SECOND_LOOK: Duration = Duration::from_secs(3);

/// A lock in the engine whose transaction has ended, or is nowhere to be found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeftOver {
    pub lock: OldLock,
    /// What is known of its transaction.
    pub why: String,
}

impl Db {
    /// As [`Self::check_layout`] finds it when it had `patience` to become right: ranges split and move while one looks,
    /// and `meta` hears of it a little later.
    pub async fn check_settled_layout(&self, patience: Duration) -> TxnResult<(Vec<String>, usize)> {
        const AGAIN: Duration = Duration::from_millis(500);
        let mut left = patience;
        loop {
            let found = self.check_layout(self.clock().now()).await?;
            if found.0.is_empty() || left.is_zero() {
                return Ok(found);
            }
            self.runtime().sleep(AGAIN.min(left)).await;
            left = left.saturating_sub(AGAIN);
        }
    }

    /// Whether the descriptors in `meta` were one behind the other at `at`, from the first key to the last; and whether
    /// they are now, as those say who serve them, and are the same. Answers what is not so, and how many ranges there are.
    pub async fn check_layout(&self, at: Timestamp) -> TxnResult<(Vec<String>, usize)> {
        let (known, mut wrong) = self.check_meta(at).await?;
        let mut ranges = 0;
        let mut next = min_key();
        while next < max_key() {
            let (descriptor, _) = self.range_stats(&next).await?;
            // A range may have come to reach further down since its neighbour was asked.
            if !descriptor.contains(&next) {
                wrong.push(format!(
                    "{} serves {:?}, which is not its own: {:?}",
                    descriptor.range, next, descriptor
                ));
                break;
            }
            if descriptor.voters().next().is_none() {
                wrong.push(format!("{} has no voters: {descriptor:?}", descriptor.range));
            }
            // That there is none is found by the keys that nothing is known to hold.
            if let Some(known) = known.get(&descriptor.end).filter(|known| **known != descriptor) {
                wrong.push(format!("meta has {known:?} for what is served as {descriptor:?}"));
            }
            ranges += 1;
            next = descriptor.end;
        }
        Ok((wrong, ranges))
    }

    /// What `meta` held at `at`, by the keys where the ranges end, and what is wrong with it.
    async fn check_meta(&self, at: Timestamp) -> TxnResult<(BTreeMap<Key, RangeDescriptor>, Vec<String>)> {
        let (mut known, mut wrong) = (BTreeMap::new(), Vec::new());
        let txn = self.begin(TxnOptions { read_only: true, as_of: Some(at), ..TxnOptions::default() });
        let meta = Span::new(Key::from(&[META1][..]), Key::from(&[SYSTEM][..]));
        let mut scanner = txn.scan(meta, ScanOptions::default());
        let mut next = min_key();
        while let Some(block) = scanner.next_block().await? {
            for row in 0..block.len() {
                let key = Key::new(block.key_bytes(row));
                match codec::decode_descriptor(block.value_bytes(row)) {
                    Ok(found) => {
                        next = follow(&key, &found, &next, &mut wrong);
                        known.insert(found.end.clone(), found);
                    }
                    Err(_) => wrong.push(format!("the descriptor at {key} cannot be decoded")),
                }
            }
        }
        if next != max_key() {
            wrong.push(format!("no range is known to hold the keys from {next} to {}", max_key()));
        }
        Ok((known, wrong))
    }

    /// The locks that stand in the engines for longer than `older` although their transactions have ended, or have not
    /// been heard of for as long. A lock bears the time at which its transaction reads, not that of its own writing: what
    /// looks left over is asked for a second time after a while.
    pub async fn left_over_locks(&self, older: Duration) -> TxnResult<Vec<LeftOver>> {
        let first = self.seem_left_over(older).await?;
        if first.is_empty() {
            return Ok(first);
        }
        self.runtime().sleep(older.min(UNTIL_A_SECOND_LOOK)).await;
        let first: BTreeSet<_> = first.into_iter().map(identity).collect();
        let second = self.seem_left_over(older).await?;
        Ok(second.into_iter().filter(|l| first.contains(&identity(l.clone()))).collect())
    }

    async fn seem_left_over(&self, older: Duration) -> TxnResult<Vec<LeftOver>> {
        let now = self.clock().now();
        let before = Timestamp::new(now.wall.saturating_sub(older.as_nanos() as u64), 0);
        let (mut found, mut next) = (Vec::new(), min_key());
        while next < max_key() {
            let header = Header { gateway: self.node(), ..Header::default() };
            let requests = vec![Request::OldLocks { before, from: next.clone() }];
            let answer = self.router().send_to_key(next, BatchRequest { header, requests }).await?;
            let Some(Response::Locks { locks, resume }) = answer.responses.into_iter().next() else {
                return Err(KvError::internal("old locks were answered with something else").into());
            };
            for lock in locks {
                if let Some(why) = self.why_left_over(&lock, before).await? {
                    found.push(LeftOver { lock, why });
                }
            }
            next = resume;
        }
        Ok(found)
    }

    /// `None` if the lock's transaction goes on.
    async fn why_left_over(&self, lock: &OldLock, before: Timestamp) -> TxnResult<Option<String>> {
        let txn = TxnMeta {
            id: lock.txn,
            anchor: lock.anchor.clone(),
            epoch: lock.epoch,
            sequence: 0,
            priority: 0,
            isolation: Isolation::Serializable,
            min_ts: lock.write_ts,
            read_ts: lock.write_ts,
            write_ts: lock.write_ts,
        };
        let header = Header { gateway: self.node(), ..Header::default() };
        let batch = BatchRequest { header, requests: vec![Request::QueryTxn { txn }] };
        let answer = self.router().send_to_key(lock.anchor.clone(), batch).await?;
        let Some(Response::Record { record, .. }) = answer.responses.into_iter().next() else {
            return Err(KvError::internal("a record was answered with something else").into());
        };
        Ok(match record {
            None => Some("it has no record".into()),
            Some(record) if record.status.is_final() => Some(format!("it is {:?}", record.status)),
            Some(record) if record.heartbeat < before => {
                Some(format!("it is {:?}, and was last heard of at {}", record.status, record.heartbeat))
            }
            Some(_) => None,
        })
    }
}

fn identity(left: LeftOver) -> (Key, TxnId, u32) {
    (left.lock.key, left.lock.txn, left.lock.epoch)
}

/// Holds a descriptor against the one before, which ends at `next`; where this one ends.
fn follow(key: &Key, found: &RangeDescriptor, next: &Key, wrong: &mut Vec<String>) -> Key {
    if *key != meta_key(&found.end) {
        wrong.push(format!("the descriptor at {key} ends at {}: {found:?}", found.end));
    }
    if found.start > *next {
        wrong.push(format!("no range is known to hold the keys from {next} to {}", found.start));
    } else if found.start < *next {
        wrong.push(format!(
            "{} begins at {}, and the range before it ends at {next}",
            found.range, found.start
        ));
    }
    found.end.clone()
}
