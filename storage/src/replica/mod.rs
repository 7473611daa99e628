//! A replica as the transaction layer sees it: who it is, whether it may serve, and how to change its range.
//!
//! The leaseholder is always the Raft leader. **A replica may serve at timestamp T only under a lease that covers T**:
//! [`Replica::lease`] is asked for each request. A lease belongs to a Raft term; a command names the term under which
//! it was evaluated and is refused at proposal if that term has passed, so what was evaluated under an old lease
//! can never be replicated under a new one.

pub mod lease;
pub mod local;
pub mod descriptor;

use std::sync::Arc;

use bytes::Bytes;

use crate::base::{BoxFuture, RangeId, StorageError, StorageResult, Timestamp};
use crate::engine::{Engine, WriteBatch};

pub use descriptor::{Merging, RangeDescriptor, ReplicaDescriptor, ReplicaKind};
pub use local::LocalReplica;

/// The right to serve a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The Raft term in which this node leads.
    pub term: u64,
    /// Above everything that any earlier leaseholder can have served.
    pub start: Timestamp,
}

/// A change of a range's state, evaluated at the leaseholder; every replica applies the same bytes.
#[derive(Clone, Debug, Default)]
pub struct Command {
    /// [`Lease::term`] under which the command was evaluated.
    pub term: u64,
    pub batch: WriteBatch,
    pub trigger: Option<Trigger>,
}

/// What else happens, in the same atomic step, when a command is applied.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// The range ends at `right.start` from now on, and `right` begins to exist with the same replicas' nodes.
    Split { left: RangeDescriptor, right: RangeDescriptor },
    /// Replaces the replica set; proposed as a Raft configuration change.
    ChangeReplicas { descriptor: RangeDescriptor },
    /// Versions that are not visible at or after this time may be dropped; reads below it are refused.
    RaiseGcThreshold { to: Timestamp },
    /// The log is truncated up to and including this index once it is durably applied.
    Truncate { index: u64 },
    /// The range's part in a merge changes, and nothing else but the generation.
    Mark { descriptor: RangeDescriptor },
    /// The range takes in `right`, which is frozen and wholly applied wherever this is applied. Up to `until`, `right` may
    /// have been read by its last leaseholder.
    Merge { left: RangeDescriptor, right: RangeDescriptor, until: Timestamp },
}

pub trait Replica: Send + Sync {
    fn range_id(&self) -> RangeId;
    /// The bounds and replicas as of what has been applied here.
    fn descriptor(&self) -> Arc<RangeDescriptor>;
    /// The lease, if it covers `at`; `NotLeaseholder` with a hint otherwise. Lock-free or nearly: it is asked for
    /// every request.
    fn lease(&self, at: Timestamp) -> StorageResult<Lease>;
    fn engine(&self) -> &Arc<dyn Engine>;
    fn gc_threshold(&self) -> Timestamp;
    /// Every range that has a replica on this node, led from here or not: to set requests right that came to the wrong one.
    fn neighbours(&self) -> Vec<Arc<RangeDescriptor>> {
        Vec::new()
    }
    /// Takes in the range on the right, if its replicas are where this one's are, and answers with what came of it. An
    /// error says that nothing has changed, or that whatever has will be put right.
    fn absorb_right(&self) -> BoxFuture<'static, StorageResult<Arc<RangeDescriptor>>> {
        Box::pin(async { Err(StorageError::Config("this range cannot be merged".into())) })
    }
    /// Resolves when the command is applied on this replica (hence committed on a majority). `NotLeaseholder` means
    /// that it surely was not and never will be; `Ambiguous` that it may be.
    fn propose(&self, command: Command) -> BoxFuture<'static, StorageResult<()>>;
}

/// What the transaction layer must hear of. Called on the store's threads, in order for each range: be quick.
pub trait ReplicaObserver: Send + Sync + 'static {
    /// The replica may serve from now on. Nothing is known of reads before `lease.start`.
    fn lease_acquired(&self, replica: &Arc<dyn Replica>, lease: Lease);
    /// Locks and waiting requests of the range must be given up: they are served elsewhere.
    fn lease_lost(&self, range: RangeId);
    /// Called while the split is applied, before either side serves with the new bounds. On the leaseholder, `right`
    /// inherits the timestamp cache and the locks of its part.
    fn split(&self, left: &Arc<dyn Replica>, right: &Arc<dyn Replica>, right_lease: Option<Lease>);
    /// Called while the merge is applied, before `left` serves anything of `right`, whose leaseholders have served nothing
    /// above `until`. Nothing else is known of what they did. `right` is removed afterwards.
    fn merge(&self, left: &Arc<dyn Replica>, right: &RangeDescriptor, until: Timestamp) {
        let _ = (left, right, until);
    }
    fn removed(&self, range: RangeId);
    /// The range's replicas have changed. The leaseholder brings the `meta` row up to date.
    fn descriptor_changed(&self, replica: &Arc<dyn Replica>) {
        let _ = replica;
    }
}

/// Identifies a key of [`crate::engine::Cf::State`] that belongs to one range: `range id ++ name`.
pub fn state_key(range: RangeId, name: &str) -> Bytes {
    let mut v = Vec::with_capacity(8 + name.len());
    v.extend_from_slice(&range.0.to_be_bytes());
    v.extend_from_slice(name.as_bytes());
    v.into()
}
