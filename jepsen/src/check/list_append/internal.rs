//! What a transaction must see of itself: after a read, that and its own appends; before any read, a list that ends in its
//! own appends; and never what it is yet to append. (Elle, section 4.3, and axiom INT of Cerone et al. 2015.)

use crate::check::anomaly::Anomaly;
use crate::check::explain::{list_text, operation};
use crate::check::report::Report;
use crate::history::{History, MicroOp, Outcome, Seen, Symbol, Txn};

/// What is known of a list within a transaction.
struct Known {
    key: Symbol,
    /// All of it, or only its end.
    is_whole: bool,
    elements: Vec<Symbol>,
}

pub fn check(history: &History<Txn>, report: &mut Report) {
    for (at, op) in (0u32..).zip(&history.operations) {
        if op.outcome == Outcome::Ok && touches_a_key_twice(&op.value) {
            check_one(history, at, &op.value, report);
        }
    }
}

fn touches_a_key_twice(txn: &Txn) -> bool {
    txn.iter().enumerate().any(|(at, op)| txn[..at].iter().any(|o| o.key() == op.key()))
}

fn check_one(history: &History<Txn>, at: u32, txn: &Txn, report: &mut Report) {
    let names = &history.names;
    let mut known: Vec<Known> = Vec::new();
    for (place, op) in txn.iter().enumerate() {
        let of_key = known.iter().position(|k| k.key == op.key());
        match (op, of_key) {
            (MicroOp::Append { element, .. }, Some(k)) => known[k].elements.push(*element),
            (MicroOp::Append { key, element }, None) => {
                known.push(Known { key: *key, is_whole: false, elements: vec![*element] });
            }
            (MicroOp::Read { key, seen }, of_key) => {
                let list: &[Symbol] = if let Seen::List(list) = seen { list } else { &[] };
                let later = txn[place..].iter().filter_map(MicroOp::written);
                if let Some((_, element)) = later.clone().find(|(k, e)| k == key && list.contains(e)) {
                    report.say(Anomaly::FutureRead, || {
                        format!(
                            "{}\nread {} before it appended it",
                            operation(history, at),
                            names.show(element)
                        )
                    });
                } else if let Some(k) = of_key {
                    let Known { is_whole, elements, .. } = &known[k];
                    let agrees = if *is_whole { list == elements } else { list.ends_with(elements) };
                    if !agrees {
                        let end = if *is_whole { "" } else { "a list that ends in " };
                        report.say(Anomaly::Internal, || {
                            format!(
                                "{}\nread {} of {}, where its own operations leave {end}{}",
                                operation(history, at),
                                list_text(names, list),
                                names.show(*key),
                                list_text(names, elements)
                            )
                        });
                    }
                }
                let now = Known { key: *key, is_whole: true, elements: list.to_vec() };
                match of_key {
                    Some(k) => known[k] = now,
                    None => known.push(now),
                }
            }
            (MicroOp::Write { .. }, _) => {}
        }
    }
}
