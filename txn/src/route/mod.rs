//! From keys to leaseholders: which range holds a key, which node leads it, and what to do when the answer is old.
//!
//! Descriptors are stored under their range's *end* key in two levels ([`keys`](meridian_storage::base::keys)):
//! the first range holds `meta1`, `meta1` describes the ranges that hold `meta2`, and `meta2` describes all others.
//! Where the first range is, the [`Seeds`] know. What was looked up is kept in a [`cache`], which may be wrong at any
//! time: a range that is asked for what it does not hold answers with what it knows, and the cache learns.
//!
//! What must stay true:
//! - A request is sent again only if it surely had no effect, or if doing it twice is the same as doing it once.
//!   Anything else that gets no answer is [`KvError::Ambiguous`](crate::rpc::KvError::Ambiguous).
//! - No loop is without an end: after [`GIVE_UP_AFTER`] without a leaseholder, the answer is `Unavailable`.
//! - A batch is never spread over two ranges unseen: its parts are separate batches, and the caller knows
//!   ([`divide`]).

pub mod cache;
pub mod lookup;
pub mod send;
pub mod divide;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use meridian_storage::base::{Clock, NodeId, Runtime};
use meridian_storage::replica::RangeDescriptor;
use parking_lot::RwLock;

pub use cache::{RangeCache, Route};
pub use divide::{Divide, FanOut};

use crate::rpc::{KvTransport, Sender};

/// How long a request looks for a leaseholder before it fails.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(10);

/// How often the bounds of a range may move under one operation.
const MAX_ROUNDS: u32 = 40;

/// Knows the first range without asking a range: from this node's own replicas, from bootstrap, from its peers.
pub trait Seeds: Send + Sync + 'static {
    fn first_range(&self) -> Option<RangeDescriptor>;
}

/// What a router is made of.
pub struct RouterParts {
    pub node: NodeId,
    pub clock: Clock,
    pub runtime: Arc<dyn Runtime>,
    pub transport: Arc<dyn KvTransport>,
    pub seeds: Arc<dyn Seeds>,
}

pub struct Router {
    parts: RouterParts,
    me: Weak<Router>,
    /// This node's participant, which in turn sends through the router: hence it comes later.
    local: OnceLock<Arc<dyn Sender>>,
    cache: RwLock<RangeCache>,
}

impl Router {
    pub fn new(parts: RouterParts) -> Arc<Self> {
        Arc::new_cyclic(|me| Router {
            parts,
            me: me.clone(),
            local: OnceLock::new(),
            cache: RwLock::new(RangeCache::default()),
        })
    }

    /// Names this node's participant, once. Until then the node serves nothing itself.
    pub fn set_local(&self, local: Arc<dyn Sender>) {
        assert!(self.local.set(local).is_ok(), "a node has one participant");
    }

    pub fn node(&self) -> NodeId {
        self.parts.node
    }

    pub fn clock(&self) -> &Clock {
        &self.parts.clock
    }

    pub fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.parts.runtime
    }
}
