//! Isolation level, read-only and deferrable: in which transaction they hold, until when, and who is told of them.

use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{Recorder, nodes, say, session, talk};

#[test]
fn a_message_is_a_transaction_with_modes() {
    talk(&[
        ("CREATE TABLE t (k int)", &["CREATE TABLE"]),
        ("SET TRANSACTION READ ONLY; INSERT INTO t VALUES (1)", &["SET", "25006"]),
        ("SET transaction_read_only = on; INSERT INTO t VALUES (1)", &["SET", "25006"]),
        (
            "SELECT set_config('transaction_read_only', 'on', true); INSERT INTO t VALUES (1)",
            &["on", "SELECT 1", "25006"],
        ),
        (
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SHOW transaction_isolation",
            &["SET", "read committed", "SHOW"],
        ),
        ("SELECT 1; SET TRANSACTION ISOLATION LEVEL READ COMMITTED", &["1", "SELECT 1", "25001"]),
        // Alone, they have no transaction to be of.
        ("SET TRANSACTION READ ONLY", &["SET"]),
        ("SET transaction_read_only = on", &["SET"]),
        ("SHOW transaction_read_only", &["off", "SHOW"]),
        ("SET TRANSACTION READ ONLY; COMMIT; SHOW transaction_read_only", &["SET", "COMMIT", "off", "SHOW"]),
        ("INSERT INTO t VALUES (1)", &["INSERT 0 1"]),
    ]);
}

#[test]
fn a_block_takes_over_the_modes_of_its_message() {
    talk(&[
        ("CREATE TABLE t (k int)", &["CREATE TABLE"]),
        ("SELECT 1; BEGIN READ ONLY; INSERT INTO t VALUES (1); COMMIT", &["1", "SELECT 1", "BEGIN", "25006"]),
        ("ROLLBACK", &["ROLLBACK"]),
        (
            "SET TRANSACTION READ ONLY; BEGIN; SHOW transaction_read_only; COMMIT",
            &["SET", "BEGIN", "on", "SHOW", "COMMIT"],
        ),
        (
            "SET TRANSACTION READ ONLY; BEGIN READ WRITE; SHOW transaction_read_only; COMMIT",
            &["SET", "BEGIN", "off", "SHOW", "COMMIT"],
        ),
        ("SELECT 1; BEGIN ISOLATION LEVEL READ COMMITTED", &["1", "SELECT 1", "25001"]),
        ("SELECT 1; BEGIN DEFERRABLE", &["1", "SELECT 1", "25001"]),
        (
            "BEGIN; BEGIN ISOLATION LEVEL READ COMMITTED; SHOW transaction_isolation; COMMIT",
            &["BEGIN", "BEGIN", "read committed", "SHOW", "COMMIT"],
        ),
    ]);
}

#[test]
fn a_pipeline_is_a_transaction_with_modes() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let mut s = session(&node).await;
        assert_eq!(say(&mut s, "CREATE TABLE t (k int)").await.1, None);
        for first in ["SET TRANSACTION READ ONLY", "SET transaction_read_only = on", "BEGIN READ ONLY"] {
            let mut client = Recorder::default();
            s.parse("", first, &[]).await.expect("a statement");
            s.bind("", "", &[], Vec::new(), Vec::new()).await.expect("a portal");
            s.execute("", 0, false, &mut client).await.expect("runs");
            s.parse("", "INSERT INTO t VALUES (1)", &[]).await.expect("a statement");
            s.bind("", "", &[], Vec::new(), Vec::new()).await.expect("a portal");
            let error = s.execute("", 0, true, &mut client).await.expect_err("writes");
            assert_eq!(error.code(), "25006", "{first}");
            s.fail(&error, &mut client).await;
            s.sync(&mut client).await.expect("nothing left");
            say(&mut s, "ROLLBACK").await;
        }
    });
    runtime.shut_down();
}

#[test]
fn modes_do_not_change_behind_a_query() {
    talk(&[
        ("BEGIN; DECLARE c CURSOR FOR SELECT 1", &["BEGIN", "DECLARE CURSOR"]),
        ("SET TRANSACTION ISOLATION LEVEL READ COMMITTED", &["25001"]),
        ("ROLLBACK; BEGIN; SELECT 1", &["ROLLBACK", "BEGIN", "1", "SELECT 1"]),
        ("SET TRANSACTION DEFERRABLE", &["25001"]),
        ("ROLLBACK; BEGIN READ ONLY; SELECT 1", &["ROLLBACK", "BEGIN", "1", "SELECT 1"]),
        ("SELECT set_config('transaction_read_only', 'off', true)", &["25001"]),
        ("ROLLBACK; BEGIN; SAVEPOINT s", &["ROLLBACK", "BEGIN", "SAVEPOINT"]),
        ("SET TRANSACTION NOT DEFERRABLE", &["25001"]),
        ("ROLLBACK", &["ROLLBACK"]),
    ]);
}

const MODES: &str = "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only'), \
                     current_setting('transaction_deferrable')";

#[test]
fn functions_know_the_modes() {
    talk(&[
        ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", &["BEGIN"]),
        (MODES, &["repeatable read|on|off", "SELECT 1"]),
        (
            "SELECT setting FROM pg_settings WHERE name = 'transaction_isolation'",
            &["repeatable read", "SELECT 1"],
        ),
        ("ROLLBACK", &["ROLLBACK"]),
        (MODES, &["serializable|off|off", "SELECT 1"]),
        ("PREPARE p AS SELECT current_setting('transaction_isolation')", &["PREPARE"]),
        ("EXECUTE p", &["serializable", "SELECT 1"]),
        (
            "BEGIN ISOLATION LEVEL READ COMMITTED; EXECUTE p; ROLLBACK; EXECUTE p",
            &["BEGIN", "read committed", "SELECT 1", "ROLLBACK", "serializable", "SELECT 1"],
        ),
    ]);
}

#[test]
fn set_config_changes_the_modes() {
    talk(&[
        ("CREATE TABLE t (k int)", &["CREATE TABLE"]),
        ("BEGIN", &["BEGIN"]),
        (
            "SELECT set_config('transaction_read_only', 'true', true), current_setting('transaction_read_only')",
            &["on|on", "SELECT 1"],
        ),
        ("SHOW transaction_read_only", &["on", "SHOW"]),
        ("INSERT INTO t VALUES (1)", &["25006"]),
        ("ROLLBACK; BEGIN", &["ROLLBACK", "BEGIN"]),
        ("SELECT set_config('transaction_isolation', 'serializable', true)", &["serializable", "SELECT 1"]),
        ("SELECT set_config('transaction_isolation', 'read committed', true)", &["25001"]),
        ("ROLLBACK; SELECT set_config('transaction_isolation', 'nope', true)", &["ROLLBACK", "22023"]),
        ("SELECT set_config('transaction_deferrable', 'on', true)", &["25001"]),
        ("SELECT set_config('transaction_read_only', 'on', false)", &["on", "SELECT 1"]),
        ("SHOW transaction_read_only", &["off", "SHOW"]),
    ]);
}

#[test]
fn deferrable_is_shown_and_chained() {
    talk(&[
        ("BEGIN DEFERRABLE; SHOW transaction_deferrable", &["BEGIN", "on", "SHOW"]),
        ("COMMIT AND CHAIN; SHOW transaction_deferrable", &["COMMIT", "on", "SHOW"]),
        ("ROLLBACK AND CHAIN; SHOW transaction_deferrable", &["ROLLBACK", "on", "SHOW"]),
        ("SELECT 1/0", &["22012"]),
        ("COMMIT AND CHAIN", &["ROLLBACK"]),
        ("SHOW transaction_deferrable", &["on", "SHOW"]),
        ("ROLLBACK; BEGIN; SET transaction_deferrable = on", &["ROLLBACK", "BEGIN", "SET"]),
        ("SHOW transaction_deferrable", &["on", "SHOW"]),
        ("ROLLBACK; SHOW transaction_deferrable", &["ROLLBACK", "off", "SHOW"]),
    ]);
}

#[test]
fn the_default_of_a_mode_is_that_of_new_transactions() {
    talk(&[
        ("RESET transaction_isolation", &["RESET"]),
        ("SET transaction_isolation = DEFAULT", &["SET"]),
        ("BEGIN READ ONLY; RESET transaction_read_only", &["BEGIN", "RESET"]),
        ("SHOW transaction_read_only", &["off", "SHOW"]),
        ("ROLLBACK", &["ROLLBACK"]),
    ]);
}
