//! One leaseholder and several gateways, in one thread: clocks that differ, messages that are late or lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use meridian_storage::base::{BoxFuture, Hlc, NodeId, PhysicalClock, Runtime};
use parking_lot::Mutex;

use super::{FixedSeeds, LocalNode, SimRuntime, first_range, local_node};
use crate::coordinator::Db;
use crate::participant::Participant;
use crate::route::RouterParts;
use crate::rpc::{KvTransport, TransportError, serve};

/// A clock that is ahead of the runtime's by a fixed amount.
struct Ahead(Arc<dyn PhysicalClock>, Duration);

impl PhysicalClock for Ahead {
    fn wall_ns(&self) -> u64 {
        self.0.wall_ns() + self.1.as_nanos() as u64
    }

    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
}

/// What goes wrong, per thousand messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Requests that never arrive.
    pub requests_lost: u64,
    /// Answers that never arrive.
    pub replies_lost: u64,
    /// Each message takes up to this long.
    pub delay: Duration,
}

/// The largest difference of any two clocks, and it is known.
pub const MAX_OFFSET: Duration = Duration::from_millis(5);

pub struct Cluster {
    /// Node 1: has the data.
    pub first: LocalNode,
    /// A gateway on each node; node 1 first.
    pub gateways: Vec<Db>,
    network: Arc<Network>,
}

/// Carries messages to node 1.
struct Network {
    runtime: SimRuntime,
    target: Weak<Participant>,
    faults: Mutex<Faults>,
    /// Nodes that nobody hears any more.
    cut_off: Mutex<BTreeSet<NodeId>>,
    /// How many messages went wrong in each way.
    lost: Mutex<BTreeMap<&'static str, u64>>,
}

impl Cluster {
    /// `nodes` gateways, whose clocks are spread over the bound.
    pub fn new(runtime: &SimRuntime, nodes: u32) -> Self {
        let ahead = |node: u32| MAX_OFFSET * (node * 7 % nodes) / nodes;
        let clock = |node| {
            let physical = Arc::new(Ahead(runtime.clock(), ahead(node)));
            Hlc::new(physical, MAX_OFFSET, true)
        };
        let first = local_node(runtime, clock(1));
        let network = Arc::new(Network {
            runtime: runtime.clone(),
            target: Arc::downgrade(&first.participant),
            faults: Mutex::default(),
            cut_off: Mutex::default(),
            lost: Mutex::default(),
        });
        let mut gateways = vec![first.db.clone()];
        gateways.extend((2..=nodes).map(|node| {
            Db::new(RouterParts {
                node: NodeId(node),
                clock: clock(node),
                runtime: Arc::new(runtime.clone()),
                transport: Arc::new(Wire { network: network.clone(), from: NodeId(node) }),
                seeds: Arc::new(FixedSeeds(first_range())),
            })
        }));
        Cluster { first, gateways, network }
    }

    pub fn set_faults(&self, faults: Faults) {
        *self.network.faults.lock() = faults;
    }

    /// Nobody hears the node any more, as if it were dead.
    pub fn cut_off(&self, node: NodeId) {
        self.network.cut_off.lock().insert(node);
    }

    /// How many messages were lost so far.
    pub fn lost(&self) -> u64 {
        self.network.lost.lock().values().sum()
    }
}

struct Wire {
    network: Arc<Network>,
    from: NodeId,
}

impl KvTransport for Wire {
    fn call(&self, to: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let (network, from) = (self.network.clone(), self.from);
        Box::pin(async move {
            if to != NodeId(1) {
                return Err(TransportError::NotSent(format!("{to} has no data")));
            }
            if network.cut_off.lock().contains(&from) {
                return Err(TransportError::NotSent(format!("{to} does not hear {from}")));
            }
            let faults = *network.faults.lock();
            network.delay(faults).await;
            if network.hits(faults.requests_lost, "request") {
                return Err(TransportError::Lost("the request was dropped".into()));
            }
            let (answer, answered) = futures::channel::oneshot::channel();
            let Some(target) = network.target.upgrade() else {
                return Err(TransportError::NotSent("node 1 is gone".into()));
            };
            // The other side goes on whether anybody waits for the answer or not.
            network.runtime.spawn(
                "serve",
                Box::pin(async move {
                    let _ = answer.send(serve(&*target, request).await);
                }),
            );
            let lost = network.hits(faults.replies_lost, "reply");
            if lost {
                network.delay(faults).await;
                return Err(TransportError::Lost("the reply was dropped".into()));
            }
            let reply = answered.await.map_err(|_| TransportError::Lost("the server has died".into()))?;
            network.delay(faults).await;
            Ok(reply)
        })
    }
}

impl Network {
    fn hits(&self, per_thousand: u64, what: &'static str) -> bool {
        let hit = self.runtime.random() % 1000 < per_thousand;
        if hit {
            *self.lost.lock().entry(what).or_default() += 1;
        }
        hit
    }

    async fn delay(&self, faults: Faults) {
        let most = faults.delay.as_micros() as u64;
        if most > 0 {
            self.runtime.sleep(Duration::from_micros(self.runtime.random() % most)).await;
        }
    }
}
