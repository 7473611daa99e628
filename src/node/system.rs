//! The operating system's side of the seams: clocks, tasks, timers, randomness. The only file that asks for the time.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use meridian_storage::base::clock::DEFAULT_MAX_OFFSET;
use meridian_storage::base::{BoxFuture, Clock, Hlc, PhysicalClock, Runtime};
use rand::RngCore;

pub struct SystemClock {
    started: Duration,
}

impl SystemClock {
    pub fn new() -> Self {
        SystemClock { started: since_boot() }
    }
}

/// Time since the machine was started, the time that it slept included: whoever wakes up must know how long it was away.
fn since_boot() -> Duration {
    let mut t = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid pointer to what the call fills in. It can only fail for a clock that the kernel does not have.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut t) };
    assert_eq!(done, 0, "the kernel has a clock that counts from its start");
    Duration::new(t.tv_sec as u64, t.tv_nsec as u32)
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl PhysicalClock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is its home")]
    fn wall_ns(&self) -> u64 {
        // A clock before 1970 is as wrong as a clock can be; the offset checks between nodes find it.
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
    }

    fn monotonic(&self) -> Duration {
        since_boot().saturating_sub(self.started)
    }
}

/// Takes all the file descriptors that the process may have. The usual limit of 1024 is for programs that call `select`;
/// the engine's files and the sessions' connections need more.
pub fn raise_open_files() -> std::io::Result<()> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid pointer to what the call fills in.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    if limit.rlim_cur == limit.rlim_max {
        return Ok(());
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: a valid pointer to what the call reads.
    match unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// Where the bound on the clocks' difference came from, for the log and `SHOW meridian.consistency`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BoundSource {
    /// `--max-clock-offset`
    Flag,
    /// The kernel's estimate, while it is synchronised.
    Kernel,
    Default,
}

/// The node's clock. The bound is the flag, else twice the kernel's largest error (two clocks may err in opposite
/// directions), else the default.
pub fn clock(flag: Option<Duration>) -> (Clock, BoundSource) {
    let physical = Arc::new(SystemClock::new());
    match (flag, kernel_error()) {
        (Some(bound), _) => (Hlc::new(physical, bound, true), BoundSource::Flag),
        (None, Some(error)) if error * 2 < DEFAULT_MAX_OFFSET => {
            // Never trust an estimate below what scheduling alone can add.
            (Hlc::new(physical, (error * 2).max(Duration::from_millis(1)), true), BoundSource::Kernel)
        }
        _ => (Hlc::new(physical, DEFAULT_MAX_OFFSET, false), BoundSource::Default),
    }
}

/// The kernel's own bound on its clock's error, if a time service keeps it synchronised.
fn kernel_error() -> Option<Duration> {
    // SAFETY: `timex` is plain data for which all zeros is valid; with modes = 0 the call only reads.
    let mut t: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live `timex`.
    let state = unsafe { libc::adjtimex(&mut t) };
    let synchronised = state >= 0 && state != libc::TIME_ERROR && t.status & libc::STA_UNSYNC == 0;
    (synchronised && t.maxerror >= 0).then(|| Duration::from_micros(t.maxerror as u64))
}

/// Tasks and timers of tokio, randomness of the operating system.
pub struct TokioRuntime {
    handle: tokio::runtime::Handle,
}

impl TokioRuntime {
    /// For use inside a tokio runtime.
    pub fn current() -> Arc<Self> {
        Arc::new(TokioRuntime { handle: tokio::runtime::Handle::current() })
    }
}

impl Runtime for TokioRuntime {
    fn spawn(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        self.handle.spawn(task);
    }

    fn spawn_blocking(&self, _name: &'static str, task: BoxFuture<'static, ()>) {
        let handle = self.handle.clone();
        self.handle.spawn_blocking(move || handle.block_on(task));
    }

    fn sleep(&self, d: Duration) -> BoxFuture<'static, ()> {
        let _guard = self.handle.enter();
        Box::pin(tokio::time::sleep(d))
    }

    fn random(&self) -> u64 {
        rand::rng().next_u64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_files() -> libc::rlimit {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: a valid pointer to what the call fills in.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) }, 0);
        limit
    }

    #[test]
    fn a_process_may_open_as_many_files_as_its_hard_limit_says() {
        let limit = open_files();
        let lower = libc::rlimit { rlim_cur: limit.rlim_max - 1, ..limit };
        // SAFETY: a valid pointer to what the call reads.
        assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &lower) }, 0);
        raise_open_files().expect("it is allowed");
        assert_eq!(open_files().rlim_cur, limit.rlim_max);
    }
}
