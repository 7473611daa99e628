//! The disk log's `MANIFEST`: whose log it is, and which segment is the newest.
//!
//! What must stay true:
//! - It is made, durably, before its store has an identity, and names no segment then. So a store with an identity and
//!   without a manifest has lost its log.
//! - It names a segment once the segment's header is durable, and durably before the first record is written there. So
//!   the segment that it names is there and sound; one beyond it was being begun when the process ended, holds nothing,
//!   and there is one such at most.
//!
//! Two slots, a page apart, are written in turn: a slot that is torn leaves the one before it. A slot is the format,
//! the newest segment, the cluster and the node, and the checksum of them.
//!
//! Alternatives considered: a mark in the end of each segment that names its successor. Old segments are given up, and
//! then nothing speaks of the only one that is left. A new file for each change, renamed over the old one: two more
//! syncs at the change of a segment, for which commits wait, instead of one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::LogOwner;
use super::segment::{self, MAGIC};
use crate::base::{NodeId, StorageError, StorageResult};

pub(super) const NAME: &str = "MANIFEST";
const SLOTS: usize = 2;
pub(super) const SLOT_BYTES: usize = 4096;
const SLOT_LEN: usize = 40;

pub(super) struct Manifest {
    file: File,
    path: PathBuf,
    owner: LogOwner,
    /// 0: none was begun yet.
    newest: u64,
}

impl Manifest {
    /// Makes the manifest of a log without segments, in place of one that never had any.
    pub fn lay(folder: &Path, owner: LogOwner) -> StorageResult<()> {
        let path = folder.join(NAME);
        let new = path.with_extension("new");
        let lay = || {
            let mut bytes = vec![0; SLOTS * SLOT_BYTES];
            bytes[..SLOT_LEN].copy_from_slice(&slot(owner, 0));
            std::fs::write(&new, bytes)?;
            File::open(&new)?.sync_all()?;
            std::fs::rename(&new, &path)?;
            File::open(folder)?.sync_all()?;
            // The folder may be new, too.
            match folder.parent().filter(|p| !p.as_os_str().is_empty()) {
                Some(parent) => File::open(parent)?.sync_all(),
                None => Ok(()),
            }
        };
        lay().map_err(|e| segment::io_error(&path, &e))
    }

    /// `None` if there is none.
    pub fn open(folder: &Path) -> StorageResult<Option<Self>> {
        let path = folder.join(NAME);
        let open =
            || -> io::Result<_> { Ok((std::fs::read(&path)?, OpenOptions::new().write(true).open(&path)?)) };
        let (bytes, file) = match open() {
            Ok(opened) => opened,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(segment::io_error(&path, &e)),
        };
        let slots = bytes.chunks(SLOT_BYTES).take(SLOTS);
        if let Some((owner, newest)) = slots.clone().filter_map(parse).max_by_key(|(_, newest)| *newest) {
            return Ok(Some(Manifest { file, path, owner, newest }));
        }
        slots.clone().try_for_each(|slot| segment::check_format(&path, slot))?;
        Err(segment::damaged(&path, 0, "neither of its two slots is sound"))
    }

    pub fn owner(&self) -> LogOwner {
        self.owner
    }

    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// Names the newest segment, durably.
    pub fn set_newest(&mut self, segment: u64) -> StorageResult<()> {
        let at = segment % SLOTS as u64 * SLOT_BYTES as u64;
        let written = self.file.write_all_at(&slot(self.owner, segment), at);
        written.and_then(|()| self.file.sync_data()).map_err(|e| segment::io_error(&self.path, &e))?;
        self.newest = segment;
        Ok(())
    }
}

pub(super) fn missing(folder: &Path) -> StorageError {
    StorageError::Corruption(format!("{} is missing", folder.join(NAME).display()))
}

fn slot(owner: LogOwner, newest: u64) -> [u8; SLOT_LEN] {
    let mut s = [0; SLOT_LEN];
    s[..8].copy_from_slice(MAGIC);
    s[8..16].copy_from_slice(&newest.to_le_bytes());
    s[16..36].copy_from_slice(&owner.to_bytes());
    let checksum = crc32c::crc32c(&s[..36]);
    s[36..].copy_from_slice(&checksum.to_le_bytes());
    s
}

/// Owner and newest segment, if the slot is sound.
fn parse(bytes: &[u8]) -> Option<(LogOwner, u64)> {
    let newest = u64::from_le_bytes(*bytes.get(8..)?.first_chunk()?);
    let owner = LogOwner::from_bytes(*bytes.get(16..)?.first_chunk()?);
    (bytes.get(..SLOT_LEN)? == slot(owner, newest)).then_some((owner, newest))
}

impl LogOwner {
    pub(super) const LEN: usize = 20;

    pub(super) fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(&self.cluster.to_le_bytes());
        bytes[16..].copy_from_slice(&self.node.0.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        let (mut cluster, mut node) = ([0; 16], [0; 4]);
        cluster.copy_from_slice(&bytes[..16]);
        node.copy_from_slice(&bytes[16..]);
        LogOwner { cluster: u128::from_le_bytes(cluster), node: NodeId(u32::from_le_bytes(node)) }
    }
}
