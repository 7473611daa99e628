//! One machine: disks that outlive it, and the real code of all layers on top of them while it is up.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::channel::mpsc::{self, UnboundedSender};
use meridian_sql::error::state;
use meridian_sql::session::SqlNode;
use meridian_storage::base::{
    BoxFuture, Clock, Hlc, Key, NodeId, PhysicalClock, RangeId, Runtime, StorageError, StorageResult,
    Timestamp, Unsound,
};
use meridian_storage::files::simulated::Crash;
use meridian_storage::files::{Files, SimFiles};
use meridian_storage::log::DiskLogOptions;
use meridian_storage::placement::{Action, ClusterView, NodeView, Policy, RangeView, plan};
use meridian_storage::replica::{Lease, RangeDescriptor, Replica, ReplicaObserver};
use meridian_storage::store::{self, StoreConfig, StoreCore, StoreHandle, StoreParts};
use meridian_txn::participant::{NodeLiveness, Participant};
use meridian_txn::record::Standing;
use meridian_txn::route::{RouterParts, Seeds};
use meridian_txn::rpc::{BatchRequest, BatchResponse, EndKind, KvError, Request, Sender};
use meridian_txn::testing::{Process, SimRuntime};
use meridian_txn::{Db, Limits};
use parking_lot::Mutex;

use super::clock::SkewedClock;
use super::coverage::Coverage;
use super::disk::{Disk, DiskEngine};
use super::network::{Doors, Network};
use super::trace::Trace;

pub const CLUSTER: u128 = 0x51;

/// What all machines of a run share.
pub struct World {
    pub runtime: SimRuntime,
    pub trace: Trace,
    pub network: Network,
    pub coverage: Arc<Coverage>,
    pub max_offset: Duration,
    /// Whether the bound on the clocks counts as known, so that commits wait it out.
    pub bound_known: bool,
    /// Whether machines open a catalog and take statements.
    pub sql: bool,
    pub store: StoreConfig,
    pub limits: Limits,
    pub log: DiskLogOptions,
    /// How long syncs take at the best of times, at least and at most.
    pub sync_takes: (Duration, Duration),
    /// What gossip would spread: the newest descriptor of the first range, and since when machines are silent.
    pub first_range: Mutex<Option<RangeDescriptor>>,
    pub down_since: Mutex<BTreeMap<NodeId, Option<u64>>>,
    /// When each machine went down last, if it ever did.
    pub crashed_at: Mutex<BTreeMap<NodeId, u64>>,
    /// Nodes that are to give up what they have.
    pub draining: Mutex<BTreeSet<NodeId>>,
    /// Nodes that are no more.
    pub gone: Mutex<BTreeSet<NodeId>>,
    /// After how long a silent node is replaced.
    pub dead_after: Duration,
    /// How long versions are kept that nobody needs.
    pub gc_after: Duration,
    /// Of each machine that takes statements.
    pub sessions: Mutex<Vec<Weak<SqlNode>>>,
    pub sightings: mpsc::UnboundedSender<Sighting>,
    /// Of all machines that there have been.
    pub disks: Mutex<Vec<SimFiles>>,
    /// A read of some machine's state has failed, and clients may hear of it.
    pub misread: Arc<AtomicBool>,
    /// Hears of every machine that ends by a fault of its disk.
    pub ends: UnboundedSender<End>,
    /// Of the machines that are up.
    pub clocks: Mutex<BTreeMap<NodeId, Clock>>,
    /// Who held a lease last, by range.
    pub leaders: Mutex<BTreeMap<RangeId, NodeId>>,
}

impl World {
    pub fn wall_ns(&self) -> u64 {
        self.runtime.clock().wall_ns()
    }

    /// Whether an error with this SQLSTATE and message is that of a disk that was made to fail.
    pub fn is_of_a_disk(&self, code: &str, message: &str) -> bool {
        let class = code == state::IO_ERROR || code == state::DATA_CORRUPTED;
        self.misread.load(SeqCst) && class && super::disk::is_named(message)
    }

    /// The process of a machine ends by a fault of its disk.
    pub fn end(&self, up: &Up, why: StorageError, after: Duration) {
        let (node, life) = (up.store.node(), up.life);
        assert!(up.disk.has_caused(&why.to_string()), "the store of {node} failed: {why}");
        self.trace.say(format_args!("{node} ends: {why}"));
        // Nobody listens when the run is over.
        let _ = self.ends.unbounded_send(End { node, life, why, after });
    }

    /// The other nodes that have not left.
    fn others(&self, node: NodeId) -> Vec<NodeId> {
        let gone = self.gone.lock();
        self.down_since.lock().keys().copied().filter(|n| *n != node && !gone.contains(n)).collect()
    }

    /// Whose clocks are fenced.
    pub fn fenced(&self) -> Vec<(NodeId, Unsound)> {
        let clocks = self.clocks.lock();
        clocks.iter().filter_map(|(node, clock)| Some((*node, clock.unsound()?))).collect()
    }

    /// Counts what became of a clock's fence.
    fn count_fences(&self, clock: &Clock) {
        let counts = clock.fence_counts();
        Coverage::count(&self.coverage.fences, counts.raised);
        Coverage::count(&self.coverage.unfences, counts.lifted);
        Coverage::count(&self.coverage.refused_while_fenced, counts.refused);
    }

    /// As [`count_fences`](Self::count_fences), of all clocks; at the end.
    pub fn count_all_fences(&self) {
        self.clocks.lock().values().for_each(|clock| self.count_fences(clock));
    }

    /// When the oldest open transaction of a machine that is up began, as gossip would tell.
    fn oldest_transaction(&self) -> Option<u64> {
        let mut sessions = self.sessions.lock();
        sessions.retain(|node| node.strong_count() > 0);
        sessions.iter().filter_map(|node| node.upgrade()?.oldest_transaction()).min()
    }
}

/// A process that cannot go on.
pub struct End {
    pub node: NodeId,
    pub life: u64,
    pub why: StorageError,
    /// How long others may still hear of it.
    pub after: Duration,
}

/// The parts of a machine that is up.
#[derive(Clone)]
pub struct Up {
    pub process: Process,
    pub store: StoreHandle,
    pub db: Db,
    pub clock: Clock,
    pub disk: Arc<Disk>,
    /// Counts the machine's processes.
    pub life: u64,
    /// Set when the machine takes statements.
    pub sql: Arc<OnceLock<Arc<SqlNode>>>,
}

pub struct Machine {
    pub id: NodeId,
    pub disk: Arc<Disk>,
    pub life: u64,
    pub physical: Arc<SkewedClock>,
    pub up: Option<Up>,
}

impl Machine {
    /// A machine with empty disks; node 1 begins the cluster.
    pub fn new(world: &World, id: NodeId, skew_ns: i64) -> Self {
        let physical = Arc::new(SkewedClock::new(world.runtime.clock(), skew_ns));
        let disk = Disk::new(world, id, world.runtime.random());
        let clock = Hlc::new(physical.clone(), world.max_offset, world.bound_known);
        match id {
            NodeId(1) => store::bootstrap(&disk.engine, CLUSTER, id, clock.now()),
            _ => store::join(&disk.engine, CLUSTER, id),
        }
        .expect("an empty engine");
        Machine { id, disk, life: 0, physical, up: None }
    }

    /// An error is the disk's: the machine stays down.
    pub fn start(&mut self, world: &Arc<World>) -> StorageResult<()> {
        assert!(self.up.is_none(), "{} is up", self.id);
        world.trace.say(format_args!("start {}", self.id));
        self.life += 1;
        let started = self.try_start(world);
        if let Err(e) = &started {
            world.trace.say(format_args!("{} does not start: {e}", self.id));
            assert!(self.disk.has_caused(&e.to_string()), "{} does not start: {e}", self.id);
            self.disk.crash(Crash::Process, 0);
        }
        started
    }

    fn try_start(&mut self, world: &Arc<World>) -> StorageResult<()> {
        let log = Arc::new(self.disk.open_log(world.log)?);
        let process = world.runtime.process();
        let runtime: Arc<dyn Runtime> = Arc::new(process.clone());
        // The hybrid clock is memory: a machine that starts begins with the physical one.
        let clock = Hlc::new(self.physical.clone(), world.max_offset, world.bound_known);
        let participant = Participant::with_limits(self.id, clock.clone(), runtime.clone(), &world.limits);
        let (inner, coverage) = (participant.clone(), world.coverage.clone());
        let kv = Arc::new(Meter { inner, coverage, sightings: world.sightings.clone() });
        let observer = Arc::new(Observer { node: self.id, inner: participant.clone(), world: world.clone() });
        let port = world.network.port(self.id);
        let parts = StoreParts {
            config: world.store.clone(),
            engine: Arc::new(DiskEngine(self.disk.clone())),
            log,
            clock: clock.clone(),
            runtime: runtime.clone(),
            transport: port.clone(),
            observer,
        };
        let (core, store) = store::open(parts, Some(CLUSTER))?;
        store.set_nodes(world.others(self.id));
        world.clocks.lock().insert(self.id, clock.clone());
        let seeds = Arc::new(Gossip(world.clone()));
        let router = RouterParts { node: self.id, clock: clock.clone(), runtime, transport: port, seeds };
        let db = Db::with_limits(router, world.limits.clone());
        db.router().set_local(kv.clone());
        participant.set_sender(db.router());
        participant.set_liveness(Arc::new(Gossip(world.clone())));
        let doors = Doors { store: store.clone(), process: process.clone(), kv };
        world.network.connect(self.id, doors);
        let disk = self.disk.clone();
        let up =
            Up { process: process.clone(), store, db, clock, disk, life: self.life, sql: Arc::default() };
        process.spawn("store", Box::pin(run_store(core, up.clone(), world.clone())));
        process.spawn("disk", Box::pin(watch_disk(up.clone(), world.clone())));
        process.spawn("maintain", Box::pin(maintain(up.clone(), world.clone())));
        process.spawn("gossip", Box::pin(gossip(up.clone(), world.clone())));
        process.spawn("place", Box::pin(place(up.clone(), world.clone())));
        process.spawn("strays", Box::pin(strays(up.clone())));
        if world.sql {
            process.spawn("sql", Box::pin(super::sql::open(up.clone(), world.clone())));
            process.spawn("collect", Box::pin(collect(up.clone(), world.clone())));
        }
        world.down_since.lock().insert(self.id, None);
        self.up = Some(up);
        Ok(())
    }

    /// The machine goes down. Of what the state had not flushed, the first few batches survive.
    pub fn crash(&mut self, world: &World, how: Crash, engine_keeps: u64) {
        let Some(up) = self.up.take() else { return };
        world.trace.say(format_args!("crash {} by {how:?} keeps {engine_keeps}", self.id));
        world.network.disconnect(self.id);
        up.process.kill();
        up.store.stop();
        if let Some(clock) = world.clocks.lock().remove(&self.id) {
            world.count_fences(&clock);
        }
        drop(up);
        self.disk.crash(how, engine_keeps);
        world.down_since.lock().insert(self.id, Some(world.wall_ns()));
        world.crashed_at.lock().insert(self.id, world.wall_ns());
    }

    /// The ranges that this machine may serve now.
    pub fn leases(&self) -> Vec<(RangeDescriptor, Lease)> {
        self.up.as_ref().map_or_else(Vec::new, led)
    }
}

fn led(up: &Up) -> Vec<(RangeDescriptor, Lease)> {
    let lease = |d: &RangeDescriptor| up.store.replica(d.range)?.lease(up.clock.now()).ok();
    up.store.descriptors().iter().filter_map(|d| Some(((**d).clone(), lease(d)?))).collect()
}

/// The store until it is stopped. An error and a panic that its disk has caused are the end of the process, as of the
/// binary's; any other is that of the run.
async fn run_store(core: StoreCore, up: Up, world: Arc<World>) {
    disk_done(&up).await;
    let why = match AssertUnwindSafe(core.run_as_task()).catch_unwind().await {
        Ok(Ok(())) => return,
        Ok(Err(e)) => e,
        Err(panic) => match told_in_panic(&up.disk) {
            Some(why) => why,
            None => std::panic::resume_unwind(panic),
        },
    };
    world.end(&up, why, Duration::ZERO);
}

/// The fault of its disk that the store's panic tells of: raft-rs panics on any error of what it reads from.
fn told_in_panic(disk: &Disk) -> Option<StorageError> {
    let text = super::failure().filter(|text| disk.has_caused(text))?;
    let why = if text.contains("Corruption(") || text.contains("corruption: ") {
        StorageError::Corruption(text)
    } else if text.contains("Io(") || text.contains("disk: ") {
        StorageError::Io(text)
    } else {
        return None;
    };
    super::forgive();
    Some(why)
}

/// A node that could not read its state has told its client so, and ends soon, as the binary's maintenance sees to it.
async fn watch_disk(up: Up, world: Arc<World>) {
    loop {
        up.process.sleep(Duration::from_millis(50)).await;
        if let Some(e) = up.store.must_give_way() {
            return world.end(&up, e, Duration::from_micros(up.process.random() % 500_000));
        }
    }
}

async fn disk_done(up: &Up) {
    while let Some(rest) = up.disk.files.busy_for() {
        up.process.sleep(rest).await;
    }
}

/// Hears who is there, as the binary's gossip would tell.
async fn gossip(up: Up, world: Arc<World>) {
    loop {
        up.process.sleep(Duration::from_millis(500)).await;
        up.store.set_nodes(world.others(up.store.node()));
    }
}

/// Flushes the engine and truncates the log, as the binary's maintenance thread does.
async fn maintain(up: Up, world: Arc<World>) {
    loop {
        let jitter = Duration::from_micros(up.process.random() % 400_000);
        up.process.sleep(Duration::from_millis(200) + jitter).await;
        disk_done(&up).await;
        if let Err(e) = up.store.maintain() {
            return world.end(&up, e, Duration::ZERO);
        }
    }
}

/// Has the ranges that are led here collect old versions, as the binary's garbage collection does.
async fn collect(up: Up, world: Arc<World>) {
    loop {
        let jitter = Duration::from_micros(up.process.random() % 1_000_000);
        up.process.sleep(world.gc_after / 4 + jitter).await;
        let kept = world.wall_ns().saturating_sub(world.gc_after.as_nanos() as u64);
        let threshold = world.oldest_transaction().map_or(kept, |oldest| kept.min(oldest - 1));
        for (descriptor, _) in led(&up) {
            if up.db.collect_garbage(&descriptor, Timestamp::new(threshold, 0)).await.is_ok() {
                Coverage::add(&world.coverage.collections);
            }
        }
    }
}

async fn strays(up: Up) {
    up.db.look_for_strays(&up.store).await;
}

/// Replicates and repairs the ranges that are led here and publishes their descriptors, as the binary's allocator does.
async fn place(up: Up, world: Arc<World>) {
    let policy = Policy { dead_after: world.dead_after, ..Policy::default() };
    for round in 0u64.. {
        let jitter = Duration::from_micros(up.process.random() % 200_000);
        up.process.sleep(Duration::from_millis(200) + jitter).await;
        if let Some(first) = up.store.descriptors().first().filter(|d| d.start.is_empty()) {
            let mut known = world.first_range.lock();
            if known.as_ref().is_none_or(|k| k.generation < first.generation) {
                *known = Some((**first).clone());
            }
        }
        let led: Vec<RangeDescriptor> = led(&up).into_iter().map(|(d, _)| d).collect();
        let ranges = led.iter().map(|d| RangeView { descriptor: d.clone(), bytes: 0 }).collect();
        let view = ClusterView { nodes: nodes(&world), ranges, balances: true };
        for action in plan(&view, up.store.node(), &policy) {
            let done = match &action {
                Action::Change { range, add, remove, .. } => {
                    world.trace.say(format_args!("{}: {action:?}", up.store.node()));
                    let changed = up.store.change_replicas(*range, add.clone(), remove.clone()).await;
                    if changed.is_ok() {
                        Coverage::add(&world.coverage.replica_changes);
                    }
                    changed.is_ok().then_some(*range)
                }
                Action::TransferLease { range, to, .. } => {
                    // Not done now is done in another round.
                    let _ = up.store.transfer_lease(*range, *to).await;
                    None
                }
                Action::Split { .. } => None,
            };
            if let Some(replica) = done.and_then(|range| up.store.replica(range)) {
                let _ = up.db.publish(&[(*replica.descriptor()).clone()]).await;
            }
        }
        if round % 8 == 7 {
            let _ = up.db.publish(&led).await;
        }
    }
}

fn nodes(world: &World) -> BTreeMap<NodeId, NodeView> {
    let now = world.wall_ns();
    let (draining, gone) = (world.draining.lock(), world.gone.lock());
    let down_since = world.down_since.lock();
    let here = down_since.iter().filter(|(node, _)| !gone.contains(node));
    let clocks = world.clocks.lock();
    let view = |(node, since): (&NodeId, &Option<u64>)| {
        let silent_for = Duration::from_nanos(since.map_or(0, |at| now - at));
        let fenced = clocks.get(node).is_some_and(|clock| clock.is_fenced());
        (*node, NodeView { silent_for, draining: draining.contains(node), fenced, replicas: 0, leases: 0 })
    };
    here.map(view).collect()
}

struct Gossip(Arc<World>);

impl Seeds for Gossip {
    fn first_range(&self) -> Option<RangeDescriptor> {
        self.0.first_range.lock().clone()
    }
}

impl NodeLiveness for Gossip {
    /// Now and then a node that lives is thought to have been restarted: nothing but time may depend on it.
    fn standing(&self, node: NodeId, since: Timestamp) -> Standing {
        if since.wall.is_multiple_of(64) {
            return Standing::Restarted;
        }
        match self.0.down_since.lock().get(&node) {
            Some(Some(down)) if since.wall < *down => Standing::Restarted,
            Some(Some(_)) => Standing::Silent,
            _ if self.0.crashed_at.lock().get(&node).is_some_and(|at| since.wall < *at) => {
                Standing::Restarted
            }
            _ => Standing::Alive,
        }
    }
}

/// Counts what arrives at the participant, and lets the nemesis know what goes on.
struct Meter {
    inner: Arc<Participant>,
    coverage: Arc<Coverage>,
    sightings: mpsc::UnboundedSender<Sighting>,
}

/// What the nemesis may want to strike while it happens.
pub enum Sighting {
    /// A parallel commit begins; the node of its coordinator.
    Commit(NodeId),
    /// Somebody reads here.
    Row(Key),
}

impl Meter {
    fn announce(&self, batch: &BatchRequest) {
        // At the end nobody listens any more.
        let say = |sighting| drop(self.sightings.unbounded_send(sighting));
        for request in &batch.requests {
            match request {
                Request::EndTxn { how: EndKind::Stage, .. } => say(Sighting::Commit(batch.header.gateway)),
                Request::Get { key, .. } => say(Sighting::Row(key.clone())),
                Request::Scan { span, .. } => say(Sighting::Row(span.start.clone())),
                _ => {}
            }
        }
    }

    fn count(&self, batch: &BatchRequest, answer: &Result<BatchResponse, KvError>) {
        let s = &self.coverage;
        match answer {
            Ok(_) => {}
            Err(KvError::Deadlock { .. }) => return Coverage::add(&s.deadlocks),
            Err(_) => return,
        }
        for request in &batch.requests {
            match request {
                Request::CommitOnePhase { .. } => Coverage::add(&s.one_phase_commits),
                Request::EndTxn { how: EndKind::Stage, .. } => Coverage::add(&s.parallel_commits),
                Request::PushTxn { .. } => Coverage::add(&s.pushes),
                Request::RecoverTxn { .. } => Coverage::add(&s.recoveries),
                Request::Refresh { .. } => Coverage::add(&s.refreshes),
                Request::AdminSplit { .. } => Coverage::add(&s.splits),
                Request::AdminMerge { .. } => Coverage::add(&s.merges),
                _ => {}
            }
        }
    }
}

impl Sender for Meter {
    fn send(&self, batch: BatchRequest) -> BoxFuture<'_, Result<BatchResponse, KvError>> {
        Box::pin(async move {
            self.announce(&batch);
            let answer = self.inner.send(batch.clone()).await;
            self.count(&batch, &answer);
            answer
        })
    }

    fn try_send_local(&self, batch: &BatchRequest) -> Option<Result<BatchResponse, KvError>> {
        let answer = self.inner.try_send_local(batch)?;
        self.count(batch, &answer);
        Some(answer)
    }
}

/// Hears what the participant hears.
struct Observer {
    node: NodeId,
    inner: Arc<Participant>,
    world: Arc<World>,
}

impl ReplicaObserver for Observer {
    fn lease_acquired(&self, replica: &Arc<dyn Replica>, lease: Lease) {
        let range = replica.range_id();
        self.world.trace.say(format_args!("{} leads {range} in term {}", self.node, lease.term));
        let before = self.world.leaders.lock().insert(range, self.node);
        if before.is_some_and(|b| b != self.node) {
            Coverage::add(&self.world.coverage.leader_changes);
        }
        self.inner.lease_acquired(replica, lease);
    }

    fn lease_lost(&self, range: RangeId) {
        self.world.trace.say(format_args!("{} lost {range}", self.node));
        self.inner.lease_lost(range);
    }

    fn split(&self, left: &Arc<dyn Replica>, right: &Arc<dyn Replica>, right_lease: Option<Lease>) {
        let (l, r) = (left.range_id(), right.range_id());
        self.world.trace.say(format_args!("{} splits {l} at {:?}: {r}", self.node, right.descriptor().start));
        self.inner.split(left, right, right_lease);
    }

    fn merge(&self, left: &Arc<dyn Replica>, right: &RangeDescriptor, until: Timestamp) {
        let (l, r) = (left.range_id(), right.range);
        self.world.trace.say(format_args!("{} merges {r} into {l}", self.node));
        self.inner.merge(left, right, until);
    }

    fn removed(&self, range: RangeId) {
        self.world.trace.say(format_args!("{} removed {range}", self.node));
        self.inner.removed(range);
    }

    fn descriptor_changed(&self, replica: &Arc<dyn Replica>) {
        self.inner.descriptor_changed(replica);
    }
}
