//! A range without replication: commands are applied to the engine as they are proposed.
//!
//! It serves the tests of the layers above. It keeps the contract of [`Replica`] to the letter - a command of a past
//! term is refused, a replica that has lost its lease serves nothing, triggers take effect with their command - so
//! that what passes over it does not rest on the absence of replication.

use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::{
    Command, Lease, Merging, RangeDescriptor, Replica, ReplicaDescriptor, ReplicaKind, ReplicaObserver,
    Trigger,
};
use crate::base::{BoxFuture, NodeId, RangeId, ReplicaId, Span, StorageError, StorageResult, Timestamp};
use crate::engine::Engine;

/// See the module's documentation.
pub struct LocalReplica {
    me: Weak<LocalReplica>,
    range: RangeId,
    engine: Arc<dyn Engine>,
    observer: Option<Arc<dyn ReplicaObserver>>,
    state: RwLock<State>,
}

struct State {
    descriptor: Arc<RangeDescriptor>,
    /// The term of the lease, or of the last one that was held.
    term: u64,
    lease: Option<Lease>,
    gc_threshold: Timestamp,
    /// What was split off last and not merged again: the range on the right.
    right: Option<Arc<LocalReplica>>,
}

impl LocalReplica {
    /// A replica of `span` on node 1, with a lease of term 1 that covers all of time.
    pub fn new(range: RangeId, span: Span, engine: Arc<dyn Engine>) -> Arc<Self> {
        Self::with_observer(range, span, engine, None)
    }

    /// As [`LocalReplica::new`]; the observer hears of the lease at once, and of splits.
    pub fn with_observer(
        range: RangeId,
        span: Span,
        engine: Arc<dyn Engine>,
        observer: Option<Arc<dyn ReplicaObserver>>,
    ) -> Arc<Self> {
        let replica = ReplicaDescriptor { node: NodeId(1), replica: ReplicaId(1), kind: ReplicaKind::Voter };
        let descriptor = RangeDescriptor {
            range,
            start: span.start,
            end: span.end,
            generation: 1,
            replicas: vec![replica],
            next_replica: ReplicaId(2),
            merging: Merging::No,
        };
        let lease = Lease { term: 1, start: Timestamp::ZERO };
        let made = Self::with_descriptor(descriptor, lease, Timestamp::ZERO, engine, observer);
        made.announce(lease);
        made
    }

    fn with_descriptor(
        descriptor: RangeDescriptor,
        lease: Lease,
        gc_threshold: Timestamp,
        engine: Arc<dyn Engine>,
        observer: Option<Arc<dyn ReplicaObserver>>,
    ) -> Arc<Self> {
        let range = descriptor.range;
        let state = State {
            descriptor: Arc::new(descriptor),
            term: lease.term,
            lease: Some(lease),
            gc_threshold,
            right: None,
        };
        Arc::new_cyclic(|me| LocalReplica {
            me: me.clone(),
            range,
            engine,
            observer,
            state: RwLock::new(state),
        })
    }

    /// Gives up the lease: nothing is served, and what was evaluated under it is refused.
    pub fn lose_lease(&self) {
        self.state.write().lease = None;
        if let Some(observer) = &self.observer {
            observer.lease_lost(self.range);
        }
    }

    /// Takes the lease again, in a new term.
    pub fn acquire_lease(&self, start: Timestamp) -> Lease {
        let lease = {
            let mut state = self.state.write();
            state.term += 1;
            let lease = Lease { term: state.term, start };
            state.lease = Some(lease);
            lease
        };
        self.announce(lease);
        lease
    }

    fn announce(&self, lease: Lease) {
        if let Some(observer) = &self.observer {
            observer.lease_acquired(&self.as_replica(), lease);
        }
    }

    fn as_replica(&self) -> Arc<dyn Replica> {
        self.me.upgrade().expect("a method runs on a living replica")
    }

    fn not_leaseholder(&self) -> StorageError {
        StorageError::NotLeaseholder { range: self.range, leader: None }
    }

    fn apply(&self, command: Command) -> StorageResult<()> {
        let split = {
            let mut state = self.state.write();
            if state.lease.is_none_or(|lease| lease.term != command.term) {
                return Err(self.not_leaseholder());
            }
            self.engine.write(&command.batch)?;
            self.pull(&mut state, command.trigger)
        };
        if let (Some(observer), Some((right, lease))) = (&self.observer, split) {
            let right: Arc<dyn Replica> = right;
            observer.split(&self.as_replica(), &right, lease);
        }
        Ok(())
    }

    /// Takes in what is on the right, which serves nothing from then on.
    fn absorb(&self) -> StorageResult<Arc<RangeDescriptor>> {
        let right = {
            let state = self.state.read();
            state.lease.ok_or_else(|| self.not_leaseholder())?;
            state.right.clone().ok_or_else(|| StorageError::Config("nothing is on the right".into()))?
        };
        right.lose_lease();
        let (descriptor, threshold, next) = {
            let state = right.state.read();
            (state.descriptor.clone(), state.gc_threshold, state.right.clone())
        };
        if let Some(observer) = &self.observer {
            observer.merge(&self.as_replica(), &descriptor, Timestamp::ZERO);
        }
        let merged = {
            let mut state = self.state.write();
            let mut merged = (*state.descriptor).clone();
            merged.end = descriptor.end.clone();
            merged.generation = merged.generation.max(descriptor.generation) + 1;
            state.gc_threshold.forward(threshold);
            state.right = next;
            state.descriptor = Arc::new(merged);
            state.descriptor.clone()
        };
        if let Some(observer) = &self.observer {
            observer.removed(descriptor.range);
        }
        Ok(merged)
    }

    /// The effects of a trigger; the right-hand side, if the range was split.
    fn pull(
        &self,
        state: &mut State,
        trigger: Option<Trigger>,
    ) -> Option<(Arc<LocalReplica>, Option<Lease>)> {
        match trigger? {
            Trigger::Split { left, right } => {
                state.descriptor = Arc::new(left);
                let lease = state.lease?;
                let made = Self::with_descriptor(
                    right,
                    lease,
                    state.gc_threshold,
                    self.engine.clone(),
                    self.observer.clone(),
                );
                made.state.write().right = state.right.replace(made.clone());
                return Some((made, Some(lease)));
            }
            Trigger::ChangeReplicas { descriptor }
            | Trigger::Mark { descriptor }
            | Trigger::Merge { left: descriptor, .. } => state.descriptor = Arc::new(descriptor),
            Trigger::RaiseGcThreshold { to } => {
                state.gc_threshold.forward(to);
            }
            // There is no log.
            Trigger::Truncate { .. } => {}
        }
        None
    }
}

impl Replica for LocalReplica {
    fn range_id(&self) -> RangeId {
        self.range
    }

    fn descriptor(&self) -> Arc<RangeDescriptor> {
        self.state.read().descriptor.clone()
    }

    fn lease(&self, at: Timestamp) -> StorageResult<Lease> {
        let lease = self.state.read().lease;
        lease.filter(|lease| lease.start <= at).ok_or_else(|| self.not_leaseholder())
    }

    fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    fn gc_threshold(&self) -> Timestamp {
        self.state.read().gc_threshold
    }

    fn absorb_right(&self) -> BoxFuture<'static, StorageResult<Arc<RangeDescriptor>>> {
        Box::pin(std::future::ready(self.absorb()))
    }

    fn propose(&self, command: Command) -> BoxFuture<'static, StorageResult<()>> {
        Box::pin(std::future::ready(self.apply(command)))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::base::Key;
    use crate::engine::memory::MemEngine;
    use crate::engine::{Cf, WriteBatch};

    fn replica() -> Arc<LocalReplica> {
        let span = Span::new(Key::from("a"), Key::from("z"));
        LocalReplica::new(RangeId(1), span, Arc::new(MemEngine::new()))
    }

    fn put(term: u64, key: &str) -> Command {
        let mut batch = WriteBatch::new();
        batch.put(Cf::Data, key.as_bytes(), b"1");
        Command { term, batch, trigger: None }
    }

    fn propose(r: &LocalReplica, command: Command) -> StorageResult<()> {
        r.propose(command).now_or_never().expect("applied at once")
    }

    #[test]
    fn a_command_is_applied_when_the_proposal_resolves() {
        let r = replica();
        let lease = r.lease(Timestamp::new(5, 0)).expect("lease");
        propose(&r, put(lease.term, "b")).expect("applied");
        assert_eq!(r.engine().get(Cf::Data, b"b").expect("read").as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn what_was_evaluated_under_a_lost_lease_is_refused_for_ever() {
        let r = replica();
        let old = r.lease(Timestamp::new(5, 0)).expect("lease");
        r.lose_lease();
        assert!(matches!(r.lease(Timestamp::new(5, 0)), Err(StorageError::NotLeaseholder { .. })));
        assert!(propose(&r, put(old.term, "b")).is_err());
        r.acquire_lease(Timestamp::new(7, 0));
        assert!(propose(&r, put(old.term, "b")).is_err());
        assert!(r.engine().get(Cf::Data, b"b").expect("read").is_none());
    }

    #[test]
    fn a_split_narrows_the_range() {
        let r = replica();
        let whole = r.descriptor();
        let (mut left, mut right) = ((*whole).clone(), (*whole).clone());
        left.end = Key::from("m");
        right.start = Key::from("m");
        right.range = RangeId(2);
        let trigger = Some(Trigger::Split { left, right });
        propose(&r, Command { term: 1, batch: WriteBatch::new(), trigger }).expect("applied");
        assert_eq!(r.descriptor().end, Key::from("m"));
        let merged = r.absorb_right().now_or_never().expect("at once").expect("it was split");
        assert_eq!((merged.end.clone(), merged.generation), (whole.end.clone(), whole.generation + 1));
        assert!(r.absorb_right().now_or_never().expect("at once").is_err(), "nothing is on the right");
    }
}
