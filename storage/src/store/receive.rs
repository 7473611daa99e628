//! What arrives from other stores.
//!
//! Questions about the time are answered first, whatever the clocks say: it may be this node's that is wrong. Then the
//! sender's clock is looked at. A batch from a clock that is too far ahead is dropped whole: a leader elected by it could
//! start its lease in our past.

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use super::absent::Answers;
use super::core::StoreCore;
use super::transport::{Envelope, MessageBatch, RaftEnvelope};
use crate::apply::state::ABSORBED;
use crate::base::{NodeId, RangeId, ReplicaId, StorageResult};
use crate::group::Event;
use crate::probe;
use crate::replica::RangeDescriptor;

impl StoreCore {
    pub(super) fn receive(&mut self, batch: MessageBatch) -> StorageResult<()> {
        if batch.to != self.node || batch.from == self.node {
            return Ok(());
        }
        self.note_peers()?;
        self.receive_time(&batch);
        if let Err(e) = self.parts.clock.update(batch.clock) {
            probe!("clock: messages dropped, their clock is too far ahead");
            tracing::warn!(from = %batch.from, "messages dropped: {e}");
            return Ok(());
        }
        for envelope in batch.envelopes {
            self.receive_one(batch.from, envelope)?;
        }
        Ok(())
    }

    fn receive_one(&mut self, from: NodeId, envelope: Envelope) -> StorageResult<()> {
        match envelope {
            Envelope::Raft(e) => self.receive_raft(from, e, None)?,
            Envelope::Heartbeat(h) => {
                let (support, restarted) = self.liveness.on_heartbeat(from, h, self.hlc);
                if restarted {
                    probe!("lease: the node of a leader has restarted");
                    self.support_withdrawn(from);
                    self.snapshots.on_restart(from);
                }
                self.send(from, Envelope::Support(support));
            }
            Envelope::Support(s) => {
                if self.liveness.on_support(from, s, self.now, self.hlc) {
                    self.supported_anew(from);
                }
            }
            Envelope::Probe(_) | Envelope::Echo(_) => {}
            Envelope::Removed(descriptor) => self.receive_removed(&descriptor)?,
            Envelope::StillMember { range, replica } => {
                if let Some(d) = self.replicas.get(&range).filter(|d| d.is_removed(replica))
                    && let Some(descriptor) = d.descriptor.clone()
                {
                    self.send(from, Envelope::Removed((*descriptor).clone()));
                } else if self.tombstones.get(&range) == Some(&ABSORBED) {
                    self.send(from, Envelope::Absorbed { range });
                }
            }
            Envelope::Absorbed { range } => self.receive_absorbed(range)?,
            Envelope::AskRight { of, wish } => self.asked_for_right(from, of, wish),
            Envelope::RightIs { of, state } => self.note_right(from, of, Some(state)),
            Envelope::HasRelinquished { range, replica, start } => {
                let parted = match self.replicas.get(&range) {
                    Some(d) => d.group.id() == replica && d.descriptor.is_some() && !d.group.is_leader(),
                    None => self.is_unbound_without(range, &start),
                };
                if self.tombstones.get(&range).is_some_and(|next| replica < *next) {
                    self.send(from, Envelope::Relinquished { range, replica });
                } else if parted {
                    probe!("lease: tells that a split is applied here");
                    self.send(from, Envelope::Parted { range, replica });
                }
            }
            Envelope::Relinquished { range, replica } => self.relinquished(from, range, replica),
            Envelope::Parted { range, replica } => self.parted(from, range, replica),
            Envelope::Chunk(chunk) => self.receive_chunk(from, chunk)?,
            Envelope::ChunkAnswer(answer) => self.snapshots.on_answer(answer),
        }
        Ok(())
    }

    /// A message of Raft. One for a range that is not here is put aside - the split that makes the range may be about to
    /// be applied - or, the second time, answered.
    pub(super) fn receive_raft(
        &mut self,
        from: NodeId,
        e: RaftEnvelope,
        answers: Option<&mut Answers>,
    ) -> StorageResult<()> {
        let Some(m) = decode(&e) else {
            tracing::warn!(%from, range = %e.range, "a malformed Raft message was dropped");
            return Ok(());
        };
        if self.tombstones.get(&e.range).is_some_and(|next| e.to < *next) {
            return Ok(());
        }
        let Some(d) = self.replicas.get_mut(&e.range) else {
            return self.receive_for_absent(from, e, &m, answers);
        };
        if e.to != d.group.id() {
            // A leader that speaks to a newer replica of this node has seen the older one leave.
            if e.to > d.group.id() && is_from_leader(&m) {
                self.destroy(e.range, e.to)?;
                return self.receive_for_absent(from, e, &m, answers);
            }
            return Ok(());
        }
        if d.node_of(e.from) != Some(from) {
            d.addresses.insert(e.from, from);
        }
        if d.group.is_applying_snapshot() || m.get_msg_type() == MessageType::MsgSnapshot {
            return Ok(());
        }
        self.step_raft(from, e, m);
        Ok(())
    }

    fn step_raft(&mut self, from: NodeId, e: RaftEnvelope, m: Message) {
        let Some(d) = self.replicas.get(&e.range) else { return };
        let kind = m.get_msg_type();
        if matches!(kind, MessageType::MsgRequestVote | MessageType::MsgRequestPreVote) {
            if d.is_removed(e.from) {
                if let Some(descriptor) = d.descriptor.clone() {
                    self.send(from, Envelope::Removed((*descriptor).clone()));
                }
                return;
            }
            if !self.admits_vote(d, from, &m) {
                // Somebody misses a leader: is the one that binds this replica still there?
                self.ask_leader(e.range);
                return;
            }
        }
        let (sender, term) = (m.from, m.term);
        self.step(e.range, Event::Message(m));
        self.note_promises(e.range, from, kind, sender, term, e.promise);
        // A message may change what a sleeping replica waits for.
        if !self.awake.contains(&e.range) && self.waits_for_something(e.range) {
            self.awake.insert(e.range);
        }
    }

    fn waits_for_something(&self, range: RangeId) -> bool {
        self.replicas.get(&range).is_some_and(|d| {
            d.group.leader().is_none()
                || !d.group.is_leader()
                    && d.promise.is_none_or(|p| self.liveness.epoch_for(p.node) != Some(p.epoch))
        })
    }

    /// A later descriptor: if it does not name the replica that is here, that was removed.
    pub(super) fn receive_removed(&mut self, current: &RangeDescriptor) -> StorageResult<()> {
        let Some(d) = self.replicas.get(&current.range) else { return Ok(()) };
        let Some(own) = &d.descriptor else { return Ok(()) };
        let id = d.group.id();
        let removed =
            current.generation > own.generation && id < current.next_replica && current.replica(id).is_none();
        if removed && !d.group.is_applying_snapshot() {
            self.destroy(current.range, ReplicaId(id.0 + 1))?;
        }
        Ok(())
    }
}

fn is_from_leader(m: &Message) -> bool {
    matches!(m.get_msg_type(), MessageType::MsgAppend | MessageType::MsgHeartbeat)
}

fn decode(e: &RaftEnvelope) -> Option<Message> {
    let mut m = Message::default();
    m.merge_from_bytes(&e.message).ok()?;
    (m.from == e.from.0 && m.to == e.to.0).then_some(m)
}
