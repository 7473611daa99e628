//! How recent transactions ended, and how far pending ones were pushed: what a record would say of those that have none.
//!
//! It keeps a commit in one phase from being applied twice, and a transaction that was given up from writing its
//! record after all. What must stay true: a transaction that began after [`Outcomes::floor`] (and after the range's
//! lease) and is not here has not ended. Memory is bounded: what is forgotten raises the floor to the beginning of the
//! youngest transaction forgotten.

use meridian_storage::base::{Timestamp, TxnId};
use parking_lot::Mutex;
use rustc_hash::FxHashMap;

use crate::eval::Outcome;

const SHARDS: usize = 32;

#[derive(Clone, Copy)]
struct Entry {
    outcome: Option<Outcome>,
    /// It may have ended; nobody here knows.
    in_doubt: bool,
    pushed: Timestamp,
}

#[derive(Default)]
struct Shard {
    floor: Timestamp,
    current: FxHashMap<TxnId, Entry>,
    previous: FxHashMap<TxnId, Entry>,
    /// The latest beginning of a transaction in each page.
    current_youngest: Timestamp,
    previous_youngest: Timestamp,
}

pub struct Outcomes {
    shards: Vec<Mutex<Shard>>,
    per_page: usize,
}

impl Outcomes {
    /// Remembers at least the last `transactions`.
    pub fn new(transactions: usize) -> Self {
        Outcomes {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            per_page: (transactions / SHARDS).max(1),
        }
    }

    pub fn finish(&self, txn: TxnId, min_ts: Timestamp, outcome: Outcome) {
        self.change(txn, min_ts, |entry| entry.outcome = Some(outcome));
    }

    /// A command that would have ended the transaction has got lost.
    pub fn doubt(&self, txn: TxnId, min_ts: Timestamp) {
        self.change(txn, min_ts, |entry| entry.in_doubt = true);
    }

    pub fn is_in_doubt(&self, txn: TxnId) -> bool {
        self.find(txn).is_some_and(|e| e.in_doubt)
    }

    /// The transaction must commit at or above this time.
    pub fn push(&self, txn: TxnId, min_ts: Timestamp, above: Timestamp) {
        self.change(txn, min_ts, |entry| {
            entry.pushed.forward(above);
        });
    }

    pub fn outcome(&self, txn: TxnId) -> Option<Outcome> {
        self.find(txn)?.outcome
    }

    pub fn pushed(&self, txn: TxnId) -> Timestamp {
        self.find(txn).map_or(Timestamp::ZERO, |e| e.pushed)
    }

    /// Transactions that began at or before this may have been forgotten.
    pub fn floor(&self, txn: TxnId) -> Timestamp {
        self.shard(txn).lock().floor
    }

    fn shard(&self, txn: TxnId) -> &Mutex<Shard> {
        &self.shards[(txn.0 >> 64) as usize % SHARDS]
    }

    fn find(&self, txn: TxnId) -> Option<Entry> {
        let shard = self.shard(txn).lock();
        shard.current.get(&txn).or_else(|| shard.previous.get(&txn)).copied()
    }

    fn change(&self, txn: TxnId, min_ts: Timestamp, f: impl FnOnce(&mut Entry)) {
        let mut shard = self.shard(txn).lock();
        if !shard.current.contains_key(&txn) && shard.current.len() >= self.per_page {
            shard.rotate();
        }
        let known = shard.previous.get(&txn).copied();
        let entry = shard.current.entry(txn).or_insert_with(|| {
            known.unwrap_or(Entry { outcome: None, in_doubt: false, pushed: Timestamp::ZERO })
        });
        f(entry);
        shard.current_youngest.forward(min_ts);
    }
}

impl Shard {
    fn rotate(&mut self) {
        self.floor.forward(self.previous_youngest);
        std::mem::swap(&mut self.current, &mut self.previous);
        self.previous_youngest = std::mem::take(&mut self.current_youngest);
        self.current.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_is_below_the_floor() {
        let outcomes = Outcomes::new(SHARDS * 2);
        let ts = |n: u128| Timestamp::new(n as u64, 0);
        for n in 1..1000u128 {
            outcomes.finish(TxnId(n), ts(n), Outcome::Committed(ts(n)));
        }
        let mut forgotten = 0;
        for n in 1..1000u128 {
            match outcomes.outcome(TxnId(n)) {
                Some(outcome) => assert_eq!(outcome, Outcome::Committed(ts(n))),
                None => {
                    forgotten += 1;
                    assert!(ts(n) <= outcomes.floor(TxnId(n)), "{n}");
                }
            }
        }
        assert!(forgotten > 500);
    }
}
