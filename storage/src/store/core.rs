//! The core: everything a store knows and does, one turn at a time, in one thread.
//!
//! A turn: take the inbox, step the replicas concerned, tick what is due, then work off what came of it
//! (`progress`), then send. The core reads no clock of its own - monotonic time is passed in, hybrid time is read from
//! the node's clock - spawns nothing but snapshot transfers through the runtime it was given, and iterates over
//! ordered collections only, so that the same inputs give the same turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxHashMap;

use super::config::StoreConfig;
use super::driven::{Driven, Queued, answer};
use super::fence::Fenced;
use super::handle::Shared;
use super::inbox::{Input, Proposal};
use super::liveness::Liveness;
use super::progress::Outcome;
use super::right_side::Answers;
use super::snapshots::Snapshots;
use super::transport::{Envelope, MessageBatch, RaftTransport};
use super::watch::ClockWatch;
use crate::apply::ApplyBatch;
use crate::apply::state::Identity;
use crate::base::{NodeId, RangeId, Runtime, StorageError, StorageResult, Timestamp};
use crate::engine::{Engine, WriteBatch};
use crate::log::{LogBatch, LogStore};
use crate::probe;
use crate::replica::{RangeDescriptor, Replica, ReplicaObserver};

/// A batch of messages is closed when it has grown to this; a single message may be larger.
const MAX_BATCH_BYTES: usize = 2 << 20;

/// What a store is built on.
pub struct StoreParts {
    pub config: StoreConfig,
    pub engine: Arc<dyn Engine>,
    pub log: Arc<dyn LogStore>,
    pub clock: crate::base::Clock,
    pub runtime: Arc<dyn Runtime>,
    pub transport: Arc<dyn RaftTransport>,
    pub observer: Arc<dyn ReplicaObserver>,
}

pub struct StoreCore {
    pub(super) node: NodeId,
    pub(super) parts: StoreParts,
    pub(super) shared: Arc<Shared>,
    pub(super) replicas: FxHashMap<RangeId, Box<Driven>>,
    /// Replicas that were stepped and whose effects are not worked off.
    pub(super) dirty: Vec<RangeId>,
    /// Replicas that wait for time to pass.
    pub(super) awake: BTreeSet<RangeId>,
    /// Replica ids below these are dead on this store.
    pub(super) tombstones: BTreeMap<RangeId, crate::base::ReplicaId>,
    pub(super) liveness: Liveness,
    pub(super) clocks: ClockWatch,
    /// Since when the clock is fenced, and when leaderships are handed over next.
    pub(super) fenced: Option<Fenced>,
    pub(super) snapshots: Snapshots,
    pub(super) outbox: BTreeMap<NodeId, Vec<Envelope>>,
    /// Messages for ranges that are not here; looked at again when the turn has applied what it had.
    pub(super) deferred: Vec<(NodeId, super::transport::RaftEnvelope)>,
    pub(super) apply: ApplyBatch,
    /// Replicas that have committed entries which wait for another replica.
    pub(super) waiting: BTreeSet<RangeId>,
    /// What nodes have said of the right sides of merges, by the left side that is led here.
    pub(super) merges: BTreeMap<RangeId, Answers>,
    /// What became of entries that are in `apply`.
    pub(super) outcomes: Vec<Outcome>,
    /// What the machine's monotonic clock said last, and by how much it has gone back, ever.
    machine_now: Duration,
    leapt_back: Duration,
    /// Monotonic and hybrid time of this turn. Never goes back.
    pub(super) now: Duration,
    pub(super) hlc: Timestamp,
    /// Before this, this node may be bound by promises that it has forgotten.
    pub(super) bound_until: Timestamp,
    /// Before this, this node may have served what its clock has forgotten.
    pub(super) clock_lost_until: Timestamp,
    /// How long those two last, as long as it is not known what time it is.
    pub(super) unknown_until: Option<(Option<Duration>, Option<Duration>)>,
    /// When the clock is compared with others' again.
    pub(super) next_look: Duration,
    identity: Identity,
    pub(super) next_tick: Duration,
    pub(super) next_status: Duration,
    /// Who asked last whether it still belongs to its range, and when the next one asks.
    pub(super) membership_cursor: RangeId,
    pub(super) next_membership_check: Duration,
    pub(super) counters: Counters,
    inputs: Vec<Input>,
}

#[derive(Default)]
pub(super) struct Counters {
    pub proposals: u64,
    pub applied_entries: u64,
    pub log_syncs: u64,
    pub turns: u64,
    pub leases: usize,
}

impl StoreCore {
    pub(super) fn new(parts: StoreParts, shared: Arc<Shared>, identity: Identity) -> StoreCore {
        let (config, incarnation) = (&parts.config, identity.incarnation);
        let heartbeat_interval = config.heartbeat_interval;
        let liveness = Liveness::new(incarnation, heartbeat_interval, config.support_duration);
        StoreCore {
            node: shared.node,
            clocks: ClockWatch::new(shared.node, incarnation, heartbeat_interval),
            snapshots: Snapshots::new(config.max_snapshots, incarnation),
            parts,
            shared,
            fenced: None,
            replicas: FxHashMap::default(),
            dirty: Vec::new(),
            awake: BTreeSet::new(),
            tombstones: BTreeMap::new(),
            liveness,
            outbox: BTreeMap::new(),
            deferred: Vec::new(),
            apply: ApplyBatch::default(),
            waiting: BTreeSet::new(),
            merges: BTreeMap::new(),
            outcomes: Vec::new(),
            membership_cursor: RangeId(0),
            next_membership_check: Duration::ZERO,
            machine_now: Duration::ZERO,
            leapt_back: Duration::ZERO,
            now: Duration::ZERO,
            hlc: Timestamp::ZERO,
            bound_until: Timestamp::ZERO,
            clock_lost_until: Timestamp::ZERO,
            unknown_until: None,
            next_look: Duration::ZERO,
            identity,
            next_tick: Duration::ZERO,
            next_status: Duration::ZERO,
            counters: Counters::default(),
            inputs: Vec::new(),
        }
    }

    /// Does everything there is to do, and says how long the driver may wait for more. Waits only for a simulated disk.
    ///
    /// An error is a fault of the disk or corruption: the node must stop.
    pub async fn turn(&mut self, machine_now: Duration) -> StorageResult<Duration> {
        let now = self.pass_time(machine_now);
        self.hlc = self.parts.clock.now();
        self.shared.clock_floor.fetch_max(self.hlc.wall, std::sync::atomic::Ordering::Relaxed);
        self.counters.turns += 1;
        // After a start: what is known to be committed is applied before anything else is heard.
        self.progress().await?;
        for node in self.liveness.withdraw_expired(self.hlc) {
            self.support_withdrawn(node);
        }
        let mut inputs = std::mem::take(&mut self.inputs);
        self.shared.inbox.take(&mut inputs);
        for input in inputs.drain(..) {
            self.input(input).await?;
        }
        self.inputs = inputs;
        self.disk_done().await;
        self.watch_clock();
        if now >= self.next_tick {
            self.next_tick = now + self.parts.config.tick;
            self.tick()?;
        }
        self.progress().await?;
        self.retry_deferred().await?;
        self.progress().await?;
        self.heartbeats();
        self.flush_outbox();
        if now >= self.next_status {
            self.next_status = now + Duration::from_millis(500);
            self.publish_status();
        }
        Ok(self.wait())
    }

    /// The time of this turn. If the machine's monotonic clock has leapt, the fence goes up before anything is read from the node's
    /// clock; if it has leapt back, what is due at a time from before is due as if no time had passed.
    fn pass_time(&mut self, machine_now: Duration) -> Duration {
        let leapt_back = self.machine_now.saturating_sub(machine_now);
        (self.machine_now, self.leapt_back) = (machine_now, self.leapt_back + leapt_back);
        self.now = machine_now + self.leapt_back;
        if self.clocks.note_leap(self.now, &self.parts.clock) {
            probe!("clock: the monotonic clock has leapt, or the store stood still");
            self.next_look = self.now;
        }
        self.now
    }

    /// Writes to the log; what is to be synced is durable then. In the time of a simulated disk, that may take a while.
    pub(super) async fn write_log(&mut self, batch: &LogBatch, sync: bool) -> StorageResult<()> {
        self.parts.log.write(batch, sync)?;
        if sync {
            self.disk_done().await;
        }
        Ok(())
    }

    /// Until the disk has done what was asked of it. Nothing that rests on it may leave before.
    async fn disk_done(&mut self) {
        while let Some(rest) = self.parts.log.busy_for() {
            self.parts.runtime.sleep(rest).await;
        }
    }

    /// Notes durably, once, that there are other stores: their clocks move this node's from now on.
    pub(super) fn note_peers(&mut self) -> StorageResult<()> {
        if !self.identity.peered {
            self.identity.peered = true;
            let mut batch = WriteBatch::new();
            self.identity.put(&mut batch);
            self.parts.engine.write(&batch)?;
            self.parts.engine.flush()?;
        }
        Ok(())
    }

    fn wait(&self) -> Duration {
        let mut until = self.now + self.parts.config.idle_wait;
        if !self.awake.is_empty() {
            until = until.min(self.next_tick);
        }
        if self.fenced.is_some() {
            until = until.min(self.now + self.parts.config.tick);
        }
        let next = [self.liveness.next_heartbeat(), self.clocks.next_probe()];
        until = next.into_iter().flatten().fold(until, Duration::min);
        until.saturating_sub(self.now)
    }

    async fn input(&mut self, input: Input) -> StorageResult<()> {
        match input {
            Input::Propose(p) => self.propose(p),
            Input::Messages(batch) => self.receive(batch)?,
            Input::Send { to, envelope } => self.send(to, envelope),
            Input::TransferLease { range, to, done } => self.transfer_lease(range, to, done),
            Input::CaughtUp { range, node, done } => {
                // A caller that has gone away needs no answer.
                let _ = done.send(self.caught_up(range, node));
            }
            Input::AskRight { of, wish, done } => {
                let _ = done.send(self.ask_right(of, wish));
            }
            Input::SnapshotSent { range, to, transfer, ok } => self.snapshot_sent(range, to, transfer, ok),
            Input::SnapshotInstalled { head, result } => self.snapshot_installed(head, result).await?,
            Input::LeftBehind(current) => self.receive_removed(&current)?,
            Input::Flushed(flushed) => self.flushed(flushed)?,
            Input::Nodes(nodes) => self.clocks.tell(nodes.into_iter().filter(|n| *n != self.node)),
        }
        Ok(())
    }

    /// Queues a command for its range; all of a turn are appended together.
    fn propose(&mut self, p: Proposal) {
        let Some(d) = self.replicas.get_mut(&p.range) else {
            return answer(p.done, Err(StorageError::RangeNotFound { range: p.range }));
        };
        let leads = d.replica.lease.held().is_some_and(|lease| lease.term == p.term);
        if !leads || d.group.term() != p.term || d.group.is_applying_snapshot() {
            let leader = d.replica.lease.leader().filter(|n| *n != self.node);
            return answer(p.done, Err(StorageError::NotLeaseholder { range: p.range, leader }));
        }
        let alive = |node| self.liveness.supported_by(node, self.hlc).is_some();
        let entry = match super::membership::entry_for(d, p.data, p.change, alive) {
            Ok(entry) => entry,
            Err(e) => return answer(p.done, Err(e)),
        };
        self.counters.proposals += 1;
        d.proposals.queued.push(Queued { entry, done: p.done });
        self.mark(p.range);
    }

    /// Puts a replica on the list of those whose effects are to be worked off.
    pub(super) fn mark(&mut self, range: RangeId) {
        if let Some(d) = self.replicas.get_mut(&range)
            && !d.dirty
        {
            d.dirty = true;
            self.dirty.push(range);
        }
    }

    pub(super) fn send(&mut self, to: NodeId, envelope: Envelope) {
        self.outbox.entry(to).or_default().push(envelope);
    }

    /// Sends what has gathered, one batch per destination.
    pub(super) fn flush_outbox(&mut self) {
        if self.outbox.is_empty() {
            return;
        }
        for (to, envelopes) in std::mem::take(&mut self.outbox) {
            let (mut part, mut bytes) = (Vec::with_capacity(envelopes.len()), 0);
            for envelope in envelopes {
                bytes += envelope.size();
                part.push(envelope);
                if bytes >= MAX_BATCH_BYTES {
                    self.send_batch(to, std::mem::take(&mut part));
                    bytes = 0;
                }
            }
            if !part.is_empty() {
                self.send_batch(to, part);
            }
        }
    }

    fn send_batch(&self, to: NodeId, envelopes: Vec<Envelope>) {
        let clock = self.parts.clock.now();
        self.parts.transport.send(MessageBatch { from: self.node, to, clock, envelopes });
    }

    fn heartbeats(&mut self) {
        for (to, heartbeat) in self.liveness.heartbeats(self.now, self.parts.clock.now()) {
            self.send(to, Envelope::Heartbeat(heartbeat));
        }
        for (to, probe) in self.clocks.probes(self.now, &self.parts.clock) {
            self.send(to, Envelope::Probe(probe));
        }
    }

    /// Adds a replica to those that are driven. Its descriptor, if it has one, is published.
    pub(super) fn adopt(&mut self, driven: Driven) {
        let range = driven.replica.range_id();
        if let Some(descriptor) = driven.descriptor.clone() {
            self.count_peers(None, Some(&descriptor));
            self.shared.publish(&driven.replica);
        }
        self.replicas.insert(range, Box::new(driven));
        self.awake.insert(range);
        self.mark(range);
    }

    /// Keeps the number of ranges shared with each peer.
    pub(super) fn count_peers(&mut self, old: Option<&RangeDescriptor>, new: Option<&RangeDescriptor>) {
        for r in new.iter().flat_map(|d| &d.replicas).filter(|r| r.node != self.node) {
            self.liveness.add_shared_range(r.node, r.kind.votes());
        }
        for r in old.iter().flat_map(|d| &d.replicas).filter(|r| r.node != self.node) {
            self.liveness.remove_shared_range(r.node, r.kind.votes());
        }
    }

    fn publish_status(&mut self) {
        let mut status = self.shared.status.write();
        status.ranges = self.replicas.len();
        status.leases = self.counters.leases;
        status.awake = self.awake.len();
        status.stranded =
            self.waiting.iter().filter(|r| self.replicas.get(r).is_some_and(|d| d.stranded)).count();
        status.proposals = self.counters.proposals;
        status.applied_entries = self.counters.applied_entries;
        status.log_syncs = self.counters.log_syncs;
        status.turns = self.counters.turns;
        status.peers = self.liveness.status(self.now, &self.clocks);
    }

    /// What a replica is waiting for, in a line, for people.
    pub fn explain(&self, range: RangeId) -> String {
        let Some(d) = self.replicas.get(&range) else { return format!("{range} is not here") };
        let g = &d.group;
        format!(
            "{range} {} {:?} {:?} log {}..{} committed {} applied {} awake {} installing {} promise {:?} \
             election {:?} in flight {} voter {}",
            g.id(),
            d.role,
            d.replica.lease.held(),
            g.truncated().0,
            g.last_index(),
            g.committed(),
            g.applied().0,
            self.awake.contains(&range),
            g.is_applying_snapshot(),
            d.promise,
            d.election_at,
            d.proposals.any_in_flight(),
            d.is_voter(),
        )
    }
}
