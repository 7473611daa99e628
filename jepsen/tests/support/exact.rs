//! The definition itself: tries every order of the transactions. Slow beyond eight of them, and right.

use std::collections::{BTreeMap, BTreeSet};

use meridian_jepsen::history::{
    History, MicroOp, Operation, Outcome, RegisterFn, RegisterOp, Seen, Symbol, Txn,
};

type State = BTreeMap<Symbol, Vec<Symbol>>;

/// Whether some order of the transactions explains what they saw, each of unknown outcome taken or left.
pub fn is_serializable(history: &History<Txn>, lists: bool, realtime: bool) -> bool {
    let operations: Vec<_> = history.operations.iter().filter(|o| o.outcome != Outcome::Fail).collect();
    order(&operations, 0, &State::new(), realtime, &mut BTreeSet::new(), &|op, state| run(op, state, lists))
}

/// Whether some order of commits explains it, where each transaction reads any earlier state and nobody has written since
/// what it writes: snapshot isolation as H. Berenson et al. (SIGMOD 1995) define it, without a clock.
pub fn is_snapshot_isolated(history: &History<Txn>, lists: bool) -> bool {
    let operations: Vec<_> = history.operations.iter().filter(|o| o.outcome != Outcome::Fail).collect();
    commit_order(&operations, 0, &mut vec![State::new()], lists)
}

/// `states` are those after each commit so far.
fn commit_order(operations: &[&Operation<Txn>], placed: u32, states: &mut Vec<State>, lists: bool) -> bool {
    let left = |i: &usize| placed & 1 << i == 0;
    if (0..operations.len()).filter(left).all(|i| operations[i].outcome != Outcome::Ok) {
        return true;
    }
    (0..operations.len()).filter(left).any(|i| {
        let keys: BTreeSet<Symbol> =
            operations[i].value.iter().filter_map(|o| o.written()).map(|(k, _)| k).collect();
        let last = &states[states.len() - 1];
        let fits = states.iter().find_map(|snapshot| {
            if keys.iter().any(|k| snapshot.get(k) != last.get(k)) {
                return None;
            }
            let left = run(operations[i], snapshot, lists)?;
            let mut next = last.clone();
            next.extend(left.into_iter().filter(|(k, _)| keys.contains(k)));
            Some(next)
        });
        let Some(next) = fits else { return false };
        states.push(next);
        let found = commit_order(operations, placed | 1 << i, states, lists);
        states.pop();
        found
    })
}

/// The same of operations on registers, in real time.
pub fn is_linearizable(history: &History<RegisterOp>) -> bool {
    let operations: Vec<_> = history.operations.iter().filter(|o| o.outcome != Outcome::Fail).collect();
    order(&operations, 0, &BTreeMap::new(), true, &mut BTreeSet::new(), &|op, state: &BTreeMap<_, _>| {
        let key = op.value.key;
        let held: Option<Symbol> = state.get(&key).copied();
        let mut next = state.clone();
        match &op.value.f {
            RegisterFn::Read(seen) => return (op.outcome != Outcome::Ok || *seen == held).then_some(next),
            RegisterFn::Write(new) => next.insert(key, *new),
            RegisterFn::Cas(old, new) if held == Some(*old) => next.insert(key, *new),
            RegisterFn::Cas(..) => return None,
        };
        Some(next)
    })
}

/// Puts the operations outside of `placed` in some order behind it.
fn order<V, S: Clone + Ord>(
    operations: &[&Operation<V>],
    placed: u32,
    state: &S,
    realtime: bool,
    known: &mut BTreeSet<(u32, S)>,
    run: &dyn Fn(&Operation<V>, &S) -> Option<S>,
) -> bool {
    let left = || (0..operations.len()).filter(|i| placed & 1 << i == 0);
    if left().all(|i| operations[i].outcome != Outcome::Ok) {
        return true;
    }
    if !known.insert((placed, state.clone())) {
        return false;
    }
    left().any(|i| {
        let precedes =
            |j: usize| operations[j].completed.is_some() && operations[j].completed < operations[i].invoked;
        if realtime && left().any(precedes) {
            return false;
        }
        run(operations[i], state)
            .is_some_and(|next| order(operations, placed | 1 << i, &next, realtime, known, run))
    })
}

fn run(op: &Operation<Txn>, state: &State, lists: bool) -> Option<State> {
    // Most are not possible, and told by their first read.
    if let Some(MicroOp::Read { key, seen }) = op.value.first()
        && op.outcome == Outcome::Ok
        && !agrees(state, *key, seen)
    {
        return None;
    }
    let mut state = state.clone();
    for micro in &op.value {
        match micro {
            MicroOp::Append { key, element: new } | MicroOp::Write { key, value: new } => {
                let cell = state.entry(*key).or_default();
                if !lists {
                    cell.clear();
                }
                cell.push(*new);
            }
            MicroOp::Read { key, seen } => {
                if op.outcome == Outcome::Ok && !agrees(&state, *key, seen) {
                    return None;
                }
            }
        }
    }
    Some(state)
}

fn agrees(state: &State, key: Symbol, seen: &Seen) -> bool {
    let held = state.get(&key).map_or(&[][..], |c| &c[..]);
    match seen {
        Seen::Nil => held.is_empty(),
        Seen::Value(v) => held == [*v],
        Seen::List(list) => held == &list[..],
    }
}
