//! The disk log's `MANIFEST`: whose log it is, and which segments are the oldest and the newest.
//!
//! What must stay true:
//! - It is made, durably, before its store has an identity, and names no segment then. So a store with an identity and
//!   without a manifest has lost its log.
//! - It names a segment once the segment's header is durable, and durably before the first record is written there. So
//!   the segment that it names is there and sound; one beyond it was being begun when the process ended, holds nothing,
//!   and there is one such at most.
//! - The oldest segment is named, durably, before the one before it is given up. With it stands a record that is known to
//!   be durable: what was given up was written again up to there, so a log that ends before it is damaged, not torn.
//!
//! Two slots, a page apart, are written in turn: a slot that is torn leaves the one before it. A slot is the format,
//! the number of the change, the oldest and the newest segment, the cluster and the node, and the checksum of them; then
//! the last record that was known to be durable, and the checksum of all. Earlier versions write the first part alone, over
//! whatever is there: a slot whose second checksum is wrong says nothing of a record, and is right in all else.
//!
//! Alternatives considered: a mark in the end of each segment that names its successor. Old segments are given up, and
//! then nothing speaks of the only one that is left. A new file for each change, renamed over the old one: two more
//! syncs at the change of a segment, for which commits wait, instead of one.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::LogOwner;
use super::codec::BEYOND;
use super::segment::{self, MAGIC};
use crate::base::{NodeId, StorageError, StorageResult};
use crate::files::{File, Folder, Open};

pub(super) const NAME: &str = "MANIFEST";
const SLOTS: usize = 2;
pub(super) const SLOT_BYTES: usize = 4096;
const SLOT_LEN: usize = 68;
/// Of a slot without the durable record.
const SHORT_SLOT_LEN: usize = 56;

pub(super) struct Manifest {
    file: Arc<dyn File>,
    path: PathBuf,
    content: Content,
}

/// Of a slot.
#[derive(Clone, Copy)]
struct Content {
    /// Counts the changes; its parity is the slot's.
    change: u64,
    oldest: u64,
    /// 0: none was begun yet.
    newest: u64,
    owner: LogOwner,
    /// The last record that was known to be durable; 0: not said.
    synced: u64,
}

impl Manifest {
    /// Makes the manifest of a log without segments, in place of one that never had any.
    pub fn lay(folder: &Folder, owner: LogOwner) -> StorageResult<()> {
        let path = folder.join(NAME);
        let lay = || {
            Content { change: 0, oldest: 1, newest: 0, owner, synced: 0 }.put(folder)?;
            // The folder may be new, too.
            match folder.path.parent().filter(|p| !p.as_os_str().is_empty()) {
                Some(parent) => folder.files.sync_folder(parent),
                None => Ok(()),
            }
        };
        lay().map_err(|e| segment::io_error(&path, &e))
    }

    /// `None` if there is none.
    pub fn open(folder: &Folder) -> StorageResult<Option<Self>> {
        let path = folder.join(NAME);
        let open =
            || -> io::Result<_> { Ok((folder.files.read(&path)?, folder.files.open(&path, Open::Write)?)) };
        let (bytes, file) = match open() {
            Ok(opened) => opened,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(segment::io_error(&path, &e)),
        };
        let slots = bytes.chunks(SLOT_BYTES).take(SLOTS);
        let sound = || slots.clone().filter_map(Content::parse);
        if let Some(content) = sound().max_by_key(|c| c.change) {
            // What was durable once is so for ever.
            let synced = sound().map(|c| c.synced).max().unwrap_or_default();
            return Ok(Some(Manifest { file, path, content: Content { synced, ..content } }));
        }
        let is_slot = |own: &[u8]| Content::parse(own).is_some();
        slots.clone().try_for_each(|slot| segment::check_format(&path, slot, is_slot))?;
        Err(segment::damaged(&path, 0, "neither of its two slots is sound"))
    }

    /// Makes durable what was found: the process that wrote it may have ended before it was, or after a sync that failed.
    /// In a new file: a sync of the old one would write nothing that the kernel has dropped, and of its slots either may be the
    /// only one that is durable.
    pub fn settle(&mut self, folder: &Folder) -> StorageResult<()> {
        self.file = self.content.put(folder).map_err(|e| segment::io_error(&self.path, &e))?;
        Ok(())
    }

    pub fn owner(&self) -> LogOwner {
        self.content.owner
    }

    pub fn oldest(&self) -> u64 {
        self.content.oldest
    }

    pub fn newest(&self) -> u64 {
        self.content.newest
    }

    /// The last record that was known to be durable when something was changed.
    pub fn synced(&self) -> u64 {
        self.content.synced
    }

    /// Names the oldest segment, durably; `synced` is the last record that is durable.
    pub fn set_oldest(&mut self, segment: u64, synced: u64) -> StorageResult<()> {
        self.change(Content { oldest: segment, synced, ..self.content })
    }

    /// Names the newest segment, durably; `synced` is the last record that is durable.
    pub fn set_newest(&mut self, segment: u64, synced: u64) -> StorageResult<()> {
        self.change(Content { newest: segment, synced, ..self.content })
    }

    fn change(&mut self, to: Content) -> StorageResult<()> {
        let content = Content { change: self.content.change + 1, ..to };
        let written = self.file.write_all_at(&content.encode(), content.at() as u64);
        written.and_then(|()| self.file.sync()).map_err(|e| segment::io_error(&self.path, &e))?;
        self.content = content;
        Ok(())
    }
}

pub(super) fn missing(folder: &Folder) -> StorageError {
    StorageError::Corruption(format!("{} is missing", folder.join(NAME).display()))
}

impl Content {
    /// Where its slot begins.
    fn at(&self) -> usize {
        (self.change % SLOTS as u64) as usize * SLOT_BYTES
    }

    /// Makes a manifest of it, in place of the one that there may be, durably.
    fn put(&self, folder: &Folder) -> io::Result<Arc<dyn File>> {
        let path = folder.join(NAME);
        let new = path.with_extension("new");
        let mut bytes = vec![0; SLOTS * SLOT_BYTES];
        bytes[self.at()..][..SLOT_LEN].copy_from_slice(&self.encode());
        let file = folder.files.open(&new, Open::Create)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        folder.files.rename(&new, &path)?;
        folder.sync()?;
        Ok(file)
    }

    fn encode(&self) -> [u8; SLOT_LEN] {
        let mut s = [0; SLOT_LEN];
        s[..8].copy_from_slice(MAGIC);
        s[8..16].copy_from_slice(&self.change.to_le_bytes());
        s[16..24].copy_from_slice(&self.oldest.to_le_bytes());
        s[24..32].copy_from_slice(&self.newest.to_le_bytes());
        s[32..52].copy_from_slice(&self.owner.to_bytes());
        let checksum = crc32c::crc32c(&s[..52]);
        s[52..56].copy_from_slice(&checksum.to_le_bytes());
        s[56..64].copy_from_slice(&self.synced.to_le_bytes());
        let checksum = crc32c::crc32c(&s[..64]);
        s[64..].copy_from_slice(&checksum.to_le_bytes());
        s
    }

    /// `None` if the slot is not sound.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let owner = LogOwner::from_bytes(*bytes.get(32..)?.first_chunk()?);
        let (change, oldest, newest, synced) = (number(8)?, number(16)?, number(24)?, number(56)?);
        let content = Content { change, oldest, newest, owner, synced };
        let (found, sound) = (bytes.get(..SLOT_LEN)?, content.encode());
        let synced = if found == sound && synced < BEYOND { synced } else { 0 };
        let sensible = change.max(oldest).max(newest) < BEYOND;
        let same = found[..SHORT_SLOT_LEN] == sound[..SHORT_SLOT_LEN];
        (sensible && same).then_some(Content { synced, ..content })
    }
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
