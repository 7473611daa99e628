//! The Raft log on disk: segments of checksummed records, one record for each batch.
//!
//! A commit is one write and one `fdatasync` over room that has been written before. Segments that hold nothing alive
//! become the room of new ones; what little is alive in an old segment is written again, a whole range at a time.
//!
//! What must stay true, beside what [`super::segment`] says of single files:
//! - Segments are numbered without gaps from the oldest to the newest that the manifest names ([`super::manifest`]), and
//!   all are of one store; a segment is given up only when a replay of the younger ones gives the
//!   same index, and always the oldest first.
//! - After an error of a write or a sync nothing more is written: what the disk then holds is unknown (the kernel drops
//!   dirty pages after a failed sync), and only a restart finds out.
//! - Every start begins a new segment, with record numbers far above all before it. What it finds may be in the memory of the
//!   machine alone, if a process has ended in the middle of a sync or after one that failed: it is made durable before
//!   anything rests on it. A sync does not do that, which writes nothing that the kernel has dropped: what no record and
//!   no manifest calls durable is written again, to a new file. The old one stays until then: what it holds
//!   may have been acknowledged, and writing in place may tear it.
//!
//! Alternatives considered: `raft-engine` 0.4.2, TiKV's log store. It compiles in twenty-five crates, among them a second
//! `prometheus`, `lz4-sys`, `nix` and `rayon`; it reads the clock and starts threads itself, which the simulation and
//! the layering forbid; its queue of writers costs what one store thread does not need; and in its default recovery
//! mode it cuts the log at a damaged record in the last file, synced or not. RocksDB as the log: a memtable and a
//! compaction for what is written once, read from memory, and deleted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use super::check::check;
use super::codec::{Encoder, Image, IndexOp, Record, encoded_len};
use super::index::{Index, RecordPlace, Slot};
use super::manifest::{self, Manifest};
use super::segment::{self, HEADER_LEN, NUMBERS_PER_START, Place, Segment, SegmentId};
use super::{LogBatch, LogEntry, LogOwner, LogState, LogStore, size_of};
use crate::base::{RangeId, StorageError, StorageResult};
use crate::files::{File, Folder, Guard, Open};

/// How the log is opened.
#[derive(Clone, Copy, Debug)]
pub struct DiskLogOptions {
    pub segment_bytes: u64,
    /// For the youngest entries of all ranges.
    pub cache_bytes: u64,
}

impl Default for DiskLogOptions {
    fn default() -> Self {
        DiskLogOptions { segment_bytes: 64 << 20, cache_bytes: 32 << 20 }
    }
}

/// What an end record takes, and a little more.
const END_ROOM: u64 = 64;

/// See the module's documentation.
pub struct DiskLog {
    folder: Folder,
    options: DiskLogOptions,
    /// Taken before `shared`.
    writer: Mutex<Writer>,
    shared: RwLock<Shared>,
    /// Held as long as the log is open.
    _lock: Guard,
    /// Records that were read back, for the tests.
    records_read: AtomicU64,
}

/// What readers see.
struct Shared {
    index: Index,
    /// For reading. The last one is being written.
    segments: BTreeMap<u64, Arc<dyn File>>,
}

struct Writer {
    segment: u64,
    file: Segment,
    at: u64,
    /// Of the next record.
    number: u64,
    /// The last record that is known to be durable.
    synced: u64,
    manifest: Manifest,
    /// A file that may become a segment.
    spare: Option<PathBuf>,
    encoder: Encoder,
    /// The first error of a write or a sync, of files or of the folder; the last thing that was tried.
    failed: Option<StorageError>,
}

impl Writer {
    /// Makes everything durable that was written.
    fn settle(&mut self) -> StorageResult<()> {
        if self.synced + 1 < self.number {
            self.file.sync().inspect_err(|e| self.failed = Some(e.clone()))?;
            self.synced = self.number - 1;
        }
        Ok(())
    }
}

impl DiskLog {
    /// Whose log is in `folder`; `None` if no segment of it was ever begun.
    pub fn owner(folder: impl Into<Folder>) -> StorageResult<Option<LogOwner>> {
        Self::owner_of(&folder.into())
    }

    fn owner_of(folder: &Folder) -> StorageResult<Option<LogOwner>> {
        if !folder.files.exists(&folder.path).map_err(|e| segment::io_error(&folder.path, &e))? {
            return Ok(None);
        }
        let segments = Listing::of(folder)?.segments;
        match Manifest::open(folder)? {
            Some(manifest) if manifest.newest() > 0 || !segments.is_empty() => Ok(Some(manifest.owner())),
            None if !segments.is_empty() => Err(without_manifest(folder, &segments)),
            _ => Ok(None),
        }
    }

    /// Founds the log of a store in `folder`, durably: to be done before the store is given its identity.
    pub fn found(folder: impl Into<Folder>, owner: LogOwner) -> StorageResult<()> {
        let folder = &folder.into();
        folder.files.create_folder(&folder.path).map_err(|e| segment::io_error(&folder.path, &e))?;
        let _lock = lock(folder)?;
        if let Some(found) = Self::owner_of(folder)? {
            return Err(StorageError::Config(format!(
                "{} belongs to {found} already",
                folder.path.display()
            )));
        }
        Manifest::lay(folder, owner)
    }

    /// Opens the log that was founded in `folder` for `owner`, and reads it back.
    pub fn open(folder: impl Into<Folder>, owner: LogOwner, options: DiskLogOptions) -> StorageResult<Self> {
        let folder: Folder = folder.into();
        let lock = lock(&folder)?;
        let mut files = Listing::of(&folder)?;
        let mut manifest =
            Manifest::open(&folder)?.ok_or_else(|| without_manifest(&folder, &files.segments))?;
        if manifest.owner() != owner {
            return Err(segment::foreign(&folder.path, manifest.owner(), owner));
        }
        manifest.settle(&folder)?;
        let unmade = files.beyond(&manifest)?;
        let replayed = Replayed { owner, synced: manifest.synced(), unmade };
        let (index, next_number) = files.replay(replayed, options.cache_bytes)?;
        if let Some((range, first)) = index.range_with_gap() {
            return Err(StorageError::Corruption(format!(
                "{}: the log of {range} lacks what comes before entry {first}",
                folder.path.display()
            )));
        }
        let number = (next_number / NUMBERS_PER_START + 1) * NUMBERS_PER_START;
        let segment = manifest.newest() + 1;
        let spare = if unmade.is_some() { None } else { files.spares.pop() };
        // A spare's old name must be gone before the file is written again.
        folder.sync().map_err(|e| segment::io_error(&folder.path, &e))?;
        files.remove_spares()?;
        let place = Place { folder: &folder, owner, segment, first_number: number };
        let file = Segment::create(place, spare, options.segment_bytes)?;
        manifest.set_newest(segment, number - 1)?;
        let mut segments = BTreeMap::new();
        for (&n, path) in files.segments.range(..segment) {
            let opened = folder.files.open(path, Open::Read);
            segments.insert(n, opened.map_err(|e| segment::io_error(path, &e))?);
        }
        segments.insert(segment, file.file.clone());
        let writer = Writer {
            segment,
            file,
            at: HEADER_LEN,
            number,
            synced: number - 1,
            manifest,
            spare: None,
            encoder: Encoder::default(),
            failed: None,
        };
        Ok(DiskLog {
            folder,
            options,
            writer: Mutex::new(writer),
            shared: RwLock::new(Shared { index, segments }),
            _lock: lock,
            records_read: AtomicU64::new(0),
        })
    }

    /// Writes the record in the encoder, and remembers an error for ever.
    fn write_record(&self, w: &mut Writer, sync: bool) -> StorageResult<RecordPlace> {
        let written = self.try_write_record(w, sync);
        if let Err(e) = &written {
            w.failed = Some(e.clone());
        }
        written
    }

    fn try_write_record(&self, w: &mut Writer, sync: bool) -> StorageResult<RecordPlace> {
        // Room for the end record is always left; a record larger than a segment has one of its own.
        let needed = w.encoder.len() as u64 + END_ROOM;
        if w.at > HEADER_LEN && w.at + needed > self.options.segment_bytes {
            self.rotate(w)?;
        }
        let (bytes, len) = w.encoder.finish(w.number, w.synced);
        w.file.write(bytes, w.at, self.options.segment_bytes)?;
        let place = RecordPlace {
            segment: w.segment,
            offset: u32::try_from(w.at).expect("a segment is far smaller than 4 GiB"),
            len,
        };
        w.at += bytes.len() as u64;
        w.number += 1;
        if sync {
            w.file.sync()?;
            w.synced = w.number - 1;
        }
        w.encoder.trim();
        Ok(place)
    }

    /// Ends the segment and begins the next.
    fn rotate(&self, w: &mut Writer) -> StorageResult<()> {
        let mut end = Encoder::default();
        end.begin();
        end.end();
        w.file.write(end.finish(w.number, w.synced).0, w.at, self.options.segment_bytes)?;
        w.file.sync()?;
        w.synced = w.number;
        w.number += 1;
        let (owner, segment) = (w.manifest.owner(), w.segment + 1);
        let next = Place { folder: &self.folder, owner, segment, first_number: w.number };
        let file = Segment::create(next, w.spare.take(), self.options.segment_bytes)?;
        w.manifest.set_newest(segment, w.synced)?;
        self.shared.write().segments.insert(segment, file.file.clone());
        w.segment = segment;
        w.file = file;
        w.at = HEADER_LEN;
        Ok(())
    }

    /// Writes the ranges again that still need the segment; false if that is too much.
    fn rewrite(&self, w: &mut Writer, segment: u64) -> StorageResult<bool> {
        let mut images = Vec::new();
        let mut bytes = 0;
        {
            let shared = self.shared.read();
            for range in shared.index.ranges_in(segment) {
                let Some(log) = shared.index.range(range) else { continue };
                let mut entries = Vec::with_capacity(log.slots.len());
                self.load(&shared, log.slots.iter(), &mut |entry| {
                    bytes += encoded_len(&entry) as u64;
                    entries.push(entry);
                    bytes <= self.options.segment_bytes / 4
                })?;
                if bytes > self.options.segment_bytes / 4 {
                    return Ok(false);
                }
                images.push((range, Image { hard_state: log.hard_state, truncated: log.truncated, entries }));
            }
        }
        if images.is_empty() {
            return Ok(true);
        }
        w.encoder.begin();
        let ops: Vec<(RangeId, IndexOp)> =
            images.iter().map(|(range, image)| (*range, w.encoder.image(*range, image))).collect();
        let place = self.write_record(w, true)?;
        let mut shared = self.shared.write();
        ops.into_iter().for_each(|(range, op)| shared.index.apply(range, op, place));
        Ok(true)
    }

    /// Gives up the oldest segment: its file becomes the spare one, or goes. Remembers an error for ever.
    fn give_up(&self, w: &mut Writer, number: u64) -> StorageResult<()> {
        let given_up = self.try_give_up(w, number);
        if let Err(e) = &given_up {
            w.failed = Some(e.clone());
        }
        given_up
    }

    fn try_give_up(&self, w: &mut Writer, number: u64) -> StorageResult<()> {
        w.manifest.set_oldest(number + 1, w.synced)?;
        self.shared.write().segments.remove(&number);
        let path = self.folder.join(segment::name(number));
        let recycle = w.spare.is_none();
        let files = &self.folder.files;
        let retire = || {
            let recycle = recycle && files.open(&path, Open::Read)?.size()? == self.options.segment_bytes;
            let spare = recycle.then(|| path.with_extension("spare"));
            match &spare {
                Some(spare) => files.rename(&path, spare)?,
                None => files.remove(&path)?,
            }
            // The name must be gone before the file is written again.
            self.folder.sync()?;
            Ok(spare)
        };
        if let Some(spare) = retire().map_err(|e| segment::io_error(&path, &e))? {
            w.spare = Some(spare);
        }
        Ok(())
    }

    /// Gives the entries to `take`, until it says that it has enough. A record is read once for all of its entries that
    /// follow one another: it may have thousands.
    fn load<'s>(
        &self,
        shared: &Shared,
        slots: impl Iterator<Item = &'s Slot>,
        take: &mut dyn FnMut(LogEntry) -> bool,
    ) -> StorageResult<()> {
        let mut slots = slots.peekable();
        while let Some(slot) = slots.next() {
            if let Some(entry) = &slot.cached {
                if !take(entry.clone()) {
                    return Ok(());
                }
                continue;
            }
            let place = slot.record;
            let damaged = || {
                let path = self.folder.join(segment::name(place.segment));
                segment::damaged(&path, place.offset as usize, "a record is damaged")
            };
            let bytes = self.read(shared, place)?;
            let record = Record::parse(&bytes).ok_or_else(damaged)?;
            let mut next = Some(slot);
            while let Some(slot) = next {
                let entry = record.entry(slot.offset).filter(|entry| entry.term == slot.term);
                if !take(entry.ok_or_else(damaged)?) {
                    return Ok(());
                }
                next = slots.next_if(|next| next.cached.is_none() && next.record == place);
            }
        }
        Ok(())
    }

    fn read(&self, shared: &Shared, place: RecordPlace) -> StorageResult<Vec<u8>> {
        self.records_read.fetch_add(1, Ordering::Relaxed);
        let path = self.folder.join(segment::name(place.segment));
        let file = shared.segments.get(&place.segment).expect("a segment that is needed is open");
        let mut bytes = vec![0; place.len as usize];
        let read = file.read_exact_at(&mut bytes, u64::from(place.offset));
        read.map_err(|e| segment::io_error(&path, &e))?;
        Ok(bytes)
    }
}

impl LogStore for DiskLog {
    fn write(&self, batch: &LogBatch, sync: bool) -> StorageResult<()> {
        let w = &mut *self.writer.lock();
        if let Some(e) = &w.failed {
            return Err(e.clone());
        }
        if batch.ops.is_empty() {
            return if sync { w.settle() } else { Ok(()) };
        }
        {
            let shared = self.shared.read();
            check(batch, |range| shared.index.bounds(range))?;
        }
        let mut ops = Vec::with_capacity(batch.ops.len());
        w.encoder.begin();
        w.encoder.batch(batch, &mut ops);
        let place = self.write_record(w, sync)?;
        let mut shared = self.shared.write();
        ops.into_iter().for_each(|(range, op)| shared.index.apply(range, op, place));
        shared.index.cache(batch);
        Ok(())
    }

    fn ranges(&self) -> Vec<RangeId> {
        self.shared.read().index.ranges().collect()
    }

    fn state(&self, range: RangeId) -> StorageResult<Option<LogState>> {
        let shared = self.shared.read();
        Ok(shared.index.range(range).map(|log| LogState {
            hard_state: log.hard_state,
            truncated: log.truncated,
            last_index: log.last_index(),
        }))
    }

    fn entries(&self, range: RangeId, low: u64, high: u64, max_bytes: u64) -> StorageResult<Vec<LogEntry>> {
        let shared = self.shared.read();
        let Some(log) = shared.index.range(range) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut bytes = 0;
        let slots = (low..high).map_while(|index| log.slot(index));
        self.load(&shared, slots, &mut |entry| {
            bytes += size_of(&entry);
            let enough = bytes > max_bytes && !found.is_empty();
            if !enough {
                found.push(entry);
            }
            !enough
        })?;
        Ok(found)
    }

    fn term(&self, range: RangeId, index: u64) -> StorageResult<Option<u64>> {
        let shared = self.shared.read();
        let Some(log) = shared.index.range(range) else { return Ok(None) };
        if index == log.truncated.0 {
            return Ok(Some(log.truncated.1));
        }
        Ok(log.slot(index).map(|slot| slot.term))
    }

    fn purge(&self) -> StorageResult<()> {
        loop {
            // Taken anew for each segment, so that writers wait for one at most.
            let w = &mut *self.writer.lock();
            if let Some(e) = &w.failed {
                return Err(e.clone());
            }
            let oldest = self.shared.read().segments.keys().next().copied();
            let Some(oldest) = oldest.filter(|oldest| *oldest < w.segment) else { return Ok(()) };
            if !self.rewrite(w, oldest)? {
                return Ok(());
            }
            // What says that the segment is not needed may itself not be durable yet.
            w.settle()?;
            self.give_up(w, oldest)?;
        }
    }

    fn size(&self) -> u64 {
        let active = self.writer.lock().file.len();
        let shared = self.shared.read();
        let older = shared.segments.values().rev().skip(1);
        active + older.filter_map(|f| f.size().ok()).sum::<u64>()
    }

    fn busy_for(&self) -> Option<Duration> {
        self.folder.files.busy_for()
    }
}

/// Writes the end record behind what a crash has left of the last segment; `durable` is the last record known to be durable.
/// Says what name another file had that took the segment's place, if there is one.
fn complete(
    folder: &Folder,
    path: &Path,
    mut found: segment::Found,
    durable: u64,
) -> StorageResult<Option<PathBuf>> {
    let mut encoder = Encoder::default();
    encoder.begin();
    encoder.end();
    let end = match found.complete {
        true => &[],
        false => encoder.finish(found.next_number, found.next_number - 1).0,
    };
    if found.next_number > durable + 1 {
        found.bytes.extend_from_slice(end);
        return Segment::replace(folder, path, &found.bytes).map(Some);
    }
    let mut file = Segment::open(&*folder.files, path.to_owned())?;
    file.write(end, found.end, 0)?;
    file.sync().map(|()| None)
}

/// A folder without a manifest: of another version, or damaged.
fn without_manifest(folder: &Folder, segments: &BTreeMap<u64, PathBuf>) -> StorageError {
    let check = |path: &PathBuf| segment::check_format_of(&*folder.files, path).err();
    segments.values().find_map(check).unwrap_or_else(|| manifest::missing(folder))
}

fn lock(folder: &Folder) -> StorageResult<Guard> {
    let path = folder.join("LOCK");
    folder.files.lock(&path).map_err(|e| segment::io_error(&path, &e))?.ok_or_else(|| {
        StorageError::Config(format!(
            "the directory {} is in use by another process: stop it, or choose another directory",
            folder.path.display()
        ))
    })
}

/// What a log must be when it is read back.
struct Replayed {
    owner: LogOwner,
    /// The last record that is known to have been durable.
    synced: u64,
    /// A segment that the manifest does not know of yet.
    unmade: Option<u64>,
}

/// What is in the folder.
struct Listing<'a> {
    folder: &'a Folder,
    segments: BTreeMap<u64, PathBuf>,
    spares: Vec<PathBuf>,
}

impl<'a> Listing<'a> {
    fn of(folder: &'a Folder) -> StorageResult<Self> {
        let mut files = Listing { folder, segments: BTreeMap::new(), spares: Vec::new() };
        for path in folder.files.list(&folder.path).map_err(|e| segment::io_error(&folder.path, &e))? {
            if path.extension().is_some_and(|e| e == "spare") {
                files.spares.push(path);
            } else if let Some(number) = segment::number_of(&path) {
                files.segments.insert(number, path);
            }
        }
        let numbers: Vec<u64> = files.segments.keys().copied().collect();
        if let Some(pair) = numbers.windows(2).find(|pair| pair[0] + 1 != pair[1]) {
            let missing = folder.join(segment::name(pair[0] + 1));
            return Err(StorageError::Corruption(format!("{} is missing", missing.display())));
        }
        Ok(files)
    }

    /// The segment that was being made when the process ended, if there is one, beyond the newest that the manifest
    /// knows of. All that it knows of must be there.
    fn beyond(&self, manifest: &Manifest) -> StorageResult<Option<u64>> {
        let (oldest, newest) = (manifest.oldest(), manifest.newest());
        // One that was to be given up may still be there. Between the first and the last there is no gap.
        let first = self.segments.keys().next().copied().unwrap_or(u64::MAX);
        let last = self.segments.keys().next_back().copied();
        let missing = match last {
            None if newest > 0 => Some(newest),
            Some(last) if last < newest => Some(last + 1),
            Some(_) if first > oldest => Some(oldest),
            _ => None,
        };
        if let Some(number) = missing {
            let path = self.folder.join(segment::name(number));
            return Err(StorageError::Corruption(format!("{} is missing", path.display())));
        }
        match last {
            Some(last) if last > newest + 1 => {
                let path = self.folder.join(segment::name(last));
                Err(segment::damaged(&path, 0, "the manifest does not know of the segment"))
            }
            last => Ok(last.filter(|last| *last > newest)),
        }
    }

    /// The index, and the number that the next record would have had. A torn tail is cut off.
    fn replay(&mut self, of: Replayed, cache_bytes: u64) -> StorageResult<(Index, u64)> {
        let Replayed { owner, synced, unmade } = of;
        let folder = self.folder;
        let files = &*folder.files;
        let mut index = Index::new(cache_bytes);
        let mut next_number = 1;
        let last = self.segments.keys().next_back().copied();
        let newest = unmade.map(|unmade| unmade - 1).or(last);
        for (&segment, path) in &self.segments {
            let id = SegmentId { segment, owner, after: next_number };
            if unmade == Some(segment) {
                segment::check_unused(files, path, id)?;
                continue;
            }
            let found = segment::replay(files, path, id, last == Some(segment), |record, at| {
                let len = record.unpadded_len() as u32;
                let place = RecordPlace { segment, offset: at, len };
                record.ops()?.into_iter().for_each(|(range, op)| index.apply(range, op, place));
                Some(())
            })?;
            if !found.complete && found.next_number <= synced {
                let what = "the log ends, and goes on up to a record that was synced, as the manifest says";
                return Err(segment::damaged(path, found.end as usize, what));
            }
            next_number = found.next_number + u64::from(!found.complete);
            // Its end, too, may have been written by a process that could not sync it any more.
            if !found.complete || newest == Some(segment) {
                let durable = found.synced.max(synced);
                let renamed = complete(folder, path, found, durable)?;
                self.spares.retain(|spare| Some(spare) != renamed.as_ref());
            }
        }
        Ok((index, next_number))
    }

    /// All but the one that was taken out.
    fn remove_spares(&mut self) -> StorageResult<()> {
        for path in self.spares.drain(..) {
            self.folder.files.remove(&path).map_err(|e| segment::io_error(&path, &e))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
