//! Starts that must not succeed: they end soon, with a code that is not 0 and a sentence that names the cause.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::node::{Node, Ports, ends, start_command};

/// The command fails, and says all of this on standard error.
fn refused(command: Command, code: i32, says: &[&str]) {
    let output = ends(command);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    for part in says {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
    assert!(!text.contains("panicked"), "{text}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("is ready"), "it said that it was ready");
}

#[test]
fn flags_that_make_no_sense() {
    for flags in [
        &["start", "--no-such-flag"][..],
        &["start", "--listen-sql", "nonsense"],
        &["start", "--listen-sql", "127.0.0.1:99999"],
        &["start", "--cache", "12XB"],
        &["start", "--replace-after", "soon"],
        &["start", "--store", ""],
        &["no-such-command"],
        &[],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
        command.args(flags);
        refused(command, 2, &["Usage:"][..usize::from(flags.len() < 2)]);
    }
}

#[test]
fn a_port_in_use() {
    let folder = tempfile::tempdir().expect("a folder");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let store = folder.path().join("store");
    for (flag, ports) in [
        ("--listen-sql", Ports { sql: address, ..Ports::free() }),
        ("--listen-rpc", Ports { rpc: address, ..Ports::free() }),
        ("--listen-http", Ports { http: address, ..Ports::free() }),
    ] {
        refused(start_command(&store, ports), 1, &[flag, &address.to_string(), "in use"]);
        assert!(!store.exists(), "a start that failed left a store behind");
    }
}

#[test]
fn an_open_address_without_insecure() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ports = Ports::free();
    ports.sql.set_ip([0, 0, 0, 0].into());
    refused(start_command(folder.path(), ports), 1, &["--listen-sql", "--insecure"]);
}

#[test]
fn a_cluster_that_does_not_answer() {
    let folder = tempfile::tempdir().expect("a folder");
    let nobody = Ports::free().rpc.to_string();
    let mut command = start_command(folder.path(), Ports::free());
    command.args(["--join", &nobody, "--join-for", "1s"]);
    refused(command, 1, &["cannot join", &nobody]);
}

#[test]
fn a_store_that_is_a_file() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    refused(start_command(file.path(), Ports::free()), 1, &[&file.path().display().to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_another_process_has_open() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::start(folder.path(), Ports::free(), None).await;
    refused(start_command(folder.path(), Ports::free()), 1, &["in use"]);
    assert!(node.runs());
    node.connect().await.batch_execute("SELECT 1").await.expect("the first node still serves");
}

/// A store with some rows, left by a killed process: its log will be replayed.
async fn left_behind() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Node::start(folder.path(), Ports::free(), None).await;
    let client = node.connect().await;
    client.batch_execute("CREATE TABLE t (k bigint PRIMARY KEY)").await.expect("creates");
    for k in 0..20i64 {
        client.execute("INSERT INTO t VALUES ($1)", &[&k]).await.expect("inserts");
    }
    node.kill();
    folder
}

/// The file of a folder whose name begins so; of several, the last.
fn file_of(folder: PathBuf, prefix: &str, suffix: &str) -> PathBuf {
    let mut names: Vec<_> = std::fs::read_dir(&folder)
        .expect("a folder")
        .map(|e| e.expect("an entry").path())
        .filter(|p| {
            p.file_name()
                .and_then(|n| n.to_str())
                .is_some_and(|n| n.starts_with(prefix) && n.ends_with(suffix))
        })
        .collect();
    names.sort();
    names.pop().unwrap_or_else(|| panic!("no {prefix}…{suffix} in {}", folder.display()))
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).expect("readable");
    bytes[at] ^= 0x40;
    std::fs::write(file, bytes).expect("writable");
}

/// Synced records follow the damaged one: cutting the log there would lose what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log() {
    let folder = left_behind().await;
    let log = file_of(folder.path().join("log"), "0", ".log");
    let bytes = std::fs::read(&log).expect("readable");
    let used = bytes.iter().rposition(|b| *b != 0).expect("a log that is not empty");
    flip(&log, used / 2);
    refused(start_command(folder.path(), Ports::free()), 1, &[&folder.path().display().to_string()]);
}

/// The first bytes of the log name its format, and are proven by a checksum: this is no other version's.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_first_bytes_are_damaged() {
    let folder = left_behind().await;
    let log = file_of(folder.path().join("log"), "0", ".log");
    flip(&log, 7);
    let says =
        [&*log.display().to_string(), "the header of the segment is damaged", "Restore the whole store"];
    refused(start_command(folder.path(), Ports::free()), 1, &says);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_state() {
    let folder = left_behind().await;
    let manifest = file_of(folder.path().join("state"), "MANIFEST-", "");
    flip(&manifest, std::fs::metadata(&manifest).expect("there").len() as usize / 2);
    refused(start_command(folder.path(), Ports::free()), 1, &[&folder.path().display().to_string()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_without_its_log() {
    let folder = left_behind().await;
    let log = folder.path().join("log");
    std::fs::remove_dir_all(&log).expect("removable");
    refused(start_command(folder.path(), Ports::free()), 1, &["log folder is missing", "--join"]);
    std::fs::create_dir(&log).expect("a folder");
    refused(start_command(folder.path(), Ports::free()), 1, &["log/MANIFEST is missing", "--join"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_state() {
    let folder = left_behind().await;
    let state = folder.path().join("state");
    std::fs::remove_dir_all(&state).expect("removable");
    let says = ["the state of node 1 of cluster", &*state.display().to_string(), "--join"];
    refused(start_command(folder.path(), Ports::free()), 1, &says);
    assert!(!state.exists(), "an empty state stands where the lost one is to be put back");
    std::fs::create_dir(&state).expect("a folder");
    refused(start_command(folder.path(), Ports::free()), 1, &says);
}

/// The newest of one segment, and of two.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_newest_segment() {
    let folder = left_behind().await;
    for _ in 0..2 {
        let newest = file_of(folder.path().join("log"), "0", ".log");
        let whole = std::fs::read(&newest).expect("readable");
        let name = newest.display().to_string();
        std::fs::write(&newest, []).expect("writable");
        refused(start_command(folder.path(), Ports::free()), 1, &[&name, "is empty", "--join"]);
        std::fs::remove_file(&newest).expect("removable");
        refused(start_command(folder.path(), Ports::free()), 1, &[&name, "is missing", "--join"]);
        std::fs::write(&newest, whole).expect("writable");
        let mut node = Node::start(folder.path(), Ports::free(), None).await;
        let client = node.connect().await;
        let row = client.query_one("SELECT count(*) FROM t", &[]).await.expect("reads");
        assert_eq!(row.get::<_, i64>(0), 20);
        node.kill();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_another_store() {
    let (own, other) = (left_behind().await, left_behind().await);
    let log = own.path().join("log");
    std::fs::remove_dir_all(&log).expect("removable");
    std::fs::rename(other.path().join("log"), &log).expect("movable");
    let says =
        [&*log.display().to_string(), "belongs to node 1 of cluster", "put the log of this store back"];
    refused(start_command(own.path(), Ports::free()), 1, &says);
}

/// Both are of one cluster, to which the second has got its ids from the first.
#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_another_node() {
    let (first, second) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let ports = [Ports::free(), Ports::free()];
    let mut one = Node::start(first.path(), ports[0], None).await;
    let mut two = Node::start(second.path(), ports[1], Some(ports[0].rpc)).await;
    two.kill();
    one.kill();
    let log = |folder: &tempfile::TempDir| folder.path().join("log");
    std::fs::rename(log(&second), second.path().join("own")).expect("movable");
    std::fs::rename(log(&first), log(&second)).expect("movable");
    let says = ["belongs to node 1 of cluster", "this store is node 2 of cluster"];
    refused(start_command(second.path(), ports[1]), 1, &says);
}
