//! Cancel requests, and what a statement that runs once more, or within another, finds.

use std::time::Duration;

use meridian_storage::base::Runtime;
use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::Cluster;

use super::{Recorder, bind, execute, nodes, say, session, with_session};

async fn fill(s: &mut crate::session::Session) {
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

#[test]
fn what_arguments_set_holds_for_the_statement() {
    with_session(async |s| {
        assert_eq!(say(s, "PREPARE p AS SELECT current_setting('work_mem'), $1").await.1, None);
        let (told, error) = say(s, "EXECUTE p(set_config('work_mem', '8MB', false))").await;
        assert_eq!((&*told, error), (&["8MB|8MB".to_string(), "SELECT 1".into()][..], None));
    });
}

/// The retry begins with the modes with which the statement began.
#[test]
fn a_retry_takes_back_the_modes() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 1);
    runtime.block_on(async {
        let node = nodes(&cluster).await.remove(0);
        let (mut a, mut b) = (session(&node).await, session(&node).await);
        assert_eq!(say(&mut a, "CREATE TABLE t (k int PRIMARY KEY)").await.1, None);
        let insert = "WITH w AS (INSERT INTO t SELECT count(*) FROM t RETURNING k)
            SELECT set_config('transaction_read_only', 'on', true), pg_sleep(3) FROM w";
        let process = runtime.process();
        let other = async {
            process.sleep(Duration::from_secs(1)).await;
            say(&mut b, "INSERT INTO t SELECT count(*) + 7 FROM t").await
        };
        let ((told, error), (_, other)) = futures::join!(say(&mut a, insert), other);
        assert_eq!((&*told, error, other), (&["on|".to_string(), "SELECT 1".into()][..], None, None));
        assert_eq!(say(&mut a, "SELECT k FROM t ORDER BY k").await.0, ["1", "7", "SELECT 2"]);
    });
    runtime.shut_down();
}
