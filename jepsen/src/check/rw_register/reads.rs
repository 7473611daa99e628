//! Who wrote what was read, whether it happened, and whether it was the writer's last word; and lost updates.

use rustc_hash::FxHashMap;

use super::internal::value;
use crate::check::anomaly::Anomaly;
use crate::check::explain::operation;
use crate::check::report::Report;
use crate::check::writes::{Writes, acknowledged, external_reads};
use crate::history::{History, MicroOp, Outcome, Symbol, Txn};

/// Gives which operations took place: the acknowledged ones, and those of which a read saw something.
pub fn check(history: &History<Txn>, writes: &Writes, report: &mut Report) -> Vec<bool> {
    let mut happened = acknowledged(history);
    let mut updates: FxHashMap<(Symbol, Option<Symbol>), Vec<u32>> = FxHashMap::default();
    for (at, op) in (0u32..).zip(&history.operations).filter(|(_, o)| o.outcome == Outcome::Ok) {
        for (key, seen) in external_reads(&op.value) {
            let seen = value(seen);
            if op.value.iter().filter_map(MicroOp::written).any(|(k, _)| k == key) {
                updates.entry((key, seen)).or_default().push(at);
            }
            if let Some(seen) = seen {
                check_read(history, writes, report, &mut happened, at, key, seen);
            }
        }
    }
    let mut lost: Vec<_> = updates.into_iter().filter(|(_, ops)| ops.len() > 1).collect();
    lost.sort();
    for ((key, _), operations) in lost {
        report.say(Anomaly::LostUpdate, || {
            let of: Vec<_> = operations.iter().take(4).map(|o| operation(history, *o)).collect();
            format!(
                "{}\nread the same version of {} and wrote over it",
                of.join("\n"),
                history.names.show(key)
            )
        });
    }
    happened
}

fn check_read(
    history: &History<Txn>,
    writes: &Writes,
    report: &mut Report,
    happened: &mut [bool],
    reader: u32,
    key: Symbol,
    seen: Symbol,
) {
    let text = || {
        let names = &history.names;
        format!("{}\nread {} in {}", operation(history, reader), names.show(seen), names.show(key))
    };
    let Some(written) = writes.of(key, seen) else {
        return report.say(Anomaly::GarbageRead, || format!("{}, which nobody wrote", text()));
    };
    let writer = written.operation;
    if history.operations[writer as usize].outcome == Outcome::Fail {
        return report.say(Anomaly::G1a, || {
            format!("{}, which was written by what did not happen:\n{}", text(), operation(history, writer))
        });
    }
    happened[writer as usize] = true;
    if !written.is_last && writer != reader {
        report.say(Anomaly::G1b, || {
            format!("{}, over which its writer wrote again:\n{}", text(), operation(history, writer))
        });
    }
}
