//! Statements that name `$n`: only who gives a value for it may have it.

use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{Recorder, nodes, say, session, talk, with_session};

/// Without a value it would be NULL, unseen, also where rows are written.
#[test]
fn a_message_has_no_parameters() {
    talk(&[
        ("CREATE TABLE t (k int PRIMARY KEY, v int)", &["CREATE TABLE"]),
        ("INSERT INTO t VALUES (1, 1), (2, 2)", &["INSERT 0 2"]),
        ("UPDATE t SET v = $1", &["42P02"]),
        ("DELETE FROM t WHERE k = $1", &["42P02"]),
        ("INSERT INTO t VALUES (3, $1)", &["42P02"]),
        ("SELECT 1 LIMIT $1", &["42P02"]),
        ("SELECT $1", &["42P02"]),
        ("EXPLAIN SELECT $1::int", &["42P02"]),
        ("COPY (SELECT $1::int) TO STDOUT", &["42P02"]),
        ("BEGIN; DECLARE c CURSOR FOR SELECT $1::int", &["BEGIN", "42P02"]),
        ("ROLLBACK", &["ROLLBACK"]),
        ("SELECT * FROM t ORDER BY k", &["1|1", "2|2", "SELECT 2"]),
    ]);
}

#[test]
fn the_catalog_has_no_parameters() {
    talk(&[
        ("CREATE TABLE t (k int PRIMARY KEY, v int)", &["CREATE TABLE"]),
        ("CREATE VIEW w AS SELECT $1::int", &["42P02"]),
        ("CREATE TABLE w AS SELECT $1::int AS x", &["42P02"]),
        ("CREATE TABLE w (a int DEFAULT $1)", &["42P02"]),
        ("CREATE TABLE w (a int CHECK (a > $1))", &["42P02"]),
        ("CREATE INDEX ON t (v) WHERE k > $1", &["42P02"]),
        ("ALTER TABLE t ALTER v SET DEFAULT $1", &["42P02"]),
        ("ALTER TABLE t ALTER v TYPE int USING $1", &["42P02"]),
    ]);
}

#[test]
fn what_is_prepared_has_its_parameters() {
    talk(&[
        ("PREPARE p AS SELECT $1::int + 1", &["PREPARE"]),
        ("EXECUTE p (3)", &["4", "SELECT 1"]),
        ("PREPARE q AS SELECT $2", &["42P18"]),
        ("EXECUTE p ($1)", &["42P02"]),
    ]);
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let mut s = session(&node).await;
        for sql in ["SELECT $1::int", "EXPLAIN SELECT $1::int"] {
            s.parse("", sql, &[]).await.expect("a statement");
            assert_eq!(s.describe_statement("").expect("a statement").params.expect("types").len(), 1);
            s.close_statement("");
        }
    });
    runtime.shut_down();
}

/// Of EXECUTE's arguments.
#[test]
fn arguments_are_computed_without_tables() {
    talk(&[
        ("CREATE SEQUENCE sq", &["CREATE SEQUENCE"]),
        ("PREPARE p (int) AS SELECT $1", &["PREPARE"]),
        ("EXECUTE p", &["42601"]),
        ("EXECUTE p (1, 2)", &["42601"]),
        ("EXECUTE p ('7')", &["7", "SELECT 1"]),
        ("EXECUTE p (1.5)", &["2", "SELECT 1"]),
        ("EXECUTE p (1 + 1)", &["2", "SELECT 1"]),
        ("EXECUTE p (nextval('sq'))", &["1", "SELECT 1"]),
        ("BEGIN; EXECUTE p (nextval('sq') + currval('sq')); COMMIT", &["BEGIN", "4", "SELECT 1", "COMMIT"]),
        ("EXECUTE p ((SELECT 1))", &["0A000"]),
        ("EXECUTE p (1 IN (SELECT 1))", &["0A000"]),
        ("EXECUTE p (sum(1))", &["42803"]),
        ("EXECUTE p (generate_series(1, 2))", &["0A000"]),
        ("EXECUTE p (row_number() OVER ())", &["42P20"]),
        ("EXECUTE p (a)", &["42703"]),
        ("EXECUTE p ('x')", &["22P02"]),
        ("EXECUTE p (9999999999)", &["22003"]),
        ("EXECUTE p (1 / 0)", &["22012"]),
        ("EXECUTE p (ARRAY[1])", &["42804"]),
        // Nobody looks at what a statement without parameters is given.
        ("PREPARE q AS SELECT 1", &["PREPARE"]),
        ("EXECUTE q ((SELECT nosuch))", &["1", "SELECT 1"]),
    ]);
    with_session(async |s| {
        assert_eq!(say(s, "PREPARE p (int) AS SELECT $1").await.1, None);
        let error = s.simple_query("EXECUTE p (true)", &mut Recorder::default()).await.expect_err("a bool");
        assert_eq!(
            error.message(),
            "parameter $1 of type boolean cannot be coerced to the expected type integer"
        );
    });
}
