//! Subtransactions: what ROLLBACK TO takes back, what RELEASE keeps, and what neither touches.

use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{nodes, say, session, talk};
use crate::session::TransactionStatus;

#[test]
fn a_cursor_goes_with_its_subtransaction() {
    talk(&[
        ("CREATE TABLE t (k int)", &["CREATE TABLE"]),
        ("BEGIN; SAVEPOINT s; INSERT INTO t VALUES (2)", &["BEGIN", "SAVEPOINT", "INSERT 0 1"]),
        ("DECLARE c CURSOR FOR SELECT * FROM t; FETCH 1 c", &["DECLARE CURSOR", "2", "FETCH 1"]),
        ("ROLLBACK TO s", &["ROLLBACK"]),
        ("FETCH ALL c", &["34000"]),
        ("ROLLBACK TO s", &["ROLLBACK"]),
        ("DECLARE c CURSOR FOR SELECT 1", &["DECLARE CURSOR"]),
        ("RELEASE s; FETCH c", &["RELEASE", "1", "FETCH 1"]),
        ("ROLLBACK", &["ROLLBACK"]),
    ]);
}

const COUNT: &str = "CURSOR FOR SELECT generate_series(1, 5)";

#[test]
fn an_older_cursor_stays_where_it_is() {
    talk(&[
        ("BEGIN", &["BEGIN"]),
        (&format!("DECLARE c {COUNT}; FETCH c"), &["DECLARE CURSOR", "1", "FETCH 1"]),
        ("SAVEPOINT s; FETCH c", &["SAVEPOINT", "2", "FETCH 1"]),
        ("ROLLBACK TO s; FETCH c", &["ROLLBACK", "3", "FETCH 1"]),
        ("SELECT 1/0", &["22012"]),
        ("ROLLBACK TO s; FETCH c", &["ROLLBACK", "4", "FETCH 1"]),
        ("COMMIT", &["COMMIT"]),
    ]);
}

#[test]
fn a_released_cursor_is_of_the_subtransaction_around() {
    talk(&[
        ("BEGIN; SAVEPOINT s; SAVEPOINT t; SAVEPOINT u", &["BEGIN", "SAVEPOINT", "SAVEPOINT", "SAVEPOINT"]),
        (&format!("DECLARE c {COUNT}; FETCH c"), &["DECLARE CURSOR", "1", "FETCH 1"]),
        ("RELEASE t; SAVEPOINT t; FETCH c", &["RELEASE", "SAVEPOINT", "2", "FETCH 1"]),
        ("ROLLBACK TO t; FETCH c", &["ROLLBACK", "3", "FETCH 1"]),
        ("ROLLBACK TO s; FETCH c", &["ROLLBACK", "34000"]),
        ("ROLLBACK", &["ROLLBACK"]),
    ]);
}

#[test]
fn read_only_is_of_its_subtransaction() {
    talk(&[
        ("CREATE TABLE t (k int)", &["CREATE TABLE"]),
        ("BEGIN; SAVEPOINT s; SET TRANSACTION READ ONLY", &["BEGIN", "SAVEPOINT", "SET"]),
        ("ROLLBACK TO s; SHOW transaction_read_only", &["ROLLBACK", "off", "SHOW"]),
        ("INSERT INTO t VALUES (1); SET transaction_read_only = on", &["INSERT 0 1", "SET"]),
        ("SHOW transaction_read_only", &["on", "SHOW"]),
        ("INSERT INTO t VALUES (2)", &["25006"]),
        ("ROLLBACK TO s; SAVEPOINT t; SET TRANSACTION READ ONLY", &["ROLLBACK", "SAVEPOINT", "SET"]),
        // Also RELEASE ends it.
        ("RELEASE t; SHOW transaction_read_only; COMMIT", &["RELEASE", "off", "SHOW", "COMMIT"]),
    ]);
}

#[test]
fn an_unknown_savepoint_fails_the_block_as_any_error() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        assert_eq!(say(&mut a, "CREATE TABLE t (k int); INSERT INTO t VALUES (1)").await.1, None);
        assert_eq!(say(&mut a, "BEGIN; UPDATE t SET k = 2").await.1, None);
        assert_eq!(say(&mut a, "ROLLBACK TO nope").await.1, Some("3B001"));
        assert_eq!(a.status(), TransactionStatus::Failed);
        // Nobody waits for what cannot be kept.
        assert_eq!(say(&mut b, "SET lock_timeout = '1s'").await.1, None);
        assert_eq!(say(&mut b, "UPDATE t SET k = 3").await.1, None);
        assert_eq!(say(&mut a, "SELECT 1").await.1, Some("25P02"));
        assert_eq!(say(&mut a, "ROLLBACK TO nope").await.1, Some("3B001"));
        assert_eq!(say(&mut a, "ROLLBACK; BEGIN; SAVEPOINT s").await.1, None);
        assert_eq!(say(&mut a, "ROLLBACK TO nope").await.1, Some("3B001"));
        assert_eq!(say(&mut a, "ROLLBACK TO s; COMMIT").await.1, None);
    });
    runtime.shut_down();
}
