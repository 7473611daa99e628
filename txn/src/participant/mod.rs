//! Concurrency control at the leaseholder: what happens to a batch that was sent to the right range.
//!
//! ```text
//!   batch ──► range: held here? leased? ──► plain read ──────────────────► evaluate ──► answer     (read)
//!                                      └──► latches ──► locks ──► evaluate ──► propose ──► answer  (write)
//!                                              ▲           │
//!                                              └── wait ◄──┘  queue, push, deadlock                (wait, push)
//! ```
//!
//! What must stay true:
//! - **Serve only under a lease**, and evaluate a command under the term in which it is proposed. Waiting may outlast
//!   the lease: it is asked for again before each evaluation.
//! - **A read leaves its mark before it is made**; a write looks at the marks while it holds latches ([`read`], [`latch`]).
//! - **Locks are courtesy.** They are lost with the lease; whether a commit is right is decided by versions, intents and
//!   marks. Where these cannot tell, a commit asks whether a lock was ever lost (`coordinator::held`).
//! - What is kept for all ranges of the node - marks of reads, outcomes of transactions, the wait graph - is keyed by key
//!   or transaction, so that a split need not divide it.
//!
//! The model is CockroachDB's concurrency manager (latches, lock table, transaction wait queues); different here: reads
//! take no latches, writes are locks in memory until they commit, waiting for the dead and for deadlocks is one mechanism.

mod read;
mod write;
mod wait;
mod push;
mod garbage;
mod merge;
mod range;
mod wait_graph;
mod outcomes;
mod recent;
pub mod lock_table;
pub mod latch;
pub mod timestamp_cache;
pub mod signal;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod histories;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use meridian_storage::base::planted::{self, Planted};
use meridian_storage::base::{BoxFuture, Clock, NodeId, RangeId, Runtime, Timestamp, TxnId};
use meridian_storage::probe;
use meridian_storage::replica::{Lease, RangeDescriptor, Replica, ReplicaObserver};
use meridian_storage::store::FIRST_LEASE_TERM;
use parking_lot::{Mutex, RwLock};
use rustc_hash::FxHashMap;

use lock_table::{LockTable, Place};
use outcomes::Outcomes;
use range::{MemoryOf, RangeState, RequestMemory};
use recent::RecentWrites;
use timestamp_cache::TimestampCache;
use wait_graph::WaitGraph;

use crate::Limits;
use crate::record::Standing;
use crate::rpc::{
    BatchRequest, BatchResponse, Header, KeySender, KvError, Request, Response, Sender, WaitEdge,
};

/// What is known of the nodes that run transactions. Belief is enough: a transaction is ended by its record alone, so one
/// whose node was given up too early only has to be run again.
pub trait NodeLiveness: Send + Sync {
    /// What to think of something that a node began at `since`.
    fn standing(&self, node: NodeId, since: Timestamp) -> Standing;
}

/// A right half that is older is forgotten when the next one comes: its lease has gone elsewhere.
const SEPARATED_MAX: Duration = Duration::from_secs(10);

pub struct Participant {
    me: Weak<Participant>,
    node: NodeId,
    clock: Clock,
    runtime: Arc<dyn Runtime>,
    ranges: RwLock<FxHashMap<RangeId, Arc<RangeState>>>,
    reads: TimestampCache,
    outcomes: Outcomes,
    recent: RecentWrites,
    graph: Arc<WaitGraph>,
    sender: OnceLock<Weak<dyn KeySender>>,
    nodes: OnceLock<Arc<dyn NodeLiveness>>,
    /// Right halves that nobody has led yet.
    separated: Mutex<FxHashMap<RangeId, Separated>>,
    /// Of one command of garbage collection.
    collection_bytes: usize,
}

/// What is remembered of a right half, by the node that led the whole when it was divided.
struct Separated {
    since: Duration,
    locks: Arc<LockTable>,
    memory: MemoryOf,
}

impl Participant {
    /// It hears of ranges as their [`ReplicaObserver`].
    pub fn new(node: NodeId, clock: Clock, runtime: Arc<dyn Runtime>) -> Arc<Self> {
        Participant::with_limits(node, clock, runtime, &Limits::default())
    }

    pub fn with_limits(node: NodeId, clock: Clock, runtime: Arc<dyn Runtime>, limits: &Limits) -> Arc<Self> {
        Arc::new_cyclic(|me| Participant {
            me: me.clone(),
            node,
            clock,
            runtime,
            ranges: RwLock::default(),
            reads: TimestampCache::new(limits.marked_keys, limits.marked_spans, Timestamp::ZERO),
            outcomes: Outcomes::new(limits.remembered_transactions),
            recent: RecentWrites::new(limits.remembered_writes),
            graph: Arc::default(),
            sender: OnceLock::new(),
            nodes: OnceLock::new(),
            separated: Mutex::default(),
            collection_bytes: limits.collection_bytes,
        })
    }

    /// The way to other ranges, said once; it holds this participant, and not the reverse. Without it, requests wait until
    /// locks are released, and only deadlocks within this node are found.
    pub fn set_sender<S: KeySender + 'static>(&self, sender: &Arc<S>) {
        let sender: Weak<S> = Arc::downgrade(sender);
        assert!(self.sender.set(sender).is_ok(), "a node has one router");
    }

    /// Whom to ask about other nodes; said once. Without it, transactions end by the silence of their own heartbeats.
    pub fn set_liveness(&self, nodes: Arc<dyn NodeLiveness>) {
        let _ = self.nodes.set(nodes);
    }

    fn coordinator(&self, txn: TxnId, min_ts: Timestamp) -> Standing {
        self.nodes.get().map_or(Standing::Alive, |nodes| nodes.standing(txn.coordinator(), min_ts))
    }

    /// Evaluates a batch for one range of this node.
    pub async fn execute(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        if !batch.header.now.is_zero() {
            self.clock.update(batch.header.now)?;
        }
        if let Some(e) = self.taken_in(&batch) {
            return Err(e);
        }
        if let Some(answer) = self.try_read(&batch) {
            return answer;
        }
        if batch.requests.iter().all(crate::eval::is_plain_read) {
            return self.read(batch).await;
        }
        match batch.requests.as_slice() {
            [Request::AdminMerge { at }] => self.merge_right(&batch, at).await,
            [Request::Gc { threshold }] => self.collect_garbage(&batch, *threshold).await,
            [Request::PushTxn { .. } | Request::QueryTxn { .. } | Request::RangeStats] => {
                self.inform(batch).await
            }
            requests if requests.iter().any(|r| matches!(r, Request::Gc { .. })) => {
                Err(KvError::Unsupported { reason: "garbage collection must be alone in its batch".into() })
            }
            _ => self.write(batch).await,
        }
    }

    /// Requests in whose answers the participant itself has a part.
    async fn inform(&self, batch: BatchRequest) -> Result<BatchResponse, KvError> {
        let asked = match &batch.requests[0] {
            Request::PushTxn { pushee, pusher, edges, .. } => {
                self.graph.learn(edges, self.clock.monotonic());
                if let Some(pusher) = pusher {
                    self.break_cycle(pusher.id)?;
                }
                Some(pushee.id)
            }
            Request::QueryTxn { txn } => Some(txn.id),
            _ => None,
        };
        let range = self.range(batch.header.range)?;
        let mut answer = self.write(batch).await?;
        for response in &mut answer.responses {
            match response {
                Response::Record { waiters, .. } => {
                    *waiters = asked.map_or_else(Vec::new, |txn| self.waiters(txn));
                }
                Response::Stats { stats, .. } => {
                    (stats.locks_held, stats.requests_waiting) = range.locks.counts();
                    let ns = self.clock.wall_ns().saturating_sub(range.counted_since_ns);
                    let per_s = |n: u64| n / (ns / 1_000_000_000).max(1);
                    stats.reads_per_s = per_s(range.reads.load(std::sync::atomic::Ordering::Relaxed));
                    stats.writes_per_s = per_s(range.writes.load(std::sync::atomic::Ordering::Relaxed));
                }
                _ => {}
            }
        }
        Ok(answer)
    }

    fn waiters(&self, txn: meridian_storage::base::TxnId) -> Vec<WaitEdge> {
        self.graph.waiters(txn, self.clock.monotonic())
    }

    /// The locks of a range and who waits for them, as text.
    pub fn describe_locks(&self, range: RangeId) -> Option<String> {
        Some(self.ranges.read().get(&range)?.locks.describe(None))
    }

    fn range(&self, id: RangeId) -> Result<Arc<RangeState>, KvError> {
        self.ranges.read().get(&id).cloned().ok_or(KvError::RangeNotFound { range: id })
    }

    /// Whether the range may serve the batch at `at`; if it does not hold all of it, with what is known here of who does.
    fn admit(
        &self,
        range: &RangeState,
        at: Timestamp,
        batch: &BatchRequest,
    ) -> Result<Arc<RangeDescriptor>, KvError> {
        match range.admit(at, batch) {
            Err(KvError::RangeMismatch { mut descriptors }) => {
                let led: Vec<_> = self.ranges.read().values().map(|r| r.replica.descriptor()).collect();
                for known in led.into_iter().chain(range.replica.neighbours()) {
                    if !descriptors.contains(&*known) && range::concerns(&known, batch) {
                        descriptors.push((*known).clone());
                    }
                }
                descriptors.sort_by(|a, b| a.start.cmp(&b.start));
                Err(KvError::RangeMismatch { descriptors })
            }
            admitted => admitted,
        }
    }

    fn memory<'a>(
        &'a self,
        range: &'a RangeState,
        header: &Header,
        places: &'a [Place],
    ) -> RequestMemory<'a> {
        let txn = header.txn.as_ref().map(|t| t.id);
        RequestMemory {
            range,
            reads: &self.reads,
            outcomes: &self.outcomes,
            recent: &self.recent,
            nodes: self.nodes.get().map(|nodes| &**nodes),
            max_offset: self.clock.max_offset(),
            txn,
            places,
        }
    }

    /// Of a range whose lease has just begun: nothing of what was before.
    fn memory_of(&self, lease: Lease) -> MemoryOf {
        MemoryOf { start: lease.start, since_ns: self.clock.wall_ns() }
    }

    fn sender(&self) -> Option<Arc<dyn KeySender>> {
        self.sender.get()?.upgrade()
    }

    fn me(&self) -> Arc<Participant> {
        self.me.upgrade().expect("a method runs on a living participant")
    }
}

impl Sender for Participant {
    fn send(&self, batch: BatchRequest) -> BoxFuture<'_, Result<BatchResponse, KvError>> {
        Box::pin(self.execute(batch))
    }

    fn try_send_local(&self, batch: &BatchRequest) -> Option<Result<BatchResponse, KvError>> {
        self.try_read(batch).or_else(|| self.try_lock(batch))
    }
}

impl ReplicaObserver for Participant {
    fn lease_acquired(&self, replica: &Arc<dyn Replica>, lease: Lease) {
        let separated = self.separated.lock().remove(&replica.range_id());
        let (locks, memory) = match separated {
            // Nobody else has led it: nothing has happened in it that this node does not know.
            Some(s) if lease.term == FIRST_LEASE_TERM || planted::is(Planted::SplitTrustsStaleMemory) => {
                probe!("split: the right side keeps locks and memory");
                (s.locks, s.memory)
            }
            _ => (LockTable::new(), self.memory_of(lease)),
        };
        let state = RangeState::new(replica.clone(), lease, locks, memory, self.clock.wall_ns());
        let before = self.ranges.write().insert(replica.range_id(), state);
        if let Some(before) = before {
            probe!("lease: came back to the same node");
            before.retire();
        }
    }

    fn lease_lost(&self, range: RangeId) {
        if let Some(state) = self.ranges.read().get(&range) {
            state.retire();
        }
    }

    fn split(&self, left: &Arc<dyn Replica>, right: &Arc<dyn Replica>, right_lease: Option<Lease>) {
        let Some(state) = self.ranges.read().get(&left.range_id()).cloned() else { return };
        state.bounds_changed.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let locks = state.locks.split_off(&right.descriptor().start);
        if let Some(mut lease) = right_lease {
            // What was read before the left side's lease began is as little known on the right.
            lease.start = lease.start.max(state.lease.start);
            let (memory, now) = (self.memory_of(lease), self.clock.wall_ns());
            let made = RangeState::new(right.clone(), lease, locks, memory, now);
            self.ranges.write().insert(right.range_id(), made);
        } else if left.lease(self.clock.now()).is_ok_and(|l| l.term == state.lease.term) {
            // This node leads the left half still, so nobody has led the whole since, and it will lead the right one in a
            // moment.
            let since = self.clock.monotonic();
            let mut separated = self.separated.lock();
            separated.retain(|_, s| since.saturating_sub(s.since) < SEPARATED_MAX);
            separated.insert(right.range_id(), Separated { since, locks, memory: state.memory() });
        }
    }

    fn merge(&self, left: &Arc<dyn Replica>, _: &RangeDescriptor, until: Timestamp) {
        self.merged(left, until);
    }

    fn removed(&self, range: RangeId) {
        self.separated.lock().remove(&range);
        if let Some(state) = self.ranges.write().remove(&range) {
            state.retire();
        }
    }
}
