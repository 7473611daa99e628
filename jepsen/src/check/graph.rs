//! The dependency graph: transactions, and why one must come before another.
//!
//! What must stay true: an edge from A to B says that in every order that explains the history A comes before B. Nodes are
//! the places of operations in the history, and behind them *hubs*: a hub stands between many readers and many writers, so
//! that each pair of them is one path instead of one edge. Only `Kind::Pass` leaves a hub.
//!
//! Edges are one array sorted by source: eight million of them are a quarter of a gigabyte, and every walk is a slice.

use rustc_hash::FxHashMap;

use crate::history::Symbol;

use super::anomaly::Order;

/// So many pairs of readers and writers have edges of their own.
const DIRECT_MAX: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    /// Both wrote; the second over the first.
    Ww,
    /// The second saw what the first wrote.
    Wr,
    /// The first did not see what the second wrote.
    Rw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Of the data. The order of the versions that it rests on may itself rest on sessions or on time.
    Data(Dependency, Order),
    /// One client ran the first and then the second.
    Process,
    /// The first was completed before the second was invoked.
    Realtime,
    /// The second half of an edge through a hub.
    Pass,
}

impl Kind {
    fn bit(self) -> u16 {
        1 << match self {
            Kind::Data(d, o) => d as u16 * 3 + o as u16,
            Kind::Process => 9,
            Kind::Realtime => 10,
            Kind::Pass => 11,
        }
    }

    pub fn dependency(self) -> Option<Dependency> {
        match self {
            Kind::Data(d, _) => Some(d),
            _ => None,
        }
    }

    /// What it rests on besides the data.
    pub fn order(self) -> Order {
        match self {
            Kind::Data(_, order) => order,
            Kind::Process => Order::Process,
            Kind::Realtime => Order::Realtime,
            Kind::Pass => Order::Data,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u16);

impl Kinds {
    /// Edges of the given dependencies that rest on nothing beyond an order, and that order's own.
    pub fn of(dependencies: &[Dependency], order: Order) -> Kinds {
        let mut bits = Kind::Pass.bit();
        for o in Order::ALL.into_iter().filter(|o| *o <= order) {
            for d in dependencies {
                bits |= Kind::Data(*d, o).bit();
            }
        }
        if order >= Order::Process {
            bits |= Kind::Process.bit();
        }
        if order >= Order::Realtime {
            bits |= Kind::Realtime.bit();
        }
        Kinds(bits)
    }

    pub fn has(self, kind: Kind) -> bool {
        self.0 & kind.bit() != 0
    }
}

/// What an edge can tell of itself: a key, the version that the first one wrote or read, the one that the second wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reason {
    pub key: Option<Symbol>,
    /// `None` is the initial state.
    pub before: Option<Symbol>,
    pub after: Option<Symbol>,
}

#[derive(Clone, Copy, Debug)]
pub struct Edge {
    pub from: u32,
    pub to: u32,
    pub kind: Kind,
    pub reason: Reason,
}

#[derive(Debug)]
pub struct Builder {
    operations: u32,
    nodes: u32,
    edges: Vec<Edge>,
}

impl Builder {
    pub fn new(operations: usize) -> Builder {
        let operations = u32::try_from(operations).expect("a history has fewer than 2^32 operations");
        Builder { operations, nodes: operations, edges: Vec::new() }
    }

    /// Nothing comes before itself: an edge from a node to itself is dropped.
    pub fn edge(&mut self, from: u32, to: u32, kind: Kind, reason: Reason) {
        if from != to {
            self.edges.push(Edge { from, to, kind, reason });
        }
    }

    /// From every reader of a version to every writer of a later one, but for itself. No writer is there twice.
    pub fn anti_dependencies(
        &mut self,
        readers: &[u32],
        writers: &[(u32, Symbol)],
        order: Order,
        key: Symbol,
        before: Option<Symbol>,
    ) {
        let kind = Kind::Data(Dependency::Rw, order);
        let reason = |after| Reason { key: Some(key), before, after };
        if readers.len() * writers.len() <= DIRECT_MAX {
            for (reader, (writer, after)) in readers.iter().flat_map(|r| writers.iter().map(move |w| (r, w)))
            {
                self.edge(*reader, *writer, kind, reason(Some(*after)));
            }
            return;
        }
        // Hubs in two chains, so that a reader reaches all writers before itself in the list and all behind, but not itself:
        // number `i` of `up` leads to the writers before `i`, number `i` of `down` to those from `i` on.
        let up = self.hubs(writers.len() + 1);
        let down = self.hubs(writers.len() + 1);
        for (i, (writer, after)) in (0..).zip(writers) {
            self.edge(up + i + 1, *writer, Kind::Pass, reason(Some(*after)));
            self.edge(up + i + 1, up + i, Kind::Pass, Reason::default());
            self.edge(down + i, *writer, Kind::Pass, reason(Some(*after)));
            self.edge(down + i, down + i + 1, Kind::Pass, Reason::default());
        }
        let places: FxHashMap<u32, u32> = writers.iter().map(|(w, _)| *w).zip(0..).collect();
        for reader in readers {
            match places.get(reader) {
                Some(own) => {
                    self.edge(*reader, up + own, kind, reason(None));
                    self.edge(*reader, down + own + 1, kind, reason(None));
                }
                None => self.edge(*reader, down, kind, reason(None)),
            }
        }
    }

    /// The first of so many new hubs.
    fn hubs(&mut self, count: usize) -> u32 {
        let first = self.nodes;
        self.nodes += u32::try_from(count).expect("fewer than 2^32 hubs");
        first
    }

    pub fn finish(self) -> Graph {
        let Builder { operations, nodes, mut edges } = self;
        edges.sort_by_key(|e| (e.from, e.to, e.kind));
        edges.dedup_by_key(|e| (e.from, e.to, e.kind));
        edges.shrink_to_fit();
        let mut starts = vec![0u32; nodes as usize + 1];
        for e in &edges {
            starts[e.from as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        Graph { operations, edges, starts }
    }
}

#[derive(Debug)]
pub struct Graph {
    operations: u32,
    edges: Vec<Edge>,
    /// Where the edges of each node begin; one more at the end.
    starts: Vec<u32>,
}

impl Graph {
    pub fn nodes(&self) -> u32 {
        self.starts.len() as u32 - 1
    }

    pub fn is_hub(&self, node: u32) -> bool {
        node >= self.operations
    }

    pub fn edge(&self, at: u32) -> &Edge {
        &self.edges[at as usize]
    }

    /// The places of the edges that leave a node.
    pub fn leaving(&self, node: u32) -> std::ops::Range<u32> {
        self.starts[node as usize]..self.starts[node as usize + 1]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::history::Names;

    /// Where the edges of a node lead, through hubs.
    fn reach(graph: &Graph, from: u32) -> BTreeSet<u32> {
        let mut found = BTreeSet::new();
        let mut open: Vec<u32> = graph.leaving(from).map(|at| graph.edge(at).to).collect();
        while let Some(node) = open.pop() {
            if !graph.is_hub(node) {
                found.insert(node);
                continue;
            }
            assert!(graph.leaving(node).all(|at| graph.edge(at).kind == Kind::Pass));
            open.extend(graph.leaving(node).map(|at| graph.edge(at).to));
        }
        found
    }

    #[test]
    fn hubs_lead_every_reader_to_every_writer_but_itself() {
        let mut names = Names::default();
        let (key, value) = (names.text(":x"), names.int(1));
        for (readers, writers) in [(0..3, 2..4), (0..9, 5..14), (0..20, 0..20), (3..5, 10..40)] {
            let (readers, writers): (Vec<u32>, Vec<u32>) = (readers.collect(), writers.collect());
            let with_values: Vec<_> = writers.iter().map(|w| (*w, value)).collect();
            let mut builder = Builder::new(40);
            builder.anti_dependencies(&readers, &with_values, Order::Data, key, None);
            let graph = builder.finish();
            for reader in readers {
                let want: BTreeSet<u32> = writers.iter().copied().filter(|w| *w != reader).collect();
                assert_eq!(reach(&graph, reader), want);
            }
        }
    }
}
