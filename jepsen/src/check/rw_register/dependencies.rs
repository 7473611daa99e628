//! Edges from what is known of versions.

use super::versions::Versions;
use crate::check::anomaly::Order;
use crate::check::graph::{Builder, Dependency, Kind, Reason};
use crate::check::writes::Writes;
use crate::history::Symbol;

pub fn draw(writes: &Writes, happened: &[bool], versions: &Versions, graph: &mut Builder) {
    for (symbol, key) in &versions.0 {
        for (seen, readers) in key.readers.iter().filter_map(|(seen, r)| Some(((*seen)?, r))) {
            let written = writes.of(*symbol, seen).filter(|w| happened[w.operation as usize]);
            for (writer, reader) in written.iter().flat_map(|w| readers.iter().map(|r| (w.operation, *r))) {
                let reason = Reason { key: Some(*symbol), before: Some(seen), after: None };
                graph.edge(writer, reader, Kind::Data(Dependency::Wr, Order::Data), reason);
            }
        }
        // By what they come after, so that all that comes after one version is drawn at once.
        let mut pairs = key.pairs.clone();
        pairs.sort_by_key(|(before, after, order)| (*before, *order, *after));
        for group in pairs.chunk_by(|a, b| (a.0, a.2) == (b.0, b.2)) {
            let (before, _, order) = group[0];
            let writer = |v: Symbol| writes.of(*symbol, v).map(|w| w.operation);
            let later: Vec<(u32, Symbol)> =
                group.iter().filter_map(|(_, after, _)| Some((writer(*after)?, *after))).collect();
            if let Some(first) = before.and_then(writer) {
                for (writer, after) in &later {
                    let reason = Reason { key: Some(*symbol), before, after: Some(*after) };
                    graph.edge(first, *writer, Kind::Data(Dependency::Ww, order), reason);
                }
            }
            if let Some(readers) = key.readers.get(&before) {
                graph.anti_dependencies(readers, &later, order, *symbol, before);
            }
        }
    }
}
