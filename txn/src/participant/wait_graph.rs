//! Who waits for whom, as far as this node knows: deadlocks are cycles in it.
//!
//! Requests that wait on this node's ranges are edges of their own, as long as they wait. What pushes from other nodes tell -
//! the pusher waits for the pushee, others wait for the pusher - are edges for a moment: they must be told again.
//! So a cycle over any number of nodes is closed, one hop a push, at a node that knows all of it.
//!
//! The victim of a cycle is the transaction of the lowest priority, among those the youngest: whoever sees the cycle
//! chooses the same. What must stay true: a transaction is chosen only by a cycle that stood; edges of other nodes
//! may be as old as [`REMOTE_EDGE_LIFE`], so that, rarely, a cycle is seen that has just dissolved. That costs a
//! transaction, never correctness.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use meridian_storage::base::{Timestamp, TxnId};
use parking_lot::Mutex;

use super::lock_table::Slot;
use crate::rpc::{KvError, TxnMeta, WaitEdge};

/// How long another node's edge is believed: a few push intervals.
pub const REMOTE_EDGE_LIFE: Duration = Duration::from_millis(350);

struct Edge {
    on: TxnId,
    priority: u32,
    min_ts: Timestamp,
    source: Source,
}

enum Source {
    /// A request that waits here.
    Here { ticket: u64, slot: Arc<Slot> },
    /// Until this time of the monotonic clock.
    Elsewhere { until: Duration },
}

#[derive(Default)]
pub struct WaitGraph {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    next_ticket: u64,
    edges: BTreeMap<TxnId, Vec<Edge>>,
}

/// Edges of a request that waits here; they go when it is dropped.
pub struct Waiting {
    graph: Arc<WaitGraph>,
    waiter: TxnId,
    ticket: u64,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut inner = self.graph.inner.lock();
        let Some(edges) = inner.edges.get_mut(&self.waiter) else { return };
        let is_mine = |e: &Edge| matches!(e.source, Source::Here { ticket, .. } if ticket == self.ticket);
        let on: Vec<TxnId> = edges.iter().filter(|e| is_mine(e)).map(|e| e.on).collect();
        // Other nodes may have told back what they had heard of this wait: it is over.
        let is_echo = |e: &Edge| matches!(e.source, Source::Elsewhere { .. }) && on.contains(&e.on);
        edges.retain(|e| !is_mine(e) && !is_echo(e));
        if edges.is_empty() {
            inner.edges.remove(&self.waiter);
        }
    }
}

impl WaitGraph {
    /// A request of `waiter` begins to wait; a deadlock is told through `slot`.
    pub fn wait(self: &Arc<Self>, waiter: &TxnMeta, on: &[TxnId], slot: &Arc<Slot>) -> Waiting {
        let mut inner = self.inner.lock();
        let ticket = inner.next_ticket;
        inner.next_ticket += 1;
        let edges = on.iter().map(|on| Edge {
            on: *on,
            priority: waiter.priority,
            min_ts: waiter.min_ts,
            source: Source::Here { ticket, slot: slot.clone() },
        });
        inner.edges.entry(waiter.id).or_default().extend(edges);
        Waiting { graph: self.clone(), waiter: waiter.id, ticket }
    }

    /// Takes note of what another node knows.
    pub fn learn(&self, edges: &[WaitEdge], now: Duration) {
        let mut inner = self.inner.lock();
        for told in edges {
            let list = inner.edges.entry(told.waiter).or_default();
            list.retain(|e| e.on != told.on || matches!(e.source, Source::Here { .. }));
            list.push(Edge {
                on: told.on,
                priority: told.priority,
                min_ts: told.min_ts,
                source: Source::Elsewhere { until: now + REMOTE_EDGE_LIFE },
            });
        }
    }

    /// A cycle through `txn`, beginning with its own edge.
    pub fn cycle(&self, txn: TxnId, now: Duration) -> Option<Vec<WaitEdge>> {
        let mut inner = self.inner.lock();
        inner.forget(now);
        let (mut path, mut seen) = (Vec::new(), BTreeSet::new());
        inner.find(txn, txn, &mut path, &mut seen).then_some(path)
    }

    /// Everybody who waits for `txn`, directly or through others.
    pub fn waiters(&self, txn: TxnId, now: Duration) -> Vec<WaitEdge> {
        let mut inner = self.inner.lock();
        inner.forget(now);
        let mut reached = BTreeSet::from([txn]);
        let mut found: BTreeMap<(TxnId, TxnId), WaitEdge> = BTreeMap::new();
        loop {
            let before = found.len();
            for (waiter, edges) in &inner.edges {
                for e in edges.iter().filter(|e| reached.contains(&e.on)) {
                    found.entry((*waiter, e.on)).or_insert_with(|| e.told(*waiter));
                }
            }
            reached.extend(found.keys().map(|(waiter, _)| *waiter));
            if found.len() == before {
                return found.into_values().collect();
            }
        }
    }

    /// Tells the requests of `victim` that wait here to give up; false if there are none.
    pub fn fail(&self, victim: TxnId, cycle: &[WaitEdge]) -> bool {
        let inner = self.inner.lock();
        let mut told = false;
        for edge in inner.edges.get(&victim).into_iter().flatten() {
            if let Source::Here { slot, .. } = &edge.source {
                slot.fail(deadlock(cycle));
                told = true;
            }
        }
        told
    }
}

/// Who dies of a cycle.
pub fn victim(cycle: &[WaitEdge]) -> Option<TxnId> {
    cycle.iter().min_by_key(|e| (e.priority, Reverse(e.min_ts), Reverse(e.waiter))).map(|e| e.waiter)
}

pub fn deadlock(cycle: &[WaitEdge]) -> KvError {
    KvError::Deadlock { cycle: cycle.iter().map(|e| e.on).collect() }
}

impl Edge {
    fn told(&self, waiter: TxnId) -> WaitEdge {
        WaitEdge { waiter, on: self.on, priority: self.priority, min_ts: self.min_ts }
    }
}

impl Inner {
    fn forget(&mut self, now: Duration) {
        self.edges.retain(|_, edges| {
            edges.retain(|e| !matches!(e.source, Source::Elsewhere { until } if until <= now));
            !edges.is_empty()
        });
    }

    /// A path from `at` to `target`, depth first.
    fn find(&self, at: TxnId, target: TxnId, path: &mut Vec<WaitEdge>, seen: &mut BTreeSet<TxnId>) -> bool {
        if !seen.insert(at) {
            return false;
        }
        for edge in self.edges.get(&at).into_iter().flatten() {
            path.push(edge.told(at));
            if edge.on == target || self.find(edge.on, target, path, seen) {
                return true;
            }
            path.pop();
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge(waiter: u128, on: u128) -> WaitEdge {
        WaitEdge {
            waiter: TxnId(waiter),
            on: TxnId(on),
            priority: 0,
            min_ts: Timestamp::new(waiter as u64, 0),
        }
    }

    #[test]
    fn a_cycle_is_found_and_the_youngest_dies() {
        let graph = WaitGraph::default();
        graph.learn(&[edge(1, 2), edge(2, 3), edge(2, 9)], Duration::ZERO);
        assert!(graph.cycle(TxnId(1), Duration::ZERO).is_none());
        graph.learn(&[edge(3, 1)], Duration::ZERO);
        let cycle = graph.cycle(TxnId(2), Duration::ZERO).expect("a cycle");
        assert_eq!(cycle, [edge(2, 3), edge(3, 1), edge(1, 2)]);
        assert_eq!(victim(&cycle), Some(TxnId(3)));
        assert!(graph.cycle(TxnId(9), Duration::ZERO).is_none());
        // What was told long ago is not believed.
        assert!(graph.cycle(TxnId(2), REMOTE_EDGE_LIFE).is_none());
    }

    #[test]
    fn waiters_are_followed_backwards() {
        let graph = WaitGraph::default();
        graph.learn(&[edge(1, 2), edge(2, 3), edge(4, 5)], Duration::ZERO);
        assert_eq!(graph.waiters(TxnId(3), Duration::ZERO), [edge(1, 2), edge(2, 3)]);
        assert!(graph.waiters(TxnId(1), Duration::ZERO).is_empty());
    }
}
