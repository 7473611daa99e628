//! Files in memory that fail as a disk fails, as a seed chooses: the log's file system in simulations and tests.
//!
//! What a power loss leaves is worked out from what was asked of the disk and when (`journal`): of what was not synced,
//! any part, in any order, torn between sectors and within them. Besides, an operator of the simulation may make syncs
//! slow or fail, the disk full, reads fail, and bits of what was synced flip.
//!
//! What must stay true:
//! - The same seed, the same calls at the same times: the same answers.
//! - The disk does one thing at a time. Its caller's time does not pass while it does; so it has a time of its own, which is
//!   ahead while it is busy ([`Files::busy_for`]). Whoever asks something of it must tell nobody of the answer before.
//!   In a crash meanwhile nothing has happened that the disk would have begun later.
//! - What was synced is neither lost nor changed but by [`SimFiles::flip`]. A sync that has failed has made durable what it
//!   happened to; the rest can be read as long as the machine has power, or less, and is never made durable by syncs alone.
//! - A write touches no byte beside its own, whatever becomes of its sectors: disks do not promise it, but no log that
//!   appends to a sector could do without.
//!
//! Folders are durable as soon as they are made; file systems that forget one that was synced are not simulated.

mod journal;
mod handle;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use self::handle::Handle;
use self::journal::{Change, Content, Deed};
use super::{File, Files, Guard, Open};
use crate::base::{Chance, PhysicalClock};

/// The disk of one machine. Clones are the same disk.
#[derive(Clone)]
pub struct SimFiles {
    clock: Arc<dyn PhysicalClock>,
    state: Arc<Mutex<State>>,
}

/// What may be wrong with a disk for a while.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ailments {
    /// How long a sync takes, at least and at most.
    pub sync_takes: (Duration, Duration),
    /// What needs more room is refused.
    pub is_full: bool,
    /// So is what does not: file systems that never write in place.
    pub overwrites_need_room: bool,
    /// Of a hundred reads, how many fail.
    pub failing_reads: u64,
    /// The same, of syncs, and of new names.
    pub failing_syncs: u64,
}

/// How often things have happened.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Writes of which a crash left a part, or something else.
    pub torn_writes: u64,
    /// New names, and names that went, that a crash took back.
    pub lost_names: u64,
    pub slow_syncs: u64,
    pub refused_writes: u64,
    pub failed_reads: u64,
    pub failed_syncs: u64,
    pub flips: u64,
}

/// How a machine goes down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// The process ends: what it has written is still in the machine's memory, and may yet be lost.
    Process,
    /// What was not synced may be lost.
    Power,
}

/// How long somebody who waits for the disk sleeps at most.
const ASK_AGAIN: Duration = Duration::from_millis(50);
/// A sync that takes as long as this is a slow one.
const SLOW: Duration = Duration::from_millis(10);

struct State {
    chance: Chance,
    ailments: Ailments,
    counts: Counts,
    /// Until then the disk is busy.
    free_at: Duration,
    folders: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, u64>,
    contents: BTreeMap<u64, Content>,
    next_content: u64,
    /// Of names, and not known to be durable yet.
    changes: Vec<Change>,
    locks: BTreeSet<PathBuf>,
    /// Counts the crashes: handles and locks of an earlier life are void.
    life: u64,
    syncs: u64,
    /// An error has been given in this life.
    has_failed: bool,
}

impl SimFiles {
    pub fn new(clock: Arc<dyn PhysicalClock>, seed: u64) -> Self {
        let state = State {
            chance: Chance::new(seed),
            ailments: Ailments::default(),
            counts: Counts::default(),
            free_at: Duration::ZERO,
            folders: BTreeSet::new(),
            names: BTreeMap::new(),
            contents: BTreeMap::new(),
            next_content: 0,
            changes: Vec::new(),
            locks: BTreeSet::new(),
            life: 0,
            syncs: 0,
            has_failed: false,
        };
        SimFiles { clock, state: Arc::new(Mutex::new(state)) }
    }

    /// A disk that becomes faster does at once what it had been asked for.
    pub fn ail(&self, change: impl FnOnce(&mut Ailments)) {
        let state = &mut *self.state.lock();
        let before = state.ailments.sync_takes.1;
        change(&mut state.ailments);
        if state.ailments.sync_takes.1 < before {
            state.catch_up(self.clock.monotonic());
        }
    }

    /// How long the disk is busy yet.
    pub fn rest(&self) -> Duration {
        self.state.lock().free_at.saturating_sub(self.clock.monotonic())
    }

    pub fn ailments(&self) -> Ailments {
        self.state.lock().ailments
    }

    pub fn counts(&self) -> Counts {
        self.state.lock().counts
    }

    /// Whether it has refused something since the last crash.
    pub fn has_failed(&self) -> bool {
        self.state.lock().has_failed
    }

    /// As the machine goes down: what is found afterwards.
    pub fn crash(&self, how: Crash) {
        self.state.lock().crash(how, self.clock.monotonic());
    }

    /// Flips one bit of what was synced, and says where. Nothing of what the last sync of a file made durable: of the end of a
    /// log nobody can say that it was not torn.
    pub fn flip(&self) -> Option<(PathBuf, u64)> {
        let state = &mut *self.state.lock();
        state.settle(self.clock.monotonic());
        let files: Vec<(&PathBuf, &u64)> = state.names.iter().collect();
        for _ in 0..64 {
            let (path, id) = files.get(state.chance.below(files.len() as u64) as usize)?;
            let content = state.contents.get_mut(id)?;
            let at = state.chance.below(content.bytes.len() as u64);
            // Room that was never used says nothing.
            if content.is_long_durable(at) && content.bytes[at as usize] != 0 {
                content.bytes[at as usize] ^= 1 << state.chance.below(8);
                state.counts.flips += 1;
                return Some(((*path).clone(), at));
            }
        }
        None
    }

    /// Does something that takes the disk as long as a sync: for what else is on it.
    pub fn sync_other(&self) -> io::Result<()> {
        let state = &mut *self.state.lock();
        if state.ailments.is_full {
            return Err(state.refuse());
        }
        state.take_time(self.clock.monotonic());
        state.sync()
    }

    /// Whether a read of something else on the disk fails.
    pub fn read_other(&self) -> io::Result<()> {
        self.state.lock().read()
    }
}

impl State {
    /// When what is asked for now begins.
    fn begins(&self, now: Duration) -> Duration {
        now.max(self.free_at)
    }

    /// The time that a sync takes; says when it ends, and numbers it.
    fn take_time(&mut self, now: Duration) -> (u64, Duration) {
        let (least, most) = self.ailments.sync_takes;
        let spread = most.saturating_sub(least).as_micros() as u64;
        let takes = match spread {
            0 => least,
            // Most are near the least.
            _ => {
                least + Duration::from_micros(self.chance.below(spread) * self.chance.below(spread) / spread)
            }
        };
        if takes >= SLOW {
            self.counts.slow_syncs += 1;
        }
        self.syncs += 1;
        self.free_at = self.begins(now) + takes;
        (self.syncs, self.free_at)
    }

    fn refuse(&mut self) -> io::Error {
        self.counts.refused_writes += 1;
        self.has_failed = true;
        io::ErrorKind::StorageFull.into()
    }

    fn read(&mut self) -> io::Result<()> {
        if self.ailments.failing_reads > 0 && self.chance.percent(self.ailments.failing_reads) {
            self.counts.failed_reads += 1;
            self.has_failed = true;
            return Err(io::Error::other("input/output error"));
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.ailments.failing_syncs > 0 && self.chance.percent(self.ailments.failing_syncs) {
            self.counts.failed_syncs += 1;
            self.has_failed = true;
            return Err(io::Error::other("input/output error"));
        }
        Ok(())
    }

    fn named(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn change(&mut self, now: Duration, deed: Deed) {
        let change = Change { begun: self.begins(now), durable: None, deed };
        change.deed.redo(&mut self.names);
        self.changes.push(change);
    }
}

impl Files for SimFiles {
    fn exists(&self, path: &Path) -> io::Result<bool> {
        let state = self.state.lock();
        Ok(state.folders.contains(path) || state.names.contains_key(path))
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        let above = folder.ancestors().filter(|p| !p.as_os_str().is_empty());
        self.state.lock().folders.extend(above.map(PathBuf::from));
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        let state = self.state.lock();
        if !state.folders.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(state.names.keys().filter(|path| path.parent() == Some(folder)).cloned().collect())
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn File>> {
        let state = &mut *self.state.lock();
        let id = match state.named(path) {
            Ok(id) => id,
            Err(e) if how != Open::Create => return Err(e),
            Err(_) if state.ailments.is_full => return Err(state.refuse()),
            Err(_) => {
                let id = state.next_content;
                state.next_content += 1;
                state.contents.insert(id, Content::default());
                state.change(self.clock.monotonic(), Deed::Create { path: path.into(), id });
                id
            }
        };
        Ok(Arc::new(Handle { files: self.clone(), id, life: state.life }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = &mut *self.state.lock();
        let id = state.named(path)?;
        state.read()?;
        Ok(state.content(id)?.bytes.clone())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let (id, over) = (state.named(from)?, state.names.get(to).copied());
        state.sync()?;
        state.change(self.clock.monotonic(), Deed::Rename { from: from.into(), to: to.into(), id, over });
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let id = state.named(path)?;
        state.change(self.clock.monotonic(), Deed::Remove { path: path.into(), id });
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let state = &mut *self.state.lock();
        let now = self.clock.monotonic();
        let (_, done) = state.take_time(now);
        // Names are in the file system's journal: the next sync makes them durable, or fails as well.
        state.sync()?;
        let waiting = state.changes.iter_mut().filter(|c| c.durable.is_none() && c.deed.is_in(folder));
        waiting.for_each(|change| change.durable = Some(done));
        state.settle(now);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Guard>> {
        let mut state = self.state.lock();
        if !state.locks.insert(path.into()) {
            return Ok(None);
        }
        Ok(Some(Box::new(handle::Lock { files: self.clone(), path: path.into(), life: state.life })))
    }

    fn busy_for(&self) -> Option<Duration> {
        // It may become faster meanwhile.
        Some(self.rest().min(ASK_AGAIN)).filter(|rest| !rest.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::ManualClock;

    const FILE: &str = "/f/a";
    const OTHER: &str = "/f/b";

    /// A folder with one file of a thousand times `1`, durably.
    fn disk(seed: u64) -> (SimFiles, Arc<ManualClock>) {
        let clock = ManualClock::new(0);
        let files = SimFiles::new(clock.clone(), seed);
        files.create_folder(Path::new("/f")).expect("made");
        let file = open(&files, FILE);
        file.write_all_at(&[1; 1000], 0).expect("written");
        file.sync().expect("synced");
        files.sync_folder(Path::new("/f")).expect("synced");
        (files, clock)
    }

    fn open(files: &SimFiles, path: &str) -> Arc<dyn File> {
        files.open(Path::new(path), Open::Create).expect("opened")
    }

    fn found(files: &SimFiles, path: &str) -> Option<Vec<u8>> {
        files.read(Path::new(path)).ok()
    }

    /// Over many seeds everything happens that may happen to what was not synced, and nothing to what was.
    #[test]
    fn a_power_loss_spares_only_what_was_synced() {
        let (mut old, mut new, mut zeros, mut garbage, mut longer, mut torn) = (0, 0, 0, 0, 0, 0);
        for seed in 0..300 {
            let (files, _) = disk(seed);
            open(&files, FILE).write_all_at(&[2; 700], 500).expect("written");
            files.crash(Crash::Power);
            let bytes = found(&files, FILE).expect("its name was synced");
            assert_eq!(&bytes[..500], &[1; 500], "nobody wrote there");
            assert!((1000..=1200).contains(&bytes.len()));
            let rest = &bytes[500..1000];
            let count = |byte| rest.iter().filter(|b| **b == byte).count();
            old += usize::from(count(1) == 500);
            new += usize::from(count(2) == 500);
            zeros += usize::from(count(0) > 100);
            garbage += usize::from(count(0) + count(1) + count(2) < 400);
            longer += usize::from(bytes.len() > 1000);
            torn += files.counts().torn_writes;
        }
        let all = [old, new, zeros, garbage, longer, torn as usize];
        assert!(all.iter().all(|n| *n > 5), "{all:?}");
    }

    #[test]
    fn names_go_back_unless_the_folder_was_synced() {
        let (mut created, mut renamed, mut removed) = (0, 0, 0);
        for seed in 0..60 {
            let (files, _) = disk(seed);
            open(&files, OTHER).sync().expect("synced");
            files.crash(Crash::Power);
            created += usize::from(found(&files, OTHER).is_some());

            let (files, _) = disk(seed);
            files.rename(Path::new(FILE), Path::new(OTHER)).expect("renamed");
            files.crash(Crash::Power);
            renamed += usize::from(found(&files, OTHER).is_some());
            assert!(found(&files, OTHER).or(found(&files, FILE)).is_some_and(|b| b == [1; 1000]));

            let (files, _) = disk(seed);
            files.remove(Path::new(FILE)).expect("removed");
            files.crash(Crash::Power);
            removed += usize::from(found(&files, FILE).is_none());

            let (files, _) = disk(seed);
            files.rename(Path::new(FILE), Path::new(OTHER)).expect("renamed");
            files.sync_folder(Path::new("/f")).expect("synced");
            files.crash(Crash::Power);
            assert!(found(&files, OTHER).is_some() && found(&files, FILE).is_none());
        }
        let all = [created, renamed, removed];
        assert!(all.iter().all(|n| (5..55).contains(n)), "{all:?}");
    }

    /// What a process has written outlives it, and is still lost with the power.
    #[test]
    fn the_end_of_a_process_loses_nothing_by_itself() {
        let mut lost = 0;
        for seed in 0..60 {
            let (files, _) = disk(seed);
            open(&files, FILE).write_all_at(&[2; 1000], 0).expect("written");
            files.crash(Crash::Process);
            assert_eq!(found(&files, FILE).expect("there"), [2; 1000]);
            files.crash(Crash::Power);
            lost += usize::from(found(&files, FILE).expect("there") != [2; 1000]);
        }
        assert!((5..60).contains(&lost), "{lost}");
    }

    /// The next sync succeeds, and what the one before has dropped is not durable; nor does it take later writes along.
    #[test]
    fn a_sync_that_fails_drops_what_it_covers_for_good() {
        let (mut kept, mut forgotten, mut durable) = (0, 0, 0);
        for seed in 0..100 {
            let (files, _) = disk(seed);
            let file = open(&files, FILE);
            files.ail(|a| a.failing_syncs = 100);
            file.write_all_at(&[2; 700], 500).expect("written");
            assert!(file.sync().is_err() && files.has_failed());
            files.ail(|a| a.failing_syncs = 0);
            file.write_all_at(&[3; 10], 600).expect("written");
            file.write_all_at(&[3; 10], 1300).expect("written");
            file.sync().expect("synced");
            let found = || found(&files, FILE).expect("there");
            assert_eq!((found()[500], found()[600], found()[1199], found().len()), (2, 3, 2, 1310));
            files.crash(Crash::Process);
            kept += usize::from(found()[500] == 2);
            forgotten += usize::from(found()[500] == 1);
            assert_eq!((&found()[600..610], &found()[1300..]), (&[3; 10][..], &[3; 10][..]));
            open(&files, FILE).sync().expect("synced");
            files.crash(Crash::Power);
            assert_eq!((&found()[600..610], &found()[1300..]), (&[3; 10][..], &[3; 10][..]));
            match found()[500] {
                2 => {
                    assert_eq!((&found()[610..1200], &found()[1200..1300]), (&[2; 590][..], &[0; 100][..]));
                    durable += 1;
                }
                _ => {
                    assert_eq!((&found()[500..600], &found()[610..1000]), (&[1; 100][..], &[1; 390][..]));
                    assert_eq!(found()[1000..1300], [0; 300]);
                }
            }
        }
        let all = [kept - durable, forgotten, durable];
        assert!(all.iter().all(|n| *n > 5), "{all:?}");
    }

    #[test]
    fn a_new_name_that_fails_is_none() {
        let (files, _) = disk(1);
        files.ail(|a| a.failing_syncs = 100);
        assert!(files.rename(Path::new(FILE), Path::new(OTHER)).is_err());
        assert!(files.sync_folder(Path::new("/f")).is_err());
        assert!(found(&files, FILE).is_some() && found(&files, OTHER).is_none());
        assert_eq!(files.counts().failed_syncs, 2);
    }

    #[test]
    fn a_flip_spares_what_the_last_sync_made_durable() {
        let (files, _) = disk(1);
        assert_eq!(files.flip(), None);
        let file = open(&files, FILE);
        file.write_all_at(&[2; 100], 900).expect("written");
        file.sync().expect("synced");
        for _ in 0..50 {
            let (_, at) = files.flip().expect("something is older");
            assert!(at < 900, "{at}");
        }
    }

    /// Asking for it takes nothing from who holds it.
    #[test]
    fn a_lock_is_held_by_one() {
        let (files, _) = disk(1);
        let lock = || files.lock(Path::new("/f/LOCK")).expect("asked");
        let held = lock().expect("free");
        assert!(lock().is_none());
        assert!(lock().is_none());
        drop(held);
        assert!(lock().is_some());
    }

    #[test]
    #[should_panic(expected = "a process that has ended")]
    fn nothing_is_done_through_a_handle_of_an_ended_process() {
        let (files, _) = disk(1);
        let file = open(&files, FILE);
        files.crash(Crash::Process);
        let _ = file.sync();
    }
}
