//! One node that ends, well or badly, and comes back.

use super::node::{Node, Ports, start_command};

async fn write(node: &Node, rows: std::ops::Range<i64>) {
    let client = node.connect().await;
    let insert = client.prepare("INSERT INTO t VALUES ($1, 'row ' || $1)").await.expect("prepares");
    for n in rows {
        client.execute(&insert, &[&n]).await.expect("inserts");
    }
}

async fn count(node: &Node) -> i64 {
    let client = node.connect().await;
    let sql = "SELECT count(*) FROM t WHERE v = 'row ' || k";
    client.query_one(sql, &[]).await.expect("counts").get(0)
}

async fn create(node: &Node) {
    let client = node.connect().await;
    client.batch_execute("CREATE TABLE t (k bigint PRIMARY KEY, v text NOT NULL)").await.expect("creates");
}

/// What was acknowledged before SIGKILL is there afterwards, again and again.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_rows_outlive_a_killed_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let ports = Ports::free();
    let mut node = Node::start(folder.path(), ports, None).await;
    create(&node).await;
    for round in 0..3 {
        write(&node, round * 20..round * 20 + 20).await;
        node.kill();
        node = Node::start(folder.path(), ports, None).await;
        assert_eq!(count(&node).await, round * 20 + 20, "after kill {round}");
    }
}

/// Threads of the store may be at work when a process ends: nothing that they use may be destroyed under them. The loader
/// says what it destroys.
#[tokio::test(flavor = "multi_thread")]
async fn a_clean_end_runs_no_destructors() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, said) = (folder.path().join("store"), folder.path().join("loader"));
    let ports = Ports::free();
    let mut command = start_command(&store, ports);
    command.env("LD_DEBUG", "files").stderr(std::fs::File::create(&said).expect("a file"));
    let mut node = Node::start_with(command, ports).await;
    create(&node).await;
    write(&node, 0..20).await;
    assert_eq!(node.stop().await, Some(0));
    let said = String::from_utf8_lossy(&std::fs::read(&said).expect("readable")).into_owned();
    if !said.contains("calling init") {
        eprintln!("skipped: this loader does not tell");
        return;
    }
    assert!(!said.contains("calling fini"), "{}", &said[said.len().saturating_sub(2000)..]);
    let node = Node::start(&store, ports, None).await;
    assert_eq!(count(&node).await, 20);
}

/// SIGTERM ends the process with 0, with sessions open, and loses nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_asked_to_stop_stops_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let ports = Ports::free();
    let mut node = Node::start(folder.path(), ports, None).await;
    create(&node).await;
    write(&node, 0..20).await;
    let idle = node.connect().await;
    assert_eq!(node.stop().await, Some(0));
    let e = idle.batch_execute("SELECT 1").await.expect_err("the session has ended");
    assert!(e.as_db_error().is_none_or(|d| d.code().code() == "57P01"), "{e:?}");
    let node = Node::start(folder.path(), ports, None).await;
    assert_eq!(count(&node).await, 20);
}
