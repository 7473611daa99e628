//! A node's own idea of the time: a few lines of C (`clock.c`), loaded into the process, add to the wall clock what a shared file
//! says, from one moment to the next. The monotonic clock stays as it is, as it does when a machine's clock is set.
//!
//! Alternatives considered: libfaketime looks symbols up before the process has its allocator, which the allocator of ours does
//! not survive; and the kernel has namespaces for the monotonic clocks only.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

const SOURCE: &str = include_str!("clock.c");

/// The library that processes load.
#[derive(Clone)]
pub struct Library(Arc<PathBuf>);

impl Library {
    /// Compiles it into the folder.
    pub fn make(folder: &Path) -> Result<Library, String> {
        let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
        std::fs::write(&source, SOURCE).map_err(|e| format!("{}: {e}", source.display()))?;
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library).arg(&source);
        let done = compile.output().map_err(|e| format!("no C compiler: cc: {e}"))?;
        match done.status.success() {
            true => Ok(Library(Arc::new(library))),
            false => Err(format!("cc: {}", String::from_utf8_lossy(&done.stderr).trim())),
        }
    }
}

pub struct FakeClock {
    library: Library,
    path: PathBuf,
    file: File,
}

impl FakeClock {
    /// A clock that is right.
    pub fn new(library: &Library, path: PathBuf) -> Result<FakeClock, String> {
        let file = File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let clock = FakeClock { library: library.clone(), path, file };
        clock.set(0)?;
        Ok(clock)
    }

    /// The clock is wrong by so many milliseconds from now on.
    pub fn set(&self, offset_ms: i64) -> Result<(), String> {
        let bytes = (offset_ms * 1_000_000).to_ne_bytes();
        self.file.write_all_at(&bytes, 0).map_err(|e| format!("{}: {e}", self.path.display()))
    }

    pub fn environment(&self) -> [(&'static str, &Path); 2] {
        [("LD_PRELOAD", self.library.0.as_path()), ("MERIDIAN_JEPSEN_CLOCK", self.path.as_path())]
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;

    /// What `date` says, in a process with this clock, less what the machine says.
    #[allow(clippy::disallowed_methods, reason = "it is the clock that is tested")]
    fn wrong_by(clock: &FakeClock) -> f64 {
        let said = Command::new("date").arg("+%s.%N").envs(clock.environment()).output().expect("it runs");
        let said: f64 = String::from_utf8_lossy(&said.stdout).trim().parse().expect("a number");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        said - now.as_secs_f64()
    }

    #[test]
    fn a_process_goes_by_the_clock_that_it_is_given() {
        let folder = tempfile::tempdir().expect("a folder");
        let library = Library::make(folder.path()).expect("there is a C compiler");
        let clock = FakeClock::new(&library, folder.path().join("n1.clock")).expect("made");
        assert!(wrong_by(&clock).abs() < 10.0);
        clock.set(-3_600_000).expect("set");
        assert!((wrong_by(&clock) + 3600.0).abs() < 10.0);
    }
}
