//! Whether the operations on each register have an order that explains them and that respects real time.
//!
//! The search of J. Wing and C. Gong ("Testing and Verifying Concurrent Objects", JPDC 17, 1993): of the operations that
//! nothing else must precede, put one next if the register allows it, and take it back if that leads nowhere; with
//! G. Lowe's memory ("Testing for Linearizability", CCPE 29(4), 2017): a set of operations that was put in order before,
//! with the same value left, is not tried again. Registers are looked at one by one, since linearizability is local
//! (M. Herlihy, J. Wing, TOPLAS 12(3), 1990, theorem 1).
//!
//! What must stay true: memory is bounded. When it is used up for a register, nothing is said of that one. Operations of
//! unknown outcome may take effect at any time after their invocation, or never; those whose value nobody ever saw are left
//! out, which changes no answer.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::anomaly::Anomaly;
use super::model::Model;
use super::report::Report;
use crate::history::{History, Operation, Outcome, RegisterFn, RegisterOp, Symbol, Value};

/// What the search may remember of one register, in bytes.
pub const MEMORY_MAX: usize = 256 << 20;

/// `memory_max` in bytes, for one register at a time.
pub fn check(history: &History<RegisterOp>, memory_max: usize) -> Report {
    let mut report = Report::new(Model::LinearizableRegister);
    if !history.has_invocations && !history.operations.is_empty() {
        report.doubts.push("real-time order: the history has no invocations".into());
        return report;
    }
    let mut keys: BTreeMap<Option<Symbol>, Vec<&Operation<RegisterOp>>> = BTreeMap::new();
    for op in history.operations.iter().filter(|o| o.outcome != Outcome::Fail) {
        keys.entry(op.value.key).or_default().push(op);
    }
    for (key, operations) in keys {
        let name = || key.map_or("the register".into(), |k| format!("register {}", history.names.show(k)));
        let search = Search::new(&operations, memory_max);
        match search.run() {
            Answer::Linearizable => {}
            Answer::Cut => {
                report.doubts.push(format!("{}: the search needs more memory than it may use", name()))
            }
            Answer::Stuck(stuck) => report
                .say(Anomaly::NotLinearizable, || format!("{}: {}", name(), search.tell(history, &stuck))),
        }
    }
    report
}

struct Call<'h> {
    operation: &'h Operation<RegisterOp>,
    invoked: u64,
    /// `u64::MAX` if it never ended.
    completed: u64,
}

/// A set of operations that were put in order, and what they leave in the register.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Placed {
    /// The completed operations up to here are in the set.
    all_below: u32,
    /// And these others of them, by place, sorted.
    beyond: Vec<u32>,
    /// Of those that never ended, by place, sorted.
    unended: Vec<u32>,
    value: Option<Symbol>,
}

impl Placed {
    fn count(&self) -> usize {
        self.all_below as usize + self.beyond.len() + self.unended.len()
    }

    fn bytes(&self) -> usize {
        size_of::<Placed>() * 2 + 4 * (self.beyond.capacity() + self.unended.capacity())
    }

    fn has(&self, place: u32) -> bool {
        place < self.all_below || self.beyond.binary_search(&place).is_ok()
    }

    fn with(&self, place: u32, value: Option<Symbol>) -> Placed {
        let mut next = Placed { value, ..self.clone() };
        if let Err(at) = next.beyond.binary_search(&place) {
            next.beyond.insert(at, place);
        }
        let run = next.beyond.iter().zip(next.all_below..).take_while(|(p, below)| **p == *below).count();
        next.beyond.drain(..run);
        next.beyond.shrink_to_fit();
        next.all_below += run as u32;
        next
    }

    fn with_unended(&self, place: u32, value: Option<Symbol>) -> Placed {
        let mut next = Placed { value, ..self.clone() };
        if let Err(at) = next.unended.binary_search(&place) {
            next.unended.insert(at, place);
        }
        next
    }
}

enum Answer {
    Linearizable,
    /// The largest set that could be put in order.
    Stuck(Placed),
    Cut,
}

struct Search<'h> {
    /// In the order of their invocations.
    completed: Vec<Call<'h>>,
    unended: Vec<Call<'h>>,
    memory_max: usize,
}

/// What an operation leaves, if it is possible.
fn apply(f: &RegisterFn, value: Option<Symbol>) -> Option<Option<Symbol>> {
    match f {
        RegisterFn::Read(seen) => (*seen == value).then_some(value),
        RegisterFn::Write(new) => Some(Some(*new)),
        RegisterFn::Cas(old, new) => (Some(*old) == value).then_some(Some(*new)),
    }
}

impl<'h> Search<'h> {
    fn new(operations: &[&'h Operation<RegisterOp>], memory_max: usize) -> Self {
        let mut seen: FxHashSet<Symbol> = FxHashSet::default();
        for op in operations {
            match (&op.value.f, op.outcome) {
                (RegisterFn::Read(Some(value)), Outcome::Ok) => seen.insert(*value),
                (RegisterFn::Cas(old, _), _) => seen.insert(*old),
                _ => false,
            };
        }
        let call = |operation: &&'h Operation<RegisterOp>| Call {
            operation,
            invoked: operation.invoked.unwrap_or(0),
            completed: operation.completed.unwrap_or(u64::MAX),
        };
        let calls = |keep: &dyn Fn(&Operation<RegisterOp>) -> bool| {
            let mut calls: Vec<_> = operations.iter().filter(|o| keep(o)).map(call).collect();
            calls.sort_by_key(|c| c.invoked);
            calls
        };
        let matters = |f: &RegisterFn| match f {
            RegisterFn::Read(_) => false,
            RegisterFn::Write(new) | RegisterFn::Cas(_, new) => seen.contains(new),
        };
        Search {
            completed: calls(&|o| o.outcome == Outcome::Ok),
            unended: calls(&|o| o.outcome != Outcome::Ok && matters(&o.value.f)),
            memory_max,
        }
    }

    fn run(&self) -> Answer {
        let start = Placed { all_below: 0, beyond: vec![], unended: vec![], value: None };
        let mut deepest = start.clone();
        let mut known: FxHashSet<Placed> = FxHashSet::default();
        let mut memory = 0;
        let mut stack = vec![start];
        while let Some(placed) = stack.pop() {
            if placed.all_below as usize == self.completed.len() {
                return Answer::Linearizable;
            }
            if known.contains(&placed) {
                continue;
            }
            memory += placed.bytes();
            if memory > self.memory_max {
                return Answer::Cut;
            }
            if placed.count() > deepest.count() {
                deepest = placed.clone();
            }
            self.push_next(&placed, &mut stack);
            known.insert(placed);
        }
        Answer::Stuck(deepest)
    }

    /// The completed operations that nothing outside of the set precedes, and until when others may begin.
    fn open(&self, placed: &Placed) -> (Vec<u32>, u64) {
        let mut first_end = u64::MAX;
        let mut open = Vec::new();
        for place in placed.all_below..self.completed.len() as u32 {
            let call = &self.completed[place as usize];
            if call.invoked > first_end {
                break;
            }
            if !placed.has(place) {
                first_end = first_end.min(call.completed);
                open.push(place);
            }
        }
        (open, first_end)
    }

    fn push_next(&self, placed: &Placed, stack: &mut Vec<Placed>) {
        let (open, first_end) = self.open(placed);
        let f = |place: u32| &self.completed[place as usize].operation.value.f;
        // A read that fits takes nothing from anybody: if there is an order, there is one in which it comes next.
        if let Some(read) = open.iter().find(|p| *f(**p) == RegisterFn::Read(placed.value)) {
            stack.push(placed.with(*read, placed.value));
            return;
        }
        // Tried last, as the stack has it.
        let begun = self.unended.partition_point(|c| c.invoked < first_end) as u32;
        for place in (0..begun).filter(|p| placed.unended.binary_search(p).is_err()) {
            if let Some(value) = apply(&self.unended[place as usize].operation.value.f, placed.value)
                && value != placed.value
            {
                stack.push(placed.with_unended(place, value));
            }
        }
        for place in open {
            if let Some(value) = apply(f(place), placed.value) {
                stack.push(placed.with(place, value));
            }
        }
    }

    fn tell(&self, history: &History<RegisterOp>, stuck: &Placed) -> String {
        let value = stuck.value.map_or("nil".to_string(), |v| history.names.show(v).to_string());
        let (open, _) = self.open(stuck);
        let mut out = format!(
            "{} of {} operations can be put in order, which leaves {value}; then none of these can be next:",
            stuck.count(),
            self.completed.len()
        );
        for place in open {
            let op = self.completed[place as usize].operation;
            out.push_str(&format!("\nop {}: {{", op.index));
            op.value.write(&history.names, &mut out);
            out.push('}');
        }
        out
    }
}
