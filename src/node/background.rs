//! What a node does unasked: gossip, flushing, placing replicas, measuring itself.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use meridian_storage::base::{NodeId, Span, StorageError};
use meridian_txn::{ScanOptions, TxnOptions};
use prost::Message;
use tokio::sync::watch;

use super::Inner;
use crate::rpc::peers::call_address;
use crate::rpc::proto::{Answer, Ask, NodeState, Request, Response};

/// When a node has started that does not know what time it is.
pub const NOT_YET: u64 = 1;

const GOSSIP_EVERY: Duration = Duration::from_millis(500);
const GOSSIP_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an address of --join that does not answer is left alone, at most.
const INTRODUCE_EVERY_MAX: Duration = Duration::from_secs(4);
const REGISTRY_EVERY: Duration = Duration::from_secs(3);
const MAINTAIN_EVERY: Duration = Duration::from_millis(500);
/// How long a stopping node waits for others to take its leases.
const HAND_OVER: Duration = Duration::from_secs(5);

/// The thread that comes back ends when it is woken after `stop`.
pub fn start(inner: &Arc<Inner>, stop: watch::Receiver<bool>) -> JoinHandle<()> {
    tokio::spawn(until(stop.clone(), gossip(inner.clone())));
    tokio::spawn(until(stop.clone(), introduce(inner.clone())));
    tokio::spawn(until(stop.clone(), registry(inner.clone())));
    tokio::spawn(until(stop.clone(), super::allocator::run(inner.clone())));
    tokio::spawn(until(stop.clone(), super::garbage::run(inner.clone())));
    tokio::spawn(until(stop.clone(), strays(inner.clone())));
    let inner = inner.clone();
    // Flushing blocks: it has a thread of its own, which must not need the runtime: it may see its end.
    let spawned = std::thread::Builder::new().name("maintenance".into()).spawn(move || {
        crate::fault::guard("flushing the store", || {
            while !*stop.borrow() {
                std::thread::park_timeout(MAINTAIN_EVERY);
                // Until statements are taken, the start looks, and fails.
                if inner.sql.get().is_some()
                    && let Some(e) = inner.store.must_give_way()
                {
                    crate::fault::leave(&super::unreadable(&inner.config, &e));
                }
                inner.store.maintain()?;
            }
            Ok::<(), StorageError>(())
        });
    });
    spawned.unwrap_or_else(|e| {
        crate::fault::leave(&format_args!("the maintenance thread cannot be started: {e}"))
    })
}

async fn until(mut stop: watch::Receiver<bool>, work: impl Future<Output = ()>) {
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|s| *s) => {}
    }
}

async fn strays(inner: Arc<Inner>) {
    inner.db.look_for_strays(&inner.store).await;
}

/// If the first range is here, whoever looks for any range begins here.
pub fn note_first_range(inner: &Inner) {
    if let Some(first) = inner.store.descriptors().first().filter(|d| d.start.is_empty()) {
        inner.members.note_first_range((**first).clone());
    }
}

/// Tells the others of this node, and hears of the rest from one of them at a time.
async fn gossip(inner: Arc<Inner>) {
    let mut turn = 0usize;
    loop {
        note_first_range(&inner);
        let status = inner.store.status();
        let log_bytes = inner.log.size();
        inner.members.update_self(|me| {
            me.ranges = status.ranges as u32;
            me.leases = status.leases as u32;
            me.bytes = log_bytes;
            me.fenced = inner.clock.is_fenced();
            if me.started_ms <= NOT_YET && !me.fenced {
                me.started_ms = inner.started_ms();
            }
            me.oldest_transaction =
                inner.sql.get().and_then(|(sql, _)| sql.oldest_transaction()).unwrap_or(0);
        });
        // After a start nobody has spoken yet.
        let living = inner.members.living();
        inner.store.set_nodes(if living.is_empty() { inner.members.others() } else { living });
        let others = inner.peers.others();
        // A small cluster hears at once; a large one by and by.
        for _ in 0..others.len().min(3) {
            turn = turn.wrapping_add(1);
            let to = others[turn % others.len()];
            let inner = inner.clone();
            tokio::spawn(async move {
                let ask = Ask::Gossip(inner.members.gossip());
                if let Ok(answer) = inner.peers.ask(to, ask, GOSSIP_TIMEOUT).await
                    && let Some(Answer::Gossip(gossip)) = answer.answer
                {
                    inner.members.merge(gossip);
                }
            });
        }
        tokio::time::sleep(GOSSIP_EVERY).await;
    }
}

/// Makes itself known at each address of --join, until it has answered once: the nodes that the store knows may have moved.
async fn introduce(inner: Arc<Inner>) {
    let mut silent = inner.config.join.clone();
    let mut pause = GOSSIP_EVERY;
    while !silent.is_empty() {
        let mut still = Vec::new();
        for address in silent {
            let request =
                Request { cluster: inner.cluster.clone(), ask: Some(Ask::Gossip(inner.members.gossip())) };
            match call_address(&address, request, GOSSIP_TIMEOUT).await {
                Ok(Response { answer: Some(Answer::Gossip(gossip)) }) => {
                    inner.members.merge(gossip);
                    continue;
                }
                Err(e) if pause == GOSSIP_EVERY => {
                    tracing::warn!(address, error = %e, "a node of --join is of no help");
                }
                _ => {}
            }
            still.push(address);
        }
        silent = still;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(INTRODUCE_EVERY_MAX);
    }
}

/// Keeps this node's entry in the cluster's data right, and learns from the entries who is leaving.
async fn registry(inner: Arc<Inner>) {
    let mut written = false;
    loop {
        let done: Result<(), meridian_txn::TxnError> = async {
            if !written {
                let me =
                    inner.members.status().into_iter().filter_map(|s| s.state).find(|s| s.node == inner.id.0);
                if let Some(me) = &me {
                    let key = &super::handler::registry_key(inner.id);
                    inner
                        .db
                        .run(TxnOptions::default(), |txn| async move {
                            let old = txn.get(key).await?.and_then(|b| NodeState::decode(b).ok());
                            let leaving = old.as_ref().is_some_and(|o| o.decommissioning);
                            let entry = NodeState { decommissioning: leaving, ..me.clone() };
                            txn.put(key.clone(), entry.encode_to_vec().into());
                            Ok(())
                        })
                        .await?;
                }
                written = true;
            }
            let txn = inner.db.begin(TxnOptions { read_only: true, ..TxnOptions::default() });
            let span = Span::prefix(meridian_storage::base::keys::system_key("node", b""));
            for (_, value) in txn.scan(span, ScanOptions::default()).collect().await? {
                if let Ok(entry) = NodeState::decode(value)
                    && entry.decommissioning
                {
                    inner.members.set_decommissioning(NodeId(entry.node), true);
                }
            }
            Ok(())
        }
        .await;
        if let Err(e) = done {
            tracing::debug!(error = %e, "the registry of nodes is out of reach");
        }
        tokio::time::sleep(REGISTRY_EVERY).await;
    }
}

/// Gives every lease to another replica, for a while: clients of a node that stops in good order wait for no election.
pub async fn hand_over_leases(inner: &Arc<Inner>) {
    let now = inner.clock.now();
    let mut moves = Vec::new();
    for d in inner.store.descriptors() {
        let leads = inner.store.replica(d.range).is_some_and(|r| r.lease(now).is_ok());
        let live = inner.members.status();
        let target = d.voters().map(|r| r.node).find(|n| {
            *n != inner.id
                && live.iter().any(|s| {
                    s.silent_ms < 2_000 && s.state.as_ref().is_some_and(|s| s.node == n.0 && !s.draining)
                })
        });
        if leads && let Some(to) = target {
            let store = inner.store.clone();
            moves.push(async move {
                if let Err(e) = store.transfer_lease(d.range, to).await {
                    tracing::warn!(range = %d.range, error = %e, "the lease was not handed over");
                }
            });
        }
    }
    let _ = tokio::time::timeout(HAND_OVER, futures::future::join_all(moves)).await;
}
