//! A range is divided under transactions that are at work in it.

use std::time::Duration;

use super::node::{Node, Ports};

/// A lock that was held in the right half is held on, whoever waits for it waits on, and the transaction commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_outlives_the_division_of_its_range() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path(), Ports::free(), None).await;
    let (holder, waiter, other) = (node.connect().await, node.connect().await, node.connect().await);
    let create =
        "CREATE TABLE t (k int PRIMARY KEY, v int); INSERT INTO t SELECT k, 0 FROM generate_series(1, 9) k";
    holder.batch_execute(create).await.expect("creates");

    holder.batch_execute("BEGIN; UPDATE t SET v = 1 WHERE k = 7").await.expect("locks");
    let waits = waiter.execute("UPDATE t SET v = v + 10 WHERE k = 7", &[]);
    tokio::pin!(waits);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waits).await;
    assert!(early.is_err(), "it waits: {early:?}");

    other.batch_execute("ALTER TABLE t SPLIT AT VALUES (5)").await.expect("divides");
    let taken = other.execute("SELECT v FROM t WHERE k = 7 FOR UPDATE NOWAIT", &[]).await;
    let code = taken.expect_err("it is locked").code().cloned();
    assert_eq!(code.as_ref().map(|c| c.code()), Some("55P03"));
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waits).await;
    assert!(early.is_err(), "it waits: {early:?}");

    holder.batch_execute("UPDATE t SET v = 2 WHERE k IN (3, 9); COMMIT").await.expect("commits");
    assert_eq!(waits.await.expect("its turn has come"), 1);
    let rows = other.query("SELECT v FROM t WHERE v <> 0 ORDER BY k", &[]).await.expect("reads");
    let values: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(values, [2, 11, 2]);
}
