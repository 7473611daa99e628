//! Where every live entry stands: the disk log's memory.
//!
//! What must stay true: the index is what a replay of the segments, in order, gives. It is changed only by operations
//! that are already in a segment.
//!
//! The youngest entries are kept whole, within a budget shared by all ranges: what Raft reads is almost always what
//! was just appended.

use std::collections::{BTreeMap, VecDeque};

use super::codec::{IndexOp, Places};
use super::{HardState, LogBatch, LogEntry, LogOp, size_of};
use crate::base::RangeId;

/// A record in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordPlace {
    pub segment: u64,
    pub offset: u32,
    /// Without padding.
    pub len: u32,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub term: u64,
    pub record: RecordPlace,
    pub offset: u32,
    pub cached: Option<LogEntry>,
}

#[derive(Default, Debug)]
pub(super) struct RangeIndex {
    pub hard_state: HardState,
    pub truncated: (u64, u64),
    pub slots: VecDeque<Slot>,
    /// The segments that say so; `None` if nothing had to be said.
    hard_state_in: Option<u64>,
    truncated_in: Option<u64>,
    /// During a replay: entries before the first one were in a segment that is gone, and the operation that
    /// allowed it has not been met yet.
    gap: bool,
    /// The last truncation that was met within a gap.
    announced: (u64, u64),
}

impl RangeIndex {
    pub fn last_index(&self) -> u64 {
        self.truncated.0 + self.slots.len() as u64
    }

    pub fn slot(&self, index: u64) -> Option<&Slot> {
        self.slots.get(index.checked_sub(self.truncated.0 + 1)? as usize)
    }

    /// Whether anything of the range would be lost with the segment.
    fn needs(&self, segment: u64) -> bool {
        self.hard_state_in == Some(segment)
            || self.truncated_in == Some(segment)
            || self.slots.iter().any(|slot| slot.record.segment == segment)
    }
}

#[derive(Default)]
pub(super) struct Index {
    ranges: BTreeMap<RangeId, RangeIndex>,
    /// Cached entries, oldest first; some may have been replaced or truncated meanwhile.
    young: VecDeque<(RangeId, u64)>,
    cached_bytes: u64,
    cache_budget: u64,
}

impl Index {
    pub fn new(cache_budget: u64) -> Self {
        Index { cache_budget, ..Index::default() }
    }

    pub fn range(&self, range: RangeId) -> Option<&RangeIndex> {
        self.ranges.get(&range)
    }

    pub fn ranges(&self) -> impl Iterator<Item = RangeId> {
        self.ranges.keys().copied()
    }

    pub fn bounds(&self, range: RangeId) -> (u64, u64) {
        self.ranges.get(&range).map_or((0, 0), |r| (r.truncated.0, r.last_index()))
    }

    pub fn ranges_in(&self, segment: u64) -> Vec<RangeId> {
        self.ranges.iter().filter(|(_, r)| r.needs(segment)).map(|(id, _)| *id).collect()
    }

    /// A range whose beginning is missing, after a replay.
    pub fn range_with_gap(&self) -> Option<(RangeId, u64)> {
        self.ranges.iter().find(|(_, r)| r.gap).map(|(id, r)| (*id, r.truncated.0 + 1))
    }

    pub fn apply(&mut self, range: RangeId, op: IndexOp, record: RecordPlace) {
        if let IndexOp::Destroy = op {
            let gone = self.ranges.remove(&range);
            self.uncache(gone.into_iter().flat_map(|r| r.slots));
            return;
        }
        let log = self.ranges.entry(range).or_default();
        let gone: Vec<Slot> = match op {
            IndexOp::Append(places) => append(log, &places, record),
            IndexOp::HardState(hard_state) => {
                log.hard_state = hard_state;
                log.hard_state_in = Some(record.segment);
                Vec::new()
            }
            IndexOp::Truncate { first, prev_term } => truncate(log, first, prev_term, record),
            IndexOp::Reset { index, term } => {
                log.truncated = (index, term);
                log.truncated_in = Some(record.segment);
                log.gap = false;
                log.slots.drain(..).collect()
            }
            IndexOp::Image { hard_state, truncated, entries } => {
                let gone = log.slots.drain(..).collect();
                *log = RangeIndex { hard_state, truncated, ..RangeIndex::default() };
                log.hard_state_in = Some(record.segment);
                log.truncated_in = Some(record.segment);
                append(log, &entries, record);
                gone
            }
            IndexOp::Destroy => unreachable!("handled above"),
        };
        self.uncache(gone.into_iter());
    }

    /// Keeps the entries of a batch that has just been applied. What comes last in it is what holds.
    pub fn cache(&mut self, batch: &LogBatch) {
        for (range, op) in batch.ops.iter().rev() {
            let LogOp::Append(entries) = op else { continue };
            let Some(log) = self.ranges.get_mut(range) else { continue };
            for entry in entries {
                let at = entry.index.checked_sub(log.truncated.0 + 1).map(|n| n as usize);
                let slot = at.and_then(|at| log.slots.get_mut(at));
                if let Some(slot) = slot.filter(|slot| slot.term == entry.term && slot.cached.is_none()) {
                    slot.cached = Some(entry.clone());
                    self.cached_bytes += size_of(entry);
                    self.young.push_back((*range, entry.index));
                }
            }
        }
        while self.cached_bytes > self.cache_budget || self.young.len() > (1 << 20) {
            let Some((range, index)) = self.young.pop_front() else { break };
            let log = self.ranges.get_mut(&range);
            let slot = log.and_then(|log| {
                let at = index.checked_sub(log.truncated.0 + 1)?;
                log.slots.get_mut(at as usize)
            });
            if let Some(entry) = slot.and_then(|slot| slot.cached.take()) {
                self.cached_bytes -= size_of(&entry);
            }
        }
    }

    fn uncache(&mut self, gone: impl Iterator<Item = Slot>) {
        self.cached_bytes -= gone.filter_map(|slot| slot.cached).map(|e| size_of(&e)).sum::<u64>();
    }
}

/// Returns the slots that the new entries replace.
fn append(log: &mut RangeIndex, places: &Places, record: RecordPlace) -> Vec<Slot> {
    let Some(first) = places.first().map(|p| p.index) else { return Vec::new() };
    let mut gone: Vec<Slot> = Vec::new();
    if first <= log.truncated.0 || first > log.last_index() + 1 {
        // Only in a replay, when the segments before are gone.
        gone.extend(log.slots.drain(..));
        log.gap = first != 1 && log.announced.0 != first - 1;
        log.truncated = if log.gap { (first - 1, 0) } else { log.announced };
        if first == 1 {
            log.truncated = (0, 0);
        }
    }
    gone.extend(log.slots.drain((first - log.truncated.0 - 1) as usize..));
    let slot = |p: &super::codec::EntryPlace| Slot { term: p.term, record, offset: p.offset, cached: None };
    log.slots.extend(places.iter().map(slot));
    gone
}

/// Returns the slots that are forgotten.
fn truncate(log: &mut RangeIndex, first: u64, prev_term: u64, record: RecordPlace) -> Vec<Slot> {
    let index = first.saturating_sub(1);
    if log.gap && index >= log.announced.0 {
        log.announced = (index, prev_term);
        log.truncated_in = Some(record.segment);
    }
    if index < log.truncated.0 || (index == log.truncated.0 && !log.gap) {
        return Vec::new();
    }
    let gone = (index - log.truncated.0).min(log.slots.len() as u64);
    log.truncated = (index, prev_term);
    log.truncated_in = Some(record.segment);
    log.gap = false;
    log.slots.drain(..gone as usize).collect()
}
