//! The Raft log in memory, with the crash semantics of the disk: a crash keeps every synced batch, and of those that
//! were not synced a prefix.
//!
//! Two states are kept, what is seen and what is durable, and the batches between them. Entries share their bytes.

use std::collections::{BTreeMap, VecDeque};

use parking_lot::Mutex;

use super::check::check;
use super::{HardState, LogBatch, LogEntry, LogOp, LogState, LogStore};
use crate::base::{RangeId, StorageResult};

/// See the module's documentation.
#[derive(Default)]
pub struct MemLog {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    seen: Ranges,
    durable: Ranges,
    /// Leads from `durable` to `seen`.
    unsynced: Vec<LogBatch>,
}

#[derive(Clone, Default)]
struct Ranges(BTreeMap<RangeId, RangeLog>);

#[derive(Clone, Default)]
struct RangeLog {
    hard_state: HardState,
    truncated: (u64, u64),
    entries: VecDeque<LogEntry>,
}

impl RangeLog {
    fn last_index(&self) -> u64 {
        self.truncated.0 + self.entries.len() as u64
    }

    fn entry(&self, index: u64) -> Option<&LogEntry> {
        self.entries.get(index.checked_sub(self.truncated.0 + 1)? as usize)
    }
}

impl Ranges {
    fn bounds(&self, range: RangeId) -> (u64, u64) {
        self.0.get(&range).map_or((0, 0), |log| (log.truncated.0, log.last_index()))
    }

    fn apply(&mut self, batch: &LogBatch) {
        for (range, op) in &batch.ops {
            if let LogOp::Destroy = op {
                self.0.remove(range);
                continue;
            }
            let log = self.0.entry(*range).or_default();
            match op {
                LogOp::Append(entries) => {
                    if let Some(first) = entries.first() {
                        log.entries.truncate((first.index - log.truncated.0 - 1) as usize);
                        log.entries.extend(entries.iter().cloned());
                    }
                }
                LogOp::SetHardState(hard_state) => log.hard_state = *hard_state,
                LogOp::Truncate { first, prev_term } => {
                    let gone = first.saturating_sub(log.truncated.0 + 1);
                    if gone > 0 {
                        log.entries.drain(..gone as usize);
                        log.truncated = (first - 1, *prev_term);
                    }
                }
                LogOp::Reset { index, term } => {
                    log.entries.clear();
                    log.truncated = (*index, *term);
                }
                LogOp::Destroy => unreachable!("handled above"),
            }
        }
    }
}

impl MemLog {
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses everything that was not synced.
    pub fn crash(&self) {
        self.crash_keeping(0);
    }

    /// As [`MemLog::crash`], but the first `batches` of those that were not synced survive.
    pub fn crash_keeping(&self, batches: usize) {
        let state = &mut *self.state.lock();
        let unsynced = std::mem::take(&mut state.unsynced);
        unsynced.iter().take(batches).for_each(|batch| state.durable.apply(batch));
        state.seen = state.durable.clone();
    }

    /// How many batches a crash could lose.
    pub fn unsynced_batches(&self) -> usize {
        self.state.lock().unsynced.len()
    }
}

impl LogStore for MemLog {
    fn write(&self, batch: &LogBatch, sync: bool) -> StorageResult<()> {
        let state = &mut *self.state.lock();
        check(batch, |range| state.seen.bounds(range))?;
        state.seen.apply(batch);
        if !sync {
            state.unsynced.push(batch.clone());
            return Ok(());
        }
        for before in std::mem::take(&mut state.unsynced) {
            state.durable.apply(&before);
        }
        state.durable.apply(batch);
        Ok(())
    }

    fn ranges(&self) -> Vec<RangeId> {
        self.state.lock().seen.0.keys().copied().collect()
    }

    fn state(&self, range: RangeId) -> StorageResult<Option<LogState>> {
        let state = self.state.lock();
        Ok(state.seen.0.get(&range).map(|log| LogState {
            hard_state: log.hard_state,
            truncated: log.truncated,
            last_index: log.last_index(),
        }))
    }

    fn entries(&self, range: RangeId, low: u64, high: u64, max_bytes: u64) -> StorageResult<Vec<LogEntry>> {
        let state = self.state.lock();
        let Some(log) = state.seen.0.get(&range) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        let mut bytes = 0;
        for entry in (low..high).map_while(|index| log.entry(index)) {
            bytes += super::size_of(entry);
            if bytes > max_bytes && !found.is_empty() {
                break;
            }
            found.push(entry.clone());
        }
        Ok(found)
    }

    fn term(&self, range: RangeId, index: u64) -> StorageResult<Option<u64>> {
        let state = self.state.lock();
        let Some(log) = state.seen.0.get(&range) else { return Ok(None) };
        if index == log.truncated.0 {
            return Ok(Some(log.truncated.1));
        }
        Ok(log.entry(index).map(|e| e.term))
    }

    fn purge(&self) -> StorageResult<()> {
        Ok(())
    }

    fn size(&self) -> u64 {
        let state = self.state.lock();
        state.seen.0.values().flat_map(|log| &log.entries).map(super::size_of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::conformance::{Crashable, conformance};

    impl Crashable for MemLog {
        fn log(&self) -> &dyn LogStore {
            self
        }

        fn crash(self) -> Self {
            MemLog::crash(&self);
            self
        }
    }

    conformance!(MemLog::new());

    #[test]
    fn a_crash_may_keep_a_prefix() {
        let log = MemLog::new();
        for index in 1..=3 {
            let entry = LogEntry { index, term: 1, ..LogEntry::default() };
            let ops = vec![(RangeId(1), LogOp::Append(vec![entry]))];
            log.write(&LogBatch { ops }, false).expect("written");
        }
        assert_eq!(log.unsynced_batches(), 3);
        log.crash_keeping(2);
        assert_eq!(log.state(RangeId(1)).expect("read").map(|s| s.last_index), Some(2));
    }
}
