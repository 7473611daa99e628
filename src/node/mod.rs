//! One process of the cluster, assembled: engine and log, the store's thread, transactions, SQL, and the doors to the
//! outside.
//!
//! Start: open or initialise the store (or join), listen, run. Stop: refuse new sessions, let transactions end for a
//! while, hand the leases over, stop the store.
//!
//! What must stay true: a fault of the disk or a broken invariant in the store's thread ends the process at once; nothing is
//! answered after it. A read of the state that fails is answered as what it is, and ends the process soon after
//! (`background`), so that others take the leases.

pub mod config;
pub mod system;
pub mod members;
mod allocator;
mod background;
pub mod check;
mod disks;
mod garbage;
mod handler;
mod metrics;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use meridian_sql::catalog::CatalogCache;
use meridian_sql::error::SqlError;
use meridian_sql::session::SqlNode;
use meridian_storage::base::keys::system_key;
use meridian_storage::base::{BoxFuture, Clock, Key, NodeId, Runtime, StorageError, Unsound};
use meridian_storage::engine::Engine;
use meridian_storage::log::{LogOwner, LogStore};
use meridian_storage::mvcc::GcThresholds;
use meridian_storage::store::{self, MessageBatch, RaftTransport, StoreHandle, StoreParts};
use meridian_txn::participant::Participant;
use meridian_txn::route::RouterParts;
use meridian_txn::rpc::{KvError, KvTransport, TransportError};
use meridian_txn::{Db, TxnError, TxnOptions};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::pgwire::doorman;
use crate::pgwire::server::PgServer;
use crate::rpc::peers::{Identity, Peers, call_address};
use crate::rpc::proto::{Answer, Ask, Join, Joined, NodeState, Request};
use crate::rpc::server::RpcServer;
use config::NodeConfig;
use members::Members;
use system::{BoundSource, TokioRuntime};

/// How long statements may go on after the node was asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// A running node.
pub struct Node {
    pub id: NodeId,
    pub sql: SocketAddr,
    pub rpc: SocketAddr,
    pub http: SocketAddr,
    inner: Arc<Inner>,
    stop: watch::Sender<bool>,
    store_thread: JoinHandle<()>,
    maintenance: JoinHandle<()>,
}

/// What the node's parts share.
pub(crate) struct Inner {
    pub id: NodeId,
    pub cluster: String,
    pub clock: Clock,
    pub store: StoreHandle,
    pub log: Arc<dyn LogStore>,
    pub participant: Arc<Participant>,
    pub db: Db,
    pub members: Arc<Members>,
    pub peers: Arc<Peers>,
    pub config: NodeConfig,
    /// What the engine's compactions may drop.
    pub thresholds: Arc<GcThresholds>,
    pub bound: BoundSource,
    /// Set once the catalog is open and statements can run.
    pub sql: std::sync::OnceLock<(Arc<SqlNode>, Arc<PgServer>)>,
}

impl Inner {
    /// When the process started, by what is known of the time now; milliseconds since the Unix epoch.
    fn started_ms(&self) -> u64 {
        self.clock.wall_ns().saturating_sub(self.clock.monotonic().as_nanos() as u64) / 1_000_000
    }
}

impl Node {
    /// Starts a node; returns when it takes statements.
    pub async fn start(config: NodeConfig) -> Result<Node, String> {
        config.check()?;
        if let Err(e) = system::raise_open_files() {
            tracing::warn!(error = %e, "the limit on open files stays as it is");
        }
        let runtime = TokioRuntime::current();
        let (clock, bound) = system::clock(config.max_clock_offset);
        // All doors first: a port in use must not leave a half-made store behind.
        let (sql, http, rpc) = (
            listen("--listen-sql", config.sql).await?,
            listen("--listen-http", config.http).await?,
            listen("--listen-rpc", config.rpc).await?,
        );
        let local = |l: &TcpListener| l.local_addr().map_err(|e| e.to_string());
        let (sql_at, rpc_at, http_at) = (local(&sql)?, local(&rpc)?, local(&http)?);
        let reached_at = config.advertised_rpc.unwrap_or(rpc_at);

        let thresholds = GcThresholds::new();
        let folder = config.folder.as_deref();
        let engine = disks::open_state(folder, config.cache as usize, thresholds.clone())?;
        let joined = identify(&config, &*engine, &clock, runtime.as_ref(), reached_at).await?;

        let identity = store::identity(&*engine).map_err(fault)?.ok_or("the store has no identity")?;
        let log = disks::open_log(folder, LogOwner { cluster: identity.cluster, node: identity.node })?;
        let (id, cluster) = (identity.node, format!("{:032x}", identity.cluster));
        let peers = Peers::new(Identity { cluster: cluster.clone(), node: id });
        let me = NodeState {
            node: id.0,
            address: reached_at.to_string(),
            sql_address: sql_at.to_string(),
            started_ms: background::NOT_YET,
            // Opening the store counts this one.
            start: identity.incarnation + 1,
            version: env!("CARGO_PKG_VERSION").into(),
            ..Default::default()
        };
        let members = Members::new(me, clock.clone(), peers.clone(), config.folder.as_deref());
        if let Some(joined) = joined
            && let Some(gossip) = joined.gossip
        {
            members.merge(gossip);
        }

        let participant = Participant::new(id, clock.clone(), runtime.clone());
        let parts = StoreParts {
            config: config.store.clone().suited_to(clock.max_offset()),
            engine: engine.clone(),
            log: log.clone(),
            clock: clock.clone(),
            runtime: runtime.clone(),
            transport: Arc::new(RaftOverPeers(peers.clone())),
            observer: participant.clone(),
        };
        let (core, store) = store::open(parts, None).map_err(fault)?;
        let db = Db::new(RouterParts {
            node: id,
            clock: clock.clone(),
            runtime: runtime.clone(),
            transport: Arc::new(KvOverPeers(peers.clone())),
            seeds: members.clone(),
        });
        db.router().set_local(participant.clone());
        participant.set_sender(db.router());
        participant.set_liveness(members.clone());
        let store_thread = std::thread::Builder::new()
            .name("store".into())
            .spawn(move || run_store(core))
            .map_err(|e| format!("cannot start a thread: {e}"))?;

        let inner = Arc::new(Inner {
            id,
            cluster,
            clock,
            store,
            log,
            participant,
            thresholds,
            db,
            members,
            peers,
            config,
            bound,
            sql: std::sync::OnceLock::new(),
        });
        background::note_first_range(&inner);
        // Before anything is served: from them it hears whether its clock is right.
        inner.store.set_nodes(inner.members.others());
        let (stop, stopping) = watch::channel(false);
        let server = RpcServer {
            identity: inner.peers.identity().clone(),
            handler: Arc::new(handler::NodeHandler(inner.clone())),
        };
        let mut until = stopping.clone();
        tokio::spawn(async move {
            let done = server.run(rpc, async move {
                let _ = until.wait_for(|s| *s).await;
            });
            if let Err(e) = done.await {
                tracing::error!(error = %e, "the node-to-node server failed");
            }
        });
        tokio::spawn(crate::http::serve(http, Arc::new(metrics::NodePages(inner.clone()))));
        let maintenance = background::start(&inner, stopping.clone());
        tokio::spawn(notice_solitude(inner.clone(), stopping.clone()));

        let refused = || {
            let reason = inner.clock.unsound().filter(|reason| *reason != Unsound::Unheard)?;
            Some(SqlError::from(TxnError::from(KvError::fenced(id, reason))))
        };
        let opening = open_sql(&inner, &runtime, stopping);
        let pg = doorman::while_waiting(&sql, refused, opening).await?;
        tokio::spawn(pg.run(sql));
        Ok(Node { id, sql: sql_at, rpc: rpc_at, http: http_at, inner, stop, store_thread, maintenance })
    }

    pub fn cluster(&self) -> &str {
        &self.inner.cluster
    }

    pub fn consistency(&self) -> String {
        consistency(&self.inner.clock, self.inner.bound)
    }

    /// Refuses new sessions, waits for the running transactions, hands over the leases, stops.
    pub async fn stop(self) {
        self.inner.members.update_self(|me| me.draining = true);
        let _ = self.stop.send(true);
        if let Some((_, pg)) = self.inner.sql.get() {
            let done = async {
                while !pg.cancels.is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            if tokio::time::timeout(DRAIN, done).await.is_err() {
                tracing::warn!("stopping with {} sessions in transactions", pg.cancels.len());
                pg.cancels.cancel_all();
            }
        }
        background::hand_over_leases(&self.inner).await;
        self.inner.store.stop();
        self.maintenance.thread().unpark();
        for thread in [self.store_thread, self.maintenance] {
            let _ = tokio::task::spawn_blocking(move || thread.join()).await;
        }
        // What is in memory becomes a file, so that the next start replays nothing.
        if let Err(e) = self.inner.store.flush() {
            tracing::warn!(error = %e, "the last flush failed; the log will be replayed");
        }
    }
}

/// The store's thread. Its end by a fault is the end of the process: what was promised cannot be kept any more.
fn run_store(core: store::StoreCore) {
    crate::fault::guard("the store", || core.run());
}

fn fault(e: StorageError) -> String {
    e.to_string()
}

/// What is wrong with the store, and what can be done.
fn unreadable(config: &NodeConfig, e: &StorageError) -> String {
    let store = config.folder.as_ref().map_or("mem".into(), |f| f.display().to_string());
    let first = match e {
        StorageError::Corruption(_) => "restore it",
        _ => "find out what ails the disk and start again",
    };
    format!(
        "store {store}: {e}\n\
         What to do: {first}, or start with an empty --store and --join a cluster that has the data"
    )
}

async fn listen(flag: &str, address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).await.map_err(|e| {
        format!("cannot listen on {address} ({flag}): {e}\nIs another node running? Give it another address.")
    })
}

/// Makes sure that the store knows who it is: as it was, or as the first node of a cluster, or as a joining node.
async fn identify(
    config: &NodeConfig,
    engine: &dyn Engine,
    clock: &Clock,
    runtime: &dyn Runtime,
    rpc: SocketAddr,
) -> Result<Option<Joined>, String> {
    if store::identity(engine).map_err(fault)?.is_some() {
        return Ok(None);
    }
    if config.join.is_empty() {
        let cluster = u128::from(runtime.random()) << 64 | u128::from(runtime.random());
        let node = NodeId(1);
        disks::found_log(config.folder.as_deref(), LogOwner { cluster, node })?;
        store::bootstrap(engine, cluster, node, clock.now()).map_err(fault)?;
        return Ok(None);
    }
    let joined = join(config, rpc).await?;
    let cluster = u128::from_str_radix(&joined.cluster, 16)
        .map_err(|_| format!("the cluster's id `{}` is malformed", joined.cluster))?;
    let node = NodeId(joined.node);
    disks::found_log(config.folder.as_deref(), LogOwner { cluster, node })?;
    store::join(engine, cluster, node).map_err(fault)?;
    Ok(Some(joined))
}

/// Asks the given nodes in turn, for a while: nodes of a new cluster are often started together.
async fn join(config: &NodeConfig, rpc: SocketAddr) -> Result<Joined, String> {
    let ask = Join { address: rpc.to_string(), version: env!("CARGO_PKG_VERSION").into() };
    let until = tokio::time::Instant::now() + config.join_for;
    let mut errors = Vec::new();
    loop {
        errors.clear();
        for address in &config.join {
            let request = Request { cluster: String::new(), ask: Some(Ask::Join(ask.clone())) };
            match call_address(address, request, Duration::from_secs(10)).await {
                Ok(answer) => match answer.answer {
                    Some(Answer::Joined(joined)) => return Ok(joined),
                    _ => errors.push(format!("{address}: unexpected answer")),
                },
                Err(e) => errors.push(format!("{address}: {e}")),
            }
        }
        if tokio::time::Instant::now() >= until {
            return Err(format!(
                "cannot join the cluster: no node of --join took this one in {:?}\n  {}",
                config.join_for,
                errors.join("\n  ")
            ));
        }
        tracing::warn!("waiting for a node to join: {}", errors.join("; "));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn open_sql(
    inner: &Arc<Inner>,
    runtime: &Arc<TokioRuntime>,
    drain: watch::Receiver<bool>,
) -> Result<Arc<PgServer>, String> {
    // A restarted node waits here for a majority, however long that takes. What ails its own files does not go by.
    let catalog = loop {
        match CatalogCache::open(inner.db.clone()).await {
            Ok(catalog) => break catalog,
            Err(e) => {
                if let Some(e) = inner.store.engine().fault() {
                    return Err(unreadable(&inner.config, &e));
                }
                tracing::warn!(error = %e, "waiting for the cluster's catalog");
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
        }
    };
    let wall = (inner.clock.wall_ns() / 1000) as i64;
    let node = Arc::new(SqlNode {
        consistency: consistency(&inner.clock, inner.bound),
        started: wall - meridian_sql::session::POSTGRES_EPOCH_MICROS,
        ..SqlNode::new(inner.db.clone(), catalog)
    });
    tokio::spawn(meridian_sql::schema_change::jobs::run_loop(node.catalog.clone()));
    let pg = Arc::new(PgServer {
        node: node.clone(),
        runtime: runtime.clone(),
        cancels: Default::default(),
        connections: AtomicUsize::new(0),
        drain,
    });
    let _ = inner.sql.set((node, pg.clone()));
    Ok(pg)
}

/// Where the last node number is, once a second node has joined.
pub(crate) fn node_counter() -> Key {
    system_key("node-id", b"")
}

/// As long as no other node was ever taken in, there is no other clock, and no read is of uncertain age. Taking one in ends
/// that (`handler`), whether it comes before or after this has found out.
async fn notice_solitude(inner: Arc<Inner>, mut stop: watch::Receiver<bool>) {
    loop {
        let txn = inner.db.begin(TxnOptions { read_only: true, ..TxnOptions::default() });
        match txn.get(&node_counter()).await {
            Ok(None) => return inner.db.set_alone(true),
            Ok(Some(_)) => return,
            Err(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
            _ = stop.wait_for(|s| *s) => return,
        }
    }
}

/// `SHOW meridian.consistency`.
fn consistency(clock: &Clock, bound: BoundSource) -> String {
    let (offset, source) = (
        clock.max_offset(),
        match bound {
            BoundSource::Flag => "given by --max-clock-offset",
            BoundSource::Kernel => "the kernel's estimate",
            BoundSource::Default => "assumed",
        },
    );
    match clock.bound_known() {
        true => format!("strict serializable (clocks within {offset:?}: {source})"),
        false => format!("serializable, linearizable per key (clocks within {offset:?}: {source})"),
    }
}

struct RaftOverPeers(Arc<Peers>);

impl RaftTransport for RaftOverPeers {
    fn send(&self, batch: MessageBatch) {
        self.0.send_raft(batch.to, Bytes::from(batch.encode()));
    }
}

struct KvOverPeers(Arc<Peers>);

impl KvTransport for KvOverPeers {
    fn call(&self, to: NodeId, request: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        self.0.call(to, request)
    }
}
