//! Answers for replicas that are not here yet: their log is empty, and may have given a vote.
//!
//! A range that splits off has a replica on every node of its left side, but a node that got the left side as a
//! snapshot, after the split, has nothing of the right one until a leader of it sends a snapshot too. With one of the
//! others lost, that leader cannot be elected without the vote that is missing: so it is given here, as raft-rs would
//! with an empty log, behind which nobody is.
//!
//! What must stay true:
//! - One vote in a term: the log store remembers it, synced before the answer leaves, and the replica begins with it,
//!   whether it comes by split or by snapshot. What an earlier replica of the range, since removed, has left in the log
//!   is not its vote; and one that followed such a replica came as a learner, with a snapshot.
//! - Who still holds the keys of the range as part of another one does not vote: the split will make the replica, bound
//!   to whom the left side is bound to (see `split`).
//! - Who has forgotten promises does not vote.

use std::collections::BTreeMap;

use protobuf::Message as _;
use raft::eraftpb::{Message, MessageType};

use super::core::StoreCore;
use super::transport::{Envelope, RaftEnvelope};
use crate::base::{Key, NodeId, RangeId, StorageResult};
use crate::log::{HardState, LogBatch, LogOp, LogState};
use crate::probe;

/// What is to be made durable and then sent, for all absent replicas of a turn together.
#[derive(Default)]
pub(super) struct Answers {
    votes: BTreeMap<RangeId, HardState>,
    messages: Vec<(NodeId, RaftEnvelope)>,
}

impl StoreCore {
    /// Looks again at messages for ranges that were not here when they came.
    pub(super) async fn retry_deferred(&mut self) -> StorageResult<()> {
        let mut answers = Answers::default();
        for (from, e) in std::mem::take(&mut self.deferred) {
            self.receive_raft(from, e, Some(&mut answers))?;
        }
        self.send_answers(answers).await
    }

    async fn send_answers(&mut self, answers: Answers) -> StorageResult<()> {
        if !answers.votes.is_empty() {
            let ops = answers.votes.into_iter().map(|(range, vote)| (range, LogOp::SetHardState(vote)));
            self.write_log(&LogBatch { ops: ops.collect() }, true).await?;
        }
        for (to, e) in answers.messages {
            self.send(to, Envelope::Raft(e));
        }
        Ok(())
    }

    /// What is remembered of a replica that is not here.
    pub(super) fn absent_log(&self, range: RangeId) -> StorageResult<LogState> {
        if self.tombstones.contains_key(&range) {
            return Ok(LogState::default());
        }
        Ok(self.parts.log.state(range)?.unwrap_or_default())
    }

    pub(super) fn receive_for_absent(
        &mut self,
        from: NodeId,
        e: RaftEnvelope,
        m: &Message,
        answers: Option<&mut Answers>,
    ) -> StorageResult<()> {
        match answers {
            None => self.deferred.push((from, e)),
            Some(answers) => self.answer_for_absent(from, &e, m, answers)?,
        }
        Ok(())
    }

    /// Somebody speaks to a replica that is not here. A leader is told that the log is empty, so that it sends a snapshot;
    /// a candidate may be given the vote; whoever is in an earlier term than the one remembered hears of it.
    fn answer_for_absent(
        &self,
        from: NodeId,
        e: &RaftEnvelope,
        m: &Message,
        answers: &mut Answers,
    ) -> StorageResult<()> {
        let log = self.absent_log(e.range)?;
        let known = *answers.votes.get(&e.range).unwrap_or(&log.hard_state);
        let kind = m.get_msg_type();
        // A leader of an earlier term steps down when it hears of a later one, whatever the answer.
        let mut answer = Message { term: m.term.max(known.term), ..Message::default() };
        match kind {
            MessageType::MsgAppend => {
                probe!("absent replica: asks for a snapshot");
                answer.set_msg_type(MessageType::MsgAppendResponse);
                answer.index = m.index;
                answer.reject = true;
            }
            MessageType::MsgHeartbeat => answer.set_msg_type(MessageType::MsgHeartbeatResponse),
            MessageType::MsgRequestPreVote | MessageType::MsgRequestVote => {
                let asks_only = kind == MessageType::MsgRequestPreVote;
                let free = m.term > known.term
                    || !asks_only && m.term == known.term && (known.vote == 0 || known.vote == m.from);
                let gives = free && log.last_index == 0 && self.is_unbound_without(e.range, &e.start);
                if free && !gives {
                    probe!("absent replica: does not vote");
                    return Ok(());
                }
                if gives && !asks_only {
                    probe!("absent replica: votes");
                    answers.votes.insert(e.range, HardState { term: m.term, vote: m.from, commit: 0 });
                }
                answer.reject = !gives;
                answer.set_msg_type(if asks_only {
                    MessageType::MsgRequestPreVoteResponse
                } else {
                    MessageType::MsgRequestVoteResponse
                });
            }
            _ => return Ok(()),
        }
        (answer.from, answer.to) = (m.to, m.from);
        let Ok(bytes) = answer.write_to_bytes() else { return Ok(()) };
        let answer = RaftEnvelope {
            range: e.range,
            from: e.to,
            to: e.from,
            promise: 0,
            start: Key::MIN,
            message: bytes.into(),
        };
        answers.messages.push((from, answer));
        Ok(())
    }

    /// Whether nothing binds this store, or is served by it, that might bind the replica of a range that begins at `start`,
    /// were it here.
    pub(super) fn is_unbound_without(&self, range: RangeId, start: &Key) -> bool {
        let mut here = self.replicas.values().filter_map(|d| d.descriptor.as_ref());
        self.hlc > self.bound_until
            && !self.tombstones.contains_key(&range)
            && !here.any(|x| x.span().contains(start))
    }
}
