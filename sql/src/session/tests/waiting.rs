//! Waiting for tables that others change, or use: what ends it.

use std::pin::pin;
use std::time::Duration;

use futures::future::select;
use futures::join;
use meridian_storage::base::Runtime;
use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{Recorder, nodes, say, session};
use crate::catalog::cluster::PERIOD;
use crate::error::SqlError;
use crate::session::Session;

/// Works with two sessions of one node, `t` and `u` having a row each.
fn with_two(work: impl AsyncFnOnce(&mut Session, &mut Session, &dyn Runtime)) {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        for table in ["t", "u"] {
            does(&mut a, &format!("CREATE TABLE {table} (k int PRIMARY KEY, v int)")).await;
            does(&mut a, &format!("INSERT INTO {table} VALUES (1, 1)")).await;
        }
        let runtime = node.runtime().clone();
        let kept_up = async {
            loop {
                node.catalog.keep_up().await.expect("a lease");
                runtime.sleep(PERIOD).await;
            }
        };
        let done = pin!(work(&mut a, &mut b, &*runtime));
        select(done, pin!(kept_up)).await;
    });
    runtime.shut_down();
}

async fn does(session: &mut Session, sql: &str) {
    assert_eq!(say(session, sql).await.1, None, "{sql}");
}

/// The error that a statement ends with, in a minute at most.
async fn fails(session: &mut Session, runtime: &dyn Runtime, sql: &str) -> SqlError {
    let mut client = Recorder::default();
    let limit = Duration::from_secs(60);
    let ended = {
        let run = session.simple_query(sql, &mut client);
        meridian_storage::base::runtime::timeout(runtime, limit, run).await
    };
    let error = ended.unwrap_or_else(|| panic!("{sql} waits")).expect_err(sql);
    session.fail(&error, &mut client).await;
    error
}

/// The message of the error that a statement ends with when its session is asked to cancel it.
async fn cancelled(session: &mut Session, runtime: &dyn Runtime, sql: &str) -> String {
    let cancel = session.cancel_handle();
    let request = async {
        runtime.sleep(Duration::from_secs(1)).await;
        cancel.cancel();
    };
    let (error, ()) = join!(fails(session, runtime, sql), request);
    assert_eq!(error.code(), "57014", "{sql}");
    error.message().into()
}

const WAITING: [&str; 8] = [
    "SELECT * FROM t",
    "SELECT * FROM u, t",
    "EXPLAIN SELECT * FROM t",
    "BEGIN; DECLARE c CURSOR FOR SELECT * FROM t; FETCH c",
    "COPY t TO STDOUT",
    "COPY t FROM STDIN",
    "CREATE TABLE w AS SELECT * FROM t",
    "ALTER TABLE t ADD y int",
];

/// What waits for a change, and what waits to make another.
async fn each_can_be_ended(b: &mut Session, runtime: &dyn Runtime, statements: &[&str]) {
    for sql in statements {
        assert_eq!(cancelled(b, runtime, sql).await, "canceling statement due to user request", "{sql}");
        say(b, "ROLLBACK").await;
        for (setting, code, message) in [
            ("statement_timeout", "57014", "canceling statement due to statement timeout"),
            ("lock_timeout", "55P03", "canceling statement due to lock timeout"),
        ] {
            does(b, &format!("SET {setting} = '1s'")).await;
            let error = fails(b, runtime, sql).await;
            assert_eq!((error.code(), error.message()), (code, message), "{sql}");
            assert_eq!(error.fields().detail, None, "{sql}");
            say(b, "ROLLBACK").await;
            does(b, &format!("RESET {setting}")).await;
        }
    }
}

#[test]
fn what_waits_for_a_schema_change_can_be_ended() {
    with_two(async |a, b, runtime| {
        does(a, "BEGIN; ALTER TABLE t ADD x int").await;
        each_can_be_ended(b, runtime, &WAITING).await;
        does(a, "COMMIT").await;
        assert_eq!(say(b, "SELECT * FROM t").await.0, ["1|1|", "SELECT 1"]);
    });
}

#[test]
fn a_schema_change_that_waits_can_be_ended() {
    with_two(async |a, b, runtime| {
        does(a, "BEGIN; SELECT * FROM t").await;
        let waiting = ["ALTER TABLE t ADD y int", "DROP TABLE t", "CREATE INDEX i ON t (v)", "TRUNCATE t"];
        each_can_be_ended(b, runtime, &waiting).await;
        // In a block, it lets others at the table at once.
        does(b, "BEGIN; SET LOCAL lock_timeout = '1s'").await;
        assert_eq!(fails(b, runtime, "ALTER TABLE t ADD y int").await.code(), "55P03");
        does(a, "COMMIT; SELECT * FROM t").await;
        does(b, "ROLLBACK; ALTER TABLE t ADD y int").await;
    });
}

/// The detection of deadlocks knows nothing of what waits for a table.
#[test]
fn a_deadlock_of_a_row_and_a_schema_change_ends() {
    with_two(async |a, b, runtime| {
        does(b, "BEGIN; UPDATE u SET v = 2").await;
        does(a, "BEGIN; ALTER TABLE t ADD x int").await;
        let rest = async {
            let error = fails(b, runtime, "SELECT * FROM t").await;
            assert_eq!(error.code(), "55P03");
            assert!(error.fields().detail.is_some() && error.fields().hint.is_some());
            does(b, "ROLLBACK").await;
        };
        join!(does(a, "UPDATE u SET v = 3"), rest);
        does(a, "COMMIT").await;
    });
}

/// Of two changes at once, the one that holds nothing waits as long as it takes, and keeps no table from the other.
#[test]
fn who_holds_nothing_waits_for_ever() {
    with_two(async |a, b, runtime| {
        does(a, "BEGIN; ALTER TABLE t ADD x int").await;
        let (told, ()) = join!(say(b, "SELECT * FROM u, t"), async {
            runtime.sleep(Duration::from_secs(90)).await;
            does(a, "ALTER TABLE u ADD x int").await;
            does(a, "COMMIT").await;
        });
        assert_eq!(told, (vec!["1|1||1|1|".into(), "SELECT 1".into()], None));
    });
}
