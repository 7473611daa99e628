//! Splits: one range becomes two, atomically, on every replica.
//!
//! The right-hand side begins on every replica alike: its log starts after [`FIRST_INDEX`] in [`FIRST_TERM`], its data
//! is already in place. The leaseholder's node stands for election at once, so that nothing is without a leader for
//! longer than one round.
//!
//! What must stay true:
//! - The left replica is redescribed before the observer hears of the split, and the right one is led by nobody before it
//!   has: whoever knows of the split knows the new bounds, and whoever used the old ones can find out.
//! - The right-hand side begins bound to whom the left one was bound to. The leaseholder of the left may not have applied
//!   the split yet, and serve the whole; nobody else may lead the right while it can.
//! - A split applies only to the descriptor it was made from; one that lost a race is refused by all.
//! - If the engine loses the split in a crash, it is replayed, and the right-hand side's log, which may have gone on, is
//!   kept. The replay must not depend on the left's leader: the replica may have been removed from the left meanwhile, and
//!   still be a voter on the right that has acknowledged entries. So the left's commit index is written to the log before
//!   anything of the right is, and a replica is not destroyed before it has applied what it knows to be committed.

use std::sync::Arc;

use super::core::StoreCore;
use super::driven::{Driven, Promise};
use crate::apply::state;
use crate::base::planted::{self, Planted};
use crate::base::{NodeId, RangeId, StorageError, StorageResult};
use crate::group::{Campaign, Event, Group};
use crate::log::{HardState, LogBatch, LogOp, LogState};
use crate::probe;
use crate::replica::{Merging, RangeDescriptor, Replica};

/// Where the log of every range begins. Not at zero: a new replica has an empty log and must be told to take a snapshot.
pub const FIRST_INDEX: u64 = 10;
pub const FIRST_TERM: u64 = 5;
/// Who holds a lease of this term is the first to lead the range.
pub const FIRST_LEASE_TERM: u64 = FIRST_TERM + 1;

impl StoreCore {
    pub(super) fn apply_split(
        &mut self,
        range: RangeId,
        (index, term): (u64, u64),
        left: RangeDescriptor,
        right: RangeDescriptor,
        batch: &[u8],
    ) -> StorageResult<()> {
        self.finish_apply()?;
        let Some(d) = self.replicas.get_mut(&range) else { return Ok(()) };
        let (Some(bounds), Some(current)) = (&d.bounds, d.descriptor.clone()) else {
            return Err(StorageError::Corruption(format!("{range} applies a split but has no descriptor")));
        };
        let valid = divides(&current, &left, &right) && self.apply.add(bounds, batch)?;
        self.apply.applied(range, index, term);
        if !valid {
            probe!("split: refused, the range has changed");
            let mismatch = StorageError::RangeMismatch { range, key: current.end.clone() };
            self.outcomes.push((range, index, term, Err(mismatch)));
            return Ok(());
        }
        let leads = d.group.is_leader();
        let promise = d.promise;
        let left_replica = d.replica.clone();
        let threshold = left_replica.gc_threshold();
        state::put_descriptor(self.apply.writes(), &left);
        state::put_descriptor(self.apply.writes(), &right);
        state::put_gc_threshold(self.apply.writes(), right.range, threshold);
        state::put_applied(self.apply.writes(), right.range, (FIRST_INDEX, FIRST_TERM));
        if planted::is(Planted::SplitLosesIntents) {
            state::delete_locks(self.apply.writes(), &right.span());
        }
        let committed = (range, LogOp::SetHardState(d.group.hard_state()));
        let log_state = self.begin_log(right.range, committed)?;
        self.apply.write(&*self.parts.engine)?;
        let right_replica = self.shared.new_replica(right.clone(), threshold);
        if let Some(d) = self.replicas.get_mut(&range) {
            d.set_descriptor(Arc::new(left.clone()));
        }
        self.shared.redescribe(&left_replica, left.clone());
        self.count_peers(Some(&current), Some(&left));
        let observed: (Arc<dyn Replica>, Arc<dyn Replica>) = (left_replica, right_replica.clone());
        self.parts.observer.split(&observed.0, &observed.1, None);
        self.outcomes.push((range, index, term, Ok(())));
        if let Some(own) = right.replica_on(self.node) {
            let group = Group::new(
                right.range,
                own.replica,
                self.parts.log.clone(),
                log_state,
                (FIRST_INDEX, FIRST_TERM),
                Some(&right),
            )?;
            let right_range = right.range;
            let mut driven = Driven::new(right_replica, Some(Arc::new(right)), group);
            driven.promise = promise.map(|p| Promise { inherited: true, ..p });
            self.adopt(driven);
            if leads {
                self.step(right_range, Event::Campaign(Campaign::AtOnce));
                // The others shall apply the split before they are asked for their votes.
                self.step(range, Event::Ping);
            }
        }
        self.finish_apply()
    }

    /// The log of a new right-hand side; what is there already is kept.
    fn begin_log(&self, range: RangeId, left: (RangeId, LogOp)) -> StorageResult<LogState> {
        let found = self.parts.log.state(range)?;
        if let Some(state) = found.as_ref().filter(|s| s.last_index >= FIRST_INDEX) {
            probe!("split: applied again, the right side has its log");
            return Ok(state.clone());
        }
        probe!("split: applied");
        // A vote may have been given before the replica was there.
        let (state, mut batch) = first_log(range, (FIRST_INDEX, FIRST_TERM), found.as_ref());
        batch.ops.insert(0, left);
        // Not synced, but in the log before whatever the right side will sync.
        self.parts.log.write(&batch, false)?;
        Ok(state)
    }
}

/// A log that begins after `at`. A vote given `before` is kept.
pub(super) fn first_log(range: RangeId, at: (u64, u64), before: Option<&LogState>) -> (LogState, LogBatch) {
    let hard_state = HardState { term: at.1, vote: 0, commit: at.0 };
    let mut state = LogState { hard_state, truncated: at, last_index: at.0 };
    if let Some(before) = before {
        state.keep_vote(before);
    }
    let reset = LogOp::Reset { index: at.0, term: at.1 };
    let ops = vec![(range, reset), (range, LogOp::SetHardState(state.hard_state))];
    (state, LogBatch { ops })
}

/// Whether `left` and `right` are the two halves of `current`, with the same replicas.
fn divides(current: &RangeDescriptor, left: &RangeDescriptor, right: &RangeDescriptor) -> bool {
    let places =
        |d: &RangeDescriptor| d.replicas.iter().map(|r| (r.node, r.kind)).collect::<Vec<(NodeId, _)>>();
    left.range == current.range
        && left.generation == current.generation + 1
        && left.replicas == current.replicas
        && left.next_replica == current.next_replica
        && left.start == current.start
        && left.end == right.start
        && left.start < left.end
        && right.start < right.end
        && right.end == current.end
        && places(right) == places(current)
        && !current.is_joint()
        && [current, left, right].iter().all(|d| d.merging == Merging::No)
}

/// The descriptors of the two halves of a range that is split at `at`. `right` is a range id that was never used.
pub fn halves(
    current: &RangeDescriptor,
    at: crate::base::Key,
    right: RangeId,
) -> StorageResult<(RangeDescriptor, RangeDescriptor)> {
    if !(current.start < at && at < current.end) {
        return Err(StorageError::RangeMismatch { range: current.range, key: at });
    }
    if current.is_joint() || current.merging != Merging::No {
        return Err(StorageError::Overloaded { range: current.range });
    }
    let mut left = current.clone();
    left.end = at.clone();
    left.generation += 1;
    let mut new = current.clone();
    (new.range, new.start, new.generation) = (right, at, left.generation);
    Ok((left, new))
}
