//! What the layers above hold: a handle to the store, and one to each replica. Both only read shared state and push
//! into the inbox; the core does the rest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use futures::channel::oneshot;
use parking_lot::RwLock;
use rustc_hash::FxHashMap;

use super::config::StoreConfig;
use super::core::StoreParts;
use super::inbox::{Inbox, Input, Proposal, completed};
use super::transport::MessageBatch;
use crate::apply::command;
use crate::apply::state::Identity;
use crate::base::planted::{self, Planted};
use crate::base::{BoxFuture, Clock, Key, NodeId, RangeId, Runtime, StorageError, StorageResult, Timestamp};
use crate::engine::Engine;
use crate::log::LogStore;
use crate::replica::lease::LeaseCell;
use crate::replica::{Command, Lease, RangeDescriptor, Replica, Trigger};

/// A replica, as the transaction layer sees it.
pub struct RangeReplica {
    range: RangeId,
    engine: Arc<dyn Engine>,
    clock: Clock,
    /// The clock is surely beyond this: timestamps below need not be shown to it.
    clock_floor: Arc<AtomicU64>,
    inbox: Arc<Inbox>,
    /// That of the store, which in turn holds this replica.
    directory: Weak<RwLock<Directory>>,
    store: Weak<Shared>,
    pub(super) lease: LeaseCell,
    descriptor: RwLock<Arc<RangeDescriptor>>,
    gc_threshold: RwLock<Timestamp>,
}

impl RangeReplica {
    pub(super) fn set_descriptor(&self, descriptor: Arc<RangeDescriptor>) {
        *self.descriptor.write() = descriptor;
    }

    pub(super) fn set_gc_threshold(&self, to: Timestamp) {
        self.gc_threshold.write().forward(to);
    }

    fn not_leaseholder(&self) -> StorageError {
        StorageError::NotLeaseholder { range: self.range, leader: self.lease.leader() }
    }
}

impl Replica for RangeReplica {
    fn range_id(&self) -> RangeId {
        self.range
    }

    fn descriptor(&self) -> Arc<RangeDescriptor> {
        self.descriptor.read().clone()
    }

    fn lease(&self, at: Timestamp) -> StorageResult<Lease> {
        if self.clock.is_fenced() {
            return Err(StorageError::NotLeaseholder { range: self.range, leader: None });
        }
        // Whatever is served is at or below this node's clock: the next leaseholder begins above it.
        if at.wall >= self.clock_floor.load(Ordering::Relaxed) {
            self.clock.update(at)?;
            self.clock_floor.fetch_max(at.wall, Ordering::Relaxed);
        }
        if planted::is(Planted::ServeWithoutLease) {
            return self.lease.held().ok_or_else(|| self.not_leaseholder());
        }
        // Somebody whose clock is behind may ask for a moment that the next leaseholder has passed already. What that
        // has written since lies within the uncertainty of the read, so all of it must be covered.
        self.lease.check(at.add(self.clock.max_offset())).ok_or_else(|| self.not_leaseholder())
    }

    fn engine(&self) -> &Arc<dyn Engine> {
        &self.engine
    }

    fn gc_threshold(&self) -> Timestamp {
        *self.gc_threshold.read()
    }

    fn neighbours(&self) -> Vec<Arc<RangeDescriptor>> {
        self.directory.upgrade().map_or_else(Vec::new, |d| d.read().descriptors())
    }

    fn absorb_right(&self) -> BoxFuture<'static, StorageResult<Arc<RangeDescriptor>>> {
        let (store, range) = (self.store.upgrade(), self.range);
        Box::pin(async move {
            let shared = store.ok_or(StorageError::Shutdown)?;
            StoreHandle { shared }.merge(range).await
        })
    }

    fn propose(&self, command: Command) -> BoxFuture<'static, StorageResult<()>> {
        let (done, rx) = oneshot::channel();
        let change = match &command.trigger {
            Some(Trigger::ChangeReplicas { descriptor }) => Some(descriptor.clone()),
            _ => None,
        };
        let data = command::encode(&command).into();
        let proposal = Proposal { range: self.range, term: command.term, data, change, done };
        if !self.inbox.push(Input::Propose(proposal)) {
            return Box::pin(async { Err(StorageError::Shutdown) });
        }
        Box::pin(completed(rx))
    }
}

#[derive(Default)]
struct Directory {
    by_id: FxHashMap<RangeId, Arc<RangeReplica>>,
    by_start: BTreeMap<Key, Arc<RangeReplica>>,
}

impl Directory {
    /// In key order.
    fn descriptors(&self) -> Vec<Arc<RangeDescriptor>> {
        self.by_start.values().map(|r| r.descriptor()).collect()
    }
}

/// State that the core and the handles share.
pub(super) struct Shared {
    me: Weak<Shared>,
    pub node: NodeId,
    pub cluster: u128,
    pub config: StoreConfig,
    pub engine: Arc<dyn Engine>,
    pub log: Arc<dyn LogStore>,
    pub runtime: Arc<dyn Runtime>,
    pub clock: Clock,
    pub clock_floor: Arc<AtomicU64>,
    pub inbox: Arc<Inbox>,
    directory: Arc<RwLock<Directory>>,
    pub status: RwLock<StoreStatus>,
    /// Replicas that were destroyed and whose logs wait for the next flush.
    pub destroyed: parking_lot::Mutex<Vec<RangeId>>,
}

/// Numbers for the metrics; renewed by the core a few times a second.
#[derive(Clone, Debug, Default)]
pub struct StoreStatus {
    pub ranges: usize,
    pub leases: usize,
    pub awake: usize,
    /// Replicas that can apply nothing more and must be replaced.
    pub stranded: usize,
    pub proposals: u64,
    pub applied_entries: u64,
    pub log_syncs: u64,
    pub turns: u64,
    pub peers: Vec<super::liveness::PeerStatus>,
}

impl Shared {
    pub fn new(parts: &StoreParts, identity: Identity, inbox: Arc<Inbox>) -> Arc<Self> {
        Arc::new_cyclic(|me| Shared {
            me: me.clone(),
            node: identity.node,
            cluster: identity.cluster,
            config: parts.config.clone(),
            engine: parts.engine.clone(),
            log: parts.log.clone(),
            clock: parts.clock.clone(),
            runtime: parts.runtime.clone(),
            clock_floor: Arc::default(),
            inbox,
            directory: Arc::default(),
            status: RwLock::default(),
            destroyed: parking_lot::Mutex::default(),
        })
    }

    pub fn new_replica(&self, descriptor: RangeDescriptor, gc_threshold: Timestamp) -> Arc<RangeReplica> {
        Arc::new(RangeReplica {
            range: descriptor.range,
            engine: self.engine.clone(),
            clock: self.clock.clone(),
            clock_floor: self.clock_floor.clone(),
            inbox: self.inbox.clone(),
            directory: Arc::downgrade(&self.directory),
            store: self.me.clone(),
            lease: LeaseCell::default(),
            descriptor: RwLock::new(Arc::new(descriptor)),
            gc_threshold: RwLock::new(gc_threshold),
        })
    }

    /// Makes a replica findable.
    pub fn publish(&self, replica: &Arc<RangeReplica>) {
        let mut directory = self.directory.write();
        directory.by_id.insert(replica.range, replica.clone());
        directory.by_start.insert(replica.descriptor().start.clone(), replica.clone());
    }

    pub fn withdraw(&self, replica: &RangeReplica) {
        let mut directory = self.directory.write();
        directory.by_id.remove(&replica.range);
        let start = replica.descriptor().start.clone();
        if directory.by_start.get(&start).is_some_and(|r| r.range == replica.range) {
            directory.by_start.remove(&start);
        }
    }

    /// Changes a replica's bounds or replicas. Takes the directory's lock, so that a lookup sees old or new.
    pub fn redescribe(&self, replica: &Arc<RangeReplica>, descriptor: RangeDescriptor) {
        let mut directory = self.directory.write();
        let old = replica.descriptor();
        if old.start != descriptor.start {
            directory.by_start.remove(&old.start);
            directory.by_start.insert(descriptor.start.clone(), replica.clone());
        }
        replica.set_descriptor(Arc::new(descriptor));
    }
}

/// The face of a store.
#[derive(Clone)]
pub struct StoreHandle {
    pub(super) shared: Arc<Shared>,
}

impl StoreHandle {
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    pub fn cluster(&self) -> u128 {
        self.shared.cluster
    }

    pub fn engine(&self) -> &Arc<dyn Engine> {
        &self.shared.engine
    }

    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub fn replica(&self, range: RangeId) -> Option<Arc<dyn Replica>> {
        Some(self.range_replica(range)?)
    }

    pub(super) fn range_replica(&self, range: RangeId) -> Option<Arc<RangeReplica>> {
        self.shared.directory.read().by_id.get(&range).cloned()
    }

    /// The replica on this node of the range that holds `key`.
    pub fn replica_for_key(&self, key: &[u8]) -> Option<Arc<dyn Replica>> {
        let directory = self.shared.directory.read();
        let (_, replica) = directory
            .by_start
            .range::<[u8], _>((std::ops::Bound::Unbounded, std::ops::Bound::Included(key)))
            .next_back()?;
        replica.descriptor.read().contains(key).then(|| replica.clone() as Arc<dyn Replica>)
    }

    /// What is here, in key order.
    pub fn descriptors(&self) -> Vec<Arc<RangeDescriptor>> {
        self.shared.directory.read().descriptors()
    }

    pub fn status(&self) -> StoreStatus {
        self.shared.status.read().clone()
    }

    /// A batch from another node. Called by whoever receives for the transport.
    pub fn receive(&self, batch: MessageBatch) {
        self.shared.inbox.push(Input::Messages(batch));
    }

    /// Hands the lease, and with it Raft's leadership, to the replica on another node. Resolves when that leads.
    pub async fn transfer_lease(&self, range: RangeId, to: NodeId) -> StorageResult<()> {
        let (done, rx) = oneshot::channel();
        if !self.shared.inbox.push(Input::TransferLease { range, to, done }) {
            return Err(StorageError::Shutdown);
        }
        completed(rx).await
    }

    /// Tells the store of a range's descriptor as its leaseholder has it. A replica here that was removed before goes.
    pub fn left_behind(&self, current: RangeDescriptor) {
        self.shared.inbox.push(Input::LeftBehind(current));
    }

    /// Says which nodes of the cluster are alive: their clocks are compared with this one's, even if no range is shared.
    pub fn set_nodes(&self, nodes: Vec<NodeId>) {
        self.shared.inbox.push(Input::Nodes(nodes));
    }

    /// Stops the core after its present turn. What is in flight becomes ambiguous.
    pub fn stop(&self) {
        self.shared.inbox.close();
    }
}
