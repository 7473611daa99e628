//! A gateway whose clock cannot be relied upon begins nothing, and what it had begun ends with an error that says why.

use meridian_storage::base::Unsound;

use super::*;

const AHEAD: Unsound = Unsound::Off { ahead: 10_000_000_000, median: 0 };

fn refused<T: std::fmt::Debug>(result: TxnResult<T>) -> TxnError {
    let e = result.expect_err("its clock is wrong");
    assert_eq!((e.kind, e.sqlstate()), (TxnErrorKind::Unavailable, "57P03"));
    assert!(e.message.contains("10.000 s ahead of most other nodes'"), "{}", e.message);
    assert!(e.hint.is_some_and(|hint| hint.contains("Set this machine's clock right")));
    e
}

#[test]
fn nothing_is_begun_and_nothing_that_was_begun_commits() {
    let runtime = SimRuntime::new(1);
    let (db, _) = local_db(&runtime);
    runtime.block_on(async {
        set(&db, &table("a"), "1").await;
        let (reads, writes) = (begin(&db), begin(&db));
        writes.put(table("a"), "2".into());
        writes.get_locked(&table("b"), LockStrength::Update, WaitPolicy::Block).await.expect("locked");
        db.clock().raise_fence(AHEAD, 0);
        refused(reads.get(&table("a")).await);
        refused(writes.commit().await);
        assert!(!writes.is_committed() && !writes.is_unknown(), "nothing of it was sent");
        refused(begin(&db).get(&table("a")).await);
        refused(db.run(TxnOptions::default(), |txn| async move { txn.get(&table("a")).await }).await);
        // What it held is given up all the same.
        writes.rollback().await;
        assert!(db.clock().fence_counts().refused >= 2);
        db.clock().lift_fence();
        let after = begin(&db);
        after.get_locked(&table("b"), LockStrength::Update, WaitPolicy::NoWait).await.expect("it is free");
        assert_eq!(read(&db, &table("a")).await.as_deref(), Some("1"));
    });
    runtime.shut_down();
}

/// Such a time may be long past when the clock is sound again: what was committed meanwhile would not be seen.
#[test]
fn a_snapshot_that_was_taken_meanwhile_is_of_no_use_afterwards() {
    let runtime = SimRuntime::new(1);
    let (db, _) = local_db(&runtime);
    runtime.block_on(async {
        let block = begin_at(&db, Isolation::ReadCommitted);
        let restarted = begin(&db);
        db.clock().raise_fence(AHEAD, 0);
        let begun = begin(&db);
        block.begin_statement();
        restarted.restart();
        db.clock().lift_fence();
        for txn in [begun, block, restarted] {
            refused(txn.get(&table("a")).await);
        }
    });
    runtime.shut_down();
}
