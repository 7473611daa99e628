//! The world of a run: network, mounts and process numbers of its own, which the kernel takes away with it.
//!
//! The program runs twice. The outer one makes the namespaces, starts the inner one as the first process in them, passes
//! signals on and waits. Whoever of the two dies in whatever way: the kernel ends every process of the inner world, and with
//! the last one its mounts and interfaces go. From inside no address of this or another machine can be reached.
//!
//! What the kernel does not take away carries the number of the outer process in its name: the run's folder and its control
//! groups. A start removes what the dead have left.

use std::io::Error;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicI32, Ordering};

/// Set for the inner program: the number of the outer one.
const INSIDE: &str = "MERIDIAN_JEPSEN_WORLD";
const PREFIX: &str = "meridian-jepsen-";

/// Where this program stands.
pub enum World {
    /// In a world of its own.
    Own,
    /// Where everybody is: no namespaces are to be had, or none were wanted. Here is why.
    Shared(String),
    /// Outside of the world that it has made, and that has ended.
    Over(ExitCode),
}

/// To be called before there is a second thread.
pub fn enter(wanted: bool) -> World {
    remove_leftovers();
    if std::env::var_os(INSIDE).is_some() {
        return match settle() {
            Ok(()) => World::Own,
            Err(e) => {
                eprintln!("meridian-jepsen: cannot settle in namespaces: {e}");
                World::Over(ExitCode::FAILURE)
            }
        };
    }
    if !wanted {
        return World::Shared("as asked".into());
    }
    if let Err(why) = crate::network::spaces_are_possible() {
        return World::Shared(why);
    }
    match make() {
        Ok(code) => {
            remove_named(std::process::id());
            World::Over(code)
        }
        Err(e) => World::Shared(format!("namespaces are not to be had here ({e})")),
    }
}

/// The number under which leftovers of this run would be found.
pub fn number() -> u32 {
    std::env::var(INSIDE).ok().and_then(|n| n.parse().ok()).unwrap_or_else(std::process::id)
}

/// The name for something that the kernel does not take away.
pub fn name(what: &str) -> String {
    format!("{PREFIX}{}-{what}", number())
}

/// A folder for a run that nobody wants to keep.
pub fn folder() -> PathBuf {
    std::env::temp_dir().join(name("run"))
}

static INNER: AtomicI32 = AtomicI32::new(0);

extern "C" fn pass_on(signal: libc::c_int) {
    let inner = INNER.load(Ordering::Relaxed);
    if inner > 0 {
        // SAFETY: a system call without memory, which may be made in a handler.
        unsafe { libc::kill(inner, signal) };
    }
}

/// Runs this program again in namespaces of its own, to its end. An error: there are none, and this program is as it was.
fn make() -> Result<ExitCode, Error> {
    let before = std::fs::File::open("/proc/self/ns/pid")?;
    // Of processes, only children are in the new namespace; the others are entered by the child alone.
    // SAFETY: a system call without memory; there is one thread.
    check(unsafe { libc::unshare(libc::CLONE_NEWPID) })?;
    // Before the child is there, so that a signal that comes early is not the end of this program alone.
    on_signals(pass_on as extern "C" fn(libc::c_int) as libc::sighandler_t);
    let ended = run_inner();
    if ended.is_err() {
        on_signals(libc::SIG_DFL);
        // A program whose children are to be elsewhere cannot have threads.
        // SAFETY: the descriptor is one of a namespace of processes.
        check(unsafe { libc::setns(before.as_raw_fd(), libc::CLONE_NEWPID) })?;
    }
    ended
}

fn on_signals(handler: libc::sighandler_t) {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler is the default, or makes one system call and reads one atomic.
        unsafe { libc::signal(signal, handler) };
    }
}

fn run_inner() -> Result<ExitCode, Error> {
    let outer = std::process::id();
    let mut inner = Command::new(std::env::current_exe()?);
    inner.args(std::env::args_os().skip(1)).env(INSIDE, outer.to_string());
    // SAFETY: the closure runs in the child between fork and exec and makes system calls only.
    unsafe {
        inner.pre_exec(|| {
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            check(libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS))
        });
    }
    let mut child = inner.spawn()?;
    INNER.store(child.id() as i32, Ordering::Relaxed);
    let status = child.wait()?;
    Ok(ExitCode::from(status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)))
}

/// In the new world: its mounts are nobody else's, `/proc` shows its processes.
fn settle() -> Result<(), String> {
    let (none, root, proc) = (c"none", c"/", c"/proc");
    // SAFETY: the strings end with a zero; no data is passed.
    let private = unsafe {
        libc::mount(
            none.as_ptr(),
            root.as_ptr(),
            none.as_ptr(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        )
    };
    check(private).map_err(|e| format!("mounts stay shared: {e}"))?;
    // SAFETY: as above.
    let shown = unsafe { libc::mount(proc.as_ptr(), proc.as_ptr(), c"proc".as_ptr(), 0, std::ptr::null()) };
    check(shown).map_err(|e| format!("/proc cannot be mounted: {e}"))
}

fn check(result: libc::c_int) -> Result<(), Error> {
    if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}

/// Removes what runs have left whose outer program is dead.
fn remove_leftovers() {
    if std::env::var_os(INSIDE).is_some() {
        return;
    }
    for place in places() {
        for entry in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if let Some(number) = owner(&name.to_string_lossy())
                && !alive(number)
            {
                remove(&entry.path());
            }
        }
    }
}

/// Removes what this run has left.
pub fn remove_named(number: u32) {
    for place in places() {
        for entry in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            if owner(&entry.file_name().to_string_lossy()) == Some(number) {
                remove(&entry.path());
            }
        }
    }
}

fn places() -> Vec<PathBuf> {
    let mut places = vec![std::env::temp_dir()];
    places.extend(crate::disk::throttle::homes());
    places
}

/// Whose the thing is by its name.
fn owner(name: &str) -> Option<u32> {
    let rest = name.strip_prefix(PREFIX)?;
    rest.split_once('-')?.0.parse().ok()
}

fn alive(number: u32) -> bool {
    Path::new("/proc").join(number.to_string()).exists()
}

/// A control group goes with `rmdir` and nothing else.
fn remove(path: &Path) {
    if std::fs::remove_dir(path).is_err()
        && let Err(e) = std::fs::remove_dir_all(path)
    {
        eprintln!("meridian-jepsen: cannot remove {}: {e}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_whose_they_are() {
        assert_eq!(owner(&name("run")), Some(number()));
        assert_eq!(owner("meridian-jepsen-77-n1"), Some(77));
        assert_eq!(owner("meridian-jepsen-Xq8"), None);
        assert_eq!(owner("meridian-77-n1"), None);
        assert!(alive(std::process::id()));
    }
}
