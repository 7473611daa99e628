//! The program `pgbench`, unmodified: its TPC-B on every node, again and again while nodes come and go.
//!
//! A run that loses its node ends early and says how many transactions it has made; of each of its clients the last one is
//! then indeterminate. So the history table has at least as many rows as were made, and at most one more for each
//! client that was cut off.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::checkers::pgbench::{Counts, Sums};
use crate::client::{bounded, connect};

/// Clients of each node.
const CLIENTS: u64 = 2;
const RUN_SECONDS: &str = "5";
const PROCESSED: &str = "number of transactions actually processed: ";
const AGAIN_AFTER: Duration = Duration::from_millis(200);
const SUMS: &str = "SELECT (SELECT sum(bbalance) FROM pgbench_branches)::bigint, \
    (SELECT sum(tbalance) FROM pgbench_tellers)::bigint, (SELECT sum(abalance) FROM pgbench_accounts)::bigint, \
    (SELECT coalesce(sum(delta), 0) FROM pgbench_history)::bigint, (SELECT count(*) FROM pgbench_history)";

pub struct Load {
    tasks: Vec<JoinHandle<()>>,
    counts: Arc<Mutex<Counts>>,
}

impl Load {
    /// Fills the tables through the first node, then puts load on all.
    pub async fn start(urls: &[String], scale: u32, stop: &Arc<AtomicBool>) -> Result<Load, String> {
        let first = urls.first().ok_or("no node to connect to")?;
        let filled = pgbench(&["-i", "-q", "-s", &scale.to_string(), first]).await?;
        if !filled.status.success() {
            return Err(format!("pgbench -i: {}", String::from_utf8_lossy(&filled.stderr)));
        }
        let counts = Arc::new(Mutex::new(Counts::default()));
        let node = |url: &String| tokio::spawn(run(url.clone(), counts.clone(), stop.clone()));
        Ok(Load { tasks: urls.iter().map(node).collect(), counts: counts.clone() })
    }

    /// After `stop` was said: waits for the last runs.
    pub async fn finish(self) -> Counts {
        for task in self.tasks {
            if let Err(e) = task.await {
                std::panic::resume_unwind(e.into_panic());
            }
        }
        *self.counts.lock()
    }
}

async fn run(url: String, counts: Arc<Mutex<Counts>>, stop: Arc<AtomicBool>) {
    let clients = CLIENTS.to_string();
    let arguments = ["-n", "-M", "prepared", "-c", &clients, "-T", RUN_SECONDS, "--max-tries=20", &url];
    while !stop.load(Ordering::Relaxed) {
        if let Ok(out) = pgbench(&arguments).await {
            let text = String::from_utf8_lossy(&out.stdout);
            let mut counts = counts.lock();
            counts.made += number(&text, PROCESSED);
            counts.failed += number(&text, "number of failed transactions: ");
            // Who could not even connect has made nothing.
            let began = text.contains(PROCESSED);
            counts.cut_off += if began && !out.status.success() { CLIENTS } else { 0 };
        }
        sleep(AGAIN_AFTER).await;
    }
}

async fn pgbench(arguments: &[&str]) -> Result<std::process::Output, String> {
    let command = Command::new("pgbench").args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    command.await.map_err(|e| format!("cannot run pgbench (Debian: postgresql-contrib): {e}"))
}

/// The number after a label.
fn number(text: &str, label: &str) -> u64 {
    let digits = text.split(label).nth(1).unwrap_or_default();
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

/// Reads the sums in one statement, from whichever node gives them first.
pub async fn read_sums(urls: &[String]) -> Result<Sums, String> {
    let mut errors = Vec::new();
    for url in urls {
        let read = async {
            let client = connect(url).await?;
            bounded(client.query_one(SUMS, &[])).await
        };
        match read.await {
            Ok(row) => {
                return Ok(Sums {
                    branches: row.get(0),
                    tellers: row.get(1),
                    accounts: row.get(2),
                    history: row.get(3),
                    rows: row.get::<_, i64>(4).unsigned_abs(),
                });
            }
            Err(e) => errors.push(format!("{url}: {e:?}")),
        }
    }
    Err(format!("no node gives pgbench's sums:\n  {}", errors.join("\n  ")))
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_those_after_their_label() {
        let text = "scale: 7\nnumber of transactions actually processed: 201\nnumber of failed transactions: 3 (1.5%)\n";
        assert_eq!(number(text, "number of transactions actually processed: "), 201);
        assert_eq!(number(text, "number of failed transactions: "), 3);
        assert_eq!(number("", "number of failed transactions: "), 0);
    }
}
