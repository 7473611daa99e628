//! Disks that are full, and disks that lie.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::node::{Node, Ports, ends, start_command, until};

/// A small file system of its own, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount(megabytes: u32) -> Option<SmallDisk> {
        let disk = SmallDisk(tempfile::tempdir().expect("a folder"));
        let done = disk.command(&["mount", "-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"]);
        done.then_some(disk)
    }

    fn grow(&self, megabytes: u32) {
        assert!(
            self.command(&["mount", "-o", &format!("remount,size={megabytes}m")]),
            "it can be made larger"
        );
    }

    fn command(&self, words: &[&str]) -> bool {
        let output = Command::new(words[0]).args(&words[1..]).arg(self.0.path()).output();
        output.is_ok_and(|o| o.status.success())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        self.command(&["umount", "-l"]);
    }
}

/// About 64 KiB that do not compress, different for every row.
fn payload(k: i64) -> String {
    let mut x = k as u64 + 1;
    let mut next = || {
        x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        format!("{:016x}", x ^ (x >> 29))
    };
    (0..4096).map(|_| next()).collect()
}

/// Rows are written until the disk is full. The client gets an error, or the node ends with a sentence; when there is
/// room again, every row that was acknowledged is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk() {
    let Some(disk) = SmallDisk::mount(FULL_MEGABYTES) else {
        eprintln!("skipped: mounting a small disk is not allowed here");
        return;
    };
    let elsewhere = tempfile::tempdir().expect("a folder");
    let errors = elsewhere.path().join("errors");
    let store = disk.0.path().join("store");
    let ports = Ports::free();
    let mut node = Node::start_logged(&store, ports, &errors).await;
    let client = node.connect().await;
    client.batch_execute("CREATE TABLE t (k bigint PRIMARY KEY, v text NOT NULL)").await.expect("creates");
    let insert = client.prepare("INSERT INTO t VALUES ($1, $2)").await.expect("prepares");
    let mut acknowledged = 0i64;
    let error = loop {
        assert!(acknowledged < 100_000, "the disk is never full");
        match client.execute(&insert, &[&acknowledged, &payload(acknowledged)]).await {
            Ok(_) => acknowledged += 1,
            Err(e) => break e,
        }
    };
    println!("after {acknowledged} rows: {error:?}");
    assert!(acknowledged > 0);
    if let Some(e) = error.as_db_error() {
        assert!(["53100", "57P01", "40003", "08006"].contains(&e.code().code()), "{e:?}");
    }
    if error.as_db_error().is_none_or(|e| e.code().code() != "53100") {
        until("the node ends", async || !node.runs()).await;
        let log = std::fs::read_to_string(&errors).expect("the log");
        println!("{log}");
        assert!(log.contains("full") && !log.contains("panicked"), "{log}");
    }
    node.kill();

    disk.grow(4 * FULL_MEGABYTES);
    let node = Node::start(&store, ports, None).await;
    let client = node.connect().await;
    for k in 0..acknowledged {
        let row = client.query_opt("SELECT v FROM t WHERE k = $1", &[&k]).await.expect("reads");
        assert!(row.is_some_and(|r| r.get::<_, String>(0) == payload(k)), "row {k} of {acknowledged}");
    }
    client.execute("INSERT INTO t VALUES (-1, 'again')", &[]).await.expect("there is room again");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("readable") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("copied");
        }
    }
}

fn tables_of(store: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(store.join("state")).expect("a state").map(|e| e.expect("an entry").path());
    let mut tables: Vec<_> = files.filter(|p| p.extension().is_some_and(|e| e == "sst")).collect();
    tables.sort();
    tables
}

/// Starts a node on a damaged store and asks for everything: the rows are right, or the damage is reported.
async fn reports_damage(store: &Path, rows: i64) -> bool {
    let ports = Ports::free();
    let Some(node) = Node::try_start(store, ports).await else {
        let output = ends(start_command(store, ports));
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("corruption") && text.contains(".sst") && !text.contains("panicked"), "{text}");
        assert_eq!(output.status.code(), Some(1));
        return true;
    };
    let mut reported = false;
    for sql in [
        "SELECT count(*), coalesce(sum(k), 0)::bigint FROM t WHERE v = md5(k::text)",
        "SELECT count(*), sum(k)::bigint FROM (SELECT k FROM t ORDER BY k DESC) AS s",
    ] {
        let Ok(client) = node.try_connect().await else {
            return true;
        };
        match client.query_one(sql, &[]).await {
            Ok(row) => assert_eq!((row.get(0), row.get(1)), (rows, rows * (rows - 1) / 2), "served wrong"),
            Err(e) => {
                let e = e.as_db_error().expect("an answer");
                assert_eq!(e.code().code(), "XX001", "{e:?}");
                reported = true;
            }
        }
    }
    reported
}

/// A flipped bit in the middle of any of the state's files is reported at the start or when it is read, and never served.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_tables() {
    const ROWS: i64 = 2000;
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store");
    let mut node = Node::start(&store, Ports::free(), None).await;
    let client = node.connect().await;
    client.batch_execute("CREATE TABLE t (k bigint PRIMARY KEY, v text NOT NULL)").await.expect("creates");
    let fill = format!("INSERT INTO t SELECT i, md5(i::text) FROM generate_series(0, {}) AS i", ROWS - 1);
    client.batch_execute(&fill).await.expect("inserts");
    // A clean end writes everything to tables.
    assert_eq!(node.stop().await, Some(0));
    let tables = tables_of(&store);
    let largest = tables.iter().max_by_key(|t| t.metadata().expect("there").len()).expect("there are tables");
    for table in &tables {
        let damaged = folder.path().join("damaged");
        copy(&store, &damaged);
        let file = damaged.join("state").join(table.file_name().expect("a name"));
        let mut bytes = std::fs::read(&file).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&file, bytes).expect("writable");
        let reported = reports_damage(&damaged, ROWS).await;
        assert!(reported || table != largest, "the damage of {} was not seen", table.display());
        std::fs::remove_dir_all(&damaged).expect("removable");
    }
}

/// The first block of a table holds what the start reads.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_damaged_where_the_catalog_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = folder.path().join("store");
    let ports = Ports::free();
    let mut node = Node::start(&store, ports, None).await;
    let client = node.connect().await;
    client.batch_execute("CREATE TABLE t (k bigint PRIMARY KEY, v text NOT NULL)").await.expect("creates");
    let fill = "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(0, 99) AS i";
    client.batch_execute(fill).await.expect("inserts");
    assert_eq!(node.stop().await, Some(0));
    let mut ended = 0;
    for table in tables_of(&store) {
        let damaged = folder.path().join("damaged");
        copy(&store, &damaged);
        let file = damaged.join("state").join(table.file_name().expect("a name"));
        let mut bytes = std::fs::read(&file).expect("readable");
        bytes[10] ^= 0x40;
        std::fs::write(&file, bytes).expect("writable");
        ended += usize::from(Node::try_start(&damaged, ports).await.is_none());
        reports_damage(&damaged, 100).await;
        std::fs::remove_dir_all(&damaged).expect("removable");
    }
    assert!(ended > 0, "no table's first block was needed for the start");
}

/// Enough for an empty store, and a little more.
const FULL_MEGABYTES: u32 = 64;
