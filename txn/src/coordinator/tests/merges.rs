//! Ranges that become one under those who use them.

use std::sync::Arc;

use meridian_storage::base::NodeId;
use meridian_storage::base::keys::meta_key;

use super::*;
use crate::route::RouterParts;
use crate::testing::{FixedSeeds, NoTransport, first_range, run};

/// Of what the right range's leaseholder has served, the merged range remembers nothing.
#[test]
fn a_write_goes_above_the_merge() {
    let runtime = SimRuntime::new(1);
    let clock = Hlc::new(runtime.clock(), Duration::ZERO, true);
    let node = local_node(&runtime, clock.clone());
    runtime.block_on(async {
        node.db.split_at(table("m")).await.expect("split");
        for k in ["a", "x"] {
            set(&node.db, &table(k), "1").await;
        }
        for (k, before) in [("x", true), ("a", false)] {
            let early = begin(&node.db);
            runtime.sleep(Duration::from_millis(5)).await;
            if before {
                node.db.merge_at(table("m")).await.expect("merged");
            }
            let merged = clock.now();
            early.put(table(k), "2".into());
            let committed = early.commit().await.expect("commit").timestamp;
            // Only what began before the merge must move.
            assert_eq!(committed.wall + 1_000_000 > merged.wall, before, "{committed} {merged}");
        }
        assert_eq!(node.db.ranges().await.expect("ranges").len(), 1);
    });
}

/// A gateway that knows the two ranges only is told of the one.
#[test]
fn who_asks_for_the_right_range_is_told_of_the_merged_one() {
    let runtime = SimRuntime::new(1);
    let clock = Hlc::new(runtime.clock(), Duration::ZERO, true);
    let node = local_node(&runtime, clock.clone());
    let other = Db::new(RouterParts {
        node: NodeId(1),
        clock,
        runtime: Arc::new(runtime.clone()),
        transport: Arc::new(NoTransport),
        seeds: Arc::new(FixedSeeds(first_range())),
    });
    other.router().set_local(node.participant.clone());
    runtime.block_on(async {
        let db = &node.db;
        for at in ["d", "m", "t"] {
            db.split_at(table(at)).await.expect("split");
        }
        assert_eq!(read(&other, &table("p")).await, None);
        let right = other.router().route(&table("m")).await.expect("there").descriptor.clone();
        let txn = begin(&other);
        txn.put(table("p"), "1".into());
        db.merge_at(table("m")).await.expect("merged");
        assert_eq!(other.router().cached(&table("p")).expect("cached").descriptor, right, "old news");
        txn.commit().await.expect("commit");
        let merged = other.router().route(&table("m")).await.expect("there").descriptor.clone();
        assert!(merged.range != right.range && merged.generation > right.generation);
        assert_eq!((&merged.start, &merged.end), (&table("d"), &table("t")));
        assert_eq!(read(db, &table("p")).await.as_deref(), Some("1"));
        db.merge_at(table("m")).await.expect("no range begins there any more");
        db.split_at(table("m")).await.expect("split again");
        db.merge_at(table("d")).await.expect("merged");
        assert_eq!(db.ranges().await.expect("ranges").len(), 3);
    });
}

/// Descriptors that were true once are published late, by somebody who has slept.
#[test]
fn meta_describes_every_key_once() {
    run(async |db| {
        let mut old = Vec::new();
        for at in ["d", "m", "t"] {
            db.split_at(table(at)).await.expect("split");
            old.extend(db.ranges().await.expect("ranges"));
        }
        for at in ["m", "d", "t"] {
            db.merge_at(table(at)).await.expect("merged");
            old.extend(db.ranges().await.expect("ranges"));
            for descriptor in &old {
                db.publish(std::slice::from_ref(descriptor)).await.expect("published");
                let ranges = db.ranges().await.expect("ranges");
                let adjoin = ranges.windows(2).all(|w| w[0].end == w[1].start);
                assert!(adjoin && ranges[0].start.is_empty(), "{descriptor:?} {ranges:?}");
            }
        }
        assert_eq!(db.ranges().await.expect("ranges").len(), 1);
        assert!(get(&begin(&db), &meta_key(&table("m"))).await.is_none());
    });
}

/// Whoever waits for a lock in the right range waits on in the merged one.
#[test]
fn what_waits_goes_on_waiting() {
    let runtime = SimRuntime::new(1);
    let (db, _) = local_db(&runtime);
    runtime.block_on(async {
        db.split_at(table("m")).await.expect("split");
        set(&db, &table("x"), "1").await;
        let holder = begin(&db);
        let txn = begin(&db);
        holder.put(table("x"), "2".into());
        holder.put(table("a"), "2".into());
        let waiting = async {
            txn.put(table("x"), "3".into());
            txn.commit().await
        };
        let merging = async {
            db.merge_at(table("m")).await.expect("merged");
            holder.commit().await
        };
        let (waited, held) = futures::join!(waiting, merging);
        assert!(waited.is_ok() || held.is_ok());
        assert!(matches!(read(&db, &table("x")).await.as_deref(), Some("2" | "3")));
    });
}
