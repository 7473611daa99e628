//! What a cursor sees: the tables as they were when it was declared.

use std::time::Duration;

use meridian_storage::base::Runtime;
use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{bind, execute, extended, nodes, say, session, talk, with_session};
use crate::session::Session;

/// Works with two sessions of one node, in which `t (k int PRIMARY KEY, v int, w int DEFAULT 0)` has the rows (1, 1), (2, 2), (3, 3), and an
/// index on v; and with a way to let time pass.
fn with_two(work: impl AsyncFnOnce(&mut Session, &mut Session, &SimRuntime)) {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        assert_eq!(
            say(&mut a, "CREATE TABLE t (k int PRIMARY KEY, v int, w int DEFAULT 0); CREATE INDEX ON t (v)")
                .await
                .1,
            None
        );
        assert_eq!(say(&mut a, "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await.1, None);
        work(&mut a, &mut b, &runtime).await;
    });
    runtime.shut_down();
}

async fn done(session: &mut Session, sql: &str) {
    assert_eq!(say(session, sql).await.1, None, "{sql}");
}

const LEVELS: [&str; 3] = ["SERIALIZABLE", "REPEATABLE READ", "READ COMMITTED"];

/// Of scans, of points, of entries and the rows that they point to, of the inner sides of joins.
const QUERIES: [&str; 5] = [
    "SELECT k FROM t ORDER BY k",
    "SELECT k FROM t WHERE k IN (1, 2, 3, 9) ORDER BY k",
    "SELECT k + w FROM t WHERE v BETWEEN 1 AND 9 ORDER BY v",
    "SELECT t.k FROM (VALUES (1), (2), (3), (9)) x (k) JOIN t ON t.k = x.k ORDER BY 1",
    "SELECT k FROM (VALUES (1), (2), (3), (9)) x (k) WHERE EXISTS (SELECT 1 FROM t WHERE t.v = x.k) ORDER BY 1",
];

#[test]
fn what_its_transaction_writes_later_is_not_seen() {
    with_two(async |a, _, _| {
        for level in LEVELS {
            for query in QUERIES {
                done(a, &format!("BEGIN ISOLATION LEVEL {level}; DECLARE c CURSOR FOR {query}")).await;
                done(
                    a,
                    "INSERT INTO t VALUES (9, 9); DELETE FROM t WHERE k = 1; UPDATE t SET v = 22 WHERE k = 2",
                )
                .await;
                assert_eq!(say(a, "FETCH ALL c").await.0, ["1", "2", "3", "FETCH 3"], "{level} {query}");
                done(a, "ROLLBACK").await;
            }
            done(
                a,
                &format!("BEGIN ISOLATION LEVEL {level}; DECLARE c CURSOR FOR SELECT k FROM t WHERE k = 1"),
            )
            .await;
            done(a, "DELETE FROM t WHERE k = 1").await;
            assert_eq!(say(a, "FETCH ALL c").await.0, ["1", "FETCH 1"], "{level}");
            done(a, "ROLLBACK").await;
        }
    });
}

#[test]
fn what_its_transaction_has_written_before_is_seen() {
    with_two(async |a, _, _| {
        for level in LEVELS {
            for query in QUERIES {
                done(a, &format!("BEGIN ISOLATION LEVEL {level}; INSERT INTO t VALUES (9, 9)")).await;
                done(a, &format!("DELETE FROM t WHERE k = 1; DECLARE c CURSOR FOR {query}")).await;
                done(a, "INSERT INTO t VALUES (1, 1); DELETE FROM t WHERE k > 2").await;
                assert_eq!(say(a, "FETCH ALL c").await.0, ["2", "3", "9", "FETCH 3"], "{level} {query}");
                done(a, "ROLLBACK").await;
            }
        }
    });
}

/// Nor are rows that are to be locked, and that the transaction has written since: as in PostgreSQL, they are passed over.
#[test]
fn what_its_transaction_has_written_since_is_not_locked() {
    const LOCKING: [&str; 6] = [
        "SELECT k, v FROM t ORDER BY k",
        "SELECT k, v FROM t WHERE v < 10 ORDER BY k",
        "SELECT k, v FROM t WHERE v BETWEEN 1 AND 9 ORDER BY v",
        "SELECT k, v FROM t WHERE k IN (1, 2, 3, 4, 9) ORDER BY k",
        "SELECT k, v FROM t ORDER BY k LIMIT 9",
        "SELECT t.k, t.v FROM (VALUES (1), (2), (3), (4), (9)) x (k) JOIN t ON t.k = x.k ORDER BY 1",
    ];
    with_two(async |a, _, _| {
        for level in LEVELS {
            for query in LOCKING {
                let declare = format!("DECLARE c CURSOR FOR {query} FOR UPDATE OF t");
                for (before, after, rows) in [
                    ("", "INSERT INTO t VALUES (9, 9)", &["1|1", "2|2", "3|3", "FETCH 3"][..]),
                    ("", "UPDATE t SET v = 5 WHERE k = 2", &["1|1", "3|3", "FETCH 2"]),
                    ("", "UPDATE t SET v = v WHERE k = 2", &["1|1", "3|3", "FETCH 2"]),
                    ("", "UPDATE t SET k = 4 WHERE k = 2", &["1|1", "3|3", "FETCH 2"]),
                    ("", "DELETE FROM t WHERE k = 2", &["1|1", "3|3", "FETCH 2"]),
                    (
                        "",
                        "DELETE FROM t WHERE k = 2; INSERT INTO t VALUES (2, 2)",
                        &["1|1", "3|3", "FETCH 2"],
                    ),
                    (
                        "INSERT INTO t VALUES (4, 4); UPDATE t SET v = 6 WHERE k = 3",
                        "UPDATE t SET v = 5 WHERE k = 4",
                        &["1|1", "2|2", "3|6", "FETCH 3"],
                    ),
                    (
                        "UPDATE t SET v = 3 WHERE k = 3",
                        "SAVEPOINT s; UPDATE t SET v = 5 WHERE k > 1; ROLLBACK TO s",
                        &["1|1", "2|2", "3|3", "FETCH 3"],
                    ),
                    ("DELETE FROM t WHERE k = 1", "INSERT INTO t VALUES (1, 1)", &["2|2", "3|3", "FETCH 2"]),
                ] {
                    done(a, &format!("BEGIN ISOLATION LEVEL {level}; {before}")).await;
                    done(a, &format!("{declare}; {after}")).await;
                    let (told, error) = say(a, "FETCH ALL c").await;
                    assert_eq!(
                        (told.join(" "), error),
                        (rows.join(" "), None),
                        "{level} {declare} {before} {after}"
                    );
                    done(a, "ROLLBACK").await;
                }
            }
            done(a, &format!("BEGIN ISOLATION LEVEL {level}")).await;
            done(a, "DECLARE c CURSOR FOR SELECT v FROM t WHERE k = 2 FOR UPDATE").await;
            done(a, "UPDATE t SET v = 5 WHERE k = 2").await;
            assert_eq!(say(a, "FETCH ALL c").await.0, ["FETCH 0"], "{level}");
            done(a, "ROLLBACK").await;
        }
    });
}

/// More than a transaction keeps in memory: what it has written is written to the ranges.
const SPILL: &str = "INSERT INTO big SELECT repeat('x', 9000000)";

fn with_spills(work: impl AsyncFnOnce(&mut Session)) {
    with_two(async |a, _, _| {
        done(a, "CREATE TABLE big (b text); CREATE TABLE u (k int PRIMARY KEY)").await;
        done(a, "INSERT INTO u VALUES (1), (2)").await;
        work(a).await;
    });
}

/// The ranges know only the newest that a transaction has written: what the cursor would have to see is not known any more.
#[test]
fn a_cursor_refuses_to_go_on_beneath_what_its_transaction_has_spilled() {
    with_spills(async |a| {
        for query in QUERIES {
            done(a, &format!("BEGIN; INSERT INTO t VALUES (9, 9); DECLARE c CURSOR FOR {query}")).await;
            done(a, "DECLARE d CURSOR FOR SELECT k FROM u ORDER BY k; FETCH 1 d").await;
            done(a, "INSERT INTO t VALUES (8, 8); UPDATE t SET v = 22 WHERE k = 2").await;
            done(a, SPILL).await;
            assert_eq!(say(a, "FETCH ALL d").await.0, ["2", "FETCH 1"], "another table: {query}");
            assert_eq!(say(a, "FETCH ALL c").await, (vec![], Some("0A000")), "{query}");
            done(a, "ROLLBACK").await;
        }
        // Rows that move ahead of the cursor, twice.
        done(a, "BEGIN; DECLARE c CURSOR FOR SELECT k FROM t WHERE v > 0 ORDER BY v").await;
        for _ in 0..2 {
            done(a, "UPDATE t SET v = v + 3").await;
            done(a, SPILL).await;
        }
        assert_eq!(say(a, "FETCH ALL c").await, (vec![], Some("0A000")));
        done(a, "ROLLBACK").await;
    });
}

#[test]
fn a_cursor_goes_on_where_nothing_was_spilled_since() {
    with_spills(async |a| {
        for query in QUERIES {
            done(a, "BEGIN; INSERT INTO t VALUES (9, 9)").await;
            done(a, SPILL).await;
            done(a, &format!("DELETE FROM t WHERE k = 1; DECLARE c CURSOR FOR {query}")).await;
            // Of what was there then, only what was in memory is written anew.
            done(a, "SAVEPOINT s; UPDATE t SET v = 22 WHERE k = 2").await;
            done(a, SPILL).await;
            done(a, "ROLLBACK TO s").await;
            done(a, SPILL).await;
            assert_eq!(say(a, "FETCH ALL c").await.0, ["2", "3", "9", "FETCH 3"], "{query}");
            done(a, "ROLLBACK").await;
        }
    });
}

#[test]
fn what_its_transaction_has_spilled_since_is_not_locked() {
    with_spills(async |a| {
        for after in [
            "INSERT INTO t VALUES (9, 9); UPDATE t SET v = 5 WHERE k = 2",
            "UPDATE t SET v = v WHERE k = 2",
            "UPDATE t SET k = 4 WHERE k = 2",
            "DELETE FROM t WHERE k = 2; INSERT INTO t VALUES (2, 2)",
        ] {
            done(a, "BEGIN; DECLARE c CURSOR FOR SELECT k FROM t ORDER BY k FOR UPDATE").await;
            done(a, "DECLARE d CURSOR FOR SELECT v FROM t WHERE k = 2 FOR UPDATE").await;
            done(a, after).await;
            done(a, SPILL).await;
            assert_eq!(say(a, "FETCH ALL c").await, (vec!["1".into(), "3".into(), "FETCH 2".into()], None));
            assert_eq!(say(a, "FETCH ALL d").await.0, ["FETCH 0"], "{after}");
            done(a, "ROLLBACK").await;
        }
        done(a, "INSERT INTO t SELECT g, g FROM generate_series(10, 5000) g").await;
        done(a, "BEGIN; DECLARE c CURSOR FOR SELECT k FROM t ORDER BY k FOR UPDATE; UPDATE t SET w = 1 WHERE k > 9")
            .await;
        done(a, SPILL).await;
        assert_eq!(say(a, "FETCH ALL c").await, (vec![], Some("0A000")));
        done(a, "ROLLBACK").await;
    });
}

#[test]
fn a_suspended_portal_refuses_to_go_on_beneath_what_was_spilled() {
    with_spills(async |a| {
        done(a, "BEGIN").await;
        bind(a, "p", "SELECT k FROM t WHERE k = 1 UNION ALL SELECT k FROM t").await;
        assert_eq!(execute(a, "p", 1).await, ["1", "suspended"]);
        done(a, "INSERT INTO t VALUES (4, 4)").await;
        done(a, SPILL).await;
        assert_eq!(execute(a, "p", 0).await, ["0A000"]);
    });
}

#[test]
fn what_is_rolled_back_is_not_seen() {
    talk(&[
        ("CREATE TABLE t (k int PRIMARY KEY); INSERT INTO t VALUES (1)", &["CREATE TABLE", "INSERT 0 1"]),
        ("BEGIN; DECLARE c CURSOR FOR SELECT k FROM t", &["BEGIN", "DECLARE CURSOR"]),
        ("SAVEPOINT s; INSERT INTO t VALUES (9); FETCH 1 c", &["SAVEPOINT", "INSERT 0 1", "1", "FETCH 1"]),
        ("ROLLBACK TO s; FETCH ALL c", &["ROLLBACK", "FETCH 0"]),
    ]);
}

#[test]
fn names_are_those_of_the_declaration() {
    talk(&[
        (
            "CREATE SCHEMA a; CREATE TABLE a.t (k int); INSERT INTO a.t VALUES (1)",
            &["CREATE SCHEMA", "CREATE TABLE", "INSERT 0 1"],
        ),
        (
            "CREATE SCHEMA b; CREATE TABLE b.t (k int); INSERT INTO b.t VALUES (2)",
            &["CREATE SCHEMA", "CREATE TABLE", "INSERT 0 1"],
        ),
        ("SET search_path = a", &["SET"]),
        ("BEGIN; DECLARE c CURSOR FOR SELECT k FROM t", &["BEGIN", "DECLARE CURSOR"]),
        ("SET search_path = b; FETCH ALL c", &["SET", "1", "FETCH 1"]),
    ]);
}

/// READ COMMITTED: other statements take snapshots of their own.
#[test]
fn what_others_commit_later_is_not_seen() {
    with_two(async |a, b, runtime| {
        for query in QUERIES {
            for level in LEVELS {
                done(a, &format!("BEGIN ISOLATION LEVEL {level}; DECLARE c CURSOR FOR {query}")).await;
                runtime.process().sleep(Duration::from_secs(2)).await;
                done(b, "DELETE FROM t WHERE k = 1; INSERT INTO t VALUES (9, 9)").await;
                done(a, "SELECT count(*) FROM t").await;
                assert_eq!(say(a, "FETCH ALL c").await.0, ["1", "2", "3", "FETCH 3"], "{level} {query}");
                done(a, "ROLLBACK").await;
                done(b, "DELETE FROM t WHERE k = 9; INSERT INTO t VALUES (1, 1)").await;
                runtime.process().sleep(Duration::from_secs(2)).await;
            }
        }
    });
}

/// A portal of the protocol that is suspended goes on in what it has begun in.
#[test]
fn a_suspended_portal_keeps_what_it_sees() {
    with_two(async |a, _, _| {
        done(a, "BEGIN").await;
        bind(a, "p", "SELECT k FROM t WHERE k = 1 UNION ALL SELECT k FROM t").await;
        assert_eq!(execute(a, "p", 1).await, ["1", "suspended"]);
        done(a, "DELETE FROM t; INSERT INTO t VALUES (4, 4)").await;
        assert_eq!(execute(a, "p", 0).await, ["1", "2", "3", "SELECT 3"]);
    });
}

#[test]
fn a_fetch_from_a_portal_begins_what_it_needs() {
    with_session(async |s| {
        bind(s, "p", "SELECT generate_series(1, 2)").await;
        assert_eq!(extended(s, "FETCH ALL FROM p").await, ["1", "2", "FETCH 2"]);
        s.sync(&mut super::Recorder::default()).await.expect("a commit");
    });
    with_two(async |a, b, runtime| {
        done(a, "BEGIN").await;
        bind(a, "p", "SELECT v FROM t WHERE k = 1").await;
        assert_eq!(say(a, "FETCH ALL FROM p").await.0, ["1", "FETCH 1"]);
        runtime.process().sleep(Duration::from_secs(2)).await;
        done(b, "UPDATE t SET v = 7 WHERE k = 1").await;
        assert_eq!(say(a, "SELECT v FROM t WHERE k = 1").await.0, ["1", "SELECT 1"]);
        assert_eq!(say(a, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await.1, Some("25001"));
        done(a, "ROLLBACK").await;
        done(a, "BEGIN").await;
        bind(a, "p", "SELECT v FROM t").await;
        done(a, "FETCH 1 FROM p").await;
        assert_eq!(say(a, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED").await.1, Some("25001"));
    });
}

/// A pipeline that begins with SET waits for its client before its first query.
#[test]
fn the_snapshot_is_not_older_than_the_first_query() {
    with_two(async |a, b, runtime| {
        assert_eq!(extended(a, "SET work_mem = '8MB'").await, ["SET"]);
        runtime.process().sleep(Duration::from_secs(2)).await;
        done(b, "INSERT INTO t VALUES (4, 4)").await;
        assert_eq!(extended(a, "SELECT count(*) FROM t").await, ["4", "SELECT 1"]);
    });
}

#[test]
fn a_portal_that_has_failed_neither_runs_nor_counts() {
    with_session(async |s| {
        done(s, "BEGIN").await;
        for n in 0..5 {
            done(s, &format!("DECLARE c{n} CURSOR FOR SELECT 1 / (g - 2) FROM generate_series(1, 3) g"))
                .await;
        }
        bind(s, "p", "SELECT 1 / (g - 2) FROM generate_series(1, 3) g").await;
        done(s, "SAVEPOINT s").await;
        for n in 0..5 {
            assert_eq!(say(s, &format!("FETCH ALL c{n}")).await.1, Some("22012"));
            done(s, "ROLLBACK TO s").await;
            assert_eq!(say(s, &format!("FETCH ALL c{n}")).await.1, Some("55000"));
            done(s, "ROLLBACK TO s").await;
        }
        assert_eq!(execute(s, "p", 0).await, ["22012"]);
        done(s, "ROLLBACK TO s").await;
        for _ in 0..2 {
            assert_eq!(execute(s, "p", 0).await, ["55000"]);
            done(s, "ROLLBACK TO s").await;
        }
        done(s, "DECLARE d CURSOR FOR SELECT 5").await;
        bind(s, "f", "FETCH FROM d").await;
        assert_eq!(say(s, "FETCH ALL f").await.0, ["5", "FETCH 1"]);
    });
}

/// Another node has made it a moment ago.
#[test]
fn a_table_made_elsewhere_is_found() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 2);
    runtime.block_on(async {
        let nodes = nodes(&cluster).await;
        let (mut a, mut b) = (session(&nodes[0]).await, session(&nodes[1]).await);
        done(&mut a, "CREATE TABLE t (k int)").await;
        done(&mut b, "PREPARE p AS SELECT * FROM t").await;
        done(&mut a, "CREATE TABLE u (k int)").await;
        done(&mut b, "BEGIN; DECLARE c CURSOR FOR SELECT * FROM u; COMMIT").await;
        done(&mut a, "DROP TABLE t").await;
        assert_eq!(say(&mut b, "EXECUTE p").await.1, Some("42P01"));
        done(&mut a, "CREATE TABLE t (k int)").await;
        done(&mut b, "EXECUTE p").await;
    });
    runtime.shut_down();
}

/// What another node commits within the difference of the clocks may have been committed before the declaration.
fn with_nodes(work: impl AsyncFnOnce(&mut Session, &mut Session)) {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 2);
    runtime.block_on(async {
        let nodes = nodes(&cluster).await;
        let (mut ahead, mut behind) = (session(&nodes[0]).await, session(&nodes[1]).await);
        done(&mut ahead, "CREATE TABLE t (k int PRIMARY KEY, v int, w int DEFAULT 0); CREATE INDEX ON t (v)")
            .await;
        done(&mut ahead, "INSERT INTO t VALUES (1, 1), (2, 2), (3, 3)").await;
        runtime.process().sleep(Duration::from_secs(2)).await;
        // Leases of the catalog take time.
        for session in [&mut ahead, &mut behind] {
            done(session, "SELECT count(*) FROM t").await;
        }
        work(&mut ahead, &mut behind).await;
    });
    runtime.shut_down();
}

#[test]
fn a_cursor_that_has_shown_nothing_moves_over_what_may_be_older() {
    with_nodes(async |ahead, behind| {
        for query in QUERIES {
            done(
                behind,
                &format!(
                    "BEGIN ISOLATION LEVEL READ COMMITTED; DECLARE c CURSOR FOR {query};
                     DECLARE s CURSOR FOR SELECT (SELECT w FROM t WHERE k = 3), (SELECT sum(w) FROM t),
                         (SELECT w FROM t WHERE k = 1) + (SELECT w FROM t WHERE k = 2)"
                ),
            )
            .await;
            done(
                ahead,
                "BEGIN; UPDATE t SET w = w + 1 WHERE k = 1; UPDATE t SET w = w - 1 WHERE k = 2; COMMIT",
            )
            .await;
            done(behind, "SELECT count(*) FROM t").await;
            let (told, error) = say(behind, "FETCH 1 c; FETCH ALL c").await;
            assert_eq!((told.len(), error), (5, None), "{query}: {told:?}");
            assert_eq!(say(behind, "FETCH ALL s").await, (vec!["0|0|0".into(), "FETCH 1".into()], None));
            done(behind, "COMMIT").await;
        }
    });
}

#[test]
fn a_cursor_that_has_shown_rows_does_not() {
    with_nodes(async |ahead, behind| {
        done(
            behind,
            "BEGIN ISOLATION LEVEL READ COMMITTED;
             DECLARE c CURSOR FOR SELECT v FROM t WHERE k = 1 UNION ALL SELECT v FROM t WHERE k = 2;
             FETCH 1 c",
        )
        .await;
        done(ahead, "UPDATE t SET v = 7 WHERE k IN (1, 2)").await;
        done(behind, "SELECT count(*) FROM t").await;
        assert_eq!(say(behind, "FETCH ALL c").await, (vec![], Some("40001")));
    });
}

/// While the declaration waits for its tables, one of them is changed.
#[test]
fn a_table_changed_meanwhile_is_planned_for_anew() {
    with_two(async |a, b, runtime| {
        for (n, level) in LEVELS.iter().enumerate() {
            done(a, &format!("BEGIN; ALTER TABLE t ADD COLUMN x{n} int DEFAULT 7")).await;
            done(b, &format!("BEGIN ISOLATION LEVEL {level}")).await;
            let commit = async {
                runtime.process().sleep(Duration::from_millis(100)).await;
                done(a, "COMMIT").await;
            };
            let declare = "DECLARE c CURSOR FOR SELECT * FROM t WHERE k = 1";
            let (declared, ()) = futures::join!(say(b, declare), commit);
            assert_eq!(declared, (vec!["DECLARE CURSOR".into()], None), "{level}");
            let row = format!("1|1|0{}", "|7".repeat(n + 1));
            assert_eq!(say(b, "FETCH c").await.0, [row.as_str(), "FETCH 1"], "{level}");
            done(b, "COMMIT").await;
        }
    });
}
