//! Changes of a range as one call each. They run at the leaseholder, in the caller's task; whatever interrupts one, the
//! range is left in a state from which anybody can go on.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::channel::oneshot;

use super::core::StoreCore;
use super::driven::Driven;
use super::handle::StoreHandle;
use super::inbox::Input;
use super::split::halves;
use crate::base::{Key, NodeId, RangeId, ReplicaId, StorageError, StorageResult};
use crate::engine::WriteBatch;
use crate::replica::{Command, RangeDescriptor, Replica, ReplicaDescriptor, ReplicaKind, Trigger};

/// How often a new replica is asked whether it has caught up, and how often in all.
const POLL: Duration = Duration::from_millis(50);
const MAX_POLLS: u32 = 6000;
/// After so many in a row in which its node has not been heard of, it is not waited for any longer: a lost node never comes
/// back, and other ranges wait for their turn.
const MAX_SILENT_POLLS: u32 = 100;
/// A learner this close behind is promoted.
const CAUGHT_UP_WITHIN: u64 = 64;

impl StoreHandle {
    /// Splits the range at `at`; `right` is a range id that was never used. Resolves when both halves exist here.
    ///
    /// The caller brings the rows under `meta` up to date afterwards; until then requests are corrected on the way.
    pub async fn split(&self, range: RangeId, at: Key, right: RangeId) -> StorageResult<()> {
        let current = self.describe(range)?;
        let (left, right) = halves(&current, at, right)?;
        self.propose_trigger(range, Trigger::Split { left, right }).await
    }

    /// Adds and removes replicas: learners first; when they have caught up, everything at once. Resolves when the new
    /// replicas vote and the old ones are out.
    ///
    /// The leaseholder cannot remove itself. A node that is silent for some seconds is given up: what was added stays a
    /// learner. What an earlier, interrupted change has left is finished first.
    pub async fn change_replicas(
        &self,
        range: RangeId,
        add: Vec<NodeId>,
        remove: Vec<NodeId>,
    ) -> StorageResult<()> {
        if remove.contains(&self.node()) {
            return Err(StorageError::Config(format!(
                "the leaseholder of {range} cannot remove itself: transfer the lease first"
            )));
        }
        self.until_not_joint(range).await?;
        for node in &add {
            self.add_learner(range, *node).await?;
        }
        for node in &add {
            self.until_caught_up(range, *node).await?;
        }
        let current = self.describe(range)?;
        let Some(next) = promoted(&current, &add, &remove) else { return Ok(()) };
        self.propose_trigger(range, Trigger::ChangeReplicas { descriptor: next }).await?;
        self.until_not_joint(range).await
    }

    fn describe(&self, range: RangeId) -> StorageResult<RangeDescriptor> {
        let replica = self.range_replica(range).ok_or(StorageError::RangeNotFound { range })?;
        Ok((*replica.descriptor()).clone())
    }

    async fn propose_trigger(&self, range: RangeId, trigger: Trigger) -> StorageResult<()> {
        let replica = self.range_replica(range).ok_or(StorageError::RangeNotFound { range })?;
        let lease = replica.lease(self.shared.clock.now())?;
        let command = Command { term: lease.term, batch: WriteBatch::new(), trigger: Some(trigger) };
        replica.propose(command).await
    }

    async fn add_learner(&self, range: RangeId, node: NodeId) -> StorageResult<()> {
        let mut next = self.describe(range)?;
        if next.replica_on(node).is_some() {
            return Ok(());
        }
        let replica = next.next_replica;
        next.replicas.push(ReplicaDescriptor { node, replica, kind: ReplicaKind::Learner });
        next.next_replica = ReplicaId(replica.0 + 1);
        next.generation += 1;
        self.propose_trigger(range, Trigger::ChangeReplicas { descriptor: next }).await
    }

    async fn until_caught_up(&self, range: RangeId, node: NodeId) -> StorageResult<()> {
        let mut silent = 0;
        for _ in 0..MAX_POLLS {
            let (done, answer) = oneshot::channel();
            if !self.shared.inbox.push(Input::CaughtUp { range, node, done }) {
                return Err(StorageError::Shutdown);
            }
            match answer.await {
                Ok(Ok(CatchingUp::Done)) => return Ok(()),
                Ok(Ok(CatchingUp::Going)) => silent = 0,
                Ok(Ok(CatchingUp::Silent)) => silent += 1,
                Ok(Err(e)) => return Err(e),
                Err(_) => return Err(StorageError::Shutdown),
            }
            if silent > MAX_SILENT_POLLS {
                return Err(StorageError::Unreachable { node });
            }
            self.shared.runtime.sleep(POLL).await;
        }
        Err(StorageError::Overloaded { range })
    }

    /// The leaseholder leaves a joint configuration by itself.
    async fn until_not_joint(&self, range: RangeId) -> StorageResult<()> {
        for _ in 0..MAX_POLLS {
            if !self.describe(range)?.is_joint() {
                return Ok(());
            }
            // Whoever leads next sees to it.
            let replica = self.range_replica(range).ok_or(StorageError::RangeNotFound { range })?;
            replica.lease(self.shared.clock.now())?;
            self.shared.runtime.sleep(POLL).await;
        }
        Err(StorageError::Overloaded { range })
    }
}

/// The descriptor in which `add` vote and `remove` are on their way out; `None` if nothing is left to do.
fn promoted(current: &RangeDescriptor, add: &[NodeId], remove: &[NodeId]) -> Option<RangeDescriptor> {
    let remove: BTreeSet<NodeId> = remove.iter().copied().collect();
    let mut next = current.clone();
    next.generation += 1;
    let comes = |r: &ReplicaDescriptor| r.kind == ReplicaKind::Learner && add.contains(&r.node);
    let goes = |r: &ReplicaDescriptor| r.kind == ReplicaKind::Voter && remove.contains(&r.node);
    let voters = current.replicas.iter().filter(|r| comes(r) || goes(r)).count();
    // Learners that go are dropped one at a time: each is a step of its own.
    if let Some(learner) = current
        .replicas
        .iter()
        .find(|r| r.kind == ReplicaKind::Learner && remove.contains(&r.node))
        .filter(|_| voters == 0)
    {
        next.replicas.retain(|r| r.replica != learner.replica);
        return Some(next);
    }
    match voters {
        0 => return None,
        1 => {
            next.replicas.retain(|r| !goes(r));
            next.replicas.iter_mut().filter(|r| comes(r)).for_each(|r| r.kind = ReplicaKind::Voter);
        }
        _ => {
            for r in &mut next.replicas {
                if comes(r) {
                    r.kind = ReplicaKind::Incoming;
                } else if goes(r) {
                    r.kind = ReplicaKind::Outgoing;
                }
            }
        }
    }
    Some(next)
}

/// How far a new replica is.
pub(super) enum CatchingUp {
    Done,
    Going,
    /// Its node does not answer.
    Silent,
}

impl StoreCore {
    /// Whether the replica on `node` is close behind, as its leader here knows.
    pub(super) fn caught_up(&self, range: RangeId, node: NodeId) -> StorageResult<CatchingUp> {
        let d = self.replicas.get(&range).ok_or(StorageError::RangeNotFound { range })?;
        if !d.group.is_leader() {
            return Err(StorageError::NotLeaseholder { range, leader: d.replica.lease.leader() });
        }
        let replica = d.descriptor.as_ref().and_then(|x| x.replica_on(node));
        let replica = replica.ok_or(StorageError::RangeMismatch { range, key: Key::MIN })?;
        Ok(if is_close_behind(d, replica.replica) {
            CatchingUp::Done
        } else if self.liveness.supported_by(node, self.hlc).is_some() {
            CatchingUp::Going
        } else {
            CatchingUp::Silent
        })
    }
}

/// Whether a replica has nearly all of its leader's log. One of which nothing is known has no state at all, however
/// short the log.
pub(super) fn is_close_behind(d: &Driven, replica: ReplicaId) -> bool {
    d.group.standing(replica).is_some_and(|s| {
        s.matched > 0 && !s.in_snapshot && s.matched + CAUGHT_UP_WITHIN >= d.group.last_index()
    })
}
