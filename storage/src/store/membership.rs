//! Replicas that come and go.
//!
//! The descriptor says who is in the group; a change is proposed with the next descriptor and becomes true, for Raft and
//! for everybody, when it is applied. A voter comes in as a learner, catches up, and is promoted; if more than one
//! voter changes, through the joint configuration, which whoever leads leaves again as soon as it can.
//!
//! What must stay true:
//! - A change applies only to the descriptor it was made from: its generation is the next one and the bounds are the
//!   same. A change that lost a race against a split is refused, on every replica alike.
//! - The commit index is synced before a change is applied. A replica that came back with an older configuration, and did
//!   not know that the newer one in its log is committed, could win an election that is none.
//! - A replica that is removed leaves a tombstone: messages to it, or to older ones, never bring it back.
//! - Its log is forgotten only after the tombstone is flushed: a replica must not come back without its votes.

use bytes::Bytes;
use futures::channel::oneshot;
use protobuf::Message as _;
use raft::eraftpb::{ConfChangeV2, Entry, EntryType};

use super::core::StoreCore;
use super::driven::{Driven, Queued, Transfer};
use super::transport::Envelope;
use crate::apply::{command, state};
use crate::base::{NodeId, RangeId, ReplicaId, StorageError, StorageResult};
use crate::engine::WriteBatch;
use crate::group::{Event, change_between};
use crate::log::{LogBatch, LogOp};
use crate::probe;
use crate::replica::{Command, Merging, RangeDescriptor, Replica, ReplicaKind, Trigger};

/// The log entry for a command: a plain one, or a change of configuration with the command as its context.
pub(super) fn entry_for(
    d: &Driven,
    command: Bytes,
    change: Option<RangeDescriptor>,
    alive: impl Fn(NodeId) -> bool,
) -> StorageResult<Entry> {
    let mut entry = Entry::default();
    let Some(next) = change else {
        entry.data = command;
        return Ok(entry);
    };
    let range = next.range;
    let current = d.descriptor.as_ref().ok_or(StorageError::RangeNotFound { range })?;
    if !follows(current, &next) {
        return Err(StorageError::Config(format!("{range} has changed in the meantime")));
    }
    if !matches!(next.replica(d.group.id()), Some(r) if r.kind != ReplicaKind::Outgoing) {
        return Err(StorageError::Config(format!(
            "the leaseholder of {range} cannot remove itself: transfer the lease first"
        )));
    }
    if d.group.has_pending_configuration() {
        return Err(StorageError::Overloaded { range });
    }
    if !current.is_joint() && !leaves_a_quorum(d, current, &next, alive) {
        return Err(StorageError::Config(format!(
            "{range} would be left without a majority of living replicas that are up to date"
        )));
    }
    let change = change_between(current, &next).map_err(|_| {
        StorageError::Config(format!("{range}: these replicas cannot be reached in one step"))
    })?;
    let data = change
        .write_to_bytes()
        .map_err(|e| StorageError::Corruption(format!("a configuration change cannot be encoded: {e}")))?;
    entry.set_entry_type(EntryType::EntryConfChangeV2);
    entry.data = data.into();
    entry.context = command;
    Ok(entry)
}

/// Whether a majority of the next voters live and are close behind. A replica that was never heard of does not count:
/// it may not even exist yet, if a split that makes it has not been applied there.
fn leaves_a_quorum(
    d: &Driven,
    current: &RangeDescriptor,
    next: &RangeDescriptor,
    alive: impl Fn(NodeId) -> bool,
) -> bool {
    let voters = |x: &RangeDescriptor| x.voters().map(|r| r.replica).collect::<Vec<_>>();
    if voters(current) == voters(next) {
        return true;
    }
    let ready = next
        .voters()
        .filter(|r| r.replica == d.group.id() || alive(r.node) && super::admin::is_close_behind(d, r.replica))
        .count();
    ready > next.voters().count() / 2
}

/// Whether `next` is a change of the replicas of `current`, and of nothing else.
fn follows(current: &RangeDescriptor, next: &RangeDescriptor) -> bool {
    next.generation == current.generation + 1
        && next.range == current.range
        && next.start == current.start
        && next.end == current.end
        && next.next_replica >= current.next_replica
        && current.merging == Merging::No
        && next.merging == Merging::No
}

impl StoreCore {
    /// Applies a change of configuration, by itself: what came before is written first.
    pub(super) async fn apply_configuration(&mut self, range: RangeId, entry: Entry) -> StorageResult<()> {
        self.finish_apply()?;
        let malformed = || StorageError::Corruption(format!("{range}: entry {} is malformed", entry.index));
        let mut change = ConfChangeV2::default();
        change.merge_from_bytes(&entry.data).map_err(|_| malformed())?;
        let logged = command::decode(entry.context.clone())?;
        let Some(Trigger::ChangeReplicas { descriptor: next }) = logged.trigger else {
            return Err(malformed());
        };
        let Some(d) = self.replicas.get_mut(&range) else { return Ok(()) };
        let (Some(bounds), Some(current)) = (&d.bounds, d.descriptor.clone()) else {
            return Err(malformed());
        };
        let valid = follows(&current, &next) && self.apply.add(bounds, &logged.batch)?;
        self.apply.applied(range, entry.index, entry.term);
        if !valid {
            probe!("membership: change refused, the range has changed");
            let mismatch = StorageError::RangeMismatch { range, key: current.end.clone() };
            self.outcomes.push((range, entry.index, entry.term, Err(mismatch)));
            return Ok(());
        }
        let committed = (range, LogOp::SetHardState(d.group.hard_state()));
        self.write_log(&LogBatch { ops: vec![committed] }, true).await?;
        state::put_descriptor(self.apply.writes(), &next);
        self.apply.write(&*self.parts.engine)?;
        let Some(d) = self.replicas.get_mut(&range) else { return Ok(()) };
        d.group.apply_configuration(&change, &next)?;
        let shared_next = std::sync::Arc::new(next.clone());
        d.set_descriptor(shared_next.clone());
        self.shared.redescribe(&d.replica, next.clone());
        let replica: std::sync::Arc<dyn Replica> = d.replica.clone();
        let (id, leads) = (d.group.id(), d.group.is_leader());
        self.count_peers(Some(&current), Some(&next));
        self.configuration_changed(range);
        self.outcomes.push((range, entry.index, entry.term, Ok(())));
        self.finish_apply()?;
        self.parts.observer.descriptor_changed(&replica);
        if leads {
            self.tell_removed(&current, &next);
            self.leave_joint(range);
        }
        if next.replica(id).is_none() {
            self.destroy_now(range, ReplicaId(id.0 + 1))?;
            for r in next.replicas.iter().filter(|_| leads) {
                self.send(r.node, Envelope::Relinquished { range, replica: id });
            }
        }
        Ok(())
    }

    /// Those who were removed do not hear of it through the log.
    fn tell_removed(&mut self, before: &RangeDescriptor, now: &RangeDescriptor) {
        for r in &before.replicas {
            if now.replica(r.replica).is_none() && r.node != self.node {
                self.send(r.node, Envelope::Removed(now.clone()));
            }
        }
    }

    /// The leader of a joint configuration proposes to leave it.
    pub(super) fn leave_joint(&mut self, range: RangeId) {
        let deadline = self.now + super::elections::TRANSFER_TIMEOUT;
        let Some(d) = self.replicas.get_mut(&range) else { return };
        let Some(current) = d.descriptor.clone().filter(|c| c.is_joint()) else { return };
        let pending = d.group.has_pending_configuration() || !d.proposals.queued.is_empty();
        if !d.group.is_leader() || pending || d.replica.lease.held().is_none() || d.transfer.is_some() {
            return;
        }
        let own = d.group.id();
        if current.replica(own).is_some_and(|r| r.kind == ReplicaKind::Outgoing) {
            probe!("membership: a leader on its way out hands over");
            // A leader that is on its way out hands over first.
            let heir =
                current.voters().find(|r| d.group.standing(r.replica).is_some_and(|s| s.recently_active));
            let Some(to) = heir.map(|r| r.replica) else { return };
            d.transfer = Some(Transfer { to, deadline, done: None });
            self.give_up_lease(range);
            self.step(range, Event::TransferTo(to));
            return;
        }
        let next = current.left_joint();
        let trigger = Some(Trigger::ChangeReplicas { descriptor: next.clone() });
        let command = command::encode(&Command { term: 0, batch: WriteBatch::new(), trigger });
        // Nobody waits for it: it is tried again until the configuration is left.
        let (done, _) = oneshot::channel();
        if let Ok(entry) = entry_for(d, command.into(), Some(next), |_| true) {
            d.proposals.queued.push(Queued { entry, done });
            self.mark(range);
        }
    }

    /// Removes a replica from this store; replicas of the range with ids below `next` are dead here from now on.
    pub(super) fn destroy(&mut self, range: RangeId, next: ReplicaId) -> StorageResult<()> {
        let Some(d) = self.replicas.get(&range) else { return Ok(()) };
        let behind = d.group.applied().0 < d.group.committed() && !d.stranded;
        if d.group.is_applying_snapshot() || behind {
            probe!("membership: removal waits for entries that are not applied");
            // Another task writes its data, or a split is still to be replayed; the next message that tells of the
            // removal finds it again.
            return Ok(());
        }
        self.destroy_now(range, next)
    }

    fn destroy_now(&mut self, range: RangeId, next: ReplicaId) -> StorageResult<()> {
        self.give_up_lease(range);
        let Some(mut d) = self.replicas.remove(&range) else { return Ok(()) };
        d.proposals.refuse_queued(&StorageError::RangeNotFound { range });
        d.proposals.give_up("the replica was removed from this node");
        self.awake.remove(&range);
        probe!("membership: replica removed");
        self.tombstones.insert(range, next);
        if let Some(descriptor) = &d.descriptor {
            self.shared.withdraw(&d.replica);
            self.count_peers(Some(descriptor), None);
            let mut batch = WriteBatch::new();
            state::destroy(&mut batch, descriptor, next);
            self.parts.engine.write(&batch)?;
        }
        self.shared.destroyed.lock().push(range);
        self.parts.observer.removed(range);
        Ok(())
    }

    /// Followers that have heard nothing for long ask, one after the other, whether they still belong to their range.
    pub(super) fn check_membership(&mut self) {
        if self.now < self.next_membership_check {
            return;
        }
        self.next_membership_check = self.now + MEMBERSHIP_CHECK_INTERVAL;
        let from = self.membership_cursor;
        // The leader of a frozen range leads nothing, and may be the last to have heard of a merge.
        let asks = |d: &Driven| !d.group.is_leader() || d.descriptor.as_ref().is_some_and(|x| x.is_frozen());
        let mut candidates: Vec<_> = self.replicas.iter().filter(|(_, d)| asks(d)).map(|(r, _)| *r).collect();
        candidates.sort_unstable();
        let Some(range) = candidates.iter().find(|r| **r > from).or(candidates.first()).copied() else {
            return;
        };
        self.membership_cursor = range;
        let Some(d) = self.replicas.get(&range) else { return };
        let replica = d.group.id();
        let Some(descriptor) = d.descriptor.clone() else { return };
        let own = self.node;
        for r in descriptor.replicas.iter().filter(|r| r.node != own) {
            self.send(r.node, Envelope::StillMember { range, replica });
        }
    }
}

/// One replica per interval, whatever their number.
const MEMBERSHIP_CHECK_INTERVAL: std::time::Duration = std::time::Duration::from_secs(2);
