//! What the leaseholder of a range that is about to be merged asks the right side, and what nodes answer. See `merge`.
//!
//! What must stay true:
//! - *Whole* and *Frozen* are said only where the left range is as it was when the attempt began: neither a split nor a change
//!   of replicas is still to come there. So every node that has said *Frozen* has both sides until it has merged them.
//! - *Frozen*: the freeze is applied here, so this node holds no lease of the right range and never will again in this attempt;
//!   and its clock, which comes with the answer, is above everything that it served.
//! - *Free*: the attempt has not frozen the range, or does no longer, and never will. The generation for which the freeze is
//!   made has passed; or this node, which had a replica in that generation, has been removed since.
//! - Answers are kept per attempt; later ones say more than earlier ones, in whatever order they come.

use std::collections::BTreeMap;
use std::time::Duration;

use raft::eraftpb::Entry;

use super::core::StoreCore;
use super::merge::next;
use super::transport::{Envelope, MergeAttempt, RightState, Wish};
use crate::apply::command;
use crate::base::{NodeId, RangeId, StorageError, StorageResult};
use crate::engine::WriteBatch;
use crate::group::Event;
use crate::probe;
use crate::replica::{Command, Merging, RangeDescriptor, Trigger};

/// Longer than an attempt.
const GOOD_FOR: Duration = Duration::from_secs(2);

/// What is known of the right side, by node.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    of: MergeAttempt,
    /// On the monotonic clock. Answers are good for some time only: a node may have gone since.
    asked_at: Duration,
    /// Of each node that has a replica.
    by_node: BTreeMap<NodeId, Option<RightState>>,
}

impl Answers {
    pub fn all_answered(&self) -> bool {
        self.by_node.values().all(|s| s.is_some())
    }

    pub fn all_frozen(&self) -> bool {
        self.by_node.values().all(|s| *s == Some(RightState::Frozen))
    }

    pub fn any_free(&self) -> bool {
        self.by_node.values().any(|s| *s == Some(RightState::Free))
    }
}

impl StoreCore {
    /// Asks every node that has not said all there is to say; what is known by now.
    pub(super) fn ask_right(&mut self, of: MergeAttempt, wish: Wish) -> StorageResult<Answers> {
        let not_here = StorageError::RangeNotFound { range: of.left };
        let left = self.replicas.get(&of.left).and_then(|d| d.descriptor.clone()).ok_or(not_here)?;
        let now = self.now;
        if self.merges.get(&of.left).is_none_or(|known| known.of != of || now > known.asked_at + GOOD_FOR) {
            let by_node = left.replicas.iter().map(|r| (r.node, None)).collect();
            self.merges.insert(of.left, Answers { of, asked_at: now, by_node });
        }
        let own = self.right_side(of, wish);
        let node = self.node;
        self.note_right(node, of, own);
        let answers = self.merges.get(&of.left).cloned().unwrap_or_default();
        let enough = |s: &Option<RightState>| match wish {
            Wish::Tell | Wish::Freeze => *s == Some(RightState::Frozen),
            Wish::LetGo => false,
        };
        for (to, _) in answers.by_node.iter().filter(|(to, s)| **to != node && !enough(s)) {
            self.send(*to, Envelope::AskRight { of, wish });
        }
        Ok(answers)
    }

    pub(super) fn asked_for_right(&mut self, from: NodeId, of: MergeAttempt, wish: Wish) {
        if let Some(state) = self.right_side(of, wish) {
            self.send(from, Envelope::RightIs { of, state });
        }
    }

    pub(super) fn note_right(&mut self, node: NodeId, of: MergeAttempt, state: Option<RightState>) {
        if let Some(known) = self.merges.get_mut(&of.left).filter(|known| known.of == of)
            && let Some(known) = known.by_node.get_mut(&node)
        {
            *known = (*known).max(state);
        }
    }

    /// What this node can say, having done what it can.
    fn right_side(&mut self, of: MergeAttempt, wish: Wish) -> Option<RightState> {
        let Some(d) = self.replicas.get(&of.right) else {
            return self.tombstones.contains_key(&of.right).then_some(RightState::Free);
        };
        let current = d.descriptor.clone()?;
        let frozen = Merging::Frozen { left: of.left, attempt: of.attempt };
        let state = match current.merging {
            merging if merging == frozen => RightState::Frozen,
            _ if current.generation > of.generation => return Some(RightState::Free),
            _ => RightState::Whole,
        };
        let in_time = current.generation == of.generation;
        match (wish, state) {
            (Wish::Freeze, RightState::Whole) if in_time => self.propose_mark(&current, frozen),
            (Wish::LetGo, RightState::Frozen) => self.propose_mark(&current, Merging::No),
            // A freeze that is still under way will come too late.
            (Wish::LetGo, RightState::Whole) if in_time => self.propose_mark(&current, Merging::No),
            // Whoever asks waits for the others to hear of it.
            (Wish::Tell, RightState::Frozen) if d.group.is_leader() => self.step(of.right, Event::Ping),
            _ => {}
        }
        let known = self.replicas.get(&of.left).and_then(|d| d.descriptor.as_ref());
        if known.is_none_or(|left| left.generation + 1 < of.attempt) {
            probe!("merge: the left side is not here as it is elsewhere");
            return None;
        }
        // What was served before a restart may be above the clock still.
        (self.hlc > self.bound_until && self.hlc > self.clock_lost_until).then_some(state)
    }

    /// Proposes without a lease, which a frozen range never has: generations keep it in its place.
    fn propose_mark(&mut self, current: &RangeDescriptor, merging: Merging) {
        let range: RangeId = current.range;
        let Some(d) = self.replicas.get_mut(&range) else { return };
        if !d.group.is_leader() || d.group.is_applying_snapshot() || d.transfer.is_some() {
            return;
        }
        let trigger = Some(Trigger::Mark { descriptor: next(current, merging) });
        let command = command::encode(&Command { term: 0, batch: WriteBatch::new(), trigger });
        let entry = Entry { data: command.into(), ..Entry::default() };
        if d.group.step(Event::Propose(vec![entry])).is_ok() {
            self.awake.insert(range);
            self.mark(range);
        }
    }
}
