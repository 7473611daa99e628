//! `meridian debug check`, as people run it.

use std::net::SocketAddr;
use std::process::{Command, Output};

use super::node::{Node, Ports, ends};

fn check(host: SocketAddr) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
    command.args(["debug", "check", "--host", &host.to_string(), "--locks-older", "5s"]);
    ends(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_cluster_is_in_order_while_others_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path(), Ports::free(), None).await;
    let client = node.connect().await;
    let schema = [
        "CREATE TABLE p (id int PRIMARY KEY, name text UNIQUE)",
        "CREATE TABLE c (id serial PRIMARY KEY, p int REFERENCES p, n int CHECK (n >= 0))",
        "CREATE INDEX c_p ON c (p) INCLUDE (n)",
        "INSERT INTO p SELECT k, 'n' || k FROM generate_series(1, 5000) k",
        "INSERT INTO c (p, n) SELECT k, 1 FROM generate_series(1, 5000) k",
    ];
    for statement in schema {
        client.batch_execute(statement).await.expect("makes the tables");
    }
    client.batch_execute("ALTER TABLE p SPLIT AT VALUES (2000)").await.expect("divides");
    let writes = tokio::spawn(async move {
        for n in 0..200 {
            let text = format!("UPDATE c SET p = {n} + 1, n = n + 1 WHERE p = {n} + 4000");
            client.batch_execute(&text).await.expect("writes");
        }
    });
    let output = check(node.rpc);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.ends_with("2 ranges, 20000 rows and index entries\nall is as it should be\n"), "{said}");
    writes.await.expect("it writes to its end");
}

#[test]
fn a_node_that_is_not_there_is_no_good_news() {
    let output = check(Ports::free().rpc);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("gave no answer"));
}
