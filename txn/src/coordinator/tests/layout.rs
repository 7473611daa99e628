//! What is wrong with ranges and locks is found, and nothing else.

use meridian_storage::base::keys::meta_key;
use meridian_storage::base::{RangeId, TxnId};
use meridian_storage::engine::{Cf, WriteBatch};
use meridian_storage::mvcc::{LockRecord, LockStrength, lock};
use meridian_storage::replica::{RangeDescriptor, Replica};

use super::*;
use crate::rpc::{BatchRequest, Header, KeySender, Request};
use crate::testing::LocalNode;

const LONG: Duration = Duration::from_secs(60);

fn node(runtime: &SimRuntime) -> LocalNode {
    local_node(runtime, Hlc::new(runtime.clock(), Duration::ZERO, true))
}

#[test]
fn ranges_without_gap_or_overlap_are_in_order() {
    let runtime = SimRuntime::new(1);
    let db = node(&runtime).db;
    runtime.block_on(async {
        assert_eq!(db.check_layout(db.clock().now()).await.expect("an answer"), (vec![], 1));
        for key in ["m", "f", "x"] {
            db.split_at(table(key)).await.expect("split");
        }
        assert_eq!(db.check_layout(db.clock().now()).await.expect("an answer"), (vec![], 4));
    });
}

#[test]
fn whoever_has_not_heard_of_a_split_asks_the_right_half() {
    let runtime = SimRuntime::new(1);
    let cluster = Cluster::new(&runtime, 2);
    let (here, there) = (&cluster.gateways[0], &cluster.gateways[1]);
    runtime.block_on(async {
        there.range_stats(&table("n")).await.expect("an answer");
        here.split_at(table("m")).await.expect("split");
        let (found, _) = there.range_stats(&table("n")).await.expect("an answer");
        assert_eq!(found.start, table("m"));
        // Nor has `meta` heard of this one.
        let requests = vec![Request::AdminSplit { key: table("p"), right: RangeId(77) }];
        let batch = BatchRequest { header: Header::default(), requests };
        here.router().send_to_key(table("p"), batch).await.expect("split");
        let (found, _) = there.range_stats(&table("q")).await.expect("an answer");
        assert_eq!(found.range, RangeId(77));
    });
}

#[test]
fn a_range_that_meta_does_not_know_is_found() {
    let runtime = SimRuntime::new(1);
    let db = node(&runtime).db;
    runtime.block_on(async {
        db.split_at(table("m")).await.expect("split");
        let before = db.clock().now();
        let txn = begin(&db);
        txn.delete(meta_key(&table("m")));
        txn.commit().await.expect("nobody is in the way");
        let (wrong, ranges) = db.check_layout(db.clock().now()).await.expect("an answer");
        assert_eq!(ranges, 2);
        assert_eq!(wrong, [format!("no range is known to hold the keys from \"\" to {}", table("m"))]);
        assert_eq!(db.check_layout(before).await.expect("an answer").0, Vec::<String>::new());
    });
}

#[test]
fn what_meta_has_not_heard_of_for_long_is_found() {
    let runtime = SimRuntime::new(1);
    let db = node(&runtime).db;
    runtime.block_on(async {
        db.split_at(table("m")).await.expect("split");
        let (right, _) = db.range_stats(&table("m")).await.expect("an answer");
        let mut outdated = right.clone();
        outdated.generation -= 1;
        for descriptor in [&outdated, &right] {
            let txn = begin(&db);
            txn.put(meta_key(&right.end), descriptor.encode().into());
            txn.commit().await.expect("nobody is in the way");
            let before = db.clock().now();
            let (wrong, _) = db.check_settled_layout(LONG).await.expect("an answer");
            if *descriptor == right {
                assert_eq!(wrong, Vec::<String>::new());
            } else {
                assert_eq!(wrong, [format!("meta has {outdated:?} for what is served as {right:?}")]);
                assert!(
                    db.clock().now().wall - before.wall >= LONG.as_nanos() as u64,
                    "it may be on its way"
                );
            }
        }
    });
}

#[test]
fn a_range_that_meta_knows_to_overlap_another_is_found() {
    let runtime = SimRuntime::new(1);
    let db = node(&runtime).db;
    runtime.block_on(async {
        db.split_at(table("m")).await.expect("split");
        let (served, _) = db.range_stats(&table("m")).await.expect("an answer");
        let right = RangeDescriptor { start: table("k"), ..served.clone() };
        let txn = begin(&db);
        txn.put(meta_key(&right.end), right.encode().into());
        txn.commit().await.expect("nobody is in the way");
        let (wrong, _) = db.check_layout(db.clock().now()).await.expect("an answer");
        let overlaps = format!(
            "{} begins at {}, and the range before it ends at {}",
            right.range,
            table("k"),
            table("m")
        );
        let differs = format!("meta has {right:?} for what is served as {served:?}");
        assert_eq!(wrong, [overlaps, differs]);
    });
}

#[test]
fn a_lock_whose_transaction_is_gone_is_found() {
    let runtime = SimRuntime::new(1);
    let node = node(&runtime);
    let db = node.db.clone();
    runtime.block_on(async {
        // One that is open for long, and is spoken for.
        let open = begin(&db);
        open.put(table("a"), "1".into());
        open.flush().await.expect("nobody is in the way");
        let record = LockRecord {
            txn: TxnId(77),
            anchor: table("b"),
            epoch: 0,
            write_ts: db.clock().now(),
            strength: LockStrength::Exclusive,
            seq: 0,
        };
        let mut damage = WriteBatch::new();
        for (key, strength) in [("b", LockStrength::Exclusive), ("c", LockStrength::Shared)] {
            let record = LockRecord { strength, ..record.clone() };
            damage.put(Cf::Lock, &lock::lock_key(&table(key), strength, record.txn), &record.encode());
        }
        node.replica.engine().write(&damage).expect("memory");
        assert_eq!(db.left_over_locks(LONG).await.expect("an answer"), [], "they are young");
        // The lock of one whose snapshot is old, and that ends while somebody looks.
        let long = LockRecord { txn: TxnId(78), anchor: table("d"), ..record.clone() };
        let lock = lock::lock_key(&table("d"), LockStrength::Exclusive, long.txn);
        let mut locked = WriteBatch::new();
        locked.put(Cf::Lock, &lock, &long.encode());
        db.runtime().sleep(2 * LONG).await;
        node.replica.engine().write(&locked).expect("memory");
        let (engine, soon) = (node.replica.engine().clone(), db.runtime().sleep(Duration::from_secs(1)));
        let resolves = async {
            soon.await;
            let mut resolved = WriteBatch::new();
            resolved.delete(Cf::Lock, &lock);
            engine.write(&resolved).expect("memory");
        };
        let (found, ()) = futures::future::join(db.left_over_locks(LONG), resolves).await;
        let found = found.expect("an answer");
        let keys: Vec<_> = found.iter().map(|l| (l.lock.key.clone(), l.lock.txn)).collect();
        assert_eq!(keys, [(table("b"), TxnId(77)), (table("c"), TxnId(77))], "{found:?}");
        open.commit().await.expect("it is alive");
    });
}
