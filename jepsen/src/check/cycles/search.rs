//! Breadth-first searches for the shortest cycle of a class.

use std::collections::VecDeque;

use rustc_hash::FxHashSet;

use super::{Cycle, alternating, cycle, implies, is_simple};
use crate::check::anomaly::{Class, Order};
use crate::check::components::Scopes;
use crate::check::graph::{Dependency, Graph, Kind, Kinds};
use crate::check::order::Timeline;

/// Steps of a search that may find nothing.
const STEPS_MAX: usize = 2_000_000;
/// Steps that are spent on a shorter cycle when there is one.
const STEPS_FOR_SHORTER: usize = 200_000;

/// What a walk has behind it.
type State = u16;
const LAST_RW: State = 1;
const PROCESS: State = 2;
const REALTIME: State = 4;
const LAST_PROCESS: State = 8;
const LAST_REALTIME: State = 16;

pub(super) struct Search<'a> {
    pub graph: &'a Graph,
    pub timeline: &'a Timeline,
    pub scopes: &'a mut Scopes,
    pub class: Class,
    pub order: Order,
}

struct Visit {
    node: u32,
    state: State,
    edge: u32,
    /// Place of the visit before, which the first has not.
    from: Option<u32>,
    length: u32,
}

impl Search<'_> {
    pub(super) fn allowed(&self) -> &'static [Dependency] {
        match self.class {
            Class::G0 => &[Dependency::Ww],
            Class::G1c => &[Dependency::Ww, Dependency::Wr],
            _ => &[Dependency::Ww, Dependency::Wr, Dependency::Rw],
        }
    }

    fn first(&self) -> Dependency {
        match self.class {
            Class::G0 => Dependency::Ww,
            Class::G1c => Dependency::Wr,
            _ => Dependency::Rw,
        }
    }

    /// Looks for the class in each part of a component. The cycles of this component begin at `found_from`.
    pub fn component(mut self, nodes: &[u32], found_from: usize, out: &mut Vec<Cycle>) {
        // Another order's cycle speaks for the whole component; one's own order only for its part of it.
        let is_known = |f: &Cycle| f.order < self.order && implies(f, self.class, self.order);
        if out[found_from..].iter().any(is_known) {
            return;
        }
        let kinds = Kinds::of(self.allowed(), self.order);
        let scope = self.scopes.enter(nodes);
        for nodes in self.scopes.components(self.graph, nodes, scope, kinds) {
            let is_covering = |f: &Cycle| {
                f.order == self.order
                    && f.class < self.class
                    && implies(f, self.class, self.order)
                    && f.steps.iter().any(|s| nodes.binary_search(&s.operation).is_ok())
            };
            if out[found_from..].iter().any(is_covering) {
                continue;
            }
            let scope = self.scopes.enter(&nodes);
            let found = match self.class {
                Class::G0 | Class::G1c | Class::G2Item => vec![self.part(&nodes, scope, kinds, None)],
                Class::GSingle | Class::GNonadjacent => {
                    let parts = alternating::parts(self.graph, self.scopes, &nodes, scope, kinds);
                    let look = |p: alternating::Part| {
                        let scope = self.scopes.enter(&p.nodes);
                        self.part(&p.nodes, scope, kinds, Some(p.witness))
                    };
                    parts.into_iter().map(look).collect()
                }
            };
            for cycle in found.into_iter().flatten() {
                if !out[found_from..].contains(&cycle) {
                    out.push(cycle);
                }
            }
        }
    }

    fn part(&mut self, nodes: &[u32], scope: u32, kinds: Kinds, witness: Option<u32>) -> Option<Cycle> {
        self.shortcut(nodes, scope).or_else(|| self.shortest(nodes, scope, kinds, witness))
    }

    /// The shortest cycle of the class, or a short one where there are many. Of data alone one is always found, but for
    /// G-single: then it is the G-nonadjacent that is.
    fn shortest(&mut self, nodes: &[u32], scope: u32, kinds: Kinds, witness: Option<u32>) -> Option<Cycle> {
        let mut best: Option<Cycle> = None;
        let mut steps = match (self.order, self.class, witness) {
            (Order::Data, Class::GNonadjacent, Some(witness)) => {
                let mut unlimited = usize::MAX;
                best = self.back_from(witness, scope, kinds, u32::MAX, &mut unlimited);
                STEPS_FOR_SHORTER
            }
            (Order::Data, Class::G0 | Class::G1c | Class::G2Item, _) => usize::MAX,
            _ => STEPS_MAX,
        };
        for node in nodes.iter().filter(|n| !self.graph.is_hub(**n)) {
            for at in self.graph.leaving(*node) {
                if steps == 0 || best.as_ref().is_some_and(|b| b.steps.len() <= 2) {
                    return best;
                }
                let edge = self.graph.edge(at);
                let starts = edge.kind.dependency() == Some(self.first());
                if !starts || !kinds.has(edge.kind) || !self.scopes.holds(scope, edge.to) {
                    continue;
                }
                let limit = best.as_ref().map_or(u32::MAX, |b| b.steps.len() as u32);
                if let Some(cycle) = self.back_from(at, scope, kinds, limit, &mut steps) {
                    steps = steps.min(STEPS_FOR_SHORTER);
                    best = Some(cycle);
                }
            }
        }
        best
    }

    /// A cycle through any edge of a component.
    pub fn any(mut self, nodes: &[u32], scope: u32, kinds: Kinds) -> Option<Cycle> {
        let mut steps = usize::MAX;
        let places = nodes.iter().filter(|n| !self.graph.is_hub(**n)).flat_map(|n| self.graph.leaving(*n));
        let places: Vec<u32> = places.collect();
        places.into_iter().find_map(|at| {
            let edge = self.graph.edge(at);
            let usable = edge.kind.dependency().is_some() && kinds.has(edge.kind);
            if !usable || !self.scopes.holds(scope, edge.to) {
                return None;
            }
            self.walk(at, scope, kinds, u32::MAX, &mut steps, |_, state, _| Some(state), |_| true)
        })
    }

    /// The shortest walk of the class that begins with an edge and ends where that edge begins.
    fn back_from(
        &mut self,
        at: u32,
        scope: u32,
        kinds: Kinds,
        limit: u32,
        steps: &mut usize,
    ) -> Option<Cycle> {
        let (class, order) = (self.class, self.order);
        let mark = |state: State, kind: Kind| match kind.order() {
            Order::Process if order == Order::Process => state | PROCESS,
            Order::Realtime if order == Order::Realtime => state | REALTIME,
            _ => state,
        };
        let next = move |first: bool, state: State, kind: Kind| {
            let state = mark(state, kind);
            let is_rw = kind.dependency() == Some(Dependency::Rw);
            match (class, kind) {
                (Class::GSingle, _) if is_rw && !first => None,
                (Class::GNonadjacent, _) if is_rw && state & LAST_RW != 0 => None,
                (Class::GNonadjacent, _) if is_rw => Some(state | LAST_RW),
                (_, Kind::Pass) => Some(state),
                _ => Some(state & !LAST_RW),
            }
        };
        let done = move |state: State| {
            let rests = match order {
                Order::Data => true,
                Order::Process => state & PROCESS != 0,
                Order::Realtime => state & REALTIME != 0,
            };
            rests && state & LAST_RW == 0
        };
        let cycle = self.walk(at, scope, kinds, limit, steps, next, done)?;
        // A search of wider classes may come upon what another one has named, or pass one transaction twice.
        (implies(&cycle, class, order) && (class == Class::GNonadjacent || is_simple(&cycle)))
            .then_some(cycle)
    }

    fn walk(
        &mut self,
        at: u32,
        scope: u32,
        kinds: Kinds,
        limit: u32,
        steps: &mut usize,
        next: impl Fn(bool, State, Kind) -> Option<State>,
        done: impl Fn(State) -> bool,
    ) -> Option<Cycle> {
        let start = *self.graph.edge(at);
        let state = next(true, 0, start.kind)?;
        let mut visits = vec![Visit { node: start.to, state, edge: at, from: None, length: 1 }];
        let mut queue = VecDeque::from([0u32]);
        let mut settled: FxHashSet<(u32, State)> = FxHashSet::default();
        while let Some(place) = queue.pop_front() {
            let Visit { node, state, length, .. } = visits[place as usize];
            if !settled.insert((node, state)) {
                continue;
            }
            if length >= limit {
                return None;
            }
            if node == start.from && done(state) {
                return Some(self.cycle(&visits, place));
            }
            for edge_at in self.graph.leaving(node) {
                *steps = steps.saturating_sub(1);
                let edge = self.graph.edge(edge_at);
                if !kinds.has(edge.kind) || !self.scopes.holds(scope, edge.to) {
                    continue;
                }
                let Some(state_next) = next(false, state, edge.kind) else { continue };
                let last = match edge.kind {
                    Kind::Process => LAST_PROCESS,
                    Kind::Realtime => LAST_REALTIME,
                    _ => 0,
                };
                let free = edge.kind == Kind::Pass || state & last != 0;
                let state_next = state_next & !(LAST_PROCESS | LAST_REALTIME) | last;
                if settled.contains(&(edge.to, state_next)) {
                    continue;
                }
                let length = length + u32::from(!free);
                visits.push(Visit {
                    node: edge.to,
                    state: state_next,
                    edge: edge_at,
                    from: Some(place),
                    length,
                });
                let visit = visits.len() as u32 - 1;
                if free { queue.push_front(visit) } else { queue.push_back(visit) }
            }
            if *steps == 0 {
                return None;
            }
        }
        None
    }

    /// The cycle whose last edge a visit is.
    fn cycle(&self, visits: &[Visit], last: u32) -> Cycle {
        let mut edges = Vec::new();
        let mut place = Some(last);
        while let Some(at) = place {
            edges.push(*self.graph.edge(visits[at as usize].edge));
            place = visits[at as usize].from;
        }
        cycle(edges.into_iter().rev())
    }
}
