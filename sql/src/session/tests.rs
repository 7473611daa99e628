//! Schema changes that stand alone, on several nodes at once: what is in their way is met unseen, and none is done twice.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use meridian_storage::base::{BoxFuture, Runtime};
use meridian_txn::testing::SimRuntime;
use meridian_txn::testing::cluster::{Cluster, Faults};

use super::{Client, Counters, Format, Session, SessionOptions, Severity, SqlNode};
use crate::catalog::CatalogCache;
use crate::error::{SqlError, SqlResult};
use crate::plan::Field;
use crate::types::Batch;
use crate::types::text::TextContext;

/// A client that only counts what it is told.
#[derive(Default)]
struct Quiet {
    tags: usize,
}

impl Client for Quiet {
    fn describe_rows(&mut self, _: &[Field], _: &[Format]) {}
    fn rows(&mut self, _: &Batch, _: &[Field], _: &[Format], _: &TextContext<'_>) -> SqlResult<()> {
        Ok(())
    }
    fn complete(&mut self, _: &str) {
        self.tags += 1;
    }
    fn empty_query(&mut self) {}
    fn portal_suspended(&mut self) {}
    fn notice(&mut self, _: Severity, _: &SqlError) {}
    fn parameter_status(&mut self, _: &str, _: &str) {}
    fn pending(&self) -> usize {
        0
    }
    fn mark(&self) -> (u64, usize) {
        (0, self.tags)
    }
    fn rewind(&mut self, mark: (u64, usize)) -> bool {
        self.tags = mark.1;
        true
    }
    fn flush(&mut self) -> BoxFuture<'_, SqlResult<()>> {
        Box::pin(async { Ok(()) })
    }
    fn copy_in_begin(&mut self, _: Format, _: usize) {}
    fn copy_in_next(&mut self) -> BoxFuture<'_, SqlResult<Option<Bytes>>> {
        Box::pin(async { Ok(None) })
    }
    fn copy_out_begin(&mut self, _: Format, _: usize) {}
    fn copy_out_data(&mut self, _: &[u8]) {}
    fn copy_out_end(&mut self) {}
}

async fn nodes(cluster: &Cluster) -> Vec<Arc<SqlNode>> {
    let mut nodes = Vec::new();
    for db in &cluster.gateways {
        nodes.push(Arc::new(SqlNode {
            db: db.clone(),
            catalog: CatalogCache::open(db.clone()).await.expect("the catalog"),
            consistency: String::new(),
            started: 0,
            sessions: Default::default(),
            counters: Counters::default(),
            admission: Default::default(),
        }));
    }
    nodes
}

async fn session(node: &Arc<SqlNode>) -> Session {
    let parameters = BTreeMap::from([("user".to_string(), "postgres".to_string())]);
    Session::start(node.clone(), SessionOptions { parameters }).await.expect("a session")
}

/// How often the client was told of success.
async fn run(session: &mut Session, sql: &str) -> SqlResult<usize> {
    let mut client = Quiet::default();
    match session.simple_query(sql, &mut client).await {
        Ok(()) => Ok(client.tags),
        Err(e) => {
            session.fail(&e).await;
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
        run(&mut session(&nodes[0]).await, "CREATE TABLE t (k int)").await.expect("creates");
        runtime.sleep(Duration::from_secs(2)).await;
        let all = join_all(nodes.iter().enumerate().map(|(n, node)| run_all(node, add_column(n)))).await;
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
