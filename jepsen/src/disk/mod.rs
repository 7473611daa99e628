//! A node's disk: a folder, or a file system of its own in a file, which can be filled up; either can be slowed down.

pub mod throttle;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use tokio::process::Command;

/// What takes the room.
const FILLER: &str = "filler";
/// Pieces in which the room is taken, down to the file system's blocks.
const PIECES: [i64; 4] = [64 << 20, 1 << 20, 64 << 10, 4 << 10];

pub struct Disk {
    /// Where the store is.
    pub store: PathBuf,
    /// Where a file system of its own is mounted.
    mounted: Option<PathBuf>,
}

impl Disk {
    pub fn folder(store: PathBuf) -> Disk {
        Disk { store, mounted: None }
    }

    /// A file system of so many bytes in `image`, mounted at `at`: in a world of our own, so that it goes with it.
    pub async fn limited(image: &Path, at: &Path, bytes: u64) -> Result<Disk, String> {
        let failed = |e: std::io::Error| format!("{}: {e}", image.display());
        File::create(image).and_then(|f| f.set_len(bytes)).map_err(failed)?;
        std::fs::create_dir_all(at).map_err(failed)?;
        let (image, mount) = (image.display().to_string(), at.display().to_string());
        run("mkfs.ext4", &["-q", "-F", "-m", "0", "-J", "size=4", &image]).await?;
        run("mount", &["-o", "loop", &image, &mount]).await?;
        Ok(Disk { store: at.join("store"), mounted: Some(at.into()) })
    }

    pub fn can_be_filled(&self) -> bool {
        self.mounted.is_some()
    }

    /// Takes all the room there is. Gives the bytes that were taken.
    pub fn fill(&self) -> Result<u64, String> {
        let at = self.mounted.as_ref().ok_or("the disk is everybody's")?.join(FILLER);
        let failed = |e: std::io::Error| format!("{}: {e}", at.display());
        let file = File::options().create(true).append(true).open(&at).map_err(failed)?;
        let mut taken = file.metadata().map_err(failed)?.len() as i64;
        for piece in PIECES {
            // SAFETY: a system call without memory on a file that is open.
            while unsafe { libc::fallocate(file.as_raw_fd(), 0, taken, piece) } == 0 {
                taken += piece;
            }
        }
        Ok(taken as u64)
    }

    pub fn free(&self) -> Result<(), String> {
        let Some(at) = &self.mounted else { return Ok(()) };
        match std::fs::remove_file(at.join(FILLER)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{}: {e}", at.display())),
            _ => Ok(()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let Some(at) = self.mounted.take() else { return };
        if let Ok(at) = std::ffi::CString::new(at.as_os_str().as_encoded_bytes()) {
            // SAFETY: the path ends with a zero. Whatever is still open keeps the file system until it is closed.
            unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

async fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let done = Command::new(program).args(arguments).output().await;
    let done = done.map_err(|e| format!("cannot run {program}: {e}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&done.stderr).trim())),
    }
}
