//! A node's process for one test: started on free ports, killed when dropped.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tokio_postgres::{Client, NoTls};

/// How long anything may take before the test fails. Far more than is needed: the machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

pub struct Node {
    child: Child,
    pub sql: SocketAddr,
    pub rpc: SocketAddr,
    pub http: SocketAddr,
}

#[derive(Clone, Copy)]
pub struct Ports {
    pub sql: SocketAddr,
    pub rpc: SocketAddr,
    pub http: SocketAddr,
}

impl Ports {
    /// Free now; all are held until the last is found, so that they differ.
    pub fn free() -> Ports {
        let held = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
        let [sql, rpc, http] = held.each_ref().map(|l| l.local_addr().expect("bound"));
        Ports { sql, rpc, http }
    }
}

/// `meridian start` with these ports.
pub fn start_command(store: &Path, ports: Ports) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_meridian"));
    command.arg("start").arg("--store").arg(store);
    command.args(["--listen-sql", &ports.sql.to_string()]);
    command.args(["--listen-rpc", &ports.rpc.to_string()]);
    command.args(["--listen-http", &ports.http.to_string()]);
    command
}

/// Runs a command that is to end by itself, soon.
pub fn ends(mut command: Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let id = child.id();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || tell.send(child.wait_with_output()));
    match told.recv_timeout(LIMIT) {
        Ok(output) => output.expect("the output is read"),
        Err(_) => {
            signal(id, libc::SIGKILL);
            panic!("it did not end within {LIMIT:?}");
        }
    }
}

fn signal(id: u32, signal: i32) {
    // SAFETY: a system call without memory.
    unsafe { libc::kill(id as i32, signal) };
}

impl Node {
    /// Starts a node and waits until it is well.
    pub async fn start(store: &Path, ports: Ports, join: Option<SocketAddr>) -> Node {
        let mut command = start_command(store, ports);
        if let Some(to) = join {
            command.args(["--join", &to.to_string()]);
        }
        Node::run(command, ports).await
    }

    /// Starts a node whose words on standard error go to a file.
    pub async fn start_logged(store: &Path, ports: Ports, errors: &Path) -> Node {
        let mut command = start_command(store, ports);
        command.stderr(std::fs::File::create(errors).expect("a file for the log"));
        Node::run(command, ports).await
    }

    /// Starts a node with a command of one's own, made by [`start_command`].
    pub async fn start_with(command: Command, ports: Ports) -> Node {
        Node::run(command, ports).await
    }

    /// `None` if the process ends by itself before it is well.
    pub async fn try_start(store: &Path, ports: Ports) -> Option<Node> {
        let mut command = start_command(store, ports);
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary runs");
        let mut node = Node { child, sql: ports.sql, rpc: ports.rpc, http: ports.http };
        let mut ended = false;
        until("the node is well, or has ended", async || {
            ended = !node.runs();
            ended || node.page("/health").await.is_some()
        })
        .await;
        (!ended).then_some(node)
    }

    async fn run(mut command: Command, ports: Ports) -> Node {
        let child = command.stdout(Stdio::null()).spawn().expect("the binary runs");
        let mut node = Node { child, sql: ports.sql, rpc: ports.rpc, http: ports.http };
        until("the node is well", async || {
            assert!(node.runs(), "the node ended while it started");
            node.page("/health").await.is_some()
        })
        .await;
        node
    }

    pub fn ports(&self) -> Ports {
        Ports { sql: self.sql, rpc: self.rpc, http: self.http }
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("the process can be asked").is_none()
    }

    /// The most memory that the process has had so far; `None` where the system does not tell.
    pub fn peak_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        self.child.kill().expect("the process runs");
        self.child.wait().expect("the process ends");
    }

    /// SIGTERM; gives the exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        signal(self.child.id(), libc::SIGTERM);
        until("the node stops", async || !self.runs()).await;
        self.child.wait().expect("the process ended").code()
    }

    pub async fn connect(&self) -> Client {
        self.try_connect().await.expect("the node takes connections")
    }

    pub async fn try_connect(&self) -> Result<Client, tokio_postgres::Error> {
        let config = format!("host={} port={} user=postgres dbname=postgres", self.sql.ip(), self.sql.port());
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// The answer of the HTTP face, if it is a good one.
    pub async fn page(&self, path: &str) -> Option<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.http).await.ok()?;
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_string())
    }

    /// A number of the metrics page.
    pub async fn metric(&self, name: &str) -> Option<f64> {
        let page = self.page("/metrics").await?;
        page.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for a condition.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
