//! Whole transactions in one process and one thread, without Raft, for the tests of this layer and of those above.
//!
//! ```
//! use meridian_txn::{TxnOptions, testing::run};
//!
//! run(async |db| {
//!     let txn = db.begin(TxnOptions::default());
//!     txn.put("k".into(), "v".into());
//!     txn.commit().await.expect("nothing is in its way");
//! });
//! ```

pub mod runtime;
pub mod model;
pub mod cluster;
pub mod script;
pub mod history;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::{BoxFuture, Clock, Hlc, NodeId, RangeId, ReplicaId, Runtime, Timestamp, keys};
use meridian_storage::engine::memory::MemEngine;
use meridian_storage::engine::{Engine, WriteBatch};
use meridian_storage::mvcc;
use meridian_storage::replica::LocalReplica;
use meridian_storage::replica::{RangeDescriptor, ReplicaDescriptor, ReplicaKind};

pub use model::ModelKv;
pub use runtime::{Process, SimRuntime};

use crate::coordinator::Db;
use crate::participant::Participant;
use crate::route::{RouterParts, Seeds};
use crate::rpc::{KvTransport, Sender, TransportError};

/// There are no other nodes.
pub struct NoTransport;

impl KvTransport for NoTransport {
    fn call(&self, to: NodeId, _: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        Box::pin(async move { Err(TransportError::NotSent(format!("{to} does not exist"))) })
    }
}

/// The first range never changes its place.
pub struct FixedSeeds(pub RangeDescriptor);

impl Seeds for FixedSeeds {
    fn first_range(&self) -> Option<RangeDescriptor> {
        Some(self.0.clone())
    }
}

/// The first range of a new cluster: everything, on node 1.
pub fn first_range() -> RangeDescriptor {
    RangeDescriptor {
        range: RangeId(1),
        start: keys::min_key(),
        end: keys::max_key(),
        generation: 1,
        replicas: vec![ReplicaDescriptor {
            node: NodeId(1),
            replica: ReplicaId(1),
            kind: ReplicaKind::Voter,
        }],
        next_replica: ReplicaId(2),
        merging: Default::default(),
    }
}

/// A node alone in its cluster, in this thread: gateway, participant and an engine in memory; only replication is missing.
pub struct LocalNode {
    pub db: Db,
    pub participant: Arc<Participant>,
    /// Of the first range: its lease can be taken away.
    pub replica: Arc<LocalReplica>,
}

pub fn local_node(runtime: &SimRuntime, clock: Clock) -> LocalNode {
    let rt = Arc::new(runtime.clone());
    let participant = Participant::new(NodeId(1), clock.clone(), rt.clone());
    let engine = Arc::new(MemEngine::new());
    let first = first_range();
    let mut meta = WriteBatch::new();
    let descriptor = crate::rpc::codec::encode_descriptor(&first);
    mvcc::put(&mut meta, &keys::meta_key(&first.end), Timestamp::new(1, 0), &descriptor);
    Engine::write(&*engine, &meta).expect("memory does not fail");
    let replica = LocalReplica::with_observer(first.range, first.span(), engine, Some(participant.clone()));
    let db = gateway(rt, clock, participant.clone());
    participant.set_sender(db.router());
    LocalNode { db, participant, replica }
}

/// A gateway and a leaseholder: the real participant over one range that is not replicated, in memory.
pub fn local_db(runtime: &SimRuntime) -> (Db, Arc<Participant>) {
    let node = local_node(runtime, Hlc::new(runtime.clock(), Duration::ZERO, true));
    (node.db, node.participant)
}

/// A gateway over the model of the leaseholders' half.
pub fn model_db(runtime: &SimRuntime) -> Db {
    let clock = Hlc::new(runtime.clock(), Duration::ZERO, true);
    let rt = Arc::new(runtime.clone());
    let model = ModelKv::new(clock.clone(), rt.clone(), first_range());
    gateway(rt, clock, model)
}

fn gateway(runtime: Arc<dyn Runtime>, clock: Clock, local: Arc<dyn Sender>) -> Db {
    let (transport, seeds) = (Arc::new(NoTransport), Arc::new(FixedSeeds(first_range())));
    // A few rows shall be more than one transaction's work.
    let limits = crate::Limits { job_rows: 40, ..crate::Limits::default() };
    let db = Db::with_limits(RouterParts { node: NodeId(1), clock, runtime, transport, seeds }, limits);
    db.router().set_local(local);
    db
}

/// Runs a test against a database of its own.
pub fn run<T>(test: impl AsyncFnOnce(Db) -> T) -> T {
    let runtime = SimRuntime::new(1);
    let (db, _participant) = local_db(&runtime);
    runtime.block_on(test(db))
}

/// Runs a test against the model of the leaseholders' half, and against the real one: they must not be told apart.
pub fn run_on_both(test: impl AsyncFn(Db)) {
    let runtime = SimRuntime::new(1);
    runtime.block_on(test(model_db(&runtime)));
    let runtime = SimRuntime::new(1);
    runtime.block_on(test(local_db(&runtime).0));
}
