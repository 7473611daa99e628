//! Who leads: votes and promises, election timers, leases granted and given up, transfers, and which replicas sleep.
//!
//! A replica is *awake* while it waits for time to pass: a leader while a living follower is behind or something is in
//! flight, a follower while no supported leader binds it. All others cost nothing.

use std::time::Duration;

use raft::eraftpb::{Message, MessageType};
use smallvec::SmallVec;

use super::core::StoreCore;
use super::driven::{Driven, Promise, Transfer, answer};
use super::handle::StoreHandle;
use super::inbox::Completion;
use super::liveness::Liveness;
use super::transport::Envelope;
use crate::base::{NodeId, RangeId, StorageError, StorageResult, Timestamp};
use crate::group::{Campaign, Event};
use crate::probe;
use crate::replica::lease::{Quorum, Supporter};
use crate::replica::{Lease, Merging, Replica, ReplicaKind};

/// How long a new leader may take to come forward when leadership is handed over.
pub(super) const TRANSFER_TIMEOUT: Duration = Duration::from_secs(1);
/// How long proposals in flight are waited for after leadership was lost.
const GIVE_UP_AFTER: Duration = Duration::from_secs(3);

impl StoreCore {
    // --- votes ---

    /// Whether a request for a vote may reach the group.
    pub(super) fn admits_vote(&self, d: &Driven, from: NodeId, m: &Message) -> bool {
        // The leader itself asked for this election, and has stopped serving.
        if m.context[..] == *raft::CAMPAIGN_TRANSFER {
            return true;
        }
        if self.hlc <= self.bound_until {
            return false;
        }
        if d.group.is_leader() {
            return d.replica.lease.check(self.hlc).is_none();
        }
        match d.promise {
            Some(p) if p.node != from => self.liveness.is_free(p.node, p.epoch, self.hlc),
            _ => true,
        }
    }

    /// After a message has been stepped: a leader's message binds, a follower's answer counts for the lease.
    pub(super) fn note_promises(
        &mut self,
        range: RangeId,
        from: NodeId,
        kind: MessageType,
        sender: u64,
        term: u64,
        promise: u64,
    ) {
        let Some(d) = self.replicas.get_mut(&range) else { return };
        let (sender, same_term) = (crate::base::ReplicaId(sender), d.group.term() == term);
        match kind {
            MessageType::MsgAppend | MessageType::MsgHeartbeat | MessageType::MsgSnapshot
                if same_term && d.group.leader() == Some(sender) =>
            {
                let epoch = self.liveness.epoch_for(from);
                d.promise =
                    epoch.map(|epoch| Promise { node: from, replica: sender, epoch, inherited: false });
                d.election_at = None;
            }
            MessageType::MsgAppendResponse | MessageType::MsgHeartbeatResponse
                if same_term
                    && promise != 0
                    && d.group.is_leader()
                    && d.promised_epoch(sender) != promise =>
            {
                d.promised.retain(|(r, _)| *r != sender);
                d.promised.push((sender, promise));
                let quorums = quorums(d, &mut self.liveness);
                d.replica.lease.set_quorums(term, quorums);
            }
            _ => {}
        }
    }

    /// This store no longer supports a peer: what it led needs a new leader.
    pub(super) fn support_withdrawn(&mut self, node: NodeId) {
        let led: Vec<_> = self
            .replicas
            .iter()
            .filter(|(_, d)| d.promise.is_some_and(|p| p.node == node) && !d.group.is_leader())
            .map(|(r, _)| *r)
            .collect();
        self.awake.extend(led);
    }

    /// A peer supports this store in a new epoch: its replicas must hear from their leaders here to promise anew.
    pub(super) fn supported_anew(&mut self, node: NodeId) {
        let mut led: Vec<_> = self
            .replicas
            .iter()
            .filter(|(_, d)| {
                d.group.is_leader() && d.descriptor.as_ref().is_some_and(|x| x.replica_on(node).is_some())
            })
            .map(|(r, _)| *r)
            .collect();
        led.sort_unstable();
        for range in led {
            self.awake.insert(range);
            self.step(range, Event::Ping);
        }
    }

    // --- leases ---

    /// Notices that leadership has changed, before anything that came with the change leaves this store.
    pub(super) fn role_changed(&mut self, range: RangeId) {
        let Some(d) = self.replicas.get_mut(&range) else { return };
        let role = d.current_role();
        let old = std::mem::replace(&mut d.role, role);
        if role == old {
            return;
        }
        let node = role.leader.and_then(|r| d.node_of(r));
        d.replica.lease.set_leader(node);
        if old.leads && (!role.leads || role.term != old.term) {
            d.proposals.refuse_queued(&StorageError::NotLeaseholder { range, leader: node });
            if d.proposals.any_in_flight() {
                d.proposals.give_up_at = Some(self.now + GIVE_UP_AFTER);
            }
            self.give_up_lease(range);
        }
        let Some(d) = self.replicas.get_mut(&range) else { return };
        if role.leads && !(old.leads && role.term == old.term) {
            d.promised.clear();
            d.election_at = None;
            // What is in flight is in this log, or another leader's entries have taken its place, which this term's first
            // entry will tell: its outcome will be learnt, and until then it must not be given up. Whoever reads here
            // waits for it.
            d.proposals.give_up_at = None;
        }
        // Whoever leads in a new term ends the transfer.
        if let Some(t) =
            d.transfer.take_if(|_| role.leader.is_some() && (!role.leads || role.term > old.term))
            && let Some(done) = t.done
        {
            let taken_over = role.leader == Some(t.to);
            let refused =
                StorageError::Ambiguous { reason: format!("{range} was taken over by another replica") };
            answer(done, if taken_over { Ok(()) } else { Err(refused) });
        }
        self.awake.insert(range);
    }

    pub(super) fn give_up_lease(&mut self, range: RangeId) {
        let Some(d) = self.replicas.get_mut(&range) else { return };
        if d.replica.lease.held().is_some() {
            d.replica.lease.revoke();
            self.counters.leases -= 1;
            self.parts.observer.lease_lost(range);
        }
    }

    /// An entry is in the engine. The first of the own term ends the election: the lease begins.
    pub(super) fn entry_of_term_applied(&mut self, range: RangeId, term: u64) {
        let Some(d) = self.replicas.get_mut(&range) else { return };
        if !d.group.is_leader() || d.group.term() != term || d.granted >= term || d.transfer.is_some() {
            return;
        }
        if d.descriptor.as_ref().is_some_and(|x| x.is_frozen()) {
            probe!("merge: a frozen range is led, without a lease");
            return;
        }
        d.granted = term;
        let lease = Lease { term, start: self.parts.clock.now() };
        let quorums = quorums(d, &mut self.liveness);
        d.replica.lease.grant(lease, quorums);
        d.replica.lease.set_leader(Some(self.node));
        self.counters.leases += 1;
        let replica: std::sync::Arc<dyn Replica> = d.replica.clone();
        self.parts.observer.lease_acquired(&replica, lease);
        // A leader that dies between the two halves of a change, or in the middle of a merge, leaves it to the next one.
        self.leave_joint(range);
        self.take_back_merge(range, term);
    }

    fn take_back_merge(&self, range: RangeId, term: u64) {
        let merging = self.replicas.get(&range).and_then(|d| d.descriptor.as_ref()).map(|x| x.merging);
        if merging.is_some_and(|m| m != Merging::No) {
            probe!("merge: taken back by the next leaseholder");
            let handle = StoreHandle { shared: self.shared.clone() };
            let task = async move { handle.give_up_merge(range, term).await };
            self.parts.runtime.spawn("give up a merge", Box::pin(task));
        }
    }

    /// The configuration has changed: the lease rests on other voters now.
    pub(super) fn configuration_changed(&mut self, range: RangeId) {
        let Some(d) = self.replicas.get_mut(&range) else { return };
        let term = d.group.term();
        let quorums = quorums(d, &mut self.liveness);
        d.replica.lease.set_quorums(term, quorums);
        self.awake.insert(range);
    }

    /// A leader that has applied its own removal leads nobody, but its store is alive, and the promise to it binds: the
    /// removal may be known here before it is known there. So it is asked. The same goes for the leader of the left side of a
    /// split, which may not lead the right one.
    pub(super) fn ask_leader(&mut self, range: RangeId) {
        let Some(d) = self.replicas.get(&range) else { return };
        if let (Some(Promise { node, replica, .. }), Some(descriptor)) = (d.promise, &d.descriptor) {
            let start = descriptor.start.clone();
            self.send(node, Envelope::HasRelinquished { range, replica, start });
        }
    }

    /// A removed leader serves no more. Its clock came with the message, so the next lease starts above it.
    pub(super) fn relinquished(&mut self, from: NodeId, range: RangeId, replica: crate::base::ReplicaId) {
        let Some(d) = self.replicas.get_mut(&range) else { return };
        if d.promise.is_some_and(|p| p.node == from && p.replica == replica) {
            probe!("lease: a removed leader lets a follower go");
            d.promise = None;
            d.election_at = None;
            self.awake.insert(range);
        }
    }

    /// Whoever led the left side of a split has applied it, and serves no more of the right one but as its leader. Nothing is
    /// said of what the replica may have promised to it as such.
    pub(super) fn parted(&mut self, from: NodeId, range: RangeId, replica: crate::base::ReplicaId) {
        let inherited = |d: &Driven| d.promise.is_some_and(|p| p.inherited && p.node == from);
        if self.replicas.get(&range).is_some_and(|d| inherited(d)) {
            probe!("lease: inherited promise released");
            self.relinquished(from, range, replica);
        }
    }

    // --- transfers ---

    pub(super) fn transfer_lease(&mut self, range: RangeId, to: NodeId, done: Completion) {
        let refusal = match self.transfer_target(range, to) {
            Ok(Some(target)) => {
                self.give_up_lease(range);
                if let Some(d) = self.replicas.get_mut(&range) {
                    let deadline = self.now + TRANSFER_TIMEOUT;
                    d.transfer = Some(Transfer { to: target, deadline, done: Some(done) });
                }
                self.awake.insert(range);
                self.step(range, Event::TransferTo(target));
                return;
            }
            Ok(None) => Ok(()),
            Err(e) => Err(e),
        };
        answer(done, refusal);
    }

    /// The replica to hand over to; `None` if that is this one already.
    fn transfer_target(&self, range: RangeId, to: NodeId) -> StorageResult<Option<crate::base::ReplicaId>> {
        let d = self.replicas.get(&range).ok_or(StorageError::RangeNotFound { range })?;
        let leader = d.replica.lease.leader().filter(|n| *n != self.node);
        if !d.group.is_leader() || d.replica.lease.held().is_none() {
            return Err(StorageError::NotLeaseholder { range, leader });
        }
        if to == self.node {
            return Ok(None);
        }
        if !self.clocks.is_sound(to) {
            return Err(StorageError::Config(format!("the clock of {to} cannot be relied upon")));
        }
        let target = d.descriptor.as_ref().and_then(|x| x.replica_on(to));
        match target {
            Some(r) if matches!(r.kind, ReplicaKind::Voter | ReplicaKind::Incoming) => Ok(Some(r.replica)),
            _ => Err(StorageError::Config(format!("{to} has no voting replica of {range}"))),
        }
    }

    /// Nobody has taken over. Nothing may be served in this term any more, so a new one is needed.
    fn transfer_failed(&mut self, range: RangeId) {
        let Some(d) = self.replicas.get_mut(&range) else { return };
        let Some(t) = d.transfer.take() else { return };
        probe!("lease: transfer failed");
        let leads = d.group.is_leader();
        if let Some(done) = t.done {
            let reason = format!("{range} was not taken over in time");
            answer(done, Err(StorageError::Ambiguous { reason }));
        }
        if leads {
            self.step(range, Event::StepDown);
            self.step(range, Event::Campaign(Campaign::PreVote));
        }
    }

    // --- time ---

    /// Looks at all replicas that are awake, and lets those sleep that have nothing to wait for.
    pub(super) fn tick(&mut self) -> StorageResult<()> {
        for range in self.awake.iter().copied().collect::<Vec<_>>() {
            if !self.tick_one(range) {
                self.awake.remove(&range);
            }
        }
        self.snapshot_timeouts()?;
        self.check_membership();
        Ok(())
    }

    /// Whether the replica stays awake.
    fn tick_one(&mut self, range: RangeId) -> bool {
        let (now, hlc) = (self.now, self.hlc);
        let Some(d) = self.replicas.get_mut(&range) else { return false };
        if d.group.is_applying_snapshot() || d.descriptor.is_none() {
            return true;
        }
        if d.proposals.give_up_at.is_some_and(|at| at <= now) {
            probe!("proposal: outcome unknown after a change of leader");
            d.proposals.give_up("the leader changed and the new one has not been heard of");
        }
        if d.transfer.as_ref().is_some_and(|t| t.deadline <= now) {
            self.transfer_failed(range);
            return true;
        }
        if d.group.is_leader() {
            if d.stranded {
                // It will never serve. Whoever else has the entries may.
                self.step(range, Event::StepDown);
                return true;
            }
            let needed = leader_needs_ticks(d, &self.liveness, hlc);
            if d.descriptor.as_ref().is_some_and(|x| x.is_joint()) {
                self.leave_joint(range);
            }
            if needed {
                self.snapshots_arrived(range);
                self.step(range, Event::Tick);
            }
            return needed;
        }
        self.tick_follower(range)
    }

    fn tick_follower(&mut self, range: RangeId) -> bool {
        let (now, hlc) = (self.now, self.hlc);
        let Some(d) = self.replicas.get_mut(&range) else { return false };
        // A leader that has been removed leads nobody.
        let led =
            d.group.leader().is_some_and(|l| d.descriptor.as_ref().is_some_and(|x| x.replica(l).is_some()));
        let supported = led && d.promise.is_some_and(|p| self.liveness.epoch_for(p.node) == Some(p.epoch));
        if supported || !d.is_voter() {
            d.election_at = None;
            return d.proposals.any_in_flight() || d.transfer.is_some();
        }
        if d.group.is_only_voter() {
            if hlc <= self.clock_lost_until {
                probe!("lease: the only voter waits for its clock");
                return true;
            }
            self.step(range, Event::Campaign(Campaign::PreVote));
            return true;
        }
        let (least, most) = self.parts.config.election_timeout;
        let spread = (most.saturating_sub(least).as_millis() as u64).max(1);
        let late = if self.fenced.is_some() { super::fence::LATE } else { Duration::ZERO };
        let timeout = late + least + Duration::from_millis(self.parts.runtime.random() % spread);
        let due = match d.election_at {
            None => {
                d.election_at = Some(now + timeout);
                false
            }
            Some(at) => at <= now,
        };
        let stranded = d.stranded;
        if due {
            // Time enough for an answer before the next attempt.
            d.election_at = Some(now + 2 * timeout);
            let free = d.promise.is_none_or(|p| self.liveness.is_free(p.node, p.epoch, hlc));
            if free && hlc > self.bound_until && !stranded {
                self.step(range, Event::Campaign(Campaign::PreVote));
            } else if !free && !led {
                probe!("lease: bound to a leader that leads no more");
                self.ask_leader(range);
            }
        }
        true
    }
}

/// Whether any living follower has something to hear, or something is in flight.
fn leader_needs_ticks(d: &Driven, liveness: &Liveness, hlc: Timestamp) -> bool {
    if d.transfer.is_some() || d.proposals.any_in_flight() || d.group.last_index() > d.group.applied().0 {
        return true;
    }
    let Some(descriptor) = &d.descriptor else { return false };
    descriptor.is_joint()
        || descriptor.replicas.iter().filter(|r| r.replica != d.group.id()).any(|r| {
            let Some(epoch) = liveness.supported_by(r.node, hlc) else { return false };
            let Some(standing) = d.group.standing(r.replica) else { return false };
            standing.matched < d.group.last_index()
                || standing.committed < d.group.committed()
                || (r.kind.votes() && d.promised_epoch(r.replica) != epoch)
        })
}

/// The voters on whose promises the lease of this replica rests.
fn quorums(d: &Driven, liveness: &mut Liveness) -> SmallVec<[Quorum; 2]> {
    let Some(descriptor) = &d.descriptor else { return SmallVec::new() };
    let me = d.group.id();
    let mut half = |counts: fn(ReplicaKind) -> bool| {
        let mut quorum = Quorum::default();
        for r in descriptor.replicas.iter().filter(|r| counts(r.kind)) {
            if r.replica == me {
                quorum.includes_self = true;
            } else {
                let support = liveness.received(r.node);
                quorum.others.push(Supporter { support, promised: d.promised_epoch(r.replica) });
            }
        }
        quorum
    };
    let mut quorums = SmallVec::new();
    quorums.push(half(|k| matches!(k, ReplicaKind::Voter | ReplicaKind::Incoming)));
    if descriptor.is_joint() {
        quorums.push(half(|k| matches!(k, ReplicaKind::Voter | ReplicaKind::Outgoing)));
    }
    quorums
}
