//! The shortest cycles of each class.
//!
//! For each class and each order (data; and sessions; and real time) the components by the edges that such a cycle may have
//! are searched: from each edge that it must have (a write-write edge for G0, a write-read edge for G1c, an anti-dependency
//! for the others) breadth-first back to where it came from, with a small automaton for what the class asks of the walk.
//! One cycle is reported for each component and class.
//!
//! What must stay true: a cycle's name is taken from its own edges, whatever search found it. In every component some cycle
//! is found, and one without two anti-dependencies in a row if there is one (`alternating` knows): so no verdict hangs on
//! how long a search may go on, only how short a cycle is. What the classes that were found imply is not searched for again:
//! G-single implies G-nonadjacent and that G2-item, and each implies its variants with more order (Elle, section 4.3, and
//! its graph of anomalies).
//!
//! Where sessions or real time take part, `shortcut` looks first for cycles with one such edge, which needs no walk along the
//! chains of the order: most are of that kind. Otherwise a chain of order edges costs one edge, and becomes one in the
//! result: both orders are transitive.

mod shortcut;
mod search;
mod alternating;

use rustc_hash::FxHashSet;

use super::anomaly::{Class, Order};
use super::components::Scopes;
use super::graph::{Dependency, Edge, Graph, Kind, Kinds, Reason};
use super::order::Timeline;
use search::Search;

/// An operation of a cycle, and why it comes before the next; the last one comes before the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    pub operation: u32,
    pub kind: Kind,
    pub reason: Reason,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle {
    pub class: Class,
    pub order: Order,
    pub steps: Vec<Step>,
}

/// Of each component a cycle of each class and order that no other one implies; `order` is the most that edges may rest on.
pub fn find(graph: &Graph, timeline: &Timeline, order: Order) -> Vec<Cycle> {
    let mut out: Vec<Cycle> = Vec::new();
    let mut scopes = Scopes::new(graph);
    let all: Vec<u32> = (0..graph.nodes()).collect();
    let every = Kinds::of(&[Dependency::Ww, Dependency::Wr, Dependency::Rw], order);
    for component in scopes.components(graph, &all, 0, every) {
        let from = out.len();
        for variant in Order::ALL.into_iter().filter(|o| *o <= order) {
            for class in Class::ALL {
                Search { graph, timeline, scopes: &mut scopes, class, order: variant }
                    .component(&component, from, &mut out);
            }
        }
        if out.len() == from {
            // Whatever it is, it is a cycle.
            let scope = scopes.enter(&component);
            let search = Search { graph, timeline, scopes: &mut scopes, class: Class::G2Item, order };
            out.extend(search.any(&component, scope, every));
        }
    }
    out
}

fn implies(found: &Cycle, class: Class, order: Order) -> bool {
    let anti = |c| c >= Class::GSingle;
    found.order <= order && (found.class == class || anti(found.class) && anti(class) && found.class < class)
}

/// The cycle that edges make: hubs are taken out, runs of order edges become one.
fn cycle(edges: impl Iterator<Item = Edge>) -> Cycle {
    let mut steps: Vec<Step> = Vec::new();
    for edge in edges {
        match (edge.kind, steps.last_mut()) {
            (Kind::Pass, Some(step)) => step.reason.after = edge.reason.after,
            (Kind::Process | Kind::Realtime, Some(step)) if step.kind == edge.kind => {}
            (kind, _) => steps.push(Step { operation: edge.from, kind, reason: edge.reason }),
        }
    }
    let order = steps.iter().map(|s| s.kind.order()).max().unwrap_or(Order::Data);
    Cycle { class: classify(&steps), order, steps }
}

fn is_simple(cycle: &Cycle) -> bool {
    let mut met = FxHashSet::default();
    cycle.steps.iter().all(|s| met.insert(s.operation))
}

fn classify(steps: &[Step]) -> Class {
    let is = |d| move |s: &Step| s.kind.dependency() == Some(d);
    let anti: Vec<bool> = steps.iter().map(is(Dependency::Rw)).collect();
    match anti.iter().filter(|rw| **rw).count() {
        0 if steps.iter().any(is(Dependency::Wr)) => Class::G1c,
        0 => Class::G0,
        1 => Class::GSingle,
        _ if (0..anti.len()).any(|i| anti[i] && anti[(i + 1) % anti.len()]) => Class::G2Item,
        _ => Class::GNonadjacent,
    }
}
