//! Process control: a cluster of real `meridian` processes on loopback, in folders of their own.
//!
//! What must stay true: no process outlives the run. A node is killed when its handle is dropped, and by the kernel when
//! this process dies in whatever way. A node that ends unasked is noticed.

use std::fs::OpenOptions;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

const READY_WITHIN: Duration = Duration::from_secs(60);
const REPLICATED_WITHIN: Duration = Duration::from_secs(120);
/// Replicas that a range is to have, if there are that many nodes.
const REPLICAS: usize = 3;

pub struct Cluster {
    pub nodes: Vec<Node>,
    folder: PathBuf,
    /// Removed at the end, unless the user named a folder.
    _temporary: Option<TempDir>,
}

pub struct Node {
    /// From 1, as the cluster counts them when they join in order.
    pub number: usize,
    binary: PathBuf,
    folder: PathBuf,
    ports: Ports,
    join: Vec<String>,
    child: Option<Child>,
}

#[derive(Clone, Copy)]
struct Ports {
    sql: u16,
    rpc: u16,
    http: u16,
}

impl Cluster {
    /// Starts the nodes one after the other and waits until every range has its replicas.
    pub async fn start(binary: &Path, nodes: usize, keep: Option<&Path>) -> Result<Cluster, String> {
        let temporary = match keep {
            Some(_) => None,
            None => Some(
                tempfile::Builder::new()
                    .prefix("meridian-jepsen-")
                    .tempdir()
                    .map_err(|e| format!("cannot make a folder: {e}"))?,
            ),
        };
        let folder = match (keep, &temporary) {
            (Some(dir), _) => dir.to_path_buf(),
            (None, Some(dir)) => dir.path().to_path_buf(),
            (None, None) => return Err("no folder".into()),
        };
        std::fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        let ports = free_ports(nodes)?;
        let first = format!("127.0.0.1:{}", ports[0].rpc);
        let mut cluster = Cluster { nodes: Vec::new(), folder, _temporary: temporary };
        for (i, ports) in ports.into_iter().enumerate() {
            let mut node = Node {
                number: i + 1,
                binary: binary.to_path_buf(),
                folder: cluster.folder.join(format!("n{}", i + 1)),
                ports,
                join: if i == 0 { vec![] } else { vec![first.clone()] },
                child: None,
            };
            node.start()?;
            node.wait_until_ready().await?;
            cluster.nodes.push(node);
        }
        cluster.wait_until_replicated().await?;
        Ok(cluster)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Node::url).collect()
    }

    /// Waits until the nodes hold as many replicas as the ranges that are led should have.
    async fn wait_until_replicated(&self) -> Result<(), String> {
        let until = Instant::now() + REPLICATED_WITHIN;
        let want = REPLICAS.min(self.nodes.len()) as f64;
        loop {
            let (mut replicas, mut leases) = (0.0, 0.0);
            for node in &self.nodes {
                let page = node.get("/metrics").await.unwrap_or_default();
                replicas += metric(&page, "meridian_ranges").unwrap_or(0.0);
                leases += metric(&page, "meridian_leases").unwrap_or(0.0);
            }
            if leases > 0.0 && replicas >= want * leases {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!(
                    "after {REPLICATED_WITHIN:?} there are {replicas} replicas of {leases} ranges\n{}",
                    self.nodes.iter().map(|n| n.log_tail(10)).collect::<String>()
                ));
            }
            sleep(Duration::from_millis(200)).await;
        }
    }

    /// Nodes that ended although nobody ended them.
    pub fn fallen(&mut self) -> Vec<String> {
        self.nodes.iter_mut().filter_map(Node::fallen).collect()
    }
}

impl Node {
    pub fn url(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres dbname=postgres", self.ports.sql)
    }

    pub fn start(&mut self) -> Result<(), String> {
        let log = self.log_path();
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let (out, err) = match (open(), open()) {
            (Ok(out), Ok(err)) => (out, err),
            (Err(e), _) | (_, Err(e)) => return Err(format!("cannot write {}: {e}", log.display())),
        };
        let mut command = Command::new(&self.binary);
        command
            .arg("start")
            .arg("--store")
            .arg(&self.folder)
            .args(["--listen-sql", &format!("127.0.0.1:{}", self.ports.sql)])
            .args(["--listen-rpc", &format!("127.0.0.1:{}", self.ports.rpc)])
            .args(["--listen-http", &format!("127.0.0.1:{}", self.ports.http)]);
        if !self.join.is_empty() {
            command.args(["--join", &self.join.join(",")]);
        }
        command.stdin(Stdio::null()).stdout(out).stderr(err).kill_on_drop(true);
        // SAFETY: the closure runs in the child between fork and exec and makes one async-signal-safe system call.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let child = command.spawn().map_err(|e| format!("cannot run {}: {e}", self.binary.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the node says that it is well.
    pub async fn wait_until_ready(&mut self) -> Result<(), String> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Some(how) = self.fallen() {
                return Err(how);
            }
            if self.get("/health").await.is_some() {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(format!(
                    "node {} is not ready after {READY_WITHIN:?}\n{}",
                    self.number,
                    self.log_tail(20)
                ));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&mut self) -> Result<(), String> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill().await.map_err(|e| format!("cannot kill node {}: {e}", self.number))
    }

    /// SIGSTOP, SIGCONT.
    pub fn signal(&self, signal: i32) -> Result<(), String> {
        let pid = self.child.as_ref().and_then(Child::id).ok_or("the node does not run")?;
        // SAFETY: a system call without memory; the child was not waited for, so the id is still its own.
        match unsafe { libc::kill(pid as i32, signal) } {
            0 => Ok(()),
            _ => Err(format!("cannot signal node {}: {}", self.number, std::io::Error::last_os_error())),
        }
    }

    fn fallen(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(format!("node {} ended by itself: {status}\n{}", self.number, self.log_tail(20)))
    }

    /// The body of a page of the node's HTTP face, if it answers 200 within a second.
    async fn get(&self, path: &str) -> Option<String> {
        let request = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.ports.http)).await.ok()?;
            let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            stream.write_all(head.as_bytes()).await.ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.ok()?;
            let (head, body) = answer.split_once("\r\n\r\n")?;
            head.starts_with("HTTP/1.1 200").then(|| body.to_string())
        };
        timeout(Duration::from_secs(1), request).await.ok()?
    }

    fn log_path(&self) -> PathBuf {
        self.folder.with_extension("log")
    }

    fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(self.log_path()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<_> = text.lines().collect();
        let tail = all[all.len().saturating_sub(lines)..].join("\n");
        format!("--- the end of node {}'s log\n{tail}\n", self.number)
    }
}

/// A number of a Prometheus page.
fn metric(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Ports that are free now; all are held until the last one is found, so that they differ.
fn free_ports(nodes: usize) -> Result<Vec<Ports>, String> {
    let mut held = Vec::new();
    let mut one = || -> Result<u16, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no free port: {e}"))?;
        let port = listener.local_addr().map_err(|e| format!("no free port: {e}"))?.port();
        held.push(listener);
        Ok(port)
    };
    (0..nodes).map(|_| Ok(Ports { sql: one()?, rpc: one()?, http: one()? })).collect()
}

#[cfg(test)]
mod tests {
    use super::metric;

    #[test]
    fn metrics_are_found_by_their_whole_name() {
        let page = "# HELP meridian_ranges Replicas.\nmeridian_ranges_x 9\nmeridian_ranges 3\n";
        assert_eq!(metric(page, "meridian_ranges"), Some(3.0));
        assert_eq!(metric(page, "meridian_leases"), None);
    }
}
