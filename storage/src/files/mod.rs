//! The seam between the Raft log and the file system: files, folders, and what makes either durable.
//!
//! There is only what the log uses. [`OsFiles`] are the operating system's; [`SimFiles`] are in memory, and lose, tear and
//! damage what a disk may lose, tear and damage, as a seed chooses.
//!
//! What must stay true:
//! - What was written is durable when the file was synced after it, and under the name that it has when the folder was
//!   synced after it got that name. Of anything else a power loss may leave any part.
//! - A write that is lost or torn changes no byte beside those it was to write.
//! - Reads and writes name their place: handles of one file do not disturb one another.

pub mod os;
pub mod simulated;

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use os::OsFiles;
pub use simulated::SimFiles;

/// A file system, as far as a log needs one.
pub trait Files: Send + Sync + 'static {
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// With all folders above it, as far as they are missing; durably.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;
    /// The paths of what is in a folder, in any order.
    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>>;
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>>;
    /// All of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;
    /// Takes the lock of that name, until the guard is dropped or the process ends; `None`: somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Guard>>;
    /// After how long it may be asked again whether the disk has done what it was asked to do; `None`: it has. Files of the
    /// operating system make the thread wait instead.
    fn busy_for(&self) -> Option<Duration> {
        None
    }
}

/// Holds a lock.
pub type Guard = Box<dyn Any + Send + Sync>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// To be read, not written.
    Read,
    Write,
    /// As `Write`, and made if there is none; what is in one is kept.
    Create,
}

pub trait File: Send + Sync {
    fn size(&self) -> io::Result<u64>;
    /// As many bytes as there are, but no more than fit.
    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize>;
    /// Fills all of `into`.
    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()>;
    /// Writes all of `bytes`; an error may leave a part of them.
    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes the content durable, and the length.
    fn sync(&self) -> io::Result<()>;
    /// As [`File::sync`], with all that the file system knows of the file.
    fn sync_all(&self) -> io::Result<()>;
}

/// A folder somewhere.
#[derive(Clone)]
pub struct Folder {
    pub files: Arc<dyn Files>,
    pub path: PathBuf,
}

impl Folder {
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    pub fn sync(&self) -> io::Result<()> {
        self.files.sync_folder(&self.path)
    }
}

/// Of the operating system.
impl<P: AsRef<Path>> From<P> for Folder {
    fn from(path: P) -> Self {
        Folder { files: Arc::new(OsFiles), path: path.as_ref().to_owned() }
    }
}
