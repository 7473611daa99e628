//! Subtransactions: what ROLLBACK TO takes back, what RELEASE keeps, and what neither touches.

use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{bind, execute, nodes, say, session, talk, with_session};
use crate::session::{Session, TransactionStatus};

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

/// What lets READ COMMITTED run a statement again ends with the statement: a long transaction does not keep all that it
/// has overwritten.
#[test]
fn a_statement_leaves_no_savepoint_behind() {
    let keeps = |s: &Session| s.state.active().expect("a transaction").txn.has_savepoints();
    with_session(async |s| {
        assert_eq!(say(s, "CREATE TABLE t (k int PRIMARY KEY, v text)").await.1, None);
        assert_eq!(say(s, "BEGIN ISOLATION LEVEL READ COMMITTED").await.1, None);
        let insert = "INSERT INTO t SELECT k, repeat('x', 100000) FROM generate_series(1, 100) k";
        for sql in [
            insert,
            // More than is buffered: what it writes is spilled.
            "UPDATE t SET v = v || 'y'",
            "DELETE FROM t WHERE k < 0 RETURNING k",
            "DECLARE c CURSOR FOR SELECT k FROM t",
            "FETCH 1 c",
        ] {
            assert_eq!(say(s, sql).await.1, None, "{sql}");
            assert!(!keeps(s), "{sql}");
        }
        bind(s, "p", "SELECT k FROM t ORDER BY k").await;
        assert_eq!(execute(s, "p", 1).await, ["1", "suspended"]);
        assert!(!keeps(s), "a suspended portal");
        // Savepoints of the client's stay, and take back what has failed as well as what has not.
        assert_eq!(say(s, "SAVEPOINT s; UPDATE t SET v = 'z'; DELETE FROM t WHERE k > 1").await.1, None);
        assert!(keeps(s));
        assert_eq!(say(s, "UPDATE t SET k = k + 1 / (k - 1)").await.1, Some("22012"));
        assert_eq!(say(s, "ROLLBACK TO s; RELEASE s").await.1, None);
        assert!(!keeps(s));
        let count = "SELECT count(*), max(length(v)) FROM t";
        assert_eq!(say(s, count).await.0, ["100|100001", "SELECT 1"]);
        assert_eq!(say(s, "COMMIT").await.1, None);
        assert_eq!(say(s, count).await.0, ["100|100001", "SELECT 1"]);
    });
}
