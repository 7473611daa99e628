//! A Raft log on a disk, and what becomes of the disk while the process is away.
//!
//! A log is written, its files are damaged, it is opened again. Whatever the damage: it opens or is refused with an error.
//! If it opens, nothing is lost but what the very last sync may have left undone: the state is the one before the first
//! record that is damaged, that record stands in the last segment, and no sound record behind it says that it was synced.
//! If the checksums of the damage are right, too, only panics count.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use meridian_storage::base::{NodeId, RangeId};
use meridian_storage::log::{
    DiskLog, DiskLogOptions, HardState, LogBatch, LogEntry, LogOp, LogOwner, LogStore, MemLog,
};

use super::choices::Choices;

const OWNER: LogOwner = LogOwner { cluster: 7, node: NodeId(1) };
/// Of a file of the log before its first record.
const HEADER: usize = 64;
/// Of a record before its operations.
const RECORD_HEADER: usize = 24;
/// Operations that change nothing: a range written again, and the end of a segment.
const IMAGE: u8 = 6;
const END: u8 = 7;

type Files = BTreeMap<String, Vec<u8>>;
/// What a log says of its ranges.
type State = BTreeMap<RangeId, String>;

pub fn run(input: &[u8]) {
    let mut choices = Choices::new(input);
    let folder = folder();
    let options = DiskLogOptions { segment_bytes: 512 << choices.below(4), cache_bytes: 256 };
    DiskLog::found(folder.path(), OWNER).expect("an empty folder");
    let states = write(folder.path(), options, &mut choices);
    let before = read_files(folder.path());
    let crafted = damage(folder.path(), &before, &mut choices);
    let Ok(log) = DiskLog::open(folder.path(), OWNER, options) else { return };
    let found = state(&log);
    if let (false, Some(found)) = (crafted, &found) {
        check(&before, &read_files_as(folder.path(), &before), &states, found);
    }
    drop(log);
    if let Some(found) = found {
        let again = DiskLog::open(folder.path(), OWNER, options).expect("a log that could be opened");
        assert_eq!(state(&again).expect("entries that could be read"), found);
    }
}

/// In memory where there is such a place: nothing here is to outlive the process.
fn folder() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    made.expect("a folder for the log")
}

/// `None` if some entry cannot be read.
fn state(log: &dyn LogStore) -> Option<State> {
    let mut all = State::new();
    for range in log.ranges() {
        let state = log.state(range).ok()??;
        let mut entries = Vec::new();
        let mut low = state.truncated.0 + 1;
        while low <= state.last_index {
            let some = log.entries(range, low, state.last_index + 1, 1 << 20).ok()?;
            low += some.len() as u64;
            assert!(!some.is_empty(), "entry {low} of {range} is missing");
            entries.extend(some);
        }
        all.insert(range, format!("{state:?} {entries:?}"));
    }
    Some(all)
}

/// Writes batches, and says what the log held after each of them, beginning with none.
fn write(folder: &Path, options: DiskLogOptions, choices: &mut Choices<'_>) -> Vec<State> {
    let model = MemLog::new();
    let mut states = vec![state(&model).expect("memory")];
    let mut log = DiskLog::open(folder, OWNER, options).expect("a log that was founded");
    for _ in 0..choices.below(24) {
        match choices.u8() % 16 {
            0 => log.purge().expect("a sound log"),
            1 => {
                drop(log);
                log = DiskLog::open(folder, OWNER, options).expect("a log that was closed");
                assert_eq!(state(&log).as_ref(), states.last());
            }
            n => {
                let ops =
                    (0..1 + n % 3).filter_map(|_| op(&model, choices)).take(1 + n as usize % 3).collect();
                let batch = LogBatch { ops };
                let sync = choices.flag();
                let written = log.write(&batch, sync);
                assert_eq!(written.is_ok(), model.write(&batch, sync).is_ok(), "{batch:?}: {written:?}");
                if written.is_ok() && !batch.ops.is_empty() {
                    states.push(state(&model).expect("memory"));
                }
            }
        }
    }
    assert_eq!(state(&log).as_ref(), states.last());
    states
}

fn op(model: &MemLog, choices: &mut Choices<'_>) -> Option<(RangeId, LogOp)> {
    let range = RangeId(choices.below(3) as u64 + 1);
    let known = model.state(range).ok()?.unwrap_or_default();
    let op = match choices.u8() % 8 {
        0 => LogOp::Destroy,
        1 => LogOp::Reset { index: choices.below(40) as u64, term: choices.below(4) as u64 },
        2 => {
            let first = known.truncated.0 + choices.below(6) as u64;
            LogOp::Truncate { first, prev_term: model.term(range, first.checked_sub(1)?).ok()?? }
        }
        3 => LogOp::SetHardState(HardState {
            term: choices.below(9) as u64,
            vote: choices.below(3) as u64,
            commit: choices.below(40) as u64,
        }),
        _ => {
            let first = (known.last_index + 1).saturating_sub(choices.below(3) as u64);
            let term = choices.below(4) as u64 + 1;
            let entry = |n| LogEntry {
                index: first + n,
                term,
                kind: 0,
                data: vec![n as u8; choices.u8().into()].into(),
                context: Default::default(),
            };
            LogOp::Append((0..1 + first % 3).map(entry).collect())
        }
    };
    Some((range, op))
}

fn read_files(folder: &Path) -> Files {
    let mut files = Files::new();
    for entry in fs::read_dir(folder).expect("the log's folder") {
        let entry = entry.expect("the log's folder");
        let name = entry.file_name().to_string_lossy().into_owned();
        if name == "MANIFEST" || name.ends_with(".log") {
            files.insert(name, fs::read(entry.path()).expect("a file of the log"));
        }
    }
    files
}

/// As far as they were there before. Opening has repaired a torn tail by now, but no record of it becomes sound by that.
fn read_files_as(folder: &Path, before: &Files) -> Files {
    let mut files = read_files(folder);
    files.retain(|name, _| before.contains_key(name));
    files
}

/// Damages the files; whether checksums were made right again.
fn damage(folder: &Path, files: &Files, choices: &mut Choices<'_>) -> bool {
    let names: Vec<&String> = files.keys().collect();
    let mut crafted = false;
    for _ in 0..choices.below(4) {
        let name = choices.one_of(&names);
        let path = folder.join(name);
        let Ok(mut bytes) = fs::read(&path) else { continue };
        let used = bytes.iter().rposition(|b| *b != 0).map_or(1, |last| last + 40).min(bytes.len()).max(1);
        let at = choices.u32() as usize % used;
        match choices.u8() % 10 {
            0 => bytes.truncate(at),
            1 => bytes[at..].fill(0),
            2 => {
                fs::remove_file(&path).expect("a file that was there");
                continue;
            }
            3 => bytes = files[choices.one_of(&names)].clone(),
            4 | 5 => {
                let with = choices.some_bytes();
                let n = with.len().min(bytes.len().saturating_sub(at));
                bytes[at..at + n].copy_from_slice(&with[..n]);
            }
            6 => {
                let with = choices.some_bytes();
                let n = with.len().min(bytes.len().saturating_sub(at));
                bytes[at..at + n].copy_from_slice(&with[..n]);
                crafted = true;
                make_sound(name, &mut bytes);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << (choices.u8() % 8);
                }
            }
        }
        fs::write(&path, bytes).expect("a file of the log");
    }
    crafted
}

/// Makes the checksums right of what stands in a file.
fn make_sound(name: &str, bytes: &mut [u8]) {
    let seal = |bytes: &mut [u8], covered: std::ops::Range<usize>, at: usize| {
        if covered.end <= bytes.len() && covered.start <= covered.end && at + 4 <= bytes.len() {
            let checksum = crc32c::crc32c(&bytes[covered]).to_le_bytes();
            bytes[at..at + 4].copy_from_slice(&checksum);
        }
    };
    if name == "MANIFEST" {
        for slot in [0, 4096] {
            seal(bytes, slot..slot + 52, slot + 52);
            seal(bytes, slot..slot + 64, slot + 64);
        }
        return;
    }
    seal(bytes, 0..44, 44);
    let mut at = HEADER;
    while let Some(length) = length_at(bytes, at) {
        seal(bytes, at + 4..at + length, at);
        at += length.next_multiple_of(8);
    }
}

/// Of the record at `at`, if one may be there.
fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.get(at + 4..)?.first_chunk()?) as usize;
    (length > RECORD_HEADER && at + length <= bytes.len()).then_some(length)
}

struct Record {
    segment: String,
    bytes: std::ops::Range<usize>,
    number: u64,
    synced: u64,
    changes: bool,
}

/// The records of sound files, in order.
fn records(files: &Files) -> Vec<Record> {
    let mut all = Vec::new();
    for (segment, bytes) in files.iter().filter(|(name, _)| name.ends_with(".log")) {
        let number_at = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("eight bytes"));
        let (mut at, mut number) = (HEADER, number_at(16));
        while let Some(length) = length_at(bytes, at).filter(|_| number_at(at + 8) == number) {
            let kind = bytes[at + RECORD_HEADER];
            all.push(Record {
                segment: segment.clone(),
                bytes: at..at + length,
                number,
                synced: number_at(at + 16),
                changes: kind != IMAGE && kind != END,
            });
            at += length.next_multiple_of(8);
            number += 1;
            if kind == END {
                break;
            }
        }
    }
    all
}

/// Holds a log that could be opened against what was written.
fn check(before: &Files, after: &Files, states: &[State], found: &State) {
    let records = records(before);
    let is_sound = |r: &&Record| {
        let now = after.get(&r.segment).and_then(|bytes| bytes.get(r.bytes.clone()));
        now == Some(&before[&r.segment][r.bytes.clone()])
    };
    let last = before.keys().rfind(|name| name.ends_with(".log"));
    let damaged = records.iter().position(|r| !is_sound(&r));
    let lost = damaged.map_or(&records[..0], |at| &records[at..]);
    if let Some(first) = lost.first() {
        assert_eq!(Some(&first.segment), last, "record {} is damaged, and the log goes on", first.number);
        let says = lost.iter().filter(is_sound).find(|r| r.synced >= first.number);
        assert!(says.is_none(), "record {} was synced, is damaged, and the log opens", first.number);
    }
    let kept = states.len() - 1 - lost.iter().filter(|r| r.changes).count();
    assert_eq!(*found, states[kept], "after {kept} of {} batches", states.len() - 1);
}
