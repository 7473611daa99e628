//! A whole cluster of stores in one thread, from one seed: for the tests of this layer and of those above.
//!
//! Time is virtual and moves only in [`Cluster::run_for`] and its kin; messages are delayed, lost and cut off as the
//! seed and the test say; a node may crash - losing what was not flushed and not synced, or keeping a part of it - and
//! start again. Clocks may be set apart. The same seed and the same calls give the same run.

mod checks;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::task::noop_waker;
use parking_lot::Mutex;

use super::config::StoreConfig;
use super::core::{StoreCore, StoreParts};
use super::handle::StoreHandle;
use super::open::{bootstrap, join, open};
use super::transport::{Envelope, MessageBatch, RaftTransport};
pub use crate::base::Chance;
use crate::base::clock::ManualClock;
use crate::base::{BoxFuture, Clock, Hlc, NodeId, RangeId, Runtime, StorageError, StorageResult, Timestamp};
use crate::engine::MemEngine;
use crate::log::MemLog;
use crate::replica::{Lease, RangeDescriptor, Replica, ReplicaObserver};

/// The cluster's identity.
const CLUSTER: u128 = 0xc1;
/// When virtual time begins, nanoseconds since the Unix epoch.
const EPOCH: u64 = 1_700_000_000_000_000_000;
/// The granularity of virtual time.
const STEP: Duration = Duration::from_millis(2);

/// Tasks and timers in virtual time. Every task is polled in every step, so that nothing depends on wakers.
pub struct TestRuntime {
    now: Arc<AtomicU64>,
    tasks: Mutex<Vec<(&'static str, BoxFuture<'static, ()>)>>,
    chance: Mutex<Chance>,
}

impl TestRuntime {
    fn new(now: Arc<AtomicU64>, seed: u64) -> Arc<Self> {
        Arc::new(TestRuntime { now, tasks: Mutex::default(), chance: Mutex::new(Chance::new(seed)) })
    }

    fn poll_tasks(&self) {
        let waker = noop_waker();
        let mut cx = Context::from_waker(&waker);
        let mut running = std::mem::take(&mut *self.tasks.lock());
        running.retain_mut(|(_, task)| task.poll_unpin(&mut cx).is_pending());
        let mut tasks = self.tasks.lock();
        running.append(&mut tasks);
        *tasks = running;
    }
}

struct Sleep {
    now: Arc<AtomicU64>,
    until: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.now.load(SeqCst) >= self.until { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Runtime for TestRuntime {
    fn spawn(&self, name: &'static str, task: BoxFuture<'static, ()>) {
        self.tasks.lock().push((name, task));
    }

    fn sleep(&self, d: Duration) -> BoxFuture<'static, ()> {
        let until = self.now.load(SeqCst) + d.as_nanos() as u64;
        Box::pin(Sleep { now: self.now.clone(), until })
    }

    fn random(&self) -> u64 {
        self.chance.lock().bits()
    }
}

/// What lies between the stores.
#[derive(Default)]
struct Wire {
    /// Sent and not yet looked at by the network.
    sent: Vec<MessageBatch>,
}

struct TestTransport(Arc<Mutex<Wire>>);

impl RaftTransport for TestTransport {
    fn send(&self, batch: MessageBatch) {
        self.0.lock().sent.push(batch);
    }
}

/// Keeps what the store said, for tests to look at.
#[derive(Default)]
pub struct Recorder {
    pub events: Mutex<Vec<String>>,
    /// Up to when the right sides of merges were said to have been read.
    pub untils: Mutex<Vec<Timestamp>>,
}

impl ReplicaObserver for Recorder {
    fn lease_acquired(&self, replica: &Arc<dyn Replica>, lease: Lease) {
        self.events.lock().push(format!("{} acquired in term {}", replica.range_id(), lease.term));
    }

    fn lease_lost(&self, range: RangeId) {
        self.events.lock().push(format!("{range} lost"));
    }

    fn split(&self, left: &Arc<dyn Replica>, right: &Arc<dyn Replica>, _: Option<Lease>) {
        let (left, right) = (left.descriptor(), right.descriptor());
        self.events.lock().push(format!("{} up to {:?} split off {}", left.range, left.end, right.range));
    }

    fn merge(&self, left: &Arc<dyn Replica>, right: &RangeDescriptor, until: Timestamp) {
        let end = left.descriptor().end.clone();
        self.events.lock().push(format!("{} up to {end:?} takes in {}", left.range_id(), right.range));
        self.untils.lock().push(until);
    }

    fn removed(&self, range: RangeId) {
        self.events.lock().push(format!("{range} removed"));
    }
}

/// One node. `core` is gone while it is down.
pub struct TestNode {
    core: Option<StoreCore>,
    pub handle: Option<StoreHandle>,
    pub engine: Arc<MemEngine>,
    pub log: Arc<MemLog>,
    pub physical: Arc<ManualClock>,
    pub clock: Clock,
    pub recorder: Arc<Recorder>,
    /// Nanoseconds by which its clock is ahead of virtual time.
    skew: i64,
    drift_ppm: i64,
    /// Its tasks die with it.
    runtime: Arc<TestRuntime>,
    next_turn: Duration,
    /// Does not run, but is not dead: as a process that was stopped.
    paused: bool,
}

pub struct Cluster {
    pub nodes: BTreeMap<NodeId, TestNode>,
    pub chance: Chance,
    clock: Arc<AtomicU64>,
    pub config: StoreConfig,
    observers: Option<ObserverFactory>,
    wire: Arc<Mutex<Wire>>,
    /// On their way: due time, order of sending, batch in byte form.
    flying: BTreeMap<(Duration, u64), (NodeId, NodeId, Vec<u8>)>,
    flights: u64,
    cut: BTreeSet<(NodeId, NodeId)>,
    /// Links on which Raft messages are kept back, and what was kept.
    holding: BTreeSet<(NodeId, NodeId)>,
    held: Vec<MessageBatch>,
    /// In a hundred batches, how many are lost.
    pub loss_percent: u64,
    /// The largest delay of a batch.
    pub max_delay: Duration,
    now: Duration,
    /// By range: the term, and up to where it was served in it; and what the range was then.
    served: Mutex<BTreeMap<RangeId, (u64, Timestamp, Arc<RangeDescriptor>)>>,
}

/// Makes the observer of a node, for layers above that bring their own.
pub type ObserverFactory = Box<dyn Fn(NodeId) -> Arc<dyn ReplicaObserver>>;

impl Cluster {
    /// `n` stores, the first of which has been bootstrapped.
    pub fn new(n: u32, seed: u64) -> Self {
        Self::with(n, seed, StoreConfig::default(), None)
    }

    pub fn with(n: u32, seed: u64, config: StoreConfig, observers: Option<ObserverFactory>) -> Self {
        let mut cluster = Cluster {
            nodes: BTreeMap::new(),
            chance: Chance::new(seed),
            clock: Arc::default(),
            config,
            observers,
            wire: Arc::default(),
            flying: BTreeMap::new(),
            flights: 0,
            cut: BTreeSet::new(),
            holding: BTreeSet::new(),
            held: Vec::new(),
            loss_percent: 0,
            max_delay: Duration::from_millis(6),
            now: Duration::ZERO,
            served: Mutex::default(),
        };
        for id in 1..=n {
            cluster.add_node(NodeId(id));
        }
        cluster
    }

    /// Adds an empty store; the first one bootstraps the cluster.
    pub fn add_node(&mut self, id: NodeId) {
        let physical = ManualClock::new(EPOCH + self.now.as_nanos() as u64);
        let clock = Hlc::new(physical.clone(), Duration::from_millis(500), false);
        let engine = Arc::new(MemEngine::new());
        if self.nodes.is_empty() {
            bootstrap(&*engine, CLUSTER, id, clock.now()).expect("an empty engine");
        } else {
            join(&*engine, CLUSTER, id).expect("an empty engine");
        }
        let node = TestNode {
            core: None,
            handle: None,
            engine,
            log: Arc::new(MemLog::new()),
            physical,
            clock,
            recorder: Arc::default(),
            skew: 0,
            drift_ppm: 0,
            runtime: TestRuntime::new(self.clock.clone(), self.chance.bits()),
            next_turn: Duration::ZERO,
            paused: false,
        };
        self.nodes.insert(id, node);
        self.start(id);
    }

    fn node(&mut self, id: NodeId) -> &mut TestNode {
        self.nodes.get_mut(&id).expect("a node of the cluster")
    }

    /// Starts a node that is down.
    pub fn start(&mut self, id: NodeId) {
        let transport = Arc::new(TestTransport(self.wire.clone()));
        let config = self.config.clone();
        let own = self.observers.as_ref().map(|make| make(id));
        let node = self.node(id);
        assert!(node.core.is_none(), "{id} is up");
        // The hybrid clock is memory: a process that starts begins with the physical one.
        node.clock = Hlc::new(node.physical.clone(), Duration::from_millis(500), false);
        let parts = StoreParts {
            config,
            engine: node.engine.clone(),
            log: node.log.clone(),
            clock: node.clock.clone(),
            runtime: node.runtime.clone(),
            transport,
            observer: own.unwrap_or_else(|| node.recorder.clone()),
        };
        let (core, handle) = open(parts, Some(CLUSTER)).expect("the store opens");
        (node.core, node.handle) = (Some(core), Some(handle));
        node.next_turn = Duration::ZERO;
    }

    /// Kills a node. Of what was neither flushed nor synced, a part chosen by chance survives.
    pub fn crash(&mut self, id: NodeId) {
        let (engine_keeps, log_keeps) = (self.chance.below(6), self.chance.below(3));
        let node = self.node(id);
        node.core = None;
        if let Some(handle) = node.handle.take() {
            handle.stop();
        }
        node.runtime.tasks.lock().clear();
        node.engine.crash_keeping(engine_keeps);
        node.log.crash_keeping(log_keeps as usize);
    }

    pub fn is_up(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|n| n.core.is_some())
    }

    /// Stops a node's threads; its clock goes on.
    pub fn pause(&mut self, id: NodeId) {
        self.node(id).paused = true;
    }

    pub fn resume(&mut self, id: NodeId) {
        self.node(id).paused = false;
    }

    pub fn skew(&mut self, id: NodeId, nanos: i64) {
        self.node(id).skew = nanos;
    }

    /// Both clocks of a node run too fast from now on.
    pub fn drift(&mut self, id: NodeId, ppm: i64) {
        self.node(id).drift_ppm = ppm;
    }

    /// How far both clocks of a node are off.
    pub fn skew_of(&self, id: NodeId) -> i64 {
        self.nodes[&id].skew
    }

    /// The wall clock of a node's machine jumps; its monotonic clock does not.
    pub fn jump(&mut self, id: NodeId, nanos: i64) {
        self.node(id).physical.jump(nanos);
    }

    /// Cuts the link between two nodes, both ways.
    pub fn cut(&mut self, a: NodeId, b: NodeId) {
        self.cut.extend([(a, b), (b, a)]);
    }

    /// Cuts a node off from all others.
    pub fn isolate(&mut self, id: NodeId) {
        let others: Vec<_> = self.nodes.keys().copied().filter(|n| *n != id).collect();
        others.into_iter().for_each(|other| self.cut(id, other));
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// Keeps back all messages of Raft on a link, until [`Cluster::release`]. All else passes.
    pub fn hold_raft(&mut self, from: NodeId, to: NodeId) {
        self.holding.insert((from, to));
    }

    /// Sends what was kept back, late.
    pub fn release(&mut self) {
        self.holding.clear();
        let held = std::mem::take(&mut self.held);
        self.wire.lock().sent.extend(held);
    }

    /// Loses what was kept back.
    pub fn drop_held(&mut self) {
        self.holding.clear();
        self.held.clear();
    }

    pub fn handle(&self, id: NodeId) -> StoreHandle {
        self.nodes[&id].handle.clone().expect("the node is up")
    }

    /// What the observer of a node was told, in order.
    pub fn events(&self, id: NodeId) -> Vec<String> {
        self.nodes[&id].recorder.events.lock().clone()
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    /// One step of virtual time.
    pub fn step(&mut self) {
        self.now += STEP;
        self.clock.store(self.now.as_nanos() as u64, SeqCst);
        for node in self.nodes.values_mut() {
            node.skew += node.drift_ppm * STEP.as_nanos() as i64 / 1_000_000;
            let wall = EPOCH as i64 + self.now.as_nanos() as i64 + node.skew;
            node.physical.set(wall as u64);
        }
        self.deliver();
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.turn(id);
            self.nodes[&id].runtime.poll_tasks();
        }
        self.pick_up();
    }

    fn turn(&mut self, id: NodeId) {
        let now = self.now;
        let node = self.node(id);
        if node.paused {
            return;
        }
        let (Some(core), Some(handle)) = (&mut node.core, &node.handle) else { return };
        if now >= node.next_turn || !handle.shared.inbox.is_empty() {
            let wait = core
                .turn(now)
                .now_or_never()
                .expect("memory is fast")
                .unwrap_or_else(|e| panic!("{id} failed: {e}"));
            node.next_turn = now + wait;
        }
    }

    /// Hands what was sent to the network: it may lose it, and decides when it arrives. Batches between two nodes keep
    /// their order, as on a stream.
    fn pick_up(&mut self) {
        let sent = std::mem::take(&mut self.wire.lock().sent);
        for mut batch in sent {
            if self.holding.contains(&(batch.from, batch.to)) {
                let (raft, rest) = batch.envelopes.drain(..).partition(|e| matches!(e, Envelope::Raft(_)));
                batch.envelopes = raft;
                self.held.push(batch.clone());
                batch.envelopes = rest;
            }
            if self.chance.percent(self.loss_percent) {
                continue;
            }
            let delay = Duration::from_nanos(self.chance.below(self.max_delay.as_nanos() as u64));
            let link = (batch.from, batch.to);
            let last = self
                .flying
                .iter()
                .filter(|(_, (from, to, _))| (*from, *to) == link)
                .map(|((at, _), _)| *at)
                .max();
            let at = (self.now + delay).max(last.unwrap_or_default());
            self.flights += 1;
            self.flying.insert((at, self.flights), (batch.from, batch.to, batch.encode()));
        }
    }

    fn deliver(&mut self) {
        let later = self.flying.split_off(&(self.now + Duration::from_nanos(1), 0));
        for (_, (from, to, bytes)) in std::mem::replace(&mut self.flying, later) {
            if self.cut.contains(&(from, to)) {
                continue;
            }
            let handle = self.nodes.get(&to).and_then(|n| n.handle.clone());
            if let Some(handle) = handle {
                handle.receive(MessageBatch::decode(bytes.into()).expect("what was encoded"));
            }
        }
    }

    pub fn run_for(&mut self, d: Duration) {
        let until = self.now + d;
        while self.now < until {
            self.step();
        }
    }

    /// Runs until the condition holds; panics after `limit`.
    pub fn run_until(&mut self, what: &str, limit: Duration, mut condition: impl FnMut(&Cluster) -> bool) {
        let until = self.now + limit;
        while !condition(self) {
            assert!(self.now < until, "not within {limit:?}: {what}");
            self.step();
        }
    }

    /// Runs until the future is done; panics after thirty seconds of virtual time.
    pub fn wait<T>(&mut self, future: impl Future<Output = T> + Send) -> T {
        self.wait_checking(future, |_| ())
    }

    /// As [`Cluster::wait`], with a check after each step.
    pub fn wait_checking<T>(&mut self, future: impl Future<Output = T> + Send, check: impl Fn(&Self)) -> T {
        let mut future: BoxFuture<'_, T> = Box::pin(future);
        let until = self.now + Duration::from_secs(30);
        let waker = noop_waker();
        loop {
            if let Poll::Ready(value) = future.poll_unpin(&mut Context::from_waker(&waker)) {
                return value;
            }
            assert!(self.now < until, "a future is not done in time");
            self.step();
            check(self);
        }
    }

    /// The node that may serve the range now, with its lease.
    pub fn leaseholder(&self, range: RangeId) -> Option<(NodeId, Lease)> {
        self.nodes.iter().find_map(|(id, node)| {
            let replica = node.handle.as_ref()?.replica(range)?;
            replica.lease(node.clock.now()).ok().map(|lease| (*id, lease))
        })
    }

    /// What every node knows of a range, for people.
    pub fn explain(&self, range: RangeId) -> String {
        let mut out = String::new();
        for (id, node) in &self.nodes {
            let line = node.core.as_ref().map_or("down".into(), |core| core.explain(range));
            out.push_str(&format!("\n  {id}: {line}"));
        }
        out
    }

    /// Writes one row through the leaseholder, whoever it is at this moment.
    pub fn write(&mut self, range: RangeId, key: &str, value: &str) -> StorageResult<()> {
        let future = self.start_write(range, key, value)?;
        self.wait(future)
    }

    /// As [`Cluster::write`], but does not wait.
    pub fn start_write(
        &mut self,
        range: RangeId,
        key: &str,
        value: &str,
    ) -> StorageResult<BoxFuture<'static, StorageResult<()>>> {
        let (id, lease) =
            self.leaseholder(range).ok_or(StorageError::NotLeaseholder { range, leader: None })?;
        let replica = self.handle(id).replica(range).ok_or(StorageError::RangeNotFound { range })?;
        let mut batch = crate::engine::WriteBatch::new();
        crate::mvcc::put(&mut batch, key.as_bytes(), self.nodes[&id].clock.now(), value.as_bytes());
        Ok(replica.propose(crate::replica::Command { term: lease.term, batch, trigger: None }))
    }

    /// Has the leaseholder raise the range's threshold of garbage.
    pub fn raise_gc_threshold(&mut self, range: RangeId, to: Timestamp) -> StorageResult<()> {
        let (id, lease) =
            self.leaseholder(range).ok_or(StorageError::NotLeaseholder { range, leader: None })?;
        let replica = self.handle(id).replica(range).ok_or(StorageError::RangeNotFound { range })?;
        let trigger = Some(crate::replica::Trigger::RaiseGcThreshold { to });
        let command = crate::replica::Command { term: lease.term, trigger, ..Default::default() };
        self.wait(replica.propose(command))
    }

    /// What a node's engine holds under a key, newest version.
    pub fn value_on(&self, id: NodeId, key: &str) -> Option<String> {
        let options = crate::mvcc::GetOptions::default();
        let got = crate::mvcc::get(&*self.nodes[&id].engine, key.as_bytes(), Timestamp::MAX, options);
        match got.expect("memory").seen {
            crate::mvcc::Seen::Value(value, _) => Some(String::from_utf8_lossy(&value).into_owned()),
            _ => None,
        }
    }
}
