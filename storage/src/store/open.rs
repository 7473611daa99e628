//! Opening a store: what a crash may have left is brought into order before anything runs.
//!
//! - A snapshot that was wholly received is installed; one that was not is thrown away.
//! - A replica whose log ends below its applied index, or holds another entry there (the crash came between the
//!   installation of a snapshot and the reset of the log), or is missing (it was split off and never written to), gets
//!   the log its state calls for.
//! - A replica that is not part of its own descriptor any more is cleared away.
//! - A log without a replica is kept: the split that makes the replica may be replayed, or the replica may have voted
//!   before it was there (see `absent`). With a tombstone, it is forgotten.

use std::sync::Arc;

use super::core::{StoreCore, StoreParts};
use super::driven::Driven;
use super::handle::{Shared, StoreHandle};
use super::inbox::Inbox;
use super::split::{FIRST_INDEX, FIRST_TERM, first_log};
use crate::apply::snapshot::{self, SnapshotHead};
use crate::apply::state::{self, Identity, StoredReplica};
use crate::base::planted::{self, Planted};
use crate::base::{NodeId, RangeId, ReplicaId, StorageError, StorageResult, Timestamp, Unsound, keys};
use crate::engine::{Engine, WriteBatch};
use crate::group::Group;
use crate::log::{LogBatch, LogOp, LogState};
use crate::mvcc;
use crate::probe;
use crate::replica::{Merging, RangeDescriptor, ReplicaDescriptor, ReplicaKind};

/// The first range of a cluster.
pub const FIRST_RANGE: RangeId = RangeId(1);

/// Whoever begins a cluster.
const FIRST_NODE: NodeId = NodeId(1);

/// Begins a cluster: this node gets the first range, which holds the whole addressable space, and its descriptor's row.
pub fn bootstrap(engine: &dyn Engine, cluster: u128, node: NodeId, at: Timestamp) -> StorageResult<()> {
    refuse_if_used(engine)?;
    let span = keys::everything();
    let descriptor = RangeDescriptor {
        range: FIRST_RANGE,
        start: span.start,
        end: span.end,
        generation: 1,
        replicas: vec![ReplicaDescriptor { node, replica: ReplicaId(1), kind: ReplicaKind::Voter }],
        next_replica: ReplicaId(2),
        merging: Merging::No,
    };
    let mut batch = WriteBatch::new();
    Identity { cluster, node, incarnation: 0, peered: false }.put(&mut batch);
    state::put_descriptor(&mut batch, &descriptor);
    state::put_applied(&mut batch, FIRST_RANGE, (FIRST_INDEX, FIRST_TERM));
    mvcc::put(&mut batch, &keys::meta_key(&descriptor.end), at, &descriptor.encode());
    engine.write(&batch)?;
    engine.flush()
}

/// Makes an empty store a member of a cluster: replicas will be sent to it.
pub fn join(engine: &dyn Engine, cluster: u128, node: NodeId) -> StorageResult<()> {
    refuse_if_used(engine)?;
    let mut batch = WriteBatch::new();
    Identity { cluster, node, incarnation: 0, peered: false }.put(&mut batch);
    engine.write(&batch)?;
    engine.flush()
}

fn refuse_if_used(engine: &dyn Engine) -> StorageResult<()> {
    match Identity::load(engine)? {
        None => Ok(()),
        Some(id) => Err(StorageError::Config(format!(
            "the store belongs to {} of cluster {:032x} already; start without initialising, or with an empty \
             directory",
            id.node, id.cluster
        ))),
    }
}

/// Who a store is; `None` if it has never been used.
pub fn identity(engine: &dyn Engine) -> StorageResult<Option<Identity>> {
    Identity::load(engine)
}

/// Opens a store. If `expected` names a cluster, the store must belong to it.
pub fn open(parts: StoreParts, expected: Option<u128>) -> StorageResult<(StoreCore, StoreHandle)> {
    let engine = parts.engine.clone();
    let identity = opened_again(&*engine, expected)?;
    let mut replicas = state::load_all(&*engine)?;
    for (range, stored) in &mut replicas {
        settle_snapshot(&*engine, *range, stored)?;
        settle_removal(&*engine, *range, stored, identity.node)?;
    }
    engine.flush()?;
    // Promises that were made before the restart are forgotten, so none may be broken until they have run out. What the
    // engine knows may be older than they are, so nothing can be concluded from it but that it was never open before.
    // Other clocks may have moved this node's clock ahead of its physical one, which is all that is left of it: what it
    // served may lie ahead by as much as clocks differ. Both count from when it is known what time it is.
    let first = identity.incarnation == 1 || planted::is(Planted::RestartForgetsPromises);
    let off = parts.clock.max_offset();
    let forgotten = if first { None } else { Some(parts.config.support_duration + off) };
    let lost = if identity.peered { Some(off) } else { None };
    // As long as there may be others, theirs are asked for before the own clock is relied upon.
    let has_company = identity.peered || identity.node != FIRST_NODE;
    if has_company {
        parts.clock.raise_fence(Unsound::Unheard, 0);
    }
    let shared = Shared::new(&parts, identity, Arc::new(Inbox::default()));
    let mut core = StoreCore::new(parts, shared.clone(), identity);
    core.forget_until(forgotten, lost);
    if has_company {
        core.clocks.expect_company();
    }
    for (range, stored) in replicas {
        if let Some(next) = stored.tombstone {
            core.tombstones.insert(range, next);
        }
        match &stored.descriptor {
            Some(descriptor) => open_replica(&mut core, descriptor, &stored)?,
            None if stored.tombstone.is_some() && core.parts.log.state(range)?.is_some() => {
                let ops = vec![(range, LogOp::Destroy)];
                core.parts.log.write(&LogBatch { ops }, true)?;
            }
            None => {}
        }
    }
    Ok((core, StoreHandle { shared }))
}

/// Checks who the store is and counts the start.
fn opened_again(engine: &dyn Engine, expected: Option<u128>) -> StorageResult<Identity> {
    let Some(mut identity) = Identity::load(engine)? else {
        return Err(StorageError::Config("the store is empty: initialise a cluster, or join one".into()));
    };
    if expected.is_some_and(|cluster| cluster != identity.cluster) {
        return Err(StorageError::Config(format!(
            "the store belongs to cluster {:032x}, not to the one this node was told to join",
            identity.cluster
        )));
    }
    identity.incarnation += 1;
    let mut batch = WriteBatch::new();
    identity.put(&mut batch);
    engine.write(&batch)?;
    Ok(identity)
}

fn settle_snapshot(engine: &dyn Engine, range: RangeId, stored: &mut StoredReplica) -> StorageResult<()> {
    if let Some(head) = stored.installing.take() {
        probe!("open: a snapshot was being installed");
        let head = SnapshotHead::decode(head)?;
        let old = stored.descriptor.as_ref().map(|d| d.span());
        futures::executor::block_on(snapshot::install(engine, &head, old.as_ref()))?;
        *stored = state::load(engine, range)?;
    } else if stored.has_staged {
        probe!("open: part of a snapshot is thrown away");
        snapshot::discard_staged(engine, range)?;
    }
    Ok(())
}

/// A crash may come between the removal of the own replica and what follows from it.
fn settle_removal(
    engine: &dyn Engine,
    range: RangeId,
    stored: &mut StoredReplica,
    node: NodeId,
) -> StorageResult<()> {
    if let Some(descriptor) = stored.descriptor.as_ref().filter(|d| d.replica_on(node).is_none()) {
        probe!("open: a removal is brought to its end");
        let mut batch = WriteBatch::new();
        state::destroy(&mut batch, descriptor, descriptor.next_replica);
        engine.write(&batch)?;
        *stored = state::load(engine, range)?;
    }
    Ok(())
}

fn open_replica(
    core: &mut StoreCore,
    descriptor: &RangeDescriptor,
    stored: &StoredReplica,
) -> StorageResult<()> {
    let range = descriptor.range;
    let Some(own) = descriptor.replica_on(core.node) else {
        return Err(StorageError::Corruption(format!(
            "{range} is stored here, but has no replica on {}",
            core.node
        )));
    };
    let log_state = settle_log(core, range, stored)?;
    if log_state.last_index > stored.applied.0 {
        probe!("open: the log holds entries that are not applied");
    }
    let group =
        Group::new(range, own.replica, core.parts.log.clone(), log_state, stored.applied, Some(descriptor))?;
    let replica = core.shared.new_replica(descriptor.clone(), stored.gc_threshold);
    core.adopt(Driven::new(replica, Some(Arc::new(descriptor.clone())), group));
    Ok(())
}

/// The log as the applied state calls for it.
fn settle_log(core: &StoreCore, range: RangeId, stored: &StoredReplica) -> StorageResult<LogState> {
    let found = core.parts.log.state(range)?;
    let (index, term) = stored.applied;
    if let Some(state) = &found
        && state.last_index >= index
        && (index < state.truncated.0 || core.parts.log.term(range, index)? == Some(term))
    {
        return Ok(state.clone());
    }
    probe!("open: the log is behind the applied state");
    // What is found is behind the snapshot, but for the vote.
    let (state, batch) = first_log(range, stored.applied, found.as_ref());
    core.parts.log.write(&batch, true)?;
    Ok(state)
}
