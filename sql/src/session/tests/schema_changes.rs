//! Schema changes that stand alone, on several nodes at once: what is in their way is met unseen, and none is done twice.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join_all;
use meridian_storage::base::Runtime;
use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::{Cluster, Faults};

use super::{Recorder, nodes, session};
use crate::catalog::CatalogCache;
use crate::error::SqlResult;
use crate::schema_change::jobs::run_loop;
use crate::session::{Session, SqlNode};

/// How often the client was told of success.
async fn run(session: &mut Session, sql: &str) -> SqlResult<usize> {
    let mut client = Recorder::default();
    match session.simple_query(sql, &mut client).await {
        Ok(()) => Ok(client.told.len()),
        Err(e) => {
            session.fail(&e, &mut client).await;
            Err(e)
        }
    }
}

fn retries(nodes: &[Arc<SqlNode>]) -> u64 {
    nodes.iter().map(|n| n.counters.retries.load(Ordering::Relaxed)).sum()
}

const TABLES: usize = 8;

/// Runs statements on a node, and says how each went.
async fn run_all(node: &Arc<SqlNode>, statements: Vec<String>) -> Vec<(String, SqlResult<usize>)> {
    let mut session = session(node).await;
    let mut done = Vec::new();
    for sql in statements {
        let outcome = run(&mut session, &sql).await;
        done.push((sql, outcome));
    }
    done
}

fn create(node: usize) -> Vec<String> {
    (0..TABLES).map(|n| format!("CREATE TABLE t_{node}_{n} (k int PRIMARY KEY)")).collect()
}

fn add_column(node: usize) -> Vec<String> {
    (0..TABLES).map(|n| format!("ALTER TABLE t ADD COLUMN c_{node}_{n} int")).collect()
}

#[test]
fn a_schema_change_that_meets_another_is_repeated_unseen() {
    let runtime = SimRuntime::shuffled(1);
    let cluster = Cluster::new(&runtime, 3);
    cluster.set_faults(Faults { delay: Duration::from_millis(3), ..Faults::default() });
    runtime.block_on(async {
        let nodes = nodes(&cluster).await;
        for node in &nodes {
            runtime.spawn("jobs", Box::pin(run_loop(node.catalog.clone())));
        }
        run(&mut session(&nodes[0]).await, "CREATE TABLE t (k int)").await.expect("creates");
        runtime.sleep(Duration::from_secs(2)).await;
        let all = join_all(nodes.iter().enumerate().map(|(n, node)| run_all(node, add_column(n))));
        // As if the second node had been taken for dead: what it keeps closed is opened.
        let db = nodes[1].db.clone();
        let opened = async {
            for _ in 0..20 {
                runtime.sleep(Duration::from_millis(100)).await;
                CatalogCache::open(db.clone()).await.expect("the catalog");
            }
        };
        let (all, ()) = futures::join!(all, opened);
        for (sql, outcome) in all.concat() {
            assert_eq!(outcome.map_err(|e| format!("{} {}", e.code(), e.message())), Ok(1), "{sql}");
        }
        assert!(retries(&nodes) > 0, "nothing was in the way of anything");
    });
    runtime.shut_down();
}

/// A repetition of a change that has happened would find its own table.
#[test]
fn a_schema_change_of_unknown_outcome_is_not_repeated() {
    let runtime = SimRuntime::shuffled(2);
    let cluster = Cluster::new(&runtime, 3);
    runtime.block_on(async {
        let nodes = nodes(&cluster).await;
        let faults = Faults { replies_lost: 400, requests_lost: 50, delay: Duration::from_millis(3) };
        cluster.set_faults(faults);
        let all = join_all(nodes[1..].iter().enumerate().map(|(n, node)| run_all(node, create(n)))).await;
        cluster.set_faults(Faults::default());
        runtime.sleep(Duration::from_secs(20)).await;
        let mut unknown = 0;
        for (sql, outcome) in all.concat() {
            let code = outcome.map_err(|e| e.code());
            assert!(code == Ok(1) || code == Err("40003"), "{sql}: {code:?}");
            unknown += usize::from(code.is_err());
        }
        assert!(unknown > 0, "{} messages were lost in vain", cluster.lost());
    });
    runtime.shut_down();
}
