//! Keeps the ranges that this node leads where they should be: gathers the view, lets `placement` plan, carries it out.

use std::sync::Arc;
use std::time::Duration;

use meridian_storage::base::{Key, NodeId};
use meridian_storage::engine::{Cf, Engine};
use meridian_storage::mvcc;
use meridian_storage::placement::{Action, ClusterView, NodeView, Policy, RangeView, plan};
use meridian_storage::replica::RangeDescriptor;
use meridian_txn::{TxnError, TxnErrorKind};

use super::Inner;

const EVERY: Duration = Duration::from_millis(500);
/// Sizes change slowly and cost a look at the disk.
const SIZES_EVERY: u32 = 10;
/// Longer than gossip needs.
const TURN: Duration = Duration::from_secs(2);
/// Ranges whose descriptors are published again, unasked, so that a publication that was interrupted is made up for.
const PUBLISH_EVERY: u32 = 120;

pub async fn run(inner: Arc<Inner>) {
    let policy = Policy {
        dead_after: inner.config.replace_after,
        split_bytes: inner.config.range_size,
        ..Policy::default()
    };
    let mut round = 0u32;
    let mut sizes = std::collections::BTreeMap::new();
    loop {
        tokio::time::sleep(EVERY).await;
        round = round.wrapping_add(1);
        let led = led_ranges(&inner);
        if round % SIZES_EVERY == 1 {
            sizes = led.iter().map(|d| (d.range, size(&inner, d))).collect();
        }
        let ranges = led
            .iter()
            .map(|d| RangeView { descriptor: d.clone(), bytes: sizes.get(&d.range).copied().unwrap_or(0) })
            .collect();
        let nodes = nodes(&inner);
        let balances = turn(&nodes, inner.clock.wall_ns()) == Some(inner.id);
        let view = ClusterView { nodes, ranges, balances };
        for action in plan(&view, inner.id, &policy) {
            if let Action::Split { range } = &action {
                // What was measured is the size of both halves: not to be split again for that.
                sizes.remove(range);
            }
            if let Err(e) = carry_out(&inner, &action).await {
                tracing::info!(?action, error = %e, "not done now");
            }
        }
        if round.is_multiple_of(PUBLISH_EVERY)
            && let Err(e) = inner.db.publish(&led_ranges(&inner)).await
        {
            tracing::debug!(error = %e, "range descriptors could not be published again");
        }
    }
}

/// Whose turn it is to move replicas for the sake of balance: the others see what came of it before theirs.
fn turn(nodes: &std::collections::BTreeMap<NodeId, NodeView>, wall_ns: u64) -> Option<NodeId> {
    let slot = wall_ns / TURN.as_nanos() as u64;
    nodes.keys().nth((slot % nodes.len().max(1) as u64) as usize).copied()
}

fn led_ranges(inner: &Inner) -> Vec<RangeDescriptor> {
    let now = inner.clock.now();
    let leads = |d: &RangeDescriptor| inner.store.replica(d.range).is_some_and(|r| r.lease(now).is_ok());
    inner.store.descriptors().iter().map(|d| (**d).clone()).filter(leads).collect()
}

fn nodes(inner: &Inner) -> std::collections::BTreeMap<NodeId, NodeView> {
    let view = |s: crate::rpc::proto::NodeStatus| {
        let state = s.state?;
        // An entry without a start was only heard of: the node has not spoken yet.
        (state.started_ms > 0).then(|| {
            let view = NodeView {
                silent_for: Duration::from_millis(s.silent_ms),
                draining: state.decommissioning,
                fenced: state.fenced,
                replicas: state.ranges as usize,
                leases: state.leases as usize,
            };
            (NodeId(state.node), view)
        })
    };
    inner.members.status().into_iter().filter_map(view).collect()
}

/// Bytes of a range's versions.
fn size(inner: &Inner, d: &RangeDescriptor) -> u64 {
    let (start, end) = (mvcc::key::encode_key(&d.start), mvcc::key::encode_key(&d.end));
    inner.store.engine().approximate_size(Cf::Data, &start, &end).unwrap_or(0)
}

async fn carry_out(inner: &Arc<Inner>, action: &Action) -> Result<(), String> {
    tracing::info!(?action, "placing");
    let range = match action {
        Action::Change { range, add, remove, .. } => {
            let changed = inner.store.change_replicas(*range, add.clone(), remove.clone()).await;
            changed.map_err(|e| e.to_string())?;
            *range
        }
        Action::TransferLease { range, to, .. } => {
            inner.store.transfer_lease(*range, *to).await.map_err(|e| e.to_string())?;
            return Ok(());
        }
        Action::Split { range } => {
            let Some(replica) = inner.store.replica(*range) else { return Ok(()) };
            let descriptor = replica.descriptor();
            let engine = inner.store.engine().clone();
            let found = tokio::task::spawn_blocking(move || split_key(&*engine, &descriptor)).await;
            let Some(key) = found.map_err(|e| e.to_string())? else {
                return Err("no key to split at".into());
            };
            return match inner.db.split_at(key).await {
                Err(TxnError { kind: TxnErrorKind::Unsupported, message, .. }) => Err(message),
                other => other.map_err(|e| e.to_string()),
            };
        }
    };
    let Some(replica) = inner.store.replica(range) else { return Ok(()) };
    inner.db.publish(&[(*replica.descriptor()).clone()]).await.map_err(|e| e.to_string())
}

/// The key in the middle of a range's data.
fn split_key(engine: &dyn Engine, d: &RangeDescriptor) -> Option<Key> {
    let span = d.span();
    let total = engine
        .approximate_size(Cf::Data, &mvcc::key::encode_key(&d.start), &mvcc::key::encode_key(&d.end))
        .unwrap_or(0);
    mvcc::find_split_key(engine, &span, total / 2).ok().flatten()
}
