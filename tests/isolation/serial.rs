//! Is what happened the same as if the transactions that committed had run one after the other?
//!
//! They are run again, alone, in every order that keeps each session's own; an order explains the outcome if every statement answers
//! the same and the final query too. Statements that failed in a transaction that went on (behind a savepoint) are left out:
//! they changed nothing.

use std::collections::BTreeMap;

use super::runner::{must, reset};
use super::script::Script;
use super::session::Session;

/// Steps, in the order in which they ran alone, and what they and the final query answered.
pub type Replays = BTreeMap<Vec<usize>, Vec<String>>;

struct Transaction {
    name: String,
    session: String,
    steps: Vec<usize>,
}

/// The names of the transactions in an order that explains the answers; `None` if there is none.
pub async fn order(
    control: &mut Session,
    script: &Script,
    answers: &[String],
    last: &str,
    replays: &mut Replays,
) -> Option<String> {
    let transactions = committed(script, answers);
    for order in orders(&transactions) {
        let steps: Vec<usize> = order.iter().flat_map(|t| t.steps.iter().copied()).collect();
        if !replays.contains_key(&steps) {
            let replay = replay(control, script, &steps).await;
            replays.insert(steps.clone(), replay);
        }
        let expected = steps.iter().map(|s| answers[*s].as_str()).chain([last]);
        if replays[&steps].iter().map(String::as_str).eq(expected) {
            return Some(order.iter().map(|t| t.name.as_str()).collect::<Vec<_>>().join(", "));
        }
    }
    None
}

/// A transaction ends with COMMIT that says COMMIT; a statement outside of one is one if it succeeds.
fn committed(script: &Script, answers: &[String]) -> Vec<Transaction> {
    let mut sessions: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut found = Vec::<Transaction>::new();
    for (at, (session, sql)) in script.steps.iter().enumerate() {
        let failed = answers[at].contains("ERROR");
        let open = sessions.entry(session).or_default();
        if sql.starts_with("BEGIN") || !open.is_empty() {
            if !failed {
                open.push(at);
            }
            if sql != "COMMIT" && sql != "ROLLBACK" {
                continue;
            }
        } else if !failed {
            open.push(at);
        }
        let steps = std::mem::take(open);
        let done = !failed && answers[at] != "ROLLBACK";
        if done && !steps.is_empty() {
            let before = found.iter().filter(|t| t.session == *session).count();
            let name = if before == 0 { session.clone() } else { format!("{session}{}", before + 1) };
            found.push(Transaction { name, session: session.clone(), steps });
        }
    }
    found
}

/// Every order that keeps the order within each session.
fn orders(all: &[Transaction]) -> Vec<Vec<&Transaction>> {
    let Some(_) = all.first() else { return vec![Vec::new()] };
    fn extend<'t>(
        left: &[&'t Transaction],
        so_far: &mut Vec<&'t Transaction>,
        out: &mut Vec<Vec<&'t Transaction>>,
    ) {
        if left.is_empty() {
            out.push(so_far.clone());
        }
        for (at, next) in left.iter().enumerate() {
            if left[..at].iter().any(|t| t.session == next.session) {
                continue;
            }
            let rest: Vec<_> = left.iter().enumerate().filter(|(i, _)| *i != at).map(|(_, t)| *t).collect();
            so_far.push(next);
            extend(&rest, so_far, out);
            so_far.pop();
        }
    }
    let mut out = Vec::new();
    extend(&all.iter().collect::<Vec<_>>(), &mut Vec::new(), &mut out);
    out
}

async fn replay(control: &mut Session, script: &Script, steps: &[usize]) -> Vec<String> {
    reset(control, script).await;
    let mut answers = Vec::new();
    for step in steps {
        answers.push(control.run(&script.steps[*step].1).await);
    }
    answers.push(must(control, &script.last).await);
    answers
}
