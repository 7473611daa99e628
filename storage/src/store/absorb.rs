//! Applying the steps of a merge, and clearing up after it. See `merge` for why.
//!
//! What must stay true:
//! - A frozen replica holds no lease, and the commit index that says so is synced before anybody is told.
//! - The right replica is whole when the left one takes it in: until it has come as far as the merge says, the left one applies
//!   nothing more. It will: whoever told that it was frozen here has it in the synced log.
//! - Whoever sees the wider bounds has been told, through the observer, to write above what was read before.
//! - The right replica goes in the batch that widens the left one, or in the one that decides that a snapshot of the merged
//!   range will be installed; or when nobody will take it in here any more (`is_needed`), never before.

use std::sync::Arc;

use raft::eraftpb::{Entry, EntryType};

use super::core::StoreCore;
use super::driven::Driven;
use super::merge::{joins, marks};
use crate::apply::snapshot::{self, SnapshotHead};
use crate::apply::{command, state};
use crate::base::{RangeId, StorageError, StorageResult, Timestamp};
use crate::engine::WriteBatch;
use crate::group::{Campaign, Event};
use crate::log::{LogBatch, LogOp};
use crate::probe;
use crate::replica::{Merging, RangeDescriptor, Replica, Trigger};

impl StoreCore {
    /// Applies committed entries up to one that must wait.
    pub(super) async fn apply_entries(&mut self, range: RangeId, entries: Vec<Entry>) -> StorageResult<()> {
        let mut entries = entries.into_iter();
        while let Some(entry) = entries.next() {
            let waits = self.replicas.get(&range).is_some_and(|d| !d.waiting.is_empty())
                || self.must_wait(range, &entry)?;
            if waits && let Some(d) = self.replicas.get_mut(&range) {
                probe!("merge: waits for the right side to come as far");
                d.waiting.push_back(entry);
                d.waiting.extend(entries);
                self.waiting.insert(range);
                return Ok(());
            }
            self.apply_entry(range, entry).await?;
        }
        Ok(())
    }

    /// Goes on with replicas whose wait is over.
    pub(super) async fn apply_waiting(&mut self) -> StorageResult<()> {
        let mut gone_on = true;
        while std::mem::take(&mut gone_on) {
            for range in self.waiting.iter().copied().collect::<Vec<_>>() {
                let first = self.replicas.get(&range).and_then(|d| d.waiting.front().cloned());
                if let Some(entry) = first
                    && self.must_wait(range, &entry)?
                {
                    continue;
                }
                self.waiting.remove(&range);
                let Some(d) = self.replicas.get_mut(&range) else { continue };
                let entries = std::mem::take(&mut d.waiting);
                self.apply_entries(range, entries.into()).await?;
                gone_on = true;
            }
        }
        Ok(())
    }

    /// Whether the entry takes in a replica that has not come as far yet.
    fn must_wait(&mut self, range: RangeId, entry: &Entry) -> StorageResult<bool> {
        if entry.get_entry_type() != EntryType::EntryNormal || !command::is_merge(&entry.data) {
            return Ok(false);
        }
        let Some(Trigger::Merge { left, right, .. }) = command::decode(entry.data.clone())?.trigger else {
            return Ok(false);
        };
        let Some(current) = self.replicas.get(&range).and_then(|d| d.descriptor.as_deref()) else {
            return Ok(false);
        };
        let complete =
            |d: &Driven| !d.group.is_applying_snapshot() && d.descriptor.as_deref() == Some(&right);
        let here = self.replicas.get(&right.range).is_some_and(|d| complete(d));
        let waits = joins(current, &right, &left) && !here;
        if waits {
            self.note_stranded(range, &right);
        }
        Ok(waits)
    }

    /// A replica that waits for one that is dead here waits for ever. It cannot come to that while all is as `merge` says; if
    /// it does, the range is no worse off than with a dead node, until the replica is removed or replaced.
    fn note_stranded(&mut self, range: RangeId, right: &RangeDescriptor) {
        let own = right.replica_on(self.node).map(|r| r.replica);
        let is_dead = !self.replicas.contains_key(&right.range)
            && self.tombstones.get(&right.range).is_some_and(|next| own.is_none_or(|id| id < *next));
        if let Some(d) = self.replicas.get_mut(&range)
            && is_dead
            && !std::mem::replace(&mut d.stranded, true)
        {
            probe!("merge: a replica waits for what is gone");
            tracing::error!(
                %range,
                right = %right.range,
                "this replica can apply nothing more: it is to take in one that is gone from this node; move it away"
            );
        }
    }

    /// Applies a change of the range's part in a merge.
    pub(super) async fn apply_mark(
        &mut self,
        range: RangeId,
        (index, term): (u64, u64),
        next: RangeDescriptor,
    ) -> StorageResult<()> {
        self.finish_apply()?;
        let Some(d) = self.replicas.get_mut(&range) else { return Ok(()) };
        let current = d.descriptor.clone().ok_or_else(|| without_descriptor(range))?;
        self.apply.applied(range, index, term);
        if !marks(&current, &next) {
            probe!("merge: a step is refused, the range has changed");
            self.outcomes.push((range, index, term, Err(out_of_place(&current))));
            return Ok(());
        }
        if next.is_frozen() {
            probe!("merge: frozen");
            let committed = (range, LogOp::SetHardState(d.group.hard_state()));
            self.write_log(&LogBatch { ops: vec![committed] }, true).await?;
            self.give_up_lease(range);
        }
        state::put_descriptor(self.apply.writes(), &next);
        self.apply.write(&*self.parts.engine)?;
        let Some(d) = self.replicas.get_mut(&range) else { return Ok(()) };
        d.set_descriptor(Arc::new(next.clone()));
        self.shared.redescribe(&d.replica, next.clone());
        let (leads, used) = (d.group.is_leader(), d.granted >= d.group.term());
        if next.merging == Merging::No {
            self.merges.remove(&range);
        }
        self.outcomes.push((range, index, term, Ok(())));
        self.finish_apply()?;
        if leads && next.is_frozen() {
            // The others shall freeze at once.
            self.step(range, Event::Ping);
        } else if leads && current.is_frozen() && used {
            // The lease of this term was given up for good.
            self.step(range, Event::StepDown);
            self.step(range, Event::Campaign(Campaign::PreVote));
        }
        Ok(())
    }

    /// The range takes in the one on its right.
    pub(super) fn apply_merge(
        &mut self,
        range: RangeId,
        (index, term): (u64, u64),
        merged: RangeDescriptor,
        right: &RangeDescriptor,
        until: Timestamp,
    ) -> StorageResult<()> {
        self.finish_apply()?;
        let Some(d) = self.replicas.get(&range) else { return Ok(()) };
        let current = d.descriptor.clone().ok_or_else(|| without_descriptor(range))?;
        self.apply.applied(range, index, term);
        if !joins(&current, right, &merged) {
            probe!("merge: refused, it was given up");
            self.outcomes.push((range, index, term, Err(out_of_place(&current))));
            return Ok(());
        }
        let replica = d.replica.clone();
        let Some(absorbed) = self.replicas.get(&right.range).map(|d| d.replica.clone()) else {
            return Err(StorageError::Corruption(format!("{range} takes in {}, not here", right.range)));
        };
        let threshold = replica.gc_threshold().max(absorbed.gc_threshold());
        probe!("merge: applied");
        state::put_descriptor(self.apply.writes(), &merged);
        state::put_gc_threshold(self.apply.writes(), range, threshold);
        state::forget(self.apply.writes(), right.range);
        self.apply.write(&*self.parts.engine)?;
        replica.set_gc_threshold(threshold);
        let left: Arc<dyn Replica> = replica.clone();
        self.parts.observer.merge(&left, right, until);
        if let Some(d) = self.replicas.get_mut(&right.range) {
            // Whatever is not applied there stands above the freeze.
            d.proposals.refuse_all(&StorageError::NotLeaseholder { range: right.range, leader: None });
        }
        self.forget_absorbed(right.range);
        if let Some(d) = self.replicas.get_mut(&range) {
            d.set_descriptor(Arc::new(merged.clone()));
        }
        self.shared.redescribe(&replica, merged);
        self.merges.remove(&range);
        self.parts.observer.removed(right.range);
        self.outcomes.push((range, index, term, Ok(())));
        self.finish_apply()
    }

    /// Lets go of a replica that is another range's from now on, in memory.
    fn forget_absorbed(&mut self, range: RangeId) {
        self.give_up_lease(range);
        let Some(mut d) = self.replicas.remove(&range) else { return };
        self.shared.withdraw(&d.replica);
        d.proposals.refuse_queued(&StorageError::RangeNotFound { range });
        d.proposals.give_up("the range was merged into another one");
        self.awake.remove(&range);
        self.waiting.remove(&range);
        self.snapshots.forget(range);
        self.tombstones.insert(range, state::ABSORBED);
        if let Some(descriptor) = &d.descriptor {
            self.count_peers(Some(descriptor), None);
        }
        self.shared.destroyed.lock().push(range);
    }

    // --- snapshots of merged ranges ---

    /// The replicas here that a snapshot takes the place of; `None` if it must not come in: another one is in the way.
    pub(super) fn absorbed_by(&self, snapshot: &RangeDescriptor) -> Option<Vec<RangeId>> {
        let span = snapshot.span();
        let mut absorbed = Vec::new();
        let mut frozen = Vec::new();
        for (range, d) in self.replicas.iter().filter(|(range, _)| **range != snapshot.range) {
            let Some(here) = d.descriptor.as_ref().filter(|here| here.span().overlaps(&span)) else {
                continue;
            };
            // Its start is its own until it is absorbed. A split that it knows to be committed must still be made.
            let taken = snapshot.contains(&here.start) && here.generation < snapshot.generation;
            let settled = !d.group.is_applying_snapshot() && d.group.applied().0 == d.group.committed();
            if !(taken && settled) {
                return None;
            }
            absorbed.push(*range);
            frozen.extend(here.is_frozen().then(|| here.clone()));
        }
        absorbed.sort_unstable();
        // Whoever is about to take one in here could not any more. (The snapshot is of what was split off since.)
        let goes = |range: RangeId| range == snapshot.range || absorbed.binary_search(&range).is_ok();
        (!frozen.iter().any(|here| self.is_needed(here, goes))).then_some(absorbed)
    }

    /// Whether a frozen replica will be taken in here: what stands before it, leaving aside what `goes`, has not come to the
    /// merge yet. That need not be the left range: it may be what that is split off from, or another one that it takes in
    /// before. And the left range may be here and have come past the merge: by a snapshot.
    fn is_needed(&self, frozen: &RangeDescriptor, goes: impl Fn(RangeId) -> bool) -> bool {
        let Merging::Frozen { attempt, .. } = frozen.merging else { return false };
        let here = self.replicas.values().filter_map(|d| d.descriptor.as_deref());
        here.chain(self.snapshots.being_installed())
            .any(|d| d.end == frozen.start && d.generation <= attempt && !goes(d.range))
    }

    /// A snapshot will surely be installed: what it takes the place of goes in the same batch that says so.
    pub(super) fn make_room(&mut self, head: &SnapshotHead) -> StorageResult<()> {
        let absorbed = self.absorbed_by(&head.descriptor).unwrap_or_default();
        if absorbed.is_empty() {
            return Ok(());
        }
        probe!("merge: a snapshot takes the place of the right side");
        let mut batch = WriteBatch::new();
        for range in &absorbed {
            if let Some(descriptor) = self.replicas.get(range).and_then(|d| d.descriptor.clone()) {
                state::destroy(&mut batch, &descriptor, state::ABSORBED);
            }
        }
        snapshot::mark_complete(&mut batch, head);
        self.parts.engine.write(&batch)?;
        for range in absorbed {
            self.forget_absorbed(range);
            self.parts.observer.removed(range);
        }
        Ok(())
    }

    // --- replicas that nobody can tell any more that they were removed ---

    /// Somebody says that the range was absorbed.
    pub(super) fn receive_absorbed(&mut self, range: RangeId) -> StorageResult<()> {
        let Some(descriptor) = self.replicas.get(&range).and_then(|d| d.descriptor.clone()) else {
            return Ok(());
        };
        if self.is_needed(&descriptor, |_| false) {
            return Ok(());
        }
        probe!("merge: a replica that nobody will take in is told that its range was absorbed");
        self.destroy(range, state::ABSORBED)
    }
}

fn without_descriptor(range: RangeId) -> StorageError {
    StorageError::Corruption(format!("{range} applies entries but has no descriptor"))
}

fn out_of_place(current: &RangeDescriptor) -> StorageError {
    StorageError::RangeMismatch { range: current.range, key: current.end.clone() }
}
