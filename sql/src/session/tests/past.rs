//! AS OF SYSTEM TIME: what is seen, in which schema, and what is refused.

use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{Recorder, Session, execute, nodes, say, session, talk, with_session};

/// The time of what the session would see now.
async fn now(session: &mut Session) -> String {
    let (told, error) = say(session, "SELECT cluster_logical_timestamp()").await;
    assert_eq!(error, None);
    told[0].clone()
}

async fn all(session: &mut Session, script: &[&str]) {
    for sql in script {
        assert_eq!(say(session, sql).await.1, None, "{sql}");
    }
}

/// The rows, or the SQLSTATE.
async fn rows(session: &mut Session, sql: &str) -> Vec<String> {
    let (mut told, error) = say(session, sql).await;
    if let Some(code) = error {
        return vec![code.into()];
    }
    told.pop();
    told
}

#[test]
fn a_statement_sees_its_time() {
    with_session(async |s| {
        all(s, &["CREATE TABLE t (k int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')"])
            .await;
        let then = now(s).await;
        all(s, &["UPDATE t SET v = 'c' WHERE k = 1", "DELETE FROM t WHERE k = 2"]).await;
        assert_eq!(rows(s, "SELECT * FROM t").await, ["1|c"]);
        for clause in [then.clone(), format!("'{then}'"), format!("{then}::decimal")] {
            let sql = format!("SELECT * FROM t AS OF SYSTEM TIME {clause} ORDER BY k");
            assert_eq!(rows(s, &sql).await, ["1|a", "2|b"], "{clause}");
        }
        let sql = format!("SELECT v FROM t AS OF SYSTEM TIME {then} WHERE k = 2");
        assert_eq!(rows(s, &sql).await, ["b"]);
        let sql = format!("SELECT a.v, b.v FROM t a JOIN t b ON a.k < b.k AS OF SYSTEM TIME {then}");
        assert_eq!(rows(s, &sql).await, ["a|b"]);
        let sql = format!("EXPLAIN (COSTS OFF) SELECT v FROM t AS OF SYSTEM TIME {then} WHERE k = 2");
        assert!(rows(s, &sql).await[0].contains(" on t"), "{:?}", rows(s, &sql).await);
        let sql = format!("EXPLAIN ANALYZE SELECT v FROM t AS OF SYSTEM TIME {then}");
        assert!(rows(s, &sql).await[0].contains("rows=2"), "{:?}", rows(s, &sql).await);
        let sql = format!("SELECT cluster_logical_timestamp() AS OF SYSTEM TIME {then}");
        assert_eq!(rows(s, &sql).await, [then]);
        assert_eq!(rows(s, "INSERT INTO t VALUES (3, 'd')").await, [""; 0], "nothing is left of it");
    });
}

#[test]
fn times_are_written_in_many_ways() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let s = &mut session(&node).await;
        all(s, &["SET timezone = 'America/New_York'", "CREATE TABLE t (k int)", "INSERT INTO t VALUES (1)"])
            .await;
        let local = rows(s, "SELECT now()::timestamp, now()").await.remove(0);
        let (local, zoned) = local.split_once('|').expect("two");
        node.runtime().sleep(std::time::Duration::from_secs(10)).await;
        all(s, &["INSERT INTO t VALUES (2)"]).await;
        node.runtime().sleep(std::time::Duration::from_secs(5)).await;
        for clause in [
            "'-10s'",
            "'-00:00:10'",
            "interval '-10 seconds'",
            "-interval '10 seconds'",
            "now() - interval '10 seconds'",
            &format!("'{local}'"),
            &format!("'{zoned}'"),
            &format!("timestamp '{local}'"),
            &format!("timestamptz '{zoned}'"),
            &format!("'{zoned}'::timestamptz + interval '5 seconds'"),
        ] {
            let sql = format!("SELECT k FROM t AS OF SYSTEM TIME {clause}");
            assert_eq!(rows(s, &sql).await, ["1"], "{clause}");
        }
        for clause in ["'now'", "now()", "'-1s'", "'0s'", "-interval '1 microsecond'"] {
            let sql = format!("SELECT k FROM t AS OF SYSTEM TIME {clause} ORDER BY k");
            assert_eq!(rows(s, &sql).await, ["1", "2"], "{clause}");
        }
        for (clause, code) in [
            ("'10s'", "22023"),
            ("'tomorrow'", "22023"),
            ("'infinity'", "22023"),
            ("'-infinity'", "22023"),
            ("'1960-01-01'", "22023"),
            ("now() + interval '1 minute'", "22023"),
            ("NULL", "22023"),
            ("0", "22023"),
            ("-1", "22023"),
            ("9223372036854775807", "22023"),
            ("1580361670629466905.99999999999", "22023"),
            ("'1580361670629466905.9999999999'", "22023"),
            ("'rubbish'", "22007"),
            ("''", "22007"),
            ("'2024-02-30'", "22008"),
            ("true", "42804"),
            ("k", "42703"),
            ("(SELECT now())", "0A000"),
            ("pg_sleep(1)", "0A000"),
            ("cluster_logical_timestamp()", "0A000"),
            // Before there was a database, nothing was in it.
            ("1", "3D000"),
        ] {
            let sql = format!("SELECT k FROM t AS OF SYSTEM TIME {clause}");
            assert_eq!(rows(s, &sql).await, [code], "{clause}");
        }
    });
    runtime.shut_down();
}

#[test]
fn a_block_sees_its_time_and_only_reads() {
    with_session(async |s| {
        let made = ["CREATE TABLE t (k int PRIMARY KEY)", "CREATE SEQUENCE q", "INSERT INTO t VALUES (1)"];
        all(s, &made).await;
        let then = now(s).await;
        all(s, &["INSERT INTO t VALUES (2)"]).await;
        for begin in [
            format!("BEGIN AS OF SYSTEM TIME {then}"),
            format!("BEGIN ISOLATION LEVEL READ COMMITTED, AS OF SYSTEM TIME '{then}'"),
            format!("BEGIN; SET TRANSACTION AS OF SYSTEM TIME {then}"),
            format!("BEGIN; SET TRANSACTION AS OF SYSTEM TIME {then}, READ ONLY"),
            format!("BEGIN AS OF SYSTEM TIME '-1ms'; SET TRANSACTION AS OF SYSTEM TIME {then}"),
        ] {
            assert_eq!(say(s, &begin).await.1, None, "{begin}");
            assert_eq!(rows(s, "SELECT k FROM t").await, ["1"], "{begin}");
            assert_eq!(rows(s, "SHOW transaction_read_only").await, ["on"]);
            assert_eq!(rows(s, &format!("SELECT k FROM t AS OF SYSTEM TIME {then}")).await, ["1"]);
            all(s, &["DECLARE c CURSOR FOR SELECT k FROM t", "SAVEPOINT s"]).await;
            assert_eq!(rows(s, "FETCH ALL FROM c").await, ["1"]);
            for write in [
                "INSERT INTO t VALUES (3)",
                "DELETE FROM t",
                "SELECT * FROM t FOR UPDATE",
                "CREATE TABLE u ()",
                "ANALYZE t",
                "COPY t FROM STDIN",
                "SELECT nextval('q')",
                "SELECT setval('q', 10)",
                "SET TRANSACTION READ WRITE",
            ] {
                assert_eq!(rows(s, write).await, ["25006"], "{write}");
                all(s, &["ROLLBACK TO s"]).await;
            }
            all(s, &["COMMIT"]).await;
            assert_eq!(rows(s, "SELECT count(*) FROM t").await, ["2"], "the present again");
        }
        all(s, &[&format!("BEGIN AS OF SYSTEM TIME {then}"), "COMMIT AND CHAIN"]).await;
        assert_eq!(rows(s, "SELECT k FROM t").await, ["1"]);
        all(s, &["ROLLBACK"]).await;
    });
}

#[test]
fn times_are_not_mixed() {
    talk(&[
        ("CREATE TABLE t (k int)", &["CREATE TABLE"]),
        ("SELECT count(*) FROM t AS OF SYSTEM TIME '-0.000001s'; SELECT 1", &["0", "SELECT 1", "0A000"]),
        ("SELECT 1; SELECT count(*) FROM t AS OF SYSTEM TIME '-1s'", &["1", "SELECT 1", "0A000"]),
        ("SELECT 1 AS OF SYSTEM TIME '-0.000001s'; INSERT INTO t VALUES (1)", &["1", "SELECT 1", "0A000"]),
        ("SELECT 1 AS OF SYSTEM TIME '-0.000001s'; BEGIN", &["1", "SELECT 1", "0A000"]),
        (
            "SELECT 1 AS OF SYSTEM TIME '-0.000001s'; COMMIT; INSERT INTO t VALUES (1)",
            &["1", "SELECT 1", "COMMIT", "INSERT 0 1"],
        ),
        // Both count from the beginning of their transaction.
        (
            "SELECT 1 AS OF SYSTEM TIME '-0.000001s'; SELECT 2 AS OF SYSTEM TIME '-0.000001s'",
            &["1", "SELECT 1", "2", "SELECT 1"],
        ),
        (
            "SET TRANSACTION AS OF SYSTEM TIME '-0.000001s'; SELECT 1; SELECT 2",
            &["SET", "1", "SELECT 1", "2", "SELECT 1"],
        ),
        ("SET TRANSACTION AS OF SYSTEM TIME '-0.000001s'; INSERT INTO t VALUES (1)", &["SET", "25006"]),
        ("BEGIN; SELECT 1 AS OF SYSTEM TIME '-0.000001s'", &["BEGIN", "0A000"]),
        (
            "ROLLBACK; BEGIN; SELECT 1; SET TRANSACTION AS OF SYSTEM TIME '-1s'",
            &["ROLLBACK", "BEGIN", "1", "SELECT 1", "25001"],
        ),
        ("ROLLBACK; BEGIN READ WRITE AS OF SYSTEM TIME '-1s'", &["ROLLBACK", "42601"]),
        ("BEGIN AS OF SYSTEM TIME '1s'", &["22023"]),
        ("BEGIN AS OF SYSTEM TIME 1", &["3D000"]),
        ("INSERT INTO t VALUES (1)", &["INSERT 0 1"]),
    ]);
}

#[test]
fn the_schema_is_that_of_the_time() {
    with_session(async |s| {
        all(
            s,
            &[
                "CREATE TABLE t (k int PRIMARY KEY, a int, b int)",
                "CREATE INDEX t_a ON t (a)",
                "CREATE VIEW w AS SELECT a FROM t",
                "CREATE TABLE gone (k int)",
                "CREATE TABLE cut (k int)",
                "CREATE TABLE typed (k int PRIMARY KEY, a int)",
                "INSERT INTO t VALUES (1, 10, 100)",
                "INSERT INTO gone VALUES (1)",
                "INSERT INTO cut VALUES (1)",
                "INSERT INTO typed VALUES (1, 1)",
            ],
        )
        .await;
        let then = now(s).await;
        all(
            s,
            &[
                "DROP VIEW w",
                "DROP INDEX t_a",
                "ALTER TABLE t RENAME COLUMN a TO c",
                "ALTER TABLE t DROP COLUMN b",
                "ALTER TABLE t ADD COLUMN d int DEFAULT 7",
                "ALTER TABLE t RENAME TO u",
                "CREATE TABLE t (other text)",
                "DROP TABLE gone",
                "TRUNCATE cut",
                "ALTER TABLE typed ALTER COLUMN a TYPE text",
                "UPDATE u SET c = 11",
            ],
        )
        .await;
        assert_eq!(rows(s, "SELECT * FROM u").await, ["1|11|7"]);
        let at = |sql: &str| sql.replace("THEN", &format!("AS OF SYSTEM TIME {then}"));
        assert_eq!(rows(s, &at("SELECT * FROM t THEN")).await, ["1|10|100"]);
        assert_eq!(rows(s, &at("SELECT * FROM t THEN WHERE a = 10")).await, ["1|10|100"], "not by its index");
        assert_eq!(rows(s, &at("SELECT * FROM w THEN")).await, ["10"]);
        assert_eq!(rows(s, &at("SELECT * FROM u THEN")).await, ["42P01"]);
        assert_eq!(rows(s, &at("SELECT d FROM t THEN")).await, ["42703"]);
        assert_eq!(
            rows(s, &at("SELECT tablename FROM pg_tables THEN WHERE schemaname = 'public' ORDER BY 1")).await,
            ["cut", "gone", "t", "typed"]
        );
        for table in ["gone", "cut", "typed"] {
            let sql = at(&format!("SELECT * FROM {table} THEN"));
            assert_eq!(rows(s, &sql).await, ["0A000"], "{table} is not what it was");
        }
        // Prepared while the one schema is known, or the other.
        all(s, &[&at("PREPARE p AS SELECT * FROM t THEN WHERE k = $1"), "PREPARE q AS SELECT * FROM t"])
            .await;
        assert_eq!(rows(s, "EXECUTE p(1)").await, ["1|10|100"]);
        all(s, &[&at("BEGIN THEN")]).await;
        assert_eq!(rows(s, "EXECUTE p(1)").await, ["1|10|100"]);
        assert_eq!(rows(s, "EXECUTE q").await, ["0A000"], "its columns are others now");
        all(s, &["ROLLBACK"]).await;
        assert_eq!(rows(s, "SELECT count(other) FROM t").await, ["0"]);
    });
}

#[test]
fn the_extended_protocol_leads_there_too() {
    with_session(async |s| {
        all(s, &["CREATE TABLE t (k int)", "INSERT INTO t VALUES (1), (2)"]).await;
        let then = now(s).await;
        all(s, &["DROP TABLE t", "CREATE TABLE t (a text, b text)"]).await;
        all(s, &["CREATE TABLE u (k int)", "INSERT INTO u VALUES (1), (2)"]).await;
        let later = now(s).await;
        all(s, &["ALTER TABLE u ADD COLUMN more int", "INSERT INTO u VALUES (3, 3)"]).await;
        let sql = format!("SELECT * FROM u AS OF SYSTEM TIME {later} WHERE k <= $1 ORDER BY k");
        s.parse("p", &sql, &[]).await.expect("a statement");
        let described = s.describe_statement("p").expect("a statement");
        assert_eq!(described.params.map(|p| p.len()), Some(1));
        assert_eq!(described.fields.map(|f| f.len()), Some(1), "the columns of then");
        s.bind("", "p", &[], vec![Some("9".into())], Vec::new()).await.expect("a portal");
        assert_eq!(execute(s, "", 1).await, ["1", "suspended"]);
        assert_eq!(execute(s, "", 0).await, ["2", "SELECT 1"]);
        let mut client = Recorder::default();
        s.sync(&mut client).await.expect("read");
        // A portal that FETCH begins.
        s.bind("c", "p", &[], vec![Some("9".into())], Vec::new()).await.expect("a portal");
        assert_eq!(rows(s, "BEGIN; FETCH ALL FROM c").await, ["0A000"]);
        all(s, &["ROLLBACK"]).await;
        let sql = format!("SELECT * FROM t AS OF SYSTEM TIME {then}");
        s.parse("", &sql, &[]).await.expect("it can be planned");
        s.bind("", "", &[], Vec::new(), Vec::new()).await.expect("a portal");
        assert_eq!(execute(s, "", 0).await, ["0A000"]);
        assert_eq!(
            s.parse("", "SELECT * FROM t AS OF SYSTEM TIME '1s'", &[]).await.expect_err("later").code(),
            "22023"
        );
    });
}

/// What another gateway has seen is the same here, and what is collected is refused.
#[test]
fn all_gateways_see_the_same_past() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 2);
    runtime.block_on(async {
        let nodes = nodes(&cluster).await;
        let (a, b) = (&mut session(&nodes[0]).await, &mut session(&nodes[1]).await);
        all(a, &["CREATE TABLE t (k int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 1)"]).await;
        let told = rows(a, "SELECT cluster_logical_timestamp(), v FROM t").await.remove(0);
        let (then, v) = told.split_once('|').expect("two");
        all(a, &["UPDATE t SET v = 2", "ALTER TABLE t ADD COLUMN w int"]).await;
        nodes[1].runtime().sleep(std::time::Duration::from_secs(1)).await;
        let sql = format!("SELECT v FROM t AS OF SYSTEM TIME {then}");
        assert_eq!(rows(b, &sql).await, [v]);
        assert_eq!(rows(b, "SELECT v FROM t").await, ["2"]);
        let threshold = nodes[0].clock().now();
        for range in nodes[0].db.ranges().await.expect("ranges") {
            nodes[0].db.collect_garbage(&range, threshold).await.expect("collected");
        }
        let mut client = Recorder::default();
        let error = b.simple_query(&sql, &mut client).await.expect_err("collected");
        b.fail(&error, &mut client).await;
        assert_eq!(error.code(), "72000");
        assert!(error.fields().hint.as_ref().is_some_and(|h| h.contains("--gc-after")), "{error:?}");
        assert_eq!(rows(b, "SELECT v FROM t").await, ["2"]);
    });
    runtime.shut_down();
}
