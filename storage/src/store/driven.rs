//! One replica as the core drives it: its Raft group, its proposals in flight, its promise, its timers.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use raft::eraftpb::Entry;
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::handle::RangeReplica;
use super::inbox::Completion;
use crate::apply::Bounds;
use crate::base::{NodeId, RangeId, ReplicaId, StorageError};
use crate::group::Group;
use crate::replica::{RangeDescriptor, ReplicaKind};

/// Bound to a leader: see `replica::lease`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Promise {
    pub node: NodeId,
    /// The leader.
    pub replica: ReplicaId,
    pub epoch: u64,
    /// Not this range's leader, but that of the range it was split from, which may serve the whole still.
    pub inherited: bool,
}

/// What Raft says a replica is; compared after every step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Role {
    pub term: u64,
    pub leads: bool,
    pub leader: Option<ReplicaId>,
}

/// Leadership on its way to another replica. Nothing is served in this term any more.
pub struct Transfer {
    pub to: ReplicaId,
    pub deadline: Duration,
    pub done: Option<Completion>,
}

pub struct Driven {
    pub replica: Arc<RangeReplica>,
    /// The applied descriptor; `None` before the first snapshot has been installed.
    pub descriptor: Option<Arc<RangeDescriptor>>,
    pub bounds: Option<Bounds>,
    pub group: Group,
    pub role: Role,
    pub promise: Option<Promise>,
    /// The leader's view: the epochs in which its voters last answered in this term.
    pub promised: SmallVec<[(ReplicaId, u64); 4]>,
    pub proposals: Proposals,
    /// The last term in which a lease was begun.
    pub granted: u64,
    /// When to stand for election, unless somebody leads by then.
    pub election_at: Option<Duration>,
    pub transfer: Option<Transfer>,
    /// Where replicas live that the descriptor does not name (yet).
    pub addresses: FxHashMap<ReplicaId, NodeId>,
    /// The index up to which a command asked for the log to be truncated.
    pub truncate_wish: u64,
    /// Committed entries that wait for another replica: the first takes it in, and it has not come as far yet.
    pub waiting: VecDeque<Entry>,
    /// They wait for ever: the other replica is gone.
    pub stranded: bool,
    /// In the core's list of replicas with something to do.
    pub dirty: bool,
}

impl Driven {
    pub fn new(replica: Arc<RangeReplica>, descriptor: Option<Arc<RangeDescriptor>>, group: Group) -> Self {
        let bounds = descriptor.as_ref().map(|d| Bounds::new(d.range, &d.span()));
        Driven {
            replica,
            descriptor,
            bounds,
            group,
            role: Role::default(),
            promise: None,
            promised: SmallVec::new(),
            proposals: Proposals::default(),
            granted: 0,
            election_at: None,
            transfer: None,
            addresses: FxHashMap::default(),
            truncate_wish: 0,
            waiting: VecDeque::new(),
            stranded: false,
            dirty: false,
        }
    }

    pub fn set_descriptor(&mut self, descriptor: Arc<RangeDescriptor>) {
        self.bounds = Some(Bounds::new(descriptor.range, &descriptor.span()));
        self.descriptor = Some(descriptor);
    }

    pub fn current_role(&self) -> Role {
        Role { term: self.group.term(), leads: self.group.is_leader(), leader: self.group.leader() }
    }

    pub fn node_of(&self, replica: ReplicaId) -> Option<NodeId> {
        let described = self.descriptor.as_ref().and_then(|d| d.replica(replica)).map(|r| r.node);
        described.or_else(|| self.addresses.get(&replica).copied())
    }

    pub fn promised_epoch(&self, replica: ReplicaId) -> u64 {
        self.promised.iter().find(|(r, _)| *r == replica).map_or(0, |(_, e)| *e)
    }

    /// Whether `replica` may once have belonged to the range, but does no more.
    pub fn is_removed(&self, replica: ReplicaId) -> bool {
        self.descriptor.as_ref().is_some_and(|d| replica < d.next_replica && d.replica(replica).is_none())
    }

    pub fn is_voter(&self) -> bool {
        let own = self.descriptor.as_ref().and_then(|d| d.replica(self.group.id()));
        own.is_some_and(|r| r.kind != ReplicaKind::Learner) && self.group.is_voter()
    }
}

/// A proposal that waits for its turn in the log.
pub struct Queued {
    pub entry: Entry,
    pub done: Completion,
}

/// Proposals: queued in this turn, and in flight by the place they were given in the log.
#[derive(Default)]
pub struct Proposals {
    pub queued: Vec<Queued>,
    /// Index, term, completion. Indexes ascend and terms never fall: each was the last of its log, in the term of its time.
    in_flight: VecDeque<(u64, u64, Completion)>,
    /// When those in flight are given up as ambiguous: set when leadership is lost.
    pub give_up_at: Option<Duration>,
}

impl Proposals {
    /// A proposal was appended at `(index, term)`.
    pub fn appended(&mut self, index: u64, term: u64, done: Completion) {
        // What stood there or above was appended in an earlier term and replaced; another replica may still have it.
        while self.in_flight.back().is_some_and(|(i, _, _)| *i >= index) {
            if let Some((_, _, done)) = self.in_flight.pop_back() {
                answer(done, Err(ambiguous("leadership changed while the command was in flight")));
            }
        }
        self.in_flight.push_back((index, term, done));
    }

    /// The entry at `(index, term)` is applied: the completion of the proposal that it was. Proposals below it, or at
    /// the same place in another term, can never be committed any more, nor can those of an earlier term above it: terms
    /// never fall within a log, and every log in which they might be committed has this entry. They are refused.
    pub fn applied(&mut self, range: RangeId, index: u64, term: u64) -> Option<Completion> {
        while let Some((i, t, _)) = self.in_flight.front() {
            if *i > index && *t >= term {
                break;
            }
            let matches = (*i, *t) == (index, term);
            let (_, _, done) = self.in_flight.pop_front()?;
            if matches {
                return Some(done);
            }
            answer(done, Err(StorageError::NotLeaseholder { range, leader: None }));
        }
        None
    }

    /// Nothing will be learnt of those in flight.
    pub fn give_up(&mut self, reason: &str) {
        self.give_up_at = None;
        for (_, _, done) in self.in_flight.drain(..) {
            answer(done, Err(ambiguous(reason)));
        }
    }

    /// Those that are not in the log yet never will be.
    pub fn refuse_queued(&mut self, error: &StorageError) {
        for q in self.queued.drain(..) {
            answer(q.done, Err(error.clone()));
        }
    }

    /// None of them has had an effect, nor ever will.
    pub fn refuse_all(&mut self, error: &StorageError) {
        self.refuse_queued(error);
        for (_, _, done) in self.in_flight.drain(..) {
            answer(done, Err(error.clone()));
        }
    }

    pub fn any_in_flight(&self) -> bool {
        !self.in_flight.is_empty()
    }
}

pub fn ambiguous(reason: &str) -> StorageError {
    StorageError::Ambiguous { reason: reason.into() }
}

/// The caller may have gone away; then nobody needs the answer.
pub fn answer(done: Completion, result: Result<(), StorageError>) {
    let _ = done.send(result);
}

#[cfg(test)]
mod tests {
    use futures::channel::oneshot;

    use super::*;

    #[test]
    fn a_proposal_is_known_by_index_and_term() {
        let range = RangeId(1);
        let mut p = Proposals::default();
        let mut answers = Vec::new();
        for (index, term) in [(5, 1), (6, 1), (7, 1)] {
            let (tx, rx) = oneshot::channel();
            p.appended(index, term, tx);
            answers.push(rx);
        }
        let done = p.applied(range, 5, 1).expect("the first");
        answer(done, Ok(()));
        let (tx, _rx) = oneshot::channel();
        p.appended(7, 3, tx);
        assert!(matches!(answers[2].try_recv(), Ok(Some(Err(StorageError::Ambiguous { .. })))));
        assert!(p.applied(range, 6, 3).is_none(), "another term's entry stands there");
        assert!(matches!(answers[0].try_recv(), Ok(Some(Ok(())))));
        assert!(matches!(answers[1].try_recv(), Ok(Some(Err(StorageError::NotLeaseholder { .. })))));
        assert!(p.any_in_flight(), "the third is of the term that goes on");
        assert!(p.applied(range, 7, 3).is_some());
    }

    /// Another leader's entries have cut them off, and the log has not grown as far since.
    #[test]
    fn proposals_of_an_earlier_term_above_an_applied_entry_are_refused() {
        let range = RangeId(1);
        let mut p = Proposals::default();
        let mut answers = Vec::new();
        for (index, term) in [(5, 1), (6, 1), (7, 1), (8, 3)] {
            let (tx, rx) = oneshot::channel();
            p.appended(index, term, tx);
            answers.push(rx);
        }
        assert!(p.applied(range, 4, 1).is_none());
        assert!(matches!(answers[0].try_recv(), Ok(None)), "it may still be committed");
        assert!(p.applied(range, 5, 2).is_none());
        for answer in &mut answers[..3] {
            assert!(matches!(answer.try_recv(), Ok(Some(Err(StorageError::NotLeaseholder { .. })))));
        }
        assert!(matches!(answers[3].try_recv(), Ok(None)));
        assert!(p.applied(range, 8, 3).is_some());
    }
}
