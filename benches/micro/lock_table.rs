//! The lock table of a range; the unit is one call, or one pair of calls where a lock is taken and given up.
//!
//! A table that is empty answers without its mutex; one with locks is measured with many others held, as on a busy range.

use std::cell::LazyCell;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use meridian_storage::base::{Key, NodeId, Timestamp, TxnId, keys};
use meridian_txn::eval::Want;
use meridian_txn::participant::lock_table::LockTable;
use meridian_txn::rpc::TxnMeta;
use meridian_txn::{Isolation, LockStrength};

/// Locks of other transactions in the same range, one each.
const OTHERS: u64 = 10_000;
const NOW: Timestamp = Timestamp::new(1_700_000_000_000_000_000, 0);

fn key(n: u64) -> Key {
    let mut key = keys::index_prefix(1000, 1).to_vec();
    key.extend_from_slice(&n.to_be_bytes());
    key.into()
}

fn txn(n: u64) -> Arc<TxnMeta> {
    Arc::new(TxnMeta {
        id: TxnId::new(u128::from(n) + 1, NodeId(1)),
        anchor: key(n),
        epoch: 0,
        sequence: 0,
        priority: 0,
        isolation: Isolation::default(),
        min_ts: NOW,
        read_ts: NOW,
        write_ts: NOW,
    })
}

/// The even keys are held.
fn busy() -> Arc<LockTable> {
    let table = LockTable::new();
    (0..OTHERS).for_each(|n| table.acquire(&key(2 * n), &txn(n), LockStrength::Update, NOW));
    table
}

pub fn benches(c: &mut Criterion) {
    let (free, held) = (key(OTHERS + 1), key(OTHERS));
    let (me, want) = (txn(OTHERS), Want::Lock(LockStrength::Update));
    let busy = LazyCell::new(busy);
    let mut group = c.benchmark_group("lock_table");
    group.throughput(Throughput::Elements(1));

    let empty = LockTable::new();
    let acquire_release = |table: &LockTable| {
        table.acquire(&free, &me, LockStrength::Update, NOW);
        table.release(me.id, &[]);
    };
    group.bench_function("acquire_release/alone", |b| b.iter(|| acquire_release(&empty)));
    group.bench_function("acquire_release/among_others", |b| b.iter(|| acquire_release(&busy)));

    let check = |table: &LockTable, key| table.check(key, want, Some(me.id), &[]);
    group.bench_function("check/empty_table", |b| b.iter(|| assert!(check(&empty, &free).is_none())));
    group.bench_function("check/free_key", |b| b.iter(|| assert!(check(&busy, &free).is_none())));
    group.bench_function("check/held_key", |b| b.iter(|| assert!(check(&busy, &held).is_some())));
    group.finish();
}
