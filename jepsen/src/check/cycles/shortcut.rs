//! Cycles with one session or real-time edge: a short path over data, from the end of which the order leads straight back.
//!
//! An order edge may stand for a chain through the whole history, in which a walk would lose itself; whether there is one
//! between two transactions is a comparison. What is not found here may still be there: `search` goes on.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use super::search::Search;
use super::{Cycle, cycle, implies, is_simple};
use crate::check::anomaly::{Class, Order};
use crate::check::graph::{Dependency, Edge, Kind, Kinds, Reason};

/// Edges of a path, and steps from one transaction.
const LENGTH_MAX: u32 = 4;
const STEPS_MAX: usize = 400;

struct Visit {
    node: u32,
    edge: u32,
    from: Option<u32>,
    length: u32,
    anti: u8,
}

impl Search<'_> {
    /// The shortest that there is from any transaction of a part of the graph.
    pub(super) fn shortcut(&self, nodes: &[u32], scope: u32) -> Option<Cycle> {
        if self.order == Order::Data {
            return None;
        }
        let kinds = Kinds::of(self.allowed(), Order::Data);
        let mut best: Option<Cycle> = None;
        for node in nodes.iter().filter(|n| !self.graph.is_hub(**n)) {
            if let Some(cycle) = self.shortcut_from(*node, scope, kinds)
                && best.as_ref().is_none_or(|b| cycle.steps.len() < b.steps.len())
            {
                if cycle.steps.len() == 2 {
                    return Some(cycle);
                }
                best = Some(cycle);
            }
        }
        best
    }

    fn shortcut_from(&self, start: u32, scope: u32, kinds: Kinds) -> Option<Cycle> {
        let anti_max = if self.class == Class::GSingle { 1 } else { 2 };
        let mut visits: Vec<Visit> = Vec::new();
        let mut queue: VecDeque<Option<u32>> = VecDeque::from([None]);
        let mut met: FxHashSet<(u32, u8)> = FxHashSet::default();
        let mut steps = STEPS_MAX;
        while let Some(place) = queue.pop_front() {
            let (node, length, anti) = match place {
                None => (start, 0, 0),
                Some(at) => {
                    let Visit { node, length, anti, .. } = visits[at as usize];
                    (node, length, anti)
                }
            };
            if let Some(at) = place
                && self.timeline.precedes(self.order, node, start)
                && let Some(cycle) = self.closed(&visits, at, start)
            {
                return Some(cycle);
            }
            if length == LENGTH_MAX {
                continue;
            }
            for edge_at in self.graph.leaving(node) {
                if steps == 0 {
                    return None;
                }
                steps -= 1;
                let edge = self.graph.edge(edge_at);
                if !kinds.has(edge.kind) || !self.scopes.holds(scope, edge.to) || edge.to == start {
                    continue;
                }
                let anti = anti + u8::from(edge.kind.dependency() == Some(Dependency::Rw));
                if anti > anti_max || !met.insert((edge.to, anti)) {
                    continue;
                }
                let length = length + u32::from(edge.kind != Kind::Pass);
                visits.push(Visit { node: edge.to, edge: edge_at, from: place, length, anti });
                queue.push_back(Some(visits.len() as u32 - 1));
            }
        }
        None
    }

    /// A path and the order edge that closes it, if that is of the class.
    fn closed(&self, visits: &[Visit], last: u32, start: u32) -> Option<Cycle> {
        let kind = if self.order == Order::Process { Kind::Process } else { Kind::Realtime };
        let end = visits[last as usize].node;
        let mut edges = vec![Edge { from: end, to: start, kind, reason: Reason::default() }];
        let mut place = Some(last);
        while let Some(at) = place {
            edges.push(*self.graph.edge(visits[at as usize].edge));
            place = visits[at as usize].from;
        }
        let cycle = cycle(edges.into_iter().rev());
        (implies(&cycle, self.class, self.order) && is_simple(&cycle)).then_some(cycle)
    }
}
