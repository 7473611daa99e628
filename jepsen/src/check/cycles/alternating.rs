//! Where there are cycles in which no two anti-dependencies are in a row: what snapshot isolation forbids.
//!
//! Two copies of each transaction: one for a walk that came by an anti-dependency and may not leave by one, one for all
//! others. A cycle among the copies is a closed walk of that kind, and components tell where there is one in linear time;
//! no search has to fail to prove that there is none.

use crate::check::components::Scopes;
use crate::check::graph::{Builder, Dependency, Graph, Kind, Kinds, Reason};

/// A part of the graph, and an anti-dependency through which such a walk goes.
pub(super) struct Part {
    pub nodes: Vec<u32>,
    pub witness: u32,
}

/// Of the nodes of a scope, which are sorted.
pub(super) fn parts(graph: &Graph, scopes: &Scopes, nodes: &[u32], scope: u32, kinds: Kinds) -> Vec<Part> {
    let copies = |place: usize| (2 * place as u32, 2 * place as u32 + 1);
    let mut builder = Builder::new(2 * nodes.len());
    let mut anti: Vec<(u32, u32, u32)> = Vec::new();
    for (place, node) in nodes.iter().enumerate() {
        let (free, bound) = copies(place);
        for at in graph.leaving(*node) {
            let edge = graph.edge(at);
            if !kinds.has(edge.kind) || !scopes.holds(scope, edge.to) {
                continue;
            }
            let Ok(to) = nodes.binary_search(&edge.to) else { continue };
            let (to_free, to_bound) = copies(to);
            let mut draw = |from, to| builder.edge(from, to, Kind::Pass, Reason::default());
            match edge.kind {
                Kind::Data(Dependency::Rw, _) => {
                    draw(free, to_bound);
                    anti.push((free, to_bound, at));
                }
                Kind::Pass => {
                    draw(free, to_free);
                    draw(bound, to_bound);
                }
                _ => {
                    draw(free, to_free);
                    draw(bound, to_free);
                }
            }
        }
    }
    let copied = builder.finish();
    let all: Vec<u32> = (0..copied.nodes()).collect();
    let components = Scopes::new(&copied).components(&copied, &all, 0, kinds);
    let mut component_of = vec![usize::MAX; all.len()];
    for (number, component) in components.iter().enumerate() {
        component.iter().for_each(|copy| component_of[*copy as usize] = number);
    }
    let mut witnesses = vec![None; components.len()];
    for (from, to, at) in anti {
        let number = component_of[from as usize];
        if number != usize::MAX && number == component_of[to as usize] {
            witnesses[number].get_or_insert(at);
        }
    }
    let with_witness = components.into_iter().zip(witnesses);
    with_witness
        .filter_map(|(component, witness)| {
            let mut nodes: Vec<u32> = component.iter().map(|copy| nodes[*copy as usize / 2]).collect();
            nodes.dedup();
            Some(Part { nodes, witness: witness? })
        })
        .collect()
}
