//! What is known of the order of each key's versions.
//!
//! What must stay true: a pair of versions says that the second replaced the first, directly or not. Intermediate writes
//! and writes of what did not happen are no versions.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::Options;
use super::internal::value;
use crate::check::anomaly::Order;
use crate::check::order::{realtime, sessions};
use crate::check::writes::{Writes, external_reads, last_writes};
use crate::history::{History, Outcome, Symbol, Txn};

/// Versions of one key, of which the first comes before the second; `None` is the initial one.
pub type Pair = (Option<Symbol>, Symbol, Order);

#[derive(Default)]
pub struct Key {
    /// Who read which version.
    pub readers: BTreeMap<Option<Symbol>, Vec<u32>>,
    pub pairs: Vec<Pair>,
    /// Written and never written over by the same transaction.
    written: Vec<Symbol>,
    /// Which operations touched the key, with the version that each found and the one that it left.
    touched: BTreeMap<u32, (Option<Symbol>, Option<Symbol>)>,
}

pub struct Versions(pub BTreeMap<Symbol, Key>);

impl Versions {
    pub fn new(history: &History<Txn>, writes: &Writes, happened: &[bool], options: Options) -> Versions {
        let mut keys: BTreeMap<Symbol, Key> = BTreeMap::new();
        let is_version = |key, value: Option<Symbol>| match value.map(|v| writes.of(key, v)) {
            None => true,
            Some(None) => false,
            Some(Some(written)) => written.is_last && happened[written.operation as usize],
        };
        for (at, op) in (0u32..).zip(&history.operations).filter(|(at, _)| happened[*at as usize]) {
            if op.outcome == Outcome::Ok {
                for (symbol, seen) in external_reads(&op.value) {
                    let seen = value(seen);
                    let key = keys.entry(symbol).or_default();
                    key.readers.entry(seen).or_default().push(at);
                    let own = seen.and_then(|v| writes.of(symbol, v)).is_some_and(|w| w.operation == at);
                    if is_version(symbol, seen) && !own {
                        key.touched.insert(at, (seen, seen));
                    }
                }
            }
            for (symbol, new) in last_writes(&op.value) {
                let key = keys.entry(symbol).or_default();
                key.written.push(new);
                let touched = key.touched.entry(at).or_insert((Some(new), Some(new)));
                if touched.0 != Some(new) {
                    // It wrote over what it had read.
                    key.pairs.push((touched.0, new, Order::Data));
                }
                touched.1 = Some(new);
            }
        }
        for key in keys.values_mut() {
            key.begin_with_the_initial_version();
            key.assume(history, options);
        }
        Versions(keys)
    }
}

impl Key {
    /// The initial version comes before all; those that something else comes before need no pair of their own.
    fn begin_with_the_initial_version(&mut self) {
        let replaced: FxHashSet<Symbol> = self.pairs.iter().map(|(_, after, _)| *after).collect();
        let roots = self.written.iter().filter(|v| !replaced.contains(v));
        self.pairs.extend(roots.map(|v| (None, *v, Order::Data)));
    }

    /// Versions that a session or real time puts in order, if keys can be relied on so far.
    fn assume(&mut self, history: &History<Txn>, options: Options) {
        let (touched, pairs) = (&self.touched, &mut self.pairs);
        let pair = |order| {
            let mut known = FxHashSet::default();
            move |a: u32, b: u32| {
                let (left, found) = (touched.get(&a)?.1, touched.get(&b)?.0);
                let found = found?;
                (left.is_some() && left != Some(found) && known.insert((left, found)))
                    .then_some((left, found, order))
            }
        };
        if options.sequential_keys {
            let mut of = pair(Order::Process);
            sessions(&history.operations, touched.keys().copied(), |a, b| pairs.extend(of(a, b)));
        }
        if options.linearizable_keys {
            let mut of = pair(Order::Realtime);
            realtime(&history.operations, touched.keys().copied(), |a, b| pairs.extend(of(a, b)));
        }
    }
}
