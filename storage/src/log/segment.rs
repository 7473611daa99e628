//! One file of the disk log: its header, its room, and how it is read back after a crash.
//!
//! What must stay true:
//! - A segment that has a successor ends with an end record, synced before the successor was made. So every segment
//!   but the last is sound from its header to its end record, or damaged.
//! - A segment names its store. One of another store is refused, whatever else is right with it.
//! - Only the last segment may have a torn tail. A record that does not check out is the tail, unless a sound
//!   record behind it says that it had been synced: then it is damage.
//!
//! What cannot be told from a torn tail is damage to what the very last sync made durable, unless the manifest has been
//! changed since, which says what was durable then.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::LogOwner;
use super::codec::{ALIGN, BEYOND, Record, peek};
use crate::base::{StorageError, StorageResult};
use crate::files::{File, Files, Folder, Open};

/// The last byte is the version of all files of the log.
pub(super) const MAGIC: &[u8; 8] = b"MRDNLOG2";
/// No header and no slot is longer.
const MOST_CHECKED: usize = 128;
/// Records begin here.
pub(super) const HEADER_LEN: u64 = 64;
/// New files are filled with zeros ahead of the writing, in steps of this size: a sync that overwrites is a third
/// faster than one that lengthens the file.
const FILL_BYTES: u64 = 4 << 20;
/// The steps are made of small writes: a large one leaves large pages in the cache, and the kernel then walks all blocks
/// of such a page for each record that is written to it (5 µs a record instead of 2).
static ZEROS: [u8; 16 << 10] = [0; 16 << 10];
/// Numbers jump by this at every start, so that a torn record can never fit behind a new one.
pub(super) const NUMBERS_PER_START: u64 = 1 << 32;

/// Which segment, whose, and the number of its first record.
pub(super) struct Place<'a> {
    pub folder: &'a Folder,
    pub owner: LogOwner,
    pub segment: u64,
    pub first_number: u64,
}

pub(super) struct Segment {
    pub file: Arc<dyn File>,
    pub path: PathBuf,
    /// Up to where the file has been written before, if only with zeros.
    filled: u64,
}

pub(super) fn name(segment: u64) -> String {
    format!("{segment:012}.log")
}

/// The number of a segment, from its file's name.
pub(super) fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".log")?;
    (name.len() == 12).then(|| name.parse().ok()).flatten()
}

pub(super) fn io_error(path: &Path, e: &io::Error) -> StorageError {
    let path = path.display();
    match e.kind() {
        io::ErrorKind::StorageFull => {
            StorageError::Io(format!("the disk that holds {path} is full: free some space ({e})"))
        }
        _ => StorageError::Io(format!("{path}: {e}")),
    }
}

pub(super) fn damaged(path: &Path, at: usize, what: &str) -> StorageError {
    StorageError::Corruption(format!("{} at byte {at}: {what}", path.display()))
}

impl Segment {
    /// Makes the file, from one that is not needed any more if there is one.
    pub fn create(place: Place<'_>, spare: Option<PathBuf>, capacity: u64) -> StorageResult<Self> {
        let path = place.folder.join(name(place.segment));
        let make = || {
            let files = &place.folder.files;
            if let Some(spare) = spare {
                files.rename(&spare, &path)?;
            }
            let file = files.open(&path, Open::Create)?;
            let filled = file.size()?;
            let mut made = Segment { file, path: path.clone(), filled };
            made.fill(HEADER_LEN, capacity)?;
            made.file.write_all_at(&header(place.segment, place.first_number, place.owner), 0)?;
            made.file.sync_all()?;
            place.folder.sync()?;
            Ok(made)
        };
        make().map_err(|e| io_error(&path, &e))
    }

    pub fn open(files: &dyn Files, path: PathBuf) -> StorageResult<Self> {
        let open = || {
            let file = files.open(&path, Open::Write)?;
            let filled = file.size()?;
            Ok((file, filled))
        };
        let (file, filled) = open().map_err(|e| io_error(&path, &e))?;
        Ok(Segment { file, path, filled })
    }

    /// Puts a file with that content in place of the segment, durably. Until then the old one stays as it is. Says what
    /// name the new one had.
    pub fn replace(folder: &Folder, path: &Path, bytes: &[u8]) -> StorageResult<PathBuf> {
        let new = path.with_extension("spare");
        let put = || {
            let file = folder.files.open(&new, Open::Create)?;
            file.write_all_at(bytes, 0)?;
            file.sync_all()?;
            folder.files.rename(&new, path)?;
            folder.sync()
        };
        put().map_err(|e| io_error(path, &e))?;
        Ok(new)
    }

    pub fn write(&mut self, bytes: &[u8], at: u64, capacity: u64) -> StorageResult<()> {
        let end = at + bytes.len() as u64;
        let written = self.fill(end, capacity).and_then(|()| self.file.write_all_at(bytes, at));
        self.filled = self.filled.max(end);
        written.map_err(|e| io_error(&self.path, &e))
    }

    /// Makes sure that the file has been written up to `end` and some way beyond, as far as its capacity goes.
    fn fill(&mut self, end: u64, capacity: u64) -> io::Result<()> {
        if self.filled >= end.min(capacity) {
            return Ok(());
        }
        let to = (end + FILL_BYTES).min(capacity);
        while self.filled < to {
            let zeros = &ZEROS[..(to - self.filled).min(ZEROS.len() as u64) as usize];
            self.file.write_all_at(zeros, self.filled)?;
            self.filled += zeros.len() as u64;
        }
        Ok(())
    }

    pub fn sync(&self) -> StorageResult<()> {
        self.file.sync().map_err(|e| io_error(&self.path, &e))
    }

    pub fn len(&self) -> u64 {
        self.filled
    }
}

fn header(segment: u64, first_number: u64, owner: LogOwner) -> [u8; HEADER_LEN as usize] {
    let mut h = [0; HEADER_LEN as usize];
    h[..8].copy_from_slice(MAGIC);
    h[8..16].copy_from_slice(&segment.to_le_bytes());
    h[16..24].copy_from_slice(&first_number.to_le_bytes());
    h[24..44].copy_from_slice(&owner.to_bytes());
    let checksum = crc32c::crc32c(&h[..44]);
    h[44..48].copy_from_slice(&checksum.to_le_bytes());
    h
}

/// The number of the first record and the owner, if the header is sound.
fn parse_header(bytes: &[u8], segment: u64) -> Option<(u64, LogOwner)> {
    let first = u64::from_le_bytes(*bytes.get(16..)?.first_chunk()?);
    let owner = LogOwner::from_bytes(*bytes.get(24..)?.first_chunk()?);
    (first < BEYOND && bytes.get(..HEADER_LEN as usize)? == header(segment, first, owner))
        .then_some((first, owner))
}

/// The number of the first record; `None` if the header is not sound. One of another store or version is refused.
fn check_header(path: &Path, bytes: &[u8], id: SegmentId) -> StorageResult<Option<u64>> {
    match parse_header(bytes, id.segment) {
        Some((_, owner)) if owner != id.owner => Err(foreign(path, owner, id.owner)),
        Some((first, _)) => Ok(Some(first)),
        None => check_format(path, bytes, |own| parse_header(own, id.segment).is_some()).map(|()| None),
    }
}

/// Refuses what begins like a file of the log of another version; not what would be `sound` in this one, were it not for the
/// version: that is damage.
pub(super) fn check_format(path: &Path, bytes: &[u8], sound: impl Fn(&[u8]) -> bool) -> StorageResult<()> {
    let (name, own) = MAGIC.split_at(7);
    let is_damage = || {
        let rest = bytes.get(MAGIC.len()..).unwrap_or_default();
        sound(&[MAGIC, &rest[..rest.len().min(MOST_CHECKED)]].concat())
    };
    match bytes.strip_prefix(name).and_then(|rest| rest.first()) {
        Some(found) if *found != own[0] && found.is_ascii_alphanumeric() && !is_damage() => {
            Err(StorageError::Config(format!(
                "{} was written in format {} of the log; this binary reads format {}: start the version of the binary \
                 that wrote it",
                path.display(),
                char::from(*found),
                char::from(own[0]),
            )))
        }
        _ => Ok(()),
    }
}

/// As [`check_format`], for a file.
pub(super) fn check_format_of(files: &dyn Files, path: &Path) -> StorageResult<()> {
    let mut begin = [0; HEADER_LEN as usize];
    let opened = files.open(path, Open::Read);
    let read = opened.and_then(|f| f.read_at(&mut begin, 0)).map_err(|e| io_error(path, &e))?;
    let number = number_of(path).unwrap_or_default();
    check_format(path, &begin[..read], |own| parse_header(own, number).is_some())
}

pub(super) fn foreign(path: &Path, found: LogOwner, expected: LogOwner) -> StorageError {
    StorageError::Config(format!(
        "{} belongs to {found}, and this store is {expected}: put the log of this store back",
        path.display()
    ))
}

/// What reading a segment back has found.
pub(super) struct Found {
    /// Where the sound records end; the end record, if there is one, is before it.
    pub end: u64,
    pub complete: bool,
    /// The number that the next record would have had.
    pub next_number: u64,
    /// The last record that is known to have been durable, as the records say.
    pub synced: u64,
    /// Up to `end`.
    pub bytes: Vec<u8>,
}

/// Which segment a file must be.
#[derive(Clone, Copy)]
pub(super) struct SegmentId {
    pub segment: u64,
    pub owner: LogOwner,
    /// The number from which on records can belong to this segment.
    pub after: u64,
}

/// Reads a segment back, and hands every sound record with its offset to `each`.
pub(super) fn replay(
    files: &dyn Files,
    path: &Path,
    id: SegmentId,
    last: bool,
    mut each: impl FnMut(Record<'_>, u32) -> Option<()>,
) -> StorageResult<Found> {
    let mut bytes = files.read(path).map_err(|e| io_error(path, &e))?;
    let first = match check_header(path, &bytes, id)? {
        Some(first) if first < id.after => {
            return Err(damaged(path, 16, "its records are older than expected"));
        }
        Some(first) => first,
        None if bytes.is_empty() => return Err(damaged(path, 0, "the segment is empty")),
        None => return Err(damaged(path, 0, "the header of the segment is damaged")),
    };
    let (mut at, mut number, mut synced) = (HEADER_LEN as usize, first, 0);
    while let Some(record) = bytes.get(at..).and_then(Record::parse).filter(|r| r.number == number) {
        (number, synced) = (number + 1, record.synced);
        if record.is_end() {
            let end = at + record.padded_len();
            bytes.truncate(end);
            return Ok(Found { end: end as u64, complete: true, next_number: number, synced, bytes });
        }
        each(record, at as u32).ok_or_else(|| damaged(path, at, "a sound record makes no sense"))?;
        at += record.padded_len();
    }
    if !last {
        return Err(damaged(path, at, "a record is damaged, and the segment goes on"));
    }
    if let Some(later) = durable_evidence(&bytes, at, number, number) {
        let what = format!("a record is damaged that was synced, as the one at byte {later} says");
        return Err(damaged(path, at, &what));
    }
    bytes.truncate(at);
    Ok(Found { end: at as u64, complete: false, next_number: number, synced, bytes })
}

/// Makes sure that nothing was written to a segment that was being made when the process ended: it is made again.
pub(super) fn check_unused(files: &dyn Files, path: &Path, id: SegmentId) -> StorageResult<()> {
    let bytes = files.read(path).map_err(|e| io_error(path, &e))?;
    let used = match check_header(path, &bytes, id)? {
        // Not the first alone: it may be damaged.
        Some(first) => durable_evidence(&bytes, HEADER_LEN as usize, first, 0).is_some(),
        None => durable_evidence(&bytes, 0, id.after, 0).is_some(),
    };
    match used {
        true => Err(damaged(path, 0, "the segment has records, and the manifest does not know of it")),
        false => Ok(()),
    }
}

/// A sound record at or behind `at`, of this life of the file, that says that record `number` was synced.
fn durable_evidence(bytes: &[u8], at: usize, least: u64, number: u64) -> Option<usize> {
    let numbers = least..least.saturating_add(2 * NUMBERS_PER_START);
    (at.next_multiple_of(ALIGN)..bytes.len()).step_by(ALIGN).find(|&at| {
        peek(&bytes[at..]).is_some_and(|(n, synced, _)| numbers.contains(&n) && synced >= number)
            && Record::parse(&bytes[at..]).is_some()
    })
}
