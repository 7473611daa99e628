//! One `meridian` process: started, killed, paused, stopped, watched.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use super::http;
use crate::clock::FakeClock;
use crate::disk::Disk;
use crate::network::Place;

const READY_WITHIN: Duration = Duration::from_secs(60);
/// A node that is asked to stop waits for transactions and hands over its leases.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

pub struct Node {
    /// From 1, as the cluster counts them when they join in order.
    pub number: usize,
    pub binary: PathBuf,
    pub place: Place,
    pub disk: Disk,
    pub clock: Option<FakeClock>,
    pub(super) flags: Vec<String>,
    pub(super) join: Vec<String>,
    pub(super) log: PathBuf,
    pub(super) child: Option<Child>,
}

impl Node {
    pub fn url(&self) -> String {
        format!("host={} port={} user=postgres dbname=postgres", self.place.sql.ip(), self.place.sql.port())
    }

    /// Starts the process; gives its number.
    pub fn start(&mut self) -> Result<u32, String> {
        let open = || OpenOptions::new().create(true).append(true).open(&self.log);
        let (out, err) = match (open(), open()) {
            (Ok(out), Ok(err)) => (out, err),
            (Err(e), _) | (_, Err(e)) => return Err(format!("cannot write {}: {e}", self.log.display())),
        };
        let mut command = Command::new(&self.binary);
        command.args(self.arguments()).stdin(Stdio::null()).stdout(out).stderr(err).kill_on_drop(true);
        if let Some(clock) = &self.clock {
            command.envs(clock.environment());
        }
        // SAFETY: the closure runs in the child between fork and exec and makes one async-signal-safe system call.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        self.place.enter(&mut command);
        let child = command.spawn().map_err(|e| format!("cannot run {}: {e}", self.binary.display()))?;
        let process = child.id().ok_or("the process has no number")?;
        self.child = Some(child);
        Ok(process)
    }

    fn arguments(&self) -> Vec<String> {
        let place = &self.place;
        let mut arguments =
            vec!["start".to_string(), "--store".into(), self.disk.store.display().to_string()];
        for (flag, at) in
            [("--listen-sql", place.sql), ("--listen-rpc", place.rpc), ("--listen-http", place.http)]
        {
            arguments.extend([flag.to_string(), at.to_string()]);
        }
        if let Some(at) = place.advertised {
            arguments.extend(["--advertise-rpc".into(), at.to_string()]);
        }
        if !place.sql.ip().is_loopback() {
            arguments.push("--insecure".into());
        }
        if !self.join.is_empty() {
            arguments.extend(["--join".into(), self.join.join(",")]);
        }
        arguments.extend(self.flags.iter().cloned());
        arguments
    }

    pub fn process(&self) -> Option<u32> {
        self.child.as_ref()?.id()
    }

    /// Whether the node says that it is well.
    pub async fn is_ready(&self) -> bool {
        self.get("/health").await.is_some()
    }

    pub async fn wait_until_ready(&mut self) -> Result<(), String> {
        let until = Instant::now() + READY_WITHIN;
        loop {
            if let Some(how) = self.fallen() {
                return Err(how);
            }
            if self.is_ready().await {
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

    /// SIGTERM, and waits for the end as long as a supervisor would. Gives how it ended, if it did not have to be killed.
    pub async fn stop(&mut self) -> Result<Option<ExitStatus>, String> {
        if self.child.is_none() {
            return Ok(None);
        }
        self.signal(libc::SIGTERM)?;
        let Some(mut child) = self.child.take() else { return Ok(None) };
        match timeout(STOPPED_WITHIN, child.wait()).await {
            Ok(status) => status.map(Some).map_err(|e| format!("node {}: {e}", self.number)),
            Err(_) => {
                child.kill().await.map_err(|e| format!("cannot kill node {}: {e}", self.number))?;
                Ok(None)
            }
        }
    }

    /// SIGSTOP, SIGCONT, SIGTERM.
    pub fn signal(&self, signal: i32) -> Result<(), String> {
        let pid = self.process().ok_or("the node does not run")?;
        // SAFETY: a system call without memory; the child was not waited for, so the id is still its own.
        match unsafe { libc::kill(pid as i32, signal) } {
            0 => Ok(()),
            _ => Err(format!("cannot signal node {}: {}", self.number, std::io::Error::last_os_error())),
        }
    }

    /// Whether the process is there, as far as the kernel knows.
    pub fn lives(&self) -> bool {
        let stat =
            self.process().map(|p| std::fs::read_to_string(format!("/proc/{p}/stat")).unwrap_or_default());
        // After the name in brackets: the state. Who has ended is a zombie until somebody asks.
        stat.is_some_and(|s| {
            s.rsplit(')')
                .next()
                .is_some_and(|rest| !rest.trim_start().starts_with(['Z', 'X']) && !rest.is_empty())
        })
    }

    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// How it ended, if nobody ended it; told once.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// The same as a sentence, with the end of the log.
    pub fn fallen(&mut self) -> Option<String> {
        let status = self.ended()?;
        Some(format!("node {} ended by itself: {status}\n{}", self.number, self.log_tail(20)))
    }

    pub async fn get(&self, path: &str) -> Option<String> {
        http::get(self.place.http, path).await
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn log_tail(&self, lines: usize) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let all: Vec<_> = text.lines().collect();
        let tail = all[all.len().saturating_sub(lines)..].join("\n");
        format!("--- the end of node {}'s log\n{tail}\n", self.number)
    }
}
