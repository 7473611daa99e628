//! The order of each key's versions, and the reads that no order of committed versions explains.

use std::collections::BTreeMap;

use rustc_hash::{FxHashMap, FxHashSet};

use crate::check::anomaly::Anomaly;
use crate::check::explain::{list_text, operation};
use crate::check::report::Report;
use crate::check::writes::{Writes, acknowledged};
use crate::history::{History, MicroOp, Outcome, Seen, Symbol, Txn};

pub struct Versions<'h> {
    /// By key, of those that were read.
    pub keys: BTreeMap<Symbol, Key<'h>>,
    /// Which operations took place: the acknowledged ones, and those of which a read saw something.
    pub happened: Vec<bool>,
    /// Elements of which some read tells the place.
    pub seen: FxHashSet<(Symbol, Symbol)>,
}

#[derive(Default)]
pub struct Key<'h> {
    /// The longest list that was read, and the operation that read it.
    pub longest: &'h [Symbol],
    witness: u32,
    pub reads: Vec<Read<'h>>,
}

pub struct Read<'h> {
    pub operation: u32,
    pub list: &'h [Symbol],
    /// Whether its transaction had not touched the key before.
    pub is_external: bool,
    /// Whether it is the beginning of the longest list.
    pub is_prefix: bool,
}

impl<'h> Versions<'h> {
    /// Reports what the reads of one key contradict, of each other and of what is known of the writers.
    pub fn new(history: &'h History<Txn>, writes: &Writes, report: &mut Report) -> Versions<'h> {
        let happened = acknowledged(history);
        let mut all = Versions { keys: reads_by_key(history), happened, seen: FxHashSet::default() };
        let mut keys = std::mem::take(&mut all.keys);
        for (symbol, key) in &mut keys {
            let longest = key.longest;
            all.look_at(history, writes, report, *symbol, longest, key.witness);
            for read in &mut key.reads {
                read.is_prefix = longest.starts_with(read.list);
                if !read.is_prefix {
                    report.say(Anomaly::IncompatibleOrder, || {
                        format!(
                            "{}\nread {} of {}, which is not the beginning of {}, as read by\n{}",
                            operation(history, read.operation),
                            list_text(&history.names, read.list),
                            history.names.show(*symbol),
                            list_text(&history.names, longest),
                            operation(history, key.witness)
                        )
                    });
                    all.look_at(history, writes, report, *symbol, read.list, read.operation);
                }
            }
            intermediate_reads(history, writes, report, *symbol, key);
            lost_updates(history, report, *symbol, key);
        }
        all.keys = keys;
        all
    }

    /// Who wrote the elements of a list.
    fn look_at(
        &mut self,
        history: &History<Txn>,
        writes: &Writes,
        report: &mut Report,
        key: Symbol,
        list: &[Symbol],
        reader: u32,
    ) {
        let names = &history.names;
        let mut here = FxHashSet::default();
        // How far each writer's own appends have come: they are seen in the order in which they were made.
        let mut own: FxHashMap<u32, u32> = FxHashMap::default();
        let mut aborted: Option<(Symbol, u32)> = None;
        for element in list {
            let text = || format!("{} in {}", names.show(*element), names.show(key));
            if !here.insert(*element) {
                report.say(Anomaly::DuplicateElements, || {
                    format!("{}\nsaw {} more than once", operation(history, reader), text())
                });
                continue;
            }
            let is_new = self.seen.insert((key, *element));
            let Some(written) = writes.of(key, *element) else {
                if is_new {
                    report.say(Anomaly::GarbageRead, || {
                        format!("{}\nsaw {}, which nobody wrote", operation(history, reader), text())
                    });
                }
                continue;
            };
            let writer = written.operation;
            if history.operations[writer as usize].outcome == Outcome::Fail {
                if is_new {
                    report.say(Anomaly::G1a, || {
                        let (reader, writer) = (operation(history, reader), operation(history, writer));
                        format!(
                            "{reader}\nsaw {}, which was written by what did not happen:\n{writer}",
                            text()
                        )
                    });
                    aborted = Some((*element, writer));
                }
                continue;
            }
            self.happened[writer as usize] = true;
            let before = own.insert(writer, written.ordinal);
            if written.ordinal != before.map_or(0, |ordinal| ordinal + 1) {
                report.say(Anomaly::IncompatibleOrder, || {
                    let (reader, writer) = (operation(history, reader), operation(history, writer));
                    format!(
                        "{reader}\nsaw {} without what its writer had appended before it:\n{writer}",
                        text()
                    )
                });
            }
            if let Some((below, aborted)) = aborted.take() {
                report.say(Anomaly::DirtyUpdate, || {
                    format!(
                        "{}\nwrote {} over {}, which was written by what did not happen:\n{}",
                        operation(history, writer),
                        text(),
                        names.show(below),
                        operation(history, aborted)
                    )
                });
            }
        }
    }
}

fn reads_by_key(history: &History<Txn>) -> BTreeMap<Symbol, Key<'_>> {
    let mut keys: FxHashMap<Symbol, Key<'_>> = FxHashMap::default();
    for (at, op) in (0u32..).zip(&history.operations).filter(|(_, o)| o.outcome == Outcome::Ok) {
        for (place, micro) in op.value.iter().enumerate() {
            let MicroOp::Read { key, seen } = micro else { continue };
            let list: &[Symbol] = if let Seen::List(list) = seen { list } else { &[] };
            let is_external = op.value[..place].iter().all(|o| o.key() != *key);
            let key = keys.entry(*key).or_default();
            if list.len() > key.longest.len() {
                (key.longest, key.witness) = (list, at);
            }
            key.reads.push(Read { operation: at, list, is_external, is_prefix: true });
        }
    }
    keys.into_iter().collect()
}

/// A read that ends in an element on which its writer appended another.
fn intermediate_reads(
    history: &History<Txn>,
    writes: &Writes,
    report: &mut Report,
    symbol: Symbol,
    key: &Key<'_>,
) {
    for read in key.reads.iter().filter(|r| r.is_external) {
        let last = read.list.last().and_then(|e| Some((*e, writes.of(symbol, *e)?)));
        let Some((element, written)) = last.filter(|(_, w)| !w.is_last && w.operation != read.operation)
        else {
            continue;
        };
        report.say(Anomaly::G1b, || {
            format!(
                "{}\nread {} up to {}, which its writer had not finished:\n{}",
                operation(history, read.operation),
                history.names.show(symbol),
                history.names.show(element),
                operation(history, written.operation)
            )
        });
    }
}

/// Transactions that read one version and appended to it.
fn lost_updates(history: &History<Txn>, report: &mut Report, symbol: Symbol, key: &Key<'_>) {
    let mut updates: FxHashMap<usize, Vec<u32>> = FxHashMap::default();
    for read in key.reads.iter().filter(|r| r.is_external && r.is_prefix) {
        let txn = &history.operations[read.operation as usize].value;
        let updates_it = |(k, _): (Symbol, Symbol)| k == symbol;
        if txn.iter().filter_map(MicroOp::written).any(updates_it) {
            updates.entry(read.list.len()).or_default().push(read.operation);
        }
    }
    let mut lost: Vec<_> = updates.into_iter().filter(|(_, ops)| ops.len() > 1).collect();
    lost.sort();
    for (_, operations) in lost {
        report.say(Anomaly::LostUpdate, || {
            let of: Vec<_> = operations.iter().take(4).map(|o| operation(history, *o)).collect();
            format!(
                "{}\nread the same version of {} and appended to it",
                of.join("\n"),
                history.names.show(symbol)
            )
        });
    }
}
