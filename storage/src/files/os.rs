//! The operating system's files.

use std::fs::{File as OsFile, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{File, Files, Guard, Open};

pub struct OsFiles;

impl Files for OsFiles {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        create_folder(folder, |above| self.sync_folder(above))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let write = how != Open::Read;
        let mut options = OpenOptions::new();
        options.read(true).write(write).create(how == Open::Create).truncate(false);
        Ok(Arc::new(options.open(path)?))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        OsFile::open(folder)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Guard>> {
        let file = OsFile::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => Err(e),
        }
    }
}

/// The name of a folder is in the one above it: as many are synced as have a new one.
fn create_folder(folder: &Path, mut sync: impl FnMut(&Path) -> io::Result<()>) -> io::Result<()> {
    let new: Vec<&Path> =
        folder.ancestors().take_while(|f| !f.as_os_str().is_empty() && !f.exists()).collect();
    std::fs::create_dir_all(folder)?;
    let above = |made: &Path| made.parent().filter(|p| !p.as_os_str().is_empty()).map(Path::to_owned);
    new.into_iter().try_for_each(|made| sync(&above(made).unwrap_or_else(|| ".".into())))
}

impl File for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> io::Result<usize> {
        FileExt::read_at(self, into, at)
    }

    fn read_exact_at(&self, into: &mut [u8], at: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, into, at)
    }

    fn write_all_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        FileExt::write_all_at(self, bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        OsFile::sync_all(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_new_folders_are_synced() {
        let there = tempfile::TempDir::new().expect("a folder");
        let path = there.path();
        let create = |folder: &Path| {
            let mut synced = Vec::new();
            let create = create_folder(folder, |above| {
                assert!(folder.exists());
                synced.push(above.to_owned());
                Ok(())
            });
            create.map(|()| synced).expect("made")
        };
        assert_eq!(create(&path.join("a/b/c")), [path.join("a/b"), path.join("a"), path.to_owned()]);
        assert_eq!(create(&path.join("a/b/d")), [path.join("a/b")]);
        assert!(create(&path.join("a/b/d")).is_empty());
        OsFiles.create_folder(&path.join("e/f")).expect("made");
        assert!(path.join("e/f").is_dir());
    }
}
