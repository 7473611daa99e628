//! One range and its replicas, each in a real store on a thread of its own; what they say to each other is encoded and decoded, but
//! crosses no socket.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use meridian_storage::base::{BoxFuture, Hlc, NodeId, PhysicalClock, Runtime, StorageResult};
use meridian_storage::engine::{Engine, MemEngine, RocksEngine, RocksOptions, WriteBatch};
use meridian_storage::log::{DiskLog, DiskLogOptions, LogOwner, LogStore, MemLog};
use meridian_storage::mvcc;
use meridian_storage::replica::{Command, Replica};
use meridian_storage::store::testing::{Chance, Recorder};
use meridian_storage::store::{
    FIRST_RANGE, MessageBatch, RaftTransport, StoreConfig, StoreHandle, StoreParts, bootstrap, join, open,
};
use parking_lot::Mutex;
use tempfile::TempDir;

const CLUSTER: u128 = 1;
const LEADER: NodeId = NodeId(1);
/// So many rows are written in turn.
const ROWS: u64 = 10_000;

/// See the module's documentation. The first node leads.
pub struct Group {
    leader: StoreHandle,
    replica: Arc<dyn Replica>,
    written: AtomicU64,
    wire: Arc<Wire>,
    stores: Vec<JoinHandle<StorageResult<()>>>,
    /// For what is spawned beside the stores: snapshots to new replicas.
    _tasks: tokio::runtime::Runtime,
    /// Last: the stores have gone before it is removed.
    _folder: Option<TempDir>,
}

impl Group {
    pub fn in_memory(replicas: u32) -> Self {
        Self::start(replicas, None, |_| (Arc::new(MemEngine::new()), Arc::new(MemLog::new())))
    }

    pub fn on_disk() -> Self {
        let folder = TempDir::new().expect("a folder");
        let (engine, log) = (folder.path().join("engine"), folder.path().join("log"));
        Self::start(1, Some(folder), |_| {
            let engine = RocksEngine::open(&engine, RocksOptions::default()).expect("a new engine");
            let owner = LogOwner { cluster: 1, node: NodeId(1) };
            DiskLog::found(&log, owner).expect("a new log");
            let log = DiskLog::open(&log, owner, DiskLogOptions::default()).expect("opened");
            (Arc::new(engine), Arc::new(log))
        })
    }

    fn start(
        replicas: u32,
        folder: Option<TempDir>,
        disks: impl Fn(NodeId) -> (Arc<dyn Engine>, Arc<dyn LogStore>),
    ) -> Self {
        let tasks = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .expect("a thread for tasks");
        let (clock, wire) = (Arc::new(Stopwatch(Instant::now())), Arc::<Wire>::default());
        let mut stores = Vec::new();
        for node in (1..=replicas).map(NodeId) {
            let (engine, log) = disks(node);
            let clock = Hlc::new(clock.clone(), Duration::from_millis(500), false);
            match node {
                LEADER => bootstrap(&*engine, CLUSTER, node, clock.now()).expect("an empty engine"),
                _ => join(&*engine, CLUSTER, node).expect("an empty engine"),
            };
            let parts = StoreParts {
                config: StoreConfig::default(),
                engine,
                log,
                clock,
                runtime: Arc::new(Tasks::new(tasks.handle().clone(), node)),
                transport: wire.clone(),
                observer: Arc::<Recorder>::default(),
            };
            let (core, handle) = open(parts, Some(CLUSTER)).expect("the store opens");
            wire.0.lock().insert(node, handle);
            stores.push(std::thread::spawn(move || core.run()));
        }
        let leader = wire.0.lock()[&LEADER].clone();
        let replica = leader.replica(FIRST_RANGE).expect("bootstrapped");
        while replica.lease(leader.clock().now()).is_err() {
            std::thread::yield_now();
        }
        let others: Vec<_> = (2..=replicas).map(NodeId).collect();
        block_on(leader.change_replicas(FIRST_RANGE, others, Vec::new())).expect("nothing is in the way");
        let written = AtomicU64::default();
        Group { leader, replica, written, wire, stores, _tasks: tasks, _folder: folder }
    }

    /// Proposes one row of a hundred bytes; resolves when the leaseholder has applied it.
    pub fn write(&self) -> BoxFuture<'static, StorageResult<()>> {
        let now = self.leader.clock().now();
        let term = self.replica.lease(now).expect("nobody else stands for election").term;
        let row = self.written.fetch_add(1, Ordering::Relaxed) % ROWS;
        let mut batch = WriteBatch::new();
        mvcc::put(&mut batch, &row.to_be_bytes(), now, &[7; 100]);
        self.replica.propose(Command { term, batch, trigger: None })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let handles = std::mem::take(&mut *self.wire.0.lock());
        handles.values().for_each(StoreHandle::stop);
        for store in self.stores.drain(..) {
            store.join().expect("no store panics").expect("no disk fails");
        }
    }
}

/// Delivers at once.
#[derive(Default)]
struct Wire(Mutex<BTreeMap<NodeId, StoreHandle>>);

impl RaftTransport for Wire {
    fn send(&self, batch: MessageBatch) {
        let to = self.0.lock().get(&batch.to).cloned();
        if let Some(to) = to {
            to.receive(MessageBatch::decode(batch.encode().into()).expect("what was encoded"));
        }
    }
}

/// The clock of all nodes.
struct Stopwatch(Instant);

impl PhysicalClock for Stopwatch {
    fn wall_ns(&self) -> u64 {
        1_700_000_000_000_000_000 + self.0.elapsed().as_nanos() as u64
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }
}

struct Tasks {
    tokio: tokio::runtime::Handle,
    chance: Mutex<Chance>,
}

impl Tasks {
    fn new(tokio: tokio::runtime::Handle, node: NodeId) -> Self {
        Tasks { tokio, chance: Mutex::new(Chance::new(node.0.into())) }
    }
}

impl Runtime for Tasks {
    fn spawn(&self, _: &'static str, task: BoxFuture<'static, ()>) {
        self.tokio.spawn(task);
    }

    fn sleep(&self, d: Duration) -> BoxFuture<'static, ()> {
        let _inside = self.tokio.enter();
        Box::pin(tokio::time::sleep(d))
    }

    fn random(&self) -> u64 {
        self.chance.lock().bits()
    }
}
