//! Who wrote what: the ground of all inference. Elle calls it recoverability.
//!
//! What must stay true: a key and a value name one write of one transaction, whatever became of it.

use rustc_hash::FxHashMap;

use crate::history::{History, MicroOp, Outcome, Seen, Symbol, Txn};

use super::report::Unusable;

#[derive(Clone, Copy, Debug)]
pub struct Written {
    pub operation: u32,
    /// How often its transaction had written that key before.
    pub ordinal: u32,
    /// Whether its transaction wrote that key no more.
    pub is_last: bool,
}

#[derive(Debug, Default)]
pub struct Writes(FxHashMap<(Symbol, Symbol), Written>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    ListAppend,
    RwRegister,
}

impl Workload {
    pub fn name(self) -> &'static str {
        match self {
            Workload::ListAppend => "list-append",
            Workload::RwRegister => "rw-register",
        }
    }

    fn has(self, op: &MicroOp) -> bool {
        match op {
            MicroOp::Read { seen: Seen::Nil, .. } => true,
            MicroOp::Append { .. } | MicroOp::Read { seen: Seen::List(_), .. } => {
                self == Workload::ListAppend
            }
            MicroOp::Write { .. } | MicroOp::Read { seen: Seen::Value(_), .. } => {
                self == Workload::RwRegister
            }
        }
    }
}

impl Writes {
    /// Refuses histories of another workload, and those in which a value is written twice to a key.
    pub fn new(history: &History<Txn>, workload: Workload) -> Result<Writes, Unusable> {
        let mut writes = Writes::default();
        for (at, operation) in (0u32..).zip(&history.operations) {
            if let Some(foreign) = operation.value.iter().find(|op| !workload.has(op)) {
                let mut op = String::new();
                foreign.write(&history.names, &mut op);
                return Err(Unusable::Foreign { op, index: operation.index, workload: workload.name() });
            }
            for (place, op) in operation.value.iter().enumerate() {
                let Some((key, value)) = op.written() else { continue };
                let before = operation.value[..place].iter().filter_map(MicroOp::written);
                let ordinal = before.filter(|(k, _)| *k == key).count() as u32;
                let written = Written { operation: at, ordinal, is_last: false };
                if let Some(first) = writes.0.insert((key, value), written) {
                    return Err(Unusable::WrittenTwice {
                        key: history.names.show(key).to_string(),
                        value: history.names.show(value).to_string(),
                        first: history.operations[first.operation as usize].index,
                        second: operation.index,
                    });
                }
            }
            for (key, value) in last_writes(&operation.value) {
                if let Some(written) = writes.0.get_mut(&(key, value)) {
                    written.is_last = true;
                }
            }
        }
        Ok(writes)
    }

    pub fn of(&self, key: Symbol, value: Symbol) -> Option<Written> {
        self.0.get(&(key, value)).copied()
    }
}

/// What a transaction leaves behind: the last write to each key.
pub fn last_writes(txn: &Txn) -> impl Iterator<Item = (Symbol, Symbol)> + '_ {
    txn.iter().enumerate().filter_map(|(at, op)| {
        let (key, value) = op.written()?;
        let again = txn[at + 1..].iter().any(|later| later.written().is_some_and(|(k, _)| k == key));
        (!again).then_some((key, value))
    })
}

/// The places of the reads that look outside: the first thing a transaction does with a key.
pub fn external_reads(txn: &Txn) -> impl Iterator<Item = (Symbol, &Seen)> + '_ {
    txn.iter().enumerate().filter_map(|(at, op)| match op {
        MicroOp::Read { key, seen } if txn[..at].iter().all(|o| o.key() != *key) => Some((*key, seen)),
        _ => None,
    })
}

/// Which operations surely took place: those that were acknowledged. Reads add others to them.
pub fn acknowledged(history: &History<Txn>) -> Vec<bool> {
    history.operations.iter().map(|o| o.outcome == Outcome::Ok).collect()
}
