//! The end of the process when the store fails or breaks an invariant: nothing may be answered any more.
//!
//! What must stay true: it comes within [`GRACE`], whatever the rest of the process does. What is said about it may be held
//! up for ever: standard error may be a full pipe that nobody reads, and another thread may hold its lock meanwhile. So
//! the end is armed before anything is said, a panic's own message included.

use std::cell::Cell;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// The exit code. Damage that is found when a node starts is an ordinary failure.
const FAULT: i32 = 70;
/// How long saying why may take.
const GRACE: Duration = Duration::from_secs(1);

thread_local! {
    /// Whether this thread's panic is a fault.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs what must not fail while the node answers; an error or a panic is the end of the process.
pub fn guard<E: Display>(what: &str, work: impl FnOnce() -> Result<(), E>) {
    GUARDED.set(true);
    let ended = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(false);
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(e)) => leave(&format_args!("{what} failed: {e}")),
        Err(_) => leave(&format_args!("{what} broke an invariant")),
    }
}

/// Says why, if that can be done, and ends the process.
pub fn leave(why: &dyn Display) -> ! {
    arm();
    tracing::error!("{why}; stopping at once so that nothing wrong is answered");
    end()
}

/// Lets the message of a panic not hold up its end. To be called once, before anything is guarded.
pub fn watch_panics() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if GUARDED.get() {
            arm();
        }
        say(panic);
    }));
}

#[allow(clippy::disallowed_methods, reason = "the runtime may be what stands still")]
fn arm() {
    let armed = std::thread::Builder::new().name("fault".into()).spawn(|| {
        std::thread::sleep(GRACE);
        end()
    });
    if armed.is_err() {
        // No thread to be had: the kernel does it, if with a signal instead of the code.
        // SAFETY: takes no pointer; nobody handles SIGALRM, whose default is the end of the process.
        unsafe { libc::alarm(GRACE.as_secs() as u32) };
    }
}

/// Without flushing: that, too, takes the locks. What has to last is on the disk by now.
fn end() -> ! {
    // SAFETY: ends the process; nothing of it is used afterwards.
    unsafe { libc::_exit(FAULT) }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "other processes have no clock of ours")]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;

    /// What the process is to do that `ended` starts.
    const ROLE: &str = "MERIDIAN_TEST_FAULT";

    /// In a process of its own, whose standard error is full: by an error or a panic, with the lock held by another thread.
    #[test]
    fn a_full_pipe_does_not_hold_up_the_end() {
        match std::env::var(ROLE).as_deref() {
            Ok(how) => fail(how),
            Err(_) => ["error", "panic"].into_iter().for_each(ended),
        }
    }

    fn ended(how: &str) {
        let mut child = Command::new(std::env::current_exe().expect("a path"))
            .args(["fault::tests::a_full_pipe_does_not_hold_up_the_end", "--exact", "--nocapture"])
            .env(ROLE, how)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("started");
        for _ in 0..500 {
            if let Some(status) = child.try_wait().expect("a child") {
                return assert_eq!(status.code(), Some(FAULT), "after an {how}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().expect("killed");
        panic!("an {how} is held up");
    }

    fn fail(how: &str) {
        watch_panics();
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
        std::thread::spawn(|| {
            let mut all = std::io::stderr().lock();
            while all.write_all(&[b'x'; 4096]).is_ok() {}
        });
        // Until the pipe is full, which nobody can ask it.
        std::thread::sleep(Duration::from_millis(300));
        guard("the test", || match how {
            "error" => Err("as it was told to"),
            _ => panic!("as it was told to"),
        });
    }
}
