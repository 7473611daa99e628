//! Cancel requests, and what a statement that runs once more, or within another, finds.

use std::sync::Arc;
use std::time::Duration;

use meridian_storage::base::Runtime;
use meridian_storage::base::runtime::yield_now;
use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{Recorder, bind, execute, nodes, say, session, with_session};
use crate::session::{Session, SqlNode};

async fn fill(s: &mut Session) {
    assert_eq!(say(s, "CREATE TABLE t (k int PRIMARY KEY)").await.1, None);
    assert_eq!(say(s, "INSERT INTO t SELECT generate_series(1, 5000)").await.1, None);
}

#[test]
fn a_request_that_comes_while_nothing_runs_is_void() {
    with_session(async |s| {
        fill(s).await;
        assert_eq!(say(s, "BEGIN").await.1, None);
        bind(s, "p", "SELECT k FROM t").await;
        assert_eq!(execute(s, "p", 1).await, ["1", "suspended"]);
        s.cancel_handle().cancel();
        assert_eq!(execute(s, "p", 0).await.len(), 5000);
        s.cancel_handle().cancel();
        assert_eq!(say(s, "SELECT count(*) FROM t").await.0, ["5000", "SELECT 1"]);
    });
}

#[test]
fn a_request_between_arguments_and_statement_counts() {
    with_session(async |s| {
        fill(s).await;
        assert_eq!(say(s, "PREPARE p AS SELECT count(*), $1 FROM t").await.1, None);
        let mut client = Recorder { cancel: Some(s.cancel_handle()), ..Default::default() };
        let error = s.simple_query("EXECUTE p(set_config('timezone', 'UTC', false))", &mut client).await;
        assert_eq!(error.expect_err("cancelled").code(), "57014");
    });
}

/// One row in many pieces: nothing of it waits for anything.
#[test]
fn a_copy_whose_data_never_pauses_hears_of_it() {
    with_session(async |s| {
        assert_eq!(say(s, "CREATE TABLE t (v text)").await.1, None);
        let data = vec![bytes::Bytes::from(vec![b'x'; 64 << 10]); 64];
        let mut client =
            Recorder { cancel: Some(s.cancel_handle()), data: data.into(), ..Default::default() };
        let error = s.simple_query("COPY t FROM STDIN", &mut client).await;
        assert_eq!(error.expect_err("cancelled").code(), "57014");
        assert!(!client.data.is_empty());
    });
}

/// A statement that another makes run once more.
async fn retried(node: &Arc<SqlNode>, runtime: &SimRuntime, statement: &str) -> Session {
    let (mut a, mut b) = (session(node).await, session(node).await);
    assert_eq!(say(&mut a, "CREATE TABLE t (k int PRIMARY KEY)").await.1, None);
    let insert = "PREPARE p AS WITH w AS (INSERT INTO t SELECT count(*) FROM t RETURNING k)
        SELECT $1, pg_sleep(3) FROM w";
    assert_eq!(say(&mut a, insert).await.1, None);
    let process = runtime.process();
    let other = async {
        process.sleep(Duration::from_secs(1)).await;
        say(&mut b, "INSERT INTO t SELECT count(*) + 7 FROM t").await
    };
    let ((told, error), (_, other)) = futures::join!(say(&mut a, statement), other);
    assert_eq!((told.last().map(|t| &**t), error, other), (Some("SELECT 1"), None, None));
    assert_eq!(say(&mut a, "SELECT k FROM t ORDER BY k").await.0, ["1", "7", "SELECT 2"]);
    a
}

#[test]
fn a_retry_keeps_what_arguments_have_set() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let mut s = retried(&node, &runtime, "EXECUTE p(set_config('work_mem', '8MB', false))").await;
        assert_eq!(say(&mut s, "SHOW work_mem").await.0, ["8MB", "SHOW"]);
    });
    runtime.shut_down();
}

/// It begins with the modes with which the statement began.
#[test]
fn a_retry_takes_back_the_modes() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let statement = "WITH w AS (INSERT INTO t SELECT count(*) FROM t RETURNING k)
            SELECT set_config('transaction_read_only', 'on', true), pg_sleep(3) FROM w";
        retried(&node, &runtime, statement).await;
    });
    runtime.shut_down();
}

/// None of the statements waits for anything.
#[test]
fn a_string_of_many_statements_lets_others_run_and_hears_of_it() {
    with_session(async |s| {
        let turns = std::cell::Cell::new(0);
        let cancel = s.cancel_handle();
        let sql = "SET work_mem = '4MB';".repeat(1000);
        let others = async {
            while turns.get() < 10 {
                turns.set(turns.get() + 1);
                yield_now().await;
            }
            cancel.cancel();
        };
        let ((told, error), ()) = futures::join!(say(s, &sql), others);
        assert_eq!((error, turns.get()), (Some("57014"), 10));
        assert!(told.len() < 1000);
    });
}
