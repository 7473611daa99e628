//! Where transactions end: what of a message that fails is undone, and what the client is told of it.

use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{Recorder, nodes, say, session, talk};

#[test]
fn analyze_is_undone_with_its_message() {
    talk(&[
        ("CREATE TABLE t (k int)", &["CREATE TABLE"]),
        ("INSERT INTO t VALUES (1); ANALYZE t; SELECT 1/0", &["INSERT 0 1", "ANALYZE", "22012"]),
        ("SELECT count(*) FROM t", &["0", "SELECT 1"]),
        ("INSERT INTO t VALUES (1); ANALYZE t; SELECT 1", &["INSERT 0 1", "ANALYZE", "1", "SELECT 1"]),
        ("SELECT count(*) FROM t", &["1", "SELECT 1"]),
        // A block takes over what the message has done before it.
        ("ANALYZE t; BEGIN; COMMIT", &["ANALYZE", "BEGIN", "COMMIT"]),
        ("SELECT reltuples FROM pg_class WHERE relname = 't'", &["1", "SELECT 1"]),
    ]);
}

#[test]
fn analyze_is_a_statement_of_its_block() {
    talk(&[
        ("CREATE TABLE t (k int)", &["CREATE TABLE"]),
        ("BEGIN", &["BEGIN"]),
        ("ANALYZE t", &["ANALYZE"]),
        ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", &["25001"]),
        ("ROLLBACK", &["ROLLBACK"]),
    ]);
}

/// The block's snapshot is too old for its UPDATE: begun again unseen, the block would be without its ANALYZE.
#[test]
fn a_retry_does_not_lose_statistics() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        for sql in ["CREATE TABLE t (k int)", "CREATE TABLE u (k int)", "INSERT INTO u VALUES (1)"] {
            assert_eq!(say(&mut a, sql).await.1, None, "{sql}");
        }
        for sql in ["BEGIN ISOLATION LEVEL REPEATABLE READ", "ANALYZE t"] {
            assert_eq!(say(&mut a, sql).await.1, None, "{sql}");
        }
        assert_eq!(say(&mut b, "UPDATE u SET k = 2").await.1, None);
        assert_eq!(say(&mut a, "UPDATE u SET k = 3").await.1, Some("40001"));
        assert_eq!(say(&mut a, "ROLLBACK").await.1, None);
    });
    runtime.shut_down();
}

#[test]
fn and_chain_needs_a_block() {
    talk(&[
        ("ROLLBACK AND CHAIN", &["25P01"]),
        ("COMMIT AND CHAIN", &["25P01"]),
        ("CREATE TABLE t (k int)", &["CREATE TABLE"]),
        ("INSERT INTO t VALUES (1); ROLLBACK AND CHAIN", &["INSERT 0 1", "25P01"]),
        ("SELECT count(*) FROM t", &["0", "SELECT 1"]),
        ("BEGIN", &["BEGIN"]),
        ("ROLLBACK AND CHAIN", &["ROLLBACK"]),
        ("COMMIT", &["COMMIT"]),
    ]);
}

const GERMAN: &str = "DateStyle=German, DMY";

/// Of every change, there and back, the client is told.
#[test]
fn settings_go_back_with_their_message() {
    talk(&[
        (
            "SET datestyle = 'ISO, DMY'; SELECT 1/0",
            &["DateStyle=ISO, DMY", "SET", "DateStyle=ISO, MDY", "22012"],
        ),
        ("SHOW datestyle", &["ISO, MDY", "SHOW"]),
        ("SET datestyle = 'German'", &[GERMAN, "SET"]),
        ("RESET datestyle; SELECT 1/0", &["DateStyle=ISO, MDY", "RESET", GERMAN, "22012"]),
        ("SHOW datestyle", &["German, DMY", "SHOW"]),
        ("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY; SELECT 1/0", &["SET", "22012"]),
        ("SHOW default_transaction_read_only", &["off", "SHOW"]),
        (
            "SET LOCAL datestyle = 'SQL, DMY'; SHOW datestyle",
            &["DateStyle=SQL, DMY", "SET", "SQL, DMY", "SHOW", GERMAN],
        ),
        ("RESET datestyle; SELECT 1", &["DateStyle=ISO, MDY", "RESET", "1", "SELECT 1"]),
        ("SHOW datestyle", &["ISO, MDY", "SHOW"]),
        // A block takes over what the message has set before it.
        (
            "SET datestyle = 'German'; BEGIN; ROLLBACK",
            &[GERMAN, "SET", "BEGIN", "DateStyle=ISO, MDY", "ROLLBACK"],
        ),
        ("SET work_mem = '1MB'", &["SET"]),
    ]);
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let mut session = session(&node).await;
        say(&mut session, "SET work_mem = '1MB'").await;
        assert_eq!(say(&mut session, "RESET ALL; SELECT 1/0").await.1, Some("22012"));
        assert_eq!(say(&mut session, "SHOW work_mem").await.0, ["1MB", "SHOW"]);
    });
    runtime.shut_down();
}

#[test]
fn a_failed_block_tells_of_settings() {
    talk(&[
        ("BEGIN", &["BEGIN"]),
        ("SET datestyle = 'German'", &[GERMAN, "SET"]),
        ("SELECT 1/0", &["DateStyle=ISO, MDY", "22012"]),
        ("COMMIT", &["ROLLBACK"]),
        ("SHOW datestyle", &["ISO, MDY", "SHOW"]),
    ]);
}

#[test]
fn what_runs_alone_is_refused_among_others() {
    talk(&[
        ("VACUUM; SELECT 1", &["25001"]),
        ("SELECT 1; DISCARD ALL", &["1", "SELECT 1", "25001"]),
        ("BEGIN; DISCARD ALL", &["BEGIN", "25001"]),
        ("ROLLBACK", &["ROLLBACK"]),
        ("VACUUM", &["VACUUM"]),
        ("DISCARD PLANS; SELECT 1", &["DISCARD PLANS", "1", "SELECT 1"]),
    ]);
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let mut s = session(&node).await;
        for second in ["VACUUM", "DISCARD ALL"] {
            let mut client = Recorder::default();
            for sql in ["SELECT 1", second] {
                s.parse("", sql, &[]).await.expect("a statement");
                s.bind("", "", &[], Vec::new(), Vec::new()).await.expect("a portal");
                match s.execute("", 0, sql == second, &mut client).await {
                    Ok(()) => assert_eq!(sql, "SELECT 1"),
                    Err(e) => {
                        assert_eq!((sql, e.code()), (second, "25001"));
                        s.fail(&e, &mut client).await;
                    }
                }
            }
            s.sync(&mut client).await.expect("nothing left");
            assert_eq!(client.told, ["1", "SELECT 1"], "{second}");
        }
    });
    runtime.shut_down();
}

#[test]
fn analyze_checks_what_it_names() {
    talk(&[
        ("CREATE TABLE t (k int); CREATE VIEW v AS SELECT 1 AS k", &["CREATE TABLE", "CREATE VIEW"]),
        ("CREATE INDEX i ON t (k)", &["CREATE INDEX"]),
        ("ANALYZE t(nocol)", &["42703"]),
        ("ANALYZE t(k, k)", &["42701"]),
        ("ANALYZE pg_class(nocol)", &["42703"]),
        ("VACUUM nope", &["42P01"]),
        ("VACUUM t(k)", &["0A000"]),
        ("VACUUM ANALYZE t(k)", &["VACUUM"]),
        // With a warning.
        ("ANALYZE v, t, i, pg_stat_activity", &["ANALYZE"]),
        ("VACUUM v", &["VACUUM"]),
        ("ANALYZE pg_class, pg_catalog.pg_class", &["ANALYZE"]),
    ]);
}
