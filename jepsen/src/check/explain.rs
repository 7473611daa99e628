//! Cycles and operations in words: what each transaction did, and why it comes before the next.

use std::fmt::Write;

use crate::history::{History, MicroOp, Names, Outcome, Seen, Symbol, Txn};

use super::anomaly::Order;
use super::cycles::{Cycle, Step};
use super::graph::{Dependency, Kind};

/// Elements of a list that are shown at its end, and half as many at its beginning.
const SHOWN: usize = 12;

/// `[:r x [1 2 … 8 9]]`: a micro-operation as EDN, its long lists shortened.
pub(super) fn micro_op(names: &Names, op: &MicroOp) -> String {
    let mut out = String::new();
    match op {
        MicroOp::Read { key, seen: Seen::List(list) } => {
            let _ = write!(out, "[:r {} {}]", names.show(*key), list_text(names, list));
        }
        other => other.write(names, &mut out),
    }
    out
}

pub(super) fn list_text(names: &Names, list: &[Symbol]) -> String {
    let show =
        |part: &[Symbol]| part.iter().map(|e| names.show(*e).to_string()).collect::<Vec<_>>().join(" ");
    match list.len() {
        0..=20 => format!("[{}]", show(list)),
        n => format!("[{} … {} ({n} elements)]", show(&list[..SHOWN / 2]), show(&list[n - SHOWN..])),
    }
}

/// `op 17 (process 3, ok): [:append x 1] [:r y [2]]`.
pub(super) fn operation(history: &History<Txn>, at: u32) -> String {
    let operation = &history.operations[at as usize];
    let outcome = match operation.outcome {
        Outcome::Ok => "ok",
        Outcome::Fail => "failed",
        Outcome::Info => "unknown outcome",
    };
    let process = operation.process.map_or(String::new(), |p| format!("process {p}, "));
    let ops: Vec<_> = operation.value.iter().map(|op| micro_op(&history.names, op)).collect();
    format!("op {} ({process}{outcome}): {}", operation.index, ops.join(" "))
}

/// Why one transaction of a cycle comes before the next, named as given.
pub(super) fn because(history: &History<Txn>, step: &Step, next: &Step, this: &str, that: &str) -> String {
    let names = &history.names;
    let show = |s: Option<Symbol>| s.map_or("nil".to_string(), |s| names.show(s).to_string());
    let key = show(step.reason.key);
    let (before, after) = (show(step.reason.before), show(step.reason.after));
    let adds =
        |at: u32| history.operations[at as usize].value.iter().any(|op| matches!(op, MicroOp::Append { .. }));
    let data = match step.kind {
        Kind::Data(Dependency::Ww, _) if adds(step.operation) => {
            format!("{this} appended {before} to {key} before {that} appended {after}")
        }
        Kind::Data(Dependency::Ww, _) => {
            format!("{this} wrote {before} to {key}, over which {that} wrote {after}")
        }
        Kind::Data(Dependency::Wr, _) if adds(step.operation) => {
            format!("{that} observed {this}'s append of {before} to {key}")
        }
        Kind::Data(Dependency::Wr, _) => format!("{that} observed {this}'s write of {before} to {key}"),
        Kind::Data(Dependency::Rw, _) if adds(next.operation) => match step.reason.before {
            None => format!("{this} observed the initial state of {key}, before {that}'s append of {after}"),
            Some(_) => {
                format!("{this} observed {key} up to {before}, and not {that}'s append of {after}")
            }
        },
        Kind::Data(Dependency::Rw, _) => match step.reason.before {
            None => format!("{this} observed the initial state of {key}, before {that}'s write of {after}"),
            Some(_) => format!("{this} observed {before} in {key}, over which {that} wrote {after}"),
        },
        Kind::Process => {
            let process = history.operations[step.operation as usize].process;
            format!("process {} ran {this} before {that}", process.unwrap_or_default())
        }
        Kind::Realtime => {
            let ended = history.operations[step.operation as usize].index;
            format!("{this} was completed (at {ended}) before {that} was invoked")
        }
        Kind::Pass => format!("{this} comes before {that}"),
    };
    match step.kind {
        Kind::Data(_, Order::Process) => format!("{data} (as the order of one client's operations has it)"),
        Kind::Data(_, Order::Realtime) => format!("{data} (as real time has it)"),
        _ => data,
    }
}

/// A cycle as a paragraph: the transactions, then the reasons, which end in a contradiction.
pub fn explain(history: &History<Txn>, cycle: &Cycle) -> String {
    let mut out = String::new();
    let steps = &cycle.steps;
    // A walk of G-nonadjacent may pass one transaction twice.
    let mut order: Vec<u32> = Vec::new();
    for step in steps {
        if !order.contains(&step.operation) {
            order.push(step.operation);
        }
    }
    let name = |at: u32| format!("T{}", order.iter().position(|o| *o == at).map_or(0, |p| p + 1));
    for at in &order {
        let _ = writeln!(out, "{} = {}", name(*at), operation(history, *at));
    }
    for (i, step) in steps.iter().enumerate() {
        let next = &steps[(i + 1) % steps.len()];
        let (this, that) = (name(step.operation), name(next.operation));
        let link = if i + 1 == steps.len() { "But" } else { "Then" };
        let reason = because(history, step, next, &this, &that);
        let _ = writeln!(out, "{link} {this} < {that}: {reason}.");
    }
    out
}
