//! The disk log under the common suite, and under what only disks do: torn tails, damage, recycled files.

use tempfile::TempDir;

use super::*;
use crate::base::{NodeId, RangeId};
use crate::log::conformance::{Crashable, R1, R2, append, conformance, entries, shown, write};
use crate::log::{HardState, LogOp};

/// Small segments, so that a test passes through many.
const SMALL: DiskLogOptions = DiskLogOptions { segment_bytes: 1024, cache_bytes: 200 };

mod whole;
mod faults;

const OWNER: LogOwner = LogOwner { cluster: 0x1234 << 64 | 0x5678, node: NodeId(3) };

struct OnDisk {
    folder: TempDir,
    options: DiskLogOptions,
    /// `None` only while it is opened again.
    log: Option<DiskLog>,
}

impl OnDisk {
    fn new(options: DiskLogOptions) -> Self {
        let folder = TempDir::new().expect("a folder");
        DiskLog::found(folder.path(), OWNER).expect("founded");
        let log = DiskLog::open(folder.path(), OWNER, options).expect("opened");
        OnDisk { folder, options, log: Some(log) }
    }

    fn reopen(&mut self) -> StorageResult<()> {
        self.log = None;
        self.log = Some(DiskLog::open(self.folder.path(), OWNER, self.options)?);
        Ok(())
    }

    fn open_log(&self) -> &DiskLog {
        self.log.as_ref().expect("open")
    }

    /// The file that is being written, and where.
    fn position(&self) -> (PathBuf, usize) {
        let w = self.open_log().writer.lock();
        (w.file.path.clone(), w.at as usize)
    }

    fn last(&self) -> u64 {
        self.log().state(R1).expect("read").expect("there").last_index
    }
}

impl Crashable for OnDisk {
    fn log(&self) -> &dyn LogStore {
        self.open_log()
    }

    fn crash(mut self) -> Self {
        self.reopen().expect("opened again");
        self
    }
}

conformance!(OnDisk::new(SMALL));

fn unsynced(c: &OnDisk, index: u64, term: u64) {
    let ops = vec![(R1, LogOp::Append(entries(index, index, term)))];
    c.log().write(&LogBatch { ops }, false).expect("written");
}

fn change(path: &Path, with: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).expect("read");
    with(&mut bytes);
    std::fs::write(path, bytes).expect("written");
}

const ROOMY: DiskLogOptions = DiskLogOptions { segment_bytes: 64 << 10, cache_bytes: 1 << 20 };

/// Wherever the tail is torn, every synced batch and a prefix of the others is found, and the log goes on from there.
#[test]
fn a_torn_tail_is_cut_off() {
    for (cut, garbage) in (0..40).map(|n| (n * 7, n % 2 == 0)) {
        let mut c = OnDisk::new(ROOMY);
        append(c.log(), R1, 1, 5, 1);
        let (file, synced) = c.position();
        (6..=8).for_each(|index| unsynced(&c, index, 1));
        let end = c.position().1;
        c.log = None;
        change(&file, |bytes| {
            let torn = (synced + cut).min(end);
            bytes[torn..].iter_mut().for_each(|b| *b = if garbage { 0xa5 } else { 0 });
        });
        c.reopen().expect("a torn tail is no damage");
        let last = c.last();
        assert!((5..=8).contains(&last), "{last} after a cut at {cut}");
        append(c.log(), R1, last + 1, last + 2, 2);
        let expected = shown(c.log(), R1);
        c.reopen().expect("opened");
        assert_eq!(shown(c.log(), R1), expected);
    }
}

/// The disk may have written a later record and not an earlier one. What is cut off never comes back, even if a new
/// record ends exactly where an old one begins.
#[test]
fn what_was_cut_off_stays_away() {
    let mut c = OnDisk::new(ROOMY);
    append(c.log(), R1, 1, 5, 1);
    let (file, synced) = c.position();
    (6..=8).for_each(|index| unsynced(&c, index, 1));
    c.log = None;
    change(&file, |bytes| bytes[synced + 30] ^= 1);
    c.reopen().expect("nothing was synced behind the damage");
    assert_eq!(c.last(), 5);
    append(c.log(), R1, 6, 6, 1);
    c.reopen().expect("opened");
    assert_eq!(c.last(), 6);
}

#[test]
fn a_flipped_bit_is_refused() {
    let write_all = |c: &OnDisk| (1..=12).for_each(|index| append(c.log(), R1, index, index, 1));
    let c = OnDisk::new(ROOMY);
    write_all(&c);
    let (file, end) = c.position();
    let whole = std::fs::read(&file).expect("read");
    let manifest = std::fs::read(c.folder.path().join(manifest::NAME)).expect("read");
    // Of the last record nobody can say that it was synced.
    let last_record = end - (end - HEADER_LEN as usize) / 12;
    drop(c);
    for at in (0..last_record).step_by(5) {
        let folder = TempDir::new().expect("a folder");
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        std::fs::write(folder.path().join(file.file_name().expect("a name")), damaged).expect("written");
        std::fs::write(folder.path().join(manifest::NAME), &manifest).expect("written");
        match DiskLog::open(folder.path(), OWNER, ROOMY) {
            Err(StorageError::Corruption(text)) => assert!(text.contains(".log"), "{text}"),
            Err(other) => panic!("{other}"),
            Ok(log) => {
                // Only padding is never read.
                assert_eq!(shown(&log, R1), "after 0@0: 1@1 2@1 3@1 4@1 5@1 6@1 7@1 8@1 9@1 10@1 11@1 12@1");
            }
        }
    }
}

#[test]
fn a_damaged_or_missing_older_segment_is_refused() {
    let mut c = OnDisk::new(SMALL);
    (1..=40).for_each(|index| append(c.log(), R1, index, index, 1));
    assert!(c.open_log().shared.read().segments.len() > 3);
    c.log = None;
    let second = c.folder.path().join(segment::name(2));
    let whole = std::fs::read(&second).expect("read");
    for at in [0, 20, 70, 100, 600] {
        change(&second, |bytes| bytes[at] ^= 4);
        assert!(matches!(c.reopen(), Err(StorageError::Corruption(_))), "byte {at}");
        std::fs::write(&second, &whole).expect("written");
    }
    std::fs::remove_file(&second).expect("removed");
    match c.reopen() {
        Err(StorageError::Corruption(text)) => {
            assert!(text.contains("000000000002.log is missing"), "{text}")
        }
        other => panic!("{other:?}"),
    }
    std::fs::write(&second, &whole).expect("written");
    c.reopen().expect("whole again");
    assert_eq!(c.last(), 40);
}

#[test]
fn damage_under_a_reader_is_refused() {
    let c = OnDisk::new(SMALL);
    (1..=40).for_each(|index| append(c.log(), R1, index, index, 1));
    change(&c.folder.path().join(segment::name(1)), |bytes| bytes[110] ^= 4);
    assert!(matches!(c.log().entries(R1, 1, 20, u64::MAX), Err(StorageError::Corruption(_))));
}

/// Old segments go, and what an idle range keeps in them is written again.
#[test]
fn purging_keeps_the_log_small_and_whole() {
    let mut c = OnDisk::new(SMALL);
    let hard_state = HardState { term: 7, vote: 3, commit: 2 };
    write(c.log(), vec![(R2, LogOp::Append(entries(1, 2, 7))), (R2, LogOp::SetHardState(hard_state))]);
    // The vote of a replica that is not there yet.
    let (absent, vote) = (RangeId(3), HardState { term: 9, vote: 1, commit: 0 });
    write(c.log(), vec![(absent, LogOp::SetHardState(vote))]);
    for index in 1..=300 {
        append(c.log(), R1, index, index, 1);
        if index % 20 == 0 {
            write(c.log(), vec![(R1, LogOp::Truncate { first: index, prev_term: 1 })]);
            c.log().purge().expect("purged");
            assert!(c.log().size() <= 4 * SMALL.segment_bytes, "{} bytes", c.log().size());
        }
        if index % 77 == 0 {
            c.reopen().expect("opened");
        }
    }
    c.reopen().expect("opened");
    assert_eq!(shown(c.log(), R1), "after 299@1: 300@1");
    assert_eq!(shown(c.log(), R2), "after 0@0: 1@7 2@7");
    assert_eq!(c.log().state(R2).expect("read").map(|s| s.hard_state), Some(hard_state));
    let state = c.log().state(absent).expect("read").expect("there");
    assert_eq!((state.hard_state, state.last_index), (vote, 0));
}

/// A record is read once for all of its entries, when they are asked for and when their segment is given up: one of a
/// follower that catches up holds thousands, and the writer waits meanwhile.
#[test]
fn a_record_is_read_once_for_all_of_its_entries() {
    // An eighth of a segment, so that it can be written again; nothing is cached.
    let mut c = OnDisk::new(DiskLogOptions { segment_bytes: 64 << 10, cache_bytes: 0 });
    append(c.log(), R1, 1, 100, 1);
    append(c.log(), R1, 101, 200, 1);
    append(c.log(), R1, 201, 201, 2);
    let reads = |c: &OnDisk| c.open_log().records_read.swap(0, Ordering::Relaxed);
    assert_eq!(reads(&c), 0);
    let found = |c: &OnDisk, low, high, bytes| {
        let entries = c.log().entries(R1, low, high, bytes).expect("read");
        (entries.len(), reads(c))
    };
    assert_eq!(found(&c, 1, 202, u64::MAX), (201, 3));
    assert_eq!(found(&c, 50, 100, u64::MAX), (50, 1));
    assert_eq!(found(&c, 90, 111, u64::MAX), (21, 2));
    // One that is not wanted whole is not read for the rest, nor is the next.
    assert_eq!(found(&c, 1, 202, 1), (1, 1));
    let expected = shown(c.log(), R1);
    reads(&c);
    // A restart begins a segment: the one before is old.
    c.reopen().expect("opened");
    assert_eq!(reads(&c), 0, "a replay reads segments");
    c.log().purge().expect("purged");
    assert_eq!(reads(&c), 3);
    assert_eq!(c.open_log().shared.read().segments.len(), 1, "the old segment has gone");
    // All of it is one record now.
    assert_eq!(found(&c, 1, 202, u64::MAX), (201, 1));
    assert_eq!(shown(c.log(), R1), expected);
}

#[test]
fn a_batch_larger_than_a_segment_has_one_of_its_own() {
    let mut c = OnDisk::new(SMALL);
    append(c.log(), R1, 1, 3, 1);
    append(c.log(), R1, 4, 200, 1);
    append(c.log(), R1, 201, 201, 1);
    let expected = shown(c.log(), R1);
    c.reopen().expect("opened");
    assert_eq!(shown(c.log(), R1), expected);
}

#[test]
fn a_directory_in_use_is_refused() {
    let c = OnDisk::new(SMALL);
    match DiskLog::open(c.folder.path(), OWNER, SMALL) {
        Err(StorageError::Config(text)) => assert!(text.contains("in use by another process"), "{text}"),
        other => panic!("{:?}", other.map(|_| ())),
    }
}
