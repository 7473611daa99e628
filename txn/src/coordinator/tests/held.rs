//! Below SERIALIZABLE: what a commit proves of its locks, and that it gets done.

use super::*;

/// A child row is written under a lock on its parent, the parent is deleted under a lock that must keep children out; and in
/// between the locks are lost. Only one of them commits.
#[test]
fn below_serializable_a_commit_finds_out_that_its_locks_were_lost() {
    for child_first in [false, true] {
        let runtime = SimRuntime::new(1);
        let node = local_node(&runtime, Hlc::new(runtime.clock(), Duration::ZERO, true));
        let db = node.db.clone();
        let (parent, children) = (table("a"), Span::new(table("c"), table("d")));
        let outcome = runtime.block_on(async {
            set(&db, &parent, "p").await;
            db.split_at(table("b")).await.expect("split");
            let child = begin_at(&db, Isolation::ReadCommitted);
            let found = child.get_locked(&parent, LockStrength::KeyShare, WaitPolicy::Block).await;
            assert!(found.expect("free").is_some());
            child.put(table("c1"), "c".into());

            node.replica.lose_lease();
            node.replica.acquire_lease(db.clock().now());

            let delete = begin_at(&db, Isolation::ReadCommitted);
            let lock = (LockStrength::Update, WaitPolicy::Block);
            delete.get_locked(&parent, lock.0, lock.1).await.expect("the lock was lost");
            let options = ScanOptions { lock: Some(lock), newest: true, ..ScanOptions::default() };
            let rows = delete.scan(children.clone(), options).collect().await.expect("scan");
            assert!(rows.is_empty(), "the child is not there yet");
            delete.delete(parent.clone());

            let (first, second) = if child_first { (child, delete) } else { (delete, child) };
            [first.commit().await, second.commit().await]
        });
        one_of_two(outcome, child_first);
    }
}

fn one_of_two(outcomes: [TxnResult<CommitOutcome>; 2], what: impl std::fmt::Debug) {
    let mut codes = outcomes.map(|o| o.err().map(|e| e.sqlstate()));
    codes.sort();
    assert_eq!(codes, [None, Some("40001")], "{what:?}");
}

/// As above, but what refers to the parent is looked for in the whole of a table, in which others write, too: only the
/// locks can tell.
#[test]
fn a_commit_that_rests_on_locks_alone_finds_out_that_they_were_lost() {
    for isolation in [Isolation::ReadCommitted, Isolation::Snapshot, Isolation::Serializable] {
        for flags in 0..16u8 {
            let [child_first, child_begins_first, one_range, goes_on] =
                [1, 2, 4, 8].map(|bit| flags & bit != 0);
            let order = Order { child_first, child_begins_first, one_range, goes_on };
            one_of_two(delete_beside_child(isolation, &order), (isolation, order));
        }
    }
}

#[derive(Debug)]
struct Order {
    /// To commit.
    child_first: bool,
    child_begins_first: bool,
    /// Parents and children are in the same.
    one_range: bool,
    /// Who deletes has a later statement, and commits at its time.
    goes_on: bool,
}

/// What became of the two.
fn delete_beside_child(isolation: Isolation, order: &Order) -> [TxnResult<CommitOutcome>; 2] {
    let Order { child_first, child_begins_first, one_range, goes_on } = *order;
    let runtime = SimRuntime::new(1);
    let node = local_node(&runtime, Hlc::new(runtime.clock(), Duration::ZERO, true));
    let db = node.db.clone();
    let (parent, children) = (table("a"), Span::new(table("c"), table("d")));
    runtime.block_on(async {
        set(&db, &parent, "p").await;
        if !one_range {
            db.split_at(table("b")).await.expect("split");
        }
        let child = begin_at(&db, isolation);
        let delete = begin_at(&db, Isolation::ReadCommitted);
        let write_child = async || {
            let found = child.get_locked(&parent, LockStrength::KeyShare, WaitPolicy::Block).await;
            assert!(found.expect("free").is_some());
            child.put(table("c1"), "c".into());
        };
        let delete_parent = async || {
            let found = delete.get_locked(&parent, LockStrength::Update, WaitPolicy::Block).await;
            assert!(found.expect("free").is_some());
            let options = ScanOptions { newest: true, ..ScanOptions::default() };
            let rows = delete.scan(children.clone(), options).collect().await.expect("scan");
            assert!(rows.is_empty(), "the child is not there yet");
            delete.delete(parent.clone());
        };
        if child_begins_first {
            write_child().await;
        } else {
            delete_parent().await;
        }
        node.replica.lose_lease();
        node.replica.acquire_lease(db.clock().now());
        if child_begins_first {
            delete_parent().await;
        } else {
            write_child().await;
        }
        // Others write there all the time.
        set(&db, &table("c9"), "x").await;
        if goes_on {
            delete.begin_statement();
        }
        if child_first {
            [child.commit().await, delete.commit().await]
        } else if child_begins_first {
            [delete.commit().await, child.commit().await]
        } else {
            // It waits for the lock that the child has.
            let (delete, child) = futures::join!(delete.commit(), child.commit());
            [child, delete]
        }
    })
}

/// What was locked more and more strongly was held all the time.
#[test]
fn a_lock_that_is_strengthened_is_not_lost() {
    run(async |db| {
        let parent = table("a");
        set(&db, &parent, "p").await;
        for isolation in [Isolation::ReadCommitted, Isolation::Snapshot] {
            for spill in [false, true] {
                let txn = begin_at(&db, isolation);
                for strength in [LockStrength::KeyShare, LockStrength::NoKeyUpdate, LockStrength::Update] {
                    txn.get_locked(&parent, strength, WaitPolicy::Block).await.expect("free");
                    txn.put(parent.clone(), "q".into());
                    if spill && strength < LockStrength::Update {
                        txn.flush().await.expect("spill");
                    }
                }
                let options = ScanOptions { newest: true, ..ScanOptions::default() };
                txn.scan(Span::new(table("c"), table("d")), options).collect().await.expect("scan");
                txn.delete(parent.clone());
                txn.put(parent.clone(), "r".into());
                txn.commit().await.expect("nothing was lost");
            }
        }
    });
}

/// A row is updated and spilled beside a reference to it; its deletion is locked and looked into under a lease that ends.
#[test]
fn an_intent_to_update_is_no_lock_against_references() {
    let runtime = SimRuntime::new(1);
    let node = local_node(&runtime, Hlc::new(runtime.clock(), Duration::ZERO, true));
    let db = node.db.clone();
    let move_lease = || {
        node.replica.lose_lease();
        node.replica.acquire_lease(db.clock().now());
    };
    let parent = table("a");
    let outcomes = runtime.block_on(async {
        set(&db, &parent, "p").await;
        let child = begin_at(&db, Isolation::ReadCommitted);
        child.get_locked(&parent, LockStrength::KeyShare, WaitPolicy::Block).await.expect("free");
        child.put(table("c1"), "c".into());
        let delete = begin_at(&db, Isolation::ReadCommitted);
        delete.get_locked(&parent, LockStrength::NoKeyUpdate, WaitPolicy::Block).await.expect("free");
        delete.put(parent.clone(), "q".into());
        delete.flush().await.expect("spill");
        move_lease();
        delete.get_locked(&parent, LockStrength::Update, WaitPolicy::Block).await.expect("lost");
        let options = ScanOptions { newest: true, ..ScanOptions::default() };
        delete.scan(Span::new(table("c"), table("d")), options).collect().await.expect("scan");
        delete.delete(parent.clone());
        move_lease();
        [child.commit().await, delete.commit().await]
    });
    one_of_two(outcomes, "two leases");
}

/// A deletion cascades to a row that is locked by the scan that finds it.
#[test]
fn a_lock_of_a_scan_is_as_good() {
    for lost in [false, true] {
        let runtime = SimRuntime::new(1);
        let node = local_node(&runtime, Hlc::new(runtime.clock(), Duration::ZERO, true));
        let db = node.db.clone();
        let line = table("a1");
        let outcome = runtime.block_on(async {
            set(&db, &line, "l").await;
            let delete = begin_at(&db, Isolation::ReadCommitted);
            let lock = Some((LockStrength::Update, WaitPolicy::Block));
            let lines = ScanOptions { lock, newest: true, ..ScanOptions::default() };
            let rows = delete.scan(Span::new(table("a"), table("b")), lines).collect().await.expect("free");
            assert_eq!(rows.len(), 1);
            let all = ScanOptions { newest: true, ..ScanOptions::default() };
            delete.scan(Span::new(table("c"), table("d")), all).collect().await.expect("scan");
            delete.delete(line.clone());
            if lost {
                node.replica.lose_lease();
                node.replica.acquire_lease(db.clock().now());
                let child = begin_at(&db, Isolation::ReadCommitted);
                child.get_locked(&line, LockStrength::KeyShare, WaitPolicy::Block).await.expect("lost");
                child.put(table("c1"), "c".into());
                child.commit().await.expect("nobody is in its way");
            }
            delete.commit().await
        });
        assert_eq!(outcome.err().map(|e| e.sqlstate()), lost.then_some("40001"));
    }
}

/// Whoever goes without a row that is locked does not hold it.
#[test]
fn a_skipped_row_is_not_held() {
    for isolation in [Isolation::ReadCommitted, Isolation::Snapshot, Isolation::Serializable] {
        for strength in [LockStrength::KeyShare, LockStrength::Update] {
            for many in [false, true] {
                run(async |db| {
                    let (job, other) = (table("a"), table("c"));
                    set(&db, &job, "j").await;
                    db.split_at(table("b")).await.expect("split");
                    let first = begin_at(&db, Isolation::ReadCommitted);
                    first.get_locked(&job, LockStrength::Update, WaitPolicy::Block).await.expect("free");
                    first.delete(job.clone());
                    let second = begin_at(&db, isolation);
                    if many {
                        let lock = Some((strength, WaitPolicy::Skip));
                        second.get_many(&[job.clone(), other.clone()], lock).await.expect("skipped");
                    } else {
                        second.get_locked(&job, strength, WaitPolicy::Skip).await.expect("skipped");
                    }
                    second.put(other.clone(), "x".into());
                    first.begin_statement();
                    first.commit().await.expect("committed");
                    second.commit().await.expect("it has to do with another row");
                });
            }
        }
    }
}

/// Nothing is lost, and others write where nothing was locked: nobody has to begin again.
#[test]
fn a_commit_that_rests_on_locks_alone_does_not_mind_what_others_do() {
    for spill in [false, true] {
        run(async |db| {
            let parent = table("a");
            set(&db, &parent, "p").await;
            db.split_at(table("b")).await.expect("split");
            let delete = begin_at(&db, Isolation::ReadCommitted);
            delete.get_locked(&parent, LockStrength::Update, WaitPolicy::Block).await.expect("free");
            let options = ScanOptions { newest: true, ..ScanOptions::default() };
            let children = Span::new(table("c"), table("d"));
            delete.scan(children, options).collect().await.expect("scan");
            delete.delete(parent.clone());
            delete.put(table("e"), "1".into());
            if spill {
                delete.flush().await.expect("spill");
            }
            set(&db, &table("c1"), "x").await;
            assert_eq!(read(&db, &parent).await.as_deref(), Some("p"));
            delete.commit().await.expect("it was never lost");
        });
    }
}

/// A row is locked, written and spilled, and the write is taken back; then the lock is lost.
#[test]
fn what_is_locked_is_held_when_a_savepoint_takes_its_intent_back() {
    for before_savepoint in [false, true] {
        for lost in [false, true] {
            for others in [1, 10] {
                let outcome = take_back(before_savepoint, lost, others);
                let code = outcome.err().map(|e| e.sqlstate());
                assert_eq!(code, lost.then_some("40001"), "{before_savepoint} {lost} {others}");
            }
        }
    }
}

/// With so many `others` spilled, intents are known one by one, or by spans.
fn take_back(before_savepoint: bool, lost: bool, others: usize) -> TxnResult<CommitOutcome> {
    let runtime = SimRuntime::new(1);
    let node = local_node(&runtime, Hlc::new(runtime.clock(), Duration::ZERO, true));
    let (db, row) = (node.db.clone(), table("a"));
    runtime.block_on(async {
        set(&db, &row, "0").await;
        let txn = begin_at(&db, Isolation::ReadCommitted);
        let lock = async || {
            txn.get_locked(&row, LockStrength::NoKeyUpdate, WaitPolicy::Block).await.expect("free");
        };
        if before_savepoint {
            lock().await;
        }
        let savepoint = txn.savepoint();
        lock().await;
        txn.put(row.clone(), "1".into());
        (0..others).for_each(|n| txn.put(table(&format!("b{n}")), "1".into()));
        txn.flush().await.expect("spill");
        txn.rollback_to(savepoint);
        assert_eq!(get(&txn, &row).await.as_deref(), Some("0"));
        if lost {
            node.replica.lose_lease();
            node.replica.acquire_lease(db.clock().now());
            set_under_lock(&db, &row, "2").await;
        }
        txn.put(table("c"), "1".into());
        txn.commit().await
    })
}

/// KEY SHARE keeps a row from being deleted, not from being updated; and what is locked again is as of then.
#[test]
fn a_row_under_key_share_may_be_updated() {
    run(async |db| {
        for k in ["a", "c"] {
            set(&db, &table(k), "0").await;
        }
        db.split_at(table("b")).await.expect("split");
        for isolation in [Isolation::ReadCommitted, Isolation::Snapshot] {
            let txn = begin_at(&db, isolation);
            let (a, wait) = (table("a"), WaitPolicy::Block);
            assert!(txn.get_locked(&a, LockStrength::KeyShare, wait).await.expect("free").is_some());
            txn.put(table("c"), "1".into());
            set_under_lock(&db, &a, "1").await;
            if isolation == Isolation::ReadCommitted {
                let newest = txn.get_locked(&a, LockStrength::NoKeyUpdate, wait).await.expect("free");
                assert_eq!(newest.as_deref(), Some(&b"1"[..]));
                txn.put(a.clone(), "2".into());
            }
            txn.commit().await.expect("the row is still there");
        }
    });
}

/// An update as SQL has it: its lock does not conflict with KEY SHARE.
async fn set_under_lock(db: &Db, key: &Key, value: &str) {
    let txn = begin(db);
    txn.get_locked(key, LockStrength::NoKeyUpdate, WaitPolicy::NoWait).await.expect("free");
    txn.put(key.clone(), Bytes::copy_from_slice(value.as_bytes()));
    txn.commit().await.expect("commit");
}

/// What the commit validates holds up to one time, and readers of what it writes push it above that, whenever it comes.
#[test]
fn readers_cannot_keep_a_commit_from_its_time_for_ever() {
    let runtime = SimRuntime::new(1);
    let cluster = Cluster::new(&runtime, 2);
    let [here, there] = &cluster.gateways[..] else { panic!("two gateways") };
    runtime.block_on(async {
        for k in ["a", "c", "d"] {
            set(here, &table(k), "0").await;
        }
        here.split_at(table("b")).await.expect("split");
        cluster.set_faults(Faults { delay: Duration::from_millis(5), ..Faults::default() });
        for writes in [&["c"][..], &["a", "c"], &["c", "d"]] {
            let txn = begin_at(there, Isolation::ReadCommitted);
            txn.get_locked(&table("a0"), LockStrength::Update, WaitPolicy::Block).await.expect("free");
            for k in writes {
                txn.get_locked(&table(k), LockStrength::Update, WaitPolicy::Block).await.expect("free");
                txn.put(table(k), "1".into());
            }
            let begun = runtime.clock().monotonic();
            let readers = async {
                loop {
                    for k in ["a", "c", "d"] {
                        let reader = begin(here);
                        let _ = reader.get(&table(k)).await;
                    }
                    runtime.sleep(Duration::from_micros(100)).await;
                }
            };
            futures::select_biased! {
                outcome = Box::pin(txn.commit()).fuse() => { outcome.expect("commits"); }
                _ = Box::pin(readers).fuse() => {}
            }
            let took = runtime.clock().monotonic() - begun;
            assert!(took < Duration::from_millis(100), "{writes:?}: {took:?}");
        }
    });
}

/// Whoever waits for an intent pushes its transaction above his own time, if there is a record that says it; until the commit
/// says there that it may not be pushed any more.
#[test]
fn pushers_cannot_keep_a_commit_with_a_record_from_its_time_for_ever() {
    // A round takes longer than waiters wait before they push.
    let delay = Duration::from_millis(100);
    for seed in 1..6 {
        let runtime = SimRuntime::new(seed);
        let cluster = Cluster::new(&runtime, 2);
        let [here, there] = &cluster.gateways[..] else { panic!("two gateways") };
        runtime.block_on(async {
            for k in ["a", "c", "d"] {
                set(here, &table(k), "0").await;
            }
            here.split_at(table("b")).await.expect("split");
            cluster.set_faults(Faults { delay, ..Faults::default() });
            let txn = begin_at(there, Isolation::ReadCommitted);
            for k in ["a", "c", "d"] {
                txn.get_locked(&table(k), LockStrength::Update, WaitPolicy::Block).await.expect("free");
            }
            txn.put(table("c"), "1".into());
            txn.flush().await.expect("spill");
            txn.put(table("d"), "1".into());
            let begun = runtime.clock().monotonic();
            let readers = async {
                loop {
                    let _ = begin(here).get(&table("c")).await;
                    runtime.sleep(Duration::from_millis(1)).await;
                }
            };
            futures::select_biased! {
                outcome = Box::pin(txn.commit()).fuse() => { outcome.expect("commits"); }
                _ = Box::pin(readers).fuse() => {}
            }
            let took = runtime.clock().monotonic() - begun;
            // Two rounds, with the beat between them, and the explicit commit: seven times there and back.
            assert!(took < 14 * delay, "{seed}: {took:?}");
        });
    }
}
