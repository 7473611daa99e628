//! DECLARE, FETCH and what they are over.

use super::{execute, say, talk, with_session};

#[test]
fn a_cursor_changes_no_data() {
    talk(&[
        ("CREATE TABLE t (k int PRIMARY KEY)", &["CREATE TABLE"]),
        ("INSERT INTO t VALUES (1)", &["INSERT 0 1"]),
        ("BEGIN; DECLARE c CURSOR FOR INSERT INTO t VALUES (2) RETURNING k", &["42601"]),
        ("BEGIN; DECLARE c CURSOR FOR WITH x AS (SELECT 1) DELETE FROM t", &["42601"]),
        ("BEGIN; DECLARE c CURSOR FOR (WITH x AS (SELECT 1) DELETE FROM t)", &["42601"]),
        (
            "BEGIN; DECLARE c CURSOR FOR WITH x AS (INSERT INTO t VALUES (2) RETURNING k) SELECT * FROM x",
            &["BEGIN", "0A000"],
        ),
        ("ROLLBACK", &["ROLLBACK"]),
        (
            "BEGIN; DECLARE c CURSOR FOR SELECT (WITH x AS (DELETE FROM t RETURNING k) SELECT k FROM x)",
            &["BEGIN", "0A000"],
        ),
        ("ROLLBACK", &["ROLLBACK"]),
        ("EXPLAIN DECLARE c CURSOR FOR WITH x AS (DELETE FROM t RETURNING k) SELECT * FROM x", &["0A000"]),
        (
            "BEGIN; DECLARE c CURSOR FOR SELECT 1 FOR UPDATE; FETCH c",
            &["BEGIN", "DECLARE CURSOR", "1", "FETCH 1"],
        ),
        ("DECLARE d CURSOR FOR SELECT k FROM t FOR UPDATE; FETCH d", &["DECLARE CURSOR", "1", "FETCH 1"]),
        ("ROLLBACK", &["ROLLBACK"]),
    ]);
}

#[test]
fn a_read_only_transaction_changes_nothing() {
    for sql in [
        "EXPLAIN ANALYZE INSERT INTO t VALUES (1)",
        "EXPLAIN ANALYZE SELECT * FROM t FOR UPDATE",
        "COPY (INSERT INTO t VALUES (1) RETURNING k) TO STDOUT",
        "COPY (SELECT * FROM t FOR UPDATE) TO STDOUT",
        "COPY (WITH x AS (INSERT INTO t VALUES (1) RETURNING k) SELECT * FROM x) TO STDOUT",
        "DECLARE c CURSOR FOR SELECT * FROM t FOR UPDATE",
    ] {
        talk(&[
            ("CREATE TABLE t (k int PRIMARY KEY)", &["CREATE TABLE"]),
            ("BEGIN READ ONLY", &["BEGIN"]),
            (sql, &["25006"]),
            ("ROLLBACK", &["ROLLBACK"]),
            ("COPY (INSERT INTO t VALUES (1)) TO STDOUT", &["0A000"]),
            ("COPY (INSERT INTO t VALUES (1) RETURNING k) TO STDOUT", &["COPY 1"]),
        ]);
    }
    // Nobody runs it.
    with_session(async |s| {
        assert_eq!(say(s, "CREATE TABLE t (k int)").await.1, None);
        assert_eq!(say(s, "BEGIN READ ONLY; EXPLAIN INSERT INTO t VALUES (1)").await.1, None);
        // A portal of the protocol, read as a cursor.
        s.parse("", "INSERT INTO t VALUES (1) RETURNING k", &[]).await.expect("a statement");
        s.bind("p", "", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(say(s, "FETCH FROM p").await.1, Some("25006"));
    });
}

#[test]
fn a_cursor_keeps_the_parameters_of_its_declaration() {
    with_session(async |s| {
        assert_eq!(say(s, "BEGIN").await.1, None);
        s.parse("", "DECLARE c CURSOR FOR SELECT $1::int AS x, $2 AS y", &[]).await.expect("a DECLARE");
        let types = s.describe_statement("").expect("a statement").params.expect("types");
        assert_eq!(types.iter().map(|t| t.0).collect::<Vec<_>>(), [23, 25]);
        let values = ["4", "q"].map(|v| Some(v.into())).to_vec();
        s.bind("", "", &[], values, Vec::new()).await.expect("a portal");
        assert_eq!(execute(s, "", 0).await, ["DECLARE CURSOR"]);
        assert_eq!(say(s, "FETCH c").await.0, ["4|q", "FETCH 1"]);
    });
}

/// Several statements in one message are a block of their own.
#[test]
fn a_cursor_lasts_as_long_as_its_message() {
    talk(&[
        ("DECLARE c CURSOR FOR SELECT 1", &["25P01"]),
        (
            "DECLARE c CURSOR FOR SELECT 1; FETCH c; FETCH c; CLOSE c",
            &["DECLARE CURSOR", "1", "FETCH 1", "FETCH 0", "CLOSE CURSOR"],
        ),
        ("SELECT 1; DECLARE c CURSOR FOR SELECT 1", &["1", "SELECT 1", "DECLARE CURSOR"]),
        ("FETCH c", &["34000"]),
    ]);
    with_session(async |s| {
        s.parse("", "DECLARE c CURSOR FOR SELECT 1", &[]).await.expect("a DECLARE");
        s.bind("", "", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(execute(s, "", 0).await, ["25P01"]);
    });
}

/// `TABLE t` is a query, wherever one begins.
#[test]
fn table_commands_within_others() {
    talk(&[
        ("CREATE TABLE t (k int PRIMARY KEY)", &["CREATE TABLE"]),
        ("INSERT INTO t VALUES (1)", &["INSERT 0 1"]),
        ("PREPARE p AS TABLE t", &["PREPARE"]),
        ("EXECUTE p", &["1", "SELECT 1"]),
        ("DECLARE c CURSOR FOR TABLE t; FETCH c", &["DECLARE CURSOR", "1", "FETCH 1"]),
        ("CREATE VIEW v AS TABLE t", &["CREATE VIEW"]),
        ("SELECT * FROM v", &["1", "SELECT 1"]),
        ("CREATE TABLE u AS TABLE t", &["SELECT 1"]),
    ]);
}
