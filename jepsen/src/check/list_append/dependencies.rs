//! Edges from the orders of versions.
//!
//! Between neighbours only: what follows from them is a path. Elements of aborted writers and garbage are passed over: what
//! comes behind them still comes behind what is before them.

use rustc_hash::{FxHashMap, FxHashSet};

use super::versions::{Key, Versions};
use crate::check::anomaly::Order;
use crate::check::graph::{Builder, Dependency, Kind, Reason};
use crate::check::model::Model;
use crate::check::writes::Writes;
use crate::history::{History, MicroOp, Symbol, Txn};

const fn data(dependency: Dependency) -> Kind {
    Kind::Data(dependency, Order::Data)
}

/// An element with a writer that took place.
struct Version {
    /// Its place in the longest list.
    place: usize,
    element: Symbol,
    writer: u32,
}

pub fn draw(
    history: &History<Txn>,
    writes: &Writes,
    versions: &Versions<'_>,
    model: Model,
    graph: &mut Builder,
) {
    let unseen = unseen(history, versions);
    let none = Vec::new();
    for (symbol, key) in &versions.keys {
        let chain = chain(*symbol, key, writes, versions);
        for pair in chain.windows(2) {
            let reason =
                Reason { key: Some(*symbol), before: Some(pair[0].element), after: Some(pair[1].element) };
            graph.edge(pair[0].writer, pair[1].writer, data(Dependency::Ww), reason);
        }
        let later = unseen.get(symbol).unwrap_or(&none);
        if let Some(last) = chain.last() {
            for (writer, element) in later {
                let reason = Reason { key: Some(*symbol), before: Some(last.element), after: Some(*element) };
                graph.edge(last.writer, *writer, data(Dependency::Ww), reason);
            }
        }
        let readers = draw_reads(*symbol, key, &chain, writes, versions, graph);
        // As with intermediate reads below: not to the writer of the last element that was read.
        let last = chain.last();
        let later: Vec<_> =
            later.iter().filter(|(w, _)| last.is_none_or(|l| l.writer != *w)).copied().collect();
        graph.anti_dependencies(&readers, &later, Order::Data, *symbol, last.map(|l| l.element));
        if model >= Model::SnapshotIsolation {
            draw_update(*symbol, &readers, &later, graph);
        }
    }
}

/// Of two transactions that overlap and write one key snapshot isolation lets one happen: what a transaction appends to the
/// list that it read comes right behind it, and before all other appends of which no read tells the place. If there are two
/// such transactions they lost an update, and no order is to be had from them.
fn draw_update(symbol: Symbol, readers: &[u32], later: &[(u32, Symbol)], graph: &mut Builder) {
    let readers: FxHashSet<u32> = readers.iter().copied().collect();
    let mut updates = later.iter().filter(|(writer, _)| readers.contains(writer));
    let (Some((update, element)), None) = (updates.next(), updates.next()) else { return };
    for (writer, after) in later {
        let reason = Reason { key: Some(symbol), before: Some(*element), after: Some(*after) };
        graph.edge(*update, *writer, data(Dependency::Ww), reason);
    }
}

/// Appends that took place and that no read saw: one for each key and transaction.
fn unseen(history: &History<Txn>, versions: &Versions<'_>) -> FxHashMap<Symbol, Vec<(u32, Symbol)>> {
    let mut unseen: FxHashMap<Symbol, Vec<(u32, Symbol)>> = FxHashMap::default();
    for (at, op) in (0u32..).zip(&history.operations).filter(|(at, _)| versions.happened[*at as usize]) {
        for (key, element) in op.value.iter().filter_map(MicroOp::written) {
            if versions.seen.contains(&(key, element)) {
                continue;
            }
            let of_key = unseen.entry(key).or_default();
            if of_key.last().is_none_or(|(last, _)| *last != at) {
                of_key.push((at, element));
            }
        }
    }
    unseen
}

fn chain(symbol: Symbol, key: &Key<'_>, writes: &Writes, versions: &Versions<'_>) -> Vec<Version> {
    let mut met = FxHashSet::default();
    let versions = key.longest.iter().enumerate().filter_map(|(place, element)| {
        let writer = writes.of(symbol, *element)?.operation;
        let counts = versions.happened[writer as usize] && met.insert(*element);
        counts.then_some(Version { place, element: *element, writer })
    });
    versions.collect()
}

/// Gives the readers of the longest list.
fn draw_reads(
    symbol: Symbol,
    key: &Key<'_>,
    chain: &[Version],
    writes: &Writes,
    versions: &Versions<'_>,
    graph: &mut Builder,
) -> Vec<u32> {
    let mut of_longest = Vec::new();
    for read in key.reads.iter().filter(|r| r.is_external) {
        if !read.is_prefix {
            // Its place in the order is not known, but what it saw was written.
            if let Some(last) = read.list.last()
                && let Some(written) = writes.of(symbol, *last)
                && versions.happened[written.operation as usize]
            {
                let reason = Reason { key: Some(symbol), before: Some(*last), after: None };
                graph.edge(written.operation, read.operation, data(Dependency::Wr), reason);
            }
            continue;
        }
        let next = chain.partition_point(|v| v.place < read.list.len());
        let last = next.checked_sub(1).map(|at| &chain[at]);
        if let Some(last) = last {
            let reason = Reason { key: Some(symbol), before: Some(last.element), after: None };
            graph.edge(last.writer, read.operation, data(Dependency::Wr), reason);
        }
        match chain.get(next) {
            // An intermediate read comes before its writer's last append and behind its first: that is G1b, and no cycle of
            // versions that were ever committed.
            Some(after) if last.is_some_and(|l| l.writer == after.writer) => {}
            Some(after) => {
                let reason =
                    Reason { key: Some(symbol), before: last.map(|l| l.element), after: Some(after.element) };
                graph.edge(read.operation, after.writer, data(Dependency::Rw), reason);
            }
            None => of_longest.push(read.operation),
        }
    }
    of_longest
}
