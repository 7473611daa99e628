//! Three nodes, of which any one may die.

use std::time::{Duration, Instant};

use super::node::{Node, Ports, until};

/// How long a dead leaseholder may keep the others from serving.
const FAILOVER_MAX: Duration = Duration::from_secs(5);

/// Three nodes that all hold replicas.
async fn three(folder: &std::path::Path) -> Vec<Node> {
    let first = Node::start(&folder.join("1"), Ports::free(), None).await;
    let join = Some(first.rpc);
    let second = Node::start(&folder.join("2"), Ports::free(), join).await;
    let third = Node::start(&folder.join("3"), Ports::free(), join).await;
    let nodes = vec![first, second, third];
    until("every range has three replicas", async || {
        let (mut ranges, mut leases) = (0.0, 0.0);
        for node in &nodes {
            ranges += node.metric("meridian_ranges").await.unwrap_or_default();
            leases += node.metric("meridian_leases").await.unwrap_or_default();
        }
        leases > 0.0 && ranges >= 3.0 * leases
    })
    .await;
    nodes
}

/// Rows that one node took are read through the others; when it dies, they serve on, with every acknowledged row.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_outlives_a_killed_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut nodes = three(folder.path()).await;
    let client = nodes[0].connect().await;
    client.batch_execute("CREATE TABLE t (k bigint PRIMARY KEY)").await.expect("creates");
    // Another node learns of a new table within moments, not at once.
    for node in &nodes {
        let client = node.connect().await;
        until("the table is known", async || client.batch_execute("SELECT FROM t").await.is_ok()).await;
    }
    let mut acknowledged = 0i64;
    while acknowledged < 20 {
        client.execute("INSERT INTO t VALUES ($1)", &[&acknowledged]).await.expect("inserts");
        acknowledged += 1;
        for node in &nodes {
            let n: i64 =
                node.connect().await.query_one("SELECT count(*) FROM t", &[]).await.expect("counts").get(0);
            assert_eq!(n, acknowledged, "through the node at {}", node.sql);
        }
    }
    let survivor = nodes[1].connect().await;
    nodes[0].kill();
    let dead = Instant::now();
    loop {
        let row = survivor.execute("INSERT INTO t VALUES ($1)", &[&acknowledged]).await;
        // A repetition of a row whose first attempt was left open says so.
        let there = row.as_ref().is_err_and(|e| e.code().is_some_and(|c| c.code() == "23505"));
        if row.is_ok() || there {
            break;
        }
        assert!(dead.elapsed() < FAILOVER_MAX, "no service after {:?}: {row:?}", dead.elapsed());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(dead.elapsed() < FAILOVER_MAX, "service came back after {:?}", dead.elapsed());
    acknowledged += 1;
    for node in &nodes[1..] {
        let n: i64 =
            node.connect().await.query_one("SELECT count(*) FROM t", &[]).await.expect("counts").get(0);
        assert_eq!(n, acknowledged, "through the node at {}", node.sql);
    }
}

/// Nodes that all stop, well or badly, find one another again, whoever comes first; and one that has moved finds the others,
/// even if they have moved, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_has_stopped_as_a_whole_starts_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut nodes = three(folder.path()).await;
    let client = nodes[0].connect().await;
    client
        .batch_execute("CREATE TABLE t (k bigint PRIMARY KEY); INSERT INTO t VALUES (1)")
        .await
        .expect("a row");
    let mut ports: Vec<Ports> = nodes.iter().map(Node::ports).collect();
    for round in 2..5 {
        for node in &mut nodes {
            match round {
                2 => assert_eq!(node.stop().await, Some(0)),
                _ => node.kill(),
            }
        }
        let mut join = None;
        if round == 4 {
            // All of them have moved: some of the addresses have to be told. Among them may be one's own.
            ports = ports.iter().map(|_| Ports::free()).collect();
            join = Some(ports[1].rpc);
        }
        let path = |i: usize| folder.path().join((i + 1).to_string());
        // Two are a majority; each waits for the other.
        let paths = [path(0), path(1)];
        let (second, first) =
            tokio::join!(Node::start(&paths[1], ports[1], join), Node::start(&paths[0], ports[0], join));
        let insert = format!("INSERT INTO t VALUES ({round})");
        first.connect().await.batch_execute(&insert).await.expect("a majority serves");
        let third = Node::start(&path(2), ports[2], join).await;
        nodes = vec![first, second, third];
        for node in &nodes {
            let rows = node.connect().await.query_one("SELECT count(*) FROM t", &[]).await.expect("counts");
            assert_eq!(rows.get::<_, i64>(0), round);
        }
    }
}
