//! Working off what the replicas of a turn have to do: messages, one log write with one sync, one engine batch.
//!
//! The order within a round is what durability and latency rest on:
//! 1. proposals of the turn are appended, all of a range together;
//! 2. messages that may leave at once leave (a leader replicates while its own disk syncs);
//! 3. entries that are committed *and* in the local log are applied, and their proposals answered;
//! 4. the entries and votes of all replicas are written to the log in one batch, with one sync;
//! 5. messages that promise durability leave.
//!
//! What was persisted may be committed by it (always, with one voter), so rounds repeat until nobody has anything to
//! do. A proposal at a single voter takes two: append and sync; apply and answer.

use protobuf::Message as _;
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use super::core::StoreCore;
use super::driven::answer;
use super::transport::{Envelope, RaftEnvelope};
use crate::apply::command;
use crate::base::planted::{self, Planted};
use crate::base::{Key, RangeId, ReplicaId, StorageError, StorageResult};
use crate::group::{Event, Refused};
use crate::log::{LogBatch, LogOp};
use crate::replica::{Replica, Trigger};

/// What became of an entry: range, index, term, result for its proposer.
pub(super) type Outcome = (RangeId, u64, u64, StorageResult<()>);

#[derive(Default)]
struct Round {
    write: LogBatch,
    sync: bool,
    persisted: Vec<(RangeId, u64)>,
    after: Vec<(RangeId, Vec<Message>)>,
    committed: Vec<(RangeId, Vec<Entry>)>,
}

impl StoreCore {
    pub(super) async fn progress(&mut self) -> StorageResult<()> {
        while !self.dirty.is_empty() {
            let mut round = Round::default();
            for range in std::mem::take(&mut self.dirty) {
                self.gather(range, &mut round)?;
            }
            self.flush_outbox();
            for (range, entries) in round.committed {
                self.apply_entries(range, entries).await?;
            }
            self.apply_waiting().await?;
            self.finish_apply()?;
            if !round.write.ops.is_empty() {
                let sync = round.sync && !planted::is(Planted::AckBeforeSync);
                self.write_log(&round.write, sync).await?;
                self.counters.log_syncs += u64::from(round.sync);
            }
            for (range, number) in round.persisted {
                self.step(range, Event::Persisted(number));
            }
            for (range, messages) in round.after {
                self.route(range, messages);
            }
        }
        Ok(())
    }

    /// Steps a replica and puts it on the list if something came of it.
    pub(super) fn step(&mut self, range: RangeId, event: Event) {
        let Some(d) = self.replicas.get_mut(&range) else { return };
        if d.group.is_applying_snapshot() {
            return;
        }
        // What a group refuses needs no answer here; proposals are answered where they are appended.
        let _ = d.group.step(event);
        if d.group.is_leader() {
            // Whoever wins an election is bound to nobody. Leadership may pass again within the turn, so it is noted here.
            d.promise = None;
        }
        if d.group.has_effects() || d.role != d.current_role() {
            self.mark(range);
        }
    }

    fn gather(&mut self, range: RangeId, round: &mut Round) -> StorageResult<()> {
        let Some(d) = self.replicas.get_mut(&range) else { return Ok(()) };
        d.dirty = false;
        self.append_queued(range);
        self.role_changed(range);
        let Some(d) = self.replicas.get_mut(&range) else { return Ok(()) };
        if !d.group.has_effects() {
            return Ok(());
        }
        let effects = d.group.effects();
        if let Some(snapshot) = effects.snapshot {
            return self.begin_install(range, &snapshot, effects.messages_after_persist);
        }
        if !effects.entries.is_empty() {
            round.write.ops.push((range, LogOp::Append(effects.entries)));
        }
        if let Some(hard_state) = effects.hard_state {
            round.write.ops.push((range, LogOp::SetHardState(hard_state)));
        }
        round.sync |= effects.must_sync;
        round.persisted.push((range, effects.number));
        if !effects.messages_after_persist.is_empty() {
            round.after.push((range, effects.messages_after_persist));
        }
        if !effects.committed.is_empty() {
            round.committed.push((range, effects.committed));
        }
        self.route(range, effects.messages);
        Ok(())
    }

    fn append_queued(&mut self, range: RangeId) {
        let Some(d) = self.replicas.get_mut(&range) else { return };
        if d.proposals.queued.is_empty() || d.group.is_applying_snapshot() {
            return;
        }
        let queued = std::mem::take(&mut d.proposals.queued);
        let (first, term) = (d.group.last_index() + 1, d.group.term());
        let (entries, waiting): (Vec<_>, Vec<_>) = queued.into_iter().map(|q| (q.entry, q.done)).unzip();
        // Queued under the lease of a term: if that has passed in the meantime, the lease is gone.
        let held = d.replica.lease.held().is_some_and(|lease| lease.term == term);
        let result = if held { d.group.step(Event::Propose(entries)) } else { Err(Refused::NotLeader) };
        let refusal = match result {
            Ok(()) => {
                for (index, done) in (first..).zip(waiting) {
                    d.proposals.appended(index, term, done);
                }
                self.awake.insert(range);
                return;
            }
            Err(Refused::Overloaded) => StorageError::Overloaded { range },
            Err(_) => StorageError::NotLeaseholder { range, leader: None },
        };
        for done in waiting {
            answer(done, Err(refusal.clone()));
        }
    }

    /// Sends a replica's messages to the nodes where their receivers live.
    pub(super) fn route(&mut self, range: RangeId, messages: Vec<Message>) {
        for m in messages {
            let Some(d) = self.replicas.get(&range) else { return };
            let to = ReplicaId(m.to);
            let Some(node) = d.node_of(to) else { continue };
            if m.get_msg_type() == MessageType::MsgSnapshot {
                self.send_snapshot(range, to, node, m);
                continue;
            }
            let promise = d.promise.filter(|p| p.node == node).map_or(0, |p| p.epoch);
            let Ok(bytes) = m.write_to_bytes() else {
                tracing::error!(%range, "a Raft message cannot be encoded");
                continue;
            };
            let votes =
                matches!(m.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote);
            let start = d.descriptor.as_ref().filter(|_| votes).map_or(Key::MIN, |x| x.start.clone());
            let (from, message) = (d.group.id(), bytes.into());
            self.send(node, Envelope::Raft(RaftEnvelope { range, from, to, promise, start, message }));
        }
    }

    pub(super) async fn apply_entry(&mut self, range: RangeId, entry: Entry) -> StorageResult<()> {
        if !self.replicas.contains_key(&range) {
            // It was taken in, or removed, earlier in the round: nothing of it may be written after its tombstone.
            return Ok(());
        }
        self.counters.applied_entries += 1;
        let (index, term) = (entry.index, entry.term);
        match entry.get_entry_type() {
            EntryType::EntryNormal if entry.data.is_empty() => {
                // A new leader's first entry; or a configuration change that raft-rs would not have now.
                self.outcomes.push((range, index, term, Err(StorageError::Overloaded { range })));
                self.apply.applied(range, index, term);
                Ok(())
            }
            EntryType::EntryNormal => self.apply_command(range, index, term, entry.data).await,
            _ => self.apply_configuration(range, entry).await,
        }
    }

    async fn apply_command(
        &mut self,
        range: RangeId,
        index: u64,
        term: u64,
        data: bytes::Bytes,
    ) -> StorageResult<()> {
        let logged = command::decode(data)?;
        let logged = match logged.trigger {
            Some(Trigger::Split { left, right }) => {
                return self.apply_split(range, (index, term), left, right, &logged.batch);
            }
            Some(Trigger::Mark { descriptor }) => {
                return self.apply_mark(range, (index, term), descriptor).await;
            }
            Some(Trigger::Merge { left, right, until }) => {
                return self.apply_merge(range, (index, term), left, &right, until);
            }
            _ => logged,
        };
        let Some(d) = self.replicas.get_mut(&range) else { return Ok(()) };
        let (Some(bounds), Some(descriptor)) = (&d.bounds, &d.descriptor) else {
            return Err(StorageError::Corruption(format!("{range} applies entries but has no descriptor")));
        };
        if descriptor.is_frozen() {
            self.apply.applied(range, index, term);
            let refused = StorageError::NotLeaseholder { range, leader: None };
            self.outcomes.push((range, index, term, Err(refused)));
            return Ok(());
        }
        let admitted = self.apply.add(bounds, &logged.batch)?;
        self.apply.applied(range, index, term);
        if !admitted {
            let mismatch = StorageError::RangeMismatch { range, key: descriptor.end.clone() };
            self.outcomes.push((range, index, term, Err(mismatch)));
            return Ok(());
        }
        match logged.trigger {
            Some(Trigger::RaiseGcThreshold { to }) => {
                // A new leaseholder may know of older transactions: what was dropped for the last one is gone all the same.
                let to = to.max(d.replica.gc_threshold());
                crate::apply::state::put_gc_threshold(self.apply.writes(), range, to);
                d.replica.set_gc_threshold(to);
            }
            Some(Trigger::Truncate { index }) => d.truncate_wish = d.truncate_wish.max(index),
            Some(
                Trigger::ChangeReplicas { .. }
                | Trigger::Split { .. }
                | Trigger::Mark { .. }
                | Trigger::Merge { .. },
            ) => {
                return Err(StorageError::Corruption(format!("{range}: entry {index} is no plain command")));
            }
            None => {}
        }
        self.outcomes.push((range, index, term, Ok(())));
        Ok(())
    }

    /// Writes what has gathered to the engine; then it is true, and the proposers hear of it.
    pub(super) fn finish_apply(&mut self) -> StorageResult<()> {
        self.apply.write(&*self.parts.engine)?;
        let outcomes = std::mem::take(&mut self.outcomes);
        let mut rest = outcomes.into_iter().peekable();
        while let Some((range, index, term, result)) = rest.next() {
            if let Some(done) =
                self.replicas.get_mut(&range).and_then(|d| d.proposals.applied(range, index, term))
            {
                answer(done, result);
            }
            if rest.peek().is_none_or(|(next, ..)| *next != range) {
                self.step(range, Event::Applied { index, term });
                self.entry_of_term_applied(range, term);
            }
        }
        Ok(())
    }
}
