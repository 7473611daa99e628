//! What raft-rs reads of a group's log: recent entries from memory, older ones from the log store.
//!
//! What must stay true:
//! - An entry is readable here from the moment raft-rs hands it out to be persisted; the log store gets it within
//!   the same turn of the store. So the cache always holds at least the entries that are not yet on disk.
//! - The cache is contiguous and ends at the last index.
//! - raft-rs panics on an error from its storage. That is right for an I/O error: a node that cannot read its log
//!   must stop.

use std::collections::VecDeque;
use std::sync::Arc;

use raft::eraftpb::{ConfState, Entry, EntryType, HardState as RaftHardState, Snapshot};
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError as RaftStorageError};

use crate::base::{RangeId, StorageError, StorageResult};
use crate::log::{HardState, LogEntry, LogState, LogStore};

/// Entries kept in memory although they are applied, so that a follower a little behind costs no disk read.
const CACHED_ENTRIES: usize = 256;
const CACHED_BYTES: usize = 1 << 20;

pub struct GroupStorage {
    range: RangeId,
    log: Arc<dyn LogStore>,
    /// As found at start; raft-rs keeps the current one.
    hard_state: HardState,
    conf_state: ConfState,
    /// Index and term before the first entry.
    truncated: (u64, u64),
    last_index: u64,
    cache: VecDeque<Entry>,
    cache_bytes: usize,
    /// Index and term of what is in the engine: where a snapshot would stand.
    applied: (u64, u64),
}

impl GroupStorage {
    /// The storage of a group whose log is `state` and whose applied state is at `applied`.
    pub fn new(
        range: RangeId,
        log: Arc<dyn LogStore>,
        state: LogState,
        applied: (u64, u64),
        conf_state: ConfState,
    ) -> Self {
        GroupStorage {
            range,
            log,
            hard_state: state.hard_state,
            conf_state,
            truncated: state.truncated,
            last_index: state.last_index,
            cache: VecDeque::new(),
            cache_bytes: 0,
            applied,
        }
    }

    pub fn truncated(&self) -> (u64, u64) {
        self.truncated
    }

    pub fn applied(&self) -> (u64, u64) {
        self.applied
    }

    pub fn last_stored_index(&self) -> u64 {
        self.last_index
    }

    pub fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }

    /// Takes over entries that are on their way to the log store; those at or above the first are replaced.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while self.cache.back().is_some_and(|e| e.index >= first.index) {
            if let Some(e) = self.cache.pop_back() {
                self.cache_bytes -= e.data.len();
            }
        }
        if self.cache.back().is_some_and(|e| e.index + 1 != first.index) {
            self.cache.clear();
            self.cache_bytes = 0;
        }
        for e in entries {
            self.cache_bytes += e.data.len();
            self.cache.push_back(e.clone());
        }
        self.last_index = entries.last().map_or(self.last_index, |e| e.index);
    }

    /// Everything up to `index` is in the engine, and its entries are on disk.
    pub fn applied_to(&mut self, index: u64, term: u64) {
        self.applied = (index, term);
        while self.cache.len() > CACHED_ENTRIES || self.cache_bytes > CACHED_BYTES {
            match self.cache.front() {
                Some(e) if e.index < index => {
                    self.cache_bytes -= e.data.len();
                    self.cache.pop_front();
                }
                _ => break,
            }
        }
    }

    /// Entries up to `index` are gone from the log store.
    pub fn truncated_to(&mut self, index: u64, term: u64) {
        self.truncated = (index, term);
        while self.cache.front().is_some_and(|e| e.index <= index) {
            if let Some(e) = self.cache.pop_front() {
                self.cache_bytes -= e.data.len();
            }
        }
    }

    /// The log begins again after a snapshot.
    pub fn reset(&mut self, index: u64, term: u64, conf_state: ConfState) {
        self.cache.clear();
        self.cache_bytes = 0;
        self.truncated = (index, term);
        self.last_index = index;
        self.applied = (index, term);
        self.conf_state = conf_state;
    }

    fn cached(&self, index: u64) -> Option<&Entry> {
        let first = self.cache.front()?.index;
        self.cache.get(usize::try_from(index.checked_sub(first)?).ok()?)
    }

    fn read(&self, low: u64, high: u64, max_bytes: u64) -> StorageResult<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut bytes = 0u64;
        let mut next = low;
        let cache_start = self.cache.front().map_or(u64::MAX, |e| e.index);
        if next < cache_start {
            let stop = high.min(cache_start);
            for e in self.log.entries(self.range, next, stop, max_bytes)? {
                if e.index != next {
                    return Err(StorageError::Corruption(format!("{}: entry {next} is missing", self.range)));
                }
                next += 1;
                bytes += e.data.len() as u64;
                entries.push(to_raft(e));
            }
            if next < stop {
                return Ok(entries);
            }
        }
        while next < high {
            let Some(e) = self.cached(next) else { break };
            bytes += e.data.len() as u64;
            if bytes > max_bytes && !entries.is_empty() {
                break;
            }
            entries.push(e.clone());
            next += 1;
        }
        Ok(entries)
    }
}

fn fatal(e: StorageError) -> Error {
    Error::Store(RaftStorageError::Other(Box::new(e)))
}

impl Storage for GroupStorage {
    fn initial_state(&self) -> Result<RaftState> {
        let mut hard_state = RaftHardState::default();
        hard_state.term = self.hard_state.term;
        hard_state.vote = self.hard_state.vote;
        // The commit index is written lazily; what is applied was committed.
        hard_state.commit = self.hard_state.commit.max(self.applied.0).min(self.last_index);
        Ok(RaftState::new(hard_state, self.conf_state.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low <= self.truncated.0 {
            return Err(Error::Store(RaftStorageError::Compacted));
        }
        assert!(
            high <= self.last_index + 1,
            "entries up to {high} of a log that ends at {}",
            self.last_index
        );
        self.read(low, high, max_size.into().unwrap_or(u64::MAX)).map_err(fatal)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == self.truncated.0 {
            return Ok(self.truncated.1);
        }
        if index < self.truncated.0 {
            return Err(Error::Store(RaftStorageError::Compacted));
        }
        if let Some(e) = self.cached(index) {
            return Ok(e.term);
        }
        match self.log.term(self.range, index).map_err(fatal)? {
            Some(term) => Ok(term),
            None => Err(Error::Store(RaftStorageError::Unavailable)),
        }
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.truncated.0 + 1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last_index)
    }

    /// Only the head of a snapshot: where it stands. The store streams the data beside Raft's messages.
    fn snapshot(&self, request_index: u64, _to: u64) -> Result<Snapshot> {
        if self.applied.0 < request_index || self.applied.0 == 0 {
            return Err(Error::Store(RaftStorageError::SnapshotTemporarilyUnavailable));
        }
        let mut snapshot = Snapshot::default();
        let metadata = snapshot.mut_metadata();
        (metadata.index, metadata.term) = self.applied;
        metadata.set_conf_state(self.conf_state.clone());
        Ok(snapshot)
    }
}

pub fn to_raft(e: LogEntry) -> Entry {
    let mut entry = Entry { index: e.index, term: e.term, ..Entry::default() };
    entry.set_entry_type(match e.kind {
        1 => EntryType::EntryConfChange,
        2 => EntryType::EntryConfChangeV2,
        _ => EntryType::EntryNormal,
    });
    entry.data = e.data;
    entry.context = e.context;
    entry
}

pub fn to_log(e: &Entry) -> LogEntry {
    let kind = match e.get_entry_type() {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    };
    LogEntry { index: e.index, term: e.term, kind, data: e.data.clone(), context: e.context.clone() }
}
