//! What a transaction must see of itself: what it wrote last, or read before; and never what it is yet to write.

use crate::check::anomaly::Anomaly;
use crate::check::explain::operation;
use crate::check::report::Report;
use crate::history::{History, MicroOp, Outcome, Seen, Symbol, Txn};

pub(super) fn value(seen: &Seen) -> Option<Symbol> {
    match seen {
        Seen::Value(value) => Some(*value),
        Seen::Nil | Seen::List(_) => None,
    }
}

pub fn check(history: &History<Txn>, report: &mut Report) {
    let names = &history.names;
    let show = |v: Option<Symbol>| v.map_or("nil".into(), |v| names.show(v).to_string());
    for (at, op) in (0u32..).zip(&history.operations).filter(|(_, o)| o.outcome == Outcome::Ok) {
        for (place, micro) in op.value.iter().enumerate() {
            let MicroOp::Read { key, seen } = micro else { continue };
            let seen = value(seen);
            let later = op.value[place..].iter().filter_map(MicroOp::written);
            if seen.is_some() && later.clone().any(|(k, v)| k == *key && Some(v) == seen) {
                report.say(Anomaly::FutureRead, || {
                    format!("{}\nread {} before it wrote it", operation(history, at), show(seen))
                });
                continue;
            }
            let before = op.value[..place].iter().rev().find(|o| o.key() == *key);
            let expected = match before {
                None => continue,
                Some(MicroOp::Read { seen, .. }) => value(seen),
                Some(MicroOp::Write { value: new, .. } | MicroOp::Append { element: new, .. }) => Some(*new),
            };
            if seen != expected {
                report.say(Anomaly::Internal, || {
                    format!(
                        "{}\nread {} in {}, where its own operations leave {}",
                        operation(history, at),
                        show(seen),
                        names.show(*key),
                        show(expected)
                    )
                });
            }
        }
    }
}
