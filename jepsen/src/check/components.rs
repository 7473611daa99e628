//! Strongly connected components: where the cycles are.
//!
//! R. Tarjan, "Depth-First Search and Linear Graph Algorithms", SIAM J. Comput. 1(2), 1972; with a stack of its own, since
//! a component can be as deep as the history is long.

use super::graph::{Graph, Kinds};

/// A part of the graph to look at. Each node is in one scope; scopes are numbered, and 0 is the whole.
pub struct Scopes {
    of: Vec<u32>,
    last: u32,
    /// Of the walk: when a node was met, from 1; 0 is not yet.
    met: Vec<u32>,
    low: Vec<u32>,
    open: Vec<bool>,
}

impl Scopes {
    pub fn new(graph: &Graph) -> Scopes {
        let n = graph.nodes() as usize;
        Scopes { of: vec![0; n], last: 0, met: vec![0; n], low: vec![0; n], open: vec![false; n] }
    }

    /// Puts nodes into a new scope.
    pub fn enter(&mut self, nodes: &[u32]) -> u32 {
        self.last += 1;
        for node in nodes {
            self.of[*node as usize] = self.last;
        }
        self.last
    }

    pub fn holds(&self, scope: u32, node: u32) -> bool {
        self.of[node as usize] == scope
    }

    /// The components of more than one node in a scope, by edges of some kinds.
    pub fn components(&mut self, graph: &Graph, nodes: &[u32], scope: u32, kinds: Kinds) -> Vec<Vec<u32>> {
        for node in nodes {
            self.met[*node as usize] = 0;
        }
        let mut found = Vec::new();
        let mut count = 0;
        let mut path: Vec<u32> = Vec::new();
        // A node, and which of its edges is next.
        let mut calls: Vec<(u32, u32)> = Vec::new();
        for root in nodes {
            if self.met[*root as usize] != 0 {
                continue;
            }
            self.meet(*root, &mut count, &mut path);
            calls.push((*root, graph.leaving(*root).start));
            while let Some((node, at)) = calls.last_mut() {
                let (v, end) = (*node as usize, graph.leaving(*node).end);
                if *at == end {
                    calls.pop();
                    if let Some((caller, _)) = calls.last() {
                        self.low[*caller as usize] = self.low[*caller as usize].min(self.low[v]);
                    }
                    if self.low[v] == self.met[v] {
                        self.close(v as u32, &mut path, &mut found);
                    }
                    continue;
                }
                let edge = graph.edge(*at);
                *at += 1;
                let to = edge.to;
                if !kinds.has(edge.kind) || !self.holds(scope, to) {
                    continue;
                }
                if self.met[to as usize] == 0 {
                    self.meet(to, &mut count, &mut path);
                    calls.push((to, graph.leaving(to).start));
                } else if self.open[to as usize] {
                    self.low[v] = self.low[v].min(self.met[to as usize]);
                }
            }
        }
        found
    }

    fn meet(&mut self, node: u32, count: &mut u32, path: &mut Vec<u32>) {
        *count += 1;
        let v = node as usize;
        (self.met[v], self.low[v], self.open[v]) = (*count, *count, true);
        path.push(node);
    }

    /// Takes a component off the path; `root` is the node of it that was met first.
    fn close(&mut self, root: u32, path: &mut Vec<u32>, found: &mut Vec<Vec<u32>>) {
        let start = path.iter().rposition(|n| *n == root).unwrap_or_default();
        for node in &path[start..] {
            self.open[*node as usize] = false;
        }
        if path.len() - start > 1 {
            let mut component = path[start..].to_vec();
            component.sort_unstable();
            found.push(component);
        }
        path.truncate(start);
    }
}
