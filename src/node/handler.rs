//! What a node does with what other nodes and the command line ask.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use meridian_storage::base::{BoxFuture, NodeId, keys::system_key};
use meridian_storage::store::MessageBatch;
use meridian_txn::TxnOptions;
use prost::Message;

use super::Inner;
use crate::rpc::proto::{
    Answer, Ask, DecommissionAnswer, Gossip, Join, Joined, NodeState, Request, Response, StatusAnswer,
};
use crate::rpc::server::Handler;

pub struct NodeHandler(pub Arc<Inner>);

/// Where a node's lasting entry is.
pub fn registry_key(node: NodeId) -> meridian_storage::base::Key {
    system_key("node", &node.0.to_be_bytes())
}

impl Handler for NodeHandler {
    fn raft(&self, from: NodeId, body: Bytes) {
        match MessageBatch::decode(body) {
            Ok(batch) if batch.from == from => self.0.store.receive(batch),
            Ok(batch) => tracing::warn!(%from, claimed = %batch.from, "dropped messages under a false name"),
            Err(e) => tracing::warn!(%from, error = %e, "dropped malformed messages"),
        }
    }

    fn kv(&self, body: Bytes) -> BoxFuture<'static, Bytes> {
        let inner = self.0.clone();
        Box::pin(async move { meridian_txn::rpc::serve(&*inner.participant, body).await })
    }

    fn call(&self, _peer: Option<SocketAddr>, request: Request) -> BoxFuture<'_, Result<Response, String>> {
        Box::pin(async move {
            let inner = &self.0;
            let answer = match request.ask.ok_or("the request asks for nothing")? {
                Ask::Join(join) => Answer::Joined(take_in(inner, join).await?),
                Ask::Gossip(gossip) => {
                    inner.members.merge(gossip);
                    Answer::Gossip(inner.members.gossip())
                }
                Ask::Status(_) => Answer::Status(StatusAnswer {
                    cluster: inner.cluster.clone(),
                    nodes: inner.members.status(),
                }),
                Ask::Decommission(d) => Answer::Decommission(decommission(inner, NodeId(d.node)).await?),
                Ask::Check(check) => Answer::Check(super::check::part(&inner.db, check).await?),
            };
            Ok(Response { answer: Some(answer) })
        })
    }
}

/// Gives a new node its number and its entry.
async fn take_in(inner: &Inner, join: Join) -> Result<Joined, String> {
    if join.version != env!("CARGO_PKG_VERSION") {
        return Err(format!(
            "this cluster runs version {}, the joining node version {}",
            env!("CARGO_PKG_VERSION"),
            join.version
        ));
    }
    // From now on there may be timestamps of another clock.
    inner.db.set_alone(false);
    let counter = &super::node_counter();
    let address = &join.address;
    let node = inner
        .db
        .run(TxnOptions::default(), |txn| async move {
            // Node 1 began the cluster.
            let last = txn
                .get(counter)
                .await?
                .and_then(|b| b.as_ref().try_into().ok())
                .map_or(1, u32::from_be_bytes);
            let node = last + 1;
            let entry = NodeState { node, address: address.clone(), ..Default::default() };
            txn.put(counter.clone(), Bytes::copy_from_slice(&node.to_be_bytes()));
            txn.put(registry_key(NodeId(node)), entry.encode_to_vec().into());
            Ok(node)
        })
        .await
        .map_err(|e| format!("cannot register the node: {e}"))?;
    tracing::info!(node, address = join.address, "a node joins");
    inner.members.merge(Gossip {
        nodes: vec![NodeState { node, address: join.address, ..Default::default() }],
        first_range: Bytes::new(),
    });
    Ok(Joined { cluster: inner.cluster.clone(), node, gossip: Some(inner.members.gossip()) })
}

/// Notes that a node is to leave, and counts what it still holds.
async fn decommission(inner: &Inner, node: NodeId) -> Result<DecommissionAnswer, String> {
    let known = inner.members.status();
    let state = known
        .iter()
        .filter_map(|s| s.state.as_ref())
        .find(|s| s.node == node.0)
        .ok_or_else(|| format!("there is no node {} in this cluster", node.0))?
        .clone();
    if !state.decommissioning {
        let staying = known
            .iter()
            .filter(|s| s.state.as_ref().is_some_and(|s| !s.decommissioning && s.node != node.0))
            .count();
        if staying == 0 {
            return Err("the last node of a cluster cannot be decommissioned".into());
        }
        let entry = &NodeState { decommissioning: true, ..state };
        inner
            .db
            .run(TxnOptions::default(), |txn| async move {
                txn.put(registry_key(node), entry.encode_to_vec().into());
                Ok(())
            })
            .await
            .map_err(|e| format!("cannot note that node {} leaves: {e}", node.0))?;
        inner.members.set_decommissioning(node, true);
    }
    let ranges = inner.db.ranges().await.map_err(|e| format!("cannot list the ranges: {e}"))?;
    let left = ranges.iter().filter(|r| r.replica_on(node).is_some()).count();
    Ok(DecommissionAnswer { replicas_left: left as u32 })
}
