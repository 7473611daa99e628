//! One Raft group, as a state machine without I/O: [`Group::step`] takes an event, [`Group::effects`] says what has
//! to be done about all events since the last call. It reads no clock, opens no file but through the log it was
//! given to read from, and spawns nothing. raft-rs does the thinking; this module fixes how it is driven.
//!
//! What must stay true:
//!
//! 1. **Effects are carried out in order.** `entries` and `hard_state` go to the log store in the order in which
//!    they were handed out; `messages_after_persist` leave only when they, and all before them, are durable;
//!    `messages` may leave at once (a leader replicates while its own disk is still syncing).
//! 2. **[`Event::Persisted`] is the truth.** It is stepped only when the log store has made that many effects
//!    durable. raft-rs counts this replica towards a quorum from then on, and hands out committed entries only up
//!    to there, so whatever is applied is in the local log.
//! 3. **The commit index is written lazily.** It is stored only together with entries, a vote or a term. At start
//!    it is raised to the applied index. A replica that restarts with a commit index that is too low learns the
//!    right one from its leader, or commits what its log holds when it wins an election. Only where something rests on
//!    it - a change of configuration, a split - the store writes it itself, before it is applied.
//! 4. **raft-rs's own clocks are not used by followers.** Elections are started by [`Event::Campaign`], votes are
//!    admitted or dropped by the store before they are stepped (see `replica::lease` for the promises behind
//!    that), and ticks reach leaders only: they send heartbeats to whoever lags and make a leader step down that
//!    has lost its quorum. So raft-rs's thread-local randomness decides nothing, and an idle group costs nothing.
//! 5. **The configuration is the descriptor.** See `configuration`.
//!
//! Events come in bursts, so `effects` is separate from `step`: one set of effects, one log write and one message
//! per follower for all proposals of a turn.

mod configuration;
mod logger;
mod storage;

use std::sync::Arc;

use raft::eraftpb::{ConfChangeV2, Entry, Message, MessageType, Snapshot};
use raft::{Config, ProgressState, RawNode, SnapshotStatus, StateRole};

use crate::base::planted::{self, Planted};
use crate::base::{RangeId, ReplicaId, StorageError, StorageResult};
use crate::log::{HardState, LogEntry, LogState, LogStore};
use crate::probe;
use crate::replica::RangeDescriptor;

pub use configuration::{NotOneStep, change_between, conf_state};
pub use storage::GroupStorage;
pub use storage::{to_log, to_raft};

/// Ticks of a leader between heartbeats to followers that lag.
const HEARTBEAT_TICKS: usize = 2;
/// Ticks after which a leader that has not heard from a quorum steps down.
const ELECTION_TICKS: usize = 20;
const MAX_BYTES_PER_MESSAGE: u64 = 1 << 20;
const MAX_UNCOMMITTED_BYTES: u64 = 64 << 20;
const MAX_COMMITTED_BYTES_PER_EFFECTS: u64 = 16 << 20;
const MAX_INFLIGHT_MESSAGES: usize = 256;

/// What can happen to a group.
#[derive(Debug)]
pub enum Event {
    /// From another replica. Votes must have been admitted by the store.
    Message(Message),
    /// Entries to append, in order, if this replica leads: the first gets index [`Group::last_index`]` + 1`.
    Propose(Vec<Entry>),
    /// Heartbeats and the leader's quorum check; for leaders.
    Tick,
    /// An immediate heartbeat to all followers, which carries the commit index; for leaders.
    Ping,
    Campaign(Campaign),
    /// Hands leadership over. The store must have stopped serving.
    TransferTo(ReplicaId),
    /// Gives leadership up without raising the term.
    StepDown,
    /// The effects with this number, and all before, are durable.
    Persisted(u64),
    /// Entries up to this index are in the engine.
    Applied {
        index: u64,
        term: u64,
    },
    /// The fate of a snapshot that [`Effects::messages`] announced.
    SnapshotSent {
        to: ReplicaId,
        ok: bool,
    },
}

/// How to stand for election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Campaign {
    /// Asks first whether the others would vote: a node that was cut off disturbs nobody.
    PreVote,
    /// At once, for the right-hand side of a split, whose others are bound to whoever led the left one.
    AtOnce,
}

/// Why an event had no effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Not the leader, or handing leadership over.
    NotLeader,
    /// Too much is proposed and not yet committed.
    Overloaded,
    /// A message that does not concern this replica.
    Ignored,
}

/// What is to be done, in the order of the fields.
#[derive(Debug, Default)]
pub struct Effects {
    pub number: u64,
    /// May leave before anything is persisted.
    pub messages: Vec<Message>,
    /// Replace whatever the log holds at or above the first.
    pub entries: Vec<LogEntry>,
    pub hard_state: Option<HardState>,
    /// Whether the write must be durable before `messages_after_persist` leave and `Persisted` is stepped.
    pub must_sync: bool,
    pub messages_after_persist: Vec<Message>,
    pub committed: Vec<Entry>,
    /// Replaces the whole state. While it is being applied the group must not be stepped; then
    /// [`Group::snapshot_applied`].
    pub snapshot: Option<Snapshot>,
}

/// How far a replica has come, as its leader knows.
#[derive(Clone, Copy, Debug)]
pub struct Standing {
    pub matched: u64,
    pub committed: u64,
    pub in_snapshot: bool,
    /// It has installed the snapshot that is being sent, and what said so was lost.
    pub has_snapshot: bool,
    pub recently_active: bool,
}

pub struct Group {
    raw: RawNode<GroupStorage>,
    /// The commit index in the last hard state handed out to be written.
    written_commit: u64,
    /// A snapshot that was handed out and is not applied yet.
    pending_snapshot: Option<raft::Ready>,
}

impl Group {
    /// A group found in the log store. `descriptor` is the applied one, or `None` for a replica that waits for its
    /// first snapshot.
    pub fn new(
        range: RangeId,
        id: ReplicaId,
        log: Arc<dyn LogStore>,
        state: LogState,
        applied: (u64, u64),
        descriptor: Option<&RangeDescriptor>,
    ) -> StorageResult<Self> {
        if applied.0 < state.truncated.0 || applied.0 > state.last_index {
            return Err(StorageError::Corruption(format!(
                "{range} has applied up to {}, but its log holds ({}, {}]",
                applied.0, state.truncated.0, state.last_index
            )));
        }
        let config = Config {
            id: id.0,
            election_tick: ELECTION_TICKS,
            // A range of one value: raft-rs draws from it, and learns nothing.
            min_election_tick: ELECTION_TICKS,
            max_election_tick: ELECTION_TICKS + 1,
            heartbeat_tick: HEARTBEAT_TICKS,
            applied: applied.0,
            max_size_per_msg: MAX_BYTES_PER_MESSAGE,
            max_inflight_msgs: MAX_INFLIGHT_MESSAGES,
            check_quorum: true,
            pre_vote: true,
            // raft-rs 0.7 would put the entries for a follower that has fallen back into a message without any that stands
            // further on: the follower would then claim entries that it does not have, and the leader count them.
            batch_append: false,
            // The commit index rides on the next append or heartbeat: half as many messages.
            skip_bcast_commit: true,
            max_uncommitted_size: MAX_UNCOMMITTED_BYTES,
            max_committed_size_per_ready: MAX_COMMITTED_BYTES_PER_EFFECTS,
            ..Config::default()
        };
        let conf = descriptor.map(conf_state).unwrap_or_default();
        let written_commit = state.hard_state.commit;
        let storage = GroupStorage::new(range, log, state, applied, conf);
        let raw = RawNode::new(&config, storage, &logger::logger())
            .map_err(|e| StorageError::Corruption(format!("{range} cannot start: {e}")))?;
        Ok(Group { raw, written_commit, pending_snapshot: None })
    }

    pub fn step(&mut self, event: Event) -> Result<(), Refused> {
        assert!(self.pending_snapshot.is_none(), "a group is not stepped while it applies a snapshot");
        if self.holds_snapshot() && matches!(event, Event::Message(_) | Event::Campaign(_)) {
            // What follows a snapshot has to find its state in place. Whoever sent it sends it again.
            probe!("snapshot: a message comes before it is applied");
            return Err(Refused::Ignored);
        }
        match event {
            Event::Message(m) => return self.step_message(m),
            Event::Propose(entries) => return self.propose(entries),
            Event::Tick => {
                self.raw.tick();
            }
            Event::Ping => self.raw.ping(),
            Event::Campaign(Campaign::PreVote) => {
                self.raw.campaign().map_err(|_| Refused::Ignored)?;
            }
            Event::Campaign(Campaign::AtOnce) => {
                if self.raw.raft.promotable() && !self.is_leader() {
                    self.raw.raft.campaign(raft::CAMPAIGN_ELECTION);
                }
            }
            Event::TransferTo(to) => self.raw.transfer_leader(to.0),
            Event::StepDown => {
                let term = self.term();
                self.raw.raft.become_follower(term, raft::INVALID_ID);
            }
            Event::Persisted(number) => {
                self.raw.on_persist_ready(number);
                if planted::is(Planted::AckBeforeMajority) && self.is_leader() {
                    let log = &mut self.raw.raft.raft_log;
                    log.commit_to(log.persisted);
                }
            }
            Event::Applied { index, term } => {
                self.raw.mut_store().applied_to(index, term);
                self.raw.advance_apply_to(index);
            }
            Event::SnapshotSent { to, ok } => {
                let status = if ok { SnapshotStatus::Finish } else { SnapshotStatus::Failure };
                self.raw.report_snapshot(to.0, status);
            }
        }
        Ok(())
    }

    fn step_message(&mut self, m: Message) -> Result<(), Refused> {
        if matches!(m.get_msg_type(), MessageType::MsgRequestVote | MessageType::MsgRequestPreVote) {
            // raft-rs would judge by ticks, which followers do not get. The store has judged by promises.
            let elapsed = std::mem::replace(&mut self.raw.raft.election_elapsed, ELECTION_TICKS);
            let result = self.raw.step(m);
            if self.is_leader() {
                // For a leader they are also the time until it asks who is there.
                self.raw.raft.election_elapsed = elapsed;
            }
            return result.map_err(|_| Refused::Ignored);
        }
        // A follower would pass a proposal on to its leader; commands are proposed where they were evaluated.
        if m.get_msg_type() == MessageType::MsgPropose {
            return Err(Refused::Ignored);
        }
        self.raw.step(m).map_err(|_| Refused::Ignored)
    }

    fn propose(&mut self, entries: Vec<Entry>) -> Result<(), Refused> {
        if !self.is_leader() || self.raw.raft.lead_transferee.is_some() {
            return Err(Refused::NotLeader);
        }
        let mut m = Message::default();
        m.set_msg_type(MessageType::MsgPropose);
        m.from = self.raw.raft.id;
        m.set_entries(entries.into());
        self.raw.raft.step(m).map_err(|_| Refused::Overloaded)
    }

    /// Takes over a configuration that has been applied.
    pub fn apply_configuration(
        &mut self,
        change: &ConfChangeV2,
        descriptor: &RangeDescriptor,
    ) -> StorageResult<()> {
        let state = self.raw.apply_conf_change(change).map_err(|e| {
            StorageError::Corruption(format!("{}: configuration change: {e}", descriptor.range))
        })?;
        let expected = conf_state(descriptor);
        if !raft_state_eq(&state, &expected) {
            return Err(StorageError::Corruption(format!(
                "{}: the configuration {state:?} is not that of the descriptor, {expected:?}",
                descriptor.range
            )));
        }
        self.raw.mut_store().set_conf_state(state);
        Ok(())
    }

    /// Whether there is anything to do. False while a snapshot is being applied.
    pub fn has_effects(&self) -> bool {
        self.pending_snapshot.is_none() && self.raw.has_ready()
    }

    /// What has to be done about everything that was stepped since the last call.
    pub fn effects(&mut self) -> Effects {
        let mut ready = self.raw.ready();
        let mut effects = Effects {
            number: ready.number(),
            messages: ready.take_messages(),
            messages_after_persist: ready.take_persisted_messages(),
            committed: ready.take_committed_entries(),
            must_sync: ready.must_sync(),
            ..Effects::default()
        };
        let entries = ready.take_entries();
        if ready.must_sync() {
            let hs = self.raw.raft.hard_state();
            if ready.hs().is_some() || hs.commit > self.written_commit {
                self.written_commit = hs.commit;
                effects.hard_state = Some(HardState { term: hs.term, vote: hs.vote, commit: hs.commit });
            }
        }
        if !ready.snapshot().is_empty() {
            effects.snapshot = Some(ready.snapshot().clone());
            assert!(entries.is_empty(), "a group that holds a snapshot takes no entries");
            self.pending_snapshot = Some(ready);
            return effects;
        }
        effects.entries = entries.iter().map(to_log).collect();
        self.raw.mut_store().append(&entries);
        self.raw.advance_append_async(ready);
        effects
    }

    /// The snapshot in the last effects, and the hard state with it, are in the engine and in the log.
    pub fn snapshot_applied(&mut self, index: u64, term: u64, descriptor: &RangeDescriptor) {
        let ready = self.pending_snapshot.take().expect("a snapshot is being applied");
        let number = ready.number();
        self.raw.mut_store().reset(index, term, conf_state(descriptor));
        self.raw.advance_append_async(ready);
        self.raw.on_persist_ready(number);
        self.raw.advance_apply_to(index);
    }

    /// Whether a snapshot was taken from a message and waits to be applied.
    pub fn holds_snapshot(&self) -> bool {
        self.raw.snap().is_some_and(|s| !s.is_empty())
    }

    pub fn is_applying_snapshot(&self) -> bool {
        self.pending_snapshot.is_some()
    }

    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    pub fn id(&self) -> ReplicaId {
        ReplicaId(self.raw.raft.id)
    }

    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    pub fn leader(&self) -> Option<ReplicaId> {
        let id = self.raw.raft.leader_id;
        (id != raft::INVALID_ID).then_some(ReplicaId(id))
    }

    pub fn hard_state(&self) -> HardState {
        let hs = self.raw.raft.hard_state();
        HardState { term: hs.term, vote: hs.vote, commit: hs.commit }
    }

    pub fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    pub fn committed(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    pub fn applied(&self) -> (u64, u64) {
        self.raw.store().applied()
    }

    pub fn truncated(&self) -> (u64, u64) {
        self.raw.store().truncated()
    }

    /// The term of a stored entry.
    pub fn entry_term(&self, index: u64) -> Option<u64> {
        self.raw.raft.raft_log.term(index).ok().filter(|t| *t > 0)
    }

    /// Entries up to `index` may be forgotten; the caller writes the truncation to the log store.
    pub fn truncated_to(&mut self, index: u64, term: u64) {
        self.raw.mut_store().truncated_to(index, term);
    }

    /// Whether this replica's vote alone is a quorum.
    pub fn is_only_voter(&self) -> bool {
        self.raw.raft.prs().is_singleton() && self.raw.raft.promotable()
    }

    pub fn is_voter(&self) -> bool {
        self.raw.raft.promotable()
    }

    pub fn has_pending_configuration(&self) -> bool {
        self.raw.raft.has_pending_conf()
    }

    pub fn is_transferring(&self) -> bool {
        self.raw.raft.lead_transferee.is_some()
    }

    /// What the leader knows of a replica.
    pub fn standing(&self, of: ReplicaId) -> Option<Standing> {
        if !self.is_leader() {
            return None;
        }
        self.raw.raft.prs().get(of.0).map(|p| Standing {
            matched: p.matched,
            committed: p.committed_index,
            in_snapshot: p.state == ProgressState::Snapshot,
            has_snapshot: p.state == ProgressState::Snapshot && p.committed_index >= p.pending_snapshot,
            recently_active: p.recent_active,
        })
    }
}

fn raft_state_eq(a: &raft::eraftpb::ConfState, b: &raft::eraftpb::ConfState) -> bool {
    let sorted = |ids: &[u64]| {
        let mut v = ids.to_vec();
        v.sort_unstable();
        v
    };
    sorted(&a.voters) == sorted(&b.voters)
        && sorted(&a.learners) == sorted(&b.learners)
        && sorted(&a.voters_outgoing) == sorted(&b.voters_outgoing)
}

#[cfg(test)]
mod tests;
