//! An open file of a simulated disk, and a lock. Both are void after a crash.

use std::io;
use std::ops::Range;
use std::path::PathBuf;

use super::journal::{Content, Standing};
use super::{SimFiles, State};
use crate::files::File;

pub(super) struct Handle {
    pub files: SimFiles,
    pub id: u64,
    pub life: u64,
}

pub(super) struct Lock {
    pub files: SimFiles,
    pub path: PathBuf,
    pub life: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut state = self.files.state.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

impl State {
    pub(super) fn content(&self, id: u64) -> io::Result<&Content> {
        self.contents.get(&id).ok_or_else(|| io::Error::other("the file was removed"))
    }
}

impl Handle {
    fn with<T>(&self, deed: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let state = &mut *self.files.state.lock();
        assert_eq!(state.life, self.life, "a file is used by a process that has ended");
        deed(state)
    }
}

/// What of `bytes` a read at `at` gives that wants `len`.
fn found(bytes: &[u8], at: u64, len: usize) -> &[u8] {
    let at = (at as usize).min(bytes.len());
    &bytes[at..(at + len).min(bytes.len())]
}

impl File for Handle {
    fn size(&self) -> io::Result<u64> {
        self.with(|state| Ok(state.content(self.id)?.bytes.len() as u64))
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        self.with(|state| {
            state.read()?;
            let found = found(&state.content(self.id)?.bytes, at, into.len());
            into[..found.len()].copy_from_slice(found);
            Ok(found.len())
        })
    }

    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        match self.read_at(into, at)? {
            read if read == into.len() => Ok(()),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let now = self.files.clock.monotonic();
        self.with(|state| {
            let there = state.content(self.id)?.bytes.len() as u64;
            let ailments = state.ailments;
            let full = ailments.is_full && (ailments.overwrites_need_room || at + bytes.len() as u64 > there);
            // A disk that is full has taken some of it.
            let taken = if full { state.chance.below(bytes.len() as u64 + 1) as usize } else { bytes.len() };
            let begun = state.begins(now);
            if let Some(content) = state.contents.get_mut(&self.id) {
                content.write(begun, at, &bytes[..taken]);
            }
            if full { Err(state.refuse()) } else { Ok(()) }
        })
    }

    fn sync(&self) -> io::Result<()> {
        let now = self.files.clock.monotonic();
        self.with(|state| {
            let (number, done) = state.take_time(now);
            let synced = state.sync();
            let State { contents, chance, .. } = state;
            if let Some(content) = contents.get_mut(&self.id) {
                for write in content.pending.iter_mut().filter(|w| w.standing == Standing::Waiting) {
                    // What fails seldom fails for all of it.
                    write.standing = match synced.is_err() && chance.percent(70) {
                        true => Standing::Dropped,
                        false => Standing::Syncing(number, done),
                    };
                }
                content.settle(now);
            }
            synced
        })
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync()
    }
}

/// From the least to the greatest of both.
pub(super) fn joined(a: Range<u64>, b: Range<u64>) -> Range<u64> {
    a.start.min(b.start)..a.end.max(b.end)
}
