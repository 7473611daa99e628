//! Old versions go while the node runs, but not those that an open transaction may still read.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio_postgres::Client;

use super::node::{Node, Ports, start_command, until};

/// `src/node/garbage.rs` looks at the ranges so often, the first time without collecting anything,
const LOOKS: Duration = Duration::from_secs(10);
/// and collects where more commands than this were applied since.
const COMMANDS: i64 = 10_000;

const SESSIONS: i64 = 16;
const ROWS: i64 = 160;

/// Every row, so many times, each time in a transaction of its own.
async fn update(clients: &[Client], times: i64) {
    let updates = clients.iter().enumerate().map(|(n, client)| async move {
        let update = client.prepare("UPDATE t SET v = v + 1 WHERE k = $1").await.expect("prepares");
        for _ in 0..times {
            for k in (n as i64..ROWS).step_by(SESSIONS as usize) {
                assert_eq!(client.execute(&update, &[&k]).await.expect("updates"), 1);
            }
        }
    });
    join_all(updates).await;
}

async fn values(client: &Client) -> Vec<i64> {
    let rows = client.query("SELECT v FROM t ORDER BY k", &[]).await.expect("reads");
    rows.iter().map(|row| row.get(0)).collect()
}

/// All versions of all keys. RocksDB estimates: what was written less twice what was deleted, which is right for what is
/// written once, as long as all of it is in memory.
async fn entries(node: &Node) -> i64 {
    node.metric("meridian_engine{name=\"engine_keys\"}").await.expect("the metric") as i64
}

/// The versions before the oldest open snapshot are collected, those from it on are kept, however old they are.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_what_no_open_transaction_sees() {
    let (folder, ports) = (tempfile::tempdir().expect("a folder"), Ports::free());
    let mut command = start_command(folder.path(), ports);
    command.args(["--gc-after", "5s"]);
    let node = Node::start_with(command, ports).await;
    let begun = Instant::now();
    let mut clients = Vec::new();
    for _ in 0..SESSIONS {
        clients.push(node.connect().await);
    }
    let fill = format!(
        "CREATE TABLE t (k bigint PRIMARY KEY, v bigint NOT NULL);
         INSERT INTO t SELECT k, 0 FROM generate_series(0, {}) k",
        ROWS - 1
    );
    clients[0].batch_execute(&fill).await.expect("creates");
    let before = 20;
    update(&clients, before).await;
    let mut old = Vec::new();
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let client = node.connect().await;
        client.batch_execute(&format!("BEGIN ISOLATION LEVEL {level}")).await.expect("begins");
        assert_eq!(values(&client).await, vec![before; ROWS as usize]);
        old.push(client);
    }
    tokio::time::sleep((LOOKS + Duration::from_secs(1)).saturating_sub(begun.elapsed())).await;
    let after = COMMANDS / ROWS + 3;
    update(&clients, after).await;
    let most = entries(&node).await;
    assert!(most > (before + after) * ROWS, "{most} entries: versions are gone that may be read");
    // Of the first updates only the last versions are left; a margin for what the node itself writes.
    let (garbage, margin) = (before * ROWS, ROWS * 2);
    until("versions are collected", async || entries(&node).await <= most - garbage + margin).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let left = entries(&node).await;
    assert!(left > after * ROWS, "{left} entries: versions are gone that an open transaction may read");
    for client in old {
        assert_eq!(values(&client).await, vec![before; ROWS as usize]);
        client.batch_execute("COMMIT").await.expect("commits");
    }
    assert_eq!(values(&clients[0]).await, vec![before + after; ROWS as usize]);
}
